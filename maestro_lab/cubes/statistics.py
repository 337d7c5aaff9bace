"""What the values of a cube are like: level, spread and quantiles of each band."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from maestro_lab.cubes.contract import modality_names
from maestro_lab.cubes.reading import read_of, whole

__all__ = ["ATTRIBUTE", "COLUMNS", "cube_statistics", "with_statistics"]

ATTRIBUTE = "statistics"
"""Attribute of a modality that holds its statistics as JSON, in cubes that were saved or packed."""

QUANTILES = {"min": 0.0, "q02": 0.02, "q25": 0.25, "median": 0.5, "q75": 0.75, "q98": 0.98,
             "max": 1.0}  # fmt: skip
COLUMNS = ("mean", "std", *QUANTILES, "valid", "samples")

_KEPT = 200_000  # pixels of a band that quantiles are taken of


def cube_statistics(cube: xr.DataTree, samples: int | None = 256) -> pd.DataFrame:
    """Return level, spread and quantiles of every band, over valid pixels.

    Parameters
    ----------
    cube
        The cube. What was saved with it is taken from there, where it was measured on as many
        samples or more.
    samples
        How many samples, evenly spread, are read; None reads all.

    Returns
    -------
    pandas.DataFrame
        One row for each (modality, band): ``mean``, ``std``, ``min``, ``q02``, ``q25``,
        ``median``, ``q75``, ``q98``, ``max`` in the units of the cube, the share of pixels that
        are ``valid`` among those of existing dates, and the number of ``samples`` that were read.
        Quantiles are those of at most 200,000 pixels, evenly spread; NaN without a valid pixel.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> table = cube_statistics(ml.open_cube("landscape", samples=8, modalities=["s2"]))
    >>> bool(table.loc[("s2", "B08"), "mean"] > table.loc[("s2", "B04"), "mean"])
    True
    """
    count = cube.sizes["sample"]
    wanted = count if samples is None else min(count, samples)
    chosen = np.unique(np.linspace(0, count - 1, wanted).round().astype(int))
    tables = {}
    for name in modality_names(cube):
        saved = _saved(cube[name])
        enough = saved is not None and saved["samples"].iloc[0] >= len(chosen)
        tables[name] = saved if enough else _measure(cube[name].to_dataset(), chosen)
    return pd.concat(tables, names=["modality", "band"])


def with_statistics(cube: xr.DataTree, samples: int | None = 256) -> xr.DataTree:
    """Return a cube whose modalities carry their statistics as an attribute."""
    table = cube_statistics(cube, samples)
    cube = cube.copy()
    for name in modality_names(cube):
        cube[name].attrs = {**cube[name].attrs, ATTRIBUTE: _to_json(table.loc[name])}
    return cube


def _to_json(table: pd.DataFrame) -> str:
    rows = {
        str(band): {key: None if np.isnan(v) else float(f"{v:.7g}") for key, v in row.items()}
        for band, row in table.astype(float).iterrows()
    }
    return json.dumps(rows)


def _saved(ds: xr.DataTree) -> pd.DataFrame | None:
    text = ds.attrs.get(ATTRIBUTE)
    if not isinstance(text, str):
        return None
    table = pd.DataFrame(json.loads(text)).T.astype(float)
    fits = list(table.index) == [str(b) for b in ds["band"].values]
    return table[list(COLUMNS)] if fits and set(COLUMNS) <= set(table.columns) else None


def _measure(ds: xr.Dataset, samples: Sequence[int]) -> pd.DataFrame:
    bands = [str(b) for b in ds["band"].values]
    sums = _Sums(len(bands))
    dates = (~np.isnat(ds["time"].values)).sum(1)
    pixels = ds["values"].shape[-2:]
    images = int(dates[list(samples)].sum())
    every = max(1, images * pixels[0] * pixels[1] // _KEPT)
    for values, valid in _images(ds, [int(s) for s in samples if dates[s]], dates):
        sums.add(np.moveaxis(values, 1, -1)[valid], valid.size, every)
    table = pd.DataFrame(sums.table(), index=bands)
    return table.assign(samples=float(len(samples)))


def _images(
    ds: xr.Dataset, samples: Sequence[int], dates: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Read values (t, band, y, x) and valid (t, y, x) sample by sample, each chunk once."""
    read = read_of(ds)
    if read is not None:
        for sample in samples:
            yield read(sample, whole(ds["values"].shape[-2:]))
        return
    chunks = ds["values"].chunksizes.get("sample", (1,) * ds.sizes["sample"])
    chunk_of = np.repeat(np.arange(len(chunks)), chunks)
    for _, group in itertools.groupby(samples, key=lambda sample: chunk_of[sample]):
        chosen = list(group)
        part = ds[["values", "valid"]].isel(sample=chosen).compute()
        for k, sample in enumerate(chosen):
            dated = slice(0, int(dates[sample]))
            yield part["values"].values[k, dated], part["valid"].values[k, dated]


class _Sums:
    """Means and squares merged pixel block by pixel block, in double precision (Chan et al.)."""

    def __init__(self, bands: int) -> None:
        self.count, self.seen, self.passed = 0, 0, 0
        self.mean, self.squares = np.zeros(bands), np.zeros(bands)
        self.low, self.high = np.full(bands, np.inf), np.full(bands, -np.inf)
        self.kept: list[np.ndarray] = []

    def add(self, pixels: np.ndarray, seen: int, every: int) -> None:
        """Add pixels (n, band), out of ``seen``; each ``every``-th is kept for the quantiles."""
        self.seen += seen
        n = len(pixels)
        if not n:
            return
        kept = pixels[(-self.passed) % every :: every]
        self.kept.append(kept)
        self.passed += n
        pixels = pixels.astype(np.float64)
        mean = pixels.mean(0)
        away = mean - self.mean
        total = self.count + n
        self.squares += ((pixels - mean) ** 2).sum(0) + away**2 * self.count * n / total
        self.mean += away * n / total
        self.count = total
        self.low = np.minimum(self.low, pixels.min(0))
        self.high = np.maximum(self.high, pixels.max(0))

    def table(self) -> dict[str, Any]:
        """Return the columns of the statistics, one number a band."""
        nothing = np.full(len(self.mean), np.nan)
        if not self.count:
            return dict.fromkeys(COLUMNS[:-2], nothing) | {"valid": 0.0 * self.mean}
        kept = np.concatenate(self.kept).astype(np.float64)
        quantiles = dict(zip(QUANTILES, np.quantile(kept, list(QUANTILES.values()), axis=0),
                             strict=True))  # fmt: skip
        return {
            "mean": self.mean,
            "std": np.sqrt(self.squares / self.count),
            **quantiles,
            "min": self.low,
            "max": self.high,
            "valid": np.full(len(self.mean), self.count / max(1, self.seen)),
        }
