"""The attentive probe: a linear probe, and a small cross-attention over the locations of a window.

Source: attentive probing as in CoCa (arXiv 2205.01917) and V-JEPA (arXiv 2404.08471). That it
begins as a linear probe, that a location asks with its own vector, and the settings are ours.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maestro_lab.errors import ParameterError, TrainingError
from maestro_lab.training.protocols import Labels, held_back, labels_of
from maestro_lab.training.ridge import ridge
from maestro_lab.training.units import Units, rows_of

__all__ = ["predict_by_attention"]

_HEADS, _WIDTH = 4, 8  # of the attention
_STEPS, _EVERY, _WARMUP, _BATCH = 300, 20, 20, 64  # a batch is of windows
_RATE, _DECAY = 3e-3, 0.1
_SHARPNESS = 3.0  # of classes at the start: logits per unit of the ridge's -1 to 1
_AT_ONCE = 512  # windows


def predict_by_attention(
    windows: np.ndarray, target: Units, *, seed: int = 0
) -> tuple[np.ndarray, str]:
    """Let a small attention choose among the locations of each window; predict the test units.

    The outputs are those of a ridge (on the mean over locations, or on the vector of the location
    itself; its penalty is chosen by cross-validation over blocks) plus a linear function of what
    was attended to. Of a target that holds for the whole, a learned query attends to the
    locations; of a target per location, each location asks with its own vector.

    Four heads of 8 features, trained with AdamW: rate 0.003 after a warm-up of 20 steps, weight
    decay 0.1, batches of 64 windows. Features are standardised, classes weigh alike. The number of
    steps, up to 300, is the one of lowest loss on whole blocks of training units that are held
    back, at most a fifth; it is 0 where that loss is not at least a standard error (over windows)
    below the one of the ridge alone. Then all is fitted again on all training units. Units of split
    "val" are not used.

    Parameters
    ----------
    windows
        (place, location, f), from :func:`~maestro_lab.training.units.merge_places`. Locations
        without any feature (NaN) are not attended to; other gaps are filled with the mean.
    target
        What to predict.
    seed
        Of first weights, the order of windows, and the blocks that are held back.

    Returns
    -------
    tuple
        Predictions (test unit, ...), and the number of steps in words.

    Raises
    ------
    ParameterError
        If features are rows of units and not windows.
    TrainingError
        If the loss is never finite.
    """
    if windows.ndim != 3:
        raise ParameterError(
            "features of the attentive probe",
            expected="windows (place, location, f), as merge_places returns them",
            found=f"an array of shape {windows.shape}",
        )
    train = target.split == "train"
    alone = replace(target, split=np.where(target.split == "val", "", target.split))
    task = _task(windows, target, labels_of(alone, train))
    probe = _Probe(windows.shape[2], task.labels.outputs, target, seed)
    some, held = held_back(alone, seed)
    losses = _descend(copy.deepcopy(probe), task, some, seed, held=held)
    if not np.isfinite(losses).all(1).any():
        raise TrainingError(
            "attentive probe: the loss is never finite",
            expected="features that float32 can hold",
            found=f"values up to {np.nanmax(np.abs(windows)):g}",
        )
    steps = _EVERY * _best(losses)
    _descend(probe, task, train, seed, steps=steps)
    outputs = _outputs(probe, task, task.linear(train), np.flatnonzero(target.split == "test"))
    return task.labels.answers(outputs.numpy()), f"{steps} steps"


@dataclass(frozen=True)
class _Task:
    """Standardised windows (p, l, f), what is there (p, l), and the units to predict in them.

    ``window`` and ``slot`` (unit,) tell the window and the output of a unit, ``weights`` (unit,)
    how much it counts, ``rows`` (unit, f) what a linear probe sees of it.
    """

    windows: Tensor
    there: Tensor
    window: np.ndarray
    slot: np.ndarray
    labels: Labels
    weights: Tensor
    rows: np.ndarray
    block: np.ndarray

    def linear(self, train: np.ndarray) -> Tensor:
        """Fit a ridge on some units; return its outputs (unit, k) for all."""
        values = self.labels.values
        if values.ndim == 1:
            values = F.one_hot(values, self.labels.outputs)
        wanted = values.double().numpy()
        if not self.labels.numbers:
            wanted = 2 * wanted - 1
        fitted = ridge(
            self.rows[train], wanted[train], self.block[train], self.weights.numpy()[train]
        )
        return torch.from_numpy(fitted(self.rows)).float()


def _task(windows: np.ndarray, target: Units, labels: Labels) -> _Task:
    """Standardise the windows that have units by those with training units, and fill gaps."""
    place, location = target.index.T
    used, window = np.unique(place, return_inverse=True)
    seen, train = windows[used].astype(float), target.split == "train"
    known = seen[np.unique(window[train])].reshape(-1, seen.shape[2])
    there = np.isfinite(known)
    count = np.maximum(there.sum(0), 1)
    mean = np.where(there, known, 0).sum(0) / count
    spread = np.sqrt((np.where(there, known - mean, 0) ** 2).sum(0) / count)
    scaled = (seen - mean) / np.where(spread > 1e-9 * np.abs(mean), spread, 1)
    some = np.isfinite(seen).any(2)
    some |= ~some.any(1, keepdims=True)  # a window without any feature attends to zeros
    return _Task(
        torch.from_numpy(np.nan_to_num(scaled)).float(),
        torch.from_numpy(some),
        window,
        location if target.locations > 1 else np.zeros_like(location),
        labels,
        _weights(target, train),
        np.nan_to_num(rows_of(scaled, replace(target, index=np.stack([window, location], 1)))),
        target.block,
    )


def _weights(target: Units, train: np.ndarray) -> Tensor:
    """Return how much each unit counts: classes alike, 0 for those without training units."""
    weights = np.ones(len(train))
    if target.task == "classification" and target.target.ndim == 1:
        names, counts = np.unique(target.target[train], return_counts=True)
        code = np.searchsorted(names, target.target).clip(max=len(names) - 1)
        share = train.sum() / (len(names) * counts)
        weights = np.where(names[code] == target.target, share[code], 0.0)
    return torch.from_numpy(weights).float()


class _Probe(nn.Module):
    """Cross-attention over locations, and a linear head that begins with zeros."""

    def __init__(self, width: int, outputs: int, target: Units, seed: int) -> None:
        super().__init__()
        self.own, inside = target.locations > 1, _HEADS * _WIDTH
        self.sharpness = _SHARPNESS if target.task == "classification" else 1.0
        linear = nn.utils.skip_init  # draws nothing from torch's seed
        self.query = linear(nn.Linear, width if self.own else 1, inside, bias=False)
        self.key = linear(nn.Linear, width, inside, bias=False)
        self.value = linear(nn.Linear, width, inside)
        self.head = linear(nn.Linear, inside, outputs)
        self.scale = nn.Parameter(torch.zeros(()))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for layer in (self.query, self.key, self.value):
                bound = layer.in_features**-0.5
                for parameter in layer.parameters():
                    parameter.uniform_(-bound, bound, generator=generator)
            for parameter in self.head.parameters():
                parameter.zero_()

    def forward(self, windows: Tensor, there: Tensor) -> Tensor:
        """Map windows (b, l, f) to outputs (b, l, k) per location, or (b, 1, k) for the whole."""
        asked = windows if self.own else windows.new_ones(len(windows), 1, 1)
        query, key, value = (
            layer(given).unflatten(-1, (_HEADS, _WIDTH)).transpose(1, 2)
            for layer, given in ((self.query, asked), (self.key, windows), (self.value, windows))
        )
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=there[:, None, None])
        return self.head(found.transpose(1, 2).flatten(2))

    def add(self, attended: Tensor, base: Tensor) -> Tensor:
        """Add what was attended to to the outputs of the ridge."""
        return attended + self.sharpness * self.scale.exp() * base


def _best(losses: np.ndarray) -> int:
    """Return the row of losses (row, window) of least mean; the first, if that is hardly more."""
    means = losses.mean(1)
    best = int(np.nanargmin(means))
    gain = losses[0] - losses[best]
    if len(gain) < 2 or gain.mean() < gain.std(ddof=1) / len(gain) ** 0.5:
        return 0
    return best


def _outputs(probe: _Probe, task: _Task, base: Tensor, chosen: np.ndarray) -> Tensor:
    """Return the outputs (chosen unit, k) of units."""
    windows, row = np.unique(task.window[chosen], return_inverse=True)
    with torch.no_grad():
        parts = [
            probe(task.windows[part], task.there[part])
            for part in np.array_split(windows, -(-len(windows) // _AT_ONCE))
        ]
        return probe.add(torch.cat(parts)[row, task.slot[chosen]], base[chosen])


def _losses(outputs: Tensor, task: _Task, chosen: np.ndarray) -> Tensor:
    """Return the weighted loss of each unit."""
    each = task.labels.loss(outputs, task.labels.values[chosen], reduction="none")
    return each.reshape(len(each), -1).mean(1) * task.weights[chosen]


def _window_losses(probe: _Probe, task: _Task, base: Tensor, chosen: np.ndarray) -> np.ndarray:
    """Return the mean loss of the units of each window."""
    each = _losses(_outputs(probe, task, base, chosen), task, chosen).numpy()
    _, code = np.unique(task.window[chosen], return_inverse=True)
    return np.bincount(code, each) / np.bincount(code)


def _descend(
    probe: _Probe,
    task: _Task,
    train: np.ndarray,
    seed: int,
    *,
    steps: int = _STEPS,
    held: np.ndarray | None = None,
) -> np.ndarray:
    """Train on some units; return losses (row, window) of those held back, every few steps."""
    optimiser = torch.optim.AdamW(probe.parameters(), lr=_RATE, weight_decay=_DECAY, fused=True)
    rng, base = np.random.default_rng(seed), task.linear(train)
    chosen = np.flatnonzero(train)
    watched = None if held is None else np.flatnonzero(held)
    unit = np.full((len(task.windows), task.slot.max() + 1), -1)
    unit[task.window[chosen], task.slot[chosen]] = chosen
    windows = np.unique(task.window[chosen])
    order, losses = np.array([], dtype=int), []
    for step in range(steps + 1):
        if watched is not None and step % _EVERY == 0:
            losses.append(_window_losses(probe, task, base, watched))
        if step == steps:
            break
        if len(order) < min(_BATCH, len(windows)):
            order = np.concatenate([order, rng.permutation(windows)])
        batch, order = order[:_BATCH], order[_BATCH:]
        rows, slots = np.nonzero(unit[batch] >= 0)
        mine = unit[batch][rows, slots]
        attended = probe(task.windows[batch], task.there[batch])[rows, slots]
        optimiser.param_groups[0]["lr"] = _RATE * min(1, (step + 1) / _WARMUP)
        optimiser.zero_grad()
        _losses(probe.add(attended, base[mine]), task, mine).mean().backward()
        optimiser.step()
    return np.array(losses)
