"""What any learnt embedding must beat: per-pixel medians of each season."""

from __future__ import annotations

import warnings

import numpy as np

from maestro_lab.batches.dataset import CubeDataset, normalise
from maestro_lab.batches.grid import to_grid

__all__ = ["seasonal_medians"]

SEASONS = {
    "winter": (12, 1, 2),
    "spring": (3, 4, 5),
    "summer": (6, 7, 8),
    "autumn": (9, 10, 11),
}


def seasonal_medians(data: CubeDataset, grid: int) -> np.ndarray:
    """Return the median of each band in each season, from every valid pixel of every date.

    Parameters
    ----------
    data
        Samples; all their dates are used, not only those a model would take.
    grid
        Locations along one side; pixels inside a location are averaged.

    Returns
    -------
    numpy.ndarray
        float32 (sample, location, modalities x seasons x bands); NaN where a season has no valid
        pixel. Modalities of one date give one median.
    """
    rows = [_sample(data, row, grid) for row in range(len(data))]
    return np.stack(rows).astype(np.float32)


def _sample(data: CubeDataset, row: int, grid: int) -> np.ndarray:
    parts = []
    for source in data.sources.values():
        values, valid = source.series(row)
        pixels = np.where(valid[:, None], normalise(values, source.m), np.nan)
        month = _month(source.dates[row][: len(values)])
        seasons = SEASONS.values() if source.dates.shape[1] > 1 else [tuple(range(1, 13))]
        for months in seasons:
            chosen = pixels[np.isin(month, months)]
            parts.append(to_grid(_nan_median(chosen, pixels.shape[1:]), grid))
    return np.concatenate(parts).reshape(-1, grid * grid).T


def _month(dates: np.ndarray) -> np.ndarray:
    first = (dates[:, 0] - 1970).astype("datetime64[Y]").astype("datetime64[D]")
    return (first + (dates[:, 1] - 1)).astype("datetime64[M]").astype(int) % 12 + 1


def _nan_median(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if not len(values):
        return np.full(shape, np.nan)
    with warnings.catch_warnings():  # a pixel under clouds all season has no median
        warnings.filterwarnings("ignore", message="All-NaN slice encountered")
        return np.nanmedian(values, axis=0)
