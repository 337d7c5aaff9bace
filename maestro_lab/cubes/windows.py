"""Windows cut from the samples of a cube, on the grid of cells that all its modalities share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from math import gcd
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from maestro_lab.cubes.contract import TARGETS, assemble, make_modality, modality_names
from maestro_lab.cubes.reading import Read, Where, lazy_modality, read_of
from maestro_lab.errors import CubeError

__all__ = ["Lattice", "cut_windows", "lattice"]


@dataclass(frozen=True)
class Lattice:
    """How windows lie in a sample.

    Parameters
    ----------
    pixels
        Pixels along a sample, for each modality and each target that is a map.
    cells
        Cells along a sample: the finest grid on whose lines pixels of all of these meet.
    window
        Cells along a window.
    """

    pixels: Mapping[str, int]
    cells: int
    window: int

    @property
    def repeats(self) -> int:
        """Windows side by side along a sample."""
        return self.cells // self.window

    @property
    def corners(self) -> np.ndarray:
        """Upper-left cells (row, column) of the regular windows, row by row; evenly spread."""
        first = np.arange(self.repeats) * self.cells // self.repeats
        return np.stack(np.meshgrid(first, first, indexing="ij"), -1).reshape(-1, 2)

    def draw(self, rng: np.random.Generator) -> tuple[int, int]:
        """Draw the upper-left cell of a window."""
        row, column = rng.integers(0, self.cells - self.window + 1, 2)
        return int(row), int(column)

    def where(self, name: str, corner: tuple[int, int]) -> Where:
        """Return the rows and columns of a window in one modality or target."""
        scale = self.pixels[name] // self.cells
        top, left = (int(c) * scale for c in corner)
        side = self.window * scale
        return slice(top, top + side), slice(left, left + side)


def lattice(cube: xr.DataTree, window: Mapping[str, int]) -> Lattice:
    """Find the grid that windows of a cube are cut on.

    Parameters
    ----------
    cube
        The cube; its samples are square.
    window
        Pixels along a window, for some of the modalities.

    Raises
    ------
    CubeError
        If the windows of the modalities do not cover the same ground, or cut through pixels.
    """
    sides = {name: cube[name].sizes for name in modality_names(cube)}
    maps = {f"{TARGETS}/{n}": t.sizes for n, t in _maps(cube).items()}
    pixels = {name: size["x"] for name, size in (sides | maps).items()}
    oblong = [n for n, size in (sides | maps).items() if size["x"] != size["y"]]
    if oblong:
        raise CubeError(
            f"{oblong[0]}: samples are not square", expected="as many rows as columns",
            found=f"{(sides | maps)[oblong[0]]['y']} x {(sides | maps)[oblong[0]]['x']} px",
        )  # fmt: skip
    if not window or any(name not in pixels for name in window):
        raise CubeError(
            "windows", expected=f"pixels for some of {', '.join(sides)}",
            found=", ".join(map(str, window)) or "none",
        )  # fmt: skip
    cells = gcd(*pixels.values())
    wanted = {name: side * cells / pixels[name] for name, side in window.items()}
    side = next(iter(wanted.values()))
    if len(set(wanted.values())) > 1 or side != int(side) or not 1 <= side <= cells:
        raise CubeError(
            "windows of "
            + ", ".join(f"{n} {side} of {pixels[n]} px" for n, side in window.items())
            + " cannot be cut",
            expected=f"the same share of each sample, k of its {cells} cells",
            found=", ".join(f"{name} {share:g} cells" for name, share in wanted.items()),
            do="choose a window that is a multiple of "
            + ", ".join(f"{pixels[name] // cells} px of {name}" for name in window),
        )
    return Lattice(pixels, cells, int(side))


def _maps(cube: xr.DataTree) -> dict[str, xr.DataArray]:
    targets = cube[TARGETS].data_vars if TARGETS in cube.children else {}
    return {str(n): t for n, t in targets.items() if t.dims[-2:] == ("y", "x")}


def cut_windows(cube: xr.DataTree, window: float | Mapping[str, int]) -> xr.DataTree:
    """Cut every sample of a cube into regular windows, each a sample of its own.

    Windows are as many as fit, evenly spread; where they do not divide the sample, strips between
    them are left out. Windows keep split and block of the sample they come from, and lie in one
    ``place`` of their own. Pixels are read when they are used.

    Parameters
    ----------
    cube
        The cube.
    window
        Side of a window in metres, or in pixels of each modality.

    Returns
    -------
    xarray.DataTree
        Samples are named ``NAME/rROWcCOLUMN``. Targets that are no maps are left out: what is true
        of a sample need not be true of its parts. Windows without a valid pixel are kept.

    Raises
    ------
    CubeError
        If such windows cannot be cut.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> cube = ml.open_cube("landscape", samples=2, modalities=["s2", "dem"], window=120)
    >>> cut_windows(cube, 60).sizes["sample"]
    8
    """
    if not isinstance(window, Mapping):
        window = {n: _pixels(cube, n, float(window)) for n in modality_names(cube)}
    grid = lattice(cube, window)
    if grid.repeats == 1 and grid.window == grid.cells:
        return cube
    corners = grid.corners
    owner = np.repeat(np.arange(cube.sizes["sample"]), len(corners))
    corner = np.tile(corners, (cube.sizes["sample"], 1))
    names = [
        f"{name}/r{row}c{column}"
        for name in cube["sample"].values
        for row, column in np.argwhere(np.ones((grid.repeats, grid.repeats)))
    ]
    extra = {
        str(name): variable.values[owner]
        for name, variable in cube.data_vars.items()
        if name not in ("split", "block") and variable.dims == ("sample",)
    }
    if "place" in extra:
        extra["place"] = extra["place"] * len(corners) + np.tile(
            np.arange(len(corners)), cube.sizes["sample"]
        )
    metres = _metres(cube) / grid.cells
    for name, axis, sign in (("easting", 1, 1), ("northing", 0, -1)):
        if name in extra:
            extra[name] = extra[name] + sign * corner[:, axis] * metres
    targets = {n: _cut_map(t, grid, n, owner, corner) for n, t in _maps(cube).items()}
    return assemble(
        {n: _cut(cube[n].to_dataset(), grid, n, owner, corner) for n in modality_names(cube)},
        sample=names,
        split=cube["split"].values[owner],
        block=cube["block"].values[owner],
        extra=extra,
        targets=xr.Dataset(targets) if targets else None,
        title=cube.attrs["title"],
        licence=cube.attrs["licence"],
        source=cube.attrs["source"],
        attrs=dict(cube.attrs) | {"window": metres * grid.window},
        check=0,
    )


def _pixels(cube: xr.DataTree, name: str, metres: float) -> int:
    gsd = float(cube[name].attrs["gsd"])
    exact = metres / gsd
    if abs(exact - round(exact)) > 0.01:
        raise CubeError(
            f"{name}: a window of {metres:g} m",
            expected=f"a multiple of {gsd:g} m",
            found=f"{exact:g} pixels",
        )
    return round(exact)


def _metres(cube: xr.DataTree) -> float:
    first = cube[modality_names(cube)[0]]
    return first.sizes["x"] * float(first.attrs["gsd"])


@dataclass(frozen=True)
class _ReadWindow:
    """Reads a window of a sample as a sample of its own."""

    read: Read
    grid: Lattice
    name: str
    owner: np.ndarray
    corner: np.ndarray

    def __call__(self, sample: int, where: Where) -> tuple[np.ndarray, np.ndarray]:
        window = self.grid.where(self.name, tuple(self.corner[sample]))
        inner = tuple(
            slice(outer.start + part.start, outer.start + part.stop)
            for outer, part in zip(window, where, strict=True)
        )
        return self.read(int(self.owner[sample]), inner)


def _cut(
    ds: xr.Dataset, grid: Lattice, name: str, owner: np.ndarray, corner: np.ndarray
) -> xr.Dataset:
    bands = [str(b) for b in ds["band"].values]
    read, time = read_of(ds), ds["time"].values[owner]
    side = grid.window * (grid.pixels[name] // grid.cells)
    about: dict[str, Any] = {
        "bands": bands, "units": ds.attrs["units"], "gsd": ds.attrs["gsd"],
        "sensor_name": ds.attrs.get("sensor"), "nodata": ds.attrs.get("nodata"),
    }  # fmt: skip
    if read is not None:
        window = _ReadWindow(read, grid, name, owner, corner)
        dtype = ds["values"].dtype
        cut = lazy_modality(window, time, pixels=side, dtype=dtype, **about)
    else:
        values, valid = (
            _cut_array(ds[v].data, grid, name, owner, corner) for v in ("values", "valid")
        )
        cut = make_modality(values, time, valid=valid, **about)
    cut.attrs |= {key: value for key, value in ds.attrs.items() if key not in cut.attrs}
    keep = [c for c in ds.coords if c not in cut.coords and not {"x", "y"} & set(ds[c].dims)]
    return cut.assign_coords({c: ds[c] for c in keep if "sample" not in ds[c].dims})


def _cut_map(
    target: xr.DataArray, grid: Lattice, name: str, owner: np.ndarray, corner: np.ndarray
) -> xr.Variable:
    data = _cut_array(target.data, grid, f"{TARGETS}/{name}", owner, corner)
    return xr.Variable(target.dims, data, target.attrs)


def _cut_array(array: Any, grid: Lattice, name: str, owner: np.ndarray, corner: np.ndarray) -> Any:
    """Cut (sample, ..., y, x): numpy at once, dask when it is used."""
    part = partial(_slices, grid, name)
    if not isinstance(array, da.Array):
        array = np.asarray(array)
        return part((array[sample] for sample in owner), corner)  # views: windows alone are copied
    inner = tuple(range(1, array.ndim))
    taken = array[owner].rechunk(dict.fromkeys(inner, -1))
    number = da.arange(len(owner), chunks=(taken.chunks[0],))
    side = grid.window * (grid.pixels[name] // grid.cells)
    return da.map_blocks(
        partial(_slices_of, part, corner),
        taken,
        number.reshape(-1, *(1 for _ in inner)),
        dtype=array.dtype,
        meta=np.empty((0,) * array.ndim, array.dtype),
        chunks=(*taken.chunks[:-2], (side,), (side,)),
    )


def _slices_of(part: Any, corner: np.ndarray, images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return part(images, corner[rows.ravel()])


def _slices(
    grid: Lattice, name: str, images: Iterable[np.ndarray], corner: np.ndarray
) -> np.ndarray:
    return np.stack(
        [image[..., *grid.where(name, tuple(c))] for image, c in zip(images, corner, strict=True)]
    )
