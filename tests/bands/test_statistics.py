"""What is counted, and that it does not matter in how many pieces."""

import numpy as np
import pytest

from maestro_lab.bands import band_statistics, statistics
from maestro_lab.errors import CubeError, ParameterError
from tests.batches.cubes import changed, pixel_cube, small_cube


@pytest.fixture(scope="module")
def cube():
    return small_cube()


def pixels(cube, name, keep):
    return np.moveaxis(cube[name]["values"].values.astype(float), 2, -1)[keep]


def dated(ds):
    there = ~np.isnat(ds["time"].values)
    return np.broadcast_to(there[:, :, None, None], ds["valid"].shape)


@pytest.mark.parametrize("clear_only", [True, False])
def test_agrees_with_numpy(cube, clear_only):
    found = band_statistics(cube, "s2", split=None, clear_only=clear_only)
    keep = cube["s2"]["valid"].values if clear_only else dated(cube["s2"])
    expected = pixels(cube, "s2", keep)
    assert found.n == len(expected)
    np.testing.assert_allclose(found.mean, expected.mean(0))
    np.testing.assert_allclose(found.comoment / found.n, np.cov(expected.T, ddof=0))
    np.testing.assert_allclose(found.correlation(), np.corrcoef(expected.T))
    inside = np.clip(expected, found.edges[0], found.edges[-1])
    for band in range(4):
        np.testing.assert_array_equal(
            found.counts[band], np.histogram(inside[:, band], found.edges)[0]
        )


def test_clouds_count_only_when_asked_for(cube):
    clear, every = (band_statistics(cube, "s2", clear_only=c) for c in (True, False))
    assert clear.edges[-1] < 4001, "cloudy pixels hold 65535"
    assert every.edges[-1] == 65_535
    assert clear.policy != every.policy


def test_pixels_with_a_nan_are_never_counted(cube):
    def spoil(ds):
        values = ds["values"].values.copy()
        values[0, 0, 1, 2, 3] = np.nan  # in one band, of a pixel that is valid
        return ds.assign(values=(ds["values"].dims, values))

    spoilt = changed(cube, "s1", spoil)
    whole, less = (band_statistics(c, "s1", split=None) for c in (cube, spoilt))
    assert less.n == whole.n - 1
    assert np.isfinite(less.mean).all()


def test_looks_at_training_samples_unless_told_otherwise(cube):
    train = cube["split"].values == "train"
    expected = cube["s2"]["valid"].values[train].sum()
    assert band_statistics(cube, "s2").n == expected
    both = band_statistics(cube, "s2", split=["train", "val"]).n
    assert both == band_statistics(cube, "s2", split="val").n + expected


@pytest.mark.parametrize("lazy", [False, True])
def test_many_blocks_give_what_one_pass_gives(cube, monkeypatch, lazy):
    whole = band_statistics(cube, "s2", split=None)
    monkeypatch.setattr(statistics, "_BLOCK", 1)  # one sample at a time
    pieces = band_statistics(cube.chunk(sample=3) if lazy else cube, "s2", split=None)
    assert pieces.n == whole.n
    np.testing.assert_array_equal(pieces.counts, whole.counts)
    np.testing.assert_allclose(pieces.mean, whole.mean)
    np.testing.assert_allclose(pieces.comoment, whole.comoment, rtol=1e-10)


def test_a_block_without_data_spoils_nothing(cube, monkeypatch):
    monkeypatch.setattr(statistics, "_BLOCK", 1)
    found = band_statistics(cube, "s1", split=None)  # sample 2 has no radar
    assert np.isfinite(found.mean).all()
    assert found.n == cube["s1"]["valid"].values.sum()


def test_finds_the_only_sample_with_data_in_a_long_cube(monkeypatch):
    cube = small_cube()
    monkeypatch.setattr(statistics, "_BLOCK", 1)

    def lonely(ds):
        ds = ds.isel(sample=np.zeros(200, int)).copy(deep=True)
        ds["valid"].values[np.arange(200) != 101] = False
        return ds

    long = lonely(cube["s2"].to_dataset())
    edges = statistics._edges(long, True, 8)
    assert edges[-1] > 1000, "the first pass looks at every third sample only"


