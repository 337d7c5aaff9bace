"""A tiny cube in memory, with all that is awkward about real ones, and a model as tiny."""

import numpy as np
import pytest
import xarray as xr

from maestro_lab.batches import CubeDataset, contract_for
from maestro_lab.cubes.contract import assemble, make_modality
from maestro_lab.models.config import MaestroConfig, Size
from maestro_lab.models.systems import build_model
from maestro_lab.training.config import TrainingConfig

SIZE = Size(16, 1, 1, 16, 32, 16, 1, 1, 16, 32)
SPLITS = ("train", "train", "train", "train", "train", "val", "test")


def make_cube(samples: int = 14, *, whole: bool = False, seed: int = 0) -> xr.DataTree:
    """Two modalities; unless ``whole``, with clouds, short series, and samples without radar."""
    rng = np.random.default_rng(seed)
    time = np.datetime64("2021-03-01", "ns") + np.arange(5) * np.timedelta64(20, "D")
    time = np.tile(time, (samples, 1))
    radar_time = time[:, :3].copy()
    level = rng.uniform(500, 3000, (samples, 1, 1, 1, 1))
    optics = (level * rng.uniform(0.5, 1.5, (samples, 5, 3, 4, 4))).astype(np.int16)
    radar = rng.gamma(4, 0.02, (samples, 3, 2, 4, 4)).astype(np.float32)
    valid = np.ones((samples, 5, 4, 4), bool)
    if not whole:
        valid &= rng.random(valid.shape) > 0.1
        valid[3::5, :, :2, :2] = False
        time[1::4, 3:] = np.datetime64("NaT")
        radar_time[2::5] = np.datetime64("NaT")
        valid &= ~np.isnat(time)[:, :, None, None]
    split = [SPLITS[i % 7] for i in range(samples)]
    return assemble(
        {
            "optics": make_modality(
                optics, time, valid=valid, bands=["G", "R", "N"], units="DN", gsd=10
            ),
            "radar": make_modality(
                radar, radar_time, bands=["VV", "VH"], units="linear power", gsd=10
            ),
        },
        sample=[f"s{i}" for i in range(samples)],
        split=split,
        block=np.arange(samples) // 2,
        title="tiny",
        licence="CC0-1.0",
        source="made by the tests",
    )


def make_contract(cube: xr.DataTree):
    return contract_for(cube, dates={"optics": 3, "radar": 2})


def make_model(cube: xr.DataTree, **options):
    options = {"size": SIZE, "joint_depth": 0, **options}
    return build_model(MaestroConfig(make_contract(cube), **options))


def make_data(cube: xr.DataTree, split="train", **options) -> CubeDataset:
    return CubeDataset(cube, make_contract(cube), split=split, **options)


def settings(**options) -> TrainingConfig:
    plain = {"epochs": 2, "batch_size": 2, "base_lr": 1e-3, "precision": "fp32", "log_every": 2}
    return TrainingConfig(**{**plain, **options})


@pytest.fixture(scope="package")
def cube() -> xr.DataTree:
    return make_cube()


@pytest.fixture(scope="package")
def whole_cube() -> xr.DataTree:
    """A cube in which every pixel of every date is there."""
    return make_cube(whole=True)
