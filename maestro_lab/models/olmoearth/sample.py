"""What goes into the model, and where each modality's tokens lie in the sequence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from maestro_lab.errors import ContractError
from maestro_lab.models.olmoearth.config import BASE_PATCH, Modality

__all__ = ["MISSING", "NO_DATA", "PREDICTED", "UNUSED", "VISIBLE", "Layout", "Place", "Sample",
           "compact", "has_data", "present_tokens"]  # fmt: skip

VISIBLE, UNUSED, PREDICTED, MISSING = range(4)
"""States of tokens: seen by the encoder; neither seen nor predicted; predicted; without data."""


NO_DATA = -99999.0
"""Stands in place of a value that is not there; so does what is not finite."""


@dataclass(frozen=True)
class Sample:
    """A batch of samples with common dates and a common grid of patches.

    Parameters
    ----------
    values
        Modality to normalised values: (b, d, c, h, w), d = 1 for what has no dates; (b, d, c) or
        (b, c) for what has no pixels. :data:`NO_DATA`, or what is not finite, is no data.
    timestamps
        int (b, d, 3): day of the month from 1, month from 0, year. All dated modalities have
        these dates.
    patch
        Pixels along the side of a patch, 1 to 8.
    gsd
        Metres along the side of a pixel.
    sample
        int64 (b,), the number of each sample in its cube; masks are drawn from it.
    targets
        Target name to tensor (b, ...).

    Raises
    ------
    ContractError
        If the patch is out of range, or the timestamps have another shape.

    Examples
    --------
    >>> import torch
    >>> when = torch.tensor([[[15, 5, 2020], [15, 6, 2020]]])
    >>> Sample({"sentinel1": torch.zeros(1, 2, 2, 8, 16)}, when, patch=4).grid
    (2, 4)
    """

    values: Mapping[str, Tensor]
    timestamps: Tensor
    patch: int
    gsd: float = 10.0
    sample: Tensor | None = None
    targets: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.patch not in range(1, BASE_PATCH + 1):
            raise ContractError("patch", expected=f"1 to {BASE_PATCH} pixels", found=self.patch)
        if self.timestamps.ndim != 3 or self.timestamps.shape[-1] != 3:
            raise ContractError(
                "timestamps",
                expected="(b, d, 3): day, month from 0, year",
                found=tuple(self.timestamps.shape),
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches; (1, 1) where nothing has pixels."""
        shapes = [v.shape[-2:] for v in self.values.values() if v.ndim == 5]
        height, width = shapes[0] if shapes else (self.patch, self.patch)
        return height // self.patch, width // self.patch

    def to(self, device: torch.device | str) -> Sample:
        """Move to a device."""
        return self._each(lambda t: t.to(device, non_blocking=True))

    def pin_memory(self) -> Sample:
        """Pin, so that copies to a GPU overlap with work on it."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Sample:
        """Change every tensor."""
        return replace(
            self,
            values={n: change(v) for n, v in self.values.items()},
            timestamps=change(self.timestamps),
            sample=None if self.sample is None else change(self.sample),
            targets={n: change(t) for n, t in self.targets.items()},
        )

    def __len__(self) -> int:
        return len(self.timestamps)


@dataclass(frozen=True)
class Place:
    """A modality's stretch of a sequence, from ``start``: groups x dates x locations."""

    start: int
    groups: int
    dates: int
    locations: int
    dated: bool
    spatial: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Groups, dates, locations."""
        return self.groups, self.dates, self.locations

    @property
    def tokens(self) -> int:
        """Length of the stretch."""
        return self.groups * self.dates * self.locations


@dataclass(frozen=True)
class Layout:
    """Where the tokens of each modality lie in a sequence.

    Parameters
    ----------
    places
        Modality to :class:`Place`, in order.
    dates
        Dates of the sample.
    grid
        Rows and columns of patches.
    patch_metres
        Metres along the side of a patch.
    """

    places: Mapping[str, Place]
    dates: int
    grid: tuple[int, int]
    patch_metres: float
    length: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", sum(p.tokens for p in self.places.values()))

    @classmethod
    def of(cls, sample: Sample, modalities: Mapping[str, Modality], order: Iterable[str]) -> Layout:
        """Lay the modalities of a sample out in order, after looking whether they fit.

        Raises
        ------
        ContractError
            If a modality is unknown to the model, or has another shape than it should.
        """
        for name in sample.values:
            if name not in modalities:
                raise ContractError(
                    f"{name} is no modality of this model",
                    expected=", ".join(modalities),
                    found=name,
                )
        places, start = {}, 0
        for name in order:
            if name not in sample.values:
                continue
            m = modalities[name]
            _check_shape(name, m, sample)
            dates = sample.timestamps.shape[1] if m.dated else 1
            locations = sample.grid[0] * sample.grid[1] if m.spatial else 1
            place = Place(start, len(m.groups), dates, locations, m.dated, m.spatial)
            places[name], start = place, start + place.tokens
        if not places:
            raise ContractError("a sample without modalities", expected="at least one")
        return cls(places, sample.timestamps.shape[1], sample.grid, sample.patch * sample.gsd)

    def join(self, parts: Mapping[str, Tensor]) -> Tensor:
        """Join tensors (b, g, d, l, ...) of the modalities into sequences (b, n, ...)."""
        joined = [parts[name].flatten(1, 3) for name in self.places]
        return joined[0] if len(joined) == 1 else torch.cat(joined, dim=1)

    def split(self, sequence: Tensor) -> dict[str, Tensor]:
        """Undo :meth:`join`: sequences (b, n, ...) to modality -> (b, g, d, l, ...)."""
        parts = sequence.split([p.tokens for p in self.places.values()], dim=1)
        return {
            name: part.unflatten(1, place.shape)
            for part, (name, place) in zip(parts, self.places.items(), strict=True)
        }


def _check_shape(name: str, m: Modality, sample: Sample) -> None:
    b, d = sample.timestamps.shape[:2]
    rows, columns = (n * sample.patch for n in sample.grid)
    expected = (b, d if m.dated else 1, len(m.bands), rows, columns)
    if not m.spatial:
        expected = (b, d, len(m.bands)) if m.dated else (b, len(m.bands))
    found = tuple(sample.values[name].shape)
    if found != expected:
        raise ContractError(
            f"{name}: shape of its values, for patches of {sample.patch} pixels",
            expected=expected,
            found=found,
            do="crop to whole patches; give all modalities one grid and the sample's dates",
        )


def has_data(values: Tensor) -> Tensor:
    """Tell which values are there: bool, of the same shape."""
    return values.abs() < -NO_DATA  # false for what is not a number, too


def present_tokens(sample: Sample, modalities: Mapping[str, Modality]) -> dict[str, Tensor]:
    """Tell which tokens have data in all their bands and pixels.

    Returns
    -------
    dict
        Modality to bool (b, g, d, l).
    """
    present = {}
    for name, values in sample.values.items():
        m = modalities[name]
        if not m.spatial:
            values = values.view(len(values), -1, values.shape[-1], 1)
        groups = values.abs().split([len(g) for g in m.groups], dim=2)  # (b, d, c, ...)
        most = torch.stack([part.amax(2) for part in groups], dim=1)
        if m.spatial:
            p = sample.patch
            most = most.unflatten(4, (-1, p)).unflatten(3, (-1, p)).amax((4, 6)).flatten(3)
        present[name] = has_data(most)
    return present


def compact(wanted: Tensor) -> tuple[Tensor, Tensor | None]:
    """Find the wanted tokens of each sample, in order, with as many places for every sample.

    Parameters
    ----------
    wanted
        bool (b, n).

    Returns
    -------
    tuple
        Their places, int64 (b, k), where k is the most that any sample has, and bool (b, k),
        False behind the last one of a sample; None where all samples have as many.

    Examples
    --------
    >>> import torch
    >>> index, there = compact(torch.tensor([[False, True, True], [False, False, True]]))
    >>> index.tolist(), there.tolist()
    ([[1, 2], [2, 0]], [[True, True], [True, False]])
    """
    count = wanted.sum(1)
    least, most = torch.stack(count.aminmax()).tolist()  # waits for the device, once
    index = (~wanted).to(torch.uint8).argsort(dim=1, stable=True)[:, : max(1, most)]
    if least == most > 0:
        return index, None
    return index, torch.arange(max(1, most), device=wanted.device) < count[:, None]
