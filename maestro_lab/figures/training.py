"""How training went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from maestro_lab.errors import ParameterError
from maestro_lab.figures.drawn import painted_by
from maestro_lab.figures.style import COLOURS, beside, by_epoch, finish, narrow, new_figure, styled

__all__ = ["loss_curves"]


def _paint_losses(data: pd.DataFrame) -> Figure:
    parts = [k.removeprefix("loss/") for k in data if k.startswith("loss/")]
    held_out = data.attrs["held_out"]
    with styled():
        figure = new_figure(4.6 if narrow() else 2.6)
        left, right = beside(figure, 2, share="y")
        for name, label, colour in (
            ("loss", "training", COLOURS[0]),
            ("val_loss", held_out, COLOURS[1]),
        ):
            _line(left, data, name, colour, label)
        for k, part in enumerate(parts):
            key = f"val_loss/{part}" if f"val_loss/{part}" in data else f"loss/{part}"
            _line(right, data, key, COLOURS[k % len(COLOURS)], part)
        shown = held_out if "val_loss" in data else "training"
        left.set(ylabel="loss", title="all modalities")
        right.set(title=f"{shown}, by modality")
        for axes in (left, right):
            if axes.lines:
                axes.legend()
            by_epoch(axes)
            axes.grid(alpha=0.3, lw=0.5)
        left.set_ylim(0, None)
    return finish(figure)


@painted_by(_paint_losses)
def loss_curves(
    metrics: Sequence[Mapping[str, Any]], *, held_out: str = "held-out"
) -> pd.DataFrame:
    """Draw the loss over the epochs, in training and held out, in all and by modality.

    Parameters
    ----------
    metrics
        Rows of ``metrics.jsonl``.
    held_out
        What to call the samples of ``val_loss``.

    Raises
    ------
    ParameterError
        If there is no row.
    """
    if not metrics:
        raise ParameterError("metrics", expected="at least one row", found="none")
    keys = dict.fromkeys(k for row in metrics for k in row)
    last = [k for k in metrics[-1] if k.startswith("loss/")]
    held = [f"val_{k}" for k in ("loss", *last)]
    names = ["epoch", "loss", *last, *held]
    table = pd.DataFrame(list(metrics), columns=[n for n in names if n in keys]).astype(float)
    table.attrs["held_out"] = held_out
    return table


def _line(axes: Axes, data: pd.DataFrame, key: str, colour: str, label: str) -> None:
    """Draw a line, or the point where there is just one; nothing where there is no such loss."""
    points = data[["epoch", key]].dropna() if key in data else []
    if len(points):
        marker = "o" if len(points) == 1 else None
        axes.plot(points["epoch"], points[key], marker=marker, color=colour, label=label)
