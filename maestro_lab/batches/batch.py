"""What travels into a model: tensors, dates and validity of each modality."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ["Batch", "Series"]


@dataclass
class Series:
    """One modality of a batch.

    Parameters
    ----------
    values
        float (b, t, c, h, w), normalised as the contract says.
    dates
        int (b, t, 3): year, day of the year from 1, hour.
    valid
        bool (b, t, h, w), False for clouds, missing pixels and padding; None when all are valid.
    """

    values: Tensor
    dates: Tensor
    valid: Tensor | None = None

    def to(self, device: torch.device | str) -> Series:
        """Move to a device."""
        valid = None if self.valid is None else self.valid.to(device, non_blocking=True)
        values = self.values.to(device, non_blocking=True)
        return Series(values, self.dates.to(device, non_blocking=True), valid)


@dataclass
class Batch:
    """Samples on their way into a model.

    Parameters
    ----------
    series
        Modality name to :class:`Series`.
    ref_date
        int (b, 3), the date that others are told relative to.
    sample
        int64 (b,), the number of each sample in its cube.
    targets
        Target name to tensor (b, ...).
    """

    series: dict[str, Series]
    ref_date: Tensor
    sample: Tensor
    targets: dict[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device | str) -> Batch:
        """Move to a device."""
        return Batch(
            {name: s.to(device) for name, s in self.series.items()},
            self.ref_date.to(device, non_blocking=True),
            self.sample.to(device, non_blocking=True),
            {name: t.to(device, non_blocking=True) for name, t in self.targets.items()},
        )

    def pin_memory(self) -> Batch:
        """Pin, so that copies to a GPU overlap with work on it."""

        def pin(t: Tensor | None) -> Tensor | None:
            return None if t is None else t.pin_memory()

        series = {
            n: Series(pin(s.values), pin(s.dates), pin(s.valid)) for n, s in self.series.items()
        }
        targets = {name: pin(t) for name, t in self.targets.items()}
        return Batch(series, pin(self.ref_date), pin(self.sample), targets)

    def __len__(self) -> int:
        return len(self.sample)
