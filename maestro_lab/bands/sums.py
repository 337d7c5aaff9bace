"""Plain sums over pixels, from which every statistic of bands follows; sums add up."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from maestro_lab.errors import ParameterError

__all__ = ["CODES", "Bins", "Levels", "Sums", "add_levels", "pairs"]

CODES = 16
"""Classes a band is cut into for mutual information, equally full over the whole cube."""


Levels = tuple[int, np.ndarray]
"""Exact counts of whole numbers: the lowest one, and counts (band, level) from there on."""


@dataclass(frozen=True, eq=False)
class Bins:
    """What must be fixed before pixels are summed; sums with the same bins can be added.

    Parameters
    ----------
    edges
        (bins + 1,) edges of the histograms, shared by all bands.
    cuts
        (band, CODES - 1) values between the classes of mutual information.
    shift
        (band,) numbers near the means, taken off before products are summed.
    stride
        Mutual information looks at every ``stride``-th pixel.

    Raises
    ------
    ParameterError
        If the edges do not rise in even steps.
    """

    edges: np.ndarray
    cuts: np.ndarray
    shift: np.ndarray
    stride: int = 1

    def __post_init__(self) -> None:
        steps = np.diff(self.edges)
        if not len(steps) or (steps <= 0).any() or not np.allclose(steps, steps.mean()):
            raise ParameterError(
                "edges of histograms", expected="rising in even steps", found=self.edges
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Bins) or self.stride != other.stride:
            return False
        names = ("edges", "cuts", "shift")
        return all(np.array_equal(getattr(self, n), getattr(other, n)) for n in names)

    def __hash__(self) -> int:
        return hash((self.edges.tobytes(), self.stride))


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over pixels, for each of several labels; one label may stand without that axis.

    Parameters
    ----------
    n
        (label,) pixels.
    first
        (label, band) sums of x - shift.
    second
        (label, band, band) sums of products.
    by_date, by_patch
        (label, band, band) sums of s sᵀ / n over images, and over patches, with sums s of n pixels.
    counts
        (label, band, bin) histograms.
    joint
        (label, pair, code, code) joint classes of each two bands.
    missing
        (label, band) pixels left out because this band, the first to do so, was not finite.
    """

    n: np.ndarray
    first: np.ndarray
    second: np.ndarray
    by_date: np.ndarray
    by_patch: np.ndarray
    counts: np.ndarray
    joint: np.ndarray
    missing: np.ndarray

    @classmethod
    def zeros(cls, labels: int, bands: int, bins: int) -> Sums:
        """Return sums over no pixels."""
        matrix = (labels, bands, bands)
        return cls(
            np.zeros(labels, np.int64),
            np.zeros((labels, bands)),
            np.zeros(matrix),
            np.zeros(matrix),
            np.zeros(matrix),
            np.zeros((labels, bands, bins), np.int64),
            np.zeros((labels, len(pairs(bands)), CODES, CODES), np.int64),
            np.zeros((labels, bands), np.int64),
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def _each(self, change: Any) -> Sums:
        return Sums(**{name: change(array) for name, array in self.arrays().items()})

    def __add__(self, other: Sums) -> Sums:
        theirs = other.arrays()
        return Sums(**{name: array + theirs[name] for name, array in self.arrays().items()})

    def take(self, labels: Any) -> Sums:
        """Return the sums of one label, or of several."""
        return self._each(lambda array: array[labels])

    def total(self) -> Sums:
        """Return the sums over all labels."""
        return self._each(lambda array: array.sum(0))

    def weighted(self, weights: np.ndarray) -> Sums:
        """Return sums over all labels, each counted ``weights`` (..., label) times: (...)."""
        weights = np.asarray(weights, float)  # whole numbers up to 2^53 stay exact
        return self._each(lambda array: np.tensordot(weights, array.astype(float), 1))

    def joined(self, other: Sums) -> Sums:
        """Return sums with the labels of both, one after the other."""
        theirs = other.arrays()
        return Sums(
            **{name: np.concatenate([a, theirs[name]]) for name, a in self.arrays().items()}
        )


def pairs(bands: int) -> list[tuple[int, int]]:
    """Return pairs of band numbers in the order of ``joint``: (0, 1), (0, 2) .. (1, 2) ...

    Examples
    --------
    >>> pairs(3)
    [(0, 1), (0, 2), (1, 2)]
    """
    return [(a, b) for a in range(bands) for b in range(a + 1, bands)]


def add_levels(a: Levels | None, b: Levels | None) -> Levels | None:
    """Add exact counts that begin at different levels; None if either has none.

    Examples
    --------
    >>> add_levels((1, np.array([[2, 3]])), (2, np.array([[1, 1]])))
    (1, array([[2, 4, 1]]))
    """
    if a is None or b is None:
        return None
    if not a[1].shape[1] or not b[1].shape[1]:  # no pixel, no level
        return a if a[1].shape[1] else b
    low, high = min(a[0], b[0]), max(a[0] + a[1].shape[1], b[0] + b[1].shape[1])
    table = np.zeros((len(a[1]), high - low), np.int64)
    for first, counts in (a, b):
        table[:, first - low : first - low + counts.shape[1]] += counts
    return low, table
