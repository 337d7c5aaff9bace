"""What image files say of themselves: their date, grid, bands and fill value."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maestro_lab.cubes.scenes.ground import Grid, same_crs
from maestro_lab.cubes.sources.files import AGAIN, there
from maestro_lab.errors import CubeError

__all__ = ["ENDINGS", "Image", "date_in", "image_of", "images_in", "same_grid"]

ENDINGS = (".tif", ".tiff")
"""Endings of image files, in small letters."""

_TAGS = ("date", "acquisition_date", "datetime", "tifftag_datetime")
_DAY = re.compile(
    r"(?<!\d)((?:19|20)\d\d)([-_]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])"
    r"(?:[T_ ]?([01]\d|2[0-3])([0-5]\d)([0-5]\d))?(?!\d)"
)
_DAY_OF_YEAR = re.compile(r"(?<!\d)((?:19|20)\d\d)([0-3]\d\d)(?!\d)")
_OLD_LANDSAT = re.compile(r"^L[A-Z]\d\d{6}((?:19|20)\d\d)([0-3]\d\d)(?=[A-Z])")


@dataclass(frozen=True)
class Image:
    """One image file.

    Parameters
    ----------
    path
        The file.
    grid
        Its pixels.
    bands
        Descriptions of its bands, empty where there are none.
    dtype
        Type of its numbers.
    nodata
        Its fill value, None or NaN where there is none.
    date
        When it was taken, NaT where neither name nor tags say it.
    scaled
        Whether a scale or an offset is noted beside the numbers.
    """

    path: Path
    grid: Grid
    bands: tuple[str, ...]
    dtype: str
    nodata: float | None
    date: np.datetime64
    scaled: bool


def images_in(folder: Path) -> list[Path]:
    """Return the image files of a folder, by name."""
    files = (f for f in folder.iterdir() if f.suffix.lower() in ENDINGS and f.is_file())
    return sorted(f for f in files if not f.name.startswith("."))


def date_in(name: str) -> np.datetime64 | None:
    """Return the first date in a file name: YYYYMMDD, YYYY-MM-DD or YYYYDDD; with the time of day.

    Examples
    --------
    >>> date_in("S2A_MSIL2A_20190704T104031_N0212_R008_T32UMD_20190704T133424.tif")
    np.datetime64('2019-07-04T10:40:31')
    >>> date_in("LC81950252019185LGN00_B4.TIF"), date_in("field_2019-07-04.tif")
    (np.datetime64('2019-07-04T00:00:00'), np.datetime64('2019-07-04T00:00:00'))
    """
    return next(_dates_in(name), None)


def _dates_in(name: str) -> Iterator[np.datetime64]:
    for match in _DAY.finditer(name):
        year, _, month, day, *clock = match.groups()
        time = ":".join(clock) if clock[0] else "00:00:00"
        try:
            yield np.datetime64(f"{year}-{month}-{day}T{time}", "s")
        except ValueError:  # 30 February
            continue
    for pattern in (_OLD_LANDSAT, _DAY_OF_YEAR):
        for match in pattern.finditer(name):
            first, number = np.datetime64(match[1], "D"), int(match[2])
            if 1 <= number <= 366:
                yield (first + (number - 1)).astype("datetime64[s]")


def image_of(path: Path) -> Image:
    """Read what an image file says of itself.

    Raises
    ------
    CubeError
        If it is missing, damaged or not placed on square pixels in metres.
    """
    import rasterio
    from rasterio.errors import RasterioError

    there(path, "an image file")
    try:
        with rasterio.open(path) as file:
            transform, crs, tags = file.transform, file.crs, file.tags()
            grid = Grid(transform.c, transform.f, abs(transform.a), file.shape, crs)
            image = Image(
                path,
                grid,
                tuple(file.descriptions) if all(file.descriptions) else ("",) * file.count,
                np.result_type(*file.dtypes).name,
                file.nodata,
                _date(path, tags),
                set(file.scales) != {1.0} or set(file.offsets) != {0.0},
            )
    except (RasterioError, OSError) as error:
        raise CubeError(
            f"{path} cannot be read",
            expected="an image with a place on the ground, such as a GeoTIFF",
            found=(str(error).splitlines() or [error])[0],
            do=AGAIN,
        ) from error
    square = abs(transform.a + transform.e) <= 1e-6 * transform.a
    if not square or transform.b or transform.d or (crs and crs.is_geographic):
        raise CubeError(
            f"{path}: pixels",
            expected="squares in metres, rows from north to south",
            found=f"{transform.a:g} x {-transform.e:g} in {crs}",
            do="bring it to metres: gdalwarp -t_srs EPSG:... -tr 10 10, or rioxarray's "
            "data.rio.reproject",
        )
    return image


def _date(path: Path, tags: dict[str, str]) -> np.datetime64:
    found = date_in(path.name)
    if found is not None:
        return found
    said = {key.lower(): value for key, value in tags.items()}
    for key in _TAGS:
        text = said.get(key, "").replace(":", "-", 2) if key in said else ""
        found = date_in(text.replace(":", ""))
        if found is not None:
            return found
    return np.datetime64("NaT", "s")


def same_grid(first: Image, other: Image) -> None:
    """Refuse an image that does not lie on the pixels of another.

    Raises
    ------
    CubeError
        Names both files and what differs.
    """
    one, two = first.grid, other.grid
    for what, a, b, differs in (
        ("reference system", one.crs, two.crs, not same_crs(one.crs, two.crs)),
        ("metres a pixel", one.gsd, two.gsd, one.gsd != two.gsd),
        ("upper-left corner", (one.west, one.north), (two.west, two.north),
         max(abs(one.west - two.west), abs(one.north - two.north)) > 0.01 * one.gsd),
        ("rows and columns", one.shape, two.shape, one.shape != two.shape),
    ):  # fmt: skip
        if differs:
            raise CubeError(
                f"{other.path.name}: another {what} than {first.path.name}",
                expected=a,
                found=b,
                do="bring all files to one grid: gdalwarp -te west south east north -tr 10 10, or "
                "merge tiles of one date with rioxarray.merge.merge_arrays",
            )
