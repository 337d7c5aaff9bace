"""Attention is softmax attention, whichever kernel computes it."""

import pytest
import torch
from torch.nn import functional as F

from maestro_lab.models import attention, kernels
from maestro_lab.models.attention import attend
from tests.models.made import STEP, apart


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


@pytest.fixture
def in_half(monkeypatch):
    """Pretend that the processor has instructions for bfloat16."""
    monkeypatch.setattr(kernels, "_cpu_bf16", lambda: True)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", [1.0, 40.0, 4000.0])
def test_scores_of_any_size_are_weighed_in_bfloat16(in_half, size, masked):
    """Two keys that are alike share the weight, however large their scores are."""
    q, k, v = (torch.zeros(1, 2, n, 4).bfloat16() for n in (3, 4, 4))
    q[..., 0], q[0, 1, 2, 0] = size, -size
    k[..., :3, 0], k[..., 3, 0] = 1.0, -1.0
    v[..., 0] = torch.tensor([1.0, 3.0, 8.0, 1024.0])
    mask = torch.tensor([[True, True, False, True]]) if masked else None
    found = attend(q, k, v, mask)
    for own, exact in zip(found.flatten(), reference(q, k, v, mask).flatten(), strict=True):
        assert own.item() == pytest.approx(exact.item(), rel=2 * STEP)
    if size > 1:
        assert found[0, 0, 0, 0] == (2.0 if masked else 4.0) and found[0, 1, 2, 0] == 1024


def test_the_gradient_of_large_scores_is_right(in_half):
    torch.manual_seed(0)
    given = [t.bfloat16() for t in torch.randn(3, 2, 3, 20, 8).unbind()]
    given[0] = given[0] * 60
    own = [t.clone().requires_grad_() for t in given]
    exact = [t.double().requires_grad_() for t in given]
    weights = torch.randn(2, 3, 20, 8)
    (attend(*own).float() * weights).sum().backward()
    (reference(*exact, None) * weights).sum().backward()
    for name, ours, theirs in zip("qkv", own, exact, strict=True):
        assert apart(ours.grad, theirs.grad) < 0.25, name  # scores of 100 are rounded to 1/2
        assert ours.grad.isfinite().all()


def test_one_bad_number_spoils_its_row_alone(in_half):
    q, k, v = (t.bfloat16() for t in torch.randn(3, 1, 2, 6, 4).unbind())
    q[0, 1, 2, 0] = torch.nan
    found = attend(q, k, v)
    assert found[0, 1, 2].isnan().all()
    assert not found[0, 0].isnan().any() and not found[0, 1, 3:].isnan().any()


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_no_query_gets_no_answer(in_half, kind):
    q, k = torch.zeros(2, 3, 0, 4).to(kind), torch.zeros(2, 3, 5, 4).to(kind)
    assert attend(q, k, k).shape == (2, 3, 0, 4)


def test_function_transforms_see_through_bfloat16(in_half):
    torch.manual_seed(0)
    q, k, v = (t.bfloat16() for t in torch.randn(3, 4, 2, 6, 8).unbind())
    found = torch.func.vmap(lambda *t: attend(*(x[None] for x in t))[0])(q, k, v)
    assert apart(found, reference(q, k, v, None)) < 3 * STEP
    assert apart(attend(q, k, v), reference(q, k, v, None)) < 3 * STEP


def test_imitated_attention_stays_so_under_autocast(monkeypatch):
    monkeypatch.setattr(kernels, "_cpu_bf16", lambda: False)
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, 6, 8).bfloat16() for _ in range(3))
    with torch.autocast("cpu", torch.bfloat16):
        found = attend(q, k, v)
    assert torch.equal(found, attend(q, k, v))
    assert apart(found, reference(q, k, v, None)) < STEP, "rounded at the end only"


@pytest.fixture
def by_head(monkeypatch):
    """Attend head by head, however short they are."""
    if not kernels.has_onednn():
        pytest.skip("this torch comes without oneDNN")
    monkeypatch.setattr(kernels, "_mkl_is_slow", lambda: True)
    monkeypatch.setattr(attention, "_LONG", 0)


def compare(given, weights, limit):
    """Compare answers and gradients with those in double precision; return the answers."""
    own = [t.clone().requires_grad_() for t in given]
    exact = [t.double().requires_grad_() for t in given]
    found, expected = attend(*own), reference(*exact, None)
    assert type(found.grad_fn).__name__ == "_ByHeadBackward"
    assert found.shape == expected.shape
    assert apart(found, expected) < limit
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    for name, ours, theirs in zip("qkv", own, exact, strict=True):
        assert apart(ours.grad, theirs.grad) < limit, name
    return found


@pytest.mark.parametrize("laid_out", ["by head", "by token"])
@pytest.mark.parametrize("size", [(2, 3, 40, 40, 16), (1, 2, 7, 30, 64), (3, 1, 30, 2, 5)])
def test_heads_one_by_one_are_exact(by_head, size, laid_out):
    torch.manual_seed(0)
    b, h, m, n, d = size
    if laid_out == "by head":
        given = [torch.randn(b, h, length, d) for length in (m, n, n)]
    else:
        given = [torch.randn(b, length, h, d).transpose(1, 2) for length in (m, n, n)]
    found = compare(given, torch.randn(b, h, m, d), 2e-6)
    assert found.transpose(1, 2).is_contiguous(), "as the next product reads it"


@pytest.mark.parametrize("size", [30.0, 3000.0])
def test_scores_of_any_size_are_exact(by_head, size):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, 20, 8).unbind()
    q[0, 0] *= size  # one head alone leaves the range of float32 without a shift
    bound = 1e-5 if size < 100 else 1e-3  # a score's own rounding grows with it
    compare((q, k, v), torch.randn(2, 2, 20, 8), bound)
    compare((q.abs() * size, -k.abs(), v), torch.randn(2, 2, 20, 8), bound * 10)


def test_what_is_not_a_number_stays_so(by_head):
    q, k, v = torch.randn(3, 1, 2, 6, 4).unbind()
    q[0, 1, 2, 0] = torch.nan
    found = attend(q, k, v)
    assert found[0, 1, 2].isnan().all()
    assert not found[0, 0].isnan().any() and not found[0, 1, 3:].isnan().any()


def test_short_heads_and_masked_ones_stay_together(monkeypatch):
    monkeypatch.setattr(kernels, "_mkl_is_slow", kernels.has_onednn)
    calls = []
    monkeypatch.setattr(attention, "onednn", lambda *a: calls.append(1) or kernels.onednn(*a))
    short, long = (torch.randn(1, 1, n, 64) for n in (8, 2000))
    attend(short, short, short)
    attend(long, long, long, torch.ones(1, 2000, dtype=torch.bool))
    assert not calls
    attend(long, long, long)
    assert len(calls) == 2 * kernels.has_onednn()


def test_long_heads_give_what_the_fused_kernel_gives(by_head):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, 2, 500, 32).unbind()
    torch.testing.assert_close(attend(q, k, v), F.scaled_dot_product_attention(q, k, v))
