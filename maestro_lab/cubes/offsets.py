"""Was the offset of Sentinel-2 products of 2022 and later left in the values?"""

from __future__ import annotations

import warnings

import numpy as np

from maestro_lab.cubes.pixels import AS_IS, Look, likeness
from maestro_lab.cubes.sensors import NEAR, VISIBLE
from maestro_lab.errors import CubeError, CubeWarning

__all__ = ["BASELINE", "OFFSET", "check_jump", "check_offset"]

BASELINE = np.datetime64("2022-01-25")
"""Since this day Sentinel-2 products (processing baseline 04.00) are stored with 1000 added."""

OFFSET = 0.1
"""That offset as a reflectance."""


def check_offset(look: Look) -> None:
    """Vegetation, water and shadow are dark in some band; with 1000 added nothing ever is."""
    scale = look.known.full_scale.get(look.units)
    dark = look.of(VISIBLE) + [b for b in ("B12",) if b in look.bands]
    if look.known.name != "sentinel-2" or scale is None or not {"B03", "B04", "B12"} & set(dark):
        return
    lows = np.quantile(look.column(*dark).reshape(len(look.pixels), -1), 0.02, axis=0)
    added = OFFSET * scale
    if not 0.95 * added <= lows.min() < 2.5 * added:  # nothing is dark, but something is darkish
        return
    found = f"the darkest 2 % lie at {lows.min():.4g} in {dark[int(lows.argmin())]}, no band lower"
    do = (
        f"subtract {added:g} (Sentinel-2 products of processing baseline 04.00 and later are "
        "stored with it added; cube_from_dataset does it with offset="
        f"{-added:g})"
    )
    if _green(look, added) and len(np.unique(look.time)) >= 3:
        raise CubeError(
            f"{look.name}: an offset of {added:g} seems to be left in the values",
            expected=f"dark pixels below {added:g}, as vegetation is in visible light",
            found=found,
            do=do + AS_IS,
        )
    late = np.mean(look.time >= BASELINE) > 0.5
    if late or _green(look, added):
        warnings.warn(
            f"{look.name}: is an offset of {added:g} left in the values? {found}. Bright sand, "
            f"snow or haze may look so; otherwise {do}.",
            CubeWarning,
            stacklevel=2,
        )


def _green(look: Look, added: float) -> bool:
    """Whether much of the ground is vegetation once the offset is taken off."""
    red, near = [b for b in ("B04",) if b in look.bands], look.of(NEAR)
    if not red or not near:
        return False
    r = np.maximum(look.column("B04") - added, 0)
    n = np.maximum(look.column(near[-1]) - added, 0)
    alike = [z for z in likeness(look)[np.triu_indices(len(look.bands), 1)] if z > 0.5]
    return bool(alike) and float(np.mean((n - r) > 0.5 * (n + r))) > 0.2


def check_jump(look: Look) -> None:
    """Refuse a series whose every band rises by 1000 on the day the products changed."""
    scale = look.known.full_scale.get(look.units)
    late = look.time >= BASELINE
    if look.known.name != "sentinel-2" or scale is None or late.all() or not late.any():
        return
    low = [_lows(look.pixels[part], look.time[part]) for part in (~late, late)]
    if any(len(each) < 3 for each in low) or len(look.bands) < 2:
        return
    before, after = (np.median(each, axis=0) for each in low)
    added = OFFSET * scale
    jump = (after - before) / added
    if before.min() < 0.7 * added and (jump > 0.7).all() and (jump < 1.4).all():
        raise CubeError(
            f"{look.name}: values jump by about {np.median(jump) * added:.4g} on {BASELINE}",
            expected="one zero for the whole series",
            found=f"all bands higher from that day on, {look.bands[0]} by {jump[0] * added:.4g}",
            do=f"subtract {added:g} from the later dates: products of processing baseline 04.00 "
            "are stored with it added",
        )


def _lows(pixels: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Return dark values of each date that has enough pixels (date, band)."""
    dates, number = np.unique(time, return_inverse=True)
    parts = [pixels[number == k] for k in range(len(dates))]
    lows = [np.quantile(part, 0.1, axis=0) for part in parts if len(part) >= 8]
    return np.array(lows).reshape(len(lows), pixels.shape[1])
