"""The first, thinned look at a modality: it fixes the bins before the pass."""

from __future__ import annotations

import math

import dask
import numpy as np
import xarray as xr

from maestro_lab.bands.blocks import Reading
from maestro_lab.bands.sums import CODES, Bins

__all__ = ["choose_bins"]

_JOINT = 1e6  # pixels are enough to tell mutual information
_SEEN = 2_000_000  # values looked at
_READ = 4_000_000  # values read at once


def choose_bins(ds: xr.Dataset, reading: Reading, images: np.ndarray, count: int) -> Bins:
    """Choose edges, classes and shift from a few samples, dates and pieces of the images.

    Parameters
    ----------
    ds
        A modality.
    reading
        How its values are read.
    images
        (sample, time) which images are selected.
    count
        How many bins a histogram shall have, at most.
    """
    size = ds.sizes
    pixels = np.empty((0, size["band"]))
    every = ds.sizes["sample"]
    for runs, window in ((8, 64), (every, 64), (every, 0)):  # more only where the few show nothing
        if not len(pixels):
            pixels = _look(ds, reading, images, runs, window)
    if not len(pixels):
        pixels = np.zeros((1, size["band"]))
    low, high = np.quantile(pixels, [0.001, 0.999])
    if (pixels == np.round(pixels)).all():  # as many levels in each bin
        low, high = math.floor(low), math.ceil(high)
        width = math.ceil((high - low + 1) / count)
        edges = low - 0.5 + width * np.arange(math.ceil((high - low + 1) / width) + 1.0)
    else:
        edges = np.linspace(low, high if high > low else low + 1, count + 1)
    cuts = np.quantile(pixels, np.linspace(0, 1, CODES + 1)[1:-1], axis=0).T.copy()
    stride = math.ceil(images.sum() * size["y"] * size["x"] / _JOINT) | 1
    return Bins(edges, cuts, pixels.mean(0), stride)


def _look(
    ds: xr.Dataset, reading: Reading, images: np.ndarray, runs: int, window: int
) -> np.ndarray:
    """Return pixels (n, band) of so many runs of neighbouring samples, which share chunks.

    Long images are looked at in four windows of so many pixels, or with 0 everywhere.
    """
    n, run = len(images), _run(ds)
    starts = np.unique(np.linspace(0, max(0, n - run), runs).astype(int)).tolist()
    windows = [
        (y, x) for y in _windows(ds.sizes["y"], window) for x in _windows(ds.sizes["x"], window)
    ]
    values = ds.sizes["band"] * math.prod(a.stop - a.start for a in windows[0])
    most = max(4, _READ // (run * values))
    seen = []
    for start in starts:
        samples = slice(start, start + run)
        dates = np.flatnonzero(images[samples].any(0))
        dates = dates[np.unique(np.linspace(0, len(dates) - 1, min(len(dates), most)).astype(int))]
        if not len(dates):
            continue
        parts = [ds.isel(sample=samples, time=dates, y=y, x=x) for y, x in windows]
        arrays = dask.compute(*((part["values"].data, part["valid"].data) for part in parts))
        for both in arrays:
            found, keep, _ = reading.pixels(*map(np.asarray, both), images[samples][:, dates])
            pixels = np.moveaxis(found, 1, -1)[keep]
            seen.append(pixels[:: pixels.size * len(starts) * len(windows) // _SEEN + 1])
    return np.concatenate(seen).astype(np.float64) if seen else np.empty((0, ds.sizes["band"]))


def _run(ds: xr.Dataset) -> int:
    """Return how many samples to look at together: several small ones, one large one."""
    values = math.prod(ds.sizes[dim] for dim in ("band", "time", "y", "x"))
    return int(np.clip(_READ // max(values, 1), 1, 4))


def _windows(side: int, window: int) -> list[slice]:
    """Return two pieces of a long side; pieces of 512 that cover it where no window is given."""
    if not window:
        return [slice(start, min(start + 512, side)) for start in range(0, side, 512)]
    if side <= 2 * window:
        return [slice(0, side)]
    starts = (side // 4 - window // 2, 3 * side // 4 - window // 2)
    return [slice(start, start + window) for start in starts]
