"""``pastis-hd``: the native layout of PASTIS-HD, 1280 m tiles of crops in France.

A folder with lists of tiles (``train.csv`` ..., column ``image``), ``metadata.geojson`` with the
dates of the series, ``DATA_S2``, ``DATA_S1A``, ``DATA_S1D`` and ``ANNOTATIONS`` with one ``.npy``
file a tile, and ``DATA_SPOT`` with one GeoTIFF a tile. What is done with them:

* Series are sorted by date. Only dates are known of an acquisition: of rows with one date the
  first is kept, else a masked date would stay visible in its twin.
* Sentinel-2 comes without cloud masks: pixels are valid unless all their bands are 0.
* Radar is stored in decibels with a third band, VV/VH, which is left out. NaN and an exact 0 are
  not valid.
* A tile without dates of a series lacks that modality, and its file is not opened.
* The day of the SPOT image is not published: 1 July 2019 stands for it, and is the reference date.
* Tiles lie in several UTM zones, and the ``.npy`` files tell none: no reference system is kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from maestro_lab.cubes.contract import assemble
from maestro_lab.cubes.dates import padded
from maestro_lab.cubes.reading import Where, lazy_modality
from maestro_lab.cubes.sources.files import (
    AGAIN,
    all_there,
    read_array,
    read_json,
    read_raster,
    refuse_options,
)
from maestro_lab.cubes.sources.lists import SPLITS, Lists, chosen_modalities
from maestro_lab.cubes.sources.maps import lazy_map
from maestro_lab.cubes.sources.series import (
    DUPLICATES,
    Plan,
    check_labels,
    clear_optical,
    clear_radar,
    no_dates,
    numbered_days,
    plan_series,
    same_numbers,
    without_nan,
)
from maestro_lab.errors import CubeError

__all__ = ["CLASSES", "open_pastis"]

CLASSES = [
    "background",
    "meadow",
    "soft winter wheat",
    "corn",
    "winter barley",
    "winter rapeseed",
    "spring barley",
    "sunflower",
    "grapevine",
    "beet",
    "winter triticale",
    "winter durum wheat",
    "fruits, vegetables, flowers",
    "potatoes",
    "leguminous fodder",
    "soybeans",
    "orchard",
    "mixed cereal",
    "sorghum",
]
MISSING = 19
"""Label of parcels that belong to none of the classes."""

_S2_BANDS = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]
_SPOT = "DATA_SPOT/PASTIS_SPOT6_RVB_1M00_2019"
_FILES = {
    "spot": (_SPOT, "SPOT6_RVB_1M00_2019_{}.tif"),
    "s2": ("DATA_S2", "S2_{}.npy"),
    "s1_asc": ("DATA_S1A", "S1A_{}.npy"),
    "s1_des": ("DATA_S1D", "S1D_{}.npy"),
    "target": ("ANNOTATIONS", "TARGET_{}.npy"),
}
_DATES = {"s2": "dates-S2", "s1_asc": "dates-S1A", "s1_des": "dates-S1D"}
_MODALITIES = ("spot", "s2", "s1_asc", "s1_des")
_DAY = np.datetime64("2019-07-01", "ns")
_PIXELS, _SPOT_PIXELS = (128, 128), (1280, 1280)


def open_pastis(
    root: str | Path = "PASTIS-HD",
    splits: Sequence[str] | str = SPLITS,
    version: str = "",
    filtered: float | None = None,
    fold: int | None = None,
    modalities: Sequence[str] | str | None = None,
    duplicates: str = "drop",
    limit: int | None = None,
) -> xr.DataTree:
    """Open a PASTIS-HD folder; pixels are read when they are used.

    Parameters
    ----------
    root
        The folder with the lists.
    splits
        Which of train, val and test to read.
    version, filtered, fold
        Which lists: ``{split}[_{version}][_filtered_{percent}][_fold_{fold}].csv``.
    modalities
        Some of spot, s2, s1_asc and s1_des; None opens all.
    duplicates
        "drop" keeps the first of several rows of one date, "keep" keeps the rows as stored.
    limit
        At most so many samples a split.

    Returns
    -------
    xarray.DataTree
        Samples are whole tiles of 1280 m: ``spot``, ``s2`` (DN), ``s1_asc`` and ``s1_des`` (dB),
        and the target ``pastis_seg``, 0 to 18 and 19 where there is no class. Each tile is its own
        spatial block: a fold would leave one block for the intervals of a score.

    Raises
    ------
    CubeError
        Names the file that is missing or damaged.
    """
    root = Path(root).expanduser()
    lists = Lists("pastis-hd", root, "image", splits, version, filtered, fold, limit)
    chosen = chosen_modalities("pastis-hd", _MODALITIES, modalities)
    refuse_options(
        "pastis-hd", (duplicates in DUPLICATES, "duplicates", "'drop' or 'keep'", duplicates)
    )
    table = lists.read()
    tiles = table["name"].tolist()
    plans = _plans(root / "metadata.geojson", tiles, chosen, duplicates)
    for name in (*chosen, "target"):
        folder, file = _FILES[name]
        there = [t for t, p in zip(tiles, plans[name], strict=True) if len(p.time)]
        all_there(root / folder, map(file.format, there), "a file for each tile of the lists")
    return assemble(
        {name: _modality(name, root, tiles, plans[name]) for name in chosen},
        sample=(table["split"] + "/" + table["name"]).tolist(),
        split=table["split"].tolist(),
        block=np.arange(len(tiles)),
        extra={"ref_date": np.full(len(tiles), _DAY)},
        targets=xr.Dataset({"pastis_seg": _target(root, tiles)}),
        title="PASTIS-HD: crops of France from SPOT 6-7, Sentinel-1 and -2",
        licence="etalab-2.0",
        source=str(root),
        attrs={"window": 1280.0},
        check=2,  # tiles, of 100 megabytes each
    )


def _plans(
    path: Path, tiles: Sequence[str], chosen: Sequence[str], duplicates: str
) -> dict[str, list[Plan]]:
    """Return for each modality, and the target, which stored rows to read of each tile."""
    once = plan_series(np.array([_DAY]))
    plans = {name: [once] * len(tiles) for name in ("spot", "target")}
    series = [name for name in chosen if name in _DATES]
    about = _properties(path) if series else {}
    for name in series:
        plans[name] = []
        for tile in tiles:
            if tile not in about or _DATES[name] not in about[tile]:
                what = _DATES[name] if tile in about else "feature"
                raise CubeError(
                    f"{path}: tile {tile} has no {what}",
                    expected="a feature with dates for each tile of the lists",
                    found=", ".join(about.get(tile, list(about)[:5])) or "no features",
                    do=AGAIN,
                )
            days = _days(f"{path}: tile {tile}, {_DATES[name]}", about[tile][_DATES[name]])
            plans[name].append(plan_series(days, duplicates=duplicates))
    return plans


def _properties(path: Path) -> dict[str, dict[str, Any]]:
    """Return the properties of each tile."""
    content = read_json(path)
    features = content.get("features") if isinstance(content, dict) else None
    if not isinstance(features, list) or not all(isinstance(f, dict) for f in features):
        raise CubeError(f"{path} is no GeoJSON", expected="a collection with features", do=AGAIN)
    about: dict[str, dict[str, Any]] = {}
    for number, feature in enumerate(features):
        properties = feature.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        names = (properties.get("ID_PATCH"), properties.get("id"), feature.get("id"))
        name = next((str(n) for n in names if n is not None), "")
        if not name or name in about:
            raise CubeError(
                f"{path}: feature {number + 1}",
                expected="an id, or ID_PATCH, of its own",
                found=f"{name} again" if name else ", ".join(properties) or "no properties",
                do=AGAIN,
            )
        about[name] = properties
    return about


def _days(where: str, dates: Any) -> np.ndarray:
    if isinstance(dates, str):
        try:
            dates = json.loads(dates)
        except ValueError as error:
            raise CubeError(where, expected="JSON", found=str(error), do=AGAIN) from error
    return numbered_days(where, dates)


@dataclass(frozen=True)
class _ReadSeries:
    """Reads one Sentinel series of a tile."""

    name: str
    root: Path
    tiles: Sequence[str]
    plans: Sequence[Plan]

    def __call__(self, sample: int, where: Where) -> tuple[np.ndarray, np.ndarray]:
        plan, optical = self.plans[sample], self.name == "s2"
        bands, stored = (len(_S2_BANDS),) * 2 if optical else (2, 3)
        kind = np.int16 if optical else np.float32
        if not len(plan.rows):
            return no_dates(bands, where, kind)
        folder, file = _FILES[self.name]
        path = self.root / folder / file.format(self.tiles[sample])
        array = read_array(path, (plan.stored, stored, *_PIXELS))
        values = array[:, :bands, *where][plan.rows]
        if optical:
            values = same_numbers(path, values, kind)
            return values, clear_optical(values)
        values = values.astype(kind)
        return without_nan(values), clear_radar(values, linear=False)


@dataclass(frozen=True)
class _ReadSpot:
    """Reads the SPOT image of a tile."""

    root: Path
    tiles: Sequence[str]

    def __call__(self, sample: int, where: Where) -> tuple[np.ndarray, np.ndarray]:
        folder, file = _FILES["spot"]
        path = self.root / folder / file.format(self.tiles[sample])
        image = read_raster(path, where=where, count=3, size=_SPOT_PIXELS, dtype="uint8")
        return image[None], np.ones((1, *image.shape[1:]), bool)


def _modality(name: str, root: Path, tiles: list[str], plans: list[Plan]) -> xr.Dataset:
    time = padded([plan.time for plan in plans])
    if name == "spot":
        return lazy_modality(
            _ReadSpot(root, tiles), time, bands=["R", "G", "B"], pixels=_SPOT_PIXELS,
            dtype=np.uint8, units="DN", gsd=1.0, sensor_name="spot",
        )  # fmt: skip
    read = _ReadSeries(name, root, tiles, plans)
    if name == "s2":
        return lazy_modality(
            read, time, bands=_S2_BANDS, pixels=_PIXELS, dtype=np.int16, units="DN", gsd=10.0,
            sensor_name="sentinel-2",
        )  # fmt: skip
    return lazy_modality(
        read, time, bands=["VV", "VH"], pixels=_PIXELS, dtype=np.float32, units="dB", gsd=10.0,
        sensor_name="sentinel-1",
    )  # fmt: skip


@dataclass(frozen=True)
class _ReadLabels:
    """Reads the labels of a tile: the first of the three channels of its annotation."""

    root: Path
    tiles: Sequence[str]

    def __call__(self, sample: int, where: Where) -> np.ndarray:
        folder, file = _FILES["target"]
        path = self.root / folder / file.format(self.tiles[sample])
        labels = read_array(path, (3, *_PIXELS), kinds="ui")[0, *where]
        check_labels(path, labels, MISSING)
        return labels


def _target(root: Path, tiles: list[str]) -> xr.Variable:
    attrs = {"task": "segmentation", "classes": list(CLASSES), "missing": MISSING, "gsd": 10.0}
    read = _ReadLabels(root, tiles)
    return lazy_map(read, len(tiles), pixels=_PIXELS, dtype=np.int16, attrs=attrs)
