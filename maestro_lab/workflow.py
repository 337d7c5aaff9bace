"""What the notebooks do in one line: steps that cross several rooms of the package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from maestro_lab.batches import CubeDataset, cut_for
from maestro_lab.batches.seasons import seasonal_medians
from maestro_lab.batches.targets import Target, target_at
from maestro_lab.contract import Contract
from maestro_lab.cubes.contract import window_side
from maestro_lab.cubes.splits import leakage
from maestro_lab.errors import ParameterError
from maestro_lab.models.maestro import Maestro
from maestro_lab.reopen import build_model
from maestro_lab.training.embed import embed, reference_grid
from maestro_lab.training.probe import METHODS, ProbeResult, probe, units
from maestro_lab.training.scores import with_interval

__all__ = [
    "Features",
    "features",
    "held_out",
    "leakage_report",
    "probe_places",
    "probe_results",
    "probe_target",
    "reconstruction_results",
    "train_and_held_out",
]

HELD_OUT = ("val", "test")
PRETRAINED, RANDOM, MEDIANS = "pretrained encoder", "random weights", "seasonal medians"


def held_out(
    cube: xr.DataTree, contract: Contract, split: str = "", *, seed: int = 0
) -> CubeDataset:
    """Return samples to evaluate on: ``split``, else val where there is one, else test.

    Raises
    ------
    ParameterError
        If no split is named and nothing is held out.
    """
    if not split:
        there = set(np.asarray(cube["split"].values).astype(str))
        split = next((s for s in HELD_OUT if s in there), "")
    if not split:
        raise ParameterError(
            "nothing is held out in this cube",
            expected=f"samples in split {' or '.join(HELD_OUT)}",
            found=", ".join(sorted(there)),
            do="name a split to look at, or open a cube with held-out samples",
        )
    return CubeDataset(cut_for(cube, contract), contract, split=split, seed=seed, train=False)


def train_and_held_out(
    cube: xr.DataTree, contract: Contract, *, seed: int = 0
) -> tuple[CubeDataset, CubeDataset | None]:
    """Return the samples to train on, and those whose loss is watched; None if none is held out."""
    watched = None
    if np.isin(np.asarray(cube["split"].values).astype(str), HELD_OUT).any():
        watched = held_out(cube, contract, seed=seed)
    return CubeDataset(cube, contract, seed=seed), watched


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
    """

    tables: dict[str, list[np.ndarray]]
    samples: np.ndarray
    grid: int


def features(
    model: Maestro,
    cube: xr.DataTree,
    *,
    random_encoders: int = 3,
    date_draws: int = 4,
    split: tuple[str, ...] = ("train", "test"),
) -> Features:
    """Embed a cube with a model, with random weights, and with seasonal medians.

    Parameters
    ----------
    model, cube
        A pretrained model and its cube.
    random_encoders
        How many models of the same shape with random weights.
    date_draws
        Choices of dates that embeddings are averaged over.
    split
        Which samples.
    """
    data = CubeDataset(cube, model.config.contract, split=split, train=False)
    grid = reference_grid(model)
    others = [build_model(model.config, 1000 + k) for k in range(random_encoders)]

    def table(encoder: Maestro) -> np.ndarray:
        return embed(encoder, data, grid=grid, draws=date_draws).features

    device = next(model.parameters()).device
    tables = {
        MEDIANS: [seasonal_medians(data, grid)],
        RANDOM: [table(other.to(device)) for other in others],
        PRETRAINED: [table(model)],
    }
    return Features({k: v for k, v in tables.items() if v}, data.index, grid)


def probe_target(
    found: Features,
    cube: xr.DataTree,
    target: str = "",
    *,
    methods: tuple[str, ...] | list[str] = METHODS,
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
        Probes.
    average_places
        Average the samples of one place (several years of one window) before probing.
    draws
        Bootstrap draws.
    """
    wanted = target_at(cube, target, found.samples, found.grid)
    split, block = (np.asarray(cube[n].values)[found.samples] for n in ("split", "block"))
    place = None
    if average_places and "place" in cube.data_vars:
        place = np.asarray(cube["place"].values)[found.samples]
    known, arrange = units(wanted.values, split=split, block=block, place=place, task=wanted.task)

    def rows(table: np.ndarray) -> np.ndarray:
        return arrange(table if wanted.per_location else _mean_location(table))

    tables = {name: [rows(t) for t in several] for name, several in found.tables.items()}
    others = [name for name in tables if name != PRETRAINED]
    compare = [(PRETRAINED, other) for other in others]
    return probe(tables, known, methods=methods, compare=compare, draws=draws), wanted


def _mean_location(table: np.ndarray) -> np.ndarray:
    """Average features over the locations of a sample; what is missing everywhere stays NaN."""
    there = np.isfinite(table)
    count = there.sum(1, keepdims=True)
    total = np.where(there, table, 0).sum(1, keepdims=True)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def leakage_report(cube: xr.DataTree) -> pd.DataFrame | str:
    """Tell how far test windows lie from training windows, in metres between corners."""
    if "easting" not in cube.data_vars:
        return "This cube tells no positions; whether train and test are neighbours is unknown."
    x, y, split = (np.asarray(cube[n].values) for n in ("easting", "northing", "split"))
    for needed in ("train", "test"):
        if needed not in split:
            return f"This cube has no samples in split {needed!r}: there is no distance to tell."
    found = leakage(x, y, split)
    row = {
        "nearest test to train (m)": found["nearest"],
        "median (m)": found["median"],
        "side of a window (m)": window_side(cube),
        "blocks under test": len(np.unique(cube["block"].values[split == "test"])),
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
