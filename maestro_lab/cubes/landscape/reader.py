"""``open_landscape``: the synthetic landscape as a cube, made when asked for."""

from __future__ import annotations

from collections.abc import Sequence

import dask.array as da
import numpy as np
import xarray as xr

from maestro_lab.cubes.contract import validate
from maestro_lab.cubes.landscape import lazy
from maestro_lab.cubes.landscape.sites import Sites, aerial_dates, sites
from maestro_lab.cubes.landscape.world import World
from maestro_lab.errors import CubeError

MODALITIES = tuple(lazy.SPECS)


def open_landscape(
    samples: int = 400,
    seed: int = 0,
    year: int = 2021,
    window: float = 60.0,
    modalities: Sequence[str] | None = None,
    missing: float = 0.05,
    cloudiness: float = 0.45,
    planted_groups: bool = True,
    noise: float = 1.0,
    chunk: int = 8,
) -> xr.DataTree:
    """Open the synthetic landscape: any number of samples, made lazily, with planted truth.

    Fields, meadows, villages, lakes and mixed forest stands lie on an endless plane. Each kind of
    cover has its own course over the year; tree species of one leaf type look alike at any one
    date and differ in when they green and turn. The planted groups of bands are B02 B03 B04 B05 |
    B06 B07 B08 B8A | B11 B12 and NIR | R G B. Sample ``i`` is the same for any ``samples`` and
    ``chunk``.

    Parameters
    ----------
    samples
        Number of samples. They lie in blocks of 16, dealt out to ten blocks in turn; whole blocks
        are train, val (2 in 10) or test (2 in 10), six parcels apart.
    seed
        Number of the world.
    year
        Year of the acquisitions.
    window
        Side of a sample in metres, a multiple of 20.
    modalities
        Which of "s2", "s1_asc", "s1_des", "aerial", "dem" to hold. Default: all.
    missing
        Probability that ``aerial``, or ``s1_des``, is missing in a sample. Has no effect where
        only these two are chosen, as no sample may be empty.
    cloudiness
        Mean share of the sky covered with cloud, 0 to 0.95.
    planted_groups
        False takes the groups out: all bands see the same contrasts, each with factors of its own.
    noise
        Strength of sensor noise and speckle against the real instruments; 0 is none.
    chunk
        Samples in a dask chunk.

    Returns
    -------
    xarray.DataTree
        A cube with children ``s2`` (DN), ``s1_asc`` and ``s1_des`` (linear power), ``aerial``
        (DN), ``dem`` (m) and ``targets``: ``species`` (area fractions), ``land_cover`` (class per
        10 m pixel) and ``biomass`` (t/ha).

    Raises
    ------
    CubeError
        If an option has an impossible value.

    Examples
    --------
    >>> cube = open_landscape(samples=4, seed=1)
    >>> dict(cube["s2"].sizes)
    {'sample': 4, 'time': 73, 'band': 10, 'y': 6, 'x': 6}
    """
    chosen = list(MODALITIES) if modalities is None else list(modalities)
    _check(samples, seed, year, window, chosen, missing, cloudiness, noise, chunk)
    world = World(
        int(seed), int(year), float(window), missing, cloudiness, bool(planted_groups), noise
    )
    number = da.arange(samples, chunks=int(chunk), dtype=np.int64)
    # a sample may lack a modality only where another one is always there
    may_miss = not set(chosen) <= set(lazy.MAY_MISS)
    children = {
        name: xr.DataTree(lazy.modality(world, number, name, may_miss))
        for name in MODALITIES
        if name in chosen
    }
    children["targets"] = xr.DataTree(lazy.targets(world, number))
    root = _root(world, sites(world, np.arange(samples)))
    return validate(xr.DataTree(root, children=children), values=0)


def _check(
    samples: int,
    seed: int,
    year: int,
    window: float,
    modalities: list[str],
    missing: float,
    cloudiness: float,
    noise: float,
    chunk: int,
) -> None:
    unknown = [m for m in modalities if m not in MODALITIES]
    side = window if isinstance(window, int | float) else np.nan
    rules = (
        (_whole(samples, 1), "samples", "a whole number, 1 or more", samples),
        (_whole(chunk, 1), "chunk", "a whole number, 1 or more", chunk),
        (_whole(seed, 0), "seed", "a whole number, 0 or more", seed),
        (_whole(year, 1900) and year <= 2200, "year", "a year from 1900 to 2200", year),
        (side > 0 and side % 20 == 0, "window", "metres, a multiple of 20", window),
        (not unknown and modalities, "modalities", f"some of {', '.join(MODALITIES)}", modalities),
        (_between(missing, 0, 1), "missing", "a probability, 0 to 1", missing),
        (_between(cloudiness, 0, 0.95), "cloudiness", "a share of the sky, 0 to 0.95", cloudiness),
        (_between(noise, 0, 4), "noise", "a strength, 0 to 4", noise),
    )
    for good, name, expected, found in rules:
        if not good:
            raise CubeError(f"landscape: {name}", expected=expected, found=repr(found))


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= least


def _between(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float | np.number) and low <= value <= high


def _root(world: World, place: Sites) -> xr.Dataset:
    per_sample = {
        "split": place.split,
        "block": place.block,
        "ref_date": aerial_dates(world, place)[:, 0],
        "easting": place.west.astype(float),
        "northing": place.north.astype(float),
    }
    return xr.Dataset(
        {name: ("sample", value) for name, value in per_sample.items()},
        coords={"sample": np.array(place.names, dtype=object)},
        attrs={
            "title": "Synthetic landscape with planted truth",
            "licence": "CC0-1.0",
            "source": f"maestro_lab.cubes.landscape, seed {world.seed}, year {world.year}",
        },
    )
