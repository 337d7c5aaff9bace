"""Explorers for JupyterLab: live where there is somebody to move a slider, else still."""

from __future__ import annotations

from maestro_lab.lazy import lazily

_HOMES = {
    "BandExplorer": "bands",
    "CubeExplorer": "cube",
    "EmbeddingExplorer": "embedding",
    "Explorer": "base",
    "ProbeExplorer": "probes",
    "ReconstructionStudio": "studio",
    "RunsExplorer": "runs",
    "TrainingCockpit": "cockpit",
    "serve": "served",
}

__all__ = sorted(_HOMES)
__getattr__ = lazily(__name__, {n: f"{__name__}.{home}" for n, home in _HOMES.items()})
