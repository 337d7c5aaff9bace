"""Ask for band groups in every way, and see histograms, distances and groups follow."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from maestro_lab.bands import LINKAGES, STATISTICS, Grouping, Stability, Survey, propose_groups
from maestro_lab.bands import stability as draw_again
from maestro_lab.bands.selection import CLOUDS, SEASONS
from maestro_lab.explore.base import Explorer
from maestro_lab.explore.controls import Choice, Number

if TYPE_CHECKING:
    import holoviews as hv
    from matplotlib.figure import Figure

__all__ = ["BandExplorer"]

DRAWS = 50  # enough to see what is shaky, quick enough to follow a slider
_DASHES = ("solid", "dashed", "dotted", "dotdash", "dashdot")


class BandExplorer(Explorer):
    """Groups of bands under a choice of statistic, cloud policy, linkage and number.

    In JupyterLab the plots are holoviews with values under the pointer; the static twin is a
    matplotlib figure of the same.

    Parameters
    ----------
    cube
        The cube, or a :class:`~maestro_lab.bands.Survey` of it that remembers what it measured.
    modality
        Shown first; default the first one.
    **state
        Other controls: ``statistic``, ``clouds``, ``season``, ``linkage``, ``groups`` (0 lets the
        silhouette choose) and ``bootstrap`` (what to draw
        again to see how sure the groups are).

    Raises
    ------
    ParameterError
        For an unknown modality or option.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> explorer = BandExplorer(ml.open_cube("landscape", samples=8, modalities=["s2"]))
    >>> explorer.set(statistic="overlap", groups=3).grouping().groups.words
    'B02 B03 B04 | B05 B12 | B06 B07 B08 B8A B11'
    """

    title = "Band explorer"
    live_plots = True

    def __init__(self, cube: xr.DataTree | Survey, modality: str = "", **state: Any) -> None:
        self.survey = cube if isinstance(cube, Survey) else Survey(cube)
        self._drawn: tuple[dict[str, Any], tuple[Grouping, Stability | None]] | None = None
        names = self.survey.modalities
        most = max(self.survey.cube[name].sizes["band"] for name in names)

        super().__init__(
            {
                "modality": Choice(options=names),
                "statistic": Choice(options=list(STATISTICS)),
                "clouds": Choice(options=CLOUDS),
                "season": Choice("", options=[("all year", ""), *((s, s) for s in SEASONS)]),
                "linkage": Choice(options=LINKAGES),
                "groups": Number(0, "groups (0: by silhouette)", low=0, high=most),
                "bootstrap": Choice(options=("date", "block", "sample")),
            }
        )
        self.set(**({"modality": modality} if modality else {}), **state)

    def grouping(self, **state: Any) -> Grouping:
        """Return the groups for the present values of the controls, or others."""
        at = {**self.state, **state}
        statistics = self.survey.statistics(
            at["modality"], clouds=at["clouds"], season=at["season"]
        )
        groups = min(at["groups"], len(statistics.bands))
        return propose_groups(
            statistics, groups=groups, statistic=at["statistic"], linkage=at["linkage"]
        )

    def draw(self, **state: Any) -> Figure:
        """Draw the static twin: histograms, tree, distances, and how sure the groups are."""
        from maestro_lab.figures.bands import band_overview

        return band_overview(*self._sure(state))

    def _sure(self, state: dict[str, Any]) -> tuple[Grouping, Stability | None]:
        """Return the groups, and how sure they are: drawn again once for words and plots."""
        if self._drawn is None or self._drawn[0] != state:
            grouping = self.grouping(**state)
            found = grouping, draw_again(grouping, state["bootstrap"], draws=DRAWS)
            self._drawn = (dict(state), found)
        return self._drawn[1]

    def words(self, **state: Any) -> str:
        """Return the groups, and how sure they are."""
        return _heading(*self._sure(state))

    def plots(self, **state: Any) -> hv.Layout:
        """Return holoviews plots of histograms, distances, tree and draws."""
        import holoviews.plotting.bokeh  # noqa: F401  the options below are bokeh's

        return _plots(*self._sure(state))


def _heading(grouping: Grouping, sure: Stability | None) -> str:
    from maestro_lab.figures.bands import UNSURE
    from maestro_lab.figures.style import COLOURS

    bands = "&ensp;".join(
        f"<b style='color:{COLOURS[k % len(COLOURS)]}'>{escape(' '.join(group))}</b>"
        for k, group in enumerate(grouping.groups.values())
    )
    words = sure.verdict if sure else UNSURE
    silhouette = "" if np.isnan(grouping.silhouette) else f", silhouette {grouping.silhouette:.2f}"
    title = "<br>".join(escape(line) for line in grouping.title.splitlines())
    return (
        f"<div class='band-groups'>{bands}<br><small>{title}{silhouette}<br>"
        f"{escape(words)}</small></div>"
    )


def _plots(grouping: Grouping, sure: Stability | None) -> hv.Layout:
    import holoviews as hv

    parts = [_histograms(grouping), _matrix(grouping, grouping.matrix, "distance", "distance")]
    if len(grouping.statistics.bands) > 1:
        parts.append(_tree(grouping))
        if sure is not None:
            title = f"together, drawn again from {sure.drawn:,} {sure.over}s"
            parts.append(_matrix(grouping, sure.together, "together", title))
    return hv.Layout(parts).opts(shared_axes=False, toolbar=None).cols(2)


def _histograms(grouping: Grouping) -> hv.Overlay:
    import holoviews as hv

    from maestro_lab.figures.style import COLOURS

    stats = grouping.statistics
    centres = (stats.edges[1:] + stats.edges[:-1]) / 2
    density = stats.counts / max(stats.n, 1)
    labels = grouping.groups.labels(stats.bands)
    seen = [labels[:k].count(label) for k, label in enumerate(labels)]
    curves = [
        hv.Curve((centres, course), stats.units, "share of pixels", label=band).opts(
            color=COLOURS[label % len(COLOURS)], line_dash=_DASHES[before % len(_DASHES)],
            line_width=2, tools=["hover"],
        )
        for band, label, before, course in zip(stats.bands, labels, seen, density, strict=True)
    ]  # fmt: skip
    return hv.Overlay(curves).opts(
        width=540, height=320, legend_position="right", title="histograms, colour = group"
    )


def _matrix(grouping: Grouping, matrix: np.ndarray, name: str, title: str) -> hv.HeatMap:
    import holoviews as hv

    bands = list(grouping.statistics.bands)
    order = grouping.order
    cells = [(bands[i], bands[j], float(matrix[i, j])) for i in order for j in order]
    return hv.HeatMap(cells, ["band", "other band"], name).opts(
        width=400, height=320, cmap="cividis", clim=(0, 1), colorbar=True, tools=["hover"],
        invert_yaxis=True, xrotation=90, xlabel="", ylabel="", title=title,
    )  # fmt: skip


def _tree(grouping: Grouping) -> hv.Overlay:
    import holoviews as hv
    from scipy.cluster.hierarchy import dendrogram

    from maestro_lab.figures.bands import colours_of_groups, cut_height

    bands = list(grouping.statistics.bands)
    found = dendrogram(
        grouping.tree, labels=bands, no_plot=True, link_color_func=colours_of_groups(grouping)
    )
    lines = [
        hv.Curve(list(zip(height, place, strict=True)), "distance", "place").opts(color=colour)
        for place, height, colour in zip(
            found["icoord"], found["dcoord"], found["color_list"], strict=True
        )
    ]
    ticks = [(5 + 10 * k, band) for k, band in enumerate(found["ivl"])]
    widest = max(float(grouping.tree[-1, 2]) * 1.05, 1e-6)
    cut = hv.VLine(cut_height(grouping)).opts(color="#444444", line_dash="dotted", line_width=1)
    return hv.Overlay([*lines, cut]).opts(
        width=540, height=320, yticks=ticks, ylabel="", invert_xaxis=True, xlim=(0, widest),
        show_legend=False, xlabel=f"distance ({grouping.linkage} linkage)",
        title="groups: below the dotted line",
    )  # fmt: skip
