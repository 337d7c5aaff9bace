"""The attentive probe: it finds what a mean over locations hides, and is else a linear probe."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from maestro_lab.errors import ParameterError
from maestro_lab.training import attentive
from maestro_lab.training.attentive import predict_by_attention
from maestro_lab.training.probe import probe, units
from maestro_lab.training.ridge import PENALTIES, ridge
from maestro_lab.training.scores import SCORES


def marked(seed=0, places=240, locations=9, width=8):
    """Windows one location of which is marked (feature 0) and holds the answer (feature 1)."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(places, locations, width))
    where = rng.integers(0, locations, places)
    features[..., 0] = 0
    features[np.arange(places), where, 0] = 4
    block = np.arange(places) // 5
    return (
        features,
        features[np.arange(places), where, 1],
        np.where(block % 2, "test", "train"),
        block,
    )


@pytest.fixture
def short(monkeypatch):
    """Train for few steps, where it does not matter how well."""
    monkeypatch.setattr(attentive, "_STEPS", 40)
    monkeypatch.setattr(attentive, "_best", lambda losses: 2)


def whole(target, split, block, task="regression"):
    return units(np.asarray(target)[:, None], split=split, block=block, task=task)[0]


def scored(features, known, methods=("linear", "attentive"), metric=None):
    result = probe({"f": features}, known, methods=methods, draws=5, metric=metric)
    return [result.score("f", method)[0] for method in methods]


def test_a_marked_location_is_found_where_the_mean_hides_it():
    features, target, split, block = marked()
    linear, attended = scored(features, whole(target, split, block))
    assert linear < 0.3
    assert attended > 0.6


def test_classes_and_labels_of_a_marked_location():
    features, target, split, block = marked()
    classes = np.array([30, 10, 20])[np.digitize(target, [-0.5, 0.5])]
    linear, attended = scored(features, whole(classes, split, block, "classification"))
    assert attended > linear + 0.15
    labels = np.stack([target > 0, target < -0.3], 1).astype(int)
    linear, attended = scored(features, whole(labels, split, block, "classification"))
    assert attended > linear + 0.1


def test_a_location_sees_the_others_of_its_window():
    features, target, split, block = marked()
    everywhere = target[:, None] + features[..., 2]
    known, _ = units(everywhere, split=split, block=block)
    linear, attended = scored(features, known)
    assert linear < 0.7
    assert attended > linear + 0.1


def test_where_the_mean_says_it_all_nothing_is_lost():
    rng = np.random.default_rng(0)
    features, _, split, block = marked(places=120)
    target = features.mean(1) @ rng.normal(size=8) + 0.05 * rng.normal(size=120)
    linear, attended = scored(features, whole(target, split, block))
    assert attended > linear - 0.02


def test_the_seed_decides_and_the_global_generator_is_left_alone(short):
    features, target, split, block = marked(places=60)
    known = whole(target, split, block)
    torch.manual_seed(0)
    before = torch.rand(1)
    torch.manual_seed(0)
    first, again, other = (predict_by_attention(features, known, seed=s)[0] for s in (1, 1, 2))
    assert torch.equal(torch.rand(1), before)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_locations_without_features_do_not_count_and_empty_windows_get_an_answer(short):
    features, target, split, block = marked(places=60)
    known = whole(target, split, block)
    plain, _ = predict_by_attention(features, known)
    gaps = np.concatenate([features, np.full((60, 3, 8), np.nan)], 1)
    np.testing.assert_allclose(predict_by_attention(gaps, known)[0], plain, atol=1e-4)
    features[:7] = np.nan
    features[8, :, 3] = np.nan
    assert np.isfinite(predict_by_attention(features, known)[0]).all()


def test_units_without_a_label_are_context_and_not_answered(short):
    features, target, split, block = marked(places=60)
    values = target[:, None] + features[..., 2]
    values[::2, 1:] = np.nan
    known, _ = units(values, split=split, block=block)
    found, _ = predict_by_attention(features, known)
    assert found.shape == ((known.split == "test").sum(),)
    assert np.isfinite(found).all()


def test_a_single_class_and_validation_units(short):
    features, target, split, block = marked(places=40)
    one = whole(np.full(40, 7), split, block, "classification")
    result = probe({"f": features}, one, methods=["attentive", "linear"], draws=5)
    assert (result.predictions["f", "attentive"] == 7).all()
    split = split.astype(object)
    split[:5] = "val"
    known = whole(target, split, block)
    found, _ = predict_by_attention(features, known)
    features[:5], target[:5] = 99, 99
    np.testing.assert_array_equal(
        predict_by_attention(features, whole(target, split, block))[0], found
    )


def test_several_numbers_are_predicted_together():
    features, target, split, block = marked()
    known = whole(np.stack([target, -3 * target + 1], 1), split, block)
    found, told = predict_by_attention(features, known)
    truth = known.target[known.split == "test"]
    assert found.shape == truth.shape
    assert SCORES["r2"](truth, found) > 0.6
    assert int(told.split()[0]) > 0


def test_rows_of_units_are_refused():
    features, target, split, block = marked(places=40)
    known = whole(target, split, block)
    with pytest.raises(ParameterError, match=r"windows \(place, location, f\)"):
        probe({"f": features.mean(1)}, known, methods=["attentive"])
    with pytest.raises(ParameterError, match="40 windows or more of 1 locations"):
        probe({"f": features[:10]}, known, methods=["linear"])


def test_few_labels_leave_the_ridge_as_it_is():
    features, target, split, block = marked(places=60)
    known = whole(target, split, block)
    few = np.where(split == "test", "test", "other")
    few[np.flatnonzero(split == "train")[::6]] = "train"
    found, told = predict_by_attention(features, replace(known, split=few))
    assert told == "0 steps"
    alone = probe({"f": features}, replace(known, split=few), methods=["linear"], draws=5)
    np.testing.assert_allclose(found, alone.predictions["f", "linear"], atol=1e-5)


def test_a_ridge_is_that_of_sklearn_with_weights():
    rng = np.random.default_rng(0)
    rows, weights = rng.normal(size=(50, 4)) * [1, 2, 3, 4], rng.uniform(0.5, 2, 50)
    wanted = rows @ rng.normal(size=(4, 2)) + 3 + rng.normal(size=(50, 2))
    found = ridge(rows, wanted, np.arange(50) // 5, weights)(rows)
    scaled = StandardScaler().fit_transform(rows)
    candidates = [
        Ridge(alpha=a).fit(scaled, wanted, sample_weight=weights).predict(scaled) for a in PENALTIES
    ]
    assert min(np.abs(found - c).max() for c in candidates) < 1e-8
