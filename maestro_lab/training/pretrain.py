"""Masked pretraining."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from maestro_lab.batches import Batch, CubeDataset, loader
from maestro_lab.models.maestro import Maestro
from maestro_lab.models.masking import keys_for
from maestro_lab.training.config import TrainingConfig
from maestro_lab.training.loop import Fitted, fit

__all__ = ["EVALUATION_EPOCH", "evaluate_loss", "pretrain"]

EVALUATION_EPOCH = 1_000_003
"""Masks for evaluation are drawn as if in this epoch: always the same, never those of training."""


def pretrain(
    model: Maestro,
    train: CubeDataset,
    config: TrainingConfig,
    *,
    val: CubeDataset | None = None,
    folder: Path | None = None,
    resume: bool = True,
) -> Fitted:
    """Pretrain a model by masked reconstruction.

    Parameters
    ----------
    model
        Trained in place.
    train, val
        Samples to learn from, and samples whose loss is measured after each epoch.
    config
        How to train.
    folder
        Run folder for metrics and checkpoints; None writes nothing.
    resume
        Go on from a checkpoint in ``folder``.

    Raises
    ------
    TrainingError
        If the loss is not a number, or a checkpoint is from another configuration.
    """

    def losses(model: nn.Module, batch: Batch, epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
        output = model(batch, keys_for(config.seed, epoch, batch.sample))
        return output.loss, {f"loss/{name}": value for name, value in output.losses.items()}

    def evaluate(bare: nn.Module) -> dict[str, float]:
        return evaluate_loss(bare, val, config)

    return fit(
        model,
        train,
        losses,
        config,
        settings={"model": model.config.to_dict()},
        folder=folder,
        evaluate=None if val is None else evaluate,
        resume=resume,
    )


@torch.no_grad()
def evaluate_loss(model: Maestro, data: CubeDataset, config: TrainingConfig) -> dict[str, float]:
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
