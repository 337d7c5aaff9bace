"""HDF5 files of OlmoEarth: what one should hold, and how its pixels are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from maestro_lab.cubes.reading import Where
from maestro_lab.cubes.sources.hdf5 import header, read_h5, read_small
from maestro_lab.cubes.sources.olmoearth_layout import SERIES, Layers, Map, Series
from maestro_lab.cubes.sources.series import Plan, clear_optical, no_dates, plan_series
from maestro_lab.errors import CubeError

if TYPE_CHECKING:
    import h5py

__all__ = ["HOLDS", "ReadMap", "ReadSeries", "check", "look"]

HOLDS = "latlon, timestamps and a data set for each modality"
NODATA = -32768


def look(
    file: h5py.File, series: Sequence[Series], side: int, duplicates: str
) -> tuple[np.ndarray, dict[str, Plan]]:
    """Check that a file holds the series it should, without reading pixels.

    Parameters
    ----------
    file
        The file.
    series
        The series.
    side
        Pixels along a sample.
    duplicates
        As in :func:`~maestro_lab.cubes.sources.series.plan_series`.

    Returns
    -------
    tuple
        Latitude and longitude, and for each series (as stored) the steps to read.

    Raises
    ------
    CubeError
        Names the file and the data set that is something else.
    KeyError
        If a data set is missing.
    """
    latlon, slots = read_small(file, "latlon"), _slots(file)
    number = latlon.shape == (2,) and latlon.dtype.kind == "f"
    if not number or not (np.abs(latlon) <= (90, 180)).all():
        raise CubeError(
            f"{file.filename}: latlon", expected="latitude and longitude in degrees", found=latlon
        )
    plans = {s.stored: plan_series(slots[:0]) for s in SERIES}
    for layer in series:
        seen = np.ones(1, bool) if layer.static else _seen(file, layer, len(slots))
        check(file, layer, side, int(seen.sum()))
        plans[layer.stored] = plan_series(slots[: len(seen)][seen], duplicates=duplicates)
    return latlon.astype(float), plans


def _slots(file: h5py.File) -> np.ndarray:
    """Return the dates of the slots, ``datetime64[ns]`` (slot,)."""
    stamps = read_small(file, "timestamps")
    if stamps.ndim == 2 and stamps.shape[1] == 3 and len(stamps) and stamps.dtype.kind in "ui":
        day, month, year = stamps.astype(np.int64).T
        first = ((year - 1970) * 12 + month).astype("datetime64[M]")
        slots = first.astype("datetime64[D]") + (day - 1)
        good = (month >= 0) & (month < 12) & (year > 1900) & (year < 2200)
        if (good & (slots.astype("datetime64[M]") == first)).all():
            return slots.astype("datetime64[ns]")
    raise CubeError(
        f"{file.filename}: timestamps",
        expected="(slots, 3) whole numbers: day from 1, month from 0, year",
        found=f"{stamps.shape} in {stamps.dtype}: {np.ravel(stamps)[:6].tolist()} ...",
    )


def _seen(file: h5py.File, layer: Series, slots: int) -> np.ndarray:
    """Tell in which slots a series was seen; without a mask in all of them."""
    name = f"missing_timesteps_masks/{layer.stored}"
    try:
        seen = read_small(file, name)
    except KeyError:
        return np.ones(slots, bool)
    if seen.shape != (slots,) or seen.dtype.kind not in "bui":
        raise CubeError(
            f"{file.filename}: {name}",
            expected=f"a boolean for each of {slots} timestamps",
            found=f"{seen.shape} in {seen.dtype}",
        )
    return seen.astype(bool)


def check(file: h5py.File, layer: Layers, side: int, steps: int) -> None:
    """Refuse a data set that is not (side, side, steps, bands), or holds other numbers.

    Raises
    ------
    CubeError
        Names the file and the data set.
    KeyError
        If there is none.
    """
    shape, dtype = header(file, layer.stored)
    wanted = (side, side, steps, len(layer.layers))
    if shape != wanted or dtype.name not in layer.types.split():
        raise CubeError(
            f"{file.filename}: {layer.stored}",
            expected=f"{wanted} (y, x, step, band) in {layer.types.replace(' ', ', ')}",
            found=f"{shape} in {dtype}",
        )


@dataclass(frozen=True)
class ReadSeries:
    """Reads one series of a sample.

    Parameters
    ----------
    layer
        The series.
    files, plans
        The file of each sample, and which of its steps to read.
    side
        Pixels along a sample.
    """

    layer: Series
    files: list[Path]
    plans: list[Plan]
    side: int

    def __call__(self, sample: int, where: Where) -> tuple[np.ndarray, np.ndarray]:
        """Return values (t, band, y, x) and valid (t, y, x) of a sample."""
        plan = self.plans[sample]
        if not len(plan.rows):
            return no_dates(len(self.layer.layers), where, self.layer.dtype)
        return read_h5(self.files[sample], self._pixels, plan, where, holds=HOLDS)

    def _pixels(self, file: h5py.File, plan: Plan, where: Where) -> tuple[np.ndarray, np.ndarray]:
        check(file, self.layer, self.side, plan.stored)
        stored = file[self.layer.stored][where][:, :, plan.rows]  # (y, x, t, band)
        found = np.ascontiguousarray(stored.transpose(2, 3, 0, 1)).astype(self.layer.dtype)
        if found.dtype.kind == "u":
            return found, clear_optical(found)
        there = np.isfinite(found) & (found > NODATA)
        return np.where(there, found, 0).astype(found.dtype), there.all(1)


@dataclass(frozen=True)
class ReadMap:
    """Reads one map of a sample: (y, x), or (layer, y, x) where it has several.

    Parameters
    ----------
    map
        The map.
    files, there
        The file of each sample, and whether it holds the map.
    side
        Pixels along a sample.
    """

    map: Map
    files: list[Path]
    there: np.ndarray
    side: int

    def __call__(self, sample: int) -> np.ndarray:
        """Return the labels of a sample."""
        if not self.there[sample]:
            return np.full(self.shape, self.map.missing, self.map.dtype)
        return read_h5(self.files[sample], self._labels, holds=HOLDS)

    def _labels(self, file: h5py.File) -> np.ndarray:
        check(file, self.map, self.side, 1)
        stored = file[self.map.stored][:, :, 0].transpose(2, 0, 1)
        return self.map.labels(stored).reshape(self.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the map of one sample."""
        layers = (len(self.map.layers),) if len(self.map.layers) > 1 else ()
        return (*layers, self.side, self.side)
