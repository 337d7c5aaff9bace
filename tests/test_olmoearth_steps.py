"""OlmoEarth on any cube, probed beside the same baselines as MAESTRO."""

import numpy as np
import pytest
import torch

import maestro_lab as ml
from maestro_lab.errors import ContractError
from maestro_lab.models.olmoearth.config import OlmoEarthConfig
from maestro_lab.olmoearth_input import OlmoEarthInput
from maestro_lab.olmoearth_steps import build_olmoearth, embed_olmoearth, olmoearth_features

CONFIG = OlmoEarthConfig.of("v1.2", "nano")


@pytest.fixture(scope="module")
def cube():
    return ml.open_cube("landscape", samples=40, modalities=["s2", "s1_asc"]).load()


def test_embeddings_do_not_depend_on_the_batch(cube):
    model = build_olmoearth(CONFIG).train()
    data = OlmoEarthInput(cube, CONFIG, split=["train"])
    one, three = (embed_olmoearth(model, data, patch=2, batch_size=n) for n in (1, 7))
    np.testing.assert_allclose(one.features, three.features, atol=2e-5)
    assert one.grid == 3 and model.training
    np.testing.assert_array_equal(one.sample, np.flatnonzero(cube["split"].values == "train"))


def test_weights_follow_from_the_seed():
    a, b, c = (build_olmoearth(CONFIG, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(a[k], b[k]) for k in a) and any(not torch.equal(a[k], c[k]) for k in a)


def test_probes_stand_beside_the_same_baselines(cube):
    found = olmoearth_features(build_olmoearth(CONFIG), cube, patch=2, random_encoders=1)
    assert list(found.tables) == ["seasonal medians", "random weights", "pretrained encoder"]
    result, _ = ml.probe_target(found, cube, "land_cover", methods=["linear"], draws=20)
    assert len(result.scores) == 3 and np.isfinite(result.scores["score"]).all()


def test_a_patch_that_does_not_divide_the_window_is_told(cube):
    data = OlmoEarthInput(cube, CONFIG)
    with pytest.raises(
        ContractError, match=r"patches of 4 px in windows of 6 x 6 px\n.*1, 2, 3, 6"
    ):
        embed_olmoearth(build_olmoearth(CONFIG), data)
