"""The model against recorded outputs of the published code."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from maestro_lab.contract import Modality
from maestro_lab.models.images import predict_images
from maestro_lab.models.maestro import Maestro
from maestro_lab.models.masking import split_mask
from maestro_lab.models.official import from_official, to_official
from maestro_lab.models.targets import TargetNorm
from maestro_lab.models.tokens import (
    date_code,
    patchify,
    position_table,
    prepare,
    take,
    unpatchify,
)
from tests.conftest import VECTORS

TOLERANCE = 1e-5


def close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    return bool((found - expected).abs().max() < TOLERANCE)


@pytest.fixture(scope="module")
def standalone() -> dict:
    return load_file(VECTORS / "standalone.safetensors")


def test_official_names_round_trip(oracle):
    ours = from_official(oracle.weights, oracle.model.modalities)
    back = to_official(ours, oracle.model.modalities)
    assert set(back) == {k for k in oracle.weights if not k.startswith("heads.")}
    assert all(torch.equal(back[name], oracle.weights[name]) for name in back)


def test_tokens_enter_the_encoder_as_recorded(oracle):
    sequences, _ = oracle.model.sequences(oracle.batch)
    for name, sequence in sequences.items():
        assert close(sequence.tokens, oracle.tensors[f"probe.tokens.{name}"])


def test_encoder_without_masks(oracle):
    for name, tokens in oracle.model.encode(oracle.batch).items():
        assert close(tokens, oracle.tensors[f"probe.enc.{name}"])


def test_encoder_and_decoder_under_recorded_masks(oracle):
    model = oracle.model
    sequences, _ = model.sequences(oracle.batch)
    index = {n: split_mask(m, int(m[0].sum())) for n, m in oracle.masks.items()}
    encoded = model.encode_visible(
        {n: take(s.tokens, index[n][0]) for n, s in sequences.items()},
        dict.fromkeys(sequences),
    )
    for stream in model.streams:
        name = stream.name
        assert close(encoded[name], oracle.tensors[f"pretrain.enc_visible.{name}"])
        whole = model.decode(stream, encoded[name], sequences[name], *index[name], whole=True)
        assert close(whole, oracle.tensors[f"pretrain.dec.{name}"])
        masked = model.decode(stream, encoded[name], sequences[name], *index[name], whole=False)
        assert close(masked, take(oracle.tensors[f"pretrain.dec.{name}"], index[name][1]))


def test_pixels(oracle):
    images = predict_images(oracle.model, oracle.batch, oracle.masks)
    compared = 0
    for name, found in images.items():
        expected = oracle.tensors.get(f"pretrain.pixels.{name}")
        if expected is not None:
            assert close(found, expected)
            compared += 1
    assert compared == 3


@pytest.mark.parametrize("loss", ["l1_norm", "l2_norm", "l1", "l2"])
def test_losses(oracle, loss):
    model = Maestro(replace(oracle.config, loss=loss))
    model.load_state_dict(oracle.model.state_dict())
    output = model(oracle.batch, masks=oracle.masks)
    assert output.loss.item() == pytest.approx(oracle.expected["losses"][loss], rel=TOLERANCE)
    for name, value in output.losses.items():
        expected = oracle.expected["losses_per_modality"][loss][name]
        assert value.item() == pytest.approx(expected, rel=TOLERANCE)


def test_gradient_norms(oracle):
    oracle.model(oracle.batch, masks=oracle.masks).loss.backward()
    gradients = {n: p.grad for n, p in oracle.model.named_parameters()}
    assert all(g is not None for g in gradients.values())
    found = to_official(gradients, oracle.model.modalities)
    expected = {
        k: v for k, v in oracle.expected["grad_norm_l1_norm"].items() if not k.startswith("heads.")
    }
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert float(found[name].norm()) == pytest.approx(value, rel=1e-4, abs=1e-7), name


def test_position_tables(standalone):
    cells = {"treesatai_ts": 96, "pastis_hd": 256, "flair": 160, "s2_naip": 192}
    tables = {k: v for k, v in standalone.items() if k.startswith("pos.")}
    assert len(tables) > 7
    for key, expected in tables.items():
        _, dataset, width, grid = key.split(".")
        found = position_table(int(width[3:]), cells[dataset], int(grid[4:]))
        assert close(found, expected), key


def test_date_code(standalone):
    found = date_code(standalone["date.dates"], standalone["date.ref"][:, 0])
    expected = standalone["date.enc.dim64.grid3"]
    assert close(found, expected[:, :, 0, -8:])
    assert float(expected[..., :-8].abs().max()) == 0


@pytest.mark.parametrize("name", ["s2", "s1_asc"])
def test_normalised_targets(standalone, oracle, name):
    m = oracle.model.modalities[name]
    patches = patchify(oracle.batch.series[name].values, m.patch)
    found = unpatchify(TargetNorm(m)(patches), m.patch)
    assert close(found, standalone[f"target_norm.{name}"])


def test_resizing(standalone):
    profiles = [k.removesuffix(".in") for k in standalone if k.endswith(".in")]
    assert profiles
    for key in profiles:
        profile, expected = standalone[f"{key}.in"], standalone[f"{key}.out"]
        m = Modality(
            ("a", "b"), "DN", gsd=1, pixels=len(profile), size=len(expected), patch=1,
            resize=key.split(".")[1],
        )  # fmt: skip
        images = profile.expand(1, 1, 2, len(profile), -1)
        found, _ = prepare(images, None, m)
        assert close(found[0, 0, 0, 0], expected), key
