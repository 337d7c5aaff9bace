"""Scores, and how sure they are: whole spatial blocks resampled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from maestro_lab.errors import ParameterError

__all__ = ["NAMES", "SCORES", "bootstrap", "bootstrap_difference", "with_interval"]


def r2(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return the share of the variance explained; of several outputs, their variance pooled."""
    truth, predicted = (np.asarray(a, float).reshape(len(a), -1) for a in (truth, predicted))
    spread = ((truth - truth.mean(0)) ** 2).sum()
    return float(1 - ((truth - predicted) ** 2).sum() / spread) if spread > 0 else float("nan")


def accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return the share of units whose class is right."""
    return float((truth == predicted).mean())


def macro_f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return the mean F1 score of the classes that occur in the truth."""
    classes, codes = np.unique(np.stack([truth, predicted]), return_inverse=True)
    truth, predicted = codes.reshape(2, -1)
    there, guessed, hit = (
        np.bincount(rows, minlength=len(classes))
        for rows in (truth, predicted, truth[truth == predicted])
    )
    return float(np.mean(2 * hit[there > 0] / (there + guessed)[there > 0]))


def negative_rmse(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return minus the root mean squared error, so that more is better."""
    return -float(np.sqrt(((np.asarray(truth, float) - predicted) ** 2).mean()))


def average_iou(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return the mean intersection over union of the classes that occur in the truth."""
    ious = [
        ((truth == c) & (predicted == c)).sum() / ((truth == c) | (predicted == c)).sum()
        for c in np.unique(truth)
    ]
    return float(np.mean(ious))


def weighted_f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return the F1 scores of several labels (unit, k) of 0 and 1, weighted by how often each is 1.

    Labels that are neither there nor guessed do not count.
    """
    there, guessed = truth.sum(0), predicted.sum(0)
    hit, some = (truth * predicted).sum(0), there + guessed > 0
    f1 = 2 * hit[some] / (there + guessed)[some]
    return float((f1 * there[some]).sum() / there.sum()) if there.sum() else float("nan")


SCORES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "r2": r2,
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "negative_rmse": negative_rmse,
    "average_iou": average_iou,
    "weighted_f1": weighted_f1,
}
"""Scores by name; more is better."""


NAMES = {
    "r2": "R²",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "negative_rmse": "minus RMSE",
    "average_iou": "mean IoU",
    "weighted_f1": "weighted F1",
}
"""What to call scores where people read them."""


def with_interval(name: str, value: float, low: float, high: float) -> dict[str, Any]:
    """Return a score and its interval as flat results, rounded.

    Examples
    --------
    >>> with_interval("r2", 0.51234, 0.4, 0.6)
    {'r2': 0.5123, 'r2 interval': [0.4, 0.6]}
    """
    return {name: round(value, 4), f"{name} interval": [round(low, 4), round(high, 4)]}


def _resamples(block: np.ndarray, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Yield rows of blocks drawn with replacement, as many as there are; none of a single one.

    A single block is drawn again and again as it is: an interval of no width, which is not
    certainty but ignorance.
    """
    names = np.unique(block)
    if len(names) < 2:
        return
    members = [np.flatnonzero(block == name) for name in names]
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        yield np.concatenate([members[k] for k in rng.integers(0, len(names), len(names))])


def _mean(score: Callable, truth: np.ndarray, several: Sequence[np.ndarray]) -> float:
    return float(np.mean([score(truth, predicted) for predicted in several]))


def _interval(spread: Sequence[float]) -> tuple[float, float]:
    """Return the middle 95 % of the resampled scores that are defined; NaN if none is."""
    defined = np.asarray(spread)[np.isfinite(spread)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [0.025, 0.975])
    return float(low), float(high)


def bootstrap(
    metric: str,
    truth: np.ndarray,
    predictions: Sequence[np.ndarray],
    block: np.ndarray,
    *,
    draws: int = 1000,
    seed: int = 0,
    runs: bool = False,
) -> tuple[float, float, float]:
    """Return a score and its 95 % interval.

    Parameters
    ----------
    metric
        One of :data:`SCORES`.
    truth
        (unit, ...).
    predictions
        One array like ``truth``, or several whose scores are averaged.
    block
        (unit,) blocks that are resampled whole, since neighbours are not independent. A single
        block has no interval: NaN.
    draws, seed
        How often to resample, and the seed of it.
    runs
        Resample the predictions too: they come from runs that might have gone otherwise.

    Examples
    --------
    >>> truth = np.array([0.0, 1, 2, 3])
    >>> bootstrap("r2", truth, [truth], np.arange(4), draws=20)
    (1.0, 1.0, 1.0)
    """
    score = SCORES[metric]
    spread = [
        _mean(score, truth[i], [predictions[k][i] for k in chosen])
        for i, chosen in _pairs(block, len(predictions), draws, seed, runs)
    ]
    return _mean(score, truth, predictions), *_interval(spread)


def _pairs(
    block: np.ndarray, several: int, draws: int, seed: int, runs: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield resampled rows, and which of several runs to take: all, or resampled as well."""
    rng = np.random.default_rng([seed, 1])
    for rows in _resamples(block, draws, seed):
        yield rows, rng.integers(0, several, several) if runs else np.arange(several)


def bootstrap_difference(
    metric: str,
    truth: np.ndarray,
    better: Sequence[np.ndarray],
    worse: Sequence[np.ndarray],
    block: np.ndarray,
    *,
    draws: int = 1000,
    seed: int = 0,
    runs: bool = False,
) -> tuple[float, float, float]:
    """Return the difference of two scores and its 95 % interval, on the same resampled blocks.

    With ``runs``, the k-th predictions of both come from runs of one seed, and pairs of them are
    resampled too.
    """
    score = SCORES[metric]

    def difference(a: Sequence[np.ndarray], b: Sequence[np.ndarray], rows: Any) -> float:
        pair = [_mean(score, truth[rows], [p[rows] for p in s]) for s in (a, b)]
        return pair[0] - pair[1]

    if runs and len(better) != len(worse):
        raise ParameterError(
            "runs in pairs", expected=f"{len(better)} of each", found=f"{len(worse)} of the other"
        )
    spread = []
    for rows, chosen in _pairs(block, len(better), draws, seed, runs):
        some = [better[k] for k in chosen]
        others = [worse[k] for k in chosen] if runs else worse
        spread.append(difference(some, others, rows))
    return difference(better, worse, slice(None)), *_interval(spread)
