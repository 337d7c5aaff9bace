"""Figures: data in, a matplotlib Figure out."""

from __future__ import annotations

from maestro_lab.lazy import lazily

_HOMES = {
    "band_distances": "bands",
    "band_histograms": "bands",
    "band_overview": "bands",
    "band_togetherness": "bands",
    "collapse_curves": "embeddings",
    "cube_view": "sample_view",
    "error_views": "studio",
    "embedding_map": "maps",
    "embedding_view": "embedding_views",
    "label_curves": "labels",
    "loss_curves": "training",
    "month_similarity": "embeddings",
    "predicted_and_true": "probes",
    "probe_map": "maps",
    "probe_scores": "probes",
    "studio_view": "studio",
    "synthetic_and_real": "realism",
    "reconstructions": "guesses",
    "reconstruction_gain": "guesses",
    "runs_view": "comparison",
    "sample_overview": "cubes",
    "similarity_map": "similarity",
    "split_map": "cubes",
    "statistics_agreement": "balance",
    "target_balance": "balance",
    "training_view": "cockpit",
    "tuning_curves": "labels",
    "class_score_bars": "probe_view",
    "error_map": "error_maps",
    "few_shot_curves": "probe_view",
    "leakage_histogram": "probe_view",
}

__all__ = sorted(_HOMES)
__getattr__ = lazily(__name__, {n: f"{__name__}.{home}" for n, home in _HOMES.items()})
