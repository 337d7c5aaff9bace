"""Where FLAIR-HUB keeps the images and the dates of its tiles."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maestro_lab.cubes.sources.files import AGAIN, all_there, days_of
from maestro_lab.cubes.sources.geopackage import read_rows
from maestro_lab.cubes.sources.series import numbered_days
from maestro_lab.errors import CubeError

__all__ = ["Tiles", "aerial_days", "series_days"]

_KINDS = {
    "aerial": "AERIAL_RGBI",
    "dem": "DEM_ELEV",
    "s2": "SENTINEL2_TS",
    "s1_asc": "SENTINEL1-ASC_TS",
    "s1_des": "SENTINEL1-DESC_TS",
    "masks": "SENTINEL2_MSK-SC",
    "cosia": "AERIAL_LABEL-COSIA",
}


@dataclass(frozen=True)
class Tiles:
    """The tiles of a cube.

    Parameters
    ----------
    root
        Folder of the data set.
    names
        Their names, DOMAIN_AREA_POSITION.

    Examples
    --------
    >>> Tiles(Path("FLAIR-HUB"), ["D004-2021_AA-S1-32_1-2"]).path("dem", 0).as_posix()
    'FLAIR-HUB/D004-2021_DEM_ELEV/AA-S1-32/D004-2021_DEM_ELEV_AA-S1-32_1-2.tif'
    """

    root: Path
    names: Sequence[str]

    def path(self, what: str, sample: int) -> Path:
        """Return the file of a modality, the cloud masks ("masks") or the labels ("cosia")."""
        domain, area, position = self.names[sample].split("_")
        return self._folder(what, domain, area) / _file(what, domain, area, position)

    def _folder(self, what: str, domain: str, area: str) -> Path:
        return self.root / f"{domain}_{_KINDS[what]}" / area

    def check(self, what: str, there: Sequence[bool]) -> None:
        """Refuse a missing file of one of the tiles that should have it.

        Raises
        ------
        CubeError
            Names the first.
        """
        folders: dict[tuple[str, str], list[str]] = {}
        for name, wanted in zip(self.names, there, strict=True):
            domain, area, position = name.split("_")
            if wanted:
                files = folders.setdefault((domain, area), [])
                files.append(_file(what, domain, area, position))
        for place, files in folders.items():
            all_there(self._folder(what, *place), files, "a file for each tile of the lists")


def _file(what: str, domain: str, area: str, position: str) -> str:
    return f"{domain}_{_KINDS[what]}_{area}_{position}.tif"


def aerial_days(root: Path, names: Sequence[str]) -> np.ndarray:
    """Return the date of each tile's aerial image (sample,).

    Raises
    ------
    CubeError
        If the table is damaged, or lacks a tile.
    """
    path = _table(root, "AERIAL")
    wanted, found = set(names), {}
    for name, date in read_rows(path, ["patch_id", "date"]):
        if name in wanted:
            found.setdefault(name, date)
    missing = [name for name in names if name not in found]
    if missing:
        raise _no_row(path, missing[0])
    return days_of(f"{path}: {names[0]} and others", [found[name] for name in names])


def series_days(root: Path, what: str, names: Sequence[str]) -> list[np.ndarray]:
    """Return the dates of each tile's series, in the order of its file.

    Rows are keyed by tiles or by areas; a tile without a row takes the first of its area.

    Raises
    ------
    CubeError
        If the table is damaged, or lacks both.
    """
    path = _table(root, _KINDS[what].removesuffix("_TS"))
    wanted = set(names) | {_area(name) for name in names}
    found: dict[str, object] = {}
    for name, dates in read_rows(path, ["patch_id", "acquisition_dates"]):
        for key in {name, _area(str(name))} & wanted:
            found.setdefault(key, dates)
    days: dict[object, np.ndarray] = {}
    series = []
    for name in names:
        key = name if name in found else _area(name)
        if key not in found:
            raise _no_row(path, name)
        if found[key] not in days:
            days[found[key]] = _days(f"{path}: {key}", found[key])
        series.append(days[found[key]])
    return series


def _area(name: str) -> str:
    """Return DOMAIN_AREA of a tile, or of an area."""
    return "_".join(name.split("_")[:2])


def _days(where: str, text: object) -> np.ndarray:
    try:
        dates = json.loads(str(text))
    except ValueError as error:
        raise CubeError(
            f"{where}: acquisition_dates", expected="JSON", found=str(error), do=AGAIN
        ) from error
    return numbered_days(where, dates)


def _table(root: Path, kind: str) -> Path:
    return root / "GLOBAL_ALL_MTD" / f"GLOBAL_{kind}_MTD_DATES.gpkg"


def _no_row(path: Path, name: str) -> CubeError:
    return CubeError(
        f"{path}: no row of {name}",
        expected="dates of each tile of the lists",
        do="fetch it again, or leave the modality out with the option modalities",
    )
