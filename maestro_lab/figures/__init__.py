"""Figures: data in, a matplotlib Figure out."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "band_distances": "bands",
    "band_histograms": "bands",
    "embedding_map": "maps",
    "loss_curves": "training",
    "predicted_and_true": "probes",
    "probe_map": "maps",
    "probe_scores": "probes",
    "synthetic_and_real": "realism",
    "reconstructions": "guesses",
    "reconstruction_gain": "guesses",
    "sample_overview": "cubes",
    "split_map": "cubes",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'maestro_lab.figures' has no attribute {name!r}")
    return getattr(importlib.import_module(f"maestro_lab.figures.{_HOMES[name]}"), name)
