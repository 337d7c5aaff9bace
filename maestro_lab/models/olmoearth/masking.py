"""Which tokens are seen, and which are predicted.

Masks are drawn on the device, without a loop over samples. Every draw is a pure function of the
keys of :func:`~maestro_lab.models.masking.keys_for`, so it is the same in any batch and for any
number of processes. Shares are rounded down; where there is data, something stays visible.

Source: the strategies of OlmoEarth v1 (``modality_cross_random``) and v1.1
(``random_time_with_decode``), and the simple ones that they were compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from maestro_lab.errors import ParameterError
from maestro_lab.models.masking import random_bits
from maestro_lab.models.olmoearth.sample import MISSING, PREDICTED, UNUSED, VISIBLE

__all__ = ["STRATEGIES", "draw_states"]

_TIME_SHARE = 0.5  # of samples, under random_time_with_decode
_LEAST_SLOTS = 3  # for masks of whole slots
_TOP = torch.iinfo(torch.int64).max


class _Draws:
    """Random numbers, a stream of its own for each call."""

    def __init__(self, keys: Tensor) -> None:
        self.keys, self.calls = keys, 0

    def bits(self, n: int) -> Tensor:
        """Return int64 (b, n) in [0, 2**62)."""
        self.calls += 1
        return random_bits(random_bits(self.keys, self.calls)[:, -1], n)

    def upto(self, most: Tensor) -> Tensor:
        """Return whole numbers from 0 to ``most`` (b,), each as likely."""
        uniform = self.bits(1)[:, 0].double() / 2**62
        return (uniform * (most + 1)).long().clamp(max=most)

    def coin(self, chance: float) -> Tensor:
        """Return bool (b,)."""
        return self.bits(1)[:, 0] < int(chance * 2**62)

    def rank(self, eligible: Tensor) -> Tensor:
        """Shuffle the eligible items (b, n): the place of each, those not eligible at the end."""
        draw = self.bits(eligible.shape[1]).masked_fill(~eligible, _TOP)
        return draw.argsort(1).argsort(1)


@dataclass
class _Unit:
    """The tokens of a band group: present (b, d, l), and what they may be used for."""

    name: str
    group: int
    present: Tensor
    seen: bool

    @property
    def some(self) -> Tensor:
        """Which samples have any token: bool (b,)."""
        return self.present.flatten(1).any(1)


def draw_states(
    strategy: str, keys: Tensor, present: Mapping[str, Tensor], predicted_only: Collection[str] = ()
) -> dict[str, Tensor]:
    """Draw the states of all tokens.

    Parameters
    ----------
    strategy
        A name in :data:`STRATEGIES`.
    keys
        int64 (b,) from :func:`~maestro_lab.models.masking.keys_for`.
    present
        Modality to bool (b, g, d, l): tokens with data.
    predicted_only
        Modalities that are never seen.

    Returns
    -------
    dict
        Modality to int64 (b, g, d, l): visible, unused, predicted or missing.

    Raises
    ------
    ParameterError
        For an unknown strategy.

    Examples
    --------
    >>> import torch
    >>> from maestro_lab.models.masking import keys_for
    >>> here = {"s1": torch.ones(1, 1, 4, 4, dtype=torch.bool)}
    >>> states = draw_states("random", keys_for(0, 0, torch.arange(1)), here)
    >>> states["s1"].flatten().bincount().tolist()
    [8, 0, 8]
    """
    if strategy not in STRATEGIES:
        raise ParameterError("masking", expected=", ".join(STRATEGIES), found=repr(strategy))
    units = [
        _Unit(name, g, there[:, g], name not in predicted_only)
        for name, there in sorted(present.items(), key=lambda item: item[0] in predicted_only)
        for g in range(there.shape[1])
    ]  # what may be seen comes first
    found = STRATEGIES[strategy](_Draws(keys), units)
    states = {}
    for name, there in present.items():
        parts = [f for f, unit in zip(found, units, strict=True) if unit.name == name]
        state = torch.stack(parts, dim=1)
        if name in predicted_only:
            state = state.masked_fill(state == VISIBLE, UNUSED)
        states[name] = state.masked_fill(~there, MISSING)
    return states


def _halves(rank: Tensor, count: int | Tensor) -> Tensor:
    """Turn places (b, n) into states: a half is seen, a half predicted, one may be left."""
    half = count // 2
    state = torch.full_like(rank, UNUSED)
    state = state.masked_fill((rank >= half) & (rank < 2 * half), PREDICTED)
    return state.masked_fill(rank < half, VISIBLE)


def _half_of(draws: _Draws, unit: _Unit) -> Tensor:
    """Choose half of the tokens that are there, at least one: bool (b, d, l)."""
    there = unit.present.flatten(1)
    half = (there.sum(1, keepdim=True) // 2).clamp(min=1)
    return (draws.rank(there) < half).view(unit.present.shape) & unit.present


def _split_unit(draws: _Draws, unit: _Unit) -> Tensor:
    """See half of the tokens that are there, predict half; a single one is seen."""
    there = unit.present.flatten(1)
    count, rank = there.sum(1, keepdim=True), draws.rank(there)
    state = _halves(rank, count).masked_fill((count == 1) & (rank == 0), VISIBLE)
    return state.view(unit.present.shape)


def _split_modalities(draws: _Draws, units: list[_Unit]) -> list[Tensor]:
    """See half of the tokens of each modality, all band groups together, and predict half."""
    found = []
    for name in dict.fromkeys(unit.name for unit in units):
        there = torch.stack([u.present for u in units if u.name == name], dim=1)
        whole = torch.ones_like(there, dtype=torch.bool).flatten(1)
        state = _halves(draws.rank(whole), whole.shape[1]).view(there.shape)
        found += state.masked_fill(~there, MISSING).unbind(1)
    return found


def _random(draws: _Draws, units: list[_Unit]) -> list[Tensor]:
    """See half of the tokens of each modality, and predict half."""
    return _refilled(draws, units, _split_modalities(draws, units))


def _cross_random(draws: _Draws, units: list[_Unit]) -> list[Tensor]:
    """Halve each modality, then let band groups be seen, or predicted, or both."""
    states = _split_modalities(draws, units)
    has = torch.stack(
        [
            (state == VISIBLE).flatten(1).any(1) if unit.seen else unit.some
            for unit, state in zip(units, states, strict=True)
        ],
        dim=1,
    )  # (b, u)
    may_see = has & torch.tensor([u.seen for u in units], device=has.device)
    all_of, seeable = has.sum(1), may_see.sum(1)
    fewest = seeable.clamp(max=2)
    see = draws.rank(may_see) < (fewest + draws.upto(seeable - fewest))[:, None]
    predict = draws.rank(has) < (1 + draws.upto((all_of - 1).clamp(min=0)))[:, None]
    order = has.cumsum(1) * has  # 1 for the first that is there, 2 for the second
    few = (all_of <= 2)[:, None]
    see, predict = torch.where(few, order == 1, see), torch.where(few, order == 2, predict)
    see = see & may_see
    for u, state in enumerate(states):
        seen, predicted = (chosen[:, u, None, None] for chosen in (see, predict))
        state = state.masked_fill((state == VISIBLE) & ~seen, UNUSED)
        states[u] = state.masked_fill((state == PREDICTED) & seen & ~predicted, UNUSED)
    return _refilled(draws, units, states)


def _refilled(draws: _Draws, units: list[_Unit], states: list[Tensor]) -> list[Tensor]:
    """Split anew the samples that have nothing to see, or nothing to predict."""

    def none(state: int) -> Tensor:
        there = [(s == state) & u.present for u, s in zip(units, states, strict=True)]
        return ~torch.stack([t.flatten(1).any(1) for t in there]).any(0)

    useless = (none(VISIBLE) | none(PREDICTED))[:, None, None]
    return [
        torch.where(useless, _split_unit(draws, unit), state) if unit.seen else state
        for unit, state in zip(units, states, strict=True)
    ]


def _random_time_with_decode(
    draws: _Draws, units: list[_Unit], chance: float = _TIME_SHARE
) -> list[Tensor]:
    """See some sensors and predict others, in all slots or in different ones; predict all maps."""
    sensors = [u for u in units if u.seen]
    if not sensors:
        return [torch.full_like(u.present, PREDICTED, dtype=torch.int64) for u in units]
    some = torch.stack([u.some for u in sensors], dim=1)  # (b, u)
    count = some.sum(1, keepdim=True)
    seeing = draws.rank(some) < (count + 1) // 2
    slots = _slots(sensors)
    slot_count = slots.sum(1, keepdim=True)
    early = draws.rank(slots) < (slot_count + 1) // 2
    by_slot = draws.coin(chance) & (slot_count[:, 0] > 1)
    states, sensor = [], iter(range(len(sensors)))
    for unit in units:
        if not unit.seen:
            states.append(torch.full_like(unit.present, PREDICTED, dtype=torch.int64))
            continue
        sees = seeing[:, next(sensor), None, None]
        chosen = _half_of(draws, unit)
        if unit.present.shape[1] == slots.shape[1] > 1:
            within = unit.present & torch.where(sees[..., 0], early, slots & ~early)[:, :, None]
            usable = by_slot & within.flatten(1).any(1)
            chosen = torch.where(usable[:, None, None], within, chosen)
        state = torch.where(sees, VISIBLE, PREDICTED).expand_as(chosen)
        state = state.masked_fill(~chosen, UNUSED)
        alone = (count == 1)[..., None]
        states.append(torch.where(alone, _split_unit(draws, unit), state))
    return states


def _slots(units: list[_Unit]) -> Tensor:
    """Tell in which slots any of the units has data: bool (b, d)."""
    most = max(u.present.shape[1] for u in units)
    there = [u.present.any(2) for u in units if u.present.shape[1] == most]
    return torch.stack(there).any(0)


def _random_with_decode(draws: _Draws, units: list[_Unit]) -> list[Tensor]:
    """See some sensors and predict others; predict all maps."""
    return _random_time_with_decode(draws, units, 0.0)


def _space(draws: _Draws, units: list[_Unit]) -> list[Tensor]:
    """See half of the locations, predict half, the same in all modalities and slots."""
    most = max(u.present.shape[2] for u in units)
    every = units[0].present.new_ones(len(units[0].present), most)
    pattern = _halves(draws.rank(every), most)[:, None]
    states = [
        pattern.expand(unit.present.shape)
        if unit.present.shape[2] == most
        else _split_unit(draws, unit)
        for unit in units
    ]
    return _refilled(draws, units, states)


def _time(draws: _Draws, units: list[_Unit]) -> list[Tensor]:
    """See half of the slots, predict half; samples with less than three are split at random."""
    slots = _slots(units)
    count = slots.sum(1, keepdim=True)
    pattern = _halves(draws.rank(slots), count)[..., None]
    enough = (count >= _LEAST_SLOTS)[..., None]
    states = []
    for unit in units:
        split = _split_unit(draws, unit)
        dated = unit.present.shape[1] == slots.shape[1] > 1
        whole = pattern.expand(unit.present.shape) if dated else split
        states.append(torch.where(enough, whole, split))
    return states


STRATEGIES: dict[str, Callable[[_Draws, list[_Unit]], list[Tensor]]] = {
    "modality_cross_random": _cross_random,
    "random_time_with_decode": _random_time_with_decode,
    "random_with_decode": _random_with_decode,
    "random": _random,
    "space": _space,
    "time": _time,
}
"""By published name."""
