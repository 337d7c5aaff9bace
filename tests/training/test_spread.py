"""Measures of collapse against tables whose answer is known in closed form."""

import numpy as np
import pytest
from scipy.special import ive

from maestro_lab.errors import ParameterError
from maestro_lab.training.spread import (
    directions,
    effective_rank,
    month_cosines,
    spread,
    uniformity,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def turned(rng, width):
    """A random rotation."""
    return np.linalg.qr(rng.normal(size=(width, width)))[0]


@pytest.mark.parametrize("width", [1, 4, 32])
def test_an_isotropic_gaussian_fills_its_width(rng, width):
    rows = rng.normal(size=(40_000, width))
    assert effective_rank(rows) == pytest.approx(width, rel=1e-3)
    assert effective_rank(rows + 3, centred=True) == pytest.approx(width, rel=1e-3)


def test_one_direction_is_rank_one_wherever_it_stands(rng):
    line = np.outer(rng.normal(size=50), rng.normal(size=8))
    for offset in (0.0, 100.0):
        assert effective_rank(line + offset, centred=True) == pytest.approx(1, abs=1e-9)
    assert effective_rank(line) == pytest.approx(1, abs=1e-9)


def test_what_little_varies_around_a_mean_counts_little(rng):
    """A collapsed encoder: nearly one vector, and noise in every direction around it."""
    noise = rng.normal(size=(400, 16))
    ranks = [effective_rank(1 + size * noise) for size in (1.0, 0.1, 0.001, 1e-6)]
    assert ranks[0] > 12 and ranks[2] < 1.2 and ranks[3] == pytest.approx(1, abs=1e-3)
    assert sorted(ranks, reverse=True) == ranks
    assert effective_rank(1 + 1e-6 * noise, centred=True) > 15


@pytest.mark.parametrize("sizes", [(1, 1, 1), (3, 1), (5, 2, 1, 0.1)])
def test_singular_values_weigh_as_entropy_says(rng, sizes):
    """Pairs of opposite rows along the axes, turned at random: the mean is zero by design."""
    sizes = np.array(sizes)
    rows = np.concatenate([np.diag(sizes), -np.diag(sizes)]) @ turned(rng, len(sizes))
    share = sizes / sizes.sum()
    expected = np.exp(-(share * np.log(share)).sum())
    assert effective_rank(rows) == pytest.approx(expected, rel=1e-9)
    moved = effective_rank(7 * rows + 2, centred=True)
    assert moved == pytest.approx(expected, rel=1e-9), "scale and offset"


def test_orthonormal_rows_lose_a_direction_to_the_mean(rng):
    rows = turned(rng, 9)
    assert effective_rank(rows) == pytest.approx(9, rel=1e-9)
    assert effective_rank(rows, centred=True) == pytest.approx(8, rel=1e-9)
    assert uniformity(rows) == pytest.approx(-4, abs=1e-9)
    assert uniformity(rows, t=0.5) == pytest.approx(-1, abs=1e-9)


@pytest.mark.parametrize("value", [0.0, 1.0, 1 / 3, -1e8])
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16])
def test_a_constant_table_has_collapsed(value, kind):
    rows = np.full((100, 7), value).clip(-6e4, 6e4).astype(kind)
    rank = pytest.approx(1.0 if rows.any() else 0.0)
    assert spread(rows) == {"effective rank": rank, "uniformity": 0.0}
    assert effective_rank(rows, centred=True) == 0


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16])
def test_rounding_of_a_constant_table_is_no_direction(rng, kind):
    constant = rng.normal(size=16).astype(kind)
    step = np.finfo(kind).eps
    noise = 1 + step * rng.integers(-2, 3, (500, 16))
    assert effective_rank((constant * noise).astype(kind), centred=True) == 0
    real = (constant * (1 + 400 * (noise - 1))).astype(kind)
    assert effective_rank(real, centred=True) > 5


