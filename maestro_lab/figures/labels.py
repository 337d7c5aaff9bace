"""What labels are worth, as a figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from maestro_lab.figures.drawn import painted_by
from maestro_lab.figures.style import (
    COLOURS,
    GREY,
    beside,
    by_epoch,
    finish,
    narrow,
    new_figure,
    styled,
)
from maestro_lab.label_curves import LabelCurves
from maestro_lab.training.scores import NAMES
from maestro_lab.training.tune import Tuned
from maestro_lab.training.units import TRIVIAL

__all__ = ["label_curves", "tuning_curves"]

_MEAN = "mean"
"""What stands for the seed in rows of means."""

_PHASES = {
    "probe": ("probe (encoder frozen)", COLOURS[2], "s"),
    "finetune": ("fine-tuned", COLOURS[0], "o"),
    "supervised": ("supervised twin (not pretrained)", COLOURS[1], "D"),
}


def _paint_curves(data: pd.DataFrame) -> Figure:
    table, runs = data[data["seed"] == _MEAN], data[data["seed"] != _MEAN]
    labels = np.unique(table["labels"])
    wide = labels[-1] / labels[0] if labels[0] else 1.0
    with styled():
        figure = new_figure(3.2)
        axes = figure.subplots()
        for k, (phase, (name, colour, marker)) in enumerate(_PHASES.items()):
            part, own = (rows[rows["phase"] == phase] for rows in (table, runs))
            if part.empty:
                continue
            shift = 1 + (k - 1) * 0.03 * np.log(max(wide, 2))  # side by side, not on each other
            x = part["labels"] * shift
            axes.plot(x, part["score"], color=colour, marker=marker, ms=5, lw=1.5, label=name)
            axes.vlines(x, part["low"], part["high"], color=colour, lw=1.5, alpha=0.6)
            axes.plot(own["labels"] * shift, own["score"], ".", ms=4, color=colour, alpha=0.45)
        trivial = table[table["phase"] == TRIVIAL]
        axes.plot(trivial["labels"], trivial["score"], color=GREY, ls=":", lw=1.2, label=TRIVIAL)
        if len(labels) > 1:
            axes.set_xscale("log")
        axes.set_xticks(labels, [str(n) for n in labels])
        axes.minorticks_off()
        axes.set(xlabel="labelled training samples", ylabel=NAMES[data.attrs["metric"]])
        axes.set_title(_title(data, runs["seed"].nunique()))
        axes.set_ylim(*_limits(table, runs))
        axes.grid(alpha=0.3, lw=0.5)
        axes.legend(loc="best")
    return finish(figure)


@painted_by(_paint_curves)
def label_curves(curves: LabelCurves) -> pd.DataFrame:
    """Draw scores by number of labels: means with 95 % intervals, and each seed as a point.

    Parameters
    ----------
    curves
        From :func:`~maestro_lab.tuning.compare_phases`.
    """
    names = ["phase", "labels", "seed", "score", "low", "high"]
    runs = curves.runs.assign(seed=curves.runs["seed"].astype(str), low=np.nan, high=np.nan)
    table = pd.concat([curves.scores.assign(seed=_MEAN)[names], runs[names]])
    table.attrs = {"metric": curves.metric, "target": curves.target, "blocks": int(curves.blocks)}
    return table


def _paint_tuning(data: pd.DataFrame) -> Figure:
    watched = data.attrs["watched"]
    with styled():
        figure = new_figure(4.6 if watched and narrow() else 2.6)
        losses, *score = beside(figure, 2 if watched else 1)
        for key, name, colour in (
            ("loss", "training", COLOURS[0]),
            ("val_loss", "validation", COLOURS[1]),
        ):
            points = data[["epoch", key]].dropna() if key in data else []
            if len(points):
                losses.plot(points["epoch"], points[key], color=colour, lw=1.5, label=name)
        losses.set_ylabel("loss")
        losses.legend()
        if score:
            _watched(score[0], data, watched)
        for axes in (losses, *score):
            by_epoch(axes)
            axes.grid(alpha=0.3, lw=0.5)
    return finish(figure)


def _watched(axes: Axes, data: pd.DataFrame, watched: str) -> None:
    """Draw the score that chose the epoch, and mark its best."""
    points, best = data[["epoch", watched]].dropna(), data.attrs["best"]
    axes.plot(points["epoch"], points[watched], color=COLOURS[2], lw=1.5)
    axes.plot(data.attrs["epoch"], best, "o", color=COLOURS[2], ms=6)
    axes.axhline(best, color=GREY, lw=0.8, ls=":")
    target, _, metric = watched.partition("/")
    told = {"r2": "R²"}.get(metric, metric.replace("_", " "))
    axes.set(
        ylabel=f"{told} of {target}, validation",
        title=f"best: {best:.2f} at epoch {data.attrs['epoch']}",
    )


@painted_by(_paint_tuning)
def tuning_curves(tuned: Tuned) -> pd.DataFrame:
    """Draw the losses of a probe or a fine-tuning by epoch and, if one was watched, the score.

    Parameters
    ----------
    tuned
        From :func:`~maestro_lab.training.tune.tune`.
    """
    rows, watched = tuned.fitted.metrics, tuned.monitor
    known = dict.fromkeys(key for row in rows for key in row)
    names = [n for n in ("epoch", "loss", "val_loss", watched) if n in known]
    table = pd.DataFrame(list(rows), columns=names).astype(float)
    table.attrs = {"watched": watched or ""}
    if watched:
        table.attrs |= {"best": float(tuned.best), "epoch": int(tuned.epoch)}
    return table


def _title(data: pd.DataFrame, seeds: int) -> str:
    return (
        f"{data.attrs['target']} on {data.attrs['blocks']} held-out blocks;"
        + ("\n" if narrow() else " ")
        + "mean and 95 % interval over"
        + ("\n" if narrow() else " ")
        + f"blocks and {seeds} seed{'s' if seeds > 1 else ''}"
    )


def _limits(scores: pd.DataFrame, runs: pd.DataFrame) -> tuple[float, float]:
    """Show every mean and seed; of long intervals below them as much as is above."""
    trained = scores[scores["phase"] != TRIVIAL]
    values = np.concatenate([scores["score"], runs["score"], trained["high"]])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    margin = 0.15 * max(high - low, 0.05)
    return low - margin, high + margin
