"""Which sensors OlmoEarth sees, in which units, and what stands in for bands that are not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from maestro_lab.cubes.contract import modality_names
from maestro_lab.cubes.sensors import sensor
from maestro_lab.errors import ContractError
from maestro_lab.models.olmoearth.config import OlmoEarthConfig

__all__ = ["SENSORS", "UNITS", "by_modality", "in_units", "nearest_bands", "sensors_of"]

SENSORS = {"sentinel-2": "sentinel2_l2a", "sentinel-1": "sentinel1", "landsat": "landsat"}
"""Sensor of a cube to the modality of the model."""

UNITS = {
    "sentinel2_l2a": ("DN", "reflectance"),
    "sentinel1": ("dB", "linear power"),
    "landsat": ("DN",),
}
"""What each can be given in."""

_THERMAL = ("B10", "B11")  # of Landsat: like nothing but each other


def sensors_of(cube: xr.DataTree, chosen: Sequence[str] = ()) -> dict[str, list[str]]:
    """Return which modalities of a cube make up each modality that OlmoEarth sees.

    Parameters
    ----------
    cube
        The cube.
    chosen
        Names of modalities to take; empty takes all.

    Raises
    ------
    ContractError
        If a name is not there, or nothing is left.
    """
    sensor_name = {n: cube[n].attrs.get("sensor", "no sensor") for n in modality_names(cube)}
    there = ", ".join(f"{n} ({s})" for n, s in sensor_name.items())
    for name in chosen:
        if sensor_name.get(name) not in SENSORS:
            raise ContractError(f"modality {name!r}", expected=" or ".join(SENSORS), found=there)
    found: dict[str, list[str]] = {}
    for name in chosen or sensor_name:
        if sensor_name[name] in SENSORS:
            found.setdefault(SENSORS[sensor_name[name]], []).append(name)
    if not found:
        raise ContractError(
            "this cube has no sensor that OlmoEarth sees",
            expected=" or ".join(SENSORS), found=there,
        )  # fmt: skip
    return {name: found[name] for name in SENSORS.values() if name in found}


def by_modality(cube: xr.DataTree, config: OlmoEarthConfig) -> dict[str, list[str]]:
    """Return which modalities of a cube make up each modality of the model."""
    named = [n for modality in config.seen for n in config.sources.get(modality, ())]
    found = sensors_of(cube, named)
    kept = {name: found[name] for name in config.seen if name in found}
    if not kept:
        raise ContractError(
            "this cube has no sensor that the model sees",
            expected=" or ".join(config.seen), found=", ".join(found),
        )  # fmt: skip
    return kept


def in_units(values: np.ndarray, units: str) -> np.ndarray:
    """Bring values to the units the model was trained in: digital numbers, and dB."""
    values = values.astype(np.float64)
    if units == "linear power":
        return 10 * np.log10(np.maximum(values, 1e-10))
    return values * 10_000 if units == "reflectance" else values


def nearest_bands(values: np.ndarray, modality: str, bands: Sequence[str]) -> np.ndarray:
    """Put the band nearest in wavelength where one is missing; thermal bands only from thermal."""
    names = {model: name for name, model in SENSORS.items()}
    length: Mapping[str, float] = sensor(names[modality]).wavelengths
    out = values.copy()
    for k, band in enumerate(bands):
        if not np.isnan(values[:, k]).any() or band not in length:
            continue
        thermal = modality == "landsat" and band in _THERMAL
        others = [
            b for b in bands
            if b != band and (modality == "landsat" and b in _THERMAL) == thermal
        ]  # fmt: skip
        for other in sorted(others, key=lambda b: (abs(length[b] - length[band]), length[b])):
            gap = np.isnan(out[:, k])
            if not gap.any():
                break
            out[:, k] = np.where(gap, values[:, bands.index(other)], out[:, k])
    return out
