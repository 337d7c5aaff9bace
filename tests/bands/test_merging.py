"""Statistics add up, come apart in bundles, and survive a file."""

import json
from dataclasses import replace

import numpy as np
import pytest

from maestro_lab.bands import BandStatistics, band_statistics
from maestro_lab.errors import ParameterError
from tests.bands.made import deviations, histograms, image_cube, kept, overwritten, pixels
from tests.batches.cubes import pixel_cube


@pytest.fixture(scope="module")
def s2(small):
    return band_statistics(small, "s2", split=())


def test_statistics_of_two_halves_add_up(small, s2):
    halves = [
        band_statistics(small.isel(sample=half), "s2", split=(), bins=s2.bins)
        for half in (slice(0, 3), slice(3, None))
    ]
    for total in (halves[0] + halves[1], halves[1] + halves[0]):
        assert total.n == s2.n
        np.testing.assert_array_equal(total.counts, s2.counts)
        np.testing.assert_array_equal(total.sums.joint, s2.sums.joint)
        np.testing.assert_allclose(total.mean, s2.mean, rtol=1e-12)
        for within in ("all", "date", "patch"):
            np.testing.assert_allclose(
                total.comoment(within), s2.comoment(within), rtol=1e-9, atol=1e-2
            )
        assert total.levels[0] == s2.levels[0]
        np.testing.assert_array_equal(total.levels[1], s2.levels[1])
        np.testing.assert_array_equal(total.quantile([0.1, 0.5]), s2.quantile([0.1, 0.5]))


def test_halves_draw_from_the_bundles_of_both(small, s2):
    halves = [
        band_statistics(small.isel(sample=half), "s2", split=(), bins=s2.bins)
        for half in (slice(0, 2), slice(2, None))
    ]
    total = halves[0] + halves[1]
    assert total.units_in["sample"] == 8
    assert total.units_in["block"] == 4
    assert total.bundles["sample"].n.sum() == s2.n
    assert len(total.bundles["sample"].n) == 8


def test_bundles_that_only_one_half_kept_are_dropped(small, s2):
    none = band_statistics(small, "s2", split=(), bins=s2.bins, bundles=0)
    for total in (none + s2, s2 + none):
        assert not total.bundles and not total.units_in
        assert total.n == 2 * s2.n


def test_levels_that_begin_elsewhere_are_aligned():
    low, high = (np.arange(16).reshape(1, 1, 1, 4, 4).astype(np.uint8) + k for k in (3, 100))
    first = band_statistics(image_cube(low), "m")
    second = band_statistics(image_cube(high), "m", bins=first.bins)
    for total in (first + second, second + first):
        lowest, table = total.levels
        there = np.flatnonzero(table[0]) + lowest
        assert there.tolist() == [*range(3, 19), *range(100, 116)]


def test_levels_are_lost_where_one_half_has_none():
    values = np.random.default_rng(0).integers(0, 9, (1, 1, 1, 6, 6))
    whole = band_statistics(image_cube(values.astype(np.uint8)), "m")
    other = band_statistics(image_cube(values.astype(float)), "m", bins=whole.bins)
    assert (whole + other).levels is None


UNLIKE = {
    "modality": lambda cube, bins: band_statistics(cube, "s1"),
    "selection": lambda cube, bins: band_statistics(cube, "s2", bins=bins, clouds="in"),
    "bins": lambda cube, bins: band_statistics(cube, "s2", bins=8),
    "patch": lambda cube, bins: band_statistics(cube, "s2", bins=bins, patch=3),
}


@pytest.mark.parametrize("what", UNLIKE)
def test_only_like_can_be_added_to_like(small, what):
    first = band_statistics(small, "s2")
    with pytest.raises(ParameterError, match=f"cannot be merged\n.*\n.*different.*{what}") as error:
        first + UNLIKE[what](small, first.bins)
    assert "bins=first.bins" in str(error.value)


def test_bands_of_other_names_cannot_be_added():
    column = np.arange(16)
    first = band_statistics(pixel_cube({"a": column, "b": column}), "m")
    second = band_statistics(pixel_cube({"a": column, "c": column}), "m", bins=first.bins)
    with pytest.raises(ParameterError, match=r"different bands \(\('a', 'b'\) and \('a', 'c'\)\)"):
        first + second


