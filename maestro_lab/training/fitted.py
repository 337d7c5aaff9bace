"""What a training leaves in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from maestro_lab.training.progress import duration

__all__ = ["Fitted"]


@dataclass
class Fitted:
    """What :func:`~maestro_lab.training.loop.fit` returns.

    Parameters
    ----------
    metrics
        The rows of ``metrics.jsonl``.
    ema
        Averaged parameters by name, or None.
    seconds
        Time spent in this call.
    device, precision
        What it ran on.
    step, steps
        Steps that are done, and that were to be done.
    stopped
        Whether a monitor asked to stop before the end; the same call again goes on from there.

    Examples
    --------
    >>> Fitted([], None, 2.0, "cpu", "fp32", step=3, steps=8, stopped=True)
    stopped after 3 of 8 steps, in 2 s on cpu (fp32): no losses yet
    """

    metrics: list[dict[str, Any]]
    ema: dict[str, Tensor] | None
    seconds: float
    device: str
    precision: str
    step: int = 0
    steps: int = 0
    stopped: bool = False

    def summary(self) -> dict[str, Any]:
        """Return the last losses, steps and circumstances as flat results."""
        row = self.metrics[-1] if self.metrics else {"step": self.step}
        last = {k: v for k, v in row.items() if k not in ("lr", "epoch")}
        plain = {k: round(v, 5) if isinstance(v, float) else v for k, v in last.items()}
        if self.stopped:
            plain["step"] = self.step
        told = {"device": self.device, "precision": self.precision, "stopped": self.stopped}
        return {**plain, **told}

    def __repr__(self) -> str:
        last = self.metrics[-1] if self.metrics else {}
        losses = ", ".join(f"{k} {last[k]:.4f}" for k in ("loss", "val_loss") if k in last)
        done = f"{last.get('step', self.step)} steps in"
        if self.stopped:
            done = f"stopped after {self.step} of {self.steps} steps, in"
        where = f"{duration(self.seconds)} on {self.device} ({self.precision})"
        return f"{done} {where}: {losses or 'no losses yet'}"
