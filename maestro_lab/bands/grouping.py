"""From distances between bands to groups of bands."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.spatial.distance import squareform
from sklearn.metrics import silhouette_score

from maestro_lab.bands.groups import BandGroups
from maestro_lab.bands.statistics import BandStatistics, band_statistics
from maestro_lab.cubes.contract import modality_names
from maestro_lab.errors import ParameterError

__all__ = [
    "DISTANCES",
    "LINKAGES",
    "Grouping",
    "compare_groupings",
    "distances",
    "group_bands",
    "load_groups",
    "propose_groups",
    "save_groups",
]

GROUPS_FILE = "groups.json"

DISTANCES = ("correlation", "overlap")
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
        For an unknown distance or linkage, or if there are fewer bands than groups.

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
        labels = _labels(tree, count)
        chosen = f"{count} groups asked for" if groups else f"{count} groups by silhouette"
    order = list(dict.fromkeys(labels))  # groups in the order of their first band
    lists = [[b for b, k in zip(bands, labels, strict=True) if k == g] for g in order]
    found = BandGroups.from_lists(lists)
    return Grouping(found, statistics, distance, link, matrix, tree, chosen)


def _labels(tree: np.ndarray, count: int) -> np.ndarray:
    """Cut a tree into exactly ``count`` groups, also where several merges are equally high."""
    return cut_tree(tree, n_clusters=count)[:, 0]


def _best_count(tree: np.ndarray, matrix: np.ndarray) -> int:
    """Return the number of groups with the best silhouette; 2 for two bands."""
    n = len(matrix)
    scores = {}
    for count in range(2, n):
        scores[count] = silhouette_score(matrix, _labels(tree, count), metric="precomputed")
    return max(scores, key=scores.__getitem__) if scores else min(2, n)


def group_bands(
    cube: xr.DataTree,
    *,
    modalities: Sequence[str] | None = None,
    groups: int | Mapping[str, int] | None = None,
    distance: str = "correlation",
    link: str = "average",
    clear_only: bool = True,
) -> dict[str, Grouping]:
    """Measure the bands of a cube and group them, modality by modality, on training samples.

    Parameters
    ----------
    cube
        The cube.
    modalities
        Which; default all.
    groups
        Number of groups, one for all modalities or one for each; None or 0 lets the silhouette
        choose.
    distance, link, clear_only
        See :func:`propose_groups` and :func:`~maestro_lab.bands.band_statistics`.

    Returns
    -------
    dict
        Modality to :class:`Grouping`.

    Raises
    ------
    ParameterError
        If ``groups`` speaks of a modality that is not grouped, or an option is unknown.
    """
    chosen = list(modalities or modality_names(cube))
    counts = dict(groups) if isinstance(groups, Mapping) else dict.fromkeys(chosen, groups)
    strangers = [name for name in counts if name not in chosen]
    if strangers:
        raise ParameterError(
            f"a number of groups for {strangers[0]!r}, which is not grouped",
            expected=", ".join(chosen),
            found=", ".join(strangers),
        )
    split = ("train",) if (np.asarray(cube["split"].values) == "train").any() else None
    found = {}
    for name in chosen:
        statistics = band_statistics(cube, name, split=split, clear_only=clear_only)
        count = min(counts.get(name) or 0, len(statistics.bands)) or None
        found[name] = propose_groups(statistics, groups=count, distance=distance, link=link)
    return found


def compare_groupings(cube: xr.DataTree, groupings: Mapping[str, Grouping]) -> pd.DataFrame:
    """Group again under every statistic, linkage and cloud policy, with as many groups.

    Returns
    -------
    pandas.DataFrame
        One row a modality and set of groups: the groups, how many of the twelve ways lead there,
        and which ways those are. A modality whose ways all agree has one row.
    """
    rows = []
    for name, grouping in groupings.items():
        if len(grouping.statistics.bands) < 3:
            continue
        ways: dict[BandGroups, list[str]] = {}
        for clear_only in (True, False):
            again = group_bands(cube, modalities=[name], clear_only=clear_only)[name].statistics
            for distance in DISTANCES:
                for link in LINKAGES:
                    found = propose_groups(
                        again, groups=len(grouping.groups), distance=distance, link=link
                    )
                    way = f"{distance}, {link}, {'clear' if clear_only else 'all'}"
                    ways.setdefault(found.groups, []).append(way)
        for groups, names in sorted(ways.items(), key=lambda item: -len(item[1])):
            inside = " | ".join(" ".join(bands) for bands in groups.values())
            rows.append((name, inside, len(names), groups == grouping.groups, "; ".join(names)))
    return pd.DataFrame(rows, columns=["modality", "groups", "ways", "proposed", "which"])


def save_groups(groupings: Mapping[str, Grouping | BandGroups], folder: str | Path) -> Path:
    """Write ``groups.json`` into a run folder: modality to group name to bands."""
    plain = {
        name: (g.groups if isinstance(g, Grouping) else g).to_dict()
        for name, g in groupings.items()
    }
    path = Path(folder) / GROUPS_FILE
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(plain, indent=1), encoding="utf-8")
    return unfinished.replace(path)


def load_groups(path: str | Path) -> dict[str, BandGroups]:
    """Read the groups that notebook 01 left in its run folder.

    Parameters
    ----------
    path
        The run folder, or the file itself.

    Raises
    ------
    ParameterError
        If there is no such file, or it holds something else.
    """
    path = Path(path)
    path = path / GROUPS_FILE if path.is_dir() else path
    if not path.is_file():
        raise ParameterError(
            f"no band groups at {path}",
            expected=f"a run folder of notebook 01, or its {GROUPS_FILE}",
            do="run notebook 01 first, or leave the parameter empty to measure groups here",
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {name: BandGroups(groups) for name, groups in content.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise ParameterError(
            f"{path} holds no band groups",
            expected='{"modality": {"group": ["band", ...]}}',
            found=str(error),
        ) from error
