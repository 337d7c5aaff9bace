"""A fixed number of dates out of an irregular series, as the paper's code takes them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maestro_lab.cubes.dates import bins, choose_clear, choose_median, year_day_hour
from maestro_lab.cubes.sources.treesatai import open_treesatai
from maestro_lab.errors import ParameterError

SMALL = settings(derandomize=True, database=None, deadline=None, max_examples=80)


def test_dates_become_year_day_and_hour():
    days = ["2020-12-31T23:59", "2019-12-31", "2020-01-01T05", "1969-03-01T01:00", "NaT"]
    expected = [[2020, 366, 23], [2019, 365, 0], [2020, 1, 5], [1969, 60, 1], [0, 0, 0]]
    for unit in ("ns", "s"):
        time = np.array([days, days], f"datetime64[{unit}]")
        found = year_day_hour(time)
        assert found.dtype == np.int32 and found.tolist() == [expected, expected]


@SMALL
@given(st.data())
def test_bins_are_consecutive_and_of_one_size(data):
    length = data.draw(st.integers(1, 40))
    count = data.draw(st.integers(1, length))
    offset = data.draw(st.integers(0, length % count))
    found = bins(length, count, offset)
    assert found.shape == (count, length // count)
    assert found.ravel().tolist() == list(range(offset, offset + found.size))
    assert found.max() < length


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 4, 0), r"bins\n.*1 to 3.*\n.*4"),
        ((3, 0, 0), r"bins\n.*1 to 3.*\n.*0"),
        ((7, 3, 2), r"offset\n.*0 to 1\n.*2"),
        ((7, 3, -1), r"offset\n.*0 to 1\n.*-1"),
    ],
)
def test_impossible_bins_are_refused(arguments, message):
    with pytest.raises(ParameterError, match=message):
        bins(*arguments)


@SMALL
@given(st.lists(st.booleans(), max_size=30), st.integers(1, 8), st.integers(0, 99))
def test_a_clear_date_is_drawn_wherever_there_is_one(clear, count, seed):
    clear = np.array(clear, bool)
    found = choose_clear(clear, count, np.random.default_rng(seed))
    if len(clear) <= count:
        assert found.tolist() == list(range(len(clear)))
        return
    offset = int(np.random.default_rng(seed).integers(0, len(clear) % count + 1))
    windows = bins(len(clear), count, offset)
    assert len(found) == count
    for date, window in zip(found, windows, strict=True):
        assert date in window
        assert clear[date] or not clear[window].any()


def test_clear_dates_of_a_bin_are_drawn_alike():
    clear = np.array([True, False, True, True, False, False])
    rng = np.random.default_rng(0)
    drawn = np.array([choose_clear(clear, 2, rng) for _ in range(3000)])
    first, second = (np.bincount(column, minlength=6) / 3000 for column in drawn.T)
    np.testing.assert_allclose(first, [0.5, 0, 0.5, 0, 0, 0], atol=0.04)
    np.testing.assert_allclose(second, [0, 0, 0, 1, 0, 0])
    cloudy = np.array([choose_clear(~clear[:1].repeat(3), 1, rng)[0] for _ in range(3000)])
    np.testing.assert_allclose(np.bincount(cloudy) / 3000, 1 / 3, atol=0.04)


def nearest_to_median(values, valid, window):
    """Say in loops what choose_median does in one bin."""
    if not any(valid[t].all() for t in window):
        valid = np.ones_like(valid)
    median = np.zeros(values.shape[1:])
    for band, y, x in np.ndindex(*median.shape):
        seen = sorted(values[t, band, y, x] for t in window if valid[t, y, x])
        half = len(seen) // 2
        median[band, y, x] = seen[half] if len(seen) % 2 else (seen[half - 1] + seen[half]) / 2
    return min(
        (t for t in window if valid[t].all()), key=lambda t: np.abs(values[t] - median).mean()
    )


@SMALL
@given(st.integers(0, 10_000), st.integers(1, 4), st.sampled_from([0.0, 0.2, 0.7, 1.0]))
def test_the_date_nearest_to_the_median_of_clear_pixels_is_chosen(seed, count, cloudy):
    rng = np.random.default_rng(seed)
    length = int(rng.integers(count + 1, 15))
    values = rng.normal(size=(length, 2, 2, 2))
    valid = rng.random((length, 2, 2)) >= cloudy
    found = choose_median(values, valid, count, np.random.default_rng(seed))
    offset = int(np.random.default_rng(seed).integers(0, length % count + 1))
    expected = [nearest_to_median(values, valid, w) for w in bins(length, count, offset)]
    assert found.tolist() == expected


def test_clouds_do_not_move_the_median():
    values = np.array([5.0, 1.0, 2.0, 1000.0, 900.0])[:, None, None, None]
    valid = np.array([True, True, True, False, False])[:, None, None]
    assert choose_median(values, valid, 1, np.random.default_rng(0)).tolist() == [2]
    nothing = np.zeros_like(valid)
    assert choose_median(values, nothing, 1, np.random.default_rng(0)).tolist() == [0]
    digital = values.astype(np.uint16)
    assert choose_median(digital, valid, 1, np.random.default_rng(0)).tolist() == [2]


def test_missing_pixels_hurt_no_other():
    values = np.array([3.0, np.nan, 4.0, 9.0])[:, None, None, None] * np.ones((1, 1, 1, 2))
    valid = np.isfinite(values[:, 0])
    assert choose_median(values, valid, 1, np.random.default_rng(0)).tolist() == [2]


def test_short_series_are_taken_whole():
    values, valid = np.zeros((3, 1, 1, 1)), np.zeros((3, 1, 1), bool)
    for count in (3, 5):
        rng = np.random.default_rng(0)
        assert choose_median(values, valid, count, rng).tolist() == [0, 1, 2]


@pytest.fixture(scope="module")
def oracle(shared):
    """What the official code made of the one real patch, and how often it was asked."""
    from safetensors.numpy import load_file

    folder, patch = shared / "fixtures" / "maestro", shared / "data" / "treesatai_ts"
    file = folder / "treesat_real_sample_val.safetensors"
    if not file.is_file() or not patch.is_dir():
        pytest.skip(f"no {file.name} or no {patch.name}: nothing to compare the dates with")
    record = json.loads((folder / "data_lr_metrics.json").read_text())
    cube = open_treesatai(patch, splits=["val"], duplicates="keep").load()
    return load_file(file), record, cube


COUNTS = {"s2": 16, "s1_asc": 4, "s1_des": 4}


def taken(cube, rng):
    """Choose the dates of one item in the official order of draws."""
    found = {}
    for name, count in COUNTS.items():
        ds = cube[name].isel(sample=0)
        index = choose_median(ds["values"].values, ds["valid"].values, count, rng)
        found[name] = ds["values"].values[index], year_day_hour(ds["time"].values[index])
    return found


def test_real_dates_are_those_of_the_official_code(oracle):
    tensors, _, cube = oracle
    for name, (values, dates) in taken(cube, np.random.default_rng(42)).items():
        official = tensors[name]
        scaled = (
            values / 5000 if name == "s2" else np.log(np.maximum(values.astype("f8"), 1e-10)) / 5
        )
        np.testing.assert_allclose(scaled, official, rtol=1e-5, atol=1e-6, err_msg=name)
        np.testing.assert_array_equal(dates, tensors[f"{name}_dates"], err_msg=name)


def test_later_items_too_are_those_of_the_official_code(oracle):
    _, record, cube = oracle
    rng = np.random.default_rng(42)
    taken(cube, rng)
    calls = record["next_calls_selected_doy"]
    assert len(calls) > 1
    for call in calls:
        found = {name: dates[:, 1].tolist() for name, (_, dates) in taken(cube, rng).items()}
        assert found == {name: call[name] for name in COUNTS}


def test_the_real_aerial_image_and_reference_date(oracle):
    tensors, _, cube = oracle
    aerial = cube["aerial"].isel(sample=0)
    np.testing.assert_array_equal(aerial["values"].values, tensors["aerial_uint8"])
    np.testing.assert_array_equal(year_day_hour(aerial["time"].values), tensors["aerial_dates"])
    np.testing.assert_array_equal(year_day_hour(cube["ref_date"].values), tensors["ref_date"])
    species = cube["targets"]["species"].isel(sample=0)
    above = (species.values > species.attrs["threshold"]).astype(int)
    np.testing.assert_array_equal(above, tensors["treesat_mlc_thresh"])
    np.testing.assert_array_equal((species.values > 0).astype(int), tensors["treesat_mlc"])
