"""The samples of a cube as batches for OlmoEarth: to learn from, to embed, to answer for.

How large patches and crops are, where they lie, which slots they have and how they are turned are
pure functions of (seed, epoch, sample): the same for any number of workers and after a resume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch.utils.data import Dataset

from maestro_lab.batches.dataset import as_tensor, generator, name_splits, turned
from maestro_lab.batches.source import TargetSource
from maestro_lab.batches.targets import read_target
from maestro_lab.errors import ContractError, ParameterError
from maestro_lab.models.olmoearth.config import BASE_PATCH, OlmoEarthConfig
from maestro_lab.models.olmoearth.sample import Sample
from maestro_lab.olmoearth.reading import OlmoEarthInput

__all__ = ["Crops", "OlmoEarthDataset", "usual_patch"]

_USUAL = (4, 2, 3, 5, 6, 7, 8, 1)
_BATCH, _SAMPLE = 101, 102  # streams of random numbers


@dataclass(frozen=True)
class Crops:
    """How pretraining cuts samples; defaults are the published ones.

    Parameters
    ----------
    patches
        Smallest and largest patch in pixels; one size is drawn for a batch.
    grid
        Fewest and most patches along the side of a crop; one number is drawn for a batch.
    budget
        Most tokens of a sample; slots are left out to stay below it, all but one if need be.
    turn
        Mirror and transpose samples, both views alike.

    Raises
    ------
    ParameterError
        If a range is empty or out of bounds.

    Examples
    --------
    >>> Crops(patches=(2, 4), budget=1000).slots(grid=8, static=0, dated=2)
    7
    """

    patches: tuple[int, int] = (1, BASE_PATCH)
    grid: tuple[int, int] = (1, 12)
    budget: int = 2250
    turn: bool = True

    def __post_init__(self) -> None:
        for name, most in (("patches", BASE_PATCH), ("grid", 10**6)):
            given = getattr(self, name)
            pair = tuple(given) if isinstance(given, list | tuple) else ()
            whole = all(isinstance(n, int | np.integer) for n in pair)
            if len(pair) != 2 or not whole or not 1 <= pair[0] <= pair[1] <= most:
                raise ParameterError(
                    f"crops: {name}",
                    expected=f"two whole numbers from 1 to {most:,}, the lower first",
                    found=given,
                )
            object.__setattr__(self, name, pair)
        if not isinstance(self.budget, int | np.integer) or self.budget < 1:
            raise ParameterError("crops: budget", expected="1 token or more", found=self.budget)

    def slots(self, grid: int, static: int, dated: int) -> int:
        """Return how many slots fit: of ``grid`` x ``grid`` patches, with band groups of each."""
        return max(1, (self.budget - grid**2 * static) // (grid**2 * max(1, dated)))


class OlmoEarthDataset(Dataset):
    """The samples of a cube, as batches for an OlmoEarth model.

    Parameters
    ----------
    cube, config
        The cube, and the configuration of the model.
    split
        Which samples: a name or several of train, val, test, buffer; None takes all.
    seed
        Together with epoch and sample it decides what is drawn.
    train
        True shuffles, turns samples and, with ``crops``, cuts them anew each epoch; False leaves
        them as they are.
    targets
        Which targets to bring along, whole.
    samples
        Numbers of the samples in the cube to take, of those in ``split``; None takes all.
    patch
        Pixels along the side of a patch, where none is drawn; 0 chooses one that divides the
        window.
    crops
        For pretraining: how samples are cut, and maps are brought along. None leaves them whole.
    start, slots
        As in :class:`~maestro_lab.olmoearth.reading.OlmoEarthInput`.

    Raises
    ------
    ContractError
        If the cube does not fit the model, the window is not square, or the patch does not divide
        it.
    ParameterError
        If no sample is left, or targets are asked for together with crops.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> from maestro_lab.models.olmoearth.config import OlmoEarthConfig
    >>> cube = ml.open_cube("landscape", samples=8, modalities=["s2"])
    >>> config = OlmoEarthConfig.of("v1.2", "nano", ["sentinel2_l2a"])
    >>> data = OlmoEarthDataset(cube, config, split=None, train=False)
    >>> data.patch, data.__getitems__([(0, 3), (0, 5)]).values["sentinel2_l2a"].shape
    (2, torch.Size([2, 12, 12, 6, 6]))
    """

    def __init__(
        self,
        cube: xr.DataTree,
        config: OlmoEarthConfig,
        *,
        split: str | Sequence[str] | None = "train",
        seed: int = 0,
        train: bool = True,
        targets: Sequence[str] = (),
        samples: Sequence[int] | None = None,
        patch: int = 0,
        crops: Crops | None = None,
        start: object = None,
        slots: int = 12,
    ) -> None:
        if crops is not None and targets:
            raise ParameterError("targets of crops", expected="crops or targets", found=targets)
        self.config, self.seed, self.train, self.crops = config, seed, train, crops
        self.input = OlmoEarthInput(
            cube, config, split=split, samples=samples, start=start, slots=slots,
            maps=crops is not None,
        )  # fmt: skip
        self.index = self.input.index
        self.split = name_splits(split)
        self.side = _side(self.input)
        self.patch = _check_patch(patch or usual_patch(self.side), self.side)
        self.targets = {
            name: TargetSource(read_target(cube, name)[1], self.index) for name in targets
        }

    def __repr__(self) -> str:
        return f"{len(self)} samples ({self.split}): {', '.join(self.input.parts)}"

    def __len__(self) -> int:
        return len(self.index)

    @property
    def grid(self) -> int:
        """Patches along one side of a whole sample."""
        return self.side // self.patch

    @property
    def has_choice(self) -> bool:
        """Whether a sample may enter in several ways: never, each slot has one image."""
        return False

    @property
    def tokens(self) -> int:
        """Tokens of a whole sample."""
        groups = sum(len(self.config.modalities[m].groups) for m in self.input.parts)
        return groups * self.input.slots * self.grid**2

    def labels(self, target: str) -> torch.Tensor:
        """Return a target of all samples, in their order, as the cube holds it."""
        rows = range(len(self))
        return as_tensor(self.targets[target].rows(rows, [None] * len(rows)))

    def __getitem__(self, row: int) -> Sample:
        return self.__getitems__([(0, range(len(self))[row])])

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> Sample:
        """Gather a batch: ``keys`` are pairs (epoch, position in this data set)."""
        rows = [row for _, row in keys]
        patch, side, slots = self._size(*keys[0])
        turns, parts = [], []
        for epoch, row in keys:
            turn, corner, first = self._place(epoch, row, side, slots)
            turns.append(turn)
            parts.append(self._cut(row, corner, side, slice(first, first + slots)))
        joined = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
        dates = joined.pop("")
        targets = {}
        for name, source in self.targets.items():
            found = source.rows(rows, [None] * len(rows))
            targets[name] = as_tensor(turned(found, turns) if source.is_map else found)
        return Sample(
            {name: as_tensor(turned(values, turns)) for name, values in joined.items()},
            torch.from_numpy(dates),
            patch,
            self.input.gsd,
            torch.from_numpy(self.index[rows]),
            targets,
        )

    def _size(self, epoch: int, row: int) -> tuple[int, int, int]:
        """Return patch and side in pixels and slots of a batch that begins with this sample."""
        slots = self.input.slots
        if self.crops is None:
            return self.patch, self.side, slots
        (small, large), (few, many) = self.crops.patches, self.crops.grid
        patch, grid = self.patch, min(self.grid, many)
        if self.train:
            rng = generator(self.seed, _BATCH, epoch, int(self.index[row]))
            patch = int(rng.integers(min(small, self.side), min(large, self.side) + 1))
            most = self.side // patch
            grid = int(rng.integers(min(few, most), min(many, most) + 1))
        groups = {n: len(self.config.modalities[n].groups) for n in self.config.modalities}
        dated = sum(groups[n] for n in self.input.parts)
        static = sum(groups[n] for n in self.input.maps)
        return patch, patch * grid, min(slots, self.crops.slots(grid, static, dated))

    def _place(
        self, epoch: int, row: int, side: int, slots: int
    ) -> tuple[np.ndarray, tuple[int, int], int]:
        """Return how a sample is turned, the corner of its crop, and its first slot."""
        room, last = self.side - side, self.input.slots - slots
        sample = int(self.index[row])
        if not self.train:
            there = np.flatnonzero(self.input.present[sample])
            return (
                np.zeros(3, bool),
                (room // 2, room // 2),
                min(last, int(there[0])) if len(there) else 0,
            )
        rng = generator(self.seed, _SAMPLE, epoch, sample)
        turn = rng.random(3) < (0.5 if self.crops is None or self.crops.turn else 0.0)
        corner = tuple(int(k) for k in rng.integers(0, room + 1, 2))
        begin = np.flatnonzero(self.input.present[sample, : last + 1])
        if not len(begin):  # all there is comes later
            begin = np.array([last])
        return turn, corner, int(rng.choice(begin))

    def _cut(
        self, row: int, corner: tuple[int, int], side: int, slots: slice
    ) -> dict[str, np.ndarray]:
        """Cut one sample; the empty name holds its dates."""
        sample = int(self.index[row])
        top, left = corner
        found = {}
        for name, values in self.input.values(sample).items():
            chosen = values[slots] if name in self.input.parts else values
            found[name] = chosen[..., top : top + side, left : left + side]
        return {**found, "": self.input.timestamps[sample, slots]}


def usual_patch(side: int) -> int:
    """Return the patch that is taken where nobody chose one: 4 pixels, if that gives a grid.

    Examples
    --------
    >>> usual_patch(16), usual_patch(6), usual_patch(7)
    (4, 2, 1)
    """
    divisors = [p for p in _USUAL if side % p == 0]
    return next((p for p in divisors if side // p >= 3), divisors[0])


def _side(data: OlmoEarthInput) -> int:
    height, width = data.pixels
    if height != width:
        raise ContractError("a window", expected="square", found=f"{height} x {width} px")
    return height


def _check_patch(patch: int, side: int) -> int:
    legal = [p for p in range(1, BASE_PATCH + 1) if side % p == 0]
    if patch not in legal:
        raise ContractError(
            f"patches of {patch} px in windows of {side} x {side} px",
            expected=f"a patch among {', '.join(map(str, legal))}",
            found=patch,
        )
    return patch
