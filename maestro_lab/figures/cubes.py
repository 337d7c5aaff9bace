"""What is in a cube, as figures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from maestro_lab.cubes.contract import SPLITS, modality_names, window_side
from maestro_lab.errors import ParameterError
from maestro_lab.figures.style import (
    COLOURS,
    GREY,
    WIDTH,
    as_rgb,
    bare,
    composites,
    finish,
    hatch,
    new_figure,
    stretch,
    styled,
)

__all__ = ["sample_overview", "split_map"]

SPLIT_COLOURS = dict(zip(SPLITS, (COLOURS[0], COLOURS[4], COLOURS[1], "#DDDDDD"), strict=True))


def sample_overview(cube: xr.DataTree, sample: int | str = 0, *, dates: int = 8) -> Figure:
    """Draw one sample: some dates of each modality, what is not valid hatched.

    Parameters
    ----------
    cube
        The cube.
    sample
        Number or name of the sample.
    dates
        Dates of each modality to show, evenly spread over those that exist.

    Raises
    ------
    ParameterError
        If there is no such sample, or ``dates`` is not at least 1.
    """
    if dates < 1:
        raise ParameterError("dates", expected="at least 1", found=dates)
    number = _number(cube, sample)
    names = modality_names(cube)
    rows = [_row(cube[name].to_dataset().isel(sample=number), dates) for name in names]
    with styled():
        cell = WIDTH / (dates + 0.6)
        figure = new_figure((cell + 0.28) * len(rows) + 0.3)
        panels = figure.subplots(len(rows), dates, squeeze=False)
        for axes in panels.flat:
            bare(axes)
        for line, name, row in zip(panels, names, rows, strict=True):
            _draw_row(line, name, *row)
        figure.suptitle(f"sample {cube['sample'].values[number]}", fontsize=9)
    return finish(figure)


def _number(cube: xr.DataTree, sample: int | str) -> int:
    names = cube.indexes["sample"]
    if isinstance(sample, str) and sample in names:
        return int(names.get_loc(sample))
    if not isinstance(sample, str) and -len(names) <= sample < len(names):
        return int(sample)
    raise ParameterError(
        f"no sample {sample!r}",
        expected=f"a number from 0 to {len(names) - 1}, or a name such as {names[0]!r}",
    )


def _row(ds: xr.Dataset, dates: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """Return images (t, c, y, x), valid (t, y, x), days (t,) and the composite in words."""
    there = np.flatnonzero(~np.isnat(ds["time"].values))
    count = min(dates, len(there))
    chosen = (
        there[np.unique(np.linspace(0, len(there) - 1, count).round().astype(int))]
        if count
        else there
    )
    ds = ds.isel(time=chosen)
    images, words = composites(ds)
    return images, ds["valid"].values, ds["time"].values, words


def _draw_row(
    line: np.ndarray, name: str, images: np.ndarray, valid: np.ndarray, days: np.ndarray, words: str
) -> None:
    line[0].set_ylabel(f"{name}\n{words}", fontsize=7)
    if not len(images):
        line[0].text(0.5, 0.5, "missing", ha="center", va="center", transform=line[0].transAxes)
        return
    bounds = stretch(images, valid)
    for axes, image, clear, day in zip(line, images, valid, days, strict=False):
        axes.imshow(as_rgb(image, bounds))
        hatch(axes, ~clear)
        colour = "black" if clear.mean() >= 0.5 else GREY
        axes.set_title(pd.Timestamp(day).strftime("%d %b %Y"), fontsize=6.5, color=colour, pad=2)


def split_map(cube: xr.DataTree) -> Figure | None:
    """Draw where the samples lie and which split each is in; None for a cube without positions."""
    if "easting" not in cube.data_vars or "northing" not in cube.data_vars:
        return None
    x, y = (np.asarray(cube[n].values, float) for n in ("easting", "northing"))
    side = float(cube.attrs.get("window") or window_side(cube))
    split = np.asarray(cube["split"].values).astype(str)
    with styled():
        figure = new_figure(3.2)
        axes = figure.subplots()
        least = max(np.ptp(x), np.ptp(y)) / 90
        edge = {"ec": "white", "lw": 0.4} if side > least else {"lw": 0}
        for px, py, name in sorted({*zip(x - x.min(), y - y.min(), split, strict=True)}):
            shown = max(side, least)
            corner = (px - (shown - side) / 2, py - (shown - side) / 2)
            axes.add_patch(Rectangle(corner, shown, shown, fc=SPLIT_COLOURS[name], **edge))
        axes.set(aspect="equal", xlabel="metres east", ylabel="metres north")
        axes.set_xlim(-side / 2, np.ptp(x) + 1.5 * side)
        axes.set_ylim(-side / 2, np.ptp(y) + 1.5 * side)
        there = [s for s in SPLITS if (split == s).any()]
        handles = [Rectangle((0, 0), 1, 1, fc=SPLIT_COLOURS[s]) for s in there]
        words = [f"{s} ({(split == s).sum()} samples)" for s in there]
        axes.legend(handles, words, loc="center left", bbox_to_anchor=(1.02, 0.5))
        axes.set_title("splits: whole regions, neighbours kept apart")
    return finish(figure)
