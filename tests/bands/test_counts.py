"""Histograms, exact levels and quantiles are those of numpy, whatever numbers a cube holds."""

from dataclasses import replace

import numpy as np
import pytest

from maestro_lab.bands import band_statistics
from maestro_lab.errors import ParameterError
from tests.bands.made import histograms, image_cube, kept, overwritten, pixels
from tests.batches.cubes import pixel_cube

KINDS = {
    "uint8": (0, 256),
    "int8": (-128, 128),
    "uint16": (0, 65_536),
    "int16": (-3000, 3000),
    "int32": (-100_000, 100_000),
    "uint32": (0, 4_000_000_000),
    "float32": (-5, 5),
    "float64": (-5, 5),
}
EXACT = ("uint8", "uint16", "int16")


def cube_of_kind(kind, seed=0):
    """Three samples of three dates, cloudy, padded, 7 x 5 pixels; bands lie at different levels."""
    rng = np.random.default_rng(seed)
    low, high = KINDS[kind]
    shape = (3, 3, 3, 7, 5)
    level = np.array([0.2, 0.5, 0.8])[:, None, None] + 0.1 * rng.standard_normal(shape)
    values = (low + np.clip(level, 0, 0.999) * (high - low)).astype(kind)
    return image_cube(values, dates=[3, 1, 2], valid=rng.random((3, 3, 7, 5)) < 0.7)


@pytest.mark.parametrize("bundles", [0, 24])
@pytest.mark.parametrize("clouds", ["out", "in"])
@pytest.mark.parametrize("kind", KINDS)
def test_histograms_are_those_of_numpy_for_every_kind_of_number(kind, clouds, bundles):
    cube = cube_of_kind(kind)
    found = band_statistics(cube, "m", clouds=clouds, bundles=bundles, split=())
    rows = pixels(cube["m"]["values"].values, kept(cube, clouds=clouds))
    assert found.n == len(rows)
    np.testing.assert_array_equal(found.counts, histograms(rows, found.edges))


def test_numbers_of_the_other_byte_order_are_counted_alike():
    cube = cube_of_kind("float32")
    foreign = cube_of_kind("float32")["m"]["values"].values.astype(">f4")
    other = image_cube(foreign, dates=[3, 1, 2], valid=cube["m"]["valid"].values)
    first, second = band_statistics(cube, "m"), band_statistics(other, "m")
    np.testing.assert_array_equal(first.counts, second.counts)


def given_edges(columns, edges, **options):
    cube = pixel_cube(columns)
    bins = replace(band_statistics(cube, "m").bins, edges=np.asarray(edges, float))
    return band_statistics(cube, "m", bins=bins, **options)


def test_values_on_an_edge_belong_above_it_and_the_last_edge_to_the_last_bin():
    found = given_edges({"a": [0, 1, 1, 2, 2, 2, 2.5, 3, 3]}, [0, 1, 2, 3])
    assert found.counts.tolist() == [[1, 2, 6]]


def test_values_on_the_edges_of_many_uneven_looking_bins_go_where_numpy_puts_them():
    edges = np.linspace(0.1, 0.7, 65)  # no edge but few is an exact binary number
    column = np.concatenate([edges, np.nextafter(edges, 1), np.nextafter(edges, 0)])[:169]
    found = given_edges({"a": column}, edges)
    np.testing.assert_array_equal(found.counts, histograms(column[:, None], edges))


def test_values_beyond_the_edges_fall_into_the_end_bins():
    found = given_edges({"a": [-5, 0.5, 1.5, 9]}, [0, 1, 2])
    assert found.counts.tolist() == [[2, 2]]
    assert found.mean.tolist() == [1.5]


@pytest.mark.parametrize("bundles", [0, 24])
@pytest.mark.parametrize("kind", EXACT)
def test_whole_numbers_on_and_beyond_the_edges_go_where_numpy_puts_them(kind, bundles):
    values = np.arange(100).reshape(1, 1, 1, 10, 10).astype(kind)
    cube = image_cube(values)
    bins = replace(band_statistics(cube, "m").bins, edges=np.array([20.0, 30, 40, 50]))
    found = band_statistics(cube, "m", bins=bins, bundles=bundles)
    assert found.counts.tolist() == [[30, 10, 60]]


