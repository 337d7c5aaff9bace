"""Spatial blocks: neighbours never straddle train and test."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from maestro_lab.errors import CubeError

__all__ = ["block_splits", "leakage"]


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
    from scipy.spatial import cKDTree

    points, split = np.stack([x, y], 1), np.asarray(split).astype(str)
    for needed in ("train", held_out):
        if needed not in split:
            raise CubeError(
                f"no window in split {needed!r}",
                expected="windows to measure the distance between",
                found=", ".join(np.unique(split)) or "no window at all",
            )
    near, _ = cKDTree(points[split == "train"]).query(points[split == held_out])
    return {"nearest": float(near.min()), "median": float(np.median(near))}
