"""Six distances between bands, on data whose answers are known."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance
from sklearn.metrics import mutual_info_score

from maestro_lab.bands import STATISTICS, band_statistics, distances
from maestro_lab.errors import ParameterError
from tests.bands.made import correlation, image_cube, kept, overlap, pixels, planted
from tests.batches.cubes import pixel_cube


def measured(columns):
    return band_statistics(pixel_cube(columns), "m")


def test_there_are_six_statistics_told_in_words():
    assert list(STATISTICS) == [
        "correlation", "within_date", "within_patch", "overlap", "wasserstein", "information"
    ]  # fmt: skip
    assert all(STATISTICS.values())


@pytest.mark.parametrize("statistic", STATISTICS)
def test_distances_are_symmetric_between_0_and_1_and_0_to_oneself(small, statistic):
    for statistics in (measured(planted()), band_statistics(small, "s2", clouds="in")):
        found = distances(statistics, statistic)
        np.testing.assert_array_equal(found, found.T)
        assert (np.diag(found) == 0).all()
        assert found.min() >= 0 and 0 < found.max() <= 1


def by_numpy(values, keep, statistics):
    """All six distances once more, from pixels, edges and cuts alone."""
    rows = pixels(values, keep)
    found = {
        name: 1 - np.abs(correlation(values, keep, within))
        for name, within in (
            ("correlation", "all"),
            ("within_date", "date"),
            ("within_patch", "patch"),
        )
    }
    edges, cuts = statistics.bins.edges, statistics.bins.cuts
    inside = np.clip(rows, edges[0], edges[-1])
    counts = [np.histogram(column, edges)[0] for column in inside.T]
    found["overlap"] = 1 - overlap(counts)
    steps = np.arange(len(edges) - 1)
    found["wasserstein"] = np.array(
        [[wasserstein_distance(steps, steps, a, b) for b in counts] for a in counts]
    ) / len(steps)
    codes = [np.digitize(c, k) for c, k in zip(rows.T, cuts, strict=True)]
    shared = np.array([[mutual_info_score(a, b) for b in codes] for a in codes])
    found["information"] = 1 - np.sqrt(1 - np.exp(-2 * shared))
    np.fill_diagonal(found["information"], 0)
    return found


@pytest.mark.parametrize("clouds", ["out", "in"])
def test_distances_are_those_of_numpy(small, clouds):
    statistics = band_statistics(small, "s2", split=(), clouds=clouds)
    expected = by_numpy(small["s2"]["values"].values, kept(small, "s2", clouds), statistics)
    assert set(expected) == set(STATISTICS)
    for statistic, matrix in expected.items():
        np.testing.assert_allclose(distances(statistics, statistic), matrix, atol=1e-9)


def test_correlation_of_known_bands():
    a, b = np.array([1.0, -1, 1, -1]), np.array([1.0, 1, -1, -1])
    found = distances(measured({"a": a, "same": 2 * a + 5, "against": -a, "b": b, "flat": 0 * a}))
    alike = [[0, 0, 0, 1, 1]] * 3
    np.testing.assert_allclose(found, [*alike, [1, 1, 1, 0, 1], [1, 1, 1, 1, 0]], atol=1e-12)


def test_overlap_of_known_bands():
    low, half, high = np.zeros(16), np.repeat([0.0, 10.0], 8), np.full(16, 10.0)
    found = distances(measured({"a": low, "b": half, "c": high}), "overlap")
    np.testing.assert_allclose(found, [[0, 0.5, 1], [0.5, 0, 0.5], [1, 0.5, 0]], atol=1e-12)


def test_wasserstein_tells_far_from_near_where_overlap_cannot():
    levels = {"a": 0, "b": 20, "c": 80, "end": 100}
    statistics = measured({name: np.full(64, float(v)) for name, v in levels.items()})
    assert (distances(statistics, "overlap")[np.triu_indices(4, 1)] == 1).all()
    found = distances(statistics, "wasserstein")
    np.testing.assert_allclose(found[0], [0, 0.2, 0.8, 1], atol=2 / 50)


def test_information_sees_a_monotone_dependence_that_is_not_straight():
    course = np.random.default_rng(0).standard_normal(2500)
    statistics = measured({"a": course, "b": np.exp(3 * course)})
    assert distances(statistics, "information")[0, 1] < 0.01
    assert distances(statistics, "correlation")[0, 1] > 0.5


def test_information_sees_a_dependence_that_is_not_monotone():
    course = np.random.default_rng(0).standard_normal(2500)
    statistics = measured({"a": course, "b": course**2})
    assert distances(statistics, "information")[0, 1] < 0.05
    assert distances(statistics, "correlation")[0, 1] > 0.8


@pytest.mark.parametrize("slope", [0.8, -0.95])
def test_information_agrees_with_correlation_for_gaussian_bands(slope):
    a, b = np.random.default_rng(0).standard_normal((2, 90_000))
    statistics = measured({"a": a, "b": slope * a + np.sqrt(1 - slope**2) * b})
    found = distances(statistics, "information")[0, 1]
    assert found == pytest.approx(1 - abs(slope), abs=0.03)


def courses(*, by_date=0.0, by_patch=0.0, noise=1.0):
    """Two bands that share a course over dates, or a contrast between patches, but no noise."""
    rng = np.random.default_rng(0)
    values = noise * rng.standard_normal((6, 8, 2, 8, 8))
    values += by_date * rng.standard_normal((6, 8, 1, 1, 1))
    values += by_patch * rng.standard_normal((6, 8, 1, 4, 4)).repeat(2, 3).repeat(2, 4)
    return band_statistics(image_cube(values), "m")


def between(statistics):
    return {name: distances(statistics, name)[0, 1] for name in STATISTICS}


def test_a_common_course_over_dates_does_not_count_within_dates():
    found = between(courses(by_date=10))
    assert found["correlation"] < 0.02
    assert found["within_date"] > 0.95
    assert found["within_patch"] > 0.95


def test_a_contrast_between_patches_does_not_count_within_patches():
    found = between(courses(by_patch=10))
    assert found["correlation"] < 0.02
    assert found["within_date"] < 0.02
    assert found["within_patch"] > 0.95


def test_a_pattern_that_both_bands_show_counts_everywhere():
    rng = np.random.default_rng(0)
    pattern = rng.standard_normal((6, 8, 1, 8, 8))
    values = pattern + 0.01 * rng.standard_normal((6, 8, 2, 8, 8))
    assert max(between(band_statistics(image_cube(values), "m")).values()) < 0.06


def test_a_level_and_a_scale_matter_to_histograms_only():
    course = np.random.default_rng(0).standard_normal(2500)
    found = between(measured({"a": course, "b": 5 * course + 100}))
    for name in ("correlation", "within_date", "within_patch"):
        assert found[name] == pytest.approx(0, abs=1e-9)
    assert found["information"] < 0.01
    assert found["overlap"] == 1
    assert found["wasserstein"] > 0.7


def test_an_unknown_statistic_is_refused(small):
    with pytest.raises(ParameterError, match=r"statistic\n.*correlation \| within_date.*\n.*'cos'"):
        distances(band_statistics(small, "s2"), "cos")
