"""A pre-norm transformer: the one block that every encoder and decoder of the lab is made of."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Attention", "FeedForward", "Transformer", "attend"]


def attend(q: Tensor, k: Tensor, v: Tensor, key_mask: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention, with the kernel that is fastest where it runs.

    On CPUs the fused kernel's backward pass in bfloat16 is two to five times slower than plain
    matrix products at the sequence lengths of this lab, so those are used there.

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
    if q.device.type == "cpu" and q.dtype == torch.bfloat16:
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (b, h, m, n)
        if bias is not None:
            scores = scores.masked_fill(~bias, -torch.inf)
        return scores.softmax(dim=-1).to(v.dtype) @ v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


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
        self.qkv = nn.Linear(width, 3 * heads * head_width, bias=False)
        self.out = nn.Linear(heads * head_width, width)

    def forward(self, x: Tensor, key_mask: Tensor | None = None, last: int | None = None) -> Tensor:
        """Mix tokens (b, n, w); with ``last`` only the last so many tokens are computed."""
        if last is None or last == x.shape[1]:
            q, k, v = self.qkv(self.norm(x)).chunk(3, dim=-1)  # (b, n, h*d) each
        else:
            normed = self.norm(x)
            inner = self.out.in_features
            k, v = F.linear(normed, self.qkv.weight[inner:]).chunk(2, dim=-1)
            x = x[:, -last:]
            q = F.linear(normed[:, -last:], self.qkv.weight[:inner])
        q, k, v = (rearrange(t, "b n (h d) -> b h n d", h=self.heads) for t in (q, k, v))
        mixed = attend(q, k, v, key_mask)
        return x + self.out(rearrange(mixed, "b h n d -> b n (h d)"))


class FeedForward(nn.Module):
    """Two-layer perceptron with its layer norm: x -> x + down(gelu(up(norm(x))))."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Transform tokens (b, n, w) one by one."""
        return x + self.down(F.gelu(self.up(self.norm(x))))


class Block(nn.Module):
    """Attention, then a perceptron."""

    def __init__(self, width: int, heads: int, head_width: int, hidden: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads, head_width)
        self.mlp = FeedForward(width, hidden)

    def forward(self, x: Tensor, key_mask: Tensor | None = None, last: int | None = None) -> Tensor:
        """Transform tokens (b, n, w)."""
        return self.mlp(self.attention(x, key_mask, last))


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

    def forward(self, x: Tensor, key_mask: Tensor | None = None, last: int | None = None) -> Tensor:
        """Transform tokens.

        Parameters
        ----------
        x
            Tokens (b, n, w).
        key_mask
            (b, n), False for tokens that nobody may attend to.
        last
            Return the last so many tokens only; the final block then spends nothing on the others.

        Returns
        -------
        Tensor
            (b, n, w), or (b, last, w).
        """
        final = len(self.blocks) - 1
        for i, block in enumerate(self.blocks):
            x = block(x, key_mask, last if i == final else None)
        if final < 0 and last is not None:
            x = x[:, -last:]
        return self.norm(x)
