"""Choices that do not go together: each refusal says which, and what is legal."""

import numpy as np
import pytest

import maestro_lab as ml
from maestro_lab import explore
from maestro_lab.errors import LabError, ParameterError
from maestro_lab.models.config import MaestroConfig
from maestro_lab.models.masking import Masking
from maestro_lab.tuning import compare_phases
from tests.training.conftest import SIZE, make_contract, make_cube, make_model


@pytest.fixture(scope="module")
def cube():
    return make_cube()


def message(do) -> str:
    with pytest.raises(LabError) as caught:
        do()
    return str(caught.value)


@pytest.mark.parametrize("fusion", ["shared", "monotemp"])
def test_joint_blocks_need_whole_sequences(cube, fusion):
    text = message(lambda: MaestroConfig(make_contract(cube), SIZE, fusion, joint_depth=1))
    assert fusion in text and "only group and mod have joint blocks" in text


@pytest.mark.parametrize("fusion", ["group", "mod"])
def test_no_more_joint_blocks_than_the_encoder_has(cube, fusion):
    text = message(lambda: MaestroConfig(make_contract(cube), SIZE, fusion, joint_depth=2))
    assert "0 to 1" in text and "found:    2" in text


def test_fusion_loss_and_size_by_name(cube):
    for option in ("fusion", "loss", "size"):
        text = message(lambda option=option: MaestroConfig(make_contract(cube), **{option: "best"}))
        assert option in text and "'best'" in text
        assert {"fusion": "monotemp", "loss": "l2_norm", "size": "tiny"}[option] in text


@pytest.mark.parametrize("groups", [[["G"], ["R"]], [["G", "R"], ["R", "N"]]])
def test_token_groups_cover_the_bands_once_each(cube, groups):
    text = message(lambda: ml.contract_for(cube, token_groups={"optics": groups}))
    assert "optics" in text and "once each" in text and "G R N" in text


def test_a_patch_divides_the_image(cube):
    text = message(lambda: ml.contract_for(cube, patch={"optics": 3}))
    assert "optics: a patch of 3 does not divide 4 pixels" in text and "1, 2, 4" in text


def test_a_patch_divides_the_size_that_windows_are_resized_to(cube):
    text = message(lambda: ml.contract_for(cube, size={"optics": 6}, patch={"optics": 4}))
    assert "4 does not divide 6 pixels" in text and "1, 2, 3, 6" in text


def test_resizing_by_name(cube):
    text = message(lambda: ml.contract_for(cube, resize="lanczos"))
    assert "nearest, bilinear or bicubic" in text and "lanczos" in text


def test_a_setting_for_a_modality_that_the_model_does_not_take(cube):
    for option in ("patch", "size", "resize", "token_groups"):
        text = message(lambda o=option: ml.contract_for(cube, **{o: {"thermal": 2}}))
        assert "thermal" in text and "optics, radar" in text


@pytest.mark.parametrize("name", ["ratio", "modality", "bands", "dates", "locations"])
@pytest.mark.parametrize("value", [-0.1, 1, 1.5, float("nan")])
def test_chances_lie_between_none_and_all(name, value):
    assert f"masking: {name}" in message(lambda: Masking(**{name: value}))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"phases": ["teach"]}, "probe | finetune | supervised"),
        ({"phases": []}, "probe | finetune | supervised"),
        ({"fractions": [0.0]}, "above 0 and up to 1"),
        ({"fractions": []}, "above 0 and up to 1"),
        ({"seeds": 0}, "at least 1"),
        ({"steps": 0}, "at least 1"),
        ({"base_lr": {"probe": 1e-3}}, "one for each phase"),
        ({"target": "depth"}, "a cube with targets"),
    ],
)
def test_choices_of_learning_from_labels(cube, options, told):
    model = make_model(cube)
    assert told in message(lambda: compare_phases(model, cube, **options))


def test_samples_of_another_split(cube):
    held = np.flatnonzero(cube["split"].values == "test")
    text = message(lambda: ml.CubeDataset(cube, make_contract(cube), samples=held))
    assert "not in split train" in text


def cube_in_place_of(what):
    """Give a cube, or its name, where something made of it belongs."""
    cube = ml.open_cube("landscape", samples=8, modalities=["s2"])
    model = ml.build_model(ml.MaestroConfig(ml.contract_for(cube, dates={"s2": 4}), "nano"))
    return {
        "embed": lambda: ml.embed(model, cube),
        "tokens": lambda: ml.embed_tokens(model, cube),
        "studio": lambda: explore.ReconstructionStudio(model, cube),
        "embeddings": lambda: explore.EmbeddingExplorer(cube, cube),
        "groups": lambda: ml.groups_for("landscape"),
        "held out": lambda: ml.held_out_sample(cube, 99),
    }[what]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("embed", "data to embed\n.*ml.dataset_for.*\n.*a cube"),
        ("tokens", "data to embed\n.*ml.dataset_for.*\n.*a cube"),
        ("studio", "samples to reconstruct\n.*ml.dataset_for.*\n.*a cube"),
        ("embeddings", "embeddings\n.*what ml.embed returns\n.*DataTree"),
        ("groups", "no cube\n.*ml.open_cube.*\n.*'landscape'"),
        ("held out", "no sample 99 held out\n.*0 to 1"),
    ],
)
def test_what_something_was_taken_for_is_told(what, words):
    with pytest.raises(ParameterError, match=words):
        cube_in_place_of(what)()
