"""What the aerial camera sees at 0.2 m: crowns with a lit and a dark side, rows, roofs, streets.

Colours come from the same endmembers, courses and parcel factors as Sentinel-2, on the day of the
flight; shape and texture are drawn on top.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from maestro_lab.cubes.landscape.cover import Survey, survey
from maestro_lab.cubes.landscape.ground import timing
from maestro_lab.cubes.landscape.optics import S2_BANDS, endmembers, parcel_factors
from maestro_lab.cubes.landscape.phenology import fractions
from maestro_lab.cubes.landscape.randomness import hashed, normal, smooth, uniform
from maestro_lab.cubes.landscape.sky import sun
from maestro_lab.cubes.landscape.world import (
    FIRST_CONIFER,
    FIRST_TREE,
    KIND,
    KINDS,
    USES,
    Grid,
    World,
)

AERIAL_BANDS = ("NIR", "R", "G", "B")
FROM_S2 = [S2_BANDS.index(b) for b in ("B08", "B04", "B03", "B02")]

PIXEL = 0.2
"""Side of an aerial pixel, metres."""

FULL = np.array([0.62, 0.36, 0.36, 0.36], dtype=np.float32)
"""Reflectance of DN 255 in NIR, R, G, B; the tone curve is a square root, so that reflectances
such as those of the real sample give digital numbers such as its own (170 and some 80)."""

THING_SD = 0.13
"""Spread of the logarithm of a crown's or roof's brightness, alike in bands of a group."""

STEEP, AMBIENT = (0.6, 1.3), 0.3
"""Height over radius of broadleaf and conifer crowns, and the share of light from the sky."""

CAMERA_SD = 2.0
"""Noise of the camera in digital numbers: order of magnitude."""

TILE = np.array([1.7, 1.4, 0.75, 0.55], dtype=np.float32)
SLATE = np.array([0.7, 0.65, 0.7, 0.75], dtype=np.float32)
"""Colour of tiled and of slate roofs against that of a street."""

ROWS = {"cereal": (21.0, 1.0), "maize": (0.75, 0.0), "meadow": (3.2, 0.0)}
"""Distance, metres, of tramlines (of some width), of rows of maize, of swaths of hay."""


def aerial(
    world: World, west: float, north: float, site: tuple[int, int], day: float
) -> np.ndarray:
    """Make the aerial image of one sample.

    Parameters
    ----------
    world
        The landscape.
    west, north
        Upper-left corner of the window, metres.
    site
        Row and column of the site.
    day
        Day of the year of the flight.

    Returns
    -------
    numpy.ndarray
        Digital numbers uint8 (4, n_y, n_x): near infrared, red, green, blue.
    """
    grid = Grid(west, north, world.window, PIXEL)
    found = survey(world, grid)
    colour, which = _colours(world, found, day)
    light = _light(world, found, grid, day)
    noise = _camera(world, site, (len(AERIAL_BANDS), *which.shape))
    image = np.empty(noise.shape, dtype=np.uint8)
    for band in range(len(AERIAL_BANDS)):
        shown = colour[:, band][which]
        shown *= light
        np.sqrt(shown, out=shown)
        shown *= np.float32(255.0)
        shown += noise[band]
        np.clip(shown, 1, 255, out=shown)
        image[band] = shown
    return image


def _colours(world: World, found: Survey, day: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a table of colours (n, 4) as shares of ``FULL``, and each point's row in it.

    Rows are first the kinds of every parcel, then the crowns and houses.
    """
    n_parcels, n_kinds = len(found.parcels.id), len(KINDS)
    first = n_parcels * n_kinds
    parcel = np.concatenate([np.repeat(np.arange(n_parcels), n_kinds), found.things.parcel])
    kind = np.concatenate([np.tile(np.arange(n_kinds), n_parcels), found.things.kind])
    shift = np.concatenate([np.zeros(first), found.things.shift])
    spring, autumn = timing(world, found, 350.0)
    mix = fractions(kind, spring[parcel] + shift, autumn[parcel] + shift, np.array([day]))[:, 0]
    colour = mix @ endmembers(world)[:, FROM_S2]
    colour *= np.exp(parcel_factors(world, found.parcels.id)[:, FROM_S2])[parcel]
    # a stand's own shade is drawn point by point, so its canopy is lit more than its mean
    colour[kind >= FIRST_TREE] *= 1.25
    colour[first:] *= _thing_colour(world, found)
    which = found.parcel * n_kinds + found.kind
    own = (found.thing > 0) & (found.kind != KIND["understorey"])
    np.copyto(which, first + found.thing, where=own)
    return (colour / FULL).astype(np.float32), which


