"""Weights of one data set for a model of another: taken by name, refused by shape."""

from dataclasses import replace

import pytest
import torch

from maestro_lab import begin_from, save_model, save_official
from maestro_lab.contract import Contract, Modality
from maestro_lab.errors import WeightsError
from maestro_lab.models.config import MaestroConfig, Size
from maestro_lab.models.heads import HeadConfig
from maestro_lab.models.maestro import Maestro
from maestro_lab.models.official import from_official, to_official
from maestro_lab.models.predictor import Predictor, PredictorConfig
from maestro_lab.models.warm import warm_start

SIZE = Size(16, 2, 2, 8, 32, 24, 1, 2, 12, 48)
S2 = Modality(("B02", "B03", "B04"), "DN", gsd=10, pixels=8, patch=2, dates=4)
S1 = Modality(("VV", "VH"), "DN", gsd=10, pixels=8, patch=2, dates=4)
AERIAL = Modality(("R", "G", "B"), "DN", gsd=1, pixels=8, patch=4)


def build(seed: int, fusion: str = "group", **modalities: Modality) -> Maestro:
    torch.manual_seed(seed)
    config = MaestroConfig(Contract(modalities, 24), SIZE, fusion, joint_depth=1)
    return Maestro(config)


def naip() -> Maestro:
    """Source: two sensors, larger windows."""
    return build(0, s2=S2, s1=S1)


def treesat(**options) -> Maestro:
    """Target: both orbits of the radar in one group, smaller windows, fewer dates."""
    small = {"pixels": 6, "size": 6, "dates": 2}
    orbit = replace(S1, fusion_group="s1", **small, **options)
    return build(1, aerial=AERIAL, s2=replace(S2, **small), s1_asc=orbit, s1_des=orbit)


def state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {n: t.clone() for n, t in model.state_dict().items()}


NAMES = {"s1_asc": "s1", "s1_des": "s1"}


def test_without_names_what_is_called_the_same_is_taken():
    source, model = naip(), treesat()
    before = state(model)
    report = warm_start(model, source.state_dict())
    for name, tensor in model.state_dict().items():
        there = source.state_dict().get(name)
        assert torch.equal(tensor, before[name] if there is None else there), name
    assert {n.split(".")[1] for n in report.missing} == {"aerial", "s1_asc", "s1_des"}
    assert set(report.unexpected) == {n for n in source.state_dict() if n not in before}
    assert report.tensors == len(before) - len(report.missing)
    numbers = sum(before[n].numel() for n in before if n not in report.missing)
    assert report.parameters == numbers
    assert report.share == numbers / sum(t.numel() for t in before.values()) < 1


def test_one_radar_becomes_two_orbits():
    source, model = naip(), treesat()
    before, there = state(model), source.state_dict()
    report = warm_start(model, there, names=NAMES)
    found = model.state_dict()
    for part in ("embed.{}.0.project.weight", "to_pixels.{}.0.bias", "mask_tokens.{}"):
        for orbit in NAMES:
            assert torch.equal(found[part.format(orbit)], there[part.format("s1")])
    for part in ("encoders.s1.blocks.0.mlp.up.weight", "decoders.s1.norm.bias", "joint.norm.bias"):
        assert torch.equal(found[part], there[part]) and part in before
    assert not report.unexpected
    assert {n.split(".")[1] for n in report.missing} == {"aerial"}
    assert all(torch.equal(found[n], before[n]) for n in report.missing)


def test_an_embedding_that_is_shared_goes_by_its_own_name():
    source, model = naip(), treesat(embedding="radar")
    report = warm_start(model, source.state_dict(), names={"radar": "s1", **NAMES})
    found, there = model.state_dict(), source.state_dict()
    assert torch.equal(found["embed.radar.0.project.weight"], there["embed.s1.0.project.weight"])
    assert torch.equal(found["mask_tokens.s1_des"], there["mask_tokens.s1"])
    assert not any("radar" in name for name in report.missing)


def test_a_fusion_group_goes_by_name_too():
    source = naip()
    model = build(1, s1=replace(S1, fusion_group="radar"))
    warm_start(model, source.state_dict(), names={"radar": "s1"})
    for name in ("blocks.0.attention.qkv.weight", "norm.weight"):
        here = model.state_dict()[f"encoders.radar.{name}"]
        assert torch.equal(here, source.state_dict()[f"encoders.s1.{name}"])


