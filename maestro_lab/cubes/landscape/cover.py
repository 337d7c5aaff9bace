"""What covers each point: crowns in the stands, houses in the villages, one crop in a field."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from maestro_lab.cubes.landscape.randomness import hashed, normal, uniform
from maestro_lab.cubes.landscape.world import (
    FIRST_TREE,
    KIND,
    SPECIES,
    USES,
    Grid,
    Parcels,
    World,
    locate_parcels,
)

CROWN_SHIFT = 3.0
"""Standard deviation of a crown's timing around its stand's, days; differences of this order
between neighbouring trees of one species are commonly observed."""

STREET, LOT, ROAD_WIDTH = 44.0, 22.0, 6.0
"""Villages: distance of streets, side of a lot, width of a street, metres."""


@dataclass(frozen=True)
class Stands:
    """The forest of each parcel (only meaningful where the parcel is forest).

    Parameters
    ----------
    shares
        Cumulated shares of :data:`~maestro_lab.cubes.landscape.world.SPECIES` (parcel, 6).
    maturity
        0 (young) to 1 (old): height, crown size, volume.
    closure
        Share of crown positions that hold a tree.
    """

    shares: np.ndarray
    maturity: np.ndarray
    closure: np.ndarray

    @property
    def crown(self) -> np.ndarray:
        """Mean distance between crowns (parcel,): 4 to 8 m."""
        return 4.0 + 4.0 * self.maturity


@dataclass(frozen=True)
class Things:
    """A table of crowns and houses; every array has one entry a thing.

    Parameters
    ----------
    kind
        Index into :data:`~maestro_lab.cubes.landscape.world.KINDS`.
    shift
        Shift of a crown's yearly course against its stand's, days.
    parcel
        The parcel it stands in.
    id
        Hash to draw its looks from, uint64.
    """

    kind: np.ndarray
    shift: np.ndarray
    parcel: np.ndarray
    id: np.ndarray


@dataclass(frozen=True)
class Survey:
    """What a grid of points stands on.

    Parameters
    ----------
    parcels, stands
        The parcels, and the forest on them.
    parcel
        Index into them (n_y, n_x).
    kind
        Index into :data:`~maestro_lab.cubes.landscape.world.KINDS` (n_y, n_x).
    things
        Table of crowns and houses; the first row stands for "none".
    thing
        Index into it (n_y, n_x).
    dx, dy
        Offset from a crown's centre in crown radii (n_y, n_x); on a roof, ``dx`` is the offset
        from the ridge in half widths.
    """

    parcels: Parcels
    stands: Stands
    parcel: np.ndarray
    kind: np.ndarray
    things: Things
    thing: np.ndarray
    dx: np.ndarray
    dy: np.ndarray


_Found = tuple[Things, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Things of a parcel; per point its thing (-1: none), kind, and offset to the north and east."""


def survey(world: World, grid: Grid) -> Survey:
    """Look at every point of a grid."""
    parcels, parcel = locate_parcels(world, grid)
    stands = _stands(parcels)
    kind = _open_kind(parcels)[parcel]
    thing = np.zeros(parcel.shape, dtype=np.int32)
    dx, dy = np.zeros((2, *parcel.shape), dtype=np.float32)
    none = np.zeros(1)
    tables = [Things(none.astype(np.uint8), none, none.astype(int), none.astype(np.uint64))]
    count = 1
    for p in np.flatnonzero(np.bincount(parcel.ravel())):
        use = USES[parcels.use[p]]
        if use not in ("forest", "built-up"):
            continue
        here = parcel == p
        rows, columns = (np.flatnonzero(here.any(axis=a)) for a in (1, 0))
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        y, x = grid.y[box[0]], grid.x[box[1]]
        if use == "forest":
            table, *found = _forest(world, parcels, stands, p, y, x)
        else:
            table, *found = _village(parcels, p, y, x)
        found[0] = np.where(found[0] < 0, 0, found[0] + count)
        for target, values in zip((thing, kind, dy, dx), found, strict=True):
            np.copyto(target[box], values, where=here[box], casting="same_kind")
        tables.append(table)
        count += len(table.kind)
    merged = (np.concatenate([getattr(t, f.name) for t in tables]) for f in fields(Things))
    return Survey(parcels, stands, parcel, kind, Things(*merged), thing, dx, dy)


def _open_kind(parcels: Parcels) -> np.ndarray:
    """Kind of the ground of each parcel before trees and houses are set on it."""
    by_use = {"forest": "understorey", "built-up": "garden"}
    return np.array([KIND[by_use.get(u, u)] for u in USES], dtype=np.uint8)[parcels.use]


def _stands(parcels: Parcels) -> Stands:
    """Draw a mixture: one species of 55 to 100 %, a second and a third with the rest."""
    n = len(parcels.id)
    odd = parcels.uniform("other leaf type") < 0.2
    first = (3 * parcels.uniform("species")).astype(int) + 3 * (parcels.coniferous ^ odd)
    second = (first + 1 + (5 * parcels.uniform("second species")).astype(int)) % 6
    third = (first + 1 + (5 * parcels.uniform("third species")).astype(int)) % 6
    main = 0.55 + 0.45 * parcels.uniform("mixture")
    shares = np.zeros((n, len(SPECIES)))
    for species, share in ((first, main), (second, 0.75 * (1 - main)), (third, 0.25 * (1 - main))):
        np.add.at(shares, (np.arange(n), species), share)
    closure = 0.8 + 0.19 * parcels.uniform("closure")
    return Stands(np.cumsum(shares, axis=1), parcels.uniform("maturity"), closure)


