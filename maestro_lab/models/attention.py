"""Scaled dot-product attention, by the kernel that is fastest where it runs.

Chosen by measurement (``benchmarks/pretrain_step.py`` and ``benchmarks/olmoearth.py``), as in
:mod:`maestro_lab.models.kernels`: torch's fused kernel, except

* on processors where oneDNN multiplies faster than MKL, which the fused kernel is made of. There
  long sequences are attended to head by head, each a few such products;
* on processors with instructions for bfloat16, in that precision: the backward pass of the fused
  kernel is two to five times slower there than products of all heads at the lengths of this lab.

Both write the softmax with powers of two, which are quicker than those of e, and divide by their
sum what they mixed rather than the weights, which are more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from maestro_lab.models.kernels import bf16_is_fast, by_onednn, is_eager, onednn

__all__ = ["attend"]

_LONG = 2**20  # multiplications a head; from twice as many on calls of its own pay on one thread
_SAFE = 2.0**64  # sums of weights below this, and above its inverse, lost none


def attend(q: Tensor, k: Tensor, v: Tensor, key_mask: Tensor | None = None) -> Tensor:
    """Mix values by the softmax of ``q @ k.T / sqrt(d)``.

    Parameters
    ----------
    q, k, v
        Queries (b, h, m, d), keys and values (b, h, n, d).
    key_mask
        (b, n), True where a key may be attended to. A row without any True attends to all.

    Returns
    -------
    Tensor
        (b, h, m, d)

    Examples
    --------
    >>> import torch
    >>> attend(*torch.ones(3, 2, 4, 5, 8)).shape
    torch.Size([2, 4, 5, 8])
    """
    shown = None
    if key_mask is not None:
        key_mask = key_mask | ~key_mask.any(dim=1, keepdim=True)
        shown = key_mask[:, None, None, :]  # (b, 1, 1, n)
    elif _is_long(q, k) and by_onednn(q, k, v):
        return _ByHead.apply(q, k, v)
    if q.device.type != "cpu" or q.dtype != torch.bfloat16:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=shown)
    if not bf16_is_fast(q.device):
        with torch.autocast("cpu", enabled=False):
            mixed = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=shown)
        return mixed.to(v.dtype)
    if is_eager():
        with torch.autocast("cpu", enabled=False):
            return _Together.apply(q, k, v, shown)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (b, h, m, n)
    if shown is not None:
        scores = scores.masked_fill(~shown, -torch.inf)
    return scores.softmax(dim=-1).to(v.dtype) @ v


def _is_long(q: Tensor, k: Tensor) -> bool:
    """Tell whether heads are so long that calls of their own pay, each on all threads."""
    threads = torch.get_num_threads()
    return q.shape[2] * k.shape[2] * k.shape[3] >= _LONG * threads * (threads + 1)


class _Together(torch.autograd.Function):
    """Attention in products of all heads together."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, shown: Tensor | None) -> Tensor:
        q = torch.mul(q, _scale(q), out=q.new_empty(q.shape))
        k, v = k.contiguous(), v.contiguous()
        weights, sums = _weights(q, k, shown)
        if _are_far(sums):
            weights, sums = _weights(q, k, shown, shift=True)
        mixed = torch.div(weights @ v, sums, out=_by_token(q))
        ctx.save_for_backward(q, k, v, weights, sums, mixed)
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, weights, sums, mixed = ctx.saved_tensors
        grad = torch.div(grad, sums, out=torch.empty_like(q))
        away = (grad * mixed).sum(-1, keepdim=True)
        for_v = (grad.mT @ weights).mT  # quicker than weights.mT @ grad
        change = (grad @ v.mT).sub_(away).mul_(weights)
        for_q = (change @ k).mul_(1 / math.sqrt(q.shape[-1]))
        for_k = (q.mT @ change).mT.mul_(math.log(2))
        return for_q, for_k, for_v, None


def _weights(
    q: Tensor, k: Tensor, shown: Tensor | None, *, shift: bool = False
) -> tuple[Tensor, Tensor]:
    """Return weights that are not normalised (b, h, m, n), and their sums (b, h, m, 1)."""
    scores = q @ k.mT
    if shown is not None:
        scores.masked_fill_(~shown, -torch.inf)
    if shift:
        scores.sub_(scores.amax(-1, keepdim=True))
    weights = scores.exp2_()
    return weights, weights.sum(-1, keepdim=True)


def _are_far(sums: Tensor) -> bool:
    """Tell whether sums of weights are so large or small that some weights were lost."""
    if not sums.numel():
        return False
    least, most = sums.aminmax()
    return not (least > 1 / _SAFE and most < _SAFE)  # true for what is not a number, too


def _scale(q: Tensor) -> float:
    """Return what to multiply queries with so that weights are powers of two."""
    return math.log2(math.e) / math.sqrt(q.shape[-1])


def _by_token(q: Tensor) -> Tensor:
    """Return room for answers (b, h, m, d), laid out as the next product reads them."""
    b, h, m, d = q.shape
    return q.new_empty(b, m, h, d).transpose(1, 2)


class _ByHead(torch.autograd.Function):
    """Attention in products of one head each.

    The backward pass computes the weights again, transposed: what belongs to a query then belongs
    to a column, and is added as the bias of a product.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q = torch.mul(q, _scale(q), out=q.new_empty(q.shape))
        k, v = k.contiguous(), v.contiguous()
        mixed, sums, top = _mixed(q, k, v)
        if _are_far(sums):
            mixed, sums, top = _mixed(q, k, v, shift=True)
        mixed = torch.div(mixed, sums, out=_by_token(q))
        ctx.save_for_backward(q, k, v, mixed, sums.log2_().add_(top))
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        q, k, v, mixed, logs = ctx.saved_tensors
        away, grad = (grad * mixed).sum(-1).neg_(), grad.contiguous()
        given = (q, k, v, grad, logs.neg().squeeze(-1), away, q.mT, k.mT.contiguous(), grad.mT)
        found = []
        for a, b, c, g, log, less, turned_a, turned_b, turned_g in _heads(*given):
            weights = onednn(b, a, log).exp2_()  # (n, m)
            for_c = onednn(weights, turned_g)
            change = onednn(c, g, less).mul_(weights)
            found.append((onednn(turned_b, change.T), onednn(change, turned_a), for_c))
        for_q, for_k, for_v = (_joined(t, q) for t in zip(*found, strict=True))
        return for_q.mul_(1 / math.sqrt(q.shape[-1])).mT, for_k.mul_(math.log(2)), for_v


def _mixed(
    q: Tensor, k: Tensor, v: Tensor, *, shift: bool = False
) -> tuple[Tensor, Tensor, Tensor | float]:
    """Return sums of weighted values (b, h, m, d), of weights, and the logarithm of their unit."""
    mixed, sums, tops = [], [], []
    for a, b, turned_c in _heads(q, k, v.mT):
        scores = onednn(a, b)
        if shift:
            tops.append(scores.amax(1, keepdim=True))
            scores.sub_(tops[-1])
        sums.append(scores.exp2_().sum(1, keepdim=True))
        mixed.append(onednn(scores, turned_c))
    return _joined(mixed, q), _joined(sums, q), _joined(tops, q) if shift else 0.0


def _heads(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Give what belongs to each head of each sample, of tensors (b, h, ...)."""
    return zip(*(t.flatten(0, 1).unbind() for t in tensors), strict=True)


def _joined(heads: Sequence[Tensor], like: Tensor) -> Tensor:
    """Undo :func:`_heads`, for the samples and heads of another tensor."""
    return torch.stack(heads).unflatten(0, like.shape[:2])
