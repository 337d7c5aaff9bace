"""Pixels that look like soil, vegetation and terrain seen by five sensors; every draw is seeded."""

from __future__ import annotations

import numpy as np

# Reflectance x 10000 of bare soil and of vegetation, in ten bands of Sentinel-2.
SOIL = np.array([900, 1200, 1600, 1900, 2100, 2300, 2400, 2600, 3000, 2500], np.float32)
GREEN = np.array([300, 600, 400, 900, 2200, 2700, 2900, 3000, 1500, 800], np.float32)
# Digital numbers of the same in R, G, B, NIR of a camera.
CAMERA_SOIL = np.array([150, 125, 100, 140], np.float32)
CAMERA_GREEN = np.array([60, 80, 50, 200], np.float32)


def smooth(rng: np.random.Generator, side: int, cells: int = 4) -> np.ndarray:
    """Return a surface from 0 to 1 (y, x) without sharp edges."""
    knots = rng.random((cells + 1, cells + 1))
    at = np.linspace(0, cells, side)
    weight = np.maximum(1 - np.abs(at[:, None] - np.arange(cells + 1)), 0)
    return (weight @ knots @ weight.T).astype(np.float32)


def _noise(rng: np.random.Generator, shape: tuple[int, ...], spread: float) -> np.ndarray:
    return rng.standard_normal(shape, np.float32) * np.float32(spread)


def optical(rng: np.random.Generator, count: int, side: int, dtype: str = "int16") -> np.ndarray:
    """Return a Sentinel-2 series (t, 10, y, x) of soil and vegetation that comes and goes."""
    season = rng.uniform(0.5, 1, (count, 1, 1, 1)).astype(np.float32)
    cover = (smooth(rng, side) + _noise(rng, (count, 1, side, side), 0.05)).clip(0, 1) * season
    mixed = SOIL[:, None, None] + cover * (GREEN - SOIL)[:, None, None]
    return (mixed + _noise(rng, mixed.shape, 20)).clip(200, 4000).astype(dtype)


def radar(rng: np.random.Generator, count: int, side: int) -> np.ndarray:
    """Return a Sentinel-1 series (t, 2, y, x) in decibels."""
    level = np.array([-10, -17], np.float32)[:, None, None] + 4 * smooth(rng, side) - 2
    return level + _noise(rng, (count, 2, side, side), 1.5)


def camera(rng: np.random.Generator, side: int, bands: int = 4) -> np.ndarray:
    """Return an image (band, y, x) of R, G, B, NIR in bytes."""
    cover = smooth(rng, side) + _noise(rng, (side, side), 0.05)
    change = (CAMERA_GREEN - CAMERA_SOIL)[:bands, None, None]
    mixed = CAMERA_SOIL[:bands, None, None] + cover.clip(0, 1) * change
    return mixed.clip(10, 250).astype(np.uint8)


def elevation(rng: np.random.Generator, side: int) -> np.ndarray:
    """Return the surface and the terrain (2, y, x) in metres."""
    terrain = 200 + 60 * smooth(rng, side)
    return np.stack([terrain + 20 * smooth(rng, side, 16), terrain])