def test_bins_of_another_number_of_bands_are_refused(small, s2):
    with pytest.raises(ParameterError, match=r"bins\n.*of 2 bands\n.*4"):
        band_statistics(small, "s1", bins=s2.bins)


def test_bins_are_equal_by_their_numbers(s2):
    again = replace(s2.bins, edges=s2.bins.edges.copy())
    assert again == s2.bins and hash(again) == hash(s2.bins)
    assert replace(s2.bins, stride=3) != s2.bins
    assert replace(s2.bins, cuts=s2.bins.cuts + 1) != s2.bins
    assert s2.bins != "bins"


@pytest.mark.parametrize("over", ["sample", "date", "block"])
@pytest.mark.parametrize("bundles", [1, 3, 24])
def test_bundles_sum_to_the_total(small, over, bundles):
    found = band_statistics(small, "s2", split=(), bundles=bundles)
    parts = found.bundles[over]
    assert parts.n.sum() == found.n
    np.testing.assert_array_equal(parts.counts.sum(0), found.counts)
    np.testing.assert_array_equal(parts.joint.sum(0), found.sums.joint)
    for name in ("first", "second", "by_date", "by_patch"):
        total = getattr(found.sums, name)
        size = np.abs(total).max()
        np.testing.assert_allclose(getattr(parts, name).sum(0), total, atol=1e-12 * size)
    units = {"sample": 8, "date": 7, "block": 4}[over]
    assert found.units_in[over] == units
    assert len(parts.n) == min(units, bundles)


def test_dates_without_a_sample_that_is_looked_at_do_not_count(small):
    found = band_statistics(small, "s2", split="val", season="JJA")
    days = small["s2"]["time"].values[2]
    month = days.astype("datetime64[M]").astype(int) % 12 + 1
    assert found.units_in == {"sample": 1, "date": np.isin(month, (6, 7, 8)).sum(), "block": 1}


def test_dates_drawn_again_weigh_as_often_as_they_are_drawn(small, s2):
    values, keep = small["s2"]["values"].values, kept(small, "s2")
    weights = np.array([[2, 0, 1, 3, 0, 1, 0], [1, 1, 1, 1, 1, 1, 1]])
    found = list(s2.resampled("date", weights))
    assert len(found) == 2
    for drawn, weight in zip(found, weights, strict=True):
        again = np.repeat(np.arange(7), weight)
        values_again, keep_again = values[:, again], keep[:, again]
        rows = pixels(values_again, keep_again)
        assert drawn.n == len(rows)
        np.testing.assert_array_equal(drawn.counts, histograms(rows, s2.edges))
        np.testing.assert_allclose(drawn.mean, rows.mean(0), rtol=1e-12)
        for within in ("all", "date", "patch"):
            apart = deviations(values_again, keep_again, within)
            expected = apart.T @ apart
            np.testing.assert_allclose(drawn.comoment(within), expected, atol=1e-9 * expected.max())


def test_blocks_drawn_again_weigh_as_often_as_they_are_drawn(small, s2):
    values, keep = small["s2"]["values"].values, kept(small, "s2")
    weight = np.array([0, 2, 1, 1])
    (drawn,) = s2.resampled("block", weight[None])
    samples = np.repeat(np.arange(8), np.repeat(weight, 2))
    rows = pixels(values[samples], keep[samples])
    assert drawn.n == len(rows)
    np.testing.assert_allclose(drawn.mean, rows.mean(0), rtol=1e-12)


def test_each_sample_is_in_one_bundle(small, s2):
    clear = small["s2"]["valid"].values.sum((1, 2, 3))
    assert sorted(s2.bundles["sample"].n) == sorted(clear)


