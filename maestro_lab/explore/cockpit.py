"""Watch a training, stop it, and look at one that ended, failed or was killed."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maestro_lab.errors import ParameterError, RunError
from maestro_lab.explore.base import Explorer, interactive
from maestro_lab.explore.controls import Choice, Number, Spot
from maestro_lab.explore.picture import as_it_stands
from maestro_lab.training.monitor import Monitor, Plan, read_metrics
from maestro_lab.training.progress import duration, pace

if TYPE_CHECKING:
    from ipywidgets import Widget
    from matplotlib.figure import Figure

    from maestro_lab.explore.picture import Picture
    from maestro_lab.runs import Run
    from maestro_lab.training.reconstruct import Reconstruction

__all__ = ["TrainingCockpit"]

SHARE = 0.03
"""Share of the time that drawing may take from the training."""

_LINE, _GUESS = 0.5, 10.0  # seconds between lines of words, and between guesses
_SCALES = ("from zero", "close up", "logarithmic")


class TrainingCockpit(Explorer, Monitor):
    """Losses, learning rate, speed and the latest guesses of a training, and a button to stop it.

    Given to :func:`~maestro_lab.training.pretrain.pretrain` as its ``monitor`` it shows itself in
    JupyterLab and follows the training, which it slows down by some percent at most. Executed by
    papermill it shows nothing; :meth:`static` draws the figure of what happened. Given a folder
    alone it shows what a run has left so far.

    Stop, or the square in JupyterLab's toolbar, ends the training after the running step, with a
    checkpoint; the same cell run again goes on from there. A second square ends it at once.

    Parameters
    ----------
    folder
        Of the run, or the run; None for a training that writes nothing.
    every
        Least seconds between pictures.
    **state
        Controls: ``scale`` of the losses, ``sample`` that is reconstructed (its number among those
        held out), and ``at``, an epoch whose numbers are told.

    Raises
    ------
    RunError
        If there is no such folder.

    Examples
    --------
    >>> import tempfile
    >>> cockpit = TrainingCockpit(tempfile.mkdtemp(), scale="close up")
    >>> print(cockpit.words(**cockpit.state))
    <div class='maestro-words'>no metrics yet</div>
    """

    title = "Training cockpit"

    def __init__(
        self, folder: str | Path | Run | None = None, *, every: float = 2.0, **state: Any
    ) -> None:
        super().__init__(
            {
                "scale": Choice(options=_SCALES),
                "sample": Number(0, low=0, high=0, look="box", hidden=True),
                "at": Spot(taken=self._epoch, words="an epoch, or None"),
            }
        )
        self.folder = None if folder is None else Path(getattr(folder, "folder", folder))
        if self.folder is not None and not self.folder.is_dir():
            raise RunError(f"no folder {self.folder}", expected="the folder of a run")
        self.every, self.rows = every, []
        self.running = self.stopped = False
        self.plan: Plan | None = None
        self.model = self.held_out = None
        self.step, self.error, self.seconds = 0, "", 0.0
        self._views: list[Any] = []
        self._lock, self._picture = threading.RLock(), None
        self._guessed: tuple[Any, Any] = (None, None)
        self._handler: Any = None
        self.refresh()
        self.set(**state)

    def _epoch(self, value: Any) -> float:
        """Return an epoch that the training has, as far as that is known."""
        epoch, known = float(value), [float(row.get("epoch", 0)) for row in self.rows]
        last = self.plan.epochs if self.plan is not None else max(known, default=float("inf"))
        if not 0 <= epoch <= last:
            raise ParameterError("epoch to tell", expected=f"0 to {last:g}", found=f"{epoch:g}")
        return epoch

    # -- what a training tells

    @property
    def shows_progress(self) -> bool:
        """Whether somebody sees it: in JupyterLab, not under papermill."""
        return interactive()

    def given(self, model: Any, held_out: Any) -> None:
        """Take the model that is trained, and the samples to show guesses of."""
        from maestro_lab.batches import CubeDataset
        from maestro_lab.models.maestro import Maestro

        self.model = self.held_out = None
        sample, self._guessed = self.controls["sample"], (None, None)
        if isinstance(model, Maestro) and isinstance(held_out, CubeDataset) and len(held_out):
            self.model, self.held_out = model, held_out
            sample.high, sample.hidden = len(held_out) - 1, len(held_out) == 1
            sample.value = min(sample.value, sample.high)

    def began(self, plan: Plan, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show itself where somebody can see it."""
        super().began(plan, rows)
        self.plan, self.rows, self.step = plan, [dict(row) for row in rows], plan.done
        self.running, self.stopped, self.error = True, False, ""
        self._began = self._drawn = self._told = self._guess_at = time.perf_counter()
        self._wait, self._fresh, self._picture = 0.0, False, None
        if not self.shows_progress:
            return
        from IPython.display import display

        self._forget_views()
        display(self.view())  # the first picture takes longest: before the clock starts
        self._began = self._drawn = self._told = time.perf_counter()
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGINT, self._interrupted)

    def _interrupted(self, number: int, frame: Any) -> None:
        if self.asked:
            signal.default_int_handler(number, frame)
        self.stop()

    def stepped(self, step: int) -> None:
        """Bring words and picture up to date, if it is time to."""
        self.step = step
        if not self._views:
            return
        now = time.perf_counter()
        if now - self._told >= _LINE or self.asked:
            self._told = now
            self._tell()
        if self._fresh and now - self._drawn >= max(self.every, self._wait):
            self._draw(now)

    def measured(self, row: Mapping[str, Any]) -> None:
        """Keep a row of the metrics."""
        self.rows.append(dict(row))
        self._fresh = True

    def ended(self, *, stopped: bool, error: BaseException | None = None) -> None:
        """Show the last picture, and give the interrupt key back."""
        self.running, self.stopped = False, stopped
        self.seconds = time.perf_counter() - self._began
        self.error = f"{type(error).__name__}: {error}" if error is not None else ""
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            self._handler = None
        self._picture = None
        if self._views:
            self._tell()
            self._notify()

    def _draw(self, began: float) -> None:
        """Draw, and wait long enough afterwards for the share of the time to be kept."""
        self._fresh, self._picture = False, None
        self._notify()
        self._drawn = time.perf_counter()
        self._wait = (self._drawn - began) / SHARE

    def _notify(self) -> None:
        for follow in list(self._followers):
            follow()

    def _tell(self) -> None:
        for view in self._views:
            view.tell()

    # -- what is known

    def refresh(self) -> TrainingCockpit:
        """Read what the run has left in its folder by now."""
        if not self.running and self.folder is not None:
            rows = read_metrics(self.folder / "metrics.jsonl")
            self.rows = [row for row in rows if isinstance(row, dict) and "step" in row]
            self.step = self.rows[-1]["step"] if self.rows else 0
            self._picture = None
        return self

    @property
    def status(self) -> str:
        """``training``, ``stopped``, ``trained``, or what the card of the run says; empty if none.

        The card of a run that goes on after its training says ``running``.
        """
        if self.running:
            return "training"
        if self.stopped:
            return "stopped"
        if self.plan is not None and not self.error and self.step >= self.plan.steps:
            return "trained"
        if self.folder is None or not (self.folder / "card.json").is_file():
            return "failed" if self.error else ""
        from maestro_lab.runs.card import status_of

        return status_of(self.folder)

    @property
    def line(self) -> str:
        """Step, epoch, speed and time left, in words."""
        if self.plan is None:
            last = self.rows[-1] if self.rows else {}
            parts = [self.status] if self.status else []
            parts += [f"step {self.step:,}", f"epoch {last.get('epoch', 0):g}"] if last else []
            return " · ".join(parts)
        plan, share = self.plan, self.step / max(self.plan.steps, 1)
        parts = [self.status, f"step {self.step:,} of {plan.steps:,}"]
        parts.append(f"epoch {share * plan.epochs:.1f} of {plan.epochs}")
        spent = time.perf_counter() - self._began if self.running else self.seconds
        if self.step > plan.done:
            rate, left = pace(self.step - plan.done, plan.steps - self.step, spent)
            parts.append(f"{rate * plan.samples:.0f} samples/s")
            parts.append(f"{duration(left)} left" if self.running else duration(spent))
        if self.asked and self.running:
            parts.append("stopping after this step")
        return " · ".join(part for part in parts if part)

    def guesses(self, sample: int) -> dict[str, Reconstruction] | None:
        """Let the model guess hidden patches of a held-out sample; None where there is no MAESTRO.

        While it trains, at most every ten seconds: the guesses before stand for the latest.
        """
        if self.model is None:
            return None
        key, found = self._guessed
        now = time.perf_counter()
        soon = self.running and found is not None and now - self._guess_at < _GUESS
        if key == (sample, self.step) or (soon and key[0] == sample):
            return found
        import torch

        from maestro_lab.training.reconstruct import reconstruct

        # Blocks that are compiled for the batches of the training would compile anew for one.
        with torch.compiler.set_stance("force_eager"), torch.random.fork_rng():
            found = reconstruct(self.model, self.held_out[sample])
        self._guessed, self._guess_at = ((sample, self.step), found), time.perf_counter()
        return found

    # -- what an explorer does

    def draw(self, scale: str, sample: int, at: float | None) -> Figure:
        """Draw losses, learning rate, and the latest guesses."""
        from maestro_lab.figures.cockpit import training_view

        name = self.folder.resolve().name if self.folder is not None else ""
        status = "" if self.running else self.status
        title = ", ".join(p for p in (name, status, f"step {self.step:,}") if p)
        return training_view(
            self.rows, title=title, scale=scale, at=at, guesses=self.guesses(sample)
        )

    def words(self, scale: str, sample: int, at: float | None) -> str:
        """Tell the numbers of one row, errors, and what is missing."""
        lines = [as_it_stands(self.error)] if self.error else []
        lines += self._card_words()
        if not self.rows:
            lines.append("no metrics yet")
        else:
            row = self.rows[-1] if at is None else min(self.rows, key=lambda r: _apart(r, at))
            lines.append(_numbers(row))
            if not any("val_loss" in row for row in self.rows):
                lines.append("no held-out loss")
        if self.stopped and self.plan is not None and self.plan.resumable:
            lines.append("A checkpoint is kept: run the cell again to go on from here.")
        return f"<div class='maestro-words'>{'<br>'.join(lines)}</div>"

    def _card_words(self) -> list[str]:
        if self.plan is not None or self.status in ("", "completed", "interactive"):
            return []
        from maestro_lab.runs.collect import record_of

        record = record_of(self.folder)
        lines = [f"<b>{escape(record.status)}</b>"]
        error = record.card.get("error")
        if isinstance(error, Mapping):
            cell = f"cell {error['cell']}: " if error.get("cell") else ""
            text = ": ".join(str(error[k]) for k in ("ename", "evalue") if error.get(k))
            lines.append(as_it_stands(cell + text))
        return lines

    def pointed(self, panel: str, x: float, y: float) -> dict[str, Any]:
        """Choose the epoch that is clicked on."""
        if panel not in ("losses", "rate", "modalities") or not self.rows:
            return {}
        nearest = min(self.rows, key=lambda row: _apart(row, x))
        return {"at": float(nearest.get("epoch", 0.0))}

    def picture(self) -> Picture:
        """Return the figure as pixels; of a running training, drawn by its own thread alone."""
        if self.running and threading.current_thread() is not threading.main_thread():
            self._fresh, self._wait = True, 0.0
            if self._picture is not None:
                return self._picture[1]
        with self._lock:
            key = (self.step, len(self.rows), tuple(self.state.values()))
            if self._picture is None or self._picture[0] != key:
                self._picture = (key, super().picture())
            return self._picture[1]

    def view(self) -> Widget:
        """Return the line of words, the Stop button, controls and figure as one widget."""
        from maestro_lab.explore.cockpit_lab import CockpitView

        view = CockpitView(self)
        self._views.append(view)
        if not self.running and self.status == "running":
            view.follow(asyncio.get_running_loop())
        return view.box

    def _forget_views(self) -> None:
        """Let views of earlier trainings be: each picture is sent to each view."""
        for view in self._views:
            view.close()
        self._views.clear()


def _apart(row: Mapping[str, Any], epoch: float) -> float:
    return abs(float(row.get("epoch", 0.0)) - epoch)


def _numbers(row: Mapping[str, Any]) -> str:
    """Write a row of the metrics on a line."""
    head = f"<b>step {row['step']:,}, epoch {row.get('epoch', 0):g}</b>"
    numbers = [
        f"{escape(name)} {value:.4g}"
        for name, value in row.items()
        if name not in ("step", "epoch") and isinstance(value, int | float)
    ]
    return ": ".join((head, ", ".join(numbers)))
