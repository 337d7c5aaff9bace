"""One date of one modality: what was there, what the encoder saw, and what it guessed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from maestro_lab.figures.drawn import painted_by
from maestro_lab.figures.guesses import ERRORS, error_colours
from maestro_lab.figures.style import (
    COLOURS,
    GREY,
    HIDDEN,
    WIDTH,
    as_rgb,
    bare,
    by_hand,
    finish,
    narrow,
    page_width,
    stretch,
    striped,
    styled,
)
from maestro_lab.training.error_table import SEASONS, ErrorTable
from maestro_lab.training.reconstruct import GUESSES, WAYS, Reconstruction, in_pixels

__all__ = ["error_views", "shown_bands", "studio_view"]

PANELS = ("truth", "visible", "prediction", "composite", "error")
WAYS_IN_WORDS = dict(
    zip(
        WAYS,
        (
            "in pixels, by the true mean and scale of each patch: uses the answer's mean and scale",
            "in pixels, by the mean and scale of visible patches",
            "in normalised space, as the loss compares them: no brightness, no contrast",
        ),
        strict=True,
    )
)


_KEY = "grey: hidden from the encoder; white in the error: was visible; striped: not valid"


def shown_bands(bands: Sequence[str]) -> tuple[str, ...]:
    """Return the bands of a group to be shown as red, green and blue; or one, as grey.

    Examples
    --------
    >>> shown_bands(["B02", "B03", "B04"]), shown_bands(["VV", "VH"])
    (('B04', 'B03', 'B02'), ('VV',))
    """
    bands = tuple(bands)
    if len(bands) < 3:
        return bands[:1]
    return bands[-1], bands[len(bands) // 2], bands[0]


def _paint_studio(data: xr.Dataset) -> Figure:
    about, dates = data.attrs, data.sizes["date"]
    side = 1.22
    columns = min(dates, 12)
    lines = -(-dates // columns)
    cell = min((WIDTH - 0.2) / columns - 0.06, 0.8)
    strip = lines * (cell + 0.2) + 0.2 if dates > 1 else 0
    height = 0.66 + side + 0.2 + strip
    with styled():
        figure, place = by_hand(height)
        for k, name in enumerate(PANELS):
            axes = place(0.1 + k * (side + 0.08), 0.66, side, side, f"patch:{name}")
            _panel(axes, data, name)
        bar = place(0.15 + 5 * (side + 0.08), 0.66 + 0.15, 0.08, side - 0.3, "<colorbar>")
        figure.colorbar(ERRORS, cax=bar)
        bar.tick_params(labelsize=6)
        figure.text(
            0.1 / WIDTH, 1 - (0.66 + side + 0.04) / height, _KEY, fontsize=6.5, color="#666666",
            va="top",
        )  # fmt: skip
        if dates > 1:
            _strip(data, place, 0.66 + side + 0.36, columns, cell)
        figure.suptitle(
            f"sample {about['sample']}, {about['modality']} ({about['words']}), {about['day']}; "
            f"hidden: {about['hidden']}\n{WAYS_IN_WORDS[about['way']]}",
            fontsize=8.5, y=1 - 0.1 / height,
        )  # fmt: skip
    return finish(figure)


def _panel(axes: Axes, data: xr.Dataset, name: str) -> None:
    bare(axes)
    image = data[name].values
    extent = (0, image.shape[1], image.shape[0], 0)
    bad = data["bad"].values[data.attrs["date"]]
    if name == "error":
        axes.imshow(striped(error_colours(image), bad), extent=extent)
        axes.spines[:].set(visible=True, color="#BBBBBB", lw=0.6)
        mean = data.attrs["error"]
        title = "|error|" if mean is None else f"|error|, mean {mean:.2f}"
    else:
        axes.imshow(image if name == "prediction" else striped(image, bad), extent=extent)
        title = name
    axes.set_title(title, fontsize=8, pad=3)
    step = data.attrs["patch"]
    row, column = data.attrs["location"]
    if data.attrs["hidden"].startswith("location"):
        box = Rectangle((column * step, row * step), step, step, fill=False, ec="#D55E00", lw=1.5)
        axes.add_patch(box)


def _strip(data: xr.Dataset, place: Any, top: float, columns: int, cell: float) -> None:
    """Draw what the encoder saw of every date, small; the chosen one framed."""
    images, bad = (data[name].values for name in ("strip", "bad"))
    for k, day in enumerate(data.attrs["days"]):
        line, column = divmod(k, columns)
        left = 0.1 + column * (cell + 0.06)
        axes = place(left, top + line * (cell + 0.2), cell, cell, f"date:{k}")
        axes.imshow(striped(images[k], bad[k]))
        bare(axes)
        axes.set_title(day, fontsize=6, pad=1.5)
        if k == data.attrs["date"]:
            for spine in axes.spines.values():
                spine.set(visible=True, color="#D55E00", lw=1.6)


@painted_by(_paint_studio)
def studio_view(
    r: Reconstruction,
    *,
    sample: str = "",
    modality: str = "",
    number: int = 0,
    date: int = 0,
    bands: Sequence[str] = (),
    way: str = "true",
    hidden: str = "as trained",
    patch: int = 1,
    location: tuple[int, int] = (0, 0),
) -> xr.Dataset:
    """Draw one date of a reconstruction: truth, visible, prediction, composite, error.

    Parameters
    ----------
    r
        One modality, from :func:`~maestro_lab.training.reconstruct.reconstruct`.
    sample, modality
        What they are called.
    number, date
        Number of the sample in the batch, and of the date.
    bands
        Which bands count in the error; up to three are shown. Default all.
    way
        How predictions became pixels: see :func:`~maestro_lab.training.reconstruct.in_pixels`.
    hidden
        What was hidden, in words.
    patch, location
        Pixels along a patch, and row and column of the one that was hidden on purpose.

    Raises
    ------
    ParameterError
        For another way.
    """
    truth, guess = (images[number] for images in in_pixels(r, way))
    bands = tuple(bands) or r.bands
    shown = [r.bands.index(b) for b in shown_bands(bands)]
    counted = [r.bands.index(b) for b in bands]
    masked, valid = r.masked[number], r.valid[number]
    bounds = stretch(truth[:, shown], valid if valid.any() else None)
    seen = np.where(masked[:, shown], np.nan, truth[:, shown])
    whole = np.where(masked[:, shown], guess[:, shown], truth[:, shown])
    images = {
        "truth": truth[date, shown], "visible": seen[date], "prediction": guess[date, shown],
        "composite": whole[date],
    }  # fmt: skip
    data = {name: (("y", "x", "rgb"), _picture(image, bounds)) for name, image in images.items()}
    scored = masked[date][counted] & valid[date]
    apart = np.abs(r.prediction - r.target)[number, date][counted]
    count = scored.sum(0)
    error = np.where(count > 0, (apart * scored).sum(0) / np.maximum(count, 1), np.nan)
    strip = [_picture(image, bounds) for image in seen]
    days = [_day(d) if v.any() else "no data" for d, v in zip(r.dates[number], valid, strict=True)]
    return xr.Dataset(
        {
            **data,
            "error": (("y", "x"), error.astype(np.float32)),
            "strip": (("date", "y", "x", "rgb"), np.stack(strip)),
            "bad": (("date", "y", "x"), ~valid),
        },
        attrs={
            "sample": sample, "modality": modality, "words": " ".join(shown_bands(bands)),
            "day": days[date], "days": days, "date": date, "way": way, "hidden": hidden,
            "error": float(apart[scored].mean()) if scored.any() else None,
            "patch": patch, "location": list(location),
        },
    )  # fmt: skip


def _picture(image: np.ndarray, bounds: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return an image (c, y, x) as colours (y, x, 3), grey where it is hidden."""
    picture = as_rgb(image, bounds).astype(np.float32)
    picture[np.isnan(image).all(0)] = HIDDEN
    return picture


