"""Parameters under published names, initial values, and configurations."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

from maestro_lab.errors import ContractError, ParameterError
from maestro_lab.models.olmoearth.config import MAPS, MODALITIES, Modality, OlmoEarthConfig, Size
from maestro_lab.models.olmoearth.model import OlmoEarth
from maestro_lab.models.olmoearth.official import from_official, to_official
from maestro_lab.models.olmoearth.sample import Sample
from maestro_lab.models.transformer import tuned_blocks
from tests.models.olmoearth.made import VERSIONS, make_sample, make_states, micro, model_of

PARAMETERS = {  # encoder and decoder, by the paper's code
    ("v1", "nano"): (1_361_024, 827_520), ("v1.1", "nano"): (1_697_328, 827_424),
    ("v1.2", "nano"): (1_698_096, 828_192), ("v1", "tiny"): (6_202_560, 1_855_680),
    ("v1.1", "tiny"): (12_461_296, 1_855_536), ("v1.2", "tiny"): (12_464_752, 1_856_688),
    ("v1.2", "small"): (35_615_200, 7_399_776),
    ("v1", "base"): (88_953_600, 29_541_120), ("v1.1", "base"): (113_973_952, 29_540_544),
    ("v1.2", "base"): (113_987_776, 29_545_152), ("v1", "large"): (307_770_368, 52_495_360),
}  # fmt: skip


@pytest.fixture(scope="module")
def listing(fixtures) -> dict:
    return json.loads((fixtures / "state_dict_keys_shapes.json").read_text())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", ["nano", "micro"])
def test_names_and_shapes_are_the_published_ones(listing, version, size):
    config = micro(version) if size == "micro" else OlmoEarthConfig.of(version, size)
    config = replace(config, pixel_width=8) if size == "micro" and config.pixel_width else config
    state = to_official(OlmoEarth(config).state_dict(), config, whole_target=True)
    expected = listing[f"{size}_{version.replace('.', '_')}"]
    assert {name: list(t.shape) for name, t in state.items()} == expected


@pytest.mark.parametrize("version", VERSIONS)
def test_published_names_round_trip(version):
    model = model_of(version)
    state = model.state_dict()
    back = from_official(to_official(state, model.config), state)
    assert list(back) == list(state)
    assert all(torch.equal(back[name], state[name]) for name in state)


@pytest.mark.parametrize(("version", "size"), PARAMETERS)
def test_numbers_of_parameters(version, size):
    with torch.device("meta"):
        model = OlmoEarth(OlmoEarthConfig.of(version, size))
    months = model.encoder.codes.months.numel()  # a parameter there, a table here
    found = tuple(
        sum(p.numel() for p in part.parameters()) + months
        for part in (model.encoder, model.predictor)
    )
    assert found == PARAMETERS[version, size]


@pytest.mark.parametrize("version", VERSIONS)
def test_initial_values(version):
    torch.manual_seed(0)
    model = OlmoEarth(OlmoEarthConfig.of(version, "nano"))
    official = to_official(model.state_dict(), model.config)
    for name, tensor in official.items():
        linear = tensor.ndim == 2 and "embed" not in name.split(".")[-2]
        if "proj.weight" in name and tensor.ndim == 4:
            bound = tensor[0].numel() ** -0.5
        elif linear and not name.endswith("freqs") and "embeddings.s" not in name:
            bound = math.sqrt(6 / sum(tensor.shape))
        else:
            continue
        assert 0.8 * bound < tensor.abs().max() <= bound * 1.0001, name
    for name in ("decoder.mask_token", "encoder.blocks.0.attn.k.bias"):
        assert not official[name].any()
    assert not model.encoder.codes.groups["sentinel1"].any()
    encoder, target = model.encoder.embedding.state_dict(), model.target.embedding.state_dict()
    assert all(torch.equal(encoder[name], target[name]) for name in encoder)
    assert not any(p.requires_grad for p in model.target.parameters())
    if version == "v1.2":
        freqs = official["encoder.blocks.0.attn.rope_mixed_freqs"]
        assert freqs.shape == (3, 8, 8)
        length = freqs.norm(dim=0)
        expected = 10_000.0 ** (-4 * torch.arange(4) / 16)
        assert torch.allclose(length, expected.repeat(2).expand(8, 8), rtol=1e-5)
        assert (freqs[:, :, 0] * freqs[:, :, 4]).sum(0).abs().max() < 1e-6


def test_configurations_survive_json():
    for version in VERSIONS:
        config = micro(version, drop_path=0.2)
        again = OlmoEarthConfig.from_dict(json.loads(json.dumps(config.to_dict())))
        assert again == config
    assert OlmoEarthConfig.of("v1", "nano").spare_alike == ()
    assert OlmoEarthConfig.of("v1.1", "nano").spare_alike == MAPS
    assert OlmoEarthConfig.of("v1.2").modalities["landsat"] == MODALITIES["landsat"].merged


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OlmoEarthConfig.of("v9"), r"version\n.*v1, v1.1, v1.2\n.*'v9'"),
        (lambda: OlmoEarthConfig.of("v1", "small"), "size of v1\n.*nano, tiny, base, large"),
        (lambda: OlmoEarthConfig.of("v1", "nano", ["naip"]), "modality\n"),
        (lambda: OlmoEarthConfig.of("v1", "nano", ["srtm"]), "one that is seen"),
        (lambda: Size(36, 1, 4), "multiple of four for each head"),
        (lambda: Modality((("a",), ("a",))), "band groups"),
        (lambda: replace(OlmoEarthConfig.of(), drop_path=1.0), "drop_path"),
        (lambda: replace(OlmoEarthConfig.of(), pixel_width=-1), "pixel_width"),
        (lambda: replace(OlmoEarthConfig.of(), size="huge"), "size\n"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ParameterError, match=message):
        make()


def test_samples_that_do_not_fit_are_refused():
    model = model_of("v1.1")
    sample = make_sample(model.config, names=["sentinel2_l2a", "sentinel1"])
    s1 = sample.values["sentinel1"]
    for values, message in (
        ({"naip": s1}, "naip is no modality of this model"),
        ({"sentinel1": s1[:, :, :1]}, r"sentinel1: shape.*\n.*\(2, 3, 2, 8, 8\)"),
        ({"sentinel1": s1[..., :7]}, r"patches of 4 pixels\n.*\n.*\n.*crop to whole patches"),
        ({"sentinel1": s1[:, :2]}, r"sentinel1: shape"),
        ({}, "a sample without modalities"),
    ):
        with pytest.raises(ContractError, match=message):
            model.embed(replace(sample, values=values))
    for patch in (0, 9):
        with pytest.raises(ContractError, match="1 to 8 pixels"):
            replace(sample, patch=patch)
    with pytest.raises(ContractError, match="day, month from 0, year"):
        Sample(sample.values, sample.timestamps[..., :2], 4)
    states = make_states(model, sample)
    states["sentinel1"] = states["sentinel1"][:, :, :2]
    with pytest.raises(ContractError, match="sentinel1: states of its tokens"):
        model.embed(sample, states)


@pytest.mark.parametrize("version", VERSIONS)
def test_checkpointing_gives_the_same_gradients(version):
    model = OlmoEarth(micro(version)).train()
    sample = make_sample(model.config)
    states = make_states(model, sample), make_states(model, sample, 1)
    found = []
    for checkpointing in (False, True):
        model.zero_grad()
        with tuned_blocks(model, checkpointing=checkpointing):
            model(sample, states=states).loss.backward()
        found.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    assert all(torch.allclose(found[0][n], found[1][n], atol=1e-6) for n in found[0])


def test_gradients_of_frequencies_are_those_of_differences():
    torch.manual_seed(0)
    from maestro_lab.models.olmoearth.positions import turned

    x = torch.randn(2, 3, 3, 2, 4)  # queries, keys, values
    where, freqs = torch.rand(2, 3, 3), torch.randn(3, 2, 2, requires_grad=True)
    x.requires_grad_()

    def plain(x, freqs):
        angle = torch.einsum("bnk,khp->bnhp", where, freqs)[:, :, None]
        a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
        both = a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()
        both = torch.stack(both, -1).flatten(-2)
        return torch.cat([both[:, :, :2], x[:, :, 2:]], dim=2).permute(2, 0, 3, 1, 4)

    parts = turned(x, where, freqs, still=1)
    assert torch.allclose(torch.stack(parts), plain(x, freqs), atol=1e-6)
    weight = torch.randn(3, 2, 2, 3, 4)
    expected = torch.autograd.grad((plain(x, freqs) * weight).sum(), (x, freqs))
    found = torch.autograd.grad((torch.stack(parts) * weight).sum(), (x, freqs))
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, expected, strict=True))
