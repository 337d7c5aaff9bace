"""An encoder with heads: its configuration, its weights on disk, what it answers."""

import json

import pytest
import torch

import maestro_lab as ml
from maestro_lab.contract import Contract, Modality
from maestro_lab.errors import ParameterError, WeightsError
from maestro_lab.models.config import MaestroConfig, Size
from maestro_lab.models.heads import HeadConfig
from maestro_lab.models.maestro import Maestro
from maestro_lab.models.predictor import Predictor, PredictorConfig, build_predictor
from maestro_lab.models.weights import load_model, save_model
from tests.models.made import make_batch

SIZE = Size(16, 2, 2, 8, 32, 24, 1, 2, 12, 48)
HEADS = {
    "height": HeadConfig("regression", 1, "linear", "s2", 6),
    "cover": HeadConfig("segmentation", 3, reference="dem", size=4, missing=255),
    "species": HeadConfig("multilabel", 5, threshold=0.07),
}


def config(**heads: HeadConfig) -> PredictorConfig:
    s2 = Modality(("B02", "B03"), "DN", gsd=10, pixels=6, patch=2, dates=3)
    dem = Modality(("e",), "m", gsd=10, pixels=6, patch=3)
    return PredictorConfig(
        MaestroConfig(Contract({"s2": s2, "dem": dem}, 6), SIZE, joint_depth=1), heads or HEADS
    )


@pytest.fixture
def predictor():
    torch.manual_seed(0)
    made = build_predictor(config()).eval()
    made.heads["height"].standardise(torch.tensor([120.0]), torch.tensor([15.0]))
    return made


def test_the_configuration_comes_back_from_json():
    plain = json.loads(json.dumps(config().to_dict()))
    again = PredictorConfig.from_dict(plain)
    assert again == config() and again.heads["cover"].missing == 255
    assert again != config(cover=HEADS["cover"])


def test_no_head_or_one_of_another_modality_is_refused():
    with pytest.raises(ParameterError, match=r"without heads\n.*at least one"):
        PredictorConfig(config().encoder, {})
    head = HeadConfig("segmentation", 3, reference="aerial", size=6)
    with pytest.raises(ParameterError, match=r"head cover: reference\n.*s2, dem\n.*aerial"):
        config(cover=head)
    config(all=HeadConfig("regression", 1, reference="aerial"))  # whole samples need none
    with pytest.raises(ParameterError, match="multiple of the grid"):
        build_predictor(config(cover=HeadConfig("segmentation", 3, reference="s2", size=4)))


def test_weights_and_units_come_back_to_the_bit(predictor, tmp_path):
    save_model(predictor, tmp_path, facts={"phase": "finetune"})
    assert json.loads((tmp_path / "model.json").read_text())["kind"] == "predictor"
    again, report = load_model(tmp_path)
    assert isinstance(again, Predictor) and report.share == 1.0 and again.config == config()
    state = predictor.state_dict()
    assert {n for n in state if n.endswith(("offset", "scale"))} == {
        "heads.height.offset", "heads.height.scale"
    }  # fmt: skip
    assert all(torch.equal(t, state[n]) for n, t in again.state_dict().items())
    batch = make_batch(config().encoder.contract, 0, gaps=True)
    with torch.no_grad():
        found, expected = again.eval()(batch), predictor(batch)
    assert all(torch.equal(found[n], expected[n]) for n in HEADS)


def test_a_folder_of_another_kind_is_refused(predictor, tmp_path):
    save_model(predictor, tmp_path)
    card = json.loads((tmp_path / "model.json").read_text())
    for kind, words in (("maestro", "describes no model"), ("heads", "of another kind")):
        (tmp_path / "model.json").write_text(json.dumps(card | {"kind": kind}))
        with pytest.raises(WeightsError, match=words):
            load_model(tmp_path)


def test_it_answers_what_its_heads_answer_from_the_features(predictor):
    batch = make_batch(config().encoder.contract, 1, gaps=True)
    with torch.no_grad():
        found = predictor(batch)
        features = predictor.encoder.features(batch)
    assert list(found) == list(HEADS)
    shapes = {name: tuple(answers.shape) for name, answers in found.items()}
    assert shapes == {"height": (3, 1, 6, 6), "cover": (3, 3, 4, 4), "species": (3, 5)}
    for name, head in predictor.heads.items():
        assert torch.equal(found[name], head(features))


