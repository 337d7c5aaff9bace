"""Masked pretraining."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from maestro_lab.batches import Batch, CubeDataset, loader
from maestro_lab.models.masking import keys_for
from maestro_lab.models.systems import Model
from maestro_lab.training.config import TrainingConfig
from maestro_lab.training.fitted import Fitted
from maestro_lab.training.loop import fit
from maestro_lab.training.monitor import Monitor

if TYPE_CHECKING:
    from maestro_lab.olmoearth.dataset import OlmoEarthDataset

__all__ = ["EVALUATION_EPOCH", "evaluate_loss", "pretrain"]

EVALUATION_EPOCH = 1_000_003
"""Masks for evaluation are drawn as if in this epoch: always the same, never those of training."""


def pretrain(
    model: Model,
    train: CubeDataset | OlmoEarthDataset,
    config: TrainingConfig,
    *,
    val: CubeDataset | OlmoEarthDataset | None = None,
    measure: Callable[[nn.Module], Mapping[str, float]] | None = None,
    folder: Path | None = None,
    resume: bool = True,
    progress: str | None = None,
    monitor: Monitor | None = None,
) -> Fitted:
    """Pretrain a model: MAESTRO guesses hidden pixels, OlmoEarth hidden projections of them.

    Parameters
    ----------
    model
        Trained in place.
    train, val
        Samples to learn from, and samples whose loss is measured after each epoch.
    config
        How to train.
    measure
        Returns further numbers of the model after each evaluation, by name; needs ``val``.
    folder
        Run folder for metrics and checkpoints; None writes nothing.
    resume
        Go on from a checkpoint in ``folder``.
    progress
        How to show progress, as :class:`~maestro_lab.training.progress.Progress` takes it.
    monitor
        Watches the training, and may stop it, such as ``explore.TrainingCockpit``.

    Raises
    ------
    TrainingError
        If the loss is not a number, or a checkpoint is from another configuration.
    """

    def losses(model: nn.Module, batch: Batch, epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
        output = model(batch, keys_for(config.seed, epoch, batch.sample))
        return output.loss, {f"loss/{name}": value for name, value in output.losses.items()}

    settings = {"model": model.config.to_dict()}
    crops = getattr(train, "crops", None)
    if crops is not None:
        settings["crops"] = asdict(crops)

    def evaluate(bare: nn.Module) -> dict[str, float]:
        return evaluate_loss(bare, val, config) | dict(measure(bare) if measure else {})

    if monitor is not None:
        monitor.given(model, val)
    return fit(
        model,
        train,
        losses,
        config,
        settings=settings,
        folder=folder,
        evaluate=None if val is None else evaluate,
        resume=resume,
        progress=progress,
        monitor=monitor,
    )


@torch.no_grad()
def evaluate_loss(
    model: Model, data: CubeDataset | OlmoEarthDataset, config: TrainingConfig
) -> dict[str, float]:
    """Return the mean loss over a data set, under masks that are always the same.

    Returns
    -------
    dict
        ``val_loss`` and ``val_loss/{modality}``.
    """
    device = next(model.parameters()).device
    sums: dict[str, float] = {}
    for batch in loader(data, config.batch_size):
        batch = batch.to(device)
        output = model(batch, keys_for(config.seed, EVALUATION_EPOCH, batch.sample))
        parts = {"val_loss": output.loss} | {f"val_loss/{n}": v for n, v in output.losses.items()}
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + float(value) * len(batch)
    return {name: total / len(data) for name, total in sums.items()}
