"""The parts of the model against recorded outputs of the published package."""

from __future__ import annotations

import pytest
import torch
from einops import rearrange

from maestro_lab.models.olmoearth import losses
from maestro_lab.models.olmoearth.embedding import PatchEmbedding, resized_patches
from maestro_lab.models.olmoearth.encoder import Encoded, pool_spatial
from maestro_lab.models.olmoearth.positions import (
    days_since_2000,
    month_table,
    sincos,
    turned,
)
from maestro_lab.models.olmoearth.sample import Layout, Place

TOLERANCE = 1e-5


def close(found: torch.Tensor, expected: torch.Tensor, tolerance: float = TOLERANCE) -> bool:
    assert found.shape == expected.shape
    return bool((found - expected).abs().max() < tolerance)


def tokens(parts: dict, prefix: str) -> dict[str, torch.Tensor]:
    """Bring (b, rows, columns, d, g, ...) to modality -> (b, g, d, l, ...)."""
    return {
        k.removeprefix(prefix): t.movedim((4, 3), (1, 2)).flatten(3, 4)
        for k, t in parts.items()
        if k.startswith(prefix)
    }


@pytest.mark.parametrize("kind", ["conv", "linear", "pixelmlp8"])
@pytest.mark.parametrize("patch", range(1, 9))
def test_patch_embedding(component, kind, patch):
    recorded = component(f"patch_embed_{kind}")
    images = rearrange(recorded[f"in.ps{patch}"], "b h w d c -> b d c h w")
    patches = resized_patches(images, patch)
    whole = rearrange(patches, "b d (i j) (p q) c -> (b d) c (i p) (j q)", i=2, p=8)
    expected = rearrange(images, "b d c h w -> (b d) c h w") if patch == 8 else None
    assert close(whole, recorded.get(f"resized.ps{patch}", expected))
    embedding = PatchEmbedding(2, 16, 8 if kind == "pixelmlp8" else 0)
    weight = recorded["weight.proj.weight"]
    state = {"project.weight": rearrange(weight, "w c p q -> w (p q c)") if kind == "conv"
             else weight, "project.bias": recorded["weight.proj.bias"]}  # fmt: skip
    if kind == "pixelmlp8":
        state |= {f"pixel.{n}": recorded[f"weight.pixel_proj.0.{n}"] for n in ("weight", "bias")}
    embedding.load_state_dict(state)
    found = rearrange(embedding(patches), "b d (i j) w -> b i j d w", i=2)
    assert close(found, recorded[f"out.ps{patch}"])


def test_additive_encodings(component):
    recorded = component("encodings")
    for width in (32, 192):
        expected = recorded[f"sincos1d_pos0to11_dim{width}"]
        assert close(sincos(torch.arange(12), width), expected)
        assert close(month_table(width), recorded[f"month_table_dim{width}"])
    for key in (k for k in recorded if k.startswith("sincos2d")):
        _, rows, columns, ratio, width = key.split("_")
        rows, columns, width = int(rows[1:]), int(columns[1:]), int(width[3:])
        row, column = (
            sincos(torch.arange(n) * float(ratio[5:]), width // 2) for n in (rows, columns)
        )
        found = torch.cat([column.repeat(rows, 1), row.repeat_interleave(columns, 0)], dim=1)
        assert close(found, recorded[key])
    assert close(days_since_2000(recorded["timestamps"].long()), recorded["days_since_2000"])


def test_rotations(component):
    recorded = component("rope")
    where = recorded["positions_t_row_col"]
    for freqs, out in (("axial_init", "axial"), ("random_init_seed3", "random")):
        x = recorded["x"].transpose(1, 2)[:, :, None]  # (b, n, 1, heads, channels)
        (found,) = turned(x, where, recorded[f"freqs_{freqs}"])
        assert close(found, recorded[f"mixed3d_{out}"])


def test_pooling(component):
    recorded = component("pooling")
    parts = tokens(recorded, "tokens.")
    visible = {n: m == 0 for n, m in tokens(recorded, "mask.").items()}
    places, start = {}, 0
    for name, part in parts.items():
        places[name] = Place(start, *part.shape[1:4], dated=True, spatial=True)
        start += places[name].tokens
    layout = Layout(places, 2, (3, 3), 40.0)
    index = torch.arange(start).expand(4, -1)
    encoded = Encoded(layout.join(parts), layout, index, layout.join(visible))
    assert close(encoded.mean(), recorded["instance_mean"])
    spatial = recorded["spatial_mean"].flatten(1, 2)
    assert close(pool_spatial(parts, visible, empty_as_zero=True), spatial)
    again = pool_spatial(encoded.by_modality(), encoded.visible(), empty_as_zero=True)
    assert close(again, spatial)


def test_a_modality_that_sees_nothing_at_a_location_does_not_count_there():
    tokens = {"a": torch.ones(1, 1, 2, 3, 4), "b": torch.full((1, 2, 1, 3, 4), 5.0)}
    visible = {n: torch.ones_like(t[..., 0], dtype=torch.bool) for n, t in tokens.items()}
    visible["b"][..., 1] = False
    assert pool_spatial(tokens, visible)[0, :, 0].tolist() == [3.0, 1.0, 3.0]


@pytest.fixture
def recorded(component) -> dict:
    return component("losses")


def test_instance_contrast(recorded):
    a, b = (recorded[f"infonce.{n}"].clone().requires_grad_() for n in "ab")
    loss = losses.instance_contrast(a, b)
    assert loss.item() == pytest.approx(recorded["infonce.loss_w1.0"].item(), abs=TOLERANCE)
    (0.05 * loss).backward()
    assert close(a.grad, recorded["infonce.grad_a_w0.05"])
    assert close(b.grad, recorded["infonce.grad_b_w0.05"])


@pytest.mark.parametrize(
    "name",
    [
        "modality_patch_discrimination",
        "modality_patch_discrimination_masked_negatives",
        "patch_discrimination",
        "all_discrimination",
        "modality_all_discrimination",
    ],
)
def test_token_losses_and_their_gradients(recorded, name):
    predicted, target = ({n: t.flatten(1, 3) for n, t in tokens(recorded, p).items()}
                         for p in ("pred.", "target."))  # fmt: skip
    counted = {n: m.flatten(1) == 2 for n, m in tokens(recorded, "mask.").items()}
    predicted = {n: t.clone().requires_grad_() for n, t in predicted.items()}
    if name.startswith("modality_patch"):
        spared = ["worldcover"] if name.endswith("negatives") else []
        found = losses.modality_discrimination(predicted, target, counted, spared)
        loss = sum(found.values())
    else:
        loss = getattr(losses, name)(predicted, target, counted)
    assert loss.item() == pytest.approx(recorded[f"loss.{name}"].item(), abs=TOLERANCE)
    loss.backward()
    for modality, expected in tokens(recorded, f"grad.{name}.").items():
        assert close(predicted[modality].grad, expected.flatten(1, 3))
    for modality, values in predicted.items():
        assert values.grad.isfinite().all()
        assert not values.grad[~counted[modality]].any()
