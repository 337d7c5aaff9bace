"""A map of what is alike to an encoder, beside what it looks like to us."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from maestro_lab.figures.alike import EMPTY, Alike, Match
from maestro_lab.figures.style import WIDTH, bare, finish, new_figure, styled
from maestro_lab.training.embed import Embeddings

__all__ = ["similarity_map"]

_SIDE, _HEAD, _GAP, _CHIPS = 2.9, 0.42, 0.28, 1.5  # inches: a map, above it, below it, the chips


def similarity_map(
    cube: xr.DataTree | Alike,
    embeddings: Embeddings | None = None,
    *,
    sample: int | str = 0,
    row: int = 0,
    column: int = 0,
    beside: Sequence[int | str] = (),
    around: int | None = None,
    best: int = 6,
    modality: str = "",
) -> Figure:
    """Draw how like one patch all others are to an encoder, beside what the sample looks like.

    Similarity is the cosine of embeddings once their mean over all patches is taken out. Pictures
    are medians of valid dates.

    Parameters
    ----------
    cube, embeddings
        The cube and embeddings of its samples; or an :class:`Alike` made of both.
    sample, row, column
        The patch: number (or name) of the sample in the cube, and where in its window, row 0 on
        top.
    beside
        Other samples to draw with the first.
    around
        Windows to draw on each side of the sample's own, where windows lie side by side; default
        enough for some 20 patches.
    best
        Patches of other places to show, the most alike first; one of each place.
    modality
        To show; default the first one with three bands.

    Raises
    ------
    ParameterError
        If there is no such sample, patch or modality.
    """
    alike = cube if isinstance(cube, Alike) else Alike(cube, embeddings, modality)
    cosines = alike.cosines(sample, row, column)
    lines = [alike.line(s) for s in (sample, *beside)]
    frames = [alike.frame(int(alike.sample[line]), around) for line in lines]
    found = alike.matches(cosines, sample, best)
    heights = [_HEAD + len(lines) * (_SIDE + _GAP), _CHIPS if found else 0]
    with styled():
        figure = new_figure(sum(heights))
        figure.set_layout_engine("none")  # places are known, and the explorer is in a hurry
        _maps(figure, alike, cosines, lines, frames, (row, column))
        _chips(figure, alike, found, heights[0])
    return finish(figure)


def _axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Return empty axes at a place in inches, counted from the top left."""
    page, whole = figure.get_size_inches()
    place = (left / page, 1 - (top + height) / whole, width / page, height / whole)
    axes = figure.add_axes(place)
    bare(axes)
    return axes


def _maps(
    figure: Figure,
    alike: Alike,
    cosines: np.ndarray,
    lines: Sequence[int],
    frames: Sequence[np.ndarray],
    patch: tuple[int, int],
) -> None:
    low, high = alike.limits(cosines, frames, lines[0], patch)
    for k, (line, frame) in enumerate(zip(lines, frames, strict=True)):
        top = _HEAD + k * (_SIDE + _GAP)
        left, right = (_axes(figure, x, top, _SIDE, _SIDE) for x in (0.1, _SIDE + 0.4))
        _on_grid(left, alike.mosaic(frame), alike.grid * np.array(frame.shape))
        image = alike.lay(cosines, frame)
        shown = _on_grid(right, image, image.shape, cmap="viridis", vmin=low, vmax=high)
        right.set_facecolor(str(EMPTY))
        y, x = alike.grid * np.argwhere(frame == line)[0]
        for axes in (left, right):
            if frame.size > 1:
                _window(axes, (x - 0.5, y - 0.5), alike.grid)
            if not k:
                mark(axes, (x + patch[1] - 0.5, y + patch[0] - 0.5, 1, 1))
        name = alike.name(int(alike.sample[line]))
        left.set_title(name if k else f"{name}\n{alike.words}, median of valid dates", fontsize=8)
        if not k:
            known = np.isfinite(cosines).any()
            words = "(mean of all embeddings taken out)" if known else "which has no data"
            right.set_title(f"cosine similarity to the marked patch\n{words}", fontsize=8)
            bar = _axes(figure, 2 * _SIDE + 0.52, _HEAD + 0.3, 0.13, _SIDE - 0.6)
            figure.colorbar(shown, cax=bar)


def _window(axes: Axes, corner: tuple[float, float], side: int) -> None:
    """Outline the window that a sample is."""
    axes.add_patch(Rectangle(corner, side, side, fill=False, ec="white", lw=0.8, ls=(0, (3, 2))))


def _on_grid(axes: Axes, image: np.ndarray, patches: Sequence[int], **options: object) -> AxesImage:
    """Draw an image in units of patches."""
    bare(axes)
    rows, columns = patches
    return axes.imshow(image, extent=(-0.5, columns - 0.5, rows - 0.5, -0.5), **options)


def mark(axes: Axes, box: Sequence[float]) -> None:
    """Outline a box (x, y, width, height) so that it shows on any colour."""
    x, y, width, height = box
    for colour, line in (("white", 2.6), ("black", 1.2)):
        axes.add_patch(
            Rectangle((x, y), width, height, fill=False, ec=colour, lw=line, clip_on=False)
        )


def _chips(figure: Figure, alike: Alike, found: Sequence[Match], top: float) -> None:
    """Draw matches in one row, on axes in inches."""
    if not found:
        return
    axes = _axes(figure, 0, top, WIDTH, _CHIPS)
    step = (WIDTH - 0.2) / max(len(found), 6)
    side, first = min(step - 0.14, 0.92), (WIDTH - len(found) * step) / 2
    middle = first + step * (np.arange(len(found)) + 0.5)
    for x, match in zip(middle, found, strict=True):
        picture, box = alike.chip(match)
        left, upper = x - side / 2, 0.36
        axes.imshow(picture, extent=(left, left + side, upper + side, upper), aspect="auto")
        mark(axes, np.add(np.multiply(box, side), (left, upper, 0, 0)))
        axes.text(x, upper - 0.08, f"{match.cosine:.3f}", fontsize=8, ha="center")
        name = alike.name(match.sample)
        name = name if len(name) <= 18 else f"{name[:17]}…"
        axes.text(x, upper + side + 0.05, name, fontsize=7, ha="center", va="top")
    words = "most alike elsewhere, one patch of each place"
    axes.text(WIDTH / 2, 0.08, words, fontsize=8, ha="center")
    axes.set(xlim=(0, WIDTH), ylim=(_CHIPS, 0))
