"""What a modality of the model is made of: modalities of a cube, and which acquisition of each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from maestro_lab.cubes.reading import Read, ReadArrays, Where, read_of

__all__ = ["Part", "of_one_acquisition", "reader"]


@dataclass(frozen=True)
class Part:
    """One modality of the cube that a modality of the model is made from."""

    name: str
    bands: list[str]
    read: Read
    pixels: tuple[int, int]
    factor: int
    units: str
    time: np.ndarray
    slots: np.ndarray


@dataclass(frozen=True)
class _Chosen:
    """Reads samples by their numbers in a cube, out of the arrays of some of them."""

    read: ReadArrays
    row: dict[int, int]

    def __call__(self, sample: int, where: Where) -> tuple[np.ndarray, np.ndarray]:
        return self.read(self.row[sample], where)


def reader(ds: xr.Dataset | xr.DataTree, samples: np.ndarray) -> Read:
    """Return how some samples of a modality are read; the others stay behind.

    Parameters
    ----------
    ds
        The modality.
    samples
        Numbers of the samples in the cube, by which they are read.
    """
    read = read_of(ds)
    if read is not None:
        return read
    values, valid = (
        ds[n].data if len(samples) == ds.sizes["sample"] else ds[n].data[samples]
        for n in ("values", "valid")
    )
    length = (~np.isnat(ds["time"].values[samples])).sum(1)
    return _Chosen(ReadArrays(values, valid, length), {int(s): k for k, s in enumerate(samples)})


def of_one_acquisition(parts: list[Part]) -> list[Part]:
    """Let parts that hold other bands of the same acquisitions take the same ones."""
    agreed: list[Part] = []
    first: list[Part] = []  # of each set of parts that share acquisitions
    bands: list[set[str]] = []
    for part in parts:
        mine = {b for b in part.bands if b}
        k = next((k for k, there in enumerate(bands) if not there & mine), None)
        if k is None:
            first.append(part)
            bands.append(mine)
            agreed.append(part)
        else:
            bands[k] |= mine
            agreed.append(replace(part, slots=_same_dates(first[k], part)))
    return agreed


def _same_dates(one: Part, other: Part) -> np.ndarray:
    """Return slots of a part: the dates that the first one took, or its own where it took none."""
    slots = other.slots.copy()
    for sample, slot in zip(*np.nonzero(one.slots >= 0), strict=True):
        wanted = one.time[sample, one.slots[sample, slot]]
        away = np.abs(other.time[sample] - wanted)
        near = np.where(np.isnat(away), np.timedelta64(10**6, "D"), away)
        best = int(near.argmin())
        slots[sample, slot] = best if near[best] < np.timedelta64(1, "D") else -1
    return slots