def test_statistics_of_two_halves_add_up(cube):
    whole = band_statistics(cube, "s2", split=None)
    parts = [
        band_statistics(cube.isel(sample=half), "s2", split=None, bins=whole.edges)
        for half in (slice(0, 3), slice(3, None))
    ]
    for total in (parts[0] + parts[1], parts[1] + parts[0]):
        assert total.n == whole.n
        np.testing.assert_array_equal(total.counts, whole.counts)
        np.testing.assert_allclose(total.mean, whole.mean)
        np.testing.assert_allclose(total.comoment, whole.comoment, rtol=1e-10)


def test_a_large_mean_does_not_drown_the_correlation():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 64))
    small = band_statistics(pixel_cube({"a": a, "b": a + b}), "m").correlation()
    large = band_statistics(pixel_cube({"a": a + 1e7, "b": a + b + 1e7}), "m").correlation()
    np.testing.assert_allclose(large, small, atol=1e-6)


@pytest.mark.parametrize("other", ["s1", "edges", "clouds"])
def test_only_like_can_be_added_to_like(cube, other):
    s2 = band_statistics(cube, "s2")
    unlike = {
        "s1": lambda: band_statistics(cube, "s1"),
        "edges": lambda: band_statistics(cube, "s2", bins=8),
        "clouds": lambda: band_statistics(cube, "s2", bins=s2.edges, clear_only=False),
    }[other]()
    with pytest.raises(ParameterError, match="cannot be merged"):
        s2 + unlike


def test_values_beyond_the_edges_fall_into_the_end_bins():
    found = band_statistics(pixel_cube({"a": [-5, 0.5, 1.5, 9]}), "m", bins=np.array([0.0, 1, 2]))
    assert found.counts.tolist() == [[2, 2]]
    assert found.mean.tolist() == [1.5]


def test_bands_that_never_vary_resemble_nothing():
    flat = np.full(16, 0.1)  # no binary number: its mean is off by a rounding
    cube = pixel_cube({"a": flat, "b": flat * 3, "c": np.arange(16)})
    correlation = band_statistics(cube, "m").correlation()
    assert np.isnan(correlation[:2]).all() and np.isnan(correlation[:, :2]).all()
    assert correlation[2, 2] == pytest.approx(1)


def test_overlap_is_the_shared_area():
    low, half, high = np.zeros(16), np.repeat([0.0, 10.0], 8), np.full(16, 10.0)
    found = band_statistics(pixel_cube({"a": low, "b": half, "c": high, "d": low}), "m").overlap()
    np.testing.assert_allclose(
        found, [[1, 0.5, 0, 1], [0.5, 1, 0.5, 0.5], [0, 0.5, 1, 0], [1, 0.5, 0, 1]]
    )


def test_a_single_constant_band_has_a_histogram(cube):
    found = band_statistics(pixel_cube({"a": [7.0] * 9}), "m")
    assert found.counts.sum() == found.n == 9
    assert (np.diff(found.edges) > 0).all()
    assert band_statistics(cube, "dem").correlation().shape == (1, 1)


def test_refuses_what_it_cannot_count(cube):
    with pytest.raises(ParameterError, match=r"no modality 's3'\n.*s2, s1, dem"):
        band_statistics(cube, "s3")
    with pytest.raises(ParameterError, match=r"split\n.*train, val.*\n.*trian"):
        band_statistics(cube, "s2", split="trian")
    with pytest.raises(ParameterError, match="bins"):
        band_statistics(cube, "s2", bins=0)
    with pytest.raises(CubeError, match=r"s1: no pixel.*\n.*clear pixels\n.*none in 1 samples"):
        band_statistics(cube, "s1", split="val")
    for bins in (8, np.linspace(0, 1, 4)):
        with pytest.raises(CubeError, match="none in 0 samples"):
            band_statistics(pixel_cube({"a": [1.0]}), "m", split="test", bins=bins)
