"""Cubes that several tests of this room share; nobody changes them."""

import pytest

import maestro_lab as ml
from tests.batches.cubes import small_cube


@pytest.fixture(scope="session")
def small():
    return small_cube()


@pytest.fixture(scope="session")
def landscape():
    return ml.open_cube("landscape", samples=120, modalities=["s2"])
