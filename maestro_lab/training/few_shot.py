"""How few labels do? Scores of frozen features under probes by number of training labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from maestro_lab.errors import ParameterError
from maestro_lab.training.probe import LEAST, METHODS, fit_probe, listed, metric_for
from maestro_lab.training.scores import SCORES, bootstrap
from maestro_lab.training.units import TRIVIAL, Units, trivial_predictions

__all__ = ["SHOTS", "FewShot", "few_shot_scores", "label_order"]

SHOTS = (5, 10, 20, 50, 100, 200)
"""Numbers of labels that are tried, beside all there are."""


@dataclass
class FewShot:
    """Scores by number of labels.

    Parameters
    ----------
    scores
        One row for each (features, probe, labels): score, low, high. Rows whose features are
        :data:`~maestro_lab.training.units.TRIVIAL` have an empty probe.
    runs
        One row for each (features, probe, labels, seed): score.
    metric, target
        Name of the score, and of what is predicted.
    blocks, seeds
        Test blocks, and choices of labels.
    counted
        What a label belongs to: "samples" or "locations".
    """

    scores: pd.DataFrame
    runs: pd.DataFrame
    metric: str
    target: str
    blocks: int
    seeds: int
    counted: str

    def __repr__(self) -> str:
        return f"{self.scores.round(3)}"

    def _repr_html_(self) -> str:
        return self.scores.round(3).to_html()


def label_order(target: Units, seed: int) -> np.ndarray:
    """Return the training units in the order in which they get their labels.

    Blocks take turns, so that few labels lie far apart. Of classes, each has one label before any
    has two; then each has its share of the labels, as among all. Labels that are in a smaller
    choice are in each larger one.

    Parameters
    ----------
    target
        Units.
    seed
        Of the order within a block, and of blocks.

    Returns
    -------
    numpy.ndarray
        Numbers of the training units.
    """
    train = np.flatnonzero(target.split == "train")
    shuffled = np.random.default_rng(seed).permutation(train)
    turn = _rank(target.block[shuffled])
    spread = shuffled[np.argsort(turn, kind="stable")]
    if target.task == "regression":
        return spread
    _, code = np.unique(target.target[spread], axis=0, return_inverse=True)
    code = code.reshape(-1)
    rank = _rank(code)
    due = np.where(rank == 0, -1, (rank + 0.5) / np.bincount(code)[code])
    return spread[np.argsort(due, kind="stable")]


def _rank(names: np.ndarray) -> np.ndarray:
    """Return how many of the same name stand before each."""
    order = np.argsort(names, kind="stable")
    _, first, count = np.unique(names[order], return_index=True, return_counts=True)
    rank = np.empty(len(names), dtype=int)
    rank[order] = np.arange(len(names)) - np.repeat(first, count)
    return rank


def few_shot_scores(
    features: Mapping[str, np.ndarray | Sequence[np.ndarray]],
    target: Units,
    *,
    shots: Sequence[int] = SHOTS,
    methods: Sequence[str] = METHODS,
    seeds: int = 3,
    metric: str | None = None,
    draws: int = 400,
    name: str = "",
) -> FewShot:
    """Score features under probes that are fitted on few labels.

    All features see the same labels, and so does the trivial answer. The labels of split "val" are
    not used, by no probe. Of several draws of features (encoders with random weights), each choice
    of labels takes the next one.

    Parameters
    ----------
    features, methods, metric
        As for :func:`~maestro_lab.training.probe.probe`.
    target
        From :func:`~maestro_lab.training.units.units`.
    shots
        Numbers of training units with a label; those above what there are are left out, and all
        that there are come last.
    seeds
        Choices of labels by :func:`label_order`.
    draws
        Bootstrap draws: 95 % intervals over blocks of test units and choices of labels together.
    name
        Of the target.

    Raises
    ------
    ParameterError
        If a number of labels is below 4, there are fewer in all, or there are no seeds.
    """
    metric, total = metric_for(target, metric), int((target.split == "train").sum())
    wanted = sorted({int(n) for n in shots if n < total} | {total})
    if wanted[0] < LEAST:
        raise ParameterError(
            "labels to fit a probe on", expected=f"{LEAST} or more", found=wanted[0]
        )
    if seeds < 1:
        raise ParameterError("seeds", expected="at least 1 choice of labels", found=seeds)
    test = target.split == "test"
    truth, block = target.target[test], target.block[test]
    scores, runs = [], []
    subsets = [list(_subsets(target, wanted, seed)) for seed in range(seeds)]
    for kind, method, table in _curves(features, methods):
        for number, labels in enumerate(wanted):
            several = [
                _predict(method, table, some[number], metric, seed)
                for seed, some in enumerate(subsets)
            ]
            found = bootstrap(metric, truth, several, block, draws=draws, runs=True)
            scores.append((kind, method, labels, *found))
            each = [float(SCORES[metric](truth, predicted)) for predicted in several]
            runs += [(kind, method, labels, seed, one) for seed, one in enumerate(each)]
    told = ["features", "probe", "labels"]
    return FewShot(
        pd.DataFrame(scores, columns=[*told, "score", "low", "high"]),
        pd.DataFrame(runs, columns=[*told, "seed", "score"]),
        metric,
        name,
        len(np.unique(block)),
        seeds,
        "locations" if target.locations > 1 else "samples",
    )


def _subsets(target: Units, wanted: Sequence[int], seed: int) -> Iterator[Units]:
    """Yield the units with few training labels, with more, and with all."""
    order = label_order(target, seed)
    for labels in wanted:
        split = np.where(target.split == "test", "test", "unlabelled")
        split[order[:labels]] = "train"
        yield replace(target, split=split)


def _curves(
    features: Mapping[str, np.ndarray | Sequence[np.ndarray]], methods: Sequence[str]
) -> Iterator[tuple[str, str, list[np.ndarray]]]:
    yield TRIVIAL, "", []
    for kind, given in features.items():
        for method in methods:
            yield kind, method, listed(given)


def _predict(
    method: str, tables: Sequence[np.ndarray], target: Units, metric: str, seed: int
) -> np.ndarray:
    """Predict the test units, by the trivial answer where there are no features."""
    if not tables:
        return trivial_predictions(target)
    return fit_probe(method, tables[seed % len(tables)], target, metric, seed)[0]
