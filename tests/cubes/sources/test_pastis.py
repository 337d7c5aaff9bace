"""The PASTIS-HD reader gives back what was written, in the order of dates, and reads windows."""

import json
import pickle

import numpy as np
import pytest

import maestro_lab as ml
from maestro_lab.cubes.contract import modality_names
from maestro_lab.cubes.reading import read_of
from maestro_lab.cubes.sources.pastis import CLASSES, open_pastis
from maestro_lab.cubes.store import open_store, save_cube
from maestro_lab.errors import CubeError
from tests.cubes.sources.layouts import (
    PATCHES,
    dates,
    pastis_file,
    write_csv,
    write_geojson,
    write_npy,
    write_pastis,
)
from tests.test_catalogue import SHIPPED

# Out of order, and one date twice.
DAYS = {
    "s2": ["20190305", "20190105", "20190305", "20181224"],
    "s1_asc": ["20190207", "20190107"],
    "s1_des": [],
}
ORDER = {"s2": [3, 1, 0], "s1_asc": [1, 0], "s1_des": []}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "PASTIS-HD"
    return root, write_pastis(root, PATCHES, DAYS, suffix="_fold_1")


def day(text):
    return np.datetime64(f"{text[:4]}-{text[4:6]}-{text[6:]}", "ns")


def test_a_folder_becomes_a_cube(folder):
    root, _ = folder
    cube = ml.validate(ml.open_cube("pastis-hd", root=root, fold=1, catalogue=SHIPPED), values=None)
    assert modality_names(cube) == ["spot", "s2", "s1_asc", "s1_des"]
    assert cube["sample"].values.tolist() == ["train/10000", "val/10001", "test/10002"]
    assert cube["split"].values.tolist() == ["train", "val", "test"]
    assert cube["block"].values.tolist() == [0, 1, 2]
    assert cube.attrs["window"] == 1280.0
    assert {str(d)[:10] for d in cube["ref_date"].values} == {"2019-07-01"}
    assert (cube["spot"]["time"].values[:, 0] == cube["ref_date"].values).all()
    entry = ml.catalog(SHIPPED)["pastis-hd"]
    assert entry.targets["pastis_seg"].classes == CLASSES and entry.window == 160
    kinds = {name: (cube[name]["values"].dtype, cube[name].attrs["units"]) for name in cube.children
             if name != "targets"}  # fmt: skip
    assert kinds == {
        "spot": (np.uint8, "DN"), "s2": (np.int16, "DN"),
        "s1_asc": (np.float32, "dB"), "s1_des": (np.float32, "dB"),
    }  # fmt: skip


@pytest.mark.parametrize("modality", ["s2", "s1_asc"])
def test_series_are_sorted_and_each_date_is_there_once(folder, modality):
    root, tiles = folder
    ds = open_pastis(root, fold=1)[modality]
    order = ORDER[modality]
    expected = [day(DAYS[modality][k]) for k in order]
    for row, tile in enumerate(tiles.values()):
        assert ds["time"].values[row].tolist() == np.array(expected).tolist()
        bands = ds.sizes["band"]
        np.testing.assert_array_equal(
            ds["values"].values[row], tile.values[modality][order, :bands]
        )
    assert ds["valid"].values.all()


def test_rows_can_be_kept_as_stored(folder):
    root, tiles = folder
    s2 = open_pastis(root, splits="val", fold=1, duplicates="keep")["s2"]
    assert s2.sizes["time"] == 4
    stored = tiles["10001"].values["s2"]
    np.testing.assert_array_equal(s2["values"].values[0], stored[[3, 1, 0, 2]])


def test_a_series_without_dates_is_missing_and_its_file_is_not_opened(folder):
    root, tiles = folder
    for name in tiles:
        pastis_file(root, "s1_des", name).unlink(missing_ok=True)
    des = open_pastis(root, fold=1)["s1_des"]
    assert np.isnat(des["time"].values).all() and not des["valid"].values.any()


def test_spot_and_labels(folder):
    root, tiles = folder
    cube = open_pastis(root, fold=1)
    labels = cube["targets"]["pastis_seg"]
    assert labels.attrs == {
        "task": "segmentation", "classes": CLASSES, "missing": 19, "gsd": 10.0,
    }  # fmt: skip
    assert labels.dtype == np.int16 and labels.dims == ("sample", "y", "x")
    for row, tile in enumerate(tiles.values()):
        np.testing.assert_array_equal(cube["spot"]["values"].values[row], tile.values["spot"])
        np.testing.assert_array_equal(labels.values[row], tile.labels)
    np.testing.assert_array_equal(labels[1, 5:9, 7].values, tiles["10001"].labels[5:9, 7])


@pytest.mark.parametrize("modality", ["spot", "s2", "s1_asc", "s1_des"])
def test_a_window_is_read_alone(folder, modality):
    root, tiles = folder
    read = pickle.loads(pickle.dumps(read_of(open_pastis(root, fold=1)[modality])))
    where = slice(16, 32), slice(96, 128)
    values, valid = read(2, where)
    stored, order = tiles["10002"].values[modality], ORDER.get(modality, [0])
    bands = min(values.shape[1], stored.shape[1])
    np.testing.assert_array_equal(values, stored[order][:, :bands, *where])
    assert valid.shape == (len(order), 16, 32) and valid.all()


