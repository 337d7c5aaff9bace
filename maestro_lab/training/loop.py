"""The one training loop: AdamW, one-cycle rates, averaged weights, checkpoints, resume.

What differs between pretraining, probing and fine-tuning is the function that turns a batch into
losses. Devices, precision and processes are the business of ``accelerate``.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from maestro_lab.batches import Batch, CubeDataset, loader
from maestro_lab.errors import TrainingError
from maestro_lab.models.kernels import wants_bf16
from maestro_lab.models.transformer import tuned_blocks
from maestro_lab.training.checkpoint import MetricsFile, load_checkpoint, save_checkpoint
from maestro_lab.training.config import TrainingConfig
from maestro_lab.training.fitted import Fitted
from maestro_lab.training.frozen import FrozenFeatures
from maestro_lab.training.monitor import Monitor, Plan, watched
from maestro_lab.training.progress import Progress
from maestro_lab.training.schedule import cosine_decay, ema_momentum, max_lr, one_cycle
from maestro_lab.training.watch import Watch

__all__ = ["Fitted", "fit"]

Losses = Callable[[nn.Module, Any, int], tuple[Tensor, dict[str, Tensor]]]
"""(model, batch, epoch) -> the loss, and its parts by name."""


def _accelerator(config: TrainingConfig) -> Accelerator:
    def make(precision: str) -> Accelerator:
        state = AcceleratorState._shared_state
        if state and state.get("_mixed_precision") != precision:
            AcceleratorState._reset_state()  # a notebook may train twice, in two precisions
        return Accelerator(mixed_precision=precision)

    device = make("no").device
    return make("bf16" if wants_bf16(config.precision, device) else "no")


def fit(
    model: nn.Module,
    data: CubeDataset | FrozenFeatures,
    losses: Losses,
    config: TrainingConfig,
    *,
    settings: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    watch: Watch | None = None,
    later: Mapping[str, tuple[float, float]] | None = None,
    resume: bool = True,
    progress: str | None = None,
    monitor: Monitor | None = None,
) -> Fitted:
    """Train a model.

    Parameters
    ----------
    model
        Trained in place.
    data
        Training samples.
    losses
        Turns a batch into the loss and its parts.
    config
        How to train.
    settings
        What the model is; a checkpoint made with other settings is refused.
    folder
        Where ``metrics.jsonl`` and ``checkpoints/`` go; None writes nothing.
    evaluate
        Called at the end of each epoch; its numbers join the metrics.
    watch
        Stops training when its score gets no better, and leaves the best weights in the model.
        With it, the averaged weights are those that are evaluated and kept.
    later
        Beginning of names of parameters to the share of the steps for which they stay as they are,
        and their learning rate after that, as a share of the others'.
    resume
        Go on from the checkpoint in ``folder`` if there is one; else it is deleted.
    progress
        How to show progress, as :class:`~maestro_lab.training.progress.Progress` takes it.
    monitor
        Watches the training, and may stop it; it changes no number.

    Raises
    ------
    TrainingError
        If the loss is not a number, or a checkpoint does not fit.
    """
    settings = {**(settings or {}), **({"later": later} if later else {})}
    loop = _Loop(model, data, losses, config, settings, folder, evaluate, watch, later or {})
    loop.mode, loop.monitor = progress, monitor
    if resume:
        loop.resume()
    elif loop.checkpoint is not None and loop.accelerator.is_main_process:
        loop.checkpoint.unlink(missing_ok=True)  # or a later resume would take it for ours
    with tuned_blocks(model, compiled=config.compiled, checkpointing=config.checkpointing):
        return loop.run()


class _Loop:
    """The state of one training run; :func:`fit` in small steps."""

    def __init__(
        self,
        model: nn.Module,
        data: CubeDataset | FrozenFeatures,
        losses: Losses,
        config: TrainingConfig,
        settings: dict[str, Any],
        folder: Path | None,
        evaluate: Callable[[nn.Module], dict[str, float]] | None,
        watch: Watch | None,
        later: Mapping[str, tuple[float, float]],
    ) -> None:
        self.config, self.losses, self.evaluate, self.watch = config, losses, evaluate, watch
        self.mode: str | None = None
        self.monitor: Monitor | None = None
        self.accelerator = _accelerator(config)
        world = self.accelerator.num_processes
        self.batches = loader(
            data, config.batch_size, workers=config.workers, world=world,
            rank=self.accelerator.process_index, pin=self.accelerator.device.type == "cuda",
        )  # fmt: skip
        self.per_epoch = len(self.batches)
        self.total = config.epochs * math.ceil(self.per_epoch / config.accumulate)
        self.peak = config.base_lr
        if config.schedule == "one_cycle":
            self.peak = max_lr(config.base_lr, config.batch_size, config.accumulate, world)
        optimiser = torch.optim.AdamW(
            _groups(model, later),
            lr=self.peak, betas=config.betas, weight_decay=config.weight_decay, fused=True,
        )  # fmt: skip
        self.model, self.optimiser = self.accelerator.prepare(model, optimiser)
        self.bare = self.accelerator.unwrap_model(self.model)
        # How many processes prepare batches and how often a checkpoint is written change nothing.
        free = ("workers", "checkpoint_every", "log_every", "compiled", "checkpointing")
        if watch is None:
            free = (*free, "evaluate_every")
        plain = {k: v for k, v in asdict(config).items() if k not in free}
        taken = {"samples": len(data), "split": data.split, "data_seed": data.seed}
        self.settings = {**settings, "training": {**plain, **taken, "world": world}}
        main = folder if self.accelerator.is_main_process else None
        self.metrics_path = main / "metrics.jsonl" if main else None
        self.checkpoint = folder / "checkpoints" / "last.pt" if folder else None
        self.batch, self.step, self.sums, self.counted = 0, 0, {}, 0
        self.stopped = False
        self.ema = None
        if config.ema:
            self.ema = {n: p.detach().clone() for n, p in self.bare.named_parameters()}

    # -- checkpoints

    def resume(self) -> None:
        """Take the state of the last checkpoint, if there is one."""
        if self.checkpoint is None or not self.checkpoint.exists():
            return
        state = load_checkpoint(self.checkpoint, self.settings)
        self.bare.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.batch, self.step = state["batch"], state["step"]
        self.sums = {k: v.to(self.accelerator.device) for k, v in state["sums"].items()}
        self.counted = state["counted"]
        if self.ema is not None:
            device = self.accelerator.device
            self.ema = {name: p.to(device) for name, p in state["ema"].items()}
        if self.watch is not None:
            self.watch.load(state["watch"])

    def save(self) -> None:
        """Write a checkpoint, unless the numbers went wrong."""
        self._refuse_nan("loss", float(self.sums.get("loss", 0.0)))
        # The loss tells of weights before the last step; these are those after it.
        finite = torch.stack([p.detach().isfinite().all() for p in self.bare.parameters()]).all()
        self._refuse_nan("weight", 0.0 if finite else math.nan)
        if self.checkpoint is None or not self.accelerator.is_main_process:
            return
        save_checkpoint(
            self.checkpoint,
            {
                "settings": json.dumps(self.settings),
                "model": self.bare.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "ema": self.ema,
                "batch": self.batch,
                "step": self.step,
                "sums": self.sums,
                "counted": self.counted,
                "watch": None if self.watch is None else self.watch.state(),
            },
        )

    # -- the loop itself

    def run(self) -> Fitted:
        """Train to the end, or until a monitor asks to stop."""
        started = time.perf_counter()
        self.metrics = MetricsFile(self.metrics_path, self.step)
        samples = self.config.batch_size * self.config.accumulate * self.accelerator.num_processes
        saves = self.checkpoint is not None
        plan = Plan(self.total, self.step, self.config.epochs, samples, saves)
        shown = self.monitor is not None and self.monitor.shows_progress
        mode = self.mode or ("silent" if shown else None)
        self.progress = Progress(self.total, samples, done=self.step, mode=mode)
        try:
            with torch.random.fork_rng(), watched(self.monitor, plan, self.metrics.rows) as ends:
                self._epochs()
                ends(self.stopped)
        finally:
            self.progress.close()
            self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        if self.watch is not None and self.watch.weights:
            self.bare.load_state_dict(self.watch.weights)
        return Fitted(
            self.metrics.rows,
            self.ema,
            time.perf_counter() - started,
            str(self.accelerator.device),
            "bf16" if self.accelerator.mixed_precision == "bf16" else "fp32",
            self.step,
            self.total,
            self.stopped,
        )

    def _epochs(self) -> None:
        for epoch in range(self.batch // self.per_epoch, self.config.epochs):
            if self.watch is not None and self.watch.stop:
                break
            self._epoch(epoch)
            self.stopped = self._asked() and self.step < self.total
            if self.stopped:
                break

    def _asked(self) -> bool:
        """Tell whether the monitor of any process asks to stop."""
        if self.monitor is None:
            return False
        if self.accelerator.num_processes == 1:
            return self.monitor.asked
        asked = torch.tensor(float(self.monitor.asked), device=self.accelerator.device)
        return bool(self.accelerator.reduce(asked, "sum") > 0)

    def _epoch(self, epoch: int) -> None:
        order = self.batches.batch_sampler
        order.epoch, order.skip = epoch, self.batch - epoch * self.per_epoch
        self.model.train()
        for batch in self.batches:
            if self._batch(batch.to(self.accelerator.device), epoch) and self._asked():
                self.save()
                return
        if self.ema is not None:
            momentum = ema_momentum(self.config.epochs)
            for name, p in self.bare.named_parameters():
                self.ema[name].lerp_(p.detach(), 1 - momentum)
        self._log(epoch, last=True)
        self.save()

    def _batch(self, batch: Batch, epoch: int) -> bool:
        """Learn from a batch; tell whether this ended a step inside the epoch."""
        done, together = self.batch % self.per_epoch, self.config.accumulate
        together = min(together, self.per_epoch - done // together * together)
        steps = (done + 1) % self.config.accumulate == 0 or done + 1 == self.per_epoch
        # What the model draws itself (skipped blocks, say) is the same again after a resume.
        torch.manual_seed(self._stream())
        with nullcontext() if steps else self.accelerator.no_sync(self.model):
            loss, parts = self.losses(self.model, batch, epoch)
            self.accelerator.backward(loss / together)
        self.batch += 1
        self.counted += 1
        for name, value in {"loss": loss, **parts}.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach()
        if not steps:
            return False
        for group in self.optimiser.param_groups:
            begun = self.step >= group["wait"] * self.total
            group["lr"] = self._lr() * group["factor"] * begun
        if self.config.clip:
            self.accelerator.clip_grad_norm_(self.bare.parameters(), self.config.clip)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.step += 1
        within = self.batch % self.per_epoch
        if self.step % self.config.log_every == 0 and within:
            self._log(epoch)
        every = self.config.checkpoint_every
        if every and self.step % every == 0 and within:
            self.save()
        if self.monitor is not None:
            self.monitor.stepped(self.step)
        return within > 0

    def _stream(self) -> int:
        """Return a seed for this batch and process."""
        key = (self.config.seed, self.batch, self.accelerator.process_index)
        return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)

    def _lr(self) -> float:
        done, c = min(self.step, self.total - 1), self.config
        rate = one_cycle if c.schedule == "one_cycle" else cosine_decay
        return rate(done, self.total, self.peak, warmup=c.warmup, final_factor=c.final_factor)

    def _log(self, epoch: int, *, last: bool = False) -> None:
        """Write mean losses since the last row and, after an epoch, the evaluation."""
        row: dict[str, Any] = {"step": self.step, "epoch": round(self.batch / self.per_epoch, 4)}
        row["lr"] = self._lr()
        if self.counted:
            means = {name: value / self.counted for name, value in self.sums.items()}
            means = {k: self.accelerator.reduce(v, "mean") for k, v in means.items()}
            row |= {name: float(value) for name, value in means.items()}
        self._refuse_nan("loss", row.get("loss", 0.0))
        due = (epoch + 1) % self.config.evaluate_every == 0 or epoch + 1 == self.config.epochs
        if last and due and self.evaluate is not None:
            row |= self._evaluate(epoch)
        self.metrics.write(row)
        if self.monitor is not None:
            self.monitor.measured(row)
        self.sums, self.counted = {}, 0
        watched = self.watch.monitor if self.watch is not None else ""
        shown = {k: v for k, v in row.items() if k in ("loss", "val_loss", watched)}
        self.progress.update(self.step, f"epoch {epoch + 1}/{self.config.epochs}", **shown)

    def _evaluate(self, epoch: int) -> dict[str, float]:
        """Evaluate, with averaged weights where they are the ones to keep."""
        self.bare.eval()
        averaged = self.watch is not None and self.ema is not None
        with _exchanged(self.bare, self.ema) if averaged else nullcontext():
            found = self.evaluate(self.bare)
            for name in (n for n in found if n.startswith("val_loss")):
                self._refuse_nan(name, found[name])
            found = {name: value for name, value in found.items() if math.isfinite(value)}
            if self.watch is not None:
                self.watch.see(epoch, found, self.bare.state_dict)
        return found

    def _refuse_nan(self, what: str, value: float) -> None:
        if math.isfinite(value):
            return
        kept = self.checkpoint is not None and self.checkpoint.exists()
        raise TrainingError(
            f"{'a' if what == 'weight' else 'the'} {what} is not a number at step {self.step}",
            expected=f"a finite {what}",
            found=value,
            do="begin anew with a lower base_lr, or look at the data with describe(cube); "
            + ("the last good checkpoint is kept" if kept else "no checkpoint was written"),
        )


def _groups(model: nn.Module, later: Mapping[str, tuple[float, float]]) -> list[dict[str, Any]]:
    """Sort the parameters that learn by when they begin, and how fast they are."""
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, p in model.named_parameters():
        if p.requires_grad:
            when = next((v for begin, v in later.items() if name.startswith(begin)), (0.0, 1.0))
            groups.setdefault(when, []).append(p)
    return [
        {"params": params, "wait": wait, "factor": factor}
        for (wait, factor), params in groups.items()
    ]


@contextmanager
def _exchanged(model: nn.Module, parameters: Mapping[str, Tensor]) -> Iterator[None]:
    """Give a model other parameters for a while."""
    own = {name: p.detach().clone() for name, p in model.named_parameters()}
    try:
        _fill(model, parameters)
        yield
    finally:
        _fill(model, own)


@torch.no_grad()
def _fill(model: nn.Module, parameters: Mapping[str, Tensor]) -> None:
    for name, p in model.named_parameters():
        p.copy_(parameters[name])
