"""What the model sees, and what it guesses."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch

from maestro_lab.errors import ParameterError
from maestro_lab.figures.drawn import painted_by, parts, several
from maestro_lab.figures.style import (
    COLOURS,
    GREY,
    HIDDEN,
    as_rgb,
    bare,
    composite,
    finish,
    fitting,
    legend,
    narrow,
    new_figure,
    page_width,
    stretch,
    striped,
    styled,
)
from maestro_lab.training.reconstruct import Reconstruction

__all__ = ["reconstruction_gain", "reconstructions"]


def _paint_reconstructions(data: xr.DataTree) -> Figure:
    found = parts(data)
    heights = [4 * _cell(part) + 0.75 for part in found]
    with styled():
        figure = new_figure(sum(heights) + (0.8 if narrow() else 0.5))
        rows = np.atleast_1d(figure.subfigures(len(found), 1, height_ratios=heights))
        for row, part in zip(rows, found, strict=True):
            _modality(row, part)
        title = "Guesses in pixels: use the answer's mean and scale of each patch"
        figure.suptitle(title, fontsize=9, wrap=narrow())
        edge = {"ec": "#BBBBBB", "lw": 0.6}
        handles = [
            Patch(fc=str(HIDDEN), label="hidden from the encoder", **edge),
            Patch(fc="white", label="was visible, no error counted", **edge),
            Patch(fc="white", ec="#444444", lw=0, hatch="/////", label="not valid"),
        ]
        figure.legend(
            handles=handles, loc="outside lower center", ncols=1 if narrow() else 3, fontsize=7
        )
    return finish(figure)


@painted_by(_paint_reconstructions)
def reconstructions(found: Mapping[str, Reconstruction], sample: int = 0) -> xr.DataTree:
    """Draw a sample, modality by modality: truth, what was visible, guess, and error.

    The guesses were brought back to pixels with the mean and deviation of the true patches. The
    figure says so: brightness and contrast of a hidden patch are not the model's work.

    Parameters
    ----------
    found
        From :func:`~maestro_lab.training.reconstruct.reconstruct`.
    sample
        Number in the batch.

    Raises
    ------
    ParameterError
        If there is no modality.
    """
    if not found:
        raise ParameterError("reconstructions", expected="at least one modality", found="none")
    return several([_part(name, r, sample) for name, r in found.items()])


def _part(name: str, r: Reconstruction, sample: int) -> xr.Dataset:
    bands, words = composite(r.bands)
    images = ("date", "band", "y", "x")
    valid = np.asarray(r.valid[sample])
    days = [
        _day(date, len(valid)) if clear.any() else "no data"
        for date, clear in zip(r.dates[sample], valid, strict=True)
    ]
    return xr.Dataset(
        {
            "truth": (images, np.float32(r.values[sample][:, bands])),
            "guess": (images, np.float32(r.guess[sample][:, bands])),
            "hidden": (images, np.asarray(r.masked[sample][:, bands])),
            "valid": (("date", "y", "x"), valid),
            "error": (("date", "y", "x"), np.float32(_error(r, sample))),
        },
        attrs={"modality": name, "bands": words, "days": days},
    )


ERRORS = mpl.cm.ScalarMappable(mpl.colors.Normalize(0, 1.5), "cividis")
"""Colours of errors."""


def error_colours(error: np.ndarray) -> np.ndarray:
    """Return errors (y, x) as colours (y, x, 3), white where there is none."""
    return np.where(np.isnan(error)[..., None], 1.0, ERRORS.to_rgba(error)[..., :3])


def _cell(part: xr.Dataset) -> float:
    return min(page_width() / (len(fitting(part.sizes["date"])) + 1.2), 1.5)


def _modality(figure: SubFigure, part: xr.Dataset) -> None:
    chosen = fitting(part.sizes["date"])
    truth, guess, hidden, valid, error = (
        part[name].values[chosen] for name in ("truth", "guess", "hidden", "valid", "error")
    )
    bounds = stretch(part["truth"].values, part["valid"].values)
    panels = figure.subplots(4, len(truth), squeeze=False)
    for t, day in enumerate(part.attrs["days"][k] for k in chosen):
        seen = np.where(hidden[t], np.nan, truth[t])
        whole = np.where(hidden[t], guess[t], truth[t])
        for axes, image in zip(panels[:3, t], (truth[t], seen, whole), strict=True):
            picture = as_rgb(image, bounds)
            picture[np.isnan(image).all(0)] = HIDDEN
            axes.imshow(striped(picture, ~valid[t]))
        panels[3, t].imshow(striped(error_colours(error[t]), ~valid[t]))
        panels[0, t].set_title(day, fontsize=6.5, pad=2)
    for axes in panels.flat:
        bare(axes)
    for axes in panels[3]:
        axes.spines[:].set(visible=True, color="#BBBBBB", lw=0.6)
    for axes, label in zip(panels[:, 0], ("truth", "visible", "guess", "error"), strict=True):
        axes.set_ylabel(label, fontsize=8)
    figure.colorbar(
        ERRORS, ax=panels.ravel().tolist(), shrink=0.22, anchor=(0, 0.01), panchor=False,
        aspect=8, label="|error|",
    )  # fmt: skip
    figure.suptitle(f"{part.attrs['modality']} ({part.attrs['bands']})", fontsize=8.5)


def _error(r: Reconstruction, sample: int) -> np.ndarray:
    """Return the mean error of the hidden bands of each pixel (t, y, x); NaN where none counts."""
    hidden = r.masked[sample]
    total = (np.abs(r.prediction - r.target)[sample] * hidden).sum(1)
    count = hidden.sum(1)
    return np.where((count > 0) & r.valid[sample], total / np.maximum(count, 1), np.nan)


def _day(date: np.ndarray, dates: int) -> str:
    year, day, _ = (int(v) for v in date)
    when = pd.Timestamp(year, 1, 1) + pd.Timedelta(days=day - 1)
    return when.strftime("%d %b %y" if dates <= 10 else "%d %b")


def _paint_gain(scores: pd.DataFrame) -> Figure:
    names = list(dict.fromkeys(scores["modality"]))
    guesses = list(dict.fromkeys(scores["guess"]))
    colours = dict(zip(guesses, COLOURS, strict=False)) | {"zero": GREY}
    with styled():
        figure = new_figure(0.9 + 0.55 * len(names) + 0.6 * narrow())
        axes = figure.subplots()
        for row, name in enumerate(names[::-1]):
            part = scores[scores["modality"] == name].set_index("guess")
            for k, guess in enumerate(guesses):
                found = part.loc[guess]
                y = row + 0.18 * ((len(guesses) - 1) / 2 - k)
                axes.plot([found["low"], found["high"]], [y, y], color=colours[guess], lw=2)
                label = guess if row == 0 else None
                axes.plot(found["l1"], y, "o", ms=5, color=colours[guess], label=label)
        axes.set_yticks(range(len(names)), names[::-1])
        words = "L1 error of hidden patches, normalised", "(lower is better)"
        axes.set(xlabel=("\n" if narrow() else " ").join(words), xlim=(0, None))
        axes.grid(axis="x", alpha=0.3, lw=0.5)
        legend(axes, title="guess", above=2)
    return finish(figure)


@painted_by(_paint_gain)
def reconstruction_gain(scores: pd.DataFrame) -> pd.DataFrame:
    """Draw the L1 error of hidden patches of model and trivial guesses, with 95 % intervals.

    Parameters
    ----------
    scores
        From :func:`~maestro_lab.training.reconstruct.reconstruction_scores`.
    """
    return scores[["modality", "guess", "l1", "low", "high"]]
