"""Kernels chosen for speed compute what the plain ones do, to the rounding of their numbers."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maestro_lab.batches import Batch
from maestro_lab.contract import Contract, Modality
from maestro_lab.models import kernels
from maestro_lab.models.config import MaestroConfig
from maestro_lab.models.kernels import Linear, attend, product
from maestro_lab.models.maestro import Maestro
from maestro_lab.models.masking import keys_for
from tests.models.made import SIZE, make_batch

STEP = 2.0**-8  # a number rounded to bfloat16 is off by half of this, relative to its size


@pytest.fixture(params=[False, True], ids=["imitated", "hardware"])
def bf16(request, monkeypatch) -> bool:
    """Pretend that the processor has instructions for bfloat16, or has none."""
    monkeypatch.setattr(kernels, "_cpu_bf16", lambda: request.param)
    return request.param


def run(layer: nn.Linear, x: torch.Tensor, weights: torch.Tensor):
    """Answers and gradients under autocast."""
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x)
    (found.float() * weights).sum().backward()
    grads = {"x": x.grad} | {n: p.grad for n, p in layer.named_parameters()}
    return found, grads


def apart(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Root mean squared difference, relative to what is expected."""
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_a_product_is_torchs_own_to_the_rounding(bf16, bias, kind):
    torch.manual_seed(0)
    ours, plain = Linear(48, 20, bias=bias), nn.Linear(48, 20, bias=bias)
    plain.load_state_dict(ours.state_dict())
    x, weights = torch.randn(3, 7, 48).to(kind), torch.randn(3, 7, 20)
    found, grads = run(ours, x, weights)
    expected, own = run(plain, x, weights)
    assert found.dtype == expected.dtype == torch.bfloat16
    assert apart(found, expected) < STEP
    assert set(grads) == set(own)
    for name, grad in own.items():
        assert grads[name].dtype == grad.dtype
        assert grads[name].shape == grad.shape
        assert apart(grads[name], grad) < 2 * STEP, name


def test_imitated_products_are_rounded_once_and_summed_exactly(monkeypatch):
    monkeypatch.setattr(kernels, "_cpu_bf16", lambda: False)
    torch.manual_seed(0)
    x, weight = torch.randn(5, 200), torch.randn(30, 200)
    with torch.autocast("cpu", torch.bfloat16):
        found = product(x, weight)
    exact = x.bfloat16().double() @ weight.bfloat16().double().T
    assert torch.equal(found, exact.float().bfloat16())
    assert not torch.equal(found.float(), (x @ weight.T).bfloat16().float()), "it did round first"


def test_without_autocast_nothing_is_rounded(bf16):
    torch.manual_seed(0)
    layer, x = Linear(16, 4), torch.randn(2, 3, 16)
    assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))
    with torch.autocast("cpu", torch.float16):
        assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))


def test_gradients_that_nobody_wants_are_not_computed(monkeypatch):
    monkeypatch.setattr(kernels, "_cpu_bf16", lambda: False)
    layer, x = Linear(8, 4), torch.randn(2, 8)
    layer.weight.requires_grad_(False)
    with torch.autocast("cpu", torch.bfloat16):
        layer(x).float().sum().backward()
    assert layer.weight.grad is None and x.grad is None
    torch.testing.assert_close(layer.bias.grad, torch.full((4,), 2.0))


def reference(q, k, v, mask):
    """Softmax attention in double precision."""
    q, k, v = (t.double() for t in (q, k, v))
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, None, :], -torch.inf)
    return scores.softmax(-1) @ v


MASKS = {
    "none": (None, None),
    "some": ([[1, 1, 0, 1, 0], [0, 0, 1, 1, 1]],) * 2,
    "a row without any": ([[1, 0, 1, 1, 0], [0] * 5], [[1, 0, 1, 1, 0], [1] * 5]),
}


@pytest.mark.parametrize("masks", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_attention_is_softmax_attention(bf16, kind, masks):
    torch.manual_seed(0)
    given, meant = (None if m is None else torch.tensor(m, dtype=torch.bool) for m in masks)
    own = [torch.randn(2, 3, n, 8).to(kind).requires_grad_() for n in (4, 5, 5)]
    exact = [t.detach().double().requires_grad_() for t in own]
    weights = torch.randn(2, 3, 4, 8)
    found, expected = attend(*own, given), reference(*exact, meant)
    assert found.dtype == kind
    (found.float() * weights).sum().backward()
    (expected * weights).sum().backward()
    limit = 1e-6 if kind == torch.float32 else 3 * STEP
    assert apart(found, expected) < limit
    for ours, theirs in zip(own, exact, strict=True):
        assert ours.grad.dtype == kind
        assert apart(ours.grad, theirs.grad) < limit


def test_imitated_attention_stays_so_under_autocast(monkeypatch):
    monkeypatch.setattr(kernels, "_cpu_bf16", lambda: False)
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, 6, 8).bfloat16() for _ in range(3))
    with torch.autocast("cpu", torch.bfloat16):
        found = attend(q, k, v)
    assert torch.equal(found, attend(q, k, v))
    assert apart(found, reference(q, k, v, None)) < STEP, "rounded at the end only"


def small() -> tuple[Maestro, Batch]:
    s2 = Modality(
        ("B02", "B03", "B04"), "DN", gsd=10, pixels=6, patch=2, dates=3,
        token_groups=[["B02", "B03"], ["B04"]],
    )  # fmt: skip
    contract = Contract({"s2": s2, "dem": Modality(("e",), "m", gsd=10, pixels=6, patch=3)}, 6)
    torch.manual_seed(0)
    model = Maestro(MaestroConfig(contract, SIZE, joint_depth=1))
    return model, make_batch(contract, 0, gaps=True)


def test_a_step_in_bf16_is_near_one_in_fp32(bf16):
    model, batch = small()
    keys = keys_for(0, 0, batch.sample)
    plain = model(batch, keys).loss
    plain.backward()
    exact = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(batch, keys).loss
    loss.backward()
    assert 0 < abs(loss.item() / plain.item() - 1) < 0.01, "near, and not the same"
    found = {name: p.grad for name, p in model.named_parameters()}
    assert {g.dtype for g in found.values()} == {torch.float32}
    joined = [torch.cat([g.flatten() for g in grads.values()]) for grads in (found, exact)]
    assert apart(*joined) < 0.05
