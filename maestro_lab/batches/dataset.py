"""The samples of a cube as batches.

Which dates a sample gives and how it is turned and mirrored are pure functions of
(seed, epoch, sample): the same for any number of workers and after a resume.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from torch.utils.data import Dataset

from maestro_lab.batches.batch import Batch, Series
from maestro_lab.batches.contracts import check_contract
from maestro_lab.contract import Contract, Modality
from maestro_lab.cubes.contract import SPLITS, TARGETS
from maestro_lab.cubes.dates import choose_clear, choose_median, year_day_hour
from maestro_lab.errors import ParameterError, SampleError

__all__ = ["CubeDataset", "normalise"]

_IN_MEMORY = 4e9  # bytes; larger cubes are read batch by batch
_MIN_CLEAR = 0.5  # dates with a smaller share of valid pixels are used only if nothing else is left


def generator(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(list(key))))


class _Source:
    """One modality: dates and clear shares in memory, pixels in memory or read on demand."""

    def __init__(self, ds: xr.Dataset, m: Modality, *, in_memory: bool) -> None:
        self.m = m
        chosen = [[str(b) for b in ds["band"].values].index(b) for b in m.bands]
        values = ds["values"]
        if chosen != list(range(ds.sizes["band"])):
            values = values.isel(band=chosen)
        self.values, self.valid = values.data, ds["valid"].data
        if in_memory:
            self.values, self.valid = np.asarray(self.values), np.asarray(self.valid)
        time = np.asarray(ds["time"].values)
        self.length = (~np.isnat(time)).sum(1)
        self.dates = year_day_hour(time)
        share = ds["valid"].mean(("y", "x")).values
        self.whole, self.share = share == 1, share

    def read(self, sample: int) -> tuple[np.ndarray, np.ndarray]:
        """Return every date of one sample: values (t, c, h, w), valid (t, h, w)."""
        return np.asarray(self.values[sample]), np.asarray(self.valid[sample])

    def choose(self, sample: int, rng: np.random.Generator, random: bool) -> np.ndarray:
        """Choose the dates of one sample that enter the model, ascending."""
        n = int(self.length[sample])
        index = np.arange(n)
        usable = np.flatnonzero(self.share[sample, :n] >= _MIN_CLEAR)
        if self.m.dates < n and len(usable) >= self.m.dates:
            index = usable
        if random or n <= self.m.dates:
            return index[choose_clear(self.whole[sample, index], self.m.dates, rng)]
        values, valid = self.read(sample)
        return index[choose_median(values[index], valid[index], self.m.dates, rng)]


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
        self.index = _samples(cube, split)
        if samples is not None:
            self.index = _chosen(self.index, samples, split)
        self.split = (
            "all" if split is None else split if isinstance(split, str) else ", ".join(split)
        )
        cube = cube.isel(sample=self.index)
        nodes = {name: cube[name].to_dataset() for name in contract.modalities}
        size = sum(ds["values"].nbytes + ds["valid"].nbytes for ds in nodes.values())
        self.sources = {
            name: _Source(ds, contract.modalities[name], in_memory=size < _IN_MEMORY)
            for name, ds in nodes.items()
        }
        self.ref_date = _reference(cube, self.sources)
        self.targets, self.spatial = _targets(cube, targets)
        self._median: dict[tuple[str, int], np.ndarray] = {}

    def __repr__(self) -> str:
        return f"{len(self)} samples ({self.split}) of {', '.join(self.sources)}"

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
        turns = [self._turn(epoch, i) for epoch, i in keys]
        series = {name: self._series(name, keys, turns) for name in self.sources}
        targets = {}
        for name, values in self.targets.items():
            chosen = values[rows]
            if name in self.spatial:
                chosen = _turned(chosen, turns)
            kind = np.int64 if chosen.dtype.kind in "iub" else chosen.dtype
            targets[name] = torch.from_numpy(np.ascontiguousarray(chosen, kind))
        return Batch(
            series,
            torch.from_numpy(self.ref_date[rows]),
            torch.from_numpy(self.index[rows]),
            targets,
        )

    def _turn(self, epoch: int, row: int) -> np.ndarray:
        if not self.train:
            return np.zeros(3, bool)
        return generator(self.seed, 1, epoch, int(self.index[row])).random(3) < 0.5

    def dates(self, name: str, row: int, epoch: int = 0) -> np.ndarray:
        """Return which dates of a sample enter the model: indices into its series, ascending."""
        source, number = self.sources[name], list(self.sources).index(name)
        if self.train or epoch:
            rng = generator(self.seed, 2 + number, epoch, int(self.index[row]))
            return source.choose(row, rng, random=True)
        if (name, row) not in self._median:
            rng = generator(self.seed, 2 + number, 0, int(self.index[row]))
            self._median[name, row] = source.choose(row, rng, random=False)
        return self._median[name, row]

    def _series(
        self, name: str, keys: Sequence[tuple[int, int]], turns: Sequence[np.ndarray]
    ) -> Series:
        source, m = self.sources[name], self.contract.modalities[name]
        shape = (len(keys), m.dates, len(m.bands), m.pixels, m.pixels)
        values = np.zeros(shape, source.values.dtype)
        valid = np.zeros((*shape[:2], *shape[3:]), bool)
        # Missing dates get the reference date: a number that does no harm where nobody looks.
        dates = np.repeat(self.ref_date[[i for _, i in keys]][:, None], m.dates, axis=1)
        for k, (epoch, row) in enumerate(keys):
            index = self.dates(name, row, epoch)
            if len(index):
                values[k, : len(index)] = source.values[row][index]
                valid[k, : len(index)] = source.valid[row][index]
                dates[k, : len(index)] = source.dates[row][index]
        scaled = normalise(values, m)
        if not valid.all():
            scaled = _fill(scaled, valid)
        scaled, valid = _turned(scaled, turns), _turned(valid, turns)
        return Series(
            torch.from_numpy(np.ascontiguousarray(scaled)),
            torch.from_numpy(dates),
            None if valid.all() else torch.from_numpy(np.ascontiguousarray(valid)),
        )


def normalise(values: np.ndarray, m: Modality) -> np.ndarray:
    """Bring a cube's values to the range a model expects, as float32."""
    values = values.astype(np.float32)
    if m.log:
        values = np.log(np.maximum(values, 1e-10))
    return values / np.float32(m.divide)


