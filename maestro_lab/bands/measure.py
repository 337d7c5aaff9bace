"""The streaming pass: histograms, moments and joint classes of a modality, read once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import xarray as xr

from maestro_lab.bands.blocks import Reading, Tile, fold
from maestro_lab.bands.selection import Selection, conditions, policy, selected_images
from maestro_lab.bands.statistics import BandStatistics
from maestro_lab.bands.sums import CODES, Bins, Sums
from maestro_lab.errors import CubeError, ParameterError

__all__ = ["band_statistics", "statistics_by"]

BINS = 64
BUNDLES = 24
_JOINT = 4e6  # pixels are enough to tell mutual information
_SEEN = 2_000_000  # values of the first, thinned look
_READ = 4_000_000  # values read at once for it
_RUN = 4  # samples read together in that look: neighbours share a chunk


def band_statistics(
    cube: xr.DataTree,
    modality: str,
    *,
    clouds: str = "out",
    split: str | Sequence[str] = ("train",),
    season: str = "",
    region: str = "",
    bins: int | Bins = BINS,
    patch: int = 2,
    bundles: int = BUNDLES,
) -> BandStatistics:
    """Gather the statistics of a modality in one pass over its blocks.

    A first look at a few samples fixes the edges of the histograms. The pass itself runs where
    dask runs, on threads or on the cluster of an active ``dask.distributed`` client, and needs no
    more memory than a few blocks.

    Parameters
    ----------
    cube
        The cube; may be larger than memory.
    modality
        Which modality.
    clouds, split, season, region
        See :class:`~maestro_lab.bands.selection.Selection`. The default keeps held-out samples
        unseen; an empty ``split`` takes all.
    bins
        Histogram bins between the 0.1 and 99.9 percentile of the first look, of a whole number of
        levels each where the data are whole numbers; or the bins of other statistics that these
        are to be added to.
    patch
        Side in pixels of the patches that co-moments are taken within.
    bundles
        Bundles of samples, dates and blocks that are kept apart for resampling; 0 keeps none.

    Raises
    ------
    CubeError
        If no pixel is left; names the band that is nowhere finite, if that is why.
    ParameterError
        For an unknown modality or option.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> band_statistics(ml.open_cube("landscape", samples=8), "aerial").units
    'DN'
    """
    _check(bins, patch, bundles)
    selection = Selection(clouds, split, season, region)
    samples, images = selected_images(cube, modality, selection)
    ds = cube[modality].to_dataset()
    selection = replace(selection, clouds=policy(ds, clouds))
    ds = ds.isel(sample=samples)
    block = np.asarray(cube["block"].values)[samples]
    groups = _bundles(ds["time"].values, images, block, bundles)
    labels = {over: where for over, (where, _) in groups.items()} or {"": np.where(images, 0, -1)}
    found = _measured(ds, selection, images, labels, bins, patch)
    first = next(iter(found.sums))
    total = found.sums[first].total()
    _refuse_nothing(modality, ds, selection, total, found.missing)
    return BandStatistics(
        **_about(ds, modality, selection, patch),
        bins=found.bins,
        sums=total,
        missing=found.missing,
        bundles=found.sums if groups else {},
        units_in={over: count for over, (_, count) in groups.items()},
        levels=found.levels,
    )


def statistics_by(
    cube: xr.DataTree,
    modality: str,
    by: str,
    *,
    clouds: str = "out",
    split: str | Sequence[str] = ("train",),
    bins: int | Bins = BINS,
    patch: int = 2,
) -> dict[str, BandStatistics]:
    """Gather the statistics of a modality apart for each season, split, region or cloud policy.

    All share their bins. Seasons, splits and regions are told apart in one pass; they keep nothing
    to resample.

    Parameters
    ----------
    by
        "season", "split" (which looks at all samples), "region" or "clouds".
    cube, modality, clouds, split, bins, patch
        See :func:`band_statistics`.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> cube = ml.open_cube("landscape", samples=8, modalities=["s2"])
    >>> list(statistics_by(cube, "s2", "season"))
    ['DJF', 'MAM', 'JJA', 'SON']
    """
    _check(bins, patch, 0)
    if by == "clouds":
        options = {"split": split, "patch": patch, "bundles": 0}
        every = band_statistics(cube, modality, clouds="in", bins=bins, **options)
        if every.selection.clouds != "in":
            return {every.selection.clouds: every}
        return {
            "in": every,
            "out": band_statistics(cube, modality, clouds="out", bins=every.bins, **options),
        }
    selection = Selection(clouds, () if by == "split" else split)
    where = conditions(cube, modality, by, selection.split)
    samples, images = selected_images(cube, modality, selection)
    ds = cube[modality].to_dataset()
    selection = replace(selection, clouds=policy(ds, clouds))
    ds = ds.isel(sample=samples)
    label = np.full(images.shape, -1)
    for number, inside in enumerate(where.values()):
        label[inside[samples]] = number
    found = _measured(ds, selection, images, {"": label}, bins, patch)
    _refuse_nothing(modality, ds, selection, found.sums[""].total(), found.missing)
    result = {}
    for number, name in enumerate(where):
        at = Selection(
            selection.clouds,
            (name,) if by == "split" else selection.split,
            name if by == "season" else "",
            name if by == "region" else "",
        )
        sums = found.sums[""].take(number)
        if sums.n:
            about = _about(ds, modality, at, patch)
            missing = np.zeros_like(found.missing)
            result[name] = BandStatistics(**about, bins=found.bins, sums=sums, missing=missing)
    return result


def _check(bins: int | Bins, patch: int, bundles: int) -> None:
    for name, value, least in (("bins", bins, 1), ("patch", patch, 1), ("bundles", bundles, 0)):
        if not isinstance(value, Bins) and (
            not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least
        ):
            expected = f"a whole number, at least {least}"
            raise ParameterError(name, expected=expected, found=repr(value))


def _about(ds: xr.Dataset, modality: str, selection: Selection, patch: int) -> dict:
    return {
        "modality": modality,
        "bands": tuple(str(b) for b in ds["band"].values),
        "wavelengths": tuple(float(w) for w in ds["wavelength"].values),
        "units": "dB" if Reading.of(ds, "out").decibels else str(ds.attrs["units"]),
        "selection": selection,
        "patch": int(patch),
    }


def _refuse_nothing(
    modality: str, ds: xr.Dataset, selection: Selection, total: Sums, missing: np.ndarray
) -> None:
    if total.n:
        return
    bands = [str(b) for b, gone in zip(ds["band"].values, missing, strict=True) if gone]
    lost = f", where {', '.join(bands)} is not finite" if bands else ""
    raise CubeError(
        f"{modality}: no pixel to take statistics of",
        expected=f"pixels with every band ({selection})",
        found=f"none in {ds.sizes['sample']} samples{lost}",
    )


def _bundles(
    time: np.ndarray, images: np.ndarray, block: np.ndarray, most: int
) -> dict[str, tuple[np.ndarray, int]]:
    """Deal images into bundles of samples, dates and blocks: labels (sample, time), how many.

    Samples are dealt at random. Dates stay in order, neighbours together, as they resemble each
    other; so do blocks.
    """
    if not most:
        return {}

    def labelled(where: np.ndarray) -> np.ndarray:
        return np.where(images, np.broadcast_to(where, images.shape), -1)

    there = np.flatnonzero(images.any(1))
    order = np.empty(len(images), int)
    order[np.random.default_rng(0).permutation(there)] = np.arange(len(there)) % most
    days = time.astype("datetime64[D]")
    unique = np.unique(days[images])
    day = np.searchsorted(unique, np.where(np.isnat(days), unique[0], days)).clip(
        0, len(unique) - 1
    )
    blocks = np.unique(block[there])
    return {
        "sample": (labelled(order[:, None]), len(there)),
        "date": (labelled(_stretch(day, len(unique), most)), len(unique)),
        "block": (
            labelled(_stretch(np.searchsorted(blocks, block), len(blocks), most)[:, None]),
            len(blocks),
        ),
    }


def _stretch(number: np.ndarray, count: int, most: int) -> np.ndarray:
    """Put 0 .. count - 1 into at most ``most`` stretches of nearly equal length."""
    return number * min(most, count) // count


# -- the first look


def _fixed(ds: xr.Dataset, reading: Reading, images: np.ndarray, count: int) -> Bins:
    """Choose edges, classes and shift from a few samples, dates and corners of the images."""
    size = ds.sizes
    pixels = np.empty((0, size["band"]))
    for runs in (8, size["sample"] // _RUN + 1):  # all of them only if the few show nothing
        if not len(pixels):
            pixels = _look(ds, reading, images, runs)
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


def _look(ds: xr.Dataset, reading: Reading, images: np.ndarray, runs: int) -> np.ndarray:
    """Return pixels (n, band) of so many runs of neighbouring samples."""
    n = len(images)
    starts = sorted({min(int(k), max(0, n - _RUN)) for k in np.linspace(0, n - _RUN, runs)})
    windows = [(y, x) for y in _windows(ds.sizes["y"]) for x in _windows(ds.sizes["x"])]
    image = ds.sizes["band"] * math.prod(a.stop - a.start for a in windows[0])
    most = max(4, _READ // (_RUN * image))
    seen = []
    for start in starts:
        samples = slice(max(0, start), start + _RUN)
        dates = np.flatnonzero(images[samples].any(0))
        dates = dates[np.unique(np.linspace(0, len(dates) - 1, min(len(dates), most)).astype(int))]
        for y, x in windows if len(dates) else ():
            part = ds.isel(sample=samples, time=dates, y=y, x=x)
            arrays = (np.asarray(part[name].data) for name in ("values", "valid"))
            values, keep, _ = reading.pixels(*arrays, images[samples][:, dates])
            pixels = np.moveaxis(values, 1, -1)[keep]
            seen.append(pixels[:: pixels.size * len(starts) * len(windows) // _SEEN + 1])
    return np.concatenate(seen).astype(np.float64) if seen else np.empty((0, ds.sizes["band"]))


def _windows(side: int, window: int = 64) -> list[slice]:
    """Return the whole side of an image, or two pieces of a long one."""
    if side <= 2 * window:
        return [slice(0, side)]
    starts = (side // 4 - window // 2, 3 * side // 4 - window // 2)
    return [slice(start, start + window) for start in starts]


# -- the pass


@dataclass(frozen=True)
class _Part:
    """Sums of some tiles; those of the same images know the images' own sums still."""

    sums: Sums
    missing: np.ndarray
    levels: np.ndarray | None
    image_n: np.ndarray | None = None
    image_first: np.ndarray | None = None
    labels: np.ndarray | None = None

    def __add__(self, other: _Part) -> _Part:
        levels = None if self.levels is None or other.levels is None else self.levels + other.levels
        return _Part(self.sums + other.sums, self.missing + other.missing, levels)


