"""Reading native files, each failure as one error that names the file and what to do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from maestro_lab.errors import CubeError

__all__ = [
    "day_of",
    "days_of",
    "read_array",
    "read_json",
    "read_picture",
    "read_raster",
    "read_table",
    "refuse_options",
    "there",
]

AGAIN = "fetch it again"


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
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
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
) -> np.ndarray:
    """Read an image file (band, y, x).

    Parameters
    ----------
    path
        GeoTIFF, or anything else that rasterio reads.
    bands
        Numbers of the bands to read, from 0; None reads all.
    where
        Rows and columns to read; None reads all.
    count, size, dtype
        What the file must have: bands, (rows, columns), type of numbers.

    Raises
    ------
    CubeError
        If it is missing, damaged or something else than expected.
    """
    import rasterio
    from rasterio.errors import RasterioError
    from rasterio.windows import Window

    there(path, "an image file")
    try:
        with rasterio.open(path) as file:
            found = (file.count, file.shape, file.dtypes[0])
            for wanted, given, what in zip(
                (count, size, dtype), found, ("bands", "rows and columns", "numbers"), strict=True
            ):
                if wanted is not None and wanted != given:
                    raise CubeError(f"{path}: {what}", expected=wanted, found=given, do=AGAIN)
            window = None if where is None else Window.from_slices(*where)
            chosen = None if bands is None else [b + 1 for b in bands]
            return file.read(chosen, window=window)
    except (RasterioError, OSError) as error:
        raise CubeError(
            f"{path} cannot be read",
            expected="an image",
            found=str(error).splitlines()[0],
            do=AGAIN,
        ) from error


def read_picture(path: Path, *, where: tuple[slice, slice] | None = None) -> np.ndarray:
    """Read a picture without a place on the ground, such as a png, as (band, y, x).

    Raises
    ------
    CubeError
        If it is missing or damaged.
    """
    import warnings

    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return read_raster(path, where=where)


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
