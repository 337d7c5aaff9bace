"""What the tests of OlmoEarth on cubes share."""

import pytest

from maestro_lab.olmoearth import reading


@pytest.fixture(autouse=True)
def nobody_was_told():
    """Let each test be warned as if it were the first."""
    reading._warn_once.cache_clear()
