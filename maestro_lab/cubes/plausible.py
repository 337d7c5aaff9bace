"""Do the pixels look like what the cube says they are? Units, offsets and the order of bands.

Everything here is statistics on pixels that were read anyway. What cannot be otherwise is a
:class:`~maestro_lab.errors.CubeError`; what is only suspicious (a bright desert looks much like a
forgotten offset) is a :class:`~maestro_lab.errors.CubeWarning`. A modality that names no sensor is
not judged at all.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import xarray as xr

from maestro_lab.cubes.band_order import check_order
from maestro_lab.cubes.offsets import check_jump, check_offset
from maestro_lab.cubes.pixels import Look
from maestro_lab.cubes.sensors import Sensor, sensor
from maestro_lab.errors import CubeError, CubeWarning

__all__ = ["check_pixels"]

_MOST, _LEAST = 20_000, 1_000  # pixels looked at, and without which nothing is said


def check_pixels(name: str, ds: xr.Dataset, pixels: np.ndarray, counts: np.ndarray) -> None:
    """Compare valid pixels with what one may expect of the sensor that a modality names.

    Parameters
    ----------
    name
        Name of the modality, for the message.
    ds
        The modality; gives sensor, units, bands and dates.
    pixels
        Valid pixels (n, band), sample by sample and date by date.
    counts
        How many of them each sample has at each date (sample, time).

    Raises
    ------
    CubeError
        If the units, the order of bands or an offset cannot be right.

    Warns
    -----
    CubeWarning
        If they are suspicious.

    Examples
    --------
    >>> from maestro_lab.cubes.contract import make_modality
    >>> time = np.array([["2020-06-01"]], dtype="datetime64[ns]")
    >>> ds = make_modality(np.full((1, 1, 1, 8, 8), 0.2), time, bands=["B04"], units="DN", gsd=10,
    ...               sensor_name="sentinel-2")
    >>> check_pixels("s2", ds, np.full((64, 1), 0.2), np.array([[64]]))
    Traceback (most recent call last):
    maestro_lab.errors.CubeError: s2: values do not look like DN...
    """
    if "sensor" not in ds.attrs or not pixels.size:
        return
    known, units = sensor(ds.attrs["sensor"]), str(ds.attrs["units"])
    _check_range(name, known, units, pixels)
    step = -(-len(pixels) // _MOST)
    chosen = np.asarray(pixels[::step], np.float64)
    days = np.repeat(ds["time"].values.reshape(-1), counts.reshape(-1))[::step]
    bands = tuple(str(b) for b in ds["band"].values)
    look = Look(name, known, units, bands, chosen, days)
    if units == "dB":
        _check_decibels(look)
    if {"VV", "VH"} <= set(bands):
        _check_polarisations(look)
    if len(chosen) >= _LEAST and known.kinds:
        _check_fill(look)
        check_jump(look)
        check_order(look)
        check_offset(look)


def _check_range(name: str, known: Sensor, units: str, pixels: np.ndarray) -> None:
    low, high = known.plausible[units]
    median = float(np.median(pixels))
    if low <= median <= high:
        return
    fits = [u for u, (lo, hi) in known.plausible.items() if lo <= median <= hi]
    raise CubeError(
        f"{name}: values do not look like {units}",
        expected=f"a median between {low:g} and {high:g} for {known.name} in {units}",
        found=f"a median of {median:.4g}"
        + (f", which would fit {fits[0]!r}" if fits else "")
        + f" (range {pixels.min():.4g} to {pixels.max():.4g})",
        do=_conversion(known, units, median, fits),
    )


def _conversion(known: Sensor, units: str, median: float, fits: Sequence[str]) -> str:
    """Say how values that are not in ``units`` get there."""
    low, high = known.plausible[units]
    how = {
        ("DN", "reflectance"): "multiply by 10000",
        ("reflectance", "DN"): "divide by 10000",
        ("linear power", "dB"): "convert them with 10 ** (dB / 10)",
        ("dB", "linear power"): "convert them with 10 * log10(power)",
    }
    for fit in fits:
        if (units, fit) in how:
            return f"declare the right units ({fit!r}), or {how[units, fit]}"
    if known.name == "sentinel-1" and median > high:
        return (
            "calibrate them: these look like digital numbers, not like backscatter (openEO and "
            "ALOS products: dB = 20 * log10(DN) - 83)"
        )
    for factor in (10.0, 100.0, 10_000.0):
        for change, word in ((factor, "multiply"), (1 / factor, "divide")):
            if low <= median * change <= high and units != "dB":
                return f"declare the right units, or {word} the values by {factor:g}"
    return "declare the right units, or convert the values"


def _check_decibels(look: Look) -> None:
    """Backscatter in decibels is below zero nearly everywhere; a power never is."""
    median, least = float(np.median(look.pixels)), float(look.pixels.min())
    if len(look.pixels) < 100 or (median < -1 and least < 0):
        return
    power = least >= 0
    raise CubeError(
        f"{look.name}: values do not look like dB",
        expected="backscatter below 0 dB nearly everywhere",
        found=f"a median of {median:.4g}"
        + (" and nothing below 0, which would fit 'linear power'" if power else ""),
        do="declare the right units ('linear power'), or convert them with 10 * log10(power)"
        if power
        else "declare the right units, or convert the values",
    )


def _check_polarisations(look: Look) -> None:
    """Of what is sent in V more comes back in V than in H, by 4 to 12 dB over land and water."""
    vv, vh = look.column("VV"), look.column("VH")
    if look.units != "dB":
        there = (vv > 0) & (vh > 0)
        vv, vh = 10 * np.log10(vv[there]), 10 * np.log10(vh[there])
    if len(vv) < 100:
        return
    ratio = float(np.median(vv - vh))
    if ratio > -3:
        return
    raise CubeError(
        f"{look.name}: bands VV and VH look swapped",
        expected="VV stronger than VH, by 4 to 12 dB as a rule",
        found=f"VH stronger than VV, by {-ratio:.1f} dB in the median",
        do="give the bands in the order that the file really has",
    )


def _check_fill(look: Look) -> None:
    """Pixels that hold one extreme number in all bands are fill values, not ground."""
    if look.known.name not in ("sentinel-2", "landsat") or look.units != "DN":
        return
    for fill in (0.0, 65_535.0) if len(look.bands) > 1 else ():
        share = float((look.pixels == fill).all(1).mean())
        if share > 0.01:
            warnings.warn(
                f"{look.name}: {share:.0%} of the valid pixels are {fill:g} in all bands. If that "
                f"stands for missing pixels, say so when the cube is made: nodata={fill:g}.",
                CubeWarning,
                stacklevel=2,
            )
