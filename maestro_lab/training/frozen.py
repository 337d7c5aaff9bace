"""Features of a frozen encoder, computed once, without a graph, and kept where they fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.data import Dataset

from maestro_lab.batches import Batch, CubeDataset
from maestro_lab.models.systems import Model

if TYPE_CHECKING:
    from maestro_lab.models.olmoearth.sample import Sample
    from maestro_lab.olmoearth.dataset import OlmoEarthDataset

__all__ = ["FeatureBatch", "FrozenFeatures"]

VARIANTS = 4
"""Choices of dates, flips and turns that are kept of each training sample."""


@dataclass
class FeatureBatch:
    """Features of some samples.

    Parameters
    ----------
    features
        Modality to tokens (b, g, d, l, w), and to what is there (b, g, d, l) or None.
    sample
        int64 (b,), numbers of the samples.
    targets
        Target name to tensor (b, ...).
    """

    features: dict[str, tuple[Tensor, Tensor | None]]
    sample: Tensor
    targets: dict[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device | str) -> FeatureBatch:
        """Move to a device."""

        def move(t: Tensor | None) -> Tensor | None:
            return None if t is None else t.to(device, non_blocking=True)

        return FeatureBatch(
            {name: (move(t), move(p)) for name, (t, p) in self.features.items()},
            move(self.sample),
            {name: move(t) for name, t in self.targets.items()},
        )

    def pin_memory(self) -> FeatureBatch:
        """Pin, so that copies to a GPU overlap with work on it."""

        def pin(t: Tensor | None) -> Tensor | None:
            return t if t is None or t.is_cuda else t.pin_memory()

        return FeatureBatch(
            {name: (pin(t), pin(p)) for name, (t, p) in self.features.items()},
            pin(self.sample),
            {name: pin(t) for name, t in self.targets.items()},
        )

    def __len__(self) -> int:
        return len(self.sample)


class FrozenFeatures(Dataset):
    """A data set seen through a frozen encoder.

    Of training samples several variants (other dates, flips and turns) are kept and taken in turn,
    epoch by epoch; evaluation has one. What does not fit is computed when it is asked for.

    Parameters
    ----------
    encoder
        Used as it is, nothing masked, no gradient.
    data
        Samples, with their targets.
    epochs
        How often the data will be gone through.
    limit
        Bytes that may be kept.
    bf16
        Compute in bfloat16.
    batch_size
        Samples at once while computing.
    """

    def __init__(
        self,
        encoder: Model,
        data: CubeDataset | OlmoEarthDataset,
        *,
        epochs: int = 1,
        limit: float = 2e9,
        bf16: bool = False,
        batch_size: int = 64,
    ) -> None:
        self.encoder, self.data, self.bf16, self.batch_size = encoder, data, bf16, batch_size
        self.train, self.seed, self.split, self.index = (
            data.train, data.seed, data.split, data.index
        )  # fmt: skip
        size = data.tokens * (4 * encoder.config.size.width + 1) * len(data)
        self.variants = min(epochs, VARIANTS if data.train else 1, int(limit // size))
        self._kept: dict[int, FeatureBatch] = {}

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        how = f"{self.variants} variants kept" if self.variants else "computed when asked for"
        return f"features of {self.data!r}, {how}"

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> FeatureBatch:
        """Gather a batch: ``keys`` are pairs (epoch, position in the data set), of one epoch."""
        epoch = keys[0][0]
        if not self.variants:
            return self._see(self.data.__getitems__(keys))
        kept = self._variant(epoch % self.variants)
        rows = torch.tensor([row for _, row in keys])
        return FeatureBatch(
            {n: (t[rows], None if p is None else p[rows]) for n, (t, p) in kept.features.items()},
            kept.sample[rows],
            {name: t[rows] for name, t in kept.targets.items()},
        )

    def _variant(self, number: int) -> FeatureBatch:
        """Return the features of all samples in one variant."""
        if number not in self._kept:
            parts = []
            for start in range(0, len(self.data), self.batch_size):
                rows = range(start, min(start + self.batch_size, len(self.data)))
                batch = self.data.__getitems__([(number, row) for row in rows])
                parts.append(self._see(batch).to("cpu"))
            self._kept[number] = _joined(parts)
        return self._kept[number]

    @torch.no_grad()
    def _see(self, batch: Batch | Sample) -> FeatureBatch:
        device = next(self.encoder.parameters()).device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            features = self.encoder.features(batch.to(device))
        plain = {name: (t.float(), p) for name, (t, p) in features.items()}
        return FeatureBatch(plain, batch.sample, batch.targets)


def _joined(parts: Sequence[FeatureBatch]) -> FeatureBatch:
    features = {}
    for name in parts[0].features:
        tokens, present = zip(*(part.features[name] for part in parts), strict=True)
        if all(p is None for p in present):
            features[name] = (torch.cat(tokens), None)
            continue
        present = [
            torch.ones(t.shape[:-1], dtype=torch.bool) if p is None else p
            for t, p in zip(tokens, present, strict=True)
        ]
        features[name] = (torch.cat(tokens), torch.cat(present))
    return FeatureBatch(
        features,
        torch.cat([part.sample for part in parts]),
        {name: torch.cat([part.targets[name] for part in parts]) for name in parts[0].targets},
    )
