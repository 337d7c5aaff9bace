"""The encoder: embed, add codes, let visible tokens attend to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from maestro_lab.models.kernels import Linear
from maestro_lab.models.olmoearth.blocks import LatentTransformer
from maestro_lab.models.olmoearth.config import OlmoEarthConfig
from maestro_lab.models.olmoearth.embedding import Embedding
from maestro_lab.models.olmoearth.positions import Codes, positions
from maestro_lab.models.olmoearth.sample import VISIBLE, Layout, compact
from maestro_lab.models.tokens import take

__all__ = ["Encoded", "Encoder", "pool_spatial", "visible_tokens"]


@dataclass(frozen=True)
class Encoded:
    """What the encoder made of a batch.

    Parameters
    ----------
    tokens
        (b, n, w) visible tokens, those of samples with fewer followed by fill.
    layout
        Of the sequence they come from.
    index
        int64 (b, n), their places in it; None: all of it, in order.
    present
        bool (b, n), False for fill; None: nothing is.
    """

    tokens: Tensor
    layout: Layout
    index: Tensor | None = None
    present: Tensor | None = None

    def by_modality(self) -> dict[str, Tensor]:
        """Put tokens in their places: modality to (b, g, d, l, w), zero where not visible."""
        if self.index is None:
            return self.layout.split(self.tokens)
        there = self.tokens if self.present is None else self.tokens * self.present[..., None]
        whole = there.new_zeros(len(there), self.layout.length, there.shape[-1])
        index = self.index[..., None].expand_as(there)
        return self.layout.split(whole.scatter(1, index, there))

    def visible(self) -> dict[str, Tensor]:
        """Tell which tokens are visible: modality to bool (b, g, d, l)."""
        shape = (len(self.tokens), self.layout.length)
        if self.index is None:
            return self.layout.split(self.tokens.new_ones(shape, dtype=torch.bool))
        there = torch.ones_like(self.index, dtype=torch.bool)
        whole = torch.zeros(shape, dtype=torch.bool, device=there.device)
        there = there if self.present is None else self.present
        return self.layout.split(whole.scatter(1, self.index, there))

    def mean(self) -> Tensor:
        """Return the mean of the visible tokens of each sample: (b, w), float32."""
        if self.present is None:
            return self.tokens.float().mean(1)
        weight = self.present[..., None].float()
        return (self.tokens * weight).sum(1) / weight.sum(1).clamp(min=1)


class Encoder(nn.Module):
    """The encoder with its patch embeddings.

    Parameters
    ----------
    config
        Of the model.
    """

    def __init__(self, config: OlmoEarthConfig) -> None:
        super().__init__()
        s = config.size
        self.config = config
        self.embedding = Embedding(config)
        self.codes = Codes(config.modalities, s.width, rotary=config.rotary)
        self.transformer = LatentTransformer(
            s.width, s.depth, s.heads, s.hidden, rotary=config.rotary, drop_path=config.drop_path
        )
        self.summary = Linear(s.width, s.width)
        for name in config.predicted_only:
            self.embedding[name].requires_grad_(False)
            self.codes.groups[name].requires_grad_(False)

    def embed(self, patches: Mapping[str, Tensor], layout: Layout, timestamps: Tensor) -> Tensor:
        """Turn patches into tokens with their codes: (b, n, w)."""
        codes = self.codes.parts(layout, timestamps)
        return layout.join({n: t + codes[n] for n, t in self.embedding(patches).items()})

    def forward(
        self, tokens: Tensor, layout: Layout, timestamps: Tensor, visible: Tensor | None = None
    ) -> Encoded:
        """Encode tokens.

        Parameters
        ----------
        tokens
            (b, n, w) from :meth:`embed`.
        layout
            Of the sequence.
        timestamps
            int (b, d, 3).
        visible
            bool (b, n); the others are left out. Each sample is encoded as if it were alone. None:
            all are.
        """
        where = positions(layout, timestamps) if self.config.rotary else None
        index = present = None
        if visible is not None and not bool(visible.all()):
            index, present = compact(visible)
            tokens, where = take(tokens, index), take(where, index)
            if present is not None:
                tokens = tokens.masked_fill(~present[..., None], 0.0)
        return Encoded(self.transformer(tokens, where, present), layout, index, present)

    def summarise(self, encoded: Encoded) -> Tensor:
        """Project the mean token of each sample, for the comparison of samples: (b, w)."""
        return self.summary(encoded.mean())


def visible_tokens(states: Mapping[str, Tensor], layout: Layout) -> Tensor:
    """Tell which tokens of a sequence are visible: bool (b, n)."""
    return layout.join({name: states[name] == VISIBLE for name in layout.places})


def pool_spatial(
    tokens: Mapping[str, Tensor], visible: Mapping[str, Tensor], *, empty_as_zero: bool = False
) -> Tensor:
    """Average the visible tokens of each location: over band groups and dates, then modalities.

    Parameters
    ----------
    tokens
        Modality to (b, g, d, l, w), all with the same locations.
    visible
        Modality to bool (b, g, d, l).
    empty_as_zero
        Let a modality without any visible token at a location pull its mean towards zero, as the
        published pooling does, rather than not count there.

    Returns
    -------
    Tensor
        (b, l, w)
    """
    total, count = 0.0, 0.0
    for name, part in tokens.items():
        weight = visible[name][..., None].float()
        seen = weight.sum((1, 2))  # (b, l, 1)
        total = total + (part * weight).sum((1, 2)) / seen.clamp(min=1)
        count = count + seen.clamp(max=1)
    return total / len(tokens) if empty_as_zero else total / count.clamp(min=1)
