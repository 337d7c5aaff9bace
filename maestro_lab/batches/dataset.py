"""The samples of a cube as batches.

Samples larger than a model's windows give windows, drawn anew each epoch. Which dates a sample
gives, where its window lies and how that is turned are pure functions of (seed, epoch, sample):
the same for any number of workers and after a resume.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch.utils.data import Dataset

from maestro_lab.batches.batch import Batch, Series
from maestro_lab.batches.fitting import check_contract
from maestro_lab.batches.source import Source, TargetSource
from maestro_lab.batches.targets import read_target
from maestro_lab.contract import Contract, Modality
from maestro_lab.cubes.contract import SPLITS, TARGETS
from maestro_lab.cubes.dates import year_day_hour
from maestro_lab.cubes.reading import Where
from maestro_lab.cubes.windows import Lattice, lattice
from maestro_lab.errors import ContractError, ParameterError, SampleError

__all__ = ["CubeDataset", "as_tensor", "choose_samples", "generator", "name_splits",
           "normalise", "turned"]  # fmt: skip

_IN_MEMORY = 4e9  # bytes; larger cubes are read batch by batch
Corner = tuple[int, int] | None
"""Where a window lies in its sample, in cells; None for whole samples."""


def generator(*key: int) -> np.random.Generator:
    """Return random numbers that follow from a key alone."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(list(key))))


