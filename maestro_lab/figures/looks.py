"""Ways to look at the bands of a modality: true colour, infrared, radar, one band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from maestro_lab.errors import ParameterError

__all__ = ["Look", "look_images", "looks"]

_NAMED = (
    ("true colour", (("B04", "B03", "B02"), ("R", "G", "B"), ("red", "green", "blue"))),
    ("near infrared", (("B08", "B04", "B03"), ("B8A", "B04", "B03"), ("NIR", "R", "G"))),
    ("shortwave infrared", (("B12", "B8A", "B04"), ("B11", "B8A", "B04"), ("B11", "B08", "B04"))),
    ("red edge", (("B07", "B06", "B05"),)),
)
_RADAR = ("VV", "VH")


@dataclass(frozen=True)
class Look:
    """Bands shown as red, green and blue; or one, as grey.

    Parameters
    ----------
    name
        What it is called.
    bands
        One band or three; of radar VV, VH and their ratio.
    """

    name: str
    bands: tuple[str, ...]

    @property
    def words(self) -> str:
        """Name and bands."""
        shown = " ".join(self.bands)
        return self.name if self.name == shown else f"{self.name} ({shown})"


def looks(bands: Sequence[str]) -> dict[str, Look]:
    """Return the ways to look at some bands, the most natural first.

    Examples
    --------
    >>> list(looks(["B02", "B03", "B04", "B08"]))
    ['true colour', 'near infrared', 'B02', 'B03', 'B04', 'B08']
    >>> looks(["VV", "VH"])["radar"].words
    'radar (VV VH VV/VH)'
    """
    bands = [str(b) for b in bands]
    found = []
    for name, triples in _NAMED:
        fitting = [triple for triple in triples if set(triple) <= set(bands)]
        found += [Look(name, fitting[0])] if fitting else []
    if set(_RADAR) <= set(bands):
        found.append(Look("radar", (*_RADAR, "VV/VH")))
    if not found and len(bands) >= 3:
        found.append(Look("first three bands", tuple(bands[2::-1])))
    return {look.name: look for look in (*found, *(Look(b, (b,)) for b in bands))}


def look_images(ds: xr.Dataset, look: Look) -> np.ndarray:
    """Return the bands of a look, (..., c, y, x) float; radar power in dB.

    Parameters
    ----------
    ds
        A modality, ``values`` (..., band, y, x).
    look
        From :func:`looks` of its bands.

    Raises
    ------
    ParameterError
        If a band is not there.
    """
    there = [str(b) for b in ds["band"].values]
    wanted = [b for b in look.bands if b != "VV/VH"]
    lacking = [b for b in wanted if b not in there]
    if lacking:
        raise ParameterError(
            f"bands to look at: {look.name}", expected=" ".join(there), found=" ".join(lacking)
        )
    images = ds["values"].isel(band=[there.index(b) for b in wanted]).values.astype(float)
    if ds.attrs["units"] == "linear power":
        images = 10 * np.log10(np.maximum(images, 1e-6))
    if "VV/VH" in look.bands:  # a ratio of powers is a difference in dB
        ratio = images[..., :1, :, :] - images[..., 1:2, :, :]
        images = np.concatenate([images, ratio], axis=-3)
    return images