def test_pixels_without_data_are_not_valid(tmp_path):
    tiles = write_pastis(tmp_path)
    s2, s1 = (tiles["10000"].values[name].copy() for name in ("s2", "s1_asc"))
    s2[1, :, 3, 4] = 0
    s2[2, :9, 3, 4] = 0  # one band tells something
    s1[0, 1, 5, 6], s1[1, 0, 7, 8], s1[1, 2, 9, 9] = np.nan, 0, np.nan
    for name, values in (("s2", s2), ("s1_asc", s1)):
        write_npy(pastis_file(tmp_path, name, "10000"), values)
    cube = ml.validate(open_pastis(tmp_path), values=None)
    assert np.argwhere(~cube["s2"]["valid"].values).tolist() == [[0, 1, 3, 4]]
    assert np.argwhere(~cube["s1_asc"]["valid"].values).tolist() == [[0, 0, 5, 6], [0, 1, 7, 8]]
    assert cube["s1_asc"]["values"].values[0, 0, 1, 5, 6] == 0, "no NaN is left"


@pytest.mark.parametrize(("key", "text"), [("id", False), ("id", True), ("ID_PATCH", True)])
def test_dates_are_found_however_they_are_stored(tmp_path, key, text):
    tiles = write_pastis(tmp_path)
    write_geojson(tmp_path, {n: t.days for n, t in tiles.items()}, key, text)
    days = open_pastis(tmp_path)["s2"]["time"].values[0]
    assert days.tolist() == np.array([day(d) for d in dates(3)]).tolist()


def test_the_id_may_belong_to_the_feature(tmp_path):
    write_pastis(tmp_path)
    path = tmp_path / "metadata.geojson"
    content = json.loads(path.read_text())
    for feature in content["features"]:
        feature["id"] = str(feature["properties"].pop("ID_PATCH"))
    path.write_text(json.dumps(content))
    assert open_pastis(tmp_path).sizes["sample"] == 3


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("train.csv", {}),
        ("train_v2.csv", {"version": "v2"}),
        ("train_filtered_10.csv", {"filtered": 10}),
        ("train_filtered_0.5_fold_3.csv", {"filtered": 0.5, "fold": 3}),
        ("train_v2_filtered_10_fold_0.csv", {"version": "v2", "filtered": 10, "fold": 0}),
    ],
)
def test_the_list_is_chosen_by_its_name(tmp_path, name, options):
    write_pastis(tmp_path, {"train": ["7", "8", "9"]}, suffix=name.removeprefix("train")[:-4])
    assert (tmp_path / name).is_file()
    cube = open_pastis(tmp_path, splits="train", limit=2, modalities=["s2"], **options)
    assert cube["sample"].values.tolist() == ["train/7", "train/8"]
    assert modality_names(cube) == ["s2"]
    with pytest.raises(CubeError, match=rf"train_other.csv does not exist\n.*\n.*{name}\n.*fold"):
        open_pastis(tmp_path, splits="train", version="other")


def test_a_cube_of_tiles_can_be_saved(tmp_path):
    write_pastis(tmp_path / "data", {"train": ["7"]})
    cube = open_pastis(tmp_path / "data", splits=["train"], modalities=["s2", "s1_asc"])
    again = open_store(save_cube(cube, tmp_path / "saved.zarr")).load()
    assert again.equals(cube.load())


def test_opening_reads_no_pixels_but_those_of_the_check(tmp_path, monkeypatch):
    patches = {"train": [str(n) for n in range(5)]}
    write_pastis(tmp_path, patches)
    opened, open_memmap = [], np.lib.format.open_memmap
    monkeypatch.setattr(
        np.lib.format, "open_memmap", lambda p, **k: opened.append(p.name) or open_memmap(p, **k)
    )
    open_pastis(tmp_path, splits="train", modalities=["s2"])
    assert len(set(opened)) == 2, "the validator looks at two tiles"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"splits": ["tset"]}, r"pastis-hd: splits\n.*train, val, test.*\n.*'tset'"),
        ({"splits": []}, r"pastis-hd: splits\n.*train, val, test.*\n.*\[\]"),
        ({"splits": ["val", "val"]}, r"pastis-hd: splits\n.*each once"),
        ({"fold": -1}, r"pastis-hd: fold\n.*0 or more\n.*-1"),
        ({"fold": True}, r"pastis-hd: fold\n.*0 or more\n.*True"),
        ({"filtered": 0}, r"pastis-hd: filtered\n.*above 0, to 100\n.*0"),
        ({"version": "a/b"}, r"pastis-hd: version\n.*a word, or nothing\n.*'a/b'"),
        ({"limit": 0}, r"pastis-hd: limit\n.*above 0\n.*0"),
        ({"duplicates": True}, r"pastis-hd: duplicates\n.*'drop' or 'keep'\n.*True"),
        ({"modalities": ["s1"]}, r"pastis-hd: modalities\n.*spot, s2, s1_asc, s1_des.*\n.*'s1'"),
        ({"modalities": []}, r"pastis-hd: modalities\n.*each once\n.*\[\]"),
    ],
)
def test_impossible_options_are_refused(folder, options, message):
    with pytest.raises(CubeError, match=message):
        open_pastis(folder[0], **{"fold": 1, **options})


def test_one_tile_in_two_splits_is_refused(tmp_path):
    write_pastis(tmp_path)
    write_csv(tmp_path / "test.csv", image=["10002", "10000"])
    with pytest.raises(
        CubeError, match=r"test.csv: '10000' is there twice\n.*\n.*in train.csv too"
    ):
        open_pastis(tmp_path)
