"""From distances between bands to groups of bands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.metrics import silhouette_score

from maestro_lab.bands.groups import BandGroups
from maestro_lab.bands.statistics import BandStatistics
from maestro_lab.errors import ParameterError

__all__ = ["DISTANCES", "LINKAGES", "Grouping", "distances", "propose_groups"]

DISTANCES = ("correlation", "overlap")
LINKAGES = ("average", "complete", "single")


@dataclass(frozen=True)
class Grouping:
    """Groups of bands, and how they came about.

    Parameters
    ----------
    groups
        The groups.
    statistics
        What they were measured on.
    distance, link
        Which distance between bands, and which linkage.
    matrix
        (band, band) distances.
    tree
        The linkage matrix of scipy.
    chosen
        How the number of groups was found, in words.
    """

    groups: BandGroups
    statistics: BandStatistics
    distance: str
    link: str
    matrix: np.ndarray
    tree: np.ndarray
    chosen: str

    def __repr__(self) -> str:
        inside = " | ".join(" ".join(bands) for bands in self.groups.values())
        return f"{inside}  ({self.distance}, {self.link} linkage, {self.chosen})"


def distances(statistics: BandStatistics, distance: str = "correlation") -> np.ndarray:
    """Return distances between bands (band, band), 0 on the diagonal.

    Parameters
    ----------
    statistics
        Histograms and co-moments.
    distance
        "correlation": 1 - |Pearson correlation|; a band that never varies is at distance 1.
        "overlap": 1 - shared area of the histograms.
    """
    if distance not in DISTANCES:
        raise ParameterError("distance", expected=" | ".join(DISTANCES), found=repr(distance))
    if distance == "correlation":
        matrix = 1 - np.nan_to_num(np.abs(statistics.correlation()))
    else:
        matrix = 1 - statistics.overlap()
    matrix = np.clip((matrix + matrix.T) / 2, 0, 1)
    np.fill_diagonal(matrix, 0)
    return matrix


def propose_groups(
    statistics: BandStatistics,
    *,
    groups: int | None = None,
    distance: str = "correlation",
    link: str = "average",
) -> Grouping:
    """Group bands by hierarchical clustering.

    Parameters
    ----------
    statistics
        What to group by.
    groups
        Number of groups; None takes the number with the best mean silhouette.
    distance
        See :func:`distances`.
    link
        "average", "complete" or "single".

    Raises
    ------
    ParameterError
        If there are fewer bands than groups.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> from maestro_lab.bands import band_statistics
    >>> cube = ml.open_cube("landscape", samples=60, modalities=["s2"])
    >>> print(propose_groups(band_statistics(cube, "s2", split=None), groups=3))
    B02 B03 B04 B05 | B06 B07 B08 B8A | B11 B12  (correlation, average linkage, 3 groups asked for)
    """
    bands = list(statistics.bands)
    if link not in LINKAGES:
        raise ParameterError("linkage", expected=" | ".join(LINKAGES), found=repr(link))
    if groups is not None and not 1 <= groups <= len(bands):
        raise ParameterError("number of groups", expected=f"1 to {len(bands)}", found=groups)
    matrix = distances(statistics, distance)
    if len(bands) == 1:
        tree, labels, chosen = np.empty((0, 4)), np.array([1]), "one band"
    else:
        tree = linkage(squareform(matrix, checks=False), link)
        count = groups or _best_count(tree, matrix)
        labels = fcluster(tree, count, "maxclust")
        chosen = f"{count} groups asked for" if groups else f"{count} groups by silhouette"
    order = list(dict.fromkeys(labels))  # groups in the order of their first band
    lists = [[b for b, k in zip(bands, labels, strict=True) if k == g] for g in order]
    found = BandGroups.from_lists(lists)
    return Grouping(found, statistics, distance, link, matrix, tree, chosen)


def _best_count(tree: np.ndarray, matrix: np.ndarray) -> int:
    """Return the number of groups with the best silhouette; 2 for two bands."""
    n = len(matrix)
    scores = {}
    for count in range(2, n):
        labels = fcluster(tree, count, "maxclust")
        if 1 < len(set(labels)) < n:
            scores[count] = silhouette_score(matrix, labels, metric="precomputed")
    return max(scores, key=scores.__getitem__) if scores else min(2, n)
