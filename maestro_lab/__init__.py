"""A Jupyter-first laboratory for masked pretraining on Earth-observation data.

>>> import maestro_lab as ml
>>> cube = ml.open_cube("landscape", samples=4)
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "BandGroups": "maestro_lab.bands",
    "Catalog": "maestro_lab.catalog",
    "catalog": "maestro_lab.catalog",
    "collect": "maestro_lab.runs",
    "contract_for": "maestro_lab.batches",
    "describe": "maestro_lab.cubes.describe",
    "open_cube": "maestro_lab.catalog",
    "open_run": "maestro_lab.runs",
    "report": "maestro_lab.runs",
    "save_cube": "maestro_lab.cubes.store",
    "start_run": "maestro_lab.runs",
    "validate": "maestro_lab.cubes.contract",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605  the names are looked up when first used


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'maestro_lab' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
