"""Monthly slots: one acquisition each, the clearest, and nothing invented."""

import pickle

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import maestro_lab as ml
from maestro_lab.cubes.contract import assemble, make_modality, validate
from maestro_lab.cubes.dates import padded, unique_dates
from maestro_lab.cubes.reading import lazy_modality, read_of
from maestro_lab.cubes.slots import monthly_slots, take_slots
from maestro_lab.errors import CubeError
from tests.cubes.conftest import edited

SMALL = settings(derandomize=True, database=None, deadline=None, max_examples=25)
SIDE = 3


def series(samples):
    """Make a modality from [(day, valid pixels of 9), ...] of each sample."""
    time = padded([np.array([day for day, _ in dates], "M8[ns]") for dates in samples])
    values = np.zeros((*time.shape, 2, SIDE, SIDE), np.float32)
    valid = np.zeros((*time.shape, SIDE, SIDE), bool)
    for row, dates in enumerate(samples):
        for column, (_, count) in enumerate(dates):
            valid[row, column].reshape(-1)[:count] = True
            values[row, column] = 100 * row + column + 1
    return values, time, valid


ABOUT = {"bands": ["VV", "VH"], "units": "dB", "gsd": 10.0}


def cube_of(samples, *, lazy=False, **extra):
    values, time, valid = series(samples)
    if lazy:
        ds = lazy_modality(Stored(values, valid, time), time, pixels=SIDE, dtype="float32", **ABOUT)
    else:
        ds = make_modality(values, time, valid=valid, **ABOUT)
    n = len(samples)
    return assemble(
        {"s1": ds}, sample=[f"n{i}" for i in range(n)], split=["train"] * n, block=range(n),
        title="t", licence="l", source="s", check=0, extra=extra,
    )  # fmt: skip


def refuse(sample, where):
    raise AssertionError("read")


class Stored:
    def __init__(self, values, valid, time):
        self.arrays, self.length = (values, valid), (~np.isnat(time)).sum(1)

    def __call__(self, sample, where):
        return tuple(a[sample, : self.length[sample]][..., *where] for a in self.arrays)


def chosen(dates, **options):
    found = monthly_slots(cube_of([dates])["s1"], **{"start": "2020-01-01", **options})
    return found.index[0].tolist()


@pytest.mark.parametrize(
    ("dates", "slots", "expected"),
    [
        ([("2020-01-01", 5), ("2020-01-20", 9), ("2020-01-30", 9)], 2, [1, -1]),
        ([("2020-01-30T23:59", 9), ("2020-01-31", 1)], 3, [0, 1, -1]),
        ([("2019-12-31", 9), ("2020-03-01", 1), ("2020-03-31", 9)], 3, [-1, -1, 1]),
        ([("2020-01-10", 9), ("2020-01-22", 9)], 1, [0]),
        ([("2020-01-12", 9), ("2020-01-20", 9)], 1, [0]),
        ([("2020-01-10", 0), ("2020-01-22", 0)], 1, [0]),
        ([("2020-01-16T00", 3), ("2020-01-16T00", 8), ("2020-01-20", 7)], 1, [1]),
        ([("2020-02-05", 9)], 1, [-1]),
    ],
    ids=["clearest", "ends of a slot", "outside", "nearest the middle", "the first on ties",
         "dates without a valid pixel are dates", "one of two of a date", "none"],
)  # fmt: skip
def test_which_acquisition_a_slot_takes(dates, slots, expected):
    dates = [*dates, ("2020-12-20", 9)]
    assert chosen(dates, slots=slots) == expected


def test_nearest_looks_at_no_mask():
    dates = [("2020-01-02", 9), ("2020-01-15", 1)]
    assert chosen(dates, slots=1) == [0] and chosen(dates, slots=1, choose="nearest") == [1]
    _, time, _ = series([dates])
    ds = lazy_modality(refuse, time, pixels=SIDE, dtype="float32", **ABOUT)
    assert monthly_slots(ds, choose="nearest").index[0, 0] == 1
    with pytest.raises(AssertionError, match="read"):
        monthly_slots(ds)


def test_slots_begin_half_a_year_before_the_reference():
    dates = [[("2019-03-05", 9)], [("2019-03-05", 9)], []]
    ref = np.array(["2019-07-13", "2020-01-31", "2020-06-15"], "datetime64[ns]")
    cube = cube_of([[("2019-03-05", 9)], [("2019-08-05", 9)]], ref_date=ref[:2])
    found = monthly_slots(cube["s1"])
    begins = found.start.astype("datetime64[D]").astype(str)
    assert begins[:, 0].tolist() == ["2019-01-01", "2019-07-01"]
    assert begins[0, :3].tolist() == ["2019-01-01", "2019-01-31", "2019-03-02"]
    assert found.index.argmax(1).tolist() == [2, 1] and (found.index >= 0).sum() == 2
    alone = monthly_slots(cube["s1"].to_dataset())
    assert alone.start[:, 0].astype("datetime64[D]").astype(str).tolist() == [
        "2019-03-01", "2019-08-01",
    ]  # fmt: skip
    values, time, valid = series(dates)
    empty = monthly_slots(make_modality(values, time, valid=valid, **ABOUT))
    assert np.isnat(empty.start[2]).all() and (empty.index[2] == -1).all()


