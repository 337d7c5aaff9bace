"""One look for all figures: widths, fonts, and colours that every eye can tell apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from textwrap import wrap
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from maestro_lab.errors import ParameterError

__all__ = [
    "COLOURS",
    "GREY",
    "HIDDEN",
    "VENUES",
    "WIDTH",
    "by_epoch",
    "composite",
    "composites",
    "finish",
    "new_figure",
    "page",
    "page_width",
    "stretch",
    "striped",
    "styled",
    "venue_width",
]

WIDTH = 7.0
"""Width of a page in inches."""

VENUES = {
    "copernicus": 4.72,
    "copernicus-column": 3.27,
    "cvpr": 6.875,
    "cvpr-column": 3.25,
    "elsevier": 7.48,
    "elsevier-column": 3.54,
    "icml": 6.75,
    "icml-column": 3.25,
    "ieee": 7.16,
    "ieee-column": 3.5,
    "neurips": 5.5,
}
"""Widths in inches that venues of the field print figures at.

A name alone is the width of the text, ``-column`` that of one of two columns: IEEE 18.2 and 8.9 cm
(TGRS, JSTARS), Elsevier 19 and 9 cm (RSE, ISPRS), Copernicus 12 and 8.3 cm (ISPRS Annals, ESSD),
CVPR and ICML by their style files; NeurIPS, and ICLR like it, print one column.
"""

_NARROW = 5.0  # inches; below this, letters are smaller and panels stand below each other
_IN_A_ROW = 4  # pictures that a narrow column has room for
HIDDEN = 0.82
"""Grey of what the encoder does not see."""

_STRIPES = 192  # points along an image that stripes are drawn in
_width: ContextVar[float] = ContextVar("width of a page in inches", default=WIDTH)

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
    "legend.framealpha": 0.75,
    "legend.edgecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
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


def venue_width(venue: str) -> float:
    """Return the width in inches that a venue prints figures at.

    Raises
    ------
    ParameterError
        If there is no such venue.

    Examples
    --------
    >>> venue_width("ieee-column")
    3.5
    """
    if venue not in VENUES:
        raise ParameterError("no such venue", expected=", ".join(VENUES), found=venue)
    return VENUES[venue]


@contextmanager
def page(width: float) -> Iterator[None]:
    """Draw what is inside on pages of another width, in inches.

    Raises
    ------
    ParameterError
        If the width is not from 2 to 20 inches.

    Examples
    --------
    >>> with page(venue_width("neurips")):
    ...     page_width()
    5.5
    """
    if not 2 <= width <= 20:
        raise ParameterError("width of a page", expected="2 to 20 inches", found=width)
    token = _width.set(float(width))
    try:
        yield
    finally:
        _width.reset(token)


def page_width() -> float:
    """Return the width in inches of the figures that are drawn now."""
    return _width.get()


def narrow() -> bool:
    """Tell whether the page is one column of a venue, too narrow for panels side by side."""
    return page_width() < _NARROW


def wide_page() -> float:
    """Return the width for figures with too many panels for a column: never less than a page."""
    return WIDTH if narrow() else page_width()


@contextmanager
def styled() -> Iterator[None]:
    """Draw what is inside in the look of the house, with smaller letters in narrow columns."""
    import matplotlib.pyplot as plt

    smaller = {name: RC[name] - 1 for name in RC if name.endswith("size")} if narrow() else {}
    with plt.rc_context({**RC, **smaller}):
        yield


def new_figure(height: float, **options: Any) -> Figure:
    """Return an empty figure as wide as the page; draw on it inside :func:`styled`."""
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(page_width(), height), layout="constrained", **options)


def folded(words: str, wide: int = 18) -> str:
    """Return words on several lines where they would take too much of a narrow column.

    Examples
    --------
    >>> with page(3.5):
    ...     print(folded("median of all valid dates"))
    median of all
    valid dates
    """
    return "\n".join(wrap(words, wide)) if narrow() else words


def fitting(count: int) -> list[int]:
    """Return which of some pictures in a row to draw: all, or a few spread in a narrow column.

    Examples
    --------
    >>> with page(3.5):
    ...     fitting(8)
    [0, 2, 5, 7]
    """
    most = _IN_A_ROW if narrow() else count
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()


def by_hand(height: float) -> tuple[Figure, Callable[[float, float, float, float, str], Axes]]:
    """Return an empty figure, and a function that puts axes on it: much faster than a solver.

    Parameters
    ----------
    height
        In inches, as are left, top, width and height that the function takes, before the label of
        the axes; all for a page of :data:`WIDTH`, and scaled to the one that is drawn on.
    """
    import matplotlib.pyplot as plt

    scale = wide_page() / WIDTH
    figure = plt.figure(figsize=(scale * WIDTH, scale * height))

    def place(left: float, top: float, width: float, tall: float, name: str) -> Axes:
        box = (left / WIDTH, 1 - (top + tall) / height, width / WIDTH, tall / height)
        axes = figure.add_axes(box)
        axes.set_label(name)
        return axes

    return figure, place


def beside(figure: Figure, count: int, *, share: str = "") -> np.ndarray:
    """Return axes side by side, or one below the other in a narrow column.

    Parameters
    ----------
    figure
        An empty one.
    count
        Number of axes.
    share
        What all have in common: ``x``, ``y``, ``xy`` or nothing.
    """
    shape = (count, 1) if narrow() else (1, count)
    return figure.subplots(*shape, squeeze=False, sharex="x" in share, sharey="y" in share).ravel()


def legend(axes: Axes, *args: Any, above: int = 1, **options: Any) -> None:
    """Put a legend right of axes, or in a narrow page above them in ``above`` columns."""
    if narrow():
        place: dict[str, Any] = {
            "loc": "lower center",
            "bbox_to_anchor": (0.5, 1.0),
            "ncols": above,
        }
    else:
        place = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
    axes.legend(*args, **place, **options)


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


def by_epoch(axes: Axes, **label: Any) -> None:
    """Count epochs along the axis; whole ones, unless there is less than one to see."""
    axes.set_xlabel("epoch", **label)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def striped(picture: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """Lay stripes over the pixels of a picture that are not valid.

    Parameters
    ----------
    picture
        (y, x, 3), 0 to 1.
    bad
        (y, x) bool.

    Returns
    -------
    array
        The picture; if anything is striped, with several points to a pixel of a small one.
    """
    if not bad.any():
        return picture
    fine = max(1, _STRIPES // max(bad.shape))
    picture, bad = (np.repeat(np.repeat(a, fine, 0), fine, 1) for a in (picture, bad))
    rows, columns = np.indices(bad.shape)
    found = picture.copy()
    found[bad] = 0.55 * picture[bad] + 0.45
    dark = bad & ((rows + columns) % 16 < 4)
    found[dark] = 0.25 * picture[dark] + 0.15
    return found
