"""How training went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from maestro_lab.errors import ParameterError
from maestro_lab.figures.style import COLOURS, finish, new_figure, styled

__all__ = ["loss_curves"]


def loss_curves(metrics: Sequence[Mapping[str, Any]], *, held_out: str = "held-out") -> Figure:
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
    parts = [k.removeprefix("loss/") for k in metrics[-1] if k.startswith("loss/")]
    with styled():
        figure = new_figure(2.6)
        left, right = figure.subplots(1, 2, sharey=True)
        for name, label, colour in (
            ("loss", "training", COLOURS[0]),
            ("val_loss", held_out, COLOURS[1]),
        ):
            points = [(r["epoch"], r[name]) for r in metrics if name in r]
            if points:
                _line(left, points, colour, label)
        for k, part in enumerate(parts):
            key = (
                f"val_loss/{part}"
                if any(f"val_loss/{part}" in r for r in metrics)
                else f"loss/{part}"
            )
            points = [(r["epoch"], r[key]) for r in metrics if key in r]
            colour = COLOURS[k % len(COLOURS)]
            _line(right, points, colour, part)
        shown = held_out if any("val_loss" in r for r in metrics) else "training"
        left.set(xlabel="epoch", ylabel="loss", title="all modalities")
        right.set(xlabel="epoch", title=f"{shown}, by modality")
        for axes in (left, right):
            if axes.lines:
                axes.legend()
            axes.grid(alpha=0.3, lw=0.5)
        left.set_ylim(0, None)
    return finish(figure)


def _line(axes: Axes, points: Sequence[tuple[float, float]], colour: str, label: str) -> None:
    """Draw a line, or the point where there is just one."""
    marker = "o" if len(points) == 1 else None
    axes.plot(*zip(*points, strict=True), marker=marker, color=colour, label=label)
