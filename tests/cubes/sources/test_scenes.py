"""Folders of GeoTIFFs, written here as people have them, with every trap."""

import pickle

import numpy as np
import pytest

import maestro_lab as ml
from maestro_lab.cubes.contract import validate
from maestro_lab.cubes.reading import read_of, whole
from maestro_lab.cubes.sources.geotiff import date_in
from maestro_lab.errors import CubeError
from tests.cubes.sources.tiles import (
    DAYS,
    NORTH,
    OPTIONS,
    TEN,
    TWENTY,
    WEST,
    image,
    pixels,
    write,
    write_product,
)  # fmt: skip


@pytest.fixture
def product(tmp_path):
    return write_product(tmp_path / "tile")


def test_a_file_each_band_and_date(product):
    cube = ml.open_cube(product, **OPTIONS)
    assert list(cube.children) == ["s2_10m", "s2_20m"], "nothing is resampled"
    assert cube["s2_10m"]["band"].values.tolist() == list(TEN)
    assert cube["s2_20m"]["band"].values.tolist() == list(TWENTY)
    assert cube.sizes["sample"] == 4 * 4 * 2, "16 windows in two years"
    assert cube["s2_10m"]["values"].dtype == np.uint16
    assert cube["s2_10m"]["values"].rio.crs.to_epsg() == 32633
    for sample in (0, 9, 31):
        year = str(cube["sample"].values[sample])[-4:]
        days = [day for day in DAYS if day.startswith(year)]
        for name, bands, gsd in (("s2_10m", TEN, 10), ("s2_20m", TWENTY, 20)):
            ds = cube[name].isel(sample=sample)
            time = ds["time"].values[: len(days)].astype("datetime64[s]").astype(str)
            assert time.tolist() == [f"{d[:4]}-{d[4:6]}-{d[6:]}T10:00:31" for d in days]
            for row, day in enumerate(days):
                for number, band in enumerate(bands):
                    expected = pixels(cube, name, sample, image(band, day, gsd), gsd)
                    np.testing.assert_array_equal(ds["values"].values[row, number], expected)
    validate(cube, values=None)


def test_a_mask_of_another_resolution(product):
    cube = ml.open_cube(product, **OPTIONS, clouds=("SCL", [4, 5]))
    ten, twenty = (cube[n]["valid"].values[0, 0] for n in ("s2_10m", "s2_20m"))
    assert not twenty[1, 2] and twenty.sum() == 63
    assert not ten[2:4, 4:6].any() and ten.sum() == 252
    odd = ml.open_cube(product, **{**OPTIONS, "window": 60}, clouds=("SCL", [4, 5]))
    part = read_of(odd["s2_10m"])(0, (slice(1, 3), slice(3, 6)))[1][0]
    row = round((NORTH - float(odd["northing"][0])) / 10)
    column = round((float(odd["easting"][0]) - WEST) / 10)
    assert (row, column) == (2, 2), "what is left over lies on both sides"
    clear = np.ones((64, 64), bool)
    clear[2:4, 4:6] = False
    np.testing.assert_array_equal(part, clear[3:5, 5:8])


def test_a_mask_that_is_finer(product):
    fine = np.full((64, 64), 4, np.uint8)
    fine[3, 4] = 9
    for day in DAYS:
        (product / f"T33TWL_{day}T100031_SCL_20m.tif").unlink()
        write(product / f"T33TWL_{day}T100031_SCL_10m.tif", fine, 10)
    cube = ml.open_cube(product, **OPTIONS, clouds=("SCL", [4]))
    assert cube["s2_10m"]["valid"].values[0, 0].sum() == 255
    twenty = cube["s2_20m"]["valid"].values[0, 0]
    assert twenty.sum() == 63 and not twenty[1, 2], "one cloudy pixel in it is enough"


def test_a_file_each_date_with_descriptions(tmp_path):
    for day in DAYS:
        when = f"{day[:4]}-{day[4:6]}-{day[6:]}"
        bands = [image(band, day, 10) for band in ("B08", "B04")]
        write(tmp_path / f"field_{when}.tif", bands, 10, names=("nir", "red"))
    cube = ml.open_cube(tmp_path, **OPTIONS, period="all")
    assert cube["s2"]["band"].values.tolist() == ["B08", "B04"], "in the order of the file"
    expected = pixels(cube, "s2", 5, image("B04", DAYS[2], 10), 10)
    np.testing.assert_array_equal(cube["s2"]["values"].values[5, 2, 1], expected)


