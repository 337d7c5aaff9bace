"""Things that several tests share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

VECTORS = Path(__file__).parent / "vectors"
# A busy machine, or the first draw of a character table, is no fault of a test.
settings.register_profile("ours", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ours")

REPOSITORY = Path(__file__).parent.parent
SHARED = REPOSITORY.parent / "shared"


def pytest_collection_modifyitems(items):
    """Long files come first: no worker of pytest-xdist is left alone with one at the end."""
    long = {
        item.path for item in items if {"slow", "notebooks"} & {m.name for m in item.iter_markers()}
    }
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(autouse=True)
def _one_thread():
    """Bits depend on the number of threads; so do timings on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def vectors() -> dict:
    return json.loads((VECTORS / "cases.json").read_text())


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip(
            f"no folder {SHARED.name} beside the repository: its real samples are not there"
        )
    return SHARED
