"""From distances between bands to groups of bands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.cluster.hierarchy import cut_tree, leaves_list, linkage
from scipy.spatial.distance import squareform

from maestro_lab.bands.between import STATISTICS, distances
from maestro_lab.bands.groups import BandGroups
from maestro_lab.bands.statistics import BandStatistics
from maestro_lab.bands.survey import Survey
from maestro_lab.errors import ParameterError

__all__ = [
    "LINKAGES",
    "Grouping",
    "compare_groupings",
    "group_bands",
    "propose_groups",
    "statistics_agreement",
]

LINKAGES = ("average", "complete", "single")


@dataclass(frozen=True, eq=False)
class Grouping:
    """Groups of bands, and how they came about.

    Parameters
    ----------
    groups
        The groups.
    statistics
        What they were measured on.
    statistic, linkage
        Which distance between bands, and which linkage.
    matrix
        (band, band) distances.
    tree
        The linkage matrix of scipy.
    silhouette
        Mean silhouette of the bands, -1 to 1; below 0.25 there is no structure to speak of
        (Kaufman and Rousseeuw 1990). NaN where each band, or all of them, make one group.
    chosen
        How the number of groups was found, in words.
    """

    groups: BandGroups
    statistics: BandStatistics
    statistic: str
    linkage: str
    matrix: np.ndarray
    tree: np.ndarray
    silhouette: float
    chosen: str

    @property
    def order(self) -> list[int]:
        """Numbers of the bands in the order of the tree, from the top of its picture down."""
        if not len(self.tree):
            return list(range(len(self.matrix)))
        return [int(k) for k in leaves_list(self.tree)][::-1]

    @property
    def how(self) -> str:
        """Statistic, cloud policy, linkage and number of groups in words."""
        clouds = self.statistics.selection.policy
        return f"{self.statistic}, {clouds}, {self.linkage} linkage, {self.chosen}"

    @property
    def title(self) -> str:
        """What was measured, on which pixels, and how bands were joined."""
        words = f"{STATISTICS[self.statistic]}, {self.linkage} linkage"
        return f"{self.statistics.title}\n{words}, {self.chosen}"

    def __repr__(self) -> str:
        return f"{self.groups.words}  ({self.how})"


def propose_groups(
    statistics: BandStatistics,
    *,
    groups: int | None = None,
    statistic: str = "correlation",
    linkage: str = "average",
) -> Grouping:
    """Group bands by hierarchical clustering.

    Parameters
    ----------
    statistics
        What to group by.
    groups
        Number of groups; None or 0 takes the number with the best mean silhouette.
    statistic
        See :func:`~maestro_lab.bands.distances`.
    linkage
        "average", "complete" or "single".

    Raises
    ------
    ParameterError
        For an unknown statistic or linkage, or if there are fewer bands than groups.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> from maestro_lab.bands import band_statistics
    >>> cube = ml.open_cube("landscape", samples=60, modalities=["s2"])
    >>> print(propose_groups(band_statistics(cube, "s2", split=()), groups=3))
    B02 B03 B04 B05 | B06 B07 B08 B8A | B11 B12
    (correlation, clear pixels only, average linkage, 3 groups asked for)
    """
    bands = list(statistics.bands)
    _check_ways(statistic, linkage, groups)
    if groups and not 1 <= groups <= len(bands):
        raise ParameterError("number of groups", expected=f"1 to {len(bands)}", found=groups)
    matrix = distances(statistics, statistic)
    tree, labels = cluster(matrix, linkage, groups)
    count = len(set(labels))
    chosen = f"{count} groups asked for" if groups else f"{count} groups by silhouette"
    if count == 1 and not groups:
        chosen = "one band" if len(bands) == 1 else "one group: the bands are equal"
    lists = [
        [b for b, k in zip(bands, labels, strict=True) if k == g] for g in dict.fromkeys(labels)
    ]  # in the order of their first band
    found = BandGroups.from_lists(lists)
    score = _silhouette(matrix, labels)
    return Grouping(found, statistics, statistic, linkage, matrix, tree, score, chosen)


def _check_ways(statistic: str, linkage: str, *counts: Any) -> None:
    """Refuse unknown ways before anything is measured."""
    if statistic not in STATISTICS:
        raise ParameterError("statistic", expected=" | ".join(STATISTICS), found=repr(statistic))
    if linkage not in LINKAGES:
        raise ParameterError("linkage", expected=" | ".join(LINKAGES), found=repr(linkage))
    for count in counts:
        if count is not None and (not isinstance(count, int | np.integer) or count < 0):
            raise ParameterError("number of groups", expected="0 or more", found=repr(count))


def cluster(
    matrix: np.ndarray, method: str, groups: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the tree over distances (band, band), and the group of each band (band,).

    The tree is cut into exactly ``groups`` groups, also where several merges are equally high;
    without a number into those with the best mean silhouette, two for two bands, one for bands that
    are all at distance 0.
    """
    size = len(matrix)
    if size == 1:
        return np.empty((0, 4)), np.zeros(1, int)
    tree = linkage(squareform(matrix, checks=False), method)
    if groups:
        return tree, cut_tree(tree, n_clusters=groups)[:, 0]
    if not matrix.any():
        return tree, np.zeros(size, int)
    cuts = cut_tree(tree, n_clusters=list(range(2, size)) or [2])
    scores = [_silhouette(matrix, labels) for labels in cuts.T]
    return tree, cuts[:, int(np.argmax(np.nan_to_num(scores, nan=-1)))]


