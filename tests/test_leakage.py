"""Leakage: distances and overlaps by hand, and what a random split of the same samples would do."""

import numpy as np
import pytest

import maestro_lab as ml
from maestro_lab.errors import CubeError
from tests.batches.cubes import small_cube


def placed(east, north, split):
    """The small cube (windows of 60 m) with other positions and splits."""
    cube = small_cube()
    names = {"easting": np.array(east, float), "northing": np.array(north, float)}
    found = cube.copy()
    found.dataset = (
        cube.to_dataset()
        .assign(
            {n: ("sample", v) for n, v in names.items()},
        )
        .assign_coords(split=("sample", np.array(split, dtype=object)))
    )
    return found


SPLIT = ["train", "train", "test", "test", "test", "train", "buffer", "val"]


@pytest.fixture(scope="module")
def found():
    east = [0, 60, 60, 300, 30, 1000, 5, 5]
    north = [0, 0, 0, 400, 40, 1000, 5, 5]
    return ml.leakage_distances(placed(east, north, SPLIT), draws=30)


def test_distances_and_overlaps_are_those_of_windows(found):
    table = found.distances.set_index("sample")
    assert table["metres"].to_numpy() == pytest.approx([0, np.hypot(240, 400), 50])
    assert table.loc["place2", "nearest"] == "place1"
    assert table["overlapping"].tolist() == [1, 0, 2], "windows that touch do not overlap"
    assert found.side == 60
    told = found.summary
    assert told["nearest"] == 0
    assert told["median"] == pytest.approx(50)
    assert (told["overlapping"], told["same window"]) == (2, 1)


def test_splits_are_counted(found):
    rows = found.splits.set_index("split")
    assert rows.loc["train"].tolist() == [3, 3, 2]
    assert rows.loc["test"].tolist() == [3, 3, 2]
    assert rows.loc["buffer"].tolist() == [1, 1, 1]


def test_a_random_split_shuffles_the_same_samples(found):
    assert found.random.shape == (30, 3)
    again = {0.0, *np.round(found.random.ravel(), 6)}
    east, north = np.array([[0, 60, 60, 300, 30, 1000], [0, 0, 0, 400, 40, 1000]])
    apart = np.hypot(east[:, None] - east, north[:, None] - north)
    assert again <= set(np.round(apart.ravel(), 6))
    assert len(again) > 3


def test_blocks_keep_test_further_away_than_chance_would():
    cube = ml.open_cube("landscape", samples=200, modalities=["dem"])
    told = ml.leakage_distances(cube).summary
    assert told["nearest"] > 0
    assert told["overlapping"] == 0
    assert told["median"] > 2 * told["random median"]
    report = ml.leakage_report(cube)
    assert report["median (m)"].item() == round(told["median"])
    assert report["median under a random split (m)"].item() == round(told["random median"])


def test_positions_and_both_splits_are_needed():
    cube = small_cube()
    nowhere = cube.copy()
    nowhere.dataset = cube.to_dataset().drop_vars(["easting", "northing"], errors="ignore")
    assert ml.leakage_distances(nowhere) is None
    assert "unknown" in ml.leakage_report(nowhere)
    alone = placed(range(8), range(8), ["train"] * 8)
    with pytest.raises(CubeError, match="no window in split 'test'"):
        ml.leakage_distances(alone)
    assert "'test'" in ml.leakage_report(alone)
