"""Irregular series -> slots of a month, one acquisition each, as OlmoEarth takes them.

Slots of equal length follow each other from a start date. Each takes one acquisition that lies in
it, or none: a slot without one stays empty, and nothing is copied or averaged to fill it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from maestro_lab.cubes.contract import make_modality, modality_names, validate
from maestro_lab.cubes.dates import padded, unique_dates
from maestro_lab.cubes.reading import Read, Where, lazy_modality, read_of
from maestro_lab.errors import CubeError

__all__ = ["Slots", "monthly_slots", "take_slots"]


@dataclass(frozen=True)
class Slots:
    """Which acquisition each slot takes.

    Parameters
    ----------
    index
        int (sample, slot): number along ``time`` of the modality, -1 where a slot is empty.
    start
        ``datetime64[ns]`` (sample, slot): the first day of each slot; NaT where a sample has
        neither a date nor a reference date.
    """

    index: np.ndarray
    start: np.ndarray


def monthly_slots(
    modality: xr.DataTree | xr.Dataset,
    start: Any = None,
    slots: int = 12,
    days: int = 30,
    choose: str = "clearest",
) -> Slots:
    """Choose one acquisition for each slot of every sample.

    Parameters
    ----------
    modality
        A modality of a cube.
    start
        First day of the first slot, one date or one for each sample. Default: the first of the
        month half a year before the cube's ``ref_date`` (1 January for a date in July); without
        one, the first of the month of the sample's first date.
    slots
        Slots of a sample.
    days
        Days of a slot.
    choose
        "clearest" takes the acquisition with most valid pixels, on ties the one nearest the middle
        of the slot, and of those the first; it reads every mask. "nearest" takes the one nearest
        the middle, and reads nothing.

    Returns
    -------
    Slots
        Acquisitions before the first slot or after the last are in none. Of several of one date
        one counts, as in :func:`~maestro_lab.cubes.dates.unique_dates`.

    Raises
    ------
    CubeError
        If an option makes no sense.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> cube = ml.open_cube("landscape", samples=2, modalities=["s2"])
    >>> monthly_slots(cube["s2"], start="2022-01-01").index.shape
    (2, 12)
    """
    for name, value in (("slots", slots), ("days", days)):
        if type(value) is not int or value < 1:
            raise CubeError(name, expected="a whole number, 1 or more", found=repr(value))
    if choose not in ("clearest", "nearest"):
        raise CubeError("choose", expected="'clearest' or 'nearest'", found=repr(choose))
    time = np.asarray(modality["time"].values, "datetime64[ns]")
    first = _starts(modality, time, start)
    share = np.zeros(time.shape)
    if choose == "clearest":
        share = np.asarray(modality["valid"].mean(("y", "x")).values)
    length = np.timedelta64(days, "D")
    index = np.full((len(time), slots), -1)
    for sample, (dates, begin) in enumerate(zip(time, first, strict=True)):
        for row in _by_merit(dates, share[sample], begin, length):
            slot = (dates[row] - begin) // length
            if 0 <= slot < slots and index[sample, slot] < 0:
                index[sample, slot] = row
    return Slots(index, first[:, None] + length * np.arange(slots))


def _by_merit(
    dates: np.ndarray, share: np.ndarray, begin: np.datetime64, length: np.timedelta64
) -> np.ndarray:
    """Return the rows of distinct dates, the best of each slot before others of it."""
    rows = unique_dates(dates, share) if not np.isnat(begin) else np.zeros(0, int)
    into = (dates[rows] - begin) % length
    distance = np.abs(2 * into - length).astype(np.int64)  # twice that to the middle, exactly
    return rows[np.lexsort((rows, distance, -share[rows]))]


def _starts(modality: xr.DataTree | xr.Dataset, time: np.ndarray, start: Any) -> np.ndarray:
    """Return the first day of the first slot of each sample."""
    if start is not None:
        try:
            first = np.broadcast_to(np.asarray(start, "datetime64[ns]"), len(time))
        except (ValueError, TypeError) as error:
            raise CubeError(
                "start", expected=f"a date, or {len(time)} dates", found=repr(start)[:60]
            ) from error
        if np.isnat(first).any():
            raise CubeError("start", expected="a date for each sample", found="NaT")
        return first
    root = modality.root.data_vars if isinstance(modality, xr.DataTree) else {}
    if "ref_date" in root:
        month = np.asarray(root["ref_date"].values).astype("datetime64[M]") - 6
    else:
        month = time[:, 0].astype("datetime64[M]")  # dates of a cube stand in order
    return month.astype("datetime64[ns]")


def take_slots(cube: xr.DataTree, chosen: Mapping[str, Slots]) -> xr.DataTree:
    """Keep the acquisitions that slots chose, and forget the others.

    Parameters
    ----------
    cube
        The cube.
    chosen
        Modality to its slots, as :func:`monthly_slots` made them; other modalities stay as they
        are.

    Returns
    -------
    xarray.DataTree
        A cube whose chosen modalities have at most one date a slot. Pixels that were read when
        used still are.

    Raises
    ------
    CubeError
        If slots are those of something else, or a sample would be left without any date.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> cube = ml.open_cube("landscape", samples=2, modalities=["s2", "dem"])
    >>> taken = take_slots(cube, {"s2": monthly_slots(cube["s2"])})
    >>> taken["s2"].sizes["time"] <= 12 < cube["s2"].sizes["time"]
    True
    """
    names = modality_names(cube)
    for name, slots in chosen.items():
        if name not in names:
            raise CubeError(f"no modality {name!r}", expected=", ".join(names), found=name)
        samples, dates = cube[name]["time"].shape
        if len(slots.index) != samples or slots.index.max(initial=-1) >= dates:
            raise CubeError(
                f"{name}: slots of another cube",
                expected=f"{samples} samples of at most {dates} dates",
                found=f"{len(slots.index)} samples, date {slots.index.max(initial=-1)}",
                do="call monthly_slots on this modality of this cube",
            )
    children = {n: child.to_dataset(inherit=False) for n, child in cube.children.items()}
    children |= {n: _taken(children[n], slots.index) for n, slots in chosen.items()}
    dated = np.any([~np.isnat(children[n]["time"].values).all(1) for n in names], axis=0)
    if not dated.all():
        raise CubeError(
            f"sample {cube['sample'].values[int(np.argmin(dated))]!r} has no date in a slot",
            expected="at least one in one modality",
            found=f"{int((~dated).sum())} samples without",
            do="choose another start or more slots, or drop these samples",
        )
    root = cube.to_dataset(inherit=False)
    nodes = {name: xr.DataTree(ds) for name, ds in children.items()}
    return validate(xr.DataTree(root, children=nodes), values=0)


def _taken(ds: xr.Dataset, index: np.ndarray) -> xr.Dataset:
    rows = [row[row >= 0] for row in index]
    time = padded([dates[r] for dates, r in zip(ds["time"].values, rows, strict=True)])
    about: dict[str, Any] = {
        "bands": [str(b) for b in ds["band"].values], "units": ds.attrs["units"],
        "gsd": ds.attrs["gsd"], "sensor_name": ds.attrs.get("sensor"),
    }  # fmt: skip
    read = read_of(ds)
    if read is not None:
        pixels = ds.sizes["y"], ds.sizes["x"]
        reads = _ReadRows(read, rows)
        taken = lazy_modality(reads, time, pixels=pixels, dtype=ds["values"].dtype, **about)
    else:
        wanted = np.full(time.shape, -1)
        for number, row in enumerate(rows):
            wanted[number, : len(row)] = row
        values, valid = (_gather(ds[v].data, wanted) for v in ("values", "valid"))
        taken = make_modality(values, time, valid=valid, **about)
    taken.attrs = dict(ds.attrs)
    return taken.assign_coords({n: c for n, c in ds.coords.items() if "time" not in c.dims})


@dataclass(frozen=True)
class _ReadRows:
    """Reads some dates of each sample."""

    read: Read
    rows: list[np.ndarray]

    def __call__(self, sample: int, where: Where) -> tuple[np.ndarray, np.ndarray]:
        values, valid = self.read(sample, where)
        return values[self.rows[sample]], valid[self.rows[sample]]


def _gather(array: Any, wanted: np.ndarray) -> Any:
    """Take dates of (sample, time, ...): numpy at once, dask when it is used; -1 becomes 0."""
    if not isinstance(array, da.Array):
        return _rows(np.asarray(array), wanted)
    array = array.rechunk(dict.fromkeys(range(1, array.ndim), -1))
    number = da.arange(len(wanted), chunks=(array.chunks[0],))
    return da.map_blocks(
        lambda block, samples: _rows(block, wanted[samples.ravel()]),
        array,
        number.reshape(-1, *(1,) * (array.ndim - 1)),
        dtype=array.dtype,
        chunks=(array.chunks[0], (wanted.shape[1],), *array.chunks[2:]),
    )


def _rows(array: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    there = (wanted >= 0).reshape(*wanted.shape, *(1,) * (array.ndim - 2))
    index = np.where(there, wanted.reshape(there.shape), 0)
    return np.where(there, np.take_along_axis(array, index, 1), np.zeros((), array.dtype))
