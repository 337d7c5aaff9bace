"""How the execution of a notebook ended, told on one screen."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maestro_lab import errors
from maestro_lab.errors import RunError

if TYPE_CHECKING:
    from maestro_lab.runs.folder import Run

__all__ = ["EXIT_STATUS", "ExecutionError", "Outcome", "one_screen"]

EXIT_STATUS = {
    "completed": 0,
    "failed": 3,
    "kernel died": 4,
    "timeout": 5,
    "stopped early": 6,
    "interrupted": 130,
}
"""Status of an executed run to exit status of the command line."""

_OF_PARAMETERS = ("CatalogError", "ContractError", "ParameterError")
"""Errors that other parameters would mend, and a resume would only meet again."""

SCREEN = 24
WIDTH = 200

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


@dataclass(frozen=True)
class Outcome:
    """How an execution ended.

    Parameters
    ----------
    status
        A key of :data:`EXIT_STATUS`.
    cell
        Number of the code cell that ran last, as it stands in brackets beside the cell.
    ename, evalue
        Class and text of the error, if there is one.
    traceback
        Its lines, without colours.
    """

    status: str
    cell: int = 0
    ename: str = ""
    evalue: str = ""
    traceback: tuple[str, ...] = ()

    @classmethod
    def of_error(cls, cell: int, output: Any) -> Outcome:
        """Read the outcome from the error output of a cell."""
        ename, evalue = output.get("ename", ""), output.get("evalue", "")
        if ename == "SystemExit" and evalue in ("", "0", "None"):
            return cls("stopped early", cell)
        lines = _ANSI.sub("", "\n".join(output.get("traceback", []))).splitlines()
        return cls("failed", cell, ename, evalue, tuple(line.rstrip() for line in lines))

    def facts(self) -> dict[str, Any]:
        """Return what the card says of an execution that did not complete."""
        if self.status == "completed":
            return {}
        named = {"cell": self.cell or None, "ename": self.ename, "evalue": self.evalue}
        return {key: value for key, value in named.items() if value}

    def lines(self) -> list[str]:
        """Return what happened, in words."""
        if self.status == "failed":
            message = f"{self.ename}: {self.evalue}".splitlines()
            if self.ename in errors.__all__:
                return message
            # The last lines of a traceback are the message; a long one would hide where it was.
            return list(self.traceback[-8:]) or message
        return {
            "kernel died": [
                f"The kernel died: {self.evalue or 'something killed it'}.",
                "Most often memory ran out: take smaller batches or fewer samples.",
            ],
            "timeout": ["The cell ran longer than --timeout allows."],
            "stopped early": ["The cell called exit() or quit(); the cells after it did not run."],
            "interrupted": ["Interrupted; the cells after it did not run."],
        }[self.status]


class ExecutionError(RunError):
    """A notebook was started and did not complete.

    Parameters
    ----------
    run
        Its run, with the executed notebook.
    notebook
        The notebook.
    outcome
        How it ended.
    """

    def __init__(self, run: Run, notebook: Path, outcome: Outcome) -> None:
        self.run, self.outcome = run, outcome
        self.status, self.exit_status = outcome.status, EXIT_STATUS[outcome.status]
        place = f"cell [{outcome.cell}]" if outcome.cell else "before the first cell"
        head = f"{notebook.name}: {outcome.status} at {place}".replace("at before", "before")
        again = ["maestro-lab", "run", str(notebook), "--resume", str(run.shown)]
        tail = ["", f"executed notebook: {run.shown / 'notebook.html'}"]
        if outcome.ename in _OF_PARAMETERS:
            tail.append("to go on:          begin a new run; resuming keeps the parameters")
        else:
            tail.append(f"to go on:          {shlex.join(again)}")
            if outcome.status == "failed":
                tail.append("                   once mended; with other parameters begin a new run")
        super().__init__(one_screen([head, "", *outcome.lines()], tail))


def one_screen(lines: list[str], tail: list[str] | None = None) -> str:
    """Join lines so that they fit one screen; the tail always stays."""
    tail = tail or []
    room = SCREEN - len(tail)
    if len(lines) > room:
        lines = [*lines[: room - 1], f"... ({len(lines) - room + 1} more lines)"]
    cut = (line if len(line) <= WIDTH else line[: WIDTH - 4] + " ..." for line in [*lines, *tail])
    return "\n".join(cut)
