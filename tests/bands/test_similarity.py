"""Shared areas, travelled ways and mutual information, against scipy and scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import wasserstein_distance
from sklearn.metrics import mutual_info_score

from maestro_lab.bands import band_statistics
from tests.bands.made import image_cube, kept, overlap, pixels, planted
from tests.batches.cubes import pixel_cube


@pytest.fixture(scope="module")
def columns():
    """Eight bands of 2500 pixels, some alike."""
    return planted()


@pytest.fixture(scope="module")
def statistics(columns):
    return band_statistics(pixel_cube(columns), "m")


def test_overlap_is_the_shared_area_of_histograms(statistics):
    np.testing.assert_allclose(statistics.overlap(), overlap(statistics.counts), rtol=1e-12)


def test_overlap_of_known_bands():
    low, half, high = np.zeros(16), np.repeat([0.0, 10.0], 8), np.full(16, 10.0)
    found = band_statistics(pixel_cube({"a": low, "b": half, "c": high, "d": low}), "m").overlap()
    np.testing.assert_allclose(
        found, [[1, 0.5, 0, 1], [0.5, 1, 0.5, 0.5], [0, 0.5, 1, 0], [1, 0.5, 0, 1]]
    )


def each_two(columns, measured):
    return np.array([[measured(a, b) for b in columns] for a in columns])


def test_wasserstein_is_the_way_between_histograms_as_a_share_of_their_range(statistics):
    edges = statistics.edges
    centres = (edges[1:] + edges[:-1]) / 2
    expected = each_two(
        statistics.counts, lambda a, b: wasserstein_distance(centres, centres, a, b)
    )
    np.testing.assert_allclose(
        statistics.wasserstein(), expected / (edges[-1] - edges[0]), atol=1e-12
    )


def test_wasserstein_is_the_way_between_pixels_to_a_bin(columns, statistics):
    edges = statistics.edges
    inside = [np.clip(column, edges[0], edges[-1]) for column in columns.values()]
    expected = each_two(inside, wasserstein_distance) / (edges[-1] - edges[0])
    assert np.abs(statistics.wasserstein() - expected).max() <= 1 / (len(edges) - 1)


def information_of(codes):
    found = each_two(codes, mutual_info_score)
    np.fill_diagonal(found, np.nan)
    return found


def codes_of(rows, statistics):
    return [np.digitize(c, cuts) for c, cuts in zip(rows.T, statistics.bins.cuts, strict=True)]


def test_information_is_that_of_sixteen_classes(columns, statistics):
    codes = codes_of(np.stack(list(columns.values()), 1), statistics)
    np.testing.assert_allclose(statistics.information(), information_of(codes), rtol=1e-9)
    shares = np.array([np.bincount(c, minlength=16) / len(c) for c in codes])
    np.testing.assert_allclose(shares, 1 / 16, atol=0.002)


@pytest.mark.parametrize("clouds", ["out", "in"])
def test_information_leaves_out_what_does_not_count(small, clouds):
    found = band_statistics(small, "s2", split=(), clouds=clouds)
    rows = pixels(small["s2"]["values"].values, kept(small, "s2", clouds))
    np.testing.assert_allclose(
        found.information(), information_of(codes_of(rows, found)), rtol=1e-9
    )


@pytest.mark.parametrize("block", [10**6, 100])
def test_information_can_be_taken_of_evenly_spaced_pixels(monkeypatch, block):
    rng = np.random.default_rng(0)
    course = rng.standard_normal((4, 3, 1, 11, 13))
    values = course + rng.standard_normal((4, 3, 3, 11, 13))
    cube = image_cube(values, valid=rng.random((4, 3, 11, 13)) < 0.9)
    monkeypatch.setattr("maestro_lab.bands.blocks.BLOCK", block)
    bins = replace(band_statistics(cube, "m").bins, stride=5)
    found = band_statistics(cube, "m", bins=bins)
    seen = np.arange(11 * 13).reshape(11, 13) % 5 == 0
    rows = pixels(values, kept(cube) & seen)
    assert found.sums.joint[0].sum() == len(rows)
    np.testing.assert_allclose(
        found.information(), information_of(codes_of(rows, found)), rtol=1e-9
    )


def test_information_of_a_large_cube_is_taken_of_some_pixels():
    values = np.random.default_rng(0).integers(0, 99, (1, 1, 2, 1500, 1500)).astype(np.uint8)
    found = band_statistics(image_cube(values), "m", bundles=0)
    assert found.bins.stride > 1 and found.bins.stride % 2 == 1, "even ones would skip columns"
    assert 2e5 < found.sums.joint[0].sum() < found.n / 2
    assert found.information()[0, 1] < 0.001


def test_information_of_a_constant_band_is_none():
    column = np.random.default_rng(0).standard_normal(256)
    found = band_statistics(pixel_cube({"a": column, "flat": 0 * column + 3}), "m").information()
    np.testing.assert_allclose(found[0, 1], 0, atol=1e-12)


def test_information_knows_no_order_of_bands(statistics):
    found = statistics.information()
    np.testing.assert_array_equal(found, found.T)
