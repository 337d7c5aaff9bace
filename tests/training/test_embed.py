"""Frozen embeddings: averaged over dates and draws, on any grid, zeros for what is missing."""

import numpy as np
import pytest
import torch

from maestro_lab.batches import loader
from maestro_lab.errors import ParameterError
from maestro_lab.training.embed import embed, reference_grid
from tests.training.conftest import make_data, make_model

WIDTH = 16


@pytest.fixture(scope="module")
def model(cube):
    return make_model(cube)


@pytest.fixture(scope="module")
def data(cube):
    return make_data(cube, None, train=False)


def test_every_location_of_every_sample(model, data):
    found = embed(model, data, draws=2, batch_size=4)
    assert found.features.shape == (14, 4, 2 * WIDTH) and found.features.dtype == np.float32
    assert found.grid == reference_grid(model, data) == 2
    assert found.sample.tolist() == list(range(14))
    assert np.isfinite(found.features).all()
    again = embed(model, data, draws=2, batch_size=9)
    assert np.allclose(again.features, found.features, atol=1e-5), "batches do not matter"


def test_only_dates_that_are_there_count(model, data):
    """Against a loop over dates and locations."""
    found = embed(model, data, draws=1)
    batch = next(iter(loader(data, 14)))
    model.eval()
    with torch.no_grad():
        features = model.features(batch)
    for k, (tokens, present) in enumerate(features.values()):
        assert present is not None and not present.all()
        part = found.features[..., k * WIDTH : (k + 1) * WIDTH]
        for i in range(14):
            for place in range(4):
                there = [
                    tokens[i, 0, d, place]
                    for d in range(tokens.shape[2])
                    if present[i, 0, d, place]
                ]
                mean = torch.stack(there).mean(0).numpy() if there else np.zeros(WIDTH)
                assert np.allclose(part[i, place], mean, atol=1e-5)


def test_a_missing_modality_gives_zeros(model, data):
    found = embed(model, data, draws=3).features
    lacks = (np.arange(14) % 5) == 2
    assert (found[lacks, :, WIDTH:] == 0).all()
    assert (np.abs(found[~lacks, :, WIDTH:]).sum(-1) > 0).all()
    covered = (np.arange(14) % 5) == 3  # by clouds in one corner, in every date
    assert (found[covered, 0, :WIDTH] == 0).all()
    assert (np.abs(found[:, 1:, :WIDTH]).sum(-1) > 0).all()


def test_draws_are_averaged(model, data):
    """The mean of three draws holds the first, which takes median dates, at a third."""
    one, two, three = (embed(model, data, draws=n).features for n in (1, 2, 3))
    second, third = 2 * two - one, 3 * three - 2 * two
    batches = loader(data, 64)
    for epoch, expected in ((1, second), (2, third)):
        batches.batch_sampler.epoch = epoch
        batch = next(iter(batches))
        with torch.no_grad():
            tokens, present = model.eval().features(batch)["optics"]
        weight = present[..., None].float()
        mean = (tokens * weight).sum((1, 2)) / weight.sum((1, 2)).clamp(min=1)
        assert np.allclose(expected[..., :WIDTH], mean.numpy(), atol=1e-4)
    assert np.abs(second - third).max() > 1e-2


def test_other_grids(model, data):
    own = embed(model, data, draws=1).features
    one = embed(model, data, draws=1, grid=1).features
    assert np.allclose(one[:, 0], own.mean(1), atol=1e-5)
    fine = embed(model, data, draws=1, grid=4).features.reshape(14, 4, 4, -1)
    corners = fine[:, [0, 0, 3, 3], [0, 3, 0, 3]]
    assert np.allclose(corners, own, atol=1e-5), "corners of the finer grid are the coarse cells"
    assert np.allclose(fine.mean((1, 2)), own.mean(1), atol=1e-5)


def test_what_cannot_be_embedded(cube, model, data):
    with pytest.raises(ParameterError, match="train=False"):
        embed(model, make_data(cube))
    with pytest.raises(ParameterError, match="draws"):
        embed(model, data, draws=0)


def test_the_model_is_left_as_it_was(model, data):
    model.train()
    embed(model, data, draws=1)
    assert model.training and all(p.grad is None for p in model.parameters())