def test_landsat_scenes(tmp_path):
    rng = np.random.default_rng(0)
    for day in ("20190704", "20190720"):
        stem = f"LC08_L2SP_195025_{day}_20200827_02_T1"
        for band in ("B4", "B5"):
            values = rng.integers(7500, 20_000, (24, 24)).astype(np.uint16)
            write(tmp_path / f"{stem}_SR_{band}.TIF", values, 30)
        write(tmp_path / f"{stem}_ST_B10.TIF", np.full((24, 24), 44_000, np.uint16), 30)
        clear = np.full((24, 24), 21_824, np.uint16)
        clear[0, 0] = 22_280
        write(tmp_path / f"{stem}_QA_PIXEL.TIF", clear, 30, nodata=1)
    cube = ml.open_cube(
        tmp_path, sensor="landsat", units="DN", window=240, test=0, clouds=("PIXEL", [21_824])
    )
    assert cube["landsat"]["band"].values.tolist() == ["B4", "B5", "B10"]
    assert cube["landsat"]["wavelength"].values.tolist() == [655, 865, 10_895]
    assert cube["landsat"].sizes["time"] == 2
    assert cube["landsat"]["valid"].values[0].sum() == 2 * 63


def test_bands_without_names_have_to_be_named(tmp_path):
    for day in DAYS:
        write(tmp_path / f"{day}.tif", [image(band, day, 10) for band in TEN], 10)
    with pytest.raises(
        CubeError, match=r"which band is which\n.*B01 B02.*\n.*3 without.*\n.*bands="
    ):
        ml.open_cube(tmp_path, **OPTIONS)
    with pytest.raises(CubeError, match=r"20190704.tif: bands\n.*2: B02 B04\n.*3\n.*every band"):
        ml.open_cube(tmp_path, **OPTIONS, bands=["B02", "B04"])
    cube = ml.open_cube(tmp_path, **OPTIONS, bands=list(TEN))
    assert cube["s2"]["band"].values.tolist() == list(TEN)
    mapped = tmp_path / "mapped"
    for day in DAYS:
        for word, band in (("eins", "B04"), ("zwei", "B08")):
            write(mapped / f"{word}_{day}.tif", image(band, day, 10), 10)
    cube = ml.open_cube(mapped, **OPTIONS, bands={"zwei": "B08", "eins": "B04"})
    assert cube["s2"]["band"].values.tolist() == ["B04", "B08"]


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("S2A_MSIL2A_20190704T104031_N0212_R008_T32UMD_20190705T133424.tif", "2019-07-04T10:40:31"),
        ("S1A_IW_GRDH_1SDV_20190104T054940_20190104T055005_025339_02CE0F_VV.tif",
         "2019-01-04T05:49:40"),
        ("LC08_L2SP_195025_20190704_20200827_02_T1_SR_B4.TIF", "2019-07-04"),
        ("LC81950252019185LGN00_B4.TIF", "2019-07-04"),
        ("MOD_A_2019185_h18.tif", "2019-07-04"),
        ("field_2019-07-04_v2.tif", "2019-07-04"),
        ("20190230_20190704.tif", "2019-07-04"),
        ("20190704104031.tif", "2019-07-04T10:40:31"),
        ("field_7.tif", None),
        ("x_12345678.tif", None),
    ],
)  # fmt: skip
def test_dates_in_names(name, day):
    assert date_in(name) == (None if day is None else np.datetime64(day, "s"))


@pytest.mark.parametrize(
    "tags", [{"TIFFTAG_DATETIME": "2019:07:04 10:40:31"}, {"date": "2019-07-04"},
             {"acquisition_date": "20190704"}]
)  # fmt: skip
def test_dates_in_tags(tmp_path, tags):
    write(tmp_path / "one.tif", [image(b, "20190704", 10) for b in TEN], 10, names=TEN, **tags)
    cube = ml.open_cube(tmp_path, **OPTIONS, test=0)
    assert str(cube["s2"]["time"].values[0, 0])[:10] == "2019-07-04"


