"""Which bands belong together: histograms, correlations, groups."""

from __future__ import annotations

from maestro_lab.lazy import lazily

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
__getattr__ = lazily(__name__, {n: f"{__name__}.{home}" for n, home in _HOMES.items()})
