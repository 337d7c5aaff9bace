"""Kernels chosen for speed compute what the plain ones do, to the rounding of their numbers."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maestro_lab import processor
from maestro_lab.batches import Batch
from maestro_lab.contract import Contract, Modality
from maestro_lab.models import kernels
from maestro_lab.models.config import MaestroConfig
from maestro_lab.models.kernels import Linear, product
from maestro_lab.models.maestro import Maestro
from maestro_lab.models.masking import keys_for
from tests.models.made import SIZE, STEP, apart, make_batch


def run(layer: nn.Linear, x: torch.Tensor, weights: torch.Tensor):
    """Answers and gradients under autocast."""
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x)
    (found.float() * weights).sum().backward()
    grads = {"x": x.grad} | {n: p.grad for n, p in layer.named_parameters()}
    return found, grads


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


def test_without_autocast_nothing_is_rounded(bf16, monkeypatch):
    torch.manual_seed(0)
    layer, x = Linear(16, 4), torch.randn(2, 3, 16)
    exact = F.linear(x.double(), layer.weight.double(), layer.bias.double())
    assert apart(layer(x), exact) < 2e-7
    monkeypatch.setattr(kernels, "_mkl_is_slow", lambda: False)
    assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))
    with torch.autocast("cpu", torch.float16):
        assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))


@pytest.fixture(params=[True, False], ids=["onednn", "mkl"])
def onednn(request, monkeypatch) -> bool:
    """Pretend that MKL is slow on this processor, or is not."""
    if request.param and not kernels.has_onednn():
        pytest.skip("this torch comes without oneDNN")
    monkeypatch.setattr(kernels, "_mkl_is_slow", lambda: request.param)
    return request.param


SHAPES = {
    "wider": ((3, 7, 48), 200), "narrower": ((5, 40), 6), "few numbers": ((2, 9, 5), 3),
    "one row": ((1, 64), 32), "a vector": ((64,), 32), "no row": ((0, 16), 4),
    "many rows": ((4, 60, 20), 33), "many rows, few numbers": ((300, 3), 5),
}  # fmt: skip


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_product_and_its_gradients_are_exact_in_either_library(onednn, shape, bias):
    torch.manual_seed(0)
    size, outputs = shape
    given = [torch.randn(size), torch.randn(outputs, size[-1])]
    given += [torch.randn(outputs)] if bias else []
    own = [t.requires_grad_() for t in given]
    exact = [t.detach().double().requires_grad_() for t in given]
    found, expected = product(*own), F.linear(*exact)
    used = type(found.grad_fn).__name__ == "_OneDNNBackward"
    assert used == (onednn and len(size) > 1 and size[0] > 0)
    assert found.shape == expected.shape
    weights = torch.randn(found.shape)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    for ours, theirs in zip(own, exact, strict=True):
        torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=1e-4, atol=5e-5)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=5e-5)


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_gelu_of_a_layer_is_gelu_of_its_answer(onednn, precision, graph):
    torch.manual_seed(0)
    layer, x = Linear(24, 40), torch.randn(3, 24, 7).mT
    exact = F.gelu(F.linear(x.double(), layer.weight.double(), layer.bias.double()))
    with (
        torch.set_grad_enabled(graph),
        torch.autocast("cpu", precision, enabled=precision != torch.float32),
    ):
        found = kernels.gelu(layer, x)
    assert found.requires_grad == graph and found.dtype == precision
    assert apart(found, exact) < (1e-6 if precision == torch.float32 else 2 * STEP)


@pytest.mark.parametrize("cut", ["rows", "columns", "both", "turned"])
def test_parts_of_tensors_are_multiplied_as_if_whole(onednn, cut):
    torch.manual_seed(0)
    x, weight = torch.randn(6, 9, 32), torch.randn(40, 32)
    if cut in ("rows", "both"):
        x, weight = x[:, 2:], weight[7:]
    if cut in ("columns", "both"):
        x, weight = x[..., 3:19], weight[:, 3:19]
    if cut == "turned":
        x, weight = x.transpose(0, 2).contiguous().transpose(0, 2), weight.T.contiguous().T
    exact = x.double() @ weight.double().T
    torch.testing.assert_close(product(x, weight).double(), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [4, 40])
def test_second_derivatives_are_those_of_torch(onednn, rows):
    torch.manual_seed(0)
    given = [torch.randn(s, requires_grad=True) for s in ((rows, 6), (5, 6), (5,))]

    def curvature(multiply):
        (slope,) = torch.autograd.grad(multiply(*given).sin().sum(), given[0], create_graph=True)
        return torch.autograd.grad(slope.square().sum(), given)

    for ours, theirs in zip(curvature(product), curvature(F.linear), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_function_transforms_go_through(onednn):
    torch.manual_seed(0)
    x, weight = torch.randn(3, 4, 6), torch.randn(5, 6)

    def loss(multiply):
        return lambda w, x: multiply(x, w).sin().sum()

    ours, theirs = (
        torch.func.vmap(torch.func.grad(loss(f)), (None, 0))(weight, x) for f in (product, F.linear)
    )
    torch.testing.assert_close(ours, theirs)


def test_the_switch_of_torch_is_obeyed(onednn, monkeypatch):
    x, weight = torch.randn(4, 8, requires_grad=True), torch.randn(3, 8)
    assert (type(product(x, weight).grad_fn).__name__ == "_OneDNNBackward") == onednn
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    assert type(product(x, weight).grad_fn).__name__ != "_OneDNNBackward"


@pytest.mark.parametrize(
    "vendor, capability, slow",
    [
        ("AuthenticAMD", "AVX512", True),
        ("AuthenticAMD", "AVX2", False),
        ("GenuineIntel", "AVX512", False),
    ],
)
def test_mkl_is_slow_on_amd_with_avx512(monkeypatch, tmp_path, vendor, capability, slow):
    if not kernels.has_onednn() or not torch.backends.mkl.is_available():
        pytest.skip("this torch comes without oneDNN or MKL")
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor : 0\nvendor_id : {vendor}\n")
    monkeypatch.setattr(processor, "_TOLD", info)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert kernels._mkl_is_slow.__wrapped__() is slow
    monkeypatch.setattr(processor, "_TOLD", tmp_path / "nothing")
    assert kernels._mkl_is_slow.__wrapped__() is False


def test_gradients_that_nobody_wants_are_not_computed(monkeypatch):
    monkeypatch.setattr(kernels, "_cpu_bf16", lambda: False)
    layer, x = Linear(8, 4), torch.randn(2, 8)
    layer.weight.requires_grad_(False)
    with torch.autocast("cpu", torch.bfloat16):
        layer(x).float().sum().backward()
    assert layer.weight.grad is None and x.grad is None
    torch.testing.assert_close(layer.bias.grad, torch.full((4,), 2.0))


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
