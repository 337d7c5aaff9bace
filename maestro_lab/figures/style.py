"""One look for all figures: widths, fonts, and colours that every eye can tell apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

__all__ = [
    "COLOURS",
    "GREY",
    "WIDTH",
    "composite",
    "composites",
    "finish",
    "hatch",
    "new_figure",
    "stretch",
    "styled",
]

WIDTH = 7.0
"""Width of a page in inches."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours of Okabe and Ito (2008), told apart with any kind of colour vision."""

GREY = "#8A8A8A"

RC = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "image.interpolation": "nearest",
}

_TRIPLES = (
    ("B08", "B04", "B03"),
    ("B8A", "B04", "B03"),
    ("NIR", "R", "G"),
    ("B11", "B8A", "B04"),
    ("B04", "B03", "B02"),
    ("R", "G", "B"),
    ("VV", "VH", "VV"),
)


@contextmanager
def styled() -> Iterator[None]:
    """Draw what is inside in the look of the house."""
    import matplotlib.pyplot as plt

    with plt.rc_context(RC):
        yield


def new_figure(height: float, **options: Any) -> Figure:
    """Return an empty figure of page width; draw on it inside :func:`styled`."""
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(WIDTH, height), layout="constrained", **options)


def finish(figure: Figure) -> Figure:
    """Let pyplot forget the figure, so that a notebook shows it once: where it is returned."""
    import matplotlib.pyplot as plt

    plt.close(figure)
    return figure


def composite(bands: Sequence[str]) -> tuple[list[int], str]:
    """Choose the bands to show as red, green and blue.

    Returns
    -------
    tuple
        Three indices (one for a grey image), and what they are in words.

    Examples
    --------
    >>> composite(["B02", "B03", "B04", "B08"])
    ([3, 2, 1], 'B08 B04 B03')
    """
    bands = list(bands)
    for triple in _TRIPLES:
        if all(b in bands for b in triple):
            return [bands.index(b) for b in triple], " ".join(triple)
    if len(bands) >= 3:
        return [2, 1, 0], " ".join(bands[i] for i in (2, 1, 0))
    return [0], bands[0]


def composites(ds: xr.Dataset) -> tuple[np.ndarray, str]:
    """Take the bands of a modality to show, (..., c, y, x), radar in dB, and name them."""
    bands, words = composite([str(b) for b in ds["band"].values])
    images = ds["values"].isel(band=bands).values.astype(float)
    if ds.attrs["units"] == "linear power":
        return 10 * np.log10(np.maximum(images, 1e-6)), f"{words} (dB)"
    return images, words


def stretch(
    images: np.ndarray, valid: np.ndarray | None = None, low: float = 0.02, high: float = 0.98
) -> tuple[np.ndarray, np.ndarray]:
    """Return per-band limits that show most pixels: (c,) and (c,).

    Parameters
    ----------
    images
        (..., c, y, x).
    valid
        (..., y, x); only True pixels count.
    """
    pixels = np.moveaxis(images, -3, -1)
    pixels = pixels.reshape(-1, pixels.shape[-1]) if valid is None else pixels[valid]
    pixels = pixels[np.isfinite(pixels).all(1)]
    if not len(pixels):
        pixels = np.zeros((1, images.shape[-3]))
    bounds = np.quantile(pixels, [low, high], axis=0)
    return bounds[0], np.maximum(bounds[1], bounds[0] + 1e-9)


def as_rgb(image: np.ndarray, bounds: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Scale an image (c, y, x) of one or three bands to (y, x, 3) in 0..1."""
    low, high = (b[:, None, None] for b in bounds)
    scaled = np.clip((np.nan_to_num(image) - low) / (high - low), 0, 1)
    return np.moveaxis(np.repeat(scaled, 3, 0) if len(scaled) == 1 else scaled, 0, -1)


def bare(axes: Axes) -> None:
    """Take ticks and frame away."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def hatch(axes: Axes, bad: np.ndarray) -> None:
    """Fade and hatch pixels that are not valid; the whole image at once where all are."""
    veil = np.zeros((*bad.shape, 4))
    veil[bad] = 1, 1, 1, 0.6
    axes.imshow(veil)
    boxes = [(0, 0, *bad.shape[::-1])] if bad.all() else []
    for y, line in enumerate(np.pad(bad, ((0, 0), (1, 1))).astype(int)):
        starts, ends = (np.flatnonzero(np.diff(line) == step) for step in (1, -1))
        if not bad.all():
            boxes += [(x, y, end - x, 1) for x, end in zip(starts, ends, strict=True)]
    for x, y, width, height in boxes:
        axes.add_patch(
            Rectangle((x - 0.5, y - 0.5), width, height, fill=False, hatch="/////", lw=0,
                      ec="#00000080")
        )  # fmt: skip
