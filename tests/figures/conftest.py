from __future__ import annotations

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from maestro_lab.bands import group_bands
from maestro_lab.batches import CubeDataset, contract_for
from maestro_lab.batches.targets import target_at
from maestro_lab.models.config import MaestroConfig
from maestro_lab.models.maestro import Maestro
from maestro_lab.training.probe import probe, units
from maestro_lab.training.reconstruct import (
    reconstruct,
    reconstruction_errors,
    reconstruction_scores,
)
from tests.batches.cubes import small_cube

matplotlib.use("Agg")

SAMPLES = np.array([0, 1, 3, 4, 6, 7])  # those in train and test


@pytest.fixture(autouse=True)
def _nothing_stays_open():
    plt.close("all")
    yield
    assert not plt.get_fignums(), "pyplot would show the figure twice"


@pytest.fixture(scope="session")
def cube():
    return small_cube()


@pytest.fixture(scope="session")
def groupings(cube):
    return list(group_bands(cube, groups={"s2": 2}).values())


@pytest.fixture(scope="session")
def data(cube):
    contract = contract_for(cube, dates={"s2": 4, "s1": 3}, patch={"dem": 6})
    return CubeDataset(cube, contract, split=None, train=False)


@pytest.fixture(scope="session")
def model(data):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Maestro(MaestroConfig(data.contract, "nano")).eval()


@pytest.fixture(scope="session")
def guesses(model, data):
    return reconstruct(model, data.__getitems__([(0, i) for i in range(len(data))]))


@pytest.fixture(scope="session")
def scores(model, data, cube):
    return reconstruction_scores(reconstruction_errors(model, data), cube["block"].values, draws=9)


def probed(cube, name, grid=3):
    """Probe two made-up kinds of features for a target."""
    target = target_at(cube, name, SAMPLES, grid)
    split, block = (np.asarray(cube[n].values)[SAMPLES] for n in ("split", "block"))
    known, arrange = units(target.values, split=split, block=block, task=target.task)
    rng = np.random.default_rng(0)
    shape = (len(SAMPLES), target.values.shape[1], 5)
    tables = {name: arrange(rng.random(shape)) for name in ("medians", "encoder")}
    return probe(tables, known, draws=9)


@pytest.fixture(scope="session")
def heights(cube):
    return probed(cube, "height")


@pytest.fixture(scope="session")
def covers(cube):
    return probed(cube, "cover")
