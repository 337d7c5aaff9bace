"""The ground of a sample on the 10 m grid: what covers each pixel, and the planted truth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from maestro_lab.cubes.landscape.cover import Survey, survey
from maestro_lab.cubes.landscape.randomness import hashed, key, normal
from maestro_lab.cubes.landscape.world import (
    FIRST_TREE,
    KIND,
    KINDS,
    SPECIES,
    Grid,
    World,
    elevation,
)

PIXEL = 10.0
"""Side of a pixel of the Sentinel grids, metres."""

SPRING_SD, AUTUMN_SD, YEAR_SD = 3.5, 4.5, 5.0
"""Standard deviations, in days, of a parcel's spring and autumn and of a whole year."""

LAPSE = 0.02
"""Delay of spring, days per metre of height: order of magnitude in the mountains of Europe.
Hopkins' bioclimatic law (1918) has four days per 400 feet, 0.033."""

CLASSES = (
    "water",
    "built-up",
    "winter cereal",
    "maize",
    "meadow",
    *(f"{species} forest" for species in SPECIES),
)
"""Classes of the land cover target; forest by the species that covers most of a pixel."""

_FIRST_FOREST = 5
_CLASS_OF_OPEN = {"water": 0, "sealed": 1, "garden": 1, "cereal": 2, "maize": 3, "meadow": 4}

WOOD_DENSITY = {
    "oak": 0.58,
    "beech": 0.58,
    "birch": 0.51,
    "pine": 0.42,
    "spruce": 0.40,
    "larch": 0.46,
}
"""Basic wood density, t/m3: IPCC Good Practice Guidance for LULUCF (2003), table 3A.1.9-1."""

VOLUME, EXPANSION = (150.0, 450.0), 1.3
"""Growing stock of a young and of an old closed stand, m3/ha, and the factor from stem to
above-ground biomass; both orders of magnitude for managed forests of Central Europe."""


@dataclass(frozen=True)
class Ground:
    """What covers the pixels of a sample, as a list of entries (pixel, kind, parcel).

    Parameters
    ----------
    pixel
        Flat pixel index of each entry (n,).
    kind
        Index into KINDS (n,).
    parcel
        Index into ``parcel_id`` (n,).
    weight
        Share of the pixel (n,); sums to one in each pixel.
    spring, autumn
        Shifts of the yearly course, days (n,).
    maturity
        0 to 1 in forest, 0.5 elsewhere (n,).
    parcel_id
        Hash of each parcel, uint64.
    elevation
        Metres (n_y, n_x).
    slope
        Rise to the north and to the east, metres a metre (2, n_y, n_x).
    land_cover
        Index into :data:`CLASSES` (n_y, n_x).
    species
        Share of the window's area under the crowns of each species (6,).
    biomass
        Above-ground biomass of the window, t/ha.
    """

    pixel: np.ndarray
    kind: np.ndarray
    parcel: np.ndarray
    weight: np.ndarray
    spring: np.ndarray
    autumn: np.ndarray
    maturity: np.ndarray
    parcel_id: np.ndarray
    elevation: np.ndarray
    slope: np.ndarray
    land_cover: np.ndarray
    species: np.ndarray
    biomass: float


def pixel_grid(world: World, west: float, north: float) -> Grid:
    """Return the 10 m grid of a window."""
    return Grid(west, north, world.window, PIXEL)


def timing(world: World, found: Survey, height: np.ndarray | float) -> tuple[np.ndarray, ...]:
    """Return each parcel's shift of spring and autumn in days (2 x (parcel, ...)).

    Old stands come into leaf a little later than young ones, and heights delay spring and hasten
    autumn.
    """
    year = YEAR_SD * normal(hashed(key(world.seed, "year"), np.array([world.year, -world.year])))
    forest = found.parcels.use == 0
    old = np.where(forest, 4.0 * (found.stands.maturity - 0.5), 0.0)
    spring = SPRING_SD * normal(found.parcels.draw("spring")) + old + year[0]
    autumn = AUTUMN_SD * normal(found.parcels.draw("autumn")) + 0.5 * year[1]
    delay = LAPSE * (np.asarray(height) - 350.0)
    return spring + delay, autumn - 0.5 * delay