def test_one_start_a_sample():
    cube = cube_of([[("2020-03-05", 9)], [("2020-03-05", 9)]])
    found = monthly_slots(cube["s1"], start=["2020-03-01", "2020-01-01"], slots=3)
    assert found.index.tolist() == [[0, -1, -1], [-1, -1, 0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slots": 0}, r"slots\n.*1 or more\n.*0"),
        ({"slots": 12.0}, r"slots\n.*whole number"),
        ({"days": -30}, r"days\n.*1 or more\n.*-30"),
        ({"choose": "first"}, r"choose\n.*'clearest' or 'nearest'\n.*'first'"),
        ({"start": "monday"}, r"start\n.*a date, or 1 dates\n.*'monday'"),
        ({"start": ["2020-01-01", "2020-02-01"]}, r"start\n.*a date, or 1 dates"),
        ({"start": "NaT"}, r"start\n.*a date for each sample\n.*NaT"),
    ],
)
def test_impossible_slots_are_refused(options, message):
    with pytest.raises(CubeError, match=message):
        chosen([("2020-01-01", 9)], **options)


DAYS = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 9)), max_size=25)


@pytest.mark.parametrize("lazy", [False, True, "dask"])
@SMALL
@given(first=DAYS, second=DAYS)
def test_taken_slots_are_a_cube_of_stored_acquisitions(lazy, first, second):
    origin = np.datetime64("2020-01-01")
    samples = [
        [(origin + day, count) for day, count in sorted(dates, key=lambda d: d[0])]
        for dates in ([(40, 9), *first], [(41, 9), *second])
    ]
    cube = cube_of(samples, lazy=lazy is True)
    if lazy == "dask":
        cube = edited(cube, "s1", lambda ds: ds.chunk(sample=1))
    slots = monthly_slots(cube["s1"], start="2020-01-01")
    taken = validate(take_slots(cube, {"s1": slots}), values=None)["s1"]
    assert taken.sizes["time"] <= 12
    values, time, valid = series(samples)
    for row, index in enumerate(slots.index):
        for slot, column in enumerate(index):
            inside = (time[row] >= slots.start[row, slot]) & (
                time[row] < slots.start[row, slot] + np.timedelta64(30, "D")
            )
            assert (column >= 0) == inside.any(), "a slot is empty only where nothing lies in it"
            if column >= 0:
                counts = valid[row].sum((1, 2))
                assert inside[column] and counts[column] == counts[inside].max()
        kept = index[index >= 0]
        assert len(set(time[row, kept])) == len(kept)
        np.testing.assert_array_equal(taken["values"].values[row, : len(kept)], values[row, kept])
        np.testing.assert_array_equal(taken["valid"].values[row, : len(kept)], valid[row, kept])
        assert not taken["valid"].values[row, len(kept) :].any()
    again = monthly_slots(taken, start="2020-01-01")
    for row, index in enumerate(again.index):
        assert index[index >= 0].tolist() == list(range((index >= 0).sum()))
        assert ((index >= 0) == (slots.index[row] >= 0)).all(), "taking twice changes nothing"


def test_taking_stays_lazy_and_can_be_sent_to_workers():
    samples = [[("2020-01-05", 9), ("2020-01-06", 3), ("2020-03-01", 9)]] * 2
    cube = cube_of(samples, lazy=True)
    taken = take_slots(cube, {"s1": monthly_slots(cube["s1"])})
    read = pickle.loads(pickle.dumps(read_of(taken["s1"])))
    values, valid = read(1, (slice(0, 2), slice(1, 3)))
    assert values.shape == (2, 2, 2, 2) and valid.shape == (2, 2, 2)
    assert values[:, 0, 0, 0].tolist() == [101, 103]
    assert taken["s1"].attrs == cube["s1"].attrs


def test_other_modalities_and_targets_stay():
    cube = ml.open_cube("landscape", samples=4)
    taken = take_slots(cube, {"s2": monthly_slots(cube["s2"], choose="nearest")})
    assert list(taken.children) == list(cube.children)
    assert taken["s1_asc"]["values"].data.name == cube["s1_asc"]["values"].data.name
    assert taken["s2"]["wavelength"].values.tolist() == cube["s2"]["wavelength"].values.tolist()
    xr.testing.assert_identical(taken["targets"].to_dataset(), cube["targets"].to_dataset())
    assert taken["ref_date"].equals(cube["ref_date"])


def test_slots_that_do_not_fit_are_refused():
    cube = cube_of([[("2020-01-05", 9)], [("2021-01-05", 9)]])
    slots = monthly_slots(cube["s1"], start="2020-01-01")
    with pytest.raises(CubeError, match=r"'n1' has no date in a slot\n.*\n.*1 samples.*\n.*start"):
        take_slots(cube, {"s1": slots})
    with pytest.raises(CubeError, match=r"no modality 's2'\n.*s1\n"):
        take_slots(cube, {"s2": slots})
    other = cube_of([[("2020-01-05", 9)]])
    with pytest.raises(CubeError, match=r"s1: slots of another cube\n.*1 samples.*\n.*2 samples"):
        take_slots(other, {"s1": slots})


@SMALL
@given(st.lists(st.tuples(st.integers(-1, 6), st.integers(0, 3)), max_size=12))
def test_one_row_a_date_remains(rows):
    time = np.array([np.datetime64("NaT") if d < 0 else np.datetime64(d, "D") for d, _ in rows],
                    "datetime64[ns]")  # fmt: skip
    share = np.array([s / 3 for _, s in rows])
    found = unique_dates(time, share)
    assert time[found].tolist() == sorted({t for t in time.tolist() if t is not None})
    for row in found:
        same = np.flatnonzero(time == time[row])
        assert share[row] == share[same].max() and row == same[share[same] == share[row]][0]
