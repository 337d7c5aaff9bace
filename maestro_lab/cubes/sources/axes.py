"""Dimensions, grids and dates of xarray objects, under the names that people give them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from maestro_lab.cubes.scenes.ground import Grid
from maestro_lab.errors import CubeError

__all__ = ["canonical", "dates_from", "dates_of", "grid_of", "with_system"]

_NAMES = {
    "time": ("time", "t", "date", "dates", "datetime", "acquisition_date", "acquisition_time"),
    "band": ("band", "bands", "channel", "channels", "variable", "wavelength"),
    "y": ("y", "yc", "lat", "latitude", "northing", "row", "rows"),
    "x": ("x", "xc", "lon", "long", "longitude", "easting", "col", "column", "columns"),
}
_DATES = ("date", "acquisition_date", "datetime", "TIFFTAG_DATETIME", "time")
_REPROJECT = (
    "bring the data to metres with rioxarray: data.rio.reproject(data.rio.estimate_utm_crs())"
)


def canonical(where: str, array: xr.DataArray) -> xr.DataArray:
    """Name and order the dimensions of an image: time and band where it has them, then y and x.

    Rows run from north to south and columns from west to east in the result.

    Parameters
    ----------
    where
        Start of an error.
    array
        Dimensions in any order, under usual names; others must have length 1.

    Raises
    ------
    CubeError
        If a dimension is not there, is there twice or means nothing here.

    Examples
    --------
    >>> image = xr.DataArray(np.zeros((4, 5, 3)), dims=("lat", "lon", "channel"))
    >>> dict(canonical("s2", image).sizes)
    {'band': 3, 'y': 4, 'x': 5}
    """
    found: dict[str, str] = {}
    for dim in map(str, array.dims):
        kind = next((k for k, names in _NAMES.items() if dim.lower() in names), None)
        if kind in found.values():
            other = next(d for d, k in found.items() if k == kind)
            raise CubeError(
                f"{where}: dimensions {other!r} and {dim!r}", expected=f"one for {kind}"
            )
        if kind:
            found[dim] = kind
    strange = [d for d in array.dims if str(d) not in found and array.sizes[d] > 1]
    if strange or not {"y", "x"} <= set(found.values()):
        raise CubeError(
            f"{where}: dimensions",
            expected="y and x, and where there are several, time and band (or lat, lon, t ...)",
            found=", ".join(f"{d} {n}" for d, n in array.sizes.items()) or "none",
            do="rename them: data.rename({'old': 'y'})",
        )
    array = array.squeeze([d for d in array.dims if str(d) not in found], drop=True)
    new = {dim: kind for dim, kind in found.items() if dim != kind}
    array = array.drop_vars([k for k in new.values() if k in array.coords]).rename(new)
    array = array.transpose(*[kind for kind in _NAMES if kind in array.dims])
    flips = {
        dim: slice(None, None, -1)
        for dim, sign in (("y", -1), ("x", 1))
        if dim in array.coords and array.sizes[dim] > 1 and _direction(array[dim]) == -sign
    }
    return array.isel(flips) if flips else array


def _direction(axis: xr.DataArray) -> int:
    return int(np.sign(axis.values[-1] - axis.values[0])) if axis.dtype.kind in "uif" else 0


def with_system(data: xr.Dataset) -> xr.Dataset:
    """Make the variables that describe reference systems coordinates, so that they stay along."""
    named = {str(v.attrs.get("grid_mapping", "")) for v in data.data_vars.values()}
    named |= {str(v.encoding.get("grid_mapping", "")) for v in data.data_vars.values()}
    return data.set_coords([n for n in data.data_vars if n in named | {"spatial_ref"}])


def grid_of(where: str, array: xr.DataArray, *, gsd: float | None = None, crs: Any = None) -> Grid:
    """Find the pixels of a canonical image on the ground.

    Parameters
    ----------
    where
        Start of an error.
    array
        As :func:`canonical` returns it.
    gsd
        Metres a pixel, for arrays without coordinates.
    crs
        Reference system, for arrays that do not say it.

    Raises
    ------
    CubeError
        If pixels are not square, not in metres or not evenly spaced.

    Examples
    --------
    >>> x, y = 500_005 + 10 * np.arange(8), 5_000_000 - 10 * np.arange(8)
    >>> image = xr.DataArray(np.zeros((8, 8)), coords={"y": y, "x": x}, dims=("y", "x"))
    >>> grid_of("s2", image)
    Grid(west=500000.0, north=5000005.0, gsd=10.0, shape=(8, 8), crs=None)
    """
    system = _system(where, array, crs)
    axes = {dim: _axis(where, array, dim) for dim in ("x", "y")}
    if (system and system.is_geographic) or any(_degrees(array, dim) for dim in axes):
        raise CubeError(
            f"{where}: coordinates are degrees", expected="metres", found=system, do=_REPROJECT
        )
    steps = [abs(step) for _, step in axes.values() if step]
    side = steps[0] if steps else gsd
    if side is None:
        raise CubeError(
            f"{where}: no coordinates",
            expected="x and y in metres, or the size of a pixel",
            found=", ".join(map(str, array.coords)) or "no coordinates at all",
            do="say the metres a pixel with gsd=10",
        )
    for other in (*steps, *([] if gsd is None else [gsd])):
        if abs(other - side) > 1e-3 * side:
            raise CubeError(
                f"{where}: size of a pixel",
                expected=f"{side:g} m, as along the first axis",
                found=f"{other:g} m",
                do="bring the data to square pixels with rioxarray: data.rio.reproject(...)",
            )
    side, shape = round(float(side), 6), (array.sizes["y"], array.sizes["x"])
    (left, _), (top, _) = axes["x"], axes["y"]
    west = 0.0 if left is None else left - side / 2
    north = shape[0] * side if top is None else top + side / 2
    return Grid(west, north, side, shape, system)


def _system(where: str, array: xr.DataArray, crs: Any) -> Any:
    import rioxarray  # noqa: F401  registers the .rio accessor
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        return array.rio.crs if crs is None else CRS.from_user_input(crs)
    except CRSError as error:
        raise CubeError(
            f"{where}: crs", expected="a reference system, such as 'EPSG:32633'", found=crs
        ) from error


def _axis(where: str, array: xr.DataArray, dim: str) -> tuple[float | None, float | None]:
    """Return the first position along a dimension and the step, None where they are not known."""
    if dim not in array.coords or array[dim].dtype.kind not in "uif":
        return None, None
    values = np.asarray(array[dim].values, np.float64)
    if len(values) == 1:
        return float(values[0]), None
    step = (values[-1] - values[0]) / (len(values) - 1)
    even = values[0] + step * np.arange(len(values))
    if step == 0 or np.abs(values - even).max() > 0.05 * abs(step):
        raise CubeError(
            f"{where}: positions along {dim}",
            expected="even steps",
            found=f"steps from {np.diff(values).min():g} to {np.diff(values).max():g}",
            do="bring the data to a regular grid",
        )
    return float(values[0]), float(step)


def _degrees(array: xr.DataArray, dim: str) -> bool:
    return dim in array.coords and str(array[dim].attrs.get("units", "")).startswith("degree")


def dates_of(
    where: str, array: xr.DataArray, *, date: Any = None, needed: bool = True
) -> np.ndarray:
    """Find the dates of a canonical image: ``datetime64[ns]`` (t,), empty where it has none.

    Parameters
    ----------
    where
        Start of an error.
    array
        As :func:`canonical` returns it.
    date
        The date, or one for each image of a series, where the data does not say it.
    needed
        Whether an image without a date is refused.

    Raises
    ------
    CubeError
        If there is no date, or it cannot be read.
    """
    count = array.sizes.get("time", 1)
    if date is None:
        if "time" in array.coords:
            date = array["time"].values
        elif "time" not in array.dims:
            date = next((array.attrs[k] for k in _DATES if array.attrs.get(k)), None)
            scalars = [n for n in _NAMES["time"] if n in array.coords and not array[n].ndim]
            date = array[scalars[0]].values if scalars else date
    if date is None and not needed:
        return np.zeros(0, "datetime64[ns]")
    if date is None:
        raise CubeError(
            f"{where}: no dates",
            expected=f"a date for each of {count} images" if count > 1 else "a date",
            found=", ".join(map(str, array.coords)) or "no coordinates",
            do="say it: date='2020-07-01', or a list of dates",
        )
    dates = dates_from(where, date)
    if len(dates) != count:
        raise CubeError(f"{where}: dates", expected=f"{count}, one an image", found=len(dates))
    return dates


def dates_from(where: str, date: Any) -> np.ndarray:
    """Turn a date or several, as datetime64 or text, into ``datetime64[ns]`` (t,).

    Raises
    ------
    CubeError
        If one is no date, or missing.

    Examples
    --------
    >>> dates_from("s2", "20200701").astype("datetime64[D]")
    array(['2020-07-01'], dtype='datetime64[D]')
    """
    values = np.atleast_1d(np.asarray(date))
    texts = [str(v) for v in values.tolist()] if values.dtype.kind in "uiOUS" else []
    try:
        if values.dtype.kind == "M":
            dates = values.astype("datetime64[ns]")
        elif texts and all(len(t) == 8 and t.isdigit() for t in texts):
            dates = pd.to_datetime(texts, format="%Y%m%d").to_numpy("datetime64[ns]")
        elif values.dtype.kind in "OUS":
            plain = [t.replace(":", "-", 2) if t[4:5] == ":" else t for t in texts]
            dates = pd.DatetimeIndex([pd.Timestamp(t) for t in plain]).tz_localize(None)
            dates = dates.to_numpy("datetime64[ns]")
        else:
            raise ValueError(f"numbers such as {values[0]}")
        if np.isnat(dates).any():
            raise ValueError("a date that is missing (NaT)")
    except (ValueError, TypeError) as error:
        raise CubeError(
            f"{where}: dates",
            expected="dates, as datetime64 or YYYY-MM-DD",
            found=str(error).splitlines()[0],
            do="give the time coordinate dates, or say them with date=[...]",
        ) from error
    return dates
