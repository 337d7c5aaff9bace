"""Transformer blocks that turn queries and keys, and may attend to a context of their own.

The perceptrons, the attention kernel and the stack are those of the lab's other models.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from maestro_lab.models.attention import attend
from maestro_lab.models.kernels import Linear, product
from maestro_lab.models.olmoearth.positions import initial_frequencies, turned
from maestro_lab.models.transformer import FeedForward, Transformer

__all__ = ["Context", "LatentTransformer", "RotaryAttention"]


class Context(NamedTuple):
    """What queries attend to, other than themselves.

    Parameters
    ----------
    tokens
        (b, m, w); they are neither normalised nor changed.
    where
        Their positions (b, m, 3), or None.
    present
        bool (b, m), False for fill, which is behind the others; None: nothing is.
    """

    tokens: Tensor
    where: Tensor | None
    present: Tensor | None


def attend_present(
    q: Tensor, k: Tensor, v: Tensor, asking: Tensor | None, keys: Tensor | None
) -> Tensor:
    """Attend to the keys that are there.

    On CPUs sample by sample, each as long as it is: attention grows with the square of the length,
    and padding of unequal samples would double its cost. Elsewhere in one go, with a mask.

    Parameters
    ----------
    q, k, v
        Queries (b, h, m, c), keys and values (b, h, n, c).
    asking, keys
        bool (b, m) and (b, n), False for fill, which is behind the others; None: nothing is.

    Returns
    -------
    Tensor
        (b, h, m, c); of fill it means nothing.
    """
    if q.device.type != "cpu" or (asking is None and keys is None):
        return attend(q, k, v, keys)
    most = q.shape[2]
    lengths = (
        [t.shape[2]] * len(t) if mask is None else mask.sum(1).clamp(min=1).tolist()
        for t, mask in ((q, asking), (k, keys))
    )
    parts = zip(q.unbind(), k.unbind(), v.unbind(), *lengths, strict=True)
    mixed = [
        F.pad(attend(a[None, :, :m], b[None, :, :n], c[None, :, :n]), (0, 0, 0, most - m))
        for a, b, c, m, n in parts
    ]
    return torch.cat(mixed)


class RotaryAttention(nn.Module):
    """Multi-head attention with its layer norm, returned without the residual.

    Parameters
    ----------
    width
        Channels of a token.
    heads
        Number of heads.
    rotary
        Whether queries and keys turn with their position.
    """

    def __init__(self, width: int, heads: int, *, rotary: bool) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = Linear(width, 3 * width)
        self.out = Linear(width, width)
        self.frequencies = (
            nn.Parameter(initial_frequencies(heads, width // heads)) if rotary else None
        )

    def forward(
        self, x: Tensor, where: Tensor | None, present: Tensor | None, context: Context | None
    ) -> Tensor:
        """Mix tokens (b, n, w).

        Parameters
        ----------
        x
            Tokens.
        where
            Their positions (b, n, 3); None without rotations.
        present
            bool (b, n), False for fill, which is behind the others; None: nothing is.
        context
            What is attended to, if not ``x`` itself.
        """
        normed = self.norm(x)
        if context is None:
            q, k, v = self._parts(self.qkv(normed), where, still=1)
        else:
            width, weight, bias = self.out.in_features, self.qkv.weight, self.qkv.bias
            kv = product(context.tokens, weight[width:], bias[width:])
            (q,) = self._parts(product(normed, weight[:width], bias[:width]), where)
            k, v = self._parts(kv, context.where, still=1)
        keys = present if context is None else context.present
        mixed = attend_present(q, k, v, present, keys)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _parts(self, x: Tensor, where: Tensor | None, still: int = 0) -> tuple[Tensor, ...]:
        """Split (b, n, parts * w) by heads, (b, h, n, c) each, and turn all but ``still``."""
        x = x.unflatten(-1, (-1, self.heads, self.out.in_features // self.heads))
        if self.frequencies is not None:
            return turned(x, where, self.frequencies, still=still)
        return x.transpose(1, 3).unbind(2)


class LatentBlock(nn.Module):
    """Attention, then a perceptron; in training a sample may skip either.

    Parameters
    ----------
    width, heads, hidden
        Channels of a token, heads, channels inside the perceptron.
    rotary
        See :class:`RotaryAttention`.
    drop_path
        Chance that a sample skips a half in training.
    """

    def __init__(
        self, width: int, heads: int, hidden: int, *, rotary: bool, drop_path: float
    ) -> None:
        super().__init__()
        self.attention = RotaryAttention(width, heads, rotary=rotary)
        self.mlp = FeedForward(width, hidden)
        self.drop_path = drop_path

    def forward(
        self, x: Tensor, where: Tensor | None, present: Tensor | None, context: Context | None
    ) -> Tensor:
        """Transform tokens (b, n, w); parameters as in :class:`RotaryAttention`."""
        if not (self.training and self.drop_path):
            x = x + self.attention(x, where, present, context)
            return self.mlp(x)
        x = self._by_chance(self.attention, x, where, present, context)
        return self._by_chance(self.mlp.change, x)

    def _by_chance(
        self, half: Callable[..., Tensor], x: Tensor, *others: Tensor | Context | None
    ) -> Tensor:
        """Add what a half makes of the samples that do not skip it, so that the mean is kept."""
        kept = torch.rand(len(x), device=x.device) >= self.drop_path
        scale = 1 / (1 - self.drop_path)
        rows = None
        if x.device.type == "cpu" and not torch.compiler.is_compiling():
            rows = kept.nonzero()[:, 0]  # the others cost nothing; elsewhere looking would
        if rows is None or not 0 < len(rows) < len(x):
            return x + half(x, *others) * (kept[:, None, None] * scale).to(x.dtype)
        change = half(_chosen(x, rows), *(_chosen(t, rows) for t in others))
        return x.index_add(0, rows, change.to(x.dtype), alpha=scale)


def _chosen(given: Tensor | Context | None, rows: Tensor) -> Tensor | Context | None:
    """Choose samples."""
    if isinstance(given, Context):
        return Context(*(_chosen(t, rows) for t in given))
    return None if given is None else given.index_select(0, rows)


class LatentTransformer(Transformer):
    """A stack of :class:`LatentBlock` and one final layer norm.

    Parameters
    ----------
    width, depth, heads, hidden
        Channels of a token, blocks, heads, channels inside the perceptrons.
    rotary, drop_path
        See :class:`LatentBlock`.
    """

    def __init__(
        self, width: int, depth: int, heads: int, hidden: int, *, rotary: bool, drop_path: float
    ) -> None:
        super().__init__(width, 0, heads, width // heads, hidden)
        self.blocks.extend(
            LatentBlock(width, heads, hidden, rotary=rotary, drop_path=drop_path)
            for _ in range(depth)
        )

    def forward(
        self,
        x: Tensor,
        where: Tensor | None = None,
        present: Tensor | None = None,
        context: Context | None = None,
    ) -> Tensor:
        """Transform tokens (b, n, w); parameters as in :class:`RotaryAttention`."""
        for block in self.blocks:
            given = (x, where, present, context)
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, *given, use_reentrant=False)
            else:
                x = block(*given)
        return self.norm(x)
