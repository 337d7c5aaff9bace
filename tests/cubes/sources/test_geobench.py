"""GEO-Bench: HDF5 files with their lists, bands by their true names, nothing unpickled."""

import json
import os
import pickle
import shutil

import h5py
import numpy as np
import pytest

import maestro_lab as ml
from maestro_lab.cubes.contract import validate
from maestro_lab.cubes.sources.geobench import open_geobench
from maestro_lab.errors import CubeError
from tests.cubes.sources.h5_layout import EUROSAT, LEVELS, PUBLISHED, write_geobench


@pytest.fixture(scope="module")
def benched(tmp_path_factory):
    return write_geobench(tmp_path_factory.mktemp("bench") / "m eurosat")


@pytest.fixture
def bench(benched, tmp_path):
    return shutil.copytree(benched, tmp_path / "m-eurosat")


TWO = {"02 - Blue": "B02", "08A - Vegetation Red Edge": "B8A"}


def write_json(path, content):
    path.write_text(json.dumps(content))


def test_published_eurosat_gets_its_true_bands(benched):
    cube = validate(ml.open_cube("m-eurosat", root=benched), values=None)
    assert cube["s2"]["band"].values.tolist() == EUROSAT
    assert cube["split"].values.tolist() == ["train"] * 6 + ["val"] * 3 + ["test"] * 3
    assert cube["targets"]["label"].values.tolist() == [0, 1, 2] * 4
    assert cube["targets"]["label"].attrs["classes"][1] == "Forest"
    with h5py.File(benched / "id_00.hdf5") as file:
        b8a = file["12 - SWIR"][:]
    np.testing.assert_array_equal(cube["s2"]["values"].sel(band="B8A").values[0, 0], b8a)
    with pytest.raises(
        CubeError, match=r"'10 - SWIR - Cirrus' is not .* B10\n.*'09 - Wat.*\n.*182"
    ):
        open_geobench(benched)


def test_bands_are_known_by_their_numbers(tmp_path):
    right = {name: "B8A" if name[:3] == "08A" else f"B{name[:2]}" for name in PUBLISHED}
    root = write_geobench(tmp_path / "b", {**right, "Cloud Probability": "clouds"})
    cube = open_geobench(root)
    assert cube["s2"]["band"].values.tolist() == list(right.values())
    mean = cube["s2"]["values"].values[0].mean(axis=(0, 2, 3))
    assert np.corrcoef(mean, [LEVELS[b] for b in right.values()])[0, 1] > 0.99
    assert cube["targets"]["label"].attrs["classes"] == ["class 0", "class 1", "class 2"]


def test_maps_dates_and_coarser_bands(tmp_path):
    root = write_geobench(
        tmp_path / "c", TWO, maps=True, day="2019-11-15", smaller=["08A - Vegetation Red Edge"]
    )
    cube = validate(open_geobench(root, TWO, ["no data", "oak", "beech"], missing=0), values=None)
    assert (cube["s2"]["time"].values == np.datetime64("2019-11-15")).all()
    with h5py.File(root / f"{cube['sample'].values[0]}.hdf5") as file:
        coarse, label = file["08A - Vegetation Red Edge_2019-11-15"][:], file["label"][:]
    assert coarse.shape == (8, 8)
    np.testing.assert_array_equal(
        cube["s2"]["values"].values[0, 0, 1], coarse.repeat(2, 0).repeat(2, 1)
    )
    target = cube["targets"]["label"]
    assert target.attrs == {"task": "segmentation", "classes": ["no data", "oak", "beech"],
                            "gsd": 10.0, "missing": 0}  # fmt: skip
    np.testing.assert_array_equal(target.values[0], label)


def test_several_labels(bench):
    (bench / "label_map.json").unlink()
    names = [path.stem for path in bench.glob("*.hdf5")]
    write_json(bench / "label_stats.json", {n: [1.0, 0.0, int(n[-1]) % 2] for n in names})
    target = open_geobench(bench, PUBLISHED, classes=["a", "b", "c"])["targets"]["label"]
    assert target.attrs["task"] == "multilabel" and target["class"].values.tolist() == list("abc")
    assert target.sel({"class": "c"}).values.tolist() == [0] * 3 + [1] * 3 + [0] * 3 + [1] * 3


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_is_ever_unpickled(bench, tmp_path):
    trap = tmp_path / "trap"
    payload = pickle.dumps(Hostile(trap))
    with h5py.File(bench / "id_00.hdf5", "a") as file:
        file.attrs["pickle"] = str(payload)
        file["02 - Blue"].attrs["pickle"] = np.void(payload)
        file["label_meta"] = np.void(payload)
    (bench / "task_specs.pkl").write_bytes(payload)
    cube = ml.open_cube("m-eurosat", root=bench).load()
    assert cube.sizes["sample"] == 12 and not trap.exists()
    pickle.loads(payload)
    assert trap.exists(), "the trap works"


def change(name, **sets):
    def damage(folder):
        with h5py.File(folder / f"{name}.hdf5", "a") as file:
            for key, value in sets.items():
                del file[key]
                if value is not None:
                    file[key] = value

    return damage


def empty(name):
    return lambda folder: (folder / name).write_bytes(b"")


def content(name, value):
    return lambda folder: write_json(folder / name, value)


