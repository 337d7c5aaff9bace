"""What a probe predicts: targets and features brought into rows that belong together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from maestro_lab.errors import ParameterError

__all__ = [
    "TRIVIAL",
    "Units",
    "merge_places",
    "rows_of",
    "trivial_predictions",
    "units",
]

TRIVIAL = "labels alone (mean, most common)"
"""The trivial answer: the mean, or the most frequent class, of the training units."""

TASKS = ("regression", "classification")


@dataclass(frozen=True)
class Units:
    """What a probe predicts, one row a unit (a location of a place, or a whole sample).

    Parameters
    ----------
    target
        (unit,) numbers or classes, or (unit, k) numbers or labels of 0 and 1.
    split
        (unit,) "train", "val" or "test"; only "linear_olmoearth" looks at "val".
    block
        (unit,) spatial block; resampled whole for intervals, kept whole in cross-validation.
    index
        (unit, 2) place and location of each unit.
    task
        "regression" or "classification".
    locations
        Locations of a place that the target tells apart; 1 where it holds for the whole.
    """

    target: np.ndarray
    split: np.ndarray
    block: np.ndarray
    index: np.ndarray
    task: str
    locations: int = 1


def units(
    target: np.ndarray,
    *,
    split: np.ndarray,
    block: np.ndarray,
    place: np.ndarray | None = None,
    task: str = "regression",
) -> tuple[Units, Callable[[np.ndarray], np.ndarray]]:
    """Arrange targets as units, and return how to arrange features in the same way.

    Samples of one place (several years of one window) are averaged, features and targets alike:
    what is asked is a property of the place.

    Parameters
    ----------
    target
        (sample, location) or (sample, location, k).
    split, block
        Per sample.
    place
        Per sample; default: each its own.
    task
        "regression" or "classification" (the most frequent class of a place is kept).

    Returns
    -------
    tuple
        The units that are in train, val or test, and a function from features
        (sample, location, f) to rows (unit, f).
    """
    if task not in TASKS:
        raise ParameterError("task", expected=" | ".join(TASKS), found=repr(task))
    split = np.asarray(split).astype(str)
    place = np.arange(len(split)) if place is None else np.asarray(place)
    _, first, inverse = np.unique(place, return_index=True, return_inverse=True)
    used = np.flatnonzero(np.isin(split[first], ["train", "val", "test"]))
    locations = target.shape[1]

    def arrange(features: np.ndarray) -> np.ndarray:
        merged = _merge(features, inverse, len(first))[used]
        return merged.reshape(len(used) * locations, *merged.shape[2:])

    merge = _merge if task == "regression" else _majority
    wanted = merge(np.asarray(target), inverse, len(first))[used]
    wanted = wanted.reshape(len(used) * locations, *wanted.shape[2:])
    index = np.stack([np.repeat(used, locations), np.tile(np.arange(locations), len(used))], 1)
    known = np.isfinite(wanted.astype(float)).reshape(len(wanted), -1).all(1)
    kept = wanted[known]
    if task == "classification" and kept.dtype.kind == "f":
        kept = kept.astype(np.int64)  # classes are numbers again once the unknown are gone
    found = Units(
        kept,
        np.repeat(split[first][used], locations)[known],
        np.repeat(np.asarray(block)[first][used], locations)[known],
        index[known],
        task,
        locations,
    )
    for name in ("train", "test"):
        if not (found.split == name).any():
            raise ParameterError(
                f"nothing to probe in split {name!r}", expected="at least one unit with a target"
            )
    return found, lambda features: arrange(features)[known]


def merge_places(features: np.ndarray, place: np.ndarray | None = None) -> np.ndarray:
    """Average features (sample, location, f) over the samples of each place, as :func:`units` does.

    Parameters
    ----------
    features
        Gaps (NaN) do not count.
    place
        Per sample; default: each its own.

    Returns
    -------
    numpy.ndarray
        (place, location, f), places numbered as in :attr:`Units.index`.
    """
    place = np.arange(len(features)) if place is None else np.asarray(place)
    names, inverse = np.unique(place, return_inverse=True)
    return _merge(features, inverse, len(names))


def _merge(values: np.ndarray, place: np.ndarray, count: int) -> np.ndarray:
    """Average (sample, ...) over the samples of each place; NaN does not count."""
    there = np.isfinite(values)
    total = np.zeros((count, *values.shape[1:]))
    weight = np.zeros((count, *values.shape[1:]))
    np.add.at(total, place, np.where(there, values, 0))
    np.add.at(weight, place, there)
    return np.where(weight > 0, total / np.maximum(weight, 1), np.nan)


def _majority(values: np.ndarray, place: np.ndarray, count: int) -> np.ndarray:
    """Return the most frequent class of each place; NaN where no sample of it has one."""
    names = np.unique(values[np.isfinite(values.astype(float))])
    rows = []
    for k in range(count):
        mine = values[place == k]
        votes = np.stack([(mine == c).sum(0) for c in names])
        best = names[votes.argmax(0)]
        rows.append(best if votes.any(0).all() else np.where(votes.any(0), best, np.nan))
    return np.stack(rows)


def rows_of(given: np.ndarray, target: Units) -> np.ndarray:
    """Return the features of each unit (unit, f).

    Parameters
    ----------
    given
        Windows (place, location, f), or rows (unit, f) that are returned as they are. A target
        that holds for the whole gets the mean over locations; gaps (NaN) do not count.
    target
        The units.

    Raises
    ------
    ParameterError
        If there are too few windows, or their locations are not those of the target.
    """
    if given.ndim == 2:
        return given
    place, location = target.index.T
    if len(given) <= place.max() or target.locations not in (1, given.shape[1]):
        raise ParameterError(
            "features of other windows than those of the target",
            expected=f"{place.max() + 1} windows or more of {target.locations} locations",
            found=f"{len(given)} of {given.shape[1]}",
        )
    if target.locations > 1:
        return given[place, location]
    there = np.isfinite(given)
    total, count = np.where(there, given, 0).sum(1), there.sum(1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)[place]


def trivial_predictions(target: Units) -> np.ndarray:
    """Predict the test units from training labels alone: their mean, or most frequent class.

    Of several labels a unit, each is there or not as it is in most training units.
    """
    known, count = target.target[target.split == "train"], int((target.split == "test").sum())
    if target.task == "regression":
        answer = known.mean(0)
    elif known.ndim > 1:
        answer = (known.mean(0) > 0.5).astype(known.dtype)
    else:
        names, votes = np.unique(known, return_counts=True)
        answer = names[votes.argmax()]
    return np.repeat(np.asarray(answer)[None], count, 0)
