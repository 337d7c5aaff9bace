"""Masks made on purpose: hide one date, one modality, one place, and see what is guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from maestro_lab.errors import ParameterError
from maestro_lab.models.layout import Stream
from maestro_lab.models.maestro import Maestro
from maestro_lab.models.masking import keys_for, random_bits

if TYPE_CHECKING:
    from maestro_lab.batches import Batch

__all__ = ["HIDE", "Hide", "hidden_masks", "masked_count"]

HIDE = ("as trained", "at random", "date", "modality", "location", "bands")
"""Masks as in pretraining; patches at random; or one thing whole, and the rest at random."""

_FIRST = 1 << 62


@dataclass(frozen=True)
class Hide:
    """What is hidden.

    Parameters
    ----------
    what
        One of :data:`HIDE`.
    modality
        The modality meant.
    date
        Number of the date among those that enter the model.
    location
        Row and column of a patch of the modality; patches of other modalities that share ground
        with it are hidden too.
    bands
        Number of the token band group.
    ratio
        Share of a sequence that is hidden at least; None is the model's own.
    """

    what: str = "as trained"
    modality: str = ""
    date: int = 0
    location: tuple[int, int] = (0, 0)
    bands: int = 0
    ratio: float | None = None

    def __post_init__(self) -> None:
        if self.what not in HIDE:
            raise ParameterError("what to hide", expected=" | ".join(HIDE), found=repr(self.what))


@torch.no_grad()
def hidden_masks(model: Maestro, batch: Batch, hide: Hide, keys: Tensor) -> dict[str, Tensor]:
    """Draw masks that hide one thing whole, and at random as much more as the ratio asks for.

    Parameters
    ----------
    model, batch
        The model and its input.
    hide
        What to hide.
    keys
        int64 (b,), from :func:`~maestro_lab.models.masking.keys_for`.

    Returns
    -------
    dict
        Stream to bool (b, n), or (b*g*d, l) for folded streams; True = masked, as many in each row.

    Raises
    ------
    ParameterError
        If the model has no such modality, date, patch or band group, or if nothing of a sequence
        were left to see.
    """
    config = model.config
    masking = config.masking if hide.ratio is None else replace(config.masking, ratio=hide.ratio)
    present = {name: s.present for name, s in model.sequences(batch)[0].items()}
    if hide.what == "as trained":
        model.config = replace(config, masking=masking)
        try:
            return model.draw_masks(keys, present)
        finally:
            model.config = config
    _check(model, hide)
    masks = {}
    for i, stream in enumerate(model.streams):
        chosen = _on_purpose(model, stream, hide, len(batch))
        if _whole(stream, chosen):
            raise ParameterError(
                f"hiding the {hide.what} leaves nothing to see of {stream.name}",
                expected=f"less than {_sequence(stream)}, which this model encodes on its own",
                do="hide something smaller, or take a model whose sequences hold more: several "
                "modalities in a group (contract), or several token groups",
            )
        images = 1 if stream.folded else stream.images
        count = max(masking.count(stream.length, images), int(chosen.sum(1).max()))
        masks[stream.name] = _topped_up(chosen, present[stream.name], count, keys_for(i, 0, keys))
    return masks


def can_hide(model: Maestro, hide: Hide) -> bool:
    """Tell whether something is left to see of each sequence when one thing is hidden."""
    if hide.what in ("as trained", "at random"):
        return True
    _check(model, hide)
    return not any(_whole(s, _on_purpose(model, s, hide, 1)) for s in model.streams)


def _on_purpose(model: Maestro, stream: Stream, hide: Hide, samples: int) -> Tensor:
    """Return the tokens of a stream that are hidden on purpose."""
    return stream.join([_chosen(model, name, hide, samples) for name in stream.modalities])


def _whole(stream: Stream, chosen: Tensor) -> bool:
    return stream.length > 1 and bool(chosen.all(1).any())


def _sequence(stream: Stream) -> str:
    names = " + ".join(stream.modalities)
    return f"each date of {names}" if stream.folded else f"all of {names}"


def _check(model: Maestro, hide: Hide) -> None:
    """Refuse what the model does not have."""
    if hide.what == "at random":
        return
    m = model.modalities.get(hide.modality)
    if m is None:
        raise ParameterError(f"no modality {hide.modality!r}", expected=", ".join(model.modalities))
    limits = {
        "date": [(hide.date, m.dates)],
        "bands": [(hide.bands, len(m.token_groups))],
        "location": [(v, m.grid) for v in hide.location],
    }
    for value, size in limits.get(hide.what, []):
        if not 0 <= value < size:
            raise ParameterError(
                f"{hide.what} of {hide.modality}", expected=f"0 to {size - 1}", found=value
            )


def _chosen(model: Maestro, name: str, hide: Hide, samples: int) -> Tensor:
    """Return the tokens of a modality that are hidden on purpose: bool (b, g, d, l)."""
    m, device = model.modalities[name], next(model.parameters()).device
    found = torch.zeros(len(m.token_groups), m.dates, m.grid, m.grid, dtype=torch.bool)
    if hide.what == "location":
        row, column = (_shared(at, model.modalities[hide.modality].grid, m.grid)
                       for at in hide.location)  # fmt: skip
        found[:, :, row, column] = True
    elif name == hide.modality:
        if hide.what == "date":
            found[:, hide.date] = True
        elif hide.what == "bands":
            found[hide.bands] = True
        elif hide.what == "modality":
            found[:] = True
    return found.flatten(2).to(device).expand(samples, -1, -1, -1)


def _shared(at: int, grid: int, other: int) -> slice:
    """Return which of ``other`` cells share ground with cell ``at`` of ``grid`` cells."""
    return slice(at * other // grid, -(-(at + 1) * other // grid))


def _topped_up(chosen: Tensor, present: Tensor | None, count: int, keys: Tensor) -> Tensor:
    """Hide what is chosen, then what is absent, then at random, ``count`` tokens in all."""
    rows, tokens = chosen.shape
    bits = random_bits(keys, tokens * (rows // len(keys))).reshape(rows, tokens) >> 2
    rank = bits + (~chosen).long() * _FIRST
    if present is not None:
        rank = rank - (~present & ~chosen).long() * (_FIRST >> 1)
    masked = rank.argsort(dim=1)[:, :count]
    return torch.zeros_like(chosen).scatter_(1, masked, True)


def masked_count(masks: Mapping[str, Tensor], stream: Stream) -> int:
    """Return how many tokens of each row of a stream are masked.

    Raises
    ------
    ParameterError
        If rows differ, or nothing is left to see.
    """
    counts = masks[stream.name].sum(1)
    count, most = int(counts[0]), max(stream.length - 1, 1)  # a token alone is always masked
    if bool((counts != count).any()) or not 0 < count <= most:
        raise ParameterError(
            f"mask of {stream.name}",
            expected=f"as many masked tokens in each row, 1 to {most}",
            found=f"{int(counts.min())} to {int(counts.max())}",
        )
    return count
