"""The first step of an optimiser ends where one of the plain model ends."""

import importlib.util
from functools import cache

import pytest
import torch

from maestro_lab.contract import Contract, Modality
from maestro_lab.models.config import MaestroConfig, Size
from maestro_lab.models.maestro import Maestro
from maestro_lab.models.masking import keys_for
from maestro_lab.models.official import from_official, to_official
from tests.conftest import REPOSITORY
from tests.models.made import make_batch

RATE, SIZE = 1e-4, Size(40, 3, 2, 12, 48, 48, 2, 2, 16, 64)
FLAT = 1e-7
"""AdamW's first step is the rate times g / (|g| + 1e-8): for gradients as small as their rounding
it is the sign of noise. Those parameters may end two rates apart, all others at 1e-6."""


@cache
def plain_module():
    path = REPOSITORY / "benchmarks" / "plain.py"
    spec = importlib.util.spec_from_file_location("plain", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def contract() -> Contract:
    s2 = Modality(
        ("B02", "B03", "B04", "B08"), "DN", gsd=10, pixels=6, patch=2, dates=3,
        token_groups=[["B08", "B02"], ["B03", "B04"]],
        norm_groups=[["B02", "B03", "B04"], ["B08"]], fusion_group="sentinel",
    )  # fmt: skip
    s1 = Modality(("VV", "VH"), "DN", gsd=10, pixels=6, patch=2, dates=2, fusion_group="sentinel")
    dem = Modality(("surface", "ground"), "m", gsd=10, pixels=4, size=6, patch=3)
    return Contract({"s2": s2, "s1": s1, "dem": dem}, 12)


def stepped(model: torch.nn.Module, loss: torch.Tensor):
    """Loss, gradients, and parameters after one step."""
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=RATE, betas=(0.9, 0.99), weight_decay=0.01, fused=True
    )
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    optimiser.step()
    return loss.item(), gradients, {n: p.detach() for n, p in model.named_parameters()}


@pytest.mark.parametrize(("fusion", "joint"), [("group", 1), ("mod", 0)])
@pytest.mark.parametrize("seed", [0, 1])
def test_loss_gradients_and_step_are_those_of_the_plain_model(fusion, joint, seed):
    config = MaestroConfig(contract(), SIZE, fusion, joint)
    torch.manual_seed(seed)
    ours = Maestro(config)
    plain = plain_module().PlainMaestro(config)
    modalities = ours.modalities
    plain.load_state_dict(to_official(ours.state_dict(), modalities))
    before = {n: p.detach().clone() for n, p in plain.named_parameters()}
    batch = make_batch(config.contract, seed, samples=4)
    masks = ours.draw_masks(keys_for(seed, 0, batch.sample))

    expected, wanted, after = stepped(plain, plain(batch, masks))
    loss, gradients, weights = stepped(ours, ours(batch, masks=masks).loss)

    assert loss == pytest.approx(expected, rel=1e-6)
    found = to_official(gradients, modalities)
    assert set(found) == set(wanted) == set(before)
    for name, grad in wanted.items():
        torch.testing.assert_close(found[name], grad, rtol=1e-3, atol=1e-7, msg=name)
    found, numbers, flat = to_official(weights, modalities), 0, 0
    for name, grad in wanted.items():
        error, noise = (found[name] - after[name]).abs(), grad.abs() < FLAT
        assert (error[~noise] < 1e-6).all(), f"{name}: {error[~noise].max()}"
        assert (error[noise] < 2.1 * RATE).all(), name
        moved = (after[name] - before[name]).abs()
        assert (moved[~noise] > 0.8 * RATE).all(), f"{name} did step"
        numbers, flat = numbers + noise.numel(), flat + int(noise.sum())
    assert flat < 0.1 * numbers, "nine in ten are compared"


def test_names_and_shapes_are_those_that_are_published():
    config = MaestroConfig(contract(), SIZE, joint_depth=1)
    plain = plain_module().PlainMaestro(config)
    ours = Maestro(config)
    ours.load_state_dict(from_official(plain.state_dict(), ours.modalities))
    again = to_official(ours.state_dict(), ours.modalities)
    assert {n: t.shape for n, t in again.items()} == {
        n: t.shape for n, t in plain.state_dict().items()
    }
