"""Painter of embeddings: maps of the ground, points of a plane, patches."""

from __future__ import annotations

import textwrap
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from maestro_lab.figures.alike import EMPTY
from maestro_lab.figures.cube_panels import CLASS_COLOURS
from maestro_lab.figures.embedding_space import MONTHS
from maestro_lab.figures.similarity import mark
from maestro_lab.figures.style import COLOURS, bare, narrow, page_width, styled

__all__ = ["chip_places", "paint_view"]

_HEAD, _KEY = 0.66, 1.1  # inches: above the maps, of the key
_PICKED = COLOURS[4]
_FEW = 60  # points that can be ringed boldly without hiding the others
_UNKNOWN = "#D9D9D9"
_NAMES = 12  # classes that have a colour


def paint_view(data: xr.Dataset) -> Figure:
    """Draw what :func:`~maestro_lab.figures.embedding_view` prepared."""
    wide, small = page_width(), narrow()
    side, low = (wide - 1.0) / 3, 2.5
    top, tall = _HEAD + side + 0.36, _chips_tall(len(data.attrs["patches"]))
    height = top + low + (0.6 + tall if small else 0.3)
    with styled():
        figure = Figure(figsize=(wide, height))  # which pyplot need not know

        def place(left: float, above: float, width: float, inches: float, name: str) -> Axes:
            box = (left / wide, 1 - (above + inches) / height, width / wide, inches / height)
            axes = figure.add_axes(box)
            axes.set_label(name)
            return axes

        _maps(figure, data, side, place)
        across = wide - _KEY - 0.35 if small else 0.4 * wide
        points = place(0.25, top, across, low, "points")
        _points(points, data)
        if data.attrs["kind"] in ("rgb", "class"):
            _names(points, data)
        else:
            bar = place(0.33 + across, top + 0.4, 0.1, low - 0.55, "<colours>")
            _scale(figure, bar, data)
        left, above = (0.0, top + low + 0.5) if small else (0.61 * wide, top)
        _chips(place(left, above, _chips_wide(), tall, "patches"), data)
        title = data.attrs["title"].replace("; ", "\n") if small else data.attrs["title"]
        figure.suptitle(title, fontsize=7 if small else 9, y=1 - 0.1 / height)
    return figure


def _maps(figure: Figure, data: xr.Dataset, side: float, place: Any) -> None:
    """Draw picture, map and similarity of the same ground."""
    told, gap = data.attrs, 0.12
    size = 5.5 if narrow() else 7.5
    (low, high), (row, column) = told["limits"], told["patch"]
    about = "mean of all taken out" if told["known"] else "which has no data"
    titles = (
        f"{told['bands']}\nmedian of valid dates",
        "embeddings as colours:\nthree principal components",
        f"cosine to the chosen patch\n({about})",
    )
    if narrow():
        titles = (told["bands"], "three components", "cosine" if told["known"] else "no data")
    similarity = {"cmap": "viridis", "vmin": low, "vmax": high}
    for k, (name, options) in enumerate((("picture", {}), ("colour", {}), ("cosine", similarity))):
        label = {"picture": "image", "colour": "map", "cosine": "similarity"}[name]
        axes = place(0.1 + k * (side + gap), _HEAD, side, side, label)
        shown = _on_ground(axes, data, name, **options)
        if not told["alone"]:
            y, x = told["window"]
            box = Rectangle((x - 0.5, y - 0.5), told["grid"], told["grid"])
            box.set(fill=False, ec="white", lw=0.8, ls=(0, (3, 2)))
            axes.add_patch(box)
        cells = [Rectangle((c - 0.5, r - 0.5), 1, 1) for r, c in data["picked"].values]
        axes.add_collection(PatchCollection(cells, fc="none", ec=_PICKED, lw=1.1))
        mark(axes, (column - 0.5, row - 0.5, 1, 1))
        axes.set_title(titles[k], fontsize=size, pad=3)
    if not told["known"]:
        return
    rows, columns = data["cosine"].shape
    tall = side * min(1, rows / columns)
    bar = place(0.1 + 3 * side + 2 * gap + 0.07, _HEAD + tall * 0.1, 0.1, tall * 0.8, "<cosines>")
    figure.colorbar(shown, cax=bar)
    bar.tick_params(labelsize=size - 0.5, length=2, pad=2)