def _thing_colour(world: World, found: Survey) -> np.ndarray:
    """Return the tone of each crown and roof (thing, 4), alike in bands of one planted group."""
    ids = found.things.id
    group = np.array([1, 0, 0, 0]) if world.planted_groups else np.arange(4)
    tone = np.exp(np.float32(THING_SD) * normal(hashed(ids[:, None], 10 + group)))
    roof = np.where((uniform(hashed(ids, np.array([9]))) < 0.6)[:, None], TILE, SLATE)
    if world.planted_groups:
        tone = np.where((found.things.kind == KIND["sealed"])[:, None], tone * roof, tone)
    return tone


def _light(world: World, found: Survey, grid: Grid, day: float) -> np.ndarray:
    """Return the light that shape and texture leave on each point (n_y, n_x), for all bands."""
    up, azimuth = (float(v[0]) for v in sun(np.array([day])))
    fine = smooth(world.key("fine texture"), grid.y, grid.x, 0.45)
    clump = smooth(world.key("clumps"), grid.y, grid.x, 1.5)
    texture = np.float32(0.12) * fine + np.float32(0.10) * clump
    light = 1 + np.float32(0.4) * texture
    garden = found.kind == KIND["garden"]
    if garden.any():
        bushes = smooth(world.key("bushes"), grid.y, grid.x, 4.0) + np.float32(0.3) * clump
        shaped = 1 - np.float32(0.55) * np.clip((bushes - 0.5) * 5, 0, 1)
        np.copyto(light, light * shaped, where=garden)
    tree = found.kind >= FIRST_TREE
    forest = (found.parcels.use == 0)[found.parcel]
    if forest.any():
        crown = _crown_light(found, up, azimuth, 0.8 * clump + 0.4 * fine)
        light = np.where(tree, crown * (1 + np.float32(2.0) * texture), light)
        dark = forest & ~tree & (found.thing > 0)
        light = np.where(dark, np.float32(0.25) + np.float32(0.6) * texture, light)
    if (found.kind == KIND["sealed"]).any():
        facing = np.float32(0.25) * np.sign(found.dx)
        np.copyto(light, (1 + facing) * light, where=found.kind == KIND["sealed"])
    for p in np.flatnonzero(np.bincount(found.parcel.ravel())):
        use = USES[found.parcels.use[p]]
        if use in ROWS:
            pattern = _rows(found, grid, p, use)
            np.copyto(light, light * pattern, where=found.parcel == p)
    return np.maximum(light, np.float32(0.05))


def _crown_light(found: Survey, up: float, azimuth: float, ragged: np.ndarray) -> np.ndarray:
    """Light a paraboloid per crown, ragged at its rim."""
    conifer = found.kind >= FIRST_CONIFER
    steep = np.where(conifer, np.float32(2 * STEEP[1]), np.float32(2 * STEEP[0]))
    radius2 = found.dx * found.dx + found.dy * found.dy
    towards = found.dx * np.float32(np.sin(azimuth)) + found.dy * np.float32(np.cos(azimuth))
    cosine = (steep * towards * np.float32(np.cos(up)) + np.float32(np.sin(up))) / np.sqrt(
        1 + steep * steep * radius2
    )
    direct = np.maximum(cosine, 0) * np.float32(1 / np.sin(up))
    light = np.float32(AMBIENT) + np.float32(1 - AMBIENT) * direct
    rim = np.clip((radius2 - np.float32(0.62) + np.float32(0.38) * ragged) * 4, 0, 1)
    return light * (1 - np.float32(0.72) * rim)


def _rows(found: Survey, grid: Grid, p: int, use: str) -> np.ndarray:
    """Return the pattern of tramlines or rows of one field, turned by its own angle (n_y, n_x)."""
    distance, sharp = ROWS[use]
    angle = np.pi * found.parcels.uniform("angle")[p]
    k = 2 * np.pi / distance
    # the cosine of a sum of angles: two small outer products instead of a cosine a pixel
    along_x = np.exp(1j * k * np.cos(angle) * (grid.x - found.parcels.x[p])).astype(np.complex64)
    along_y = np.exp(1j * k * np.sin(angle) * (grid.y - found.parcels.y[p])).astype(np.complex64)
    wave = np.outer(along_y.real, along_x.real) - np.outer(along_y.imag, along_x.imag)
    if sharp:
        return 1 - np.float32(0.3) * (wave > 0.985)
    return 1 + np.float32(0.16 if use == "maize" else 0.05) * wave


def _camera(world: World, site: tuple[int, int], shape: tuple[int, ...]) -> np.ndarray:
    """Draw camera noise in digital numbers, with the half that rounds when decimals are cut off.

    One of 256 quantiles of the normal distribution a pixel: ten times faster than a true normal.
    """
    draw = world.generator("camera", site).integers(0, 256, shape, dtype=np.uint8)
    normal_ = NormalDist(0.5, max(CAMERA_SD * world.noise, 1e-6))
    quantiles = [normal_.inv_cdf((n + 0.5) / 256) for n in range(256)]
    return np.array(quantiles, dtype=np.float32)[draw]
