"""Learning with labels: probes on a frozen encoder, fine-tuning, and the supervised twin."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from maestro_lab.batches import Batch, CubeDataset, loader
from maestro_lab.errors import ParameterError
from maestro_lab.models.heads import Head
from maestro_lab.models.kernels import wants_bf16
from maestro_lab.models.predictor import Heads, Predictor
from maestro_lab.models.systems import build_model
from maestro_lab.training.config import TrainingConfig
from maestro_lab.training.frozen import FeatureBatch, FrozenFeatures
from maestro_lab.training.loop import Fitted, fit
from maestro_lab.training.metrics import TaskMetrics, main_metric
from maestro_lab.training.watch import Watch

__all__ = ["PHASES", "Answers", "Tuned", "predict", "score", "tune"]

PHASES = ("probe", "finetune", "supervised")
"""Heads alone; encoder and heads; the same from random weights, which is what pretraining is
measured against."""


@dataclass
class Tuned:
    """What :func:`tune` returns; the predictor itself holds the weights of the best epoch.

    Parameters
    ----------
    phase
        What was done.
    fitted
        Metrics and circumstances.
    monitor, best, epoch
        The score that was watched, its best value, and the epoch of it from 1; empty, None and 0
        where nothing was watched: then the weights are those of the last epoch.
    """

    phase: str
    fitted: Fitted
    monitor: str = ""
    best: float | None = None
    epoch: int = 0

    def __repr__(self) -> str:
        if not self.monitor:
            return f"{self.phase}: {self.fitted!r}"
        best = f"best {self.monitor} {self.best:.4f} in epoch {self.epoch}"
        return f"{self.phase}: {self.fitted!r}; {best}"


def tune(
    predictor: Predictor,
    train: CubeDataset,
    config: TrainingConfig,
    *,
    phase: str = "finetune",
    val: CubeDataset | None = None,
    monitor: str = "",
    patience: int | None = 5,
    freeze: float = 0.0,
    encoder_rate: float = 1.0,
    folder: Path | None = None,
    resume: bool = True,
    cache: float = 2e9,
    progress: str | None = None,
) -> Tuned:
    """Train a predictor on labels.

    Parameters
    ----------
    predictor
        Trained in place.
    train, val
        Samples to learn from, and samples that tell which epoch was best; both with the targets of
        the heads. Without ``val`` the last epoch counts.
    config
        How to train. Published: ``base_lr=1e-5``, ``final_factor=2`` for fine-tuning.
    phase
        One of :data:`PHASES`. "probe" trains the heads on frozen features, which are computed
        without a graph and kept where they fit. "supervised" draws new random weights first,
        from ``config.seed``.
    monitor
        The score that is watched, such as "species/r2"; empty takes the first target's
        :func:`~maestro_lab.training.metrics.main_metric`.
    patience
        Evaluations without a better score before training stops; None goes on to the end, and
        still keeps the best.
    freeze, encoder_rate
        Share of the steps for which the encoder stays as it is, and its learning rate after that,
        as a share of the heads'. OlmoEarth, published: 0.2 and 0.1. A probe knows neither, and the
        supervised twin learns at once and at full rate.
    folder
        Run folder for metrics and checkpoints; None writes nothing.
    resume
        Go on from a checkpoint in ``folder``.
    cache
        Bytes of features that a probe may keep.
    progress
        How to show progress, as :class:`~maestro_lab.training.progress.Progress` takes it.

    Raises
    ------
    ParameterError
        For an unknown phase, or data without the targets of the heads.
    TrainingError
        If the loss is not a number, a checkpoint does not fit, or there is no score to watch.
    """
    if phase not in PHASES:
        raise ParameterError("phase", expected=" | ".join(PHASES), found=repr(phase))
    for data in filter(None, (train, val)):
        _check_targets(predictor, data)
    for name, value, most in (("freeze", freeze, 1), ("encoder_rate", encoder_rate, math.inf)):
        if not 0 <= value < most:
            raise ParameterError(name, expected=f"at least 0 and below {most}", found=value)
    if val is not None and val.train:
        raise ParameterError("validation data", expected="train=False", found="train=True")
    if phase == "supervised":
        fresh = build_model(predictor.encoder.config, config.seed)
        predictor.encoder.load_state_dict(fresh.state_dict())
    _begin_heads(predictor.heads, train, config.seed)
    watch = None
    if val is not None:
        target, head = next(iter(predictor.heads.items()))
        watch = Watch(monitor or f"{target}/{main_metric(head.config.task)}", patience)
    do = _probe if phase == "probe" else _finetune
    settings = {"phase": phase, "model": predictor.config.to_dict()}
    if phase == "probe":  # a checkpoint holds the heads alone
        settings["encoder"] = _digest(predictor.encoder)
    settings["watch"] = None if watch is None else [watch.monitor, watch.patience]
    options = {"settings": settings, "folder": folder, "watch": watch, "resume": resume}
    options["progress"] = progress
    if phase == "finetune" and (freeze, encoder_rate) != (0.0, 1.0):
        options["later"] = {"encoder.": (freeze, encoder_rate)}
    fitted = do(predictor, train, val, config, cache, options)
    if watch is None:
        return Tuned(phase, fitted)
    return Tuned(phase, fitted, watch.monitor, watch.best, watch.epoch + 1)


def _check_targets(predictor: Predictor, data: CubeDataset) -> None:
    absent = [name for name in predictor.heads if name not in data.targets]
    if absent:
        raise ParameterError(
            f"no target {absent[0]!r} in the data",
            expected=", ".join(predictor.heads),
            found=", ".join(data.targets) or "no targets",
            do="name the targets when making the data set: CubeDataset(..., targets=[...])",
        )


def _begin_heads(heads: Heads, train: CubeDataset, seed: int) -> None:
    """Draw the weights of heads from a seed, and let regressions know the range of the labels."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for name, head in heads.items():
            fresh = Head(head.config, head.project.in_features, head.grid)
            head.load_state_dict(fresh.state_dict())
            if head.config.task == "regression":
                labels = head.labels(train.labels(name))
                rows = labels.movedim(1, -1).reshape(-1, labels.shape[1]).double().numpy()
                head.standardise(*_range(rows))


