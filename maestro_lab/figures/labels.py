"""What labels are worth, as a figure."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from maestro_lab.figures.style import COLOURS, GREY, finish, new_figure, styled
from maestro_lab.label_curves import CHANCE, LabelCurves
from maestro_lab.training.scores import NAMES
from maestro_lab.training.tune import Tuned

__all__ = ["label_curves", "tuning_curves"]

_PHASES = {
    "probe": ("probe (encoder frozen)", COLOURS[2], "s"),
    "finetune": ("fine-tuned", COLOURS[0], "o"),
    "supervised": ("supervised twin (not pretrained)", COLOURS[1], "D"),
}


def label_curves(curves: LabelCurves) -> Figure:
    """Draw scores by number of labels: means with 95 % intervals, and each seed as a point.

    Parameters
    ----------
    curves
        From :func:`~maestro_lab.tuning.compare_phases`.
    """
    table, labels = curves.scores, np.unique(curves.scores["labels"])
    wide = labels[-1] / labels[0] if labels[0] else 1.0
    with styled():
        figure = new_figure(3.2)
        axes = figure.subplots()
        for k, (phase, (name, colour, marker)) in enumerate(_PHASES.items()):
            part = table[table["phase"] == phase]
            if part.empty:
                continue
            shift = 1 + (k - 1) * 0.03 * np.log(max(wide, 2))  # side by side, not on each other
            x = part["labels"] * shift
            axes.plot(x, part["score"], color=colour, marker=marker, ms=5, lw=1.5, label=name)
            axes.vlines(x, part["low"], part["high"], color=colour, lw=1.5, alpha=0.6)
            runs = curves.runs[curves.runs["phase"] == phase]
            axes.plot(runs["labels"] * shift, runs["score"], ".", ms=4, color=colour, alpha=0.45)
        trivial = table[table["phase"] == CHANCE]
        axes.plot(trivial["labels"], trivial["score"], color=GREY, ls=":", lw=1.2, label=CHANCE)
        if len(labels) > 1:
            axes.set_xscale("log")
        axes.set_xticks(labels, [str(n) for n in labels])
        axes.minorticks_off()
        axes.set(xlabel="labelled training samples", ylabel=NAMES[curves.metric])
        axes.set_title(_title(curves), fontsize=9)
        axes.set_ylim(*_limits(curves))
        axes.grid(alpha=0.3, lw=0.5)
        axes.legend(frameon=False, fontsize=8, loc="best")
    return finish(figure)


def tuning_curves(tuned: Tuned) -> Figure:
    """Draw the losses of a probe or a fine-tuning by epoch and, if one was watched, the score.

    Parameters
    ----------
    tuned
        From :func:`~maestro_lab.training.tune.tune`.
    """
    rows, watched = tuned.fitted.metrics, tuned.monitor
    with styled():
        figure = new_figure(2.6)
        panels = figure.subplots(1, 2 if watched else 1, squeeze=False)[0]
        for key, name, colour in (
            ("loss", "training", COLOURS[0]),
            ("val_loss", "validation", COLOURS[1]),
        ):
            points = [(row["epoch"], row[key]) for row in rows if key in row]
            if points:
                panels[0].plot(*zip(*points, strict=True), color=colour, lw=1.5, label=name)
        panels[0].set(xlabel="epoch", ylabel="loss")
        panels[0].legend(frameon=False, fontsize=8)
        if watched:
            points = [(row["epoch"], row[watched]) for row in rows if watched in row]
            panels[1].plot(*zip(*points, strict=True), color=COLOURS[2], lw=1.5)
            panels[1].plot(tuned.epoch, tuned.best, "o", color=COLOURS[2], ms=6)
            panels[1].axhline(tuned.best, color=GREY, lw=0.8, ls=":")
            target, _, metric = watched.partition("/")
            told = {"r2": "R²"}.get(metric, metric.replace("_", " "))
            panels[1].set(
                xlabel="epoch",
                ylabel=f"{told} of {target}, validation",
                title=f"best: {tuned.best:.2f} at epoch {tuned.epoch}",
            )
        for axes in panels:
            axes.grid(alpha=0.3, lw=0.5)
    return finish(figure)


def _title(curves: LabelCurves) -> str:
    seeds = curves.runs["seed"].nunique()
    return (
        f"{curves.target} on {curves.blocks} held-out blocks; "
        f"mean and 95 % interval over blocks and {seeds} seed{'s' if seeds > 1 else ''}"
    )


def _limits(curves: LabelCurves) -> tuple[float, float]:
    """Show every mean and seed; of long intervals below them as much as is above."""
    trained = curves.scores[curves.scores["phase"] != CHANCE]
    values = np.concatenate([curves.scores["score"], curves.runs["score"], trained["high"]])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    margin = 0.15 * max(high - low, 0.05)
    return low - margin, high + margin
