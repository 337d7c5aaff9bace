"""How to train: what :func:`~maestro_lab.training.loop.fit` takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from maestro_lab.errors import ParameterError

__all__ = ["TrainingConfig"]


@dataclass(frozen=True)
class TrainingConfig:
    """How to train; defaults are MAESTRO's for pretraining.

    Parameters
    ----------
    epochs, batch_size, accumulate
        Passes over the data; samples a batch and device; batches whose gradients are averaged for
        one step (fewer at the end of an epoch, where batches may be left over).
    base_lr
        Learning rate for a batch of three; the peak grows with the square root of the batch.
    final_factor
        The rate ends at peak / final_factor (1e7 for pretraining and probes, 2 for fine-tuning).
    weight_decay
        On all parameters.
    precision
        "fp32", "bf16", or "auto": bf16 where the hardware computes in it.
    ema
        Average the weights once an epoch.
    seed
        Together with epoch and sample it decides everything that is drawn.
    workers
        Processes that prepare batches.
    log_every
        Steps between rows of the metrics.
    checkpoint_every
        Steps between checkpoints; 0 writes one at the end of each epoch.
    evaluate_every
        Epochs between evaluations; the last epoch is always evaluated.
    compiled
        Compile the transformer blocks with ``torch.compile``. Off: on CPUs the compilation takes
        minutes and gains nothing in float32 (``benchmarks/pretrain_step.py --compiled``).
    checkpointing
        Keep no activations inside the transformer blocks and compute them again in the backward
        pass: less memory for more time. Off.

    Raises
    ------
    ParameterError
        Names the setting and what it may be.
    """

    epochs: int = 20
    batch_size: int = 32
    accumulate: int = 1
    base_lr: float = 3e-5
    final_factor: float = 1e7
    weight_decay: float = 0.01
    precision: str = "auto"
    ema: bool = True
    seed: int = 0
    workers: int = 0
    log_every: int = 20
    checkpoint_every: int = 0
    evaluate_every: int = 1
    compiled: bool = False
    checkpointing: bool = False

    def __post_init__(self) -> None:
        positive = ("epochs", "batch_size", "accumulate", "log_every", "evaluate_every")
        least = dict.fromkeys(positive, 1) | {"workers": 0, "checkpoint_every": 0, "seed": 0}
        for name, bound in least.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < bound:
                raise ParameterError(
                    name, expected=f"a whole number, at least {bound}", found=repr(value)
                )
        for name in ("base_lr", "final_factor", "weight_decay"):
            value, zero = getattr(self, name), name == "weight_decay"
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not (0 < value < math.inf or (zero and value == 0)):
                expected = "a finite number, at least 0" if zero else "a finite number above 0"
                raise ParameterError(name, expected=expected, found=repr(value))
        if self.precision not in ("auto", "fp32", "bf16"):
            raise ParameterError(
                "precision", expected="auto | fp32 | bf16", found=repr(self.precision)
            )
        for name in ("ema", "compiled", "checkpointing"):
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise ParameterError(name, expected="True or False", found=repr(value))
