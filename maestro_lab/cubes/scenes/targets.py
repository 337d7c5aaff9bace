"""Maps on a grid -> targets of the windows that are cut from scenes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from maestro_lab.cubes.scenes.ground import Grid, Ground
from maestro_lab.cubes.validation import TASKS
from maestro_lab.errors import CubeError

__all__ = ["TargetMap", "cut_targets"]

_KEPT = ("task", "classes", "missing", "units", "source")
_LABELS = ("segmentation", "classification")


@dataclass(frozen=True)
class TargetMap:
    """One map.

    Parameters
    ----------
    name
        Name of the target.
    grid
        Its pixels.
    values
        (y, x), rows from north to south.
    attrs
        ``task``, and where it has them ``classes``, ``missing`` (the label that says there is
        none), ``units``, ``source``.
    """

    name: str
    grid: Grid
    values: np.ndarray
    attrs: Mapping[str, Any] = field(default_factory=dict)


def cut_targets(
    maps: Mapping[str, TargetMap],
    ground: Ground,
    place: np.ndarray,
    images: Collection[float] = (),
) -> xr.Dataset:
    """Cut maps into windows.

    Parameters
    ----------
    maps
        Name to map.
    ground
        The windows.
    place
        Number of the window of each sample (n,).
    images
        Metres a pixel of the images.

    Returns
    -------
    xarray.Dataset
        Of each map a variable (sample, y, x); (sample,) where its pixels are whole windows, and
        those of no image are.

    Raises
    ------
    CubeError
        If a map names no task, or its labels are none of its classes.
    """
    sides = {name: ground.pixels(each.grid) for name, each in maps.items()}
    if len({pixels for pixels in sides.values() if pixels > 1}) > 1:
        raise CubeError(
            "targets: maps of several resolutions",
            expected="one resolution for all maps of a cube",
            found=", ".join(f"{name} {each.grid.gsd:g} m" for name, each in maps.items()),
            do="bring them to one grid with rioxarray: map.rio.reproject_match(other)",
        )
    variables = {}
    for name, each in maps.items():
        pixels, (top, left) = sides[name], ground.corner(each.grid)
        rows, columns = ground.shape
        part = each.values[top : top + rows * pixels, left : left + columns * pixels]
        tiles = np.moveaxis(part.reshape(rows, pixels, columns, pixels), 2, 1)
        tiles = tiles.reshape(rows * columns, pixels, pixels)[place]
        attrs = {**_checked(name, each, tiles), "gsd": each.grid.gsd}
        whole = pixels == 1 and each.grid.gsd not in images
        dims = ("sample",) if whole else ("sample", "y", "x")
        variables[name] = (dims, tiles[:, 0, 0] if whole else tiles, attrs)
    return xr.Dataset(variables)


def _checked(name: str, each: TargetMap, tiles: np.ndarray) -> dict[str, Any]:
    task = each.attrs.get("task")
    if task not in TASKS:
        raise CubeError(
            f"targets/{name}: task",
            expected=" | ".join(TASKS),
            found=task or "nothing",
            do="say it in the map's attributes: map.assign_attrs(task='segmentation', "
            "classes=['water', ...], missing=255)",
        )
    attrs = {key: each.attrs[key] for key in _KEPT if each.attrs.get(key) is not None}
    if task not in _LABELS:
        return attrs
    classes, missing = list(attrs.get("classes") or ()), attrs.get("missing")
    if not classes:
        raise CubeError(
            f"targets/{name}: classes",
            expected="a name for each label, from 0 on",
            found="nothing",
            do="say them in the map's attributes: map.assign_attrs(classes=['water', ...])",
        )
    labels = np.unique(tiles)
    strange = [x for x in labels.tolist() if x != missing and x not in range(len(classes))]
    if labels.dtype.kind not in "ui" or strange:
        raise CubeError(
            f"targets/{name}: labels",
            expected=f"whole numbers, 0 to {len(classes) - 1}"
            + ("" if missing is None else f", or {missing} where there is none"),
            found=f"{strange[0]!r}" if strange else labels.dtype,
            do="number the classes from 0 on, and name the label that says there is none: "
            "map.assign_attrs(missing=255)",
        )
    attrs["classes"] = [str(c) for c in classes]
    return attrs
