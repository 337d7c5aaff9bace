"""Each month on its own: what an encoder makes of one slot without the others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from maestro_lab.errors import ParameterError
from maestro_lab.models.olmoearth.model import OlmoEarth
from maestro_lab.models.olmoearth.sample import Sample
from maestro_lab.olmoearth.dataset import OlmoEarthDataset

__all__ = ["embed_months", "month_names"]


@torch.no_grad()
def embed_months(
    model: OlmoEarth, data: OlmoEarthDataset, *, batch_size: int = 64
) -> tuple[np.ndarray, list[str]]:
    """Embed every sample as often as it has slots, each time from one slot alone.

    Parameters
    ----------
    model
        Used as it is, no gradient.
    data
        Samples, with ``train=False``.
    batch_size
        Samples at once.

    Returns
    -------
    tuple
        float32 (slot, sample x location, width), NaN where a slot has no data, and the names of the
        slots: month and year where all samples share them, else the number.

    Raises
    ------
    ParameterError
        For a model of another system, or data to train on.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> cube = ml.open_cube("landscape", samples=3, modalities=["s2"])
    >>> config = ml.olmoearth_config(cube)
    >>> data = ml.dataset_for(config, cube, split=None)
    >>> embed_months(ml.build_model(config), data)[0].shape
    (12, 27, 128)
    """
    if not isinstance(model, OlmoEarth) or data.train:
        raise ParameterError(
            "months to embed",
            expected="an OlmoEarth model, and data with train=False",
            found=f"{type(model).__name__}, train={data.train}",
        )
    device, training = next(model.parameters()).device, model.training
    model.eval()
    parts = []
    for start in range(0, len(data), batch_size):
        rows = range(start, min(start + batch_size, len(data)))
        batch = data.__getitems__([(0, row) for row in rows]).to(device)
        slots = [_alone(model, batch, k) for k in range(batch.timestamps.shape[1])]
        parts.append(np.stack([slot.flatten(0, 1).float().cpu().numpy() for slot in slots]))
    model.train(training)
    return np.concatenate(parts, 1), month_names(data.input.timestamps[data.index])


def _alone(model: OlmoEarth, batch: Sample, slot: int) -> torch.Tensor:
    """Embed one slot (b, l, w); NaN where it has nothing."""
    here = slice(slot, slot + 1)
    values = {n: v[:, here] for n, v in batch.values.items() if model.config.modalities[n].dated}
    one = replace(batch, values=values, timestamps=batch.timestamps[:, here], targets={})
    return model.embed(one, spatial=True, empty=torch.nan)


def month_names(timestamps: np.ndarray) -> list[str]:
    """Name slots (sample, slot, 3) of day, month from 0, year by the month they begin in.

    Examples
    --------
    >>> month_names(np.array([[[1, 0, 2021], [31, 0, 2021], [2, 2, 2021]]]))
    ['Jan 2021', 'Jan 2021 (2)', 'Mar 2021']
    """
    months = (timestamps[..., 2] - 1970) * 12 + timestamps[..., 1]
    if (months != months[:1]).any():
        return [f"slot {k + 1}" for k in range(months.shape[1])]
    words = np.array(months[0], "M8[M]").astype("M8[s]").tolist()
    names, seen = [], {}
    for name in (word.strftime("%b %Y") for word in words):
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return names
