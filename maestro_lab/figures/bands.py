"""Which bands belong together, as figures."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from textwrap import wrap

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from scipy.cluster.hierarchy import dendrogram

from maestro_lab.bands import STATISTICS, Grouping, Stability
from maestro_lab.figures.drawn import painted_by, parts, several
from maestro_lab.figures.style import COLOURS, finish, narrow, new_figure, styled

__all__ = ["band_distances", "band_histograms", "band_overview", "band_togetherness"]

UNSURE = "nothing to draw again: how sure this is cannot be told"
"""What is said of groups that could not be drawn again."""

_SHAPES = {
    False: {"ncols": 2, "width_ratios": [1, 1.2]},
    True: {"nrows": 2, "height_ratios": [1, 2.4]},
}
_LINES = ("-", "--", ":", "-.", (0, (7, 2, 1, 1, 1, 1)))


def _of_grouping(grouping: Grouping) -> xr.Dataset:
    """Return histograms, distances and tree of the bands of a modality."""
    stats = grouping.statistics
    return xr.Dataset(
        {
            "density": (("band", "bin"), stats.counts / max(stats.n, 1) / np.diff(stats.edges)),
            "edges": ("edge", stats.edges),
            "distance": (("band", "other"), grouping.matrix),
            "tree": (("merge", "column"), np.reshape(grouping.tree, (-1, 4))),
        },
        attrs={
            "title": stats.title,
            "units": stats.units,
            "bands": list(stats.bands),
            "groups": [int(k) for k in grouping.groups.labels(stats.bands)],
            "order": grouping.order,
            "linkage": grouping.linkage,
            "statistic": STATISTICS[grouping.statistic],
        },
    )


def _of_stability(stability: Stability) -> xr.Dataset:
    """Return how often bands share a group, group by group."""
    grouping = stability.grouping
    bands = list(grouping.statistics.bands)
    order = np.argsort(grouping.groups.labels(bands), kind="stable")
    title = (
        f"{grouping.statistics.modality}: {grouping.statistic}, {grouping.linkage} linkage\n"
        f"drawn again from {stability.drawn:,} {stability.over}s"
    )
    return xr.Dataset(
        {"together": (("band", "other"), stability.together[np.ix_(order, order)])},
        attrs={
            "title": title,
            "bands": [bands[i] for i in order],
            "sizes": [len(g) for g in grouping.groups.values()],
        },
    )


def _paint_histograms(data: xr.DataTree) -> Figure:
    found = parts(data)
    with styled():
        figure = new_figure(2.1 * len(found))
        panels = figure.subplots(len(found), 1, squeeze=False)[:, 0]
        for axes, part in zip(panels, found, strict=True):
            _histograms(axes, part)
    return finish(figure)


@painted_by(_paint_histograms)
def band_histograms(groupings: Sequence[Grouping]) -> xr.DataTree:
    """Draw the histogram of each band, coloured by its group; one panel a modality.

    Parameters
    ----------
    groupings
        One for each modality.
    """
    unused = ["distance", "tree"]
    return several([_of_grouping(grouping).drop_vars(unused) for grouping in groupings])


def _histograms(axes: Axes, part: xr.Dataset) -> None:
    bands, edges = part.attrs["bands"], part["edges"].values
    centres = (edges[1:] + edges[:-1]) / 2
    seen: dict[int, int] = {}
    for band, label, course in zip(
        bands, part.attrs["groups"], part["density"].values, strict=True
    ):
        style = _LINES[seen.get(label, 0) % len(_LINES)]
        seen[label] = seen.get(label, 0) + 1
        colour = COLOURS[label % len(COLOURS)]
        axes.plot(centres, course, color=colour, ls=style, lw=1.4, label=band)
    axes.set(
        title=part.attrs["title"],
        xlabel=part.attrs["units"],
        ylabel="density",
        xlim=(edges[0], edges[-1]),
        ylim=(0, None),
        yticks=[],
    )
    axes.legend(title="colour = group", ncols=1 + len(bands) // 6, loc="upper right")


def _paint_distances(data: xr.DataTree) -> Figure:
    several_bands = parts(data)
    heights = [_height(part) for part in several_bands]
    with styled():
        figure = new_figure(sum(heights))
        rows = np.atleast_1d(figure.subfigures(len(heights), 1, height_ratios=heights))
        for row, part in zip(rows, several_bands, strict=True):
            _distances(row, part)
    return finish(figure)


@painted_by(_paint_distances)
def band_distances(groupings: Sequence[Grouping]) -> xr.DataTree | None:
    """Draw the distances between bands in the order of the dendrogram, with the dendrogram.

    Parameters
    ----------
    groupings
        One for each modality; those of a single band are left out. None if nothing is left.
    """
    found = [g for g in groupings if len(g.statistics.bands) > 1]
    unused = ["density", "edges"]
    return several([_of_grouping(g).drop_vars(unused) for g in found]) if found else None


def _height(part: xr.Dataset) -> float:
    """Return the height of tree and distances in inches."""
    return (1.0 + 0.3 * max(4, part.sizes["band"])) * (2 if narrow() else 1)


def _distances(figure: SubFigure, part: xr.Dataset) -> None:
    bands, order, tree = part.attrs["bands"], part.attrs["order"], part["tree"].values
    cut = _cut(tree, len(set(part.attrs["groups"])))
    shape = {"nrows": 2} if narrow() else _SHAPES[False]
    left, right = figure.subplots(**shape)
    with warnings.catch_warnings():  # bands that are all identical make a tree without height
        warnings.filterwarnings("ignore", message="Attempting to set identical low and high xlims")
        dendrogram(
            tree, labels=bands, orientation="left", ax=left, color_threshold=cut,
            above_threshold_color="#444444",
            link_color_func=_colour_of_merge(tree, part.attrs["groups"]),
        )  # fmt: skip
    left.axvline(cut, color="#444444", lw=0.8, ls=":")
    left.set(
        xlabel=f"distance ({part.attrs['linkage']} linkage)", title="groups: below the dotted line"
    )
    left.spines[["left"]].set_visible(False)
    left.tick_params(axis="y", labelsize=8)
    draw_matrix(right, part["distance"].values[np.ix_(order, order)], [bands[i] for i in order])
    figure.suptitle(f"{part.attrs['title']}\n{part.attrs['statistic']}", fontsize=9)


def cut_height(grouping: Grouping) -> float:
    """Return the height between the merges inside groups and those between them."""
    return _cut(grouping.tree, len(grouping.groups))


def _cut(tree: np.ndarray, groups: int) -> float:
    heights = tree[:, 2]
    merges = len(tree) + 1 - groups
    below = heights[merges - 1] if merges else 0.0
    above = heights[merges] if merges < len(heights) else heights[-1] * 1.05
    return float((below + above) / 2)


def colours_of_groups(grouping: Grouping) -> Callable[[int], str]:
    """Colour each merge inside a group as the histograms do, others dark."""
    return _colour_of_merge(grouping.tree, grouping.groups.labels(grouping.statistics.bands))


def _colour_of_merge(tree: np.ndarray, labels: Sequence[int]) -> Callable[[int], str]:
    inside: list[set[int]] = [{label} for label in labels]
    for a, b, *_ in tree:
        inside.append(inside[int(a)] | inside[int(b)])

    def colour(node: int) -> str:
        groups = inside[node]
        return COLOURS[next(iter(groups)) % len(COLOURS)] if len(groups) == 1 else "#444444"

    return colour


def draw_matrix(
    axes: Axes, matrix: np.ndarray, bands: Sequence[str], words: str = "distance"
) -> None:
    """Draw a matrix of numbers from 0 to 1, each with its number."""
    picture = axes.imshow(matrix, cmap="cividis", vmin=0, vmax=1)
    axes.set_xticks(range(len(bands)), bands, rotation=90 if len(bands) > 6 else 0)
    axes.set_yticks(range(len(bands)), bands)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    told = len(bands) <= (8 if narrow() else 20)  # there is room for numbers
    for i, j in np.ndindex(matrix.shape):
        if told and i != j:
            dark = matrix[i, j] < 0.55
            axes.text(
                j, i, _short(matrix[i, j]), ha="center", va="center", fontsize=7,
                color="white" if dark else "black",
            )  # fmt: skip
    axes.figure.colorbar(picture, ax=axes, shrink=0.8 if told else 0.5, label=words)


def _short(number: float) -> str:
    """Write a number from 0 to 1 with two digits: .07, 1, 0."""
    text = f"{number:.2f}".replace("0.", ".", 1)
    return {"1.00": "1", ".00": "0", "-.00": "0"}.get(text, text)


def _paint_togetherness(data: xr.DataTree) -> Figure:
    found = parts(data)
    columns = 1 if narrow() else min(2, len(found))
    rows = -(-len(found) // columns)
    with styled():
        figure = new_figure((2.9 if narrow() else 3.6) * rows)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in panels[len(found) :]:
            axes.axis("off")
        for axes, part in zip(panels, found, strict=False):
            _togetherness(axes, part)
    return finish(figure)


@painted_by(_paint_togetherness)
def band_togetherness(found: Sequence[Stability | None]) -> xr.DataTree | None:
    """Draw how often each two bands share a group when the data are drawn again.

    Parameters
    ----------
    found
        Of one or more groupings; those of fewer than three bands, and None, are left out. None
        if nothing is left.
    """
    shown = [s for s in found if s is not None and len(s.together) > 2]
    return several([_of_stability(s) for s in shown]) if shown else None


def _togetherness(axes: Axes, part: xr.Dataset) -> None:
    draw_matrix(axes, part["together"].values, part.attrs["bands"], "share of draws together")
    for end in np.cumsum(part.attrs["sizes"])[:-1] - 0.5:  # lines between the groups
        axes.axhline(end, color="white", lw=2)
        axes.axvline(end, color="white", lw=2)
    axes.set_title(part.attrs["title"], fontsize=8)


def _paint_overview(data: xr.DataTree) -> Figure:
    part, *sure = parts(data)
    more = part.sizes["band"] > 1
    last = _height(part) + 0.4 if sure else 0.9
    heights = [2.4, *([_height(part)] if more else []), last]
    with styled():
        figure = new_figure(sum(heights))
        rows = np.atleast_1d(figure.subfigures(len(heights), 1, height_ratios=heights))
        _histograms(rows[0].subplots(), part)
        if more:
            _distances(rows[1], part)
        told, *matrix = rows[-1].subplots(**(_SHAPES[narrow()] if sure else {}), squeeze=False).flat
        _conclusion(told, part, data.attrs["verdict"])
        for axes in matrix:
            _togetherness(axes, sure[0])
    return finish(figure)


def _conclusion(axes: Axes, part: xr.Dataset, verdict: str) -> None:
    """Write the groups, and how sure they are."""
    axes.axis("off")
    labels = np.array(part.attrs["groups"])
    lines = [
        (" ".join(np.array(part.attrs["bands"])[labels == k]), COLOURS[k % len(COLOURS)], "bold")
        for k in dict.fromkeys(labels.tolist())
    ]
    lines += [(line, "black", "normal") for line in wrap(verdict, 38)]
    for k, (words, colour, weight) in enumerate(lines):
        axes.annotate(
            words, (0, 1), (0, -13 * k), xycoords="axes fraction", textcoords="offset points",
            va="top", fontsize=9, color=colour, weight=weight, annotation_clip=False,
        ).set_in_layout(False)  # fmt: skip


@painted_by(_paint_overview)
def band_overview(grouping: Grouping, stability: Stability | None = None) -> xr.DataTree:
    """Draw one grouping on one page: histograms, tree, distances, and how sure it is."""
    sure = stability is not None and len(grouping.statistics.bands) > 2
    found = [_of_grouping(grouping), *([_of_stability(stability)] if sure else [])]
    return several(found, verdict=stability.verdict if stability else UNSURE)
