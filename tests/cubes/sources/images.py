"""Images with known numbers, in the forms that people have."""

import numpy as np
import pandas as pd
import xarray as xr

WEST, NORTH = 500_000.0, 5_000_000.0
BANDS = ("B02", "B04", "B08")
DAYS = pd.to_datetime(["2019-05-01", "2019-07-01", "2020-05-01", "2020-08-01"])
OPTIONS = {"sensor": "sentinel-2", "units": "DN", "window": 80}


def numbers(side=48, bands=BANDS, seed=0):
    """Values (time, band, y, x) that tell date, band and pixel."""
    shape = (len(DAYS), len(bands), side, side)
    return np.random.default_rng(seed).integers(100, 4000, shape).astype(np.uint16)


def positions(side=48, gsd=10, west=WEST, north=NORTH):
    steps = gsd * (np.arange(side) + 0.5)
    return {"y": north - steps, "x": west + steps}


def stack(values=None, **changes):
    values = numbers() if values is None else values
    coords = {"time": DAYS, "band": list(BANDS), **positions(values.shape[-1])}
    return xr.DataArray(values, dims=("time", "band", "y", "x"), coords={**coords, **changes})


def per_band(names=BANDS, values=None):
    values = numbers() if values is None else values
    variables = {name: (("time", "y", "x"), values[:, k]) for k, name in enumerate(names)}
    return xr.Dataset(variables, coords={"time": DAYS, **positions(values.shape[-1])})


def window(cube, sample, source, gsd=10):
    """Cut from a source (..., y, x) what a sample should hold."""
    side = round(cube.attrs["window"] / gsd)
    top = round((NORTH - float(cube["northing"][sample])) / gsd)
    left = round((float(cube["easting"][sample]) - WEST) / gsd)
    return source[..., top : top + side, left : left + side]


def a_map(side=24, gsd=20, **attrs):
    values = np.arange(side * side).reshape(side, side) * 4 // (side * side)
    return xr.DataArray(values, dims=("y", "x"), coords=positions(side, gsd), attrs=attrs)
