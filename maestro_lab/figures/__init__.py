"""Figures: data in, a matplotlib Figure out."""

from __future__ import annotations

from maestro_lab.lazy import lazily

_HOMES = {
    "band_distances": "bands",
    "band_histograms": "bands",
    "band_overview": "bands",
    "band_togetherness": "bands",
    "collapse_curves": "embeddings",
    "embedding_map": "maps",
    "label_curves": "labels",
    "loss_curves": "training",
    "month_similarity": "embeddings",
    "predicted_and_true": "probes",
    "probe_map": "maps",
    "probe_scores": "probes",
    "synthetic_and_real": "realism",
    "reconstructions": "guesses",
    "reconstruction_gain": "guesses",
    "sample_overview": "cubes",
    "similarity_map": "similarity",
    "split_map": "cubes",
    "statistics_agreement": "bands",
    "target_balance": "bands",
    "tuning_curves": "labels",
}

__all__ = sorted(_HOMES)
__getattr__ = lazily(__name__, {n: f"{__name__}.{home}" for n, home in _HOMES.items()})
