"""The streaming pass: histograms, moments and joint classes of a modality, read once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from maestro_lab.bands.blocks import Reading
from maestro_lab.bands.passes import sum_up
from maestro_lab.bands.selection import Selection, conditions, select
from maestro_lab.bands.statistics import BandStatistics
from maestro_lab.bands.sums import Bins, Sums
from maestro_lab.errors import CubeError, ParameterError

__all__ = ["band_statistics", "statistics_by"]

BINS = 64
BUNDLES = 24


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
    chosen = Selection(clouds, split, season, region)
    ds, samples, images, selection = select(cube, modality, chosen)
    block = np.asarray(cube["block"].values)[samples]
    groups = _bundles(ds["time"].values, images, block, bundles)
    labels = groups or {"": np.where(images, 0, -1)}
    found = sum_up(ds, selection, images, labels, bins, patch)
    first = next(iter(found.sums))
    total = found.sums[first].total()
    _refuse_nothing(modality, ds, selection, total)
    return BandStatistics(
        **_about(ds, modality, selection, patch),
        bins=found.bins,
        sums=total,
        bundles={over: s.take(s.n > 0) for over, s in found.sums.items()} if groups else {},
        units_in=_units(ds["time"].values, found.used, block) if groups else {},
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
    chosen = Selection(clouds, () if by == "split" else split)
    where = conditions(cube, modality, by, chosen.split)
    ds, samples, images, selection = select(cube, modality, chosen)
    label = np.full(images.shape, -1)
    for number, inside in enumerate(where.values()):
        label[inside[samples]] = number
    found = sum_up(ds, selection, images, {"": label}, bins, patch)
    _refuse_nothing(modality, ds, selection, found.sums[""].total())
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
            result[name] = BandStatistics(**about, bins=found.bins, sums=sums)
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


def _refuse_nothing(modality: str, ds: xr.Dataset, selection: Selection, total: Sums) -> None:
    if total.n:
        return
    bands = [str(b) for b, gone in zip(ds["band"].values, total.missing, strict=True) if gone]
    lost = f", where {', '.join(bands)} is not finite" if bands else ""
    raise CubeError(
        f"{modality}: no pixel to take statistics of",
        expected=f"pixels with every band ({selection})",
        found=f"none in {ds.sizes['sample']} samples{lost}",
    )


def _bundles(
    time: np.ndarray, images: np.ndarray, block: np.ndarray, most: int
) -> dict[str, np.ndarray]:
    """Deal images into bundles of samples, dates and blocks: labels (sample, time), -1 for none.

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
    in_block = _stretch(np.searchsorted(blocks, block), len(blocks), most)
    return {
        "sample": labelled(order[:, None]),
        "date": labelled(_stretch(day, len(unique), most)),
        "block": labelled(in_block[:, None]),
    }


def _units(time: np.ndarray, used: np.ndarray, block: np.ndarray) -> dict[str, int]:
    """Count the samples, dates and blocks that have a pixel that counts."""
    return {
        "sample": int(used.any(1).sum()),
        "date": len(np.unique(time[used].astype("datetime64[D]"))),
        "block": len(np.unique(block[used.any(1)])),
    }


def _stretch(number: np.ndarray, count: int, most: int) -> np.ndarray:
    """Put 0 .. count - 1 into at most ``most`` stretches of nearly equal length."""
    return number * min(most, count) // count
