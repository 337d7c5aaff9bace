"""What Sentinel-1 sees: canopy over ground, brighter on slopes that face it, under speckle.

The level follows the water-cloud model (Attema and Ulaby 1978, Radio Science 13, 357-364):
``ground x T + canopy x (1 - T)`` with the two-way transmissivity ``T = exp(-B V)``, V the fraction
of leaves. Levels in decibels are orders of magnitude of C band at some 39 degrees: Ulaby and Dobson
1989 (Handbook of Radar Scattering Statistics for Terrain), for crops Veloso et al. 2017 (Remote
Sensing of Environment 199, 415-426), for forest the lab's real TreeSatAI-TS sample.
"""

from __future__ import annotations

import numpy as np

from maestro_lab.cubes.landscape.ground import Ground
from maestro_lab.cubes.landscape.phenology import ENDMEMBERS, LEAVES, fractions
from maestro_lab.cubes.landscape.randomness import hashed, normal
from maestro_lab.cubes.landscape.sky import wetness
from maestro_lab.cubes.landscape.world import FIRST_TREE, KIND, KINDS, Grid, World

S1_BANDS = ("VV", "VH")

LOOKS = 4.4
"""Equivalent number of looks of IW GRD at high resolution (ESA Sentinel-1 product specification);
pixels are drawn independently, although real ones of 10 m overlap a little."""

# fmt: off
LEVELS = {
    #               ground VV    VH   canopy VV    VH     B
    "water":       ((-18.5, -26.5), (-18.5, -26.5), 0.0),
    "sealed":      (( -4.5, -11.5), ( -4.5, -11.5), 0.0),
    "garden":      (( -9.0, -15.5), ( -9.5, -15.5), 1.0),
    "cereal":      (( -9.5, -18.0), (-15.0, -19.5), 2.2),
    "maize":       (( -9.5, -18.0), ( -9.8, -15.0), 2.2),
    "meadow":      ((-10.0, -17.5), (-12.5, -18.5), 2.0),
    "understorey": (( -9.7, -15.6), (-11.0, -16.8), 1.5),
    "oak":         (( -9.2, -14.8), (-11.1, -16.8), 2.5),
    "beech":       (( -9.3, -14.9), (-11.2, -16.9), 2.5),
    "birch":       (( -9.4, -14.9), (-11.2, -16.7), 2.5),
    "pine":        (( -9.0, -14.6), ( -9.9, -15.5), 2.5),
    "spruce":      (( -9.0, -14.6), (-10.2, -15.6), 2.5),
    "larch":       (( -9.4, -15.0), (-10.8, -16.3), 2.5),
}
# fmt: on

MATURITY_DB = (1.0, 3.0)
"""Gain of an old over a young stand, VV and VH."""

WET_DB = 1.2
"""Gain of open ground per unit of wetness; canopies and forest floors have a fifth of it."""

PARCEL_DB, CORNER_DB = 0.5, 3.5
"""Standard deviations between parcels and, in villages, between pixels (walls as corners)."""


def sentinel1(
    world: World,
    ground: Ground,
    grid: Grid,
    site: tuple[int, int],
    day: np.ndarray,
    direction: str,
) -> np.ndarray:
    """Make the series of one direction of Sentinel-1 for one sample.

    Parameters
    ----------
    world, ground, grid
        The landscape, what stands in the window, and its 10 m grid.
    site
        Row and column of the site.
    day
        Days of the year (t,).
    direction
        "asc" or "des": the first looks to the east, the second to the west.

    Returns
    -------
    numpy.ndarray
        Linear power float32 (t, 2, n_y, n_x).
    """
    power = backscatter(world, ground, grid, day, direction)
    if world.noise:
        looks = LOOKS / world.noise**2
        draw = world.generator(f"speckle {direction}", site)
        power *= draw.standard_gamma(looks, power.shape, dtype=np.float32) / np.float32(looks)
    return np.maximum(power, np.float32(1e-5))


