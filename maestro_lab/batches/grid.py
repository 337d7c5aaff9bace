"""Images averaged over the cells of a coarser grid."""

from __future__ import annotations

import warnings

import numpy as np

__all__ = ["to_grid"]


def to_grid(image: np.ndarray, grid: int) -> np.ndarray:
    """Bring images (..., y, x) to ``grid`` x ``grid`` cells by averaging the pixels of each.

    A grid finer than the image repeats pixels. Missing pixels (NaN) do not count.

    Examples
    --------
    >>> to_grid(np.arange(16.0).reshape(4, 4), 2).tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """
    side = image.shape[-1]
    fine = np.lcm(side, grid)
    image = np.repeat(np.repeat(image, fine // side, -1), fine // side, -2)
    cell = fine // grid
    cells = image.reshape(*image.shape[:-2], grid, cell, grid, cell)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mean of empty slice")
        return np.nanmean(cells, axis=(-3, -1))
