"""What embeddings are like: from month to month, and while they are learnt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from maestro_lab.errors import ParameterError
from maestro_lab.figures.drawn import painted_by
from maestro_lab.figures.style import COLOURS, GREY, beside, finish, narrow, new_figure, styled
from maestro_lab.training.spread import month_cosines

__all__ = ["collapse_curves", "month_similarity"]

_MEASURES = ("loss", "effective rank", "uniformity")
_LINES = ("-", "--", ":")


def _paint_months(data: xr.Dataset) -> Figure:
    mean, count, months = data["cosine"].values, data["places"].values, data.attrs["months"]
    apart = mean[np.isfinite(mean) & ~np.eye(len(mean), dtype=bool)]
    low, high = (float(apart.min()), float(apart.max())) if len(apart) else (0.0, 1.0)
    low, cell = min(low, high - 0.02), 0.24 if narrow() else 0.33  # inches
    with styled():
        figure = new_figure(max(2.6, 1.3 + cell * len(months)))
        axes = figure.subplots()
        shown = axes.imshow(mean, cmap="cividis", vmin=low, vmax=high)
        axes.set_facecolor("#EEEEEE")
        for (i, j), value in np.ndenumerate(mean):
            if np.isfinite(value):
                colour = "black" if (value - low) / (high - low) > 0.55 else "white"
                axes.text(
                    j, i, f"{value:.2f}", ha="center", va="center", color=colour,
                    fontsize=5 if narrow() else 6.5,
                )  # fmt: skip
        axes.set_xticks(range(len(months)), months, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(months)), months)
        for k in np.flatnonzero(np.diag(count) == 0):
            for label in (axes.get_xticklabels()[k], axes.get_yticklabels()[k]):
                label.set_color(GREY)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        inch = 1 / (cell * len(mean))  # as a share of the axes
        bar = axes.inset_axes((1 + 0.2 * inch, 0.1, 0.13 * inch, 0.8))
        figure.colorbar(shown, cax=bar, label="cosine similarity")
        words = "same place, two months", "(mean of all embeddings taken out)"
        title = ("\n" if narrow() else " ").join(words)
        figure.suptitle(f"{title}\n{_units(count)}", fontsize=9)
    return finish(figure)


@painted_by(_paint_months)
def month_similarity(features: ArrayLike, months: Sequence[str]) -> xr.Dataset:
    """Draw how alike the embeddings of the same place are in two months.

    Similarity is the mean cosine of embeddings of the same unit once the mean of the whole table
    is taken out. Colours span what lies off the diagonal, which is 1 by definition.

    Parameters
    ----------
    features
        (month, unit, width), NaN where a unit has no data in a month; pairs of months without a
        unit in common stay empty.
    months
        Their names.

    Raises
    ------
    ParameterError
        If names and features differ in number, or there is no data at all.
    """
    mean, count = month_cosines(features)
    if len(months) != len(mean):
        raise ParameterError("months", expected=f"{len(mean)} names", found=len(months))
    pair = ("month", "other")
    return xr.Dataset(
        {"cosine": (pair, mean), "places": (pair, count)},
        attrs={"months": [str(month) for month in months]},
    )


def _units(count: np.ndarray) -> str:
    """Say how many units the means are over, and that some months are empty."""
    there = count[count > 0]
    low, high = there.min(), there.max()
    words = f"{high:,} places" if low == high else f"{low:,} to {high:,} places in common"
    empty = int((np.diag(count) == 0).sum())
    if empty:
        words += f", {empty} month{'s' if empty > 1 else ''} without data"
    return words


def _paint_collapse(data: pd.DataFrame) -> Figure:
    over = data.attrs["over"]
    conditions = list(dict.fromkeys(data["condition"]))
    with styled():
        figure = new_figure(5.6 if narrow() else 2.5)
        panels = beside(figure, len(_MEASURES))
        for axes, measure in zip(panels, _MEASURES, strict=True):
            ends = {
                name: _runs(axes, data[data["condition"] == name], over, measure, k)
                for k, name in enumerate(conditions)
            }
            axes.set(xlabel=over, title=measure)
            axes.grid(alpha=0.3, lw=0.5)
            axes.locator_params(axis="x", nbins=4)
        panels[1].set_ylim(0, None)
        _label(panels[2], ends)
    return finish(figure)


@painted_by(_paint_collapse)
def collapse_curves(runs: pd.DataFrame, *, over: str = "step") -> pd.DataFrame:
    """Draw loss, effective rank and uniformity of several runs: do embeddings collapse?

    Parameters
    ----------
    runs
        One row for each moment of each run, in columns ``condition``, ``seed``, ``step`` (see
        ``over``), ``loss``, ``effective rank`` and ``uniformity``; NaN where one was not
        measured. Runs of one condition share a colour.
    over
        Column that tells when: ``step`` or ``epoch``.

    Raises
    ------
    ParameterError
        If a column is missing, or there is no row.
    """
    needed = ["condition", "seed", over, *_MEASURES]
    lacking = [name for name in needed if name not in runs.columns]
    if lacking or runs.empty:
        raise ParameterError(
            "runs to draw",
            expected=f"rows with {', '.join(needed)}",
            found=f"no {', '.join(lacking)}" if lacking else "no row",
        )
    table = runs[needed].assign(condition=runs["condition"].astype(str))
    table.attrs = {"over": over}
    return table


def _runs(axes: Axes, rows: pd.DataFrame, over: str, measure: str, number: int) -> float:
    """Draw the runs of one condition, and return the mean of where they end (NaN: nowhere)."""
    ends = []
    for _, run in rows.groupby("seed", sort=True):
        points = run[[over, measure]].replace([np.inf, -np.inf], np.nan).dropna().sort_values(over)
        axes.plot(
            points[over], points[measure], _LINES[number // len(COLOURS) % len(_LINES)],
            color=COLOURS[number % len(COLOURS)], lw=0.9, alpha=0.85,
            marker="o" if len(points) == 1 else None, ms=4,
        )  # fmt: skip
        if len(points):
            ends.append(float(points[measure].iloc[-1]))
    return float(np.mean(ends)) if ends else float("nan")


def _label(axes: Axes, ends: dict[str, float]) -> None:
    """Name conditions beside where their lines end, one below the other."""
    low, high = axes.get_ylim()
    bottom = {name: low if np.isnan(end) else end for name, end in ends.items()}
    order = sorted(bottom, key=bottom.__getitem__)
    wanted = np.array([(bottom[name] - low) / (high - low) for name in order])
    places = _apart(wanted, min(0.085, 1 / max(len(order), 1)))
    for name, place in zip(order, places, strict=True):
        colour = COLOURS[list(ends).index(name) % len(COLOURS)]
        axes.annotate(
            str(name), (1.04, place), xycoords="axes fraction", va="center", fontsize=8,
            color=colour, annotation_clip=False,
        )  # fmt: skip


def _apart(places: np.ndarray, least: float) -> np.ndarray:
    """Move sorted places as little as needed to lie ``least`` apart, within 0 to 1 if they fit."""
    steps = least * np.arange(len(places))
    pushed = np.maximum.accumulate(places - steps)  # up, from the lowest
    pulled = np.minimum.accumulate((places - steps)[::-1])[::-1]  # down, from the highest
    middle = (pushed + pulled) / 2
    return np.clip(middle, 0, max(1 - steps[-1], 0)) + steps
