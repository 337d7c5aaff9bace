"""Which bands belong together: histograms, correlations, groups."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "REFERENCES": "groups",
    "BandGroups": "groups",
    "BandStatistics": "statistics",
    "Grouping": "grouping",
    "band_statistics": "statistics",
    "compare_groupings": "grouping",
    "group_bands": "grouping",
    "load_groups": "grouping",
    "propose_groups": "grouping",
    "save_groups": "grouping",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'maestro_lab.bands' has no attribute {name!r}")
    return getattr(importlib.import_module(f"maestro_lab.bands.{_HOMES[name]}"), name)
