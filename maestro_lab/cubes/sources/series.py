"""Series of images: which stored rows to read, in order of their dates, and which pixels count."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maestro_lab.cubes.reading import Where
from maestro_lab.cubes.sources.files import AGAIN, days_of, read_raster
from maestro_lab.errors import CubeError

__all__ = [
    "DUPLICATES",
    "Plan",
    "check_labels",
    "clear_optical",
    "clear_radar",
    "no_dates",
    "numbered_days",
    "plan_series",
    "read_stack",
    "same_numbers",
    "without_nan",
]

DUPLICATES = ("drop", "keep")
"""Values of the option ``duplicates``."""


@dataclass(frozen=True)
class Plan:
    """Which rows of a stored series are read, by date.

    Parameters
    ----------
    rows
        Numbers of the rows, int (t,).
    time
        Their dates, ascending, ``datetime64[ns]`` (t,).
    stored
        Rows that the file holds.
    """

    rows: np.ndarray
    time: np.ndarray
    stored: int


def plan_series(
    days: np.ndarray, passes: Sequence[Hashable] | None = None, duplicates: str = "drop"
) -> Plan:
    """Sort a series by date and leave out what was acquired in one pass with an earlier row.

    Parameters
    ----------
    days
        Dates of the stored rows, ``datetime64`` (t,).
    passes
        What tells acquisitions apart. Default: their dates.
    duplicates
        "drop" keeps the first row of each pass, "keep" all rows.

    Examples
    --------
    >>> days = np.array(["2019-05-01", "2019-03-01", "2019-05-01"], "datetime64[ns]")
    >>> plan_series(days).rows.tolist(), plan_series(days, duplicates="keep").rows.tolist()
    ([1, 0], [1, 0, 2])
    """
    rows = np.arange(len(days))
    if duplicates == "drop":
        first: dict[Hashable, int] = {}
        for row, key in enumerate(days.tolist() if passes is None else passes):
            first.setdefault(key, row)
        rows = np.array(list(first.values()), int)
    rows = rows[np.argsort(days[rows], kind="stable")]
    return Plan(rows, days[rows], len(days))


def numbered_days(where: str, dates: Any) -> np.ndarray:
    """Turn ``{"0": "20190105", "1": ...}``, in whatever order, into dates (t,).

    Raises
    ------
    CubeError
        If it is nothing of the kind; the error starts with ``where``.

    Examples
    --------
    >>> numbered_days("S2", {"10": 20190301, "9": "20190201"}).astype("M8[D]").astype(str).tolist()
    ['2019-02-01', '2019-03-01']
    """
    if not isinstance(dates, Mapping) or not all(str(k).isdigit() for k in dates):
        raise CubeError(
            f"{where}: dates",
            expected="a date for each number, {'0': 'YYYYMMDD', ...}",
            found=repr(dates)[:60],
            do=AGAIN,
        )
    return days_of(where, [dates[key] for key in sorted(dates, key=int)])


def read_stack(
    path: Path,
    plan: Plan,
    bands: int,
    pixels: tuple[int, int],
    where: Where,
    crs: Any = None,
) -> np.ndarray:
    """Read some dates of an image file whose bands run date by date.

    Parameters
    ----------
    path
        The file: ``plan.stored`` times ``bands`` bands of ``pixels``.
    plan
        The dates to read.
    bands
        Bands of one date.
    pixels
        Rows and columns of the file.
    where
        Rows and columns to read.
    crs
        As in :func:`~maestro_lab.cubes.sources.files.read_raster`.

    Returns
    -------
    numpy.ndarray
        (t, band, y, x)

    Raises
    ------
    CubeError
        If the file is missing, damaged or holds something else.
    """
    wanted = (plan.rows[:, None] * bands + np.arange(bands)).ravel().tolist()
    found = read_raster(
        path, bands=wanted, where=where, count=plan.stored * bands, size=pixels, crs=crs,
        reason=f"{plan.stored} dates of {bands}",
    )  # fmt: skip
    return found.reshape(len(plan.rows), bands, *found.shape[1:])


def no_dates(bands: int, where: Where, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return values and valid of a series without dates."""
    size = [part.stop - part.start for part in where]
    return np.zeros((0, bands, *size), dtype), np.zeros((0, *size), bool)


def clear_optical(values: np.ndarray) -> np.ndarray:
    """Tell pixels of (t, band, y, x) with numbers in all bands that are not all zero: (t, y, x)."""
    return np.isfinite(values).all(1) & (values != 0).any(1)


def clear_radar(values: np.ndarray, *, linear: bool) -> np.ndarray:
    """Tell pixels of (t, band, y, x) with an echo in all bands: (t, y, x).

    Power is above 0; of decibels only an exact 0, which no echo gives, says that there is none.
    """
    return (np.isfinite(values) & (values > 0 if linear else values != 0)).all(1)


def without_nan(values: np.ndarray) -> np.ndarray:
    """Put 0 in place of NaN and infinity."""
    there = np.isfinite(values)
    return values if there.all() else np.where(there, values, 0).astype(values.dtype)


def same_numbers(path: Path, values: np.ndarray, dtype: Any) -> np.ndarray:
    """Turn values of a file into the numbers of the others, which must hold them exactly.

    Raises
    ------
    CubeError
        If they do not.
    """
    if not np.can_cast(values.dtype, dtype, "safe"):
        raise CubeError(
            f"{path}: numbers",
            expected=f"{np.dtype(dtype)}, or what fits into it",
            found=values.dtype,
            do=AGAIN,
        )
    return values.astype(dtype, copy=False)


def check_labels(path: Path, labels: np.ndarray, highest: int) -> None:
    """Refuse labels that are not whole numbers from 0 to ``highest``.

    Raises
    ------
    CubeError
        Names the file and the label.
    """
    if labels.dtype.kind not in "ui":
        raise CubeError(f"{path}: labels", expected="whole numbers", found=labels.dtype, do=AGAIN)
    wrong = (labels < 0) | (labels > highest)
    if wrong.any():
        raise CubeError(
            f"{path}: label {labels[wrong][0]}",
            expected=f"labels from 0 to {highest}",
            found=f"{int(wrong.sum())} pixels with other labels",
            do=AGAIN,
        )
