"""Per-band histograms and co-moments of a modality, gathered in passes over blocks of samples.

Results are small and add up: the statistics of two halves of a cube sum to those of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
import xarray as xr

from maestro_lab.cubes.contract import SPLITS, modality_names
from maestro_lab.errors import CubeError, ParameterError

__all__ = ["BandStatistics", "band_statistics"]

_BLOCK = 2e7  # values gathered at once
_BINS = 256
_CONSTANT = 1e-12  # a deviation this small beside the mean is rounding


@dataclass(frozen=True, eq=False)
class BandStatistics:
    """Histograms, means and co-moments of the bands of one modality.

    Parameters
    ----------
    modality
        Name of the modality.
    bands, wavelengths
        Band names and their centre wavelengths in nm, in the same order.
    units
        Units of the values.
    clear_only
        Whether only pixels that are ``valid`` were counted.
    edges
        (bins + 1,) bin edges shared by all bands; values outside fall into the end bins.
    counts
        (band, bins) pixels in each bin.
    n
        Pixels counted.
    mean
        (band,) means.
    comoment
        (band, band) sums of products of deviations from the means.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> stats = band_statistics(ml.open_cube("landscape", samples=8), "s2")
    >>> stats.correlation().shape
    (10, 10)
    """

    modality: str
    bands: tuple[str, ...]
    wavelengths: tuple[float, ...]
    units: str
    clear_only: bool
    edges: np.ndarray
    counts: np.ndarray
    n: int
    mean: np.ndarray
    comoment: np.ndarray

    def __add__(self, other: BandStatistics) -> BandStatistics:
        """Merge statistics of different pixels, counted with the same edges."""
        same = ("modality", "bands", "units", "clear_only")
        differing = [f for f in same if getattr(self, f) != getattr(other, f)]
        if differing or not np.array_equal(self.edges, other.edges):
            raise ParameterError(
                "statistics cannot be merged",
                expected="the same modality, bands, units, cloud policy and bin edges",
                found=f"different {', '.join(differing) or 'bin edges'}",
            )
        if not self.n or not other.n:
            return self if self.n else other
        n = self.n + other.n
        delta = other.mean - self.mean
        return BandStatistics(
            self.modality, self.bands, self.wavelengths, self.units, self.clear_only, self.edges,
            self.counts + other.counts,
            n,
            self.mean + delta * other.n / n,
            self.comoment + other.comoment + np.outer(delta, delta) * self.n * other.n / n,
        )  # fmt: skip

    def correlation(self) -> np.ndarray:
        """Return Pearson correlations (band, band); NaN for a band that never varies."""
        deviation = np.sqrt(np.diag(self.comoment))
        varies = deviation > _CONSTANT * np.abs(self.mean) * np.sqrt(max(self.n, 1))
        deviation = np.where(varies, deviation, np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.comoment / np.outer(deviation, deviation)

    def overlap(self) -> np.ndarray:
        """Return the shared area of each two normalised histograms (band, band), 0 to 1."""
        share = self.counts / max(self.n, 1)
        return np.minimum(share[:, None], share[None, :]).sum(-1)

    @property
    def policy(self) -> str:
        """The cloud policy in words, for titles."""
        return "clear pixels only" if self.clear_only else "all pixels, clouds in"


def band_statistics(
    cube: xr.DataTree,
    modality: str,
    *,
    split: str | Sequence[str] | None = ("train",),
    clear_only: bool = True,
    bins: int | np.ndarray = _BINS,
) -> BandStatistics:
    """Gather the statistics of a modality, block by block.

    Parameters
    ----------
    cube
        The cube; may be larger than memory.
    modality
        Which modality.
    split
        Which samples to look at; None takes all. The default keeps held-out samples unseen.
    clear_only
        True counts pixels that are ``valid``; False all pixels of dates that exist, clouds and all.
    bins
        Histogram bins between the 0.1 and 99.9 percentile of a first, thinned pass; or the edges
        themselves, such as those of other statistics that these are to be added to.

    Raises
    ------
    CubeError
        If no pixel is left.
    ParameterError
        For an unknown modality or split, or fewer than one bin.
    """
    if modality not in modality_names(cube):
        raise ParameterError(
            f"no modality {modality!r}", expected=", ".join(modality_names(cube)), found=modality
        )
    if np.ndim(bins) == 0 and bins < 1:
        raise ParameterError("bins", expected="a whole number, at least 1", found=bins)
    ds = cube[modality].to_dataset()
    if split is not None:
        wanted = [split] if isinstance(split, str) else list(split)
        unknown = [s for s in wanted if s not in SPLITS]
        if unknown:
            raise ParameterError("split", expected=", ".join(SPLITS), found=unknown[0])
        inside = np.isin(np.asarray(cube["split"].values).astype(str), wanted)
        ds = ds.isel(sample=np.flatnonzero(inside))
    edges = np.asarray(bins, float) if np.ndim(bins) else _edges(ds, clear_only, int(bins))
    parts = [_count(pixels, ds, modality, clear_only, edges) for pixels in _blocks(ds, clear_only)]
    if not any(part.n for part in parts):
        raise CubeError(
            f"{modality}: no pixel to take statistics of",
            expected="clear pixels" if clear_only else "dated pixels",
            found=f"none in {ds.sizes['sample']} samples",
        )
    return reduce(add, parts)


def _blocks(ds: xr.Dataset, clear_only: bool, thin: int = 1) -> Iterator[np.ndarray]:
    """Yield pixels (n, band) of a few samples at a time, as float64."""
    sizes = ds["values"].sizes
    per_sample = max(1, math.prod(n for dim, n in sizes.items() if dim != "sample"))
    step = max(1, int(_BLOCK / per_sample))
    for start in range(0, ds.sizes["sample"], step * thin):
        part = ds.isel(sample=slice(start, start + step))
        if clear_only:
            keep = part["valid"].values
        else:
            dated = ~np.isnat(part["time"].values)
            keep = np.broadcast_to(dated[:, :, None, None], part["valid"].shape)
        pixels = np.moveaxis(part["values"].values, 2, -1)[keep].astype(np.float64)
        yield pixels[np.isfinite(pixels).all(1)]


def _edges(ds: xr.Dataset, clear_only: bool, bins: int) -> np.ndarray:
    pixels = np.empty((0, 1))
    for thin in sorted({max(1, ds.sizes["sample"] // 64), 1}, reverse=True):
        seen = [some[:: max(1, len(some) // 20_000)] for some in _blocks(ds, clear_only, thin)]
        pixels = np.concatenate(seen) if seen else pixels
        if pixels.size:
            break
    low, high = np.quantile(pixels, [0.001, 0.999]) if pixels.size else (0.0, 1.0)
    return np.linspace(low, high if high > low else low + 1, bins + 1)


def _count(
    pixels: np.ndarray, ds: xr.Dataset, modality: str, clear_only: bool, edges: np.ndarray
) -> BandStatistics:
    inner = np.clip(pixels, edges[0], edges[-1])
    counts = np.stack([np.histogram(inner[:, b], edges)[0] for b in range(ds.sizes["band"])])
    mean = pixels.mean(0) if len(pixels) else np.zeros(ds.sizes["band"])
    centred = pixels - mean
    return BandStatistics(
        modality,
        tuple(str(b) for b in ds["band"].values),
        tuple(float(w) for w in ds["wavelength"].values),
        ds.attrs["units"],
        clear_only,
        edges,
        counts,
        len(pixels),
        mean,
        centred.T @ centred,
    )
