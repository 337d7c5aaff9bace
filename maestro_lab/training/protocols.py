"""Probes as OlmoEarth publishes them: nearest neighbours, and a linear head trained by descent.

Source: OlmoEarth (arXiv 2511.13655), its evaluation of frozen features.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maestro_lab.errors import ParameterError, TrainingError
from maestro_lab.training.scores import SCORES

if TYPE_CHECKING:
    from maestro_lab.training.units import Units

__all__ = [
    "RATES",
    "Labels",
    "held_back",
    "labels_of",
    "predict_by_linear_head",
    "predict_by_neighbours",
    "probe_rate",
]

RATES = (1e-4, 5e-4, 1e-3, 5e-3, 1e-2, 5e-2, 1e-1, 5e-1)
"""Learning rates of which the best on validation units counts."""

_EPOCHS = 50
_BATCH = 128
_HELD_BACK = 0.2
_NEIGHBOURS, _TEMPERATURE = 20, 0.07
_ROWS_AT_ONCE = 512


def predict_by_neighbours(rows: np.ndarray, target: Units) -> np.ndarray:
    """Predict the test units from their 20 nearest training units.

    Features are scaled to length 1 and nothing else; near is a high cosine similarity, and a
    neighbour weighs exp(similarity / 0.07). Of classes the one with most weight wins, each of
    several labels is a vote of its own, and numbers are averaged with the same weights.

    Source: OlmoEarth (arXiv 2511.13655); averaging numbers is ours.

    Parameters
    ----------
    rows
        (unit, f); gaps (NaN) are filled with the mean of the training units.
    target
        What to predict; units of split "val" are not used.

    Returns
    -------
    numpy.ndarray
        Predictions (test unit, ...).
    """
    train, test = target.split == "train", target.split == "test"
    filled = _filled(rows, train)
    unit = filled / np.maximum(np.linalg.norm(filled, axis=1, keepdims=True), 1e-12)
    known = target.target[train]
    columns = known.reshape(len(known), -1).astype(float)
    names = np.unique(known)
    if _one_class_a_unit(target):
        columns = (known[:, None] == names).astype(float)
    parts = np.array_split(unit[test], math.ceil(test.sum() / _ROWS_AT_ONCE))
    shares = np.concatenate([_weighted_mean(part, unit[train], columns) for part in parts])
    if target.task == "regression":
        return shares.reshape(-1, *known.shape[1:])
    return names[shares.argmax(1)] if known.ndim == 1 else (shares > 0.5).astype(known.dtype)


def _weighted_mean(rows: np.ndarray, train: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Average values (train unit, k) over the neighbours of each row: (row, k)."""
    similarity = rows @ train.T
    count = min(_NEIGHBOURS, len(train))
    nearest = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
    weights = np.exp(np.take_along_axis(similarity, nearest, 1) / _TEMPERATURE)
    return np.einsum("un,unk->uk", weights, values[nearest]) / weights.sum(1, keepdims=True)


