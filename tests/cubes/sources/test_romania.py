"""The demonstration cube holds what the package nrt ships, cut where it says."""

import sys

import numpy as np
import pytest

import maestro_lab as ml
from maestro_lab.cubes.contract import modality_names, validate
from maestro_lab.cubes.sources.romania import open_romania
from maestro_lab.cubes.splits import leakage
from maestro_lab.errors import CubeError


@pytest.fixture(scope="module")
def source():
    data = pytest.importorskip("nrt.data", reason="package nrt is not installed: no real pixels")
    if not hasattr(data, "romania_10m"):
        pytest.skip("this version of nrt ships no data")
    return {
        "s2_10m": data.romania_10m().load(),
        "s2_20m": data.romania_20m().load(),
        "cover": np.asarray(data.romania_forest_cover_percentage()),
    }


@pytest.fixture(scope="module")
def cube(source):
    return ml.open_cube("romania")


BANDS = {"s2_10m": ["B02", "B03", "B04", "B08"], "s2_20m": ["B03", "B04", "B8A", "B11"]}


def test_sizes_bands_and_units(cube):
    assert modality_names(validate(cube, values=None)) == ["s2_10m", "s2_20m"]
    assert cube.sizes["sample"] == 12 * 12 * 5
    for name, (gsd, pixels) in {"s2_10m": (10, 8), "s2_20m": (20, 4)}.items():
        ds = cube[name]
        assert [str(b) for b in ds["band"].values] == BANDS[name]
        assert (ds.attrs["units"], ds.attrs["gsd"]) == ("DN", gsd)
        assert (ds.sizes["y"], ds.sizes["x"]) == (pixels, pixels)
        assert ds["values"].dtype == np.uint16
        assert ds["values"].rio.crs.to_epsg() == 3035


def test_a_sample_is_one_window_of_one_year(cube, source):
    assert len(set(cube["sample"].values.tolist())) == 720
    years = source["s2_10m"]["time"].dt.year.values
    for name in BANDS:
        time = cube[name]["time"].values
        for row in (0, 1, 359, 719):
            year = int(str(cube["sample"].values[row])[-4:])
            dates = time[row][~np.isnat(time[row])]
            assert len(dates) == (years == year).sum() > 10
            assert (dates.astype("datetime64[Y]").astype(int) + 1970 == year).all()
            assert str(cube["ref_date"].values[row])[:10] == f"{year}-07-01"


def there(source, name, cube, row):
    """Find the pixels of a sample in the source by its coordinates."""
    gsd, window = {"s2_10m": 10, "s2_20m": 20}[name], cube.attrs["window"]
    west, north = float(cube["easting"][row]), float(cube["northing"][row])
    year = int(str(cube["sample"].values[row])[-4:])
    raw = source[name].sel(time=str(year))
    raw = raw.isel(x=(raw.x > west) & (raw.x < west + window))
    raw = raw.isel(y=(raw.y < north) & (raw.y > north - window))
    assert raw.sizes["x"] == raw.sizes["y"] == window / gsd
    assert float(raw.x[0]) - gsd / 2 == pytest.approx(west), "whole pixels"
    return raw


