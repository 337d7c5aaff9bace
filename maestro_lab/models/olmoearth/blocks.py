"""Transformer blocks that turn queries and keys, and may attend to a context of their own.

The perceptrons, the attention kernel and the stack are those of the lab's other models.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from maestro_lab.models.kernels import Linear, attend, product
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
            both, v = self._heads(self.qkv(normed)).split([2, 1], dim=2)
            if self.frequencies is not None:
                both = turned(both, where, self.frequencies)
            (q, k), v = both.unbind(2), v[:, :, 0]
        else:
            q, k, v = self._cross(normed, where, context)
        keys = present if context is None else context.present
        mixed = attend_present(*(t.transpose(1, 2) for t in (q, k, v)), present, keys)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        """Split channels (b, n, parts * w) into (b, n, parts, heads, channels)."""
        return x.unflatten(-1, (-1, self.heads, self.out.in_features // self.heads))

    def _cross(
        self, normed: Tensor, where: Tensor | None, context: Context
    ) -> tuple[Tensor, Tensor, Tensor]:
        width, weight, bias = self.out.in_features, self.qkv.weight, self.qkv.bias
        q = self._heads(product(normed, weight[:width], bias[:width]))
        kv = self._heads(product(context.tokens, weight[width:], bias[width:]))
        k, v = kv.split(1, dim=2)
        if self.frequencies is not None:
            q = turned(q, where, self.frequencies)
            k = turned(k, context.where, self.frequencies)
        return q[:, :, 0], k[:, :, 0], v[:, :, 0]


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
        mixed = self.attention(x, where, present, context)
        if not (self.training and self.drop_path):
            return self.mlp(x + mixed)
        x = x + mixed * self._kept(x)
        return torch.lerp(x, self.mlp(x), self._kept(x))

    def _kept(self, x: Tensor) -> Tensor:
        """Draw which samples go through (b, 1, 1): 0, or what keeps the mean."""
        draw = torch.rand(len(x), 1, 1, device=x.device, dtype=x.dtype)
        return (draw >= self.drop_path).to(x.dtype) / (1 - self.drop_path)


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