@dataclass(frozen=True)
class _Found:
    bins: Bins
    sums: Mapping[str, Sums]
    missing: np.ndarray
    levels: tuple[int, np.ndarray] | None


def _measured(
    ds: xr.Dataset,
    selection: Selection,
    images: np.ndarray,
    labels: Mapping[str, np.ndarray],
    bins: int | Bins,
    patch: int,
) -> _Found:
    """Sum up the images by their labels, one set of labels a partition."""
    reading = Reading.of(ds, selection.clouds)
    fixed = bins if isinstance(bins, Bins) else _fixed(ds, reading, images, int(bins))
    if fixed.cuts.shape[0] != ds.sizes["band"]:
        raise ParameterError(
            "bins", expected=f"of {ds.sizes['band']} bands", found=f"{fixed.cuts.shape[0]}"
        )
    counts = [int(where.max()) + 1 for where in labels.values()]
    starts = np.cumsum([0, *counts])
    stacked = np.stack(list(labels.values())) + starts[:-1, None, None]
    inside = np.stack(list(labels.values())).min(0) >= 0
    measure = partial(
        _measure, reading=reading, inside=inside, labels=stacked, bins=fixed, patch=patch,
        size=int(starts[-1]), width=ds.sizes["x"],
    )  # fmt: skip
    part = fold(ds, measure, images=inside, patch=patch, close=_closed)
    sums = {
        over: part.sums.take(slice(int(starts[k]), int(starts[k + 1])))
        for k, over in enumerate(labels)
    }
    return _Found(fixed, sums, part.missing, _trimmed(part.levels, ds["values"].dtype))


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
    values, keep = values[there], keep[there]
    labels = np.ascontiguousarray(labels[:, tile.sample, tile.time].reshape(len(labels), -1))
    used = np.ascontiguousarray(labels[:, there])
    images, bands = values.shape[:2]
    sums = Sums.zeros(size, bands, len(bins.edges) - 1)
    flat, kept = values.reshape(images, bands, -1), keep.reshape(images, -1)
    exact = None
    if values.dtype.itemsize <= 2:
        exact = np.zeros((bands, 65_536), np.int64)
        kernels.count_levels(flat.astype(np.uint16, copy=False), kept, exact)
    if exact is None or size > 1:
        kernels.count_bins(flat, kept, bins.edges, used, sums.counts)
    else:
        sums.counts[0] = _binned(*_trimmed(exact, values.dtype), bins.edges)
    kernels.count_joint(
        values, keep, bins.cuts, used, (tile.y.start, tile.x.start), width, bins.stride, sums.joint
    )
    image_n, image_first = np.zeros(labels.shape[1], np.int64), np.zeros((labels.shape[1], bands))
    own_n, own_first = np.zeros(images, np.int64), np.zeros((images, bands))
    kernels.sum_moments(
        values, keep, bins.shift, patch, used, sums.n, sums.first, sums.second, sums.by_patch,
        own_n, own_first,
    )  # fmt: skip
    image_n[there], image_first[there] = own_n, own_first
    return _Part(sums, missing, exact, image_n, image_first, labels)


def _closed(parts: list[_Part]) -> _Part:
    """Add tiles of the same images, and take the products of the images' sums."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
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
    return _Part(total.sums, total.missing, total.levels)


def _binned(lowest: int, table: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Put exact counts (band, level) into bins (band, bin)."""
    levels = np.clip(lowest + np.arange(table.shape[1]), edges[0], edges[-1])
    counted = [np.histogram(levels, edges, weights=counts)[0] for counts in table]
    return np.stack(counted).astype(np.int64)


def _trimmed(table: np.ndarray | None, dtype: np.dtype) -> tuple[int, np.ndarray] | None:
    """Cut exact counts to the levels that occur; signed data begin at the most negative."""
    if table is None:
        return None
    lowest = 0
    if dtype.kind == "i":
        table, lowest = np.roll(table, 32_768, axis=1), -32_768
    used = np.flatnonzero(table.any(0))
    if not len(used):
        return lowest, table[:, :1]
    return lowest + int(used[0]), table[:, used[0] : used[-1] + 1]
