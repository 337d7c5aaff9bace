"""Sensors known by name: their bands, wavelengths, and the values one may expect.

Centre wavelengths: Sentinel-2 from the ESA MSI spectral response functions (S2A, rounded to a
nanometre); Landsat from the OLI and TIRS band limits published by the USGS; NAIP from the Leica
ADS100 camera; aerial RGB-NIR from the DMC III camera, typical of European orthophoto campaigns;
SPOT from the band limits of SPOT 6 and 7 (the middle of each).

Plausible ranges are wide on purpose. They exist to tell digital numbers from reflectances and
linear power from decibels, not to judge a scene.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from maestro_lab.errors import CubeError

UNITS = ("DN", "reflectance", "linear power", "dB", "m")
"""Units a modality may declare."""

VISIBLE, NEAR, SHORTWAVE = "visible", "near infrared", "shortwave infrared"
"""Kinds of bands whose images resemble each other."""


@dataclass(frozen=True)
class Sensor:
    """One kind of instrument.

    Parameters
    ----------
    name
        Name used in catalogues and in the ``sensor`` attribute of a modality.
    wavelengths
        Band name to centre wavelength in nanometres (NaN where it has no meaning), in the
        sensor's usual order.
    plausible
        Unit to the ``(low, high)`` interval in which the *median* of valid values must lie.
    modality
        Name of a modality of this sensor where nobody chose one.
    aliases
        What else people call the bands.
    kinds
        Kind of bands to those that surely belong to it; bands between two kinds are in neither.
    full_scale
        Unit to the number that stands for a reflectance of 1, for units that tell reflectance.
    gsd
        Band to its ground sampling distance in metres, where bands differ.

    Examples
    --------
    >>> sensor("sentinel-2").wavelengths["B08"]
    833.0
    """

    name: str
    wavelengths: Mapping[str, float]
    plausible: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    modality: str = "values"
    aliases: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    full_scale: Mapping[str, float] = field(default_factory=dict)
    gsd: Mapping[str, float] = field(default_factory=dict)

    @property
    def bands(self) -> tuple[str, ...]:
        """Band names in the sensor's usual order."""
        return tuple(self.wavelengths)

    def band(self, text: str) -> str | None:
        """Return the band that a text names, whole or as one of its words; None if it names none.

        Examples
        --------
        >>> [sensor("sentinel-2").band(t) for t in ("B8a", "nir", "S2-L2A-B02", "SCL")]
        ['B8A', 'B08', 'B02', None]
        """
        known = {b.lower(): b for b in self.bands} | {_plain(b): b for b in self.bands}
        known |= self.aliases
        words = [text, *reversed(re.split(r"[^A-Za-z0-9]+", text))]
        found = (known.get(w.lower()) or known.get(_plain(w)) for w in words if w)
        return next((band for band in found if band), None)


def _plain(band: str) -> str:
    """Write a band's number without zeros in front, in small letters."""
    return re.sub(r"^b0*(\d)", r"b\1", band.lower())


SENTINEL_2 = {
    "B01": 443.0,
    "B02": 493.0,
    "B03": 560.0,
    "B04": 665.0,
    "B05": 704.0,
    "B06": 741.0,
    "B07": 783.0,
    "B08": 833.0,
    "B8A": 865.0,
    "B09": 945.0,
    "B10": 1374.0,
    "B11": 1614.0,
    "B12": 2202.0,
}
LANDSAT = {
    "B1": 443.0,
    "B2": 482.0,
    "B3": 561.0,
    "B4": 655.0,
    "B5": 865.0,
    "B6": 1609.0,
    "B7": 2201.0,
    "B8": 590.0,
    "B9": 1373.0,
    "B10": 10895.0,
    "B11": 12005.0,
}
_COLOURS = {
    "red": "R",
    "green": "G",
    "blue": "B",
    "nir": "NIR",
    "ir": "NIR",
    "infrared": "NIR",
    "near_infrared": "NIR",
}
_COLOUR_KINDS = {VISIBLE: ("R", "G", "B"), NEAR: ("NIR",)}
_CAMERA = {"DN": (3, 65_535), "reflectance": (0.005, 1.2)}
_TEN_METRES = ("B02", "B03", "B04", "B08")

