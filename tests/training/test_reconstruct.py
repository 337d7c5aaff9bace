"""Reconstructions and their errors, on cases whose answer is known."""

import numpy as np
import pandas as pd
import pytest
import torch

from maestro_lab.batches import loader
from maestro_lab.training.pretrain import evaluate_loss
from maestro_lab.training.reconstruct import (
    GUESSES,
    Reconstruction,
    band_mean,
    nearest_date,
    reconstruct,
    reconstruction_errors,
    reconstruction_scores,
)
from tests.training.conftest import make_data, make_model, settings


@pytest.fixture(scope="module")
def model(cube):
    return make_model(cube)


@pytest.fixture(scope="module")
def data(cube):
    return make_data(cube, None, train=False)


def constructed(days, target, masked, valid=None):
    """One sample of one band and one pixel."""
    n = len(days)
    shape = (1, n, 1, 1, 1)
    dates = np.array([[2020 + (d > 365), d - 365 * (d > 365), 0] for d in days])[None]
    target = np.array(target, float).reshape(shape)
    valid = np.ones(n, bool) if valid is None else np.array(valid)
    return Reconstruction(
        ("a",), dates, target, target * 0, target, target, np.array(masked).reshape(shape),
        valid.reshape(1, n, 1, 1), target * 0, target * 0 + 1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("days", "target", "masked", "valid", "expected"),
    [
        ([10, 20, 40], [1, 2, 3], [0, 1, 0], None, [1, 1, 3]),  # the nearer of two
        ([10, 35, 40], [1, 2, 3], [0, 1, 0], None, [1, 3, 3]),
        ([10, 20, 40], [1, 2, 3], [0, 1, 0], [0, 1, 1], [0, 3, 3]),  # a cloud is no neighbour
        ([10, 20, 40], [1, 2, 3], [1, 1, 1], None, [0, 0, 0]),  # nothing to copy
        ([300, 362, 370], [1, 2, 3], [0, 1, 0], None, [1, 3, 3]),  # over the turn of the year
    ],
)
def test_the_nearest_visible_date_is_copied(days, target, masked, valid, expected):
    masked = [bool(m) for m in masked]
    r = constructed(days, target, masked, None if valid is None else [bool(v) for v in valid])
    found = nearest_date(r)[0, :, 0, 0, 0]
    if valid is not None:
        assert found[1:].tolist() == expected[1:]
    else:
        assert found.tolist() == expected


def test_places_are_copied_from_the_same_place():
    r = constructed([10, 20], [0, 0], [False, False])
    target = np.arange(2 * 2 * 3, dtype=float).reshape(1, 2, 1, 2, 3)
    masked = np.zeros(target.shape, bool)
    masked[0, 1, 0, 1, 2] = True
    r = Reconstruction(
        ("a",), r.dates, target, target, target, target, masked, np.ones((1, 2, 2, 3), bool),
        target * 0, target * 0 + 1,
    )  # fmt: skip
    expected = target.copy()
    expected[0, 1, 0, 1, 2] = target[0, 0, 0, 1, 2]
    assert (nearest_date(r) == expected).all()


def test_the_band_mean_is_that_of_what_is_visible_and_valid():
    r = constructed([10, 20, 30, 40], [1, 2, 6, 9], [False, True, False, True])
    found = band_mean(r)[0, :, 0, 0, 0]
    assert found.tolist() == [3.5] * 4
    nothing = constructed([10, 20], [1, 2], [True, True])
    assert not band_mean(nothing).any()


def test_the_same_seed_hides_the_same(model, data):
    batch = next(iter(loader(data, 4)))
    a, b, c = (reconstruct(model, batch, seed=s) for s in (0, 0, 1))
    for name in a:
        assert (a[name].masked == b[name].masked).all() and (a[name].guess == b[name].guess).all()
    assert any((a[n].masked != c[n].masked).any() for n in a)


def test_a_reconstruction_says_what_went_in(model, data):
    batch = next(iter(loader(data, 4)))
    masks = {s.name: torch.zeros(4, s.length, dtype=torch.bool) for s in model.streams}
    for s in model.streams:
        masks[s.name][:, : model.masked_count(s)] = True
    found = reconstruct(model, batch, masks=masks)
    assert list(found) == ["optics", "radar"] and found["optics"].bands == ("G", "R", "N")
    for name, r in found.items():
        series = batch.series[name]
        assert r.target.shape == r.prediction.shape == r.masked.shape == tuple(series.values.shape)
        assert np.allclose(r.values, series.values, atol=1e-6)
        valid = series.valid.numpy()
        assert not (r.valid & ~valid).any(), "an invalid pixel never counts"
        assert (r.dates == series.dates.numpy()).all()
        assert np.isfinite(r.target).all() and np.isfinite(r.guess).all()


