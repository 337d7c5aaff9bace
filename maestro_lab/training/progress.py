"""Progress that reads well in a terminal, in JupyterLab and in a papermill log."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

__all__ = ["Progress", "duration", "pace"]


def duration(seconds: float) -> str:
    """Write a duration for people.

    Examples
    --------
    >>> duration(7.4), duration(125), duration(7260)
    ('7 s', '2 min 05 s', '2 h 01 min')
    """
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def pace(fresh: int, ahead: int, spent: float) -> tuple[float, float]:
    """Return steps a second, and the seconds that the steps ahead will take.

    Parameters
    ----------
    fresh, spent
        Steps done, and the seconds they took.
    ahead
        Steps to come.

    Examples
    --------
    >>> pace(fresh=10, ahead=30, spent=5.0)
    (2.0, 15.0)
    """
    rate = max(fresh, 1) / max(spent, 1e-9)
    return rate, ahead / rate


class Progress:
    """One line that moves (terminal, JupyterLab), or a line now and then (logs).

    Parameters
    ----------
    steps
        Steps in all.
    samples
        Samples a step, for the rate; 0 tells no rate.
    done
        Steps that an earlier run did.
    every
        Least seconds between lines of a log.
    mode
        "bar", "jupyter", "lines" or "silent"; None finds out.

    Examples
    --------
    >>> progress = Progress(steps=2, samples=8, every=0, mode="lines")
    >>> progress.update(2, "epoch 1/1", loss=0.5)  # doctest: +ELLIPSIS
    epoch 1/1   100 %   loss 0.5000   ...
    >>> progress.close()
    """

    def __init__(
        self,
        steps: int,
        samples: int = 1,
        *,
        done: int = 0,
        every: float = 5.0,
        mode: str | None = None,
    ) -> None:
        self.steps, self.samples, self.done, self.every = steps, samples, done, every
        self.mode = mode or _mode()
        self.started = time.perf_counter()
        self.shown = float("-inf")
        self._handle: Any = None

    def update(self, step: int, label: str, **values: float) -> None:
        """Show that ``step`` steps are done; ``values`` are shown as they are named."""
        if self.mode == "silent":
            return
        now, last = time.perf_counter(), step >= self.steps
        wait = self.every if self.mode == "lines" else 0.2
        if now - self.shown < wait and not last:
            return
        self.shown = now
        self._show(self._line(step, label, values, now - self.started))

    def _line(self, step: int, label: str, values: dict[str, float], spent: float) -> str:
        rate, left = pace(step - self.done, self.steps - step, spent)
        parts = [label, f"{step / max(self.steps, 1):4.0%}".replace("%", " %").strip()]
        parts += [f"{name} {value:.4f}" for name, value in values.items()]
        parts += [f"{rate * self.samples:.0f} samples/s"] if self.samples else []
        parts.append(f"{duration(left)} left" if step < self.steps else duration(spent))
        return "   ".join(parts)

    def _show(self, line: str) -> None:
        if self.mode == "bar":
            sys.stdout.write("\r\x1b[K" + line)
            sys.stdout.flush()
        elif self.mode == "jupyter":
            from IPython.display import Pretty, display

            text = Pretty(line)
            if self._handle is None:
                self._handle = display(text, display_id=True)
            else:
                self._handle.update(text)
        else:
            print(line, flush=True)  # noqa: T201  a log is what this mode is for

    def close(self) -> None:
        """End a moving line."""
        if self.mode == "bar" and self.shown > float("-inf"):
            sys.stdout.write("\n")
            sys.stdout.flush()


def _mode() -> str:
    if os.environ.get("MAESTRO_LAB_RUN"):
        return "lines"
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is not None and hasattr(shell, "kernel"):
        return "jupyter"
    return "bar" if sys.stdout.isatty() else "lines"
