"""What the notebooks do in one line: steps that cross several rooms of the package."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

from maestro_lab.bands import BandGroups, group_bands, load_groups
from maestro_lab.batches import CubeDataset, contract_for
from maestro_lab.batches.seasons import seasonal_medians
from maestro_lab.batches.targets import Target, target_at
from maestro_lab.catalogue import open_cube
from maestro_lab.contract import Contract
from maestro_lab.cubes.contract import modality_names
from maestro_lab.cubes.splits import leakage
from maestro_lab.errors import RunError
from maestro_lab.models.config import MaestroConfig
from maestro_lab.models.maestro import Maestro
from maestro_lab.models.weights import load_model
from maestro_lab.runs import open_run
from maestro_lab.training.config import TrainingConfig
from maestro_lab.training.embed import embed, reference_grid
from maestro_lab.training.pretrain import pretrain
from maestro_lab.training.probe import METHODS, ProbeResult, probe, units

__all__ = [
    "Features",
    "Pretrained",
    "build_model",
    "features",
    "fingerprint",
    "groups_for",
    "held_out",
    "in_memory",
    "leakage_report",
    "pretrained",
    "probe_places",
    "probe_results",
    "probe_target",
    "reconstruction_results",
    "train_and_held_out",
]

IN_MEMORY = 4e9
PRETRAINED, RANDOM, MEDIANS = "pretrained encoder", "random weights", "seasonal medians"


def in_memory(cube: xr.DataTree, limit: float = IN_MEMORY) -> xr.DataTree:
    """Load a cube into memory if it is smaller than ``limit`` bytes; else leave it lazy."""
    size = sum(v.nbytes for name in cube.children for v in cube[name].data_vars.values())
    return cube.load() if size < limit else cube


def fingerprint(cube: xr.DataTree, samples: int = 8) -> str:
    """Return a short hash of a cube: names, splits, dates, and the pixels of a few samples.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> cubes = [ml.open_cube("landscape", samples=4, seed=seed) for seed in (0, 0, 1)]
    >>> a, b, c = map(fingerprint, cubes)
    >>> a == b, a == c
    (True, False)
    """
    digest = hashlib.sha256()
    for name in ("sample", "split"):
        digest.update("\n".join(map(str, cube[name].values)).encode())
    count = cube.sizes["sample"]
    chosen = np.unique(np.linspace(0, count - 1, min(count, samples)).round().astype(int))
    for name in modality_names(cube):
        ds = cube[name].to_dataset()
        digest.update(f"{name} {ds.attrs['units']} {list(ds['band'].values)}".encode())
        for part in (ds["time"], ds["values"].isel(sample=chosen), ds["valid"].isel(sample=chosen)):
            digest.update(np.ascontiguousarray(part.values).tobytes())
    return digest.hexdigest()[:16]


def groups_for(
    cube: xr.DataTree, band_groups: str | Path = "", modalities: Sequence[str] = ()
) -> dict[str, BandGroups]:
    """Return the band groups of a cube: those a run of notebook 01 left, or measured now.

    Parameters
    ----------
    cube
        The cube.
    band_groups
        Run folder of notebook 01, or its ``groups.json``; empty measures.
    modalities
        Which modalities; empty takes all. Groups of others are left out.
    """
    wanted = list(modalities) or modality_names(cube)
    if not band_groups:
        return {name: g.groups for name, g in group_bands(cube, modalities=wanted).items()}
    return {name: g for name, g in load_groups(band_groups).items() if name in wanted}


def held_out(
    cube: xr.DataTree, contract: Contract, split: str = "", *, seed: int = 0
) -> CubeDataset:
    """Return samples to evaluate on: ``split``, else val where there is one, else test."""
    if not split:
        there = set(np.asarray(cube["split"].values).astype(str))
        split = next((s for s in ("val", "test", "train") if s in there), "train")
    return CubeDataset(cube, contract, split=split, seed=seed, train=False)


def train_and_held_out(
    cube: xr.DataTree, contract: Contract, *, seed: int = 0
) -> tuple[CubeDataset, CubeDataset]:
    """Return the samples to train on, and those whose loss is watched."""
    return CubeDataset(cube, contract, seed=seed), held_out(cube, contract, seed=seed)


def build_model(config: MaestroConfig, seed: int = 0) -> Maestro:
    """Build a model with random weights that depend on ``seed`` alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Maestro(config)


