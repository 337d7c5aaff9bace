"""Folders of GeoTIFFs that cannot become a cube: the files are named, and what differs."""

import numpy as np
import pytest

import maestro_lab as ml
from maestro_lab.cubes.sources.scenes import open_scenes
from maestro_lab.errors import CatalogError, CubeError
from tests.cubes.sources.tiles import (
    NORTH,
    OPTIONS,
    TEN,
    WEST,
    image,
    write,
    write_product,
)  # fmt: skip


@pytest.fixture
def product(tmp_path):
    return write_product(tmp_path / "tile")


FIRST = "T33TWL_20190704T100031_B02_10m.tif"


def change(folder, **how):
    write(folder / "T33TWL_20190724T100031_B04_10m.tif", image("B04", "20190724", 10), 10, **how)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"crs": "EPSG:32634"},
         r"B04_10m.tif: another reference system than .*B02_10m.tif\n.*32633\n.*32634\n.*gdalwarp"),
        ({"west": WEST + 3}, r"another upper-left corner than .*\n.*500000.*\n.*500003"),
        ({"north": NORTH - 10}, r"another upper-left corner than"),
    ],
)  # fmt: skip
def test_files_on_two_grids_are_both_named(product, how, message):
    change(product, **how)
    with pytest.raises(CubeError, match=message):
        ml.open_cube(product, **OPTIONS)


def test_mosaics_of_two_sizes_are_refused_with_advice(product):
    half = image("B04", "20190724", 10)[:, :32]
    write(product / "T33TWL_20190724T100031_B04_10m.tif", half, 10)
    with pytest.raises(
        CubeError, match=r"rows and columns than.*\n.*64, 64.*\n.*64, 32.*\n.*merge"
    ):
        ml.open_cube(product, **OPTIONS)


def test_a_date_without_one_band_is_refused(product):
    (product / "T33TWL_20190724T100031_B04_10m.tif").unlink()
    with pytest.raises(
        CubeError, match=r"no file for band B04 beside T33TWL_20190724.*\n.*B02 B04"
    ):
        ml.open_cube(product, **OPTIONS)


def test_a_date_without_a_mask_is_refused(product):
    (product / "T33TWL_20190724T100031_SCL_20m.tif").unlink()
    with pytest.raises(CubeError, match=r"no mask for T33TWL_20190724T100031_B02_10m.tif"):
        ml.open_cube(product, **OPTIONS, clouds=("SCL", [4]))


def test_a_mask_on_another_grid_is_refused(product):
    write(product / "T33TWL_20190724T100031_SCL_20m.tif", np.full((32, 32), 4, np.uint8), 20,
          west=WEST + 7)  # fmt: skip
    with pytest.raises(
        CubeError, match=r"SCL_20m.tif: another grid than .*\n.*x 500000.*\n.*500007"
    ):
        ml.open_cube(product, **OPTIONS, clouds=("SCL", [4]))


def test_degrees_are_refused(tmp_path):
    write(tmp_path / "20190704.tif", [image(b, "20190704", 10) for b in TEN], 0.0001, west=15,
          north=45, crs="EPSG:4326", names=TEN)  # fmt: skip
    with pytest.raises(
        CubeError, match=r"20190704.tif: pixels\n.*squares in metres.*\n.*4326.*\n.*repr"
    ):
        ml.open_cube(tmp_path, **OPTIONS)


def test_a_damaged_file_is_named(product):
    (product / FIRST).write_bytes(b"nothing")
    with pytest.raises(CubeError, match=rf"{FIRST} cannot be read"):
        ml.open_cube(product, **OPTIONS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clouds": ("QA", [1])}, r"no file for the mask 'QA'"),
        ({"clouds": "SCL"}, r"clouds\n.*\('SCL', \[4, 5, 7\]\).*\n.*'SCL'"),
        ({"window": 150}, r"window\n.*multiple of 20 m.*s2_10m 10 m, s2_20m 20 m\n.*150"),
        ({"window": 1000}, r"window: 1000 m\n.*640 x 640 m"),
        ({"window": -1}, r"window\n.*above 0\n.*-1"),
        ({"years": [2011]}, r"years: no image of them\n.*2019, 2020\n.*2011"),
        ({"years": 2019}, r"years\n.*a list of years.*\n.*2019"),
        ({"period": "month"}, r"period\n.*'year' or 'all'\n.*month"),
        ({"duplicates": "no"}, r"duplicates\n.*'drop' or 'keep'\n.*no"),
        ({"sensor": "sentinel-9"}, r"sensor 'sentinel-9' is not known\n.*sentinel-2"),
        ({"offset": "all"}, r"offset\n.*'baseline'\n.*'all'"),
        ({"offset": "baseline"}, r"processing baseline\n.*N0400\n.*T33TWL.*\n.*offset=-1000"),
        ({"units": {"s3": "DN"}}, r"units: no modality 's3'\n.*some of s2"),
        ({"sensor": {"s1": "sentinel-1"}}, r"s1: no GeoTIFFs\n.*folder for each of s1"),
    ],
)
def test_what_cannot_be_is_told(product, options, message):
    with pytest.raises(CubeError, match=message):
        ml.open_cube(product, **{**OPTIONS, **options})


def test_what_is_needed_is_named(product):
    with pytest.raises(CatalogError, match=r"needs the option 'sensor'\n.*window, units.*\n.*\n.*"):
        ml.open_cube(product)


def test_folders_without_images(tmp_path):
    with pytest.raises(CubeError, match=r"nowhere does not exist\n.*folder of GeoTIFFs"):
        open_scenes(tmp_path / "nowhere", **OPTIONS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CubeError, match=r"empty: no GeoTIFFs\n.*\.tif.*\n.*an empty folder"):
        open_scenes(tmp_path / "empty", **OPTIONS)
