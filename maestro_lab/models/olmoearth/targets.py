"""Targets: a random projection of the pixels, drawn once and never trained.

Of the published target encoder only the patch embedding is ever used, so only that is kept.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from maestro_lab.models.olmoearth.config import OlmoEarthConfig
from maestro_lab.models.olmoearth.embedding import Embedding

__all__ = ["Target"]


class Target(nn.Module):
    """The projection; it begins as a copy of the encoder's embedding and stays as it is.

    Parameters
    ----------
    config
        Of the model.
    embedding
        What to copy.
    """

    def __init__(self, config: OlmoEarthConfig, embedding: Embedding) -> None:
        super().__init__()
        self.embedding = Embedding(config)
        self.embedding.load_state_dict(embedding.state_dict())
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, patches: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Project patches from :meth:`Embedding.patches`: modality to (b, g, d, l, w)."""
        return self.embedding(patches)
