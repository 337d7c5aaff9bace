"""``romania``: one square kilometre of forest, 140 real Sentinel-2 acquisitions.

The arrays come inside the package ``nrt`` 0.2.1 (EUPL-1.2, European Commission, Joint Research
Centre): Sentinel-2 L2A digital numbers on a 10 m and a 20 m grid in EPSG:3035 with the scene
classification, August 2015 to January 2021, and the Copernicus tree cover density of 2018.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from maestro_lab.cubes.contract import assemble, make_modality
from maestro_lab.cubes.splits import block_splits
from maestro_lab.errors import CubeError

__all__ = ["open_romania"]

CLEAR = (4, 5, 7)
"""Scene classes taken as clear: vegetation, bare soil, unclassified."""

YEARS = (2016, 2017, 2018, 2019, 2020)
_GRIDS = {
    "s2_10m": ("romania_10m", 10.0, {"B02": "B2", "B03": "B3", "B04": "B4", "B08": "B8"}),
    "s2_20m": ("romania_20m", 20.0, {"B03": "B3", "B04": "B4", "B8A": "B8A", "B11": "B11"}),
}
_SIDE = 1000.0  # metres


def open_romania(
    window: float = 80.0,
    years: tuple[int, ...] | list[int] = YEARS,
    region: int = 4,
    block: int = 2,
    test: float = 0.2,
    buffer: int = 1,
    split_seed: int = 6,
) -> xr.DataTree:
    """Cut the arrays into samples: one window and one year each, where any pixel is clear.

    Whole regions of ``region`` x ``region`` windows are held out, and training windows that touch
    them are put into ``buffer``. The default ``split_seed`` is the first that puts the held-out
    regions into two opposite corners, where they cost the fewest training windows.

    Parameters
    ----------
    window
        Side of a window in metres; a multiple of 20 m.
    years
        Calendar years; 2016 to 2020 are complete.
    region, block
        Sides, in windows, of the regions that are split and of the blocks resampled for
        confidence intervals.
    test
        Share of the regions held out.
    buffer
        Windows kept empty around held-out regions.
    split_seed
        Chooses the regions.

    Returns
    -------
    xarray.DataTree
        ``s2_10m`` (B02 B03 B04 B08) and ``s2_20m`` (B03 B04 B8A B11) in digital numbers; target
        ``tree_cover`` in percent on the 20 m grid.

    Raises
    ------
    CubeError
        If the package is missing or an option makes no sense.
    """
    n = _windows(window)
    _check_years(years)
    row, column = (a.reshape(-1) for a in np.indices((n, n)))
    split, blocks = block_splits(
        row, column, region=region, block=block, shares={"test": test}, buffer=buffer,
        seed=split_seed,
    )  # fmt: skip
    sources = {name: _load(function) for name, (function, _, _) in _GRIDS.items()}
    modalities = {name: _cut(sources[name], name, window, n, list(years)) for name in _GRIDS}
    ten, repeat = sources["s2_10m"], len(years)
    west, north = float(ten.x[0]) - 5 + _margin(window), float(ten.y[0]) + 5 - _margin(window)
    place = np.repeat(np.arange(n * n), repeat)
    seen = np.any([ds["valid"].values.any(axis=(1, 2, 3)) for ds in modalities.values()], axis=0)
    keep, year = np.flatnonzero(seen), np.tile(years, n * n)
    row, column = row[place], column[place]
    names = [f"r{r:02d}c{c:02d}_{y}" for r, c, y in zip(row, column, year, strict=True)]
    return assemble(
        {name: ds.isel(sample=keep) for name, ds in modalities.items()},
        sample=[names[i] for i in keep],
        split=split[place][keep],
        block=blocks[place][keep],
        extra={
            "ref_date": np.array([f"{y}-07-01" for y in year], "datetime64[ns]")[keep],
            "place": place[keep],
            "easting": (west + column * window)[keep],
            "northing": (north - row * window)[keep],
        },
        targets=_tree_cover(window, repeat).isel(sample=keep),
        title="Romania: 1 km2 of forest, Sentinel-2 L2A 2016-2020",
        licence="EUPL-1.2; contains modified Copernicus Sentinel data",
        source="PyPI package nrt 0.2.1 (European Commission, Joint Research Centre)",
        attrs={"crs": "EPSG:3035", "window": window},
    )


def _windows(window: float) -> int:
    number = isinstance(window, int | float)
    if not number or not 20 <= window <= _SIDE / 3 or window % 20:
        raise CubeError(
            "romania: window", expected="a multiple of 20 m from 20 to 320", found=repr(window)
        )
    return int(_SIDE // window)


def _margin(window: float) -> float:
    """Return the metres left out in the west and north: whole pixels of both grids."""
    return (_SIDE - _windows(window) * window) // 40 * 20


def _check_years(years: object) -> None:
    several = isinstance(years, list | tuple | range) and len(years) == len(set(years)) > 0
    if not several or not set(years) <= set(range(2015, 2022)):
        raise CubeError(
            "romania: years", expected="a list of years from 2015 to 2021, each once", found=years
        )


def _load(function: str) -> Any:
    try:
        from nrt import data
    except ImportError as error:
        raise CubeError(
            "cube 'romania' needs the package nrt",
            expected="nrt 0.2.1",
            found="not installed",
            do="pip install 'maestro-lab[demo]'",
        ) from error
    loaded = getattr(data, function, None)
    if loaded is None or not hasattr(data, "romania_10m"):
        raise CubeError(
            "this version of nrt ships no data",
            expected="nrt 0.2.1",
            do="pip install 'maestro-lab[demo]'",
        )
    found = loaded()
    return found.load() if isinstance(found, xr.Dataset) else found


def _tiles(array: np.ndarray, window: float, gsd: float) -> np.ndarray:
    """Cut (..., y, x) into windows (n*n, ..., pixels, pixels), row by row."""
    n, pixels, start = _windows(window), int(window // gsd), int(_margin(window) // gsd)
    array = array[..., start : start + n * pixels, start : start + n * pixels]
    tiles = array.reshape(*array.shape[:-2], n, pixels, n, pixels)
    tiles = np.moveaxis(tiles, (-4, -2), (0, 1))
    return tiles.reshape(n * n, *tiles.shape[2:])


def _cut(source: xr.Dataset, name: str, window: float, n: int, years: list[int]) -> xr.Dataset:
    _, gsd, bands = _GRIDS[name]
    pixels = int(window // gsd)
    stack = np.stack([source[b].values for b in bands.values()], 1)  # (t, band, y, x)
    there = np.isfinite(stack).all(1)
    values = _tiles(np.rint(np.nan_to_num(stack)).astype(np.uint16), window, gsd)
    clear = _tiles(np.isin(source["SCL"].values, CLEAR) & there, window, gsd)
    in_year = [np.flatnonzero(source["time"].dt.year.values == y) for y in years]
    longest = max(len(i) for i in in_year)
    shape = (n * n, len(years), longest)
    out = np.zeros((*shape, *values.shape[2:]), np.uint16)
    valid = np.zeros((*shape, pixels, pixels), bool)
    time = np.full(shape, np.datetime64("NaT"), "datetime64[ns]")
    for k, index in enumerate(in_year):
        out[:, k, : len(index)] = values[:, index]
        valid[:, k, : len(index)] = clear[:, index]
        time[:, k, : len(index)] = source["time"].values[index]
    merged = [a.reshape(-1, *a.shape[2:]) for a in (out, valid, time)]
    return make_modality(
        merged[0], merged[2], valid=merged[1], bands=list(bands), units="DN", gsd=gsd,
        sensor_name="sentinel-2", crs="EPSG:3035",
    )  # fmt: skip


def _tree_cover(window: float, years: int) -> xr.Dataset:
    cover = _load("romania_forest_cover_percentage").astype(np.float32)
    tiles = np.repeat(_tiles(cover, window, 20.0), years, axis=0)
    return xr.Dataset(
        {
            "tree_cover": (
                ("sample", "y", "x"),
                tiles,
                {
                    "task": "regression",
                    "units": "percent",
                    "gsd": 20.0,
                    "source": "Copernicus HRL tree cover density 2018, used for every year",
                },
            )
        }
    )
