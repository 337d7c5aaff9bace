"""Why groups matter: what is left to learn once targets are normalised patch by patch.

Masked autoencoders of the MAESTRO kind normalise each patch within each group of bands. If the
bands of a group differ in level, most of the variance inside a normalised patch is that difference,
the same in every patch: the model learns it as a constant, and the pattern of the patch, squeezed
into what is left, hardly counts. Bands normalised alone have no such constant, but the contrast
between bands is gone as well, and noise is blown up to full size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import xarray as xr

from maestro_lab.bands.blocks import Reading, Tile, fold
from maestro_lab.bands.groups import BandGroups
from maestro_lab.bands.selection import Selection, select
from maestro_lab.errors import CubeError, ParameterError

__all__ = ["balance", "groupings_to_weigh"]

EPSILON = 1e-6  # added to the variance of a patch, as MAESTRO does


def groupings_to_weigh(
    groups: BandGroups, others: Mapping[str, BandGroups] | None = None
) -> dict[str, BandGroups]:
    """Return one group, the proposed groups, others, and one group a band; each of them once.

    Examples
    --------
    >>> list(groupings_to_weigh(BandGroups.from_lists([["R", "G", "B"], ["NIR"]])))
    ['one group', 'proposed', 'each band alone']
    """
    bands = groups.bands
    whole = {name: g for name, g in (others or {}).items() if sorted(g.bands) == sorted(bands)}
    same = [name for name, g in whole.items() if g == groups]
    everything = {
        "one group": BandGroups({"all": bands}),
        " = ".join(["proposed", *same]): groups,
        **whole,
        "each band alone": BandGroups({b: [b] for b in bands}),
    }
    found: dict[str, BandGroups] = {}
    for name, g in everything.items():
        if g not in found.values() or g is groups:
            found[name] = g
    return found


@dataclass(frozen=True)
class _Tally:
    """Sums over patches for several groupings at once."""

    patches: int
    level: np.ndarray  # (grouping, band) sums of the means of normalised bands
    level2: np.ndarray  # (grouping, band) sums of their squares
    spread: np.ndarray  # (grouping, band) sums of the variance of normalised pixels in a band

    def __add__(self, other: _Tally) -> _Tally:
        return _Tally(
            self.patches + other.patches,
            self.level + other.level,
            self.level2 + other.level2,
            self.spread + other.spread,
        )


def balance(
    cube: xr.DataTree,
    modality: str,
    groupings: Mapping[str, BandGroups],
    *,
    patch: int = 2,
    divide: float = 1.0,
    clouds: str = "out",
    split: str | tuple[str, ...] = ("train",),
    season: str = "",
    region: str = "",
) -> pd.DataFrame:
    """Measure what reconstruction targets consist of under several groupings.

    Targets are normalised as in MAESTRO: (x - mean) / sqrt(variance + 1e-6) over the pixels and
    bands of a patch and group. Only patches whose pixels all count are looked at.

    Parameters
    ----------
    cube, modality
        Which cube and modality.
    groupings
        Name to groups that cover all bands.
    patch
        Side of a patch in pixels.
    divide
        What a model divides values by; it decides how much 1e-6 is.
    clouds, split, season, region
        See :class:`~maestro_lab.bands.selection.Selection`.

    Returns
    -------
    pandas.DataFrame
        One row a grouping. Shares of the variance of the targets, which add up to 1: ``constant``,
        the mean of each band over all patches (nothing to learn); ``between bands``, what else the
        levels of bands in a patch tell; ``within bands``, the pattern of pixels. ``even bands`` and
        ``even patches``: how evenly what is not constant is spread, 1 for perfectly, 1 / n if one
        of n had it all.

    Raises
    ------
    ParameterError
        If a grouping does not cover the bands once each.
    CubeError
        If no patch is complete.
    """
    chosen = Selection(clouds, split, season, region)
    ds, samples, images, selection = select(cube, modality, chosen)
    bands = [str(b) for b in ds["band"].values]
    for name, groups in groupings.items():
        if sorted(groups.bands) != sorted(bands):
            raise ParameterError(
                f"{name} does not cover the bands", expected=" ".join(bands), found=groups.words
            )
    if not 0 < divide < float("inf"):
        raise ParameterError("divide", expected="a number above 0", found=divide)
    if not isinstance(patch, int | np.integer) or patch < 1:
        raise ParameterError("patch", expected="a whole number, at least 1", found=repr(patch))
    if not groupings:
        return pd.DataFrame()
    labels = np.array([g.labels(bands) for g in groupings.values()])
    reading = Reading.of(ds, selection.clouds)
    common = {
        "reading": reading, "images": images, "labels": labels, "patch": patch, "divide": divide
    }  # fmt: skip
    tally = fold(ds, partial(_tally, **common), images=images, patch=patch)
    if not tally.patches:
        raise CubeError(
            f"{modality}: no complete patch",
            expected=f"{patch} x {patch} pixels that all count ({selection})",
            found=f"none in {len(samples)} samples",
        )
    constant = (tally.level / tally.patches) ** 2
    evenness = fold(
        ds,
        partial(_evenness, **common, mean=tally.level / tally.patches),
        images=images,
        patch=patch,
    )
    between = np.maximum(tally.level2 / tally.patches - constant, 0)
    within = tally.spread / tally.patches
    whole = np.maximum((constant + between + within).sum(1), 1e-30)
    left = between + within
    left = np.where(left > 1e-12 * whole[:, None], left, 0)  # the rest is rounding
    rows = {
        "groups": [g.words for g in groupings.values()],
        "constant": constant.sum(1) / whole,
        "between bands": between.sum(1) / whole,
        "within bands": within.sum(1) / whole,
        "even bands": _even(left.sum(1), (left**2).sum(1), len(bands)),
        "even patches": _even(evenness[0], evenness[1], tally.patches),
        "patches": tally.patches,
    }
    return pd.DataFrame(rows, index=pd.Index(groupings, name="grouping"))


def _even(total: np.ndarray, squares: np.ndarray, n: int) -> np.ndarray:
    """Return (sum)² / (n sum of squares): the share of n that would carry as much, all alike."""
    return np.where(squares > 0, total**2 / np.maximum(n * squares, 1e-300), 1.0)


def _patches(
    values: np.ndarray, valid: np.ndarray, tile: Tile, reading: Reading, images: np.ndarray,
    patch: int, divide: float,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return the mean and variance of each band (patch, band) in complete patches."""
    values, keep, _ = reading.pixels(values, valid, images[tile.sample, tile.time])
    rows, columns = (side // patch for side in keep.shape[1:])
    keep = keep[:, : rows * patch, : columns * patch]
    images_here = len(values)
    keep = keep.reshape(images_here, rows, patch, columns, patch).all((2, 4))
    values = values[:, :, : rows * patch, : columns * patch].astype(np.float64) / divide
    values = values.reshape(images_here, values.shape[1], rows, patch, columns, patch)
    values = np.moveaxis(values, (2, 4, 1), (1, 2, 3))[keep]  # (patch, band, row, column)
    return values.mean((2, 3)), values.var((2, 3))


def _normalised(
    mean: np.ndarray, variance: np.ndarray, labels: np.ndarray, pixels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of each band (patch, band) after normalisation within groups."""
    member = (labels[:, None] == np.arange(labels.max() + 1)).astype(float)  # (band, group)
    size = member.sum(0)
    level = (mean @ member / size) @ member.T
    square = (variance + (mean - level) ** 2) @ member
    numbers = size * pixels
    unbiased = square * pixels / np.maximum(numbers - 1, 1)
    scale = (1 / (unbiased + EPSILON)) @ member.T
    return (mean - level) * np.sqrt(scale), variance * scale


def _tally(
    values: np.ndarray, valid: np.ndarray, tile: Tile, *, reading: Reading, images: np.ndarray,
    labels: np.ndarray, patch: int, divide: float,
) -> _Tally:  # fmt: skip
    mean, variance = _patches(values, valid, tile, reading, images, patch, divide)
    level, spread = zip(*(_normalised(mean, variance, k, patch**2) for k in labels), strict=True)
    return _Tally(
        len(mean),
        np.stack([x.sum(0) for x in level]),
        np.stack([(x**2).sum(0) for x in level]),
        np.stack([x.sum(0) for x in spread]),
    )


def _evenness(
    values: np.ndarray, valid: np.ndarray, tile: Tile, *, reading: Reading, images: np.ndarray,
    labels: np.ndarray, patch: int, divide: float, mean: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Return the sum over patches of what each has left to learn, and of its square."""
    centre, variance = _patches(values, valid, tile, reading, images, patch, divide)
    found = np.zeros((2, len(labels)))
    for k, label in enumerate(labels):
        level, spread = _normalised(centre, variance, label, patch**2)
        left = ((level - mean[k]) ** 2 + spread).sum(1)
        found[:, k] = left.sum(), (left**2).sum()
    return found
