"""Early stopping: which epoch was best, and for how long nothing got better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from maestro_lab.errors import ParameterError, TrainingError

__all__ = ["Watch"]


class Watch:
    """Watches one score, keeps the weights that reached its best, and says when to stop.

    Parameters
    ----------
    monitor
        Name of the score in the rows of the metrics; more is better.
    patience
        Evaluations without a better score after which training stops; None never stops it.

    Examples
    --------
    >>> watch = Watch("r2", patience=2)
    >>> for epoch, score in enumerate([0.1, 0.3, 0.2, 0.3]):
    ...     watch.see(epoch, {"r2": score}, dict)
    >>> watch.epoch, watch.best, watch.stop
    (1, 0.3, True)
    """

    def __init__(self, monitor: str, patience: int | None = 5) -> None:
        if patience is not None and (not isinstance(patience, int) or patience < 1):
            raise ParameterError(
                "patience", expected="a whole number, at least 1, or None", found=repr(patience)
            )
        self.monitor, self.patience = monitor, patience
        self.best, self.epoch, self.waited = -math.inf, -1, 0
        self.weights: dict[str, Tensor] = {}

    def see(self, epoch: int, row: Mapping[str, Any], weights: Any) -> None:
        """Look at the scores of an epoch; ``weights()`` is called only if they are the best.

        Raises
        ------
        TrainingError
            If the score is not among them.
        """
        if self.monitor not in row:
            raise TrainingError(
                f"nothing to watch: no score {self.monitor!r}",
                expected=", ".join(k for k in row if "/" in k) or "a score",
                found=", ".join(row),
                do="monitor another score, or validate on samples that have labels",
            )
        if row[self.monitor] > self.best:
            self.best, self.epoch, self.waited = float(row[self.monitor]), epoch, 0
            self.weights = {name: t.detach().clone() for name, t in weights().items()}
        else:
            self.waited += 1

    @property
    def stop(self) -> bool:
        """Whether nothing got better for long enough."""
        return self.patience is not None and self.waited >= self.patience

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        kept = ("best", "epoch", "waited", "weights")
        return {name: getattr(self, name) for name in kept}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up what a checkpoint kept."""
        for name, value in state.items():
            setattr(self, name, value)
