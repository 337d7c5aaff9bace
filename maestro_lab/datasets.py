"""The samples of a cube as the model at hand takes them, whichever system it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from maestro_lab.batches import CubeDataset, check_contract, cut_for
from maestro_lab.contract import Contract
from maestro_lab.errors import ParameterError
from maestro_lab.models.config import MaestroConfig
from maestro_lab.models.olmoearth.config import OlmoEarthConfig
from maestro_lab.models.systems import Config
from maestro_lab.olmoearth.dataset import Crops, OlmoEarthDataset

__all__ = [
    "Data",
    "check_cube",
    "dataset_for",
    "held_out",
    "held_out_sample",
    "inputs_of",
    "refuse_settings",
    "train_and_held_out",
]

HELD_OUT = ("val", "test")

Data = CubeDataset | OlmoEarthDataset
Taken = Config | Contract
"""What a model takes: its configuration, or of MAESTRO the contract alone."""


def dataset_for(
    config: Taken,
    cube: xr.DataTree,
    *,
    split: str | Sequence[str] | None = "train",
    seed: int = 0,
    train: bool = False,
    targets: Sequence[str] = (),
    samples: Sequence[int] | None = None,
    **options: Any,
) -> Data:
    """Return samples of a cube as a model takes them.

    Parameters
    ----------
    config
        Of the model; of MAESTRO the contract will do.
    cube, split, seed, train, targets, samples
        As in :class:`~maestro_lab.batches.CubeDataset`.
    options
        Further ones of :class:`~maestro_lab.olmoearth.dataset.OlmoEarthDataset`, such as ``patch``.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> cube = ml.open_cube("landscape", samples=8, modalities=["s2"])
    >>> dataset_for(ml.olmoearth_config(cube), cube, split=None)
    8 samples (all): sentinel2_l2a
    """
    common = {"split": split, "seed": seed, "train": train, "targets": targets, "samples": samples}
    if isinstance(config, OlmoEarthConfig):
        return OlmoEarthDataset(cube, config, **common, **options)
    if options:
        raise ParameterError(
            f"{next(iter(options))} of a MAESTRO data set",
            expected="nothing: its contract says it",
            found=options,
        )
    contract = _contract(config)
    return CubeDataset(cube if train else cut_for(cube, contract), contract, **common)


def check_cube(config: Taken, cube: xr.DataTree) -> xr.DataTree:
    """Refuse a cube that a model cannot take; of MAESTRO return it cut into the model's windows.

    Raises
    ------
    ContractError
        Says what differs.
    """
    if isinstance(config, OlmoEarthConfig):
        OlmoEarthDataset(cube, config, split=None, samples=[0])  # grids, bands, units: all alike
        return cube
    check_contract(cube, _contract(config))
    return cut_for(cube, _contract(config))


def refuse_settings(system: str, **settings: Any) -> None:
    """Refuse settings that say something and mean nothing to a system.

    Parameters
    ----------
    system
        "maestro" or "olmoearth".
    settings
        Name to value; what is empty or zero says nothing.

    Raises
    ------
    ParameterError
        Names the first.
    """
    for name, value in settings.items():
        if value:
            raise ParameterError(
                f"{name}, which means nothing to {system}", expected="left as it is", found=value
            )


def inputs_of(config: Taken) -> Contract | pd.DataFrame:
    """Tell what a model takes: the contract of MAESTRO, or a row for each modality of OlmoEarth.

    Examples
    --------
    >>> inputs_of(OlmoEarthConfig.of("v1", "nano", ["sentinel1"]))["role"].tolist()
    ['seen and predicted']
    """
    if not isinstance(config, OlmoEarthConfig):
        return _contract(config)
    rows = [
        (
            name,
            "predicted" if name in config.predicted_only else "seen and predicted",
            " | ".join(" ".join(group) for group in m.groups),
            ", ".join(config.sources.get(name, ())) or "found by its sensor",
        )
        for name, m in config.modalities.items()
    ]
    return pd.DataFrame(rows, columns=["modality", "role", "tokens of", "from"])


def held_out(
    cube: xr.DataTree, config: Taken, split: str = "", *, seed: int = 0, **options: Any
) -> Data:
    """Return samples to evaluate on: ``split``, else val where there is one, else test.

    Parameters
    ----------
    cube, config, seed, options
        As in :func:`dataset_for`.
    split
        Name of the split.

    Raises
    ------
    ParameterError
        If no split is named and nothing is held out.
    """
    split = split or _held_out_split(cube)
    return dataset_for(config, cube, split=split, seed=seed, **options)


def held_out_sample(cube: xr.DataTree, sample: int) -> int:
    """Return the number in the cube of one of the samples held out.

    Parameters
    ----------
    cube
        The cube.
    sample
        Its number among those of split val where there is one, else of test.

    Raises
    ------
    ParameterError
        If nothing is held out, or not that many samples.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> cube = ml.open_cube("landscape", samples=8, modalities=["s2"])
    >>> str(cube["split"].values[held_out_sample(cube, 1)])
    'val'
    """
    numbers = np.flatnonzero(np.asarray(cube["split"].values).astype(str) == _held_out_split(cube))
    if not -len(numbers) <= sample < len(numbers):
        raise ParameterError(
            f"no sample {sample} held out", expected=f"0 to {len(numbers) - 1}", found=sample
        )
    return int(numbers[sample])


def _held_out_split(cube: xr.DataTree) -> str:
    there = set(np.asarray(cube["split"].values).astype(str))
    for split in HELD_OUT:
        if split in there:
            return split
    raise ParameterError(
        "nothing is held out in this cube",
        expected=f"samples in split {' or '.join(HELD_OUT)}",
        found=", ".join(sorted(there)),
        do="name a split to look at, or open a cube with held-out samples",
    )


def train_and_held_out(
    cube: xr.DataTree, config: Taken, *, seed: int = 0, **crops: Any
) -> tuple[Data, Data | None]:
    """Return the samples to pretrain on, and those whose loss is watched; None if none is held out.

    Parameters
    ----------
    cube, config, seed
        As in :func:`dataset_for`.
    crops
        Of OlmoEarth: settings of :class:`~maestro_lab.olmoearth.dataset.Crops`.
    """
    options: dict[str, Any] = {"crops": Crops(**crops)}
    if not isinstance(config, OlmoEarthConfig):
        options = crops
    watched = None
    if np.isin(np.asarray(cube["split"].values).astype(str), HELD_OUT).any():
        watched = held_out(cube, config, seed=seed, **options)
    return dataset_for(config, cube, seed=seed, train=True, **options), watched


def _contract(config: MaestroConfig | Contract) -> Contract:
    return config.contract if isinstance(config, MaestroConfig) else config
