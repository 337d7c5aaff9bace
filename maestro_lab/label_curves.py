"""What labels are worth: scores by number of labels, with intervals over blocks and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from maestro_lab.models.heads import HeadConfig
from maestro_lab.training.scores import bootstrap, bootstrap_difference, with_interval
from maestro_lab.training.tune import Answers

__all__ = ["LabelCurves", "curves_of", "label_results", "trivial_answers", "units_of"]


@dataclass
class LabelCurves:
    """Scores of probe, fine-tuning and supervised twin at several numbers of labels.

    Parameters
    ----------
    scores
        One row for each (phase, labels): fraction, labelled samples, score, low, high.
    differences
        One row for each (better, worse, labels): difference, low, high.
    runs
        One row a run: phase, fraction, seed, score, epoch of the best weights.
    metric, target
        What was scored.
    blocks
        Test blocks.
    """

    scores: pd.DataFrame
    differences: pd.DataFrame
    runs: pd.DataFrame
    metric: str
    target: str
    blocks: int

    def __repr__(self) -> str:
        return f"{self.scores.round(3)}\n\n{self.differences.round(3)}"

    def _repr_html_(self) -> str:
        return self.scores.round(3).to_html() + self.differences.round(3).to_html()


def units_of(
    head: HeadConfig, found: Answers, guessed: np.ndarray, block: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bring labels and answers into rows that can be scored; what has no label is left out.

    Parameters
    ----------
    head
        What was answered.
    found
        Answers of a predictor and the labels.
    guessed
        Answers to take, of the same shape; the predictor's own or others.
    block
        Block of each sample of ``found``.

    Returns
    -------
    tuple
        Labels, guesses, both (unit,) classes or (unit, k) numbers, and blocks (unit,).
    """
    labels = found.labels
    if head.task == "multilabel":
        kept = (labels != head.missing).all(1)
        return labels[kept], (guessed[kept] > 0).astype(int), block[kept]
    block = np.repeat(block, head.size**2 or 1)
    if head.task == "regression":
        labels, guessed = (
            np.moveaxis(a, 1, -1).reshape(-1, head.outputs) for a in (labels, guessed)
        )
        kept = np.isfinite(labels).all(1)
    else:
        labels, guessed = labels.reshape(-1), guessed.argmax(1).reshape(-1)
        kept = labels != head.missing
    return labels[kept], guessed[kept], block[kept]


def trivial_answers(head: HeadConfig, labels: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Answer with the mean, or the most frequent class, of training labels.

    Parameters
    ----------
    head
        What is answered.
    labels
        Training labels as the head has them.
    like
        Answers (sample, k, ...) whose shape is wanted.
    """
    if head.task == "regression":
        constant = np.nanmean(np.moveaxis(labels, 1, -1).reshape(-1, head.outputs), axis=0)
    elif head.task == "multilabel":
        constant = labels[(labels != head.missing).all(1)].mean(0) - 0.5
    else:
        known = labels[labels != head.missing].astype(int)
        constant = np.bincount(known, minlength=head.outputs).astype(float)
    return np.broadcast_to(constant.reshape(1, -1, *[1] * (like.ndim - 2)), like.shape)


def curves_of(
    found: Mapping[tuple[str, float], list[np.ndarray]],
    truth: np.ndarray,
    block: np.ndarray,
    runs: pd.DataFrame,
    *,
    target: str,
    metric: str,
    draws: int = 1000,
) -> LabelCurves:
    """Score the answers of all runs.

    Parameters
    ----------
    found
        (phase, fraction) to the answers of each seed.
    truth, block
        Labels and blocks of the test units.
    runs
        One row a run: phase, fraction, labels, seed, epoch; in the order of ``found``.
    target, metric, draws
        What is scored, how, and the bootstrap draws.
    """
    labels = dict(zip(runs["fraction"], runs["labels"], strict=True))
    scores = [
        (phase, f, labels[f], *bootstrap(metric, truth, several, block, draws=draws, runs=True))
        for (phase, f), several in found.items()
    ]
    differences = []
    for f in labels:
        for better, worse in _against([p for p, g in found if g == f]):
            pair = found[better, f], found[worse, f]
            row = bootstrap_difference(metric, truth, *pair, block, draws=draws, runs=True)
            differences.append((better, worse, f, labels[f], *row))
    one = [
        bootstrap(metric, truth, [found[row.phase, row.fraction][row.seed]], block, draws=0)[0]
        for row in runs.itertuples()
    ]
    told = ["difference", "low", "high"]
    return LabelCurves(
        pd.DataFrame(scores, columns=["phase", "fraction", "labels", "score", "low", "high"]),
        pd.DataFrame(differences, columns=["better", "worse", "fraction", "labels", *told]),
        runs.assign(score=one),
        metric,
        target,
        len(np.unique(block)),
    )


def _against(phases: Sequence[str]) -> list[tuple[str, str]]:
    """Return which phases are compared: with pretraining against without, and tuned against not."""
    wanted = [("finetune", "supervised"), ("probe", "supervised"), ("finetune", "probe")]
    return [(a, b) for a, b in wanted if a in phases and b in phases]


def label_results(curves: LabelCurves) -> dict[str, Any]:
    """Return scores and differences as flat results: ``r2 finetune, 22 labels`` and so on."""
    found: dict[str, Any] = {}
    for row in curves.scores.itertuples():
        name = f"{curves.metric} {row.phase}, {row.labels} labels"
        found |= with_interval(name, row.score, row.low, row.high)
    for row in curves.differences.itertuples():
        name = f"{curves.metric} {row.better} - {row.worse}, {row.labels} labels"
        found |= with_interval(name, row.difference, row.low, row.high)
    return found
