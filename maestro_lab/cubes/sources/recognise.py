"""xarray objects as people have them -> scenes: units, masks and fill values found.

What cannot be told for sure is refused with the option that says it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dask
import numpy as np
import xarray as xr

from maestro_lab.cubes.reading import Where
from maestro_lab.cubes.scenes.ground import Grid, Scene
from maestro_lab.cubes.sensors import UNITS, Sensor, sensor
from maestro_lab.cubes.sources.axes import canonical, dates_of, grid_of, with_system
from maestro_lab.cubes.sources.layers import layers_of
from maestro_lab.errors import CubeError

__all__ = ["SceneOptions", "added", "scene_of"]

_UNITS = {
    "dn": "DN",
    "digital number": "DN",
    "digital numbers": "DN",
    "decibel": "dB",
    "db": "dB",
    "power": "linear power",
    **dict.fromkeys(("metre", "metres", "meter", "meters"), "m"),
    **{unit.lower(): unit for unit in UNITS},
}
_FILL = ("_FillValue", "missing_value", "nodata")


@dataclass(frozen=True)
class SceneOptions:
    """What is said of one modality; None leaves it to the data."""

    sensor: str | None = None
    units: str | None = None
    bands: Mapping[str, str] | Sequence[str] | None = None
    valid: xr.DataArray | str | None = None
    clouds: tuple[str, Sequence[int]] | None = None
    nodata: float | None = None
    offset: Any = None
    gsd: float | None = None
    date: Any = None
    crs: Any = None


@dataclass(frozen=True)
class _Stored:
    """An array (time, ..., y, x) in memory, of dask or of a file, or one without time."""

    array: Any
    timeless: bool

    def part(self, rows: np.ndarray, where: Where) -> Any:
        """Return some dates of a part; of a dask array as one that is still to be computed."""
        if isinstance(self.array, xr.Variable):
            *first, y, x = self.array.dims
            part = self.array.isel({y: where[0], x: where[1]})
            part = part.values if self.timeless else part.isel({first[0]: rows}).values
        else:
            part = self.array[..., where[0], where[1]]
            part = part if self.timeless else part[rows]
        return part[None] if self.timeless else part


@dataclass(frozen=True)
class _ReadArrays:
    """Reads some dates of a part of arrays, one a band, or of one with all bands."""

    images: tuple[_Stored, ...]
    stacked: bool
    dtype: np.dtype
    nodata: tuple[float | None, ...]
    mask: _Stored | None
    classes: tuple[int, ...] | None
    offset: np.ndarray | None
    counts: bool

    def __call__(self, rows: np.ndarray, where: Where) -> tuple[np.ndarray, np.ndarray]:
        masks = () if self.mask is None else (self.mask,)
        parts = [stored.part(rows, where) for stored in (*self.images, *masks)]
        found = dask.compute(*parts, scheduler="synchronous")
        images = [np.asarray(f) for f in found[: len(self.images)]]
        raw = images[0] if self.stacked else np.stack(images, 1)
        there = np.ones((len(raw), *raw.shape[-2:]), bool)
        for band in range(raw.shape[1]):
            fill = self.nodata[band % len(self.nodata)]
            if fill is not None:
                there &= raw[:, band] != fill
        if raw.dtype.kind == "f":
            finite = np.isfinite(raw)
            there &= finite.all(1)
            raw = raw if finite.all() else np.where(finite, raw, 0).astype(raw.dtype)
        for mask in map(np.asarray, found[len(self.images) :]):
            there &= mask.astype(bool) if self.classes is None else np.isin(mask, self.classes)
        if self.offset is not None:
            raw = added(raw, self.offset[rows], there, counts=self.counts)
        return raw.astype(self.dtype, copy=False), there


def added(
    values: np.ndarray, offset: np.ndarray, valid: np.ndarray, *, counts: bool = True
) -> np.ndarray:
    """Add a number for each date to valid pixels (t, band, y, x).

    Digital numbers (``counts``) stay at 0 or above, and whole numbers in range.

    Examples
    --------
    >>> values = np.array([[[[1400, 900, 0]]]], np.uint16)
    >>> added(values, np.array([-1000]), np.array([[[True, True, False]]])).ravel().tolist()
    [400, 0, 0]
    """
    moved = values.astype(np.float64) + offset[:, None, None, None]
    if values.dtype.kind in "ui":
        moved = np.clip(np.rint(moved), 0, np.iinfo(values.dtype).max)
    elif counts:
        moved = np.maximum(moved, 0)
    return np.where(valid[:, None], moved, values).astype(values.dtype)


def scene_of(name: str, data: xr.Dataset | xr.DataArray, options: SceneOptions) -> Scene:
    """Recognise a Dataset or DataArray as a scene.

    Parameters
    ----------
    name
        Name of the modality.
    data
        (time, band, y, x) in any order and under usual names, or one variable (time, y, x) a
        band; without time or band where there is one.
    options
        What the data does not say itself.

    Raises
    ------
    CubeError
        Names the modality, what was not found and the option that tells it.
    """
    known = sensor(options.sensor) if options.sensor else None
    if isinstance(data, xr.Dataset):
        data = with_system(data)
    images, bands, layers = layers_of(name, data, options.bands, known)
    first = images[0]
    grid = grid_of(name, first, gsd=options.gsd, crs=options.crs)
    for image in images[1:]:
        _check_grid(name, str(image.name), grid, image, options)
    elevation = known is not None and known.name == "elevation"
    time = dates_of(name, first, date=options.date, needed=not elevation)
    mask, classes = _mask(name, options, layers, grid, first)
    dtype = np.result_type(*(image.dtype for image in images))
    if dtype.kind not in "uif":
        raise CubeError(f"{name}: values", expected="numbers", found=dtype)
    units, lazy = _units(name, first, options.units, known), _is_lazy(data)
    nodata = tuple(_nodata(name, image, options.nodata) for image in images)
    read = _ReadArrays(
        tuple(_stored(image, lazy) for image in images),
        "band" in first.dims,
        np.dtype(np.float32) if dtype == np.float64 else dtype,
        nodata,
        None if mask is None else _stored(mask, lazy),
        classes,
        _offset(name, options.offset, max(1, len(time))),
        units == "DN",
    )
    return Scene(
        name, grid, tuple(bands), units, options.sensor,
        read.dtype, time, read, next((n for n in nodata if n is not None), None),
        "time" not in first.dims, lazy,
    )  # fmt: skip


def _is_lazy(data: xr.Dataset | xr.DataArray) -> bool:
    """Tell whether pixels lie elsewhere: dask arrays, or variables of an opened file."""
    arrays = data.data_vars.values() if isinstance(data, xr.Dataset) else [data]
    return "source" in data.encoding or any(
        array.chunks is not None or "source" in array.encoding for array in arrays
    )


def _stored(array: xr.DataArray, lazy: bool) -> _Stored:
    chunked = array.chunks is not None
    inner = array.data if chunked else array.variable if lazy else array.values
    return _Stored(inner, "time" not in array.dims)


def _check_grid(
    name: str, label: str, grid: Grid, image: xr.DataArray, options: SceneOptions
) -> None:
    other = grid_of(f"{name}: {label}", image, gsd=options.gsd, crs=options.crs or grid.crs)
    if (other.shape, other.gsd) != (grid.shape, grid.gsd) or max(
        abs(other.west - grid.west), abs(other.north - grid.north)
    ) > 0.01 * grid.gsd:
        raise CubeError(
            f"{name}: {label} lies on another grid",
            expected=f"{grid.shape[0]} x {grid.shape[1]} pixels of {grid.gsd:g} m from "
            f"x {grid.west:.10g}, y {grid.north:.10g}",
            found=f"{other.shape[0]} x {other.shape[1]} pixels of {other.gsd:g} m from "
            f"x {other.west:.10g}, y {other.north:.10g}",
            do="give each grid as a modality of its own: {'s2_10m': ten, 's2_20m': twenty}",
        )


def _mask(
    name: str,
    options: SceneOptions,
    layers: Mapping[str, xr.DataArray],
    grid: Grid,
    first: xr.DataArray,
) -> tuple[xr.DataArray | None, tuple[int, ...] | None]:
    """Return the layer that tells clear pixels, and its clear classes (None: it is boolean)."""
    if options.valid is not None and options.clouds is not None:
        raise CubeError(f"{name}: valid and clouds", expected="one of them", found="both")
    chosen, classes = options.valid, None
    if options.clouds is not None:
        try:
            chosen, classes = options.clouds[0], tuple(int(c) for c in options.clouds[1])
        except (TypeError, ValueError, IndexError, KeyError):
            classes = ()
        if not classes or len(options.clouds) != 2:
            raise CubeError(
                f"{name}: clouds",
                expected="a layer and its clear classes, such as ('SCL', [4, 5, 7])",
                found=repr(options.clouds),
            )
    if chosen is None:
        return None, None
    if isinstance(chosen, str) and chosen not in layers:
        raise CubeError(
            f"{name}: no layer {chosen!r}", expected="some of " + ", ".join(layers), found=chosen
        )
    mask = layers[chosen] if isinstance(chosen, str) else canonical(f"{name}: valid", chosen)
    mask = mask.isel(band=0, drop=True) if mask.sizes.get("band") == 1 else mask
    _check_grid(name, "the mask", grid, mask, options)
    counts = mask.sizes.get("time"), first.sizes.get("time")
    if counts[0] is not None and counts[0] != (counts[1] or 1):
        raise CubeError(f"{name}: dates of the mask", expected=counts[1] or 1, found=counts[0])
    if counts[0] is not None and all("time" in a.coords for a in (mask, first)):
        unequal = mask["time"].values != first["time"].values
        if unequal.any():
            row = int(np.argmax(unequal))
            raise CubeError(
                f"{name}: dates of the mask",
                expected=str(first["time"].values[row]),
                found=str(mask["time"].values[row]),
                do="bring it to the dates of the images: mask.sel(time=data.time)",
            )
    return mask, classes


def _units(name: str, image: xr.DataArray, units: str | None, known: Sensor | None) -> str:
    said = str(image.attrs.get("units", "")).strip()
    fits = tuple(known.plausible) if known else UNITS
    found = units if units is not None else _UNITS.get(said.lower())
    if found is None and said == "1" and "reflectance" in fits:
        found = "reflectance"
    if found is None and len(fits) == 1:
        found = fits[0]
    if found not in UNITS:
        raise CubeError(
            f"{name}: units",
            expected=" | ".join(fits),
            found=repr(units if units is not None else said) if units or said else "nothing",
            do=f"say them: units={fits[0]!r}",
        )
    return found


def _nodata(name: str, image: xr.DataArray, given: float | None) -> float | None:
    scale, shift = image.attrs.get("scale_factor", 1), image.attrs.get("add_offset", 0)
    if (scale, shift) != (1, 0):
        raise CubeError(
            f"{name}: stored numbers that still have to be scaled",
            expected="values in their units",
            found=f"scale_factor {scale}, add_offset {shift}",
            do="open the data with mask_and_scale=True, or xr.decode_cf(data)",
        )
    found = given if given is not None else next(
        (image.attrs[key] for key in _FILL if image.attrs.get(key) is not None), None
    )  # fmt: skip
    fill = None if found is None else float(found)
    return None if fill is None or np.isnan(fill) else fill


def _offset(name: str, offset: Any, count: int) -> np.ndarray | None:
    if offset is None:
        return None
    numbers = np.asarray(offset, np.float64)
    if numbers.ndim > 1 or (numbers.ndim == 1 and len(numbers) != count):
        raise CubeError(
            f"{name}: offset", expected=f"a number, or {count}, one a date", found=numbers.shape
        )
    return np.broadcast_to(numbers, count) if numbers.any() else None
