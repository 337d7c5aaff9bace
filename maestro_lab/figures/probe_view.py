"""The probe laboratory as figures: few labels, single classes, and distances of train and test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from maestro_lab.cubes.splits import Leakage
from maestro_lab.errors import ParameterError
from maestro_lab.figures.drawn import painted_by
from maestro_lab.figures.style import (
    COLOURS,
    GREY,
    beside,
    finish,
    narrow,
    new_figure,
    styled,
)
from maestro_lab.training.few_shot import FewShot
from maestro_lab.training.probe import probe_name
from maestro_lab.training.scores import NAMES
from maestro_lab.training.units import TRIVIAL

__all__ = ["class_score_bars", "few_shot_curves", "leakage_histogram"]

_MARKERS = "osD^vP*"
_SCORES = {"f1": "F1 score", "r2": "R²", "mae": "mean absolute error"}
_BINS = 40
_LEAST = -1.5  # R² that bars reach down to


def _paint_few_shot(data: pd.DataFrame) -> Figure:
    trivial, trained = (data[(data["features"] == TRIVIAL) == is_so] for is_so in (True, False))
    methods, names = (list(dict.fromkeys(trained[c])) for c in ("probe", "features"))
    labels = np.unique(data["labels"])
    floor, top = _limits(trained, trivial, data.attrs["metric"])
    beyond = False
    with styled():
        figure = new_figure(2.6 * len(methods) + 0.9 if narrow() else 3.3)
        panels = beside(figure, len(methods), share="xy")
        for axes, method in zip(panels, methods, strict=True):
            axes.plot(trivial["labels"], trivial["score"], color=GREY, ls=":", lw=1.4)
            for k, name in enumerate(names[::-1]):
                chosen = (trained["probe"] == method) & (trained["features"] == name)
                part, colour = trained[chosen], COLOURS[k % len(COLOURS)]
                x = part["labels"] * (1 + 0.06 * (k - (len(names) - 1) / 2))
                axes.vlines(x, part["low"], part["high"], color=colour, lw=1.5, alpha=0.55)
                marker = _MARKERS[k % len(_MARKERS)]
                axes.plot(x, part["score"], color=colour, marker=marker, ms=4.5, lw=1.4)
                cut = part[["score", "low"]].min(axis=1) < floor
                axes.plot(x[cut], 0 * x[cut] + floor, ls="", marker="v", color=colour, ms=4)
                beyond |= bool(cut.any())
            axes.set_title(probe_name(method).replace(" (", "\n("))
            _labels_axis(axes, labels)
        for axes in panels[-1:] if narrow() else panels:
            axes.set_xlabel(f"labelled training {data.attrs['counted']}")
        for axes in panels if narrow() else panels[:1]:
            axes.set_ylabel(NAMES[data.attrs["metric"]])
        panels[0].set_ylim(floor - 0.03 * (top - floor), top)
        _few_shot_legend(figure, names[::-1], beyond)
        figure.suptitle(_few_shot_title(data.attrs), fontsize=9)
    return finish(figure)


def _labels_axis(axes: Axes, labels: np.ndarray) -> None:
    """Write numbers of labels that have room beside each other, on a logarithmic axis."""
    if len(labels) > 1:
        axes.set_xscale("log")
        room = (labels[-1] / labels[0]) ** 0.06
        axes.set_xlim(labels[0] / room, labels[-1] * room)
    step = (labels[-1] / labels[0]) ** 0.14
    written = [labels[-1]]
    for number in labels[::-1]:
        if written[-1] / number >= max(step, 1.01):
            written.append(number)
    axes.set_xticks(written, [str(n) for n in written])
    axes.minorticks_off()
    axes.grid(alpha=0.3, lw=0.5)


def _limits(trained: pd.DataFrame, trivial: pd.DataFrame, metric: str) -> tuple[float, float]:
    """Return limits of the axis; an R² that is far below 0 only tells that nothing was learnt."""
    scores = np.r_[trained["score"], trivial["score"]]
    scores = scores[np.isfinite(scores)]
    if not len(scores):
        return 0.0, 1.0
    top = float(np.nanmax(np.r_[scores, trained["high"]]))
    bottom = max(float(scores.min()), -0.5 if metric == "r2" else -np.inf)
    room = 0.1 * max(top - bottom, 0.05)
    lowest = float(np.nanmin(np.r_[scores, trained["low"]]))
    return max(lowest, bottom - 2 * room) - room / 2, top + room


def _few_shot_legend(figure: Figure, names: Sequence[str], beyond: bool) -> None:
    lines = [
        Line2D([], [], color=COLOURS[k % 7], marker=_MARKERS[k % 7], ms=4.5, lw=1.4, label=name)
        for k, name in enumerate(names)
    ]
    lines.append(Line2D([], [], color=GREY, ls=":", lw=1.4, label=TRIVIAL))
    if beyond:
        lines.append(Line2D([], [], color=GREY, ls="", marker="v", ms=4, label="goes on below"))
    wide = sum(len(str(line.get_label())) + 8 for line in lines) > 100  # letters on a page
    columns = 1 if narrow() else (len(lines) + 1) // 2 if wide else len(lines)
    figure.legend(handles=lines, loc="outside lower center", ncols=columns)


def _few_shot_title(attrs: dict) -> str:
    seeds, between = attrs["seeds"], "\n" if narrow() else " "
    target = f"{attrs['target']} on " if attrs["target"] else ""
    return (
        f"{target}{attrs['blocks']} held-out blocks;{between}95 % intervals over blocks"
        f"{between}and {seeds} choice{'s' * (seeds > 1)} of labels"
    )


@painted_by(_paint_few_shot)
def few_shot_curves(curves: FewShot) -> pd.DataFrame:
    """Draw scores by number of labels, a panel for each probe, beside the trivial answer.

    Parameters
    ----------
    curves
        From :func:`~maestro_lab.workflow.few_shot`.
    """
    table = curves.scores.copy()
    table["probe"] = table["probe"].replace("", "none")
    table.attrs = {
        "metric": curves.metric, "target": curves.target, "blocks": int(curves.blocks),
        "seeds": int(curves.seeds), "counted": curves.counted,
    }  # fmt: skip
    return table


def _paint_class_scores(data: pd.DataFrame) -> Figure:
    score, (name, other) = data.attrs["score"], dict.fromkeys(data["features"])
    mine, trivial = (data[data["features"] == n].iloc[::-1] for n in (name, other))
    rows = np.arange(len(mine))
    with styled():
        figure = new_figure(1.1 + 0.24 * max(len(rows), 2))
        axes = figure.subplots()
        axes.barh(rows, mine["score"], height=0.62, color=COLOURS[0], alpha=0.85, label=name)
        axes.hlines(rows, mine["low"], mine["high"], color="black", lw=1.2, label="95 % interval")
        axes.plot(
            trivial["score"],
            rows,
            "|",
            color=COLOURS[1],
            ms=11,
            mew=2.2,
            label=other,
            clip_on=False,
        )
        words = [f"{p}  ({n:,})" for p, n in zip(mine["part"], mine["support"], strict=True)]
        axes.set_yticks(rows, words)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.tick_params(axis="y", length=0)
        unit = f" ({data.attrs['units']})" if data.attrs["units"] else ""
        axes.set_xlabel(_SCORES[score] + (unit if score == "mae" else ""))
        axes.set_xlim(*_range(score, mine, trivial))
        for row, value in zip(rows, mine["score"], strict=True):
            if value < _LEAST:  # truth that hardly varies; the rest could not be seen beside it
                axes.annotate(f" {value:,.0f}", (axes.get_xlim()[0], row), va="center",
                              fontsize=7, color="white")  # fmt: skip
        axes.axvline(0, color="black", lw=0.6)
        axes.grid(axis="x", alpha=0.3, lw=0.5)
        handles, words = axes.get_legend_handles_labels()
        order = [words.index(w) for w in (name, "95 % interval", other)]
        figure.legend(
            [handles[k] for k in order], [words[k] for k in order],
            loc="outside lower center", ncols=1 if narrow() else 3,
        )  # fmt: skip
        axes.set_title(data.attrs["title"], fontsize=9)
    return finish(figure)


def _range(score: str, mine: pd.DataFrame, trivial: pd.DataFrame) -> tuple[float, float]:
    """Return limits of the axis: all scores, and of intervals what lies near."""
    scores = np.nan_to_num(np.r_[mine["score"], trivial["score"], 0])
    if score == "f1":
        return 0.0, 1.0
    most = float(np.nanmax(np.r_[scores, mine["high"]])) * 1.04
    if score == "mae":
        return 0.0, most or 1.0
    low = max(float(np.nanmin(np.r_[scores, mine["low"]])), scores.min() - 0.3) - 0.03
    return max(low, _LEAST), 1.0


@painted_by(_paint_class_scores)
def class_score_bars(table: pd.DataFrame, *, title: str = "", units: str = "") -> pd.DataFrame:
    """Draw the scores of each class, label, column or part, beside the trivial answer.

    Parameters
    ----------
    table
        From :func:`~maestro_lab.training.class_scores.class_scores`.
    title, units
        What stands above; units of a number.

    Raises
    ------
    ParameterError
        If it is another table.
    """
    columns = list(table.columns)
    if (
        not {"support", "low"} <= set(columns[1:])
        or columns[0] != "features"
        or len(set(table["features"])) != 2
    ):
        raise ParameterError(
            "scores by class",
            expected="a table of class_scores",
            found=", ".join(map(str, columns)),
        )
    score = columns[columns.index("low") - 1]
    names = {columns[1]: "part", score: "score"}
    found = table.rename(columns=names)[["features", "part", "support", "score", "low", "high"]]
    found["part"] = found["part"].astype(str)
    found.attrs = {"score": score, "title": title, "units": units}
    return found


def _paint_leakage(data: pd.DataFrame) -> Figure:
    attrs = data.attrs
    scale, unit = (1000, "km") if data["right"].max() >= 5000 else (1, "m")
    with styled():
        figure = new_figure(3.4 if narrow() else 3.0)
        axes = figure.subplots()
        for split, colour, words in (
            ("random", COLOURS[1], "random split of the same samples"),
            ("blocks", COLOURS[0], "split of this cube"),
        ):
            part = data[data["split"] == split]
            edges = np.r_[part["left"], part["right"].iloc[-1]] / scale
            label = f"{words}: median {_metres(attrs[split])}"
            axes.stairs(100 * part["share"], edges, fill=True, color=colour, alpha=0.7, label=label)
        label = f"side of a window: {_metres(attrs['side'])}"
        axes.axvline(attrs["side"] / scale, color="black", lw=0.9, ls="--", label=label)
        axes.set(
            xlabel=f"{attrs['held_out']} window to the nearest training window ({unit})",
            ylabel=f"{attrs['held_out']} windows (%)",
        )
        axes.set_xlim(0, None)
        axes.set_title(_leakage_title(attrs), fontsize=9)
        figure.legend(loc="outside lower center", ncols=1 if narrow() else 2)
    return finish(figure)


def _metres(distance: float) -> str:
    """Return a distance as people write it.

    Examples
    --------
    >>> _metres(61.4), _metres(1234), _metres(45678)
    ('61 m', '1,234 m', '45.7 km')
    """
    return f"{distance:,.0f} m" if distance < 10_000 else f"{distance / 1000:,.1f} km"


def _leakage_title(attrs: dict) -> str:
    count, overlapping = attrs["windows"], attrs["overlapping"]
    some = "none overlaps" if not overlapping else f"{overlapping} overlap"
    between = "\n" if narrow() else ", "
    return f"{count} {attrs['held_out']} windows{between}{some} a training window"


@painted_by(_paint_leakage)
def leakage_histogram(leakage: Leakage) -> pd.DataFrame:
    """Draw how far held-out windows lie from training windows, beside a random split.

    Parameters
    ----------
    leakage
        From :func:`~maestro_lab.cubes.splits.leakage_distances`.
    """
    metres = {"blocks": leakage.distances["metres"].to_numpy(), "random": leakage.random.ravel()}
    most = max(max(m.max() for m in metres.values()), 2 * leakage.side)
    edges = np.linspace(0, most * 1.001, _BINS + 1)
    tables = [
        pd.DataFrame(
            {
                "split": split,
                "left": edges[:-1],
                "right": edges[1:],
                "share": np.histogram(found, edges)[0] / len(found),
            }
        )
        for split, found in metres.items()
    ]
    table = pd.concat(tables, ignore_index=True)
    table.attrs = {split: float(np.median(found)) for split, found in metres.items()} | {
        "side": leakage.side, "held_out": leakage.held_out,
        "windows": len(leakage.distances), "overlapping": leakage.summary["overlapping"],
    }  # fmt: skip
    return table
