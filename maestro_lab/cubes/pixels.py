"""A sample of a modality's valid pixels, on which checks of plausibility are made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maestro_lab.cubes.sensors import Sensor

__all__ = ["AS_IS", "Look", "likeness"]

AS_IS = "; if the data really is like this, leave out the sensor's name to have it unchecked"
"""End of an error about pixels that may be so after all."""


@dataclass(frozen=True)
class Look:
    """Some pixels of a modality.

    Parameters
    ----------
    name
        Name of the modality.
    known
        Its sensor.
    units, bands
        Its units and bands.
    pixels
        Valid pixels (n, band).
    time
        The date of each (n,).
    """

    name: str
    known: Sensor
    units: str
    bands: tuple[str, ...]
    pixels: np.ndarray
    time: np.ndarray

    def of(self, *kinds: str) -> list[str]:
        """Return the bands that are surely of some kinds."""
        return [b for b in self.bands if any(b in self.known.kinds.get(k, ()) for k in kinds)]

    def column(self, *bands: str) -> np.ndarray:
        """Return the pixels of some bands (n, band), of one band (n,)."""
        found = self.pixels[:, [self.bands.index(b) for b in bands]]
        return found[:, 0] if len(bands) == 1 else found


def likeness(look: Look) -> np.ndarray:
    """Return how alike bands are: Fisher's z of their correlation, (band, band).

    Examples
    --------
    >>> from maestro_lab.cubes.sensors import sensor
    >>> pixels = np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]])
    >>> look = Look("s2", sensor("sentinel-2"), "DN", ("B02", "B03"), pixels, np.zeros(3, "M8[D]"))
    >>> bool(likeness(look)[0, 1] > 2.6)
    True
    """
    spread = look.pixels.std(0)
    scaled = (look.pixels - look.pixels.mean(0)) / np.where(spread > 0, spread, 1)
    correlation = scaled.T @ scaled / len(scaled)
    return np.arctanh(np.clip(correlation, -0.99, 0.99))
