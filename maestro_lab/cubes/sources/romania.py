"""``romania``: one square kilometre of forest, 140 real Sentinel-2 acquisitions.

The arrays come inside the package ``nrt`` 0.2.1 (EUPL-1.2, European Commission, Joint Research
Centre): Sentinel-2 L2A digital numbers on a 10 m and a 20 m grid in EPSG:3035 with the scene
classification, August 2015 to January 2021, and the Copernicus tree cover density of 2018.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from maestro_lab.cubes.scenes.ground import Ground
from maestro_lab.cubes.scenes.samples import Sampling, splits_of
from maestro_lab.cubes.sources.arrays import cube_from_dataset
from maestro_lab.errors import CubeError

__all__ = ["open_romania"]

CLEAR = (4, 5, 7)
"""Scene classes taken as clear: vegetation, bare soil, unclassified."""

YEARS = (2016, 2017, 2018, 2019, 2020)
_GRIDS = {
    "s2_10m": ("romania_10m", {"B02": "B2", "B03": "B3", "B04": "B4", "B08": "B8"}),
    "s2_20m": ("romania_20m", {"B03": "B3", "B04": "B4", "B8A": "B8A", "B11": "B11"}),
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
    splitting = {"region": region, "block": block, "test": test, "buffer": buffer}
    splitting["split_seed"] = split_seed
    splits_of(Ground(0.0, _SIDE, window, (n, n)), Sampling(window, **splitting))  # before reading
    sources = {name: _load(function) for name, (function, _) in _GRIDS.items()}
    clear = {name: _clear(source, _GRIDS[name][1]) for name, source in sources.items()}
    return cube_from_dataset(
        {name: _numbers(source, _GRIDS[name][1]) for name, source in sources.items()},
        sensor=dict.fromkeys(_GRIDS, "sentinel-2"),
        window=window,
        units="DN",
        valid=clear,
        crs="EPSG:3035",
        years=list(years),
        targets={"tree_cover": _tree_cover(sources["s2_20m"])},
        title="Romania: 1 km2 of forest, Sentinel-2 L2A 2016-2020",
        licence="EUPL-1.2; contains modified Copernicus Sentinel data",
        source="PyPI package nrt 0.2.1 (European Commission, Joint Research Centre)",
        **splitting,
    )


def _windows(window: float) -> int:
    number = isinstance(window, int | float)
    if not number or not 20 <= window <= _SIDE / 3 or window % 20:
        raise CubeError(
            "romania: window", expected="a multiple of 20 m from 20 to 320", found=repr(window)
        )
    return int(_SIDE // window)


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


def _numbers(source: xr.Dataset, bands: dict[str, str]) -> xr.Dataset:
    """Return the bands as the whole numbers they are, 0 where there is none."""
    return xr.Dataset(
        {band: np.rint(source[name].fillna(0)).astype(np.uint16) for band, name in bands.items()}
    )


def _clear(source: xr.Dataset, bands: dict[str, str]) -> xr.DataArray:
    there = np.isfinite(source[list(bands.values())].to_array()).all("variable")
    return source["SCL"].isin(CLEAR) & there


def _tree_cover(grid: xr.Dataset) -> xr.DataArray:
    cover = np.asarray(_load("romania_forest_cover_percentage"), np.float32)
    return xr.DataArray(
        cover,
        dims=("y", "x"),
        coords={"y": grid["y"], "x": grid["x"]},
        attrs={
            "task": "regression",
            "units": "percent",
            "source": "Copernicus HRL tree cover density 2018, used for every year",
        },
    )
