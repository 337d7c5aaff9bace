"""What a MAESTRO model sees and guesses, as images; for looking at, never for training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from maestro_lab.models.hiding import masked_count
from maestro_lab.models.maestro import Maestro
from maestro_lab.models.masking import split_mask
from maestro_lab.models.tokens import patchify, prepare, take, unpatchify, valid_patches

if TYPE_CHECKING:
    from maestro_lab.batches import Batch, Series

__all__ = ["mask_images", "predict_images", "target_images"]


@torch.no_grad()
def predict_images(model: Maestro, batch: Batch, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Predict every patch of a batch, masked or not, as the loss sees it.

    Parameters
    ----------
    model, batch
        The model and its input.
    masks
        Stream to bool (b, n), True = masked.

    Returns
    -------
    dict
        Modality to images (b, d, c, size, size): normalised per patch and band group under the
        ``_norm`` losses, else in the units of the model's input.
    """
    sequences, _ = model.sequences(batch)
    index = {s.name: split_mask(masks[s.name], masked_count(masks, s)) for s in model.streams}
    encoded = model.encode_visible(
        {name: take(s.tokens, index[name][0]) for name, s in sequences.items()},
        {name: take(s.present, index[name][0]) for name, s in sequences.items()},
    )
    images = {}
    for stream in model.streams:
        name = stream.name
        decoded = model.decode(stream, encoded[name], sequences[name], *index[name], whole=True)
        for modality, part in stream.split(decoded).items():
            images[modality] = _images(model, modality, part)
    return {name: images[name] for name in model.modalities}


def _images(model: Maestro, name: str, decoded: Tensor) -> Tensor:
    """Turn decoded tokens (b, g, d, l, w) into images (b, d, c, size, size)."""
    m = model.modalities[name]
    parts: dict[str, Tensor] = {}
    for k, bands in enumerate(m.token_groups):
        head = model.to_pixels[m.embedding or name][k]
        patches = head(decoded[:, k]).unflatten(-1, (len(bands), m.patch**2))
        parts |= {band: patches[..., i, :] for i, band in enumerate(bands)}
    return unpatchify(torch.stack([parts[b] for b in m.bands], dim=-2), m.patch)


@torch.no_grad()
def target_images(
    model: Maestro, name: str, series: Series
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return what a modality's prediction is compared with, as images (b, d, c, size, size).

    Returns
    -------
    tuple
        The targets; the values they come from; mean and deviation that were taken out of each
        patch (0 and 1 for losses on raw values); and bool (b, d, size, size), True where a pixel
        counts.
    """
    m = model.modalities[name]
    images, valid = prepare(series.values, series.valid, m)
    patches, pixels = patchify(images, m.patch).float(), None
    counts = torch.ones_like(images[:, :, 0], dtype=torch.bool)
    if valid is not None:
        pixels, enough = valid_patches(valid, m.patch)
        counts = unpatchify((pixels & enough[..., None])[..., None, :], m.patch).squeeze(2)
    mean, deviation = torch.zeros_like(patches), torch.ones_like(patches)
    if model.config.loss.endswith("_norm"):
        found = model.norms[name].statistics(patches, pixels)
        mean, deviation = (t.expand_as(patches) for t in found)
    parts = ((patches - mean) / deviation, patches, mean, deviation)
    target, values, mean, deviation = (unpatchify(part, m.patch) for part in parts)
    return target, values, mean, deviation, counts


def mask_images(model: Maestro, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return masks as images: modality to bool (b, d, c, size, size)."""
    images = {}
    for stream in model.streams:
        for name, part in stream.split(masks[stream.name][..., None]).items():
            m = model.modalities[name]
            group = {b: k for k, bands in enumerate(m.token_groups) for b in bands}
            chosen = torch.stack([part[:, group[b], :, :, 0] for b in m.bands], dim=-1)
            chosen = chosen[..., None].expand(*chosen.shape, m.patch**2)
            images[name] = unpatchify(chosen, m.patch)
    return {name: images[name] for name in model.modalities}
