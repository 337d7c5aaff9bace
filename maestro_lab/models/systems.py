"""The two systems side by side: what configures a model of each, and what it is built by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from maestro_lab.errors import ParameterError
from maestro_lab.models.config import MaestroConfig
from maestro_lab.models.maestro import Maestro
from maestro_lab.models.olmoearth.config import OlmoEarthConfig
from maestro_lab.models.olmoearth.model import OlmoEarth

__all__ = ["SYSTEMS", "Config", "Model", "build_model", "read_config", "system_of"]

Config = MaestroConfig | OlmoEarthConfig
Model = Maestro | OlmoEarth

SYSTEMS: dict[str, tuple[type, type]] = {
    "maestro": (MaestroConfig, Maestro),
    "olmoearth": (OlmoEarthConfig, OlmoEarth),
}
"""Name to configuration and model."""


def system_of(config: Config) -> str:
    """Return the name of the system that a configuration belongs to.

    Examples
    --------
    >>> system_of(OlmoEarthConfig.of("v1.2", "nano"))
    'olmoearth'
    """
    return next(name for name, (kind, _) in SYSTEMS.items() if isinstance(config, kind))


def read_config(system: str, data: Mapping[str, Any]) -> Config:
    """Read a configuration from its plain JSON data.

    Raises
    ------
    ParameterError
        For an unknown system.
    """
    if system not in SYSTEMS:
        raise ParameterError("system", expected=" | ".join(SYSTEMS), found=repr(system))
    return SYSTEMS[system][0].from_dict(data)


def build_model(config: Config, seed: int = 0) -> Model:
    """Build a model with random weights that depend on ``seed`` alone.

    Examples
    --------
    >>> build_model(OlmoEarthConfig.of("v1.2", "nano"), seed=1).config.size.width
    128
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SYSTEMS[system_of(config)][1](config)
