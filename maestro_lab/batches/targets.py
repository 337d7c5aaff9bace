"""Targets of a cube, brought to the locations that a model embeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from maestro_lab.batches.grid import to_grid
from maestro_lab.cubes.contract import TARGETS
from maestro_lab.errors import ParameterError

__all__ = ["Target", "read_target", "target_at", "target_task"]


@dataclass(frozen=True)
class Target:
    """One target of some samples.

    Parameters
    ----------
    name
        Its name.
    values
        (sample, location) or (sample, location, k); targets of whole samples have one location,
        locations of maps are row-major.
    task
        "regression" or "classification".
    units
        Units of a regression target.
    classes
        Names of the classes.
    """

    name: str
    values: np.ndarray
    task: str
    units: str = ""
    classes: tuple[str, ...] = ()

    @property
    def per_location(self) -> bool:
        """Whether it differs between the locations of a sample."""
        return self.values.shape[1] > 1


def read_target(cube: xr.DataTree, name: str = "") -> tuple[str, xr.DataArray]:
    """Return a target and its name; empty takes the first.

    Raises
    ------
    ParameterError
        If the cube has no such target.
    """
    there = list(cube[TARGETS].data_vars) if TARGETS in cube.children else []
    name = name or (there[0] if there else "")
    if name not in there:
        raise ParameterError(
            f"no target {name!r}" if name else "the cube has no targets",
            expected=", ".join(there) or "a cube with targets",
            do="choose another target" if there else "choose another cube",
        )
    return name, cube[TARGETS][name]


def target_at(cube: xr.DataTree, name: str, samples: np.ndarray, grid: int) -> Target:
    """Read a target and bring it to ``grid`` x ``grid`` locations.

    Numbers are averaged over the pixels of a location; of classes the most frequent one counts.
    Pixels whose label is missing do not count, a location of nothing else is NaN.

    Parameters
    ----------
    cube
        The cube.
    name
        Name of the target; empty takes the first.
    samples
        Numbers of the samples.
    grid
        Locations along one side.

    Raises
    ------
    ParameterError
        If the cube has no such target.
    """
    name, variable = read_target(cube, name)
    variable = variable.isel(sample=samples)
    values = np.asarray(variable.values)
    classes = tuple(str(c) for c in variable.attrs.get("classes", ()))
    if "class" in variable.dims:
        classes = tuple(str(c) for c in variable["class"].values)
    task = target_task(cube, name)
    if variable.dims[-2:] == ("y", "x"):
        missing = variable.attrs.get("missing")
        cells = (
            _majority(values, grid, missing)
            if task == "classification"
            else to_grid(values.astype(float), grid)
        )
        values = np.moveaxis(cells.reshape(*cells.shape[:-2], grid * grid), -1, 1)
    else:
        values = values[:, None]
    return Target(
        name,
        values,
        task,
        str(variable.attrs.get("units", "")),
        classes,
    )


def target_task(cube: xr.DataTree, name: str = "") -> str:
    """Return whether a target is probed as classes, "classification", or numbers, "regression"."""
    task = read_target(cube, name)[1].attrs["task"]
    return "classification" if task in ("classification", "segmentation") else "regression"


def _majority(labels: np.ndarray, grid: int, missing: int | None) -> np.ndarray:
    """Return the most frequent label of each location (sample, grid, grid); NaN without any."""
    names = np.unique(labels[labels != missing])
    if not len(names):
        return np.full((len(labels), grid, grid), np.nan)
    shares = np.stack([to_grid((labels == name).astype(float), grid) for name in names])
    found = names[shares.argmax(0)]
    return found if shares.any(0).all() else np.where(shares.any(0), found, np.nan)
