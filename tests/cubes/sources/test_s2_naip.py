"""The S2-NAIP urban reader gives back what was written, one image of each pass, and windows."""

import pickle

import numpy as np
import pytest

import maestro_lab as ml
from maestro_lab.cubes.contract import modality_names
from maestro_lab.cubes.reading import read_of
from maestro_lab.cubes.sources.s2_naip import open_s2_naip
from maestro_lab.cubes.store import open_store, save_cube
from maestro_lab.errors import CubeError
from tests.cubes.sources.layouts import (
    NAIP_TILES,
    naip_file,
    s1_product,
    s2_product,
    write_csv,
    write_products,
    write_s2_naip,
    write_tif,
)
from tests.test_catalogue import SHIPPED

FIRST = NAIP_TILES["train"][0]
PRODUCTS = {
    "naip": ["m_3211225_ne_12_060_20190810"],
    "s2": [
        s2_product("20190305"),
        s2_product("20190105"),
        s2_product("20190305", satellite="S2B"),  # another satellite: another image
        s2_product("20190305").replace("T12SVC", "T12SVD"),  # the same pass, cut elsewhere
        s2_product("20190305"),  # the same product
    ],
    "s1": [
        s1_product("20190207", 200),
        s1_product("20190107", 100),
        s1_product("20190107", 100, second=45),  # the next slice of that pass
    ],
}
ORDER = {"s2": [1, 0, 2], "s1": [1, 0], "aerial": [0], "spot": [0]}
BANDS = {"aerial": [3, 0, 1, 2], "spot": [0, 1, 2]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "s2-naip-urban"
    return root, write_s2_naip(root, products=PRODUCTS)


def test_a_folder_becomes_a_cube(folder):
    root, _ = folder
    cube = ml.validate(ml.open_cube("s2-naip", root=root, catalogue=SHIPPED), values=None)
    assert modality_names(cube) == ["aerial", "spot", "s2", "s1"]
    names = [f"{split}/{tile}" for split, tiles in NAIP_TILES.items() for tile in tiles]
    assert cube["sample"].values.tolist() == names
    assert cube["split"].values.tolist() == ["train", "val", "test"]
    assert cube["block"].values.tolist() == [0, 1, 2]
    assert cube.attrs["window"] == 640.0 and "targets" not in cube.children
    assert {str(d)[:10] for d in cube["ref_date"].values} == {"2019-08-10"}
    for name in ("aerial", "spot"):
        assert (cube[name]["time"].values[:, 0] == cube["ref_date"].values).all()


@pytest.mark.parametrize("modality", ["aerial", "spot", "s2", "s1"])
def test_each_modality_is_what_was_written(folder, modality):
    root, tiles = folder
    ds = open_s2_naip(root)[modality]
    source = "naip" if modality in BANDS else modality
    for row, tile in enumerate(tiles.values()):
        stored = tile.values[source][ORDER[modality]][:, BANDS.get(modality, slice(None))]
        np.testing.assert_array_equal(ds["values"].values[row], stored)
        days = [tile.days[source][k] for k in ORDER[modality]]
        found = ds["time"].values[row].astype("datetime64[D]").astype(str)
        assert [d.replace("-", "") for d in found] == days
    assert ds["valid"].values.all()


@pytest.mark.parametrize("modality", ["aerial", "spot", "s2", "s1"])
def test_a_window_is_read_alone(folder, modality):
    root, tiles = folder
    read = pickle.loads(pickle.dumps(read_of(open_s2_naip(root)[modality])))
    where = slice(8, 20), slice(52, 64)
    values, valid = read(1, where)
    source = "naip" if modality in BANDS else modality
    stored = tiles[NAIP_TILES["val"][0]].values[source][ORDER[modality]]
    np.testing.assert_array_equal(values, stored[:, BANDS.get(modality, slice(None))][:, :, *where])
    assert valid.shape == (len(stored), 12, 12) and valid.all()


def test_products_can_be_kept_as_stored(folder):
    root, _ = folder
    cube = open_s2_naip(root, duplicates="keep")
    assert (cube["s2"].sizes["time"], cube["s1"].sizes["time"]) == (5, 3)


def test_a_series_without_products_is_missing(folder, tmp_path):
    write_s2_naip(tmp_path)
    write_products(tmp_path, "s1", FIRST, [])
    second = NAIP_TILES["val"][0]
    (tmp_path / "dates" / "s2" / f"{second}.txt").unlink()
    naip_file(tmp_path, "s2", second).unlink()
    cube = ml.validate(open_s2_naip(tmp_path), values=None)
    assert np.isnat(cube["s1"]["time"].values[:, 0]).tolist() == [True, False, False]
    assert np.isnat(cube["s2"]["time"].values[:, 0]).tolist() == [False, True, False]
    assert not cube["s2"]["valid"].values[1].any()


def test_pixels_without_data_are_not_valid(tmp_path):
    tiles = write_s2_naip(tmp_path)
    s2, s1 = (tiles[FIRST].values[name].copy() for name in ("s2", "s1"))
    s2[1, :, 3, 4] = 0
    s1[0, 1, 5, 6], s1[1, 0, 7, 8] = np.nan, 0
    for name, values in (("s2", s2), ("s1", s1)):
        write_tif(naip_file(tmp_path, name, FIRST), values.reshape(-1, 64, 64))
    cube = ml.validate(open_s2_naip(tmp_path), values=None)
    assert np.argwhere(~cube["s2"]["valid"].values).tolist() == [[0, 1, 3, 4]]
    assert np.argwhere(~cube["s1"]["valid"].values).tolist() == [[0, 0, 5, 6], [0, 1, 7, 8]]


def test_names_of_products_may_end_in_file_names(tmp_path):
    write_s2_naip(tmp_path)
    path = tmp_path / "dates" / "naip" / f"{FIRST}.txt"
    path.write_text("m_3211225_ne_12_060_20180203.tif")
    path = tmp_path / "dates" / "s2" / f"{FIRST}.txt"
    path.write_text(", ".join(f"{p}.SAFE" for p in PRODUCTS["s2"][:3]))
    cube = open_s2_naip(tmp_path)
    assert str(cube["ref_date"].values[0])[:10] == "2018-02-03"
    assert str(cube["s2"]["time"].values[0, 0])[:10] == "2019-01-05"


def test_lists_and_modalities_are_chosen(tmp_path):
    write_s2_naip(tmp_path / "data")
    write_csv(tmp_path / "data" / "train_small.csv", name=[FIRST])
    for path in (tmp_path / "data" / "naip").iterdir():
        path.unlink()
    cube = open_s2_naip(
        tmp_path / "data", splits="train", version="small", modalities=["s1", "s2"], limit=4
    )
    assert modality_names(cube) == ["s2", "s1"] and cube.sizes["sample"] == 1
    again = open_store(save_cube(cube, tmp_path / "saved.zarr")).load()
    assert again.equals(cube.load())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"splits": "tset"}, r"s2-naip: splits\n.*train, val, test.*\n.*'tset'"),
        ({"filtered": 200}, r"s2-naip: filtered\n.*above 0, to 100\n.*200"),
        ({"duplicates": None}, r"s2-naip: duplicates\n.*'drop' or 'keep'\n.*None"),
        ({"modalities": ["landsat"]}, r"s2-naip: modalities\n.*aerial, spot, s2, s1"),
    ],
)
def test_impossible_options_are_refused(folder, options, message):
    with pytest.raises(CubeError, match=message):
        open_s2_naip(folder[0], **options)
