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
from maestro_lab.errors import CatalogError, CubeError, CubeWarning

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
    assert len(asked) <= 2 + 8 * 2, "a date a year, and the eight samples of the validator"


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
    data.to_zarr(path) if kind == "zarr" else data.to_netcdf(path, engine="h5netcdf")
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


def a_map(side=24, gsd=20, **attrs):
    values = np.arange(side * side).reshape(side, side) * 4 // (side * side)
    return xr.DataArray(values, dims=("y", "x"), coords=positions(side, gsd), attrs=attrs)


def test_maps_are_targets():
    cover = a_map(task="segmentation", classes=["a", "b", "c", "d"], missing=255)
    height = (a_map(48, 20) * 1.5).assign_attrs(task="regression", units="m")
    height = height.assign_coords(x=height.x - 200, y=height.y + 200)
    cube = ml.cube_from_dataset(stack(), **OPTIONS, targets={"cover": cover, "height": height})
    found = cube["targets"]
    assert found["cover"].attrs == {
        "task": "segmentation", "classes": ["a", "b", "c", "d"], "missing": 255, "gsd": 20,
    }  # fmt: skip
    assert found["height"].attrs["units"] == "m"
    for sample in (0, 17):
        np.testing.assert_array_equal(
            found["cover"].values[sample], window(cube, sample, cover.values, 20)
        )
        part = height.sel(
            x=slice(float(cube["easting"][sample]), float(cube["easting"][sample]) + 80),
            y=slice(float(cube["northing"][sample]), float(cube["northing"][sample]) - 80),
        )
        np.testing.assert_array_equal(found["height"].values[sample], part.values)


def test_labels_are_numbered_by_their_names():
    raw = a_map()
    raw = raw.copy(data=np.array([0, 10, 20, 80])[raw.values])
    said = {"map": raw, "task": "segmentation", "classes": {10: "wood", 80: "water"}}
    cube = ml.cube_from_dataset(stack(), **OPTIONS, targets={"cover": said})
    cover = cube["targets"]["cover"]
    assert cover.attrs["classes"] == ["wood", "water"] and cover.attrs["missing"] == 255
    expected = np.select([raw.values == 10, raw.values == 80], [0, 1], 255)
    np.testing.assert_array_equal(cover.values[0], window(cube, 0, expected, 20))


def test_a_map_with_a_pixel_a_window_is_a_number_each():
    yields = (a_map(6, 80) * 2.0).assign_attrs(task="regression", units="t/ha")
    cube = ml.cube_from_dataset(stack(), **OPTIONS, targets={"yield": yields})
    assert cube["targets"]["yield"].dims == ("sample",)
    np.testing.assert_array_equal(
        cube["targets"]["yield"].values, yields.values.reshape(-1)[cube["place"].values]
    )


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (a_map(), r"targets/t: task\n.*segmentation.*\n.*nothing\n.*assign_attrs\(task="),
        (a_map(task="segmentation"), r"targets/t: classes\n.*each label.*\n.*\n.*assign_attrs"),
        (a_map(task="segmentation", classes=["a", "b"]), r"labels\n.*0 to 1\n.*2\n.*missing=255"),
        (a_map().expand_dims(time=2), r"targets/t\n.*a map \(y, x\)\n.*choose one date|time"),
        ("nowhere.tif", r"targets/t: map\n.*path of an image file\n.*'nowhere.tif'"),
        (3, r"targets/t: map\n.*\n.*int"),
        (a_map(24, 30, task="regression"), r"window\n.*multiple of 30 m"),
        (a_map().where(a_map() > 0).assign_attrs(task="segmentation", classes=list("abcd")),
         r"targets/t: pixels without a label\n.*\n.*NaN\n.*missing=255"),
    ],
)  # fmt: skip
def test_maps_that_are_no_targets(target, message):
    with pytest.raises(CubeError, match=message):
        ml.cube_from_dataset(stack(), **OPTIONS, targets={"t": target})


def test_maps_of_two_resolutions_are_refused():
    maps = {"a": a_map(task="regression"), "b": a_map(48, 10, task="regression")}
    with pytest.raises(
        CubeError, match=r"several resolutions\n.*one resolution.*\n.*a 20 m, b 10 m"
    ):
        ml.cube_from_dataset(stack(), **OPTIONS, targets=maps)


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
        np.testing.assert_array_equal(cube["s2"]["values"].values[sample], part)
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
        cube["s2"]["values"].values[0, 0], np.moveaxis(stored[0:25, 0:25], -1, 0)
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
        assert cube[name]["values"].rio.crs.to_epsg() == 3035
