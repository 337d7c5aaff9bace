"""What the model sees, and what it guesses."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure, SubFigure

from maestro_lab.figures.style import (
    COLOURS,
    GREY,
    WIDTH,
    as_rgb,
    bare,
    composite,
    finish,
    new_figure,
    stretch,
    styled,
)
from maestro_lab.training.reconstruct import Reconstruction

__all__ = ["reconstruction_gain", "reconstructions"]

_HIDDEN = 0.82  # grey of what the encoder does not see


def reconstructions(found: Mapping[str, Reconstruction], sample: int = 0) -> Figure:
    """Draw a sample, modality by modality: truth, what was visible, guess, and error.

    The guesses were brought back to pixels with the mean and deviation of the true patches. The
    figure says so: brightness and contrast of a hidden patch are not the model's work.

    Parameters
    ----------
    found
        From :func:`~maestro_lab.training.reconstruct.reconstruct`.
    sample
        Number in the batch.
    """
    heights = {name: 4 * _cell(r) + 0.75 for name, r in found.items()}
    with styled():
        figure = new_figure(sum(heights.values()) + 0.3)
        ratios = list(heights.values())
        parts = np.atleast_1d(figure.subfigures(len(found), 1, height_ratios=ratios))
        for part, (name, r) in zip(parts, found.items(), strict=True):
            _modality(part, name, r, sample)
        figure.suptitle(
            "Guesses in pixels: use the answer's mean and scale of each patch", fontsize=9
        )
    return finish(figure)


def _cell(r: Reconstruction) -> float:
    return min(WIDTH / (r.values.shape[1] + 1.2), 1.5)


def _modality(figure: SubFigure, name: str, r: Reconstruction, sample: int) -> None:
    bands, words = composite(r.bands)
    truth, guess = r.values[sample][:, bands], r.guess[sample][:, bands]
    hidden, valid = r.masked[sample][:, bands], r.valid[sample]
    bounds = stretch(truth, valid)
    error = _error(r, sample)
    panels = figure.subplots(4, len(truth), squeeze=False)
    for t in range(len(truth)):
        seen = np.where(hidden[t], np.nan, truth[t])
        whole = np.where(hidden[t], guess[t], truth[t])
        for axes, image in zip(panels[:3, t], (truth[t], seen, whole), strict=True):
            picture = as_rgb(image, bounds)
            picture[np.isnan(image).all(0) | ~valid[t]] = _HIDDEN
            axes.imshow(picture)
        shown = panels[3, t].imshow(error[t], cmap="cividis", vmin=0, vmax=1.5)
        day = _day(r.dates[sample][t], len(truth)) if valid[t].any() else "no data"
        panels[0, t].set_title(day, fontsize=6.5, pad=2)
    for axes in panels.flat:
        bare(axes)
        axes.set_facecolor(str(_HIDDEN))
    for axes, label in zip(panels[:, 0], ("truth", "visible", "guess", "error"), strict=True):
        axes.set_ylabel(label, fontsize=8)
    figure.colorbar(shown, ax=panels[3, :].tolist(), shrink=0.9, aspect=10, label="|error|")
    figure.suptitle(f"{name} ({words})", fontsize=8.5)


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


def reconstruction_gain(scores: pd.DataFrame) -> Figure:
    """Draw the L1 error of hidden patches of model and trivial guesses, with 95 % intervals.

    Parameters
    ----------
    scores
        From :func:`~maestro_lab.training.reconstruct.reconstruction_scores`.
    """
    names = list(dict.fromkeys(scores["modality"]))
    guesses = list(dict.fromkeys(scores["guess"]))
    colours = dict(zip(guesses, COLOURS, strict=False)) | {"zero": GREY}
    with styled():
        figure = new_figure(0.9 + 0.55 * len(names))
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
        axes.set(xlabel="L1 error of hidden patches, normalised (lower is better)", xlim=(0, None))
        axes.grid(axis="x", alpha=0.3, lw=0.5)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), title="guess")
    return finish(figure)
