"""Where is a probe right? Scores by class, by label, by column, or by size of the true number."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from maestro_lab.errors import ParameterError
from maestro_lab.training.probe import ProbeResult
from maestro_lab.training.units import TRIVIAL, trivial_predictions

__all__ = ["class_scores"]

Formula = Callable[[np.ndarray], dict[str, np.ndarray]]


def class_scores(
    result: ProbeResult,
    features: str,
    method: str = "linear",
    classes: Sequence[str] = (),
    *,
    bins: int = 4,
    draws: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Score a probe part by part, beside the trivial answer.

    Parameters
    ----------
    result
        From :func:`~maestro_lab.training.probe.probe`; of several draws of features, the first
        counts.
    features, method
        Which predictions.
    classes
        Names of classes (by their number), of labels or of columns.
    bins
        For one number a unit: parts of equal size by true value.
    draws, seed
        Of the bootstrap; 95 % intervals resample whole blocks of test units, and are NaN for a
        single block.

    Returns
    -------
    pandas.DataFrame
        ``features`` (as given, then :data:`~maestro_lab.training.units.TRIVIAL`), then for classes
        and labels ``class``, ``support``, ``f1``, ``low``, ``high``, ``precision``, ``recall``,
        ``iou``; for several numbers ``column``, ``support``, ``r2``, ``low``, ``high``, ``mae``;
        for one number ``bin``, ``support``, ``mae``, ``low``, ``high``, ``bias``. The interval is
        that of the score before it. What is not defined (the precision of a class that is never
        predicted) is NaN.

    Raises
    ------
    ParameterError
        If there are no such predictions, or no bins.
    """
    if (features, method) not in result.predictions:
        raise ParameterError(
            f"no predictions of {features!r} by {method!r}",
            expected=" | ".join(f"{f!r} by {m!r}" for f, m in result.predictions),
        )
    if bins < 1:
        raise ParameterError("bins", expected="at least 1", found=bins)
    units = result.units
    test = units.split == "test"
    truth, block = units.target[test], units.block[test]
    tables = []
    for name, predicted in (
        (features, result.predictions[features, method]),
        (TRIVIAL, trivial_predictions(units)),
    ):
        parts = _parts(units.task, truth, predicted, classes, bins)
        table = _scored(*parts, block, draws, seed)
        table.insert(0, "features", name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _parts(
    task: str, truth: np.ndarray, predicted: np.ndarray, classes: Sequence[str], bins: int
) -> tuple[dict[str, list[str]], np.ndarray, Formula]:
    """Return names of the parts, what each unit adds to each (unit, part, k), and the formula."""
    if task == "classification":
        names = np.arange(truth.shape[1]) if truth.ndim > 1 else np.unique(truth)
        if truth.ndim == 1:
            truth, predicted = (a[:, None] == names for a in (truth, predicted))
        added = np.stack([truth * predicted, truth, predicted], -1)
        return {"class": [_word(classes, n) for n in names]}, added, _of_classes
    truth, predicted = (np.asarray(a, float).reshape(len(a), -1) for a in (truth, predicted))
    error = predicted - truth
    if truth.shape[1] > 1:
        added = np.stack([np.ones_like(truth), truth, truth**2, error**2, abs(error)], -1)
        return {"column": [_word(classes, n) for n in range(len(truth.T))]}, added, _of_columns
    edges = np.unique(np.quantile(truth, np.linspace(0, 1, bins + 1)))
    inside = np.searchsorted(edges[1:-1], truth, side="right") == np.arange(max(len(edges) - 1, 1))
    words = [f"{a:.3g} to {b:.3g}" for a, b in itertools.pairwise(edges)] or [f"{edges[0]:.3g}"]
    return {"bin": words}, np.stack([inside, inside * abs(error), inside * error], -1), _of_bins


def _word(classes: Sequence[str], number: float) -> str:
    number = int(number)
    return str(classes[number]) if 0 <= number < len(classes) else str(number)


def _scored(
    first: dict[str, list[str]],
    added: np.ndarray,
    formula: Formula,
    block: np.ndarray,
    draws: int,
    seed: int,
) -> pd.DataFrame:
    """Score the sums over units, and over blocks drawn with replacement."""
    _, code = np.unique(block, return_inverse=True)
    sums = np.zeros((code.max() + 1, *added.shape[1:]))
    np.add.at(sums, code, added)
    found = formula(sums.sum(0))
    score = next(name for name in found if name != "support")
    low = high = np.full(added.shape[1], np.nan)
    if len(sums) > 1 and draws:
        chosen = np.random.default_rng(seed).integers(0, len(sums), (draws, len(sums)))
        times = np.stack([np.bincount(c, minlength=len(sums)) for c in chosen]).astype(float)
        spread = formula(np.einsum("db,bpk->dpk", times, sums))[score]
        low, high = np.array([_middle(column) for column in spread.T]).T
    table = pd.DataFrame({**first, **found, "low": low, "high": high})
    table["support"] = table["support"].astype(int)
    others = [name for name in found if name not in ("support", score)]
    return table[[*first, "support", score, "low", "high", *others]]


def _middle(column: np.ndarray) -> tuple[float, float]:
    """Return the middle 95 % of what is defined; NaN if nothing is."""
    defined = column[np.isfinite(column)]
    if not len(defined):
        return np.nan, np.nan
    return tuple(np.quantile(defined, [0.025, 0.975]))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def _of_classes(sums: np.ndarray) -> dict[str, np.ndarray]:
    hit, there, guessed = np.moveaxis(sums, -1, 0)
    return {
        "support": there,
        "f1": _ratio(2 * hit, there + guessed),
        "precision": _ratio(hit, guessed),
        "recall": _ratio(hit, there),
        "iou": _ratio(hit, there + guessed - hit),
    }


def _of_columns(sums: np.ndarray) -> dict[str, np.ndarray]:
    count, total, squares, errors, distance = np.moveaxis(sums, -1, 0)
    variance = squares - total**2 / np.maximum(count, 1)
    known = variance > 1e-9 * np.maximum(squares, 1e-300)
    r2 = 1 - _ratio(errors, np.where(known, variance, 0))
    return {"support": count, "r2": r2, "mae": _ratio(distance, count)}


def _of_bins(sums: np.ndarray) -> dict[str, np.ndarray]:
    count, distance, error = np.moveaxis(sums, -1, 0)
    return {"support": count, "mae": _ratio(distance, count), "bias": _ratio(error, count)}
