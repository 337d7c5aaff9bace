"""What a frozen target is good for: the same pretraining with and without, and how it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from maestro_lab.datasets import held_out, train_and_held_out
from maestro_lab.models.olmoearth.config import OlmoEarthConfig
from maestro_lab.models.olmoearth.model import OlmoEarth
from maestro_lab.models.systems import build_model
from maestro_lab.training.config import TrainingConfig
from maestro_lab.training.embed import embed
from maestro_lab.training.pretrain import pretrain
from maestro_lab.training.spread import spread

__all__ = ["CONDITIONS", "collapse_results", "collapse_runs", "collapse_verdict"]

_DISTANCE = {"token_loss": "cosine_distance", "contrastive": 0.0}

CONDITIONS: dict[str, dict[str, Any]] = {
    "frozen, compared": {},
    "frozen, distance": _DISTANCE,
    "learned, compared": {"target": "learned"},
    "learned, distance": {"target": "learned", **_DISTANCE},
}
"""Targets that are frozen, as published, or made by the encoder while it learns; and a loss that
compares tokens and samples with each other, as published, or only asks how far a prediction is from
its target."""


def collapse_runs(
    cube: xr.DataTree,
    config: OlmoEarthConfig,
    training: TrainingConfig,
    *,
    conditions: Mapping[str, Mapping[str, Any]] = CONDITIONS,
    seeds: Sequence[int] = (0, 1, 2),
    crops: Mapping[str, Any] | None = None,
) -> tuple[pd.DataFrame, dict[str, OlmoEarth]]:
    """Pretrain under several conditions, and measure how far embeddings spread as it goes on.

    Embeddings are those of the held-out samples, one vector a location.

    Parameters
    ----------
    cube
        With samples in train, and in val or test.
    config
        Of the model, which the conditions change.
    training
        How to train; its seed is replaced.
    conditions
        Name to changed settings of the configuration.
    seeds
        Of weights, order, crops and masks.
    crops
        How samples are cut, as :func:`~maestro_lab.datasets.train_and_held_out` takes it.

    Returns
    -------
    tuple
        One row for each evaluation of each run (``condition``, ``seed``, ``step``, ``loss`` on
        held-out samples, ``effective rank``, ``uniformity``), and the models of the first seed.
    """
    rows: list[dict[str, Any]] = []
    models: dict[str, OlmoEarth] = {}
    shown = held_out(cube, config)

    def measure(model: OlmoEarth) -> dict[str, float]:
        found = embed(model, shown).features.reshape(-1, model.config.size.width)
        return spread(found[np.isfinite(found).all(1)])

    for seed in seeds:
        train, held = train_and_held_out(cube, config, seed=seed, **(crops or {}))
        for name, changes in conditions.items():
            model = build_model(replace(config, **changes), seed)
            begin = {"condition": name, "seed": seed, "step": 0, **measure(model)}
            fitted = pretrain(
                model, train, replace(training, seed=seed), val=held, measure=measure,
                progress="silent",
            )  # fmt: skip
            rows.append(begin)
            rows += [
                {"condition": name, "seed": seed, "step": row["step"], "loss": row["val_loss"]}
                | {k: row[k] for k in ("effective rank", "uniformity")}
                for row in fitted.metrics
                if "val_loss" in row
            ]
            models.setdefault(name, model)
    columns = ["condition", "seed", "step", "loss", "effective rank", "uniformity"]
    return pd.DataFrame(rows)[columns], models


def collapse_results(runs: pd.DataFrame) -> dict[str, float]:
    """Return where each run ended, as flat results."""
    found = {}
    for row in _ends(runs).itertuples():
        found[f"effective rank, {row.condition}, seed {row.seed}"] = round(row.rank, 3)
        found[f"uniformity, {row.condition}, seed {row.seed}"] = round(row.uniformity, 4)
    return found


def collapse_verdict(runs: pd.DataFrame) -> str:
    """Say how wide the embeddings of each condition spread, and how far the narrowest is behind.

    Examples
    --------
    >>> table = pd.DataFrame({
    ...     "condition": ["frozen", "learned"], "seed": 0, "step": 9, "loss": 0.1,
    ...     "effective rank": [12.0, 2.0], "uniformity": [-1.0, -0.1]})
    >>> collapse_verdict(table)
    'Effective rank: frozen 12.0; learned 2.0. The lowest is 6.0 times below the first.'
    """
    ends = _ends(runs).pivot_table("rank", "seed", "condition")
    names = list(dict.fromkeys(runs["condition"]))
    told = "; ".join(f"{name} {_range(ends[name])}" for name in names)
    lowest = ends.mean().idxmin()
    if lowest == names[0]:
        return f"Effective rank: {told}. None is below the first."
    factor = _range(ends[names[0]] / ends[lowest])
    return f"Effective rank: {told}. The lowest is {factor} times below the first."


def _ends(runs: pd.DataFrame) -> pd.DataFrame:
    last = runs.sort_values("step").groupby(["condition", "seed"], sort=False).tail(1)
    return last.rename(columns={"effective rank": "rank"})


def _range(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return f"{low:.1f}" if len(values) == 1 else f"{low:.1f} to {high:.1f}"
