"""Which tokens share a sequence, and where each modality lies in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from einops import rearrange
from torch import Tensor

from maestro_lab.contract import Modality
from maestro_lab.models.masking import Block

__all__ = ["FUSIONS", "Member", "Stream", "streams_of"]

FUSIONS = ("group", "mod", "monotemp", "shared")
"""Legal fusion modes, from most to least shared context."""


@dataclass(frozen=True)
class Member:
    """One band group of one modality: ``tokens`` tokens from ``start`` of a sequence."""

    modality: str
    group: int
    start: int
    tokens: int


@dataclass(frozen=True)
class Stream:
    """A sequence that is masked, encoded and decoded as one.

    Parameters
    ----------
    name, encoder
        Its name, and the name of the encoder and decoder it goes through.
    members_of
        Modality name to its :class:`~maestro_lab.contract.Modality`, in order.
    folded
        Whether every date and band group is a sequence of its own (late fusion); the batch
        dimension is then samples x band groups x dates.
    """

    name: str
    encoder: str
    members_of: Mapping[str, Modality]
    folded: bool

    @property
    def modalities(self) -> list[str]:
        """Names of the modalities, in order."""
        return list(self.members_of)

    @cached_property
    def blocks(self) -> list[Block]:
        """The stretches that masks are drawn over."""
        if self.folded:
            (m,) = self.members_of.values()
            return [Block(1, 1, m.grid**2)]
        return [Block(len(m.token_groups), m.dates, m.grid**2) for m in self.members_of.values()]

    @property
    def length(self) -> int:
        """Tokens of a sequence."""
        return sum(b.tokens for b in self.blocks)

    @property
    def images(self) -> int:
        """Dates x band groups of a sample."""
        return sum(m.dates * len(m.token_groups) for m in self.members_of.values())

    @cached_property
    def members(self) -> list[Member]:
        """Every band group of every modality with its place in the sequence."""
        found, start = [], 0
        for name, m in self.members_of.items():
            size = m.grid**2 * (1 if self.folded else m.dates)
            for k in range(len(m.token_groups)):
                found.append(Member(name, k, 0 if self.folded else start, size))
                start += size
        return found

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Join tensors (b, g, d, l, ...) of the modalities into sequences (b, n, ...)."""
        if self.folded:
            return parts[0].flatten(0, 2)
        return torch.cat([part.flatten(1, 3) for part in parts], dim=1)

    def split(self, sequence: Tensor) -> dict[str, Tensor]:
        """Undo :meth:`join`: sequences (b, n, w) to modality -> (b, g, d, l, w)."""
        if self.folded:
            ((name, m),) = self.members_of.items()
            return {
                name: rearrange(
                    sequence, "(b g d) l w -> b g d l w", g=len(m.token_groups), d=m.dates
                )
            }
        parts = sequence.split([m.tokens for m in self.members_of.values()], dim=1)
        return {
            name: rearrange(part, "b (g d l) w -> b g d l w", g=len(m.token_groups), d=m.dates)
            for part, (name, m) in zip(parts, self.members_of.items(), strict=True)
        }

    @cached_property
    def _origins(self) -> tuple[Tensor, Tensor]:
        """Row of the table of band groups and locations, and date, of each token: both (n,).

        Where dates are folded into the batch, the first image stands for all.
        """
        rows, dates, row, date = [], [], 0, 0
        for m in self.members_of.values():
            shape = (len(m.token_groups), m.dates, m.grid**2)
            table = torch.arange(shape[0] * shape[2]).view(shape[0], 1, shape[2])
            rows.append((row + table).expand(shape).flatten())
            dates.append((date + torch.arange(m.dates)[:, None]).expand(shape).flatten())
            row, date = row + shape[0] * shape[2], date + m.dates
        return torch.cat(rows), torch.cat(dates)

    @cached_property
    def _origins_by_device(self) -> dict[torch.device, tuple[Tensor, Tensor]]:
        return {}

    def _origins_on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Keep a copy on each device: copying in every step would wait for the device."""
        there = self._origins_by_device
        if device not in there:
            rows, dates = self._origins
            there[device] = rows.to(device), dates.to(device)
        return there[device]

    def origin(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Tell what tokens of a sequence are made of.

        Parameters
        ----------
        index
            Indices of tokens in their sequences (b, k).

        Returns
        -------
        tuple
            Rows of the table (band group, location) of all modalities, and rows of the table of
            dates (sample, date) of all modalities: both (b, k).
        """
        rows, dates = self._origins_on(index.device)
        several = sum(m.dates for m in self.members_of.values())
        if self.folded:
            (m,) = self.members_of.values()
            image = torch.arange(len(index), device=index.device)[:, None]
            index = index + image % self.images * m.grid**2  # as if the sample were one sequence
            sample = image // self.images
        else:
            sample = torch.arange(len(index), device=index.device)[:, None]
        return rows[index], dates[index] + sample * several

    def select(
        self, member: Member, decoded: Tensor, masked: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Pick the masked tokens of one member, as many for every sample.

        Parameters
        ----------
        member
            The band group of a modality.
        decoded
            Decoded masked tokens (b, m, w).
        masked
            Their indices in the sequence (b, m), ascending.

        Returns
        -------
        tuple
            Tokens (b, k, w); the patch each stands for, date x location, (b, k); and (b, k) True
            for tokens that are the member's own, or None where all are. ``k`` is the most that the
            member can have, so that shapes do not depend on the draw.
        """
        m = self.members_of[member.modality]
        if self.folded:
            shape = {"g": len(m.token_groups), "d": m.dates}
            decoded = rearrange(decoded, "(b g d) k w -> b g (d k) w", **shape)[:, member.group]
            masked = rearrange(masked, "(b g d) k -> b g d k", **shape)[:, member.group]
            date = torch.arange(m.dates, device=masked.device)[:, None]
            return decoded, (masked + date * m.grid**2).flatten(1), None
        if len(self.members) == 1:
            return decoded, masked, None
        own = (masked >= member.start) & (masked < member.start + member.tokens)
        most = min(member.tokens, masked.shape[1])
        order = (~own).to(torch.uint8).argsort(dim=1, stable=True)[:, :most]
        chosen = decoded.gather(1, order[..., None].expand(-1, -1, decoded.shape[-1]))
        where = (masked.gather(1, order) - member.start).clamp(0, member.tokens - 1)
        return chosen, where, own.gather(1, order)


def streams_of(modalities: Mapping[str, Modality], fusion: str) -> list[Stream]:
    """Arrange modalities into sequences.

    Parameters
    ----------
    modalities
        Name to modality, in the model's order.
    fusion
        "group": modalities of one ``fusion_group`` together. "mod": each on its own, all dates.
        "monotemp": each date and band group on its own. "shared": the same with one encoder for
        all modalities.
    """
    if fusion == "group":
        groups: dict[str, dict[str, Modality]] = {}
        for name, m in modalities.items():
            groups.setdefault(m.fusion_group or name, {})[name] = m
        return [Stream(name, name, members, folded=False) for name, members in groups.items()]
    folded = fusion in ("monotemp", "shared")
    return [
        Stream(name, "shared" if fusion == "shared" else name, {name: m}, folded)
        for name, m in modalities.items()
    ]