def _on_ground(axes: Axes, data: xr.Dataset, name: str, **options: Any) -> AxesImage:
    """Draw an image in units of patches."""
    bare(axes)
    axes.set_facecolor(str(EMPTY))
    rows, columns = data["cosine"].shape
    extent = (-0.5, columns - 0.5, rows - 0.5, -0.5)
    axes.set_anchor("N")
    return axes.imshow(data[name].values, extent=extent, **options)


def _points(axes: Axes, data: xr.Dataset) -> None:
    """Draw points, those selected and the chosen one."""
    told, at = data.attrs, data["at"].values
    edge = {"edgecolors": "#666666", "linewidths": 0.25} if told["kind"] == "month" else {}
    area = float(np.clip(9000 / max(len(at), 1), 5, 30))
    axes.scatter(*at.T, c=_point_colours(data), s=area, **({"linewidths": 0} | edge))
    few = len(data["selection"]) <= _FEW
    size, width = float(np.sqrt(area)) + (4 if few else 1.5), 1.4 if few else 0.7
    axes.plot(*data["selection"].values.T, "o", mfc="none", mec=_PICKED, ms=size, mew=width)
    for colour, width in (("white", 3.0), ("black", 1.5)):
        axes.plot(*data["chosen"].values.T, "o", mfc="none", mec=colour, ms=9, mew=width)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.margins(0.04)
    axes.set_xlabel(told["axes"][0], fontsize=7, labelpad=3)
    axes.set_ylabel(told["axes"][1], fontsize=7, labelpad=3)
    chosen = "" if len(data["chosen"]) else ", none of the chosen patch"
    axes.set_title(f"{told['points']}{chosen}", fontsize=6.5 if narrow() else 8, pad=4)


def _point_colours(data: xr.Dataset) -> np.ndarray:
    """Return RGBA (point, 4); light grey where nothing is known."""
    values, told = data["value"].values, data.attrs
    if told["kind"] == "rgb":
        return np.column_stack([values, np.ones(len(values))])
    known = np.isfinite(values)
    found = np.tile(mpl.colors.to_rgba(_UNKNOWN), (len(values), 1))
    if told["kind"] == "class":
        table = mpl.colors.to_rgba_array(CLASS_COLOURS)
        shown = _classes(data)
        for number in shown:  # a class has one colour, here and in the cube explorer
            found[known & (values == number)] = table[number % len(table)]
    elif told["kind"] == "month":
        found[known] = mpl.colormaps["twilight"](values[known] / 12)
    else:
        low, high = told["range"]
        scaled = np.clip((values[known] - low) / max(high - low, 1e-12), 0, 1)
        found[known] = mpl.colormaps["viridis"](scaled)
    return found


def _classes(data: xr.Dataset) -> list[int]:
    """Return the numbers of classes that have a colour: the most frequent ones, in order."""
    values = data["value"].values
    names, count = np.unique(values[np.isfinite(values)].astype(int), return_counts=True)
    return sorted(names[np.argsort(-count, kind="stable")[:_NAMES]].tolist())


def _names(axes: Axes, data: xr.Dataset) -> None:
    """Say beside the points what their colours are called."""
    told, values = data.attrs, data["value"].values
    shown = _classes(data) if told["kind"] == "class" else []
    colours = [CLASS_COLOURS[k % len(CLASS_COLOURS)] for k in shown]
    names = [textwrap.shorten(told["names"][k], 19, placeholder="…") for k in shown]
    if told["kind"] == "class" and not np.isin(values, shown).all():
        colours, names = [*colours, _UNKNOWN], [*names, "other, unknown"]
    handles = [Line2D([], [], marker="o", ls="", ms=5, mfc=c, mec="none") for c in colours]
    axes.legend(
        handles, names, title=_label(data), loc="upper left", bbox_to_anchor=(1.02, 1),
        fontsize=6.5, title_fontsize=7, borderaxespad=0, borderpad=0, handlelength=0.8,
        handletextpad=0.4, labelspacing=0.35, alignment="left",
    )  # fmt: skip


