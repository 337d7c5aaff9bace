"""Arrays as people have them become cubes in one call, and nothing is lost or moved."""

import pickle

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import rioxarray  # noqa: F401  registers the .rio accessor
import xarray as xr

import maestro_lab as ml
from maestro_lab.cubes.contract import validate
from maestro_lab.cubes.reading import read_of, whole
from maestro_lab.errors import CatalogError, CubeError
from tests.cubes.sources.images import (
    BANDS,
    DAYS,
    NORTH,
    OPTIONS,
    WEST,
    numbers,
    per_band,
    positions,
    stack,
    window,
)  # fmt: skip


def same_pixels(cube, source=None, name="s2"):
    source = numbers() if source is None else source
    time = cube[name]["time"].values
    for sample in (0, 7, cube.sizes["sample"] - 1):
        count = (~np.isnat(time[sample])).sum()
        rows = np.flatnonzero(np.isin(DAYS.to_numpy(), time[sample]))
        assert len(rows) == count > 0
        found = cube[name]["values"].values[sample, :count]
        np.testing.assert_array_equal(found, window(cube, sample, source[rows]))


def test_one_call_makes_a_cube():
    cube = ml.cube_from_dataset(stack(), **OPTIONS)
    assert cube.sizes["sample"] == 6 * 6 * 2, "36 windows in two years"
    assert cube["sample"].values[:3].tolist() == ["r00c00_2019", "r00c00_2020", "r00c01_2019"]
    assert cube["s2"]["band"].values.tolist() == list(BANDS)
    assert cube["s2"].attrs == {"units": "DN", "gsd": 10, "sensor": "sentinel-2"}
    assert cube.attrs["window"] == 80 and cube.attrs["source"] == "arrays in memory"
    assert isinstance(cube["s2"]["values"].variable._data, np.ndarray), "memory stays memory"
    assert set(cube["split"].values) == {"train", "test", "buffer"}
    years = cube["ref_date"].values.astype("datetime64[Y]").astype(str)
    assert years[:2].tolist() == ["2019", "2020"]
    same_pixels(validate(cube, values=None))


def turned(data):
    """Bring dimensions out of order, under other names, from south to north."""
    data = data.isel(y=slice(None, None, -1)).transpose(
        "x", "time", "y", *(d for d in data.dims if d == "band")
    )
    new = {"x": "easting", "y": "lat", "time": "t", "band": "channel"}
    return data.rename({k: v for k, v in new.items() if k in data.dims})