def test_targets_are_normalised_patch_by_patch_and_guesses_brought_back(whole_cube):
    batch = next(iter(loader(make_data(whole_cube, train=False), 4)))
    for r in reconstruct(make_model(whole_cube), batch).values():
        for y, x in ((0, 0), (0, 2), (2, 0), (2, 2)):
            patch = (..., slice(y, y + 2), slice(x, x + 2))
            values = r.values[patch].astype(float)
            mean = values.mean((2, 3, 4), keepdims=True)
            deviation = np.sqrt(values.var((2, 3, 4), ddof=1, keepdims=True) + 1e-6)
            assert np.allclose(r.target[patch], (values - mean) / deviation, atol=1e-3)
            assert np.allclose(r.guess[patch], r.prediction[patch] * deviation + mean, atol=1e-4)


def test_errors_add_up_to_the_held_out_loss(cube, whole_cube):
    """With all pixels valid the error a pixel, modality by modality, is that of the loss."""
    model = make_model(whole_cube)
    data = make_data(whole_cube, None, train=False)
    errors = reconstruction_errors(model, data, batch_size=5)
    assert sorted(errors["sample"].unique()) == list(range(14))
    loss = evaluate_loss(model, data, settings(batch_size=5))
    for name in ("optics", "radar"):
        part = errors[errors["modality"] == name]
        # Each has a sequence of its own, of which every sample hides as much.
        assert part["pixels"].min() == part["pixels"].max() > 0
        l1 = part["model"].sum() / part["pixels"].sum()
        assert l1 == pytest.approx(loss[f"val_loss/{name}"], rel=1e-4)


def test_errors_count_hidden_valid_pixels_only(model, data):
    errors = reconstruction_errors(model, data, batch_size=14)
    batch = next(iter(loader(data, 14)))
    for name, r in reconstruct(model, batch).items():
        scored = r.masked & r.valid[:, :, None]
        part = errors[errors["modality"] == name]
        assert part["pixels"].tolist() == scored.sum((1, 2, 3, 4)).tolist()
        zero = (np.abs(r.target) * scored).sum((1, 2, 3, 4))
        assert np.allclose(part["zero"], zero, rtol=1e-4)
    lacks = errors[(errors["modality"] == "radar") & (errors["sample"] % 5 == 2)]
    assert (lacks[["pixels", *GUESSES]] == 0).all(axis=None)


def table(rows):
    return pd.DataFrame(rows, columns=["sample", "modality", "pixels", *GUESSES])


def test_scores_by_hand():
    errors = table([
        (0, "s2", 10, 1.0, 2.0, 3.0, 4.0),
        (1, "s2", 30, 7.0, 6.0, 9.0, 12.0),
        (0, "s1", 10, 5.0, 5.0, 5.0, 5.0),
        (1, "s1", 0, 0.0, 0.0, 0.0, 0.0),
    ])  # fmt: skip
    scores = reconstruction_scores(errors, np.array([7, 8]), draws=200)
    found = scores.set_index(["modality", "guess"])
    assert found.loc[("s2", "model"), "l1"] == pytest.approx(0.2)
    assert found.loc[("s2", "model"), "gain"] == pytest.approx(0.5)
    assert found.loc[("s2", "zero"), "gain"] == 0
    assert found.loc[("all", "model"), "l1"] == pytest.approx(13 / 50)
    assert found.loc[("all", "nearest date"), "l1"] == pytest.approx(13 / 50)
    # Two blocks: a resample holds the first, the second, or both.
    assert found.loc[("s2", "model"), "low"] == pytest.approx(0.1)
    assert found.loc[("s2", "model"), "high"] == pytest.approx(7 / 30)
    # One block with pixels: drawn again and again it would look like certainty.
    assert found.loc[("s1", "model"), ["low", "high"]].isna().all()


def test_samples_of_one_block_are_resampled_together():
    """Samples that differ, in pairs of equal sums: between blocks of two nothing varies."""
    errors = table([(i, "s2", 10, 2.0 + 6.0 * (i % 2), 10.0, 10.0, 10.0) for i in range(40)])
    width = {}
    for name, block in {"pairs": np.arange(40) // 2, "own": np.arange(40)}.items():
        row = reconstruction_scores(errors, block, draws=100).iloc[0]
        width[name] = row["high"] - row["low"]
    assert width["pairs"] == pytest.approx(0, abs=1e-12) and width["own"] > 0.05


def test_a_modality_without_a_scored_pixel_has_no_rows():
    errors = table([(0, "s2", 10, 1.0, 2.0, 3.0, 4.0), (0, "s1", 0, 0.0, 0.0, 0.0, 0.0)])
    assert set(reconstruction_scores(errors, np.zeros(1), draws=5)["modality"]) == {"s2", "all"}