def _fill(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Put the mean of an image's valid pixels, band by band, where a pixel is not valid."""
    weight = valid[:, :, None].astype(np.float32)  # (b, t, 1, h, w)
    kept = np.where(weight > 0, values, 0)
    mean = kept.sum((-2, -1), keepdims=True) / np.maximum(weight.sum((-2, -1), keepdims=True), 1)
    return np.where(weight > 0, kept, mean)


def _turned(images: np.ndarray, turns: Sequence[np.ndarray]) -> np.ndarray:
    """Mirror and transpose the last two dimensions, sample by sample."""
    up, left, across = np.array(turns).T
    for chosen, turn in (
        (up, lambda a: a[..., ::-1, :]),
        (left, lambda a: a[..., ::-1]),
        (across, lambda a: np.swapaxes(a, -1, -2)),
    ):
        if chosen.any():
            images = images.copy()
            images[chosen] = turn(images[chosen])
    return images


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


def _reference(cube: xr.DataTree, sources: Mapping[str, _Source]) -> np.ndarray:
    """Return the reference date of each sample: the cube's, else 1 July of its first year."""
    if "ref_date" in cube.data_vars:
        return year_day_hour(cube["ref_date"].values)
    years = np.stack([np.where(s.length > 0, s.dates[:, 0, 0], 9999) for s in sources.values()])
    first = years.min(0)
    first = np.where(first == 9999, 2000, first)  # nothing there: any date will do
    return year_day_hour((first - 1970).astype("datetime64[Y]").astype("datetime64[M]") + 6)


def _targets(cube: xr.DataTree, names: Sequence[str]) -> tuple[dict[str, np.ndarray], set[str]]:
    if not names:
        return {}, set()
    there = list(cube[TARGETS].data_vars) if TARGETS in cube.children else []
    for name in names:
        if name not in there:
            raise ParameterError(
                f"no target {name!r} in the cube", expected=", ".join(there) or "no targets at all"
            )
    found = {name: cube[TARGETS][name] for name in names}
    spatial = {name for name, t in found.items() if t.dims[-2:] == ("y", "x")}
    return {name: np.asarray(t.values) for name, t in found.items()}, spatial
