"""Which bands belong together: histograms, correlations, groups."""

from __future__ import annotations

from maestro_lab.lazy import lazily

_HOMES = {
    "LINKAGES": "grouping",
    "REFERENCES": "known",
    "STATISTICS": "between",
    "BandGroups": "groups",
    "BandStatistics": "statistics",
    "Grouping": "grouping",
    "Selection": "selection",
    "Stability": "resampling",
    "Survey": "survey",
    "balance": "targets",
    "band_statistics": "measure",
    "compare_groupings": "grouping",
    "compare_references": "resampling",
    "distances": "between",
    "group_bands": "grouping",
    "groupings_to_weigh": "targets",
    "load_groups": "files",
    "propose_groups": "grouping",
    "references": "known",
    "save_groups": "files",
    "spectral_regions": "known",
    "stability": "resampling",
    "stability_table": "resampling",
    "statistics_agreement": "grouping",
    "statistics_by": "measure",
}

__all__ = sorted(_HOMES)
__getattr__ = lazily(__name__, {n: f"{__name__}.{home}" for n, home in _HOMES.items()})
