"""What Sentinel-2 sees: a linear mix of a few endmembers, times planted factors, under the sky.

Endmembers are reflectances of whole canopies and surfaces (shade included), not of single leaves.
Their shapes follow the USGS Spectral Library (Kokaly et al. 2017, version 7, Data Series 1035:
green leaf, conifer needle, dry grass, soils, concrete and asphalt, water). Levels of forest and
fields are set to what Sentinel-2 L2A shows in real samples (TreeSatAI-TS, Romania, WorldCereal; see
``maestro_lab.figures.realism``); those of streets and water are orders of magnitude.

Three factors multiply the reflectance, one for each planted group of bands: visible and red edge
(pigments, soil colour, aerosol left by the correction), near infrared (leaf and crown structure,
viewing direction), shortwave infrared (water in leaves and soil). In nature they are weaker and
correlated; here they are strong and independent, because the groups are the planted truth.
"""

from __future__ import annotations

import numpy as np

from maestro_lab.cubes.landscape.ground import Ground
from maestro_lab.cubes.landscape.phenology import ENDMEMBERS, fractions
from maestro_lab.cubes.landscape.randomness import hashed, normal, smooth
from maestro_lab.cubes.landscape.sky import Sky, clouds, sun, wetness
from maestro_lab.cubes.landscape.world import Grid, World

S2_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
S2_GROUPS = (0, 0, 0, 0, 1, 1, 1, 1, 2, 2)
"""Planted group of each band: visible and red edge, near infrared, shortwave infrared."""

COARSE = [S2_BANDS.index(b) for b in ("B05", "B06", "B07", "B8A", "B11", "B12")]
"""Bands of 20 m, doubled onto the 10 m grid as in the real product."""

# fmt: off
SPECTRA = {
    #               B02    B03    B04    B05    B06    B07    B08    B8A    B11    B12
    "crop leaf":   (.030,  .062,  .032,  .100,  .310,  .395,  .415,  .430,  .205,  .095),
    "broad leaf":  (.024,  .048,  .024,  .084,  .290,  .370,  .392,  .405,  .200,  .088),
    "needle":      (.020,  .033,  .020,  .055,  .160,  .195,  .205,  .215,  .100,  .045),
    "yellow leaf": (.034,  .066,  .070,  .130,  .255,  .295,  .310,  .325,  .205,  .105),
    "straw":       (.068,  .105,  .140,  .185,  .235,  .260,  .280,  .295,  .330,  .235),
    "litter":      (.038,  .055,  .068,  .100,  .150,  .175,  .190,  .205,  .225,  .145),
    "soil":        (.062,  .088,  .115,  .150,  .175,  .190,  .205,  .220,  .270,  .215),
    "sealed":      (.100,  .120,  .130,  .145,  .160,  .170,  .178,  .185,  .195,  .170),
    "water":       (.030,  .036,  .024,  .020,  .014,  .013,  .012,  .011,  .007,  .005),
}
# fmt: on

CLOUD = np.array([0.75, 0.71, 0.71, 0.72, 0.72, 0.72, 0.74, 0.71, 0.35, 0.31], np.float32)
"""Reflectance of a thick cloud: medians over the cloudy dates of the real TreeSatAI-TS sample.
Droplets and ice absorb in the shortwave infrared."""

SHADE = np.array([0.50, 0.42, 0.38, 0.36, 0.32, 0.32, 0.30, 0.30, 0.26, 0.24], np.float32)
"""Share of light left in a cloud's shadow: the blue sky, hence most in the blue."""

LEVEL_NOISE = np.array(
    [0.0013, 0.0013, 0.0016, 0.0014, 0.0019, 0.0017, 0.0018, 0.0024, 0.0005, 0.0006], np.float32
)
"""Noise in reflectance: the signal-to-noise ratios that ESA requires of the MSI at its reference
radiances (154 168 142 117 89 105 174 72 100 100), turned into reflectance for an overhead sun."""