def _silhouette(matrix: np.ndarray, labels: np.ndarray) -> float:
    if not 1 < len(set(labels)) < len(labels):
        return float("nan")
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(matrix, labels, metric="precomputed"))


def group_bands(
    cube: xr.DataTree | Survey,
    *,
    modalities: Sequence[str] | None = None,
    groups: int | Mapping[str, int] | None = None,
    statistic: str = "correlation",
    linkage: str = "average",
    clouds: str = "out",
    season: str = "",
    region: str = "",
) -> dict[str, Grouping]:
    """Measure the bands of a cube and group them, modality by modality, on training samples.

    Parameters
    ----------
    cube
        The cube, or a :class:`~maestro_lab.bands.Survey` of it that remembers what it measured.
    modalities
        Which; default all.
    groups
        Number of groups, one for all modalities or one for each; None or 0 lets the silhouette
        choose. A modality with fewer bands is cut into single bands.
    statistic, linkage
        See :func:`propose_groups`.
    clouds, season, region
        See :class:`~maestro_lab.bands.selection.Selection`.

    Returns
    -------
    dict
        Modality to :class:`Grouping`.

    Raises
    ------
    ParameterError
        If ``groups`` speaks of a modality that is not grouped, or an option is unknown.
    """
    survey = cube if isinstance(cube, Survey) else Survey(cube)
    chosen = list(modalities or survey.modalities)
    counts = dict(groups) if isinstance(groups, Mapping) else dict.fromkeys(chosen, groups)
    strangers = [name for name in counts if name not in chosen]
    if strangers:
        raise ParameterError(
            f"a number of groups for {strangers[0]!r}, which is not grouped",
            expected=", ".join(chosen),
            found=", ".join(strangers),
        )
    _check_ways(statistic, linkage, *counts.values())
    measured = {
        name: survey.statistics(name, clouds=clouds, season=season, region=region)
        for name in chosen
    }
    most = max((len(m.bands) for m in measured.values()), default=0)
    asked = max((count or 0 for count in counts.values()), default=0)
    if asked > most:
        raise ParameterError("number of groups", expected=f"0 to {most}", found=asked)
    found = {}
    for name, statistics in measured.items():
        asked, bands = counts.get(name) or 0, len(statistics.bands)
        found[name] = propose_groups(
            statistics, groups=min(asked, bands), statistic=statistic, linkage=linkage
        )
        if asked > bands:
            told = f"{bands} of {asked} groups asked for"
            found[name] = replace(found[name], chosen=told)
    return found


def compare_groupings(
    cube: xr.DataTree | Survey, groupings: Mapping[str, Grouping]
) -> pd.DataFrame:
    """Group again under every statistic, linkage and cloud policy, with as many groups.

    Parameters
    ----------
    cube
        The cube, or a survey of it.
    groupings
        From :func:`group_bands`.

    Returns
    -------
    pandas.DataFrame
        One row a modality and set of groups: the groups, how many of all ways lead there, whether
        these are the proposed ones, and which ways those are. Modalities with fewer than three
        bands are left out.
    """
    survey = cube if isinstance(cube, Survey) else Survey(cube)
    rows = []
    for name, grouping in groupings.items():
        if len(grouping.statistics.bands) < 3:
            continue
        ways: dict[BandGroups, list[str]] = {}
        for statistic, method, clouds, groups in _every_way(survey, grouping, LINKAGES):
            ways.setdefault(groups, []).append(f"{statistic}, {method}, clouds {clouds}")
        for groups, names in sorted(ways.items(), key=lambda item: -len(item[1])):
            same = groups == grouping.groups
            rows.append((name, groups.words, len(names), same, "; ".join(names)))
    return pd.DataFrame(rows, columns=["modality", "groups", "ways", "proposed", "which"])


def statistics_agreement(cube: xr.DataTree | Survey, grouping: Grouping) -> pd.DataFrame:
    """Group by every statistic, with clouds in and out, and compare each two answers.

    Parameters
    ----------
    cube
        The cube, or a survey of it.
    grouping
        Names the modality, season, region, linkage and number of groups.

    Returns
    -------
    pandas.DataFrame
        Adjusted Rand indices (way, way): 1 for the same groups, about 0 for no more agreement than
        chance.
    """
    ways = list(_every_way(cube, grouping, [grouping.linkage]))
    several = len({clouds for _, _, clouds, _ in ways}) > 1
    found = {
        f"{statistic}, clouds {clouds}" if several else statistic: groups
        for statistic, _, clouds, groups in ways
    }
    rows = [[a.agreement(b) for b in found.values()] for a in found.values()]
    return pd.DataFrame(rows, index=list(found), columns=list(found))


def _every_way(
    cube: xr.DataTree | Survey, grouping: Grouping, linkages: Sequence[str]
) -> Iterator[tuple[str, str, str, BandGroups]]:
    """Yield statistic, linkage, cloud policy and the groups, as many of them, that follow."""
    survey = cube if isinstance(cube, Survey) else Survey(cube)
    name, at = grouping.statistics.modality, grouping.statistics.selection
    for clouds in survey.policies(name):
        again = survey.statistics(name, clouds=clouds, season=at.season, region=at.region)
        for statistic in STATISTICS:
            for method in linkages:
                found = propose_groups(
                    again, groups=len(grouping.groups), statistic=statistic, linkage=method
                )
                yield statistic, method, clouds, found.groups
