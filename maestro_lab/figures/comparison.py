"""Many runs beside each other: results against what differs between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from maestro_lab.figures.drawn import painted_by
from maestro_lab.figures.runs_data import MISSING, VIEWS, runs_table
from maestro_lab.figures.style import COLOURS, GREY, finish, narrow, new_figure, page_width, styled

__all__ = ["runs_view"]

_BEHIND = {"fc": "white", "ec": "none", "pad": 0.3, "alpha": 0.7}
_NAMED = 5  # chosen runs that are named in the figure


def _paint_runs(data: pd.DataFrame) -> Figure:
    with styled():
        paint = _paint_multiples if data.attrs["view"] == VIEWS[0] else _paint_parallel
        figure = paint(data) if len(data) else _nothing()
    return finish(figure)


def _nothing() -> Figure:
    figure = new_figure(1.2)
    figure.text(0.5, 0.5, "no number to compare in these runs", ha="center", va="center")
    return figure


@painted_by(_paint_runs)
def runs_view(
    table: pd.DataFrame,
    *,
    results: Sequence[str] = (),
    parameter: str = "",
    colour: str = "",
    view: str = VIEWS[0],
    chosen: Sequence[str] = (),
) -> pd.DataFrame:
    """Draw the results of many runs against what differs between them.

    Parameters
    ----------
    table
        From :func:`~maestro_lab.runs.collect.collect`, of one notebook.
    results
        Names of results that are numbers; default the first six. Where a run holds
        ``NAME interval`` it is drawn. Parallel coordinates show the first one.
    parameter
        Along the horizontal axis; default the runs themselves.
    colour
        Another parameter; default none.
    view
        "small multiples", a panel a result; or "parallel coordinates", a line a run through all
        parameters that differ.
    chosen
        Names of runs to set off.

    Raises
    ------
    ParameterError
        If there is no such result, parameter or view.

    Examples
    --------
    >>> table = pd.DataFrame(
    ...     {"run": ["a", "b"], "param.size": ["nano", "tiny"], "result.r2": [0.4, 0.6]}
    ... )
    >>> [axes.get_title() for axes in runs_view(table, parameter="size").axes]
    ['r2']
    """
    return runs_table(
        table, results=results, parameter=parameter, colour=colour, view=view, chosen=chosen
    )


def _palette(groups: Sequence[str]) -> dict[str, Any]:
    """Give each group a colour; many are shades in their order."""
    import matplotlib as mpl

    real = [g for g in groups if g != MISSING]
    if len(real) <= len(COLOURS):
        shades: list[Any] = list(COLOURS[: len(real)])
    else:
        shades = [mpl.colormaps["viridis"](s) for s in np.linspace(0, 0.92, len(real))]
    return dict(zip(real, shades, strict=True)) | {MISSING: GREY}


def _legend(figure: Figure, palette: Mapping[str, Any], data: pd.DataFrame) -> None:
    """Name the colours below; of many, some from the first to the last."""
    from matplotlib.lines import Line2D

    groups, name = (
        [g for g in data.attrs["groups"] if g in set(data["group"])],
        data.attrs["colour"],
    )
    if not name:
        return
    few = [groups[k] for k in np.unique(np.linspace(0, len(groups) - 1, 7).round().astype(int))]
    handles = [Line2D([], [], color=palette[g], marker="o", ms=4, lw=1.5) for g in few]
    columns = 3 if narrow() else 7
    figure.legend(
        handles, [_short(g, 16) for g in few], title=name, loc="outside lower center", ncols=columns
    )


def _short(text: str, most: int = 14) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _paint_multiples(data: pd.DataFrame) -> Figure:
    panels = [p for p in data.attrs["panels"] if (data["panel"] == p).any()]
    columns = 1 if narrow() else min(len(panels), 3)
    rows = -(-len(panels) // columns)
    ticks = data.attrs["ticks"]
    turned = bool(ticks) and len(ticks) * max(len(_short(t)) for t in ticks) > 60 / columns
    longest = max((len(_short(t)) for t in ticks), default=0) if turned else 0
    figure = new_figure(0.6 + rows * (2.1 if columns > 1 else 2.6) + 0.07 * longest)
    palette = _palette(data.attrs["groups"])
    room = max(4, int((page_width() / columns - 0.6) / 0.15))
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for axes, panel in zip(grid, panels, strict=False):
        axes.set_label(f"result:{panel}")
        _panel(axes, data[data["panel"] == panel], palette, data.attrs, room)
    for k, axes in enumerate(grid):
        axes.set_visible(k < len(panels))
        if k + columns >= len(panels):
            axes.tick_params(labelbottom=True)
            axes.set_xlabel(data.attrs["parameter"])
            if turned:
                axes.tick_params(axis="x", rotation=90)
    _legend(figure, palette, data)
    return figure


def _panel(
    axes: Axes,
    part: pd.DataFrame,
    palette: Mapping[str, Any],
    about: Mapping[str, Any],
    room: int,
) -> None:
    for group, points in part.groupby("group", sort=False):
        colour = palette.get(group, COLOURS[0])
        if not about["ticks"]:
            mean = points.groupby("x")["y"].mean()
            axes.plot(mean.index, mean, color=colour, lw=1, alpha=0.5, zorder=1)
        axes.vlines(points["x"], points["low"], points["high"], color=colour, lw=1.5, alpha=0.7)
        axes.plot(points["x"], points["y"], "o", ms=4.5, color=colour)
    chosen = part[part["chosen"]]
    axes.plot(chosen["x"], chosen["y"], "o", ms=9, mfc="none", mec="black", mew=1.2)
    for _, row in chosen.iterrows() if len(chosen) <= _NAMED else ():
        axes.annotate(
            _short(str(row["name"]), 22), (row["x"], row["y"]), xytext=(0, 6), fontsize=6.5,
            textcoords="offset points", ha="center", va="bottom", annotation_clip=False,
            bbox=_BEHIND,
        )  # fmt: skip
    if about["ticks"]:
        names = [_short(name) for name in about["ticks"]]
        step = -(-len(names) // room)
        axes.set_xticks(range(0, len(names), step), names[::step])
        axes.set_xlim(-0.5, len(names) - 0.5)
    elif about["log"]:
        axes.set_xscale("log")
    axes.margins(y=0.15)
    axes.set_title(_short(str(part["panel"].iloc[0]), 28 if len(about["panels"]) > 1 else 80))
    axes.grid(alpha=0.3, lw=0.5)


def _paint_parallel(data: pd.DataFrame) -> Figure:
    panels, palette = data.attrs["panels"], _palette(data.attrs["groups"])
    figure = new_figure(3.4)
    axes = figure.subplots()
    axes.set_label("parallel")
    any_chosen = data["chosen"].any()
    for _, line in data.groupby("run", sort=False):
        chosen = bool(line["chosen"].iloc[0])
        colour = palette.get(line["group"].iloc[0], COLOURS[0])
        axes.plot(
            line["x"], line["y"], "o-", ms=3.5, color=colour, lw=2.6 if chosen else 1.2,
            alpha=1.0 if chosen or not any_chosen else 0.25, zorder=3 if chosen else 2,
        )  # fmt: skip
    room = max(6, round(page_width() / max(len(panels), 1) * 9))
    for k, name in enumerate(panels):
        axes.axvline(k, color=GREY, lw=0.8, zorder=1)
        for height, text in data.attrs["axes"][name]:
            axes.annotate(
                _short(text, room), (k, height), xytext=(4, 0), textcoords="offset points",
                fontsize=6.5, va="center", bbox=_BEHIND,
            )  # fmt: skip
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set(xlim=(-0.1, max(len(panels) - 0.6, 0.5)), ylim=(-0.06, 1.06), yticks=[])
    axes.set_xticks(range(len(panels)), [_short(name, 2 * room) for name in panels])
    axes.tick_params(axis="x", length=0)
    if len(panels) > 4:
        for label in axes.get_xticklabels():
            label.set(rotation=20, ha="right")
    _legend(figure, palette, data)
    return figure
