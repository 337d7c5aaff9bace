"""Frozen embeddings: one vector for each location of each sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from maestro_lab.batches import CubeDataset, loader
from maestro_lab.batches.dataset import check_samples
from maestro_lab.errors import ParameterError
from maestro_lab.models.olmoearth.model import OlmoEarth
from maestro_lab.models.systems import Model

if TYPE_CHECKING:
    from maestro_lab.batches import Batch
    from maestro_lab.models.olmoearth.sample import Sample
    from maestro_lab.olmoearth.dataset import OlmoEarthDataset

__all__ = ["Embeddings", "embed", "reference_grid"]


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of the samples of a data set.

    Parameters
    ----------
    features
        float32 (sample, location, width); locations of a ``grid`` x ``grid`` raster, row-major.
    sample
        Number of each sample in its cube.
    grid
        Locations along one side.
    """

    features: np.ndarray
    sample: np.ndarray
    grid: int


def reference_grid(model: Model, data: CubeDataset | OlmoEarthDataset) -> int:
    """Return the grid of the finest multitemporal modality, else of the finest one."""
    if isinstance(model, OlmoEarth):
        return data.grid
    modalities = model.modalities.values()
    several = [m for m in modalities if m.dates > 1] or list(modalities)
    return max(m.grid for m in several)


@torch.no_grad()
def embed(
    model: Model,
    data: CubeDataset | OlmoEarthDataset,
    *,
    grid: int | None = None,
    draws: int = 4,
    batch_size: int = 64,
) -> Embeddings:
    """Embed every sample: one vector for each location.

    Of MAESTRO the tokens of a modality are averaged over dates, and modalities put side by side; of
    OlmoEarth they are averaged over band groups and slots, then over modalities, as published; a
    location without any data is NaN.

    MAESTRO takes a fixed number of dates; where a series has more, the sample is embedded several
    times with other dates and the embeddings are averaged. Tokens of dates that are missing or
    under clouds do not count; a modality that a sample lacks altogether gives zeros.

    Parameters
    ----------
    model
        Used as it is, nothing masked, no gradient.
    data
        Samples, with ``train=False``: a ``CubeDataset``, or an ``OlmoEarthDataset``.
    grid
        Locations along one side; coarser modalities are interpolated to it, finer ones averaged.
        Default: :func:`reference_grid`.
    draws
        Choices of dates: the first is the one closest to medians, the others are random.
    batch_size
        Samples at once.
    """
    if check_samples(data, "data to embed").train:
        raise ParameterError("data to embed", expected="train=False", found="train=True")
    if draws < 1:
        raise ParameterError("draws", expected="at least 1 choice of dates", found=draws)
    grid = grid or reference_grid(model, data)
    device, training = next(model.parameters()).device, model.training
    model.eval()
    batches = loader(data, batch_size)
    total = 0.0
    for draw in range(draws if data.has_choice else 1):
        batches.batch_sampler.epoch = draw
        parts = []
        for batch in batches:
            parts.append(_vectors(model, batch.to(device), grid).float().cpu().numpy())
        total = total + np.concatenate(parts)
    model.train(training)
    return Embeddings(total / (draw + 1), data.index.copy(), grid)


def _vectors(model: Model, batch: Batch | Sample, grid: int) -> Tensor:
    """Embed a batch: (b, grid*grid, w)."""
    if isinstance(model, OlmoEarth):
        return _on_grid(model.embed(batch, spatial=True, empty=torch.nan), grid)
    features = model.features(batch)
    return torch.cat([_pool(tokens, present, grid) for tokens, present in features.values()], -1)


def _pool(tokens: Tensor, present: Tensor | None, grid: int) -> Tensor:
    """Average tokens (b, g, d, l, w) over dates and bring them to a grid: (b, grid*grid, w)."""
    tokens = tokens.flatten(1, 2)
    if present is None:
        mean = tokens.mean(1)
    else:
        weight = present.flatten(1, 2)[..., None].to(tokens.dtype)
        mean = (tokens * weight).sum(1) / weight.sum(1).clamp(min=1)
    return _on_grid(mean, grid)


def _on_grid(mean: Tensor, grid: int) -> Tensor:
    """Bring vectors (b, l, w) to a grid: (b, grid*grid, w)."""
    side = round(mean.shape[1] ** 0.5)
    image = mean.transpose(1, 2).unflatten(-1, (side, side))
    if side > grid:
        image = F.adaptive_avg_pool2d(image, grid)
    elif side < grid:
        image = F.interpolate(image, (grid, grid), mode="bilinear", align_corners=False)
    return image.flatten(2).transpose(1, 2)
