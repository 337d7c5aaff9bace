"""The predictor: hidden tokens ask the visible ones, and never each other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from maestro_lab.models.kernels import Linear
from maestro_lab.models.olmoearth.blocks import Context, LatentTransformer
from maestro_lab.models.olmoearth.config import OlmoEarthConfig
from maestro_lab.models.olmoearth.encoder import Encoded
from maestro_lab.models.olmoearth.positions import Codes, positions
from maestro_lab.models.olmoearth.sample import Layout, compact
from maestro_lab.models.tokens import take

__all__ = ["LatentPredictor", "Predicted"]


@dataclass(frozen=True)
class Predicted:
    """Predicted tokens of a batch.

    Parameters
    ----------
    tokens
        (b, k, w), those of samples with fewer followed by fill.
    index
        int64 (b, k), their places in the sequence.
    present
        bool (b, k), False for fill; None: nothing is.
    layout
        Of the sequence.
    """

    tokens: Tensor
    index: Tensor
    present: Tensor | None
    layout: Layout

    def by_modality(self) -> dict[str, Tensor]:
        """Put tokens in their places: modality to (b, g, d, l, w), zero where not predicted."""
        there = self.tokens if self.present is None else self.tokens * self.present[..., None]
        whole = there.new_zeros(len(there), self.layout.length, there.shape[-1])
        index = self.index[..., None].expand_as(there)
        return self.layout.split(whole.scatter(1, index, there))


class LatentPredictor(nn.Module):
    """From visible tokens to predictions of hidden ones, by cross-attention alone.

    Parameters
    ----------
    config
        Of the model.
    """

    def __init__(self, config: OlmoEarthConfig) -> None:
        super().__init__()
        s = config.size
        self.rotary = config.rotary
        self.norm = nn.LayerNorm(s.width)
        self.enter = Linear(s.width, s.width)
        self.mask_token = nn.Parameter(torch.zeros(s.width))
        self.codes = Codes(config.modalities, s.width, rotary=config.rotary)
        self.transformer = LatentTransformer(
            s.width, s.predictor_depth, s.heads, s.hidden, rotary=config.rotary, drop_path=0.0
        )
        self.leave = Linear(s.width, s.width)

    def forward(
        self, encoded: Encoded, layout: Layout, timestamps: Tensor, wanted: Tensor
    ) -> Predicted:
        """Predict tokens.

        Parameters
        ----------
        encoded
            The visible tokens; their layout is the beginning of ``layout``.
        layout
            Of the sequence with all that may be predicted.
        timestamps
            int (b, d, 3).
        wanted
            bool (b, n), True for tokens to predict.
        """
        codes = self.codes(layout, timestamps)  # (b, n, w)
        where = positions(layout, timestamps) if self.rotary else None
        index, present = compact(wanted)
        shown = encoded.layout.length
        code_there = codes[:, :shown] if encoded.index is None else take(codes, encoded.index)
        where_there = None
        if where is not None:
            where_there = where[:, :shown]
            if encoded.index is not None:
                where_there = take(where, encoded.index)
        entered = self.enter(self.norm(encoded.tokens)) + code_there
        context = Context(entered, where_there, encoded.present)
        asked = self.mask_token + take(codes, index)
        found = self.transformer(asked, take(where, index), present, context)
        return Predicted(self.leave(found), index, present, layout)
