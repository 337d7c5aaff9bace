"""Scenes: images of one sensor on one large grid, and the windows that several of them share.

A :class:`Scene` says where its pixels lie and how some of them are read. :func:`common_ground`
lays windows of so many metres over the ground that all scenes cover, so that each window holds
whole pixels of every scene.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

from maestro_lab.cubes.reading import Where
from maestro_lab.errors import CubeError

__all__ = ["Grid", "Ground", "ReadRows", "Scene", "common_ground", "same_crs"]

_TOLERANCE = 0.01  # of a pixel


class ReadRows(Protocol):
    """How some dates of a part of a scene are read; an object that can be pickled."""

    def __call__(self, rows: np.ndarray, where: Where) -> tuple[np.ndarray, np.ndarray]:
        """Return values (t, band, y, x) and valid (t, y, x) of dates by number, within a part."""


@dataclass(frozen=True)
class Grid:
    """Square pixels on the ground, rows from north to south.

    Parameters
    ----------
    west, north
        Upper-left corner of the upper-left pixel, in metres.
    gsd
        Side of a pixel in metres.
    shape
        Rows and columns.
    crs
        Coordinate reference system, None where nothing is known of it.

    Examples
    --------
    >>> Grid(500_000.0, 5_000_000.0, 10.0, (100, 80)).east
    500800.0
    """

    west: float
    north: float
    gsd: float
    shape: tuple[int, int]
    crs: Any = None

    @property
    def east(self) -> float:
        """Right edge, in metres."""
        return self.west + self.shape[1] * self.gsd

    @property
    def south(self) -> float:
        """Lower edge, in metres."""
        return self.north - self.shape[0] * self.gsd


@dataclass(frozen=True)
class Scene:
    """All images of one sensor on one grid.

    Parameters
    ----------
    name
        Name of the modality it becomes.
    grid
        Its pixels.
    bands, units, sensor, nodata
        As in :func:`~maestro_lab.cubes.contract.make_modality`.
    dtype
        Of the values that ``read`` returns.
    time
        Dates (t,) in the order that ``read`` numbers them; empty for an image without a date.
    read
        Reads some dates of a part.
    static
        Whether it is one image that belongs to every year.
    lazy
        Whether the pixels stay where they are until they are used.
    """

    name: str
    grid: Grid
    bands: tuple[str, ...]
    units: str
    sensor: str | None
    dtype: np.dtype
    time: np.ndarray
    read: ReadRows
    nodata: float | None = None
    static: bool = False
    lazy: bool = False


@dataclass(frozen=True)
class Ground:
    """Windows side by side, row by row from the north-west.

    Parameters
    ----------
    west, north
        Upper-left corner of the first window, in metres.
    window
        Side of a window in metres.
    shape
        Rows and columns of windows.
    """

    west: float
    north: float
    window: float
    shape: tuple[int, int]

    @property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of each window (n,)."""
        row, column = np.indices(self.shape).reshape(2, -1)
        return row, column

    def corner(self, grid: Grid) -> tuple[int, int]:
        """Return row and column of the pixel at the upper-left corner of the first window."""
        return (
            round((grid.north - self.north) / grid.gsd),
            round((self.west - grid.west) / grid.gsd),
        )

    def pixels(self, grid: Grid) -> int:
        """Return how many pixels of a grid lie along the side of a window."""
        return round(self.window / grid.gsd)


def same_crs(first: Any, second: Any) -> bool:
    """Tell whether two reference systems are one, in whatever words; unknown ones fit all."""
    if not first or not second or first == second:
        return True
    codes = [crs.to_epsg() for crs in (first, second)]
    return None not in codes and codes[0] == codes[1]


