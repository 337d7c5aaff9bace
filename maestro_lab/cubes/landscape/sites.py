"""Which windows are samples: a lattice of sites in blocks, and when each is looked at.

Sites lie 300 m apart (farther for large windows) in blocks of 4 x 4. Ground without samples, about
1.1 km or six parcels wide, keeps blocks apart, and a whole block belongs to one split. So no
parcel, stand or crown is ever shared by two splits, and no sample is spent on a buffer.

Ten blocks make a row of the plane. Samples are dealt out to the ten blocks in turn, so that even a
cube of ten samples has all three splits, and a longer cube begins with the shorter one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maestro_lab.cubes.landscape.randomness import hashed, uniform
from maestro_lab.cubes.landscape.world import World

PER_SIDE = 4
BLOCKS_IN_ROW = 10
SPACING, GAP = 300, 900
"""Distance of sites in a block, and what is added to it between blocks, metres."""

NORTH = 5_600_000
"""Northing of the first row, metres; the plane is fictional."""

SPLIT_OF_BLOCK = (
    "train",
    "val",
    "train",
    "test",
    "train",
    "train",
    "val",
    "train",
    "test",
    "train",
)

S2_REVISIT, S1_REVISIT = 5, 6
"""Days between passes of two satellites over one orbit (ESA: Sentinel-2 five, Sentinel-1 six)."""


@dataclass(frozen=True)
class Sites:
    """Samples of a cube; every array has one entry a sample.

    Parameters
    ----------
    row, column
        Place in the lattice of sites.
    west, north
        Upper-left corner of the window, metres.
    block
        Number of the spatial block.
    """

    row: np.ndarray
    column: np.ndarray
    west: np.ndarray
    north: np.ndarray
    block: np.ndarray

    @property
    def names(self) -> list[str]:
        """Names such as "r003c012"."""
        pairs = zip(self.row.tolist(), self.column.tolist(), strict=True)
        return [f"r{row:03d}c{column:03d}" for row, column in pairs]

    @property
    def split(self) -> np.ndarray:
        """Split of each sample; turned from one row of blocks to the next."""
        turn = self.block % BLOCKS_IN_ROW + 3 * (self.block // BLOCKS_IN_ROW)
        return np.array(SPLIT_OF_BLOCK, dtype=object)[turn % BLOCKS_IN_ROW]


def sites(world: World, number: np.ndarray) -> Sites:
    """Return the sites of samples given by their numbers (n,)."""
    number = np.asarray(number)
    per_row = BLOCKS_IN_ROW * PER_SIDE**2
    block_row, rest = np.divmod(number, per_row)
    inside, block_column = np.divmod(rest, BLOCKS_IN_ROW)
    row = block_row * PER_SIDE + inside // PER_SIDE
    column = block_column * PER_SIDE + inside % PER_SIDE
    # 20 m steps keep the grids of all sensors in line
    spacing = max(SPACING, 20 * int(np.ceil(world.window * 1.5 / 20)))
    return Sites(
        row,
        column,
        column * spacing + block_column * GAP,
        NORTH - row * spacing - block_row * GAP,
        block_row * BLOCKS_IN_ROW + block_column,
    )


def s2_dates(world: World, place: Sites) -> np.ndarray:
    """Return the dates of Sentinel-2 (sample, 73), padded with NaT.

    A pass every five days, its phase by block; between 2 and 45 % of a sample's passes are lost
    (archive gaps, failed processing), so some 35 to 72 irregular dates remain.
    """
    passes = np.arange(365 // S2_REVISIT, dtype=np.int16)
    phase = (_draw(world, "s2 phase", place.block) * S2_REVISIT).astype(np.int16)
    lost = 0.02 + 0.43 * _draw(world, "s2 loss", place.row, place.column)
    keep = _kept(world, "s2", place, passes, lost)
    return _dates(world, phase[:, None] + S2_REVISIT * passes, keep, 10 * 60 + 40)


def s1_dates(world: World, place: Sites, direction: str) -> np.ndarray:
    """Return the dates of one Sentinel-1 direction (sample, 61), padded with NaT.

    Every six days; twelve in a fifth of the blocks (one satellite). Half of the blocks have an
    orbit gap of 18 to 54 days, and single passes are lost at random.
    """
    passes = np.arange(365 // S1_REVISIT + 1, dtype=np.int16)
    stream = f"s1 {direction}"
    blocks, block = np.unique(place.block, return_inverse=True)
    draw = {
        name: _draw(world, f"{stream} {name}", blocks)[:, None]
        for name in ("phase", "sparse", "gap", "start", "length")
    }
    day = (draw["phase"] * 5).astype(np.int16) + S1_REVISIT * passes
    flown = (draw["sparse"] > 0.2) | (passes % 2 == 0)
    start = draw["start"] * 310
    gap = (day >= start) & (day < start + 18 + 36 * draw["length"])
    flown &= ~(gap & (draw["gap"] < 0.5))
    keep = _kept(world, stream, place, passes, np.full(len(block), 0.04)) & flown[block]
    return _dates(world, day[block], keep, 17 * 60 + 8 if direction == "asc" else 5 * 60 + 41)


def aerial_dates(world: World, place: Sites) -> np.ndarray:
    """Return the day of the flight (sample, 1): one a block, mid-June to mid-August."""
    day = 165 + (61 * _draw(world, "flight", place.block)).astype(int)
    return _dates(world, day.astype(np.int16)[:, None], np.ones((len(day), 1), bool), 0)


def is_missing(world: World, place: Sites, modality: str) -> np.ndarray:
    """Tell which samples lack a modality (sample,)."""
    return _draw(world, f"missing {modality}", place.row, place.column) < world.missing


def day_of_year(dates: np.ndarray) -> np.ndarray:
    """Return 1 to 366, NaN for NaT."""
    days = (dates - dates.astype("datetime64[Y]")) / np.timedelta64(1, "D")
    return np.floor(days) + 1


def _kept(
    world: World, stream: str, place: Sites, passes: np.ndarray, lost: np.ndarray
) -> np.ndarray:
    """Draw which passes of each sample are kept (sample, pass), given the probability of loss."""
    of_site = hashed(world.key(f"{stream} passes"), place.row, place.column)
    of_pass = hashed(world.key("pass"), np.array([world.year]), passes)
    # a hundred thousand samples have millions of passes: compare hashes as they are
    return (of_site[:, None] ^ of_pass) >= (lost * 2.0**64).astype(np.uint64)[:, None]


def _dates(world: World, day: np.ndarray, keep: np.ndarray, minute: int) -> np.ndarray:
    """Turn days after New Year (sample, pass) into dates, the kept ones first, then NaT."""
    late = np.iinfo(np.int16).max
    day = np.sort(np.where(keep, day, late), axis=1)
    start = np.datetime64(f"{world.year:04d}-01-01", "ns") + np.timedelta64(minute, "m")
    out = day.astype(np.int64)
    out *= np.timedelta64(1, "D") // np.timedelta64(1, "ns")
    out += start.astype(np.int64)
    out[day == late] = np.iinfo(np.int64).min
    return out.view("datetime64[ns]")


def _draw(world: World, stream: str, *coordinates: np.ndarray) -> np.ndarray:
    return uniform(hashed(world.key(stream), *coordinates))
