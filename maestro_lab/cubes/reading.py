"""Modalities whose pixels stay in their files until somebody wants them.

A source says how one sample of one modality is read (a :class:`Read`); :func:`lazy_modality` makes
the lazy arrays of the cube from it. Batches and packs find the same function again with
:func:`read_of`, and read samples without a detour through the arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol
from uuid import uuid4

import dask.array as da
import numpy as np
import xarray as xr

from maestro_lab.cubes.contract import make_modality

__all__ = ["Read", "ReadArrays", "Where", "attach", "attached", "lazy_modality", "read_of",
           "whole"]  # fmt: skip

Where = tuple[slice, slice]
"""Rows and columns of a window."""

_KEY = "maestro_lab_read"


class Read(Protocol):
    """How one sample of one modality is read; an object that can be pickled."""

    def __call__(self, sample: int, where: Where) -> tuple[np.ndarray, np.ndarray]:
        """Return every date of a sample, in order: values (t, band, y, x), valid (t, y, x)."""


@dataclass(frozen=True)
class ReadArrays:
    """Reads samples out of the arrays of a cube, in memory or lazy.

    Parameters
    ----------
    values, valid
        (sample, time, band, y, x) and (sample, time, y, x).
    length
        Dates of each sample.
    """

    values: Any
    valid: Any
    length: np.ndarray

    def __call__(self, sample: int, where: Where) -> tuple[np.ndarray, np.ndarray]:
        """Return every date of a sample, in order: values (t, band, y, x), valid (t, y, x)."""
        dated = slice(0, int(self.length[sample]))
        pair = self.values[sample, dated][..., *where], self.valid[sample, dated][..., *where]
        return np.asarray(pair[0]), np.asarray(pair[1])


def whole(pixels: tuple[int, int]) -> Where:
    """Return the window that holds all pixels.

    Examples
    --------
    >>> whole((6, 8))
    (slice(0, 6, None), slice(0, 8, None))
    """
    return slice(0, pixels[0]), slice(0, pixels[1])


def lazy_modality(
    read: Read,
    time: Any,
    *,
    bands: Sequence[str],
    pixels: int | tuple[int, int],
    dtype: Any,
    units: str,
    gsd: float,
    sensor_name: str | None = None,
    nodata: float | None = None,
    crs: Any = None,
    chunk: int = 1,
) -> xr.Dataset:
    """Build one modality of a cube from a function that reads one sample.

    Parameters
    ----------
    read
        Returns the dates that ``time`` names of a sample, no more and no fewer, in that order.
    time
        ``datetime64`` (sample, time), NaT after the last date of a sample.
    bands, units, gsd, sensor_name, nodata, crs
        As in :func:`~maestro_lab.cubes.contract.make_modality`.
    pixels
        Rows and columns, or one number for both.
    dtype
        Of the values.
    chunk
        Samples in a chunk.

    Returns
    -------
    xarray.Dataset
        Values and valid as dask arrays; nothing is read yet.

    Examples
    --------
    >>> def read(sample, where):
    ...     return np.full((1, 1, 4, 4), sample)[..., *where], np.ones((1, 4, 4), bool)[:, *where]
    >>> time = np.array([["2020-06-01"], ["2020-07-01"]], dtype="datetime64[ns]")
    >>> ds = lazy_modality(read, time, bands=["VV"], pixels=4, dtype=int, units="dB", gsd=10)
    >>> ds["values"].isel(sample=1, y=0, x=0).values.tolist()
    [[1]]
    """
    time = np.asarray(time, dtype="datetime64[ns]")
    pixels = (pixels, pixels) if isinstance(pixels, int) else tuple(pixels)
    number = da.arange(len(time), chunks=min(chunk, max(1, len(time))), dtype=np.int64)
    name = f"read-{uuid4().hex}"

    def lazy(part: int, kind: Any, *inner: int) -> da.Array:
        shape = (time.shape[1], *inner, *pixels)
        return da.map_blocks(
            partial(_block, read, part, shape, np.dtype(kind)),
            number,
            name=f"{name}-{part}",
            dtype=kind,
            new_axis=list(range(1, len(shape) + 1)),
            chunks=(number.chunks[0], *((n,) for n in shape)),
            meta=np.empty((0,) * (len(shape) + 1), kind),
        )

    ds = make_modality(
        lazy(0, dtype, len(bands)),
        time,
        valid=lazy(1, bool),
        bands=bands,
        units=units,
        gsd=gsd,
        sensor_name=sensor_name,
        nodata=nodata,
        crs=crs,
    )
    attach(ds.variables["values"], f"{name}-0", read)
    return ds


def _block(
    read: Read, part: int, shape: tuple[int, ...], dtype: np.dtype, number: np.ndarray
) -> np.ndarray:
    out = np.zeros((len(number), *shape), dtype)
    for row, sample in enumerate(number.tolist()):
        found = read(sample, whole(shape[-2:]))[part]
        out[row, : len(found)] = found
    return out


def attach(variable: xr.Variable, name: str, how: Any) -> None:
    """Note how a variable is read: :func:`attached` finds it while its array has this name."""
    variable.encoding[_KEY] = name, how


def attached(variable: xr.Variable) -> Any:
    """Return how a variable is read; None if its array was changed since, or it is not known."""
    name, how = variable.encoding.get(_KEY, ("", None))
    return how if getattr(variable.data, "name", None) == name else None


def read_of(ds: xr.Dataset | xr.DataTree) -> Read | None:
    """Return the function that a modality's arrays call; None if they were changed since.

    A selection of samples, a computation or other pixels put in their place make new arrays, which
    only they themselves can tell about.
    """
    values, valid = (ds.variables[name] for name in ("values", "valid"))
    read = attached(values)
    same = read is not None and getattr(valid.data, "name", "") == f"{values.data.name[:-1]}1"
    return read if same else None