@pytest.mark.parametrize("kind", ["uint8", "int16", "float32"])
def test_bins_hold_as_many_whole_levels_each_where_numbers_are_whole(kind):
    values = np.random.default_rng(0).integers(0, 200, (2, 1, 2, 20, 20)).astype(kind)
    edges = band_statistics(image_cube(values), "m").edges
    widths = np.unique(np.diff(edges))
    assert len(widths) == 1 and widths == np.round(widths)
    assert (edges % 1 == 0.5).all(), "no level lies on an edge"
    assert 1 < len(edges) - 1 <= 64


def test_few_levels_have_a_bin_each():
    values = np.random.default_rng(0).integers(3, 9, (2, 1, 1, 20, 20)).astype(np.uint16)
    found = band_statistics(image_cube(values), "m")
    assert found.edges.tolist() == [2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5]
    assert found.counts[0].tolist() == [(values == level).sum() for level in range(3, 9)]


@pytest.mark.parametrize(("asked", "bins"), [({}, 64), ({"bins": 7}, 7)])
@pytest.mark.parametrize("samples", [1, 3, 4])
def test_bins_of_fractions_run_between_the_outer_per_mille(asked, bins, samples):
    values = np.random.default_rng(0).standard_normal((samples, 1, 2, 20, 20))
    edges = band_statistics(image_cube(values), "m", **asked).edges
    outer = np.quantile(values, [0.001, 0.999])
    np.testing.assert_allclose(edges, np.linspace(*outer, bins + 1))


@pytest.mark.parametrize("kind", EXACT)
def test_every_level_of_small_whole_numbers_is_counted(kind):
    cube = cube_of_kind(kind)
    lowest, table = band_statistics(cube, "m").levels
    rows = pixels(cube["m"]["values"].values, kept(cube)).astype(int)
    assert lowest == rows.min()
    assert lowest + table.shape[1] - 1 == rows.max()
    for band, counts in enumerate(table):
        expected = np.bincount(rows[:, band] - lowest, minlength=len(counts))
        np.testing.assert_array_equal(counts, expected)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(EXACT)))
def test_levels_of_other_numbers_are_not_counted(kind):
    assert band_statistics(cube_of_kind(kind), "m").levels is None


@pytest.mark.parametrize("kind", EXACT)
def test_quantiles_of_small_whole_numbers_are_exact(kind):
    cube = cube_of_kind(kind)
    rows = np.sort(pixels(cube["m"]["values"].values, kept(cube)), axis=0)
    shares = np.array([0, 0.125, 0.25, 0.5, 0.875, 1])
    expected = rows[np.ceil(shares * len(rows)).astype(int).clip(1) - 1]
    found = band_statistics(cube, "m")
    np.testing.assert_array_equal(found.quantile(shares), expected)
    np.testing.assert_array_equal(found.quantile(0.5), expected[3])


def test_quantiles_of_fractions_are_right_to_a_bin():
    cube = cube_of_kind("float64")
    found = band_statistics(cube, "m")
    rows = pixels(cube["m"]["values"].values, kept(cube))
    shares = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    width = found.edges[1] - found.edges[0]
    assert found.quantile(shares).shape == (5, 3)
    assert np.abs(found.quantile(shares) - np.quantile(rows, shares, axis=0)).max() <= width


def test_quantiles_keep_their_axes_for_one_band_and_one_share():
    one = band_statistics(pixel_cube({"a": np.arange(16)}), "m")
    two = band_statistics(pixel_cube({"a": np.arange(16), "b": np.arange(16)}), "m")
    assert one.quantile(np.array([0.1, 0.5])).shape == (2, 1)
    assert one.quantile(0.5).shape == (1,)
    assert two.quantile(np.array([0.5])).shape == (1, 2)


@pytest.mark.parametrize("edges", [[0, 1, 2, 9, 10], [0, 2, 1], [3, 3], [3]])
def test_edges_rise_in_even_steps(edges):
    with pytest.raises(ParameterError, match=r"edges of histograms\n.*even steps"):
        given_edges({"a": np.arange(16)}, edges)