class CubeDataset(Dataset):
    """The samples of a cube, as batches for a model.

    Parameters
    ----------
    cube
        A cube; compared with the contract first.
    contract
        What the model expects.
    split
        Which samples: a name or several of train, val, test, buffer; None takes all.
    seed
        Together with epoch and sample it decides dates and flips.
    train
        True draws dates at random each epoch, turns and mirrors windows, and has batches shuffled.
        False leaves windows as they are; epoch 0 then takes the dates closest to the median of
        their bin, and later epochs draw them at random.
    targets
        Which targets to bring along.
    samples
        Numbers of the samples in the cube to take, of those in ``split``; None takes all.

    Raises
    ------
    ContractError
        If cube and contract differ.
    ParameterError
        If no sample is left.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> cube = ml.open_cube("landscape", samples=8, modalities=["s2"])
    >>> data = CubeDataset(cube, ml.contract_for(cube), split=None)
    >>> data.__getitems__([(0, 3), (0, 5)]).series["s2"].values.shape
    torch.Size([2, 16, 10, 6, 6])
    """

    def __init__(
        self,
        cube: xr.DataTree,
        contract: Contract,
        *,
        split: str | Sequence[str] | None = "train",
        seed: int = 0,
        train: bool = True,
        targets: Sequence[str] = (),
        samples: Sequence[int] | None = None,
    ) -> None:
        check_contract(cube, contract)
        self.contract, self.seed, self.train = contract, seed, train
        self.index = choose_samples(cube, split, samples)
        self.split = name_splits(split)
        self.windows = _windows(cube, contract, train)
        repeats = self.windows.repeats**2 if self.windows else 1
        self.number = (self.index[:, None] * repeats + np.arange(repeats)).reshape(-1)
        self.index = np.repeat(self.index, repeats)
        nodes = {name: cube[name].to_dataset() for name in contract.modalities}
        size = sum(ds["values"].nbytes + ds["valid"].nbytes for ds in nodes.values())
        in_memory = size * len(self.index) / repeats / cube.sizes["sample"] < _IN_MEMORY
        self.sources = {
            name: Source(ds, contract.modalities[name], self.index, in_memory=in_memory)
            for name, ds in nodes.items()
        }
        self.ref_date = _reference(cube, self.index, self.sources)
        self.targets = {
            name: TargetSource(read_target(cube, name)[1], self.index) for name in targets
        }
        self._median: dict[tuple[str, int], np.ndarray] = {}

    def __repr__(self) -> str:
        return f"{len(self)} samples ({self.split}) of {', '.join(self.sources)}"

    @property
    def tokens(self) -> int:
        """Tokens of a sample."""
        return sum(m.tokens for m in self.contract.modalities.values())

    @property
    def has_choice(self) -> bool:
        """Whether any sample has more dates than enter the model."""
        return any((s.length > s.m.dates).any() for s in self.sources.values())

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key: int | tuple[int, int]) -> Batch:
        epoch, row = key if isinstance(key, tuple) else (0, key)
        if not -len(self) <= row < len(self):
            raise SampleError(
                f"no sample {row} in {self.split}", expected=f"0 to {len(self) - 1}", found=row
            )
        return self.__getitems__([(epoch, row % len(self))])

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> Batch:
        """Gather a batch: ``keys`` are pairs (epoch, position in this data set)."""
        rows = [i for _, i in keys]
        drawn = [self._draw(epoch, i) for epoch, i in keys]
        turns, corners = [turn for turn, _ in drawn], [corner for _, corner in drawn]
        series = {name: self._series(name, keys, turns, corners) for name in self.sources}
        targets = {}
        for name, source in self.targets.items():
            # what is told of a whole sample has no windows
            at = corners if source.is_map else [None] * len(corners)
            where = [self._where(f"{TARGETS}/{name}", corner) for corner in at]
            chosen = source.rows(rows, where)
            targets[name] = as_tensor(turned(chosen, turns) if source.is_map else chosen)
        return Batch(
            series,
            torch.from_numpy(self.ref_date[rows]),
            torch.from_numpy(self.index[rows]),
            targets,
        )

    def labels(self, target: str) -> torch.Tensor:
        """Return a target of all samples, in their order, as the cube holds it."""
        rows = range(len(self))
        return as_tensor(self.targets[target].rows(rows, [None] * len(rows)))

    def _draw(self, epoch: int, row: int) -> tuple[np.ndarray, Corner]:
        """Draw how a window is turned, and where in its sample it lies."""
        if not self.train:
            return np.zeros(3, bool), None
        rng = generator(self.seed, 1, epoch, int(self.number[row]))
        turn = rng.random(3) < 0.5
        return turn, self.windows.draw(rng) if self.windows else None

    def _where(self, name: str, corner: Corner) -> Where | None:
        return None if self.windows is None or corner is None else self.windows.where(name, corner)

    def dates(self, name: str, row: int, epoch: int = 0) -> np.ndarray:
        """Return which dates of a sample enter the model: indices into its series, ascending."""
        return self._dates(name, row, epoch, self._draw(epoch, row)[1])

    def _dates(self, name: str, row: int, epoch: int, corner: Corner) -> np.ndarray:
        source, number = self.sources[name], list(self.sources).index(name)
        if source.length[row] <= source.m.dates:
            return np.arange(source.length[row])
        where = self._where(name, corner)
        if self.train or epoch:
            rng = generator(self.seed, 2 + number, epoch, int(self.number[row]))
            return source.choose(row, rng, random=True, where=where)
        if (name, row) not in self._median:
            rng = generator(self.seed, 2 + number, 0, int(self.number[row]))
            self._median[name, row] = source.choose(row, rng, random=False, where=where)
        return self._median[name, row]

    def _series(
        self,
        name: str,
        keys: Sequence[tuple[int, int]],
        turns: Sequence[np.ndarray],
        corners: Sequence[Corner],
    ) -> Series:
        source, m = self.sources[name], self.contract.modalities[name]
        rows = [row for _, row in keys]
        # Missing dates get the reference date: a number that does no harm where nobody looks.
        dates = np.repeat(self.ref_date[rows][:, None], m.dates, axis=1)
        taken = []
        for k, ((epoch, row), corner) in enumerate(zip(keys, corners, strict=True)):
            index = self._dates(name, row, epoch, corner)
            dates[k, : len(index)] = source.dates[row][index]
            where = self._where(name, corner) or source.whole
            taken.append(source.take(row, index, where))
        values, valid = source.join(taken, (m.pixels, m.pixels))
        scaled = _scaled(values, m, turns)
        whole = bool(valid.all())
        if not whole:
            valid = turned(valid, turns)
            scaled = _fill(scaled, valid)
        return Series(
            torch.from_numpy(scaled),
            torch.from_numpy(dates),
            None if whole else torch.from_numpy(np.ascontiguousarray(valid)),
        )


def as_tensor(values: np.ndarray) -> torch.Tensor:
    """Copy to a tensor; whole numbers become int64."""
    kind = np.int64 if values.dtype.kind in "iub" else values.dtype
    return torch.from_numpy(np.ascontiguousarray(values, kind))


def _windows(cube: xr.DataTree, contract: Contract, train: bool) -> Lattice | None:
    """Return how windows are cut from samples that are larger; None where they are not."""
    side = {name: m.pixels for name, m in contract.modalities.items()}
    if all(cube[name].sizes["x"] == pixels for name, pixels in side.items()):
        return None
    if not train:
        raise ContractError(
            "samples are larger than the model's windows",
            expected=", ".join(f"{name} of {pixels} px" for name, pixels in side.items()),
            found=", ".join(f"{name} of {cube[name].sizes['x']} px" for name in side),
            do="cut them with cut_for(cube, contract), or with cut_windows",
        )
    return lattice(cube, side)


def normalise(values: np.ndarray, m: Modality) -> np.ndarray:
    """Bring a cube's values to the range a model expects, as float32."""
    return np.divide(_log(values, m), np.float32(m.divide), dtype=np.float32)


