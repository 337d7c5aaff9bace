"""Who watches a training while it runs, and can stop it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Monitor", "Plan", "read_metrics", "watched"]


@dataclass(frozen=True)
class Plan:
    """What a training is about to do.

    Parameters
    ----------
    steps, done
        Steps in all, and those that an earlier call did.
    epochs
        Passes over the samples in all.
    samples
        Samples a step.
    resumable
        Whether a checkpoint is written on a stop, from which the same call goes on.
    """

    steps: int
    done: int
    epochs: int
    samples: int
    resumable: bool = False


class Monitor:
    """Is told of every step and every row of metrics of a training, and may ask it to stop.

    A training that is asked ends after the running step with a checkpoint; called again, it goes
    on, and ends as if it had never stopped. This class itself watches nothing: subclasses do, and
    must leave model, gradients and rows as they are.

    Examples
    --------
    >>> class Impatient(Monitor):
    ...     def stepped(self, step):
    ...         if step == 2:
    ...             self.stop()
    >>> watcher = Impatient()
    >>> watcher.began(Plan(steps=9, done=0, epochs=3, samples=4), [])
    >>> for step in (1, 2):
    ...     watcher.stepped(step)
    >>> watcher.asked
    True
    """

    shows_progress = False
    """Whether it shows the progress, so that no other line need."""
    asked = False
    """Whether the training is to stop."""

    def stop(self) -> None:
        """Ask the training to stop after the running step."""
        self.asked = True

    def given(self, model: Any, held_out: Any) -> None:
        """Take the model that is trained, and the samples held out, or None."""

    def began(self, plan: Plan, rows: Sequence[Mapping[str, Any]]) -> None:
        """See a training begin, with the rows that an earlier call wrote."""
        self.asked = False

    def stepped(self, step: int) -> None:
        """See that so many steps are done."""

    def measured(self, row: Mapping[str, Any]) -> None:
        """See a new row of ``metrics.jsonl``."""

    def ended(self, *, stopped: bool, error: BaseException | None = None) -> None:
        """See a training end: at its end, because it was asked to stop, or with an error."""


@contextmanager
def watched(
    monitor: Monitor | None, plan: Plan, rows: Sequence[Mapping[str, Any]]
) -> Iterator[Callable[[bool], None]]:
    """Tell a monitor that a training begins, and how it ends.

    Yields
    ------
    Callable
        To be called at the end, with whether the training was stopped.
    """
    if monitor is None:
        yield lambda stopped: None
        return
    monitor.began(plan, list(rows))
    try:
        yield lambda stopped: monitor.ended(stopped=stopped)
    except BaseException as error:
        monitor.ended(stopped=False, error=error)
        raise


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the complete rows of a metrics file; a line cut short by a kill is left out."""
    rows = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return rows
