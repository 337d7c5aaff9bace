"""When things are green: the yearly course of what covers the ground, one per kind.

A course is a double logistic, ``low + (high - low) (s((t - rise) / a) - s((t - fall) / b))`` with
the logistic function s: Zhang et al. 2003 (Remote Sensing of Environment 84, 471-475) introduced
logistic curves for MODIS phenology, Beck et al. 2006 (RSE 100, 321-334) the double logistic for
NDVI at high latitudes. Here it drives the *fraction* of an endmember; NDVI follows from the mix.

Days are orders of magnitude for the lowlands of Central Europe. Birch comes into leaf first, then
beech, then oak, and they turn in the same order; larch sheds its needles late; spruce flushes in
May, pine in June, and pine drops its oldest needles in autumn. The gaps between species of one
leaf type (about ten days) are the planted signal; stand-to-stand shifts are half as large.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from maestro_lab.cubes.landscape.world import KINDS

ENDMEMBERS = (
    "crop leaf",
    "broad leaf",
    "needle",
    "yellow leaf",
    "straw",
    "litter",
    "soil",
    "sealed",
    "water",
)

LEAVES = ("crop leaf", "broad leaf", "needle")
"""Endmembers that radar sees as living canopy."""


@dataclass(frozen=True)
class Course:
    """The fraction of one endmember over the year.

    Parameters
    ----------
    endmember
        One of :data:`ENDMEMBERS`.
    low, high
        Fractions out of and in season.
    rise, fall
        Day of year of the steepest rise and fall.
    rise_days, fall_days
        Widths of the two logistic functions, days.
    """

    endmember: str
    low: float
    high: float
    rise: float = 0.0
    rise_days: float = 5.0
    fall: float = 366.0
    fall_days: float = 5.0

    def at(self, day: np.ndarray, spring: np.ndarray, autumn: np.ndarray) -> np.ndarray:
        """Return the fraction on given days, with rise and fall shifted by some days."""
        if self.low == self.high:
            return np.full(np.broadcast_shapes(day.shape, spring.shape), self.low, np.float32)
        up = _logistic((day - self.rise - spring) * (1 / self.rise_days))
        down = _logistic((day - self.fall - autumn) * (1 / self.fall_days))
        return self.low + (self.high - self.low) * (up - down)


@dataclass(frozen=True)
class Kind:
    """The courses of one kind of cover, and the endmember that shows where they leave room."""

    ground: str
    courses: tuple[Course, ...] = ()
    cuts: tuple[float, ...] = ()


def _tree(rise: float, turn: float, fall: float) -> Kind:
    """Build a deciduous broadleaf: green from ``rise`` to ``turn``, then yellow until ``fall``."""
    return Kind(
        "litter",
        (
            Course("broad leaf", 0.05, 0.93, rise, 4.5, turn, 6.0),
            Course("yellow leaf", 0.0, 0.75, turn, 6.0, fall, 5.0),
        ),
    )


COURSES: Mapping[str, Kind] = {
    "water": Kind("water"),
    "sealed": Kind("sealed"),
    "garden": Kind("litter", (Course("crop leaf", 0.45, 0.75, 100, 10, 295, 14),)),
    "cereal": Kind(
        "soil",
        (
            Course("crop leaf", 0.22, 0.92, 92, 9, 171, 6),
            Course("straw", 0.05, 0.85, 172, 6, 206, 4),
        ),
    ),
    "maize": Kind(
        "soil",
        (
            Course("crop leaf", 0.05, 0.93, 170, 7, 260, 8),
            Course("straw", 0.10, 0.75, 262, 8, 282, 3),
        ),
    ),
    "meadow": Kind(
        "litter", (Course("crop leaf", 0.50, 0.92, 92, 11, 305, 16),), cuts=(152, 207, 260)
    ),
    "understorey": Kind("litter", (Course("crop leaf", 0.20, 0.60, 102, 10, 298, 12),)),
    "oak": _tree(128, 294, 314),
    "beech": _tree(117, 279, 299),
    "birch": _tree(105, 264, 284),
    "pine": Kind(
        "litter",
        (
            Course("needle", 0.88, 0.88),
            Course("broad leaf", 0.0, 0.20, 178, 6, 228, 10),
            Course("yellow leaf", 0.0, 0.10, 258, 6, 296, 8),
        ),
    ),
    "spruce": Kind(
        "litter",
        (Course("needle", 0.90, 0.90), Course("broad leaf", 0.0, 0.20, 145, 5, 192, 10)),
    ),
    "larch": Kind(
        "litter",
        (
            Course("needle", 0.10, 0.90, 108, 6, 291, 5),
            Course("yellow leaf", 0.0, 0.75, 291, 5, 314, 5),
        ),
    ),
}

MOWN, REGROWTH = 0.6, 13.0
"""A cut takes this share of a meadow's leaves; they come back with this time constant, days."""


def fractions(
    kind: np.ndarray, spring: np.ndarray, autumn: np.ndarray, day: np.ndarray
) -> np.ndarray:
    """Return what shows of each endmember.

    Parameters
    ----------
    kind
        Index into KINDS (n,).
    spring, autumn
        Shifts of rise and fall (n,), days.
    day
        Days of the year (t,).

    Returns
    -------
    numpy.ndarray
        float32 (n, t, endmember); sums to one over the endmembers.

    Examples
    --------
    >>> oak = KINDS.index("oak")
    >>> f = fractions(np.array([oak]), np.zeros(1), np.zeros(1), np.array([60.0, 180.0]))
    >>> f[0, :, ENDMEMBERS.index("broad leaf")].round(2).tolist()
    [0.05..., 0.93...]
    """
    out = np.zeros((len(kind), len(day), len(ENDMEMBERS)), dtype=np.float32)
    day = day.astype(np.float32)[None, :]
    spring, autumn = (v.astype(np.float32)[:, None] for v in (spring, autumn))
    for number in np.unique(kind):
        rows = np.flatnonzero(kind == number)
        recipe = COURSES[KINDS[number]]
        part = np.zeros((len(rows), day.shape[1], len(ENDMEMBERS)), dtype=np.float32)
        for course in recipe.courses:
            value = course.at(day, spring[rows], autumn[rows])
            for cut in recipe.cuts:
                since = day - (cut + 1.5 * spring[rows] + autumn[rows])
                value = value * (1 - MOWN * (since > 0) * np.exp(-np.abs(since) / REGROWTH))
            part[..., ENDMEMBERS.index(course.endmember)] += value
        total = part.sum(axis=-1)
        part /= np.maximum(total, 1.0)[..., None]
        part[..., ENDMEMBERS.index(recipe.ground)] += 1 - np.minimum(total, 1.0)
        out[rows] = part
    return out


def _logistic(u: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.tanh(0.5 * u)
