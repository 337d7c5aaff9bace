from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file


@pytest.fixture(scope="session")
def fixtures(shared) -> Path:
    folder = shared / "fixtures" / "olmoearth"
    if not folder.is_dir():
        pytest.skip("the shared folder has no oracles of OlmoEarth")
    return folder


@pytest.fixture(scope="session")
def component(fixtures):
    """Return the recorded tensors of a part of the system, by name."""
    return lambda name: load_file(fixtures / "components" / f"{name}.safetensors")
