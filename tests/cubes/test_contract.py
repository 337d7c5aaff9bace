"""Every way in which a cube can break the contract is told: where, what was expected, what is."""

import numpy as np
import pytest
import xarray as xr

from maestro_lab.cubes.contract import check_bands, make_modality, modality_names, validate
from maestro_lab.errors import CubeError
from tests.cubes.conftest import edited, make_small


def test_a_good_cube_passes_and_is_returned(small):
    assert validate(small, values=None) is small
    assert modality_names(small) == ["s2", "aerial"]
    assert small["s2"]["wavelength"].values.tolist() == [560.0, 833.0]
    assert small["s2"]["values"].rio.crs.to_epsg() == 32633
    assert small["s2"].attrs["nodata"] == 0


def test_without_valid_all_that_has_a_date_is_valid():
    time = np.array([["2020-01-01", "NaT"]], "datetime64[ns]")
    ds = make_modality(np.ones((1, 2, 1, 2, 2)), time, bands=["x"], units="m", gsd=1)
    assert ds["valid"].values[:, :, 0, 0].tolist() == [[True, False]]
    assert np.isnan(ds["wavelength"].values).all()


def attr(name, value):
    return lambda ds: ds.assign_attrs({name: value})


def no_attr(name):
    def change(ds):
        ds = ds.copy()
        del ds.attrs[name]
        return ds

    return change


def values(change):
    return lambda ds: ds.assign(values=change(ds["values"]))


def time(dates):
    def change(ds):
        new = ds["time"].values.copy()
        new[0, : len(dates)] = np.array(dates, "datetime64[ns]")
        return ds.assign_coords(time=(("sample", "time"), new))

    return change


def without_dates(ds):
    """Take all dates of the last sample."""
    new = ds["time"].values.copy()
    new[2] = np.datetime64("NaT")
    valid = ds["valid"].values & ~np.isnat(new)[..., None, None]
    return ds.assign_coords(time=(("sample", "time"), new)).assign(valid=(ds["valid"].dims, valid))


def nan_in_b08(ds):
    new = ds["values"].values.astype(float)
    new[0, 0, 1, 0, 0] = np.nan
    return ds.assign(values=(ds["values"].dims, new))


def split(*names):
    return lambda ds: ds.assign(split=("sample", np.array(names, dtype=object)))


