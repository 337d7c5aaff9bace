"""Open a pretraining run again: its weights, and the very cube it was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from maestro_lab.bands import group_bands
from maestro_lab.batches import CubeDataset, check_contract, contract_for, cut_for
from maestro_lab.catalogue import open_cube
from maestro_lab.cubes.contract import modality_names
from maestro_lab.cubes.packed.arrays import PackedSeries
from maestro_lab.cubes.reading import read_of
from maestro_lab.errors import RunError
from maestro_lab.models.config import MaestroConfig
from maestro_lab.models.maestro import Maestro
from maestro_lab.models.official import from_official
from maestro_lab.models.predictor import Predictor
from maestro_lab.models.warm import warm_start
from maestro_lab.models.weights import LoadReport, load_model
from maestro_lab.published.lightning import read_lightning
from maestro_lab.runs import open_run
from maestro_lab.training.config import TrainingConfig
from maestro_lab.training.pretrain import pretrain

__all__ = ["Pretrained", "begin_from", "build_model", "fingerprint", "in_memory", "pretrained"]

IN_MEMORY = 4e9


def in_memory(cube: xr.DataTree, limit: float = IN_MEMORY) -> xr.DataTree:
    """Load a cube into memory if it is smaller than ``limit`` bytes; else leave it lazy.

    A packed store stays where it is: its files are mapped into memory as they are.
    """
    if any(isinstance(read_of(cube[name]), PackedSeries) for name in modality_names(cube)):
        return cube
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
    for name in ("sample", "split", "block", "easting", "northing"):
        if name in cube.variables:
            digest.update("\n".join(map(str, cube[name].values)).encode())
    count = cube.sizes["sample"]
    chosen = np.unique(np.linspace(0, count - 1, min(count, samples)).round().astype(int))
    for name in modality_names(cube):
        ds = cube[name].to_dataset()
        digest.update(f"{name} {ds.attrs['units']} {list(ds['band'].values)}".encode())
        for part in (ds["time"], ds["values"].isel(sample=chosen), ds["valid"].isel(sample=chosen)):
            digest.update(np.ascontiguousarray(part.values).tobytes())
    return digest.hexdigest()[:16]


def build_model(config: MaestroConfig, seed: int = 0) -> Maestro:
    """Build a model with random weights that depend on ``seed`` alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Maestro(config)


def begin_from(
    model: Maestro,
    source: str | Path,
    *,
    names: Mapping[str, str] | None = None,
    fresh: Sequence[str] = (),
) -> LoadReport:
    """Start a model from the weights of another: a run folder, or a published file.

    Parameters
    ----------
    model
        Changed in place.
    source
        A folder with weights of ours, or a published ``.ckpt`` or ``.safetensors``.
    names, fresh
        As in :func:`~maestro_lab.models.warm.warm_start`.

    Raises
    ------
    WeightsError
        If the weights cannot be read, or do not fit.
    """
    if Path(source).is_dir():
        other, _ = load_model(source)
        state = other.state_dict()
        if isinstance(other, Predictor):
            state = other.encoder.state_dict()
    else:
        state = from_official(read_lightning(source))
    return warm_start(model, state, names=names, fresh=fresh)


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
    ContractError
        If the cube lacks what the model needs.
    """
    if not folder:
        return _tiny(cube, root, dict(options or {}))
    run = open_run(folder)
    model, report = load_model(run.folder)
    model = model.encoder if isinstance(model, Predictor) else model
    parameters = run.card.get("parameters", {})
    if "cube" not in parameters:
        raise RunError(
            f"{folder} is no pretraining run",
            expected="a card.json whose parameters name the cube",
            found=", ".join(parameters) or "no parameters",
        )
    name, folder = (
        _found(parameters.get(key, ""), run.card.get("cwd", "")) for key in ("cube", "root")
    )
    data = in_memory(open_cube(name, root=folder, **parameters.get("options", {})))
    check_contract(data, model.config.contract)  # says which modality, band or unit differs
    recorded, now = run.card.get("fingerprint"), fingerprint(data)
    if recorded and recorded != now:
        raise RunError(
            f"{name} is not the cube that {run.shown} was trained on",
            expected=f"fingerprint {recorded}",
            found=f"{now}: other samples, splits, dates or pixels",
            do="bring the old cube back, or pretrain on the new one",
        )
    fitting = cut_for(data, model.config.contract)
    return Pretrained(model, fitting, f"{run.shown}: {report}", parameters.get("seed", 0))


def _found(path: str, cwd: str) -> str:
    """Return a path as it is, or below the folder where a run was started, if it lies there."""
    there = Path(cwd) / path
    return str(there) if path and cwd and not Path(path).exists() and there.exists() else path


def _tiny(name: str, root: str, options: dict[str, Any]) -> Pretrained:
    data = in_memory(open_cube(name, root=root, **options))
    groups = {m: g.groups for m, g in group_bands(data).items()}
    contract = contract_for(data, norm_groups=groups)
    model = build_model(MaestroConfig(contract, "nano"))
    config = TrainingConfig(epochs=4, batch_size=16, base_lr=1e-3)
    pretrain(model, CubeDataset(data, contract, split="train"), config)
    return Pretrained(model, cut_for(data, contract), "a tiny model, trained here for 4 epochs", 0)
