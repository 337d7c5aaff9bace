"""Modalities and targets as lazy arrays: one dask task makes a few samples, from their numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import dask.array as da
import numpy as np
import xarray as xr

from maestro_lab.cubes.contract import make_modality
from maestro_lab.cubes.landscape import sites
from maestro_lab.cubes.landscape.aerial import AERIAL_BANDS, aerial
from maestro_lab.cubes.landscape.ground import CLASSES, look, pixel_grid
from maestro_lab.cubes.landscape.optics import S2_BANDS, clear, sentinel2
from maestro_lab.cubes.landscape.radar import S1_BANDS, sentinel1
from maestro_lab.cubes.landscape.world import SPECIES, World

MAY_MISS = ("s1_des", "aerial")
"""Modalities that a sample may lack."""


@dataclass(frozen=True)
class Site:
    """One sample as the makers of pixels see it: corner in metres, place in the lattice, dates."""

    west: float
    north: float
    place: tuple[int, int]
    day: np.ndarray


_Make = Callable[[World, Site], np.ndarray]


@dataclass(frozen=True)
class Spec:
    """What a modality is, and how one sample of it is made.

    Parameters
    ----------
    sensor, bands, units, gsd, dtype
        As in the cube contract.
    dates
        Dates of samples (sample, t), before some go missing.
    make
        Pixels (t, band, n_y, n_x) of one sample on its days.
    valid
        Which of them are valid (t, n_y, n_x); None where all are.
    """

    sensor: str
    bands: tuple[str, ...]
    units: str
    gsd: float
    dtype: str
    dates: Callable[[World, sites.Sites], np.ndarray]
    make: _Make
    valid: _Make | None = None


def _s2(world: World, site: Site) -> np.ndarray:
    ground = look(world, site.west, site.north)
    grid = pixel_grid(world, site.west, site.north)
    return sentinel2(world, ground, grid, site.place, site.day)


def _s2_valid(world: World, site: Site) -> np.ndarray:
    return clear(world, pixel_grid(world, site.west, site.north), site.day)


def _s1(world: World, site: Site, direction: str) -> np.ndarray:
    ground = look(world, site.west, site.north)
    grid = pixel_grid(world, site.west, site.north)
    return sentinel1(world, ground, grid, site.place, site.day, direction)


def _aerial(world: World, site: Site) -> np.ndarray:
    return aerial(world, site.west, site.north, site.place, float(site.day[0]))[None]


def _dem(world: World, site: Site) -> np.ndarray:
    return look(world, site.west, site.north).elevation[None, None]


def _radar_spec(direction: str) -> Spec:
    return Spec(
        "sentinel-1",
        S1_BANDS,
        "linear power",
        10.0,
        "float32",
        partial(sites.s1_dates, direction=direction),
        partial(_s1, direction=direction),
    )


SPECS = {
    "s2": Spec("sentinel-2", S2_BANDS, "DN", 10.0, "uint16", sites.s2_dates, _s2, _s2_valid),
    "s1_asc": _radar_spec("asc"),
    "s1_des": _radar_spec("des"),
    "aerial": Spec("aerial", AERIAL_BANDS, "DN", 0.2, "uint8", sites.aerial_dates, _aerial),
    "dem": Spec("elevation", ("elevation",), "m", 10.0, "float32", sites.aerial_dates, _dem),
}
"""Modality name to what it is, in the order of the cube."""


def modality(world: World, number: da.Array, name: str, may_miss: bool) -> xr.Dataset:
    """Build one modality of the samples with these numbers: dates now, pixels when asked for."""
    spec = SPECS[name]
    time = _time(world, np.arange(len(number)), name, may_miss)
    side = round(world.window / spec.gsd)
    pixels = (time.shape[1], len(spec.bands), side, side)
    part = partial(_pixels, world, name, may_miss)
    values = _lazy(partial(part, spec.make, pixels, spec.dtype), number, pixels, spec.dtype)
    frame = (pixels[0], side, side)
    valid = _lazy(partial(part, spec.valid, frame, "bool"), number, frame, "bool")
    return make_modality(
        values,
        time,
        bands=spec.bands,
        units=spec.units,
        gsd=spec.gsd,
        valid=valid,
        sensor_name=spec.sensor,
    )


def targets(world: World, number: da.Array) -> xr.Dataset:
    """Build the planted truth of the samples with these numbers."""
    side = round(world.window / 10)
    lazy = {
        name: _lazy(partial(_truth, world, name, shape, dtype), number, shape, dtype)
        for name, shape, dtype in (
            ("species", (len(SPECIES),), "float32"),
            ("land_cover", (side, side), "uint8"),
            ("biomass", (), "float32"),
        )
    }
    about = {
        "species": {"task": "fractions", "units": "share of the window's area"},
        "land_cover": {"task": "segmentation", "classes": list(CLASSES)},
        "biomass": {"task": "regression", "units": "t/ha"},
    }
    dims = {"species": ("class",), "land_cover": ("y", "x"), "biomass": ()}
    return xr.Dataset(
        {name: (("sample", *dims[name]), lazy[name], about[name]) for name in lazy},
        coords={"class": np.array(SPECIES, dtype=object)},
    )


def _time(world: World, number: np.ndarray, name: str, may_miss: bool) -> np.ndarray:
    """Return the dates of samples (sample, t), NaT where the modality is missing."""
    place = sites.sites(world, number)
    time = SPECS[name].dates(world, place)
    if may_miss and name in MAY_MISS:
        time[sites.is_missing(world, place, name)] = np.datetime64("NaT")
    return time


def _lazy(
    part: Callable[[np.ndarray], np.ndarray], number: da.Array, shape: tuple[int, ...], dtype: str
) -> da.Array:
    """Apply ``part`` to chunks of sample numbers; nothing is computed."""
    return da.map_blocks(
        part,
        number,
        dtype=dtype,
        new_axis=list(range(1, len(shape) + 1)),
        chunks=(number.chunks[0], *((n,) for n in shape)),
        meta=np.empty((0,) * (len(shape) + 1), dtype=dtype),
    )


def _pixels(
    world: World,
    name: str,
    may_miss: bool,
    make: _Make | None,
    shape: tuple[int, ...],
    dtype: str,
    number: np.ndarray,
) -> np.ndarray:
    """Make some samples' pixels (``make`` given) or tell where they are dated (None)."""
    place = sites.sites(world, number)
    day = sites.day_of_year(_time(world, number, name, may_miss))
    out = np.zeros((len(number), *shape), dtype=dtype)
    for n, days in enumerate(day):
        days = days[~np.isnan(days)]
        if len(days) and make is None:
            out[n, : len(days)] = True
        elif len(days):
            corner = float(place.west[n]), float(place.north[n])
            site = Site(*corner, (int(place.row[n]), int(place.column[n])), days)
            out[n, : len(days)] = make(world, site)
    return out


def _truth(
    world: World, name: str, shape: tuple[int, ...], dtype: str, number: np.ndarray
) -> np.ndarray:
    place = sites.sites(world, number)
    out = np.zeros((len(number), *shape), dtype=dtype)
    for n, corner in enumerate(zip(place.west.tolist(), place.north.tolist(), strict=True)):
        out[n] = getattr(look(world, *map(float, corner)), name)
    return out
