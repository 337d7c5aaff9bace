"""Arrays that people have, in memory or in a file, as a cube in one call.

``arrays`` is also the kind of a catalogue entry, for plain netCDF and zarr files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from maestro_lab.cubes.scenes.samples import Sampling, sample_scenes
from maestro_lab.cubes.sensors import sensor as known_sensor
from maestro_lab.cubes.sources.files import there
from maestro_lab.cubes.sources.options import per_modality
from maestro_lab.cubes.sources.recognise import SceneOptions, scene_of
from maestro_lab.cubes.sources.target_maps import maps_of
from maestro_lab.errors import CubeError

__all__ = ["cube_from_dataset", "open_arrays_file"]

Data = xr.Dataset | xr.DataArray | str | Path


def cube_from_dataset(
    data: Data | Mapping[str, Data],
    *,
    sensor: str | Mapping[str, str],
    window: float,
    units: str | Mapping[str, str] | None = None,
    bands: Mapping[str, Any] | Sequence[str] | None = None,
    valid: xr.DataArray | str | Mapping[str, Any] | None = None,
    clouds: tuple[str, Sequence[int]] | Mapping[str, Any] | None = None,
    nodata: float | Mapping[str, float] | None = None,
    offset: Any = None,
    gsd: float | Mapping[str, float] | None = None,
    date: Any = None,
    crs: Any = None,
    targets: Mapping[str, Any] | None = None,
    years: Sequence[int] | None = None,
    period: str = "year",
    region: int | None = None,
    block: int | None = None,
    test: float = 0.2,
    val: float = 0.0,
    buffer: int = 1,
    split_seed: int = 0,
    duplicates: str = "drop",
    title: str = "",
    licence: str = "",
    source: str = "",
) -> xr.DataTree:
    """Make a cube of arrays: windows side by side, a sample each year, split by spatial blocks.

    Dask arrays and files stay lazy: what is read at once is one or two dates a year, to leave out
    windows without a valid pixel. A sample then reads the chunks that it lies in: where chunks are
    much larger than windows, rechunk, or load what fits into memory.

    Parameters
    ----------
    data
        A Dataset or DataArray, or the path of a netCDF or zarr file; or ``{modality: one}`` for
        several sensors or grids over the same ground. Dimensions may stand in any order and under
        any usual name (time or t, band or channel, y or lat ...); bands may be one dimension, or
        one variable each. Without a dimension of time it is one image that belongs to every year.
    sensor
        One of :data:`~maestro_lab.cubes.sensors.SENSORS`, or ``{modality: sensor}``; then one
        Dataset may hold the bands of several.
    window
        Side of a sample in metres: a whole number of pixels of each grid.
    units
        DN, reflectance, linear power, dB or m; default from the attribute ``units``.
    bands
        ``{name in the data: band}``, or names in the order of the data. Default: what is known,
        such as B2, b02, S2-L2A-B02 or blue for Sentinel-2's B02.
    valid
        Where pixels are good: a boolean DataArray on the same grid, or the name of a variable.
    clouds
        Name of a layer of classes and those that are clear, such as ``("SCL", [4, 5, 7])``.
    nodata
        Number that stands for missing pixels; default from the attributes. NaN always does.
    offset
        Added to valid pixels: a number, or one for each date (-1000 for Sentinel-2 products of
        baseline 04.00 and later).
    gsd, date, crs
        Metres a pixel, date(s) and reference system, for data that does not say them.
    targets
        Name to a map on any grid that lines up: a DataArray with attributes ``task``, ``classes``
        and ``missing``, or ``{"map": DataArray, path or variable, "task": ...}``; ``classes`` may
        be ``{label: name}``, then all other labels are missing.
    years
        Calendar years wanted; default all.
    period
        "year": one sample a window and calendar year; "all": one sample a window.
    region, block, test, val, buffer, split_seed
        As in :func:`~maestro_lab.cubes.splits.block_splits`: sides in windows of the regions that
        are held out (default 4, fewer on small ground) and of the blocks, shares of the splits,
        windows kept empty in between. ``test=0`` trains on everything.
    duplicates
        "drop" makes one image of those less than ten minutes apart, "keep" keeps all.
    title, licence, source
        Kept in the root's attributes.

    Returns
    -------
    xarray.DataTree
        A validated cube. ``units``, ``bands``, ``valid``, ``clouds``, ``nodata``, ``offset``,
        ``gsd``, ``date`` may also be given as ``{modality: ...}``.

    Raises
    ------
    CubeError
        Names the modality, what was expected and found, and the option that helps.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> rng, side = np.random.default_rng(0), np.arange(64)
    >>> data = xr.Dataset(
    ...     {b: (("time", "y", "x"), rng.integers(200, 3000, (3, 64, 64))) for b in ("B4", "B8")},
    ...     coords={"time": pd.date_range("2020-05-01", periods=3, freq="30D"),
    ...             "x": 5.0 + 10 * side, "y": 5.0 - 10 * side},
    ... )
    >>> cube = cube_from_dataset(data, sensor="sentinel-2", units="DN", window=80, test=0)
    >>> cube.sizes["sample"], cube["s2"]["band"].values.tolist()
    (64, ['B04', 'B08'])
    """
    sampling = Sampling(
        window=window, years=years, period=period, region=region, block=block, test=test, val=val,
        buffer=buffer, split_seed=split_seed, duplicates=duplicates, title=title, licence=licence,
    )  # fmt: skip
    given = _by_modality(data, sensor)
    said = {
        "sensor": sensor, "units": units, "bands": bands, "valid": valid, "clouds": clouds,
        "nodata": nodata, "offset": offset, "gsd": gsd, "date": date,
    }  # fmt: skip
    options = per_modality(said, list(given))
    opened = {name: _opened(each) for name, each in given.items()}
    scenes = [
        scene_of(name, each, SceneOptions(**options[name], crs=crs))
        for name, each in opened.items()
    ]
    paths = dict.fromkeys(str(each) for each in given.values() if isinstance(each, str | Path))
    return sample_scenes(
        scenes,
        sampling,
        source=source or ", ".join(paths) or "arrays in memory",
        targets=maps_of(targets or {}, opened, gsd=gsd, crs=crs),
    )


def _by_modality(data: Data | Mapping[str, Data], sensor: Any) -> dict[str, Data]:
    """Return the data of each modality; their names come from either option, or the sensor."""
    if isinstance(data, Mapping) and not isinstance(data, xr.Dataset):
        found = {str(name): each for name, each in data.items()}
    elif isinstance(sensor, Mapping):
        found = {str(name): data for name in sensor}
    else:
        found = {known_sensor(sensor).modality: data}
    if not found:
        raise CubeError("data", expected="at least one modality", found="none")
    wrong = [n for n, d in found.items() if not isinstance(d, Data)]
    if wrong:
        raise CubeError(
            f"{wrong[0]}: data",
            expected="an xarray Dataset or DataArray, or a path",
            found=type(found[wrong[0]]).__name__,
            do="wrap arrays: xr.DataArray(values, dims=('time', 'band', 'y', 'x'), coords=...)",
        )
    return found


def _opened(data: Data) -> xr.Dataset | xr.DataArray:
    return data if isinstance(data, xr.Dataset | xr.DataArray) else open_arrays_file(data)


def open_arrays_file(path: str | Path) -> xr.Dataset:
    """Open a netCDF or zarr file lazily, without dask.

    Raises
    ------
    CubeError
        If it is missing or neither.
    """
    path = there(Path(path).expanduser(), "a netCDF or zarr file", "give its full path")
    options = {"engine": "zarr", "consolidated": False} if path.is_dir() else {"engine": "h5netcdf"}
    try:
        return xr.open_dataset(path, **options)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise CubeError(
            f"{path} cannot be read",
            expected="a netCDF 4 file, or a zarr group",
            found=(str(error).splitlines() or [error])[0],
        ) from error
