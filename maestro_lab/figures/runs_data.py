"""What the comparison of runs is drawn from: values as text, axes, and places on them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from maestro_lab.errors import ParameterError

__all__ = [
    "MISSING",
    "VIEWS",
    "differing",
    "is_missing",
    "numeric_results",
    "runs_table",
    "short_names",
    "text_of",
]

_BASELINES = ("nearest date", "band mean", "zero", "seasonal medians", "random weights")
VIEWS = ("small multiples", "parallel coordinates")
"""Ways to lay runs out."""

MISSING = "-"
"""What stands for a value that a run does not have."""

_PANELS, _AXES = 6, 7
_WIDE_RANGE = 50  # of positive numbers, beyond which an axis is logarithmic
_COLUMNS = ("run", "panel", "x", "y", "low", "high", "text", "group", "chosen")


def is_missing(value: Any) -> bool:
    """Tell whether a cell of the table of runs is empty: the run has no such value."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def text_of(value: Any) -> str:
    """Write a parameter or a result; a dash where there is none.

    Examples
    --------
    >>> text_of(0.123456), text_of(None), text_of(["s2", "dem"]), text_of(True), text_of("")
    ('0.1235', '-', 's2, dem', 'True', "''")
    """
    if is_missing(value):
        return MISSING
    if isinstance(value, list | tuple):
        return ", ".join(text_of(v) for v in value) or "[]"
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    return str(value) if value != "" else "''"


def short_names(names: Sequence[str]) -> list[str]:
    """Return names without the beginning that all share, cut at a sign.

    Examples
    --------
    >>> short_names(["sweep/probe-001", "sweep/probe-002"])
    ['001', '002']
    """
    first, last = (min(names), max(names)) if len(names) > 1 else ("", "")
    same = [a == b for a, b in zip(first, last, strict=False)]
    shared = first[: same.index(False) if False in same else len(same)]
    start = max(shared.rfind(sign) for sign in "/-_ ") + 1
    return [name[start:] for name in names]


def _number(value: Any) -> float:
    """Return a number as such, anything else as NaN."""
    plain = isinstance(value, int | float | np.number) and not isinstance(value, bool | np.bool_)
    return float(value) if plain and np.isfinite(value) else math.nan


def _trivial(name: str) -> bool:
    """Tell whether a result is that of a trivial guess or baseline, not a difference to one."""
    return " - " not in name and name.split(",")[0].endswith(_BASELINES)


def numeric_results(table: pd.DataFrame) -> list[str]:
    """Return the names of the results that are numbers in some run, and the time it took.

    Parameters
    ----------
    table
        From :func:`~maestro_lab.runs.collect.collect`.

    Examples
    --------
    >>> table = pd.DataFrame({"run": ["a"], "result.r2": [0.5], "result.verdict": ["good"]})
    >>> numeric_results(table)
    ['r2']
    """
    names = [c for c in table if str(c).startswith("result.")] + ["seconds"]
    kept = [c for c in names if c in table and np.isfinite([_number(v) for v in table[c]]).any()]
    # What was measured with an interval is what runs are compared by; parts and counts are not.
    minor = [c.startswith("result.step") or "/" in c or c == "seconds" for c in kept]
    rank = [
        int(_trivial(c)) if f"{c} interval" in table else 2 + late
        for c, late in zip(kept, minor, strict=True)
    ]
    return [kept[k].removeprefix("result.") for k in np.argsort(rank, kind="stable")]


def differing(table: pd.DataFrame) -> list[str]:
    """Return the names of the parameters that are not the same in all runs.

    Examples
    --------
    >>> differing(pd.DataFrame({"param.size": ["nano", "tiny"], "param.seed": [0, 0]}))
    ['size']
    """
    names = [c for c in table if str(c).startswith("param.") and c != "param.run_folder"]
    return [c.removeprefix("param.") for c in names if len({text_of(v) for v in table[c]}) > 1]


def runs_table(
    table: pd.DataFrame,
    *,
    results: Sequence[str] = (),
    parameter: str = "",
    colour: str = "",
    view: str = VIEWS[0],
    chosen: Sequence[str] = (),
) -> pd.DataFrame:
    """Return what a comparison is painted from: one row a run and panel.

    Parameters
    ----------
    table, results, parameter, colour, view, chosen
        As :func:`~maestro_lab.figures.comparison.runs_view` takes them.

    Returns
    -------
    pandas.DataFrame
        ``run``, ``panel`` (a result, or an axis), ``x`` and ``y`` where it is drawn, ``low`` and
        ``high`` of its interval, ``text``, ``group`` (value of ``colour``), ``chosen``, and
        ``name``, which is short.
    """
    _check(table, results, parameter, colour, view)
    results = list(results) or numeric_results(table)[:_PANELS]
    make = _multiples if view == VIEWS[0] else _parallel
    rows, about = make(table, results, parameter)
    groups = {r: text_of(v) for r, v in zip(table["run"], _column(table, colour), strict=True)}
    data = pd.DataFrame(rows, columns=_COLUMNS[:7])
    data["group"] = [groups[run] for run in data["run"]]
    data["chosen"] = data["run"].isin(list(chosen))
    order = list(dict.fromkeys(text_of(v) for v in _sorted(_column(table, colour))))
    names = dict(zip(table["run"], short_names(list(table["run"])), strict=True))
    data["name"] = data["run"].map(names)
    data.attrs = {"view": view, "colour": colour, "groups": order, **about}
    return data


