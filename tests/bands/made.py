"""Cubes made for these tests, and their statistics worked out a second time, the slow way."""

from __future__ import annotations

import numpy as np

from maestro_lab.cubes.contract import make_modality
from tests.batches.cubes import changed, cube_of, days

PLANTED = [["a", "b", "c"], ["d", "e"], ["f", "g", "h"]]


def planted(n=2500, seed=0, apart=10):
    """Bands of three kinds, alike within a kind in course and in level."""
    rng = np.random.default_rng(seed)
    columns = {}
    for k, group in enumerate(PLANTED):
        course = rng.standard_normal(n) + apart * k
        columns |= {band: course + 0.3 * rng.standard_normal(n) for band in group}
    return columns


def image_cube(values, *, dates=None, valid=None, splits=None, bands=None, units="m", **options):
    """Wrap values (sample, time, band, y, x) as modality m; ``dates`` of each sample exist."""
    n, longest, count = values.shape[:3]
    time = days([longest] * n if dates is None else dates, longest)
    if valid is not None:
        valid = valid & ~np.isnat(time)[:, :, None, None]
    names = bands or "abcdefghijklm"[:count]
    ds = make_modality(values, time, valid=valid, bands=list(names), units=units, gsd=10, **options)
    return cube_of({"m": ds}, splits=splits)


def overwritten(cube, where, value, name="m"):
    """Put a value into some places of a modality, valid or not."""

    def overwrite(ds):
        values = ds["values"].values.copy()
        values[where] = value
        return ds.assign(values=(ds["values"].dims, values))

    return changed(cube, name, overwrite)


def dated(cube, name="m"):
    """Which pixels (sample, time, y, x) belong to a date that exists."""
    there = ~np.isnat(cube[name]["time"].values)
    return np.broadcast_to(there[:, :, None, None], cube[name]["valid"].shape)


def kept(cube, name="m", clouds="out"):
    """Which pixels (sample, time, y, x) count."""
    return dated(cube, name) if clouds == "in" else cube[name]["valid"].values


def pixels(values, keep):
    """Return pixels (pixel, band) in double precision."""
    return np.moveaxis(np.asarray(values), 2, -1)[keep].astype(float)


def deviations(values, keep, within="all", patch=2):
    """Return deviations (pixel, band) from the mean over all, over the image or over the patch."""
    if within == "all":
        rows = pixels(values, keep)
        return rows - rows.mean(0)
    values = np.asarray(values, float)
    height, width = values.shape[3:]
    side = patch if within == "patch" else max(height, width)
    found = []
    images = zip(
        values.reshape(-1, *values.shape[2:]), keep.reshape(-1, height, width), strict=True
    )
    for image, there in images:
        for y in range(0, height, side):
            for x in range(0, width, side):
                part = (slice(y, y + side), slice(x, x + side))
                rows = image[:, *part][:, there[part]].T
                found.append(rows - rows.mean(0) if len(rows) else rows)
    return np.concatenate(found)


def correlation(values, keep, within="all", patch=2):
    """Return Pearson correlations (band, band) of deviations."""
    apart = deviations(values, keep, within, patch)
    products = apart.T @ apart
    root = np.sqrt(np.diag(products))
    return products / np.outer(root, root)


def histograms(rows, edges):
    """Return counts (band, bin) of pixels (pixel, band); those beyond the edges in the end bins."""
    inside = np.clip(rows, edges[0], edges[-1])
    return np.stack([np.histogram(column, edges)[0] for column in inside.T])


def overlap(counts):
    """Return the shared area of each two histograms (band, band)."""
    shares = [c / c.sum() for c in counts]
    return np.array([[np.minimum(a, b).sum() for b in shares] for a in shares])


def close(found, expected, relative=1e-9):
    """Compare arrays by the size of the largest number expected."""
    expected = np.asarray(expected)
    size = np.abs(expected[np.isfinite(expected)]).max()
    np.testing.assert_allclose(found, expected, rtol=relative, atol=relative * size)


def changed_pixels(cube, name, seed=0):
    """Overwrite what is not valid with garbage: NaN and huge numbers, or any whole numbers."""
    rng = np.random.default_rng(seed)

    def soil(ds):
        values, valid = ds["values"].values.copy(), ds["valid"].values
        hidden = np.broadcast_to(~valid[:, :, None], values.shape)
        if values.dtype.kind == "f":
            garbage = rng.choice([np.nan, np.inf, -1e30, 1e30, 0], hidden.sum())
        else:
            garbage = rng.integers(0, 65_536, hidden.sum())
        values[hidden] = garbage
        return ds.assign(values=(ds["values"].dims, values))

    return changed(cube, name, soil)
