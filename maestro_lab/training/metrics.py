"""Scores of heads, as published: gathered batch by batch, told at the end.

Definitions are those of MAESTRO (arXiv 2508.10894). Average precision is that of torchmetrics. The
other scores are counted here, because torchmetrics defines them otherwise (a class that is only
ever guessed lowers its averages) or waits for the device at every batch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from maestro_lab.errors import ParameterError
from maestro_lab.models.heads import TASKS, HeadConfig

__all__ = ["METRICS", "TaskMetrics", "main_metric"]

_OF_CLASSES = ("overall_accuracy", "average_f1", "average_iou", "weighted_f1")

METRICS: dict[str, tuple[str, ...]] = {
    "multilabel": ("average_f1", "weighted_f1", "average_ap", "weighted_ap"),
    "classification": _OF_CLASSES,
    "segmentation": _OF_CLASSES,
    "regression": ("r2", "rmse", "mae"),
}
"""Task to the names of its scores."""

_SHAPES = {  # of answers and labels
    "multilabel": ("bk", "bk"),
    "classification": ("bk", "b"),
    "segmentation": ("bkyx", "byx"),
    "regression": ("bk", "bk"),
}
_MAIN = {
    "multilabel": "weighted_f1",
    "classification": "average_f1",
    "segmentation": "average_iou",
    "regression": "r2",
}


def main_metric(task: str) -> str:
    """Return the score that is reported for a task by default; more of it is better.

    As published for several labels and for maps. One class a sample is told by ``average_f1``, as
    the probes of this lab are: accuracy would mostly tell how common the most common class is.

    Raises
    ------
    ParameterError
        If the task is unknown.

    Examples
    --------
    >>> main_metric("segmentation")
    'average_iou'
    """
    if task not in _MAIN:
        raise ParameterError("task", expected=" | ".join(TASKS), found=repr(task))
    return _MAIN[task]


class TaskMetrics:
    """Gathers answers and labels of one head, and scores them all together.

    What is gathered stays on the device of the answers, and no batch waits for that device. A
    missing label is left out as :func:`~maestro_lab.models.heads.head_loss` does. Every process
    counts what it has seen itself.

    Parameters
    ----------
    config
        The head's.

    Examples
    --------
    >>> metrics = TaskMetrics(HeadConfig("classification", 3))
    >>> answers = torch.tensor([[2.0, 0, 0], [0, 1, 0], [0, 1, 0]])
    >>> metrics.update(answers, torch.tensor([0, 1, -1]))
    >>> metrics.compute()["overall_accuracy"]
    1.0
    >>> metrics.per_class()["f1"]
    [1.0, 1.0, nan]
    """

    def __init__(self, config: HeadConfig) -> None:
        self.config = config
        self._gathered = _GATHER[config.task](config)

    @torch.no_grad()
    def update(self, answers: Tensor, labels: Tensor) -> None:
        """Add a batch.

        Parameters
        ----------
        answers
            From a :class:`~maestro_lab.models.heads.Head`: (b, k), or (b, k, y, x) for a
            segmentation.
        labels
            multilabel: 0 or 1 (b, k), a row with a missing label does not count; classification:
            (b,); segmentation: (b, y, x); regression: (b, k), NaN where missing.

        Raises
        ------
        ParameterError
            If the shapes do not fit each other or the head.
        """
        k, task = self.config.outputs, self.config.task
        full, dims = _SHAPES[task]
        places = answers.shape if full == dims else (*answers.shape[:1], *answers.shape[2:])
        if answers.ndim != len(full) or answers.shape[1] != k or labels.shape != places:
            raise ParameterError(
                f"{task}: answers and labels do not fit",
                expected=f"answers ({', '.join(full)}) and labels ({', '.join(dims)}), k = {k}",
                found=f"{tuple(answers.shape)} and {tuple(labels.shape)}",
            )
        labels = labels.detach().to(answers.device)
        labels = labels if labels.is_floating_point() else labels.long()
        self._gathered.add(answers.detach(), labels)

    def compute(self) -> dict[str, float]:
        """Return the scores named in :data:`METRICS`; NaN where there is nothing to score.

        Raises
        ------
        ParameterError
            If a label is neither a class nor missing, or an answer is not a number.
        """
        scores = self._gathered.scores()
        return {name: scores[name] for name in METRICS[self.config.task]}

    def per_class(self) -> dict[str, list[float]]:
        """Return the scores of every class, label or number, and how often it occurs.

        Returns
        -------
        dict
            "support", and "f1" and "ap" (multilabel), "f1" and "iou" (classes; NaN for a class
            that does not occur in the labels), or "r2", "rmse" and "mae" (regression).
        """
        return {name: values.tolist() for name, values in self._gathered.parts().items()}


class _Labels:
    """Several labels a sample: all scores are kept, for the exact precision-recall curve."""

    def __init__(self, config: HeadConfig) -> None:
        self.config = config
        self.answers: list[Tensor] = []
        self.labels: list[Tensor] = []

    def add(self, answers: Tensor, labels: Tensor) -> None:
        self.answers.append(answers.float().sigmoid())
        self.labels.append(labels.clone())

    def _all(self) -> tuple[Tensor, Tensor]:
        """Return scores and labels (n, k) of the rows without a missing label."""
        none = torch.zeros(0, self.config.outputs)
        answers = torch.cat([none, *(a.cpu() for a in self.answers)])
        labels = torch.cat([none.long(), *(a.cpu() for a in self.labels)])
        kept = (labels != self.config.missing).all(1)
        answers, labels = answers[kept], labels[kept]
        legal, number = (labels == 0) | (labels == 1), ~answers.isnan()
        _refuse(int((~legal).sum()), int((~number).sum()), f"0, 1 or {self.config.missing}")
        return answers, labels.long()

    def parts(self) -> dict[str, Tensor]:
        answers, labels = self._all()
        guessed, there = answers > 0.5, labels == 1
        hits = (guessed & there).sum(0).double()
        f1 = 2 * hits / (guessed.sum(0) + there.sum(0))  # 0 / 0 is NaN: neither there nor guessed
        return {"support": there.sum(0).double(), "f1": f1, "ap": _precision(answers, labels)}

    def scores(self) -> dict[str, float]:
        parts = self.parts()
        means = {name: _means(parts[name], parts["support"]) for name in ("f1", "ap")}
        return {f"{how}_{name}": m for name in means for how, m in means[name].items()}


def _precision(answers: Tensor, labels: Tensor) -> Tensor:
    """Average precision of each label: 0 where none is positive, as published; NaN of no rows."""
    from torchmetrics.functional.classification import multilabel_average_precision

    found = torch.zeros(answers.shape[1], dtype=torch.float64)
    if not len(answers):
        return found * math.nan
    for k in labels.any(0).nonzero().flatten().tolist():
        found[k] = multilabel_average_precision(
            answers[:, [k]], labels[:, [k]], 1, average=None, validate_args=False
        )[0]
    return found


class _Classes:
    """One class a sample or pixel: the confusion matrix is kept."""

    def __init__(self, config: HeadConfig) -> None:
        self.config = config
        # The matrix row by row, then missing labels, labels that are no class, answers not numbers.
        self.counts = torch.zeros(config.outputs**2 + 3, dtype=torch.int64)

    def add(self, answers: Tensor, labels: Tensor) -> None:
        k = self.config.outputs
        legal = (labels >= 0) & (labels < k) & (labels == labels.floor())
        cell = torch.where(legal, labels, 0).long() * k + answers.argmax(1)
        cell = torch.where(answers.isnan().any(1), k * k + 2, cell)
        cell = torch.where(legal, cell, k * k + 1)
        cell = torch.where(labels == self.config.missing, k * k, cell).flatten()
        self.counts = self.counts.to(cell.device)
        self.counts.scatter_add_(0, cell, torch.ones_like(cell))

    def matrix(self) -> Tensor:
        """Return counts (truth, guess)."""
        k = self.config.outputs
        counts = self.counts.cpu()
        _, labels, answers = counts[k * k :].tolist()
        _refuse(labels, answers, f"0 to {k - 1}, or {self.config.missing}")
        return counts[: k * k].view(k, k).double()

    def parts(self) -> dict[str, Tensor]:
        counts = self.matrix()
        hits, there, guessed = counts.diagonal(), counts.sum(1), counts.sum(0)
        occurs = torch.where(there > 0, 1.0, math.nan)
        return {
            "support": there,
            "f1": 2 * hits / (there + guessed) * occurs,
            "iou": hits / (there + guessed - hits) * occurs,
        }

    def scores(self) -> dict[str, float]:
        parts, counts = self.parts(), self.matrix()
        f1, iou = (_means(parts[name], parts["support"]) for name in ("f1", "iou"))
        return {
            "overall_accuracy": float(counts.trace() / counts.sum()),
            "average_f1": f1["average"],
            "average_iou": iou["average"],
            "weighted_f1": f1["weighted"],
        }


class _Numbers:
    """Regression: counts, means and sums of squares of every output."""

    def __init__(self, config: HeadConfig) -> None:
        # Labels: count, mean, squared distance from the mean; errors: squared, absolute.
        self.sums = torch.zeros(5, config.outputs, dtype=torch.float64)

    def add(self, answers: Tensor, labels: Tensor) -> None:
        exact = torch.float32 if answers.device.type == "mps" else torch.float64
        answers, labels = answers.to(exact), labels.to(exact)
        count, mean, spread, squared, absolute = self.sums.to(answers.device, exact)
        kept = labels.isfinite()
        new = kept.sum(0)
        new_mean = torch.where(kept, labels, 0).sum(0) / new.clamp(min=1)
        new_spread = torch.where(kept, (labels - new_mean) ** 2, 0).sum(0)
        error = torch.where(kept, answers - labels, 0)
        share = new / (count + new).clamp(min=1)
        away = new_mean - mean
        squared, absolute = squared + (error**2).sum(0), absolute + error.abs().sum(0)
        spread = spread + new_spread + away**2 * count * share  # Chan, Golub and LeVeque (1979)
        self.sums = torch.stack([count + new, mean + away * share, spread, squared, absolute])

    def parts(self) -> dict[str, Tensor]:
        count, _, spread, squared, absolute = self.sums.double().cpu()
        r2 = 1 - squared / torch.where(spread > 0, spread, math.nan)
        rmse, mae = (squared / count).sqrt(), absolute / count
        return {"support": count, "r2": r2, "rmse": rmse, "mae": mae}

    def scores(self) -> dict[str, float]:
        count, _, spread, squared, absolute = self.sums.double().cpu().sum(1).tolist()
        if not count:
            return dict.fromkeys(METRICS["regression"], math.nan)
        r2 = 1 - squared / spread if spread > 0 else math.nan  # of several, their variance pooled
        return {"r2": r2, "rmse": math.sqrt(squared / count), "mae": absolute / count}


_GATHER = {
    "multilabel": _Labels,
    "classification": _Classes,
    "segmentation": _Classes,
    "regression": _Numbers,
}


def _means(values: Tensor, support: Tensor) -> dict[str, float]:
    """Average over classes, plainly and by how often each occurs; NaNs are left out."""
    weighted = (values * support).nansum() / support.sum()
    return {"average": float(values.nanmean()), "weighted": float(weighted)}


def _refuse(labels: int, answers: int, legal: str) -> None:
    """Raise if there were labels that cannot be, or answers that are not numbers."""
    if labels:
        raise ParameterError("labels to score", expected=legal, found=f"{labels} others")
    if answers:
        raise ParameterError("answers to score", expected="numbers", found=f"{answers} NaN")
