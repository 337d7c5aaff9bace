"""Exact counts, and states that cannot be, on 2000 draws of every strategy."""

import pytest
import torch

from maestro_lab.models.masking import keys_for
from maestro_lab.models.olmoearth.config import MAPS
from maestro_lab.models.olmoearth.masking import STRATEGIES, draw_states
from maestro_lab.models.olmoearth.sample import MISSING, PREDICTED, UNUSED, VISIBLE
from tests.models.olmoearth.test_masking import everything

DRAWS, DATES, PLACES = 2000, 5, 9
KINDS = (VISIBLE, UNUSED, PREDICTED, MISSING)


def drawn(strategy, gaps):
    """States and what was there; of v1 band groups for the strategy that is about them."""
    version = "v1" if strategy == "modality_cross_random" else "v1.1"
    present = everything(version, DRAWS, DATES, PLACES)
    if gaps:
        draw = torch.Generator().manual_seed(0)
        for name, there in present.items():
            slots = torch.rand(DRAWS, 1, there.shape[2], 1, generator=draw) < 0.4
            whole = torch.rand(DRAWS, 1, 1, 1, generator=draw) < 0.2
            present[name] = there & ~slots & ~whole
    return draw_states(strategy, keys_for(7, 0, torch.arange(DRAWS)), present, MAPS), present


def count(state, kind, *dims):
    return (state == kind).sum(dims)


@pytest.mark.parametrize("gaps", [False, True], ids=["all there", "gaps"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_states_that_cannot_be(strategy, gaps):
    states, present = drawn(strategy, gaps)
    sees, predicts, can = (torch.zeros(DRAWS, dtype=torch.bool) for _ in range(3))
    several = torch.zeros(DRAWS, dtype=torch.long)
    for name, state in states.items():
        assert ((state == MISSING) == ~present[name]).all()
        assert sum(count(state, kind, 1, 2, 3) for kind in KINDS).eq(state[0].numel()).all()
        predicts |= (state == PREDICTED).flatten(1).any(1)
        several += present[name].flatten(1).sum(1)
        if name in MAPS:
            assert not (state == VISIBLE).any()
        else:
            sees |= (state == VISIBLE).flatten(1).any(1)
            can |= present[name].flatten(1).any(1)
    assert torch.equal(sees, can), "something is seen wherever a sensor has data, and only there"
    assert predicts[can & (several > 1)].float().mean() > 0.999


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_exact_fractions_where_all_is_there(strategy):
    states, _ = drawn(strategy, gaps=False)
    seen_sensors = torch.zeros(DRAWS, dtype=torch.long)
    for name, state in states.items():
        n, groups = state[0].numel(), state.shape[1]
        seen, told = (count(state, kind, 1, 2, 3) for kind in (VISIBLE, PREDICTED))
        if name in MAPS:
            decoded = "with_decode" in strategy
            assert told.eq(n if decoded else n // 2).all(), name
        elif strategy == "random":
            assert seen.eq(n // 2).all() and told.eq(n // 2).all()
        elif strategy == "space":
            assert seen.eq(PLACES // 2 * DATES).all() and told.eq(PLACES // 2 * DATES).all()
        elif strategy == "time":
            assert seen.eq(DATES // 2 * PLACES).all() and told.eq(DATES // 2 * PLACES).all()
        elif strategy == "modality_cross_random":
            assert (seen <= n // 2).all() and (told <= n // 2).all() and groups in (1, 2, 3)
            unseen = count(state, VISIBLE, 2, 3) == 0  # (b, g)
            assert (count(state, PREDICTED, 2, 3) > 0)[unseen].all()
        else:
            assert ((seen == 0) != (told == 0)).all(), "a sensor is seen, or predicted"
            seen_sensors += seen > 0
            half, early, late = n // 2, (DATES + 1) // 2 * PLACES, DATES // 2 * PLACES
            legal_seen, legal_told = {0, half, early}, {0, half, late}
            if strategy == "random_with_decode":
                legal_seen, legal_told = {0, half}, {0, half}
            assert set(seen.tolist()) == legal_seen and set(told.tolist()) == legal_told
    if "with_decode" in strategy:
        assert seen_sensors.eq(2).all(), "two of three sensors, rounded up"


@pytest.mark.parametrize("strategy", ["random_time_with_decode", "random_with_decode"])
def test_exact_fractions_of_what_is_left(strategy):
    """Half of the tokens with data, rounded down; or all those in the chosen slots."""
    states, present = drawn(strategy, gaps=True)
    sensors = [name for name in states if name not in MAPS]
    some = torch.stack([present[n].flatten(1).any(1) for n in sensors], 1)
    by_half = torch.zeros(DRAWS, dtype=torch.long)
    for k, name in enumerate(sensors):
        state, there = states[name], present[name].flatten(1).sum(1)
        seen, told = (count(state, kind, 1, 2, 3) for kind in (VISIBLE, PREDICTED))
        alone = some[:, k] & (some.sum(1) == 1)
        assert torch.equal(seen[alone], (there[alone] // 2).clamp(min=1))
        assert torch.equal(told[alone], there[alone] // 2 * (there[alone] > 1))
        shared = some[:, k] & (some.sum(1) > 1)
        used = (seen + told)[shared]
        half = used == (there[shared] // 2).clamp(min=1)
        slots = (state == VISIBLE) | (state == PREDICTED)
        whole = (slots == (slots.any(3, keepdim=True) & present[name])).flatten(1).all(1)[shared]
        assert (half | whole).all()
        by_half += torch.zeros_like(by_half).masked_scatter(shared, half.long())
        if strategy == "random_with_decode":
            assert half.all()
        for name_of_map in set(states) & set(MAPS):
            full = present[name_of_map]
            assert torch.equal(states[name_of_map] == PREDICTED, full)
    assert by_half.sum() > 0


def test_missing_data_take_from_both_halves():
    """Where half is drawn before what is missing is taken out, no half is larger than it was."""
    for strategy in ("random", "modality_cross_random"):
        states, _ = drawn(strategy, gaps=True)
        full, _ = drawn(strategy, gaps=False)
        for name, state in states.items():
            most = full[name][0].numel() // 2
            assert (count(state, VISIBLE, 1, 2, 3) <= max(most, 1)).all(), name
