"""Features of a frozen encoder are those of the encoder, kept or not."""

import pytest
import torch

from maestro_lab.batches import loader
from maestro_lab.training.frozen import VARIANTS, FrozenFeatures
from tests.training.conftest import make_data, make_model
from tests.training.labelled import labelled_cube


@pytest.fixture(scope="module")
def cube():
    return labelled_cube()


@pytest.fixture(scope="module")
def model(cube):
    torch.manual_seed(0)
    return make_model(cube).eval()


TARGETS = {"targets": ["cover", "mass"]}


def assert_same(found, batch, features):
    assert torch.equal(found.sample, batch.sample) and len(found) == len(batch)
    assert set(found.features) == set(features)
    for name, (tokens, present) in features.items():
        torch.testing.assert_close(found.features[name][0], tokens, rtol=1e-5, atol=1e-5)
        there = found.features[name][1]
        if present is None:
            assert there is None or there.all()
        else:
            assert torch.equal(there, present)
    for name, values in batch.targets.items():
        torch.testing.assert_close(found.targets[name], values, rtol=0, atol=0, equal_nan=True)


@torch.no_grad()
def direct(model, data, keys):
    batch = data.__getitems__(keys)
    return batch, model.features(batch)


@pytest.mark.parametrize("limit", [2e9, 0], ids=["kept", "computed"])
@pytest.mark.parametrize("train", [True, False])
def test_features_are_those_of_the_encoder(cube, model, train, limit):
    data = make_data(cube, ["train", "val"], train=train, **TARGETS)
    seen = FrozenFeatures(model, data, epochs=3, limit=limit, batch_size=4)
    assert seen.variants == ((3 if train else 1) if limit else 0)
    for epoch in range(3 if train else 1):
        keys = [(epoch, row) for row in (7, 0, 3, 11)]
        assert_same(seen.__getitems__(keys), *direct(model, data, keys))


def test_variants_are_taken_in_turn(cube, model):
    data = make_data(cube, **TARGETS)
    seen = FrozenFeatures(model, data, epochs=20)
    assert seen.variants == VARIANTS == 4 and "4 variants kept" in repr(seen)
    rows = range(len(data))
    found = [seen.__getitems__([(e, r) for r in rows]) for e in range(2 * VARIANTS)]
    tokens = [f.features["optics"][0] for f in found]
    for k in range(VARIANTS):
        assert torch.equal(tokens[k], tokens[k + VARIANTS])
        assert all(not torch.equal(tokens[k], tokens[j]) for j in range(k))
        keys = [(k, r) for r in rows]
        assert_same(found[k + VARIANTS], *direct(model, data, keys))


def test_maps_are_turned_with_their_windows(cube, model):
    data = make_data(cube, **TARGETS)
    seen = FrozenFeatures(model, data, epochs=4)
    plain = data.labels("cover")
    turned = 0
    for epoch in range(4):
        found = seen.__getitems__([(epoch, r) for r in range(len(data))])
        for row, label in enumerate(found.targets["cover"]):
            (up, left, across), _ = data._draw(epoch, row)
            expected = plain[row].flip(0) if up else plain[row]
            expected = expected.flip(1) if left else expected
            expected = expected.T if across else expected
            assert torch.equal(label, expected)
            turned += not torch.equal(label, plain[row])
    assert turned > 10


def test_what_does_not_fit_is_computed_with_the_same_numbers(cube, model):
    data = make_data(cube, **TARGETS)
    kept = FrozenFeatures(model, data, epochs=1)
    fresh = FrozenFeatures(model, data, epochs=1, limit=100)
    assert (kept.variants, fresh.variants) == (1, 0)
    assert "computed when asked for" in repr(fresh)
    pairs = list(zip(loader(kept, 4), loader(fresh, 4), strict=True))
    assert len(pairs) == 2
    for found, expected in pairs:
        assert_same(found, expected, expected.features)


def test_as_many_variants_are_kept_as_fit(cube, model):
    data = make_data(cube)
    tokens = sum(m.tokens for m in model.modalities.values())
    one = tokens * (4 * 16 + 1) * len(data)
    fits = [FrozenFeatures(model, data, epochs=9, limit=n * one).variants for n in (0.9, 1, 2.5, 7)]
    assert fits == [0, 1, 2, 4]
    kept = FrozenFeatures(model, data, epochs=1)
    kept.__getitems__([(0, 0)])
    parts = kept._kept[0].features.values()
    held = sum(t.numel() * t.element_size() + (0 if p is None else p.numel()) for t, p in parts)
    assert held <= one < 1.2 * held, "the estimate is what is held"


def test_each_variant_is_computed_once(cube, model, monkeypatch):
    calls = []
    plain = type(model).features
    monkeypatch.setattr(type(model), "features", lambda *a: calls.append(1) or plain(*a))
    data = make_data(cube)
    seen = FrozenFeatures(model, data, epochs=6)
    for epoch in range(6):
        for row in range(len(data)):
            seen.__getitems__([(epoch, row)])
    assert len(calls) == VARIANTS


@pytest.mark.parametrize("limit", [2e9, 0])
def test_no_gradient_reaches_the_encoder(cube, model, limit):
    seen = FrozenFeatures(model, make_data(cube, **TARGETS), limit=limit)
    found = seen.__getitems__([(0, 0), (0, 1)])
    assert all(p.requires_grad for p in model.parameters())
    for tokens, _ in found.features.values():
        assert not tokens.requires_grad and tokens.grad_fn is None


def test_in_bf16_features_are_near_and_kept_in_fp32(cube, model):
    data, keys = make_data(cube), [(0, r) for r in range(6)]
    plain, half = (
        FrozenFeatures(model, data, bf16=bf16).__getitems__(keys).features["optics"][0]
        for bf16 in (False, True)
    )
    assert half.dtype == torch.float32
    error = float((half - plain).norm() / plain.norm())
    assert 0 < error < 0.02
