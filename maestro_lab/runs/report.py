"""All runs below a folder on one page: what a stranger opens first."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maestro_lab.errors import RunError
from maestro_lab.runs.collect import Record, records
from maestro_lab.runs.files import write_text
from maestro_lab.runs.page import document, embed, notebook_html, read_notebook
from maestro_lab.runs.table import with_intervals

if TYPE_CHECKING:
    from nbformat import NotebookNode

__all__ = ["keep_notebook", "report"]

_TITLE = "Runs of maestro_lab"
_MANY = 8


def report(
    folder: str | Path = "runs", path: str | Path | None = None, title: str = _TITLE
) -> Path:
    """Write one self-contained HTML page of all runs below a folder.

    Parameters
    ----------
    folder
        Searched with all folders below it.
    path
        Where the page goes; default ``report.html`` in the folder.
    title
        Its heading.

    Returns
    -------
    Path
        The page. It opens without a network: contents, a table of results, and each executed
        notebook with its figures, its code folded away.

    Raises
    ------
    RunError
        If there is no run, or the page cannot be written.

    Examples
    --------
    >>> report("runs", title="Which bands belong together?")  # doctest: +SKIP
    PosixPath('runs/report.html')
    """
    found = records(folder)
    target = Path(path) if path is not None else Path(folder) / "report.html"
    sections = [_section(record, number) for number, record in enumerate(found, 1)]
    html = document(
        title=title,
        date=_day(datetime.now().astimezone()),
        sections=sections,
        tables=_tables(sections),
        single=False,
    )
    try:
        write_text(target, html)
    except OSError as error:
        raise RunError(f"{target} cannot be written", found=error.strerror) from error
    return target


def keep_notebook(nb: NotebookNode, record: Record, source: Path) -> None:
    """Write the executed notebook of a run and its page, code and parameters shown.

    Parameters
    ----------
    nb
        The executed notebook.
    record
        The run.
    source
        Folder that relative image paths in the notebook refer to.
    """
    import nbformat

    write_text(record.folder / "notebook.ipynb", nbformat.writes(nb) + "\n")
    section = _frame(record, 1)
    title, section["html"], _ = notebook_html(nb, source, folded=False)
    section["title"] = title or section["title"]
    html = document(
        title=section["title"], date=section["started"], sections=[section], tables=[], single=True
    )
    write_text(record.folder / "notebook.html", html)


def _section(record: Record, number: int) -> dict[str, Any]:
    section = _frame(record, number)
    nb = read_notebook(record.folder / "notebook.ipynb")
    if nb is not None:
        source = Path(record.card.get("source") or record.folder).parent
        title, section["html"], section["headings"] = notebook_html(
            nb, source, folded=True, prefix=f"run-{number}-"
        )
        section["title"] = title or section["title"]
    else:
        pictures = sorted((record.folder / "figures").glob("*.png"))
        section["figures"] = [(picture.stem, embed(picture)) for picture in pictures]
    return section


def _frame(record: Record, number: int) -> dict[str, Any]:
    """Return what the page says of a run around its notebook."""
    card, results = record.card, dict(record.results)
    verdict = results.pop("verdict", None)
    name = str(card.get("notebook") or record.name)
    return {
        "anchor": f"run-{number}",
        "number": number,
        "name": record.name,
        "notebook": name,
        "title": re.sub(r"[_-]+", " ", name).strip().capitalize(),
        "status": record.status,
        "error": _error(card),
        "verdict": verdict,
        "results": {_words(k): text for k, text in with_intervals(results, _shown).items()},
        "parameters": {key: _exact(value) for key, value in record.parameters.items()},
        "facts": _facts(card),
        "started": _day(_time(card.get("started")), clock=True),
        "took": _duration(card.get("seconds")),
        "html": "",
        "headings": [],
        "figures": [],
    }


def _tables(sections: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the tables of results: one for each notebook that ran often, one for the others."""
    by_notebook: dict[str, list[dict[str, Any]]] = {}
    for section in sections:
        by_notebook.setdefault(section["notebook"], []).append(section)
    once = [group[0] for group in by_notebook.values() if len(group) == 1]
    tables = [{"kind": "list", "runs": [s for s in once if s["results"]]}]
    for group in by_notebook.values():
        if len(group) > 1:
            varied = [n for n in _union(s["parameters"] for s in group) if _varies(n, group)]
            names = _union(s["results"] for s in group)
            tables.append({"kind": "grid", "runs": group, "varied": varied, "names": names})
    return [table for table in tables if table["runs"]]


def _union(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def _varies(name: str, group: list[dict[str, Any]]) -> bool:
    return len({section["parameters"].get(name) for section in group}) > 1


def _error(card: Mapping[str, Any]) -> str:
    error = card.get("error") or {}
    place = f"cell [{error['cell']}]" if error.get("cell") else ""
    lines = str(error.get("evalue", "")).splitlines()
    what = ": ".join(part for part in (error.get("ename", ""), lines[0] if lines else "") if part)
    return ", ".join(part for part in (place, what) if part)


def _facts(card: Mapping[str, Any]) -> dict[str, str]:
    git = card.get("git") or {}
    versions = card.get("versions") or {}
    known = {
        "device": card.get("device"),
        "host": card.get("host"),
        "processors": card.get("cpus"),
        "git": git and git["revision"][:10] + (" with changes" if git.get("dirty") else ""),
        "data": card.get("fingerprint"),
        "resumed": card.get("resumed"),
        **{name: version for name, version in versions.items() if version},
    }
    return {name: _shown(value) for name, value in known.items() if value}


def _words(name: str) -> str:
    return name.replace("_", " ")


def _exact(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _shown(value: Any) -> str:
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f") if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")
    if isinstance(value, list):
        more = f", ... ({len(value)})" if len(value) > _MANY else ""
        return ", ".join(_shown(item) for item in value[:_MANY]) + more
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_shown(item)}" for key, item in value.items())
    return str(value)


def _time(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def _day(time: datetime | None, *, clock: bool = False) -> str:
    if time is None:
        return ""
    # Not strftime: the names of months must not depend on the locale.
    months = "January February March April May June July August September October November December"
    day = f"{time.day} {months.split()[time.month - 1]} {time.year}"
    return f"{day}, {time:%H:%M} {time.tzname() or ''}".strip() if clock else day


def _duration(seconds: Any) -> str:
    if not isinstance(seconds, int | float):
        return ""
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
