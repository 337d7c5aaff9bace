"""Scores, and how sure they are: whole spatial blocks resampled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

__all__ = ["SCORES", "bootstrap", "bootstrap_difference"]


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


SCORES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "r2": r2,
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "negative_rmse": negative_rmse,
}
"""Scores by name; more is better."""


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

    Examples
    --------
    >>> truth = np.array([0.0, 1, 2, 3])
    >>> bootstrap("r2", truth, [truth], np.arange(4), draws=20)
    (1.0, 1.0, 1.0)
    """
    score = SCORES[metric]
    spread = [
        _mean(score, truth[i], [p[i] for p in predictions]) for i in _resamples(block, draws, seed)
    ]
    return _mean(score, truth, predictions), *_interval(spread)


def bootstrap_difference(
    metric: str,
    truth: np.ndarray,
    better: Sequence[np.ndarray],
    worse: Sequence[np.ndarray],
    block: np.ndarray,
    *,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Return the difference of two scores and its 95 % interval, on the same resampled blocks."""
    score = SCORES[metric]

    def difference(rows: np.ndarray | slice) -> float:
        pair = [_mean(score, truth[rows], [p[rows] for p in s]) for s in (better, worse)]
        return pair[0] - pair[1]

    spread = [difference(rows) for rows in _resamples(block, draws, seed)]
    return difference(slice(None)), *_interval(spread)