def _range(rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of the known labels (n, k); 0 and 1 where none is known."""
    known = np.isfinite(rows)
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, rows, 0).sum(0) / count
    variance = (np.where(known, rows - mean, 0) ** 2).sum(0) / count
    return torch.from_numpy(mean), torch.from_numpy(np.sqrt(variance))


def _probe(
    predictor: Predictor,
    train: CubeDataset,
    val: CubeDataset | None,
    config: TrainingConfig,
    cache: float,
    options: Mapping[str, Any],
) -> Fitted:
    encoder = predictor.encoder
    was_training = encoder.training
    encoder.eval()
    device = next(encoder.parameters()).device
    bf16 = wants_bf16(config.precision, device)
    size = {"bf16": bf16, "batch_size": max(config.batch_size, 16)}
    seen = FrozenFeatures(encoder, train, epochs=config.epochs, limit=cache, **size)
    held = None if val is None else FrozenFeatures(encoder, val, limit=cache, **size)

    def losses(heads: nn.Module, batch: FeatureBatch, epoch: int) -> tuple[Tensor, dict]:
        return _summed(predictor.heads.losses(heads(batch.features), batch.targets))

    # Features are at hand in this process; others would have to be sent the encoder.
    try:
        return fit(
            predictor.heads, seen, losses, replace(config, workers=0, ema=False),
            evaluate=None if held is None else lambda heads: _evaluate(
                heads, lambda batch: heads(batch.features), held, config.batch_size
            ),
            **options,
        )  # fmt: skip
    finally:
        encoder.train(was_training)


def _summed(parts: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss of all targets, and each under the name it has in the metrics."""
    return sum(parts.values()), {f"loss/{name}": part for name, part in parts.items()}


def _digest(module: nn.Module) -> str:
    """Return a short hash of the weights of a module."""
    digest = hashlib.sha256()
    for tensor in module.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().view(-1).numpy().tobytes())
    return digest.hexdigest()[:16]


