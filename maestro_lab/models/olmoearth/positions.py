"""Where and when a token is: codes that are added, and rotations of queries and keys.

Sources: sines and cosines as in Vaswani et al. (2017), rotary encoding as in Su et al. (2021), with
learned directions in time and space.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maestro_lab.models.olmoearth.config import Modality
from maestro_lab.models.olmoearth.sample import Layout

__all__ = ["Codes", "days_since_2000", "initial_frequencies", "month_table", "positions", "sincos",
           "turned"]  # fmt: skip

_BEFORE_MONTH = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)
_METRES = 10.0  # one unit of space
_MONTHS = 1 / 30  # of 30 days, in a day
_BASE = 10_000.0


def sincos(where: Tensor, width: int) -> Tensor:
    """Return sines, then cosines, of positions (...): (..., width).

    The published frequencies fall to about 0.1 only, not to 1e-4.

    Examples
    --------
    >>> import torch
    >>> sincos(torch.tensor([0.0, 1.0]), 2).tolist()[0]
    [0.0, 1.0]
    """
    steps = torch.arange(width // 2, dtype=torch.float64, device=where.device)
    angle = where.double()[..., None] * _BASE ** (-steps / (2 * width))
    return torch.cat([angle.sin(), angle.cos()], dim=-1).float()


def month_table(width: int) -> Tensor:
    """Return the code of the twelve months: its sine, then its cosine, repeated: (12, width)."""
    angle = torch.arange(12, dtype=torch.float64)[:, None] * (2 * math.pi / 12)
    half = angle.expand(-1, width // 2)
    return torch.cat([half.sin(), half.cos()], dim=1).float()


def days_since_2000(timestamps: Tensor) -> Tensor:
    """Return days since 1 January 2000, in years of 365.25 days without leap days.

    Parameters
    ----------
    timestamps
        int (..., 3): day of the month from 1, month from 0, year.

    Returns
    -------
    Tensor
        float32 (...).

    Examples
    --------
    >>> days_since_2000(torch.tensor([15, 1, 2001])).item()
    410.25
    """
    day, month, year = timestamps.unbind(-1)
    before = torch.tensor(_BEFORE_MONTH, device=timestamps.device)[month]
    return (year - 2000).float() * 365.25 + before.float() + (day - 1).float()


def positions(layout: Layout, timestamps: Tensor) -> Tensor:
    """Return when and where each token of a sequence is.

    Parameters
    ----------
    layout
        Of the sequence.
    timestamps
        int (b, d, 3).

    Returns
    -------
    Tensor
        float32 (b, n, 3): months of 30 days since 2000, row and column in units of 10 m. What has
        no dates has the first one of the sample, as in the published system, or none where it has
        no pixels either.
    """
    months = days_since_2000(timestamps) * _MONTHS  # (b, d); published numbers round so
    rows, columns = layout.grid
    step = layout.patch_metres / _METRES
    where = torch.cartesian_prod(
        torch.arange(rows, device=months.device), torch.arange(columns, device=months.device)
    )
    where = where.view(-1, 2).float() * step  # (l, 2)
    parts = []
    for place in layout.places.values():
        shape = (len(months), *place.shape, 1)
        when = months if place.dated else months[:, :1] * float(place.spatial)
        at = where if place.spatial else torch.zeros_like(where[:1])
        at = at[None, None, None].expand(*shape[:-1], 2)
        part = torch.cat([when[:, None, :, None, None].expand(shape), at], dim=-1)
        parts.append(part.flatten(1, 3))
    return torch.cat(parts, dim=1)


def initial_frequencies(heads: int, head_width: int) -> Tensor:
    """Draw rotary frequencies: two random orthonormal directions a head, falling magnitudes.

    Returns
    -------
    Tensor
        float32 (3, heads, head_width / 2); time, row, column first.
    """
    frame, _ = torch.linalg.qr(torch.randn(heads, 3, 3))
    count = head_width // 4
    magnitude = _BASE ** (-4 * torch.arange(count) / head_width)
    both = [frame[:, :, k, None] * magnitude for k in (0, 1)]  # (heads, 3, count)
    return torch.cat(both, dim=-1).transpose(0, 1).contiguous()


def turned(x: Tensor, where: Tensor, frequencies: Tensor, *, still: int = 0) -> tuple[Tensor, ...]:
    """Turn pairs of neighbouring channels by angles that depend on the position.

    Angles are summed in the published order, in float32: they reach hundreds of radians, so that
    another order shows in the fifth digit of tokens.

    Parameters
    ----------
    x
        (b, n, parts, heads, channels): queries, keys, or both, which share their angles.
    where
        (b, n, 3) from :func:`positions`.
    frequencies
        (3, heads, channels / 2).
    still
        How many of the last parts, such as values, do not turn.

    Returns
    -------
    tuple
        The parts, (b, heads, n, channels) each.

    Examples
    --------
    >>> import torch
    >>> quarter = torch.full((3, 1, 1), torch.pi / 2)
    >>> turned(torch.tensor([1.0, 0.0]).view(1, 1, 1, 1, 2), torch.ones(1, 1, 3), quarter)
    ... # three quarters of a turn
    (tensor([[[[...e-08, -1.0000e+00]]]]),)
    """
    return _Turn.apply(x, where, frequencies, still)


def _turns(where: Tensor, frequencies: Tensor) -> Tensor:
    """Return the turns of all positions as complex numbers (b, heads, n, pairs)."""
    t, r, c = where.float()[:, None, :, :, None].unbind(3)
    time, row, column = frequencies.float()[:, :, None].unbind()
    angle = t * time + r * row + c * column
    both = torch.empty(*angle.shape, 2, device=angle.device)
    torch.cos(angle, out=both[..., 0])
    torch.sin(angle, out=both[..., 1])
    return torch.view_as_complex(both)


def _pairs(x: Tensor) -> Tensor:
    """View neighbouring channels as complex numbers (..., channels / 2)."""
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)))


class _Turn(torch.autograd.Function):
    """One product of complex numbers, laid out as attention reads it fastest: head by head."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, where: Tensor, frequencies: Tensor, still: int
    ) -> tuple[Tensor, ...]:
        turns = _turns(where, frequencies)
        ctx.save_for_backward(x, where, frequencies, turns)
        ctx.count = count = x.shape[2] - still
        given = x.permute(2, 0, 3, 1, 4)  # (parts, b, heads, n, channels)
        found = torch.empty(given.shape, device=x.device)
        torch.mul(_pairs(given[:count].float()), turns, out=_pairs(found[:count]))
        found[count:] = given[count:]
        return found.to(x.dtype).unbind()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, where, frequencies, turns = ctx.saved_tensors
        for_x = torch.empty(x.shape, device=x.device)
        angle = 0.0
        for part, grad in enumerate(grads):
            back = for_x[:, :, part].transpose(1, 2)  # (b, heads, n, channels)
            if part >= ctx.count:
                back.copy_(grad)
                continue
            torch.mul(_pairs(grad.float().contiguous()), turns.conj(), out=_pairs(back))
            if ctx.needs_input_grad[2]:
                real, imaginary = (
                    x[:, :, part].transpose(1, 2).float().unflatten(-1, (-1, 2)).unbind(-1)
                )
                angle = angle + _pairs(back).imag * real - _pairs(back).real * imaginary
        summed = None
        if ctx.needs_input_grad[2]:
            summed = torch.einsum("bnk,bhnp->khp", where.float(), angle).to(frequencies.dtype)
        return for_x.to(x.dtype), None, summed, None


