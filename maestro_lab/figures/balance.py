"""What the choice of band groups means for learning, as figures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from maestro_lab.figures.bands import draw_matrix
from maestro_lab.figures.drawn import painted_by
from maestro_lab.figures.style import COLOURS, GREY, finish, folded, narrow, new_figure, styled

__all__ = ["statistics_agreement", "target_balance"]


def _tables(data: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of each title."""
    return {str(title): part for title, part in data.groupby("title", sort=False)}


def _paint_agreement(data: pd.DataFrame) -> Figure:
    tables = _tables(data)
    sizes = [part["statistic"].nunique() for part in tables.values()]
    heights = [1.6 + 0.27 * size for size in sizes]
    with styled():
        figure = new_figure(sum(heights))
        panels = figure.subplots(len(tables), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, size, (title, part) in zip(panels, sizes, tables.items(), strict=True):
            matrix = part["adjusted Rand index"].to_numpy().reshape(size, size)
            names = list(dict.fromkeys(part["statistic"]))
            draw_matrix(axes, matrix, names, "adjusted Rand index")
            axes.set_title(title)
    return finish(figure)


@painted_by(_paint_agreement)
def statistics_agreement(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame | None:
    """Draw how far the groups that follow from different statistics agree.

    Parameters
    ----------
    tables
        Title to table, each from :func:`~maestro_lab.bands.statistics_agreement`. None if there
        is none.
    """
    rows = [
        (title, str(name), str(other), float(table.iloc[i, j]))
        for title, table in tables.items()
        for i, name in enumerate(table.index)
        for j, other in enumerate(table.columns)
    ]
    columns = ["title", "statistic", "other", "adjusted Rand index"]
    return pd.DataFrame(rows, columns=columns) if rows else None


_PARTS = (
    ("constant", GREY, "the same in every patch: nothing to learn"),
    ("between bands", COLOURS[5], "levels of bands, other than that"),
    ("within bands", COLOURS[0], "pattern of pixels"),
)


def _paint_balance(data: pd.DataFrame) -> Figure:
    tables = _tables(data)
    step = 0.42 if narrow() else 0.3
    heights = [1.0 + step * len(table) for table in tables.values()]
    with styled():
        figure = new_figure(sum(heights) + (0.9 if narrow() else 0.5))
        panels = figure.subplots(len(tables), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (title, table) in zip(panels, tables.items(), strict=True):
            table = table.set_index(table["groups"].map(folded))
            _balance(axes, title, table)
        panels[-1].set_xlabel(folded("share of the variance of normalised targets", 26))
        handles = panels[0].get_legend_handles_labels()
        columns = 1 if narrow() else len(_PARTS)
        figure.legend(*handles, loc="outside lower center", ncols=columns)
    return finish(figure)


@painted_by(_paint_balance)
def target_balance(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame | None:
    """Draw what reconstruction targets consist of under several groupings.

    Parameters
    ----------
    tables
        Title to table, each from :func:`~maestro_lab.bands.balance`. None if there is none.
    """
    if not tables:
        return None
    shown = [*(name for name, _, _ in _PARTS), "even bands", "even patches"]
    found = [
        table[shown].astype(float).rename_axis("groups").reset_index().assign(title=title)
        for title, table in tables.items()
    ]
    return pd.concat(found)[["title", "groups", *shown]]


def _balance(axes: Axes, title: str, table: pd.DataFrame) -> None:
    start = np.zeros(len(table))
    for name, colour, words in _PARTS:
        axes.barh(table.index, table[name], left=start, color=colour, label=words, height=0.7)
        for k, (left, share) in enumerate(zip(start, table[name], strict=True)):
            if share > (0.16 if narrow() else 0.08):
                colour_of_text = "white" if name != "between bands" else "black"
                axes.text(
                    left + share / 2, k, f"{share:.0%}".replace("%", " %"), ha="center",
                    va="center", fontsize=7, color=colour_of_text,
                )  # fmt: skip
        start = start + table[name].to_numpy()
    for k, even in enumerate(zip(table["even bands"], table["even patches"], strict=True)):
        axes.text(1.02, k, "   ".join(f"{e:.2f}" for e in even), va="center", fontsize=8)
    axes.text(1.02, -0.85, "even over\nbands  patches", va="bottom", fontsize=7)
    axes.set_title(folded(title, 22), loc="left")
    axes.set(xlim=(0, 1), ylim=(len(table) - 0.5, -0.5))
    axes.tick_params(axis="y", length=0)
