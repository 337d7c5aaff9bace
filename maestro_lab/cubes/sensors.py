"""Sensors known by name: their bands, wavelengths, and the values one may expect.

Centre wavelengths: Sentinel-2 from the ESA MSI spectral response functions (S2A, rounded to a
nanometre); aerial RGB-NIR from the DMC III camera, typical of European orthophoto campaigns; SPOT
from the band limits of SPOT 6 and 7 (the middle of each).

Plausible ranges are wide on purpose. They exist to tell digital numbers from reflectances and
linear power from decibels, not to judge a scene.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from maestro_lab.errors import CubeError

UNITS = ("DN", "reflectance", "linear power", "dB", "m")
"""Units a modality may declare."""


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

    Examples
    --------
    >>> sensor("sentinel-2").wavelengths["B08"]
    833.0
    """

    name: str
    wavelengths: Mapping[str, float]
    plausible: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def bands(self) -> tuple[str, ...]:
        """Band names in the sensor's usual order."""
        return tuple(self.wavelengths)


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

SENSORS = {
    s.name: s
    for s in (
        Sensor("sentinel-2", SENTINEL_2, {"DN": (50, 12_000), "reflectance": (0.005, 1.2)}),
        Sensor(
            "sentinel-1",
            {"VV": math.nan, "VH": math.nan},
            {"linear power": (1e-5, 3.0), "dB": (-45.0, 5.0)},
        ),
        Sensor(
            "aerial",
            {"NIR": 830.0, "R": 660.0, "G": 555.0, "B": 465.0},
            {"DN": (3, 65_535), "reflectance": (0.005, 1.2)},
        ),
        Sensor(
            "spot",
            {"R": 660.0, "G": 560.0, "B": 490.0, "NIR": 825.0},
            {"DN": (3, 65_535), "reflectance": (0.005, 1.2)},
        ),
        Sensor(
            "elevation",
            {"elevation": math.nan, "surface": math.nan, "terrain": math.nan},
            {"m": (-500.0, 9_000.0)},
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
    except KeyError:
        raise CubeError(
            f"sensor {name!r} is not known",
            expected=f"one of {', '.join(SENSORS)}",
            found=name,
        ) from None
