"""A map of what is alike to an encoder, beside what it looks like to us."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from maestro_lab.figures.alike import EMPTY, Alike, Match
from maestro_lab.figures.drawn import painted_by, parts, several
from maestro_lab.figures.style import bare, finish, narrow, new_figure, page_width, styled
from maestro_lab.training.embed import Embeddings

__all__ = ["similarity_map"]

_HEAD, _GAP, _CHIPS = 0.42, 0.28, 1.5  # inches: above a map, below it, the chips


def _paint_similarity(data: xr.DataTree) -> Figure:
    found = parts(data)
    maps, chips = ([p for p in found if p.attrs["shows"] == what] for what in ("sample", "match"))
    side = (page_width() - 1.2) / 2
    heights = [_HEAD + len(maps) * (side + _GAP), _CHIPS if chips else 0]
    with styled():
        figure = new_figure(sum(heights))
        figure.set_layout_engine("none")  # places are known, and the explorer is in a hurry
        _maps(figure, maps, data.attrs, side)
        _chips(figure, chips, heights[0])
    return finish(figure)


@painted_by(_paint_similarity)
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
) -> xr.DataTree:
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
    low, high = alike.limits(cosines, frames, lines[0], (row, column))
    return several(
        [
            *(_sample(alike, cosines, *own) for own in zip(lines, frames, strict=True)),
            *(_match(alike, match) for match in found),
        ],
        row=int(row),
        column=int(column),
        patches=int(alike.grid),
        limits=[low, high],
        bands=alike.words,
        known=bool(np.isfinite(cosines).any()),
    )


def _sample(alike: Alike, cosines: np.ndarray, line: int, frame: np.ndarray) -> xr.Dataset:
    """Return picture and similarity of a sample with those beside it."""
    return xr.Dataset(
        {
            "picture": (("y", "x", "rgb"), np.float32(alike.mosaic(frame))),
            "cosine": (("row", "column"), np.float32(alike.lay(cosines, frame))),
        },
        attrs={
            "shows": "sample",
            "name": alike.name(int(alike.sample[line])),
            "window": np.argwhere(frame == line)[0].tolist(),
            "alone": frame.size == 1,
        },
    )


def _match(alike: Alike, match: Match) -> xr.Dataset:
    """Return the picture of a patch that is alike, with those around it."""
    picture, box = alike.chip(match)
    return xr.Dataset(
        {"picture": (("y", "x", "rgb"), np.float32(picture))},
        attrs={
            "shows": "match",
            "name": alike.name(match.sample),
            "box": box.tolist(),
            "cosine": match.cosine,
        },
    )


def _axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Return empty axes at a place in inches, counted from the top left."""
    page, whole = figure.get_size_inches()
    place = (left / page, 1 - (top + height) / whole, width / page, height / whole)
    axes = figure.add_axes(place)
    bare(axes)
    return axes


def _maps(figure: Figure, maps: Sequence[xr.Dataset], told: Mapping[str, Any], side: float) -> None:
    (low, high), grid = told["limits"], told["patches"]
    for k, part in enumerate(maps):
        top, own = _HEAD + k * (side + _GAP), part.attrs
        left, right = (_axes(figure, x, top, side, side) for x in (0.1, side + 0.4))
        image = part["cosine"].values
        _on_grid(left, part["picture"].values, image.shape)
        shown = _on_grid(right, image, image.shape, cmap="viridis", vmin=low, vmax=high)
        right.set_facecolor(str(EMPTY))
        y, x = grid * np.array(own["window"])
        for axes in (left, right):
            if not own["alone"]:
                _window(axes, (x - 0.5, y - 0.5), grid)
            if not k:
                mark(axes, (x + told["column"] - 0.5, y + told["row"] - 0.5, 1, 1))
        words = f"{own['name']}\n{told['bands']}, median of valid dates"
        small = {"fontsize": 5 if narrow() else 8}
        left.set_title(own["name"] if k else words, **small)
        if not k:
            known = "(mean of all embeddings taken out)" if told["known"] else "which has no data"
            right.set_title(f"cosine similarity to the marked patch\n{known}", **small)
            bar = _axes(figure, 2 * side + 0.52, _HEAD + side * 0.1, 0.13, side * 0.8)
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


def _chips(figure: Figure, chips: Sequence[xr.Dataset], top: float) -> None:
    """Draw matches in one row, on axes in inches."""
    if not chips:
        return
    wide = page_width()
    axes = _axes(figure, 0, top, wide, _CHIPS)
    step = (wide - 0.2) / max(len(chips), 6)
    side, first = min(step - 0.14, 0.92), (wide - len(chips) * step) / 2
    middle, most = first + step * (np.arange(len(chips)) + 0.5), int(16 * step)
    for x, chip in zip(middle, chips, strict=True):
        left, upper = x - side / 2, 0.36
        extent = (left, left + side, upper + side, upper)
        axes.imshow(chip["picture"].values, extent=extent, aspect="auto")
        mark(axes, np.add(np.multiply(chip.attrs["box"], side), (left, upper, 0, 0)))
        axes.text(x, upper - 0.08, f"{chip.attrs['cosine']:.3f}", fontsize=8, ha="center")
        name = chip.attrs["name"]
        name = name if len(name) <= most else f"{name[: most - 1]}…"
        axes.text(x, upper + side + 0.05, name, fontsize=7, ha="center", va="top")
    words = "most alike elsewhere, one patch of each place"
    axes.text(wide / 2, 0.08, words, fontsize=8, ha="center")
    axes.set(xlim=(0, wide), ylim=(_CHIPS, 0))