@dataclass(frozen=True)
class Pretrained:
    """A pretrained model and the cube it was trained on.

    Parameters
    ----------
    model, cube
        Ready to use together.
    source
        Where the weights come from, in words.
    seed
        Seed of the pretraining.
    """

    model: Maestro
    cube: xr.DataTree
    source: str
    seed: int

    def __repr__(self) -> str:
        parameters = sum(p.numel() for p in self.model.parameters())
        return f"{self.source}\n{parameters:,} parameters\n{self.model.config.contract}"


def pretrained(
    folder: str | Path = "",
    *,
    cube: str = "romania",
    root: str = "",
    options: Mapping[str, Any] | None = None,
) -> Pretrained:
    """Open a pretraining run: its weights, and the cube its card names.

    Parameters
    ----------
    folder
        A run folder of notebook 02. Empty: a tiny model is trained here and now, on ``cube``, for
        a few epochs; enough to see what a notebook does, not to learn much.
    cube, root, options
        The cube of that tiny model; a run brings its own.

    Raises
    ------
    RunError
        If the folder is no pretraining run.
    WeightsError
        If its weights are missing or damaged.
    """
    if not folder:
        return _tiny(cube, root, dict(options or {}))
    run = open_run(folder)
    model, report = load_model(run.folder)
    parameters = run.card.get("parameters", {})
    if "cube" not in parameters:
        raise RunError(
            f"{folder} is no pretraining run",
            expected="a card.json whose parameters name the cube",
            found=", ".join(parameters) or "no parameters",
        )
    data = open_cube(
        parameters["cube"], root=parameters.get("root", ""), **parameters.get("options", {})
    )
    return Pretrained(model, in_memory(data), f"{run.shown}: {report}", parameters.get("seed", 0))


def _tiny(name: str, root: str, options: dict[str, Any]) -> Pretrained:
    data = in_memory(open_cube(name, root=root, **options))
    groups = {m: g.groups for m, g in group_bands(data).items()}
    contract = contract_for(data, norm_groups=groups)
    model = build_model(MaestroConfig(contract, "nano"))
    config = TrainingConfig(epochs=4, batch_size=16, base_lr=1e-3)
    pretrain(model, CubeDataset(data, contract, split="train"), config)
    return Pretrained(model, data, "a tiny model, trained here for 4 epochs", 0)


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
    found = leakage(x, y, split)
    first = cube[modality_names(cube)[0]]
    side = first.sizes["x"] * float(first.attrs["gsd"])
    row = {
        "nearest test to train (m)": found["nearest"],
        "median (m)": found["median"],
        "side of a window (m)": side,
        "blocks under test": len(np.unique(cube["block"].values[split == "test"])),
    }
    return pd.DataFrame([row]).round(0)


def probe_places(
    found: Features, cube: xr.DataTree, target: str = "", **options: Any
) -> pd.DataFrame | None:
    """Probe features averaged over the samples of each place; None where no place repeats.

    Returns
    -------
    pandas.DataFrame
        Scores with intervals, like those of :func:`probe_target`.
    """
    if "place" not in cube.data_vars:
        return None
    result, _ = probe_target(found, cube, target, average_places=True, **options)
    return result.scores.round(3)


def probe_results(result: ProbeResult, averaged: pd.DataFrame | None = None) -> dict[str, Any]:
    """Return the scores of a probe as flat results: ``r2 linear pretrained encoder`` and so on."""
    found: dict[str, Any] = {}
    for row in result.scores.itertuples():
        name = f"{result.metric} {row.probe} {row.features}"
        found[name] = round(row.score, 4)
        found[f"{name} interval"] = [round(row.low, 4), round(row.high, 4)]
    for row in result.differences.itertuples():
        name = f"{result.metric} {row.probe} {row.better} - {row.worse}"
        found[name] = round(row.difference, 4)
        found[f"{name} interval"] = [round(row.low, 4), round(row.high, 4)]
    if averaged is not None:
        for row in averaged.itertuples():
            found[f"{result.metric} {row.probe} {row.features}, years averaged"] = row.score
    return found


def reconstruction_results(scores: pd.DataFrame) -> dict[str, Any]:
    """Return reconstruction errors as flat results: ``l1 model`` and so on, over all modalities."""
    table = scores[scores["modality"] == "all"].set_index("guess")
    found: dict[str, Any] = {}
    for guess, row in table.iterrows():
        found[f"l1 {guess}"] = round(row["l1"], 4)
        found[f"l1 {guess} interval"] = [round(row["low"], 4), round(row["high"], 4)]
    for guess in ("zero", "nearest date"):
        found[f"gain over {guess}"] = round(
            1 - table.loc["model", "l1"] / table.loc[guess, "l1"], 4
        )
    return found
