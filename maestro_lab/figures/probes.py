"""What the model learnt, as figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from maestro_lab.figures.drawn import painted_by
from maestro_lab.figures.style import (
    COLOURS,
    GREY,
    beside,
    finish,
    folded,
    narrow,
    new_figure,
    page_width,
    styled,
)
from maestro_lab.training.probe import ProbeResult, probe_name
from maestro_lab.training.scores import NAMES

__all__ = ["predicted_and_true", "probe_scores"]


_ENOUGH = 5  # blocks to resample


def _paint_scores(data: pd.DataFrame) -> Figure:
    names, methods = (list(dict.fromkeys(data[c])) for c in ("features", "probe"))
    height = 0.9 + 0.45 * len(names)
    with styled():
        figure = new_figure(height * len(methods) if narrow() else height)
        panels = beside(figure, len(methods), share="xy")
        for axes, method in zip(panels, methods, strict=True):
            part = data[data["probe"] == method].set_index("features")
            for row, name in enumerate(names[::-1]):
                found = part.loc[name]
                colour = COLOURS[0] if name == data.attrs["own"] else GREY
                axes.plot([found["low"], found["high"]], [row, row], color=colour, lw=2)
                axes.plot(found["score"], row, "o", ms=6, color=colour)
                axes.annotate(
                    f"{found['score']:z.2f}", (found["score"], row), (0, 5),
                    textcoords="offset points", ha="center", fontsize=8,
                )  # fmt: skip
            axes.set_yticks(range(len(names)), [folded(name) for name in names[::-1]])
            axes.set_ylim(-0.6, len(names) - 0.3)
            axes.set_title(probe_name(method).replace(" (", "\n("))
            axes.grid(axis="x", alpha=0.3, lw=0.5)
        for axes in panels[-1:] if narrow() else panels:
            axes.set_xlabel(NAMES[data.attrs["metric"]])
        if data.attrs["title"]:
            blocks = data["blocks"].iloc[0]
            few = "\n(so few that the intervals mean little)" if blocks < _ENOUGH else ""
            figure.suptitle(f"{data.attrs['title']}, {blocks} held-out blocks{few}", fontsize=9)
    return finish(figure)


@painted_by(_paint_scores)
def probe_scores(
    result: ProbeResult, *, title: str = "", own: str = "pretrained encoder"
) -> pd.DataFrame:
    """Draw the score of each kind of features under each probe, with 95 % intervals.

    Parameters
    ----------
    result
        From :func:`~maestro_lab.training.probe.probe`.
    title
        What stands above.
    own
        Features that stand out; where there are none of this name, the last.
    """
    table = result.scores[["features", "probe", "score", "low", "high", "blocks"]]
    names = list(table["features"])
    table.attrs = {
        "metric": result.metric, "title": title, "own": own if own in names else names[-1],
    }  # fmt: skip
    return table


def _paint_predictions(data: pd.DataFrame) -> Figure:
    regression = data.attrs["task"] == "regression"
    with styled():
        height = 3.2 if regression else 4.6
        figure = new_figure(min(height, page_width()))
        axes = figure.subplots()
        if regression:
            _scatter(axes, data)
        else:
            _confusion(axes, data)
        axes.set_title(f"{data.attrs['features']}, {probe_name(data.attrs['method'])}")
    return finish(figure)


@painted_by(_paint_predictions)
def predicted_and_true(
    result: ProbeResult,
    features: str,
    method: str = "linear",
    *,
    units: str = "",
    classes: Sequence[str] = (),
) -> pd.DataFrame:
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
    if result.units.task == "regression":
        table = pd.DataFrame({"truth": truth.reshape(-1), "predicted": predicted.reshape(-1)})
    else:
        table = _counts(truth, predicted, classes)
    table.attrs = {
        "task": result.units.task, "features": features, "method": method, "units": units,
    }  # fmt: skip
    return table


def _counts(truth: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """Return how many units of each class were taken for each other one."""
    found = np.unique(np.concatenate([truth, predicted]))
    words = [str(classes[int(n)] if len(classes) > n else n) for n in found]
    rows = [
        (name, other, int(((truth == t) & (predicted == p)).sum()))
        for t, name in zip(found, words, strict=True)
        for p, other in zip(found, words, strict=True)
    ]
    return pd.DataFrame(rows, columns=["truth", "predicted", "units"])


def _scatter(axes: Axes, data: pd.DataFrame) -> None:
    truth, predicted = data["truth"].to_numpy(), data["predicted"].to_numpy()
    low, high = min(truth.min(), predicted.min()), max(truth.max(), predicted.max())
    axes.plot([low, high], [low, high], color=GREY, lw=0.8)
    axes.scatter(truth, predicted, s=6, alpha=0.35, color=COLOURS[0], lw=0)
    suffix = f" ({data.attrs['units']})" if data.attrs["units"] else ""
    axes.set(xlabel=f"truth{suffix}", ylabel=f"predicted{suffix}", aspect="equal")


def _confusion(axes: Axes, data: pd.DataFrame) -> None:
    size = round(len(data) ** 0.5)
    matrix = data["units"].to_numpy().reshape(size, size)
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(share, cmap="cividis", vmin=0, vmax=1)
    words = data["predicted"].to_list()[:size]
    axes.set_xticks(range(size), words, rotation=90)
    axes.set_yticks(range(size), words)
    for i, j in np.ndindex(share.shape):
        colour = "white" if share[i, j] < 0.55 else "black"
        axes.text(j, i, f"{share[i, j]:.2f}", ha="center", va="center", fontsize=7, color=colour)
    axes.set(xlabel="predicted", ylabel="truth")