FORMS = {
    "one array": stack(),
    "a variable each band": per_band(),
    "dimensions in any order": turned(stack()),
    "variables in any order": turned(per_band())[["B08", "B02", "B04"]],
    "other names": per_band(("S2-L2A-B02", "red", "b8")),
    "short names": per_band(("B2", "B4", "B8")),
    "a Dataset with one array": stack().to_dataset(name="reflectances"),
    "dates as text": stack(time=[str(day)[:10] for day in DAYS]),
    "dates as numbers": stack(time=[int(str(day)[:10].replace("-", "")) for day in DAYS]),
    "a dimension of length 1": stack().expand_dims(scene=1),
    "a table beside": per_band().assign(bounds=(("time", "nv"), np.zeros((4, 2)))),
    "descriptions": stack(band=[1, 2, 3]).assign_attrs(long_name=("B02", "B04", "B08")),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_whatever_people_have(form):
    cube = ml.cube_from_dataset(FORMS[form], **OPTIONS)
    assert cube["s2"]["band"].values.tolist() == list(BANDS)
    same_pixels(cube)


def test_bands_may_be_named():
    odd = per_band(("one", "two", "three"))
    cube = ml.cube_from_dataset(odd, **OPTIONS, bands={"three": "B08", "one": "B02"})
    assert cube["s2"]["band"].values.tolist() == ["B08", "B02"], "in the order given"
    same_pixels(cube, numbers()[:, [2, 0]])
    plain = stack(band=[1, 2, 3])
    with pytest.raises(
        CubeError, match=r"no layer is a band of sentinel-2\n.*\n.*1, 2, 3\n.*bands="
    ):
        ml.cube_from_dataset(plain, **OPTIONS)
    same_pixels(ml.cube_from_dataset(plain, **OPTIONS, bands=list(BANDS)))
    some = ml.cube_from_dataset(stack(), **OPTIONS, bands={"B04": "B04"})
    same_pixels(some, numbers()[:, [1]])


def test_dask_stays_lazy():
    asked = []

    def block(part):
        asked.append(part.shape)
        return part

    values = da.from_array(numbers(), chunks=(1, 3, 24, 24)).map_blocks(block, dtype=np.uint16)
    asked.clear()
    cube = ml.cube_from_dataset(stack(values), **OPTIONS)
    there = ml.cube_from_dataset(stack(), **OPTIONS)
    assert cube["s2"]["values"].chunks is not None
    seen = len(asked)
    cube["s2"]["values"].isel(sample=1).values  # noqa: B018
    assert 0 < len(asked) - seen <= 3, "one window, two dates"
    same_pixels(cube)
    for name in ("values", "valid"):
        np.testing.assert_array_equal(cube["s2"][name].values, there["s2"][name].values)


def test_looking_for_empty_windows_reads_few_dates():
    asked = []

    def block(part):
        asked.append(part.shape)
        return part

    values = da.from_array(numbers(), chunks=(1, 3, 48, 48)).map_blocks(
        block, dtype=np.uint16, meta=np.empty((0,) * 4, np.uint16)
    )
    ml.cube_from_dataset(stack(values), **OPTIONS, title="mine")
    validated = 8 * 2 * 2  # samples, dates, values and valid
    assert len(asked) <= 2 + validated, "a date a year"


def test_a_reader_can_be_pickled_and_cut():
    values = da.from_array(numbers(), chunks=(2, 3, 24, 24))
    read = read_of(ml.cube_from_dataset(stack(values), **OPTIONS)["s2"])
    again = pickle.loads(pickle.dumps(read))
    all_values, valid = again(9, whole((8, 8)))
    part = read(9, (slice(2, 5), slice(1, 8)))
    np.testing.assert_array_equal(part[0], all_values[..., 2:5, 1:8])
    np.testing.assert_array_equal(part[1], valid[:, 2:5, 1:8])


@pytest.mark.parametrize("kind", ["zarr", "nc"])
def test_plain_files_by_their_path(tmp_path, kind):
    path = tmp_path / f"mine.{kind}"
    data = per_band()
    if kind == "zarr":
        data.to_zarr(path, consolidated=False)
    else:
        data.to_netcdf(path, engine="h5netcdf")
    with pytest.raises(CubeError, match=rf"mine.{kind} is not a cube(.*\n)*.*sensor='sentinel-2'"):
        ml.open_cube(path)
    cube = ml.open_cube(path, **OPTIONS)
    assert cube["s2"]["values"].chunks is not None and cube.attrs["source"] == str(path)
    same_pixels(cube)
    read = pickle.loads(pickle.dumps(read_of(cube["s2"])))
    np.testing.assert_array_equal(read(0, whole((8, 8)))[0], cube["s2"]["values"].values[0])
    with pytest.raises(CatalogError, match=r"needs the option 'window'"):
        ml.open_cube(path, sensor="sentinel-2")
    saved = ml.save_cube(cube, tmp_path / "saved.zarr")
    assert ml.open_cube(saved).sizes["sample"] == cube.sizes["sample"]


def test_nodata_nan_and_masks():
    values = numbers().astype(np.float64)
    values[0, 1, 3, 4] = np.nan
    values[:, 0, 5, 6] = 7
    mask = np.ones((4, 48, 48), bool)
    mask[1, 2, 2] = False
    data = stack(values).assign_attrs(_FillValue=7.0)
    given = xr.DataArray(mask, dims=("time", "y", "x"), coords={"time": DAYS, **positions()})
    cube = ml.cube_from_dataset(data, **OPTIONS, valid=given)
    ds = cube["s2"].isel(sample=0)
    assert ds["values"].dtype == np.float32 and ds.attrs["nodata"] == 7
    expected = np.ones((2, 8, 8), bool)
    expected[:, 5, 6] = expected[0, 3, 4] = expected[1, 2, 2] = False
    np.testing.assert_array_equal(ds["valid"].values, expected)
    assert ds["values"].values[0, 1, 3, 4] == 0, "no NaN is left"
    flipped = ml.cube_from_dataset(data, **OPTIONS, valid=given.isel(y=slice(None, None, -1)))
    np.testing.assert_array_equal(flipped["s2"]["valid"].values, cube["s2"]["valid"].values)


def test_clouds_by_classes():
    classes = np.full((4, 48, 48), 4)
    classes[0, :8, :8], classes[1, 0, 0] = 9, 8
    data = per_band().assign(SCL=(("time", "y", "x"), classes))
    cube = ml.cube_from_dataset(data, **OPTIONS, clouds=("SCL", [4, 5]))
    assert cube["s2"]["band"].values.tolist() == list(BANDS)
    valid = cube["s2"]["valid"].values[0]
    assert not valid[0].any() and valid[1].sum() == 63
    still = per_band().assign(SCL=(("y", "x"), classes[0]))
    cube = ml.cube_from_dataset(still, **OPTIONS, clouds=("SCL", [4]), test=0)
    assert cube["place"].values.min() == 1, "the first window is never clear"
    stacked = xr.concat([stack(), stack()[:, :1].assign_coords(band=["SCL"])], "band")
    values = stacked.values.copy()
    values[:, 3] = classes
    stacked = stacked.copy(data=values)
    cube = ml.cube_from_dataset(stacked, **OPTIONS, clouds=("SCL", [4]))
    assert cube["s2"].sizes["band"] == 3
    assert not cube["s2"]["valid"].values[0, 0].any()


def test_an_offset_for_each_date():
    values = numbers()
    values[2:] += 1000
    values[0, 0, 0, 0], values[2, 0, 0, 0] = 500, 300
    cube = ml.cube_from_dataset(stack(values), **OPTIONS, offset=[0, 0, -1000, -1000])
    expected = values.astype(int)
    expected[2:] = np.maximum(expected[2:] - 1000, 0)
    same_pixels(cube, expected.astype(np.uint16))
    assert (
        cube["s2"]["values"].values[1, 0, 0, 0, 0] == 0 and cube["s2"]["valid"].values[1, 0, 0, 0]
    )
    with pytest.raises(CubeError, match=r"offset\n.*4, one a date\n.*\(2,\)"):
        ml.cube_from_dataset(stack(), **OPTIONS, offset=[0, -1000])


def test_a_period_of_all_dates():
    cube = ml.cube_from_dataset(stack(), **OPTIONS, period="all")
    assert cube.sizes["sample"] == 36 and cube["s2"].sizes["time"] == 4
    assert cube["sample"].values[1] == "r00c01"
    assert str(cube["ref_date"].values[0])[:10] == "2019-12-16", "half way"
    one = ml.cube_from_dataset(stack(), **OPTIONS, years=[2020])
    assert {name[-4:] for name in one["sample"].values} == {"2020"}


def test_images_of_one_pass_are_one():
    values = numbers()
    values[1, :, :, 24:], values[0, :, :, :16] = 0, 0
    times = DAYS.to_list()
    times[1] = times[0] + pd.Timedelta("14s")
    data = stack(values, time=times)
    cube = ml.cube_from_dataset(data, **OPTIONS, nodata=0)
    assert cube["s2"].sizes["time"] == 2
    first = cube["s2"]["values"].values[0, 0]
    np.testing.assert_array_equal(first, window(cube, 0, values[1]))
    kept = ml.cube_from_dataset(data, **OPTIONS, nodata=0, duplicates="keep")
    assert (~np.isnat(kept["s2"]["time"].values[0])).sum() == 2


def test_several_grids_over_one_ground():
    ten, twenty = per_band(), per_band(("B05", "B8A", "B11"), numbers(24))
    steps = 20 * (np.arange(24) + 0.5)
    twenty = twenty.assign_coords(y=NORTH - steps, x=WEST + steps)
    cube = ml.cube_from_dataset({"s2_10m": ten, "s2_20m": twenty}, **OPTIONS)
    assert list(cube.children) == ["s2_10m", "s2_20m"]
    assert (cube["s2_10m"].sizes["x"], cube["s2_20m"].sizes["x"]) == (8, 4)
    same_pixels(cube, name="s2_10m")
    for sample in (0, 9, 71):
        rows = [0, 1] if cube["sample"].values[sample].endswith("2019") else [2, 3]
        np.testing.assert_array_equal(
            cube["s2_20m"]["values"].values[sample, :2],
            window(cube, sample, numbers(24)[rows], 20),
        )
    shifted = twenty.assign_coords(x=twenty.x + 40, y=twenty.y - 60)
    less = ml.cube_from_dataset({"s2_10m": ten, "s2_20m": shifted}, **OPTIONS, test=0)
    assert less.sizes["sample"] == 5 * 5 * 2
    assert float(less["easting"].min()) >= WEST + 40
    assert float(less["northing"].max()) <= NORTH - 60
    same_pixels(less, name="s2_10m")


def test_grids_that_do_not_line_up_are_refused():
    ten, twenty = per_band(), per_band(("B05", "B8A", "B11"), numbers(24))
    steps = 20 * (np.arange(24) + 0.5)
    off = twenty.assign_coords(y=NORTH - steps, x=WEST + 3 + steps)
    with pytest.raises(
        CubeError, match=r"ten: pixels do not line up with .* twenty\n.*\n.*3 m off"
    ):
        ml.cube_from_dataset({"ten": ten, "twenty": off}, **OPTIONS)
    away = twenty.assign_coords(y=NORTH - steps, x=WEST + 9000 + steps)
    with pytest.raises(CubeError, match=r"share no ground\n.*one place\n.*x 500000 to 500480"):
        ml.cube_from_dataset({"ten": ten, "twenty": away}, **OPTIONS)
    ten, twenty = (d.rio.write_crs(c) for d, c in ((ten, 32633), (twenty, 32634)))
    with pytest.raises(CubeError, match=r"twenty: coordinate reference system\n.*32633.*\n.*32634"):
        ml.cube_from_dataset({"ten": ten, "twenty": twenty}, **OPTIONS)


def test_an_image_without_a_date_belongs_to_every_year():
    photo = xr.DataArray(
        np.random.default_rng(1).integers(20, 200, (240, 240, 4)).astype(np.uint8),
        dims=("y", "x", "band"), coords={"band": ["R", "G", "B", "NIR"], **positions(240, 2)},
    )  # fmt: skip
    dem = xr.DataArray(np.linspace(0, 90, 48 * 48).reshape(48, 48), dims=("y", "x"),
                       coords=positions(), name="dem")  # fmt: skip
    given = {"s2": stack(), "photo": photo, "dem": dem}
    sensors = {"s2": "sentinel-2", "photo": "aerial", "dem": "elevation"}
    options = {"sensor": sensors, "units": {"s2": "DN", "photo": "DN"}, "window": 80}
    with pytest.raises(CubeError, match=r"photo: no dates\n.*a date\n.*\n.*date='2020"):
        ml.cube_from_dataset(given, **options)
    cube = ml.cube_from_dataset(given, **options, date={"photo": "2019-07-14"})
    assert (cube["photo"]["time"].values == np.datetime64("2019-07-14")).all()
    assert (cube["dem"]["time"].values[:, 0] == cube["ref_date"].values).all()
    assert cube["dem"].attrs["units"] == "m", "the only unit it can have"
    np.testing.assert_array_equal(
        cube["photo"]["values"].values[5, 0],
        window(cube, 5, photo.transpose("band", "y", "x").values, 2),
    )
    noted = photo.assign_attrs(TIFFTAG_DATETIME="2019:07:14 10:00:00")
    again = ml.cube_from_dataset({**given, "photo": noted}, **options)
    assert str(again["photo"]["time"].values[0, 0])[:10] == "2019-07-14"


def test_windows_are_in_the_middle_and_splits_are_apart():
    cube = ml.cube_from_dataset(stack(), **{**OPTIONS, "window": 50}, region=3, block=3, val=0.1)
    assert float(cube["easting"].min()) == WEST + 10, "30 m are left over"
    assert set(cube["split"].values) == {"train", "val", "test", "buffer"}
    split, x, y = (cube[n].values for n in ("split", "easting", "northing"))
    train, test = (np.stack([x, y], 1)[split == s] for s in ("train", "test"))
    assert np.abs(train[:, None] - test[None]).max(-1).min() == 100
    everything = ml.cube_from_dataset(stack(), **OPTIONS, test=0)
    assert set(everything["split"].values) == {"train"}


def test_windows_nobody_saw_are_left_out():
    values = numbers()
    values[:, :, :8, :16] = 0
    values[2:, :, 8:16, :8] = 0
    cube = ml.cube_from_dataset(stack(values), **OPTIONS, nodata=0, test=0)
    names = set(cube["sample"].values)
    assert "r00c00_2019" not in names and "r00c01_2020" not in names
    assert "r01c00_2019" in names and "r01c00_2020" not in names
    assert cube.sizes["sample"] == 72 - 5
    with pytest.raises(CubeError, match=r"no window holds a valid pixel\n.*\n.*\n.*nodata, clouds"):
        ml.cube_from_dataset(stack(np.zeros_like(values)), **OPTIONS, nodata=0)
