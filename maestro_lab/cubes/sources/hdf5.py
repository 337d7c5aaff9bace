"""Reading HDF5 files, each failure as one error that names the file and what to do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from maestro_lab.cubes.sources.files import AGAIN, there
from maestro_lab.errors import CubeError

if TYPE_CHECKING:
    import h5py

__all__ = ["header", "read_h5", "read_small"]

T = TypeVar("T")


def read_h5(path: Path, read: Callable[..., T], *args: Any, holds: str = "data sets") -> T:
    """Open an HDF5 file and return ``read(file, *args)``.

    Where the file is compressed by a filter that h5py lacks, the package hdf5plugin is asked.

    Parameters
    ----------
    path
        The file.
    read
        Takes the open file and ``args``.
    *args
        Handed on.
    holds
        What such a file holds, for the error.

    Raises
    ------
    CubeError
        If the file is missing or damaged, lacks a data set, or needs a filter that is not there.
    """
    import h5py

    there(path, "an HDF5 file")
    try:
        with h5py.File(path, "r") as file:
            try:
                return read(file, *args)
            except OSError as error:
                if not _learn_filters(path, file, error):
                    raise
                return read(file, *args)
    except KeyError as error:
        raise CubeError(f"{path} lacks a data set", expected=holds, found=error.args[0]) from error
    except (OSError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CubeError(
            f"{path} cannot be read", expected="an HDF5 file", found=reason, do=AGAIN
        ) from error


def _learn_filters(path: Path, file: h5py.File, error: OSError) -> bool:
    """Load hdf5plugin if the file needs one of its filters; False if no filter is lacking."""
    lacking = _lacking_filters(file)
    if lacking:
        with suppress(ImportError):
            import hdf5plugin  # noqa: F401  registers its filters
        still = _lacking_filters(file)
        if still:
            raise CubeError(
                f"{path} is compressed in a way that h5py alone cannot read",
                expected="the package hdf5plugin",
                found=f"HDF5 filter {', '.join(still)}",
                do="pip install 'maestro-lab[olmoearth]'",
            ) from error
    return bool(lacking)


def _lacking_filters(file: h5py.File) -> list[str]:
    import h5py

    found: dict[str, None] = {}

    def look(_: str, thing: h5py.Group | h5py.Dataset) -> None:
        if not isinstance(thing, h5py.Dataset):
            return
        properties = thing.id.get_create_plist()
        for number in range(properties.get_nfilters()):
            code, *_, name = properties.get_filter(number)
            if not h5py.h5z.filter_avail(code):
                words = name.decode(errors="replace").split(";")[0]  # a link may follow
                found[f"{code} {words}".strip()] = None

    file.visititems(look)
    return list(found)


def read_small(file: h5py.File, name: str) -> np.ndarray:
    """Read a whole data set with as little overhead as h5py allows.

    Raises
    ------
    KeyError
        If there is no such data set.
    """
    from h5py import h5s

    data = _open(file, name)
    out = np.empty(data.shape, data.dtype)
    data.read(h5s.ALL, h5s.ALL, out)
    return out


def header(file: h5py.File, name: str) -> tuple[tuple[int, ...], np.dtype]:
    """Return shape and type of numbers of a data set; its values are not read.

    Raises
    ------
    KeyError
        If there is no such data set.
    """
    data = _open(file, name)
    return data.shape, data.dtype


def _open(file: h5py.File, name: str) -> h5py.h5d.DatasetID:
    import h5py

    try:
        return h5py.h5d.open(file.id, name.encode())
    except KeyError as error:
        raise KeyError(f"no data set {name!r}") from error
