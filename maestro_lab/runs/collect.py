"""Many run folders into one table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maestro_lab.errors import RunError
from maestro_lab.runs.card import state
from maestro_lab.runs.files import read_json

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Record", "collect", "record_of", "records"]

_NO_RUNS_BELOW = ("checkpoints", "figures", "__pycache__")


@dataclass(frozen=True)
class Record:
    """What is known of one run.

    Parameters
    ----------
    folder
        Where it lies.
    name
        Its path below the folder that was searched.
    status
        As in its card, or ``killed``, or ``unreadable``.
    card, results
        The content of ``card.json`` and ``results.json``; empty if unreadable.
    """

    folder: Path
    name: str
    status: str
    card: dict[str, Any]
    results: dict[str, Any]

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of the run."""
        return self.card.get("parameters", {})


def collect(folder: str | Path = "runs") -> pd.DataFrame:
    """Collect the runs below a folder into a table.

    Parameters
    ----------
    folder
        Searched with all folders below it.

    Returns
    -------
    pandas.DataFrame
        One row a run in the order they started; columns ``run``, ``notebook``, ``status``,
        ``seconds``, ``param.*`` and ``result.*``. A run whose files cannot be read has the status
        ``unreadable``, one whose process was killed ``killed``.

    Raises
    ------
    RunError
        If there is no run.

    Examples
    --------
    >>> collect("runs")[["run", "status", "result.accuracy"]]  # doctest: +SKIP
    """
    import pandas as pd

    rows = []
    for record in records(folder):
        row = {"run": record.name, "status": record.status}
        row |= {name: record.card.get(name) for name in ("notebook", "seconds")}
        rows.append(row | _flat("param", record.parameters) | _flat("result", record.results))
    fixed = ["run", "notebook", "status", "seconds"]
    names = [name for row in rows for name in row if name not in fixed]
    ordered = sorted(dict.fromkeys(names), key=lambda name: name.split(".")[0])
    return pd.DataFrame(rows, columns=[*fixed, *ordered])


def records(folder: str | Path) -> list[Record]:
    """Read the runs below a folder, in the order they started.

    Raises
    ------
    RunError
        If there is no run.
    """
    top = Path(folder)
    found = [record_of(path, top) for path in _run_folders(top)]
    if not found:
        raise RunError(
            f"no run below {top}",
            expected="folders with card.json",
            found="none" if top.is_dir() else "no such folder",
            do="maestro-lab run NOTEBOOK makes one",
        )
    return sorted(found, key=lambda record: (str(record.card.get("started") or "~"), record.name))


def _run_folders(top: Path) -> Iterator[Path]:
    for path, folders, files in os.walk(top):
        folders[:] = sorted(f for f in folders if f not in _NO_RUNS_BELOW and f[0] != ".")
        if "card.json" in files:
            yield Path(path)


def record_of(folder: Path, top: Path | None = None) -> Record:
    """Read one run, named by its path below `top`."""
    inside = top is not None and folder != top
    name = folder.relative_to(top).as_posix() if inside else folder.resolve().name
    card, results = _read(folder / "card.json"), _read(folder / "results.json")
    readable = card is not None and results is not None and isinstance(card.get("status"), str)
    if readable and not isinstance(card.get("parameters", {}), dict):
        readable = False
    status = state(card) if readable else "unreadable"
    return Record(folder, name, status, card if readable else {}, results or {})


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None


def _flat(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Name the values ``kind.name``, those of a dict ``kind.name.key``."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(f"{kind}.{name}", value)
        else:
            flat[f"{kind}.{name}"] = value
    return flat
