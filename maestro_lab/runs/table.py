"""Runs as text that fits a terminal: one block a notebook, results in rows, runs in columns."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from maestro_lab.runs.collect import Record

__all__ = ["readable", "with_intervals"]

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
    given = [{n: _text(v) for n, v in run.parameters.items()} for run in runs]
    names = dict.fromkeys(name for column in given for name in column)
    differing = [name for name in names if len({column.get(name) for column in given}) > 1]
    columns = []
    for run, column in zip(runs, given, strict=True):
        chosen = {f"{name} =": column.get(name, "") for name in differing}
        columns.append({"status": run.status, **_seconds(run), **chosen, **_results(run)})
    rows = list(dict.fromkeys(name for column in columns for name in column))
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
                first_line, *others = f"{label}: {value}".splitlines()
                yield from textwrap.wrap(first_line, width, subsequent_indent="  ")
                for line in others:
                    yield from textwrap.wrap(
                        line, width, initial_indent="  ", subsequent_indent="    "
                    )


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


def _seconds(run: Record) -> dict[str, str]:
    seconds = run.card.get("seconds")
    return {} if seconds is None else {"seconds": f"{seconds:.0f}"}


def with_intervals(
    results: Mapping[str, Any], text: Callable[[Any], str], gap: str = " "
) -> dict[str, str]:
    """Write results as text, the interval of ``name``, ``name interval``, behind its value.

    Examples
    --------
    >>> with_intervals({"r2": 0.5, "r2 interval": [0.4, 0.6], "n": 3}, str)
    {'r2': '0.5 [0.4, 0.6]', 'n': '3'}
    """
    shown = {}
    for name, value in results.items():
        interval = results.get(f"{name} interval")
        if isinstance(interval, list):
            shown[name] = f"{text(value)}{gap}[{', '.join(text(v) for v in interval)}]"
        elif name.removesuffix(" interval") not in results or not name.endswith(" interval"):
            shown[name] = text(value)
    return shown


def _results(run: Record) -> dict[str, str]:
    flat = {}
    for name, value in run.results.items():
        if isinstance(value, Mapping):
            flat |= {f"{name} {key}": inner for key, inner in value.items()}
        elif not isinstance(value, str) or len(value) <= _LONG:
            flat[name] = value
    return with_intervals(flat, _text, "  ")


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if value in ("", None, [], {}):
        return "-"
    return str(value)