def test_a_file_without_a_date_is_refused_or_told(tmp_path):
    write(tmp_path / "one.tif", [image(b, "20190704", 10) for b in TEN], 10, names=TEN)
    with pytest.raises(CubeError, match=r"one.tif: no date\n.*YYYYMMDD.*\n.*\n.*date='2020"):
        ml.open_cube(tmp_path, **OPTIONS)
    cube = ml.open_cube(tmp_path, **OPTIONS, date="2019-07-04", test=0)
    assert cube["sample"].values[0].endswith("_2019")


def test_nodata_of_the_files_is_honoured(product):
    stem = product / "T33TWL_20190704T100031_B04_10m.tif"
    values = image("B04", "20190704", 10)
    values[0, :3] = 0
    write(stem, values, 10)
    cube = ml.open_cube(product, **OPTIONS)
    valid = cube["s2_10m"]["valid"].values[0, 0]
    assert not valid[0, :3].any() and valid.sum() == 253
    assert cube["s2_20m"]["valid"].values[0, 0].all()
    told = ml.open_cube(product, **OPTIONS, nodata=int(values[5, 5]))
    assert not told["s2_10m"]["valid"].values[0, 0, 5, 5]
    assert told["s2_10m"]["valid"].values[0, 0, 0, 0]


def test_windows_nobody_saw_are_left_out(product):
    for day in DAYS:
        for band, gsd in (*((b, 10) for b in TEN), *((b, 20) for b in TWENTY)):
            values = image(band, day, gsd)
            values[: 160 // gsd, : 160 // gsd] = 0  # the corner of an orbit
            write(product / f"T33TWL_{day}T100031_{band}_{gsd}m.tif", values, gsd)
    cube = ml.open_cube(product, **OPTIONS)
    assert cube.sizes["sample"] == 15 * 2 and 0 not in cube["place"].values


def test_two_tiles_of_one_pass_are_one_image(product):
    """Neighbours of one pass, cut to one grid: each has what the other lacks."""
    for band in TEN:
        left, right = image(band, "20190704", 10), image(band, "20190704", 10)
        left[:, 40:], right[:, :20] = 0, 0
        write(product / f"T33TWL_20190704T100031_{band}_10m.tif", left, 10)
        write(product / f"T33TXL_20190704T100045_{band}_10m.tif", right, 10)
    cube = ml.open_cube(product, **OPTIONS)
    assert cube["s2_10m"].sizes["time"] == 2
    sample = int(np.flatnonzero(cube["place"].values == 1)[0])  # columns 16 to 32
    expected = pixels(cube, "s2_10m", sample, image("B04", "20190704", 10), 10)
    np.testing.assert_array_equal(cube["s2_10m"]["values"].values[sample, 0, 1], expected)
    assert cube["s2_10m"]["valid"].values[sample, 0].all()
    kept = ml.open_cube(product, **OPTIONS, duplicates="keep")
    assert kept["s2_10m"].sizes["time"] == 3
    assert not kept["s2_10m"]["valid"].values[sample, 1, :, :4].any()


def test_a_product_twice_is_read_once_the_newest(tmp_path):
    for version, level in (("N0212", 0), ("N0500", 1000)):
        name = f"S2A_MSIL2A_20190704T104031_{version}_R008_T33TWL_20190704T133424"
        bands = [image(band, "20190704", 10) + level for band in TEN]
        write(tmp_path / f"{name}.tif", bands, 10, names=TEN)
    cube = ml.open_cube(tmp_path, **OPTIONS, test=0, offset="baseline")
    assert cube["s2"].sizes["time"] == 1
    expected = pixels(cube, "s2", 3, image("B04", "20190704", 10), 10)
    np.testing.assert_array_equal(cube["s2"]["values"].values[3, 0, 1], expected)
    raw = ml.open_cube(tmp_path, **OPTIONS, test=0)
    np.testing.assert_array_equal(raw["s2"]["values"].values[3, 0, 1], expected + 1000)
    both = ml.open_cube(tmp_path, **OPTIONS, test=0, offset="baseline", duplicates="keep")
    np.testing.assert_array_equal(
        both["s2"]["values"].values[3, 0], both["s2"]["values"].values[3, 1]
    )


def test_folders_are_modalities(product, tmp_path):
    root = tmp_path / "both"
    product.rename(root / "s2") if root.mkdir() is None else None
    photo = np.random.default_rng(0).integers(30, 220, (320, 320)).astype(np.uint8)
    write(root / "photo" / "ortho_20190713.tif", [photo] * 4, 2, names=("R", "G", "B", "NIR"),
          nodata=None)  # fmt: skip
    dem = np.linspace(100, 200, 64 * 64, dtype=np.float32).reshape(64, 64)
    write(root / "dem" / "dem.tif", dem, 10, nodata=-9999)
    cube = ml.open_cube(
        root, sensor={"s2": "sentinel-2", "photo": "aerial", "dem": "elevation"},
        units={"s2": "DN", "photo": "DN", "dem": "m"}, window=160,
        clouds={"s2": ("SCL", [4])},
    )  # fmt: skip
    assert list(cube.children) == ["s2_10m", "s2_20m", "photo", "dem"]
    assert cube["photo"]["band"].values.tolist() == ["R", "G", "B", "NIR"]
    assert cube["photo"].sizes["x"] == 80
    assert (cube["photo"]["time"].values == np.datetime64("2019-07-13")).all(), "every year has it"
    assert (cube["dem"]["time"].values[:, 0] == cube["ref_date"].values).all()
    np.testing.assert_array_equal(
        cube["dem"]["values"].values[5, 0, 0], pixels(cube, "dem", 5, dem, 10)
    )


def test_a_map_is_a_target(product):
    labels = (np.arange(32 * 32) // 256).astype(np.uint8).reshape(32, 32)  # 0 to 3
    write(product / "cover.tif", labels, 20, nodata=255)
    classes = ["wood", "field", "water", "town"]
    cube = ml.open_cube(
        product, **OPTIONS,
        targets={"cover": {"map": "cover.tif", "task": "segmentation", "classes": classes}},
    )  # fmt: skip
    cover = cube["targets"]["cover"]
    assert cover.dims == ("sample", "y", "x") and cover.attrs["classes"] == classes
    assert (cover.attrs["gsd"], cover.attrs["missing"]) == (20, 255)
    np.testing.assert_array_equal(cover.values[9], pixels(cube, "cover", 9, labels, 20))


def test_pixels_stay_in_their_files(product, monkeypatch):
    from maestro_lab.cubes.sources import scene_reading

    cube = ml.open_cube(product, **OPTIONS)
    read = read_of(cube["s2_10m"])
    again = pickle.loads(pickle.dumps(read))
    values, valid = again(7, whole((16, 16)))
    np.testing.assert_array_equal(values, cube["s2_10m"]["values"].values[7, : len(values)])
    part = read(7, (slice(2, 9), slice(0, 5)))
    np.testing.assert_array_equal(part[0], values[..., 2:9, :5])
    np.testing.assert_array_equal(part[1], valid[:, 2:9, :5])

    def never(*args, **options):
        raise AssertionError("read")

    monkeypatch.setattr(scene_reading, "read_raster", never)
    with pytest.raises(AssertionError, match="read"):
        read(0, whole((16, 16)))


def test_an_entry_of_a_catalogue(product, tmp_path):
    import yaml

    entry = {
        "title": "mine", "kind": "scenes", "where": "here", "position_cells": 8,
        "options": {**OPTIONS, "root": str(product)}, "splits": ["train", "test", "buffer"],
        "licence": "mine", "citation": "me",
        "modalities": {
            f"s2_{gsd}m": {"sensor": "sentinel-2", "bands": list(bands), "units": "DN", "gsd": gsd,
                           "nodata": 0}
            for bands, gsd in ((TEN, 10), (TWENTY, 20))
        },
    }  # fmt: skip
    path = tmp_path / "catalogue.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "cubes": {"mine": entry}}))
    cube = ml.open_cube("mine", catalogue=path)
    assert cube.attrs["catalogue_entry"] == "mine" and cube.attrs["source"] == str(product)
