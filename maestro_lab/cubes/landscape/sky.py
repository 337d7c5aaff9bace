"""The sky over the landscape: clouds and their shadows, wetness, and the sun."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from maestro_lab.cubes.landscape.randomness import hashed, layered, smooth, uniform
from maestro_lab.cubes.landscape.world import Grid, World

LATITUDE = 50.0
"""Degrees north; where the sun stands follows from it."""

HOUR_ANGLE = -18.0
"""Degrees: Sentinel-2 crosses the equator at 10:30 mean local solar time (ESA)."""

SEASON = 0.12
"""Cloud cover in mid-winter is about this much above the mean of the year, in summer below;
order of magnitude of Central European cloud climatologies."""

SPREAD = 1.3
"""How much days differ, in units of the spread inside one day: most are clear or overcast."""

FIELD = ((6000.0, 0.80), (1300.0, 0.50), (300.0, 0.33))
"""Scales of the cloud field, metres, and their weights; squares sum to one."""


@dataclass(frozen=True)
class Sky:
    """Clouds over a window on some days.

    Parameters
    ----------
    opacity
        0 (clear) to 1 (thick cloud), (t, n_y, n_x).
    shade
        0 to 1 where a cloud takes the direct sun, (t, n_y, n_x).
    """

    opacity: np.ndarray
    shade: np.ndarray

    @property
    def clear(self) -> np.ndarray:
        """Whether a pixel shows the sunlit ground."""
        return (self.opacity < 0.02) & (self.shade < 0.05)


def sun(day: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sun's elevation and azimuth (clockwise from north), radians.

    Declination after Cooper 1969: 23.45 sin(360 (284 + n) / 365) degrees.
    """
    declination = np.radians(23.45) * np.sin(2 * np.pi * (284 + np.asarray(day)) / 365)
    latitude, hour = np.radians(LATITUDE), np.radians(HOUR_ANGLE)
    up = np.sin(latitude) * np.sin(declination)
    up = up + np.cos(latitude) * np.cos(declination) * np.cos(hour)
    east = -np.cos(declination) * np.sin(hour)
    north = np.cos(latitude) * np.sin(declination)
    north = north - np.sin(latitude) * np.cos(declination) * np.cos(hour)
    return np.arcsin(up), np.arctan2(east, north) % (2 * np.pi)


@lru_cache(maxsize=16)
def clouds(world: World, grid: Grid, days: tuple[float, ...]) -> Sky:
    """Return the clouds over a window on some days of the year; the last few are remembered.

    A point is cloudy where a smooth field plus the day's tendency is above zero; the tendency's
    mean is set so that the yearly share of cloud is ``world.cloudiness``.
    """
    day = np.array(days)
    stream = hashed(world.key("cloud day"), np.array([world.year]), day.astype(int))
    at = np.array([grid.north]), np.array([grid.west])
    tendency = SPREAD * smooth(stream, *at, 40_000.0)[:, 0, 0]
    tendency += np.hypot(1, SPREAD) * _probit_of_cover(world.cloudiness)[day.astype(int)]
    height = 600.0 + 3000.0 * uniform(hashed(stream, np.array([0])))
    elevation, azimuth = sun(day)
    away = height / np.tan(elevation)
    # one field seen twice: overhead, and along the ray from the ground to the sun
    steps = np.stack([np.zeros_like(away), away])[..., None]
    y, x = grid.y + steps * np.cos(azimuth)[:, None], grid.x + steps * np.sin(azimuth)[:, None]
    field = layered(stream, y, x, FIELD) + tendency[:, None, None]
    return Sky(*np.clip(field / 0.35, 0.0, 1.0).astype(np.float32))


@lru_cache(maxsize=8)
def _probit_of_cover(cloudiness: float) -> np.ndarray:
    """Return the normal quantile of the mean cover of each day of the year (367,)."""
    if cloudiness == 0:
        return np.full(367, -20.0)
    cover = cloudiness + SEASON * np.cos(2 * np.pi * (np.arange(367) - 5) / 365.25)
    return np.array([NormalDist().inv_cdf(c) for c in np.clip(cover, 0.001, 0.999)])


def wetness(world: World, grid: Grid, day: np.ndarray) -> np.ndarray:
    """Return how wet soils and leaves are on some days (t,): about -2 (dry) to 2 (after rain).

    Smooth over a week and 15 km, and wetter in winter; optical and radar sensors see the same.
    """
    count = world.year * 366 + np.asarray(day, dtype=float)
    cell = (np.array([round(side / 15_000)]) for side in (grid.north, grid.west))
    rain = smooth(hashed(world.key("rain"), *cell)[0], count, np.zeros(1), (7.0, 1.0))[:, 0]
    return rain / 1.15 + 0.5 * np.cos(2 * np.pi * (np.asarray(day) - 15) / 365.25)
