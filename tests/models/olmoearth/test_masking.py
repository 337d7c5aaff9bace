"""Strategies: the shares that the published ones have, and rules that hold for any sample."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maestro_lab.errors import ParameterError
from maestro_lab.models.masking import keys_for
from maestro_lab.models.olmoearth.config import MAPS, OlmoEarthConfig
from maestro_lab.models.olmoearth.masking import STRATEGIES, draw_states
from maestro_lab.models.olmoearth.sample import MISSING, PREDICTED, UNUSED, VISIBLE

MANY = 4000


def everything(version: str, samples: int, dates: int = 6, locations: int = 16) -> dict:
    """All tokens of all published modalities are there."""
    return {
        name: torch.ones(samples, len(m.groups), dates if m.dated else 1, locations).bool()
        for name, m in OlmoEarthConfig.of(version, "nano").modalities.items()
    }


def shares(state: torch.Tensor) -> list[float]:
    return [float((state == kind).float().mean()) for kind in range(4)]


@pytest.mark.parametrize(
    ("version", "strategy", "sensor", "maps"),
    [
        ("v1", "modality_cross_random", (0.33, 0.32, 0.35), (0, 0.5, 0.5)),
        ("v1.1", "random_time_with_decode", (0.34, 0.5, 0.16), (0, 0, 1)),
        ("v1.1", "random_with_decode", (0.34, 0.5, 0.16), (0, 0, 1)),
        ("v1", "random", (0.5, 0, 0.5), (0, 0.5, 0.5)),
        ("v1", "space", (0.5, 0, 0.5), (0, 0.5, 0.5)),
        ("v1", "time", (0.5, 0, 0.5), (0, 0.5, 0.5)),
    ],
)
def test_shares_are_the_published_ones(version, strategy, sensor, maps):
    states = draw_states(
        strategy, keys_for(0, 0, torch.arange(MANY)), everything(version, MANY), MAPS
    )
    for name, state in states.items():
        expected = maps if name in MAPS else sensor
        assert shares(state)[:3] == pytest.approx(expected, abs=0.02), name


def test_v1_lets_band_groups_be_seen_and_predicted_independently():
    states = draw_states(
        "modality_cross_random", keys_for(1, 0, torch.arange(MANY)), everything("v1", MANY), MAPS
    )
    s2 = states["sentinel2_l2a"].flatten(2)  # (b, g, tokens)
    seen, predicted = ((s2 == kind).any(2) for kind in (VISIBLE, PREDICTED))
    assert 0.1 < float((seen & predicted).float().mean()) < 0.6
    assert float((~seen & predicted).float().mean()) > 0.1
    assert (seen | predicted).all()  # what is not seen is always predicted
    both = torch.cat([s.flatten(2) for n, s in states.items() if n not in MAPS], dim=1)
    assert int((both == VISIBLE).any(2).sum(1).min()) >= 2


def test_v1_1_parts_sensors_and_half_of_the_time_slots():
    states = draw_states(
        "random_time_with_decode",
        keys_for(2, 0, torch.arange(MANY)),
        everything("v1.1", MANY),
        MAPS,
    )
    sensors = torch.stack([states[n][:, 0] for n in states if n not in MAPS], 1)  # (b, 3, d, l)
    seen, predicted = ((sensors == kind).flatten(2).any(2) for kind in (VISIBLE, PREDICTED))
    assert not (seen & predicted).any()
    assert set(seen.sum(1).tolist()) == {2} and set(predicted.sum(1).tolist()) == {1}
    slots = (sensors == VISIBLE).any(1)  # (b, d, l)
    by_slot = (slots.all(2) | ~slots.any(2)).all(1)
    assert float(by_slot.float().mean()) == pytest.approx(0.5, abs=0.03)
    early, late = ((sensors[by_slot] == kind).any(3).any(1) for kind in (VISIBLE, PREDICTED))
    assert not (early & late).any() and set(early.sum(1).tolist()) == {3}


def test_space_and_time_share_their_pattern():
    keys, present = keys_for(0, 3, torch.arange(8)), everything("v1", 8)
    space = draw_states("space", keys, present, MAPS)
    first = space["sentinel1"][:, 0, 0]
    assert all((space[n] == first[:, None, None]).all() for n in ("sentinel2_l2a", "landsat"))
    assert ((space["srtm"][:, 0, 0] == PREDICTED) == (first == PREDICTED)).all()
    time = draw_states("time", keys, present, MAPS)
    first = time["sentinel1"][:, 0, :, 0]
    assert all((time[n] == first[:, None, :, None]).all() for n in ("sentinel2_l2a", "landsat"))


@st.composite
def gaps(draw) -> dict[str, torch.Tensor]:
    """Samples of any shape, from full to empty."""
    b, d, n = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    share = draw(st.sampled_from([0.0, 0.2, 0.7]))
    full = everything(draw(st.sampled_from(["v1", "v1.1"])), b, d, n)
    kept = draw(st.sets(st.sampled_from(sorted(full)), min_size=1))
    gone = {
        k: torch.rand(b, 1, t.shape[2], 1, generator=generator) < share for k, t in full.items()
    }
    return {name: full[name] & ~gone[name] for name in kept}


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=40)
@given(present=gaps(), seed=st.integers(0, 2**31))
def test_any_sample_gets_a_mask_that_can_be_used(strategy, present, seed):
    b = len(next(iter(present.values())))
    keys = keys_for(seed, 0, torch.arange(b))
    states = draw_states(strategy, keys, present, MAPS)
    sees = torch.zeros(b, dtype=torch.bool)
    for name, state in states.items():
        assert state.shape == present[name].shape
        assert ((state == MISSING) == ~present[name]).all()
        assert state.min() >= (UNUSED if name in MAPS else VISIBLE) and state.max() <= MISSING
        sees |= (state == VISIBLE).flatten(1).any(1)
    if strategy in ("modality_cross_random", "random_time_with_decode", "random_with_decode"):
        can = [p.flatten(1).any(1) for n, p in present.items() if n not in MAPS]
        if can:
            assert (sees == torch.stack(can).any(0)).all()


def test_a_draw_depends_on_its_key_alone():
    present = everything("v1.1", 6)
    keys = keys_for(0, 0, torch.arange(6))
    for strategy in STRATEGIES:
        whole = draw_states(strategy, keys, present, MAPS)
        part = draw_states(strategy, keys[4:], {n: p[4:] for n, p in present.items()}, MAPS)
        assert all(torch.equal(whole[n][4:], part[n]) for n in whole)


def test_an_unknown_strategy_is_refused():
    with pytest.raises(ParameterError, match=r"masking\n.*modality_cross_random.*\n.*'spiral'"):
        draw_states("spiral", keys_for(0, 0, torch.arange(1)), everything("v1", 1))
