"""Arrays that cannot become a cube: what is wrong, and the option that helps."""

import numpy as np
import pandas as pd
import pytest
import rioxarray  # noqa: F401  registers the .rio accessor
import xarray as xr

import maestro_lab as ml
from maestro_lab.errors import CubeError
from tests.cubes.sources.images import BANDS, DAYS, OPTIONS, WEST, a_map, numbers, per_band, stack

NO_PLACE = xr.DataArray(numbers(), dims=("time", "band", "y", "x"),
                        coords={"time": DAYS, "band": list(BANDS)})  # fmt: skip


def test_arrays_without_coordinates():
    with pytest.raises(CubeError, match=r"s2: no coordinates\n.*size of a pixel\n.*\n.*gsd=10"):
        ml.cube_from_dataset(NO_PLACE, **OPTIONS)
    cube = ml.cube_from_dataset(NO_PLACE, **OPTIONS, gsd=10)
    assert cube.sizes["sample"] == 72 and "crs" not in cube.attrs
    dated = xr.DataArray(numbers(), dims=("time", "band", "y", "x"))
    full = ml.cube_from_dataset(dated, **OPTIONS, gsd=10, bands=list(BANDS), date=list(DAYS))
    assert full["s2"].equals(cube["s2"])


def degrees():
    data = stack().assign_coords(x=15 + np.arange(48) * 1e-4, y=45 - np.arange(48) * 1e-4)
    return data.rio.write_crs(4326)


BAD = {
    "degrees": (degrees(), {}, r"coordinates are degrees\n.*metres\n.*4326\n.*estimate_utm_crs"),
    "degrees told": (
        stack(x=("x", 15 + np.arange(48) * 1e-4, {"units": "degrees_east"})), {},
        r"coordinates are degrees",
    ),
    "no units": (stack(), {"units": None}, r"s2: units\n.*DN \| refl.*\n.*nothing\n.*units='DN'"),
    "odd units": (stack(), {"units": "percent"}, r"s2: units\n.*DN.*\n.*'percent'"),
    "other sensor": (stack(), {"sensor": "sentinel-1", "units": "dB"}, r"no layer is a band of s"),
    "unknown sensor": (stack(), {"sensor": "s9"}, r"sensor 's9' is not known"),
    "twice one band": (
        per_band(("B02", "blue", "B08")), {}, r"two layers for band B02\n.*\n.*B02, blue"
    ),
    "a name that is not there": (stack(), {"bands": {"x": "B02"}}, r"no 'x' in the data\n.*B02, B"),
    "a band that is none": (stack(), {"bands": {"B02": "B99"}}, r"no layer is a band of"),
    "pixels not square": (
        stack(x=WEST + 20 * np.arange(48)), {}, r"size of a pixel\n.*20 m.*\n.*10 m\n.*reproject"
    ),
    "uneven steps": (
        stack(x=WEST + 10 * np.arange(48) + 4 * (np.arange(48) > 20)), {},
        r"positions along x\n.*even steps\n.*10 to 14",
    ),
    "no x": (stack().rename(x="third"), {}, r"dimensions\n.*y and x.*\n.*third 48\n.*rename"),
    "x twice": (stack().rename(time="lon"), {}, r"dimensions 'lon' and 'x'\n.*one for x"),
    "no dates": (stack().drop_vars("time"), {}, r"no dates\n.*each of 4.*\n.*\n.*date="),
    "dates that are none": (stack(time=[1.5, 2, 3, 4]), {}, r"dates\n.*YYYY-MM-DD\n.*numbers such"),
    "a date missing": (
        stack(time=DAYS.where(DAYS > "2019-06")), {}, r"dates\n.*\n.*missing \(NaT\)"
    ),
    "too few dates": (stack(), {"date": ["2019-01-01"]}, r"dates\n.*4, one an image\n.*1"),
    "still to be scaled": (
        stack().assign_attrs(scale_factor=0.1), {}, r"have to be scaled\n.*\n.*0.1.*\n.*mask_and"
    ),
    "a mask not there": (stack(), {"clouds": ("SCL", [4])}, r"no layer 'SCL'\n.*B02, B04"),
    "no classes": (stack(), {"clouds": "SCL"}, r"clouds\n.*\('SCL', \[4, 5, 7\]\)\n.*'SCL'"),
    "two masks": (
        stack(), {"clouds": ("B02", [1]), "valid": "B02"}, r"valid and clouds\n.*one of them"
    ),
    "a mask elsewhere": (
        stack(), {"valid": a_map(48, 20) > 0}, r"the mask lies on another grid\n.*10 m.*\n.*20 m"
    ),
    "a mask of other dates": (
        stack(), {"valid": stack(time=DAYS + pd.Timedelta("1D")).isel(band=0) > 0},
        r"dates of the mask\n.*2019-05-01.*\n.*2019-05-02.*\n.*sel\(time",
    ),
    "numpy": (numbers(), {}, r"s2: data\n.*xarray.*\n.*ndarray\n.*xr.DataArray"),
    "too large a window": (stack(), {"window": 500}, r"window: 500 m\n.*480 x 480 m"),
    "half pixels": (stack(), {"window": 85}, r"window\n.*multiple of 10 m.*s2 10 m\n.*85"),
    "window of text": (stack(), {"window": "wide"}, r"window\n.*metres.*\n.*wide"),
    "all is held out": (
        stack(), {"region": 6, "block": 2},
        r"no window is left to train on\n.*\n.*6 x 6 windows\n.*test=0",
    ),
    "shares of more than all": (stack(), {"test": 0.6, "val": 0.5}, r"test and val\n.*below 1"),
    "options of a stranger": (stack(), {"nodata": {"s3": 0}}, r"nodata: no modality 's3'"),
    "nothing": ({}, {}, r"data\n.*at least one modality"),
    "a crs that is none": (stack(), {"crs": "mars"}, r"crs\n.*EPSG:32633.*\n.*mars"),
    "a missing file": ("nowhere.nc", {}, r"nowhere.nc does not exist"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_told(name):
    data, options, message = BAD[name]
    with pytest.raises(CubeError, match=message):
        ml.cube_from_dataset(data, **{**OPTIONS, **options})
