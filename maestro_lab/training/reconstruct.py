"""How well are hidden patches guessed, and would a trivial guess have done as well?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from maestro_lab.batches import Batch, CubeDataset, loader
from maestro_lab.errors import ParameterError
from maestro_lab.models.hiding import Hide, hidden_masks
from maestro_lab.models.images import mask_images, predict_images, target_images
from maestro_lab.models.maestro import Maestro
from maestro_lab.models.masking import keys_for
from maestro_lab.training.pretrain import EVALUATION_EPOCH

__all__ = [
    "GUESSES",
    "WAYS",
    "Reconstruction",
    "band_mean",
    "guess_errors",
    "in_pixels",
    "reconstruct",
    "reconstruction_errors",
    "reconstruction_scores",
]

GUESSES = ("model", "nearest date", "band mean", "zero")
"""The model; a copy of the nearest visible date of the same place; what each band is on average
where the sample is visible, the same in every patch; and the normalised mean."""

WAYS = ("true", "visible", "normalised")
"""Ways back from predictions to pixels: see :func:`in_pixels`."""


@dataclass(frozen=True)
class Reconstruction:
    """One modality of a few samples, reconstructed; images are (sample, date, band, y, x).

    Parameters
    ----------
    bands
        Band names.
    dates
        (sample, date, 3): year, day of the year, hour.
    target, prediction
        In the space of the loss: normalised per patch and band group.
    values
        What the model was given, in its own units (before target normalisation).
    guess
        The prediction brought back to those units with the mean and deviation of the true patch.
    masked
        True where a pixel was hidden.
    valid
        (sample, date, y, x), False under clouds and where there is no data.
    mean, deviation
        What was taken out of each patch and band group to make the target; 0 and 1 for losses on
        raw values.
    """

    bands: tuple[str, ...]
    dates: np.ndarray
    target: np.ndarray
    prediction: np.ndarray
    values: np.ndarray
    guess: np.ndarray
    masked: np.ndarray
    valid: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray


@torch.no_grad()
def reconstruct(
    model: Maestro,
    batch: Batch,
    *,
    seed: int = 0,
    masks: dict[str, Tensor] | None = None,
    hide: Hide | None = None,
) -> dict[str, Reconstruction]:
    """Hide patches of a batch and let the model guess them.

    Parameters
    ----------
    model
        Used as it is.
    batch
        From a :class:`~maestro_lab.batches.CubeDataset`.
    seed
        Of the masks.
    masks
        Masks given instead: stream to bool (b, tokens).
    hide
        What to hide on purpose; default masks as in pretraining.

    Raises
    ------
    ParameterError
        If that cannot be hidden.

    Returns
    -------
    dict
        Modality to :class:`Reconstruction`.
    """
    device, training = next(model.parameters()).device, model.training
    model.eval()
    batch = batch.to(device)
    if masks is None:
        keys = keys_for(seed, EVALUATION_EPOCH, batch.sample)
        masks = hidden_masks(model, batch, hide or Hide(), keys)
    predictions, hidden = predict_images(model, batch, masks), mask_images(model, masks)
    found = {}
    for name, m in model.modalities.items():
        target, values, mean, deviation, valid = target_images(model, name, batch.series[name])
        guess = predictions[name] * deviation + mean
        arrays = (target, predictions[name], values, guess, hidden[name], valid, mean, deviation)
        plain = [
            a.float().cpu().numpy() if a.is_floating_point() else a.cpu().numpy() for a in arrays
        ]
        found[name] = Reconstruction(m.bands, batch.series[name].dates.cpu().numpy(), *plain)
    model.train(training)
    return found


def in_pixels(r: Reconstruction, way: str) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and guess, (sample, date, band, y, x), in a common scale.

    Parameters
    ----------
    r
        One modality.
    way
        How the prediction, which has neither brightness nor contrast, gets them. "true": mean and
        deviation of the true patch, which are part of the answer. "visible": the average of those
        of visible patches of the same date, of all dates where that date is hidden. "normalised":
        not at all, both as the loss compares them.

    Raises
    ------
    ParameterError
        For another way.
    """
    if way not in WAYS:
        raise ParameterError("way back to pixels", expected=" | ".join(WAYS), found=repr(way))
    if way == "normalised":
        return r.target, r.prediction
    if way == "true":
        return r.values, r.guess
    seen = ~r.masked & r.valid[:, :, None]  # (b, d, c, y, x)

    def average(what: np.ndarray) -> np.ndarray:
        found = np.zeros((*what.shape[:3], 1, 1))
        for axes in ((1, 3, 4), (3, 4)):  # of all dates; then of the same one, where it is seen
            count = seen.sum(axes, keepdims=True)
            mean = np.where(seen, what, 0).sum(axes, keepdims=True) / np.maximum(count, 1)
            found = np.where(count > 0, mean, found)
        return found

    return r.values, r.prediction * average(r.deviation) + average(r.mean)


