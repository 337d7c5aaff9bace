"""Spatial blocks: neighbours never straddle train and test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from maestro_lab.cubes.contract import SPLITS, window_side
from maestro_lab.errors import CubeError

__all__ = ["Leakage", "block_splits", "leakage", "leakage_distances"]


def block_splits(
    row: np.ndarray,
    column: np.ndarray,
    *,
    region: int,
    block: int,
    shares: Mapping[str, float],
    buffer: int = 1,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Split windows on a lattice by square regions, and number the blocks inside them.

    Whole regions go to one split. Windows of the training split within ``buffer`` windows of
    another split (diagonals count) become ``"buffer"`` and are used for nothing.

    Parameters
    ----------
    row, column
        Position of each window on the lattice.
    region
        Side of a region, in windows.
    block
        Side of a block, in windows: the unit that is resampled for confidence intervals. It
        divides ``region``.
    shares
        Share of the regions of each split other than ``"train"``; at least one region each.
    buffer
        Windows kept empty between training and the rest.
    seed
        Chooses the regions.

    Returns
    -------
    tuple
        Split name and block number of each window.

    Raises
    ------
    CubeError
        If a side, share or buffer is impossible, or nothing is left to train on.

    Examples
    --------
    >>> import numpy as np
    >>> row, column = np.indices((12, 12)).reshape(2, -1)
    >>> split, _ = block_splits(row, column, region=4, block=2, shares={"test": 0.2})
    >>> {str(name): int((split == name).sum()) for name in np.unique(split)}
    {'buffer': 22, 'test': 32, 'train': 90}
    """
    if region < 1 or block < 1 or buffer < 0:
        raise CubeError(
            "sides of regions and blocks, and the buffer",
            expected="region and block of 1 window or more, buffer of 0 or more",
            found=f"region {region}, block {block}, buffer {buffer}",
        )
    if not set(shares) <= {"val", "test"} or not all(0 < s < 1 for s in shares.values()):
        raise CubeError(
            "shares of the splits",
            expected="'val', 'test' or both, each above 0 and below 1",
            found=dict(shares),
        )
    if region % block:
        raise CubeError(
            "blocks do not fit into regions", expected=f"a divisor of {region}", found=block
        )
    row, column = np.asarray(row), np.asarray(column)
    from scipy.spatial import cKDTree

    points = np.stack([row, column], 1)
    names, regions = _number(row // region, column // region)
    order = np.random.default_rng(seed).permutation(len(names))
    split = np.full(len(row), "train", dtype=object)
    start = 0
    for name, share in shares.items():
        count = max(1, round(share * len(names)))
        split[np.isin(regions, order[start : start + count])] = name
        start += count
    for other in shares:
        held = points[split == other]
        if len(held):
            away, _ = cKDTree(held).query(points, p=np.inf, distance_upper_bound=buffer + 0.5)
            split[(away <= buffer) & (split == "train")] = "buffer"
    if not (split == "train").any():
        raise CubeError(
            "no window is left to train on",
            expected="regions small enough for the area",
            found=f"{len(names)} regions of {region} x {region} windows, buffer {buffer}",
        )
    return split, _number(row // block, column // block)[1]


def _number(row: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    names, index = np.unique(np.stack([row, column], 1), axis=0, return_inverse=True)
    return names, index.reshape(-1)


def leakage(
    x: np.ndarray, y: np.ndarray, split: np.ndarray, held_out: str = "test"
) -> dict[str, float]:
    """Return how far held-out windows lie from training windows.

    Parameters
    ----------
    x, y
        Position of each window, in metres.
    split
        Split of each window.
    held_out
        The split that is compared with ``"train"``.

    Returns
    -------
    dict
        ``nearest`` and ``median`` distance in metres from a held-out window to the closest
        training window.

    Raises
    ------
    CubeError
        If one of the two splits has no window.
    """
    near, _ = _to_train(np.stack([x, y], 1), np.asarray(split).astype(str), held_out)
    return {"nearest": float(near.min()), "median": float(np.median(near))}


def _to_train(
    points: np.ndarray, split: np.ndarray, held_out: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return distance to the nearest training window, and its number, of each held-out one."""
    from scipy.spatial import cKDTree

    for needed in ("train", held_out):
        if needed not in split:
            raise CubeError(
                f"no window in split {needed!r}",
                expected="windows to measure the distance between",
                found=", ".join(np.unique(split)) or "no window at all",
            )
    train = np.flatnonzero(split == "train")
    near, which = cKDTree(points[train]).query(points[split == held_out])
    return near, train[which]


@dataclass(frozen=True)
class Leakage:
    """How far held-out windows lie from training windows, and would lie under a random split.

    Distances are between the centres of windows, in metres: 0 is the same window (perhaps of
    another year), below ``side`` windows overlap, at ``side`` they may touch.

    Parameters
    ----------
    distances
        One row for each held-out sample: sample, block, metres to the nearest training window,
        its sample name as ``nearest``, and how many training windows overlap it (``overlapping``).
    random
        Metres to the nearest training window (draw, held-out sample) where training and held-out
        samples are shuffled.
    splits
        One row for each split: split, samples, places (windows at different positions), blocks.
    side
        Side of a window in metres.
    held_out
        The split that is compared with ``"train"``.
    """

    distances: pd.DataFrame
    random: np.ndarray
    splits: pd.DataFrame
    side: float
    held_out: str

    @property
    def summary(self) -> dict[str, float]:
        """Nearest and median distance, the median under a random split, and what overlaps."""
        metres = self.distances["metres"]
        return {
            "nearest": float(metres.min()),
            "median": float(metres.median()),
            "random median": float(np.median(self.random)),
            "overlapping": int((self.distances["overlapping"] > 0).sum()),
            "same window": int((metres == 0).sum()),
        }

    def _repr_html_(self) -> str:
        return pd.DataFrame([self.summary]).round(1).to_html() + self.splits.to_html()


def leakage_distances(
    cube: xr.DataTree, held_out: str = "test", *, draws: int = 20, seed: int = 0
) -> Leakage | None:
    """Measure how far held-out windows of a cube lie from training windows.

    Parameters
    ----------
    cube
        Its root tells ``easting`` and ``northing``; None is returned where it does not.
    held_out
        The split that is compared with ``"train"``.
    draws, seed
        Random splits of the samples of both, each with as many held out; and their seed.

    Raises
    ------
    CubeError
        If one of the two splits has no window.

    Examples
    --------
    >>> from maestro_lab.catalogue import open_cube
    >>> found = leakage_distances(open_cube("landscape", samples=100, modalities=["dem"]))
    >>> found.summary["overlapping"], found.summary["nearest"] > found.side
    (0, True)
    """
    if not {"easting", "northing"} <= set(cube.data_vars):
        return None
    from scipy.spatial import cKDTree

    points = np.stack([np.asarray(cube[n].values, float) for n in ("easting", "northing")], 1)
    names, block = (np.asarray(cube[n].values) for n in ("sample", "block"))
    split, side = np.asarray(cube["split"].values).astype(str), float(window_side(cube))
    metres, nearest = _to_train(points, split, held_out)
    held = split == held_out
    overlapping = cKDTree(points[split == "train"]).query_ball_point(
        points[held], side * (1 - 1e-6), p=np.inf, return_length=True
    )
    distances = pd.DataFrame(
        {
            "sample": names[held],
            "block": block[held],
            "metres": metres,
            "nearest": names[nearest],
            "overlapping": overlapping,
        }
    )
    both, rng = np.flatnonzero(held | (split == "train")), np.random.default_rng(seed)
    shuffled = (rng.permutation(split[both]) for _ in range(draws))
    random = np.stack([_to_train(points[both], labels, held_out)[0] for labels in shuffled])
    rows = [
        (s, int(m.sum()), len(np.unique(points[m], axis=0)), len(np.unique(block[m])))
        for s, m in ((s, split == s) for s in SPLITS)
        if m.any()
    ]
    splits = pd.DataFrame(rows, columns=["split", "samples", "places", "blocks"])
    return Leakage(distances, random, splits, side, held_out)