def _finetune(
    predictor: Predictor,
    train: CubeDataset,
    val: CubeDataset | None,
    config: TrainingConfig,
    cache: float,
    options: Mapping[str, Any],
) -> Fitted:
    def losses(model: nn.Module, batch: Batch, epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
        return _summed(predictor.heads.losses(model(batch), batch.targets))

    with predictor.decoder_at_rest():
        return fit(
            predictor, train, losses, config,
            evaluate=None if val is None else lambda model: _evaluate(
                model.heads, model, val, config.batch_size
            ),
            **options,
        )  # fmt: skip


@torch.no_grad()
def _evaluate(
    heads: Heads,
    answer: Callable[[Any], dict[str, Tensor]],
    data: CubeDataset | FrozenFeatures,
    batch_size: int,
) -> dict[str, float]:
    """Return ``val_loss`` and ``{target}/{score}`` over a data set."""
    device = next(heads.parameters()).device
    metrics = {name: TaskMetrics(head.config) for name, head in heads.items()}
    total = 0.0
    for batch in loader(data, batch_size):
        batch = batch.to(device)
        answers = answer(batch)
        total += float(sum(heads.losses(answers, batch.targets).values())) * len(batch)
        for name, head in heads.items():
            metrics[name].update(*_flat(head, answers[name], head.labels(batch.targets[name])))
    found = {"val_loss": total / len(data)}
    for name, counted in metrics.items():
        found |= {f"{name}/{score}": value for score, value in counted.compute().items()}
    return found


def _flat(head: Head, answers: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Bring a map of numbers (b, k, y, x) into the form of a table (n, k)."""
    answers = answers.float()
    if head.config.task == "regression" and head.config.size:
        answers, labels = (t.movedim(1, -1).flatten(0, -2) for t in (answers, labels))
    return answers, labels


@dataclass(frozen=True)
class Answers:
    """Answers of a head on a data set, and the labels.

    Parameters
    ----------
    answers
        Logits or numbers (sample, k) or (sample, k, y, x).
    labels
        As the head's task has them.
    sample
        Number of each sample in its cube.
    """

    answers: np.ndarray
    labels: np.ndarray
    sample: np.ndarray


@torch.no_grad()
def predict(predictor: Predictor, data: CubeDataset, *, batch_size: int = 64) -> dict[str, Answers]:
    """Answer for every sample of a data set: target to :class:`Answers`.

    Parameters
    ----------
    predictor
        Used as it is.
    data
        Samples, with ``train=False`` and the targets of the heads.
    batch_size
        Samples at once.
    """
    _check_targets(predictor, data)
    if data.train:
        raise ParameterError("data to answer for", expected="train=False", found="train=True")
    device, was_training = next(predictor.parameters()).device, predictor.training
    predictor.eval()
    found: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in predictor.heads}
    for batch in loader(data, batch_size):
        batch = batch.to(device)
        for name, answers in predictor(batch).items():
            labels = predictor.heads[name].labels(batch.targets[name])
            found[name].append((answers.float().cpu(), labels.cpu()))
    predictor.train(was_training)
    joined = {
        n: tuple(torch.cat(t).numpy() for t in zip(*p, strict=True)) for n, p in found.items()
    }
    return {name: Answers(*pair, data.index.copy()) for name, pair in joined.items()}


def score(predictor: Predictor, data: CubeDataset, *, batch_size: int = 64) -> dict[str, float]:
    """Return every score of every target on a data set: ``{target}/{score}``."""
    scores: dict[str, float] = {}
    for name, found in predict(predictor, data, batch_size=batch_size).items():
        head = predictor.heads[name]
        metrics = TaskMetrics(head.config)
        metrics.update(
            *_flat(head, torch.from_numpy(found.answers), torch.from_numpy(found.labels))
        )
        scores |= {f"{name}/{metric}": value for metric, value in metrics.compute().items()}
    return scores
