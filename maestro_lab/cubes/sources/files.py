"""Reading native files, each failure as one error that names the file and what to do."""

from __future__ import annotations

import json
import os
import threading
import tokenize
import warnings
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from maestro_lab.errors import CubeError

__all__ = [
    "all_there",
    "day_of",
    "days_of",
    "raster_header",
    "read_array",
    "read_json",
    "read_raster",
    "read_table",
    "refuse_options",
    "there",
]

AGAIN = "fetch it again"
_OPENING = threading.Lock()  # filters of warnings belong to the process, not to a thread


def there(path: Path, expected: str, do: str = AGAIN) -> Path:
    """Return a path that exists.

    Raises
    ------
    CubeError
        If there is nothing.
    """
    if not path.exists():
        raise CubeError(f"{path} does not exist", expected=expected, do=do)
    return path


def all_there(folder: Path, names: Iterable[str], expected: str) -> None:
    """Refuse a folder that lacks one of some files; looks the folder up once.

    Raises
    ------
    CubeError
        For the first that is not there, or is no file.
    """
    try:
        with os.scandir(folder) as entries:
            found = {entry.name for entry in entries if entry.is_file()}
    except OSError as error:
        raise CubeError(
            f"{folder} cannot be listed", expected=expected, found=error.strerror, do=AGAIN
        ) from error
    for name in names:
        if name not in found:
            what = "is no file" if (folder / name).exists() else "does not exist"
            raise CubeError(f"{folder / name} {what}", expected=expected, do=AGAIN)


def refuse_options(kind: str, *rules: tuple[bool, str, str, object]) -> None:
    """Refuse options of a reader: rules are (is good, name, what was expected, what was found).

    Raises
    ------
    CubeError
        For the first rule that is broken.
    """
    for good, name, expected, found in rules:
        if not good:
            raise CubeError(f"{kind}: {name}", expected=expected, found=repr(found))


def read_table(path: Path, columns: Sequence[str], *, text: Sequence[str] = ()) -> pd.DataFrame:
    """Read a csv file; ``columns`` must be there, those in ``text`` are read as text.

    Raises
    ------
    CubeError
        If the file is missing, no csv file, or lacks a column.
    """
    there(path, f"a csv file with {', '.join(columns)}")
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(text, str))
    except (ValueError, OSError) as error:  # pandas' parser errors and wrong encodings are such
        raise CubeError(
            f"{path} cannot be read", expected="a csv file", found=error, do=AGAIN
        ) from error
    missing = [name for name in columns if name not in table]
    if missing:
        raise CubeError(
            f"{path}: column {missing[0]!r} is missing",
            expected=", ".join(columns),
            found=", ".join(map(str, table.columns)),
        )
    return table


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    CubeError
        If it is missing or damaged.
    """
    there(path, "a JSON file")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CubeError(
            f"{path} cannot be read", expected="JSON", found=str(error), do=AGAIN
        ) from error


def read_array(path: Path, shape: Sequence[int | None], *, kinds: str = "uif") -> np.ndarray:
    """Map a ``.npy`` file into memory; nothing is unpickled.

    Parameters
    ----------
    path
        The file.
    shape
        Its shape, None where any length will do.
    kinds
        Kinds of numbers that may be in it, as numpy's ``dtype.kind`` names them.

    Raises
    ------
    CubeError
        If it is missing, damaged, of another shape or kind.
    """
    there(path, "a .npy file")
    try:
        array = np.lib.format.open_memmap(path, mode="r")  # refuses Python objects
    except (ValueError, OSError, EOFError, tokenize.TokenError) as error:
        raise CubeError(
            f"{path} cannot be read", expected="numbers in a .npy file", found=error, do=AGAIN
        ) from error
    fits = array.ndim == len(shape) and all(
        n in (None, m) for n, m in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype.kind not in kinds:
        wanted = " x ".join("any" if n is None else str(n) for n in shape)
        raise CubeError(
            f"{path}",
            expected=f"{wanted} numbers",
            found=f"{' x '.join(map(str, array.shape))} in {array.dtype}",
        )
    return array


def read_raster(
    path: Path,
    *,
    bands: Sequence[int] | None = None,
    where: tuple[slice, slice] | None = None,
    count: int | None = None,
    size: tuple[int, int] | None = None,
    dtype: str | None = None,
    crs: Any = None,
    reason: str = "",
) -> np.ndarray:
    """Read an image file (band, y, x).

    Parameters
    ----------
    path
        GeoTIFF, or anything else that rasterio reads, with a place on the ground or without.
    bands
        Numbers of the bands to read, from 0; None reads all.
    where
        Rows and columns to read; None reads all.
    count, size, dtype
        What the file must have: bands, (rows, columns), type of numbers.
    crs
        A rasterio coordinate reference system that the file must have, where it tells one.
    reason
        Why there must be so many bands, for the error.

    Raises
    ------
    CubeError
        If it is missing, damaged or something else than expected.
    """
    from rasterio.errors import RasterioError
    from rasterio.windows import Window

    there(path, "an image file")
    try:
        with _gdal(path), _open_raster(path) as file:
            found = (file.count, file.shape, file.dtypes[0])
            for wanted, given, what in zip(
                (count, size, dtype), found, ("bands", "rows and columns", "numbers"), strict=True
            ):
                if wanted is not None and wanted != given:
                    why = f" ({reason})" if reason and what == "bands" else ""
                    raise CubeError(
                        f"{path}: {what}", expected=f"{wanted}{why}", found=given, do=AGAIN
                    )
            _check_crs(path, crs, file.crs)
            window = None if where is None else Window.from_slices(*where)
            chosen = None if bands is None else [b + 1 for b in bands]
            return file.read(chosen, window=window)
    except (RasterioError, OSError) as error:
        raise _no_image(path, error) from error


def _gdal(path: Path) -> AbstractContextManager[Any]:
    """Keep GDAL from what costs time or hides damage.

    It would list the folder of each file, which may hold a hundred thousand, and take a truncated
    png for a whole one.
    """
    import rasterio

    options = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
    if path.suffix.lower() == ".png":
        options["GDAL_PNG_WHOLE_IMAGE_OPTIM"] = "NO"
    return rasterio.Env(**options)


def _open_raster(path: Path) -> Any:
    """Open an image; one without a place on the ground is nothing to warn of."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    with _OPENING, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path)


