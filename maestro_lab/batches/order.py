"""In which order samples come: a pure function of (seed, epoch), shared out between processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from maestro_lab.batches.batch import Batch
from maestro_lab.batches.dataset import CubeDataset, generator
from maestro_lab.errors import ParameterError

__all__ = ["loader"]


class _Order:
    """Batches of (epoch, position), shuffled by (seed, epoch), shared out between processes."""

    def __init__(
        self, n: int, batch_size: int, *, shuffle: bool, drop_last: bool, seed: int,
        rank: int, world: int,
    ) -> None:  # fmt: skip
        self.n, self.batch_size, self.shuffle, self.seed = n, batch_size, shuffle, seed
        self.drop_last, self.rank, self.world = drop_last, rank, world
        self.epoch, self.skip = 0, 0

    def __len__(self) -> int:
        full, left = divmod(self.n, self.batch_size * self.world)
        return full + (not self.drop_last and self.rank < left)  # left-over samples go round

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.arange(self.n)
        if self.shuffle:
            order = generator(self.seed, 0, self.epoch).permutation(self.n)
        whole = self.batch_size * self.world
        for k in range(self.skip, len(self)):
            chunk = order[k * whole : (k + 1) * whole][self.rank :: self.world]
            yield [(self.epoch, int(i)) for i in chunk]


def loader(
    data: CubeDataset,
    batch_size: int,
    *,
    workers: int = 0,
    rank: int = 0,
    world: int = 1,
    pin: bool = False,
) -> DataLoader:
    """Make a loader of batches.

    Training data is shuffled anew each epoch and drops an incomplete last batch unless that is the
    only one; evaluation data keeps its order and every sample. ``loader.batch_sampler.epoch`` and
    ``.skip`` say which epoch comes next, and how many of its batches are done already.

    Parameters
    ----------
    data
        The samples.
    batch_size
        Samples in a batch, a process. A last, incomplete batch is shared out as well; when
        evaluating, processes that it does not reach have one batch less.
    workers
        Processes that prepare batches; with data in memory none is fastest.
    rank, world
        Number of this process, and of processes.
    pin
        Pin memory for faster copies to a GPU.

    Raises
    ------
    ParameterError
        If ``batch_size`` is not at least 1, ``workers`` is negative, there is no process of that
        ``rank``, or there are fewer samples to train on than processes.
    """
    least = {"batch_size": (batch_size, 1), "workers": (workers, 0), "world": (world, 1)}
    for name, (value, bound) in least.items():
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < bound:
            raise ParameterError(name, expected=f"a whole number, at least {bound}", found=value)
    if not 0 <= rank < world:
        raise ParameterError("rank", expected=f"0 to {world - 1}", found=rank)
    if data.train and len(data) < world:
        raise ParameterError(
            "fewer samples than processes", expected=f"at least {world}", found=len(data)
        )
    drop_last = data.train and len(data) >= batch_size * world
    order = _Order(
        len(data), batch_size, shuffle=data.train, drop_last=drop_last, seed=data.seed,
        rank=rank, world=world,
    )  # fmt: skip
    more: dict[str, Any] = {}
    if workers:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["__main__", __package__])  # imported once, for all workers
        more = {"multiprocessing_context": context, "persistent_workers": True}
    return DataLoader(
        data, batch_sampler=order, collate_fn=_identity, num_workers=workers, pin_memory=pin, **more
    )


def _identity(batch: Batch) -> Batch:
    return batch