SENSORS = {
    s.name: s
    for s in (
        Sensor(
            "sentinel-2",
            SENTINEL_2,
            {"DN": (50, 12_000), "reflectance": (0.005, 1.2)},
            modality="s2",
            aliases={
                "coastal": "B01",
                "blue": "B02",
                "green": "B03",
                "red": "B04",
                "rededge1": "B05",
                "rededge2": "B06",
                "rededge3": "B07",
                "nir": "B08",
                "nir08": "B8A",
                "nir09": "B09",
                "cirrus": "B10",
                "swir16": "B11",
                "swir1": "B11",
                "swir22": "B12",
                "swir2": "B12",
            },
            kinds={
                VISIBLE: ("B02", "B03", "B04"),
                NEAR: ("B06", "B07", "B08", "B8A"),
                SHORTWAVE: ("B11", "B12"),
            },
            full_scale={"DN": 10_000.0, "reflectance": 1.0},
            gsd={b: 10.0 if b in _TEN_METRES else 20.0 for b in SENTINEL_2}
            | dict.fromkeys(("B01", "B09", "B10"), 60.0),
        ),
        Sensor(
            "sentinel-1",
            {"VV": math.nan, "VH": math.nan},
            {"linear power": (1e-5, 3.0), "dB": (-45.0, 5.0)},
            modality="s1",
        ),
        Sensor(
            "landsat",
            LANDSAT,
            {"DN": (50, 65_535), "reflectance": (0.005, 1.2)},
            modality="landsat",
            aliases={
                "coastal": "B1",
                "blue": "B2",
                "green": "B3",
                "red": "B4",
                "nir": "B5",
                "nir08": "B5",
                "swir1": "B6",
                "swir16": "B6",
                "swir2": "B7",
                "swir22": "B7",
                "pan": "B8",
                "cirrus": "B9",
                "lwir11": "B10",
                "lwir12": "B11",
            },
            kinds={VISIBLE: ("B2", "B3", "B4"), NEAR: ("B5",), SHORTWAVE: ("B6", "B7")},
            full_scale={"reflectance": 1.0},
            gsd={b: 15.0 if b == "B8" else 30.0 for b in LANDSAT},
        ),
        Sensor(
            "aerial",
            {"NIR": 830.0, "R": 660.0, "G": 555.0, "B": 465.0},
            _CAMERA,
            modality="aerial",
            aliases=_COLOURS,
            kinds=_COLOUR_KINDS,
        ),
        Sensor(
            "naip",
            {"R": 635.0, "G": 555.0, "B": 465.0, "NIR": 845.0},
            _CAMERA,
            modality="naip",
            aliases=_COLOURS,
            kinds=_COLOUR_KINDS,
        ),
        Sensor(
            "spot",
            {"R": 660.0, "G": 560.0, "B": 490.0, "NIR": 825.0},
            _CAMERA,
            modality="spot",
            aliases=_COLOURS,
            kinds=_COLOUR_KINDS,
        ),
        Sensor(
            "elevation",
            {"elevation": math.nan, "surface": math.nan, "terrain": math.nan},
            {"m": (-500.0, 9_000.0)},
            modality="dem",
            aliases={"dem": "elevation", "dsm": "surface", "dtm": "terrain"},
        ),
    )
}


def sensor(name: str) -> Sensor:
    """Look a sensor up by name.

    Raises
    ------
    CubeError
        If no sensor has that name.
    """
    try:
        return SENSORS[name]
    except (KeyError, TypeError):
        raise CubeError(
            f"sensor {name!r} is not known",
            expected=f"one of {', '.join(SENSORS)}",
            found=name,
        ) from None
