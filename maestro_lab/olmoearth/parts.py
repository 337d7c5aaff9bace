"""What a modality of the model is made of: modalities of a cube, and which acquisition of each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from maestro_lab.cubes.reading import Read, Where

__all__ = ["ArrayRead", "Part", "of_one_acquisition"]


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
class ArrayRead:
    """Reads samples out of the arrays of a cube."""

    values: object
    valid: object
    length: np.ndarray
    row: dict[int, int]

    @classmethod
    def of(cls, ds: xr.DataTree, samples: np.ndarray) -> ArrayRead:
        """Take some samples along, and leave the others."""
        values, valid = (
            ds[n].data if len(samples) == ds.sizes["sample"] else ds[n].data[samples]
            for n in ("values", "valid")
        )
        length = (~np.isnat(ds["time"].values[samples])).sum(1)
        return cls(values, valid, length, {int(s): k for k, s in enumerate(samples)})

    def __call__(self, sample: int, where: Where) -> tuple[np.ndarray, np.ndarray]:
        """Return the dates of a sample: values (t, band, y, x), valid (t, y, x)."""
        row = self.row[sample]
        dated = slice(0, int(self.length[row]))
        pair = self.values[row, dated][..., *where], self.valid[row, dated][..., *where]
        return np.asarray(pair[0]), np.asarray(pair[1])


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
