"""Panels of one sample of a cube, drawn from what ``sample_view`` prepares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.dates as mdates
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from maestro_lab.figures.style import (
    COLOURS,
    GREY,
    WIDTH,
    bare,
    by_hand,
    finish,
    striped,
    styled,
    wide_page,
)

__all__ = ["CLASS_COLOURS", "day_name", "move_cube", "moving_parts", "paint_cube", "pixel_at"]

_LARGE, _TOP, _LEFT, _RIGHT = 2.75, 0.62, 0.78, 0.95  # inches
_TALL, _LOW, _GAP, _FOOT = 1.25, 0.72, 0.16, 0.2
CLASS_COLOURS = (*COLOURS[:6], "#F0E442", "#882255", "#44AA99", "#999933", "#AA4499", "#332288")


def day_name(day: str) -> str:
    """Return a date as people write it.

    Examples
    --------
    >>> day_name("2021-05-03T10:40")
    '03 May 2021'
    """
    return f"{pd.Timestamp(day):%d %b %Y}"


def paint_cube(data: xr.Dataset) -> Figure:
    """Draw what was prepared; panels are placed by hand, which is much faster than a solver."""
    order = data.attrs["modalities"]
    courses = [n for n in order if f"course_{n}" in data]
    low = _FOOT + sum(_LOW + _GAP for _ in courses[1:]) + (_TALL + _GAP) * bool(courses)
    height = _TOP + _LARGE + (0.3 + low if courses else 0.15)
    with styled():
        figure, place = by_hand(height)
        _images(data, order, place)
        top = _TOP + _LARGE + 0.3
        for k, name in enumerate(courses):
            tall = _LOW if k else _TALL
            axes = place(_LEFT, top, WIDTH - _LEFT - _RIGHT, tall, f"course:{name}")
            _draw_course(axes, data, name, last=k == len(courses) - 1)
            top += tall + _GAP
        _one_year(figure, courses, data)
        figure.suptitle(_headline(data), fontsize=9, y=1 - 0.1 / height)
    return finish(figure)


def _headline(data: xr.Dataset) -> str:
    where = "mean of the window"
    if "pixel" in data.attrs:
        east, south = data.attrs["pixel"]
        where = f"{east:.0f} m east, {south:.0f} m south of its corner"
    return f"sample {data.attrs['sample']}; courses: {where}"


def _images(data: xr.Dataset, order: Sequence[str], place: Any) -> None:
    _draw_image(place(0.12, _TOP, _LARGE, _LARGE, f"image:{order[0]}"), data, order[0], large=True)
    others = order[1:]
    columns = max(1, -(-len(others) // 2))
    rows = min(len(others), 2)
    side = min((_LARGE - 0.5) / max(rows, 1) + 0.1, (WIDTH - _LARGE - 1.75) / columns - 0.1)
    for k, name in enumerate(others):
        row, column = divmod(k, columns)
        left, top = _LARGE + 0.3 + column * (side + 0.12), _TOP + row * (side + 0.4)
        _draw_image(place(left, top, side, side, f"image:{name}"), data, name)
    if "target" in data:
        _legend(place(WIDTH - 1.32, _TOP, 1.3, _LARGE, "<legend>"), data)


def _draw_image(axes: Axes, data: xr.Dataset, name: str, *, large: bool = False) -> None:
    image, about = data[f"image_{name}"], data.attrs["images"][name]
    side = about["gsd"] * np.array([image.shape[1], image.shape[0]])
    extent = (0, side[0], side[1], 0)
    bare(axes)
    for spine in axes.spines.values():
        spine.set(visible=True, color="#BBBBBB", lw=0.5)
    if f"bad_{name}" not in data:
        axes.set(xlim=(0, side[0]), ylim=(side[1], 0), facecolor="#EEEEEE")
        axes.text(0.5, 0.5, "missing", ha="center", va="center", transform=axes.transAxes)
        axes.set_title(f"{name}: {about['words']}" if large else name, fontsize=8, pad=3)
        return
    axes.imshow(_picture(data, name), extent=extent)
    if large and "target" in data:
        axes.imshow(_target_colours(data), extent=extent, alpha=data.attrs["opacity"])
    _name_image(axes, about, name, large=large)
    if "pixel" in data.attrs:
        east, south = data.attrs["pixel"]
        _outline_pixel(axes, image.shape, about["gsd"], (east, south))
        axes.plot(east, south, "+", ms=14 if large else 9, mew=2.4, color="white")
        axes.plot(east, south, "+", ms=13 if large else 8, mew=1.1, color="black")
    if large:
        _scale_bar(axes, side)


def pixel_at(pixel: Sequence[float], gsd: float, rows: int, columns: int) -> tuple[int, int]:
    """Return row and column of the pixel that holds a place, metres east and south.

    Examples
    --------
    >>> pixel_at((25.0, 3.0), gsd=10, rows=6, columns=6)
    (0, 2)
    """
    column, row = (int(v // gsd) for v in pixel)
    return min(max(row, 0), rows - 1), min(max(column, 0), columns - 1)


def _outline_pixel(axes: Axes, shape: Sequence[int], gsd: float, place: Sequence[float]) -> None:
    row, column = pixel_at(place, gsd, *shape[:2])
    for colour, width in (("white", 2.0), ("black", 0.8)):
        corner = (column * gsd, row * gsd)
        axes.add_patch(Rectangle(corner, gsd, gsd, fill=False, ec=colour, lw=width))


def _picture(data: xr.Dataset, name: str) -> np.ndarray:
    return striped(data[f"image_{name}"].values, data[f"bad_{name}"].values)


def _name_image(axes: Axes, about: dict[str, Any], name: str, *, large: bool) -> None:
    share = f"{about['clear']:.0%} valid".replace("%", " %")
    day = day_name(about["day"])
    look = about["words"] if large else about["words"].partition(" (")[0]
    words = f"{name}: {look}\n{day}, {share}"
    axes.set_title(words, fontsize=8 if large else 6.5, pad=3)


def _scale_bar(axes: Axes, side: np.ndarray) -> None:
    length = max(v for k in range(5) for v in (10**k, 2 * 10**k, 5 * 10**k) if v <= side[0] / 2.5)
    left, y = 0.05 * side[0], 0.95 * side[1]
    for colour, width in (("white", 4), ("black", 2)):
        axes.plot([left, left + length], [y, y], color=colour, lw=width, solid_capstyle="butt")
    axes.text(
        left + length / 2, y - 0.02 * side[1], f"{length} m", ha="center", va="bottom", fontsize=7,
        bbox={"fc": "white", "ec": "none", "alpha": 0.7, "pad": 0.6},
    )  # fmt: skip


def _target_colours(data: xr.Dataset) -> np.ndarray:
    import matplotlib as mpl

    about, values = data.attrs["target"], data["target"].values
    there = np.isfinite(values)
    colours = np.zeros((*values.shape, 4))
    if "classes" in about:
        table = mpl.colors.to_rgba_array(CLASS_COLOURS)
        colours[there] = table[values[there].astype(int) % len(table)]
    else:
        low, high = about["range"]
        scaled = (values - low) / max(high - low, 1e-9)
        colours[there] = mpl.colormaps["viridis"](np.clip(scaled, 0, 1))[there]
    return colours


def _legend(axes: Axes, data: xr.Dataset) -> None:
    import matplotlib as mpl

    axes.axis("off")
    target, about = data["target"], data.attrs["target"]
    name = about["name"].replace("_", " ")
    if "classes" in about:
        names = about["classes"]
        present = np.unique(target.values[np.isfinite(target.values)]).astype(int)
        table = mpl.colors.to_rgba_array(CLASS_COLOURS)
        entries = [(table[k % len(table)], k) for k in present]
        words = [names[k] if k < len(names) else str(k) for _, k in entries]
    else:
        low, high = about["range"]
        steps = np.linspace(0, 1, 5)
        entries = [(mpl.colormaps["viridis"](s), s) for s in steps]
        words = [f"{low + s * (high - low):.3g}" for s in steps]
        name = f"{name}\n({about['units']})" if about["units"] else name
    # As pale as they lie over the image; the edge tells the colour itself.
    opacity = data.attrs["opacity"]
    handles = [Patch(fc=(*colour[:3], opacity), ec=colour) for colour, _ in entries]
    axes.legend(
        handles, words, title=name, loc="upper left", fontsize=7, title_fontsize=7.5,
        borderaxespad=0, handlelength=1.2, alignment="left",
    )  # fmt: skip


def _draw_course(axes: Axes, data: xr.Dataset, name: str, *, last: bool) -> None:
    course, clear = data[f"course_{name}"], data[f"clear_{name}"].values
    days = _days(data, name)
    bands, shown = (data.attrs["courses"][name][k] for k in ("bands", "shown"))
    colours = _band_colours(data)
    for k, band in enumerate(bands):
        values = course.values[:, k]
        colour = colours[band]
        there = np.isfinite(values)
        axes.plot(
            days[there], values[there], "-" if colour < len(COLOURS) else "--", marker=".", ms=3,
            lw=1.4 if band in shown else 0.7, color=COLOURS[colour % len(COLOURS)], label=band,
        )  # fmt: skip
    cloudy = days[clear < 0.5]
    axes.plot(
        cloudy, np.full(len(cloudy), 0.03), "x", ms=3, mew=0.8, color=GREY,
        transform=axes.get_xaxis_transform(),
    )  # fmt: skip
    about = data.attrs["images"][name]
    axes.axvline(mdates.date2num(np.datetime64(about["day"])), color="#444444", lw=0.9)
    units = "dB" if about["units"] == "linear power" else about["units"]
    axes.set_ylabel(f"{name}\n({units})", fontsize=7)
    wide = axes.get_position().width * wide_page()
    axes.yaxis.set_label_coords(-0.4 / wide, 0.5)
    axes.tick_params(labelsize=6.5, labelbottom=last)
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.0, 1.06), fontsize=6, handlelength=1.3,
        labelspacing=0.15, ncols=1 if len(bands) <= 7 else 2, columnspacing=0.5,
        handletextpad=0.4,
    )  # fmt: skip


def _band_colours(data: xr.Dataset) -> dict[str, int]:
    """Return a colour for each band of all courses; those of one course differ."""
    found: dict[str, int] = {}
    for course in data.attrs["courses"].values():
        shared = any(band in found for band in course["bands"])
        start = max(found.values()) + 1 if shared else 0  # other sensors may begin anew
        for band in course["bands"]:
            if band not in found:
                found[band], start = start, start + 1
    return found


def _days(data: xr.Dataset, name: str) -> np.ndarray:
    """Return the dates of a course as matplotlib counts them."""
    return mdates.date2num(np.array(data.attrs["courses"][name]["days"], "datetime64[s]"))


def _one_year(figure: Figure, courses: Sequence[str], data: xr.Dataset) -> None:
    """Give all courses the same stretch of time, and the last one its dates."""
    panels = [a for a in figure.axes if a.get_label().startswith("course:")]
    if not panels:
        return
    days = np.concatenate([_days(data, n) for n in courses])
    margin = max(0.02 * np.ptp(days), 1)
    locator = mdates.AutoDateLocator(minticks=4, maxticks=9)
    for axes in panels:
        axes.set_xlim(days.min() - margin, days.max() + margin)
        axes.xaxis.set_major_locator(locator if axes is panels[-1] else mdates.MonthLocator((1, 7)))
    panels[-1].xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))
    panels[0].annotate(
        "x: not valid (cloud, no data)", (1, 1), (0, 3), xycoords="axes fraction",
        textcoords="offset points", ha="right", va="bottom", fontsize=6.5, color="#666666",
        annotation_clip=False,
    )  # fmt: skip


def moving_parts(figure: Figure) -> tuple[list[Axes], list[Line2D]]:
    """Return what of a figure of :func:`paint_cube` changes with the date: images and lines."""
    panels = {axes.get_label(): axes for axes in figure.axes}
    names = [label.partition(":")[2] for label in panels if label.startswith("course:")]
    return (
        [panels[f"image:{name}"] for name in names],
        [panels[f"course:{name}"].lines[-1] for name in names],
    )


def move_cube(figure: Figure, data: xr.Dataset) -> None:
    """Show another date in a figure of :func:`paint_cube`, all else being the same."""
    large = f"image:{data.attrs['modalities'][0]}"
    for axes, line in zip(*moving_parts(figure), strict=True):
        name = axes.get_label().partition(":")[2]
        about = data.attrs["images"][name]
        axes.images[0].set_data(_picture(data, name))
        _name_image(axes, about, name, large=axes.get_label() == large)
        line.set_xdata([mdates.date2num(np.datetime64(about["day"]))] * 2)
