"""The steps of notebooks that cross several rooms."""

import json
import shutil

import numpy as np
import pytest

import maestro_lab as ml
from maestro_lab import reopen, workflow
from maestro_lab.bands import (
    BandGroups,
    balance,
    compare_groupings,
    group_bands,
    save_groups,
    stability,
)
from maestro_lab.errors import RunError
from maestro_lab.models.config import Size


@pytest.fixture(scope="module")
def cube():
    return ml.in_memory(ml.open_cube("landscape", samples=48, modalities=["s2"], seed=2))


@pytest.fixture(scope="module")
def model(cube):
    size = Size(16, 2, 2, 8, 32, 16, 1, 2, 8, 32)
    return ml.build_model(
        ml.MaestroConfig(ml.contract_for(cube, dates={"s2": 4}), size, joint_depth=1)
    )


def test_the_seed_decides_the_weights_and_leaves_the_global_generator_alone(model):
    import torch

    torch.manual_seed(0)
    before = torch.rand(1)
    torch.manual_seed(0)
    twin, other = (ml.build_model(model.config, seed) for seed in (0, 1))
    assert torch.equal(torch.rand(1), before)
    first = [m.mask_tokens["s2"] for m in (model, twin, other)]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])


def test_held_out_is_val_where_there_is_one(cube, model):
    contract = model.config.contract
    assert ml.held_out(cube, contract).split == "val"
    without = cube.isel(sample=np.flatnonzero(cube["split"].values != "val"))
    assert ml.held_out(without, contract).split == "test"
    assert ml.held_out(cube, contract, "train").split == "train"
    alone = cube.isel(sample=np.flatnonzero(cube["split"].values == "train"))
    with pytest.raises(ml.LabError, match="nothing is held out"):
        ml.held_out(alone, contract)
    assert ml.train_and_held_out(alone, contract)[1] is None


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
    save_groups(group_bands(other), tmp_path)
    with pytest.raises(ml.LabError, match="no groups for s2"):
        ml.groups_for(cube, tmp_path)


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


def test_patches_of_a_survey_are_those_of_a_model_in_pixels_of_the_cube():
    cube = ml.open_cube("landscape", samples=8, modalities=["s2", "s1_asc", "aerial", "dem"])
    assert ml.survey_bands(cube).patch == {"s2": 2, "s1_asc": 2, "aerial": 20, "dem": 2}
    assert ml.survey_bands(cube, ["aerial"]).modalities == ["aerial"]


def test_windows_that_no_model_takes_are_surveyed_in_small_patches(cube):
    oblong = cube.isel(y=slice(0, 4))
    assert ml.survey_bands(oblong).patch == {"s2": 2}


def test_targets_are_weighed_on_the_pixels_that_groups_were_found_on(cube):
    survey = ml.survey_bands(cube)
    groupings = group_bands(survey, groups=3, clouds="in")
    ((title, table),) = ml.balance_tables(survey, groupings).items()
    assert title == "s2: clouds in, train\npatches of 2 x 2 pixels"
    assert table.index[1] == "proposed = MAESTRO Sentinel-2"
    direct = balance(
        cube, "s2", {"one": BandGroups({"all": groupings["s2"].groups.bands})}, divide=5000,
        clouds="in",
    )  # fmt: skip
    assert table.loc["one group", "constant"] == pytest.approx(direct.loc["one", "constant"])


def test_radar_is_weighed_on_the_logarithm_a_model_sees():
    cube = ml.open_cube("landscape", samples=8, modalities=["s1_asc"])
    survey = ml.survey_bands(cube)
    ((_, table),) = ml.balance_tables(survey, group_bands(survey)).items()
    ds = cube.isel(sample=np.flatnonzero(cube["split"].values == "train"))["s1_asc"]
    keep = ds["valid"].values
    values = np.moveaxis(np.log(np.maximum(ds["values"].values.astype(float), 1e-10)) / 5, 2, -1)
    shape = (*keep.shape[:2], 3, 2, 3, 2)
    whole = keep.reshape(shape).all((3, 5))
    patches = np.moveaxis(values.reshape(*shape, 2), 4, 3)[whole].reshape(-1, 8)
    spread = np.sqrt(patches.var(1, ddof=1, keepdims=True) + 1e-6)
    targets = ((patches - patches.mean(1, keepdims=True)) / spread).reshape(-1, 4, 2)
    constant = (targets.mean((0, 1)) ** 2).mean() / (targets**2).mean()
    assert table.loc["one group", "constant"] == pytest.approx(constant, rel=1e-6)


def test_results_of_the_first_notebook_are_flat(cube):
    survey = ml.survey_bands(cube)
    groupings = group_bands(survey, groups=3)
    sure = {"s2": stability(groupings["s2"], draws=10)}
    comparison = compare_groupings(survey, groupings)
    found = ml.groups_results(groupings, comparison, sure, ml.balance_tables(survey, groupings))
    assert found["ways"] == 36
    assert found["s2: same groups, blocks drawn again"] == 1
    assert 0 < found["s2: nothing to learn, one group"] < 1
    assert {"s2: nothing to learn, proposed"} <= set(found)
    said = ml.groups_verdict(comparison, groupings, sure)
    assert said.startswith("s2: B02 B03 B04 B05 | B06 B07 B08 B8A | B11 B12 (")
    assert said.endswith("with clouds in; blocks drawn again: firm.")


def test_reports_leave_out_what_cannot_be_drawn(cube):
    one = cube.isel(sample=[int(np.flatnonzero(cube["split"].values == "train")[0])])
    report = ml.stability_report(group_bands(one), draws=5)
    assert list(report["drawn"]) == ["date"]
    assert set(ml.reference_report(group_bands(one))["reference"]) == {
        "MAESTRO Sentinel-2", "OlmoEarth v1 Sentinel-2", "spectral regions"
    }  # fmt: skip
    dem = ml.open_cube("landscape", samples=1, modalities=["dem"])
    assert ml.reference_report(group_bands(dem)).empty
