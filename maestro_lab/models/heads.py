"""Heads: from the tokens of an encoder to classes, maps or numbers.

Shapes: b samples, g token band groups, d dates, l locations, w channels of a token, s tokens that
one answer is made from, k classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from maestro_lab.errors import ParameterError
from maestro_lab.models.kernels import Linear

__all__ = ["REDUCTIONS", "TASKS", "Attentive", "Head", "HeadConfig", "Mean", "head_loss"]

TASKS = ("multilabel", "classification", "segmentation", "regression")
REDUCTIONS = ("attentive", "linear")
HEADS = 8  # of the attentive reduction, whatever the width

Features = Mapping[str, tuple[Tensor, Tensor | None]]


@dataclass(frozen=True)
class HeadConfig:
    """What a head answers.

    Parameters
    ----------
    task
        "multilabel", "classification", "segmentation" or "regression".
    outputs
        Classes, or numbers to regress.
    reduce
        "attentive": one learned query attends to all tokens; "linear": their plain mean.
    reference
        Of a map: the modality whose grid of patches the others are brought to.
    size
        Of a map (a segmentation, or a regression of every pixel): its side in pixels, a multiple
        of the reference's grid. 0 answers for the whole sample.
    missing
        Label that says there is none: not counted in the loss.
    threshold
        Multi-label: a share above it counts as present, where labels are shares.

    Raises
    ------
    ParameterError
        For an unknown task or reduction, or a segmentation without reference and size.
    """

    task: str
    outputs: int
    reduce: str = "attentive"
    reference: str = ""
    size: int = 0
    missing: int = -1
    threshold: float = 0.0

    def __post_init__(self) -> None:
        for name, value, legal in (("task", self.task, TASKS), ("reduce", self.reduce, REDUCTIONS)):
            if value not in legal:
                raise ParameterError(f"head: {name}", expected=" | ".join(legal), found=repr(value))
        if not isinstance(self.outputs, int) or self.outputs < 1:
            raise ParameterError("head: outputs", expected="1 or more", found=repr(self.outputs))
        if (self.task == "segmentation" or self.size) and (not self.reference or self.size < 1):
            raise ParameterError(
                f"head: a map ({self.task}) needs a reference modality and a size in pixels",
                expected="reference='s2', size=16",
                found=f"reference={self.reference!r}, size={self.size}",
            )
        if self.size and self.task in ("multilabel", "classification"):
            raise ParameterError(
                f"head: a {self.task} of every pixel", expected="segmentation", found=self.task
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data; ``HeadConfig(**data)`` reads it back."""
        return asdict(self)


