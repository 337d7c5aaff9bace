"""Which tokens a model may not see.

Masks are drawn on the device, with fixed counts and without a loop that waits for the device.
Every draw is a pure function of (seed, epoch, sample), made by a counter-based generator in
integer arithmetic, so it is the same on any device, in any batch, for any number of workers.

Source: MAESTRO (arXiv 2508.10894), structural masks topped up at random to an exact count. Among
structural tokens that exceed the count, the surplus is chosen at random; an argsort that keeps
ties in order would always unmask the last dates of the last modality.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from maestro_lab.errors import ParameterError

__all__ = ["Block", "Masking", "keys_for", "random_bits", "sample_mask", "split_mask"]

_ATTEMPTS = 8  # redraws of a mask that hides everything; 0.06**8 is a chance of 2e-10


@dataclass(frozen=True)
class Masking:
    """How tokens are hidden.

    Parameters
    ----------
    ratio
        Share of the tokens of a sequence that is masked: above 0 and below 1. At least one token
        is masked, and of several at least one stays visible.
    scale
        The ratio becomes ``1 - (1 - ratio) / n**scale`` with n dates x band groups in a sequence.
    modality
        Chance that a whole modality is masked, where it shares a sequence with another.
    bands
        Chance that a token band group is masked, where there are several.
    dates
        Chance that a date is masked, where there are several.
    locations
        Chance that a location is masked in all dates and band groups.

    Raises
    ------
    ParameterError
        If a share or a chance lies outside [0, 1), the ratio is 0, or the scale is negative.
    """

    ratio: float = 0.75
    scale: float = 0.0
    modality: float = 0.25
    bands: float = 0.0
    dates: float = 0.25
    locations: float = 0.25

    def __post_init__(self) -> None:
        for name in ("ratio", "modality", "bands", "dates", "locations"):
            if not 0 <= getattr(self, name) < 1:
                raise ParameterError(
                    f"masking: {name}", expected="at least 0 and below 1", found=getattr(self, name)
                )
        if self.ratio == 0:
            raise ParameterError("masking: ratio", expected="above 0 and below 1", found=self.ratio)
        if not 0 <= self.scale < math.inf:
            raise ParameterError(
                "masking: scale", expected="a finite number, at least 0", found=self.scale
            )

    def count(self, tokens: int, images: int) -> int:
        """Return how many of ``tokens`` are masked, in a sequence of ``images`` images."""
        ratio = 1 - (1 - self.ratio) / images**self.scale
        return max(1, min(round(ratio * tokens), tokens - 1))


@dataclass(frozen=True)
class Block:
    """A modality's stretch of a sequence: band groups x dates x locations, in that order."""

    groups: int
    dates: int
    locations: int

    @property
    def tokens(self) -> int:
        """Length of the stretch."""
        return self.groups * self.dates * self.locations


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Shift right, filling with zeros (torch shifts int64 with its sign)."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    """Finalise 64 bits as SplitMix64 does (Steele, Lea and Flood 2014)."""
    x = (x ^ _shift(x, 30)) * _MIX_1
    x = (x ^ _shift(x, 27)) * _MIX_2
    return x ^ _shift(x, 31)


def keys_for(seed: int, epoch: int, samples: Tensor, stream: int = 0) -> Tensor:
    """Return one key a sample, for :func:`random_bits`.

    Parameters
    ----------
    seed, epoch
        Integers shared by the batch.
    samples
        int64 (b,), the number of each sample in its cube.
    stream
        Tells apart draws that must be independent of each other.
    """
    key = torch.full_like(samples, _GOLDEN, dtype=torch.int64)
    for part in (seed, epoch, stream, samples):
        key = _mix((key ^ part) * _MIX_1 + _GOLDEN)
    return key


def random_bits(keys: Tensor, n: int) -> Tensor:
    """Return ``n`` random integers in [0, 2**62) a key: int64 (b, n).

    Examples
    --------
    >>> import torch
    >>> keys = keys_for(seed=0, epoch=3, samples=torch.arange(2))
    >>> torch.equal(random_bits(keys, 4)[1], random_bits(keys[1:], 4)[0])
    True
    """
    steps = torch.arange(1, n + 1, dtype=torch.int64, device=keys.device)
    return _shift(_mix(keys[:, None] + steps * _GOLDEN), 2)


def _bernoulli(keys: Tensor, n: int, chance: float) -> Tensor:
    return random_bits(keys, n) < int(chance * (1 << 62))


def _structural(keys: Tensor, blocks: Sequence[Block], masking: Masking, shared: bool) -> Tensor:
    """Draw the structural mask of a sequence once: bool (b, tokens)."""
    parts = []
    for i, block in enumerate(blocks):
        key = _mix(keys ^ (i + 1))
        g, d, n = block.groups, block.dates, block.locations
        draw = torch.zeros(len(keys), g, d, n, dtype=torch.bool, device=keys.device)
        if shared:
            draw = draw | _bernoulli(_mix(key + 1), 1, masking.modality)[:, :, None, None]
        if g > 1:
            draw = draw | _bernoulli(_mix(key + 2), g, masking.bands)[:, :, None, None]
        if d > 1:
            draw = draw | _bernoulli(_mix(key + 3), d, masking.dates)[:, None, :, None]
        draw = draw | _bernoulli(_mix(key + 4), n, masking.locations)[:, None, None, :]
        parts.append(draw.flatten(1))
    return torch.cat(parts, dim=1)


def structural_mask(keys: Tensor, blocks: Sequence[Block], masking: Masking) -> Tensor:
    """Draw whole modalities, band groups, dates and locations: bool (b, tokens), True = masked.

    A draw that hides a whole sequence is drawn again: all attempts are made at once, and the first
    that leaves something to see counts.
    """
    attempts = torch.arange(_ATTEMPTS, device=keys.device)
    attempts = torch.where(attempts[:, None] > 0, _mix(keys + attempts[:, None]), keys)
    draws = _structural(attempts.flatten(), blocks, masking, len(blocks) > 1)
    draws = draws.unflatten(0, (_ATTEMPTS, len(keys)))
    useless = draws.all(dim=2)  # (attempts, b)
    first = useless.to(torch.uint8).argmin(dim=0)
    mask = draws[first, torch.arange(len(keys), device=keys.device)]
    return mask & ~useless.all(dim=0)[:, None]


def sample_mask(
    keys: Tensor,
    blocks: Sequence[Block],
    masking: Masking,
    *,
    structural: bool = True,
    present: Tensor | None = None,
) -> Tensor:
    """Draw a mask with an exact count of masked tokens.

    Parameters
    ----------
    keys
        int64 (b,) from :func:`keys_for`.
    blocks
        The modalities of the sequence, in order.
    masking
        Ratio and chances.
    structural
        Whether whole modalities, band groups, dates and locations are masked first.
    present
        (b, tokens), False where there is no data. Such tokens are masked before all others: they
        are neither seen nor, later, scored.

    Returns
    -------
    Tensor
        bool (b, tokens), True = masked; every row has the same count.

    Examples
    --------
    >>> import torch
    >>> mask = sample_mask(keys_for(0, 0, torch.arange(4)), [Block(1, 16, 9)], Masking())
    >>> mask.sum(dim=1).tolist()
    [108, 108, 108, 108]
    """
    tokens = sum(b.tokens for b in blocks)
    images = sum(b.groups * b.dates for b in blocks)
    count = masking.count(tokens, images if structural else 1)
    rank = random_bits(_mix(keys + _MIX_1), tokens)
    if structural:
        rank = rank + (~structural_mask(keys, blocks, masking)).long() * (1 << 62)
    if present is not None:
        rank = torch.where(present, rank, rank - torch.iinfo(torch.int64).max)
    masked = rank.argsort(dim=1)[:, :count]
    return torch.zeros_like(rank, dtype=torch.bool).scatter_(1, masked, True)


def split_mask(mask: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the indices of visible and of masked tokens, each in ascending order.

    Parameters
    ----------
    mask
        bool (b, tokens) with ``count`` True in every row.

    Returns
    -------
    tuple
        int64 (b, tokens - count) and int64 (b, count).
    """
    order = mask.to(torch.uint8).argsort(dim=1, stable=True)
    visible = mask.shape[1] - count
    return order[:, :visible], order[:, visible:]
