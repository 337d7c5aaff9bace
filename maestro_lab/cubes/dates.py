"""Irregular series -> a fixed number of dates, chosen with the clouds in mind.

Source: MAESTRO (arXiv 2508.10894): a series is cut into consecutive bins, one for each date the
model takes, and each bin gives one acquisition, clear where there is a clear one. While training
it is drawn at random; for evaluation it is the one closest to the bin's median.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maestro_lab.errors import ParameterError

__all__ = ["bins", "choose_clear", "choose_median", "padded", "unique_dates", "year_day_hour"]


def year_day_hour(time: np.ndarray) -> np.ndarray:
    """Turn ``datetime64`` into (year, day of the year from 1, hour), as models take dates.

    NaT becomes (0, 0, 0).

    Examples
    --------
    >>> year_day_hour(np.array(["2019-07-01", "NaT"], dtype="datetime64[ns]")).tolist()
    [[2019, 182, 0], [0, 0, 0]]
    """
    time = np.asarray(time)
    missing = np.isnat(time)
    time = np.where(missing, np.datetime64(0, "ns"), time)
    year = time.astype("datetime64[Y]")
    day = time.astype("datetime64[D]")
    parts = [
        year.astype(int) + 1970,
        (day - year).astype(int) + 1,
        (time.astype("datetime64[h]") - day).astype(int),
    ]
    return np.where(missing[..., None], 0, np.stack(parts, -1)).astype(np.int32)


def padded(series: Sequence[np.ndarray]) -> np.ndarray:
    """Put the dates of several samples under each other, NaT after the last of each.

    Examples
    --------
    >>> padded([np.array(["2019-07-01", "2019-07-11"], "M8[ns]"), np.array([], "M8[ns]")]).shape
    (2, 2)
    """
    longest = max([1, *map(len, series)])
    time = np.full((len(series), longest), np.datetime64("NaT"), "datetime64[ns]")
    for row, days in enumerate(series):
        time[row, : len(days)] = days
    return time


def unique_dates(time: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return the rows of a series by date, one a date: what was read twice would tell twice.

    Parameters
    ----------
    time
        ``datetime64`` (t,), in any order; NaT is no date.
    share
        How much of each row is valid (t,). Of several rows of one date the one with most stays,
        the first on ties.

    Returns
    -------
    numpy.ndarray
        Rows, by ascending date.

    Examples
    --------
    >>> time = np.array(["2020-05-01", "2020-03-01", "2020-05-01", "NaT"], "datetime64[D]")
    >>> unique_dates(time, np.array([0.2, 1.0, 0.9, 0.0])).tolist()
    [1, 2]
    """
    rows = np.flatnonzero(~np.isnat(time))
    rows = rows[np.lexsort((-np.asarray(share, float)[rows], time[rows].astype(np.int64)))]
    new = np.ones(len(rows), bool)
    new[1:] = time[rows[1:]] != time[rows[:-1]]
    return rows[new]


def bins(length: int, count: int, offset: int) -> np.ndarray:
    """Cut ``length`` dates into ``count`` bins of equal size: indices (count, size).

    Parameters
    ----------
    length
        Dates in the series, at least ``count``.
    count
        Bins wanted.
    offset
        Dates left out at the start, 0 to ``length % count``.

    Raises
    ------
    ParameterError
        If there are fewer dates than bins, or no room for the offset.

    Examples
    --------
    >>> bins(7, 3, 1).tolist()
    [[1, 2], [3, 4], [5, 6]]
    """
    if not 1 <= count <= length:
        raise ParameterError("bins", expected=f"1 to {length}, one date each or more", found=count)
    if not 0 <= offset <= length % count:
        raise ParameterError("offset", expected=f"0 to {length % count}", found=offset)
    size = length // count
    return offset + np.arange(count * size).reshape(count, size)


def choose_clear(clear: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw one date a bin, uniformly among the clear ones where there are any.

    Parameters
    ----------
    clear
        bool (dates,), True where no pixel of the window is bad.
    count
        Dates wanted. With just as many in the series all are taken, clear or not; with fewer, all
        are taken and the result is shorter.
    rng
        Source of randomness.

    Returns
    -------
    numpy.ndarray
        Indices in ascending order.
    """
    length = len(clear)
    if length <= count:
        return np.arange(length)
    index = bins(length, count, int(rng.integers(0, length % count + 1)))
    draw = rng.random(index.shape)
    return _pick(index, draw, clear[index])


def choose_median(
    values: np.ndarray, valid: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Choose one date a bin: the clear one closest to the median of the bin's valid pixels.

    In a bin without a single clear date, all dates and all their pixels count as clear: ``valid``
    is not looked at, and the result may be any of its dates (so does the authors' code).

    Parameters
    ----------
    values
        (dates, band, y, x).
    valid
        bool (dates, y, x).
    count
        Dates wanted; as in :func:`choose_clear`.
    rng
        Draws how many dates are left out before the first bin.

    Returns
    -------
    numpy.ndarray
        Indices in ascending order.
    """
    length = len(values)
    if length <= count:
        return np.arange(length)
    index = bins(length, count, int(rng.integers(0, length % count + 1)))
    clear = valid.all(axis=(1, 2))
    some = clear[index].any(axis=1)[:, None, None, None]
    used = (valid[index] | ~some)[:, :, None]
    series = values.astype(np.float64)[index]  # (count, size, band, y, x)
    median = _median(np.where(used & np.isfinite(series), series, np.nan))
    distance = np.abs(np.nan_to_num(series) - median).mean(axis=(2, 3, 4))
    return _pick(index, distance, clear[index])


def _median(series: np.ndarray) -> np.ndarray:
    """Return the median of what is not NaN along axis 1, 0 where all is.

    What :func:`numpy.nanmedian` gives, which takes ten times as long on short axes.
    """
    ordered = np.sort(series, axis=1)  # NaN comes last
    count = np.isfinite(series).sum(axis=1, keepdims=True)
    lower, upper = np.maximum(count - 1, 0) // 2, count // 2 * (count > 0)
    middle = [np.take_along_axis(ordered, at, axis=1) for at in (lower, upper)]
    return np.where(count > 0, (middle[0] + middle[1]) / 2, 0.0)


def _pick(index: np.ndarray, cost: np.ndarray, eligible: np.ndarray) -> np.ndarray:
    """Per bin the eligible date of least cost, the first on ties; all count where none is."""
    eligible = eligible | ~eligible.any(axis=1, keepdims=True)
    best = np.where(eligible, cost, np.inf).argmin(axis=1)
    return index[np.arange(len(index)), best]
