"""Neighbours never straddle train and test."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from maestro_lab.cubes.splits import block_splits, leakage
from maestro_lab.errors import CubeError

SMALL = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.filter_too_much],
)


@st.composite
def layouts(draw):
    """A lattice, perhaps with holes, and options that mean something on it."""
    rows, columns = draw(st.tuples(st.integers(6, 14), st.integers(6, 14)))
    row, column = np.indices((rows, columns)).reshape(2, -1)
    keep = np.random.default_rng(draw(st.integers(0, 99))).random(len(row)) < draw(
        st.sampled_from([0.6, 1.0])
    )
    region = draw(st.integers(1, 4))
    options = {
        "region": region,
        "block": draw(st.sampled_from([b for b in (1, 2, 3, 4) if region % b == 0])),
        "buffer": draw(st.integers(0, 2)),
        "shares": draw(st.sampled_from([{"test": 0.2}, {"val": 0.1, "test": 0.2}, {"val": 0.4}])),
        "seed": draw(st.integers(0, 9)),
    }
    return row[keep] + draw(st.integers(-3, 3)), column[keep], options


def cut(layout):
    row, column, options = layout
    try:
        return row, column, options, *block_splits(row, column, **options)
    except CubeError as error:
        assume("no window is left" not in str(error))
        raise


@SMALL
@given(layouts())
def test_no_held_out_window_is_near_a_training_window(layout):
    row, column, options, split, _ = cut(layout)
    train = split == "train"
    for name in options["shares"]:
        for r, c in zip(row[split == name], column[split == name], strict=True):
            nearest = np.maximum(np.abs(row[train] - r), np.abs(column[train] - c)).min()
            assert nearest > options["buffer"]


@SMALL
@given(layouts())
def test_only_windows_near_held_out_ones_are_given_up(layout):
    row, column, options, split, _ = cut(layout)
    held = np.isin(split, list(options["shares"]))
    for r, c in zip(row[split == "buffer"], column[split == "buffer"], strict=True):
        nearest = np.maximum(np.abs(row[held] - r), np.abs(column[held] - c)).min()
        assert nearest <= options["buffer"]


@SMALL
@given(layouts())
def test_regions_stay_whole_and_blocks_lie_inside_them(layout):
    row, column, options, split, block = cut(layout)
    size = options["region"]
    region = [f"{r // size} {c // size}" for r, c in zip(row, column, strict=True)]
    owner = {}
    for name, where in zip(split, region, strict=True):
        owner.setdefault(where, set()).add("train" if name == "buffer" else name)
    assert all(len(names) == 1 for names in owner.values())
    held = [next(iter(names)) for names in owner.values()]
    for name, share in options["shares"].items():
        assert held.count(name) == max(1, round(share * len(owner)))
    home = {}
    for number, where in zip(block, region, strict=True):
        assert home.setdefault(number, where) == where
    for number in set(block.tolist()):
        for axis in (row, column):
            assert np.ptp(axis[block == number]) < options["block"]


def test_the_seed_decides():
    row, column = np.indices((12, 12)).reshape(2, -1)
    options = {"region": 4, "block": 2, "shares": {"test": 0.2}}
    first, again, other = (block_splits(row, column, seed=s, **options)[0] for s in (1, 1, 2))
    assert (first == again).all() and (first != other).any()
    assert len({tuple(block_splits(row, column, seed=s, **options)[1]) for s in (1, 2)}) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block": 3}, r"blocks do not fit.*\n.*divisor of 4\n.*3"),
        ({"region": 0}, r"1 window or more.*\n.*region 0"),
        ({"block": 0}, r"1 window or more.*\n.*block 0"),
        ({"buffer": -1}, r"0 or more\n.*buffer -1"),
        ({"buffer": 9}, r"no window is left to train on\n.*small enough.*\n.*buffer 9"),
        ({"region": 12}, r"no window is left to train on\n.*\n.*1 regions of 12 x 12"),
        ({"shares": {"train": 0.5}}, r"'val', 'test' or both.*\n.*'train'"),
        ({"shares": {"test": 0}}, r"above 0 and below 1\n.*0"),
        ({"shares": {"test": 20}}, r"above 0 and below 1\n.*20"),
    ],
)
def test_impossible_options_are_refused(options, message):
    row, column = np.indices((12, 12)).reshape(2, -1)
    good = {"region": 4, "block": 2, "shares": {"test": 0.2}}
    with pytest.raises(CubeError, match=message):
        block_splits(row, column, **{**good, **options})


def test_leakage_is_the_distance_to_the_nearest_training_window():
    x, y = np.array([0.0, 100.0, 0.0, 300.0, 7.0]), np.array([0.0, 0.0, 50.0, 400.0, 7.0])
    split = np.array(["train", "train", "test", "test", "buffer"], dtype=object)
    far = float(np.hypot(200, 400))
    assert leakage(x, y, split) == pytest.approx({"nearest": 50, "median": (50 + far) / 2})
    assert leakage(x, y, split, "buffer")["nearest"] == pytest.approx(np.hypot(7, 7))


@pytest.mark.parametrize(("split", "missing"), [("train", "test"), ("test", "train")])
def test_leakage_without_one_side_is_told(split, missing):
    with pytest.raises(CubeError, match=rf"no window in split '{missing}'\n.*\n.*{split}"):
        leakage(np.zeros(2), np.zeros(2), np.array([split, split]))
