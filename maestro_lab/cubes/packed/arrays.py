"""Arrays of a packed store, read through memory maps of their chunk files."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

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


@dataclass(frozen=True, eq=False)
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
        none = np.empty((0, *self.shape[1:]), self.dtype)[(slice(None), *inner)]
        out = np.empty((len(index), *none.shape[1:]), self.dtype)
        ends = [*(np.flatnonzero(np.diff(number)) + 1).tolist(), len(index)]
        for start, end in pairwise([0, *ends]) if len(index) else ():  # runs within one file
            part, mine = _mapped(self, int(number[start])), row[start:end]
            if where is None:
                # "clip" writes in place; rows are inside, or another file would have been asked
                np.take(part, mine, axis=0, out=out[start:end], mode="clip")
            else:
                out[start:end] = part[(mine, *inner)]
        return out


def _most() -> int:
    """Return how many files may be mapped at a time: each holds one of a process's descriptors."""
    try:
        import resource
    except ImportError:  # there is no such limit on Windows
        return 4096
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 4096 if soft < 0 else soft // 2


@lru_cache(maxsize=_most())
def _mapped(array: PackedArray, number: int) -> np.ndarray:
    path = chunk_file(array.folder, number, len(array.shape))
    shape = (array.chunk, *array.shape[1:])
    expected = math.prod(shape) * array.dtype.itemsize
    found = path.stat().st_size if path.is_file() else None
    if found != expected:
        raise CubeError(
            f"{path} is {'missing' if found is None else 'damaged'}",
            expected=f"{expected} bytes",
            found="nothing" if found is None else f"{found} bytes",
            do="see maestro-lab check; pack the cube again",
        )
    try:
        # A plain array over the map: indexing np.memmap itself costs several times as much.
        return np.asarray(np.memmap(path, array.dtype, "r", shape=shape))
    except OSError as error:
        raise CubeError(f"{path} cannot be read", found=error.strerror) from error


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
