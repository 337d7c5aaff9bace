"""The FLAIR-HUB reader gives back what was written, for both versions, and reads windows."""

import json
import pickle

import numpy as np
import pytest

import maestro_lab as ml
from maestro_lab.cubes.contract import modality_names
from maestro_lab.cubes.reading import read_of
from maestro_lab.cubes.sources.flair import CLASSES, open_flair
from maestro_lab.cubes.sources.geopackage import read_rows
from maestro_lab.cubes.store import open_store, save_cube
from maestro_lab.errors import CubeError
from tests.cubes.sources.layouts import (
    FLAIR_TILES,
    flair_dates,
    flair_file,
    numbered,
    write_csv,
    write_flair,
    write_gpkg,
    write_tif,
)
from tests.test_catalogue import SHIPPED

FIRST = FLAIR_TILES["train"][0]
# Out of order, one date twice; eleven dates, so that "10" is after "9".
DAYS = {
    "s2": ["20210305", *(f"202102{d:02d}" for d in range(10, 20)), "20210305"],
    "s1_asc": ["20210207", "20210107"],
    "s1_des": ["20210104"],
}
ORDER = {"s2": [*range(1, 11), 0], "s1_asc": [1, 0], "s1_des": [0], "aerial": [0], "dem": [0]}
BANDS = {"aerial": [3, 0, 1, 2]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "FLAIR-HUB"
    return root, write_flair(root, days=DAYS)


def day(text):
    return np.datetime64(f"{text[:4]}-{text[4:6]}-{text[6:]}", "ns")


def test_a_folder_becomes_a_cube(folder):
    root, tiles = folder
    cube = ml.validate(ml.open_cube("flair-hub", root=root, catalogue=SHIPPED), values=None)
    assert modality_names(cube) == ["aerial", "dem", "s2", "s1_asc", "s1_des"]
    assert cube["sample"].values.tolist() == [f"{t.split}/{n}" for n, t in tiles.items()]
    assert cube["split"].values.tolist() == ["train", "train", "val", "test"]
    assert cube["block"].values.tolist() == [0, 0, 1, 2], "one block an area, of one domain"
    assert cube.attrs["window"] == 102.4
    days = [day(tile.days["aerial"][0]) for tile in tiles.values()]
    assert cube["ref_date"].values.tolist() == np.array(days).tolist()
    for name in ("aerial", "dem"):
        assert (cube[name]["time"].values[:, 0] == cube["ref_date"].values).all()
    entry = ml.catalog(SHIPPED)["flair-hub"]
    assert entry.targets["cosia"].classes == CLASSES and entry.window == 102.4
    assert cube["s2"].to_dataset().rio.crs == "EPSG:2154"


@pytest.mark.parametrize("modality", ["aerial", "dem", "s2", "s1_asc", "s1_des"])
def test_each_modality_is_what_was_written(folder, modality):
    root, tiles = folder
    ds = open_flair(root)[modality]
    order = ORDER[modality]
    for row, tile in enumerate(tiles.values()):
        stored = tile.values[modality][order][:, BANDS.get(modality, slice(None))]
        np.testing.assert_array_equal(ds["values"].values[row], stored)
        days = tile.days.get(modality, tile.days["aerial"])
        expected = np.array([day(days[k]) for k in order])
        assert ds["time"].values[row].tolist() == expected.tolist()
    assert ds["valid"].values.all()


@pytest.mark.parametrize("modality", ["aerial", "dem", "s2", "s1_asc"])
def test_a_window_is_read_alone(folder, modality):
    root, tiles = folder
    read = pickle.loads(pickle.dumps(read_of(open_flair(root)[modality])))
    where = (slice(128, 256), slice(0, 64)) if modality in BANDS else (slice(2, 6), slice(8, 10))
    values, valid = read(3, where)
    stored = list(tiles.values())[3].values[modality][ORDER[modality]]
    np.testing.assert_array_equal(values, stored[:, BANDS.get(modality, slice(None))][:, :, *where])
    assert valid.shape == (len(stored), *values.shape[2:]) and valid.all()


def test_rows_can_be_kept_as_stored(folder):
    root, tiles = folder
    s2 = open_flair(root, splits="val", duplicates="keep")["s2"]
    stored = tiles[FLAIR_TILES["val"][0]].values["s2"]
    np.testing.assert_array_equal(s2["values"].values[0], stored[[*range(1, 11), 0, 11]])


def test_labels_that_do_not_count(folder, tmp_path):
    root, tiles = folder
    target = open_flair(root)["targets"]["cosia"]
    assert target.attrs == {
        "task": "segmentation", "classes": CLASSES, "missing": -1, "gsd": 0.2,
    }  # fmt: skip
    raw = tiles[FIRST].labels.astype(int)
    np.testing.assert_array_equal(target.values[0], np.where(raw > 14, -1, raw))
    tiles = write_flair(tmp_path, version="flair2")
    cube = ml.open_cube("flair2", root=tmp_path, catalogue=SHIPPED)
    assert modality_names(cube) == ["aerial", "dem", "s2"]
    raw = tiles[FIRST].labels.astype(int)
    ignored = (raw > 14) | np.isin(raw, (1, 2, 7))
    np.testing.assert_array_equal(cube["targets"]["cosia"].values[0], np.where(ignored, -1, raw))
    with pytest.raises(CubeError, match=r"train.csv does not exist\n.*\n.*test_flair2.csv"):
        open_flair(tmp_path)


def test_masks_and_gaps_are_not_valid(tmp_path):
    tiles = write_flair(tmp_path)
    values = {name: array.copy() for name, array in tiles[FIRST].values.items()}
    values["masks"][0, 0, 1, 2], values["masks"][1, 1, 3, 4] = 1, 40
    values["s2"][2, :, 5, 6] = 0
    values["s1_asc"][0, 1, 7, 8], values["s1_asc"][1, 0, 9, 9] = np.nan, 0
    values["dem"][0, 1, 10, 11], values["dem"][0, 0, 12, 13] = -9999, np.nan
    for name, array in values.items():
        write_tif(flair_file(tmp_path, name, FIRST), array.reshape(-1, *array.shape[2:]))
    cube = ml.validate(open_flair(tmp_path), values=None)
    gaps = {n: np.argwhere(~cube[n]["valid"].values[0]).tolist() for n in modality_names(cube)}
    assert gaps == {
        "aerial": [],
        "dem": [[0, 10, 11], [0, 12, 13]],
        "s2": [[0, 1, 2], [1, 3, 4], [2, 5, 6]],
        "s1_asc": [[0, 7, 8], [1, 9, 9]],
        "s1_des": [],
    }
    assert cube["dem"]["values"].values[0, 0, :, 10, 11].tolist() == [0, 0]
    thin = open_flair(tmp_path, mask_threshold=1)["s2"]["valid"].values[0]
    assert np.argwhere(~thin).tolist() == [[1, 3, 4], [2, 5, 6]]


def test_dates_may_stand_beside_each_tile_or_its_area(tmp_path):
    tiles = write_flair(tmp_path)
    own = numbered(["20200101", "20200301", "20200501"], 1)
    area = numbered(["20210101", "20210301", "20210501"], 1)
    names = list(tiles)
    rows = [(name.rsplit("_", 1)[0], json.dumps(area)) for name in names[1:]]
    write_gpkg(
        flair_dates(tmp_path, "SENTINEL2"),
        [*rows, (names[0], json.dumps(own))],
        ["patch_id", "acquisition_dates"],
        table="any name",
    )
    years = open_flair(tmp_path)["s2"]["time"].values.astype("datetime64[Y]").astype(str)
    assert years[:, 0].tolist() == ["2020", "2021", "2021", "2021"]


def test_a_series_without_dates_is_missing(tmp_path):
    tiles = write_flair(tmp_path)
    text = json.dumps(numbered(["20210104"], 1))
    rows = [(n.rsplit("_", 1)[0], "{}" if n == FIRST else text) for n in tiles]
    path = flair_dates(tmp_path, "SENTINEL1-DESC")
    write_gpkg(path, rows, ["patch_id", "acquisition_dates"])
    flair_file(tmp_path, "s1_des", FIRST).unlink()
    flair_file(tmp_path, "s1_des", FLAIR_TILES["train"][1]).unlink()
    des = open_flair(tmp_path)["s1_des"]
    assert np.isnat(des["time"].values[:, 0]).tolist() == [True, True, False, False]
    assert des["valid"].values.any((1, 2, 3)).tolist() == [False, False, True, True]


def test_modalities_left_out_are_not_looked_for(tmp_path):
    write_flair(tmp_path, version="flair2")
    for path in flair_file(tmp_path, "dem", FIRST).parent.glob("*.tif"):
        path.unlink()
    write_csv(tmp_path / "train_filtered_5_fold_1.csv", patch_id=[FIRST])
    cube = open_flair(tmp_path, splits="train", filtered=5, fold=1, modalities=["s2", "aerial"])
    assert modality_names(cube) == ["aerial", "s2"]
    assert [p.name for p in (tmp_path / "GLOBAL_ALL_MTD").iterdir() if "SENTINEL1" in p.name] == []


def test_another_spelling_of_one_reference_system_is_the_same(tmp_path):
    import rasterio

    tiles = write_flair(tmp_path)
    wkt = rasterio.CRS.from_epsg(2154).to_wkt().replace("Lambert-93", "Lambert ninety-three")
    image = tiles[FLAIR_TILES["val"][0]].values["aerial"][0]
    write_tif(flair_file(tmp_path, "aerial", FLAIR_TILES["val"][0]), image, crs=wkt)
    write_tif(flair_file(tmp_path, "aerial", FLAIR_TILES["test"][0]), image, crs=None)
    assert open_flair(tmp_path)["aerial"]["valid"].values.all()


def test_a_cube_of_tiles_can_be_saved(tmp_path):
    write_flair(tmp_path / "data")
    cube = open_flair(tmp_path / "data", splits=["train"], limit=1, modalities=["s2", "s1_asc"])
    assert cube["sample"].values.tolist() == [f"train/{FIRST}"]
    again = open_store(save_cube(cube, tmp_path / "saved.zarr")).load()
    assert again.equals(cube.load())


def test_a_geopackage_is_read_and_left_as_it_is(tmp_path):
    path = tmp_path / "Übersicht #1 ?" / "days.gpkg"
    write_gpkg(path, [("a", 1), ("b", None)], ["key", "a-b"], table="odd name; --")
    before = path.read_bytes()
    assert list(read_rows(path, ["a-b", "key"])) == [(1, "a"), (None, "b")]
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"version": "flair1"}, r"flair: version\n.*'flair-hub' or 'flair2'\n.*'flair1'"),
        ({"mask_threshold": 101}, r"flair: mask_threshold\n.*0 to 100\n.*101"),
        ({"duplicates": "none"}, r"flair: duplicates\n.*'drop' or 'keep'"),
        ({"fold": 1.5}, r"flair-hub: fold\n.*a whole number"),
        ({"limit": -2}, r"flair-hub: limit\n.*above 0\n.*-2"),
        ({"splits": "all"}, r"flair-hub: splits\n.*train, val, test.*\n.*'all'"),
        ({"modalities": "spot"}, r"flair-hub: modalities\n.*aerial, dem, s2, s1_asc, s1_des"),
    ],
)
def test_impossible_options_are_refused(folder, options, message):
    with pytest.raises(CubeError, match=message):
        open_flair(folder[0], **options)


def test_flair2_has_no_radar(tmp_path):
    with pytest.raises(CubeError, match=r"flair2: modalities\n.*some of aerial, dem, s2, each"):
        open_flair(tmp_path, version="flair2", modalities=["s1_asc"])
