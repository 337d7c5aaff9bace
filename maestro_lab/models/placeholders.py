"""Hidden tokens as a decoder gets them: known up to a row of one table and a date.

A hidden token is the sum of a mask token, a position and a date. Mask token and position come from
a table with one row a band group and location, the same for every sample and date; the date fills
the last eight channels only. Layer norm is affine but for one number a token, and a projection is
linear, so both can be taken on the table and on the dates, which are few, in place of on the
tokens, which are many: the same numbers, with a tenth of the products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maestro_lab.models.kernels import asks_bf16, bf16_is_fast

__all__ = ["Placeholders"]


@dataclass
class Placeholders:
    """Tokens ``base[row] + date[when]``.

    Parameters
    ----------
    base
        Mask tokens plus positions: (r, w).
    date
        Codes of dates (t, 8), for the last eight channels.
    row, when
        Which of both each token is made of: int64 (b, m).
    """

    base: Tensor
    date: Tensor
    row: Tensor
    when: Tensor

    def tokens(self) -> Tensor:
        """Return the tokens themselves: (b, m, w)."""
        date = F.pad(self.date, (self.base.shape[1] - self.date.shape[1], 0))
        return F.embedding(self.row, self.base) + F.embedding(self.when, date)

    @property
    def pays(self) -> bool:
        """Whether there are enough tokens for tables to be quicker.

        On GPUs, and in bfloat16 of processors that have it, products are cheap and gathering rows
        is not, so they are left alone.
        """
        device, enough = self.base.device, self.row.numel() > 2 * len(self.base)
        cheap = asks_bf16(device) and bf16_is_fast(device)
        return enough and device.type == "cpu" and not cheap

    def project(self, norm: nn.LayerNorm, weight: Tensor) -> Tensor:
        """Return ``norm(tokens) @ weight.T`` in float32.

        Parameters
        ----------
        norm
            Layer norm over the channels.
        weight
            (outputs, w).

        Returns
        -------
        Tensor
            (b, m, outputs)
        """
        with torch.autocast(self.base.device.type, enabled=False):
            channels, few = self.base.shape[1], self.date.shape[1]
            base, date = self.base.float(), self.date.float()
            centred = base - base.mean(1, keepdim=True)
            offset = date.sum(1) / channels  # mean of a date's code over all channels
            cross = centred[:, -few:] @ date.T  # (r, t)
            square = (centred**2).sum(1)[:, None] + 2 * cross
            square = square + (date**2).sum(1) - channels * offset**2
            scale = (square / channels + norm.eps).rsqrt()
            scale = scale.flatten()[self.row * len(date) + self.when]  # (b, m)
            scaled = weight.float() * norm.weight
            rows = centred @ scaled.T
            dates = date @ scaled[:, -few:].T - offset[:, None] * scaled.sum(1)
            shift = weight.float() @ norm.bias
            return _Gathered.apply(rows, dates, scale, shift, self.row, self.when)


class _Gathered(torch.autograd.Function):
    """``scale * (rows[row] + dates[when]) + shift``, in as few passes over it as can be."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, dates: Tensor, scale: Tensor, shift: Tensor, row: Tensor,
        when: Tensor,
    ) -> Tensor:  # fmt: skip
        ctx.shape = row.shape
        row, when, scale = row.flatten(), when.flatten(), scale.flatten()
        found = rows.index_select(0, row).add_(dates.index_select(0, when))
        ctx.save_for_backward(found, scale, row, when)
        ctx.sizes = len(rows), len(dates)
        return torch.addcmul(shift, found, scale[:, None]).unflatten(0, ctx.shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        found, scale, row, when = ctx.saved_tensors
        grad = grad.flatten(0, 1)
        for_scale = torch.bmm(grad[:, None, :], found[:, :, None]).view(ctx.shape)
        for_shift = grad.sum(0)
        grad = grad * scale[:, None]
        for_rows = torch.ops.aten.embedding_dense_backward(grad, row, ctx.sizes[0], -1, False)
        for_dates = torch.ops.aten.embedding_dense_backward(grad, when, ctx.sizes[1], -1, False)
        return for_rows, for_dates, for_scale, for_shift, None, None
