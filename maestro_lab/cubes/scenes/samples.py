"""Scenes -> a cube: one sample a window and year, split by spatial blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from maestro_lab.cubes.contract import assemble, make_modality
from maestro_lab.cubes.dates import padded
from maestro_lab.cubes.reading import Where, lazy_modality
from maestro_lab.cubes.scenes.ground import Ground, Scene, common_ground
from maestro_lab.cubes.scenes.series import Series, middle_of, periods_of, series_of
from maestro_lab.cubes.scenes.targets import TargetMap, cut_targets
from maestro_lab.cubes.sources.files import refuse_options
from maestro_lab.cubes.splits import block_splits
from maestro_lab.errors import CubeError

__all__ = ["Sampling", "sample_scenes", "splits_of"]

_STRIP = 32_000_000  # numbers read at once while looking for windows that were seen


@dataclass(frozen=True)
class Sampling:
    """How scenes are cut into samples: options that all their readers have.

    By default regions have a side of 4 windows, or a third of a ground that is smaller than 12,
    and blocks half of it.
    """

    window: float
    years: Sequence[int] | None = None
    period: str = "year"
    region: int | None = None
    block: int | None = None
    test: float = 0.2
    val: float = 0.0
    buffer: int = 1
    split_seed: int = 0
    duplicates: str = "drop"
    title: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        """Refuse options that make no sense, before anything is read."""
        several = self.years is None or (
            isinstance(self.years, list | tuple | range)
            and len(set(self.years)) == len(self.years) > 0
            and all(isinstance(year, int | np.integer) for year in self.years)
        )
        window = isinstance(self.window, int | float | np.number) and self.window > 0
        shares = [isinstance(s, int | float) and 0 <= s < 1 for s in (self.test, self.val)]
        refuse_options(
            "cube",
            (bool(window), "window", "metres along the side of a sample, above 0", self.window),
            (self.period in ("year", "all"), "period", "'year' or 'all'", self.period),
            (bool(several), "years", "a list of years, each once, or None", self.years),
            (self.years is None or self.period == "year", "years", "None with period 'all'",
             self.years),
            (self.duplicates in ("drop", "keep"), "duplicates", "'drop' or 'keep'",
             self.duplicates),
            (all(shares) and self.test + self.val < 1, "shares test and val",
             "from 0, together below 1", (self.test, self.val)),
        )  # fmt: skip


@dataclass(frozen=True)
class _ReadWindows:
    """Reads one sample of a scene."""

    series: Series
    pixels: int
    period: np.ndarray
    top: np.ndarray
    left: np.ndarray

    def __call__(self, sample: int, where: Where) -> tuple[np.ndarray, np.ndarray]:
        corner = (self.top[sample], self.left[sample])
        part = tuple(
            slice(*(int(first) + edge for edge in cut.indices(self.pixels)[:2]))
            for first, cut in zip(corner, where, strict=True)
        )
        return self.series.read(int(self.period[sample]), part)


def sample_scenes(
    scenes: Sequence[Scene],
    sampling: Sampling,
    *,
    source: str,
    targets: Mapping[str, TargetMap] | None = None,
) -> xr.DataTree:
    """Cut scenes of one place into samples.

    Parameters
    ----------
    scenes
        The scenes; each becomes a modality.
    sampling
        Windows, years and splits.
    source
        Where the scenes come from, kept in the root's attributes.
    targets
        Maps of the same place.

    Returns
    -------
    xarray.DataTree
        One sample a window and period in which any scene has a valid pixel, in order of the
        windows. The root has ``ref_date``, ``place`` (number of the window), ``easting`` and
        ``northing`` of its upper-left corner.

    Raises
    ------
    CubeError
        If the scenes do not fit each other, or no window holds a valid pixel.
    """
    maps = dict(targets or {})
    grids = {scene.name: scene.grid for scene in scenes}
    ground = common_ground(
        grids | {f"targets/{n}": m.grid for n, m in maps.items()}, sampling.window
    )
    split, block = splits_of(ground, sampling)
    periods = periods_of(scenes, sampling.period, sampling.years)
    series = [series_of(scene, periods, sampling.duplicates) for scene in scenes]
    place, period = np.nonzero(_seen(series, ground, len(periods)))
    if not len(place):
        raise CubeError(
            "no window holds a valid pixel",
            expected="pixels that are clear and not missing",
            found="none in " + ", ".join(s.name for s in scenes),
            do="check nodata, clouds, valid and years",
        )
    row, column = (index[place] for index in ground.places)
    names = [f"r{r:02d}c{c:02d}" for r, c in zip(row, column, strict=True)]
    if sampling.period == "year":
        names = [f"{name}_{periods[p]}" for name, p in zip(names, period, strict=True)]
    ref = middle_of(series, periods)[period]
    crs = next((g.crs for g in grids.values() if g.crs), None)
    return assemble(
        {s.scene.name: _modality(s, ground, row, column, period, ref) for s in series},
        sample=names,
        split=split[place],
        block=block[place],
        extra={
            "ref_date": ref,
            "place": place,
            "easting": ground.west + column * ground.window,
            "northing": ground.north - row * ground.window,
        },
        targets=cut_targets(maps, ground, place, {g.gsd for g in grids.values()}) if maps else None,
        title=sampling.title or f"Windows of {ground.window:g} m from {source}",
        licence=sampling.licence or "not stated",
        source=source,
        attrs=({"crs": str(crs)} if crs else {}) | {"window": ground.window},
    )


def splits_of(ground: Ground, sampling: Sampling) -> tuple[np.ndarray, np.ndarray]:
    """Return the split and the block of each window.

    Raises
    ------
    CubeError
        If regions, blocks and shares do not fit each other, or nothing is left to train on.
    """
    small = max(1, min(4, min(ground.shape) // 3))
    region = small if sampling.region is None else sampling.region
    block = max(1, region // 2) if sampling.block is None else sampling.block
    shares = {"test": sampling.test, "val": sampling.val}
    shares = {name: share for name, share in shares.items() if share > 0}
    try:
        return block_splits(
            *ground.places, region=region, block=block, shares=shares, buffer=sampling.buffer,
            seed=sampling.split_seed,
        )  # fmt: skip
    except CubeError as error:
        if error.do or not error.what.startswith("no window is left"):
            raise
        raise CubeError(
            error.what,
            expected=error.expected,
            found=f"{error.found}, on {ground.shape[0]} x {ground.shape[1]} windows",
            do="choose a smaller window, region or buffer, or test=0 to train on all of it",
        ) from None


def _seen(series: Sequence[Series], ground: Ground, periods: int) -> np.ndarray:
    """Tell in which windows any scene has a valid pixel, (place, period).

    An image that belongs to every year says nothing of a year, where there are series.
    """
    series = [one for one in series if not one.scene.static] or series
    seen = np.zeros((*ground.shape, periods), bool)
    for one in series:
        pixels = ground.pixels(one.scene.grid)
        per_row = pixels * pixels * ground.shape[1] * len(one.scene.bands)
        height = max(1, _STRIP // per_row)
        for first in range(0, ground.shape[0], height):
            for period in range(periods):
                strip = seen[first : first + height, :, period]
                _look(one, ground, first, strip, one.rows[period])
    return seen.reshape(-1, periods)


def _look(
    series: Series,
    ground: Ground,
    first: int,
    seen: np.ndarray,
    passes: Sequence[np.ndarray],
) -> None:
    """Mark windows of a strip (row, column) in which a date has a valid pixel.

    Dates are read one after the other until each window was seen: as a rule one or two. Only
    windows that never were cost a look at every date.
    """
    grid, columns = series.scene.grid, seen.shape[1]
    pixels, (top, left) = ground.pixels(grid), ground.corner(grid)
    across = slice(left, left + columns * pixels)
    for rows in passes:
        dark = np.flatnonzero(~seen.all(1))
        if not len(dark):
            return
        low, high = int(dark[0]), int(dark[-1]) + 1
        down = slice(top + (first + low) * pixels, top + (first + high) * pixels)
        valid = series.scene.read(rows, (down, across))[1].any(0)
        seen[low:high] |= valid.reshape(high - low, pixels, columns, pixels).any(axis=(1, 3))


def _modality(
    series: Series,
    ground: Ground,
    row: np.ndarray,
    column: np.ndarray,
    period: np.ndarray,
    ref: np.ndarray,
) -> xr.Dataset:
    scene, pixels = series.scene, ground.pixels(series.scene.grid)
    top, left = ground.corner(scene.grid)
    read = _ReadWindows(series, pixels, period, top + row * pixels, left + column * pixels)
    time = padded([series.time[p] for p in period])
    if scene.static and not len(scene.time):
        time = ref[:, None]
    about = {
        "bands": scene.bands,
        "units": scene.units,
        "gsd": scene.grid.gsd,
        "sensor_name": scene.sensor,
        "nodata": scene.nodata,
        "crs": scene.grid.crs,
    }
    if scene.lazy:
        return lazy_modality(read, time, pixels=pixels, dtype=scene.dtype, **about)
    values = np.zeros((*time.shape, len(scene.bands), pixels, pixels), scene.dtype)
    valid = np.zeros((*time.shape, pixels, pixels), bool)
    whole = (slice(0, pixels), slice(0, pixels))
    for sample in range(len(time)):
        found, clear = read(sample, whole)
        values[sample, : len(found)], valid[sample, : len(found)] = found, clear
    return make_modality(values, time, valid=valid, **about)