def _check(
    table: pd.DataFrame, results: Sequence[str], parameter: str, colour: str, view: str
) -> None:
    if view not in VIEWS:
        raise ParameterError("view of runs", expected=" | ".join(VIEWS), found=repr(view))
    known = numeric_results(table)
    for name in results:
        if name not in known:
            raise ParameterError(
                f"no number {name!r} in these runs", expected=", ".join(known) or "no result at all"
            )
    parameters = [c.removeprefix("param.") for c in table if str(c).startswith("param.")]
    for name in (parameter, colour):
        if name and name not in parameters:
            raise ParameterError(f"no parameter {name!r}", expected=", ".join(parameters))


def _column(table: pd.DataFrame, name: str) -> list[Any]:
    return list(table[f"param.{name}"]) if name else [True] * len(table)


def _sorted(values: Sequence[Any]) -> list[Any]:
    """Sort numbers by size, before text in the order it comes in, before what is missing."""

    def rank(value: Any) -> tuple[bool, bool, float]:
        number = _number(value)
        told = not math.isnan(number)
        return is_missing(value), not told, number if told else 0.0

    return sorted(values, key=rank)


def _places(values: Sequence[Any]) -> tuple[list[float], list[str], bool]:
    """Place values on an axis: coordinates, names of the ticks if they are no numbers, and log."""
    there = [v for v in values if not is_missing(v)]
    numbers = [_number(v) for v in values]
    if there and not any(math.isnan(_number(v)) for v in there):
        finite = [n for n in numbers if not math.isnan(n)]
        wide = min(finite) > 0 and max(finite) / min(finite) >= _WIDE_RANGE
        return numbers, [], wide
    names = list(dict.fromkeys(text_of(v) for v in _sorted(values)))
    return [float(names.index(text_of(v))) for v in values], names, False


def _interval(row: Mapping[str, Any], name: str) -> tuple[float, float]:
    found = row.get(f"result.{name} interval")
    if isinstance(found, list | tuple) and len(found) == 2:
        return _number(found[0]), _number(found[1])
    return math.nan, math.nan


def _value(row: Mapping[str, Any], name: str) -> float:
    return _number(row.get(f"result.{name}", row.get(name) if name == "seconds" else None))


def _multiples(
    table: pd.DataFrame, results: Sequence[str], parameter: str
) -> tuple[list[tuple[Any, ...]], dict[str, Any]]:
    """Return rows of the results against one parameter; without one, against the runs."""
    values = _column(table, parameter) if parameter else short_names(list(table["run"]))
    places, names, log = _places(values)
    rows = []
    for k, row in enumerate(table.to_dict("records")):
        for name in results:
            y = _value(row, name)
            if not math.isnan(y + places[k]):
                rows.append((row["run"], name, places[k], y, *_interval(row, name), text_of(y)))
    label = parameter or "run"
    return rows, {"panels": list(results), "parameter": label, "ticks": names, "log": log}


def _parallel(
    table: pd.DataFrame, results: Sequence[str], parameter: str
) -> tuple[list[tuple[Any, ...]], dict[str, Any]]:
    """Return rows of all parameters that differ and one result, each scaled to 0..1."""
    names = differing(table)
    if parameter in names:
        names = [parameter, *(n for n in names if n != parameter)]
    names = names[: _AXES - 1]
    columns = {name: list(table[f"param.{name}"]) for name in names}
    records = table.to_dict("records")
    if results:
        columns[results[0]] = [_value(row, results[0]) for row in records]
    rows, ticks = [], {}
    for k, (name, values) in enumerate(columns.items()):
        heights, ticks[name] = _heights(values)
        for run, height, value in zip(table["run"], heights, values, strict=True):
            if not math.isnan(height):
                rows.append((run, name, float(k), height, math.nan, math.nan, text_of(value)))
    return rows, {"panels": list(columns), "axes": ticks}


def _heights(values: Sequence[Any]) -> tuple[list[float], list[tuple[float, str]]]:
    """Scale values to 0..1, and name ends or all of them."""
    places, names, log = _places(values)
    if names:
        top = max(len(names) - 1, 1)
        return [p / top for p in places], [(k / top, name) for k, name in enumerate(names)]
    scaled = np.log10(places) if log else np.asarray(places, float)
    if not np.isfinite(scaled).any():
        return [math.nan] * len(values), []
    low, high = np.nanmin(scaled), np.nanmax(scaled)
    ends = np.nanmin(places), np.nanmax(places)
    if low == high:
        return [0.5 + 0 * float(s) for s in scaled], [(0.5, text_of(float(ends[0])))]
    heights = [float((s - low) / (high - low)) for s in scaled]
    return heights, [(float(k), text_of(float(end))) for k, end in enumerate(ends)]