@pytest.mark.parametrize("ending", [".nc", ".json"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("s2", {"split": ("train", "val"), "season": "JJA", "region": "north-west"}),
        ("s2", {"split": (), "clouds": "in", "bundles": 0}),
        ("s1", {}),
    ],
)
def test_statistics_survive_a_file(tmp_path, small, ending, name, options):
    found = band_statistics(small, name, **options)
    path = found.save(tmp_path / f"statistics{ending}")
    again = BandStatistics.load(path)
    assert [p.name for p in tmp_path.iterdir()] == [f"statistics{ending}"]
    for field in ("modality", "bands", "units", "selection", "patch", "bins", "units_in"):
        assert getattr(again, field) == getattr(found, field), field
    np.testing.assert_array_equal(again.wavelengths, found.wavelengths)
    np.testing.assert_array_equal(again.missing, found.missing)
    assert set(again.bundles) == set(found.bundles)
    for over in ("", *found.bundles):
        first, second = (s.bundles[over] if over else s.sums for s in (found, again))
        for field, array in first.arrays().items():
            np.testing.assert_array_equal(second.arrays()[field], array)
            assert second.arrays()[field].dtype == array.dtype, field
    assert (again.levels is None) == (found.levels is None) == (name == "s1")
    if found.levels is not None:
        assert again.levels[0] == found.levels[0]
        np.testing.assert_array_equal(again.levels[1], found.levels[1])
    assert (again + found).n == 2 * found.n
    assert again.title == found.title


@pytest.mark.parametrize(
    "ending",
    [".nc", ".json"],
)
def test_statistics_of_a_single_band_survive_a_file(tmp_path, small, ending):
    found = band_statistics(small, "dem")
    again = BandStatistics.load(found.save(tmp_path / f"dem{ending}"))
    assert again.n == found.n
    assert again.sums.joint.shape == (0, 16, 16)


@pytest.mark.parametrize("ending", [".nc", ".json"])
def test_missing_bands_add_up_and_survive_a_file(tmp_path, small, ending):
    holed = overwritten(small, np.s_[:, :, 1, 2, 3], np.nan, name="s1")
    found = band_statistics(holed, "s1", split=())
    lost = small["s1"]["valid"].values[:, :, 2, 3].sum()
    assert found.missing.tolist() == [0, lost]
    assert (found + found).missing.tolist() == [0, 2 * lost]
    assert found.bundles["date"].missing.sum(0).tolist() == [0, lost]
    again = BandStatistics.load(found.save(tmp_path / f"holed{ending}"))
    assert again.missing.tolist() == [0, lost]


def test_a_file_is_replaced_as_a_whole(tmp_path, small):
    path = tmp_path / "statistics.json"
    for name in ("s1", "dem"):
        band_statistics(small, name, bundles=0).save(path)
        assert BandStatistics.load(path).modality == name
    assert [p.name for p in tmp_path.iterdir()] == ["statistics.json"]


@pytest.mark.parametrize("name", ["statistics", "statistics.csv", "statistics.NC"])
def test_other_endings_are_refused(tmp_path, s2, name):
    for use in (s2.save, BandStatistics.load):
        with pytest.raises(ParameterError, match=r"netCDF or JSON\n.*\.nc or \.json"):
            use(tmp_path / name)
    assert not list(tmp_path.iterdir())


DAMAGED = [
    ("a.nc", b"no netCDF"),
    ("a.json", b"{"),
    ("a.json", b"\xff\xfe"),
    ("a.json", b"3"),
    ("a.json", b"{}"),
    ("a.json", b'{"coords": {}, "data_vars": {}}'),
    ("a.json", b"[]"),
    ("a.json", b'{"coords": {}, "data_vars": 3}'),
]


@pytest.mark.parametrize(("name", "content"), DAMAGED)
def test_damaged_files_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ParameterError, match=r"holds no band statistics\n.*BandStatistics\.save"):
        BandStatistics.load(tmp_path / name)


@pytest.mark.parametrize("field", ["counts", "edges", "sample_joint"])
def test_a_json_file_that_lacks_a_number_is_refused(tmp_path, s2, field):
    path = s2.save(tmp_path / "a.json")
    content = json.loads(path.read_text())
    del content["data_vars"][field]
    path.write_text(json.dumps(content))
    with pytest.raises(ParameterError, match="holds no band statistics"):
        BandStatistics.load(path)


@pytest.mark.parametrize("name", ["absent.nc", "absent.json"])
def test_a_missing_file_is_refused(tmp_path, name):
    with pytest.raises(ParameterError, match=f"{name} holds no band statistics"):
        BandStatistics.load(tmp_path / name)


def test_statistics_introduce_themselves(small, s2):
    assert s2.title == f"s2: clear pixels only, all splits, {s2.n:,} pixels"
    assert repr(s2) == (
        f"BandStatistics({s2.title}; B02 B03 B04 B08; to resample: 8 samples, 7 dates, 4 blocks)"
    )
    assert "to resample: none" in repr(band_statistics(small, "dem", bundles=0))
