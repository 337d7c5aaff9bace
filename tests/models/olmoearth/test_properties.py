"""What holds for any model, sample and mask."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maestro_lab.models.kernels import bf16_is_fast
from maestro_lab.models.masking import keys_for
from maestro_lab.models.olmoearth.model import OlmoEarth
from maestro_lab.models.olmoearth.sample import MISSING, NO_DATA, PREDICTED, VISIBLE, compact
from tests.models.olmoearth.made import (
    SENSORS,
    VERSIONS,
    make_sample,
    make_states,
    micro,
    model_of,
    shaken,
    without,
)

SEEDS = st.integers(0, 2**31)
versions = pytest.mark.parametrize("version", VERSIONS)


def rows(sample, chosen):
    """Some samples of a batch, in any order."""
    values = {n: v[chosen] for n, v in sample.values.items()}
    return replace(sample, values=values, timestamps=sample.timestamps[chosen])


def near(a: torch.Tensor, b: torch.Tensor, tolerance: float = 5e-6) -> bool:
    scale = max(1.0, float(b.abs().max()))  # rounding grows with the numbers
    return a.shape == b.shape and bool((a - b).abs().max() <= tolerance * scale)


@versions
@settings(max_examples=10)
@given(seed=SEEDS, patch=st.integers(1, 8), grid=st.tuples(st.integers(1, 3), st.integers(1, 3)))
def test_each_sample_is_encoded_and_predicted_as_if_alone(version, seed, patch, grid):
    model = model_of(version)
    sample = make_sample(model.config, seed, samples=3, patch=patch, grid=grid)
    states = make_states(model, sample, seed)
    with torch.no_grad():
        whole = model.encode(sample, states)
        predicted = model.predict(sample, states, whole)
        for row in range(3):
            alone, own = rows(sample, [row]), {n: s[[row]] for n, s in states.items()}
            encoded = model.encode(alone, own)
            assert near(encoded.mean(), whole.mean()[[row]])
            for name, tokens in encoded.by_modality().items():
                assert near(tokens, whole.by_modality()[name][[row]])
            for name, tokens in model.predict(alone, own, encoded).items():
                assert near(tokens, predicted[name][[row]])


@versions
@settings(max_examples=10)
@given(seed=SEEDS, order=st.permutations(range(4)))
def test_the_order_of_a_batch_does_not_matter(version, seed, order):
    model = model_of(version)
    sample = make_sample(model.config, seed, samples=4)
    states = make_states(model, sample, seed)
    turned = {n: s[order] for n, s in states.items()}
    with torch.no_grad():
        one = model.embed(sample, states, spatial=True)
        other = model.embed(rows(sample, order), turned, spatial=True)
    assert near(other, one[order])


@versions
@settings(max_examples=10)
@given(seed=SEEDS, name=st.sampled_from(SENSORS), date=st.integers(0, 2))
def test_a_hidden_slot_does_not_influence(version, seed, name, date):
    """Not even where its values are no data, or no numbers."""
    model = model_of(version)
    sample = make_sample(model.config, seed)
    states = make_states(model, sample, seed)
    states[name][:, :, date] = PREDICTED
    states["latlon"][:] = VISIBLE
    values = sample.values[name].clone()
    values[:, date] = torch.tensor([NO_DATA, torch.nan])[:, None, None, None]
    changed = replace(sample, values={**sample.values, name: values})
    with torch.no_grad():
        one, other = model.encode(sample, states), model.encode(changed, states)
        assert torch.equal(one.tokens, other.tokens)
        predicted = (model.predict(s, states, e) for s, e in ((sample, one), (changed, other)))
        assert all(torch.equal(a, b) for a, b in zip(*(p.values() for p in predicted), strict=True))


@settings(max_examples=10)
@given(seed=SEEDS, place=st.integers(0, 3))
def test_a_hidden_patch_does_not_influence_at_the_base_size(seed, place):
    """At other sizes resizing mixes neighbouring patches, as published."""
    model = model_of("v1.2")
    sample = make_sample(model.config, seed, patch=8)
    states = make_states(model, sample, seed)
    states["sentinel2_l2a"][:, :, 0, place] = PREDICTED
    values = sample.values["sentinel2_l2a"].clone()
    i, j = 8 * (place // 2), 8 * (place % 2)
    values[:, 0, :, i : i + 8, j : j + 8] += 1
    changed = replace(sample, values={**sample.values, "sentinel2_l2a": values})
    with torch.no_grad():
        assert torch.equal(
            model.encode(sample, states).tokens, model.encode(changed, states).tokens
        )


@versions
def test_missing_slots_are_left_out_unless_told_otherwise(version):
    model = model_of(version)
    sample = make_sample(model.config, names=SENSORS)
    gone = without(sample, "sentinel1", 1, 2)
    states = {n: torch.zeros(2, *p.shape, dtype=torch.long)
              for n, p in model.layouts(sample)[1].places.items()}  # fmt: skip
    states["sentinel1"][1, :, 2] = MISSING
    with torch.no_grad():
        assert torch.equal(model.embed(gone), model.embed(sample, states))
        assert not near(model.embed(gone)[1], model.embed(sample)[1], 1e-3)
        assert near(model.embed(gone)[0], model.embed(sample)[0])


@versions
def test_dates_and_places_are_told_apart(version):
    model = model_of(version)
    sample = make_sample(model.config, names=["sentinel2_l2a"], dates=2)
    later = sample.timestamps.clone()
    later[:, 1, 1] = (later[:, 1, 1] + 3) % 12
    flat = {"sentinel2_l2a": torch.full_like(sample.values["sentinel2_l2a"], 0.3)}
    with torch.no_grad():
        moved = model.embed(replace(sample, timestamps=later))
        assert not near(moved, model.embed(sample), 1e-4)
        found = model.embed(replace(sample, values=flat), spatial=True)
        assert not near(found[:, 0], found[:, 3], 1e-4)
        coarse = model.embed(replace(sample, gsd=20.0), spatial=True)
        assert not near(coarse, model.embed(sample, spatial=True), 1e-4)


@versions
def test_a_step_of_training_reaches_all_that_is_trained(version):
    torch.manual_seed(0)
    model = shaken(OlmoEarth(micro(version, (*SENSORS, "worldcover"), drop_path=0.1,
                                   band_dropout=0.2)))  # fmt: skip
    frozen = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    model.train()
    sample = make_sample(model.config, samples=8)
    output = model(sample, keys_for(0, 0, torch.arange(8)))
    assert set(output.losses) == {*sample.values, "samples"}
    output.loss.backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == (name in frozen), name
    assert {n.split(".")[0] for n in frozen} == {"target", "encoder"}
    assert all("worldcover" in n for n in frozen if n.startswith("encoder"))
    torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01).step()
    again = model(sample, keys_for(0, 0, torch.arange(8))).loss
    assert again.isfinite()
    assert all(torch.equal(p, dict(model.named_parameters())[n]) for n, p in frozen.items())


def test_samples_are_compared_and_views_differ():
    model = model_of("v1.1")
    sample = make_sample(model.config, samples=4)
    one, other = model.draw_states(sample, keys_for(0, 0, torch.arange(4)))
    assert any(not torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("version", VERSIONS)
def test_half_precision_keeps_losses_in_full(version):
    model = model_of(version)
    sample = make_sample(model.config, samples=4, names=(*SENSORS, "worldcover"))
    keys = keys_for(0, 0, torch.arange(4))
    with torch.no_grad():
        exact = model(sample, keys)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = model(sample, keys)
    assert isinstance(bf16_is_fast(torch.device("cpu")), bool)
    assert rounded.loss.dtype == torch.float32
    assert rounded.loss.item() == pytest.approx(exact.loss.item(), rel=0.03)


def test_no_data_at_all_is_survived():
    model = shaken(OlmoEarth(micro("v1.2", ("sentinel1", "worldcover"))))
    sample = make_sample(model.config, samples=2)
    nothing = torch.full_like(sample.values["sentinel1"], NO_DATA)
    sample = replace(sample, values={**sample.values, "sentinel1": nothing})
    output = model.train()(sample, keys_for(0, 0, torch.arange(2)))
    output.loss.backward()
    assert output.loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@given(seed=SEEDS, n=st.integers(1, 9))
def test_compacting_keeps_what_is_wanted_in_order(seed, n):
    wanted = torch.rand(4, n, generator=torch.Generator().manual_seed(seed)) > 0.5
    index, present = compact(wanted)
    if present is None:
        present = torch.ones_like(index, dtype=torch.bool)
    for row in range(4):
        assert index[row][present[row]].tolist() == wanted[row].nonzero().flatten().tolist()
