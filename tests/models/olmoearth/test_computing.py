"""Reduced precision, and work that is saved."""

from __future__ import annotations

import pytest
import torch

from maestro_lab.models import kernels
from maestro_lab.models.olmoearth import positions
from maestro_lab.models.olmoearth.losses import modality_discrimination
from maestro_lab.models.olmoearth.model import OlmoEarth
from maestro_lab.models.olmoearth.sample import PREDICTED
from tests.models.olmoearth.made import (
    VERSIONS,
    make_sample,
    make_states,
    micro,
    model_of,
    shaken,
)


@pytest.mark.parametrize("version", VERSIONS)
def test_in_bf16_losses_are_those_of_fp32_and_gradients_are_finite(version):
    model = model_of(version)
    sample = make_sample(model.config)
    states = make_states(model, sample, 0), make_states(model, sample, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        patches = model.encoder.embedding.patches(sample)
        targets = model.target(patches)
        view = model.view(sample, states[0], model._tokens(sample, patches), targets)
        output = model(sample, states=states)
    wanted = {n: s.flatten(1) == PREDICTED for n, s in states[0].items()}
    parts = ({n: t[n].float().flatten(1, 3) for n in view.predicted}
             for t in (view.predicted, targets))  # fmt: skip
    expected = modality_discrimination(*parts, wanted, model.config.spare_alike)
    assert {n: t.item() for n, t in view.losses.items()} == pytest.approx(
        {n: t.item() for n, t in expected.items()}, abs=1e-6
    )
    assert output.loss.dtype == torch.float32
    assert output.loss.isfinite()
    whole = model(sample, states=states).loss
    assert output.loss.item() == pytest.approx(whole.item(), rel=0.02)
    model.zero_grad()
    output.loss.backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert len(grads) > 20
    assert all(g.isfinite().all() for g in grads)
    model.zero_grad()


def test_codes_kept_from_a_look_without_graph_serve_training():
    positions._absolute.cache_clear()
    given = (3, (2, 4), 1.0, 8, torch.device("cpu"))
    with torch.inference_mode():
        kept = positions._absolute(*given)
    assert not any(t.is_inference() for t in kept)
    again = positions._absolute(*given)
    assert all(a is b for a, b in zip(kept, again, strict=True)), "made once"


@pytest.mark.parametrize("version", ["v1", "v1.2"])
def test_a_sample_that_skips_a_half_is_as_if_it_were_multiplied_by_zero(version, monkeypatch):
    monkeypatch.setattr(kernels, "_mkl_is_slow", lambda: False)  # one library for both
    torch.manual_seed(0)
    model = shaken(OlmoEarth(micro(version, drop_path=0.4))).train()
    sample = make_sample(model.config, samples=6)
    found = []
    for multiplied in (False, True):
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda value=multiplied: value)
        torch.manual_seed(1)
        model.zero_grad()
        summary = model.embed(sample)
        summary.square().sum().backward()
        grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        found.append(grads | {"summary": summary.detach()})
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        assert torch.allclose(value, found[1][name], rtol=1e-4, atol=1e-5), name
    assert not torch.allclose(found[0]["summary"], model.eval().embed(sample), atol=1e-3)
