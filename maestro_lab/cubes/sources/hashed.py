"""Splits that a name decides on its own: more data move nobody to another split."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from maestro_lab.errors import CubeError

__all__ = ["draw", "hashed_splits", "refuse_shares"]


def draw(name: str, seed: int) -> float:
    """Return a number from 0 to 1 that follows from a name and a seed.

    Examples
    --------
    >>> draw("Forest/Forest_1", 0) == draw("Forest/Forest_1", 0) != draw("Forest/Forest_1", 1)
    True
    """
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def refuse_shares(kind: str, shares: Mapping[str, object]) -> None:
    """Refuse shares of splits that leave nothing to train on.

    Raises
    ------
    CubeError
        If one is no number or below 0, or together they reach 1.
    """
    given = list(shares.values())
    numbers = [s for s in given if isinstance(s, int | float) and not isinstance(s, bool)]
    if len(numbers) < len(given) or not all(s >= 0 for s in numbers) or not sum(numbers) < 1:
        raise CubeError(
            f"{kind}: {' and '.join(shares)}",
            expected="shares, 0 or more, together below 1",
            found=", ".join(f"{name} {share!r}" for name, share in shares.items()),
        )


def hashed_splits(
    where: str, names: Sequence[str], shares: Mapping[str, float], seed: int
) -> np.ndarray:
    """Split things by their names: each draws a number, and shares are intervals of it.

    Where nobody drew a number of a split, which happens among few, the one that came closest moves.

    Parameters
    ----------
    where
        What is split, for the error.
    names
        The things.
    shares
        Share of each split other than ``"train"``; how many come is up to chance.
    seed
        Another seed, other splits.

    Returns
    -------
    numpy.ndarray
        Name of the split of each.

    Raises
    ------
    CubeError
        If there are fewer things than splits.

    Examples
    --------
    >>> hashed_splits("cells", ["a", "b", "c", "d"], {"test": 0.4}, seed=0).tolist()
    ['train', 'train', 'train', 'test']
    """
    number = np.array([draw(name, seed) for name in names])
    wanted = {name: share for name, share in shares.items() if share > 0}
    wanted["train"] = 1 - sum(wanted.values())
    if len(names) < len(wanted):
        raise CubeError(
            f"{where}: too few to split",
            expected=f"{len(wanted)} or more, for {', '.join(wanted)}",
            found=len(names),
            do="choose fewer splits",
        )
    ends = np.cumsum(list(wanted.values()))
    part = np.searchsorted(ends[:-1], number, side="right")
    for empty in range(len(wanted)):
        if not (part == empty).any():
            middle = ends[empty] - list(wanted.values())[empty] / 2
            alone = np.bincount(part, minlength=len(wanted))[part] == 1
            part[np.where(alone, np.inf, np.abs(number - middle)).argmin()] = empty
    return np.array(list(wanted), object)[part]
