"""Where are hidden patches guessed badly? Errors by modality, band, date and season."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from maestro_lab.batches import CubeDataset
from maestro_lab.models.hiding import Hide
from maestro_lab.models.maestro import Maestro
from maestro_lab.training.reconstruct import (
    GUESSES,
    Reconstruction,
    guess_errors,
    reconstruct,
)

__all__ = ["SEASONS", "ErrorTable", "error_table"]

SEASONS = ("DJF", "MAM", "JJA", "SON")


@dataclass(frozen=True)
class ErrorTable:
    """Summed errors of hidden, valid pixels, in the space of the loss.

    Parameters
    ----------
    rows
        One row a sample, modality, band and date: ``sample``, ``modality``, ``band``, ``date``,
        ``season``, ``pixels``, and the summed absolute error of each guess.
    samples
        How many samples were looked at.
    """

    rows: pd.DataFrame
    samples: int

    def by(self, *columns: str) -> pd.DataFrame:
        """Return the mean absolute error of each guess for each value of some columns."""
        sums = self.rows.groupby(list(columns), sort=False)[["pixels", *GUESSES]].sum()
        found = sums[list(GUESSES)].div(sums["pixels"], axis=0)
        return found.assign(pixels=sums["pixels"]).reset_index()


def error_table(
    model: Maestro,
    data: CubeDataset,
    *,
    hide: Hide | None = None,
    seed: int = 0,
    most: int = 64,
    batch_size: int = 16,
) -> ErrorTable:
    """Reconstruct some samples, and sum up errors by modality, band and date.

    Parameters
    ----------
    model
        A pretrained model.
    data
        Samples, with ``train=False``.
    hide
        What to hide on purpose; default masks as in pretraining.
    seed
        Of the masks.
    most
        Samples to look at, spread evenly over the data set.
    batch_size
        Samples at once.

    Raises
    ------
    ParameterError
        If that cannot be hidden.
    """
    count = min(most, len(data))
    chosen = np.unique(np.linspace(0, len(data) - 1, count).round().astype(int))
    parts = []
    for start in range(0, len(chosen), batch_size):
        batch = data.__getitems__([(0, int(i)) for i in chosen[start : start + batch_size]])
        found = reconstruct(model, batch, seed=seed, hide=hide)
        numbers = batch.sample.numpy()
        parts += [_rows(name, r, numbers) for name, r in found.items()]
    return ErrorTable(pd.concat(parts, ignore_index=True), len(chosen))


def _rows(name: str, r: Reconstruction, sample: np.ndarray) -> pd.DataFrame:
    """Return the rows of one modality of one batch that have a hidden, valid pixel."""
    errors, scored = guess_errors(r)
    pixels = scored.sum((3, 4))
    b, d, c = np.nonzero(pixels)
    year, day = r.dates[b, d, 0], r.dates[b, d, 1]
    when = (year - 1970).astype("datetime64[Y]").astype("datetime64[D]") + (day - 1)
    table = {
        "sample": sample[b],
        "modality": name,
        "band": np.array(r.bands, dtype=object)[c],
        "date": when.astype("datetime64[ns]"),
        "season": np.array(SEASONS)[pd.DatetimeIndex(when).month % 12 // 3],
        "pixels": pixels[b, d, c],
    }
    for guess, error in errors.items():
        table[guess] = error.sum((3, 4))[b, d, c]
    return pd.DataFrame(table)
