"""One notebook in one kernel: papermill's engine, watched, so that the true end is known."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from maestro_lab.runs.outcome import Outcome

if TYPE_CHECKING:
    from nbformat import NotebookNode

__all__ = ["Live", "load_notebook", "run_notebook"]

KERNEL = "python3"
"""Always the kernel of this environment, whatever name the notebook was saved with."""


class Tap:
    """A stream to show output on; one that closes (``| head``, a lost terminal) harms no run."""

    def __init__(self, target: TextIO) -> None:
        self.target: TextIO | None = target

    def write(self, text: str) -> None:
        """Write and flush, or fall silent for good."""
        if self.target is None:
            return
        try:
            encoding = getattr(self.target, "encoding", None) or "utf-8"
            self.target.write(text.encode(encoding, "replace").decode(encoding))
            self.target.flush()
        except (OSError, ValueError):
            _let_go(self.target)
            self.target = None

    def flush(self) -> None:
        """Do nothing: every write is flushed."""


def _let_go(stream: TextIO) -> None:
    """Point a closed stream at nothing, or Python complains of what is left in it at its exit."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Live:
    """Where the cells' stdout and stderr are shown while they run."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self.out, self.err = Tap(out), Tap(err)


class _ExitAskedError(Exception):
    """A cell called ``quit()``, which lets the cells after it run on in a dying kernel."""


@dataclass
class _Watch:
    """Knows which cell runs, and tells what it is about; its methods are hooks of nbclient."""

    nb: NotebookNode
    out: Tap | None = None
    cell: int = 0
    index: int = -1
    began: float = field(default_factory=time.monotonic)

    def starts(self, cell: NotebookNode, cell_index: int) -> None:
        self.cell += 1
        between = self.nb.cells[self.index + 1 : cell_index]
        self.index = cell_index
        words = [c.source for c in between if c.cell_type == "markdown"]
        for title in re.findall(r"^## +(.+)$", "\n".join(words), re.MULTILINE):
            if self.out:
                minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
                self.out.write(f"[{minutes}:{seconds:02}] {title}\n")

    def ended(self, cell: NotebookNode, cell_index: int, execute_reply: Mapping[str, Any]) -> None:
        payload = execute_reply["content"].get("payload", [])
        if any(item.get("source") == "ask_exit" for item in payload):
            raise _ExitAskedError


def load_notebook(notebook: Path) -> NotebookNode:
    """Load a notebook, and with it all that executing one needs."""
    with _quiet(), _without_iri():
        import papermill.execute  # noqa: F401  (slow: now, before anything is made on disk)
        from papermill.iorw import load_notebook_node

        return load_notebook_node(str(notebook))


def run_notebook(
    nb: NotebookNode,
    parameters: Mapping[str, Any],
    output: Path,
    *,
    timeout: float | None,
    live: Live | None,
) -> tuple[NotebookNode, Outcome]:
    """Execute a notebook and tell how it ended.

    Parameters
    ----------
    nb
        From :func:`load_notebook`.
    parameters
        Values to inject behind the parameters cell.
    output
        Where the executed notebook is saved, after each cell and at least twice a minute.
    timeout
        Seconds that one cell may take.
    live
        Where to show what the cells print.
    """
    from papermill.parameterize import parameterize_notebook

    with _quiet():
        nb = parameterize_notebook(nb, dict(parameters), kernel_name=KERNEL, language="python")
        watch = _Watch(nb, live and live.out)
        options: dict[str, Any] = {
            "stdout_file": live and live.out,
            "stderr_file": live and live.err,
            "timeout_func": lambda cell: timeout,
            "on_cell_execute": watch.starts,
            "on_cell_executed": watch.ended,
        }
        outcome = _outcome(lambda: _execute(nb, output, options), nb, watch)
    _mend(nb, watch, outcome)
    return nb, outcome


def _execute(nb: NotebookNode, output: Path, options: Mapping[str, Any]) -> None:
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import NotebookExecutionManager
    from papermill.log import logger

    manager = NotebookExecutionManager(nb, str(output), progress_bar=False)
    client = PapermillNotebookClient(
        manager,
        kernel_name=KERNEL,
        log=logger,
        coalesce_streams=True,
        # A graceful shutdown stalls for three seconds now and then.
        shutdown_kernel="immediate",
        extra_arguments=["--log-level=ERROR"],
        **options,
    )
    manager.notebook_start()
    try:
        client.execute()
    finally:
        if client.km is not None:
            # nbclient leaves the kernel alone when it is interrupted while the kernel starts.
            client._cleanup_kernel()
        manager.notebook_complete()


def _outcome(run: Callable[[], object], nb: NotebookNode, watch: _Watch) -> Outcome:
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    try:
        run()
    except KeyboardInterrupt:
        return Outcome("interrupted", watch.cell)
    except CellTimeoutError:
        return Outcome("timeout", watch.cell)
    except _ExitAskedError:
        return _failure(nb, watch) or Outcome("stopped early", watch.cell)
    except DeadKernelError:
        return Outcome("kernel died", watch.cell)
    except OSError as error:
        return Outcome("failed", watch.cell, type(error).__name__, str(error))
    except RuntimeError as error:
        # What jupyter_client raises for a kernel that never came up.
        return Outcome("kernel died", watch.cell, type(error).__name__, str(error))
    return _failure(nb, watch) or Outcome("completed", watch.cell)


def _failure(nb: NotebookNode, watch: _Watch) -> Outcome | None:
    """Return the outcome of the last cell that ran, if it ended with an error."""
    if watch.index < 0:
        return None
    cell = nb.cells[watch.index]
    errors = [output for output in cell.get("outputs", []) if output.output_type == "error"]
    if not errors or "raises-exception" in cell.metadata.get("tags", []):
        return None
    return Outcome.of_error(watch.cell, errors[-1])


def _mend(nb: NotebookNode, watch: _Watch, outcome: Outcome) -> None:
    """Correct what papermill wrote into the notebook: it calls cells completed that never ran."""
    if outcome.status == "completed":
        return
    nb.metadata.papermill["exception"] = True
    for index, cell in enumerate(nb.cells):
        if index == watch.index:
            cell.metadata.papermill["status"] = "failed"
            cell.metadata.papermill["exception"] = True
        elif index > watch.index:
            cell.metadata.papermill["status"] = "pending"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the plumbing (missing cell ids, papermill's log); the cells run elsewhere."""
    log = logging.getLogger("papermill")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


@contextlib.contextmanager
def _without_iri() -> Iterator[None]:
    """Keep jsonschema from compiling a grammar of web addresses, which takes over a second."""
    name = "rfc3987_syntax"
    masked = name not in sys.modules
    if masked:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if masked:
            del sys.modules[name]