def _day(date: np.ndarray) -> str:
    year, day, _ = (int(v) for v in date)
    return f"{pd.Timestamp(year, 1, 1) + pd.Timedelta(days=day - 1):%d %b %y}"


def _paint_errors(data: pd.DataFrame) -> Figure:
    import matplotlib.pyplot as plt

    with styled():
        tall = 8.5 if narrow() else 4.6
        figure = plt.figure(figsize=(page_width(), tall), layout="constrained")
        if narrow():
            panels = figure.subplots(4, 1, squeeze=False)
        else:
            panels = figure.subplots(2, 2, gridspec_kw={"width_ratios": [1, 1.5]})
        for axes, kind in zip(panels.flat, ("modality", "band", "season", "month"), strict=True):
            _bars(axes, data[data["kind"] == kind], kind)
        panels[0, 0].set_ylim(0, None)
        handles, words = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, words, loc="outside lower center", ncols=2 if narrow() else 4)
        about = data.attrs
        figure.suptitle(
            f"L1 error of hidden patches, normalised; {about['samples']} samples"
            + ("\n" if narrow() else "; ") + f"hidden: {about['hidden']}", fontsize=9,
        )  # fmt: skip
    return finish(figure)


def _bars(axes: Axes, part: pd.DataFrame, kind: str) -> None:
    names = list(part["name"])
    where = np.arange(len(names))
    axes.set_label(f"errors:{kind}")
    for k, guess in enumerate(GUESSES):
        colour = GREY if guess == "zero" else COLOURS[k]
        offset = (k - (len(GUESSES) - 1) / 2) * 0.16
        axes.plot(where + offset, part[guess], "o" if k == 0 else "D", ms=5 if k == 0 else 3.5,
                  color=colour, label=guess)  # fmt: skip
    if len(names) and kind == "band":
        edges = [k for k in range(1, len(names)) if part["of"].iloc[k] != part["of"].iloc[k - 1]]
        for edge in edges:
            axes.axvline(edge - 0.5, color="#BBBBBB", lw=0.7)
    tilted = 90 if kind == "band" else 0
    axes.set_xticks(where, names, rotation=tilted, fontsize=7)
    axes.set_xlim(-0.6, max(len(names), 1) - 0.4)
    axes.grid(axis="y", alpha=0.3, lw=0.5)
    axes.set_title(f"by {kind}", fontsize=9)
    axes.set_ylim(0, None)


@painted_by(_paint_errors)
def error_views(table: ErrorTable, *, hidden: str = "as trained") -> pd.DataFrame:
    """Draw the errors of model and trivial guesses by modality, band, season and month.

    Parameters
    ----------
    table
        From :func:`~maestro_lab.training.error_table.error_table`.
    hidden
        What was hidden, in words.
    """
    dated = table.rows.assign(month=table.rows["date"].dt.month)
    views = ErrorTable(dated, table.samples)
    parts = []
    for kind, columns in (
        ("modality", ["modality"]),
        ("band", ["modality", "band"]),
        ("season", ["season"]),
        ("month", ["month"]),
    ):
        found = views.by(*columns)
        if kind == "season":
            found = found.sort_values("season", key=lambda s: s.map(SEASONS.index))
        if kind == "month":
            found = found.sort_values("month")
            found["month"] = [f"{pd.Timestamp(2021, m, 1):%b}" for m in found["month"]]
        parts.append(
            found[list(GUESSES)].assign(
                kind=kind, name=found[kind].astype(str), of=found.get("modality", "")
            )
        )
    data = pd.concat(parts, ignore_index=True)
    data.attrs = {"samples": table.samples, "hidden": hidden}
    return data
