"""Label maps that stay in their files until somebody wants them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol
from uuid import uuid4

import dask.array as da
import numpy as np
import xarray as xr

from maestro_lab.cubes.reading import Where, whole

__all__ = ["ReadMap", "lazy_map"]


class ReadMap(Protocol):
    """How the map of one sample is read; an object that can be pickled."""

    def __call__(self, sample: int, where: Where) -> np.ndarray:
        """Return the labels (y, x) of a window of a sample."""


def lazy_map(
    read: ReadMap,
    samples: int,
    *,
    pixels: tuple[int, int],
    dtype: Any,
    attrs: Mapping[str, Any],
) -> xr.Variable:
    """Build a target (sample, y, x) from a function that reads the map of one sample.

    Parameters
    ----------
    read
        The function.
    samples
        Number of samples.
    pixels
        Rows and columns of a map.
    dtype
        Of the labels.
    attrs
        Attributes of the target: ``task``, ``classes``, ``gsd`` in metres and, where some pixels
        have no label, ``missing``.

    Examples
    --------
    >>> lazy_map(lambda sample, where: np.full((4, 4), sample)[where], 3, pixels=(4, 4),
    ...          dtype=int, attrs={"task": "segmentation"})[2, 0].values.tolist()
    [2, 2, 2, 2]
    """
    number = da.arange(samples, chunks=1, dtype=np.int64)
    labels = da.map_blocks(
        partial(_block, read, pixels, np.dtype(dtype)),
        number,
        name=f"map-{uuid4().hex}",
        dtype=dtype,
        new_axis=[1, 2],
        chunks=(number.chunks[0], *((n,) for n in pixels)),
        meta=np.empty((0, 0, 0), dtype),
    )
    return xr.Variable(("sample", "y", "x"), labels, dict(attrs))


def _block(
    read: ReadMap, pixels: tuple[int, int], dtype: np.dtype, number: np.ndarray
) -> np.ndarray:
    maps = [read(sample, whole(pixels)) for sample in number.tolist()]
    return np.stack(maps).astype(dtype) if maps else np.zeros((0, *pixels), dtype)