@pytest.mark.parametrize("window", [80, 140, 180, 320])
def test_pixels_dates_and_clouds_are_those_of_the_source(source, window):
    cube = open_romania(window=window, years=[2018], region=1, block=1, buffer=0)
    n = int(1000 // window)
    assert cube.sizes["sample"] == n * n
    for name, bands in BANDS.items():
        for row in (0, n + 1, n * n - 1):
            raw, ds = there(source, name, cube, row), cube[name].isel(sample=row)
            count = raw.sizes["time"]
            np.testing.assert_array_equal(ds["time"].values[:count], raw["time"].values)
            stack = np.stack([raw[b.replace("B0", "B")].values for b in bands], 1)
            good = np.isfinite(stack).all(1)
            found = np.moveaxis(ds["values"].values[:count], 1, -1)
            np.testing.assert_array_equal(found[good], np.moveaxis(stack, 1, -1)[good])
            vegetation, soil, unclassified = 4, 5, 7
            clear = np.isin(raw["SCL"].values, [vegetation, soil, unclassified]) & good
            np.testing.assert_array_equal(ds["valid"].values[:count], clear)
            assert not ds["valid"].values[count:].any()


@pytest.mark.parametrize("window", [80, 140])
def test_tree_cover_lies_where_the_pixels_lie(source, window):
    cube = open_romania(window=window, years=[2018, 2019], region=1, block=1, buffer=0)
    cover = cube["targets"]["tree_cover"]
    assert cover.attrs["task"] == "regression" and cover.attrs["units"] == "percent"
    assert cover.values.min() >= 0 and cover.values.max() <= 100
    assert float(cover.std()) > 10, "there are clearings"
    grid = source["s2_20m"]
    assert source["cover"].shape == (grid.sizes["y"], grid.sizes["x"])
    for row in (0, 1, cube.sizes["sample"] - 1):
        raw = there(source, "s2_20m", cube, row)
        y, x = (np.flatnonzero(np.isin(grid[d].values, raw[d].values)) for d in ("y", "x"))
        np.testing.assert_array_equal(cover.values[row], source["cover"][np.ix_(y, x)])


def test_test_windows_lie_apart_from_training_windows(cube):
    split, x, y = (cube[n].values for n in ("split", "easting", "northing"))
    train, test = (np.stack([x, y], 1)[split == s] for s in ("train", "test"))
    apart = np.abs(train[:, None] - test[None]).max(-1).min()
    assert apart == 160, "one window of 80 m lies between"
    assert leakage(x, y, split)["nearest"] == 160
    assert {s: int((split == s).sum()) // 5 for s in set(split)} == {
        "test": 32,
        "train": 94,
        "buffer": 18,
    }
    places = {place: set(split[cube["place"].values == place]) for place in range(144)}
    assert all(len(names) == 1 for names in places.values()), "all years of a place go together"


def test_opening_twice_gives_the_same(cube):
    assert cube.identical(ml.open_cube("romania"))
    other = ml.open_cube("romania", split_seed=0)
    assert (other["split"].values != cube["split"].values).any()


def test_samples_without_a_clear_pixel_are_left_out(source):
    cube = open_romania(window=20, years=[2021], region=5, block=5)
    assert 0 < cube.sizes["sample"] < 2500
    seen = [cube[name]["valid"].values.any(axis=(1, 2, 3)) for name in BANDS]
    assert np.any(seen, axis=0).all()
    validate(cube, values=None)
    for row in (0, cube.sizes["sample"] - 1):
        raw = there(source, "s2_20m", cube, row)
        count = raw.sizes["time"]
        np.testing.assert_array_equal(
            cube["s2_20m"]["values"].values[row, :count, 3], raw["B11"].values
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 50}, r"window\n.*multiple of 20 m.*\n.*50"),
        ({"window": 0}, r"window\n.*multiple of 20 m.*\n.*0"),
        ({"window": 400}, r"window\n.*20 to 320\n.*400"),
        ({"window": "wide"}, r"window\n.*multiple of 20 m.*\n.*'wide'"),
        ({"years": [2014]}, r"years\n.*2015 to 2021.*\n.*2014"),
        ({"years": []}, r"years\n.*2015 to 2021"),
        ({"years": 2018}, r"years\n.*a list of years.*\n.*2018"),
        ({"years": [2018, 2018]}, r"years\n.*each once\n.*2018, 2018"),
        ({"region": 5}, r"blocks do not fit.*\n.*divisor of 5\n.*2"),
        ({"region": 12}, r"no window is left to train on"),
        ({"test": 1.5}, r"shares.*\n.*below 1\n.*1.5"),
    ],
)
def test_impossible_options_are_refused_before_anything_is_read(monkeypatch, options, message):
    monkeypatch.setitem(sys.modules, "nrt", None)
    with pytest.raises(CubeError, match=message):
        open_romania(**options)


def test_a_missing_package_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "nrt", None)
    with pytest.raises(CubeError, match=r"needs the package nrt\n.*0.2.1\n.*not in.*\n.*pip inst"):
        ml.open_cube("romania")
