"""What the notebooks do in one line: steps that cross several rooms of the package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from maestro_lab.batches import CubeDataset, contract_for
from maestro_lab.batches.seasons import seasonal_medians
from maestro_lab.batches.targets import Target, target_at
from maestro_lab.cubes.contract import window_side
from maestro_lab.cubes.splits import leakage_distances
from maestro_lab.datasets import Data, dataset_for
from maestro_lab.errors import ContractError, ParameterError
from maestro_lab.models.systems import Config, Model, build_model
from maestro_lab.training.embed import embed, reference_grid
from maestro_lab.training.few_shot import SHOTS, FewShot, few_shot_scores
from maestro_lab.training.probe import METHODS, ProbeResult, Units, merge_places, probe, units
from maestro_lab.training.scores import with_interval

__all__ = [
    "Features",
    "features",
    "few_shot",
    "leakage_report",
    "probe_places",
    "probe_results",
    "probe_target",
    "reconstruction_results",
]

PRETRAINED, RANDOM, MEDIANS = "pretrained encoder", "random weights", "seasonal medians"


@dataclass(frozen=True)
class Features:
    """Frozen features of the train and test samples of a cube, and what they are compared with.

    Parameters
    ----------
    tables
        Name to (sample, location, width), or several such arrays for several random draws.
    samples
        Number of each sample in the cube.
    grid
        Locations along one side.
    names
        Name of each sample, by which another cube is told; empty checks numbers alone.
    """

    tables: dict[str, list[np.ndarray]]
    samples: np.ndarray
    grid: int
    names: tuple[str, ...] = ()

    def check(self, cube: xr.DataTree) -> None:
        """Refuse a cube that these features are not of.

        Raises
        ------
        ContractError
            If it has fewer samples, or others under their numbers.
        """
        known = cube.indexes["sample"]
        if len(self.samples) and int(self.samples.max()) >= len(known):
            raise ContractError(
                "features of another cube", expected=f"at least {self.samples.max() + 1} samples",
                found=f"{len(known)}",
            )  # fmt: skip
        for number, name in zip(self.samples, self.names, strict=False):
            if str(known[number]) != name:
                raise ContractError(
                    "features of another cube", expected=f"{name!r} as sample {number}",
                    found=repr(str(known[number])),
                )  # fmt: skip


def features(
    model: Model,
    cube: xr.DataTree,
    *,
    random_encoders: int = 3,
    date_draws: int = 4,
    split: tuple[str, ...] = ("train", "val", "test"),
    compare: Mapping[str, Model] | None = None,
    **options: Any,
) -> Features:
    """Embed a cube with a model, with random weights, and with seasonal medians.

    Parameters
    ----------
    model, cube
        A pretrained model of either system, and its cube.
    random_encoders
        How many models of the same shape with random weights.
    date_draws
        Choices of dates that embeddings of MAESTRO are averaged over.
    split
        Which samples; some probes choose their settings on those of val.
    compare
        Name to further models that see the same cube; each stands beside one of its own kind with
        random weights, and all on the grid of the first.
    options
        As in :func:`~maestro_lab.datasets.dataset_for`, for the first model.
    """
    data = dataset_for(model.config, cube, split=split, **options)
    taken = [name for name in compare or {} if name in (MEDIANS, RANDOM, PRETRAINED)]
    if taken:
        raise ParameterError("name of a further encoder", expected="one of its own", found=taken[0])
    grid = reference_grid(model, data)
    device = next(model.parameters()).device

    def table(encoder: Model, seen: Data) -> np.ndarray:
        return embed(encoder.to(device), seen, grid=grid, draws=date_draws).features

    def untrained(config: Config, seen: Data) -> list[np.ndarray]:
        return [table(build_model(config, 1000 + k), seen) for k in range(random_encoders)]

    tables = {
        MEDIANS: [seasonal_medians(_plain(data, cube, split), grid)],
        RANDOM: untrained(model.config, data),
        PRETRAINED: [table(model, data)],
    }
    for name, other in (compare or {}).items():
        seen = dataset_for(other.config, cube, split=split)
        if not np.array_equal(seen.index, data.index):
            raise ContractError(
                f"{name}: other windows than the first encoder's",
                expected=f"{len(data)} samples",
                found=f"{len(seen)}",
                do="cut the cube into the smaller windows first: cut_windows",
            )
        tables[f"{name}, {RANDOM}"] = untrained(other.config, seen)
        tables[name] = [table(other, seen)]
    names = tuple(str(n) for n in cube["sample"].values[data.index])
    return Features({k: v for k, v in tables.items() if v}, data.index, grid, names)


def _plain(data: Data, cube: xr.DataTree, split: tuple[str, ...]) -> CubeDataset:
    """Return the samples with every date they have, for medians."""
    if isinstance(data, CubeDataset):
        return data
    names = [part.name for parts in data.input.parts.values() for part in parts]
    contract = contract_for(cube, modalities=names, window=window_side(cube))
    return CubeDataset(cube, contract, split=split, train=False)


def probe_target(
    found: Features,
    cube: xr.DataTree,
    target: str = "",
    *,
    methods: Sequence[str] = METHODS,
    average_places: bool = False,
    draws: int = 1000,
) -> tuple[ProbeResult, Target]:
    """Probe features for one target of the cube.

    Parameters
    ----------
    found
        From :func:`features`.
    cube
        The cube.
    target
        Name of the target; empty takes the first.
    methods
        Probes, as for :func:`~maestro_lab.training.probe.probe`.
    average_places
        Average the samples of one place (several years of one window) before probing.
    draws
        Bootstrap draws.
    """
    tables, known, wanted = _tables(found, cube, target, average_places)
    others = [name for name in tables if name != PRETRAINED]
    compare = [(PRETRAINED, other) for other in others]
    return probe(tables, known, methods=methods, compare=compare, draws=draws), wanted


def _tables(
    found: Features, cube: xr.DataTree, target: str, average_places: bool
) -> tuple[dict[str, list[np.ndarray]], Units, Target]:
    """Return the windows of each table, what is to be predicted in them, and the target."""
    found.check(cube)
    wanted = target_at(cube, target, found.samples, found.grid)
    split, block = (np.asarray(cube[n].values)[found.samples] for n in ("split", "block"))
    place = None
    if average_places and "place" in cube.data_vars:
        place = np.asarray(cube["place"].values)[found.samples]
    known, _ = units(wanted.values, split=split, block=block, place=place, task=wanted.task)
    merged = {n: [merge_places(t, place) for t in several] for n, several in found.tables.items()}
    return merged, known, wanted


def few_shot(
    found: Features,
    cube: xr.DataTree,
    target: str = "",
    *,
    shots: Sequence[int] = SHOTS,
    methods: Sequence[str] = METHODS,
    seeds: int = 3,
    draws: int = 400,
    average_places: bool = False,
) -> FewShot:
    """Score features of a cube under probes that are fitted on few labels, and on all.

    Parameters
    ----------
    found, cube, target, methods, average_places
        As for :func:`probe_target`.
    shots, seeds, draws
        As for :func:`~maestro_lab.training.few_shot.few_shot_scores`.
    """
    tables, known, wanted = _tables(found, cube, target, average_places)
    return few_shot_scores(
        tables, known, shots=shots, methods=methods, seeds=seeds, draws=draws, name=wanted.name
    )


def leakage_report(cube: xr.DataTree) -> pd.DataFrame | str:
    """Tell how far test windows lie from training windows, in metres between centres."""
    split = np.asarray(cube["split"].values)
    if not {"easting", "northing"} <= set(cube.data_vars):
        return "This cube tells no positions; whether train and test are neighbours is unknown."
    for needed in ("train", "test"):
        if needed not in split:
            return f"This cube has no samples in split {needed!r}: there is no distance to tell."
    found = leakage_distances(cube)
    told = found.summary
    row = {
        "nearest test to train (m)": told["nearest"],
        "median (m)": told["median"],
        "median under a random split (m)": told["random median"],
        "test windows that overlap training": told["overlapping"],
        "side of a window (m)": found.side,
        "blocks under test": found.distances["block"].nunique(),
    }
    return pd.DataFrame([row]).round(0)


def probe_places(
    found: Features, cube: xr.DataTree, target: str = "", **options: Any
) -> ProbeResult | None:
    """Probe features averaged over the samples of each place; None where no place repeats."""
    if "place" not in cube.data_vars:
        return None
    return probe_target(found, cube, target, average_places=True, **options)[0]


def probe_results(result: ProbeResult, averaged: ProbeResult | None = None) -> dict[str, Any]:
    """Return the scores of a probe as flat results: ``r2 linear pretrained encoder`` and so on."""
    found: dict[str, Any] = {}
    for source, suffix in ((result, ""), (averaged, ", years averaged")):
        if source is None:
            continue
        for row in source.scores.itertuples():
            name = f"{source.metric} {row.probe} {row.features}{suffix}"
            found |= with_interval(name, row.score, row.low, row.high)
        for row in source.differences.itertuples():
            name = f"{source.metric} {row.probe} {row.better} - {row.worse}{suffix}"
            found |= with_interval(name, row.difference, row.low, row.high)
    return found


def reconstruction_results(scores: pd.DataFrame) -> dict[str, Any]:
    """Return reconstruction errors as flat results: ``l1 model`` and so on, over all modalities."""
    table = scores[scores["modality"] == "all"].set_index("guess")
    found: dict[str, Any] = {}
    for guess, row in table.iterrows():
        found |= with_interval(f"l1 {guess}", row["l1"], row["low"], row["high"])
    for guess in (g for g in table.index if g != "model"):
        found[f"gain over {guess}"] = round(
            1 - table.loc["model", "l1"] / table.loc[guess, "l1"], 4
        )
    return found
