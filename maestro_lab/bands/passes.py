"""The pass itself: every tile summed up once, by the labels of its images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial, reduce
from operator import add

import numpy as np
import xarray as xr

from maestro_lab.bands.blocks import Reading, Tile, fold
from maestro_lab.bands.look import choose_bins
from maestro_lab.bands.selection import Selection
from maestro_lab.bands.sums import Bins, Levels, Sums, add_levels
from maestro_lab.errors import ParameterError

__all__ = ["Found", "sum_up"]


@dataclass(frozen=True)
class _Part:
    """Sums of some tiles; those of the same images know the images' own sums still."""

    sums: Sums
    levels: Levels | None
    used: tuple[tuple[Tile, np.ndarray], ...] = ()
    image_n: np.ndarray | None = None
    image_first: np.ndarray | None = None
    labels: np.ndarray | None = None

    def __add__(self, other: _Part) -> _Part:
        levels = add_levels(self.levels, other.levels)
        return _Part(self.sums + other.sums, levels, self.used + other.used)


@dataclass(frozen=True)
class Found:
    """Sums by partition, and what else the pass counted."""

    bins: Bins
    sums: Mapping[str, Sums]
    levels: Levels | None
    used: np.ndarray  # (sample, time) images with a pixel that counts


def sum_up(
    ds: xr.Dataset,
    selection: Selection,
    images: np.ndarray,
    labels: Mapping[str, np.ndarray],
    bins: int | Bins,
    patch: int,
) -> Found:
    """Sum up the images of a modality by their labels.

    Parameters
    ----------
    ds
        The modality.
    selection
        Which pixels count.
    images
        (sample, time) which images are selected.
    labels
        Partition to (sample, time) numbers from 0 on; an image that is -1 in any is left out.
    bins
        How many, or what was fixed before.
    patch
        Side of the patches that co-moments are taken within.
    """
    reading = Reading.of(ds, selection.clouds)
    fixed = bins if isinstance(bins, Bins) else choose_bins(ds, reading, images, int(bins))
    if fixed.cuts.shape[0] != ds.sizes["band"]:
        raise ParameterError(
            "bins", expected=f"of {ds.sizes['band']} bands", found=f"{fixed.cuts.shape[0]}"
        )
    counts = [int(where.max()) + 1 for where in labels.values()]
    starts = np.cumsum([0, *counts])
    stacked = np.stack(list(labels.values()))
    inside = stacked.min(0) >= 0
    stacked = stacked + starts[:-1, None, None]
    measure = partial(
        _measure, reading=reading, inside=inside, labels=stacked, bins=fixed, patch=patch,
        size=int(starts[-1]), width=ds.sizes["x"],
    )  # fmt: skip
    part = fold(ds, measure, images=inside, patch=patch, close=_closed)
    sums = {
        over: part.sums.take(slice(int(starts[k]), int(starts[k + 1])))
        for k, over in enumerate(labels)
    }
    used = np.zeros(images.shape, bool)
    for tile, there in part.used:
        used[tile.sample, tile.time] |= there
    return Found(fixed, sums, part.levels, used)


def _measure(
    values: np.ndarray,
    valid: np.ndarray,
    tile: Tile,
    *,
    reading: Reading,
    inside: np.ndarray,
    labels: np.ndarray,
    bins: Bins,
    patch: int,
    size: int,
    width: int,
) -> _Part:
    """Sum up one tile."""
    from maestro_lab.bands import kernels

    values, keep, missing = reading.pixels(values, valid, inside[tile.sample, tile.time])
    there = np.flatnonzero(keep.any((1, 2)))
    if len(there) < len(keep):
        values, keep = values[there], keep[there]
    labels = np.ascontiguousarray(labels[:, tile.sample, tile.time].reshape(len(labels), -1))
    used = np.ascontiguousarray(labels[:, there])
    images, bands = values.shape[:2]
    sums = Sums.zeros(size, bands, len(bins.edges) - 1)
    pixels = values.shape[2] * values.shape[3]
    flat, kept = values.reshape(images, bands, pixels), keep.reshape(images, pixels)
    exact = None
    if values.dtype.itemsize <= 2:
        table = np.zeros((bands, 65_536), np.int64)
        kernels.count_levels(flat.astype(np.uint16, copy=False), kept, table)
        exact = _trimmed(table, values.dtype)
    if exact is None or size > 1:
        kernels.count_bins(flat, kept, bins.edges, used, sums.counts)
    else:
        sums.counts[0] = _binned(*exact, bins.edges)
    kernels.count_joint(
        values, keep, bins.cuts, used, (tile.y.start, tile.x.start), width, bins.stride, sums.joint
    )
    for partition in labels:
        np.add.at(sums.missing, partition, missing)
    image_n, image_first = np.zeros(labels.shape[1], np.int64), np.zeros((labels.shape[1], bands))
    own_n, own_first = np.zeros(images, np.int64), np.zeros((images, bands))
    kernels.sum_moments(
        values, keep, bins.shift, patch, used, sums.n, sums.first, sums.second, sums.by_patch,
        own_n, own_first,
    )  # fmt: skip
    image_n[there], image_first[there] = own_n, own_first
    used = (image_n > 0).reshape(inside[tile.sample, tile.time].shape)
    return _Part(sums, exact, ((tile, used),), image_n, image_first, labels)


def _closed(parts: list[_Part]) -> _Part:
    """Add tiles of the same images, and take the products of the images' sums."""
    total = reduce(add, parts)
    n = sum(p.image_n for p in parts)
    first = sum(p.image_first for p in parts)
    there = np.flatnonzero(n)
    root = first[there] / np.sqrt(n[there])[:, None]
    for labels in parts[0].labels:
        for label in np.unique(labels[there]):
            rows = root[labels[there] == label]
            total.sums.by_date[label] += rows.T @ rows
    for matrix in (total.sums.second, total.sums.by_patch):  # filled above the diagonal only
        matrix += np.triu(matrix, 1).swapaxes(-1, -2)
    return _Part(total.sums, total.levels, total.used)


def _binned(lowest: int, table: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Put exact counts (band, level) into bins (band, bin)."""
    levels = np.clip(lowest + np.arange(table.shape[1]), edges[0], edges[-1])
    counted = [np.histogram(levels, edges, weights=counts)[0] for counts in table]
    return np.stack(counted).astype(np.int64)


def _trimmed(table: np.ndarray, dtype: np.dtype) -> Levels:
    """Cut exact counts to the levels that occur; signed data begin at the most negative."""
    lowest = 0
    if dtype.kind == "i":
        table, lowest = np.roll(table, 32_768, axis=1), -32_768
    used = np.flatnonzero(table.any(0))
    if not len(used):
        return lowest, table[:, :0]
    return lowest + int(used[0]), table[:, used[0] : used[-1] + 1].copy()