def _filled(rows: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Fill gaps with the mean of training units; what is missing in all of them becomes 0."""
    from sklearn.impute import SimpleImputer

    return SimpleImputer(keep_empty_features=True).fit(rows[train]).transform(rows)


def _one_class_a_unit(target: Units) -> bool:
    """Tell whether each unit has one class; otherwise it has numbers, or labels of 0 and 1."""
    if target.task == "regression":
        return False
    found = np.unique(target.target)
    if target.target.ndim > 1 and not np.isin(found, (0, 1)).all():
        raise ParameterError(
            "several labels a unit", expected="0 or 1 in each column", found=found.tolist()
        )
    return target.target.ndim == 1


def probe_rate(epoch: float, peak: float) -> float:
    """Return the learning rate after ``epoch`` of 50 epochs, which need not be whole.

    It rises linearly from 0 for a tenth of the epochs, and falls as a cosine to 1e-5.

    Source: OlmoEarth (arXiv 2511.13655).

    Examples
    --------
    >>> probe_rate(2.5, 0.1), probe_rate(5, 0.1), round(probe_rate(50, 0.1), 9)
    (0.05, 0.1, 1e-05)
    """
    warmup, floor = 0.1 * _EPOCHS, 1e-5
    if epoch < warmup:
        return peak * epoch / warmup
    share = (epoch - warmup) / (_EPOCHS - warmup)
    return floor + (peak - floor) * (1 + math.cos(math.pi * share)) / 2


def predict_by_linear_head(
    rows: np.ndarray, target: Units, *, metric: str, seed: int = 0
) -> tuple[np.ndarray, float]:
    """Train a linear head at each of :data:`RATES`, and predict the test units with the best.

    A head is batch normalisation and a linear layer. Classes are learnt with cross-entropy,
    several labels a unit with binary cross-entropy, numbers as z-scores with the squared error.
    AdamW with weight decay 0.01, 50 epochs in batches of up to 128, rates by :func:`probe_rate`.
    All heads begin alike and see the same batches.

    The rate is chosen on units of split "val". Without any, whole blocks of training units are
    held back for it, at most a fifth of the units where blocks are small enough (of a single
    block, single units); the heads never see those, since nothing is fitted again afterwards.

    Source: OlmoEarth (arXiv 2511.13655), for classes of whole images; the same head for numbers,
    for labels and for locations is ours, and so are the blocks that are held back.

    Parameters
    ----------
    rows
        (unit, f); gaps (NaN) are filled with the mean of the units that are trained on.
    target
        What to predict.
    metric
        The score by which rates are compared; of equal or undefined ones the lower loss counts.
    seed
        Of first weights, the order of units, and the blocks that are held back.

    Returns
    -------
    tuple
        Predictions (test unit, ...), and the rate that was best.

    Raises
    ------
    TrainingError
        If no rate leads to finite outputs.
    """
    train, val = held_back(target, seed)
    inputs = torch.from_numpy(_filled(rows, train)).float()
    task = labels_of(target, train)
    heads = _heads(inputs.shape[1], task, seed)
    _descend(heads, inputs[train], task, task.values[train], seed)
    found = {}
    with torch.no_grad():
        for rate, head in zip(RATES, heads, strict=True):
            outputs = head.eval()(inputs[val])
            if outputs.isfinite().all():
                score = SCORES[metric](target.target[val], task.answers(outputs.numpy()))
                loss = float(task.loss(outputs, task.values[val]))
                found[rate] = (score if math.isfinite(score) else -math.inf, -loss), head
        if not found:
            raise TrainingError(
                "linear probe: no learning rate leads to finite outputs",
                expected="features that float32 can hold",
                found=f"values up to {np.nanmax(np.abs(rows)):g}",
            )
        best = max(found, key=lambda rate: found[rate][0])
        return task.answers(found[best][1](inputs[target.split == "test"]).numpy()), best


def held_back(target: Units, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which units (unit,) to train on, and which to choose the rate on."""
    train, val = target.split == "train", target.split == "val"
    if val.any():
        return train, val
    block = target.block[train]
    names, sizes = np.unique(block, return_counts=True)
    if len(names) == 1:
        block = names = np.arange(len(block))
        sizes = np.ones_like(block)
    order = np.random.default_rng(seed).permutation(len(names))
    held, room = [], _HELD_BACK * len(block)
    for k in order:
        if sizes[k] <= room:
            held.append(k)
            room -= sizes[k]
    held = held or [order[sizes[order].argmin()]]
    val[train] = np.isin(block, names[held])
    return train & ~val, val


@dataclass(frozen=True)
class Labels:
    """Targets as heads learn them, and what their outputs (unit, k) mean.

    Parameters
    ----------
    values
        (unit,) codes of classes, or (unit, k).
    outputs
        Outputs of a head for each unit.
    loss
        Of outputs (unit, k) and values.
    answers
        Turns outputs into classes, labels or numbers as the target has them.
    numbers
        Whether values are numbers; otherwise classes or labels.
    """

    values: Tensor
    outputs: int
    loss: Callable[[Tensor, Tensor], Tensor]
    answers: Callable[[np.ndarray], np.ndarray]
    numbers: bool = False


def labels_of(target: Units, train: np.ndarray) -> Labels:
    """Return targets as heads learn them: codes, labels of 0 and 1, or z-scores.

    Parameters
    ----------
    target
        What is predicted.
    train
        (unit,) whether a unit is trained on; mean and spread of numbers are those of such units.
    """
    values = target.target
    if _one_class_a_unit(target):
        names = np.unique(values[target.split != "test"])
        codes = torch.from_numpy(np.searchsorted(names, values))
        return Labels(codes, len(names), F.cross_entropy, lambda a: names[a.argmax(1)])
    columns = values.reshape(len(values), -1).astype(float)
    if target.task == "classification":
        wanted = torch.from_numpy(columns).float()
        loss = F.binary_cross_entropy_with_logits
        return Labels(wanted, len(columns.T), loss, lambda a: (a > 0).astype(values.dtype))
    mean, spread = columns[train].mean(0), columns[train].std(0)
    spread = np.where(spread > 0, spread, 1)
    wanted = torch.from_numpy((columns - mean) / spread).float()

    def numbers(outputs: np.ndarray) -> np.ndarray:
        return (outputs * spread + mean).reshape(-1, *values.shape[1:])

    return Labels(wanted, len(columns.T), F.mse_loss, numbers, True)


def _heads(width: int, task: Labels, seed: int) -> list[nn.Module]:
    """Return a head for each rate, all with the same first weights."""
    linear = nn.utils.skip_init(nn.Linear, width, task.outputs)  # draws nothing from torch's seed
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in linear.parameters():
            parameter.uniform_(-(width**-0.5), width**-0.5, generator=generator)
    head = nn.Sequential(nn.BatchNorm1d(width), linear)
    return [copy.deepcopy(head) for _ in RATES]


def _descend(
    heads: Sequence[nn.Module], inputs: Tensor, task: Labels, values: Tensor, seed: int
) -> None:
    """Train all heads at once, each at its own rate."""
    groups = [{"params": list(head.parameters())} for head in heads]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
    generator = torch.Generator().manual_seed(seed)
    steps = math.ceil(len(inputs) / _BATCH)
    for epoch in range(_EPOCHS):
        order = torch.randperm(len(inputs), generator=generator)
        for step, batch in enumerate(order.tensor_split(steps)):
            for group, peak in zip(optimiser.param_groups, RATES, strict=True):
                group["lr"] = probe_rate(epoch + step / steps, peak)
            optimiser.zero_grad()
            sum(task.loss(head(inputs[batch]), values[batch]) for head in heads).backward()
            optimiser.step()
