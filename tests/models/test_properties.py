"""What holds for every model, mask and batch."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from maestro_lab.batches import Batch, Series
from maestro_lab.contract import Contract, Modality
from maestro_lab.models.config import LOSSES, MaestroConfig
from maestro_lab.models.layout import FUSIONS, streams_of
from maestro_lab.models.maestro import Maestro
from maestro_lab.models.masking import Masking, keys_for, split_mask
from maestro_lab.models.targets import TargetNorm
from maestro_lab.models.tokens import patchify, take, unpatchify
from tests.models.made import (
    SEEDS,
    SIZE,
    by_modality,
    by_sample,
    changed,
    encode,
    hidden_image,
    make_batch,
    mask_of,
    modalities,
    models,
    with_patches,
)

SERIES = ("group", "mod")  # one sequence for all dates
JOINED = tuple((fusion, joint) for fusion in SERIES for joint in (0, 1))


def numbers(*shape: int) -> torch.Tensor:
    """Every number once, in float."""
    return torch.arange(torch.Size(shape).numel()).float().view(shape)


@given(st.lists(st.integers(1, 3), max_size=2), *[st.integers(1, 4)] * 3, st.data())
def test_patches_are_where_they_were(lead, bands, patch, grid, data):
    images = numbers(*lead, bands, patch * grid, patch * grid)
    patches = patchify(images, patch)
    assert patches.shape == (*lead, grid**2, bands, patch**2)
    assert torch.equal(unpatchify(patches, patch), images)
    assert torch.equal(patchify(unpatchify(patches.flip(-1), patch), patch), patches.flip(-1))
    i, j = (data.draw(st.integers(0, grid - 1)) for _ in "ij")
    p, q = (data.draw(st.integers(0, patch - 1)) for _ in "pq")
    there = patches[..., i * grid + j, :, p * patch + q]
    assert torch.equal(there, images[..., i * patch + p, j * patch + q])


@given(st.lists(modalities(4), min_size=1, max_size=3), st.sampled_from(FUSIONS), SEEDS)
def test_tokens_are_joined_split_and_selected_without_a_loss(several, fusion, seed):
    named = {f"m{i}": m for i, m in enumerate(several)}
    generator = torch.Generator().manual_seed(seed)
    seen = []
    for stream in streams_of(named, fusion):
        parts = [
            1000 * k + numbers(2, len(m.token_groups), m.dates, m.grid**2, 1)
            for k, m in enumerate(stream.members_of.values())
        ]
        sequence = stream.join(parts)
        assert sequence.shape[1] == stream.length
        back = stream.split(sequence)
        assert list(back) == stream.modalities
        assert all(torch.equal(a, b) for a, b in zip(back.values(), parts, strict=True))
        masked = torch.rand(sequence.shape[:2], generator=generator).argsort(1)
        masked = masked[:, : 3 * stream.length // 4].sort(1).values
        taken = []
        for member in stream.members:
            chosen, where, own = stream.select(member, take(sequence, masked), masked)
            own = torch.ones_like(where, dtype=torch.bool) if own is None else own
            expected = take(back[member.modality][:, member.group].flatten(1, 2), where)
            assert torch.equal(chosen[own], expected[own])
            taken.append(chosen[own])
        assert torch.equal(
            torch.cat(taken).flatten().sort().values, take(sequence, masked).flatten().sort().values
        )
        seen += stream.modalities
    assert sorted(seen) == list(named)


CHANCES = st.fixed_dictionaries(
    {name: st.floats(0, 0.95) for name in ("modality", "bands", "dates", "locations")}
    | {"ratio": st.floats(0.1, 0.9)}
)


@settings(max_examples=60)
@given(st.data(), CHANCES, SEEDS, st.booleans())
def test_counts_are_exact_and_what_is_there_is_seen(data, chances, seed, gaps):
    model = data.draw(models(**chances))
    batch = make_batch(model.config.contract, seed, 4, gaps=gaps)
    sequences, _ = model.sequences(batch)
    present = {name: s.present for name, s in sequences.items()}
    masks = model.draw_masks(keys_for(seed, 0, batch.sample), present)
    for stream in model.streams:
        mask, count = masks[stream.name], model.masked_count(stream)
        assert mask.shape == (4 * (stream.images if stream.folded else 1), stream.length)
        assert (mask.sum(1) == count).all()
        visible, hidden = split_mask(mask, count)
        assert (visible.diff(dim=1) > 0).all() and (hidden.diff(dim=1) > 0).all()
        if present[stream.name] is None or count == stream.length:
            continue  # as published, a share of one or two tokens may round to all of them
        there = present[stream.name]
        seen = (there & ~mask).sum(1)
        assert (seen == there.sum(1).clamp(max=stream.length - count)).all()


@pytest.fixture(scope="module")
def ordinary() -> Maestro:
    s2 = Modality(("R", "N"), "DN", gsd=10, pixels=6, patch=2, dates=8, token_groups=[["R"], ["N"]])
    radar = {n: Modality(("VV",), "dB", gsd=10, pixels=6, patch=2, dates=4, fusion_group="s1")
             for n in ("asc", "des")}  # fmt: skip
    return Maestro(MaestroConfig(Contract({"s2": s2, **radar}, 6), SIZE, joint_depth=0))


@settings(max_examples=60)
@given(
    seed=SEEDS,
    epoch=st.integers(0, 1000),
    order=st.permutations(range(16)),
    size=st.integers(1, 16),
)
def test_masks_belong_to_seed_epoch_and_sample_alone(ordinary, seed, epoch, order, size):
    model, samples = ordinary, torch.arange(16)
    masks, later, other = (
        model.draw_masks(keys_for(s, e, samples))
        for s, e in ((seed, epoch), (seed, epoch + 1), (seed + 1, epoch))
    )
    rows = torch.cat([torch.cat(list(m.values()), 1) for m in (masks, later, other)])
    assert len(rows.unique(dim=0)) == len(rows) == 48
    some = torch.tensor(order)[:size]
    again = model.draw_masks(keys_for(seed, epoch, some))
    assert all(torch.equal(again[name], mask[some]) for name, mask in masks.items())


@settings(max_examples=30)
@given(models(loss=LOSSES), SEEDS, st.permutations(range(4)), st.booleans())
def test_permuting_the_batch_permutes_all_that_comes_out(model, seed, order, gaps):
    batch = make_batch(model.config.contract, seed, 4, gaps=gaps)
    turned = Batch(
        {
            n: Series(s.values[order], s.dates[order], None if s.valid is None else s.valid[order])
            for n, s in batch.series.items()
        },
        batch.ref_date[order],
        batch.sample[order],
    )
    with torch.no_grad():
        found, expected = model.features(turned), model.features(batch)
        outputs = [model(b, keys_for(seed, 3, b.sample)) for b in (turned, batch)]
    for name, (tokens, present) in expected.items():
        torch.testing.assert_close(found[name][0], tokens[order], atol=1e-5, rtol=1e-5)
        assert present is None or torch.equal(found[name][1], present[order])
    for stream in model.streams:
        new, old = (by_sample(stream, o.masks[stream.name]) for o in outputs)
        assert torch.equal(new, old[order])
    torch.testing.assert_close(outputs[0].loss, outputs[1].loss, atol=1e-6, rtol=1e-5)


@settings(max_examples=40)
@given(models(), SEEDS, st.data())
def test_masked_patches_that_change_places_change_nothing_else(model, seed, data):
    """The norm of an image sees the same numbers, and nothing else sees them at all."""
    batch = make_batch(model.config.contract, seed)
    masks = model.draw_masks(keys_for(seed, 0, batch.sample))
    name, group, date, hidden = hidden_image(model, masks, data)

    def turn(patches):
        patches = patches.clone()
        patches[hidden] = patches[hidden.roll(1)]
        return patches

    other = with_patches(batch, model, (name, group, date), turn)
    assert not torch.equal(other.series[name].values, batch.series[name].values)
    before, after = encode(model, batch, masks), encode(model, other, masks)
    for stream in before:
        torch.testing.assert_close(after[stream], before[stream], atol=1e-5, rtol=0)


@settings(max_examples=40)
@given(models(), SEEDS, st.data())
def test_masked_patches_act_through_two_numbers_of_their_image(model, seed, data):
    """Mean and deviation: what is seen of the image is shifted and scaled, the rest untouched."""
    batch = make_batch(model.config.contract, seed)
    masks = model.draw_masks(keys_for(seed, 0, batch.sample))
    name, group, date, hidden = hidden_image(model, masks, data)

    def spoil(patches):
        patches = patches.clone()
        patches[hidden] = 3 * torch.rand_like(patches[hidden])
        return patches

    other = with_patches(batch, model, (name, group, date), spoil)
    mine, theirs = (model.embed_modality(name, b.series[name]).embedded for b in (batch, other))
    image = (0, group, date)
    rest = torch.ones(mine.shape[:3], dtype=torch.bool)
    rest[image] = False
    assert torch.equal(mine[rest], theirs[rest])
    seen = ~by_modality(model, masks)[name][image]
    x, y = (t[image][seen].flatten().detach().double() for t in (mine, theirs))
    if len(x):
        both = torch.stack([x, torch.ones_like(x)], 1)
        fitted = both @ torch.linalg.lstsq(both, y[:, None]).solution
        torch.testing.assert_close(fitted[:, 0], y, atol=1e-5, rtol=0)
    before, after = encode(model, batch, masks), encode(model, other, masks)
    assert all(torch.equal(after[s][1:], before[s][1:]) for s in before), "another sample changed"


@settings(max_examples=40)
@given(models(modes=JOINED), SEEDS, st.data())
def test_a_date_that_is_wholly_masked_may_hold_anything(model, seed, data):
    stream = data.draw(st.sampled_from(model.streams))
    name = data.draw(st.sampled_from(stream.modalities))
    m = model.modalities[name]
    date = data.draw(st.integers(0, m.dates - 1))
    assume(len(m.token_groups) * m.grid**2 <= model.masked_count(stream) < stream.length)
    parts = [
        torch.zeros(1, len(o.token_groups), o.dates, o.grid**2)
        for o in stream.members_of.values()
    ]  # fmt: skip
    parts[stream.modalities.index(name)][:, :, date] = 1
    batch = make_batch(model.config.contract, seed)
    masks = mask_of(model, {stream.name: stream.join(parts)[0]}, 3, seed)
    assert by_modality(model, masks)[name][:, :, date].all()
    values = batch.series[name].values.clone()
    values[:, date] = 100 * torch.rand_like(values[:, date])
    before, after = (
        encode(model, batch, masks),
        encode(model, changed(batch, **{name: values}), masks),
    )
    assert all(torch.equal(after[s], before[s]) for s in before)


@given(modalities(), SEEDS, st.floats(-100, 100), st.floats(0.01, 100), st.booleans())
def test_targets_have_mean_0_and_variance_1(m, seed, offset, scale, gaps):
    generator = torch.Generator().manual_seed(seed)
    shape = (5, len(m.bands), m.patch**2)
    patches = offset + scale * torch.randn(shape, generator=generator, dtype=torch.float64)
    valid = torch.rand(5, m.patch**2, generator=generator) > 0.3 if gaps else None
    normed = TargetNorm(m).double()(patches, valid)
    for group in m.norm_groups:
        bands = [m.bands.index(b) for b in group]
        for k in range(len(patches)):
            seen = slice(None) if valid is None else valid[k]
            values, target = (
                patches[k, bands][:, seen].flatten(),
                normed[k, bands][:, seen].flatten(),
            )
            if len(values) < 2:
                continue
            assert abs(float(target.mean())) < 1e-6
            expected = float(values.var() / (values.var() + 1e-6))
            assert float(target.var()) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=30)
@given(st.integers(4, 6), st.sampled_from(LOSSES), st.integers(0, 1), SEEDS)
def test_a_modality_that_is_wholly_seen_weighs_nothing(dates, loss, joint, seed):
    few = Modality(("A", "B"), "DN", gsd=10, pixels=6, patch=2, fusion_group="both")
    many = Modality(("R", "N"), "DN", gsd=10, pixels=6, patch=2, dates=dates, fusion_group="both")
    alone = Modality(("C",), "DN", gsd=10, pixels=4, patch=2, dates=2)
    contract = Contract({"few": few, "many": many, "alone": alone}, 6)
    torch.manual_seed(seed)
    model = Maestro(MaestroConfig(contract, SIZE, "group", joint, Masking(), loss))
    hide = torch.cat([torch.zeros(few.tokens), torch.ones(many.tokens)])
    masks = mask_of(model, {"both": hide}, 3, seed)
    assert not by_modality(model, masks)["few"].any()
    output = model(make_batch(contract, seed), masks=masks)
    output.loss.backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert torch.isfinite(output.loss) and output.losses["few"] == 0
    assert all(torch.isfinite(g).all() for g in gradients.values())
    weights = {n: contract.modalities[n].tokens for n in ("many", "alone")}
    mean = sum(w * output.losses[n] for n, w in weights.items()) / sum(weights.values())
    assert output.loss.item() == pytest.approx(mean.item(), rel=1e-6)
    assert not any(g.any() for n, g in gradients.items() if n.startswith("to_pixels.few"))
    assert gradients["embed.few.0.project.weight"].any(), "it is seen, so it still learns"