def nearest_date(r: Reconstruction) -> np.ndarray:
    """Guess each hidden pixel by copying the normalised value of the nearest visible date.

    Where the place is visible in no date the guess is zero.
    """
    day = r.dates[..., 0] * 365.25 + r.dates[..., 1]
    apart = np.abs(day[:, :, None] - day[:, None, :])  # (b, d, d')
    seen = ~r.masked & r.valid[:, :, None]  # (b, d', c, y, x)
    cost = np.where(seen[:, None], apart[:, :, :, None, None, None], np.inf)
    best = cost.argmin(axis=2)  # (b, d, c, y, x)
    copied = np.take_along_axis(r.target, best, axis=1)
    return np.where(np.isfinite(cost.min(axis=2)), copied, 0.0)


def band_mean(r: Reconstruction) -> np.ndarray:
    """Guess each hidden pixel by the mean of its band over all that is visible of the sample.

    Where bands are normalised together, how they differ on average needs no learning at all.
    """
    seen = ~r.masked & r.valid[:, :, None]  # (b, d, c, y, x)
    count = seen.sum((1, 3, 4), keepdims=True)
    total = np.where(seen, r.target, 0).sum((1, 3, 4), keepdims=True)
    return np.broadcast_to(total / np.maximum(count, 1), r.target.shape)


def guess_errors(r: Reconstruction) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the absolute error of each guess, 0 where nothing is scored, and what is scored.

    Returns
    -------
    tuple
        Each of :data:`GUESSES` to (sample, date, band, y, x), and bool of the same shape: hidden
        and valid.
    """
    scored = r.masked & r.valid[:, :, None]
    guesses = (r.prediction, nearest_date(r), band_mean(r), np.zeros_like(r.target))
    named = zip(GUESSES, guesses, strict=True)
    return {guess: np.abs(values - r.target) * scored for guess, values in named}, scored


def reconstruction_errors(
    model: Maestro, data: CubeDataset, *, seed: int = 0, batch_size: int = 32
) -> pd.DataFrame:
    """Measure the L1 error of hidden, valid pixels, sample by sample.

    Parameters
    ----------
    model
        A pretrained model.
    data
        Samples, with ``train=False``.
    seed
        Of the masks, which are those of the validation loss.
    batch_size
        Samples at once.

    Returns
    -------
    pandas.DataFrame
        One row a sample and modality: ``sample`` (its number in the cube), ``modality``,
        ``pixels`` and for each of :data:`GUESSES` the sum of its absolute errors.
    """
    rows = []
    for batch in loader(data, batch_size):
        for name, r in reconstruct(model, batch, seed=seed).items():
            errors, scored = guess_errors(r)
            sums = {guess: error.sum((1, 2, 3, 4)) for guess, error in errors.items()}
            pixels = scored.sum((1, 2, 3, 4))
            for i, sample in enumerate(batch.sample.tolist()):
                row = {"sample": sample, "modality": name, "pixels": int(pixels[i])}
                rows.append(row | {guess: float(s[i]) for guess, s in sums.items()})
    return pd.DataFrame(rows)


def reconstruction_scores(
    errors: pd.DataFrame, block: np.ndarray, *, draws: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Turn errors into mean L1 a pixel, with 95 % intervals over spatial blocks.

    Parameters
    ----------
    errors
        From :func:`reconstruction_errors`.
    block
        Spatial block of every sample of the cube.
    draws, seed
        Of the bootstrap.

    Returns
    -------
    pandas.DataFrame
        One row a modality and guess, and one for "all" modalities: l1, low, high, and ``gain``,
        the share by which the error is below that of predicting zero. A modality of which no
        pixel was scored has no rows; a single block has no interval (NaN).
    """
    everything = errors.assign(modality="all")
    rows = []
    for name, part in pd.concat([errors, everything]).groupby("modality", sort=False):
        sums = part.groupby(np.asarray(block)[part["sample"]])[["pixels", *GUESSES]].sum()
        sums = sums[sums["pixels"] > 0]  # a block without a hidden pixel says nothing
        if sums.empty:
            continue
        rng = np.random.default_rng(seed)
        picks = rng.integers(0, len(sums), (draws, len(sums)))
        resampled = sums.to_numpy()[picks].sum(1)  # (draws, 1 + guesses)
        total = sums.to_numpy().sum(0)
        for k, guess in enumerate(GUESSES, start=1):
            low, high = np.quantile(resampled[:, k] / resampled[:, 0], [0.025, 0.975])
            if len(sums) == 1:
                low = high = np.nan
            l1, zero = total[k] / total[0], total[len(GUESSES)] / total[0]
            rows.append((name, guess, l1, low, high, 1 - l1 / zero))
    return pd.DataFrame(rows, columns=["modality", "guess", "l1", "low", "high", "gain"])