class Codes(nn.Module):
    """What is added to tokens: quarters for band group, slot, month and location.

    Parameters
    ----------
    modalities
        Name to modality.
    width
        Channels of a token; a multiple of four.
    rotary
        Whether slots and locations are told by rotations instead; their quarters are zero then.
    """

    def __init__(self, modalities: Mapping[str, Modality], width: int, *, rotary: bool) -> None:
        super().__init__()
        self.quarter, self.rotary = width // 4, rotary
        self.groups = nn.ParameterDict(
            {name: torch.zeros(len(m.groups), self.quarter) for name, m in modalities.items()}
        )
        self.register_buffer("months", month_table(self.quarter))

    def forward(self, layout: Layout, timestamps: Tensor) -> Tensor:
        """Return the code of each token of a sequence: (b, n, w).

        Parameters
        ----------
        layout
            Of the sequence.
        timestamps
            int (b, d, 3).
        """
        found = self.parts(layout, timestamps)
        shape, width = (len(timestamps),), (4 * self.quarter,)
        return layout.join(
            {n: code.expand(shape + p.shape + width) for (n, code), p in
             zip(found.items(), layout.places.values(), strict=True)}
        )  # fmt: skip

    def parts(self, layout: Layout, timestamps: Tensor) -> dict[str, Tensor]:
        """Return codes as small as they are: modality to (b or 1, g, d, l or 1, w)."""
        month = self.months[timestamps[..., 1]]  # (b, d, w/4)
        slot = space = None
        if not self.rotary:
            step = layout.patch_metres / _METRES
            slot, space = _absolute(layout.dates, layout.grid, step, self.quarter, month.device)
        found = {}
        for name, place in layout.places.items():
            group = self.groups[name][None, :, None]  # (1, g, 1, w/4)
            quarters = [group, None, None, None]
            if place.dated:
                quarters[1:3] = None if slot is None else slot[None, None], month[:, None]
            code = self._beside(quarters)[:, :, :, None]
            if place.spatial and space is not None:
                code = code + F.pad(space, (3 * self.quarter, 0))
            found[name] = code
        return found

    def _beside(self, quarters: list[Tensor | None]) -> Tensor:
        """Put quarters (b or 1, g or 1, d or 1, w/4) side by side, zero where there is none."""
        shape = torch.broadcast_shapes(*(q.shape for q in quarters if q is not None))
        whole = [quarters[0].new_zeros(shape) if q is None else q.expand(shape) for q in quarters]
        return torch.cat(whole, dim=-1)


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # they outlive the call
def _absolute(
    dates: int, grid: tuple[int, int], step: float, width: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return codes of slots (d, width) and of locations, ``step`` apart: (l, width)."""
    rows, columns = grid
    slot = sincos(torch.arange(dates, device=device), width)
    row, column = (
        sincos(torch.arange(count, device=device) * step, width // 2) for count in (rows, columns)
    )
    space = torch.cat(
        [column[None].expand(rows, -1, -1), row[:, None].expand(-1, columns, -1)], dim=-1
    )
    return slot, F.pad(space.flatten(0, 1), (0, width - space.shape[-1]))