def test_nodata_is_left_out_where_clouds_are_in():
    rng = np.random.default_rng(0)
    values = rng.integers(1, 9, (2, 1, 2, 6, 6)).astype(np.uint16)
    values[:, :, :, :2] = 0  # no data in any band
    values[0, 0, 0, 5, 5] = 0  # a dark pixel, in one band only
    valid = rng.random((2, 1, 6, 6)) < 0.5
    without, named = (
        band_statistics(image_cube(values, valid=valid, **how), "m", clouds="in")
        for how in ({}, {"nodata": 0})
    )
    assert without.n == 2 * 36
    assert named.n == 2 * 24
    assert named.levels[0] == 0, "the dark pixel counts"
    np.testing.assert_array_equal(
        named.mean, pixels(values, np.broadcast_to(np.arange(6)[:, None] > 1, valid.shape)).mean(0)
    )


def test_nodata_does_not_matter_where_clouds_are_out():
    values = np.random.default_rng(0).integers(0, 9, (2, 1, 2, 6, 6)).astype(np.uint16)
    named, without = (
        band_statistics(image_cube(values, **how), "m") for how in ({"nodata": 0}, {})
    )
    assert named.n == without.n == 72


def test_a_nan_as_nodata_is_no_pixel():
    values = np.random.default_rng(0).standard_normal((1, 1, 2, 6, 6))
    valid = np.ones((1, 1, 6, 6), bool)
    values[..., 0, 0], valid[..., 0, 0] = np.nan, False
    found = band_statistics(image_cube(values, valid=valid, nodata=np.nan), "m", clouds="in")
    assert found.n == 35


def test_radar_power_is_measured_in_decibels(small):
    found = band_statistics(small, "s1", split=())
    ds = small["s1"]
    rows = 10 * np.log10(pixels(ds["values"].values, ds["valid"].values))
    assert found.units == "dB"
    assert found.selection.clouds == "unseen"
    np.testing.assert_allclose(found.mean, rows.mean(0), rtol=1e-12)
    np.testing.assert_array_equal(found.counts, histograms(rows, found.edges))
    with_clouds = band_statistics(small, "s1", split=(), clouds="in")
    assert str(with_clouds.selection) == str(found.selection) == "valid pixels, all splits"
    np.testing.assert_array_equal(with_clouds.counts, found.counts)


def test_decibels_stay_decibels():
    values = np.random.default_rng(0).uniform(-20, -5, (1, 1, 2, 6, 6))
    cube = image_cube(values, bands=["VV", "VH"], units="dB", sensor_name="sentinel-1")
    found = band_statistics(cube, "m")
    np.testing.assert_allclose(found.mean, pixels(values, kept(cube)).mean(0), rtol=1e-12)


@pytest.mark.parametrize("where", [np.nan, np.inf, -np.inf])
def test_pixels_that_lack_a_band_are_left_out(small, where):
    spoilt = overwritten(small, np.s_[0, 0, 1, 2, 3], where, name="s1")
    spoilt = overwritten(spoilt, np.s_[0, 0, :, 2, 4], where, name="s1")
    whole, less = (band_statistics(c, "s1", split=()) for c in (small, spoilt))
    assert less.n == whole.n - 2
    assert whole.missing.tolist() == [0, 0]
    assert less.missing[1] > 0
    keep = small["s1"]["valid"].values.copy()
    keep[0, 0, 2, 3:5] = False
    rows = 10 * np.log10(pixels(small["s1"]["values"].values, keep))
    np.testing.assert_allclose(less.mean, rows.mean(0), rtol=1e-12)


def test_a_pixel_that_lacks_one_band_is_laid_to_it(small):
    spoilt = overwritten(small, np.s_[0, 0, 1, 2, 3], np.nan, name="s1")
    assert band_statistics(spoilt, "s1", split=()).missing.tolist() == [0, 1]


def test_a_pixel_that_lacks_several_bands_is_laid_to_the_first(small):
    spoilt = overwritten(small, np.s_[0, 0, :, 2, 4], np.nan, name="s1")
    assert band_statistics(spoilt, "s1", split=()).missing.tolist() == [1, 0]


def test_what_is_not_valid_is_not_missing(small):
    spoilt = overwritten(small, np.s_[2], np.nan, name="s1")  # the sample without radar
    assert band_statistics(spoilt, "s1", split=()).missing.tolist() == [0, 0]
