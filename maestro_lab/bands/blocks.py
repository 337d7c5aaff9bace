"""Walk through a modality block by block, on threads or on a cluster, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from operator import add
from typing import Any

import dask
import numpy as np
import xarray as xr

__all__ = ["Reading", "Tile", "fold", "tiles"]

BLOCK = 2**23
"""Values in a block, unless a chunk of the cube is larger."""

_FAN = 8  # results added at once
_MEASURED = [np.dtype(t) for t in ("u1", "u2", "i2", "f4", "f8")]  # others become float64


@dataclass(frozen=True)
class Tile:
    """A piece of a modality: which samples, dates, rows and columns."""

    sample: slice
    time: slice
    y: slice
    x: slice

    @property
    def where(self) -> dict[str, slice]:
        """The piece as indexers for xarray."""
        return {"sample": self.sample, "time": self.time, "y": self.y, "x": self.x}


def tiles(ds: xr.Dataset, patch: int = 1) -> list[list[Tile]]:
    """Cut a modality into lists of tiles: those of one list hold the same images, side by side.

    Cuts follow the chunks of the cube where it has some, and never run through a patch.
    """
    chunks = dict(ds["values"].chunksizes)
    bounds = {d: np.cumsum([0, *chunks.get(d, [1] * n)]) for d, n in ds["values"].sizes.items()}
    room = max(1, BLOCK // ds.sizes["band"])
    for dim in ("x", "y", "time", "sample"):
        edges = bounds[dim]
        widest = int(np.diff(edges).max())
        others = math.prod(
            int(np.diff(b).max()) for d, b in bounds.items() if d not in (dim, "band")
        )
        together = max(1, room // max(1, others * widest))
        if dim in ("x", "y"):
            edges = _whole_patches(edges, patch)
            together = max(1, together // patch) if dim not in chunks else together
        bounds[dim] = np.append(edges[:-1:together], edges[-1])

    def pieces(dim: str) -> list[slice]:
        edges = bounds[dim].tolist()
        return [slice(a, b) for a, b in pairwise(edges)]

    return [
        [Tile(sample, time, y, x) for y in pieces("y") for x in pieces("x")]
        for sample in pieces("sample")
        for time in pieces("time")
    ]


def _whole_patches(edges: np.ndarray, patch: int) -> np.ndarray:
    """Move cuts down to multiples of the patch."""
    inner = np.unique(edges[1:-1] // patch * patch)
    return np.concatenate([[0], inner[(inner > 0) & (inner < edges[-1])], edges[-1:]])


def fold(
    ds: xr.Dataset,
    measure: Callable[[np.ndarray, np.ndarray, Tile], Any],
    *,
    images: np.ndarray,
    patch: int = 1,
    close: Callable[[list[Any]], Any] | None = None,
) -> Any:
    """Measure every tile with an image that is wanted, and add up, always in the same order.

    Parameters
    ----------
    ds
        ``values`` and ``valid`` of a modality, in memory or in chunks.
    measure
        Takes values (sample, time, band, y, x), valid (sample, time, y, x) and the tile.
    images
        (sample, time) which images are wanted; at least one.
    patch
        Side of a patch in pixels, which no cut runs through.
    close
        Turns the results of the tiles of the same images into one; default their sum.

    Returns
    -------
    Any
        The sum. Runs where dask runs: on threads, or on the cluster of an active client.
    """
    run = dask.delayed(_run, pure=False)
    parts = [
        dask.delayed(_close, pure=False)([run(measure, *_data(ds, t), t) for t in same], close)
        for same in tiles(ds, patch)
        if images[same[0].sample, same[0].time].any()
    ]
    while len(parts) > 1:
        groups = [parts[i : i + _FAN] for i in range(0, len(parts), _FAN)]
        parts = [dask.delayed(_close, pure=False)(group, None) for group in groups]
    return dask.compute(parts[0])[0]


def _data(ds: xr.Dataset, tile: Tile) -> tuple[Any, Any]:
    piece = ds[["values", "valid"]].isel(tile.where)
    return piece["values"].data, piece["valid"].data


def _run(measure: Callable, values: np.ndarray, valid: np.ndarray, tile: Tile) -> Any:
    return measure(np.asarray(values), np.asarray(valid), tile)


def _close(parts: list[Any], close: Callable[[list[Any]], Any] | None) -> Any:
    return reduce(add, parts) if close is None else close(parts)


@dataclass(frozen=True)
class Reading:
    """How stored values become numbers to measure, and which of them count.

    Parameters
    ----------
    clouds
        See :class:`~maestro_lab.bands.selection.Selection`.
    nodata
        With clouds in, pixels with this value in all bands do not count.
    decibels
        Whether linear power is turned into dB.
    """

    clouds: str
    nodata: float | None
    decibels: bool

    @classmethod
    def of(cls, ds: xr.Dataset, clouds: str) -> Reading:
        """Return how a modality is read."""
        return cls(clouds, ds.attrs.get("nodata"), ds.attrs.get("units") == "linear power")

    def pixels(
        self, values: np.ndarray, valid: np.ndarray, images: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what is measured of a block.

        Parameters
        ----------
        values, valid
            As in the cube: (sample, time, band, y, x) and (sample, time, y, x).
        images
            (sample, time) which images are selected.

        Returns
        -------
        tuple
            Values (image, band, y, x), which pixels count (image, y, x), and the pixels left out
            because a band, the first to do so, was not finite (image, band).
        """
        from maestro_lab.bands.kernels import drop_incomplete

        keep = np.broadcast_to(images[:, :, None, None], valid.shape)
        if self.clouds != "in":
            keep = keep & valid
        elif self.nodata is not None:
            keep = keep & ~(values == self.nodata).all(2)
        values = np.ascontiguousarray(values).reshape(-1, *values.shape[2:])
        keep = np.ascontiguousarray(keep).reshape(-1, *valid.shape[2:])
        keep = keep if keep.flags.writeable else keep.copy()
        missing = np.zeros(values.shape[:2], np.int64)
        if values.dtype not in _MEASURED:
            values = values.astype(np.float64)
        if values.dtype.kind == "f":
            drop_incomplete(values, keep, missing)
        if self.decibels:
            values = 10 * np.log10(np.maximum(np.nan_to_num(values.astype(np.float64)), 1e-10))
        return values, keep, missing