BLUE = "02 - Blue"
BENCH_DAMAGE = {
    "no partition": (
        lambda folder: (folder / "default_partition.json").unlink(),
        r"default_partition.json does not exist",
    ),
    "partition of zero bytes": (
        empty("default_partition.json"), r"default_partition.json cannot be read\n.*JSON",
    ),
    "partition of numbers": (
        content("default_partition.json", [1, 2]), r"default_partition.json\n.*train.*\n.*\[1, 2\]",
    ),
    "unknown split": (
        content("default_partition.json", {"train": ["id_00"], "holdout": []}),
        r"default_partition.json: names.*\n.*train, valid and test.*\n.*holdout",
    ),
    "in two splits": (
        content("default_partition.json", {"train": ["id_00"], "test": ["id_00"]}),
        r"default_partition.json: names.*\n.*one of them once\n.*'id_00' twice",
    ),
    "a way out of the folder": (
        content("default_partition.json", {"train": ["../id_00"]}),
        r"default_partition.json: names.*\n.*\n.*\.\./id_00",
    ),
    "a sample missing": (
        lambda folder: (folder / "id_01.hdf5").unlink(),
        r"id_01.hdf5 does not exist\n.*default_partition.json",
    ),
    "zero bytes": (empty("id_00.hdf5"), r"id_00.hdf5 cannot be read\n.*HDF5"),
    "no band statistics": (
        lambda folder: (folder / "band_stats.json").unlink(), r"band_stats.json does not exist",
    ),
    "band statistics that are none": (
        content("band_stats.json", ["02 - Blue"]), r"band_stats.json\n.*each band",
    ),
    "a band missing": (
        change("id_00", **{BLUE: None}), r"id_00.hdf5: band '02 - Blue'\n.*one data set.*\n.*none",
    ),
    "a band missing in another": (
        change("id_01", **{BLUE: None}), r"id_01.hdf5: band '02 - Blue'\n.*one data set.*\n.*none",
    ),
    "a band of text": (
        change("id_00", **{BLUE: "blue"}), r"id_00.hdf5: '02 - Blue'\n.*numbers \(y, x\)",
    ),
    "a band of three dimensions": (
        change("id_01", **{BLUE: np.ones((16, 16, 1), "int16")}),
        r"id_01.hdf5: '02 - Blue'\n.*\(16, 16\).*int16\n.*\(16, 16, 1\)",
    ),
    "a band that does not fit": (
        change("id_00", **{BLUE: np.ones((5, 5), "int16")}),
        r"id_00.hdf5: '02 - Blue'\n.*whole part.*\n.*\(5, 5\)",
    ),
    "an empty band": (
        change("id_01", **{BLUE: np.ones((0, 16), "int16")}),
        r"id_01.hdf5: '02 - Blue'\n.*whole part.*\n.*\(0, 16\)",
    ),
    "other numbers": (
        change("id_01", **{BLUE: np.ones((16, 16))}),
        r"id_01.hdf5: '02 - Blue'\n.*int16\n.*float64",
    ),
    "no labels": (
        lambda folder: (folder / "label_map.json").unlink(), r"label_map.json does not exist",
    ),
    "labels that are none": (
        content("label_map.json", {"0": "id_00"}), r"label_map.json\n.*names of samples",
    ),
    "more classes than declared": (
        content("label_map.json", {"10": ["id_00"]}), r"label_map.json\n.*of 10 classes\n.*10",
    ),
    "a sample without a label": (
        content("label_map.json", {"0": ["id_00"]}), r"label_map.json: no class of 'id_10'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BENCH_DAMAGE)
def test_damage_of_geobench_is_told_with_the_file(bench, what):
    change, message = BENCH_DAMAGE[what]
    change(bench)
    with pytest.raises(CubeError, match=message) as caught:
        ml.open_cube("m-eurosat", root=bench).load()
    assert str(bench) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change("id_00", label=np.full((16, 16), 3)), r"id_00.hdf5: label 3\n.*0 to 2"),
        (change("id_00", label=np.full((8, 8), 1)), r"id_10.hdf5: 'label'\n.*\(8, 8\).*\n.*16, 16"),
        (change("id_01", label=None), r"id_01.hdf5 lacks a data set\n.*a label\n.*label"),
    ],
)
def test_damaged_maps_are_told_with_the_file(tmp_path, change, message):
    root = write_geobench(tmp_path / "d", TWO, maps=True)
    change(root)
    with pytest.raises(CubeError, match=message):
        for row in open_geobench(root, TWO, ["a", "b", "c"])["targets"]["label"]:
            row.load()


def test_several_labels_that_are_none(bench):
    (bench / "label_map.json").unlink()
    write_json(bench / "label_stats.json", {"id_00": [1, 0], "id_10": [0.5, 1]})
    with pytest.raises(CubeError, match=r"label_stats.json: 'id_10'\n.*0 or 1.* 2 .*\n.*0\.5, 1"):
        open_geobench(bench, PUBLISHED)


def test_two_dates_are_none(bench):
    with h5py.File(bench / "id_00.hdf5", "a") as file:
        file.move("02 - Blue", "02 - Blue_2019-01-01")
        file.move("03 - Green", "03 - Green_2019-01-06")
    with pytest.raises(CubeError, match=r"id_00.hdf5: dates\n.*one date.*\n.*-01-01, 2019-01-06"):
        open_geobench(bench, PUBLISHED)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bands": {"02 - Violet": "B02"}}, r"no band '02 - Violet'\n.*\n.*02 - Blue.*\n.*bands"),
        ({"bands": {}}, r"bands\n.*stored name"),
        ({"bands": {"02 - Blue": "B02", "03 - Green": "B02"}}, r"bands\n.*each once"),
        ({"partition": "0.01x"}, r"0.01x_partition.json does not exist"),
        ({"date": "2020"}, r"date\n.*YYYY-MM-DD"),
        ({"sensor": None}, r"bands\n.*stored name"),
    ],
)
def test_impossible_choices_are_refused(benched, options, message):
    with pytest.raises(CubeError, match=message):
        open_geobench(benched, **options)
