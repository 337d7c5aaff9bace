"""Means, co-moments and correlations are those of numpy, over all, within images and patches."""

import numpy as np
import pytest

from maestro_lab.bands import band_statistics
from maestro_lab.errors import ParameterError
from tests.bands.made import (
    close,
    correlation,
    deviations,
    image_cube,
    kept,
    overwritten,
    pixels,
)
from tests.bands.test_counts import KINDS, cube_of_kind
from tests.batches.cubes import pixel_cube

WITHIN = ("all", "date", "patch")


def agrees(found, values, keep, patch=2):
    rows = pixels(values, keep)
    assert found.n == len(rows)
    close(found.mean, rows.mean(0))
    close(found.std, rows.std(0))
    for within in WITHIN:
        apart = deviations(values, keep, within, patch)
        close(found.comoment(within), apart.T @ apart)
        close(found.correlation(within), correlation(values, keep, within, patch))


@pytest.mark.parametrize("clouds", ["out", "in"])
@pytest.mark.parametrize("patch", [2, 3, 4])
def test_clouds_several_dates_and_padding_are_told_apart(small, clouds, patch):
    found = band_statistics(small, "s2", split=(), clouds=clouds, patch=patch)
    agrees(found, small["s2"]["values"].values, kept(small, "s2", clouds), patch)


@pytest.mark.parametrize("kind", KINDS)
def test_moments_do_not_depend_on_how_numbers_are_stored(kind):
    cube = cube_of_kind(kind)
    agrees(band_statistics(cube, "m"), cube["m"]["values"].values, kept(cube))


@pytest.mark.parametrize(
    ("height", "width", "patch"),
    [(7, 5, 2), (5, 7, 3), (9, 9, 1), (4, 301, 2), (7, 300, 3), (41, 43, 20), (5, 5, 8)],
)
def test_images_need_not_be_multiples_of_a_patch(height, width, patch):
    rng = np.random.default_rng(0)
    values = rng.normal(50, 3, (2, 2, 1, height, width)) + rng.normal(0, 2, (2, 2, 3, 1, 1))
    values = values + rng.normal(0, 1, (2, 2, 3, height, width))
    cube = image_cube(values, valid=rng.random((2, 2, height, width)) < 0.8)
    found = band_statistics(cube, "m", patch=patch)
    for within in WITHIN if patch > 1 else WITHIN[:2]:
        apart = deviations(values, kept(cube), within, patch)
        close(found.comoment(within), apart.T @ apart)


def test_nothing_varies_within_patches_of_one_pixel():
    values = np.random.default_rng(0).integers(0, 9, (2, 2, 3, 6, 6)).astype(float)
    found = band_statistics(image_cube(values), "m", patch=1)
    np.testing.assert_allclose(found.comoment("patch"), 0, atol=1e-9)


def test_an_image_without_a_clear_pixel_changes_nothing():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((2, 3, 2, 6, 6))
    valid = np.ones((2, 3, 6, 6), bool)
    valid[0, 1] = valid[1, 0] = False
    agrees(band_statistics(image_cube(values, valid=valid), "m"), values, valid)


def test_pixels_with_a_nan_take_no_part_in_co_moments():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((2, 3, 3, 6, 6)).astype(np.float32)
    holes = rng.random(values.shape) < 0.05
    found = band_statistics(overwritten(image_cube(values), holes, np.nan), "m")
    agrees(found, values, ~holes.any(2))


def test_a_large_mean_does_not_drown_the_co_moments():
    a, b = np.random.default_rng(0).standard_normal((2, 64))
    small = band_statistics(pixel_cube({"a": a, "b": a + b}), "m")
    large = band_statistics(pixel_cube({"a": a + 1e7, "b": a + b + 1e7}), "m")
    for within in WITHIN:
        np.testing.assert_allclose(large.correlation(within), small.correlation(within), atol=1e-6)


def test_bands_that_never_vary_resemble_nothing():
    flat = np.full(16, 0.1)  # no binary number: its mean is off by a rounding
    cube = pixel_cube({"a": flat, "b": flat * 3, "c": np.arange(16)})
    found = band_statistics(cube, "m").correlation()
    assert np.isnan(found[:2]).all() and np.isnan(found[:, :2]).all()
    assert found[2, 2] == pytest.approx(1)


@pytest.mark.parametrize(("within", "side"), [("date", 6), ("patch", 3)])
@pytest.mark.parametrize("seed", range(3))
def test_bands_that_never_vary_within_an_image_or_patch_resemble_nothing_there(within, side, seed):
    """Twelve levels each in two bands, noise in the third; several seeds, as rounding is moody."""
    found = []
    for k in range(8):
        rng = np.random.default_rng(8 * seed + k)
        level = rng.normal(3000.3, 1000, (3, 4, 2, 6 // side, 6 // side))
        level = level.repeat(side, 3).repeat(side, 4)
        values = np.concatenate([level, rng.standard_normal((3, 4, 1, 6, 6))], 2)
        found.append(band_statistics(image_cube(values), "m", patch=3).correlation(within))
    assert np.isnan(np.array(found)[:, :2]).all()
    assert np.isfinite(np.array(found)[:, 2, 2]).all()


def test_correlations_never_leave_their_range():
    course = np.random.default_rng(0).standard_normal(400)
    found = band_statistics(pixel_cube({"a": course, "b": 3 * course, "c": -course}), "m")
    for within in WITHIN:
        assert np.abs(found.correlation(within)).max() <= 1


def test_refuses_an_unknown_kind_of_deviation(small):
    with pytest.raises(ParameterError, match=r"within\n.*all \| date \| patch\n.*'week'"):
        band_statistics(small, "s2").comoment("week")
