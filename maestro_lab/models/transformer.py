"""A pre-norm transformer: the one block that every encoder and decoder of the lab is made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from maestro_lab.models.attention import attend
from maestro_lab.models.kernels import Linear, gelu, product
from maestro_lab.models.placeholders import Placeholders

__all__ = ["Attention", "FeedForward", "Transformer", "tuned_blocks"]


class Attention(nn.Module):
    """Multi-head self-attention with its layer norm: x -> x + out(attend(norm(x))).

    Parameters
    ----------
    width
        Channels of a token.
    heads, head_width
        Number of heads and channels of each; their product may differ from ``width``.
    """

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = Linear(width, 3 * heads * head_width, bias=False)
        self.out = Linear(heads * head_width, width)

    def forward(
        self,
        x: Tensor,
        key_mask: Tensor | None = None,
        last: int | None = None,
        hidden: Placeholders | None = None,
    ) -> Tensor:
        """Mix tokens (b, n, w).

        Parameters
        ----------
        x
            Tokens.
        key_mask
            (b, n), False for tokens that nobody may attend to.
        last
            Compute only the last so many tokens.
        hidden
            What the last tokens of ``x`` are made of, where they are placeholders.
        """
        q, kv = self._project(x, last, hidden)
        q, k, v = (rearrange(t, "b n (h d) -> b h n d", h=self.heads) for t in (q, *kv))
        mixed = attend(q, k, v, key_mask)
        x = x if last is None else x[:, -last:]
        return x + self.out(rearrange(mixed, "b h n d -> b n (h d)"))

    def _project(
        self, x: Tensor, last: int | None, hidden: Placeholders | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return queries (b, last or n, h*d), keys and values (b, n, h*d)."""
        inner, weight = self.out.in_features, self.qkv.weight
        if hidden is not None and hidden.pays:
            shown = x.shape[1] - hidden.row.shape[1]
            found = hidden.project(self.norm, weight)
            normed = self.norm(x[:, :shown])
            if last == hidden.row.shape[1]:
                kv = product(normed, weight[inner:])
                kv = torch.cat([kv, found[..., inner:].to(kv.dtype)], dim=1)
                return found[..., :inner].to(kv.dtype), kv.chunk(2, dim=-1)
            qkv = self.qkv(normed)
            qkv = torch.cat([qkv, found.to(qkv.dtype)], dim=1)
            q, *kv = qkv.chunk(3, dim=-1)
            return q if last is None else q[:, -last:], tuple(kv)
        normed = self.norm(x)
        if last is None or last == x.shape[1]:
            q, *kv = self.qkv(normed).chunk(3, dim=-1)
            return q, tuple(kv)
        for_q, for_kv = weight.split([inner, 2 * inner])
        return product(normed[:, -last:], for_q), product(normed, for_kv).chunk(2, dim=-1)


class FeedForward(nn.Module):
    """Two-layer perceptron with its layer norm: x -> x + down(gelu(up(norm(x))))."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = Linear(width, hidden)
        self.down = Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Transform tokens (b, n, w) one by one."""
        return x + self.change(x)

    def change(self, x: Tensor) -> Tensor:
        """Return what is added to tokens."""
        return self.down(gelu(self.up, self.norm(x)))


class Block(nn.Module):
    """Attention, then a perceptron."""

    def __init__(self, width: int, heads: int, head_width: int, hidden: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads, head_width)
        self.mlp = FeedForward(width, hidden)

    def forward(
        self,
        x: Tensor,
        key_mask: Tensor | None = None,
        last: int | None = None,
        hidden: Placeholders | None = None,
    ) -> Tensor:
        """Transform tokens (b, n, w); parameters as in :class:`Attention`."""
        return self.mlp(self.attention(x, key_mask, last, hidden))


class Transformer(nn.Module):
    """A stack of blocks and one final layer norm.

    Parameters
    ----------
    width, depth
        Channels of a token and number of blocks.
    heads, head_width
        Attention heads and channels of each.
    hidden
        Channels inside the perceptrons.

    Examples
    --------
    >>> import torch
    >>> Transformer(32, 2, 4, 8, 64)(torch.zeros(1, 5, 32)).shape
    torch.Size([1, 5, 32])
    """

    def __init__(self, width: int, depth: int, heads: int, head_width: int, hidden: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, head_width, hidden) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.checkpointing = False

    def forward(
        self,
        x: Tensor,
        key_mask: Tensor | None = None,
        last: int | None = None,
        hidden: Placeholders | None = None,
    ) -> Tensor:
        """Transform tokens.

        Parameters
        ----------
        x
            Tokens (b, n, w).
        key_mask
            (b, n), False for tokens that nobody may attend to.
        last
            Return the last so many tokens only; the final block then spends nothing on the others.
        hidden
            What the last tokens are made of, where they are placeholders of hidden ones; the first
            block then projects the few things they are made of.

        Returns
        -------
        Tensor
            (b, n, w), or (b, last, w).
        """
        final = len(self.blocks) - 1
        for i, block in enumerate(self.blocks):
            given = (x, key_mask, last if i == final else None, None if i else hidden)
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, *given, use_reentrant=False)
            else:
                x = block(*given)
        if final < 0 and last is not None:
            x = x[:, -last:]
        return self.norm(x)


@contextmanager
def tuned_blocks(
    model: nn.Module, *, compiled: bool = False, checkpointing: bool = False
) -> Iterator[None]:
    """Compile the blocks of all transformers of a model for a while, or save their activations.

    Parameters
    ----------
    model
        Its parameters and their names stay the same.
    compiled
        Run the blocks through ``torch.compile``.
    checkpointing
        Compute activations inside blocks again in the backward pass, in place of keeping them.
    """
    transformers = [m for m in model.modules() if isinstance(m, Transformer)]
    blocks = [block for t in transformers for block in t.blocks]
    # Encoders and decoders differ in shape; torch gives up on a function after eight of them.
    shapes = torch._dynamo.config.patch(recompile_limit=64) if compiled else nullcontext()
    try:
        for transformer in transformers:
            transformer.checkpointing = checkpointing
        for block in blocks if compiled else ():
            block.forward = torch.compile(type(block).forward.__get__(block), dynamic=False)
        with shapes:
            yield
    finally:
        for transformer in transformers:
            transformer.checkpointing = False
        for block in blocks:
            block.__dict__.pop("forward", None)
