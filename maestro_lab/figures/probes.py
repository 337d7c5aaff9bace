"""What the model learnt, as figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from maestro_lab.figures.style import COLOURS, GREY, finish, new_figure, styled
from maestro_lab.training.probe import ProbeResult, probe_name
from maestro_lab.training.scores import NAMES

__all__ = ["predicted_and_true", "probe_scores"]


def probe_scores(result: ProbeResult, *, title: str = "") -> Figure:
    """Draw the score of each kind of features under each probe, with 95 % intervals."""
    scores = result.scores
    names, methods = (list(dict.fromkeys(scores[c])) for c in ("features", "probe"))
    with styled():
        figure = new_figure(0.9 + 0.45 * len(names))
        panels = figure.subplots(1, len(methods), sharey=True, sharex=True, squeeze=False)[0]
        for axes, method in zip(panels, methods, strict=True):
            part = scores[scores["probe"] == method].set_index("features")
            for row, name in enumerate(names[::-1]):
                found = part.loc[name]
                colour = COLOURS[0] if row == 0 else GREY
                axes.plot([found["low"], found["high"]], [row, row], color=colour, lw=2)
                axes.plot(found["score"], row, "o", ms=6, color=colour)
                axes.annotate(
                    f"{found['score']:z.2f}", (found["score"], row), (0, 5),
                    textcoords="offset points", ha="center", fontsize=8,
                )  # fmt: skip
            axes.set_yticks(range(len(names)), names[::-1])
            axes.set_ylim(-0.6, len(names) - 0.3)
            axes.set(title=probe_name(method).replace(" (", "\n("), xlabel=NAMES[result.metric])
            axes.grid(axis="x", alpha=0.3, lw=0.5)
        if title:
            blocks = scores["blocks"].iloc[0]
            figure.suptitle(f"{title}, {blocks} held-out blocks", fontsize=9)
    return finish(figure)


def predicted_and_true(
    result: ProbeResult,
    features: str,
    method: str = "linear",
    *,
    units: str = "",
    classes: Sequence[str] = (),
) -> Figure:
    """Draw predictions against the truth of held-out units: points, or a confusion matrix.

    Parameters
    ----------
    result
        From :func:`~maestro_lab.training.probe.probe`.
    features, method
        Which predictions.
    units, classes
        Units of a number, names of classes.
    """
    truth = result.units.target[result.units.split == "test"]
    predicted = result.predictions[features, method]
    with styled():
        regression = result.units.task == "regression"
        figure = new_figure(3.2 if regression else 4.6)
        axes = figure.subplots()
        if regression:
            _scatter(axes, truth, predicted, units)
        else:
            _confusion(axes, truth, predicted, classes)
        axes.set_title(f"{features}, {probe_name(method)}")
    return finish(figure)


def _scatter(axes: Axes, truth: np.ndarray, predicted: np.ndarray, units: str) -> None:
    truth, predicted = truth.reshape(-1), predicted.reshape(-1)
    low, high = min(truth.min(), predicted.min()), max(truth.max(), predicted.max())
    axes.plot([low, high], [low, high], color=GREY, lw=0.8)
    axes.scatter(truth, predicted, s=6, alpha=0.35, color=COLOURS[0], lw=0)
    suffix = f" ({units})" if units else ""
    axes.set(xlabel=f"truth{suffix}", ylabel=f"predicted{suffix}", aspect="equal")


def _confusion(
    axes: Axes, truth: np.ndarray, predicted: np.ndarray, classes: Sequence[str]
) -> None:
    names = np.unique(np.concatenate([truth, predicted]))
    matrix = np.array([[((truth == t) & (predicted == p)).sum() for p in names] for t in names])
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(share, cmap="cividis", vmin=0, vmax=1)
    words = [classes[int(n)] if len(classes) > n else n for n in names]
    axes.set_xticks(range(len(names)), words, rotation=90)
    axes.set_yticks(range(len(names)), words)
    for i, j in np.ndindex(share.shape):
        colour = "white" if share[i, j] < 0.55 else "black"
        axes.text(j, i, f"{share[i, j]:.2f}", ha="center", va="center", fontsize=7, color=colour)
    axes.set(xlabel="predicted", ylabel="truth")
