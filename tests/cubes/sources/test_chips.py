"""Images of one date in a folder for each class, as EuroSAT comes."""

import pickle
import shutil

import numpy as np
import pytest

import maestro_lab as ml
from maestro_lab.cubes.contract import validate
from maestro_lab.cubes.reading import read_of
from maestro_lab.cubes.sources.chips import open_chips
from maestro_lab.cubes.sources.hashed import hashed_splits
from maestro_lab.errors import CubeError
from tests.cubes.sources.h5_layout import (
    EUROSAT,
    write_eurosat,
    write_tif,
)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    return write_eurosat(tmp_path_factory.mktemp("chips") / "Euro SAT, août")


@pytest.fixture
def images(shown, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(shown, tmp_path / "all bands")


def listed(folder, **splits):
    for split, names in splits.items():
        (folder / f"{split}.txt").write_text("\n".join([*names, ""]))


def test_a_folder_of_classes_becomes_a_cube(shown):
    cube = validate(ml.open_cube("eurosat", root=shown), values=None)
    assert cube["s2"]["band"].values.tolist() == EUROSAT and EUROSAT[-1] == "B8A"
    assert cube["s2"]["values"].dtype == np.uint16 and cube["s2"].sizes["time"] == 1
    assert (cube["s2"]["time"].values == np.datetime64("2020-07-01")).all()
    label = cube["targets"]["label"]
    classes = [label.attrs["classes"][k] for k in label.values]
    assert classes == [name.split("/")[0] for name in cube["sample"].values]
    assert cube["sample"].values[:2].tolist() == [
        "AnnualCrop/AnnualCrop_1",
        "AnnualCrop/AnnualCrop_2",
    ]
    assert set(cube["split"].values) == {"train", "val", "test"}
    median = np.median(cube["s2"]["values"].values[:6], axis=(0, 1, 3, 4))
    assert median.argmin() == EUROSAT.index("B10") and median.argmax() == EUROSAT.index("B8A")
    assert len(set(cube["block"].values.tolist())) == cube.sizes["sample"] == 18
    assert cube.attrs["window"] == 640


def test_numbers_in_names_are_ordered_as_numbers(tmp_path):
    write_eurosat(tmp_path / "c", each=11, side=4)
    cube = open_chips(tmp_path / "c", EUROSAT)
    assert cube["sample"].values[9:11].tolist() == ["AnnualCrop/AnnualCrop_10",
                                                    "AnnualCrop/AnnualCrop_11"]  # fmt: skip


def test_lists_tell_the_splits(images):
    listed(images, train=["River_1.jpg", "Forest/Forest_2.tif"], val=["River_3"], test=["Forest_4"])
    cube = open_chips(images, EUROSAT)
    found = dict(zip(cube["sample"].values, cube["split"].values, strict=True))
    assert found == {
        "River/River_1": "train", "Forest/Forest_2": "train", "River/River_3": "val",
        "Forest/Forest_4": "test",
    }  # fmt: skip
    assert cube["targets"]["label"].attrs["classes"] == ["AnnualCrop", "Forest", "River"]
    (images / "train.txt").rename(images / "eurosat-train.txt")
    other = open_chips(images, EUROSAT, lists="eurosat-{split}.txt")
    assert other["sample"].values.tolist() == ["Forest/Forest_2", "River/River_1"]


def test_limits_take_some_of_each_split(shown):
    whole = open_chips(shown, EUROSAT)
    some = open_chips(shown, EUROSAT, limit=2)
    assert some["split"].values.tolist().count("train") == 2
    assert set(some["sample"].values) < set(whole["sample"].values)
    assert len({name.split("/")[0] for name in some["sample"].values}) > 1, "not one class alone"
    kept = whole.isel(sample=np.isin(whole["sample"].values, some["sample"].values))
    np.testing.assert_array_equal(kept["s2"]["values"].values, some["s2"]["values"].values)
    assert kept["split"].values.tolist() == some["split"].values.tolist()


def test_a_hash_splits_alike_whatever_else_is_there():
    names = [f"n{i}" for i in range(2000)]
    split = hashed_splits("x", names, {"test": 0.2, "val": 0.1}, 0)
    assert (split[::2] == hashed_splits("x", names[::2], {"test": 0.2, "val": 0.1}, 0)).all()
    shares = {s: (split == s).mean() for s in ("train", "val", "test")}
    assert shares == pytest.approx({"train": 0.7, "val": 0.1, "test": 0.2}, abs=0.03)
    for few in range(3, 9):
        found = hashed_splits("x", names[:few], {"test": 0.2, "val": 0.1}, few)
        assert set(found) == {"train", "val", "test"}


def test_pixels_without_numbers(images):
    image = np.full((13, 8, 8), 500, "float32") + np.arange(8, dtype="float32") * 50
    image[:, 0, 0], image[3, 1, 1], image[0, 2, 2] = 0, np.nan, 0
    shutil.rmtree(images / "River")
    for path in images.glob("*/*.tif"):
        write_tif(path, image)
    cube = validate(open_chips(images, EUROSAT), values=None)
    valid = cube["s2"]["valid"].values[0, 0]
    assert not valid[0, 0] and not valid[1, 1] and valid.sum() == 62
    assert np.isfinite(cube["s2"]["values"].values).all()


def test_reading_is_lazy_and_can_be_sent_to_workers(shown):
    cube = open_chips(shown, EUROSAT)
    read = pickle.loads(pickle.dumps(read_of(cube["s2"])))
    values, valid = read(7, (slice(3, 5), slice(0, 7)))
    assert values.shape == (1, 13, 2, 7) and valid.shape == (1, 2, 7)
    np.testing.assert_array_equal(values[0], cube["s2"]["values"].values[7, 0, :, 3:5, :7])


def empty(path):
    return lambda folder: (folder / path).write_bytes(b"")


def image(path, values):
    return lambda folder: write_tif(folder / path, values)


def lists(**splits):
    return lambda folder: listed(folder, **splits)


R1 = r"River_1\.tif"
DAMAGE = {
    "no images": (
        lambda folder: (folder / "Sea").mkdir(), r"Sea holds no image\n.*tif.*\n.*option root",
    ),
    "no classes": (
        lambda folder: [shutil.rmtree(folder / n) for n in ("AnnualCrop", "Forest")],
        r": classes\n.*two folders or more.*\n.*River",
    ),
    "two images of a name": (
        lambda folder: (folder / "River/River_1.tif").rename(folder / "River/River_2.TIFF"),
        r": images\n.*different names",
    ),
    "zero bytes": (empty("River/River_1.tif"), R1 + r" cannot be read\n.*an image"),
    "first of zero bytes": (
        empty("AnnualCrop/AnnualCrop_1.tif"), r"AnnualCrop_1\.tif cannot be read",
    ),
    "fewer bands than declared": (
        image("AnnualCrop/AnnualCrop_1.tif", np.ones((12, 64, 64), "uint16")),
        r"AnnualCrop_1\.tif: bands\n.*13 \(declared as B01 .*\n.*12",
    ),
    "other pixels": (
        image("River/River_1.tif", np.ones((13, 32, 64), "uint16")),
        R1 + r": rows and columns\n.*64, 64.*\n.*32, 64",
    ),
    "other numbers": (
        image("River/River_1.tif", np.ones((13, 64, 64), "float32")),
        R1 + r": numbers\n.*uint16\n.*float32",
    ),
    "a list of nobody": (lists(train=[]), r": no samples\n.*train.txt"),
    "a stranger in a list": (
        lists(train=["Sea_1.tif"]), r"train.txt: 'Sea_1.tif'\n.*\n.*no such image",
    ),
    "in two lists": (
        lists(train=["River_1"], test=["River_1.tif"]),
        r"test.txt: 'River_1.tif'\n.*one list once\n.*train\n.*remove",
    ),
    "a list in another encoding": (
        lambda folder: (folder / "val.txt").write_bytes(b"for\xeat"), r"val.txt cannot be read",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_told_with_the_file(images, what):
    change, message = DAMAGE[what]
    change(images)
    with pytest.raises(CubeError, match=message) as caught:
        open_chips(images, EUROSAT)["s2"]["values"].load()
    assert str(images) in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bands": "B02"}, r"bands\n.*in the order of the files"),
        ({"bands": ["B02", "B02"]}, r"bands\n.*each once"),
        ({"date": "last summer"}, r"date\n.*YYYY-MM-DD\n.*'last summer'"),
        ({"units": "counts"}, r"units\n.*DN \| .*\n.*'counts'"),
        ({"sensor": "sentinel-9"}, r"sensor 'sentinel-9' is not known"),
        ({"gsd": 0}, r"gsd\n.*above 0"),
        ({"limit": 1.5}, r"limit\n.*above 0"),
        ({"val": 0.8, "test": 0.3}, r"val and test\n.*below 1\n.*val 0.8, test 0.3"),
        ({"lists": "train.txt"}, r"lists\n.*\{split\}"),
        ({"root": "nowhere"}, r"nowhere does not exist\n.*each class\n.*option root"),
    ],
)
def test_impossible_options_are_refused(shown, options, message):
    with pytest.raises(CubeError, match=message):
        open_chips(**{"root": shown, "bands": EUROSAT, **options})