def _log(values: np.ndarray, m: Modality) -> np.ndarray:
    return np.log(np.maximum(values.astype(np.float32), 1e-10)) if m.log else values


def _scaled(values: np.ndarray, m: Modality, turns: Sequence[np.ndarray]) -> np.ndarray:
    """Normalise, mirror and transpose, sample by sample, touching each number once."""
    if not np.any(turns):
        return normalise(values, m)
    out = np.empty(values.shape, np.float32)
    for sample, image, turn in zip(out, _log(values, m), turns, strict=True):
        np.divide(_turn(image, turn), np.float32(m.divide), out=sample, dtype=np.float32)
    return out


def _fill(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Put the mean of an image's valid pixels, band by band, where a pixel is not valid."""
    partly = ~valid.all((-2, -1))  # (b, t)
    images = values[partly]
    weight = valid[partly][:, None].astype(np.float32)  # (image, 1, h, w)
    kept = np.where(weight > 0, images, 0)
    mean = kept.sum((-2, -1), keepdims=True) / np.maximum(weight.sum((-2, -1), keepdims=True), 1)
    values[partly] = np.where(weight > 0, images, mean)
    return values


def _turn(image: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Mirror and transpose the last two dimensions, as a view."""
    up, left, across = turn
    image = image[..., ::-1, :] if up else image
    image = image[..., ::-1] if left else image
    return np.swapaxes(image, -1, -2) if across else image


def turned(images: np.ndarray, turns: Sequence[np.ndarray]) -> np.ndarray:
    """Mirror and transpose the last two dimensions, sample by sample."""
    if not np.any(turns):
        return images
    return np.stack([_turn(image, turn) for image, turn in zip(images, turns, strict=True)])


def name_splits(split: str | Sequence[str] | None) -> str:
    """Return splits in words.

    Examples
    --------
    >>> name_splits(None), name_splits(["val", "test"])
    ('all', 'val, test')
    """
    return "all" if split is None else split if isinstance(split, str) else ", ".join(split)


def check_samples(data: Any, what: str = "samples") -> Any:
    """Return a data set if it is one.

    Raises
    ------
    ParameterError
        If it is something else: a cube, for example.
    """
    if isinstance(data, Dataset):
        return data
    raise ParameterError(
        what,
        expected="a data set, such as ml.dataset_for(model.config, cube, split=None)",
        found="a cube" if hasattr(data, "children") else type(data).__name__,
    )


def choose_samples(
    cube: xr.DataTree, split: str | Sequence[str] | None, samples: Sequence[int] | None = None
) -> np.ndarray:
    """Return numbers of the samples of some splits; of ``samples`` alone, if they are given.

    Raises
    ------
    ParameterError
        If a split is unknown, no sample is left, or a number is not among them.
    """
    index = _samples(cube, split)
    return index if samples is None else _chosen(index, samples, split)


def _samples(cube: xr.DataTree, split: str | Sequence[str] | None) -> np.ndarray:
    names = np.asarray(cube["split"].values).astype(str)
    if split is None:
        return np.arange(len(names))
    wanted = [split] if isinstance(split, str) else list(split)
    unknown = [s for s in wanted if s not in SPLITS]
    if unknown:
        raise ParameterError("split", expected=", ".join(SPLITS), found=unknown[0])
    index = np.flatnonzero(np.isin(names, wanted))
    if not len(index):
        there = {str(k): int(v) for k, v in zip(*np.unique(names, return_counts=True), strict=True)}
        raise ParameterError(
            f"no sample in split {', '.join(wanted)}", expected="at least one", found=there
        )
    return index


def _chosen(
    index: np.ndarray, samples: Sequence[int], split: str | Sequence[str] | None
) -> np.ndarray:
    wanted = np.unique(np.asarray(samples, int))
    strange = wanted[~np.isin(wanted, index)]
    if len(strange) or not len(wanted):
        raise ParameterError(
            f"samples that are not in split {split}" if len(strange) else "no samples",
            expected=f"numbers among the {len(index)} of this split",
            found=", ".join(map(str, strange[:5])) or "none",
        )
    return wanted


def _reference(cube: xr.DataTree, index: np.ndarray, sources: Mapping[str, Source]) -> np.ndarray:
    """Return the reference date of each sample: the cube's, else 1 July of its first year."""
    if "ref_date" in cube.data_vars:
        return year_day_hour(cube["ref_date"].values[index])
    years = np.stack([np.where(s.length > 0, s.dates[:, 0, 0], 9999) for s in sources.values()])
    first = years.min(0)
    first = np.where(first == 9999, 2000, first)  # nothing there: any date will do
    return year_day_hour((first - 1970).astype("datetime64[Y]").astype("datetime64[M]") + 6)