def _scale(figure: Figure, bar: Axes, data: xr.Dataset) -> None:
    """Say beside the points what numbers, or months, their colours are."""
    told, months = data.attrs, data.attrs["kind"] == "month"
    norm = mpl.colors.Normalize(*((0, 12) if months else told["range"]))
    colours = mpl.cm.ScalarMappable(norm, "twilight" if months else "viridis")
    figure.colorbar(colours, cax=bar)
    if months:
        bar.set_yticks(np.arange(12) + 0.5, MONTHS)
        bar.invert_yaxis()
    bar.tick_params(labelsize=6.5, length=0 if months else 2, pad=2)
    bar.set_title(_label(data), fontsize=7, loc="left", pad=5)
    if not np.isfinite(data["value"].values).all():
        bar.set_xlabel("grey: not known", fontsize=6.5, loc="left", labelpad=5)


def _label(data: xr.Dataset) -> str:
    """Return what the colours are, in lines that fit beside the points."""
    lines = data.attrs["label"].split("\n")
    return "\n".join(line for part in lines for line in textwrap.wrap(part, 19))


def chip_places(count: int) -> list[tuple[float, float, float]]:
    """Return left, top and side in inches of patches that are shown, on their panel."""
    step = _chips_wide() / 4
    side = step - 0.1
    return [
        (column * step + 0.05, 0.14 + row * (side + 0.3), side)
        for row, column in (divmod(k, 4) for k in range(count))
    ]


def _chips_wide() -> float:
    return page_width() if narrow() else 0.385 * page_width()


def _chips_tall(count: int) -> float:
    _, top, side = chip_places(count)[-1]
    return top + side + 0.16


def _chips(axes: Axes, data: xr.Dataset) -> None:
    """Draw patches with those around them, on axes in inches."""
    told = data.attrs
    places = chip_places(len(told["patches"]))
    bare(axes)
    axes.patch.set_visible(False)
    boxes = []
    for k, ((left, top, side), chip) in enumerate(zip(places, told["patches"], strict=True)):
        image = data[f"patch_{k}"].values
        axes.imshow(image, extent=(left, left + side, top + side, top), aspect="auto")
        x, y, width, height = np.add(np.multiply(chip["box"], side), (left, top, 0, 0))
        boxes.append(Rectangle((x, y), width, height))
        none = "no data" if told["known"] else ""
        words = none if chip["cosine"] is None else f"{chip['cosine']:.2f}"
        words = "chosen" if not k and not told["selected"] else words
        axes.text(left + side / 2, top - 0.03, words, fontsize=6.5, ha="center", va="bottom")
        most = int(17 * (side + 0.1))
        name = chip["name"] if len(chip["name"]) <= most else f"{chip['name'][: most - 1]}…"
        axes.text(left + side / 2, top + side + 0.03, name, fontsize=6, ha="center", va="top")
    for colour, line in (("white", 2.6), ("black", 1.2)):
        axes.add_collection(PatchCollection(boxes, fc="none", ec=colour, lw=line, clip_on=False))
    axes.set(xlim=(0, _chips_wide()), ylim=(_chips_tall(len(places)), 0))
    title = "most alike elsewhere (cosine)"
    if told["selected"]:
        count = len(told["patches"])
        title = f"{count} of {told['selected']:,} selected patches"
        title = title if count < told["selected"] else f"{count} selected patches"
    elif len(told["patches"]) < 2:
        title = "nothing elsewhere to compare with"
    axes.set_title(title, fontsize=6.5 if narrow() else 8, pad=4)