PARCEL_SD, PASS_SD, MIXED_SD, FIELD_SD = 0.27, 0.09, 0.05, 0.08
"""Standard deviations of the logarithm of a factor: between parcels, between passes, between
parcels anew at each pass, and inside parcels."""

GROUP_STRENGTH = np.array([1.0, 0.6, 1.0], dtype=np.float32)
"""The near infrared, which leaves already move as one, needs a weaker factor than the others."""

SWIR_WETNESS = -0.10
"""Change of the logarithm of shortwave infrared with wetness, in place of its factor of a pass."""


def endmembers(world: World) -> np.ndarray:
    """Return reflectances (endmember, 10) in the order of ENDMEMBERS.

    Without planted groups all bands see one and the same contrast between surfaces (that of B08),
    at their own level: no band then goes with another more than any other does.
    """
    spectra = np.array([SPECTRA[name] for name in ENDMEMBERS], dtype=np.float32)
    if world.planted_groups:
        return spectra
    contrast = spectra[:, S2_BANDS.index("B08")] / spectra[:, S2_BANDS.index("B08")].mean()
    return contrast[:, None] * spectra.mean(axis=0)


def groups(world: World) -> np.ndarray:
    """Return the factor each band follows: its group's, or its own without planted groups."""
    return np.array(S2_GROUPS) if world.planted_groups else np.arange(len(S2_BANDS))


def strength(world: World) -> np.ndarray:
    """Return how strong each band's factors are, (10,)."""
    return GROUP_STRENGTH[groups(world)] if world.planted_groups else np.ones(10, np.float32)


def parcel_factors(world: World, parcel_id: np.ndarray) -> np.ndarray:
    """Return the lasting part of each parcel's log factors (parcel, band)."""
    h = hashed(world.key("parcel factor"), parcel_id.view(np.int64)[:, None], groups(world))
    return np.float32(PARCEL_SD) * strength(world) * normal(h)


def sentinel2(
    world: World, ground: Ground, grid: Grid, site: tuple[int, int], day: np.ndarray
) -> np.ndarray:
    """Make the Sentinel-2 series of one sample.

    Parameters
    ----------
    world, ground, grid
        The landscape, what stands in the window, and its 10 m grid.
    site
        Row and column of the site.
    day
        Days of the year (t,).

    Returns
    -------
    numpy.ndarray
        Digital numbers uint16 (t, band, n_y, n_x): reflectance x 10000.
    """
    image = _surface(world, ground, grid, day)
    image *= np.exp(_field_factor(world, grid))
    image *= illumination(ground, day)[:, None]
    image = _through(world, image, clouds(world, grid, tuple(day)), site)
    image[:, COARSE] = _coarsen(image[:, COARSE])
    if world.noise:
        image += _sensor_noise(world, image.shape, site)
    return np.clip(np.rint(image * 10_000), 1, 65_535).astype(np.uint16)


def clear(world: World, grid: Grid, day: np.ndarray) -> np.ndarray:
    """Return which pixels show the sunlit ground (t, n_y, n_x), on the 20 m grid as real masks."""
    return _coarsen(clouds(world, grid, tuple(day)).clear.astype(np.float32)) > 0.99


def _surface(world: World, ground: Ground, grid: Grid, day: np.ndarray) -> np.ndarray:
    """Mix the endmembers of every entry and sum the entries of each pixel, (t, band, y, x)."""
    mix = fractions(ground.kind, ground.spring, ground.autumn, day)
    entries = mix @ endmembers(world)  # (n, t, band)
    factor = _pass_factors(world, ground, grid, day)  # (parcel, t, band)
    entries *= np.exp(factor)[ground.parcel]
    entries *= canopy_shade(ground.maturity)[:, None, None]
    share = np.zeros((grid.count**2, len(ground.kind)), dtype=np.float32)
    share[ground.pixel, np.arange(len(ground.kind))] = ground.weight
    pixels = share @ entries.reshape(len(ground.kind), -1)
    image = pixels.reshape(grid.count, grid.count, len(day), len(S2_BANDS))
    return np.ascontiguousarray(image.transpose(2, 3, 0, 1))


