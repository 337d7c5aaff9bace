"""Which pixels a statistic is taken of, and how to say so in a title."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from maestro_lab.cubes.contract import SPLITS, modality_names
from maestro_lab.cubes.sensors import SENSORS
from maestro_lab.errors import CubeError, ParameterError

__all__ = [
    "CLOUDS", "SEASONS", "UNSEEN", "Selection", "conditions", "policy", "regions", "sees_clouds",
    "select",
]  # fmt: skip

CLOUDS = ("out", "in")
UNSEEN = "unseen"
SEASONS = {"DJF": (12, 1, 2), "MAM": (3, 4, 5), "JJA": (6, 7, 8), "SON": (9, 10, 11)}
"""Seasons as xarray's ``time.dt.season`` names them, by months."""

MOST_REGIONS = 24


@dataclass(frozen=True)
class Selection:
    """Which pixels of a modality are looked at.

    Parameters
    ----------
    clouds
        "out": only pixels that are ``valid``. "in": every pixel of a date that exists, clouds and
        all, other than nodata. Statistics of radar and elevation, which see no clouds, say
        "unseen", and count the pixels that are ``valid``.
    split
        Splits; empty takes all.
    season
        One of DJF, MAM, JJA, SON; empty takes the whole year.
    region
        One of :func:`regions`; empty takes all.

    Examples
    --------
    >>> print(Selection("in", ("train",), "JJA"))
    clouds in, train, JJA
    """

    clouds: str = "out"
    split: tuple[str, ...] = ()
    season: str = ""
    region: str = ""

    def __post_init__(self) -> None:
        split = (self.split,) if isinstance(self.split, str) else tuple(self.split or ())
        object.__setattr__(self, "split", split)
        for name, options, values in (
            ("clouds", (*CLOUDS, UNSEEN), (self.clouds,)),
            ("split", SPLITS, split),
            ("season", ("", *SEASONS), (self.season,)),
        ):
            strange = [v for v in values if v not in options]
            if strange:
                expected = " | ".join(o for o in options if o not in ("", UNSEEN))
                raise ParameterError(name, expected=expected, found=repr(strange[0]))

    @property
    def policy(self) -> str:
        """The cloud policy in words."""
        return {"out": "clear pixels only", "in": "clouds in", UNSEEN: "valid pixels"}[self.clouds]

    def __str__(self) -> str:
        split = "+".join(self.split) if self.split else "all splits"
        return ", ".join(part for part in (self.policy, split, self.season, self.region) if part)


def sees_clouds(ds: xr.Dataset) -> bool:
    """Tell whether clouds hide the ground from this sensor; radar and elevation have no colour."""
    known = ds.attrs.get("sensor") in SENSORS
    return not known or bool(np.isfinite(ds["wavelength"].values.astype(float)).any())


def policy(ds: xr.Dataset, clouds: str) -> str:
    """Return the cloud policy that a modality has when "out" or "in" is asked for."""
    if clouds not in CLOUDS:
        raise ParameterError("clouds", expected=" | ".join(CLOUDS), found=repr(clouds))
    return clouds if sees_clouds(ds) else UNSEEN


def regions(cube: xr.DataTree) -> np.ndarray:
    """Name the region of each sample (sample,): a quarter of the map, or else its block.

    Raises
    ------
    ParameterError
        If the cube tells no positions and has more than 24 blocks.
    """
    if "easting" in cube.data_vars and "northing" in cube.data_vars:
        x, y = (np.asarray(cube[n].values, float) for n in ("easting", "northing"))
        north = np.where(y >= np.median(y), "north", "south")
        east = np.where(x >= np.median(x), "east", "west")
        return np.char.add(np.char.add(north, "-"), east)
    blocks = np.asarray(cube["block"].values)
    if len(np.unique(blocks)) > MOST_REGIONS:
        raise ParameterError(
            "this cube has no regions",
            expected=f"positions (easting, northing) or at most {MOST_REGIONS} blocks",
            found=f"{len(np.unique(blocks))} blocks without positions",
        )
    return np.array([f"block {b}" for b in blocks])


def select(
    cube: xr.DataTree, modality: str, selection: Selection
) -> tuple[xr.Dataset, np.ndarray, np.ndarray, Selection]:
    """Select from a modality.

    Returns
    -------
    tuple
        The modality with the samples that are in, their numbers, which of their images are in
        (sample, time), and the selection with the cloud policy that the modality has.

    Raises
    ------
    CubeError
        If no image is left.
    """
    if modality not in modality_names(cube):
        raise ParameterError(
            f"no modality {modality!r}", expected=", ".join(modality_names(cube)), found=modality
        )
    inside = np.ones(cube.sizes["sample"], bool)
    if selection.split:
        inside &= np.isin(np.asarray(cube["split"].values).astype(str), selection.split)
    if selection.region:
        names = regions(cube)
        if selection.region not in names:
            raise ParameterError(
                "region", expected=", ".join(np.unique(names)), found=repr(selection.region)
            )
        inside &= names == selection.region
    samples = np.flatnonzero(inside)
    time = cube[modality]["time"].values[samples]
    images = ~np.isnat(time)
    if selection.season:
        images &= np.isin(months(time), SEASONS[selection.season])
    if not images.any():
        raise CubeError(
            f"{modality}: nothing to measure",
            expected=f"dates among {selection}",
            found=f"none in {len(samples)} samples",
        )
    ds = cube[modality].to_dataset()
    selection = replace(selection, clouds=policy(ds, selection.clouds))
    return ds.isel(sample=samples), samples, images, selection


def months(time: np.ndarray) -> np.ndarray:
    """Return the month of each date, 1 to 12; 0 for NaT."""
    month = time.astype("datetime64[M]").astype(int) % 12 + 1
    return np.where(np.isnat(time), 0, month)


def conditions(
    cube: xr.DataTree, modality: str, by: str, split: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Split the images of a modality (sample, time) by season, split or region.

    Returns
    -------
    dict
        Name of the condition to where it holds; conditions without an image are left out.
    """
    time = cube[modality]["time"].values
    dated = ~np.isnat(time)
    if by == "season":
        found = {name: np.isin(months(time), m) for name, m in SEASONS.items()}
    elif by in ("split", "region"):
        names = np.asarray(cube["split"].values).astype(str) if by == "split" else regions(cube)
        order = SPLITS if by == "split" else np.unique(names)
        found = {str(n): np.broadcast_to((names == n)[:, None], time.shape) for n in order}
    else:
        raise ParameterError("by", expected="season | split | region | clouds", found=repr(by))
    if split:
        dated &= np.isin(np.asarray(cube["split"].values).astype(str), split)[:, None]
    return {name: where & dated for name, where in found.items() if (where & dated).any()}
