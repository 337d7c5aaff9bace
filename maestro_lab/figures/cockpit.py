"""A training at a glance: losses, learning rate, and the latest guesses of hidden patches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from maestro_lab.errors import ParameterError
from maestro_lab.figures.drawn import painted_by, parts, several
from maestro_lab.figures.style import (
    COLOURS,
    GREY,
    HIDDEN,
    as_rgb,
    bare,
    by_epoch,
    composite,
    finish,
    narrow,
    page_width,
    stretch,
    striped,
    styled,
)

if TYPE_CHECKING:
    from maestro_lab.training.reconstruct import Reconstruction

__all__ = ["SCALES", "training_view"]

SCALES = ("from zero", "close up", "logarithmic")
"""Ways to lay out the axis of the losses."""

_LEFT, _GAP, _NAMES, _TOP, _BELOW = 0.5, 0.5, 1.0, 0.6, 0.45  # inches
_TALL, _CELL, _SPACE, _ROW_NAME = 1.6, 0.85, 0.06, 0.5
_MOST, _MOST_NARROW = 8, 5

_ANSWER = (
    "guesses are brought back to pixels with the answer's mean and scale of each patch; "
    "grey: hidden; striped: not valid"
)


def _paint_view(data: xr.DataTree) -> Figure:
    import matplotlib.pyplot as plt

    table, *guesses = parts(data)
    columns = [(part, k) for part in guesses for k in range(1 if narrow() else part.sizes["date"])]
    columns = columns[: _MOST_NARROW if narrow() else _MOST]
    width = page_width()
    cell = min((width - _ROW_NAME - 0.1) / max(len(columns), 1), _CELL)
    curves = (_TALL + _BELOW) * (3 if narrow() else 1) + 0.15 * 2 * narrow()
    height = _TOP + curves + (3 * cell + 0.55 + 0.3 * narrow() if columns else 0)
    with styled():
        figure = plt.figure(figsize=(width, height))

        def place(left: float, top: float, wide: float, tall: float, name: str) -> Axes:
            box = (left / width, 1 - (top + tall) / height, wide / width, tall / height)
            axes = figure.add_axes(box)
            axes.set_label(name)
            return axes

        _curves(table, place, width)
        if columns:
            box = (_ROW_NAME, _TOP + curves + 0.35, len(columns) * cell, 3 * cell)
            strip = place(*box, "guesses")
            bare(strip)
            _guesses(strip, columns, cell)
        figure.suptitle(data.attrs["title"], fontsize=9, y=1 - 0.1 / height, va="top")
    return finish(figure)


@painted_by(_paint_view)
def training_view(
    metrics: Sequence[Mapping[str, Any]],
    *,
    title: str = "",
    held_out: str = "held out",
    scale: str = "from zero",
    at: float | None = None,
    guesses: Mapping[str, Reconstruction] | None = None,
) -> xr.DataTree:
    """Draw losses in training and held out, the learning rate, and guesses for one sample.

    Parameters
    ----------
    metrics
        Rows of ``metrics.jsonl``, possibly none yet.
    title
        Stands above.
    held_out
        What to call the samples of ``val_loss``.
    scale
        One of :data:`SCALES`.
    at
        An epoch to mark.
    guesses
        Modality to what :func:`~maestro_lab.training.reconstruct.reconstruct` made of one sample;
        at most eight dates of them are shown (five in a narrow page), first those of which a part
        is hidden.

    Raises
    ------
    ParameterError
        For another scale.

    Examples
    --------
    >>> rows = [{"epoch": 1.0, "lr": 1e-3, "loss": 0.9}, {"epoch": 2.0, "lr": 5e-4, "loss": 0.7}]
    >>> [axes.get_label() for axes in training_view(rows, title="two epochs").axes]
    ['losses', 'rate', 'modalities']
    """
    if scale not in SCALES:
        raise ParameterError("scale of the losses", expected=" | ".join(SCALES), found=repr(scale))
    names = [
        name
        for name in dict.fromkeys(k for row in metrics for k in row)
        if name in ("epoch", "lr") or name.removeprefix("val_").split("/")[0] == "loss"
    ]
    table = pd.DataFrame(list(metrics), columns=names).astype(float)
    rows = xr.Dataset(
        {"rows": (("row", "series"), table.to_numpy().reshape(len(metrics), len(names)))},
        attrs={"series": names, "held_out": held_out, "scale": scale, "at": at},
    )
    return several([rows, *_shown(guesses or {})], title=title)


def _shown(guesses: Mapping[str, Reconstruction]) -> list[xr.Dataset]:
    """Return a few dates of each modality, shared out evenly."""
    found = []
    for k, (name, r) in enumerate(guesses.items()):
        room = (_MOST - sum(part.sizes["date"] for part in found)) // (len(guesses) - k)
        if room:
            found.append(_dates(name, r, room))
    return found


def _dates(name: str, r: Reconstruction, most: int) -> xr.Dataset:
    bands, words = composite(r.bands)
    valid, masked = np.asarray(r.valid[0]), np.asarray(r.masked[0])[:, bands]
    hidden, seen = ((m & valid).sum((1, 2)) for m in (masked.any(1), ~masked.all(1)))
    dates = np.sort(np.lexsort((-hidden, -np.minimum(hidden, seen)))[:most])
    images = ("date", "band", "y", "x")
    return xr.Dataset(
        {
            "truth": (images, np.float32(r.values[0][dates][:, bands])),
            "guess": (images, np.float32(r.guess[0][dates][:, bands])),
            "hidden": (images, masked[dates]),
            "valid": (("date", "y", "x"), valid[dates]),
        },
        attrs={"modality": name, "bands": words, "days": [_day(r.dates[0][k]) for k in dates]},
    )


def _day(date: np.ndarray) -> str:
    year, day = int(date[0]), int(date[1])
    if not 1 <= year <= 9999:
        return ""
    return f"{pd.Timestamp(year, 1, 1) + pd.Timedelta(days=day - 1):%d %b %y}"


def _curves(table: xr.Dataset, place: Any, width: float) -> None:
    names = list(table.attrs["series"])
    rows = pd.DataFrame(table["rows"].values, columns=names)
    if narrow():
        wide = width - _LEFT - _NAMES
        boxes = [(_LEFT, _TOP + k * (_TALL + _BELOW + 0.15), wide, _TALL) for k in range(3)]
    else:
        wide = (width - _LEFT - 2 * _GAP - _NAMES) / 3
        boxes = [(_LEFT + k * (wide + _GAP), _TOP, wide, _TALL) for k in range(3)]
    losses, rate, modalities = (
        place(*box, name) for box, name in zip(boxes, ("losses", "rate", "modalities"), strict=True)
    )
    _losses(losses, rows, table.attrs)
    _rate(rate, rows)
    _modalities(modalities, rows, table.attrs)
    for axes in (losses, rate, modalities):
        axes.grid(alpha=0.3, lw=0.5)
        by_epoch(axes, labelpad=1)
        if table.attrs["at"] is not None:
            axes.axvline(table.attrs["at"], color="black", lw=0.8, ls=":")


def _losses(axes: Axes, rows: pd.DataFrame, about: Mapping[str, Any]) -> None:
    axes.set_title("loss")
    _line(axes, rows, "loss", COLOURS[0], "training")
    _line(axes, rows, "val_loss", COLOURS[1], about["held_out"])
    _laid_out(axes, about["scale"])
    if not axes.lines:
        _say(axes, "no metrics yet")
        return
    axes.legend(loc="upper right", borderaxespad=0.1, handlelength=1.2)
    if "val_loss" not in rows:
        _say(axes, f"no {about['held_out']} loss yet", low=True)


def _rate(axes: Axes, rows: pd.DataFrame) -> None:
    axes.set_title("learning rate")
    _line(axes, rows, "lr", COLOURS[2], "learning rate")
    axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    axes.yaxis.get_offset_text().set_size(7)
    if axes.lines:
        axes.set_ylim(0, 1.08 * max(float(rows["lr"].max()), 1e-12))
    else:
        _say(axes, "no metrics yet")


def _modalities(axes: Axes, rows: pd.DataFrame, about: Mapping[str, Any]) -> None:
    kind = "val_loss" if any(n.startswith("val_loss/") for n in rows) else "loss"
    found = [n for n in rows if n.startswith(f"{kind}/")]
    shown = about["held_out"] if kind == "val_loss" else "training"
    axes.set_title(f"{shown}, by modality" if found else "by modality")
    for k, name in enumerate(found):
        style = ("-", "--", ":")[k // len(COLOURS) % 3]
        label = name.split("/", 1)[1]
        _line(axes, rows, name, COLOURS[k % len(COLOURS)], label, style)
    _laid_out(axes, about["scale"])
    if not axes.lines:
        _say(axes, "no loss of a modality" if len(rows) else "no metrics yet")
        return
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=7, handlelength=1.2)


def _laid_out(axes: Axes, scale: str) -> None:
    """Scale the axis; one point alone has no range to come close to."""
    values = np.concatenate([line.get_ydata() for line in axes.lines] or [np.zeros(0)])
    if not len(values):
        return
    if scale == "logarithmic" and (values > 0).all():
        axes.set_yscale("log")
    elif scale == "from zero":
        axes.set_ylim(min(0, values.min()), 1.3 * max(values.max(), 1e-9))


def _line(
    axes: Axes, rows: pd.DataFrame, name: str, colour: str, label: str, style: str = "-"
) -> None:
    points = rows[["epoch", name]].dropna() if {"epoch", name} <= set(rows) else []
    if len(points):
        marker = "o" if len(points) == 1 else None
        axes.plot(
            points["epoch"], points[name], marker=marker, ms=4, color=colour, label=label, ls=style
        )


def _say(axes: Axes, words: str, *, low: bool = False) -> None:
    where = {"va": "bottom", "y": 0.03} if low else {"va": "center", "y": 0.5}
    axes.text(
        0.5, where["y"], words, va=where["va"], ha="center", color=GREY, fontsize=7.5,
        transform=axes.transAxes,
    )  # fmt: skip
    if not low:
        axes.set(xticks=[], yticks=[])


def _guesses(axes: Axes, columns: list[tuple[xr.Dataset, int]], cell: float) -> None:
    """Draw three rows of images on one axes in inches: many axes would take long."""
    bounds: dict[str, Any] = {}
    side = cell - _SPACE
    for c, (part, k) in enumerate(columns):
        name = part.attrs["modality"]
        truth, guess, hidden = (part[n].values for n in ("truth", "guess", "hidden"))
        valid = part["valid"].values
        bounds.setdefault(name, stretch(truth, valid))
        seen, whole = (np.where(hidden[k], other, truth[k]) for other in (np.nan, guess[k]))
        for row, image in enumerate((truth[k], seen, whole)):
            picture = as_rgb(image, bounds[name])
            picture[np.isnan(image).all(0)] = HIDDEN
            left, top = c * cell, row * cell
            axes.imshow(striped(picture, ~valid[k]), extent=(left, left + side, top + side, top))
        words = f"{name}\n{part.attrs['days'][k]}".strip()
        size = 5.5 if narrow() else 6.5
        axes.text(c * cell + side / 2, -0.04, words, ha="center", va="bottom", fontsize=size)
    for row, words in enumerate(("truth", "visible", "guess")):
        where = (-0.06, row * cell + side / 2)
        axes.text(*where, words, rotation=90, ha="right", va="center", fontsize=8)
    axes.set(xlim=(0, len(columns) * cell), ylim=(3 * cell, 0))
    words = "\n".join(wrap(_ANSWER, 44)) if narrow() else _ANSWER
    axes.text(0, 3 * cell + 0.02, words, va="top", fontsize=7)
