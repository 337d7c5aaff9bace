"""Steps with OlmoEarth across rooms: embed any cube, probe beside the same baselines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr

from maestro_lab.batches import CubeDataset, contract_for
from maestro_lab.batches.seasons import seasonal_medians
from maestro_lab.errors import ContractError
from maestro_lab.models.olmoearth.config import OlmoEarthConfig
from maestro_lab.models.olmoearth.model import OlmoEarth
from maestro_lab.olmoearth_input import OlmoEarthInput
from maestro_lab.training.embed import Embeddings
from maestro_lab.workflow import MEDIANS, PRETRAINED, RANDOM, Features

__all__ = ["build_olmoearth", "embed_olmoearth", "olmoearth_features"]


def build_olmoearth(config: OlmoEarthConfig, seed: int = 0) -> OlmoEarth:
    """Build an OlmoEarth model with random weights that depend on ``seed`` alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return OlmoEarth(config)


@torch.no_grad()
def embed_olmoearth(
    model: OlmoEarth, data: OlmoEarthInput, *, patch: int = 4, batch_size: int = 16
) -> Embeddings:
    """Embed every sample of a cube: the mean of its tokens at each patch.

    Parameters
    ----------
    model
        Used as it is, nothing masked, no gradient.
    data
        The cube as the model takes it.
    patch
        Pixels along the side of a patch, 1 to 8, a divisor of the window.
    batch_size
        Samples at once.

    Raises
    ------
    ContractError
        If windows are not square, or the patch does not divide them.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> cube = ml.open_cube("landscape", samples=3, modalities=["s2"])
    >>> model = build_olmoearth(OlmoEarthConfig.of("v1.2", "nano"))
    >>> embed_olmoearth(model, OlmoEarthInput(cube, model.config), patch=2).features.shape
    (3, 9, 128)
    """
    height, width = data.pixels
    if height != width or height % patch:
        legal = [p for p in range(1, 9) if height % p == 0]
        raise ContractError(
            f"patches of {patch} px in windows of {height} x {width} px",
            expected=f"square windows, and a patch among {', '.join(map(str, legal))}",
            found=patch,
        )
    device, training = next(model.parameters()).device, model.training
    model.eval()
    parts = [
        model.embed(batch.to(device), spatial=True).float().cpu().numpy()
        for batch in data.batches(batch_size, patch)
    ]
    model.train(training)
    return Embeddings(np.concatenate(parts), data.index.copy(), height // patch)


def olmoearth_features(
    model: OlmoEarth,
    cube: xr.DataTree,
    *,
    patch: int = 4,
    start: object = None,
    random_encoders: int = 3,
    split: Sequence[str] = ("train", "test"),
) -> Features:
    """Embed a cube with OlmoEarth, with random weights, and with seasonal medians.

    What comes back is probed like any features: ``ml.probe_target(found, cube, target)``.

    Parameters
    ----------
    model, cube
        A model, and a cube with a sensor that it sees.
    patch
        Pixels along the side of a patch.
    start
        First day of the first of twelve slots, as :class:`OlmoEarthInput` takes it.
    random_encoders
        How many models of the same shape with random weights.
    split
        Which samples.
    """
    data = OlmoEarthInput(cube, model.config, split=split, start=start)
    found = embed_olmoearth(model, data, patch=patch)
    device = next(model.parameters()).device
    others = [build_olmoearth(model.config, 1000 + k).to(device) for k in range(random_encoders)]
    seen = [part.name for parts in data.parts.values() for part in parts]
    contract = contract_for(cube, modalities=seen)
    plain = CubeDataset(cube, contract, split=split, train=False)
    tables = {
        MEDIANS: [seasonal_medians(plain, found.grid)],
        RANDOM: [embed_olmoearth(other, data, patch=patch).features for other in others],
        PRETRAINED: [found.features],
    }
    return Features({k: v for k, v in tables.items() if v}, found.sample, found.grid)
