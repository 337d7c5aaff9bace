"""From pixels to tokens: resize to patches of 8 x 8, look at each pixel alone, project.

Images are resized, not weights: the filter reaches up to two pixels into neighbouring patches.
Source of the filter: R. Keys, Cubic convolution interpolation, 1981, with a = -1/2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from maestro_lab.models.kernels import Linear, product
from maestro_lab.models.olmoearth.config import BASE_PATCH, Modality, OlmoEarthConfig
from maestro_lab.models.olmoearth.sample import Sample, has_data

__all__ = ["Embedding", "PatchEmbedding", "drop_bands", "resize_matrix", "resized_patches"]


@lru_cache(maxsize=64)
def resize_matrix(inputs: int, outputs: int) -> Tensor:
    """Return the matrix that resizes one axis: bicubic, half-pixel centres, float32.

    Examples
    --------
    >>> import torch
    >>> m = resize_matrix(4, 8)
    >>> m.shape, bool(torch.allclose(m.sum(1), torch.ones(8)))
    (torch.Size([8, 4]), True)
    """
    scale = inputs / outputs
    centre = (torch.arange(outputs, dtype=torch.float64) + 0.5) * scale
    apart = torch.arange(inputs, dtype=torch.float64) + 0.5 - centre[:, None]
    x = (apart / max(scale, 1.0)).abs()
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    weight = torch.where(x < 1, near, torch.where(x < 2, far, 0.0))
    return (weight / weight.sum(1, keepdim=True)).float()


def resized_patches(images: Tensor, patch: int) -> Tensor:
    """Cut images into patches, each of them resized to 8 x 8 pixels.

    Parameters
    ----------
    images
        (b, d, c, h, w); ``patch`` divides h and w.
    patch
        Pixels along the side of a patch.

    Returns
    -------
    Tensor
        (b, d, l, 64, c): patches and pixels row by row.
    """
    images = images.permute(0, 1, 3, 4, 2).contiguous()  # (b, d, h, w, c), while it is small
    if patch != BASE_PATCH:
        height, width = (n // patch * BASE_PATCH for n in images.shape[2:4])
        down, across = (
            resize_matrix(before, after).to(images.device)
            for before, after in zip(images.shape[2:4], (height, width), strict=True)
        )
        with torch.autocast(images.device.type, enabled=False):
            images = down @ (across @ images.float()).flatten(3)
            images = images.unflatten(3, (width, -1))
    p = BASE_PATCH
    return rearrange(images, "b d (i p) (j q) c -> b d (i j) (p q) c", p=p, q=p)


class PatchEmbedding(nn.Module):
    """One band group of one modality: patches to tokens.

    Parameters
    ----------
    bands, width
        Channels of a pixel and of a token.
    hidden
        Channels of the layer that looks at each pixel alone; 0 for none.
    """

    def __init__(self, bands: int, width: int, hidden: int) -> None:
        super().__init__()
        self.pixel = Linear(bands, hidden) if hidden else None
        self.project = Linear(BASE_PATCH**2 * (hidden or bands), width)

    def forward(self, patches: Tensor) -> Tensor:
        """Embed patches (..., 64, c) as tokens (..., w)."""
        if self.pixel is not None:
            # Laid out by columns, torch multiplies its gradient up to eight times as fast.
            weight = self.pixel.weight.T.contiguous().T
            pixels = product(patches.flatten(0, -2), weight, self.pixel.bias)
            patches = F.relu(pixels, inplace=True).view(*patches.shape[:-1], -1)
        return self.project(patches.flatten(-2))


class Embedding(nn.ModuleDict):
    """The embeddings of all modalities, one a band group.

    Parameters
    ----------
    config
        Of the model.
    """

    def __init__(self, config: OlmoEarthConfig) -> None:
        super().__init__()
        self.modalities: dict[str, Modality] = dict(config.modalities)
        width, hidden = config.size.width, config.pixel_width
        for name, m in self.modalities.items():
            self[name] = nn.ModuleList(
                PatchEmbedding(len(g), width, hidden) if m.spatial else Linear(len(g), width)
                for g in m.groups
            )

    def patches(self, sample: Sample, names: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Resize and cut what has pixels, and lay out the rest alike.

        Parameters
        ----------
        sample
            The values; those that are no data count as zero, so that they cannot reach into
            neighbouring patches.
        names
            Modalities. Default: all of the sample.

        Returns
        -------
        dict
            Modality to (b, d, l, 64, c), or (b, d, 1, c) of what has no pixels.
        """
        found = {}
        for name in sample.values if names is None else names:
            values = sample.values[name]
            values = torch.where(has_data(values), values, 0.0)
            if self.modalities[name].spatial:
                found[name] = resized_patches(values, sample.patch)
            else:
                found[name] = values.view(len(values), -1, 1, values.shape[-1])
        return found

    def forward(self, patches: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Embed patches from :meth:`patches`: modality to tokens (b, g, d, l, w)."""
        tokens = {}
        for name, given in patches.items():
            groups = self.modalities[name].groups
            parts = given.split([len(g) for g in groups], dim=-1) if len(groups) > 1 else [given]
            found = [embed(part) for embed, part in zip(self[name], parts, strict=True)]
            tokens[name] = torch.stack(found, dim=1) if len(found) > 1 else found[0][:, None]
        return tokens


def drop_bands(patches: Mapping[str, Tensor], rates: Mapping[str, float]) -> dict[str, Tensor]:
    """Set bands to zero at random, at least one band of each sample left.

    Parameters
    ----------
    patches
        Modality to (b, d, l, 64, c).
    rates
        Modality to the largest chance; the chance of a batch is drawn below it.

    Returns
    -------
    dict
        Modality to patches; a band is dropped from all dates and pixels of a sample.
    """
    dropped = dict(patches)
    for name in (n for n in rates if n in patches and rates[n] > 0):
        given = patches[name]
        chance = torch.rand((), device=given.device) * rates[name]
        draw = torch.rand(len(given), given.shape[-1], device=given.device)
        keep = (draw >= chance) | (draw == draw.amax(1, keepdim=True))
        dropped[name] = given * keep.view(len(given), 1, 1, 1, -1)
    return dropped
