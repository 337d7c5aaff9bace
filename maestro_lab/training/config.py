"""How to train: what :func:`~maestro_lab.training.loop.fit` takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

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
        Learning rate for a batch of three; the peak grows with the square root of the batch. With
        the schedule "cosine" it is the peak itself.
    final_factor
        The rate ends at peak / final_factor (1e7 for pretraining and probes, 2 for fine-tuning).
    schedule
        "one_cycle" (MAESTRO: cosine up, cosine down) or "cosine" (OlmoEarth: straight up from
        zero, cosine down).
    warmup
        Share of the steps spent rising.
    clip
        Largest norm of the gradient, beyond which it is scaled down; 0 never does.
    betas
        Of AdamW.
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
    schedule: str = "one_cycle"
    warmup: float = 0.2
    clip: float = 0.0
    betas: tuple[float, float] = (0.9, 0.99)
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
        for name in ("base_lr", "final_factor", "weight_decay", "clip"):
            value, zero = getattr(self, name), name in ("weight_decay", "clip")
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not (0 < value < math.inf or (zero and value == 0)):
                expected = "a finite number, at least 0" if zero else "a finite number above 0"
                raise ParameterError(name, expected=expected, found=repr(value))
        for name, legal in (
            ("precision", ("auto", "fp32", "bf16")), ("schedule", ("one_cycle", "cosine")),
        ):  # fmt: skip
            if getattr(self, name) not in legal:
                raise ParameterError(
                    name, expected=" | ".join(legal), found=repr(getattr(self, name))
                )
        if not 0 <= self.warmup < 1:
            raise ParameterError("warmup", expected="at least 0 and below 1", found=self.warmup)
        if len(self.betas) != 2 or not all(0 <= b < 1 for b in self.betas):
            raise ParameterError(
                "betas", expected="two numbers, at least 0 and below 1", found=self.betas
            )
        object.__setattr__(self, "betas", tuple(self.betas))
        for name in ("ema", "compiled", "checkpointing"):
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise ParameterError(name, expected="True or False", found=repr(value))

    @classmethod
    def published(cls, system: str = "maestro", **changes: Any) -> TrainingConfig:
        """Return how a system is pretrained, with some settings changed.

        Parameters
        ----------
        system
            "maestro" or "olmoearth". Published for the latter: batches of 512 samples, a peak of
            2e-4 (nano, v1.1 and later), 667,200 steps of which 8000 rise, a tenth of the peak at
            the end. Short runs rise for a tenth of their steps here.
        changes
            Settings by name; None leaves one as it is.

        Raises
        ------
        ParameterError
            For an unknown system.

        Examples
        --------
        >>> TrainingConfig.published("olmoearth", epochs=3, final_factor=None).clip
        1.0
        """
        known = {
            "maestro": {},
            "olmoearth": {
                "batch_size": 512, "base_lr": 2e-4, "final_factor": 10.0, "schedule": "cosine",
                "warmup": 0.1, "clip": 1.0, "betas": (0.9, 0.999), "weight_decay": 0.02,
                "ema": False,
            },
        }  # fmt: skip
        if system not in known:
            raise ParameterError("system", expected=" | ".join(known), found=repr(system))
        return cls(**known[system] | {k: v for k, v in changes.items() if v is not None})
