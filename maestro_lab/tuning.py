"""Steps of notebook 05: heads for a cube's targets, and what labels are worth with pretraining."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from maestro_lab.batches.targets import read_target
from maestro_lab.contract import Contract
from maestro_lab.datasets import Data, dataset_for
from maestro_lab.errors import ParameterError
from maestro_lab.label_curves import LabelCurves, curves_of, trivial_answers, units_of
from maestro_lab.models.heads import HeadConfig
from maestro_lab.models.olmoearth.config import OlmoEarthConfig
from maestro_lab.models.predictor import Predictor, PredictorConfig
from maestro_lab.models.systems import Config, Model
from maestro_lab.olmoearth.dataset import OlmoEarthDataset
from maestro_lab.training.config import TrainingConfig
from maestro_lab.training.progress import Progress
from maestro_lab.training.tune import PHASES, Tuned, predict, score, tune
from maestro_lab.training.units import TRIVIAL

__all__ = ["compare_phases", "head_for", "tune_on"]

_LEAST = 4  # labelled samples
_EVALUATIONS = 20  # of the validation score in a run
_METRICS = {
    "regression": "r2",
    "multilabel": "weighted_f1",
    "classification": "macro_f1",
    "segmentation": "average_iou",
}


def head_for(
    cube: xr.DataTree,
    config: Config | Contract,
    target: str = "",
    *,
    reduce: str = "attentive",
    threshold: float = 0.0,
    patch: int = 0,
) -> tuple[str, HeadConfig]:
    """Choose the head for a target of a cube.

    Parameters
    ----------
    cube, config
        The cube, and the configuration of the model; of MAESTRO the contract will do.
    target
        Name of the target; empty takes the first.
    reduce
        "attentive" or "linear".
    threshold
        Turn fractions into labels: present above it (published for TreeSatAI-TS: 0.07). 0 learns
        the fractions themselves.
    patch
        Pixels along the side of a patch, of OlmoEarth; 0 chooses one.

    Returns
    -------
    tuple
        Name of the target and its head.

    Raises
    ------
    ParameterError
        If the cube has no such target, or a map of labels fits no grid of the model.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> cube = ml.open_cube("landscape", samples=4, modalities=["s2"])
    >>> head_for(cube, ml.contract_for(cube), "land_cover")[1].size
    6
    """
    name, variable = read_target(cube, target)
    task, missing = variable.attrs["task"], int(variable.attrs.get("missing", -1))
    classes = variable.attrs.get("classes")
    size, reference = 0, ""
    if variable.dims[-2:] == ("y", "x"):
        size = variable.sizes["x"]
        reference = _reference(_grids(cube, config, patch), name, size)
    if task in ("fractions", "regression"):
        task = "multilabel" if threshold and task == "fractions" else "regression"
        outputs = variable.shape[1] if variable.ndim == 2 else 1
    elif task == "multilabel":
        outputs = variable.shape[1]
    else:
        outputs = len(classes) if classes else int(variable.where(variable != missing).max()) + 1
    return name, HeadConfig(task, outputs, reduce, reference, size, missing, threshold)


def _grids(cube: xr.DataTree, config: Config | Contract, patch: int) -> dict[str, int]:
    """Return the patches along the side of each modality."""
    if isinstance(config, OlmoEarthConfig):
        data = _one_sample(cube, config, patch)
        return dict.fromkeys(data.input.parts, data.grid)
    contract = config if isinstance(config, Contract) else config.contract
    return {name: m.grid for name, m in contract.modalities.items()}


def _one_sample(cube: xr.DataTree, config: OlmoEarthConfig, patch: int) -> OlmoEarthDataset:
    """Return what tells how samples are cut into patches, which is the same for all of them."""
    return OlmoEarthDataset(cube, config, split=None, samples=[0], patch=patch)


def _reference(every: Mapping[str, int], target: str, size: int) -> str:
    """Return the modality with the finest grid that divides a map."""
    grids = {name: grid for name, grid in every.items() if size % grid == 0}
    if not grids:
        found = ", ".join(f"{name} {grid}" for name, grid in every.items())
        raise ParameterError(
            f"{target} has {size} x {size} pixels, which fit no grid of the model",
            expected=f"a modality whose patches along one side divide {size}",
            found=found,
            do="take other patches, or another target",
        )
    return max(grids, key=lambda name: grids[name])


def compare_phases(
    model: Model,
    cube: xr.DataTree,
    target: str = "",
    *,
    phases: Sequence[str] = PHASES,
    fractions: Sequence[float] = (0.05, 0.2, 1.0),
    seeds: int = 3,
    steps: int = 300,
    batch_size: int = 16,
    base_lr: float | Mapping[str, float] = 1e-3,
    reduce: str = "attentive",
    threshold: float = 0.0,
    patience: int | None = None,
    precision: str = "auto",
    patch: int = 0,
    freeze: float = 0.0,
    encoder_rate: float = 1.0,
    draws: int = 1000,
) -> LabelCurves:
    """Train heads with and without a pretrained encoder, on several shares of the labels.

    Every phase gets the same labelled samples, the same number of steps, and validation samples cut
    down to the same share; the epoch that is best on those counts. Labels of test blocks are used
    once, to score. Intervals resample test blocks and seeds together.

    Parameters
    ----------
    model
        Pretrained; stays as it is.
    cube
        With the target, and samples in train and test.
    target, reduce, threshold
        As in :func:`head_for`.
    phases
        Of :data:`~maestro_lab.training.tune.PHASES`.
    fractions
        Shares of the training samples whose labels are used; those that come to the same number
        of samples are taken once.
    seeds
        How many times everything is repeated with other labels, heads and orders.
    steps
        Optimiser steps of each run.
    batch_size, precision
        As in :class:`~maestro_lab.training.config.TrainingConfig`.
    base_lr
        Learning rate for a batch of three, one for all phases or one for each.
    patience
        Evaluations without a better validation score before a run stops.
    patch
        Pixels along the side of a patch, of OlmoEarth; 0 chooses one.
    freeze, encoder_rate
        As in :func:`~maestro_lab.training.tune.tune`.
    draws
        Bootstrap draws.

    Raises
    ------
    ParameterError
        For an unknown phase, a share outside (0, 1], or a cube without samples to test on.
    """
    _check(phases, fractions, seeds, steps, base_lr)
    name, config = _predictor(model, cube, target, reduce, threshold, patch)
    head = config.heads[name]
    test = _data(cube, config, name, "test", None, seed=0)
    fractions = {len(_data(cube, config, name, "train", f, 0)): f for f in fractions}.values()
    rates = base_lr if isinstance(base_lr, Mapping) else dict.fromkeys(phases, base_lr)
    found: dict[tuple[str, float], list[np.ndarray]] = {}
    runs_in_all = len(fractions) * seeds * len(phases)
    progress = Progress(runs_in_all, samples=0)
    rows, block = [], np.asarray(cube["block"].values)[test.index]
    for fraction, seed in itertools.product(fractions, range(seeds)):
        train = _data(cube, config, name, "train", fraction, seed)
        val = _validation(cube, config, name, fraction, seed)
        settings = _settings(len(train), steps, batch_size, seed, precision)
        for phase in phases:
            predictor = Predictor(copy.deepcopy(model), config)
            training = TrainingConfig(base_lr=rates[phase], **settings)
            tuned = tune(
                predictor, train, training, phase=phase, val=val, patience=patience,
                freeze=freeze, encoder_rate=encoder_rate, progress="silent",
            )  # fmt: skip
            answers = predict(predictor, test)[name]
            truth, guessed, units = units_of(head, answers, answers.answers, block)
            found.setdefault((phase, fraction), []).append(guessed)
            rows.append((phase, fraction, len(train), seed, tuned.epoch))
            progress.update(len(rows), f"{len(train)} labels, seed {seed}, {phase}")
        labels = predictor.heads[name].labels(train.labels(name))
        trivial = trivial_answers(head, labels.numpy(), answers.answers)
        guessed = units_of(head, answers, trivial, block)[1]
        found.setdefault((TRIVIAL, fraction), []).append(guessed)
    progress.close()
    runs = pd.DataFrame(rows, columns=["phase", "fraction", "labels", "seed", "epoch"])
    return curves_of(
        found, truth, units, runs, target=name, metric=_METRICS[head.task], draws=draws
    )


def tune_on(
    model: Model,
    cube: xr.DataTree,
    target: str = "",
    *,
    phase: str = "finetune",
    steps: int = 300,
    batch_size: int = 16,
    base_lr: float | Mapping[str, float] = 1e-3,
    reduce: str = "attentive",
    threshold: float = 0.0,
    patience: int | None = None,
    precision: str = "auto",
    patch: int = 0,
    freeze: float = 0.0,
    encoder_rate: float = 1.0,
    seed: int = 0,
    folder: Path | None = None,
) -> tuple[Predictor, Tuned, dict[str, float]]:
    """Train one predictor on all labels of the training samples, and score it on the test samples.

    Parameters
    ----------
    model, cube, target, reduce, threshold, steps, batch_size, base_lr
        As in :func:`compare_phases`; the model stays as it is.
    patience, precision, patch, freeze, encoder_rate
        As in :func:`compare_phases`.
    phase
        One of :data:`~maestro_lab.training.tune.PHASES`.
    seed
        Of heads and order.
    folder
        Run folder for metrics and checkpoints; None writes nothing.

    Returns
    -------
    tuple
        The predictor with its best weights, how training went, and every score on the test
        samples.
    """
    _check([phase], [1.0], 1, steps, base_lr)
    name, config = _predictor(model, cube, target, reduce, threshold, patch)
    predictor = Predictor(copy.deepcopy(model), config)
    train = _data(cube, config, name, "train", None, seed)
    val = _validation(cube, config, name, 1.0, seed)
    settings = _settings(len(train), steps, batch_size, seed, precision)
    rate = base_lr[phase] if isinstance(base_lr, Mapping) else base_lr
    tuned = tune(
        predictor, train, TrainingConfig(base_lr=rate, **settings), phase=phase, val=val,
        patience=patience, freeze=freeze, encoder_rate=encoder_rate, folder=folder,
    )  # fmt: skip
    return predictor, tuned, score(predictor, _data(cube, config, name, "test", None, seed))


def _predictor(
    model: Model, cube: xr.DataTree, target: str, reduce: str, threshold: float, patch: int
) -> tuple[str, PredictorConfig]:
    """Choose the head for a target, and the patches of a model that takes any."""
    options = {"reduce": reduce, "threshold": threshold, "patch": patch}
    name, head = head_for(cube, model.config, target, **options)
    if not isinstance(model.config, OlmoEarthConfig):
        if patch:
            raise ParameterError("patch of a MAESTRO model", expected="0", found=patch)
        return name, PredictorConfig(model.config, {name: head})
    data = _one_sample(cube, model.config, patch)
    return name, PredictorConfig(model.config, {name: head}, data.patch, data.grid)


def _check(
    phases: Sequence[str],
    fractions: Sequence[float],
    seeds: int,
    steps: int,
    base_lr: float | Mapping[str, float],
) -> None:
    strange = [p for p in phases if p not in PHASES]
    if strange or not phases:
        raise ParameterError("phases", expected=" | ".join(PHASES), found=strange or "none")
    if not fractions or any(not 0 < f <= 1 for f in fractions):
        raise ParameterError("fractions", expected="numbers above 0 and up to 1", found=fractions)
    for name, value in (("seeds", seeds), ("steps", steps)):
        if not isinstance(value, int) or value < 1:
            raise ParameterError(name, expected="a whole number, at least 1", found=repr(value))
    absent = [p for p in phases if isinstance(base_lr, Mapping) and p not in base_lr]
    if absent:
        raise ParameterError(
            f"base_lr has no rate for {absent[0]!r}",
            expected="one number, or one for each phase",
            found=dict(base_lr),
        )


def _data(
    cube: xr.DataTree,
    config: PredictorConfig,
    target: str,
    split: str,
    fraction: float | None,
    seed: int,
    least: int = _LEAST,
) -> Data:
    """Return samples of a split, or a share of them drawn by a seed; larger shares hold smaller."""
    names = np.asarray(cube["split"].values).astype(str)
    samples = np.flatnonzero(names == split)
    if fraction is not None and len(samples):
        order = np.random.default_rng([seed, len(split)]).permutation(samples)
        samples = np.sort(order[: max(min(least, len(samples)), round(fraction * len(samples)))])
    options = {"patch": config.patch} if config.patch else {}
    return dataset_for(
        config.encoder, cube, split=split, seed=seed, train=split == "train",
        targets=[target], samples=samples if len(samples) else None, **options,
    )  # fmt: skip


def _validation(
    cube: xr.DataTree, config: PredictorConfig, target: str, fraction: float, seed: int
) -> Data | None:
    if "val" not in np.asarray(cube["split"].values).astype(str):
        return None
    return _data(cube, config, target, "val", fraction, seed, least=16)


def _settings(
    samples: int, steps: int, batch_size: int, seed: int, precision: str
) -> dict[str, Any]:
    per_epoch = max(1, samples // batch_size)
    epochs = math.ceil(steps / per_epoch)
    return {
        "epochs": epochs, "batch_size": min(batch_size, samples), "seed": seed,
        "precision": precision, "final_factor": 2.0, "log_every": 10**6,
        "evaluate_every": max(1, epochs // _EVALUATIONS),
    }  # fmt: skip