def test_fresh_parts_keep_their_weights():
    source, model = naip(), build(1, s2=S2, s1=S1)
    before = state(model)
    report = warm_start(model, source.state_dict(), fresh=["mask_tokens", "embed.s1"])
    kept = {"mask_tokens.s2", "mask_tokens.s1"} | {n for n in before if n.startswith("embed.s1.")}
    assert set(report.missing) == set(report.unexpected) == kept and len(kept) > 4
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name] if name in kept else source.state_dict()[name])


def test_weights_are_copied_not_shared():
    source, model = naip(), build(1, s2=S2, s1=S1)
    warm_start(model, source.state_dict())
    with torch.no_grad():
        model.joint.norm.weight += 1
    assert not torch.equal(model.joint.norm.weight, source.joint.norm.weight)


def refusal(model, weights, **options) -> str:
    before = state(model)
    with pytest.raises(WeightsError) as caught:
        warm_start(model, weights, **options)
    after = model.state_dict()
    assert all(torch.equal(t, after[n]) for n, t in before.items()), "left alone"
    return str(caught.value)


def test_another_patch_is_refused_and_what_to_do_is_told():
    model = build(1, s2=replace(S2, patch=4), s1=S1)
    text = refusal(model, naip().state_dict())
    assert "embed.s2.0.project.weight cannot start from embed.s2.0.project.weight" in text
    assert "shape (16, 48)" in text and "shape (16, 12)" in text
    assert "fresh=['embed.s2']" in text
    report = warm_start(model, naip().state_dict(), fresh=["embed.s2", "to_pixels.s2"])
    assert set(report.missing) == {
        n for n in state(model) if n.startswith(("embed.s2.", "to_pixels.s2."))
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"names": {"s3": "s2"}}, "names: the model's 's3'"),
        ({"names": {"s2": "s9"}}, "names: the weights' 's9'"),
        ({"fresh": ["embed.s7"]}, "fresh: 'embed.s7' is no part of the model"),
        ({"fresh": ["embe"]}, "fresh: 'embe' is no part of the model"),
    ],
)
def test_names_of_nothing_are_refused(options, words):
    text = refusal(build(1, s2=S2, s1=S1), naip().state_dict(), **options)
    assert words in text and "expected:" in text


def test_weights_without_any_place_are_refused():
    text = refusal(build(1, s2=S2), {"embed.spot.0.project.weight": torch.zeros(2)})
    assert "nothing of these weights has a place" in text
    assert "embed.s2" in text and "embed.spot" in text and "names={ours: theirs}" in text
    assert "found:    nothing" in refusal(build(1, s2=S2), {})


@pytest.mark.parametrize("kind", ["run", "run with heads", "ckpt", "safetensors"])
def test_a_model_begins_from_a_folder_or_a_published_file(tmp_path, kind):
    source, model = naip(), treesat()
    if kind == "run":
        save_model(source, tmp_path)
    elif kind == "run with heads":
        heads = {"kind": HeadConfig("multilabel", 3)}
        save_model(Predictor(source, PredictorConfig(source.config, heads)), tmp_path)
    else:
        save_official(source, tmp_path / f"weights.{kind}")
    place = tmp_path if "run" in kind else tmp_path / f"weights.{kind}"
    report = begin_from(model, place, names=NAMES, fresh=["mask_tokens.s2"])
    found, there = model.state_dict(), source.state_dict()
    for ours, theirs in (
        ("embed.s1_des.0.project.weight", "embed.s1.0.project.weight"),
        ("to_pixels.s1_asc.0.weight", "to_pixels.s1.0.weight"),
        ("encoders.s2.blocks.0.mlp.up.weight", "encoders.s2.blocks.0.mlp.up.weight"),
        ("joint.blocks.0.attention.qkv.weight", "joint.blocks.0.attention.qkv.weight"),
    ):
        assert torch.equal(found[ours], there[theirs]), ours
    assert not torch.equal(found["mask_tokens.s2"], there["mask_tokens.s2"])
    assert report.unexpected == ("mask_tokens.s2",)


def test_patches_can_be_told_from_the_published_weights_alone():
    source = build(0, s2=replace(S2, patch=4), s1=S1, aerial=AERIAL)
    back = from_official(to_official(source.state_dict(), source.modalities))
    assert set(back) == set(source.state_dict())
    assert all(torch.equal(back[n], t) for n, t in source.state_dict().items())


def test_a_place_without_weights_is_named(tmp_path):
    with pytest.raises(WeightsError, match="no weights in"):
        begin_from(treesat(), tmp_path)
    with pytest.raises(WeightsError, match=r"absent\.ckpt"):
        begin_from(treesat(), tmp_path / "absent.ckpt")
