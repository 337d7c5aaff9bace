"""The dates of scenes: put in order, each acquisition once, period by period."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maestro_lab.cubes.reading import Where
from maestro_lab.cubes.scenes.ground import Scene
from maestro_lab.errors import CubeError

__all__ = ["Series", "middle_of", "periods_of", "series_of"]

_SAME_PASS = np.timedelta64(10, "m")


@dataclass(frozen=True)
class Series:
    """The dates of a scene, period by period.

    Parameters
    ----------
    scene
        The scene.
    rows
        Of each period the acquisitions; each is one row of the scene, or several of one pass.
    time
        Of each period the dates, ascending (t,).
    """

    scene: Scene
    rows: tuple[tuple[np.ndarray, ...], ...]
    time: tuple[np.ndarray, ...]

    def read(self, period: int, part: Where) -> tuple[np.ndarray, np.ndarray]:
        """Read a part of the scene: values (t, band, y, x) and valid (t, y, x) of a period.

        Where rows are of one pass, the first counts, and the others fill its gaps.
        """
        passes = self.rows[period]
        rows = np.concatenate(passes) if passes else np.zeros(0, int)
        values, valid = self.scene.read(rows, part)
        if len(rows) == len(passes):
            return values, valid
        starts = np.cumsum([0, *map(len, passes)])
        out, clear = values[starts[:-1]], valid[starts[:-1]]
        for number, (start, stop) in enumerate(itertools.pairwise(starts)):
            for twin in range(start + 1, stop):
                fill = valid[twin] & ~clear[number]
                out[number] = np.where(fill, values[twin], out[number])
                clear[number] |= fill
        return out, clear


def _year(time: np.ndarray) -> np.ndarray:
    return time.astype("datetime64[Y]").astype(int) + 1970


def periods_of(
    scenes: Sequence[Scene], period: str = "year", years: Sequence[int] | None = None
) -> list[int | None]:
    """Return the years that make samples; ``[None]`` stands for all dates together.

    Parameters
    ----------
    scenes
        The scenes; where some have series, images that belong to every year add no year.
    period
        "year" or "all".
    years
        The years wanted; None takes all that have an image.

    Raises
    ------
    CubeError
        If no image has a date, or none is of these years.
    """
    series = [scene for scene in scenes if not scene.static] or list(scenes)
    there = {year for scene in series for year in _year(scene.time).tolist()}
    if not there:
        raise CubeError(
            "no image has a date",
            expected="a date for one image at least",
            found="none in " + ", ".join(scene.name for scene in scenes),
            do="name it with the option date, such as date='2020-07-01'",
        )
    if period == "all":
        return [None]
    wanted = sorted(there) if years is None else [int(year) for year in years]
    if not set(wanted) & there:
        raise CubeError(
            "years: no image of them",
            expected=f"some of {', '.join(map(str, sorted(there)))}",
            found=", ".join(map(str, wanted)),
        )
    return wanted


def series_of(scene: Scene, periods: Sequence[int | None], duplicates: str = "drop") -> Series:
    """Put the dates of a scene in order, period by period.

    Parameters
    ----------
    scene
        The scene.
    periods
        As :func:`periods_of` returns them.
    duplicates
        "drop" makes one acquisition of rows less than ten minutes apart, such as two tiles of one
        pass or one product twice; "keep" keeps each row.
    """
    if scene.static:
        one = (np.array([0]),)
        return Series(scene, (one,) * len(periods), (scene.time[:1],) * len(periods))
    passes: list[list[int]] = []
    for row in np.argsort(scene.time, kind="stable").tolist():
        near = passes and scene.time[row] - scene.time[passes[-1][0]] < _SAME_PASS
        if near and duplicates == "drop":
            passes[-1].append(row)
        else:
            passes.append([row])
    merged = [np.array(rows) for rows in passes]
    time = np.array([scene.time[rows[0]] for rows in passes], "datetime64[ns]")
    chosen = [np.flatnonzero((_year(time) == year) | (year is None)) for year in periods]
    return Series(
        scene,
        tuple(tuple(merged[i] for i in index) for index in chosen),
        tuple(time[index] for index in chosen),
    )


def middle_of(series: Sequence[Series], periods: Sequence[int | None]) -> np.ndarray:
    """Return the middle of each period: 1 July of a year, or half way through all dates."""
    if list(periods) != [None]:
        return np.array([f"{year}-07-01" for year in periods], "datetime64[ns]")
    time = np.concatenate([part for s in series for part in s.time])
    middle = time.min() + (time.max() - time.min()) / 2
    return np.array([middle]).astype("datetime64[D]").astype("datetime64[ns]")
