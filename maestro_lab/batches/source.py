"""Where the pixels of a data set come from: memory, a packed store, or files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from maestro_lab.contract import Modality
from maestro_lab.cubes.dates import choose_clear, choose_median, year_day_hour
from maestro_lab.cubes.packed.arrays import PackedArray, PackedSeries
from maestro_lab.cubes.reading import Read, ReadArrays, Where, attached, read_of, whole

__all__ = ["Source", "TargetSource"]

Taken = np.ndarray | tuple[np.ndarray, np.ndarray]
"""Numbers of images in a packed store; or values (t, c, h, w) and valid (t, h, w)."""

_IN_MEMORY = 5e8  # bytes of a target
_MIN_CLEAR = 0.5  # dates with a smaller share of valid pixels are used only if nothing else is left


@dataclass
class _Last:
    """The series that was read last: its dates are chosen, then some of them are taken."""

    key: tuple[int, Where] | None = None
    series: tuple[np.ndarray, np.ndarray] | None = None


class Source:
    """One modality of some samples: dates in memory, pixels wherever they are.

    Parameters
    ----------
    ds
        The modality in the cube.
    m
        How it enters the model.
    samples
        Numbers of the samples in the cube.
    in_memory
        Whether arrays that are not read from files are loaded.
    """

    def __init__(
        self, ds: xr.Dataset, m: Modality, samples: np.ndarray, *, in_memory: bool
    ) -> None:
        self.m, self.samples = m, samples
        chosen = [[str(b) for b in ds["band"].values].index(b) for b in m.bands]
        self.bands = None if chosen == list(range(ds.sizes["band"])) else chosen
        self.pixels: tuple[int, int] = ds["values"].shape[-2:]
        self.dtype = ds["values"].dtype
        time = np.asarray(ds["time"].values)[samples]
        self.length = (~np.isnat(time)).sum(1)
        self.dates = year_day_hour(time)
        self._last = _Last()
        self._share: dict[int, np.ndarray] = {}
        read = read_of(ds)
        self.read: Read = read if read is not None else self._arrays(ds, in_memory)

    def _arrays(self, ds: xr.Dataset, in_memory: bool) -> ReadArrays:
        # several windows of one sample share its pixels
        used, first, self.samples = np.unique(self.samples, return_index=True, return_inverse=True)
        values, valid = (ds[name].data[used] for name in ("values", "valid"))
        if in_memory:
            if self.bands is not None:
                values, self.bands = values[:, :, self.bands], None
            values, valid = np.asarray(values), np.asarray(valid)
        return ReadArrays(values, valid, self.length[first])

    @property
    def whole(self) -> Where:
        """Rows and columns of a whole sample."""
        return whole(self.pixels)

    def series(self, row: int, where: Where | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return every date of one sample: values (t, c, h, w), valid (t, h, w)."""
        where = where or self.whole
        key = row, where
        if self._last.key != key:
            self._last = _Last(key, self._bands(*self.read(int(self.samples[row]), where)))
        return self._last.series

    def share(self, row: int, where: Where | None = None) -> np.ndarray:
        """Return the share of valid pixels of every date of one sample."""
        entire = where is None or where == self.whole
        if isinstance(self.read, PackedSeries):
            images = self.read.offset[self.samples[row]] + np.arange(self.length[row])
            if entire:
                return self.read.share[images]
            return self.read.take_valid(images, where).mean((1, 2))
        if not entire:
            return self.series(row, where)[1].mean((1, 2))
        if row not in self._share:
            self._share[row] = self.series(row)[1].mean((1, 2))
        return self._share[row]

    def choose(
        self, row: int, rng: np.random.Generator, *, random: bool, where: Where | None = None
    ) -> np.ndarray:
        """Choose the dates of one sample that enter the model, ascending."""
        n = int(self.length[row])
        index = np.arange(n)
        if n <= self.m.dates:
            return index
        share = self.share(row, where)
        usable = np.flatnonzero(share >= _MIN_CLEAR)
        if len(usable) >= self.m.dates:
            index = usable
        if random:
            return index[choose_clear(share[index] == 1, self.m.dates, rng)]
        values, valid = self.series(row, where)
        return index[choose_median(values[index], valid[index], self.m.dates, rng)]

    def take(self, row: int, dates: np.ndarray, where: Where) -> Taken:
        """Take some dates of one sample, through a window.

        From a packed store only the numbers of images: :meth:`join` reads those of a batch at once.
        """
        if isinstance(self.read, PackedSeries):
            images = self.read.offset[self.samples[row]] + dates
            if where == self.whole and len(dates) == self.m.dates:
                return images
            return self._bands(*self.read.take(images, where))
        if isinstance(self.read, ReadArrays) and isinstance(self.read.values, np.ndarray):
            sample = self.samples[row]
            values, valid = self.read.values[sample], self.read.valid[sample]
            return self._bands(values[dates][..., *where], valid[dates][..., *where])
        values, valid = self.series(row, where)
        return values[dates], valid[dates]

    def join(self, taken: Sequence[Taken], side: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Put what was taken of several samples into one batch.

        Returns
        -------
        tuple
            Values (b, t, c, h, w) as the cube holds them and valid (b, t, h, w); zero and False
            behind the last date of a sample.
        """
        shape = (len(taken), self.m.dates, len(self.m.bands), *side)
        if all(isinstance(part, np.ndarray) for part in taken):
            values, valid = self._bands(*self.read.take(np.concatenate(taken), None))
            return values.reshape(shape), valid.reshape(*shape[:2], *side)
        values, valid = np.zeros(shape, self.dtype), np.zeros((*shape[:2], *side), bool)
        for k, part in enumerate(taken):
            if isinstance(part, np.ndarray):
                part = self._bands(*self.read.take(part, None))
            values[k, : len(part[0])], valid[k, : len(part[1])] = part
        return values, valid

    def _bands(self, values: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (values if self.bands is None else values[:, self.bands]), valid


class TargetSource:
    """One target of some samples, in memory if it is small and no map of a packed store.

    Parameters
    ----------
    target
        The variable of the cube.
    samples
        Numbers of the samples in the cube.
    """

    def __init__(self, target: xr.DataArray, samples: np.ndarray) -> None:
        self.is_map = target.dims[-2:] == ("y", "x")
        self.samples = samples
        self._data = attached(target.variable)
        mapped = isinstance(self._data, PackedArray) and self.is_map
        if target.nbytes < _IN_MEMORY and not mapped:
            self._data = np.asarray(target.values)
        elif self._data is None:
            self._data = target.data

    def rows(self, rows: Sequence[int], where: Sequence[Where | None]) -> np.ndarray:
        """Return the target of some samples, of maps a window each."""
        index = self.samples[np.asarray(rows)]
        if isinstance(self._data, PackedArray):
            if where[0] is None or not self.is_map:
                return self._data.take(index)
            parts = [self._data.take(index[k : k + 1], w) for k, w in enumerate(where)]
            return np.concatenate(parts)
        found = np.asarray(self._data[index])
        if where[0] is None or not self.is_map:
            return found
        return np.stack([image[..., *w] for image, w in zip(found, where, strict=True)])
