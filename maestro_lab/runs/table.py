"""Runs as text that fits a terminal: one block a notebook, results in rows, runs in columns."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from maestro_lab.runs.collect import Record

__all__ = ["readable"]

_LONG = 40  # results longer than this are sentences, and go below the table


def readable(found: Sequence[Record], width: int | None = None) -> str:
    """Write runs for a terminal.

    Parameters
    ----------
    found
        From :func:`~maestro_lab.runs.collect.records`.
    width
        Characters in a line. Default: those of the terminal, at least 80.

    Returns
    -------
    str
        For each notebook the parameters in which its runs differ, and their results; intervals
        stand behind their value. What does not fit beside goes below.
    """
    width = width or max(80, shutil.get_terminal_size((100, 24)).columns)
    by_notebook: dict[str, list[Record]] = {}
    for record in found:
        by_notebook.setdefault(str(record.card.get("notebook") or "?"), []).append(record)
    blocks = ["\n".join(_block(name, runs, width)) for name, runs in by_notebook.items()]
    return "\n\n".join(blocks)


def _block(notebook: str, runs: list[Record], width: int) -> Iterator[str]:
    columns = [_cells(run) for run in runs]
    rows = list(dict.fromkeys(name for column in columns for name in column))
    told = {name for run in runs for name in run.results}
    given = {name for run in runs for name in run.parameters} - told
    same = {name for name in given if len({c.get(name) for c in columns}) == 1}
    rows = [name for name in rows if name not in same]
    first = max((len(name) for name in [notebook, *rows]), default=0)
    for few in _fitting(runs, columns, width - first):
        head = [runs[k].name for k in few]
        body = [(name, [columns[k].get(name, "") for k in few]) for name in rows]
        sizes = [max(len(h), *(len(v[i]) for _, v in body)) for i, h in enumerate(head)]
        yield _line(notebook, head, first, sizes)
        yield "-" * (first + sum(size + 2 for size in sizes))
        for name, values in body:
            yield _line(name, values, first, sizes)
    for run in runs:
        for name, value in run.results.items():
            if isinstance(value, str) and len(value) > _LONG:
                label = name if len(runs) == 1 else f"{run.name}, {name}"
                yield from textwrap.wrap(f"{label}: {value}", width, subsequent_indent="  ")


def _line(name: str, values: Sequence[str], first: int, sizes: Sequence[int]) -> str:
    cells = (f"  {value:<{size}}" for value, size in zip(values, sizes, strict=True))
    return f"{name:<{first}}{''.join(cells)}".rstrip()


def _fitting(
    runs: Sequence[Record], columns: Sequence[Mapping[str, str]], width: int
) -> Iterator[list[int]]:
    """Deal runs out to tables that are narrow enough, one run at least in each."""
    few: list[int] = []
    used = 0
    for k, (run, column) in enumerate(zip(runs, columns, strict=True)):
        size = max(len(run.name), *(len(v) for v in column.values())) + 2
        if few and used + size > width:
            yield few
            few, used = [], 0
        few.append(k)
        used += size
    yield few


def _cells(run: Record) -> dict[str, str]:
    """Return name to text: status, seconds, parameters, and results with their intervals."""
    seconds = run.card.get("seconds")
    cells = {"status": run.status}
    if seconds is not None:
        cells["seconds"] = f"{seconds:.0f}"
    cells |= {name: _text(value) for name, value in run.parameters.items()}
    for name, value in run.results.items():
        if name.endswith(" interval") or (isinstance(value, str) and len(value) > _LONG):
            continue
        inner = value.items() if isinstance(value, Mapping) else [("", value)]
        for key, plain in inner:
            cells[f"{name} {key}".strip()] = _text(plain)
        interval = run.results.get(f"{name} interval")
        if isinstance(interval, list):
            cells[name] += f"  [{', '.join(_text(v) for v in interval)}]"
    return cells


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if value in ("", None, [], {}):
        return "-"
    return str(value)
