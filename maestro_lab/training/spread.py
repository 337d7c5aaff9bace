"""How much room embeddings fill: have they collapsed, and which are alike?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from maestro_lab.errors import ParameterError

__all__ = ["directions", "effective_rank", "month_cosines", "spread", "uniformity"]

_ROUNDING = 10  # units in the last place below which a direction is noise of the arithmetic


def effective_rank(rows: ArrayLike, *, centred: bool = False) -> float:
    """Return how many directions the rows fill evenly: exp of the entropy of singular values.

    An encoder that collapsed gives nearly the same vector for everything, a table of rank 1. The
    mean row is left in: what is left without it may be tiny and still fill many directions.

    Parameters
    ----------
    rows
        (..., width) embeddings; leading axes are run together.
    centred
        Subtract the mean row first, to ask how the rows differ, however little.

    Returns
    -------
    float
        From 1 to ``min(rows, width)``; 0 where nothing is left but rounding.

    Raises
    ------
    ParameterError
        For fewer than two rows, or numbers that are not finite.

    Notes
    -----
    Singular values below 10 units in the last place of the table's Frobenius norm, units of the
    type the rows came in, are taken as zero: else rounding alone would fill all directions of a
    constant table.

    Sources: Roy and Vetterli, "The effective rank", EUSIPCO 2007; Garrido et al., "RankMe", ICML
    2023, for embeddings as they are.

    Examples
    --------
    >>> round(effective_rank([[1, 0], [-1, 0], [0, 1], [0, -1]]), 6)
    2.0
    >>> [effective_rank([[3.0, 1.0], [3.0, 1.0]], centred=c) for c in (False, True)]
    [1.0, 0.0]
    """
    given = np.asarray(rows)
    step = np.finfo(given.dtype).eps if given.dtype.kind == "f" else np.finfo(float).eps
    table = _table(given)
    limit = _ROUNDING * step * np.linalg.norm(table)
    if centred:
        table = table - table[0]  # so that the mean of a constant table is exact
        table = table - table.mean(0)
    singular = np.linalg.svd(table, compute_uv=False)
    singular = singular[singular > limit]
    if not len(singular):
        return 0.0
    share = singular / singular.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def uniformity(rows: ArrayLike, t: float = 2.0, *, most: int = 2048, seed: int = 0) -> float:
    """Return the log of the mean Gaussian potential of pairs of rows, at length one.

    0 where all rows point the same way, the lower the more evenly they cover the sphere: -2t for
    rows at right angles, about that for random directions in a wide table.

    Parameters
    ----------
    rows
        (..., width) embeddings; leading axes are run together. They are brought to length one,
        their mean is left in; a row of zeros stays zero.
    t
        Sharpness of the potential exp(-t |a - b|²).
    most
        Rows to use at most, drawn without replacement: pairs grow with the square.
    seed
        Of the draw.

    Raises
    ------
    ParameterError
        For fewer than two rows, numbers that are not finite, or ``t`` not above 0.

    Notes
    -----
    Source: Wang and Isola, "Understanding contrastive representation learning through alignment
    and uniformity on the hypersphere", ICML 2020.

    Examples
    --------
    >>> float(round(uniformity([[1.0, 0.0], [0.0, 5.0]]), 6))
    -4.0
    """
    from scipy.spatial.distance import pdist
    from scipy.special import logsumexp

    table = _table(np.asarray(rows))
    if not t > 0:
        raise ParameterError("t of uniformity", expected="above 0", found=t)
    if most < 2:
        raise ParameterError("rows to use at most", expected="at least 2", found=most)
    if len(table) > most:
        table = table[np.random.default_rng(seed).choice(len(table), most, replace=False)]
    squares = pdist(_at_length_one(table), "sqeuclidean")
    return float(logsumexp(-t * squares) - np.log(len(squares)))


def spread(rows: ArrayLike) -> dict[str, float]:
    """Return :func:`effective_rank` and :func:`uniformity` under the names figures use.

    Examples
    --------
    >>> spread(np.zeros((4, 3)))
    {'effective rank': 0.0, 'uniformity': 0.0}
    """
    return {"effective rank": effective_rank(rows), "uniformity": uniformity(rows)}


def directions(rows: ArrayLike) -> np.ndarray:
    """Return rows less their mean, at length one: their inner products are cosine similarities.

    Embeddings share a large common part, so that without this every pair looks alike. Rows with a
    NaN do not count in the mean and come back as NaN; a row equal to the mean comes back as zeros.

    Parameters
    ----------
    rows
        (..., width), of the shape that comes back.

    Raises
    ------
    ParameterError
        If no row is finite.

    Examples
    --------
    >>> directions([[1.0, 1.0], [5.0, 4.0]]).round(1).tolist()
    [[-0.8, -0.6], [0.8, 0.6]]
    """
    table = np.asarray(rows, np.float64)
    there = np.isfinite(table).all(-1)
    if table.ndim < 2 or not there.any():
        raise ParameterError(
            "a table of embeddings",
            expected="(..., width) with at least one row of finite numbers",
            found=f"shape {table.shape}, {int(there.sum())} finite rows",
        )
    centred = np.where(there[..., None], table - table[there].mean(0), np.nan)
    return _at_length_one(centred, like=np.abs(table[there]).max())


def month_cosines(features: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return how alike the same units are in two months.

    Parameters
    ----------
    features
        (month, unit, width), NaN where a unit has no data in a month. The mean of the whole
        table is subtracted, see :func:`directions`.

    Returns
    -------
    tuple of numpy.ndarray
        Cosine similarities (month, month), a mean over units with data in both months, NaN where
        there are none; and the number of those units (month, month).

    Raises
    ------
    ParameterError
        For another shape, or without any data.
    """
    table = np.asarray(features)
    if table.ndim != 3:
        raise ParameterError(
            "features of months", expected="(month, unit, width)", found=f"shape {table.shape}"
        )
    found = directions(table)
    there = np.isfinite(found).all(-1).astype(float)  # (month, unit)
    found = np.nan_to_num(found)
    count = there @ there.T
    total = np.einsum("auw,buw->ab", found, found, optimize=True)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean, count.astype(int)


def _table(rows: np.ndarray) -> np.ndarray:
    """Return float64 (row, width), checked."""
    if rows.ndim < 2 or rows.size == 0 or rows.size // rows.shape[-1] < 2:
        raise ParameterError(
            "a table of embeddings",
            expected="(..., width) with at least 2 rows",
            found=f"shape {rows.shape}",
        )
    table = rows.reshape(-1, rows.shape[-1]).astype(np.float64)
    wrong = int((~np.isfinite(table)).any(1).sum())
    if wrong:
        raise ParameterError(
            "a table of embeddings",
            expected="finite numbers",
            found=f"NaN or infinity in {wrong} of {len(table)} rows",
            do="leave out rows without data; if there are none, training diverged",
        )
    return table


def _at_length_one(table: np.ndarray, like: float = 0.0) -> np.ndarray:
    """Divide rows by their length; those that are but rounding next to ``like`` become zeros."""
    length = np.linalg.norm(table, axis=-1, keepdims=True)
    tiny = length <= _ROUNDING * np.finfo(float).eps * like
    return np.where(tiny, 0.0, table / np.where(tiny, 1.0, length))
