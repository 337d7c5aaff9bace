"""Scaled dot-product attention, by the kernel that is fastest where it runs.

Chosen by measurement (``benchmarks/pretrain_step.py`` and ``benchmarks/olmoearth.py``), as in
:mod:`maestro_lab.models.kernels`: torch's fused kernel, except

* on processors where oneDNN multiplies faster than MKL, which the fused kernel is made of. There
  long sequences are attended to head by head, each a few such products;
* on processors with instructions for bfloat16, in that precision: the backward pass of the fused
  kernel is two to five times slower there than plain products at the lengths of this lab.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from maestro_lab.models.kernels import bf16_is_fast, by_onednn, onednn

__all__ = ["attend"]

_LONG = 2**20  # multiplications a head and thread from which on calls of its own pay
_SAFE = 2.0**64  # sums of weights below this, and above its inverse, lost nothing in float32


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
    bias = None
    if key_mask is not None:
        key_mask = key_mask | ~key_mask.any(dim=1, keepdim=True)
        bias = key_mask[:, None, None, :]  # (b, 1, 1, n)
    elif _is_long(q, k) and by_onednn(q, k, v):
        return _ByHead.apply(q, k, v)
    if q.device.type != "cpu" or q.dtype != torch.bfloat16:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    if not bf16_is_fast(q.device):
        with torch.autocast("cpu", enabled=False):
            mixed = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=bias)
        return mixed.to(v.dtype)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (b, h, m, n)
    if bias is not None:
        scores = scores.masked_fill(~bias, -torch.inf)
    return scores.softmax(dim=-1).to(v.dtype) @ v


def _is_long(q: Tensor, k: Tensor) -> bool:
    """Tell whether heads are so long that calls of their own pay; more so without a graph."""
    least = _LONG * torch.get_num_threads() * (3 if torch.is_grad_enabled() else 2)
    return q.shape[2] * k.shape[2] * k.shape[3] >= least


class _ByHead(torch.autograd.Function):
    """Attention in products of one head each, with powers of two, which are quicker than of e.

    The backward pass computes the weights again, transposed: what belongs to a query then belongs
    to a column, and is added as the bias of a product.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scale = math.log2(math.e) / math.sqrt(q.shape[-1])
        q, k = torch.mul(q, scale, out=q.new_empty(q.shape)), k.contiguous()
        turned_v, mixed = _turned(v), torch.empty_like(q)
        sums, logs = q.new_empty(q.shape[:3]), q.new_zeros(q.shape[:3])
        heads = _heads(q, k, turned_v, mixed, sums, logs)
        for a, b, c, out, total, _ in heads:
            _mix(onednn(a, b), c, out, total)
        far = (sums.amin(2) < 1 / _SAFE) | ~(sums.amax(2) < _SAFE)  # so is what is not a number
        for i in far.flatten().nonzero()[:, 0].tolist():
            a, b, c, out, total, log = heads[i]
            scores = onednn(a, b)
            log.copy_(scores.amax(1))
            _mix(scores.sub_(log[:, None]), c, out, total)
        b, h, m, d = q.shape
        by_token = q.new_empty(b, m, h, d).transpose(1, 2)  # as the next product reads it
        torch.div(mixed, sums[..., None], out=by_token)
        ctx.save_for_backward(q, k, turned_v, by_token, logs.add_(sums.log2_()))
        return by_token

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        q, k, turned_v, mixed, logs = ctx.saved_tensors
        v, grad = _turned(turned_v), grad.contiguous()
        away = (grad * mixed).sum(-1).neg_()
        turned_q, turned_k, turned_grad = (_turned(t) for t in (q, k, grad))
        for_q, for_k, for_v = torch.empty_like(turned_q), torch.empty_like(k), torch.empty_like(v)
        given = (q, k, v, grad, logs.neg(), away, turned_q, turned_k, turned_grad)
        heads = _heads(*given, for_q, for_k, for_v)
        for a, b, c, g, log, less, turned_a, turned_b, turned_g, to_a, to_b, to_c in heads:
            weights = onednn(b, a, log).exp2_()  # (n, m)
            to_c.copy_(onednn(weights, turned_g))
            change = onednn(c, g, less).mul_(weights)
            to_b.copy_(onednn(change, turned_a))
            to_a.copy_(onednn(turned_b, change.T))
        for_q.mul_(1 / math.sqrt(q.shape[-1]))
        return for_q.transpose(-1, -2), for_k.mul_(math.log(2)), for_v


def _mix(scores: Tensor, turned_v: Tensor, out: Tensor, total: Tensor) -> None:
    """Write the sums of weighted values (m, d), and of weights (m,), which replace the scores."""
    torch.sum(scores.exp2_(), 1, out=total)
    out.copy_(onednn(scores, turned_v))


def _turned(x: Tensor) -> Tensor:
    return x.transpose(-1, -2).contiguous()


def _heads(*tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """List what belongs to each head of each sample, of contiguous tensors (b, h, ...)."""
    return list(zip(*(t.flatten(0, 1).unbind() for t in tensors), strict=True))