def test_a_map_of_numbers_is_in_units_and_each_patch_from_its_own_place(predictor):
    """The mean over all dates and modalities at a place, a linear layer, rows then columns."""
    batch = make_batch(config().encoder.contract, 2)
    head = predictor.heads["height"]
    with torch.no_grad():
        features = predictor.encoder.features(batch)
        features["s2"][0][:, :, :, 0] += 5  # the patch in the first row and column
        moved, plain = head(features), predictor(batch)["height"]
        tokens, _ = features["dem"]
        dem = torch.nn.functional.interpolate(
            tokens[:, 0, 0].mT.unflatten(2, (2, 2)), (3, 3), mode="bilinear"
        )
        place = torch.cat([features["s2"][0][:, 0, :, 5], dem[:, None, :, 1, 2]], 1).mean(1)
        expected = head.project(place).view(3, 2, 2) * 15 + 120
    torch.testing.assert_close(moved[:, 0, 2:4, 4:6], expected, rtol=1e-5, atol=1e-3)
    apart = (moved - plain).abs().amax((0, 1)) > 1e-3
    assert apart[:2, :2].all() and apart.sum() == 4


def test_the_loss_of_a_regression_is_in_deviations(predictor):
    head = predictor.heads["height"]
    answers = torch.full((2, 1, 6, 6), 135.0)
    target = torch.full((2, 6, 6), 120.0)
    assert head.loss(answers, target).item() == pytest.approx(1.0)
    target[0] = torch.nan
    target[1] = 165.0
    assert head.loss(answers, target).item() == pytest.approx(4.0)


def test_shares_become_labels(predictor):
    head = predictor.heads["species"]
    shares = torch.tensor([[0.0, 0.07, 0.08, 1.0, 0.5], [0.2, torch.nan, 0.0, 0.0, 0.0]])
    assert head.labels(shares).tolist() == [[0, 0, 1, 1, 1], [1, -1, 0, 0, 0]]
    whole = torch.tensor([[0, 1, 1, 0, -1]])
    assert torch.equal(head.labels(whole), whole)


def test_the_decoder_rests_for_a_while(predictor):
    first = next(iter(predictor.encoder.mask_tokens.values())).requires_grad_(False)
    wanted = {n for n, p in predictor.named_parameters() if p.requires_grad}
    with pytest.raises(ZeroDivisionError), predictor.decoder_at_rest():
        learns = {n for n, p in predictor.named_parameters() if p.requires_grad}
        raise ZeroDivisionError
    assert {n.split(".")[1] for n in learns if n.startswith("encoder.")} == {
        "embed", "encoders", "joint"
    }  # fmt: skip
    assert {n for n, p in predictor.named_parameters() if p.requires_grad} == wanted
    assert not first.requires_grad


def test_a_fine_tuned_run_opens_with_its_encoder(tmp_path):
    cube = ml.open_cube("landscape", samples=6, modalities=["s2"], seed=2)
    encoder = ml.build_model(
        MaestroConfig(ml.contract_for(cube, dates={"s2": 4}), SIZE, joint_depth=1)
    )
    heads = {"biomass": HeadConfig("regression", 1)}
    predictor = Predictor(encoder, PredictorConfig(encoder.config, heads))
    run = ml.start_run("05_labels", {}, tmp_path / "run")
    save_model(predictor, run.folder)
    run.note(fingerprint=ml.fingerprint(cube))
    card = json.loads((run.folder / "card.json").read_text())
    options = {"samples": 6, "modalities": ["s2"], "seed": 2}
    card["parameters"] = {"cube": "landscape", "options": options, "seed": 7}
    (run.folder / "card.json").write_text(json.dumps(card))
    found = ml.pretrained(run.folder)
    assert type(found.model) is Maestro and found.seed == 7
    state = encoder.state_dict()
    assert all(torch.equal(t, state[n]) for n, t in found.model.state_dict().items())
    assert found.cube.sizes["sample"] == 6
