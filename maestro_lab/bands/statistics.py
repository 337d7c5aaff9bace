"""What a pass over a modality leaves: small, addable, and all that distances are made from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from maestro_lab.bands.files import written_whole
from maestro_lab.bands.selection import Selection
from maestro_lab.bands.sums import CODES, Bins, Levels, Sums, add_levels, pairs
from maestro_lab.errors import ParameterError

__all__ = ["BandStatistics"]

WITHIN = ("all", "date", "patch")
_CONSTANT = 1e-12  # a deviation this small beside the mean is rounding
_LOST = 1e-6  # and so is one this small beside the deviation that means were taken off


@dataclass(frozen=True, eq=False)
class BandStatistics:
    """Histograms, moments and co-moments of the bands of one modality.

    Parameters
    ----------
    modality
        Name of the modality.
    bands, wavelengths
        Band names and their centre wavelengths in nm, in the same order.
    units
        Units of the values measured; linear radar power is measured in dB.
    selection
        Which pixels were counted.
    patch
        Side in pixels of the patches that co-moments were taken within.
    bins
        Edges of the histograms and what else was fixed beforehand.
    sums
        Sums over all pixels.
    bundles
        "sample", "date" or "block" to sums of bundles of these, for resampling.
    units_in
        The same names to how many samples, dates or blocks there are.
    levels
        For 8 and 16-bit data the lowest value, and (band, level) exact counts from there on.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> from maestro_lab.bands import band_statistics
    >>> stats = band_statistics(ml.open_cube("landscape", samples=8), "s2")
    >>> stats.correlation("date").shape
    (10, 10)
    """

    modality: str
    bands: tuple[str, ...]
    wavelengths: tuple[float, ...]
    units: str
    selection: Selection
    patch: int
    bins: Bins
    sums: Sums
    bundles: Mapping[str, Sums] = field(default_factory=dict)
    units_in: Mapping[str, int] = field(default_factory=dict)
    levels: Levels | None = None

    def __add__(self, other: BandStatistics) -> BandStatistics:
        """Merge statistics of different pixels, taken with the same bins.

        Bundles of both are kept side by side: a resample then draws from either. Dates that both
        have are counted twice.
        """
        same = ("modality", "bands", "units", "selection", "patch", "bins")
        differing = [f for f in same if getattr(self, f) != getattr(other, f)]
        if differing:
            what = ", ".join(
                f"{f} ({getattr(self, f)} and {getattr(other, f)})" if f != "bins" else f
                for f in differing
            )
            raise ParameterError(
                "statistics cannot be merged",
                expected="the same modality, bands, units, selection, patch and bins",
                found=f"different {what}",
                do="measure the second with bins=first.bins",
            )
        return replace(
            self,
            sums=self.sums + other.sums,
            bundles={
                k: s.joined(other.bundles[k]) for k, s in self.bundles.items() if k in other.bundles
            },
            units_in={
                k: n + other.units_in[k] for k, n in self.units_in.items() if k in other.units_in
            },
            levels=add_levels(self.levels, other.levels),
        )

    @property
    def n(self) -> int:
        """Pixels counted."""
        return int(self.sums.n)

    @property
    def edges(self) -> np.ndarray:
        """(bins + 1,) edges of the histograms."""
        return self.bins.edges

    @property
    def counts(self) -> np.ndarray:
        """(band, bin) pixels in each bin; values beyond the edges are in the end bins."""
        return self.sums.counts

    @property
    def mean(self) -> np.ndarray:
        """(band,) means."""
        return self.bins.shift + self.sums.first / max(self.n, 1)

    @property
    def std(self) -> np.ndarray:
        """(band,) standard deviations."""
        return np.sqrt(np.maximum(np.diag(self.comoment()), 0) / max(self.n, 1))

    @property
    def missing(self) -> np.ndarray:
        """(band,) pixels left out because this band, the first to do so, was not finite."""
        return self.sums.missing

    @property
    def title(self) -> str:
        """Modality, selection and number of pixels in words."""
        return f"{self.modality}: {self.selection}, {self.n:,} pixels"

    def comoment(self, within: str = "all") -> np.ndarray:
        """Return sums of products of deviations (band, band).

        Parameters
        ----------
        within
            Deviations from what: "all" from the mean over all pixels, "date" from the mean of the
            pixel's image, "patch" from the mean of its patch.
        """
        if within not in WITHIN:
            raise ParameterError("within", expected=" | ".join(WITHIN), found=repr(within))
        sums = self.sums
        off = {
            "all": np.outer(sums.first, sums.first) / max(self.n, 1),
            "date": sums.by_date,
            "patch": sums.by_patch,
        }[within]
        return sums.second - off

    def correlation(self, within: str = "all") -> np.ndarray:
        """Return Pearson correlations (band, band); NaN for a band that never varies.

        Parameters
        ----------
        within
            See :meth:`comoment`.
        """
        comoment = self.comoment(within)
        deviation = np.sqrt(np.maximum(np.diag(comoment), 0))
        size = np.abs(self.mean) + np.abs(self.bins.shift)
        rounding = _CONSTANT * size * np.sqrt(max(self.n, 1))
        whole = np.sqrt(np.maximum(np.diag(self.sums.second), 0))
        varies = deviation > np.maximum(rounding, _LOST * whole)
        deviation = np.where(varies, deviation, np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.clip(comoment / np.outer(deviation, deviation), -1, 1)

    def overlap(self) -> np.ndarray:
        """Return the shared area of each two normalised histograms (band, band), 0 to 1."""
        share = self.counts / max(self.n, 1)
        return np.minimum(share[:, None], share[None, :]).sum(-1)

    def wasserstein(self) -> np.ndarray:
        """Return the area between each two cumulated histograms (band, band), 0 to 1.

        This is the distance that the values of one histogram must travel to become the other's,
        as a share of the way from the first edge to the last.
        """
        cumulated = np.cumsum(self.counts / max(self.n, 1), 1)
        return np.abs(cumulated[:, None] - cumulated[None, :]).mean(-1)

    def information(self) -> np.ndarray:
        """Return mutual information of each two bands (band, band), in nats; NaN on the diagonal.

        Each band is cut into 16 classes that are equally full over the whole cube.
        """
        size = len(self.bands)
        share = self.sums.joint / np.maximum(self.sums.joint.sum((1, 2), keepdims=True), 1)
        apart = share.sum(2, keepdims=True) * share.sum(1, keepdims=True)
        there = share > 0
        ratio = np.divide(share, apart, out=np.ones_like(share), where=there)
        found = np.full((size, size), np.nan)
        upper = tuple(np.array(pairs(size), int).reshape(-1, 2).T)
        found[upper] = (share * np.log(ratio)).sum((1, 2))
        return np.where(np.isnan(found), found.T, found)

    def quantile(self, q: float | np.ndarray) -> np.ndarray:
        """Return quantiles of each band (..., band): exact for 8 and 16-bit data, else to a bin."""
        shares = np.asarray(q, float)
        if self.levels is not None:
            low, table = self.levels
            rank = np.ceil(shares * self.n).clip(1)
            found = [low + np.searchsorted(c, rank) for c in np.cumsum(table, 1)]
        else:
            cumulated = np.cumsum(self.counts, 1) / max(self.n, 1)
            upper, first = self.edges[1:], self.edges[0]
            found = [np.interp(shares, c, upper, left=first) for c in cumulated]
        return np.stack(found, -1)

    def resampled(self, over: str, weights: np.ndarray) -> Iterator[BandStatistics]:
        """Yield the statistics with each bundle counted ``weights`` (draw, bundle) times."""
        drawn = self.bundles[over].weighted(weights)
        for draw in range(len(weights)):
            yield replace(self, sums=drawn.take(draw), bundles={}, units_in={}, levels=None)

    def save(self, path: str | Path) -> Path:
        """Write the statistics as netCDF (``.nc``) or JSON (``.json``).

        Raises
        ------
        ParameterError
            For another ending.
        """
        path = Path(path)
        if path.suffix not in (".json", ".nc"):
            raise _ending(path)
        ds = self.to_dataset()
        with written_whole(path) as unfinished:
            if path.suffix == ".json":
                unfinished.write_text(json.dumps(ds.to_dict(), allow_nan=True), encoding="utf-8")
            else:
                encoding = {name: {"zlib": True} for name, v in ds.data_vars.items() if v.ndim > 1}
                ds.to_netcdf(unfinished, engine="h5netcdf", encoding=encoding)
        return path

    @classmethod
    def load(cls, path: str | Path) -> BandStatistics:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ParameterError
            If there is no such file, or it holds something else.
        """
        path = Path(path)
        if path.suffix not in (".json", ".nc"):
            raise _ending(path)
        try:
            if path.suffix == ".json":
                ds = xr.Dataset.from_dict(json.loads(path.read_text(encoding="utf-8")))
            else:
                with xr.open_dataset(path, engine="h5netcdf") as file:
                    ds = file.load()
            return cls.from_dataset(ds)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ParameterError(
                f"{path} holds no band statistics",
                expected="a file written by BandStatistics.save",
                found=(str(error).splitlines() or [type(error).__name__])[0],
            ) from error

    def to_dataset(self) -> xr.Dataset:
        """Return all numbers as one dataset, the form in which they are saved."""
        found: dict[str, Any] = {
            "edges": ("edge", self.bins.edges),
            "cuts": (("band", "cut"), self.bins.cuts),
            "shift": ("band", self.bins.shift),
            "wavelength": ("band", np.asarray(self.wavelengths, float)),
        }
        found |= {name: (_DIMS[name], array) for name, array in _saved(self.sums)}
        for over, sums in self.bundles.items():
            found |= {
                f"{over}_{name}": ((f"{over}_bundle", *_DIMS[name]), array)
                for name, array in _saved(sums)
            }
        attrs: dict[str, Any] = {
            "modality": self.modality,
            "units": self.units,
            "clouds": self.selection.clouds,
            "split": " ".join(self.selection.split),
            "season": self.selection.season,
            "region": self.selection.region,
            "patch": self.patch,
            "stride": self.bins.stride,
            **{f"{over}s": n for over, n in self.units_in.items()},
        }
        if self.levels is not None:
            attrs["lowest_level"], found["levels"] = (
                self.levels[0],
                (("band", "level"), self.levels[1]),
            )
        return xr.Dataset(found, {"band": np.array(self.bands, dtype=object)}, attrs)

    @classmethod
    def from_dataset(cls, ds: xr.Dataset) -> BandStatistics:
        """Build statistics from :meth:`to_dataset`."""
        at = ds.attrs
        if "band" not in ds.coords:
            raise KeyError("band")

        def sums(prefix: str) -> Sums:
            arrays = {name: ds[f"{prefix}{name}"].values for name in _DIMS if name != "joint"}
            count = len(pairs(len(ds["band"])))
            none = np.zeros((*arrays["n"].shape, 0, CODES, CODES), np.int64)
            arrays["joint"] = ds[f"{prefix}joint"].values if count else none
            return Sums(**arrays)

        overs = [o for o in ("sample", "date", "block") if f"{o}_n" in ds]
        selection = Selection(
            str(at["clouds"]), tuple(str(at["split"]).split()), str(at["season"]), str(at["region"])
        )
        return cls(
            str(at["modality"]),
            tuple(str(b) for b in ds["band"].values),
            tuple(float(w) for w in ds["wavelength"].values),
            str(at["units"]),
            selection,
            int(at["patch"]),
            Bins(ds["edges"].values, ds["cuts"].values, ds["shift"].values, int(at["stride"])),
            sums(""),
            {o: sums(f"{o}_") for o in overs},
            {o: int(at[f"{o}s"]) for o in overs},
            (int(at["lowest_level"]), ds["levels"].values) if "levels" in ds else None,
        )

    def __repr__(self) -> str:
        over = ", ".join(f"{n} {o}s" for o, n in self.units_in.items())
        return (
            f"BandStatistics({self.title}; {' '.join(self.bands)}; to resample: {over or 'none'})"
        )


_DIMS = {
    "n": (),
    "first": ("band",),
    "second": ("band", "other_band"),
    "by_date": ("band", "other_band"),
    "by_patch": ("band", "other_band"),
    "counts": ("band", "bin"),
    "joint": ("pair", "code", "other_code"),
    "missing": ("band",),
}


def _saved(sums: Sums) -> list[tuple[str, np.ndarray]]:
    """Return the arrays worth saving: a single band has no pairs."""
    return [(name, array) for name, array in sums.arrays().items() if array.size or name == "n"]


def _ending(path: Path) -> ParameterError:
    return ParameterError(
        f"{path}: statistics are kept as netCDF or JSON", expected=".nc or .json", found=path.suffix
    )
