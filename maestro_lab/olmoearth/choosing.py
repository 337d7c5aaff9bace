"""A configuration of OlmoEarth for what a cube holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import xarray as xr

from maestro_lab.errors import ParameterError
from maestro_lab.models.olmoearth.config import MODALITIES, VERSIONS, OlmoEarthConfig
from maestro_lab.olmoearth.maps import map_modality, own_name, published_name
from maestro_lab.olmoearth.sensors import sensors_of

__all__ = ["olmoearth_config"]


def olmoearth_config(
    cube: xr.DataTree,
    *,
    version: str = "v1.2",
    size: str = "nano",
    modalities: Sequence[str] = (),
    maps: Sequence[str] = (),
    **changes: Any,
) -> OlmoEarthConfig:
    """Return the configuration of a model that sees the sensors of a cube, for pretraining.

    Parameters
    ----------
    cube
        With Sentinel-2, Sentinel-1 or Landsat.
    version, size
        As in :meth:`~maestro_lab.models.olmoearth.config.OlmoEarthConfig.of`.
    modalities
        Names of modalities of the cube to see; empty takes all that OlmoEarth knows.
    maps
        Names of targets with pixels, or of elevation, that are predicted as well and never seen.
        A probe for one of these is no test of learning without labels.
    changes
        Other settings, such as ``masking`` or ``band_dropout``.

    Raises
    ------
    ContractError
        If the cube has no sensor that OlmoEarth sees.
    ParameterError
        For an unknown name.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> cube = ml.open_cube("landscape", samples=2)
    >>> config = olmoearth_config(cube, maps=["dem", "land_cover"])
    >>> list(config.modalities), config.predicted_only
    (['sentinel2_l2a', 'sentinel1', 'srtm', 'land_cover'], ('srtm', 'land_cover'))
    """
    sensors = sensors_of(cube, modalities)
    base = OlmoEarthConfig.of(version, size, list(sensors))
    chosen, sources = dict(base.modalities), {}
    if modalities:
        sources = {model: tuple(names) for model, names in sensors.items()}
    for name in maps:
        own = own_name(cube, name)
        known = published_name(cube, name)
        chosen[own] = MODALITIES[known] if known else map_modality(cube, name)
        sources[own] = (name,)
    predicted = tuple(name for name in chosen if name not in sensors)
    known = set(OlmoEarthConfig.__dataclass_fields__)
    for name in changes:
        if name not in known:
            raise ParameterError("setting", expected=", ".join(sorted(known)), found=name)
    given = {
        "modalities": chosen,
        "predicted_only": predicted,
        "spare_alike": predicted if VERSIONS[version].spare_alike else (),
        "sources": sources,
    }
    return replace(base, **given | changes)
