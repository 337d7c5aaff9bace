"""Scores of heads against our own arithmetic, on anything, in any number of batches."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.test_metrics import CLASSES, WORST, as_task, config, score

SEEDS = st.integers(0, 2**32 - 1)


def nan_mean(values):
    return float(np.mean(values[~np.isnan(values)])) if (~np.isnan(values)).any() else np.nan


def weighted(values, support):
    total = support.sum()
    return float(np.nansum(values * support) / total) if total else np.nan


def divide(a, b):
    return np.divide(a, b, out=np.full(len(a), np.nan), where=np.asarray(b) > 0)


def precision_by_hand(scores, truth):
    """Average precision: at every distinct score, precision times the gain in recall."""
    if not truth.any():
        return 0.0
    found, recall = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        above = scores >= threshold
        now = truth[above].sum() / truth.sum()
        found += (now - recall) * truth[above].mean()
        recall = now
    return found


def labels_by_hand(scores, truth):
    guess = scores > 0.5
    hits, there = (guess & (truth == 1)).sum(0), (truth == 1).sum(0)
    f1 = divide(2 * hits, guess.sum(0) + there)
    ap = np.array([precision_by_hand(s, t) for s, t in zip(scores.T, truth.T, strict=True)])
    ap = ap if len(truth) else ap * np.nan
    return {
        "average_f1": nan_mean(f1),
        "weighted_f1": weighted(f1, there),
        "average_ap": nan_mean(ap),
        "weighted_ap": weighted(ap, there),
    }


@settings(max_examples=60)
@given(
    seed=SEEDS,
    rows=st.integers(0, 30),
    outputs=st.integers(1, 5),
    positive=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    ties=st.booleans(),
    batches=st.integers(1, 4),
)
def test_several_labels_by_hand(seed, rows, outputs, positive, ties, batches):
    rng = np.random.default_rng(seed)
    answers = rng.normal(size=(rows, outputs)).astype(np.float32) * 3
    answers = np.round(answers) if ties else answers
    labels = (rng.random((rows, outputs)) < positive).astype(np.int64)
    absent = rng.random((rows, outputs)) < 0.05
    kept = ~absent.any(1)
    scores = torch.as_tensor(answers[kept]).sigmoid().numpy()
    expected = labels_by_hand(scores, labels[kept])
    labels = np.where(absent, -1, labels)
    metrics = score(
        config("multilabel", outputs),
        *zip(np.array_split(answers, batches), np.array_split(labels, batches), strict=True),
    )
    assert metrics.compute() == pytest.approx(expected, abs=WORST, nan_ok=True)
    assert metrics.per_class()["support"] == (labels[kept] == 1).sum(0).tolist()


@settings(max_examples=60)
@given(
    seed=SEEDS,
    maps=st.integers(0, 8),
    outputs=st.integers(1, 6),
    known=st.integers(1, 6),
    missing=st.sampled_from([-1, 2, 6, 255]),
    task=st.sampled_from(CLASSES),
    batches=st.integers(1, 4),
)
def test_classes_by_hand(seed, maps, outputs, known, missing, task, batches):
    """Only ``known`` classes occur in the labels; others may still be guessed."""
    rng = np.random.default_rng(seed)
    answers = rng.normal(size=(4 * maps, outputs)).astype(np.float32)
    labels = rng.integers(0, min(known, outputs), 4 * maps)
    labels = np.where(rng.random(4 * maps) < 0.2, missing, labels)
    truth, guess = labels[labels != missing], answers.argmax(1)[labels != missing]
    hits, there, guessed = (
        np.bincount(rows, minlength=outputs) for rows in (truth[truth == guess], truth, guess)
    )
    f1 = np.where(there > 0, divide(2 * hits, there + guessed), np.nan)
    iou = np.where(there > 0, divide(hits, there + guessed - hits), np.nan)
    expected = {
        "overall_accuracy": float((truth == guess).mean()) if len(truth) else np.nan,
        "average_f1": nan_mean(f1),
        "average_iou": nan_mean(iou),
        "weighted_f1": weighted(f1, there),
    }
    answers, labels = as_task(task, answers, labels)
    metrics = score(
        config(task, outputs, missing),
        *zip(np.array_split(answers, batches), np.array_split(labels, batches), strict=True),
    )
    assert metrics.compute() == pytest.approx(expected, abs=WORST, nan_ok=True)
    assert metrics.per_class()["f1"] == pytest.approx(f1.tolist(), abs=WORST, nan_ok=True)
    assert metrics.per_class()["iou"] == pytest.approx(iou.tolist(), abs=WORST, nan_ok=True)


@settings(max_examples=60)
@given(
    seed=SEEDS,
    rows=st.integers(0, 30),
    outputs=st.integers(1, 3),
    offset=st.sampled_from([0.0, 1e4]),
    absent=st.sampled_from([0.0, 0.3, 1.0]),
    batches=st.integers(1, 4),
)
def test_numbers_by_hand(seed, rows, outputs, offset, absent, batches):
    rng = np.random.default_rng(seed)
    labels = rng.normal(size=(rows, outputs)) + offset
    answers = labels + rng.normal(size=labels.shape)
    labels[rng.random(labels.shape) < absent] = np.nan
    count = np.isfinite(labels).sum()
    error = answers - labels
    mean = np.nansum(labels, 0) / np.maximum(np.isfinite(labels).sum(0), 1)
    spread = np.nansum((labels - mean) ** 2)
    expected = {
        "r2": 1 - np.nansum(error**2) / spread if spread > 0 else np.nan,
        "rmse": np.sqrt(np.nansum(error**2) / count) if count else np.nan,
        "mae": np.nansum(np.abs(error)) / count if count else np.nan,
    }
    metrics = score(
        config("regression", outputs),
        *zip(np.array_split(answers, batches), np.array_split(labels, batches), strict=True),
    )
    assert metrics.compute() == pytest.approx(expected, rel=1e-6, abs=WORST, nan_ok=True)
    found = metrics.per_class()
    assert found["support"] == np.isfinite(labels).sum(0).tolist()
    for k in range(outputs):
        alone = score(config("regression", 1), (answers[:, [k]], labels[:, [k]])).compute()
        assert {name: found[name][k] for name in alone} == pytest.approx(
            alone, rel=1e-6, abs=WORST, nan_ok=True
        )
