"""Are the bands in the order that a modality says? Told by how alike they are, and how bright."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maestro_lab.cubes.pixels import AS_IS, Look, likeness
from maestro_lab.cubes.sensors import NEAR, SHORTWAVE, VISIBLE
from maestro_lab.errors import CubeError, CubeWarning

__all__ = ["check_order"]


@dataclass(frozen=True)
class _Swap:
    """Two bands of different kinds, and what speaks for them having changed places."""

    first: str
    second: str
    sides: tuple[float, ...]  # by how much each kind would rather have the other band
    contrast: float  # (second - first) / (second + first) of their medians; second is the brighter
    stands_out: bool  # whether the first is brighter than the others of its kind by far
    bright: bool  # whether it is brighter than land is in visible light

    @property
    def certain(self) -> bool:
        """Whether likeness and brightness agree."""
        alike = bool(self.sides) and min(self.sides) > 0.15
        return alike and self.stands_out and self.contrast < -0.1

    @property
    def suspicious(self) -> bool:
        """Whether likeness alone says so on both sides, or brightness alone by far."""
        alike = len(self.sides) == 2 and min(self.sides) > 0.4
        return alike or (not self.sides and self.contrast < -0.3 and self.bright)


def check_order(look: Look) -> None:
    """Compare each band with those of its kind and of the others.

    Bands of a kind resemble each other more than bands of two kinds, and vegetation is brighter
    in the infrared: a band that breaks both rules stands in another's place. (In turbid water blue
    is unlike the others, and the infrared dark; but then blue is not the brightest by far.)
    """
    groups = [look.of(kind) for kind in (VISIBLE, NEAR, SHORTWAVE)]
    if sum(map(bool, groups)) < 2:
        return
    z = likeness(look)
    pairs = [
        _swap(look, z, a, b, ours, theirs)
        for ours, theirs in itertools.combinations(groups, 2)
        for a, b in itertools.product(ours, theirs)
    ]
    best = max(pairs, key=lambda swap: (swap.certain, swap.suspicious, sum(swap.sides)))
    if not (best.certain or best.suspicious):
        return
    medians = ", ".join(f"{b} {np.median(look.column(b)):.4g}" for b in (best.first, best.second))
    what = f"{look.name}: bands {best.first} and {best.second} look swapped"
    found = f"each is more like the neighbours of the other; medians {medians}"
    do = "give the bands in the order that the file really has"
    if best.certain:
        raise CubeError(
            what,
            expected=f"{best.first} like the other {_kind(look, best.first)} bands, and darker "
            f"than {best.second} over vegetation and soil",
            found=found if best.sides else f"medians {medians}",
            do=do + AS_IS,
        )
    warnings.warn(
        f"{what} ({found if best.sides else f'medians {medians}'}). If so, {do}.",
        CubeWarning,
        stacklevel=2,
    )


def _kind(look: Look, band: str) -> str:
    return next(kind for kind, bands in look.known.kinds.items() if band in bands)


def _swap(
    look: Look, z: np.ndarray, a: str, b: str, ours: Sequence[str], theirs: Sequence[str]
) -> _Swap:
    place = {band: number for number, band in enumerate(look.bands)}

    def gain(rest: Sequence[str], now: str, then: str) -> list[float]:
        others = [place[band] for band in rest if band != now]
        return [float((z[others, place[then]] - z[others, place[now]]).mean())] if others else []

    one, two = (float(np.median(look.column(band))) for band in (a, b))
    sides = (*gain(ours, a, b), *gain(theirs, b, a))
    infrared = b in look.known.kinds.get(NEAR, ()) or b in look.known.kinds.get(SHORTWAVE, ())
    visible = a in look.known.kinds.get(VISIBLE, ())
    contrast = (two - one) / (two + one) if visible and infrared and one + two > 0 else 0.0
    scale = look.known.full_scale.get(look.units)
    others = [float(np.median(look.column(band))) for band in ours if band != a]
    stands_out = all(one > 1.3 * other for other in others)
    return _Swap(a, b, sides, contrast, stands_out, bool(scale) and one > 0.15 * scale)
