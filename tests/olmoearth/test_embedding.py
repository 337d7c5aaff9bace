"""OlmoEarth on any cube, probed beside the same baselines as MAESTRO."""

import numpy as np
import pytest
import torch

import maestro_lab as ml
from maestro_lab.errors import ContractError, ParameterError
from maestro_lab.olmoearth.dataset import OlmoEarthDataset

CONFIG = ml.OlmoEarthConfig.of("v1.2", "nano")


@pytest.fixture(scope="module")
def cube():
    return ml.open_cube("landscape", samples=40, modalities=["s2", "s1_asc"]).load()


def test_embeddings_do_not_depend_on_the_batch(cube):
    model = ml.build_model(CONFIG).train()
    data = ml.dataset_for(CONFIG, cube, split=["train"])
    one, three = (ml.embed(model, data, batch_size=n) for n in (1, 7))
    np.testing.assert_allclose(one.features, three.features, atol=2e-5)
    assert one.grid == 3 and one.features.shape[1:] == (9, 128) and model.training
    np.testing.assert_array_equal(one.sample, np.flatnonzero(cube["split"].values == "train"))


def test_embeddings_are_the_models_own_brought_to_a_grid(cube):
    model = ml.build_model(CONFIG).eval()
    data = ml.dataset_for(CONFIG, cube, split=["test"])
    batch = data.__getitems__([(0, 0), (0, 1)])
    with torch.no_grad():
        own = model.embed(batch, spatial=True).numpy()
    found = ml.embed(model, data)
    np.testing.assert_allclose(found.features[:2], own, atol=1e-6)
    coarse = ml.embed(model, data, grid=1).features[:2]
    np.testing.assert_allclose(coarse[:, 0], own.mean(1), atol=1e-5)


def test_weights_follow_from_the_seed():
    a, b, c = (ml.build_model(CONFIG, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(a[k], b[k]) for k in a) and any(not torch.equal(a[k], c[k]) for k in a)


def test_probes_stand_beside_the_same_baselines(cube):
    found = ml.features(ml.build_model(CONFIG), cube, random_encoders=1, patch=2)
    assert list(found.tables) == ["seasonal medians", "random weights", "pretrained encoder"]
    result, _ = ml.probe_target(found, cube, "land_cover", methods=["linear"], draws=20)
    assert len(result.scores) == 3 and np.isfinite(result.scores["score"]).all()


@pytest.mark.parametrize("first", ["maestro", "olmoearth"])
def test_both_systems_stand_in_one_table(cube, first):
    models = {
        "maestro": ml.build_model(ml.MaestroConfig(ml.contract_for(cube), "nano")),
        "olmoearth": ml.build_model(ml.olmoearth_config(cube)),
    }
    model = models.pop(first)
    found = ml.features(model, cube, random_encoders=1, date_draws=1, compare=models)
    other = next(iter(models))
    assert list(found.tables) == [
        "seasonal medians", "random weights", "pretrained encoder", f"{other}, random weights",
        other,
    ]  # fmt: skip
    shapes = {name: tables[0].shape for name, tables in found.tables.items()}
    assert {shape[:2] for shape in shapes.values()} == {(len(found.samples), 9)}
    result, _ = ml.probe_target(found, cube, "biomass", methods=["linear"], draws=20)
    assert set(result.scores["features"]) == set(found.tables)
    assert set(result.differences["worse"]) == set(found.tables) - {"pretrained encoder"}


def test_a_patch_that_does_not_divide_the_window_is_told(cube):
    message = r"patches of 4 px in windows of 6 x 6 px\n.*1, 2, 3, 6"
    with pytest.raises(ContractError, match=message):
        OlmoEarthDataset(cube, CONFIG, patch=4)
    with pytest.raises(ParameterError, match="patch of a MAESTRO data set"):
        ml.dataset_for(ml.contract_for(cube), cube, patch=2)
