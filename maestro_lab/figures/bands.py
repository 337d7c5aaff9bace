"""Which bands belong together, as figures."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from scipy.cluster.hierarchy import dendrogram

from maestro_lab.bands.grouping import Grouping
from maestro_lab.figures.style import COLOURS, finish, new_figure, styled

__all__ = ["band_distances", "band_histograms"]

_LINES = ("-", "--", ":", "-.")


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
    width = stats.edges[1] - stats.edges[0]
    seen: dict[int, int] = {}
    for band, label, counts in zip(stats.bands, labels, stats.counts, strict=True):
        density = _smooth(counts / max(stats.n, 1) / width)
        style = _LINES[seen.get(label, 0) % len(_LINES)]
        seen[label] = seen.get(label, 0) + 1
        colour = COLOURS[label % len(COLOURS)]
        axes.plot(centres, density, color=colour, ls=style, lw=1.4, label=band)
    axes.set(
        title=f"{stats.modality}: {stats.policy} ({stats.n:,} pixels)",
        xlabel=stats.units,
        ylabel="density",
        xlim=(stats.edges[0], stats.edges[-1]),
        ylim=(0, None),
        yticks=[],
    )
    axes.legend(title="colour = group", ncols=1 + len(stats.bands) // 6, loc="upper right")


def _smooth(density: np.ndarray, bins: int = 5) -> np.ndarray:
    """Average neighbouring bins, for the eye only: all numbers come from the raw counts."""
    bins = min(bins, len(density))
    return np.convolve(density, np.ones(bins) / bins, mode="same")


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
    bands, cut = list(grouping.statistics.bands), _cut(grouping)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.2])
    with warnings.catch_warnings():  # bands that are all identical make a tree without height
        warnings.filterwarnings("ignore", message="Attempting to set identical low and high xlims")
        tree = dendrogram(
            grouping.tree, labels=bands, orientation="left", ax=left, color_threshold=cut,
            above_threshold_color="#444444", link_color_func=_colours_of_groups(grouping),
        )  # fmt: skip
    left.axvline(cut, color="#444444", lw=0.8, ls=":")
    left.set(xlabel=f"distance ({grouping.link} linkage)", title="groups: below the dotted line")
    left.spines[["left"]].set_visible(False)
    left.tick_params(axis="y", labelsize=8)
    order = tree["leaves"][::-1]
    _matrix(right, grouping.matrix[np.ix_(order, order)], [bands[i] for i in order])
    stats = grouping.statistics
    figure.suptitle(f"{stats.modality}: {_NAMES[grouping.distance]}, {stats.policy}", fontsize=9)


_NAMES = {"correlation": "1 - |correlation|", "overlap": "1 - histogram overlap"}


def _cut(grouping: Grouping) -> float:
    """Return the height between the merges inside groups and those between them."""
    heights, groups = grouping.tree[:, 2], len(grouping.groups)
    merges = len(grouping.statistics.bands) - groups
    below = heights[merges - 1] if merges else 0.0
    above = heights[merges] if merges < len(heights) else heights[-1] * 1.05
    return float((below + above) / 2)


def _colours_of_groups(grouping: Grouping):  # noqa: ANN202  a callback of scipy's
    """Colour each merge inside a group as the histograms do, others dark."""
    labels = grouping.groups.labels(grouping.statistics.bands)
    inside: list[set[int]] = [{label} for label in labels]
    for a, b, *_ in grouping.tree:
        inside.append(inside[int(a)] | inside[int(b)])

    def colour(node: int) -> str:
        groups = inside[node]
        return COLOURS[next(iter(groups)) % len(COLOURS)] if len(groups) == 1 else "#444444"

    return colour


def _matrix(axes: Axes, matrix: np.ndarray, bands: Sequence[str]) -> None:
    picture = axes.imshow(matrix, cmap="cividis", vmin=0, vmax=1)
    axes.set_xticks(range(len(bands)), bands, rotation=90 if len(bands) > 6 else 0)
    axes.set_yticks(range(len(bands)), bands)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for i, j in np.ndindex(matrix.shape):
        if i != j:
            dark = matrix[i, j] < 0.55
            axes.text(
                j, i, f"{matrix[i, j]:.2f}".lstrip("0"), ha="center", va="center", fontsize=7,
                color="white" if dark else "black",
            )  # fmt: skip
    axes.figure.colorbar(picture, ax=axes, shrink=0.8, label="distance")
