"""``s2-naip``: the native layout of S2-NAIP urban, 640 m tiles of cities of the United States.

A folder with lists of tiles (``train.csv`` ..., column ``name``), ``naip/{name}.png``,
``sentinel2/{name}_stacked.tif``, ``sentinel1/{name}.tif``, and the names of the products that each
was made from in ``dates/naip``, ``dates/s2`` and ``dates/s1``, as ``{name}.txt``, one a line. What
is done with them:

* A series is one file whose bands run product by product. Series are sorted by date. Products of
  one satellite, day and orbit are parts of one acquisition: the first is kept, else a masked date
  would stay visible in its twin.
* A tile with neither image nor dates of a series, or with no product among the dates, lacks that
  modality.
* Sentinel-2 comes without cloud masks: pixels are valid unless all their bands are 0. Radar is in
  decibels; NaN and an exact 0 are not valid.
* NAIP images are stored as R, G, B, NIR; near infrared comes first here, as in the models. The
  modality ``spot`` is the same image without near infrared.
* Tiles lie in many UTM zones, and pictures tell none: no reference system is kept.
* Landsat, which the models leave out, is not read. There are no targets.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from maestro_lab.cubes.contract import assemble
from maestro_lab.cubes.dates import padded
from maestro_lab.cubes.reading import Where, lazy_modality
from maestro_lab.cubes.sources.files import (
    AGAIN,
    all_there,
    days_of,
    raster_header,
    read_raster,
    refuse_options,
)
from maestro_lab.cubes.sources.lists import SPLITS, Lists, chosen_modalities
from maestro_lab.cubes.sources.series import (
    DUPLICATES,
    Plan,
    clear_optical,
    clear_radar,
    no_dates,
    plan_series,
    read_stack,
    same_numbers,
    without_nan,
)
from maestro_lab.errors import CubeError

__all__ = ["open_s2_naip"]

_MODALITIES = ("aerial", "spot", "s2", "s1")
_PRODUCTS = {"s2": ("sentinel2/{}_stacked.tif", "s2"), "s1": ("sentinel1/{}.tif", "s1")}
_S2_BANDS = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]
_NAIP = {"aerial": (["NIR", "R", "G", "B"], [3, 0, 1, 2]), "spot": (["R", "G", "B"], [0, 1, 2])}
_FINE, _COARSE = (512, 512), (64, 64)


def open_s2_naip(
    root: str | Path = "s2-naip-urban",
    splits: Sequence[str] | str = SPLITS,
    version: str = "",
    filtered: float | None = None,
    fold: int | None = None,
    modalities: Sequence[str] | str | None = None,
    duplicates: str = "drop",
    limit: int | None = None,
) -> xr.DataTree:
    """Open an S2-NAIP urban folder; pixels are read when they are used.

    Dates stand in three small text files a tile, which are read at once.

    Parameters
    ----------
    root
        The folder with the lists.
    splits
        Which of train, val and test to read.
    version, filtered, fold
        Which lists: ``{split}[_{version}][_filtered_{percent}][_fold_{fold}].csv``.
    modalities
        Some of aerial, spot, s2 and s1; None opens all.
    duplicates
        "drop" keeps the first of several products of one acquisition, "keep" keeps all.
    limit
        At most so many samples a split.

    Returns
    -------
    xarray.DataTree
        Samples are whole tiles of 640 m: ``aerial`` and ``spot`` (1.25 m), ``s2`` (DN) and ``s1``
        (dB). The reference date is that of the NAIP image. Each tile is its own spatial block.

    Raises
    ------
    CubeError
        Names the file that is missing or damaged.
    """
    root = Path(root).expanduser()
    lists = Lists("s2-naip", root, "name", splits, version, filtered, fold, limit)
    chosen = chosen_modalities("s2-naip", _MODALITIES, modalities)
    refuse_options(
        "s2-naip", (duplicates in DUPLICATES, "duplicates", "'drop' or 'keep'", duplicates)
    )
    table = lists.read()
    tiles = table["name"].tolist()
    days = np.concatenate([_naip_day(root, tile) for tile in tiles])
    if set(chosen) & set(_NAIP):
        all_there(root / "naip", map("{}.png".format, tiles), "a picture of each tile of the lists")
    return assemble(
        {name: _modality(name, root, tiles, days, duplicates) for name in chosen},
        sample=(table["split"] + "/" + table["name"]).tolist(),
        split=table["split"].tolist(),
        block=np.arange(len(tiles)),
        extra={"ref_date": days},
        title="S2-NAIP urban: cities of the United States from NAIP, Sentinel-1 and -2",
        licence="Apache-2.0",
        source=str(root),
        attrs={"window": 640.0},
    )


def _modality(
    name: str, root: Path, tiles: list[str], days: np.ndarray, duplicates: str
) -> xr.Dataset:
    if name in _NAIP:
        bands, order = _NAIP[name]
        return lazy_modality(
            _ReadPicture(root, tiles, order), days[:, None], bands=bands, pixels=_FINE,
            dtype=np.uint8, units="DN", gsd=1.25, sensor_name="aerial",
        )  # fmt: skip
    plans = [_plan(root, name, tile, duplicates) for tile in tiles]
    time = padded([plan.time for plan in plans])
    if name == "s1":
        return lazy_modality(
            _ReadSeries(name, root, tiles, plans, "float32"), time, bands=["VV", "VH"],
            pixels=_COARSE, dtype=np.float32, units="dB", gsd=10.0, sensor_name="sentinel-1",
        )  # fmt: skip
    first = next((tile for tile, p in zip(tiles, plans, strict=True) if p.stored), None)
    dtype = "float32" if first is None else raster_header(_image(root, name, first))[0]
    return lazy_modality(
        _ReadSeries(name, root, tiles, plans, dtype), time, bands=_S2_BANDS, pixels=_COARSE,
        dtype=dtype, units="DN", gsd=10.0, sensor_name="sentinel-2",
    )  # fmt: skip


# -- dates


def _image(root: Path, name: str, tile: str) -> Path:
    return root / _PRODUCTS[name][0].format(tile)


def _products(path: Path) -> list[str]:
    """Return the names in a file, which stand on lines of their own or between commas."""
    try:
        return [p for p in re.split(r"[\s,;]+", path.read_text(encoding="utf-8")) if p]
    except (OSError, UnicodeDecodeError) as error:
        found = error.strerror if isinstance(error, OSError) else error
        raise CubeError(
            f"{path} cannot be read", expected="names of products", found=found, do=AGAIN
        ) from error


def _naip_day(root: Path, tile: str) -> np.ndarray:
    path = root / "dates" / "naip" / f"{tile}.txt"
    products = _products(path)
    if len(products) != 1:
        raise CubeError(
            f"{path}", expected="the name of one product", found=", ".join(products) or "nothing"
        )
    return days_of(f"{path}", [products[0].split("_")[-1]], "YYYYMMDD as last field of the name")


def _plan(root: Path, name: str, tile: str, duplicates: str) -> Plan:
    path = root / "dates" / _PRODUCTS[name][1] / f"{tile}.txt"
    image = _image(root, name, tile)
    if not path.exists() and not image.exists():
        return plan_series(np.zeros(0, "datetime64[ns]"))
    products = _products(path)
    if products and not image.is_file():
        raise CubeError(f"{image} does not exist", expected=f"as {path} has dates", do=AGAIN)
    fields = [product.split("_") for product in products]
    short = [p for p, parts in zip(products, fields, strict=True) if len(parts) < 5]
    expected = "YYYYMMDD as fifth field from the end of a product's name"
    if short:
        raise CubeError(f"{path}: a date", expected=expected, found=short[0])
    days = days_of(f"{path}", [parts[-5] for parts in fields], expected)
    # satellite, day, and the orbit: relative for Sentinel-2, absolute for Sentinel-1
    passes = [(p[0], day, p[-3]) for p, day in zip(fields, days.tolist(), strict=True)]
    return plan_series(days, passes, duplicates)


# -- pixels


@dataclass(frozen=True)
class _ReadPicture:
    """Reads bands of the NAIP image of a tile."""

    root: Path
    tiles: Sequence[str]
    order: Sequence[int]

    def __call__(self, sample: int, where: Where) -> tuple[np.ndarray, np.ndarray]:
        path = self.root / "naip" / f"{self.tiles[sample]}.png"
        image = read_raster(path, bands=self.order, where=where, count=4, size=_FINE, dtype="uint8")
        return image[None], np.ones((1, *image.shape[1:]), bool)


@dataclass(frozen=True)
class _ReadSeries:
    """Reads one Sentinel series of a tile."""

    name: str
    root: Path
    tiles: Sequence[str]
    plans: Sequence[Plan]
    dtype: str

    def __call__(self, sample: int, where: Where) -> tuple[np.ndarray, np.ndarray]:
        plan, bands = self.plans[sample], 2 if self.name == "s1" else len(_S2_BANDS)
        if not len(plan.rows):
            return no_dates(bands, where, self.dtype)
        path = _image(self.root, self.name, self.tiles[sample])
        values = read_stack(path, plan, bands, _COARSE, where)
        if self.name == "s1":
            values = values.astype(np.float32)
            return without_nan(values), clear_radar(values, linear=False)
        values = same_numbers(path, values, self.dtype)
        return without_nan(values), clear_optical(values)
