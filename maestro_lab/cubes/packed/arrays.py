"""Arrays of a packed store, read through memory maps of their chunk files."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from maestro_lab.cubes.reading import Where, whole
from maestro_lab.errors import CubeError

__all__ = ["PackedArray", "PackedSeries", "chunk_file"]


def chunk_file(folder: Path, number: int, dims: int) -> Path:
    """Return the file of a chunk, as zarr names it.

    Examples
    --------
    >>> chunk_file(Path("s2/values"), 3, 4).as_posix()
    's2/values/c/3/0/0/0'
    """
    return folder.joinpath("c", str(number), *("0" for _ in range(dims - 1)))


@dataclass
class PackedArray:
    """One array of a packed store; its chunks span all but the first dimension.

    Parameters
    ----------
    folder
        Folder of the array.
    shape, dtype
        Of the whole array.
    chunk
        Rows in a chunk file.
    """

    folder: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    chunk: int
    _maps: dict[int, np.ndarray] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, folder: Path) -> PackedArray:
        """Open an array by what its ``zarr.json`` says.

        Raises
        ------
        CubeError
            If it is missing, or stored in a way that cannot be mapped into memory.
        """
        try:
            about = json.loads((folder / "zarr.json").read_text(encoding="utf-8"))
            shape = tuple(about["shape"])
            chunk = tuple(about["chunk_grid"]["configuration"]["chunk_shape"])
            dtype = np.dtype(about["data_type"])
            codecs = [codec["name"] for codec in about["codecs"]]
            little = about["codecs"][0].get("configuration", {}).get("endian", "little")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CubeError(
                f"{folder} cannot be read",
                expected="the zarr.json of an array",
                found=str(error),
                do="see maestro-lab check",
            ) from error
        if codecs != ["bytes"] or little != "little" or chunk[1:] != shape[1:]:
            raise CubeError(
                f"{folder} cannot be mapped into memory",
                expected="uncompressed chunks of whole rows, little-endian",
                found=f"{' '.join(codecs)}, {little}-endian chunks {chunk} of {shape}",
                do="pack the cube again",
            )
        return cls(folder, shape, dtype.newbyteorder("<"), chunk[0])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}  # each process maps the files itself

    def take(self, index: np.ndarray, where: Where | None = None) -> np.ndarray:
        """Gather rows, and of images a window.

        Raises
        ------
        CubeError
            If a file is missing or truncated.
        """
        index = np.asarray(index)
        inner = () if where is None else (..., *where)
        number, row = np.divmod(index, self.chunk)
        if not len(index):
            return np.zeros((0, *self.shape[1:]), self.dtype)[(slice(None), *inner)]
        if number[0] == number[-1] and (number == number[0]).all():
            return self._map(int(number[0]))[(row, *inner)]
        parts = [(number == n, self._map(int(n))) for n in np.unique(number)]
        first = parts[0][1][(row[:1], *inner)]
        out = np.empty((len(index), *first.shape[1:]), self.dtype)
        for mine, part in parts:
            out[mine] = part[(row[mine], *inner)]
        return out

    def _map(self, number: int) -> np.ndarray:
        if number not in self._maps:
            path = chunk_file(self.folder, number, len(self.shape))
            shape = (self.chunk, *self.shape[1:])
            expected = math.prod(shape) * self.dtype.itemsize
            found = path.stat().st_size if path.is_file() else None
            if found != expected:
                raise CubeError(
                    f"{path} is {'missing' if found is None else 'damaged'}",
                    expected=f"{expected} bytes",
                    found="nothing" if found is None else f"{found} bytes",
                    do="see maestro-lab check; pack the cube again",
                )
            # A plain array over the map: indexing np.memmap itself costs several times as much.
            self._maps[number] = np.asarray(np.memmap(path, self.dtype, "r", shape=shape))
        return self._maps[number]


@dataclass
class PackedSeries:
    """The images of one modality; reads samples as any source does, and many at once.

    Parameters
    ----------
    values, valid
        Pixels (image, band, y, x), and their validity as bits (image, byte).
    share
        Share of valid pixels of each image.
    offset
        First image of each sample, and behind the last.
    """

    values: PackedArray
    valid: PackedArray
    share: np.ndarray
    offset: np.ndarray

    def __call__(self, sample: int, where: Where) -> tuple[np.ndarray, np.ndarray]:
        """Return every date of a sample: values (t, band, y, x), valid (t, y, x)."""
        images = np.arange(self.offset[sample], self.offset[sample + 1])
        return self.take(images, where)

    def take(self, images: np.ndarray, where: Where | None) -> tuple[np.ndarray, np.ndarray]:
        """Gather images: values (image, band, y, x), valid (image, y, x).

        Parameters
        ----------
        images
            Their numbers.
        where
            Rows and columns; None takes all.
        """
        return self.values.take(images, where), self.take_valid(images, where)

    def take_valid(self, images: np.ndarray, where: Where | None) -> np.ndarray:
        """Gather which pixels of images are valid (image, y, x)."""
        side = self.values.shape[-2:]
        rows, columns = where or whole(side)
        share = self.share[images]
        if (share == 1).all() or not share.any():
            shape = (len(images), rows.stop - rows.start, columns.stop - columns.start)
            return np.full(shape, bool(share.all()))
        bits = np.unpackbits(self.valid.take(images), axis=1, count=math.prod(side))
        return bits.reshape(-1, *side).view(bool)[:, rows, columns]