BROKEN = {
    "root has no title": ("/", no_attr("title"), r"'title' is missing\n.*expected: a short text"),
    "no split": ("/", lambda ds: ds.drop_vars("split"), r"'split'\n.*\('sample',\)\n.*nothing"),
    "no block": ("/", lambda ds: ds.drop_vars("block"), r"'block'\n.*\('sample',\)\n.*nothing"),
    "bad split": ("/", split("train", "trian", "test"), r"split\n.*train, val.*\n.*'trian'"),
    "split of numbers": ("/", split(0, 1, 0), r"unknown split\n.*train, val.*\n.*0, 1"),
    "split without a name": ("/", split("train", None, np.nan), r"unknown split\n.*\n.*nan"),
    "block is no number": (
        "/",
        lambda ds: ds.assign(block=ds["block"] / 2),
        r"'block'\n.*whole numbers\n.*float64",
    ),
    "names repeat": (
        "/",
        lambda ds: ds.assign_coords(sample=np.array(["a", "b", "a"], dtype=object)),
        r"names repeat\n.*unique names\n.*'a' twice",
    ),
    "no values": ("s2", lambda ds: ds.drop_vars("values"), r"s2: no variable 'values'\n.*'band'"),
    "no valid": ("s2", lambda ds: ds.drop_vars("valid"), r"s2: no variable 'valid'\n.*'y', 'x'"),
    "no time": ("s2", lambda ds: ds.drop_vars("time"), r"s2: no variable 'time'\n.*'sample'"),
    "no bands": ("s2", lambda ds: ds.drop_vars("band"), r"s2: no variable 'band'\n.*'band'"),
    "no wavelength": ("s2", lambda ds: ds.drop_vars("wavelength"), "s2: no variable 'wavelength'"),
    "bands last": (
        "s2",
        values(lambda v: v.transpose("sample", "time", "y", "x", "band")),
        r"s2: 'values'\n.*'sample', 'time', 'band', 'y', 'x'.*\n.*'time', 'y', 'x', 'band'",
    ),
    "no time axis": ("s2", values(lambda v: v[:, 0]), r"s2: 'values'\n.*'time'.*\n.*'sample', 'b"),
    "valid is 0 and 1": (
        "s2",
        lambda ds: ds.assign(valid=ds["valid"].astype("u1")),
        r"s2: 'valid'\n.*booleans\n.*uint8",
    ),
    "values are texts": ("s2", values(lambda v: v.astype(str)), r"s2: 'values'\n.*numbers\n.*<U"),
    "time is a number": (
        "s2",
        lambda ds: ds.assign_coords(time=ds["time"].astype(int)),
        r"s2: 'time'\n.*datetime64\n.*int64",
    ),
    "no pixels": ("s2", lambda ds: ds.isel(x=[]), r"s2: 'values'\n.*1 or more\n.*'x': 0"),
    "a band twice": (
        "s2",
        lambda ds: ds.assign_coords(band=["B03", "B03"]),
        r"s2: band names repeat\n.*unique.*\n.*B03 B03",
    ),
    "band of another sensor": (
        "s2",
        lambda ds: ds.assign_coords(band=["B03", "VV"]),
        r"s2: sentinel-2 has no such band\n.*B02 B03.* in DN\n.*'VV'",
    ),
    "no units": ("s2", no_attr("units"), r"s2: units\n.*DN \| reflectance.*\n.*nothing"),
    "strange units": ("s2", attr("units", "percent"), r"s2: units\n.*DN \| refl.*\n.*percent"),
    "units of another sensor": (
        "s2",
        attr("units", "dB"),
        r"s2: units do not fit sentinel-2\n.*DN \| reflectance\n.*dB",
    ),
    "unknown sensor": ("s2", attr("sensor", "s2"), r"s2: sensor 's2' .*\n.*sentinel-2.*\n.*s2"),
    "gsd 0": ("s2", attr("gsd", 0), r"s2: gsd\n.*metres a pixel, above 0\n.*0"),
    "gsd in words": ("s2", attr("gsd", "10 m"), r"s2: gsd\n.*above 0\n.*'10 m'"),
    "dates descend": (
        "s2",
        time(["2020-03-01", "2020-02-01"]),
        r"s2: 'time' of sample 'a'\n.*ascending.*\n.*2020-03-01T00:00:00 before 2020-02-01",
    ),
    "NaT in front": (
        "s2",
        time(["NaT", "2020-02-01"]),
        r"s2: 'time' of sample 'a'\n.*only after the last date\n.*NaT before 2020-02-01",
    ),
    "valid without a date": (
        "s2",
        lambda ds: ds.assign(valid=ds["valid"] | True),
        r"s2: 'valid' of sample 'b'\n.*False where 'time' is NaT\n.*True",
    ),
    "NaN is valid": (
        "s2",
        nan_in_b08,
        r"s2: band B08\n.*finite values where 'valid' is True\n.*NaN.*\n.*mark",
    ),
    "reflectance declared, DN there": (
        "s2",
        attr("units", "reflectance"),
        r"s2: values do not look like reflectance\n.*0.005 and 1.2 for sentinel-2.*\n"
        r".*median of 10\d\d, which would fit 'DN'.*\n.*declare the right units",
    ),
    "DN declared, reflectance there": (
        "s2",
        values(lambda v: (v / 1e4).astype("f4")),
        r"s2: values do not look like DN\n.*50 and 12000.*\n.*would fit 'reflectance'",
    ),
    "a sample without dates": ("aerial", without_dates, r"sample 'c' is empty\n.*at least one va"),
    "a sample all cloudy": (
        "aerial",
        lambda ds: ds.assign(valid=ds["valid"] & (np.arange(3) < 2)[:, None, None, None]),
        r"sample 'c' is empty\n.*one valid pixel in one modality\n.*none in s2, aerial\n.*drop",
    ),
    "targets hold nothing": ("targets", lambda ds: ds[[]], r"targets: empty\n.*at least one"),
    "target of no sample": (
        "targets",
        lambda ds: ds.assign(species=ds["species"].T),
        r"targets/species\n.*'sample' as first.*\n.*'class', 'sample'",
    ),
    "target of an unknown task": (
        "targets",
        lambda ds: ds.assign(age=ds["age"].assign_attrs(task="guess")),
        r"targets/age: task\n.*fractions \| .*\n.*guess",
    ),
    "target without a task": (
        "targets",
        lambda ds: ds.assign(age=("sample", ds["age"].values)),
        r"targets/age: task\n.*fractions \| .*\n.*nothing",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_cube_is_told(small, name):
    node, change, message = BROKEN[name]
    with pytest.raises(CubeError, match=message):
        validate(edited(small, node, change))


def test_the_structure_alone_can_be_checked(small):
    wrong_values = edited(small, "s2", values(lambda v: v * 0))
    with pytest.raises(CubeError, match="do not look like DN"):
        validate(wrong_values)
    assert validate(wrong_values, values=0) is wrong_values


def test_what_is_no_cube_is_told(small):
    with pytest.raises(CubeError, match=r"not a cube\n.*DataTree\n.*Dataset"):
        validate(small.to_dataset())
    with pytest.raises(CubeError, match=r"no samples\n.*length 1 or more"):
        validate(small.isel(sample=[]))
    root = small.to_dataset()
    with pytest.raises(CubeError, match=r"no modality\n.*at least one child"):
        validate(xr.DataTree(root, children={"targets": small["targets"].copy()}))


def test_bands_are_compared_by_name_and_order():
    check_bands("s2", ["B02", "B03"], ["B02", "B03"])
    with pytest.raises(CubeError, match=r"s2: .*another order\n.*B02 B03\n.*B03 B02\n.*declare"):
        check_bands("s2", ["B02", "B03"], ["B03", "B02"])
    with pytest.raises(CubeError, match=r"s2: bands differ\n.*B02 B03\n.*'B8A' was not expected"):
        check_bands("s2", ["B02", "B03"], ["B02", "B8A"])
    with pytest.raises(CubeError, match=r"s2: bands differ\n.*B02 B03\n.*B02\n"):
        check_bands("s2", ["B02", "B03"], ["B02"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"values": np.ones((1, 2, 4, 4))}, r"values\n.*2 bands x y x x\n.*1 x 2 x 4 x 4"),
        ({"bands": ["VV"]}, r"bands\n.*2 names\n.*VV"),
        ({"time": np.array([["2020-01-01"]])}, r"time\n.*1 x 2\n.*1 x 1"),
        ({"valid": np.ones((1, 2, 2, 4, 4), bool)}, r"valid\n.*1 x 2 x 4 x 4\n.*1 x 2 x 2 x 4"),
        ({"sensor_name": "sentinel-9"}, r"'sentinel-9' is not known\n.*sentinel-2, sentinel-1"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(options, message):
    good = {
        "values": np.ones((1, 2, 2, 4, 4)),
        "time": np.array([["2020-01-01", "2020-01-02"]]),
        "bands": ["VV", "VH"],
        "units": "dB",
        "gsd": 10,
    }
    make_modality(**good)
    with pytest.raises(CubeError, match=message):
        make_modality(**{**good, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": ["train"]}, r"split\n.*3\n.*1"),
        ({"block": [0, 1]}, r"block\n.*3\n.*2"),
        ({"extra": {"ref_date": np.zeros(4)}}, r"ref_date\n.*3\n.*4"),
        ({"sample": list("abcd"), "split": ["test"] * 4, "block": [0] * 4, "extra": {}}, "s2: sa"),
    ],
)
def test_parts_of_other_samples_are_refused(options, message):
    with pytest.raises(CubeError, match=message):
        make_small(**options)