class Mean(nn.Module):
    """The mean over tokens that are there: (b, s, w) to (b, w)."""

    def forward(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        """Average tokens (b, s, w); ``present`` (b, s) says which are there."""
        if present is None:
            return tokens.mean(1)
        weight = present[..., None].to(tokens.dtype)
        return (tokens * weight).sum(1) / weight.sum(1).clamp(min=1)


class Attentive(nn.Module):
    """One learned query attends to all tokens in eight heads: (b, s, w) to (b, w).

    Parameters
    ----------
    width
        Channels of a token; a multiple of eight.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        if width % HEADS:
            raise ParameterError(
                "an attentive head", expected=f"a width that {HEADS} divides", found=width
            )
        self.norm = nn.LayerNorm(width)
        self.kv = Linear(width, 2 * width, bias=False)
        self.query = nn.Parameter(torch.randn(width))
        self.norm_out = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        """Attend to tokens (b, s, w); ``present`` (b, s) says which are there."""
        key, value = rearrange(self.kv(self.norm(tokens)), "b s (t h e) -> t b h s e", t=2, h=HEADS)
        query = rearrange(self.query, "(h e) -> h e", h=HEADS)
        scores = torch.einsum("he,bhse->bhs", query, key) / math.sqrt(query.shape[-1])
        if present is not None:
            present = present | ~present.any(1, keepdim=True)  # nothing there: no preference
            scores = scores.masked_fill(~present[:, None], -torch.inf)
        found = torch.einsum("bhs,bhse->bhe", scores.softmax(-1), value)
        return self.norm_out(found.flatten(1))


class Head(nn.Module):
    """Answers a question from the tokens of all modalities.

    Parameters
    ----------
    config
        What it answers.
    width
        Channels of a token.
    grid
        Of a map: patches along one side of the reference modality.

    Raises
    ------
    ParameterError
        If the side of a map is no multiple of the grid.

    Examples
    --------
    >>> head = Head(HeadConfig("multilabel", 15), width=64)
    >>> tokens = torch.randn(2, 1, 4, 9, 64)  # 2 samples, 1 group, 4 dates, 9 locations
    >>> head({"s2": (tokens, None)}).shape
    torch.Size([2, 15])
    """

    def __init__(self, config: HeadConfig, width: int, grid: int = 0) -> None:
        super().__init__()
        self.config, self.grid = config, grid
        self.reduce = Attentive(width) if config.reduce == "attentive" else Mean()
        self.pixels = 1  # along one side of a patch's map
        if config.size:
            if not grid or config.size % grid:
                raise ParameterError(
                    f"a map of {config.size} pixels on a grid of {grid} patches",
                    expected="a multiple of the grid",
                    found=config.size,
                )
            self.pixels = config.size // grid
        self.project = Linear(width, config.outputs * self.pixels**2)
        if config.task == "regression":
            self.register_buffer("offset", torch.zeros(config.outputs))
            self.register_buffer("scale", torch.ones(config.outputs))

    def standardise(self, offset: Tensor, scale: Tensor) -> None:
        """Let a regression learn numbers of mean 0 and deviation 1; answers keep their units.

        Parameters
        ----------
        offset, scale
            Mean and standard deviation of the training labels, (k,) each.
        """
        self.offset.copy_(offset)
        self.scale.copy_(torch.where(scale > 0, scale, 1))

    def labels(self, target: Tensor) -> Tensor:
        """Turn a target of a cube into labels: shares become 0 and 1, unknown ones missing.

        Parameters
        ----------
        target
            As :func:`head_loss` takes labels; of a multi-label task also shares (b, k), NaN where
            unknown. A regression of one number may lack the last dimension.
        """
        if self.config.task == "multilabel" and target.is_floating_point():
            present = (target > self.config.threshold).long()
            return torch.where(target.isnan(), self.config.missing, present)
        if self.config.task == "regression":
            whole = 3 if self.config.size else 1
            return target[:, None] if target.ndim == whole else target
        return target

    def loss(self, answers: Tensor, target: Tensor) -> Tensor:
        """Return the loss of answers, of a regression in units of its standard deviation."""
        labels = self.labels(target)
        if self.config.task == "regression":
            scale, offset = (self._per_output(t, answers) for t in (self.scale, self.offset))
            answers, labels = (answers - offset) / scale, (labels - offset) / scale
        return head_loss(answers, labels, self.config)

    def _per_output(self, values: Tensor, answers: Tensor) -> Tensor:
        return values.view(-1, *[1] * (answers.ndim - 2))

    def forward(self, features: Features) -> Tensor:
        """Answer from modality to tokens (b, g, d, l, w) and presence (b, g, d, l) or None.

        Returns
        -------
        Tensor
            Logits or numbers (b, k); of a map (b, k, y, x).
        """
        if self.config.size:
            answers = self._map(features)
        else:
            tokens = torch.cat([t.flatten(1, 3) for t, _ in features.values()], 1)
            there = _joined(features, lambda p: p.flatten(1, 3))
            answers = self.project(self.reduce(tokens, there))
        if self.config.task != "regression":
            return answers
        scale, offset = (self._per_output(t, answers) for t in (self.scale, self.offset))
        return answers.float() * scale + offset

    def _map(self, features: Features) -> Tensor:
        grid, q = self.grid, self.pixels
        if self.config.reference not in features:
            raise ParameterError(
                "head: reference",
                expected=f"one of {', '.join(features)}",
                found=self.config.reference,
            )
        tokens = torch.cat([_on_grid(t, grid) for t, _ in features.values()], 1)  # (b, s, l, w)
        present = _joined(features, lambda p: _on_grid(p[..., None].float(), grid)[..., 0] > 0.5)
        samples = len(tokens)
        sets = rearrange(tokens, "b s l w -> (b l) s w")
        there = None if present is None else rearrange(present, "b s l -> (b l) s")
        answers = self.project(self.reduce(sets, there))
        return rearrange(
            answers, "(b y x) (p q k) -> b k (y p) (x q)", b=samples, y=grid, x=grid, p=q, q=q
        )


def _joined(features: Features, change: Any) -> Tensor | None:
    """Put the presence of all modalities side by side; None where everything is there."""
    if all(present is None for _, present in features.values()):
        return None
    known = [
        torch.ones(t.shape[:-1], dtype=torch.bool, device=t.device) if p is None else p
        for t, p in features.values()
    ]
    return torch.cat([change(p) for p in known], 1)


def _on_grid(tokens: Tensor, grid: int) -> Tensor:
    """Bring tokens (b, g, d, l, w) to a grid of locations: (b, g * d, l', w)."""
    side = math.isqrt(tokens.shape[3])
    if side == grid:
        return tokens.flatten(1, 2)
    images = rearrange(tokens, "b g d (y x) w -> (b g d) w y x", y=side)
    images = F.interpolate(images, (grid, grid), mode="bilinear", align_corners=False)
    return rearrange(images, "(b s) w y x -> b s (y x) w", b=len(tokens))


def head_loss(answers: Tensor, labels: Tensor, config: HeadConfig) -> Tensor:
    """Return the mean loss over labels that are not missing; zero if all are.

    Parameters
    ----------
    answers
        From a :class:`Head`: (b, k), or (b, k, y, x) for a segmentation.
    labels
        multilabel: 0 or 1 (b, k), a row with a missing label does not count; classification: (b,);
        segmentation: (b, y, x); regression: like the answers, NaN where missing.
    config
        The head's.

    Returns
    -------
    Tensor
        Binary cross-entropy, cross-entropy, or squared error.
    """
    if not labels.is_floating_point():
        labels = labels.long()  # a byte of 255 is a class, not -1
    if config.task == "multilabel":
        kept = (labels != config.missing).all(1)
        error = F.binary_cross_entropy_with_logits(
            answers, labels.clamp(0, 1).to(answers.dtype), reduction="none"
        )
        return _mean(error, kept[:, None].expand_as(error))
    if config.task == "regression":
        kept = torch.isfinite(labels)
        return _mean((answers - torch.nan_to_num(labels).to(answers.dtype)) ** 2, kept)
    kept = labels != config.missing
    safe = torch.where(kept, labels, 0).long()
    return _mean(F.cross_entropy(answers, safe, reduction="none"), kept)


def _mean(error: Tensor, kept: Tensor) -> Tensor:
    weight = kept.to(error.dtype)
    return torch.where(kept, error, 0).sum() / weight.sum().clamp(min=1)
