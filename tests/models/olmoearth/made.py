"""Random OlmoEarth models and samples, for tests of what holds for all of them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch

from maestro_lab.models.olmoearth.config import OlmoEarthConfig, Size
from maestro_lab.models.olmoearth.model import OlmoEarth
from maestro_lab.models.olmoearth.sample import NO_DATA, Layout, Sample

VERSIONS = ("v1", "v1.1", "v1.2")
MICRO = Size(32, 2, 4, 2, 2.0)
SENSORS = ("sentinel2_l2a", "sentinel1", "landsat")
ALL = (*SENSORS, "worldcover", "srtm", "era5_10", "latlon")


def micro(version: str, modalities=ALL, **changes) -> OlmoEarthConfig:
    """A model of the given version, small; without chance unless asked for."""
    config = OlmoEarthConfig.of(version, "nano", modalities)
    settled = {"size": MICRO, "drop_path": 0.0, "band_dropout": 0.0} | changes
    return replace(config, **settled)


def shaken(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Move every parameter away from 0 and 1, so that each makes a difference."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


@cache
def model_of(version: str) -> OlmoEarth:
    """A micro model in evaluation mode, shared by tests that do not change it."""
    torch.manual_seed(0)
    return shaken(OlmoEarth(micro(version))).eval()


def make_sample(
    config: OlmoEarthConfig, seed: int = 0, *, samples=2, dates=3, patch=4, grid=(2, 2), names=None
) -> Sample:
    """Random values and dates."""
    generator = torch.Generator().manual_seed(seed)
    values = {}
    for name in config.modalities if names is None else names:
        m = config.modalities[name]
        shape = [samples, dates if m.dated else 1, len(m.bands)]
        if m.spatial:
            shape += [side * patch for side in grid]
        elif not m.dated:
            shape = [samples, len(m.bands)]
        values[name] = torch.rand(*shape, generator=generator)
    parts = [torch.randint(low, high, (samples, dates), generator=generator)
             for low, high in ((1, 29), (0, 12), (2016, 2025))]  # fmt: skip
    return Sample(values, torch.stack(parts, -1), patch)


def layout_of(model: OlmoEarth, sample: Sample) -> Layout:
    return model.layouts(sample)[1]


def make_states(model: OlmoEarth, sample: Sample, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random states without missing tokens; each sample sees something, maps are not seen."""
    generator = torch.Generator().manual_seed(seed)
    states = {}
    for name, place in layout_of(model, sample).places.items():
        shape = (len(sample), *place.shape)
        low = 1 if name in model.config.predicted_only else 0
        states[name] = torch.randint(low, 3, shape, generator=generator)
    first = next(name for name in states if name in model.config.seen)
    states[first].view(len(sample), -1)[:, 0] = 0
    return states


def without(sample: Sample, name: str, row: int, date: int) -> Sample:
    """The same sample with one slot of one modality missing in one row."""
    values = dict(sample.values)
    values[name] = values[name].clone()
    values[name][row, date] = NO_DATA
    return replace(sample, values=values)