def common_ground(grids: Mapping[str, Grid], window: float) -> Ground:
    """Lay windows over the ground that some grids share.

    As many windows as fit are laid; what is left over is spread on both sides.

    Parameters
    ----------
    grids
        Name of a modality (or target) to its grid.
    window
        Side of a window in metres.

    Raises
    ------
    CubeError
        If the grids share no ground or do not line up, or the window holds no whole pixels.

    Examples
    --------
    >>> ten = Grid(0.0, 1000.0, 10.0, (100, 100))
    >>> twenty = Grid(20.0, 1000.0, 20.0, (50, 49))
    >>> common_ground({"s2_10m": ten, "s2_20m": twenty}, 80.0)
    Ground(west=20.0, north=980.0, window=80.0, shape=(12, 12))
    """
    _check_systems(grids)
    step = _step(grids, window)
    west, north = max(g.west for g in grids.values()), min(g.north for g in grids.values())
    east, south = min(g.east for g in grids.values()), max(g.south for g in grids.values())
    if east <= west or south >= north:
        raise _apart(grids)
    left = _meeting({n: (g.west, g.gsd) for n, g in grids.items()}, west, step, "west to east")
    # northings grow against the rows, so they are turned round
    top = -_meeting(
        {n: (-g.north, g.gsd) for n, g in grids.items()}, -north, step, "north to south"
    )
    slack = _TOLERANCE * min(g.gsd for g in grids.values())
    rows, columns = int((top - south + slack) // window), int((east - left + slack) // window)
    if rows < 1 or columns < 1:
        raise CubeError(
            f"window: {window:g} m",
            expected="at most the ground that all images share, "
            f"{max(0.0, east - left):g} x {max(0.0, top - south):g} m",
            found=f"{window:g} m",
            do="choose a smaller window",
        )
    left += (east - left - columns * window + slack) // (2 * step) * step
    top -= (top - south - rows * window + slack) // (2 * step) * step
    return Ground(left, top, float(window), (rows, columns))


def _check_systems(grids: Mapping[str, Grid]) -> None:
    known = [(name, grid.crs) for name, grid in grids.items() if grid.crs]
    for name, crs in known[1:]:
        if not same_crs(crs, known[0][1]):
            raise CubeError(
                f"{name}: coordinate reference system",
                expected=f"{known[0][1]}, as {known[0][0]}",
                found=crs,
                do="bring all to one with rioxarray: data.rio.reproject_match(other)",
            )


def _step(grids: Mapping[str, Grid], window: float) -> float:
    """Return the metres after which the lines of all grids meet again; windows hold whole ones."""
    sides = {name: Fraction(grid.gsd).limit_denominator(10_000) for name, grid in grids.items()}
    top = math.lcm(*(side.numerator for side in sides.values()))
    step = Fraction(top, math.gcd(*(side.denominator for side in sides.values())))
    number = isinstance(window, int | float | np.number) and not isinstance(window, bool)
    whole = float(window) / float(step) if number and window > 0 else 0.0
    if whole < 0.5 or abs(whole - round(whole)) > 1e-6 * whole:
        found = ", ".join(f"{name} {grid.gsd:g} m" for name, grid in grids.items())
        raise CubeError(
            "window",
            expected=f"a multiple of {float(step):g} m, whole pixels of {found}",
            found=f"{window!r}",
        )
    return float(step)


def _meeting(axes: Mapping[str, tuple[float, float]], start: float, step: float, way: str) -> float:
    """Return the first position from ``start`` on at which lines of all grids meet."""
    coarse = max(axes, key=lambda name: axes[name][1])
    origin, gsd = axes[coarse]
    first = math.ceil((start - origin) / gsd - _TOLERANCE)
    off: dict[str, float] = {}
    for line in range(first, first + max(1, round(step / gsd))):
        position = origin + line * gsd
        shifts = {n: (position - o) / g for n, (o, g) in axes.items()}
        off = {n: (s - round(s)) * axes[n][1] for n, s in shifts.items()}
        if all(abs(metres) <= _TOLERANCE * axes[n][1] for n, metres in off.items()):
            return position
    name = max(off, key=lambda n: abs(off[n]) / axes[n][1])
    raise CubeError(
        f"{name}: pixels do not line up with those of {coarse}",
        expected=f"edges of its {axes[name][1]:g} m pixels on edges of the {gsd:g} m pixels",
        found=f"edges {abs(off[name]):.4g} m off, from {way}",
        do="bring both to one grid with rioxarray: data.rio.reproject_match(other), or resample "
        "to a grid that is finer by a whole number",
    )


def _apart(grids: Mapping[str, Grid]) -> CubeError:
    found = "; ".join(
        f"{n}: x {g.west:.10g} to {g.east:.10g}, y {g.south:.10g} to {g.north:.10g}"
        for n, g in grids.items()
    )
    return CubeError(
        "the images share no ground",
        expected="images of one place",
        found=found,
        do="choose images of one place, in one reference system",
    )
