"""Open a pretraining run again: its weights, and the very cube it was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from maestro_lab.bands import group_bands
from maestro_lab.batches import contract_for
from maestro_lab.catalogue import open_cube
from maestro_lab.cubes.contract import modality_names
from maestro_lab.cubes.packed.arrays import PackedSeries
from maestro_lab.cubes.reading import read_of
from maestro_lab.datasets import check_cube, inputs_of, train_and_held_out
from maestro_lab.errors import RunError
from maestro_lab.models.config import MaestroConfig
from maestro_lab.models.official import from_official
from maestro_lab.models.olmoearth.model import OlmoEarth
from maestro_lab.models.predictor import Predictor
from maestro_lab.models.systems import Model, build_model, system_of
from maestro_lab.models.warm import warm_start
from maestro_lab.models.weights import LoadReport, load_model
from maestro_lab.olmoearth.choosing import olmoearth_config
from maestro_lab.published.lightning import read_lightning
from maestro_lab.published.olmoearth import load_olmoearth
from maestro_lab.runs import open_run
from maestro_lab.training.config import TrainingConfig
from maestro_lab.training.pretrain import pretrain

__all__ = ["Pretrained", "begin_from", "compared", "fingerprint", "in_memory", "pretrained"]

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


def begin_from(
    model: Model,
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
        A folder with weights of ours, or a published ``.ckpt`` or ``.safetensors`` of MAESTRO, or
        a published folder of OlmoEarth.
    names, fresh
        As in :func:`~maestro_lab.models.warm.warm_start`.

    Raises
    ------
    WeightsError
        If the weights cannot be read, or do not fit.
    """
    if Path(source).is_dir():
        other = _published(source) or load_model(source)[0]
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

    model: Model
    cube: xr.DataTree
    source: str
    seed: int

    def __repr__(self) -> str:
        parameters = sum(p.numel() for p in self.model.parameters())
        return f"{self.source}\n{parameters:,} parameters\n{inputs_of(self.model.config)}"


def pretrained(
    folder: str | Path = "",
    *,
    cube: str = "romania",
    root: str = "",
    options: Mapping[str, Any] | None = None,
    system: str = "",
) -> Pretrained:
    """Open a pretraining run: its weights, and the cube its card names.

    Parameters
    ----------
    folder
        A run folder of notebook 02, or a folder of published OlmoEarth weights, whose licence
        you accept with the variable that the error names. Empty: a tiny model is trained here and
        now, on ``cube``, for a few epochs; enough to see what a notebook does, not to learn much.
    cube, root, options
        The cube of that tiny model, or of published weights; a run brings its own.
    system
        "maestro" or "olmoearth": what is expected, and what that tiny model is. Empty takes any
        run, and makes a tiny MAESTRO.

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
        return _tiny(cube, root, dict(options or {}), system or "maestro")
    official = _published(folder)
    if official is not None:
        data = in_memory(open_cube(cube, root=root, **dict(options or {})))
        check_cube(official.config, data)
        _check_system(official, system, folder)
        return Pretrained(official, data, f"published weights of {Path(folder).name}", 0)
    run = open_run(folder)
    model, report = load_model(run.folder)
    model = model.encoder if isinstance(model, Predictor) else model
    _check_system(model, system, folder)
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
    fitting = check_cube(model.config, data)  # says which modality, band or unit differs
    recorded, now = run.card.get("fingerprint"), fingerprint(data)
    if recorded and recorded != now:
        raise RunError(
            f"{name} is not the cube that {run.shown} was trained on",
            expected=f"fingerprint {recorded}",
            found=f"{now}: other samples, splits, dates or pixels",
            do="bring the old cube back, or pretrain on the new one",
        )
    return Pretrained(model, fitting, f"{run.shown}: {report}", parameters.get("seed", 0))


def compared(
    lab: Pretrained,
    folders: Mapping[str, str | Path],
    *,
    cube: str = "romania",
    root: str = "",
    options: Mapping[str, Any] | None = None,
) -> dict[str, Model]:
    """Open further encoders that are to stand beside one, on its cube.

    Parameters
    ----------
    lab
        The first.
    folders
        Name to run folder, or to published weights.
    cube, root, options
        As in :func:`pretrained`; what published weights are opened with.

    Raises
    ------
    RunError
        If a run was trained on another cube, whose training ground may be this one's test ground.
    """
    found, own = {}, fingerprint(lab.cube)
    for name, folder in folders.items():
        other = pretrained(folder, cube=cube, root=root, options=options)
        if fingerprint(other.cube) != own:
            raise RunError(
                f"{name} was pretrained on another cube than the first encoder, or other windows",
                expected=f"fingerprint {own}",
                found=fingerprint(other.cube),
                do="compare runs of one cube: its splits keep test ground apart for all of them",
            )
        found[name] = other.model
    return found


def _check_system(model: Model, system: str, folder: str | Path) -> None:
    found = system_of(model.config)
    if system and found != system:
        raise RunError(f"{folder} holds a model of the other system", expected=system, found=found)


def _published(folder: str | Path) -> OlmoEarth | None:
    """Load published weights of OlmoEarth; None if a folder holds something else."""
    there = [(Path(folder) / name).is_file() for name in ("config.json", "weights.pth")]
    return load_olmoearth(folder).model if all(there) else None


def _found(path: str, cwd: str) -> str:
    """Return a path as it is, or below the folder where a run was started, if it lies there."""
    there = Path(cwd) / path
    return str(there) if path and cwd and not Path(path).exists() and there.exists() else path


def _tiny(name: str, root: str, options: dict[str, Any], system: str) -> Pretrained:
    config = TrainingConfig.published(system, epochs=2, batch_size=16, base_lr=1e-3)
    data, crops = in_memory(open_cube(name, root=root, **options)), {}
    if system == "olmoearth":
        # So few steps teach nothing while blocks are skipped and bands dropped.
        takes = olmoearth_config(data, drop_path=0.0, band_dropout=0.0)
        crops = {"grid": (1, 3), "budget": 150}
    else:
        groups = {m: g.groups for m, g in group_bands(data).items()}
        takes = MaestroConfig(contract_for(data, norm_groups=groups), "nano")
    model = build_model(takes)
    pretrain(model, train_and_held_out(data, takes, **crops)[0], config)
    return Pretrained(model, check_cube(takes, data), "a tiny model, trained here for 2 epochs", 0)
