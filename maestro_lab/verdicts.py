"""One sentence for each notebook: what came out, said as honestly as the numbers allow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from maestro_lab.training.probe import ProbeResult

__all__ = ["groups_verdict", "pretrain_verdict", "probe_verdict", "reconstruction_verdict"]

_NAMES = {"r2": "R²", "accuracy": "accuracy", "macro_f1": "macro F1", "negative_rmse": "-RMSE"}


def groups_verdict(comparison: pd.DataFrame) -> str:
    """Say which groups were proposed, and how many ways of measuring agree with them.

    Parameters
    ----------
    comparison
        From :func:`~maestro_lab.bands.compare_groupings`.
    """
    if comparison.empty:
        return "No modality has three bands or more: there is nothing to group."
    parts = []
    for name, rows in comparison.groupby("modality", sort=False):
        ways = int(rows["ways"].sum())
        proposed = rows[rows["proposed"]]
        agree = int(proposed["ways"].sum())
        groups = proposed["groups"].iloc[0] if agree else rows["groups"].iloc[0]
        parts.append(f"{name}: {groups} ({agree} of {ways} ways of measuring agree)")
    return "; ".join(parts) + "."


def pretrain_verdict(metrics: Sequence[Mapping[str, Any]]) -> str:
    """Say how far the loss fell, and whether the held-out loss follows the training loss.

    Parameters
    ----------
    metrics
        Rows of ``metrics.jsonl``.

    Examples
    --------
    >>> rows = [{"step": 5, "val_loss": 1.0}, {"step": 9, "loss": 0.5, "val_loss": 0.9}]
    >>> pretrain_verdict(rows)
    'In 9 steps the held-out loss fell from 1.000 to 0.900; the training loss ends at 0.500.'
    """
    last = metrics[-1]
    if "val_loss" not in last:
        return f"In {last['step']} steps the training loss went to {last['loss']:.3f}."
    first = next(row["val_loss"] for row in metrics if "val_loss" in row)
    went = "fell" if last["val_loss"] < first else "rose"
    return (
        f"In {last['step']} steps the held-out loss {went} from {first:.3f} to "
        f"{last['val_loss']:.3f}; the training loss ends at {last['loss']:.3f}."
    )


def reconstruction_verdict(scores: pd.DataFrame) -> str:
    """Compare the model's error with the trivial guesses'.

    Parameters
    ----------
    scores
        From :func:`~maestro_lab.training.reconstruct.reconstruction_scores`.
    """
    table = scores[scores["modality"] == "all"].set_index("guess")
    model, zero, nearest = (table.loc[g] for g in ("model", "zero", "nearest date"))
    below = {
        "predicting the mean of each patch": (zero, 1 - model["l1"] / zero["l1"]),
        "copying the nearest visible date": (nearest, 1 - model["l1"] / nearest["l1"]),
    }
    parts = []
    for guess, (row, gain) in below.items():
        direction = "below" if gain >= 0 else "above"
        parts.append(f"{abs(gain):.0%} {direction} {guess} ({row['l1']:.3f})".replace("%", " %"))
    interval = f"[{model['low']:.3f}, {model['high']:.3f}]"
    return (
        f"On held-out blocks the L1 error of hidden patches is {model['l1']:.3f} {interval}, "
        f"{parts[0]} and {parts[1]}."
    )


def probe_verdict(result: ProbeResult, target: str, method: str = "linear") -> str:
    """Compare the pretrained encoder with each baseline, by the interval of their difference.

    Parameters
    ----------
    result
        From :func:`~maestro_lab.training.probe.probe`, with differences.
    target
        Name of the target.
    method
        Which probe to speak of.
    """
    differences = result.differences[result.differences["probe"] == method]
    first = differences.iloc[0]["better"]
    score, low, high = result.score(first, method)
    sentences = [
        f"{target}, {method} probe: {_NAMES[result.metric]} {score:.2f} [{low:.2f}, {high:.2f}] "
        f"with the {first}."
    ]
    for row in differences.itertuples():
        other, _, _ = result.score(row.worse, method)
        interval = f"difference {row.difference:+.2f} [{row.low:+.2f}, {row.high:+.2f}]"
        if math.isnan(row.low):
            words = f"{'better' if row.difference > 0 else 'worse'}, how surely nobody knows: "
            words += "a single held-out block has no interval"
            interval = f"difference {row.difference:+.2f}"
        elif row.low > 0:
            words = "better, beyond the 95 % interval"
        elif row.high < 0:
            words = "worse, beyond the 95 % interval"
        else:
            words = f"{'better' if row.difference > 0 else 'worse'}, but inside the 95 % interval: "
            words += "this much held-out ground cannot tell them apart"
        sentences.append(f"Against {row.worse} ({other:.2f}) it is {words} ({interval}).")
    return " ".join(sentences)
