"""Strict execution of a notebook: papermill inside, and none of the failures that it hides.

papermill accepts misspelt parameters, and calls killed, timed-out and exited runs ``completed``.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maestro_lab.errors import ParameterError, RunError
from maestro_lab.runs import card as cards
from maestro_lab.runs.collect import record_of
from maestro_lab.runs.files import write_json
from maestro_lab.runs.folder import TOKEN, Run, open_run
from maestro_lab.runs.kernel import Live, load_notebook, run_notebook
from maestro_lab.runs.outcome import ExecutionError, Outcome
from maestro_lab.runs.parameters import Parameter, check, read_parameters
from maestro_lab.runs.place import make_folder, run_name
from maestro_lab.runs.report import keep_notebook

if TYPE_CHECKING:
    from nbformat import NotebookNode

__all__ = ["execute"]

KERNEL_ENDS = 10.0
"""Seconds to wait, when a run is resumed, for the kernel that its killed runner left behind."""


def execute(
    notebook: str | Path,
    parameters: Mapping[str, Any] | None = None,
    *,
    folder: str | Path | None = None,
    timeout: float | None = None,
    resume: bool = False,
    stream: bool = True,
) -> Run:
    """Execute a notebook in a run folder of its own.

    The kernel works in the current folder, so that relative paths among the parameters mean what
    the caller means. The folder keeps the executed notebook as ``notebook.ipynb`` and
    ``notebook.html``, also when a cell fails.

    Parameters
    ----------
    notebook
        A notebook with a cell tagged ``parameters``, one of them ``run_folder: str = ""``.
    parameters
        Values that replace the defaults.
    folder
        A free path; default ``runs/{notebook}-{NNN}``. With `resume`, the run to go on with.
    timeout
        Seconds that one cell may take; default: any.
    resume
        Go on with a run that did not complete, with the parameters it had.
    stream
        Show what the cells print while they run.

    Returns
    -------
    Run
        The completed run.

    Raises
    ------
    ParameterError, RunError
        Before anything is made, if parameters, notebook or folder are not in order.
    ExecutionError
        If the notebook did not complete; its ``run`` holds what there is.

    Examples
    --------
    >>> execute("notebooks/02_pretrain.ipynb", {"epochs": 1})  # doctest: +SKIP
    Run('runs/02_pretrain-001', completed)
    """
    notebook = Path(notebook)
    declared = read_parameters(notebook)
    given = _check(declared, parameters or {}, timeout)
    nb = load_notebook(notebook)
    token = secrets.token_hex(16)
    if resume:
        run = _resume(notebook, declared, given, Path(folder or ""), token)
    else:
        run = _begin(notebook, declared, given, Path(folder) if folder else None, token)
    live = Live(sys.stdout, sys.stderr) if stream else None
    if live:
        live.out.write(f"{notebook.name} -> {run.shown}\n")
    values = {**(run.card["parameters"] if resume else given), "run_folder": str(run.folder)}
    began = time.monotonic()
    with _told(token), contextlib.chdir(_where(run)):
        nb, outcome = run_notebook(
            nb, values, run.folder / "notebook.ipynb", timeout=timeout, live=live
        )
    _record(run, notebook, nb, outcome, time.monotonic() - began)
    if outcome.status != "completed":
        raise ExecutionError(run, notebook, outcome)
    return run


def _check(
    declared: list[Parameter], parameters: Mapping[str, Any], timeout: float | None
) -> dict[str, Any]:
    if not any(p.name == "run_folder" and p.type == "str" for p in declared):
        raise ParameterError(
            "the notebook cannot be told its run folder",
            expected='a parameter run_folder: str = ""',
            found=", ".join(p.name for p in declared) or "no parameter",
            do='add it, and begin with run = ml.start_run("name", globals())',
        )
    if "run_folder" in parameters:
        raise ParameterError(
            "run_folder is not set like other parameters", do="use --run FOLDER, or folder=..."
        )
    if timeout is not None and not timeout > 0:
        raise ParameterError("timeout", expected="more than 0 seconds", found=timeout)
    return check(declared, parameters)


def _begin(
    notebook: Path,
    declared: list[Parameter],
    given: dict[str, Any],
    folder: Path | None,
    token: str,
) -> Run:
    values = {p.name: p.default for p in declared if p.name != "run_folder"} | given
    # Asked before the folder is there: git would call the tree dirty because of it.
    circumstances = cards.circumstances(notebook.parent)
    card = {"notebook": run_name(notebook), "status": "running", "parameters": values}
    card |= {"seed": values.get("seed"), **circumstances, **cards.owner()}
    card |= {"source": str(notebook.resolve()), "cwd": str(Path.cwd()), "token": token}
    run = Run(make_folder(run_name(notebook), folder))
    try:
        _write_card(run, card)
    except RunError:
        with contextlib.suppress(OSError):
            run.folder.rmdir()
        raise
    return run


def _write_card(run: Run, card: Mapping[str, Any]) -> None:
    try:
        write_json(run.folder / "card.json", card)
    except OSError as error:
        raise RunError(f"{run.shown} cannot be written", found=error.strerror) from error


def _resume(
    notebook: Path, declared: list[Parameter], given: dict[str, Any], folder: Path, token: str
) -> Run:
    run = open_run(folder)
    card, status = run.card, cards.status_of(run.folder)
    if status in ("completed", "running"):
        raise RunError(
            f"{run.shown} cannot be resumed",
            expected="a run that stopped before its end",
            found=f"one with status {status!r}",
        )
    if card.get("notebook") != run_name(notebook):
        raise RunError(
            f"{run.shown} is a run of another notebook",
            expected=card.get("notebook"),
            found=run_name(notebook),
        )
    card["parameters"] = _agreed(declared, card.get("parameters", {}), given)
    _await_kernel(run, card)
    now = cards.circumstances(notebook.parent)
    card["resumed"] = card.get("resumed", 0) + 1
    card["resumed_with"] = {key: now[key] for key in ("started", "versions", "git")}
    card |= {**cards.owner(), "host": now["host"], "token": token, "status": "running"}
    for key in ("error", "kernel"):
        card.pop(key, None)
    _write_card(run, card)
    return run


def _await_kernel(run: Run, card: Mapping[str, Any]) -> None:
    """Wait for the kernel of a killed runner, which soon sees that it is alone."""
    kernel = {"host": card.get("host"), **card.get("kernel", {})}
    until = time.monotonic() + KERNEL_ENDS
    while "pid" in kernel and cards.is_alive(kernel):
        if time.monotonic() > until:
            raise RunError(
                f"{run.shown} is still being written to",
                expected="that the kernel of the run that was killed has ended",
                found=f"its process {kernel['pid']}, which goes on",
                do=f"kill {kernel['pid']}, then resume",
            )
        time.sleep(0.1)


def _agreed(
    declared: list[Parameter], recorded: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the parameters of a resumed run: those it had, which given ones must not change."""
    recorded = check(declared, recorded)
    for name, value in given.items():
        if name in recorded and recorded[name] != value:
            raise ParameterError(
                f"parameter {name} differs from that of the run to resume",
                expected=recorded[name],
                found=value,
                do="leave it out, or begin a new run",
            )
    defaults = {p.name: p.default for p in declared if p.name != "run_folder"}
    return {**defaults, **recorded, **given}


def _where(run: Run) -> Path:
    """Return the folder the run was first called from, for relative paths among its parameters."""
    first = Path(run.card.get("cwd") or ".")
    return first if first.is_dir() else Path.cwd()


@contextlib.contextmanager
def _told(token: str) -> Iterator[None]:
    """Tell the kernel, which inherits the environment, that the run folder is its own."""
    before = os.environ.get(TOKEN)
    os.environ[TOKEN] = token
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(TOKEN, None)
        else:
            os.environ[TOKEN] = before


def _record(run: Run, notebook: Path, nb: NotebookNode, outcome: Outcome, seconds: float) -> None:
    """Keep how it ended: the card first, for it is the smallest and matters most."""
    try:
        card = run.card
        for key in ("token", "pid", "pid_started", "kernel"):
            card.pop(key, None)
        card["status"] = outcome.status
        card["seconds"] = round((card.get("seconds") or 0) + seconds, 3)
        if outcome.facts():
            card["error"] = outcome.facts()
        write_json(run.folder / "card.json", card)
        keep_notebook(nb, record_of(run.folder), notebook.parent)
    except OSError as error:
        raise RunError(
            f"{run.shown}: what came of the run cannot be written",
            found=f"{outcome.status}, then: {error.strerror}",
        ) from error
