"""Which bands belong together: histograms, correlations, groups."""

from __future__ import annotations

import importlib
from typing import Any

from maestro_lab.bands.groups import REFERENCES, BandGroups

__all__ = ["REFERENCES", "BandGroups", "BandStatistics", "Grouping", "band_statistics", "propose_groups"]

_HOMES = {
    "BandStatistics": "statistics",
    "Grouping": "grouping",
    "band_statistics": "statistics",
    "propose_groups": "grouping",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'maestro_lab.bands' has no attribute {name!r}")
    return getattr(importlib.import_module(f"maestro_lab.bands.{_HOMES[name]}"), name)
