"""``pack_cube``: a cube into a packed store, in parallel, file by file, resumable."""

from __future__ import annotations

import json
import math
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import cloudpickle
import dask
import numpy as np
import xarray as xr

from maestro_lab.cubes.contract import TARGETS, validate
from maestro_lab.cubes.packed.arrays import chunk_file
from maestro_lab.cubes.packed.manifest import remove_strays, write_manifest
from maestro_lab.cubes.packed.plan import PLAN, Images, Plan, plan_of, write_frame
from maestro_lab.cubes.reading import Read, read_of, whole
from maestro_lab.cubes.statistics import with_statistics
from maestro_lab.errors import CubeError, LabError

__all__ = ["pack_cube"]

_AT_ONCE = 64  # files that dask is told of at a time


def pack_cube(
    cube: xr.DataTree,
    path: str | Path,
    *,
    samples: int = 256,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a cube as a packed store, from which training reads fastest.

    The store is a zarr v3 group that :func:`xarray.open_datatree` opens
    (``engine="zarr", consolidated=False``) and :func:`~maestro_lab.open_cube` opens as a cube. It
    is made beside its final place and renamed at the end. Killed half-way, the same call goes on
    where it stopped, and the result is the same to the bit. Types of numbers are kept;
    normalisation happens when samples are read.

    Parameters
    ----------
    cube
        The cube, validated first.
    path
        Folder to make, ending in ``.zarr``; it must not exist.
    samples
        Samples in a file, fewer where files would grow beyond 128 MiB.
    workers
        Processes that read and write. 0: threads of this one, or the workers of the active
        ``dask.distributed`` client, which then must see the same folders.
    progress
        Called with the number of files that are written, and that there will be.

    Raises
    ------
    CubeError
        If ``path`` exists or cannot be written, the cube breaks the contract or cannot be read, or
        what an interrupted call left there belongs to another cube.

    Examples
    --------
    >>> import maestro_lab as ml, tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> path = ml.pack_cube(ml.open_cube("landscape", samples=4), folder / "tiny.zarr")
    >>> ml.open_cube(path).sizes["sample"]
    4
    """
    path = Path(path).expanduser()
    _check(path, samples, workers)
    cube = with_statistics(validate(cube))
    plan = plan_of(cube, samples)
    unfinished = path.absolute().with_name(path.name + ".unfinished")  # workers may be elsewhere
    try:
        _begin(cube, plan, unfinished)
        jobs = [*_image_jobs(cube, plan, unfinished), *_target_jobs(cube, plan, unfinished)]
        _run(jobs, workers, progress)
        remove_strays(unfinished)
        write_manifest(unfinished)
        unfinished.rename(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    return path


def _unwritable(path: Path, error: OSError) -> CubeError:
    return CubeError(
        f"{path} cannot be written",
        expected="a folder that can be written, with room for the cube",
        found=error.strerror or str(error),
    )


def _check(path: Path, samples: int, workers: int) -> None:
    if path.exists():
        raise CubeError(
            f"{path} exists already", expected="a path that is free", do="choose another name"
        )
    if path.suffix != ".zarr":
        raise CubeError(f"{path}", expected="a name that ends in .zarr", found=path.name)
    for name, value, least in (("samples", samples, 1), ("workers", workers, 0)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise CubeError(name, expected=f"a whole number, {least} or more", found=repr(value))


def _begin(cube: xr.DataTree, plan: Plan, unfinished: Path) -> None:
    """Write the frame, unless it is there; refuse one of another cube."""
    if unfinished.exists():
        if _plan_in(unfinished) == plan.digest:
            return
        raise CubeError(
            f"{unfinished} was left by a call with another cube, or another number of samples",
            expected="the beginning of this store",
            found="the beginning of another one",
            do="delete it, or choose another name",
        )
    frame = unfinished.with_name(f"{unfinished.name}.frame")
    shutil.rmtree(frame, ignore_errors=True)
    frame.parent.mkdir(parents=True, exist_ok=True)
    write_frame(cube, plan, frame)
    frame.rename(unfinished)


def _plan_in(unfinished: Path) -> str | None:
    try:
        root = json.loads((unfinished / "zarr.json").read_text(encoding="utf-8"))
        return root["attributes"].get(PLAN)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _run(jobs: list[Any], workers: int, progress: Callable[[int, int], None] | None) -> None:
    options: dict[str, Any] = {"scheduler": "processes", "num_workers": workers} if workers else {}
    if progress is not None:
        progress(0, len(jobs))
    for start in range(0, len(jobs), _AT_ONCE):
        try:
            dask.compute(*[job() for job in jobs[start : start + _AT_ONCE]], **options)
        except CubeError as error:
            if hasattr(error, "exception"):  # wrapped on its way from another process
                raise error.exception from None
            raise
        except OSError as error:
            raise CubeError("the cube cannot be read", found=str(error)) from error
        if progress is not None:
            progress(min(len(jobs), start + _AT_ONCE), len(jobs))


# -- what there is to do: one job makes the files of one chunk


def _image_jobs(cube: xr.DataTree, plan: Plan, folder: Path) -> Iterator[Callable[[], Any]]:
    write = dask.delayed(_write_images, pure=False)
    for name, images in plan.modalities.items():
        ds, offset = cube[name].to_dataset(), plan.offset[name]
        read = _Shipped.of(read_of(ds))
        for number in range(images.files):
            if chunk_file(folder / name / "values", number, 4).is_file():
                continue
            first, last = images.span(number)
            a = int(np.searchsorted(offset, first, "right")) - 1
            b = int(np.searchsorted(offset, last, "left"))
            pieces = offset[a : b + 1]

            def job(
                ds: xr.Dataset = ds, read: _Shipped | None = read, a: int = a, b: int = b,
                images: Images = images, number: int = number, pieces: np.ndarray = pieces,
            ) -> Any:  # fmt: skip
                source: Any = read
                if read is None:
                    source = ds["values"].data[a:b], ds["valid"].data[a:b]
                names = ds["sample"].values[a:b].tolist()
                return write(folder, images, number, source, a, pieces, names)

            yield job


def _target_jobs(cube: xr.DataTree, plan: Plan, folder: Path) -> Iterator[Callable[[], Any]]:
    write = dask.delayed(_write_rows, pure=False)
    for name, rows in plan.targets.items():
        data = cube[TARGETS][name].data
        for number in range(rows.files):
            if chunk_file(folder / rows.path, number, 1 + len(rows.shape)).is_file():
                continue

            def job(data: Any = data, rows: Images = rows, number: int = number) -> Any:
                return write(folder, rows, number, data[slice(*rows.span(number))])

            yield job


class _Shipped:
    """How samples are read, on its way to workers: pickled once, however many jobs want it.

    No dataclass, which dask would search for lazy arrays, job by job.
    """

    def __init__(self, read: Read) -> None:
        self.read, self._pickled = read, b""

    @classmethod
    def of(cls, read: Read | None) -> _Shipped | None:
        return None if read is None else cls(read)

    def __reduce__(self) -> tuple[Any, ...]:
        self._pickled = self._pickled or cloudpickle.dumps(self.read)
        return _arrived, (self._pickled,)


@lru_cache(maxsize=16)
def _arrived(pickled: bytes) -> _Shipped:
    return _Shipped(pickle.loads(pickled))


# -- what a worker does


def _write_images(
    folder: Path,
    images: Images,
    number: int,
    source: Any,
    start: int,
    pieces: np.ndarray,
    names: list[str],
) -> None:
    first, last = images.span(number)
    values = np.zeros((images.chunk, *images.shape), images.dtype)
    valid = np.zeros((images.chunk, *images.shape[1:]), bool)
    for k, name in enumerate(names):
        begin, end = int(pieces[k]), int(pieces[k + 1])
        if begin == end:
            continue
        where = f"{images.path}: sample {name!r}"
        found = _sample(where, source, start, k, end - begin, images.shape[1:])
        _refuse(where, found, end - begin, images)
        a, b = max(first, begin), min(last, end)
        for out, part in zip((values, valid), found, strict=True):
            out[a - first : b - first] = part[a - begin : b - begin]
    flat = valid.reshape(images.chunk, -1)
    place = folder / images.path
    _put(chunk_file(place / "valid", number, 2), np.packbits(flat, axis=1))
    _put(chunk_file(place / "share", number, 1), flat.mean(1, dtype=np.float64).astype("<f4"))
    _put(chunk_file(place / "values", number, 4), values)  # last: with it, the others are there


def _sample(
    where: str, source: Any, start: int, k: int, dates: int, pixels: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(source, _Shipped):
        return tuple(np.asarray(part[k][:dates]) for part in source)
    try:
        return source.read(start + k, whole(pixels))
    except LabError as error:
        raise CubeError(
            f"{where}: {error.what}", expected=error.expected, found=error.found, do=error.do
        ) from error
    except OSError as error:
        raise CubeError(f"{where} cannot be read", found=str(error)) from error


def _refuse(where: str, found: tuple[np.ndarray, np.ndarray], dates: int, images: Images) -> None:
    expected = (dates, *images.shape)
    if found[0].shape != expected or found[1].shape != (dates, *images.shape[1:]):
        raise CubeError(
            f"{where} cannot be packed",
            expected=f"{expected} values, and as many flags",
            found=f"{found[0].shape} and {found[1].shape}",
            do="the files changed since the cube was opened: open it again",
        )


def _write_rows(folder: Path, rows: Images, number: int, data: np.ndarray) -> None:
    out = np.zeros((rows.chunk, *rows.shape), rows.dtype)
    out[: len(data)] = data
    _put(chunk_file(folder / rows.path, number, 1 + len(rows.shape)), out)


def _put(path: Path, array: np.ndarray) -> None:
    """Write a file whole: under another name first."""
    other = path.with_name(f"{path.name}.{os.getpid()}.part")
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with other.open("wb") as file:
            file.write(memoryview(array.reshape(-1)).cast("B") if array.size else b"")
        other.replace(path)
        assert path.stat().st_size == math.prod(array.shape) * array.itemsize
    except OSError as error:
        raise _unwritable(path, error) from error
