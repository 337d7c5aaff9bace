"""``flair-hub`` and ``flair2``: the native layout of FLAIR-HUB, 102.4 m tiles of land cover.

A folder with lists of tiles (``train.csv`` ..., for FLAIR#2 ``train_flair2.csv`` ..., column
``patch_id``, which is DOMAIN_AREA_POSITION), GeoTIFF files named
``{domain}_{KIND}/{area}/{domain}_{KIND}_{area}_{position}.tif``, and their dates in
``GLOBAL_ALL_MTD/GLOBAL_{KIND}_MTD_DATES.gpkg``. What is done with them:

* A series is one file whose bands run date by date. Series are sorted by date; of rows with one
  date the first is kept, else a masked date would stay visible in its twin.
* Dates of series are looked up for the tile, else for its area. A tile without dates lacks the
  modality, and its file is not opened.
* Sentinel-2 pixels are valid where no mask (snow, clouds, in percent) is above the threshold and
  not all bands are 0. Radar is valid above 0, elevation above -1000 m; NaN is nowhere valid.
* Aerial images are stored as R, G, B, NIR; near infrared comes first here, as in the models.
* The elevation model has no date of its own: it takes that of the aerial image.
* The reference system is that of a modality's first file; a file in another one is refused.
* Crops (``ALL_LABEL-LPIS``) are left out: the names of their classes are not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from maestro_lab.cubes.contract import assemble
from maestro_lab.cubes.dates import padded
from maestro_lab.cubes.reading import Where, lazy_modality
from maestro_lab.cubes.sources.files import AGAIN, raster_header, read_raster, refuse_options
from maestro_lab.cubes.sources.flair_files import Tiles, aerial_days, series_days
from maestro_lab.cubes.sources.lists import SPLITS, Lists, chosen_modalities
from maestro_lab.cubes.sources.maps import lazy_map
from maestro_lab.cubes.sources.series import (
    DUPLICATES,
    Plan,
    check_labels,
    clear_optical,
    clear_radar,
    no_dates,
    plan_series,
    read_stack,
    same_numbers,
    without_nan,
)
from maestro_lab.errors import CubeError

__all__ = ["CLASSES", "open_flair"]

CLASSES = [
    "building",
    "greenhouse",
    "swimming pool",
    "impervious surface",
    "pervious surface",
    "bare soil",
    "water",
    "snow",
    "herbaceous vegetation",
    "agricultural land",
    "plowed land",
    "vineyard",
    "deciduous",
    "coniferous",
    "brushwood",
]
VERSIONS = {
    "flair-hub": ("aerial", "dem", "s2", "s1_asc", "s1_des"),
    "flair2": ("aerial", "dem", "s2"),
}
"""Version to its modalities."""

MISSING = -1
"""Label of pixels that do not count."""

_IGNORED = {"flair-hub": [], "flair2": [1, 2, 7]}
_HIGHEST = 18  # of the labels in the files
_BANDS = {
    "aerial": ["NIR", "R", "G", "B"],
    "dem": ["surface", "terrain"],
    "s2": ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"],
    "s1_asc": ["VV", "VH"],
    "s1_des": ["VV", "VH"],
}
_ABOUT: dict[str, dict[str, Any]] = {
    "aerial": {"units": "DN", "gsd": 0.2, "sensor_name": "aerial"},
    "dem": {"units": "m", "gsd": 0.2, "sensor_name": "elevation"},
    "s2": {"units": "DN", "gsd": 10.24, "sensor_name": "sentinel-2"},
    "s1_asc": {"units": "linear power", "gsd": 10.24, "sensor_name": "sentinel-1"},
    "s1_des": {"units": "linear power", "gsd": 10.24, "sensor_name": "sentinel-1"},
}
_TITLES = {
    "flair-hub": "FLAIR-HUB: land cover of France from aerial images, elevation, Sentinel-1 and -2",
    "flair2": "FLAIR#2: land cover of France from aerial images, elevation and Sentinel-2",
}
_AERIAL_ORDER = [3, 0, 1, 2]
_FINE, _COARSE = (512, 512), (10, 10)
_NO_ELEVATION = -1000.0  # metres; nodata is a number far below any land


def open_flair(
    root: str | Path = "FLAIR-HUB",
    version: str = "flair-hub",
    splits: Sequence[str] | str = SPLITS,
    filtered: float | None = None,
    fold: int | None = None,
    modalities: Sequence[str] | str | None = None,
    mask_threshold: float = 0.0,
    duplicates: str = "drop",
    limit: int | None = None,
) -> xr.DataTree:
    """Open a FLAIR-HUB folder; pixels are read when they are used.

    Parameters
    ----------
    root
        The folder with the lists.
    version
        "flair-hub", or "flair2" for the tiles, modalities and classes of FLAIR#2.
    splits
        Which of train, val and test to read.
    filtered, fold
        Which lists: ``{split}[_flair2][_filtered_{percent}][_fold_{fold}].csv``.
    modalities
        Some of aerial, dem, s2, s1_asc and s1_des; None opens all of the version.
    mask_threshold
        A Sentinel-2 pixel is not valid where snow or clouds exceed this many percent.
    duplicates
        "drop" keeps the first of several rows of one date, "keep" keeps the rows as stored.
    limit
        At most so many samples a split.

    Returns
    -------
    xarray.DataTree
        The modalities and the target ``cosia``: 15 classes, -1 where the annotation is another
        (clear cut, ligneous, mixed, undefined; in FLAIR#2 greenhouse, swimming pool and snow too).
        Each area is a spatial block.

    Raises
    ------
    CubeError
        Names the file that is missing or damaged.
    """
    root = Path(root).expanduser()
    _check(version, mask_threshold, duplicates)
    chosen = chosen_modalities(version, VERSIONS[version], modalities)
    suffix = "flair2" if version == "flair2" else ""
    lists = Lists(version, root, "patch_id", splits, suffix, filtered, fold, limit)
    table = lists.read()
    _check_names(lists, table)
    tiles = Tiles(root, table["name"].tolist())
    day = aerial_days(root, tiles.names)
    once = [plan_series(day[row : row + 1]) for row in range(len(day))]
    plans = dict.fromkeys(("aerial", "dem", "cosia"), once)
    plans |= {n: _plans(tiles, n, duplicates) for n in chosen if n not in plans}
    for name in (*chosen, "cosia", *(["masks"] if "s2" in chosen else [])):
        tiles.check(name, [p.stored > 0 for p in plans["s2" if name == "masks" else name]])
    return assemble(
        {name: _modality(name, tiles, plans[name], mask_threshold) for name in chosen},
        sample=(table["split"] + "/" + table["name"]).tolist(),
        split=table["split"].tolist(),
        block=pd.factorize(table["name"].str.rsplit("_", n=1).str[0])[0],
        extra={"ref_date": day},
        targets=xr.Dataset({"cosia": _target(tiles, version)}),
        title=_TITLES[version],
        licence="etalab-2.0",
        source=str(root),
        attrs={"window": 102.4},
    )


def _check(version: str, mask_threshold: float, duplicates: str) -> None:
    number = isinstance(mask_threshold, int | float) and not isinstance(mask_threshold, bool)
    percent = number and 0 <= mask_threshold <= 100
    refuse_options(
        "flair",
        (version in VERSIONS, "version", " or ".join(map(repr, VERSIONS)), version),
        (percent, "mask_threshold", "percent, 0 to 100", mask_threshold),
        (duplicates in DUPLICATES, "duplicates", "'drop' or 'keep'", duplicates),
    )


def _check_names(lists: Lists, table: pd.DataFrame) -> None:
    wrong = table[table["name"].str.count("_") != 2]
    if len(wrong):
        raise CubeError(
            f"{lists.file(wrong['split'].iloc[0])}: column 'patch_id'",
            expected="DOMAIN_AREA_POSITION",
            found=repr(wrong["name"].iloc[0]),
            do=AGAIN,
        )


def _plans(tiles: Tiles, name: str, duplicates: str) -> list[Plan]:
    days = series_days(tiles.root, name, tiles.names)
    shared = {id(d): d for d in days}  # tiles of one area have one array
    plans = {key: plan_series(d, duplicates=duplicates) for key, d in shared.items()}
    return [plans[id(d)] for d in days]


@dataclass(frozen=True)
class _Read:
    """Reads one modality of a tile; ``dtype`` and ``crs`` are those of the first file."""

    name: str
    tiles: Tiles
    plans: Sequence[Plan]
    dtype: str
    crs: Any
    threshold: float

    def __call__(self, sample: int, where: Where) -> tuple[np.ndarray, np.ndarray]:
        if self.name in ("aerial", "dem"):
            return self._image(self.tiles.path(self.name, sample), where)
        plan, bands = self.plans[sample], len(_BANDS[self.name])
        if not len(plan.rows):
            return no_dates(bands, where, self.dtype)
        path = self.tiles.path(self.name, sample)
        values = read_stack(path, plan, bands, _COARSE, where, self.crs)
        if self.name != "s2":
            values = values.astype(np.float32)
            return without_nan(values), clear_radar(values, linear=True)
        clear = clear_optical(values) & self._unmasked(sample, plan, where)
        return without_nan(same_numbers(path, values, self.dtype)), clear

    def _image(self, path: Path, where: Where) -> tuple[np.ndarray, np.ndarray]:
        if self.name == "aerial":
            image = read_raster(
                path, bands=_AERIAL_ORDER, where=where, count=4, size=_FINE, dtype="uint8",
                crs=self.crs,
            )[None]  # fmt: skip
            return image, np.ones((1, *image.shape[2:]), bool)
        dem = read_raster(path, where=where, count=2, size=_FINE, crs=self.crs)[None]
        dem = dem.astype(np.float32)
        there = (np.isfinite(dem) & (dem > _NO_ELEVATION)).all(1)
        return np.where(there[:, None], dem, np.float32(0)), there

    def _unmasked(self, sample: int, plan: Plan, where: Where) -> np.ndarray:
        path = self.tiles.path("masks", sample)
        masks = read_stack(path, plan, 2, _COARSE, where, self.crs)  # snow and clouds
        return (masks <= self.threshold).all(1)  # a mask of NaN tells nothing


def _modality(name: str, tiles: Tiles, plans: list[Plan], threshold: float) -> xr.Dataset:
    first = next((i for i, p in enumerate(plans) if p.stored), None)
    dtype, crs = ("float32", None) if first is None else raster_header(tiles.path(name, first))
    dtype = {"aerial": "uint8", "s2": dtype}.get(name, "float32")
    return lazy_modality(
        _Read(name, tiles, plans, dtype, crs, threshold),
        padded([plan.time for plan in plans]),
        bands=_BANDS[name],
        pixels=_FINE if name in ("aerial", "dem") else _COARSE,
        dtype=dtype,
        crs=crs,
        **_ABOUT[name],
    )


@dataclass(frozen=True)
class _ReadLabels:
    """Reads the land cover of a tile; labels that do not count become :data:`MISSING`."""

    tiles: Tiles
    kept: np.ndarray

    def __call__(self, sample: int, where: Where) -> np.ndarray:
        path = self.tiles.path("cosia", sample)
        labels = read_raster(path, where=where, count=1, size=_FINE)[0]
        check_labels(path, labels, _HIGHEST)
        return self.kept[labels.astype(int)]


def _target(tiles: Tiles, version: str) -> xr.Variable:
    kept = np.full(_HIGHEST + 1, MISSING, np.int16)
    kept[: len(CLASSES)] = range(len(CLASSES))
    kept[_IGNORED[version]] = MISSING
    attrs = {
        "task": "segmentation", "classes": list(CLASSES), "missing": MISSING, "gsd": 0.2,
    }  # fmt: skip
    return lazy_map(
        _ReadLabels(tiles, kept), len(tiles.names), pixels=_FINE, dtype=np.int16, attrs=attrs
    )