def canopy_shade(maturity: np.ndarray) -> np.ndarray:
    """Return how much darker old, rough stands are than young ones; 1 in the open."""
    return np.exp(-0.4 * (maturity - 0.5)).astype(np.float32)


def _pass_factors(world: World, ground: Ground, grid: Grid, day: np.ndarray) -> np.ndarray:
    """Log factors of each parcel and pass (parcel, t, band)."""
    group = groups(world)
    day_hash = hashed(world.key("pass factor"), np.array([world.year]), day.astype(int))
    at = np.array([grid.north]), np.array([grid.west])
    common = smooth(hashed(day_hash[:, None], np.arange(group.max() + 1)), *at, 3000.0)[..., 0, 0]
    common = (PASS_SD * common[:, group]).astype(np.float32)
    if world.planted_groups:
        wet = SWIR_WETNESS * wetness(world, grid, day)
        common[:, group == 2] = wet.astype(np.float32)[:, None]
    anew = hashed(day_hash[None, :, None], ground.parcel_id.view(np.int64)[:, None, None], group)
    passing = common + np.float32(MIXED_SD) * normal(anew)
    return parcel_factors(world, ground.parcel_id)[:, None] + strength(world) * passing


def _field_factor(world: World, grid: Grid) -> np.ndarray:
    """Log factors that vary inside parcels (band, n_y, n_x)."""
    streams = hashed(world.key("field factor"), groups(world))
    varies = FIELD_SD * strength(world)[:, None, None]
    return varies * smooth(streams, grid.y, grid.x, 45.0)


def illumination(ground: Ground, day: np.ndarray) -> np.ndarray:
    """Return the brightness of slopes and of canopies that shade themselves (t, n_y, n_x).

    Slopes follow the C correction (Teillet, Guindon and Goodenough 1982), (cos i + c) / (cos z + c)
    with c = 1 for what the atmospheric correction leaves; low sun darkens all by up to a quarter.
    """
    up, azimuth = (v[:, None, None].astype(np.float32) for v in sun(day))
    tilt = np.cos(up) * (ground.slope[0] * np.cos(azimuth) + ground.slope[1] * np.sin(azimuth))
    flat = np.sin(up)
    slope = (flat - tilt + 1) / (flat + 1)
    return slope * (1 - 0.35 * (1 - np.minimum(flat / 0.8, 1)))


def _through(world: World, image: np.ndarray, sky: Sky, site: tuple[int, int]) -> np.ndarray:
    """Lay shadows and clouds over the ground."""
    shade, opacity = sky.shade[:, None], sky.opacity[:, None]
    image = image * (1 - shade * (1 - SHADE[:, None, None]))
    draw = world.generator("cloud brightness", site)
    bright = draw.uniform(0.6, 1.3, (len(image), 1, 1, 1)).astype(np.float32)
    cloud = CLOUD[:, None, None] * bright * (0.75 + 0.25 * opacity)
    return image * (1 - opacity) + opacity * cloud


def _sensor_noise(world: World, shape: tuple[int, ...], site: tuple[int, int]) -> np.ndarray:
    """Draw noise on each band's own grid."""
    draw = world.generator("s2 noise", site)
    noise = draw.standard_normal(shape, dtype=np.float32)
    noise[:, COARSE] = np.repeat(np.repeat(noise[:, COARSE, ::2, ::2], 2, axis=2), 2, axis=3)
    return noise * (world.noise * LEVEL_NOISE)[:, None, None]


def _coarsen(image: np.ndarray) -> np.ndarray:
    """Replace each 2 x 2 block of the last two axes by its mean."""
    n_y, n_x = image.shape[-2:]
    blocks = image.reshape(*image.shape[:-2], n_y // 2, 2, n_x // 2, 2)
    mean = blocks.mean(axis=(-3, -1), keepdims=True)
    return np.broadcast_to(mean, blocks.shape).reshape(image.shape)
