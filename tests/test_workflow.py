"""The steps of notebooks that cross several rooms."""

import json
import shutil

import numpy as np
import pytest

import maestro_lab as ml
from maestro_lab import reopen, workflow
from maestro_lab.errors import RunError
from maestro_lab.models.config import Size


@pytest.fixture(scope="module")
def cube():
    return ml.in_memory(ml.open_cube("landscape", samples=48, modalities=["s2"], seed=2))


@pytest.fixture(scope="module")
def model(cube):
    size = Size(16, 2, 2, 8, 32, 16, 1, 2, 8, 32)
    return reopen.build_model(
        ml.MaestroConfig(ml.contract_for(cube, dates={"s2": 4}), size, joint_depth=1)
    )


def test_the_seed_decides_the_weights_and_leaves_the_global_generator_alone(model):
    import torch

    torch.manual_seed(0)
    before = torch.rand(1)
    torch.manual_seed(0)
    twin, other = (reopen.build_model(model.config, seed) for seed in (0, 1))
    assert torch.equal(torch.rand(1), before)
    first = [m.mask_tokens["s2"] for m in (model, twin, other)]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])


def test_held_out_is_val_where_there_is_one(cube, model):
    contract = model.config.contract
    assert workflow.held_out(cube, contract).split == "val"
    without = cube.isel(sample=np.flatnonzero(cube["split"].values != "val"))
    assert workflow.held_out(without, contract).split == "test"
    assert workflow.held_out(cube, contract, "train").split == "train"
    alone = cube.isel(sample=np.flatnonzero(cube["split"].values == "train"))
    with pytest.raises(ml.LabError, match="nothing is held out"):
        workflow.held_out(alone, contract)
    assert workflow.train_and_held_out(alone, contract)[1] is None


def test_features_and_probe_of_a_whole_cube(cube, model):
    found = workflow.features(model, cube, random_encoders=2, date_draws=1)
    assert found.grid == 3
    assert list(found.tables) == ["seasonal medians", "random weights", "pretrained encoder"]
    assert [len(t) for t in found.tables.values()] == [1, 2, 1]
    assert found.tables["pretrained encoder"][0].shape == (len(found.samples), 9, 16)
    result, target = workflow.probe_target(found, cube, "land_cover", draws=20)
    assert target.classes[0] == "water"
    assert set(result.scores["features"]) == set(found.tables)
    assert list(result.differences["worse"].unique()) == ["seasonal medians", "random weights"]


def test_without_random_encoders_there_is_one_baseline_less(cube, model):
    found = workflow.features(model, cube, random_encoders=0, date_draws=1)
    result, _ = workflow.probe_target(found, cube, "biomass", methods=["linear"], draws=20)
    assert list(result.differences["worse"]) == ["seasonal medians"]


def test_the_distance_of_train_and_test_is_told_or_said_to_be_unknown(cube):
    report = workflow.leakage_report(cube)
    assert report["nearest test to train (m)"].item() > report["side of a window (m)"].item()
    nowhere = cube.copy()
    nowhere.dataset = cube.to_dataset().drop_vars(["easting", "northing"])
    assert "unknown" in workflow.leakage_report(nowhere)


def test_places_are_put_together_only_where_they_repeat(cube, model):
    found = workflow.features(model, cube, random_encoders=0, date_draws=1)
    assert workflow.probe_places(found, cube, "biomass") is None


def test_a_run_that_pretrained_nothing_is_refused(tmp_path):
    run = ml.start_run("other", {}, tmp_path / "other")
    with pytest.raises(ml.LabError, match="model"):
        reopen.pretrained(run.folder)
    with pytest.raises(RunError, match="no run"):
        reopen.pretrained(tmp_path / "nowhere")


def test_groups_of_another_cube_are_refused(cube, tmp_path):
    other = ml.open_cube("landscape", samples=8, modalities=["aerial"])
    from maestro_lab.bands import group_bands, save_groups

    save_groups(group_bands(other), tmp_path)
    with pytest.raises(ml.LabError, match="no groups for s2"):
        workflow.groups_for(cube, tmp_path)


def test_a_model_is_not_opened_with_another_cube_than_its_own(tmp_path, model, cube, monkeypatch):
    """The path is relative, the run is opened from elsewhere, and then the cube is replaced."""
    first, elsewhere = tmp_path / "first", tmp_path / "elsewhere"
    first.mkdir(), elsewhere.mkdir()
    monkeypatch.chdir(first)
    ml.save_cube(cube, "mine.zarr")
    run = ml.start_run("02_pretrain", {}, "run")
    ml.save_model(model, run.folder)
    run.note(fingerprint=ml.fingerprint(ml.open_cube("mine.zarr")))
    card = json.loads((run.folder / "card.json").read_text())
    card["parameters"] = {"cube": "mine.zarr"}
    (run.folder / "card.json").write_text(json.dumps(card))
    monkeypatch.chdir(elsewhere)
    assert reopen.pretrained(run.folder).cube.sizes["sample"] == 48
    shutil.rmtree(first / "mine.zarr")
    ml.save_cube(
        ml.open_cube("landscape", samples=48, modalities=["s2"], seed=3), first / "mine.zarr"
    )
    with pytest.raises(RunError, match="not the cube"):
        reopen.pretrained(run.folder)
