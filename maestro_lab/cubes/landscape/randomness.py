"""Randomness without state: every draw is a function of a key and of whole-number coordinates.

Hashes use the finaliser of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom
number generators", OOPSLA), so any window of the plane can be made on its own and in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31 = np.uint64(27), np.uint64(30), np.uint64(31)

_INTERPOLATED_SD = 0.743
"""Standard deviation that smooth interpolation in two axes leaves of unit-variance nodes: the root
of m^2, m = 0.743 the mean over t of s^2 + (1 - s)^2 with s = 3 t^2 - 2 t^3."""


@lru_cache(maxsize=1024)
def key(seed: int, stream: str) -> int:
    """Return the 64-bit key of a named stream of randomness."""
    return int.from_bytes(blake2b(f"{seed}/{stream}".encode(), digest_size=8).digest(), "little")


def _finalise(h: np.ndarray) -> np.ndarray:
    h = (h ^ (h >> _S30)) * _MIX_1
    h = (h ^ (h >> _S27)) * _MIX_2
    return h ^ (h >> _S31)


def hashed(start: int | np.ndarray, *coordinates: np.ndarray) -> np.ndarray:
    """Hash whole-number coordinates, which broadcast against each other.

    Parameters
    ----------
    start
        A key, or an earlier result of this function to go on from.
    *coordinates
        Integer arrays. Put the ones with fewer elements first: each is folded in as it comes.

    Returns
    -------
    numpy.ndarray
        ``uint64``, at least one-dimensional.

    Examples
    --------
    >>> bool(hashed(1, np.array([2]))[0] == hashed(1, np.array([2, 3]))[0])
    True
    """
    h = np.atleast_1d(np.asarray(start, dtype=np.uint64))
    for c in coordinates:
        c = np.atleast_1d(np.asarray(c)).astype(np.int64).view(np.uint64)
        h = _finalise(h + (c + np.uint64(1)) * _STEP)
    return h


def uniform(h: np.ndarray) -> np.ndarray:
    """Turn hashes into numbers in [0, 1)."""
    return (h >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def normal(h: np.ndarray) -> np.ndarray:
    """Turn hashes into near-normal numbers of mean 0 and variance 1, within +-3.5.

    The sum of four 16-bit uniforms (Irwin-Hall): cheap, and without wild tails, so that no
    reflectance is ever absurd.
    """
    parts = np.ascontiguousarray(h).view(np.uint16).reshape(*h.shape, 4)
    total = parts.sum(axis=-1, dtype=np.int32).astype(np.float32)
    return (total / 65536.0 - 2.0) * np.float32(np.sqrt(3.0))


def smooth(
    start: int | np.ndarray, y: np.ndarray, x: np.ndarray, scale: float | tuple[float, float]
) -> np.ndarray:
    """Smooth noise of about unit variance on a grid of coordinates (value noise).

    Parameters
    ----------
    start
        A key, or hashes (...) where each leading index has its own field.
    y, x
        Coordinates (..., n_y) and (..., n_x) in metres, ascending or descending.
    scale
        Distance between the random nodes, in metres, or one for y and one for x.

    Returns
    -------
    numpy.ndarray
        float32 (..., n_y, n_x).

    Examples
    --------
    >>> smooth(7, np.arange(3.0), np.arange(4.0), scale=10).shape
    (3, 4)
    """
    scale_y, scale_x = scale if isinstance(scale, tuple) else (scale, scale)
    y, x = np.asarray(y, dtype=float) / scale_y, np.asarray(x, dtype=float) / scale_x
    nodes_y, nodes_x = _nodes(y), _nodes(x)
    start = np.asarray(start, dtype=np.uint64)[..., None, None]
    values = normal(hashed(start, nodes_y[..., :, None], nodes_x[..., None, :]))
    values /= np.float32(_INTERPOLATED_SD)
    if y.ndim == 1:
        return _between(_between(values, y, nodes_y).swapaxes(-1, -2), x, nodes_x).swapaxes(-1, -2)
    return _weights(y, nodes_y) @ values @ np.swapaxes(_weights(x, nodes_x), -1, -2)


def layered(
    start: int | np.ndarray, y: np.ndarray, x: np.ndarray, layers: Sequence[tuple[float, float]]
) -> np.ndarray:
    """Sum smooth noise of several scales.

    Parameters
    ----------
    start, y, x
        As in :func:`smooth`.
    layers
        Scale in metres and weight of each layer.

    Returns
    -------
    numpy.ndarray
        float32 (..., n_y, n_x); its variance is the sum of the squared weights.
    """
    scales, weights = (np.array(column, dtype=float) for column in zip(*layers, strict=True))
    lead = (len(layers), *(1 for _ in np.shape(y)))
    fields = hashed(start, np.arange(len(layers)).reshape(lead[:-1]))
    parts = smooth(fields, y / scales.reshape(lead), x / scales.reshape(lead), 1.0)
    return np.tensordot(weights.astype(np.float32), parts, axes=1)


def _nodes(u: np.ndarray) -> np.ndarray:
    """Return the whole numbers around coordinates (..., n), (..., m)."""
    first = np.floor(u.min(axis=-1)).astype(np.int64)
    count = int((np.floor(u.max(axis=-1)).astype(np.int64) - first).max()) + 2
    return first[..., None] + np.arange(count)


def _ease(t: np.ndarray) -> np.ndarray:
    return (t * t * (3.0 - 2.0 * t)).astype(np.float32)


def _between(values: np.ndarray, u: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Interpolate values (..., m, k) to coordinates (n,) that all fields share: (..., n, k)."""
    below = np.floor(u).astype(np.int64)
    upper = _ease(u - below)[:, None]
    at = below - nodes[0]
    low = values[..., at, :]
    return low + upper * (values[..., at + 1, :] - low)


def _weights(u: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Return the weight of each node at coordinates of each field's own, (..., n, m)."""
    return _ease(np.clip(1.0 - np.abs(u[..., :, None] - nodes[..., None, :]), 0.0, 1.0))


def generator(seed: int, stream: str, row: int, column: int) -> np.random.Generator:
    """Return the random generator of one stream of one site (counter-based, Philox)."""
    own = [key(seed, stream), int(hashed(key(seed, "site"), row, column)[0])]
    return np.random.Generator(np.random.Philox(key=np.array(own, dtype=np.uint64)))
