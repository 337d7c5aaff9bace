"""Between pixels and tokens: patches, patch embedding, positions and dates.

Sources: MAESTRO (arXiv 2508.10894) for the embedding and both codes; the sine and cosine table is
the two-dimensional form of Vaswani et al. (2017).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from maestro_lab.contract import Modality
from maestro_lab.models.kernels import Linear

__all__ = [
    "DATE_CHANNELS",
    "PatchEmbedding",
    "date_code",
    "enough_valid",
    "known",
    "patchify",
    "position_table",
    "prepare",
    "take",
    "unpatchify",
    "valid_patches",
]

_MIN_VALID = 0.5  # a patch with a smaller share of valid pixels counts as missing

DATE_CHANNELS = 8
"""Channels at the end of every code that tell the date; positions leave them at zero."""


def patchify(images: Tensor, patch: int) -> Tensor:
    """Cut images into square patches.

    Parameters
    ----------
    images
        (..., c, h, w); ``patch`` divides h and w.

    Returns
    -------
    Tensor
        (..., locations, c, patch*patch): locations and pixels in row-major order.

    Examples
    --------
    >>> import torch
    >>> images = torch.rand(2, 3, 10, 6, 6)
    >>> patches = patchify(images, 2)
    >>> patches.shape, torch.equal(unpatchify(patches, 2), images)
    (torch.Size([2, 3, 9, 10, 4]), True)
    """
    return rearrange(images, "... c (i p) (j q) -> ... (i j) c (p q)", p=patch, q=patch)


def unpatchify(patches: Tensor, patch: int) -> Tensor:
    """Join square grids of patches into images; the inverse of :func:`patchify`."""
    grid = math.isqrt(patches.shape[-3])
    return rearrange(patches, "... (i j) c (p q) -> ... c (i p) (j q)", i=grid, p=patch)


class PatchEmbedding(nn.Module):
    """Linear projection of patches, then a norm over all channels and locations of an image.

    The norm (one group, as in ``GroupNorm(1, width)``) takes its statistics from every patch of
    the image of one date, so all patches are embedded even where most will be masked.

    Parameters
    ----------
    values
        Numbers in one patch: bands x pixels.
    width
        Channels of a token.
    """

    def __init__(self, values: int, width: int) -> None:
        super().__init__()
        self.project = Linear(values, width)
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, patches: Tensor) -> Tensor:
        """Embed patches (..., locations, c, pixels) as tokens (..., locations, width)."""
        x = self.project(patches.flatten(-2))
        x = F.layer_norm(x, x.shape[-2:])  # statistics over locations and channels together
        return torch.addcmul(self.bias, x, self.weight)


def position_table(width: int, cells: int, grid: int) -> Tensor:
    """Return the position code of a ``grid`` x ``grid`` modality.

    Sines and cosines of column and row are tabulated on ``cells`` x ``cells`` cells of ground that
    all modalities share, then averaged over the cells of each patch, so a coarse patch carries the
    mean code of the fine patches below it.

    Parameters
    ----------
    width
        Channels of the code; the last :data:`DATE_CHANNELS` stay zero.
    cells
        Cells along one side of the window.
    grid
        Patches along one side.

    Returns
    -------
    Tensor
        float32 (grid*grid, width), row-major.

    Examples
    --------
    >>> position_table(64, 96, 3).shape
    torch.Size([9, 64])
    """
    count = (width - DATE_CHANNELS) // 4
    frequencies = 10_000.0 ** (-torch.arange(count, dtype=torch.float64) / max(count - 1, 1))
    angles = torch.arange(cells, dtype=torch.float64)[:, None] * frequencies  # (cells, count)
    wave = torch.cat([angles.sin(), angles.cos()], dim=1)  # (cells, 2*count)
    column = wave[None, :, :].expand(cells, cells, -1)
    row = wave[:, None, :].expand(cells, cells, -1)
    table = torch.cat([column, row], dim=-1).permute(2, 0, 1)[None]  # (1, 4*count, cells, cells)
    if cells % grid:
        side = max(1, round(cells / grid)) * grid
        table = F.interpolate(table, (side, side), mode="bilinear", align_corners=False)
    table = F.avg_pool2d(table, table.shape[-1] // grid)
    table = rearrange(table[0], "w i j -> (i j) w")
    return F.pad(table, (0, width - table.shape[1])).float()


def date_code(dates: Tensor, ref_date: Tensor) -> Tensor:
    """Return the code of acquisition dates, relative to a sample's reference date.

    Parameters
    ----------
    dates
        (b, t, 3): year, day of the year from 1, hour.
    ref_date
        (b, 3), the same three numbers.

    Returns
    -------
    Tensor
        float32 (b, t, 8): years since the reference four times, then sine and cosine of the day in
        the year and of the hour in the day.
    """
    dates, ref_date = dates.float(), ref_date.float()
    year, day, hour = dates.unbind(-1)
    ref = ref_date[:, None, :]
    # The order of operations is the published one: years near 2000 leave float32 steps of 1.2e-4.
    since = (year + day / 365.25) - (ref[..., 0] + ref[..., 1] / 365.25)
    in_year, in_day = 2 * math.pi * day / 365.25, 2 * math.pi * hour / 24
    season = [in_year.sin(), in_year.cos(), in_day.sin(), in_day.cos()]
    return torch.stack([since] * 4 + season, dim=-1)


def prepare(values: Tensor, valid: Tensor | None, m: Modality) -> tuple[Tensor, Tensor | None]:
    """Resize images (b, d, c, h, w) to the model's size and rescale elevations.

    Returns
    -------
    tuple
        Images (b, d, c, size, size), and which pixels are valid (b, d, size, size).
    """
    if values.shape[-1] != m.size:
        shape, smooth = (m.size, m.size), m.resize != "nearest"
        flat = F.interpolate(
            values.flatten(0, 1), shape, mode=m.resize, align_corners=False if smooth else None
        )
        values = flat.unflatten(0, values.shape[:2])
        if valid is not None:
            valid = F.interpolate(valid.float(), shape, mode="nearest") > 0.5
    if m.rescale_elevation:
        surface = values[:, :, :1]
        values = torch.cat([surface, 30 * (surface - values[:, :, 1:])], dim=2)
    return values, valid


def enough_valid(pixels: Tensor) -> Tensor:
    """Tell which patches (..., p*p) have enough valid pixels to count: (...)."""
    return pixels.float().mean(-1) >= _MIN_VALID


def valid_patches(valid: Tensor, patch: int) -> tuple[Tensor, Tensor]:
    """Cut masks (b, d, h, w) into patches.

    Returns
    -------
    tuple
        Valid pixels (b, d, l, p*p), and patches that have enough of them (b, d, l).
    """
    pixels = patchify(valid[:, :, None], patch).squeeze(-2)
    return pixels, enough_valid(pixels)


def take(x: Tensor | None, index: Tensor) -> Tensor | None:
    """Gather along the second dimension: x (b, n, ...) at index (b, k)."""
    if x is None:
        return None
    shape = (*index.shape, *x.shape[2:])
    if x.ndim > 2 and x.is_floating_point() and x.device.type == "cpu":
        rows = index + x.shape[1] * torch.arange(len(x))[:, None]
        return F.embedding(rows, x.reshape(-1, x.shape[2:].numel())).view(shape)  # whole rows
    return x.gather(1, index.view(*index.shape, *[1] * (x.ndim - 2)).expand(shape))


def known(present: Sequence[Tensor | None], tokens: Sequence[Tensor]) -> list[Tensor] | None:
    """Write out masks of presence, where None stands for all; None if all are None.

    Parameters
    ----------
    present
        One for each of ``tokens``: bool, like the tokens without their channels.
    tokens
        (..., w).
    """
    if all(p is None for p in present):
        return None
    return [
        torch.ones_like(t[..., 0], dtype=torch.bool) if p is None else p
        for p, t in zip(present, tokens, strict=True)
    ]
