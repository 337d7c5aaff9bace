"""Groups that papers and instruments suggest, to compare measured ones with."""

from __future__ import annotations

import math
from collections.abc import Sequence

from maestro_lab.bands.groups import BandGroups

__all__ = ["REFERENCES", "references", "spectral_regions"]

REFERENCES = {
    "MAESTRO Sentinel-2": BandGroups(
        {
            "visible": ("B02", "B03", "B04", "B05"),
            "infrared": ("B06", "B07", "B08", "B8A"),
            "shortwave": ("B11", "B12"),
        }
    ),
    "MAESTRO aerial": BandGroups({"infrared": ("NIR",), "visible": ("R", "G", "B")}),
    "OlmoEarth v1 Sentinel-2": BandGroups(
        {
            "10 m": ("B02", "B03", "B04", "B08"),
            "20 m": ("B05", "B06", "B07", "B8A", "B11", "B12"),
            "60 m": ("B01", "B09"),
        }
    ),
    "OlmoEarth v1 Landsat": BandGroups(
        {
            "panchromatic": ("B8",),
            "multispectral": ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B9", "B10", "B11"),
        }
    ),
}
"""Groups of arXiv 2508.10894 (targets normalised together) and 2511.13655 (tokens)."""

_REGIONS = (
    (690, "visible"), (795, "red edge"), (1000, "near infrared"), (3000, "shortwave infrared"),
)  # fmt: skip


def spectral_regions(bands: Sequence[str], wavelengths: Sequence[float]) -> BandGroups | None:
    """Group bands by the region of the spectrum their centre lies in, in nm.

    Visible below 690, red edge to 795, near infrared to 1000, shortwave infrared to 3000, thermal
    beyond. Bands without a wavelength are left out; None if no band has one.

    Examples
    --------
    >>> spectral_regions(["B04", "B05", "B06", "VV"], [665, 704, 741, float("nan")])
    BandGroups(visible: B04 | red edge: B05 B06)
    """
    found: dict[str, list[str]] = {}
    for band, nm in zip(bands, wavelengths, strict=True):
        if math.isfinite(nm):
            name = next((name for end, name in _REGIONS if nm < end), "thermal")
            found.setdefault(name, []).append(band)
    return BandGroups(found) if found else None


def references(
    bands: Sequence[str], wavelengths: Sequence[float], *, least: int = 3
) -> dict[str, BandGroups]:
    """Return the references that know at least so many of the bands, restricted to these.

    Examples
    --------
    >>> list(references(["NIR", "R", "G", "B"], [830, 660, 555, 465]))
    ['MAESTRO aerial', 'spectral regions']
    """
    everything = {**REFERENCES, "spectral regions": spectral_regions(bands, wavelengths)}
    found = {}
    for name, groups in everything.items():
        inside = groups.restricted(bands) if groups else None
        if inside and len(inside.bands) >= least:
            found[name] = inside
    return found
