"""Where things are: an endless plane of parcels, stands, crowns and hills.

All of it is a function of the seed and of coordinates in metres (x to the east, y to the north),
so neighbouring windows agree without knowing of each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from maestro_lab.cubes.landscape.randomness import (
    generator,
    hashed,
    key,
    layered,
    smooth,
    uniform,
)

SPECIES = ("oak", "beech", "birch", "pine", "spruce", "larch")
"""Tree species, broadleaves first."""

KINDS = ("water", "sealed", "garden", "cereal", "maize", "meadow", "understorey", *SPECIES)
"""What a point of the ground can be."""

KIND = {name: number for number, name in enumerate(KINDS)}

FIRST_TREE = KIND["oak"]
FIRST_CONIFER = KIND["pine"]

PARCEL = 180.0
"""Mean distance between parcels, metres; a parcel is a cell of a jittered-grid Voronoi diagram."""

OPEN_LAND = {"water": 0.08, "built-up": 0.13, "cereal": 0.29, "maize": 0.22, "meadow": 0.28}
"""Share of each use among the parcels that are not forest."""

USES = ("forest", *OPEN_LAND)

RELIEF = ((5000.0, 80.0), (1200.0, 35.0), (300.0, 6.0))
"""Scales and sizes of hills, metres."""

WOODS = ((1500.0, 1.0), (500.0, 0.6))
"""Scales, metres, and weights of the field that is above zero where forest grows."""


@dataclass(frozen=True)
class World:
    """The options of one landscape; hashable, and all a worker needs to make any part of it.

    Parameters
    ----------
    seed
        Everything else being equal, another seed is another world.
    year
        Calendar year of the acquisitions.
    window
        Side of a sample in metres.
    missing
        Probability that the aerial image, or the descending radar series, of a sample is missing.
    cloudiness
        Mean share of the sky covered over the year.
    planted_groups
        Whether bands of one group share their factors.
    noise
        Strength of sensor noise and speckle; 1 is that of the real instruments, 0 is none.
    """

    seed: int
    year: int
    window: float
    missing: float
    cloudiness: float
    planted_groups: bool
    noise: float

    def key(self, stream: str) -> int:
        """Return the key of one stream of this world's randomness."""
        return key(self.seed, stream)

    def generator(self, stream: str, site: tuple[int, int]) -> np.random.Generator:
        """Return the generator of one stream of noise at one site in this world's year."""
        return generator(self.seed, f"{stream} {self.year}", *site)


_DRAWS = (
    "use",
    "species",
    "other leaf type",
    "second species",
    "third species",
    "mixture",
    "maturity",
    "closure",
    "spring",
    "autumn",
    "angle",
)


@dataclass(frozen=True)
class Parcels:
    """The parcels a window may touch; every array has one entry a parcel.

    Parameters
    ----------
    id
        Hash that identifies the parcel, uint64.
    x, y
        Its seed point, metres.
    use
        Index into :data:`USES`.
    coniferous
        Whether it lies where conifers prevail.
    draws
        Hashes (parcel, draw) that its properties follow from.
    """

    id: np.ndarray
    x: np.ndarray
    y: np.ndarray
    use: np.ndarray
    coniferous: np.ndarray
    draws: np.ndarray

    def draw(self, name: str) -> np.ndarray:
        """Return the hash of one property of each parcel."""
        return self.draws[:, _DRAWS.index(name)]

    def uniform(self, name: str) -> np.ndarray:
        """Return a number in [0, 1) for one property of each parcel."""
        return uniform(self.draw(name))


@dataclass(frozen=True)
class Grid:
    """Sampling points of a window: cell centres, rows from north to south.

    Parameters
    ----------
    west, north
        Upper-left corner, metres.
    side
        Side of the window, metres.
    step
        Distance between points, metres.
    """

    west: float
    north: float
    side: float
    step: float

    @property
    def count(self) -> int:
        """Points along one side."""
        return round(self.side / self.step)

    @cached_property
    def x(self) -> np.ndarray:
        """Eastings (n,)."""
        return self.west + (np.arange(self.count) + 0.5) * self.step

    @cached_property
    def y(self) -> np.ndarray:
        """Northings (n,), descending."""
        return self.north - (np.arange(self.count) + 0.5) * self.step


def elevation(world: World, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the height of the ground (n_y, n_x) in metres: gentle hills of 100 to 600 m."""
    return np.float32(350) + layered(world.key("terrain"), y, x, RELIEF)


def locate_parcels(world: World, grid: Grid) -> tuple[Parcels, np.ndarray]:
    """Find the parcel of every point of a grid.

    Returns
    -------
    Parcels, numpy.ndarray
        The parcels that may show in the window, and an index into them (n_y, n_x).
    """
    first = np.floor(np.array([grid.north - grid.side, grid.west]) / PARCEL).astype(int) - 1
    last = np.floor(np.array([grid.north, grid.west + grid.side]) / PARCEL).astype(int) + 1
    rows, columns = np.meshgrid(
        np.arange(first[0], last[0] + 1), np.arange(first[1], last[1] + 1), indexing="ij"
    )
    ids = hashed(world.key("parcel"), rows.ravel(), columns.ravel())
    jitter = uniform(hashed(ids[:, None], np.arange(2)))
    y = (rows.ravel() + 0.1 + 0.8 * jitter[:, 0]) * PARCEL
    x = (columns.ravel() + 0.1 + 0.8 * jitter[:, 1]) * PARCEL
    near = _may_be_nearest(grid, y, x)
    ids, y, x = ids[near], y[near], x[near]
    draws = hashed(ids[:, None], 2 + np.arange(len(_DRAWS)))
    at = y[:, None], x[:, None]
    coniferous = smooth(np.uint64(world.key("coniferous")), *at, 2500.0)[:, 0, 0] > 0
    use = _uses(world, draws[:, _DRAWS.index("use")], *at)
    return Parcels(ids, x, y, use, coniferous, draws), _nearest(grid, y, x)


def _nearest(grid: Grid, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the nearest of some seeds for each point of a grid (n_y, n_x)."""
    nearest = np.zeros((grid.count, grid.count), dtype=np.int64)
    best = np.full(nearest.shape, np.inf, dtype=np.float32)
    for n, (at_y, at_x) in enumerate(zip(y, x, strict=True)):
        off_y, off_x = (grid.y - at_y).astype(np.float32), (grid.x - at_x).astype(np.float32)
        distance = (off_y * off_y)[:, None] + (off_x * off_x)[None, :]
        closer = distance < best
        np.copyto(best, distance, where=closer)
        nearest[closer] = n
    return nearest


def _may_be_nearest(grid: Grid, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Drop seeds that are farther than another seed from every point of the window."""
    half = grid.side / 2
    from_y = np.abs(y - (grid.north - half))
    from_x = np.abs(x - (grid.west + half))
    nearest = np.hypot(np.maximum(from_y - half, 0), np.maximum(from_x - half, 0))
    farthest = np.hypot(from_y + half, from_x + half)
    return nearest <= farthest.min()


def _uses(world: World, draw: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Draw what each parcel is used for: forest in large patches, the rest at random."""
    wooded = layered(world.key("wooded"), y, x, WOODS)[:, 0, 0]
    shares = np.cumsum(list(OPEN_LAND.values()))
    open_use = 1 + np.searchsorted(shares, uniform(draw) * shares[-1], side="right")
    return np.where(wooded > 0.0, 0, np.minimum(open_use, len(OPEN_LAND)))
