"""Matrix products and attention, each by the kernel that is fastest where it runs.

Chosen by measurement (``benchmarks/pretrain_step.py``): processors without instructions for
bfloat16 imitate it, ten times and more slower than they multiply in float32, so there numbers are
rounded to bfloat16, multiplied in float32 and the result rounded again. That is what bfloat16
hardware does too: its products accumulate in float32.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Linear", "attend", "bf16_is_fast", "wants_bf16"]


def bf16_is_fast(device: torch.device) -> bool:
    """Tell whether a device computes in bfloat16, rather than imitating it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and _cpu_bf16()


def wants_bf16(precision: str, device: torch.device) -> bool:
    """Tell whether "fp32", "bf16" or "auto" (where it is fast) means bfloat16 on a device."""
    return precision == "bf16" or (precision == "auto" and bf16_is_fast(device))


@cache
def _cpu_bf16() -> bool:
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in checks)


def _imitated(device: torch.device) -> bool:
    """Tell whether products would be asked for in bfloat16 of a processor that has none."""
    return (
        device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and not _cpu_bf16()
    )


class Linear(nn.Linear):
    """A linear layer; as torch's, but quick in bfloat16 on any processor."""

    def forward(self, x: Tensor) -> Tensor:
        """Transform (..., inputs) to (..., outputs)."""
        return product(x, self.weight, self.bias)


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x @ weight.T + bias``: (..., inputs), (outputs, inputs) to (..., outputs)."""
    if _imitated(x.device):
        return _Rounded.apply(x, weight, bias)
    return F.linear(x, weight, bias)


class _Rounded(torch.autograd.Function):
    """A product of numbers rounded to bfloat16, computed in float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        half = x.to(torch.bfloat16)
        ctx.save_for_backward(half, weight)
        ctx.kind, ctx.biased = x.dtype, bias is not None
        with torch.autocast("cpu", enabled=False):
            return F.linear(half.float(), _rounded(weight), bias).to(torch.bfloat16)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        half, weight = ctx.saved_tensors
        grad = grad.float()
        for_x = for_weight = for_bias = None
        if ctx.needs_input_grad[0]:
            for_x = (grad @ _rounded(weight)).to(ctx.kind)
        rows = grad.flatten(0, -2)
        if ctx.needs_input_grad[1]:
            for_weight = rows.T @ half.float().flatten(0, -2)
        if ctx.biased and ctx.needs_input_grad[2]:
            for_bias = rows.sum(0)
        return for_x, for_weight, for_bias


def _rounded(weight: Tensor) -> Tensor:
    return weight.to(torch.bfloat16).float()


def attend(q: Tensor, k: Tensor, v: Tensor, key_mask: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention, with the kernel that is fastest where it runs.

    Torch's fused kernel, except on CPUs with bfloat16 instructions: there its backward pass is two
    to five times slower than plain matrix products at the sequence lengths of this lab.

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
    """
    bias = None
    if key_mask is not None:
        key_mask = key_mask | ~key_mask.any(dim=1, keepdim=True)
        bias = key_mask[:, None, None, :]  # (b, 1, 1, n)
    if q.device.type != "cpu" or q.dtype != torch.bfloat16:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    if not _cpu_bf16():
        with torch.autocast("cpu", enabled=False):
            mixed = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=bias)
        return mixed.to(v.dtype)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (b, h, m, n)
    if bias is not None:
        scores = scores.masked_fill(~bias, -torch.inf)
    return scores.softmax(dim=-1).to(v.dtype) @ v