@lru_cache(maxsize=64)
def look(world: World, west: float, north: float) -> Ground:
    """Survey a window at 1 m and sum it up on the 10 m grid.

    The last few are remembered, as optical, radar and target tasks ask for the same windows.
    """
    grid = pixel_grid(world, west, north)
    found = survey(world, Grid(west, north, world.window, 1.0))
    rim = Grid(west - PIXEL, north + PIXEL, world.window + 2 * PIXEL, PIXEL)
    height = elevation(world, rim.y, rim.x)
    slope = np.stack(
        [height[:-2, 1:-1] - height[2:, 1:-1], height[1:-1, 2:] - height[1:-1, :-2]]
    ) / (2 * PIXEL)
    height = height[1:-1, 1:-1]
    pixel, kind, parcel, weight, shift = _entries(found, grid.count)
    spring, autumn = timing(world, found, height.mean())
    forest = found.parcels.use == 0
    maturity = np.where(forest, found.stands.maturity, 0.5).astype(np.float32)
    species = _species(found.kind)
    return Ground(
        pixel=pixel,
        kind=kind,
        parcel=parcel,
        weight=weight,
        spring=(spring[parcel] + shift).astype(np.float32),
        autumn=(autumn[parcel] + shift).astype(np.float32),
        maturity=maturity[parcel],
        parcel_id=found.parcels.id,
        elevation=height,
        slope=slope,
        land_cover=_land_cover(pixel, kind, parcel, weight, found, grid.count),
        species=species.astype(np.float32),
        biomass=_biomass(found),
    )


def _entries(found: Survey, count: int) -> tuple[np.ndarray, ...]:
    """Sum points up into entries (pixel, kind, parcel) with their share and mean crown shift."""
    per_side = found.kind.shape[0] // count
    line = np.arange(found.kind.shape[0]) // per_side
    pixel = line[:, None] * count + line[None, :]
    n_parcels = len(found.parcels.id)
    code = (pixel * len(KINDS) + found.kind) * n_parcels + found.parcel
    points = np.bincount(code.ravel())
    shift = np.bincount(code.ravel(), weights=found.things.shift[found.thing].ravel())
    there = np.flatnonzero(points)
    rest, parcel = np.divmod(there, n_parcels)
    pixel, kind = np.divmod(rest, len(KINDS))
    weight = points[there] / per_side**2
    return pixel, kind, parcel, weight.astype(np.float32), shift[there] / points[there]


def _species(kind: np.ndarray) -> np.ndarray:
    return np.bincount(kind.ravel(), minlength=len(KINDS))[FIRST_TREE:] / kind.size


def _land_cover(
    pixel: np.ndarray,
    kind: np.ndarray,
    parcel: np.ndarray,
    weight: np.ndarray,
    found: Survey,
    count: int,
) -> np.ndarray:
    """Give each pixel the class that covers most of it; gaps in a stand follow its main species."""
    table = np.array([_CLASS_OF_OPEN.get(k, _FIRST_FOREST) for k in KINDS])
    table[FIRST_TREE:] = _FIRST_FOREST + np.arange(len(SPECIES))
    shares = np.diff(found.stands.shares, axis=1, prepend=0.0)
    main = _FIRST_FOREST + shares.argmax(axis=1)
    cls = np.where(kind == KIND["understorey"], main[parcel], table[kind])
    votes = np.bincount(
        pixel * len(CLASSES) + cls, weights=weight, minlength=count**2 * len(CLASSES)
    )
    return votes.reshape(count, count, len(CLASSES)).argmax(axis=-1).astype(np.uint8)


def _biomass(found: Survey) -> float:
    """Growing stock x wood density x expansion factor, over all points of the window."""
    low, high = VOLUME
    density = np.zeros(len(KINDS))
    density[FIRST_TREE:] = [WOOD_DENSITY[s] for s in SPECIES]
    volume = (low + (high - low) * found.stands.maturity)[found.parcel]
    return float((volume * density[found.kind]).mean() * EXPANSION)