def _check_crs(path: Path, wanted: Any, found: Any) -> None:
    if not wanted or not found or wanted == found:
        return
    if None not in (wanted.to_epsg(), found.to_epsg()) and wanted.to_epsg() == found.to_epsg():
        return  # the same, in other words
    raise CubeError(
        f"{path}: coordinate reference system",
        expected=f"{wanted}, as in the first sample",
        found=found,
        do="leave the sample out, or bring it to the system of the others",
    )


def raster_header(path: Path) -> tuple[str, Any]:
    """Return the type of numbers and the coordinate reference system (or None) of an image file.

    Raises
    ------
    CubeError
        If it is missing or damaged.
    """
    from rasterio.errors import RasterioError

    there(path, "an image file")
    try:
        with _gdal(path), _open_raster(path) as file:
            return file.dtypes[0], file.crs
    except (RasterioError, OSError) as error:
        raise _no_image(path, error) from error


def _no_image(path: Path, error: Exception) -> CubeError:
    reason = str(error).splitlines()[0]
    return CubeError(f"{path} cannot be read", expected="an image", found=reason, do=AGAIN)


def day_of(text: object) -> np.datetime64:
    """Turn ``YYYYMMDD`` or ISO dates into a date; a day 00 stands for the first of its month.

    Raises
    ------
    ValueError
        If it is no date.

    Examples
    --------
    >>> day_of("20200800")
    np.datetime64('2020-08-01')
    """
    plain = str(text).strip().replace("-", "")[:8]
    if len(plain) != 8 or not plain.isdigit():
        raise ValueError(f"{text!r} is no date")
    day = "01" if plain[6:] == "00" else plain[6:]
    return np.datetime64(f"{plain[:4]}-{plain[4:6]}-{day}", "D")


def days_of(where: str, texts: Sequence[object], expected: str = "YYYYMMDD") -> np.ndarray:
    """Turn texts into dates (t,); an error names where they stand.

    Raises
    ------
    CubeError
        If one of them is no date.
    """
    try:
        days = [day_of(text) for text in texts]
    except ValueError as error:
        raise CubeError(f"{where}: a date", expected=expected, found=str(error)) from error
    return np.array(days, "datetime64[ns]") if days else np.zeros(0, "datetime64[ns]")
