"""Some lines for each notebook: what came out, said as honestly as the numbers allow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from maestro_lab.bands import Grouping, Stability
from maestro_lab.label_curves import LabelCurves
from maestro_lab.training.probe import ProbeResult, probe_name
from maestro_lab.training.scores import NAMES

__all__ = [
    "groups_verdict",
    "label_verdict",
    "pretrain_verdict",
    "probe_verdict",
    "reconstruction_verdict",
]

_NAMES = {**NAMES, "negative_rmse": "-RMSE"}


def groups_verdict(
    comparison: pd.DataFrame,
    groupings: Mapping[str, Grouping] | None = None,
    sure: Mapping[str, Stability | None] | None = None,
) -> str:
    """Say which groups were proposed, how many ways of measuring agree, and how firm they are.

    Parameters
    ----------
    comparison
        From :func:`~maestro_lab.bands.compare_groupings`.
    groupings
        From :func:`~maestro_lab.bands.group_bands`; with them the other cloud policy is told too.
    sure
        Modality to :func:`~maestro_lab.bands.stability`.
    """
    if comparison.empty:
        return "No modality has three bands or more: there is nothing to group."
    sentences = []
    for name, rows in comparison.groupby("modality", sort=False):
        ways = int(rows["ways"].sum())
        proposed = rows[rows["proposed"]]
        agree = int(proposed["ways"].sum())
        groups = proposed["groups"].iloc[0] if agree else rows["groups"].iloc[0]
        sentence = f"{name}: {groups} ({agree} of {ways} ways of measuring agree)"
        other = _other_clouds(rows, (groupings or {}).get(name))
        if other:
            sentence += f"; {other}"
        drawn = (sure or {}).get(name)
        if drawn is not None:
            sentence += f"; {drawn.over}s drawn again: {drawn.word}"
        sentences.append(sentence)
    return ".\n".join(sentences) + "."


def _other_clouds(rows: pd.DataFrame, grouping: Grouping | None) -> str:
    """Say what the same statistic and linkage give under the other cloud policy."""
    other = {"in": "out", "out": "in"}.get(
        grouping.statistics.selection.clouds if grouping else "", ""
    )
    if not other:
        return ""
    way = f"{grouping.statistic}, {grouping.linkage}, clouds {other}"
    row = next(r for r in rows.itertuples() if way in r.which.split("; "))
    if row.proposed:
        return f"the same with clouds {other}"
    return f"with clouds {other} the same statistic gives {row.groups}"


def pretrain_verdict(metrics: Sequence[Mapping[str, Any]]) -> str:
    """Say how far the loss fell, and whether the held-out loss follows the training loss.

    Parameters
    ----------
    metrics
        Rows of ``metrics.jsonl``.

    Examples
    --------
    >>> rows = [{"step": 5, "val_loss": 1.0}, {"step": 9, "loss": 0.5, "val_loss": 0.9}]
    >>> print(pretrain_verdict(rows))
    After 9 steps the held-out loss fell from 1.000 (step 5) to 0.900;
    the training loss ends at 0.500.
    """
    last, measured = metrics[-1], [row for row in metrics if "val_loss" in row]
    if not measured:
        return f"After {last['step']} steps the training loss is {last['loss']:.3f}; none held out."
    first = measured[0]
    went = "fell" if last["val_loss"] < first["val_loss"] else "rose"
    change = (
        f"{went} from {first['val_loss']:.3f} (step {first['step']}) to {last['val_loss']:.3f}"
        if len(measured) > 1
        else f"is {last['val_loss']:.3f}"
    )
    ends = f"the training loss ends at {last['loss']:.3f}"
    return f"After {last['step']} steps the held-out loss {change}; {ends}."


def reconstruction_verdict(scores: pd.DataFrame) -> str:
    """Compare the model's error with the trivial guesses'.

    Parameters
    ----------
    scores
        From :func:`~maestro_lab.training.reconstruct.reconstruction_scores`.
    """
    table = scores[scores["modality"] == "all"].set_index("guess")
    words = {
        "zero": "predicting the mean of each patch",
        "nearest date": "copying the nearest visible date",
        "band mean": "giving each band its mean over what is visible",
    }
    model = table.loc["model"]
    parts = []
    for guess in sorted((g for g in words if g in table.index), key=lambda g: -table.loc[g, "l1"]):
        gain = 1 - model["l1"] / table.loc[guess, "l1"]
        direction = "below" if gain >= 0 else "above"
        part = f"{abs(gain):.0%} {direction} {words[guess]} ({table.loc[guess, 'l1']:.3f})"
        parts.append(part.replace("%", " %"))
    interval = f"[{model['low']:.3f}, {model['high']:.3f}]"
    head = f"On held-out blocks the L1 error of hidden patches is {model['l1']:.3f} {interval},"
    return _listed(head, parts)


def probe_verdict(result: ProbeResult, target: str, averaged: ProbeResult | None = None) -> str:
    """Compare the pretrained encoder with each baseline, by the interval of their difference.

    Parameters
    ----------
    result
        From :func:`~maestro_lab.training.probe.probe`, with differences.
    target
        Name of the target.
    averaged
        The same with the samples of each place averaged, if places repeat.
    """
    blocks = int(result.scores["blocks"].iloc[0])
    sentences = [f"{target}, probed on {blocks} held-out block{'s' if blocks > 1 else ''}:"]
    sentences += [_probe_sentence(result, m) for m in dict.fromkeys(result.scores["probe"])]
    if averaged is not None:
        sentences.append("With the samples of each place averaged, an easier question:")
        sentences += [_probe_sentence(averaged, m) for m in dict.fromkeys(averaged.scores["probe"])]
    return "\n".join(sentences)


def _listed(head: str, parts: Sequence[str]) -> str:
    """Write a sentence over several lines."""
    return f"{head}\n" + ",\n".join(f"\N{EN DASH} {part}" for part in parts) + "."


_WAYS = {"finetune": "fine-tuning", "probe": "a probe"}


def label_verdict(curves: LabelCurves) -> str:
    """Say what pretraining is worth at each number of labels, by the interval of the difference.

    Parameters
    ----------
    curves
        From :func:`~maestro_lab.tuning.compare_phases`.
    """
    seeds = curves.runs["seed"].nunique()
    blocks = f"{curves.blocks} held-out block{'s' if curves.blocks > 1 else ''}"
    sentences = [
        f"{curves.target}, {_NAMES[curves.metric]} on {blocks}, "
        f"{seeds} seed{'s' if seeds > 1 else ''}."
    ]
    table = curves.scores.set_index(["phase", "labels"])["score"]
    for labels, rows in curves.differences.groupby("labels", sort=False):
        parts = []
        for row in rows[rows["worse"] == "supervised"].itertuples():
            shown = f"{row.difference:+.2f}"
            shown += "" if math.isnan(row.low) else f" [{row.low:+.2f}, {row.high:+.2f}]"
            told = f"{shown}: {_decided(row.low, row.high)}"
            parts.append(f"{_WAYS[row.better]} {table[row.better, labels]:.2f} ({told})")
        if parts:
            twin = f"the supervised twin reaches {table['supervised', labels]:.2f}"
            sentences.append(_listed(f"With {labels} labels {twin},", parts))
    return "\n".join(sentences)


def _decided(low: float, high: float) -> str:
    if math.isnan(low):
        return "no interval from a single block"
    if low > 0:
        return "better, the interval excludes zero"
    return "worse, the interval excludes zero" if high < 0 else "undecided"


def _probe_sentence(result: ProbeResult, method: str) -> str:
    name = probe_name(method)
    differences = result.differences[result.differences["probe"] == method]
    first = differences.iloc[0]["better"]
    score, low, high = result.score(first, method)
    parts = []
    for row in differences.itertuples():
        other, _, _ = result.score(row.worse, method)
        interval = f"{row.difference:+.2f} [{row.low:+.2f}, {row.high:+.2f}]"
        if math.isnan(row.low):
            words, interval = "no interval from a single block", f"{row.difference:+.2f}"
        elif row.low > 0:
            words = "better, the interval excludes zero"
        elif row.high < 0:
            words = "worse, the interval excludes zero"
        else:
            words = "undecided, the interval includes zero"
        parts.append(f"against {row.worse} ({other:.2f}) {words}: {interval}")
    shown = "" if math.isnan(low) else f" [{low:.2f}, {high:.2f}]"
    told = f"{_NAMES[result.metric]} {score:.2f}{shown} with the {first}"
    capital = name if name.startswith("kNN") else f"{name[0].upper()}{name[1:]}"
    return _listed(f"{capital}: {told},", parts)