def _forest(
    world: World, parcels: Parcels, stands: Stands, p: int, y: np.ndarray, x: np.ndarray
) -> _Found:
    """Find the crown over each point of one stand: a jittered-grid Voronoi diagram of its own."""
    size = stands.crown[p]
    cell_y, cell_x = (np.floor(v / size).astype(np.int64) for v in (y, x))
    rows = np.arange(cell_y.min() - 1, cell_y.max() + 2)
    columns = np.arange(cell_x.min() - 1, cell_x.max() + 2)
    ids = hashed(parcels.id[p] ^ np.uint64(world.key("crown")), rows[:, None], columns[None, :])
    draw = uniform(hashed(ids.ravel()[None], np.arange(5)[:, None]))  # (5, crown)
    jitter = 0.1 + 0.8 * draw[:2].reshape(2, *ids.shape)
    seed_y = ((rows[:, None] + jitter[0]) * size - y[0]).astype(np.float32)
    seed_x = ((columns[None, :] + jitter[1]) * size - x[0]).astype(np.float32)
    thing, off_y, off_x = _nearest_seed(
        seed_y, seed_x, cell_y - rows[0], cell_x - columns[0], y - y[0], x - x[0]
    )
    ids = ids.ravel()
    species = (draw[2][:, None] >= stands.shares[p][None, :-1]).sum(axis=1)
    tree = draw[3] < stands.closure[p]
    kind = np.where(tree, FIRST_TREE + species, KIND["understorey"]).astype(np.uint8)
    shift = CROWN_SHIFT * normal(hashed(ids, np.array([5])))
    per_radius = (1 / ((0.56 + 0.1 * draw[4]) * size)).astype(np.float32)[thing]
    off_y *= per_radius
    off_x *= per_radius
    found = kind[thing]
    found[off_y * off_y + off_x * off_x > 1.0] = KIND["understorey"]
    return Things(kind, shift, np.full(len(ids), p), ids), thing, found, off_y, off_x


def _nearest_seed(
    seed_y: np.ndarray,
    seed_x: np.ndarray,
    row: np.ndarray,
    column: np.ndarray,
    y: np.ndarray,
    x: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compare the seeds of the nine cells around each point of a grid (jittered-grid Voronoi)."""
    y, x = y.astype(np.float32)[:, None], x.astype(np.float32)[None, :]
    best = np.full((y.size, x.size), np.inf, dtype=np.float32)
    which = np.zeros(best.shape, dtype=np.int8)
    for n in range(9):
        r, c = row + n // 3 - 1, column + n % 3 - 1
        # whole columns first, then whole rows: far cheaper than picking points one by one
        off_y = seed_y[:, c][r]
        off_x = seed_x[:, c][r]
        off_y -= y
        off_x -= x
        off_y *= off_y
        off_x *= off_x
        off_y += off_x
        nearer = off_y < best
        np.copyto(best, off_y, where=nearer)
        which[nearer] = n
    index = (row[:, None] + which // 3 - 1) * seed_y.shape[1] + column[None, :] + which % 3 - 1
    return index, y - seed_y.ravel()[index], x - seed_x.ravel()[index]


def _village(parcels: Parcels, p: int, y: np.ndarray, x: np.ndarray) -> _Found:
    """Lay streets and houses in a grid turned by the parcel's own angle."""
    angle = np.pi * parcels.uniform("angle")[p]
    north, east = (y - parcels.y[p])[:, None], (x - parcels.x[p])[None, :]
    u = (np.cos(angle) * east + np.sin(angle) * north).astype(np.float32)
    v = (np.cos(angle) * north - np.sin(angle) * east).astype(np.float32)
    street = np.mod(v, STREET) < ROAD_WIDTH
    v -= np.float32(ROAD_WIDTH)
    lot_v, lot_u = (np.floor(w / LOT).astype(np.int64) for w in (v, u))
    rows = np.arange(lot_v.min(), lot_v.max() + 1)
    columns = np.arange(lot_u.min(), lot_u.max() + 1)
    ids = hashed(parcels.id[p], rows[:, None], columns[None, :]).ravel()
    draw = uniform(hashed(ids[None], np.arange(3)[:, None]))
    thing = (lot_v - rows[0]) * len(columns) + lot_u - columns[0]
    half_v, half_u = (4.0 + 2.0 * draw[0])[thing], (5.0 + 4.0 * draw[1])[thing]
    ridge = (v - ((lot_v + 0.42) * LOT).astype(np.float32)) / half_v
    roof = (np.abs(ridge) < 1) & (np.abs(u - (lot_u + 0.5) * LOT) < half_u) & ~street
    roof &= (draw[2] < 0.85)[thing]
    kind = np.where(street | roof, KIND["sealed"], KIND["garden"]).astype(np.uint8)
    table = Things(
        np.full(len(ids), KIND["sealed"], np.uint8), np.zeros(len(ids)), np.full(len(ids), p), ids
    )
    none = np.zeros_like(ridge)
    return table, np.where(roof, thing, -1), kind, none, np.where(roof, ridge, 0)
