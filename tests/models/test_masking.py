from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maestro_lab.errors import ParameterError
from maestro_lab.models.masking import (
    Block,
    Masking,
    keys_for,
    random_bits,
    sample_mask,
    split_mask,
    structural_mask,
)

S1 = [Block(1, 4, 9), Block(1, 4, 9)]


def masks(blocks, draws=2000, masking=None, seed=0, **options):
    return sample_mask(
        keys_for(seed, 0, torch.arange(draws)), blocks, masking or Masking(), **options
    )


def test_bits_are_uniform_and_independent_of_the_batch():
    bits = random_bits(keys_for(0, 1, torch.arange(1000)), 50).double() / 2.0**62
    assert float(bits.min()) >= 0
    assert float(bits.max()) < 1
    assert abs(float(bits.mean()) - 0.5) < 0.005
    assert abs(float(bits.var()) - 1 / 12) < 0.002
    neighbours = np.corrcoef(bits[:-1].flatten(), bits[1:].flatten())[0, 1]
    assert abs(neighbours) < 0.02
    alone = random_bits(keys_for(0, 1, torch.tensor([7])), 50).double() / 2.0**62
    assert torch.equal(alone[0], bits[7])


def test_keys_differ_by_seed_epoch_sample_and_stream():
    keys = {
        int(keys_for(seed, epoch, torch.tensor([sample]), stream)[0])
        for seed in range(6)
        for epoch in range(6)
        for sample in range(6)
        for stream in range(6)
    }
    assert len(keys) == 6**4


@settings(max_examples=60, deadline=None)
@given(
    blocks=st.lists(
        st.builds(Block, st.integers(1, 3), st.integers(1, 6), st.integers(1, 12)),
        min_size=1,
        max_size=3,
    ),
    ratio=st.floats(0.01, 0.97),
    scale=st.sampled_from([0.0, 0.5, 1.0]),
    chance=st.floats(0, 0.95),
    seed=st.integers(0, 10**9),
)
def test_count_is_exact_and_something_stays_visible(blocks, ratio, scale, chance, seed):
    masking = Masking(ratio, scale, chance, chance, chance, chance)
    found = masks(blocks, 8, masking, seed)
    tokens = sum(b.tokens for b in blocks)
    count = masking.count(tokens, sum(b.groups * b.dates for b in blocks))
    assert found.shape == (8, tokens)
    assert found.sum(1).tolist() == [count] * 8
    assert count >= 1 and (count < tokens or tokens == 1)
    structural = structural_mask(keys_for(seed, 0, torch.arange(8)), blocks, masking)
    assert not structural.all(1).any()
    visible, masked = split_mask(found, count)
    assert torch.equal(torch.cat([visible, masked], 1).sort(1).values[0], torch.arange(tokens))
    assert not found.gather(1, visible).any()


def test_masks_repeat_for_a_seed_and_change_with_epoch_and_sample():
    samples = torch.arange(16)
    first = sample_mask(keys_for(3, 5, samples), S1, Masking())
    assert torch.equal(first, sample_mask(keys_for(3, 5, samples), S1, Masking()))
    assert not torch.equal(first, sample_mask(keys_for(3, 6, samples), S1, Masking()))
    assert len({tuple(row.tolist()) for row in first}) == 16


def statistics(mask: torch.Tensor, block: Block) -> dict:
    cube = mask.view(len(mask), block.dates, block.locations).float()
    share = cube.mean((1, 2))
    histogram = torch.bincount(cube.sum(2).flatten().long(), minlength=block.locations + 1)
    return {
        "frac_mean": float(share.mean()),
        "frac_std": float(share.std()),
        "p_date_fully_masked": float(cube.all(2).float().mean()),
        "p_location_fully_masked": float(cube.all(1).float().mean()),
        "p_modality_fully_masked": float(cube.flatten(1).all(1).float().mean()),
        "masked_locations_per_date_hist": (histogram / histogram.sum()).tolist(),
        "per_date_mean": cube.mean((0, 2)).tolist(),
    }


@pytest.mark.parametrize("part", ["structural", "final"])
def test_statistics_agree_with_the_oracle(vectors, part):
    draws, masking = 20_000, Masking()
    streams = {
        "aerial": [("aerial", Block(1, 1, 225))],
        "s2": [("s2", Block(1, 16, 9))],
        "s1": [("s1_asc", S1[0]), ("s1_des", S1[1])],
    }
    for members in streams.values():
        blocks = [block for _, block in members]
        keys = keys_for(11, 0, torch.arange(draws))
        draw = structural_mask if part == "structural" else sample_mask
        pieces = draw(keys, blocks, masking).split([b.tokens for b in blocks], dim=1)
        for (name, block), piece in zip(members, pieces, strict=True):
            found, expected = statistics(piece, block), vectors["masks"][f"{name} {part}"]
            for key in ("frac_mean", "frac_std", *(k for k in expected if k.startswith("p_"))):
                assert found[key] == pytest.approx(expected[key], abs=0.012), (name, key)
            assert found["per_date_mean"] == pytest.approx(expected["per_date_mean"], abs=0.015)
            if block.dates > 1:
                there = np.array(expected["masked_locations_per_date_hist"], float)
                shape = found["masked_locations_per_date_hist"]
                assert shape == pytest.approx(there / there.sum(), abs=0.01), name


def test_surplus_structural_tokens_are_chosen_at_random():
    """With ties kept in order the last dates of the last modality would be seen far more often."""
    shares = masks(S1, 20_000).float().view(-1, 8, 9).mean((0, 2))
    assert float(shares.max() - shares.min()) < 0.02


def test_absent_tokens_are_masked_first():
    present = torch.ones(100, 72, dtype=torch.bool)
    present[:, 30:60] = False
    found = masks(S1, 100, present=present)
    assert found.sum(1).tolist() == [54] * 100
    assert found[:, 30:60].all()
    present[:] = False
    assert masks(S1, 100, present=present).sum(1).tolist() == [54] * 100


@pytest.mark.parametrize("name", ["ratio", "modality", "bands", "dates", "locations"])
@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_impossible_chances_are_refused(name, value):
    with pytest.raises(ParameterError, match=name):
        Masking(**{name: value})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"ratio": 0}, "above 0 and below 1"),
        ({"ratio": 1}, "at least 0 and below 1"),
        ({"scale": -1}, "a finite number, at least 0"),
        ({"scale": float("nan")}, "a finite number, at least 0"),
    ],
)
def test_masks_that_would_hide_nothing_or_all_are_refused(options, expected):
    with pytest.raises(ParameterError, match=expected):
        Masking(**options)