@pytest.mark.parametrize("count", [2, 3, 4, 12])
@pytest.mark.parametrize("t", [0.5, 2.0])
def test_points_on_a_circle(count, t):
    angle = 2 * np.pi * np.arange(count) / count
    rows = 3 * np.stack([np.cos(angle), np.sin(angle)], 1)
    steps = 2 * np.pi * np.arange(1, count) / count
    expected = np.log(np.exp(-t * (2 - 2 * np.cos(steps))).mean())
    assert uniformity(rows, t) == pytest.approx(expected, abs=1e-9)
    assert effective_rank(rows) == pytest.approx(1 if count == 2 else 2, rel=1e-9)


def test_uniformity_of_many_points_comes_near_the_integral(rng):
    """Over the circle the potential integrates to exp(-2t) I0(2t), a modified Bessel function."""
    angle = rng.uniform(0, 2 * np.pi, 30_000)
    rows = np.stack([np.cos(angle), np.sin(angle)], 1)
    some = [uniformity(rows, most=n, seed=s) for n in (500, 3000) for s in (0, 1)]
    assert some == pytest.approx([np.log(ive(0, 4.0))] * 4, abs=0.05)
    assert uniformity(rows, most=500, seed=0) == some[0] != some[1], "the seed chooses the rows"


def test_leading_axes_are_run_together(rng):
    table = rng.normal(size=(6, 9, 5)).astype(np.float32)
    assert spread(table) == spread(table.reshape(54, 5))


def test_a_row_of_zeros_has_no_direction():
    assert uniformity([[0.0, 0.0], [3.0, 4.0]]) == pytest.approx(-2), "at distance one"


@pytest.mark.parametrize("measure", [effective_rank, uniformity, spread])
@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[1.0, 2.0]], r"at least 2 rows\n.*\(1, 2\)"),
        ([1.0, 2.0], r"at least 2 rows\n.*\(2,\)"),
        (np.ones((4, 0)), r"at least 2 rows\n.*\(4, 0\)"),
        ([[1.0, 2.0], [np.nan, 0.0], [np.inf, 1.0]], "finite numbers\n.*2 of 3 rows"),
    ],
)
def test_tables_without_an_answer(measure, rows, words):
    with pytest.raises(ParameterError, match=words):
        measure(rows)


def test_uniformity_refuses_what_means_nothing():
    with pytest.raises(ParameterError, match="t of uniformity"):
        uniformity(np.eye(3), t=0)
    with pytest.raises(ParameterError, match="rows to use"):
        uniformity(np.eye(3), most=1)


def test_directions_are_cosines_without_the_mean(rng):
    table = rng.normal(size=(4, 5, 6)) + 50
    found = directions(table)
    flat = table.reshape(20, 6) - table.reshape(20, 6).mean(0)
    expected = flat @ flat.T / np.outer(*2 * [np.linalg.norm(flat, axis=1)])
    np.testing.assert_allclose(found.reshape(20, 6) @ found.reshape(20, 6).T, expected, atol=1e-9)


def test_rows_without_data_stay_without(rng):
    table = rng.normal(size=(8, 3))
    gap = table.copy()
    gap[2, 1] = np.nan
    found = directions(gap)
    assert np.isnan(found[2]).all()
    np.testing.assert_allclose(found[3:], directions(np.delete(table, 2, 0))[2:])
    assert (directions(np.full((3, 2), 1 / 3)) == 0).all()
    for nothing in (np.full((3, 2), np.nan), np.ones(3)):
        with pytest.raises(ParameterError, match="at least one row of finite"):
            directions(nothing)


def test_months_are_compared_unit_by_unit(rng):
    """Against a loop over pairs of months and units."""
    features = rng.normal(size=(4, 10, 3)) + 5
    features[1] = np.nan
    features[2, :7] = np.nan
    mean, count = month_cosines(features)
    rows = directions(features)
    for a in range(4):
        for b in range(4):
            pairs = [rows[a, u] @ rows[b, u] for u in range(10)]
            pairs = [p for p in pairs if np.isfinite(p)]
            assert count[a, b] == len(pairs)
            np.testing.assert_allclose(mean[a, b], np.mean(pairs) if pairs else np.nan)
    with pytest.raises(ParameterError, match=r"\(month, unit, width\)"):
        month_cosines(features[0])
