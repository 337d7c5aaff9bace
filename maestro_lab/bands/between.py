"""Distances between bands: six statistics, each between 0 (alike) and 1."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import numpy as np

from maestro_lab.bands.statistics import BandStatistics
from maestro_lab.errors import ParameterError

__all__ = ["STATISTICS", "distances"]


def _unlike(correlation: np.ndarray) -> np.ndarray:
    return 1 - np.nan_to_num(np.abs(correlation))


def _informative(statistics: BandStatistics) -> np.ndarray:
    """Return the correlation that two Gaussian bands of this mutual information would have."""
    return np.sqrt(np.maximum(1 - np.exp(-2 * np.nan_to_num(statistics.information())), 0))


_MEASURES: dict[str, tuple[str, Callable[[BandStatistics], np.ndarray]]] = {
    "correlation": ("1 - |correlation|", lambda s: _unlike(s.correlation())),
    "within_date": ("1 - |correlation within dates|", lambda s: _unlike(s.correlation("date"))),
    "within_patch": (
        "1 - |correlation within patches|",
        lambda s: _unlike(s.correlation("patch")),
    ),
    "overlap": ("1 - histogram overlap", lambda s: 1 - s.overlap()),
    "wasserstein": ("Wasserstein distance of histograms", lambda s: s.wasserstein()),
    "information": ("1 - informational correlation", lambda s: _unlike(_informative(s))),
}

STATISTICS = MappingProxyType({name: words for name, (words, _) in _MEASURES.items()})
"""Statistics that bands can be compared by, and what the distance is in words."""


def distances(statistics: BandStatistics, statistic: str = "correlation") -> np.ndarray:
    """Return distances between bands (band, band), 0 on the diagonal.

    Parameters
    ----------
    statistics
        From :func:`~maestro_lab.bands.band_statistics`.
    statistic
        "correlation": 1 - |Pearson correlation| over all pixels; a band that never varies is at
        distance 1. "within_date": the same for deviations from the mean of each image, so that
        courses over the year do not count. "within_patch": for deviations from the mean of each
        patch, the only contrasts that a patch-wise normalised target keeps. "overlap": 1 - shared
        area of the histograms. "wasserstein": area between the cumulated histograms, as a share of
        their range. "information": 1 - sqrt(1 - exp(-2 I)), I the mutual information (Linfoot
        1957); 1 - |correlation| for Gaussian bands, and sees any other dependence too.

    Raises
    ------
    ParameterError
        For an unknown statistic.
    """
    if statistic not in _MEASURES:
        raise ParameterError("statistic", expected=" | ".join(_MEASURES), found=repr(statistic))
    matrix = np.clip(_MEASURES[statistic][1](statistics), 0, 1)
    matrix = (matrix + matrix.T) / 2
    np.fill_diagonal(matrix, 0)
    return matrix
