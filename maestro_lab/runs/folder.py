"""A run is a folder: its card, results and figures, and the verbs a notebook uses on it."""

from __future__ import annotations

import atexit
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maestro_lab.errors import RunError
from maestro_lab.runs import card as cards
from maestro_lab.runs.files import NotPlainError, plain, read_json, write_json
from maestro_lab.runs.namespace import declared
from maestro_lab.runs.place import make_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["TOKEN", "Run", "open_run", "start_run"]

TOKEN = "MAESTRO_LAB_RUN"
"""Environment variable by which the strict runner tells its notebook that a folder is its own."""

_MANY = 8  # results that are folded

RESERVED = (
    "notebook", "parameters", "status", "started", "seconds", "error", "host", "cwd", "token",
    "pid", "pid_started", "kernel",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A run folder.

    Parameters
    ----------
    folder
        Where it lies.

    Examples
    --------
    >>> import tempfile
    >>> run = start_run("doctest", {}, Path(tempfile.mkdtemp()) / "first")
    >>> run.results(accuracy=0.5, verdict="no better than chance")
    >>> run.card["status"]
    'interactive'
    """

    folder: Path

    @property
    def card(self) -> dict[str, Any]:
        """What ``card.json`` says."""
        return self._read("card.json")

    @property
    def metrics(self) -> Path:
        """Where training writes its metrics, one JSON object a line."""
        return self.folder / "metrics.jsonl"

    @property
    def weights(self) -> Path:
        """Where training writes the weights; ``model.json`` lies beside them."""
        return self.folder / "model.safetensors"

    @property
    def checkpoints(self) -> Path:
        """Folder where training keeps what it needs to go on after a stop."""
        return self.folder / "checkpoints"

    @property
    def shown(self) -> Path:
        """The folder as one would type it: relative, if it is below the current folder."""
        here = Path.cwd()
        return self.folder.relative_to(here) if self.folder.is_relative_to(here) else self.folder

    def figure(self, fig: Figure | None, name: str) -> Figure | None:
        """Save a figure as ``figures/{name}.svg``, ``.pdf`` and ``.png``, its data beside it.

        The same figure gives the same bytes. The data of a figure of :mod:`maestro_lab.figures`
        is a table, ``{name}.csv``, or arrays, ``{name}.nc``; ``maestro-lab figures`` paints it
        anew from them.

        Parameters
        ----------
        fig
            A matplotlib figure; None, from a figure that does not exist for some data, is let
            through.
        name
            A file name without its ending.

        Returns
        -------
        matplotlib.figure.Figure
            The figure itself, so that a notebook shows it when this ends a cell.

        Raises
        ------
        RunError
            If the name is no plain file name.
        """
        if fig is None:
            return None
        from maestro_lab.pictures import save_figure

        if not re.fullmatch(r"\w[\w.+-]*", name):
            raise RunError(
                "a figure cannot be saved under this name", expected="a plain file name", found=name
            )
        target = self.folder / "figures"
        target.mkdir(exist_ok=True)
        save_figure(fig, target / name)
        return fig

    def results(self, **scalars: Any) -> None:
        """Add results to ``results.json``; the text ``verdict`` is shown prominently in reports.

        Parameters
        ----------
        **scalars
            Numbers, text, booleans, None, or flat lists and dicts of these. Floats that are not
            finite become null.

        Raises
        ------
        RunError
            For anything else, an array for example; nothing is written then.
        """
        checked = {name: _result(name, value) for name, value in scalars.items()}
        write_json(self.folder / "results.json", {**self._read("results.json"), **checked})

    def note(self, **facts: Any) -> None:
        """Add facts to ``card.json``, for example the fingerprint of the data.

        Raises
        ------
        RunError
            For a value that JSON cannot hold, or a name that the runner keeps for itself.
        """
        for name in facts:
            if name in RESERVED:
                raise RunError(
                    f"the card's {name!r} is set by the runner", do="choose another name"
                )
        try:
            checked = plain(facts, "note")
        except NotPlainError as error:
            raise RunError("the card holds plain values only", found=error) from error
        write_json(self.folder / "card.json", {**self.card, **checked})

    def _read(self, name: str) -> dict[str, Any]:
        try:
            return read_json(self.folder / name)
        except (OSError, ValueError) as error:
            raise RunError(
                f"{self.folder / name} cannot be read", expected="a JSON object", found=error
            ) from error

    def __repr__(self) -> str:
        return f"Run({str(self.shown)!r}, {cards.status_of(self.folder)})"

    def _repr_html_(self) -> str:
        from maestro_lab.runs.table import with_intervals

        rows = with_intervals(self._read("results.json"), str)
        verdict = escape(rows.pop("verdict", "")).replace("\n", "<br>")
        cells = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th>"
            f"<td style='text-align:left'>{escape(text)}</td></tr>"
            for name, text in rows.items()
        )
        table = f"<table>{cells}</table>"
        if len(rows) > _MANY:
            table = f"<details><summary>{len(rows)} results</summary>{table}</details>"
        said = f"<p>{verdict}</p>" if verdict else ""
        return f"<b>{escape(str(self.shown))}</b>{said}{table}"


def _result(name: str, value: Any) -> Any:
    try:
        value = plain(value, name)
    except NotPlainError as error:
        found: object = error
    else:
        items = list(value.values()) if isinstance(value, dict) else value
        if not isinstance(items, list) or not any(isinstance(i, list | dict) for i in items):
            return value
        found = "a nested one"
    raise RunError(
        f"result {name!r} cannot be kept",
        expected="a number, text, true, false, None, or a flat list or dict of these",
        found=found,
        do="reduce it to a number, or save it as a file of its own in run.folder",
    )


def start_run(notebook: str, namespace: Mapping[str, Any], folder: str | Path = "") -> Run:
    """Begin a run, or go on with the one that ``maestro-lab run`` prepared for this notebook.

    Parameters
    ----------
    notebook
        Name of the notebook; a new folder is ``runs/{notebook}-{NNN}``.
    namespace
        ``globals()``. Its variables declared as ``name: type = default`` are the parameters of the
        run; the one called ``run_folder`` says where the run goes, if it is not empty.
    folder
        Where the run goes, if neither this nor ``run_folder`` is to be a new numbered folder. A
        folder that holds nothing but its card when the kernel ends is removed.

    Raises
    ------
    RunError
        If the folder exists and was not prepared for this notebook.
    ParameterError
        If a parameter holds something other than a plain value.

    Examples
    --------
    >>> run = start_run("02_pretrain", globals())  # doctest: +SKIP
    """
    chosen = folder or namespace.get("run_folder", "")
    if chosen:
        path = Path(chosen).resolve()
        if _prepared(path):
            run = Run(path)
            # If the runner is killed, this kernel must end before a resumed one writes here.
            known = {"device": cards.device(), "kernel": cards.owner()}
            write_json(path / "card.json", {**run.card, **known})
            return run
    stem = Path(notebook).stem if notebook.endswith(".ipynb") else notebook
    card = {
        "notebook": stem,
        "parameters": declared(namespace),
        "status": "interactive",
        "cwd": str(Path.cwd()),
        **cards.circumstances(Path.cwd()),
    }
    card["seed"] = card["parameters"].get("seed")
    path = make_folder(stem, Path(chosen) if chosen else None)
    write_json(path / "card.json", card)
    atexit.register(_forget, path)
    return Run(path)


def _forget(folder: Path) -> None:
    """Remove the folder of a run that left nothing: somebody only had a look."""
    with suppress(OSError):
        if [file.name for file in folder.iterdir()] == ["card.json"]:
            (folder / "card.json").unlink()
            folder.rmdir()


def _prepared(folder: Path) -> bool:
    """Tell whether the runner that executes this notebook made the folder for it."""
    token = os.environ.get(TOKEN)
    try:
        card = read_json(folder / "card.json")
    except (OSError, ValueError):
        return False
    return bool(token) and card.get("status") == "running" and card.get("token") == token


def open_run(folder: str | Path) -> Run:
    """Open the folder of an earlier run.

    Raises
    ------
    RunError
        If it is no run folder.
    """
    path = Path(folder)
    if not (path / "card.json").is_file():
        raise RunError(
            f"{path} is no run",
            expected="a folder with card.json",
            found="a folder without it" if path.is_dir() else "no folder",
            do="maestro-lab collect FOLDER lists the runs below a folder",
        )
    return Run(path.resolve())
