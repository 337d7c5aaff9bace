"""Which bands belong together, as figures."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from scipy.cluster.hierarchy import dendrogram

from maestro_lab.bands import STATISTICS, Grouping, Stability
from maestro_lab.figures.style import COLOURS, GREY, finish, new_figure, styled

__all__ = [
    "band_distances", "band_histograms", "band_overview", "band_togetherness",
    "statistics_agreement", "target_balance",
]  # fmt: skip

_LINES = ("-", "--", ":", "-.", (0, (7, 2, 1, 1, 1, 1)))


def band_histograms(groupings: Sequence[Grouping]) -> Figure:
    """Draw the histogram of each band, coloured by its group; one panel a modality.

    Parameters
    ----------
    groupings
        One for each modality.
    """
    with styled():
        figure = new_figure(2.1 * len(groupings))
        panels = figure.subplots(len(groupings), 1, squeeze=False)[:, 0]
        for axes, grouping in zip(panels, groupings, strict=True):
            _histograms(axes, grouping)
    return finish(figure)


def _histograms(axes: Axes, grouping: Grouping) -> None:
    stats = grouping.statistics
    labels = grouping.groups.labels(stats.bands)
    centres = (stats.edges[1:] + stats.edges[:-1]) / 2
    density = stats.counts / max(stats.n, 1) / np.diff(stats.edges)
    seen: dict[int, int] = {}
    for band, label, course in zip(stats.bands, labels, density, strict=True):
        style = _LINES[seen.get(label, 0) % len(_LINES)]
        seen[label] = seen.get(label, 0) + 1
        colour = COLOURS[label % len(COLOURS)]
        axes.plot(centres, course, color=colour, ls=style, lw=1.4, label=band)
    axes.set(
        title=stats.title,
        xlabel=stats.units,
        ylabel="density",
        xlim=(stats.edges[0], stats.edges[-1]),
        ylim=(0, None),
        yticks=[],
    )
    axes.legend(title="colour = group", ncols=1 + len(stats.bands) // 6, loc="upper right")


def band_distances(groupings: Sequence[Grouping]) -> Figure | None:
    """Draw the distances between bands in the order of the dendrogram, with the dendrogram.

    Parameters
    ----------
    groupings
        One for each modality; those of a single band are left out. None if nothing is left.
    """
    several = [g for g in groupings if len(g.statistics.bands) > 1]
    if not several:
        return None
    heights = [1.0 + 0.3 * max(4, len(g.statistics.bands)) for g in several]
    with styled():
        figure = new_figure(sum(heights))
        rows = np.atleast_1d(figure.subfigures(len(several), 1, height_ratios=heights))
        for row, grouping in zip(rows, several, strict=True):
            _distances(row, grouping)
    return finish(figure)


def _distances(figure: SubFigure, grouping: Grouping) -> None:
    bands, cut = list(grouping.statistics.bands), cut_height(grouping)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.2])
    with warnings.catch_warnings():  # bands that are all identical make a tree without height
        warnings.filterwarnings("ignore", message="Attempting to set identical low and high xlims")
        dendrogram(
            grouping.tree, labels=bands, orientation="left", ax=left, color_threshold=cut,
            above_threshold_color="#444444", link_color_func=colours_of_groups(grouping),
        )  # fmt: skip
    left.axvline(cut, color="#444444", lw=0.8, ls=":")
    left.set(xlabel=f"distance ({grouping.linkage} linkage)", title="groups: below the dotted line")
    left.spines[["left"]].set_visible(False)
    left.tick_params(axis="y", labelsize=8)
    order = grouping.order
    _matrix(right, grouping.matrix[np.ix_(order, order)], [bands[i] for i in order])
    stats = grouping.statistics
    figure.suptitle(f"{stats.title}\n{STATISTICS[grouping.statistic]}", fontsize=9)


def cut_height(grouping: Grouping) -> float:
    """Return the height between the merges inside groups and those between them."""
    heights, groups = grouping.tree[:, 2], len(grouping.groups)
    merges = len(grouping.statistics.bands) - groups
    below = heights[merges - 1] if merges else 0.0
    above = heights[merges] if merges < len(heights) else heights[-1] * 1.05
    return float((below + above) / 2)


def colours_of_groups(grouping: Grouping):  # noqa: ANN202  a callback of scipy's
    """Colour each merge inside a group as the histograms do, others dark."""
    labels = grouping.groups.labels(grouping.statistics.bands)
    inside: list[set[int]] = [{label} for label in labels]
    for a, b, *_ in grouping.tree:
        inside.append(inside[int(a)] | inside[int(b)])

    def colour(node: int) -> str:
        groups = inside[node]
        return COLOURS[next(iter(groups)) % len(COLOURS)] if len(groups) == 1 else "#444444"

    return colour


def _matrix(axes: Axes, matrix: np.ndarray, bands: Sequence[str], words: str = "distance") -> None:
    picture = axes.imshow(matrix, cmap="cividis", vmin=0, vmax=1)
    axes.set_xticks(range(len(bands)), bands, rotation=90 if len(bands) > 6 else 0)
    axes.set_yticks(range(len(bands)), bands)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for i, j in np.ndindex(matrix.shape):
        if i != j:
            dark = matrix[i, j] < 0.55
            axes.text(
                j, i, _short(matrix[i, j]), ha="center", va="center", fontsize=7,
                color="white" if dark else "black",
            )  # fmt: skip
    axes.figure.colorbar(picture, ax=axes, shrink=0.8, label=words)


def _short(number: float) -> str:
    """Write a number from 0 to 1 with two digits: .07, 1, 0."""
    text = f"{number:.2f}".replace("0.", ".", 1)
    return {"1.00": "1", ".00": "0", "-.00": "0"}.get(text, text)


def band_togetherness(found: Sequence[Stability | None]) -> Figure | None:
    """Draw how often each two bands share a group when the data are drawn again.

    Parameters
    ----------
    found
        Of one or more groupings; those of fewer than three bands, and None, are left out. None
        if nothing is left.
    """
    several = [s for s in found if s is not None and len(s.together) > 2]
    if not several:
        return None
    columns = min(2, len(several))
    rows = -(-len(several) // columns)
    with styled():
        figure = new_figure(3.6 * rows)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in panels[len(several) :]:
            axes.axis("off")
        for axes, stability in zip(panels, several, strict=False):
            _togetherness(axes, stability)
    return finish(figure)


def _togetherness(axes: Axes, stability: Stability) -> None:
    grouping = stability.grouping
    bands = list(grouping.statistics.bands)
    order = np.argsort(grouping.groups.labels(bands), kind="stable")
    matrix = stability.together[np.ix_(order, order)]
    _matrix(axes, matrix, [bands[i] for i in order], "share of draws together")
    ends = np.cumsum([len(g) for g in grouping.groups.values()])[:-1] - 0.5
    for end in ends:  # lines between the groups
        axes.axhline(end, color="white", lw=2)
        axes.axvline(end, color="white", lw=2)
    axes.set_title(
        f"{grouping.statistics.modality}: {grouping.statistic}, {grouping.linkage} linkage\n"
        f"drawn again from {stability.drawn:,} {stability.over}s", fontsize=8,
    )  # fmt: skip


def statistics_agreement(tables: Mapping[str, pd.DataFrame]) -> Figure | None:
    """Draw how far the groups that follow from different statistics agree.

    Parameters
    ----------
    tables
        Title to table, each from :func:`~maestro_lab.bands.statistics_agreement`. None if there
        is none.
    """
    if not tables:
        return None
    heights = [1.6 + 0.27 * len(table) for table in tables.values()]
    with styled():
        figure = new_figure(sum(heights))
        panels = figure.subplots(len(tables), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (title, table) in zip(panels, tables.items(), strict=True):
            _matrix(axes, table.to_numpy(), list(table.index), "adjusted Rand index")
            axes.set_title(title)
    return finish(figure)


def band_overview(grouping: Grouping, stability: Stability | None = None) -> Figure:
    """Draw one grouping on one page: histograms, tree, distances, and how sure it is."""
    size = len(grouping.statistics.bands)
    several, sure = size > 1, stability is not None and size > 2
    heights = [2.4, *([1.0 + 0.3 * max(4, size)] if several else []), *([3.4] if sure else [])]
    with styled():
        figure = new_figure(sum(heights))
        rows = np.atleast_1d(figure.subfigures(len(heights), 1, height_ratios=heights))
        _histograms(rows[0].subplots(), grouping)
        if several:
            _distances(rows[1], grouping)
        if sure:
            _togetherness(rows[-1].subplots(), stability)
    return finish(figure)


_PARTS = (
    ("constant", GREY, "the same in every patch: nothing to learn"),
    ("between bands", COLOURS[5], "levels of bands, other than that"),
    ("within bands", COLOURS[0], "pattern of pixels"),
)


def target_balance(tables: Mapping[str, pd.DataFrame]) -> Figure | None:
    """Draw what reconstruction targets consist of under several groupings.

    Parameters
    ----------
    tables
        Title to table, each from :func:`~maestro_lab.bands.balance`. None if there is none.
    """
    if not tables:
        return None
    heights = [1.0 + 0.3 * len(table) for table in tables.values()]
    with styled():
        figure = new_figure(sum(heights) + 0.5)
        panels = figure.subplots(len(tables), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (title, table) in zip(panels, tables.items(), strict=True):
            _balance(axes, title, table)
        panels[-1].set_xlabel("share of the variance of normalised targets")
        handles = panels[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=len(_PARTS))
    return finish(figure)


def _balance(axes: Axes, title: str, table: pd.DataFrame) -> None:
    start = np.zeros(len(table))
    for name, colour, words in _PARTS:
        axes.barh(table.index, table[name], left=start, color=colour, label=words, height=0.7)
        for k, (left, share) in enumerate(zip(start, table[name], strict=True)):
            if share > 0.08:
                colour_of_text = "white" if name != "between bands" else "black"
                axes.text(
                    left + share / 2, k, f"{share:.0%}".replace("%", " %"), ha="center",
                    va="center", fontsize=7, color=colour_of_text,
                )  # fmt: skip
        start = start + table[name].to_numpy()
    for k, even in enumerate(zip(table["even bands"], table["even patches"], strict=True)):
        axes.text(1.02, k, "   ".join(f"{e:.2f}" for e in even), va="center", fontsize=8)
    axes.text(1.02, -0.85, "even over\nbands  patches", va="bottom", fontsize=7)
    axes.set_title(title, loc="left")
    axes.set(xlim=(0, 1), ylim=(len(table) - 0.5, -0.5))
    axes.tick_params(axis="y", length=0)
