"""Matrix products, each by the kernel that is fastest where it runs.

Chosen by measurement (``benchmarks/pretrain_step.py``):

* Torch multiplies float32 with MKL, which leaves the 512-bit instructions of AMD processors unused.
  oneDNN, in torch as well, uses them: more than twice as fast there.
* Processors without instructions for bfloat16 imitate it, ten times and more slower than they
  multiply in float32, so there numbers are rounded to bfloat16, multiplied in float32 and the
  result rounded again. That is what bfloat16 hardware does too: its products accumulate in float32.

What is chosen depends on the processor alone, never on a clock, so that runs repeat.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maestro_lab.processor import made_by

__all__ = ["Linear", "asks_bf16", "bf16_is_fast", "by_onednn", "gelu", "has_onednn", "is_eager",
           "onednn", "product", "wants_bf16"]  # fmt: skip


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


def has_onednn() -> bool:
    """Tell whether torch comes with oneDNN and its product."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


@cache
def _mkl_is_slow() -> bool:
    """Tell whether this processor is an AMD with AVX-512, and torch has both libraries."""
    return (
        has_onednn()
        and torch.backends.mkl.is_available()
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and made_by("AuthenticAMD")
    )


def by_onednn(*factors: Tensor | None) -> bool:
    """Tell whether a product is oneDNN's: rows in float32, on a processor where that is faster.

    Not under torch's compiler and function transforms, which cannot look inside, nor where
    ``torch.backends.mkldnn`` is not enabled.
    """
    return (
        _mkl_is_slow()
        and all(
            t is None or (t.dtype == torch.float32 and t.device.type == "cpu" and t.numel())
            for t in factors
        )
        and factors[0].dim() > 1
        and torch.backends.mkldnn.enabled
        and not torch.is_autocast_enabled("cpu")
        and is_eager()
    )


def is_eager() -> bool:
    """Tell whether neither torch's compiler nor a function transform has to look inside."""
    return not (torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active())


def asks_bf16(device: torch.device) -> bool:
    """Tell whether products are asked for in bfloat16 of a processor."""
    return (
        device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
    )


class Linear(nn.Linear):
    """A linear layer; as torch's, but quick on any processor."""

    def forward(self, x: Tensor) -> Tensor:
        """Transform (..., inputs) to (..., outputs)."""
        return product(x, self.weight, self.bias)


def gelu(layer: Linear, x: Tensor) -> Tensor:
    """Return ``F.gelu(layer(x))``; without a graph in place."""
    hidden = layer(x)
    return F.gelu(hidden) if torch.is_grad_enabled() else torch.ops.aten.gelu_(hidden)


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x @ weight.T + bias``: (..., inputs), (outputs, inputs) to (..., outputs)."""
    if asks_bf16(x.device) and not _cpu_bf16():
        return _Rounded.apply(x, weight, bias)
    if by_onednn(x, weight, bias):
        if not weight.is_contiguous() and not weight.T.is_contiguous():
            weight = weight.contiguous()  # gaps between rows lead to a slow kernel
        multiply = _OneDNN.apply if torch.is_grad_enabled() else onednn
        return multiply(x.contiguous(), weight, bias)
    return F.linear(x, weight, bias)


def onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return :func:`product` by oneDNN, without a graph; ask :func:`by_onednn` before.

    Rows of ``x``, and rows or columns of ``weight``, have to lie without gaps.
    """
    return torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, "none", [], "")


class _OneDNN(torch.autograd.Function):
    """A product in float32 by oneDNN; its derivatives are such products too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.biased = bias is not None
        return onednn(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        for_x = for_weight = for_bias = None
        if ctx.needs_input_grad[0]:
            for_x = product(grad, weight.T)
        rows = grad.flatten(0, -2)
        if ctx.needs_input_grad[1]:
            for_weight = _transposed_product(rows, x.flatten(0, -2))
        if ctx.biased and ctx.needs_input_grad[2]:
            for_bias = rows.sum(0)
        return for_x, for_weight, for_bias


def _transposed_product(x: Tensor, y: Tensor) -> Tensor:
    """Return ``x.T @ y`` of (n, a) and (n, b); the narrow one first, which is laid out anew."""
    if x.shape[1] > y.shape[1]:
        return _transposed_product(y, x).T
    few = x.shape[1] * y.shape[1] < 256  # numbers out; MKL is quicker there
    return x.T @ y if few else product(x.T, y.T)


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