def backscatter(
    world: World, ground: Ground, grid: Grid, day: np.ndarray, direction: str
) -> np.ndarray:
    """Return the mean power (t, 2, n_y, n_x) that speckle then multiplies."""
    leaves = [ENDMEMBERS.index(name) for name in LEAVES]
    mix = fractions(ground.kind, ground.spring, ground.autumn, day)
    leaf = mix[..., leaves].sum(axis=-1)  # (n, t)
    below, above, extinction = _levels()
    through = np.exp(-extinction[ground.kind, None] * leaf)[..., None]
    open_ground = (ground.kind != KIND["water"]) & (ground.kind < FIRST_TREE)
    wet = np.where(open_ground, WET_DB, 0.2 * WET_DB)[:, None, None]
    moist = _power(wet * wetness(world, grid, day)[:, None])  # (n, t, 1)
    entry = below[ground.kind, None] * moist * through + above[ground.kind, None] * (1 - through)
    entry *= _power(_offset_db(world, ground))[:, None]
    share = np.zeros((grid.count**2, len(ground.kind)), dtype=np.float32)
    share[ground.pixel, np.arange(len(ground.kind))] = ground.weight
    pixels = share @ entry.reshape(len(ground.kind), -1).astype(np.float32)
    image = pixels.reshape(grid.count, grid.count, len(day), 2).transpose(2, 3, 0, 1)
    return image * terrain_gain(world, ground, grid, direction) * _corners(world, ground, grid)


def terrain_gain(world: World, ground: Ground, grid: Grid, direction: str) -> np.ndarray:
    """Return how much brighter slopes that face the radar are (n_y, n_x).

    The ratio of the sines of the incidence angles of flat and of tilted ground: the area of ground
    in a resolution cell (Ulander 1996, IEEE TGRS 34, 1115-1122).
    """
    orbit = hashed(world.key(f"incidence {direction}"), np.array([round(grid.west / 20_000)]))
    incidence = np.radians(38.0 + 2.5 * float(normal(orbit)[0]))
    towards = ground.slope[1] * (1.0 if direction == "asc" else -1.0)
    local = np.clip(incidence - np.arctan(towards), np.radians(10), np.radians(80))
    return (np.sin(incidence) / np.sin(local)).astype(np.float32)


def _levels() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return power of ground and canopy (kind, 2), and the extinction (kind,)."""
    rows = [LEVELS[name] for name in KINDS]
    below, above = (_power(np.array([row[n] for row in rows], np.float32)) for n in (0, 1))
    return below, above, np.array([row[2] for row in rows], dtype=np.float32)


def _offset_db(world: World, ground: Ground) -> np.ndarray:
    """Return what sets an entry apart from its kind's level, in decibels (n, 2)."""
    parcels = hashed(world.key("radar"), ground.parcel_id.view(np.int64)[:, None], np.arange(2))
    lasting = PARCEL_DB * normal(parcels)[ground.parcel]
    return lasting + np.array(MATURITY_DB) * (ground.maturity[:, None] - 0.5)


def _corners(world: World, ground: Ground, grid: Grid) -> np.ndarray:
    """Return the gain of pixels in villages: some walls face the radar, most do not (n_y, n_x)."""
    sealed = np.zeros(grid.count**2, dtype=np.float32)
    walls = ground.kind == KIND["sealed"]
    np.add.at(sealed, ground.pixel[walls], ground.weight[walls])
    at = (np.floor(v / grid.step).astype(int) for v in (grid.y[:, None], grid.x[None, :]))
    chance = normal(hashed(world.key("corner"), *at))
    return _power(CORNER_DB * chance * np.minimum(2 * sealed.reshape(chance.shape), 1))


def _power(decibels: np.ndarray) -> np.ndarray:
    return np.exp(np.asarray(decibels, dtype=np.float32) * np.float32(np.log(10) / 10))
