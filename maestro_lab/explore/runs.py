"""Compare many runs: a table, and results against what differs between them."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from maestro_lab.errors import ParameterError
from maestro_lab.explore.base import Explorer
from maestro_lab.explore.controls import Choice, Spot
from maestro_lab.figures.comparison import runs_view
from maestro_lab.figures.runs_data import (
    VIEWS,
    differing,
    is_missing,
    numeric_results,
    runs_table,
    text_of,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["RunsExplorer"]

_ROWS, _RESULTS, _PARAMETERS = 60, 6, 8  # of the table of words
_PAD = "style='padding:1px 8px;text-align:left'"
_SMALLER = ("loss", "error", "rmse", "mae", "l1", "seconds", "bias")


class RunsExplorer(Explorer):
    """Runs of a notebook as a table and a figure; a click or a box chooses some of them.

    Parameters
    ----------
    runs
        A folder that is searched for runs, or a table from :func:`maestro_lab.collect`.
    **state
        Controls: ``notebook``, ``result`` (empty shows several), ``parameter`` along the
        horizontal axis (empty takes the runs themselves), ``colour``, another parameter, ``view``
        ("small multiples" or "parallel coordinates") and ``chosen``, names of runs.

    Raises
    ------
    RunError
        If there is no run below the folder.
    ParameterError
        For a table that is none of runs, or a value a control cannot take.

    Examples
    --------
    >>> table = pd.DataFrame({"run": ["a", "b"], "notebook": "04_probe", "status": "completed",
    ...                       "param.size": ["nano", "tiny"], "result.r2": [0.4, 0.6]})
    >>> explorer = RunsExplorer(table).click("result:r2", 1, 0.6)
    >>> explorer.state["parameter"], explorer.state["chosen"]
    ('size', ['b'])
    """

    title = "Runs"

    def __init__(self, runs: str | Path | pd.DataFrame, **state: Any) -> None:
        self.table = runs if isinstance(runs, pd.DataFrame) else _collected(runs)
        absent = {"run", "status"} - set(self.table)
        if absent or not len(self.table):
            raise ParameterError(
                "a table of runs", expected="rows from maestro_lab.collect",
                found=f"no column {min(absent)}" if absent else "no row",
            )  # fmt: skip
        books = [text_of(b) for b in self.table.get("notebook", [None] * len(self.table))]
        self._books = np.array(books)
        options = [(f"{b} ({books.count(b)})", b) for b in dict.fromkeys(books)]
        super().__init__(
            {
                "notebook": Choice(max(dict.fromkeys(books), key=books.count), options=options),
                "view": Choice(options=VIEWS, look="buttons"),
                "result": Choice("", options=[""]),
                "parameter": Choice("", options=[""]),
                "colour": Choice("", options=[""]),
                "chosen": Spot([], taken=self._names, words="names of runs of this notebook"),
            }
        )
        self.adapt("notebook")
        self.set(**state)

    @property
    def shown(self) -> pd.DataFrame:
        """The runs of the notebook that is looked at, with the columns that some of them fill."""
        part = self.table[self._books == self.controls["notebook"].value]
        return part[[c for c in part if not all(is_missing(v) for v in part[c])]]

    def _names(self, value: Any) -> list[str]:
        known = list(self.shown["run"])
        names = [value] if isinstance(value, str) else list(value)
        for name in names:
            if name not in known:
                raise ValueError(name)
        return [name for name in known if name in names]

    def adapt(self, name: str) -> None:
        """Offer the results and parameters of the notebook."""
        if name != "notebook":
            return
        table = self.shown
        parameters = differing(table)
        every = [c.removeprefix("param.") for c in table if str(c).startswith("param.")]
        fixed = [p for p in every if p not in parameters and p != "run_folder"]
        results = numeric_results(table)
        self.controls["result"].offer([("several", ""), *results])
        for control, first in (("parameter", "the runs"), ("colour", "nothing")):
            self.controls[control].offer([(first, ""), *parameters, *fixed])
        if parameters and not self.controls["parameter"].value:
            self.controls["parameter"].value = parameters[0]
        chosen = self.controls["chosen"]
        chosen.value = [n for n in chosen.value or [] if n in set(table["run"])]

    def _options(self, **state: Any) -> dict[str, Any]:
        """Return what the figure takes."""
        at = {**self.state, **state}
        options = {name: at[name] for name in ("parameter", "colour", "view")}
        results = [at["result"]] if at["result"] else []
        return {**options, "results": results, "chosen": at["chosen"] or []}

    def draw(self, **state: Any) -> Figure:
        """Draw the results of the runs."""
        return runs_view(self.shown, **self._options(**state))

    def pointed(self, panel: str, x: float, y: float) -> dict[str, Any]:
        """Choose the run nearest to a click, or let it go again."""
        points = self._points(panel, x)
        if points is None or not len(points):
            return {}
        over, up = (_scaled(points[c], at) for c, at in (("x", x), ("y", y)))
        name = points["run"].iloc[int(np.argmin(over**2 + up**2))]
        before = self.state["chosen"] or []
        kept = [n for n in before if n != name]
        return {"chosen": kept if name in before else [*before, name]}

    def boxed(self, panel: str, x: tuple[float, float], y: tuple[float, float]) -> dict[str, Any]:
        """Choose the runs inside a box; an empty box lets all go."""
        points = self._points(panel, None)
        if points is None:
            return {}
        inside = points["x"].between(*x) & points["y"].between(*y)
        return {"chosen": list(dict.fromkeys(points["run"][inside]))}

    def _points(self, panel: str, x: float | None) -> pd.DataFrame | None:
        """Return where the runs stand in a panel; along a line, at the place of a click."""
        data = runs_table(self.shown, **self._options())
        if panel == "parallel":
            return data if x is None else _along(data, x)
        kind, _, name = panel.partition(":")
        if kind != "result":
            return None
        points = data[data["panel"] == name]
        if data.attrs.get("log") and x is not None:
            points = points[(points["x"] - x).abs() == (points["x"] - x).abs().min()]
        return points

    def words(self, **state: Any) -> str:
        """Return the table of the runs, sorted by the result, and what is missing."""
        table, result = self.shown, state["result"]
        results = numeric_results(table)
        names = [result, *(r for r in results if r != result)] if result else results
        lines = [] if results else ["No run has a result that is a number."]
        left = len(differing(table)) - _PARAMETERS
        if len(table) == 1:
            lines.append(
                "One run of this notebook: nothing to compare yet. Run it again with another "
                "parameter (maestro-lab run NOTEBOOK -p NAME VALUE)."
            )
        elif not differing(table):
            lines.append("No parameter differs between these runs.")
        if left > 0:
            lines.append(f"{left} more parameters differ: see collect.")
        if names:
            absent = sum(_number_of(row, names[0]) is None for row in table.to_dict("records"))
            lines += [f"{absent} of {len(table)} runs have no {escape(names[0])}."] * bool(absent)
        if len(table) > _ROWS:
            lines.append(f"The first {_ROWS} of {len(table)} runs are listed.")
        body = _html(table, names[:_RESULTS], state["chosen"] or [])
        return f"<div class='maestro-words'>{'<br>'.join(lines)}{body}</div>"


def _collected(folder: str | Path) -> pd.DataFrame:
    """Collect runs, and the errors of those that failed."""
    from maestro_lab.runs.collect import collect, records

    errors = {r.name: _error(r.card.get("error")) for r in records(folder)}
    table = collect(folder)
    table["error"] = [errors.get(name) for name in table["run"]]
    return table


def _error(found: Any) -> str | None:
    if not isinstance(found, Mapping):
        return None
    words = ": ".join(str(found[k]) for k in ("ename", "evalue") if found.get(k))
    return (words.splitlines() or [""])[0] or None


def _scaled(values: pd.Series, at: float) -> np.ndarray:
    """Return how far values lie from a place, as shares of their range."""
    reach = float(values.max() - values.min())
    return (values.to_numpy() - at) / (reach or 1.0)


def _along(data: pd.DataFrame, x: float) -> pd.DataFrame:
    """Return the height of each line of parallel coordinates at a place."""
    rows = [
        {"run": run, "x": x, "y": float(np.interp(x, line["x"], line["y"]))}
        for run, line in data.groupby("run", sort=False)
    ]
    return pd.DataFrame(rows, columns=["run", "x", "y"])


def _number_of(row: Mapping[str, Any], name: str) -> float | None:
    value = row.get("seconds" if name == "seconds" else f"result.{name}")
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and np.isfinite(value) else None


def _html(table: pd.DataFrame, results: list[str], chosen: list[str]) -> str:
    """Write runs as a table: best result first, then those without one."""
    parameters = differing(table)[:_PARAMETERS]
    rows = table.to_dict("records")
    if results:
        sign = 1 if any(word in results[0].lower() for word in _SMALLER) else -1
        worst = float("inf")
        found = {id(row): _number_of(row, results[0]) for row in rows}
        rows.sort(key=lambda r: worst if found[id(r)] is None else sign * found[id(r)])
    columns = ["run", "status", *parameters, *results]
    head = "".join(f"<th {_PAD}>{escape(name)}</th>" for name in columns)
    body = "".join(_row(row, parameters, results, chosen) for row in rows[:_ROWS])
    return (
        "<div style='overflow:auto;max-height:320px'><table class='maestro-runs' "
        "style='font-size:12px;border-collapse:collapse;white-space:nowrap'>"
        f"<tr>{head}</tr>{body}</table></div>"
    )


def _row(
    row: Mapping[str, Any], parameters: list[str], results: list[str], chosen: list[str]
) -> str:
    mark = row["run"] in chosen
    status = escape(text_of(row["status"]))
    if not is_missing(row.get("error")):
        status += f"<br><small>{escape(str(row['error'])[:80])}</small>"
    cells = [escape(("● " if mark else "") + str(row["run"])), status]
    cells += [escape(text_of(row.get(f"param.{name}"))[:40]) for name in parameters]
    cells += [escape(_result(row, name)) for name in results]
    style = " class='chosen' style='background:#FFF3C4;color:black'" if mark else ""
    return f"<tr{style}>" + "".join(f"<td {_PAD}>{cell}</td>" for cell in cells) + "</tr>"


def _result(row: Mapping[str, Any], name: str) -> str:
    value = row.get("seconds" if name == "seconds" else f"result.{name}")
    interval = row.get(f"result.{name} interval")
    if isinstance(interval, list | tuple):
        return f"{text_of(value)} [{', '.join(text_of(v) for v in interval)}]"
    return text_of(value)
