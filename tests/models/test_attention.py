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
