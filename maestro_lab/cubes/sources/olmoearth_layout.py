"""What the HDF5 files of OlmoEarth hold: modalities, their bands in order, the codes of maps.

Classes of WorldCover are those of ESA's product of 10 m (2020 and 2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["MAPS", "SERIES", "Layers", "Map", "Series"]

_WHOLE = "uint8 uint16 int16 int32 int64"
_FLOAT = "float16 float32 float64"


@dataclass(frozen=True)
class Layers:
    """One data set of a file.

    Parameters
    ----------
    stored
        Its name in the file.
    name
        Its name in the cube.
    layers
        Names of its bands, in order.
    types
        Types of numbers it may hold.
    """

    stored: str
    name: str
    layers: tuple[str, ...]
    types: str


@dataclass(frozen=True)
class Series(Layers):
    """Images of a sensor.

    Parameters
    ----------
    sensor, units
        As a modality of a cube tells them.
    dtype
        Of the values in the cube.
    static
        One image without a date of its own, which takes that of the first slot.
    """

    sensor: str
    units: str
    dtype: str
    static: bool = False


@dataclass(frozen=True)
class Map(Layers):
    """A map of classes or numbers.

    Parameters
    ----------
    task, units
        As a target of a cube tells them; no units for classes.
    low, high
        Values below or above have no meaning, and are missing.
    classes
        Code to name; labels number them in this order. Without any, labels are the codes.
    """

    task: str
    units: str = ""
    low: float = 0
    high: float = 255
    classes: tuple[tuple[int, str], ...] = ()

    @property
    def dtype(self) -> str:
        """Type of the labels."""
        return "int16" if self.task == "segmentation" else "float32"

    @property
    def missing(self) -> float:
        """The label that says there is none."""
        return -1 if self.task == "segmentation" else np.nan

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes of the target."""
        attrs: dict[str, Any] = {"task": self.task}
        if self.task == "segmentation":
            attrs["missing"] = -1
        if self.units:
            attrs["units"] = self.units
        if self.classes:
            attrs |= {
                "classes": [n for _, n in self.classes],
                "codes": [c for c, _ in self.classes],
            }
        return attrs

    def labels(self, stored: np.ndarray) -> np.ndarray:
        """Turn stored codes or numbers of any shape into labels.

        Examples
        --------
        >>> worldcover = next(m for m in MAPS if m.name == "worldcover")
        >>> worldcover.labels(np.array([10, 20, 100, 0, 15], "uint8")).tolist()
        [0, 1, 10, -1, -1]
        """
        good = (stored >= self.low) & (stored <= self.high)  # False where it is NaN
        if self.classes:
            codes = np.array([code for code, _ in self.classes])
            label = np.searchsorted(codes, stored).clip(max=len(codes) - 1)
            good, stored = codes[label] == stored, label
        return np.where(good, stored.astype(self.dtype), np.array(self.missing, self.dtype))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


SERIES = [
    Series(
        "sentinel2_l2a",
        "s2",
        _words("B02 B03 B04 B08 B05 B06 B07 B8A B11 B12 B01 B09"),
        "uint16",
        "sentinel-2",
        "DN",
        "uint16",
    ),
    Series("sentinel1", "s1", ("VV", "VH"), _FLOAT, "sentinel-1", "dB", "float32"),
    Series(
        "landsat",
        "landsat",
        _words("B8 B1 B2 B3 B4 B5 B6 B7 B9 B10 B11"),
        "uint16",
        "landsat",
        "DN",
        "uint16",
    ),
    Series(
        "srtm",
        "dem",
        ("elevation",),
        f"{_WHOLE} {_FLOAT}",
        "elevation",
        "m",
        "float32",
        static=True,
    ),
]
"""Modalities of the cube, in its order."""

MAPS = [
    Map(
        "worldcover",
        "worldcover",
        ("class",),
        _WHOLE,
        "segmentation",
        classes=(
            (10, "tree cover"),
            (20, "shrubland"),
            (30, "grassland"),
            (40, "cropland"),
            (50, "built-up"),
            (60, "bare or sparse vegetation"),
            (70, "snow and ice"),
            (80, "permanent water"),
            (90, "herbaceous wetland"),
            (95, "mangroves"),
            (100, "moss and lichen"),
        ),
    ),
    Map(
        "openstreetmap_raster",
        "openstreetmap",
        _words(
            "aerialway_pylon aerodrome airstrip amenity_fuel building chimney communications_tower "
            "crane flagpole fountain generator_wind helipad highway leisure lighthouse obelisk "
            "observatory parking petroleum_well power_plant power_substation power_tower river "
            "runway satellite_dish silo storage_tank taxiway water_tower works"
        ),
        f"bool {_WHOLE} {_FLOAT}",
        "regression",
        "share of the area",
        high=1,
    ),
    Map(
        "wri_canopy_height_map",
        "canopy_height",
        ("height",),
        f"{_WHOLE} {_FLOAT}",
        "regression",
        "m",
        high=254,
    ),
    Map("cdl", "cdl", ("code",), _WHOLE, "segmentation", low=1),
    Map(
        "worldcereal",
        "worldcereal",
        (
            "annual temporary crops",
            "maize-main irrigation",
            "maize-main maize",
            "maize-second irrigation",
            "maize-second maize",
            "spring cereals",
            "winter-cereals irrigation",
            "winter cereals",
        ),
        f"{_WHOLE} {_FLOAT}",
        "regression",
        "percent",
        high=100,
    ),
]
"""Targets of the cube, in its order."""
