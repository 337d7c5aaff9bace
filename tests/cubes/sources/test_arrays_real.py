"""Real arrays become cubes in one call."""

import numpy as np
import pytest
import xarray as xr

import maestro_lab as ml
from maestro_lab.errors import CubeError, CubeWarning
from tests.cubes.sources.images import OPTIONS


def test_the_worldcereal_sample_by_its_path(shared):
    path = shared / "data" / "worldcereal" / "worldcereal_preprocessed_inputs.nc"
    options = {**OPTIONS, "window": 200, "period": "all"}
    with pytest.warns(CubeWarning, match=r"17% of the valid pixels are 65535.*nodata=65535"):
        ml.open_cube(path, **options)
    cube = ml.open_cube(path, **options, nodata=65535)
    assert cube.sizes["sample"] == 25 and cube.attrs["crs"] == "EPSG:32631"
    bands = [f"B{b:02d}" for b in (2, 3, 4, 5, 6, 7, 8, 11, 12)]
    assert cube["s2"]["band"].values.tolist() == bands
    clear = cube["s2"]["valid"].values.any(axis=(0, 2, 3))
    assert clear.tolist() == [True, False, False] + [True] * 9, "two months are missing"
    with xr.open_dataset(path, engine="h5netcdf") as data:
        source = np.stack([data[f"S2-L2A-{b}"].values for b in bands], 1)
        x, y = data.x.values, data.y.values
        radar = data[["S1-SIGMA0-VV", "S1-SIGMA0-VH"]].load()
    for sample in (0, 13):
        left = np.searchsorted(x, float(cube["easting"][sample]))
        top = np.searchsorted(-y, -float(cube["northing"][sample]))
        part = source[:, :, top : top + 20, left : left + 20]
        np.testing.assert_array_equal(cube["s2"]["values"][sample].values, part)
    dB = 20 * np.log10(radar.where(radar != 65535)) - 83  # noqa: N806
    both = ml.cube_from_dataset(
        {"s2": path, "s1": dB}, sensor={"s2": "sentinel-2", "s1": "sentinel-1"}, window=200,
        units={"s2": "DN", "s1": "dB"}, nodata={"s2": 65535}, period="all",
    )  # fmt: skip
    assert both["s1"]["band"].values.tolist() == ["VV", "VH"]
    assert -14 < float(both["s1"]["values"].median()) < -12
    with pytest.raises(CubeError, match=r"s1: values do not look like dB(.*\n)*.*calibrate"):
        ml.open_cube(path, sensor={"s1": "sentinel-1"}, units="dB", window=200, nodata=65535)


def test_the_slovenian_arrays(shared):
    folder = shared / "data" / "eolearn_slovenia"
    days = ["2015-08-20", "2015-07-31", "2015-09-09", "2015-08-30", "2015-07-11"]
    bands = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11",
             "B12"]  # fmt: skip
    images = xr.DataArray(np.load(folder / "REFERENCE_SCENES.npy"), dims=("t", "y", "x", "band"))
    cover = xr.DataArray(np.squeeze(np.load(folder / "LULC.npy")), dims=("y", "x"))
    names = {1: "cultivated", 2: "forest", 3: "grassland", 4: "shrub", 8: "artificial"}
    cube = ml.cube_from_dataset(
        images, sensor="sentinel-2", units="reflectance", window=250, bands=bands, date=days,
        gsd=10, crs="EPSG:32633", clouds=None, test=0, period="all",
        targets={"cover": {"map": cover, "task": "segmentation", "classes": names}},
    )  # fmt: skip
    assert cube.sizes["sample"] == 4 * 4
    found = cube["s2"]["time"].values[0].astype("datetime64[D]").astype(str).tolist()
    assert found == sorted(days)
    stored = np.load(folder / "REFERENCE_SCENES.npy")[4]  # the earliest
    np.testing.assert_array_equal(
        cube["s2"]["values"][0, 0].values, np.moveaxis(stored[0:25, 0:25], -1, 0)
    )
    labels = cube["targets"]["cover"]
    assert labels.attrs["classes"] == list(names.values())
    assert set(np.unique(labels.values)) <= {0, 1, 2, 3, 4, 255}


def test_the_romanian_arrays_are_the_demonstration_cube():
    data = pytest.importorskip("nrt.data", reason="package nrt is not installed: no real pixels")
    if not hasattr(data, "romania_10m"):
        pytest.skip("this version of nrt ships no data")
    cube = ml.cube_from_dataset(
        {"s2_10m": data.romania_10m(), "s2_20m": data.romania_20m()}, sensor="sentinel-2",
        units="DN", window=80, clouds=("SCL", [4, 5, 7]), years=range(2016, 2021), region=4,
        block=2, split_seed=6,
    )  # fmt: skip
    there = ml.open_cube("romania")
    for name in ("sample", "split", "block", "place", "easting", "northing", "ref_date"):
        np.testing.assert_array_equal(cube[name].values, there[name].values)
    for name in ("s2_10m", "s2_20m"):
        for part in ("values", "valid", "time", "band"):
            np.testing.assert_array_equal(cube[name][part].values, there[name][part].values)
        assert "LAEA" in cube[name]["values"].rio.crs.to_wkt()
