"""Tokens of a frozen encoder one by one: what it makes of one place on one date."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from maestro_lab.batches import CubeDataset
from maestro_lab.batches.dataset import check_samples
from maestro_lab.errors import ParameterError
from maestro_lab.models.olmoearth.model import OlmoEarth
from maestro_lab.models.systems import Model

if TYPE_CHECKING:
    from maestro_lab.batches import Batch
    from maestro_lab.models.olmoearth.sample import Sample
    from maestro_lab.olmoearth.dataset import OlmoEarthDataset

__all__ = ["TokenTable", "embed_tokens"]


@dataclass(frozen=True)
class TokenTable:
    """Tokens, one a row, and where each is from.

    Parameters
    ----------
    features
        float32 (row, width).
    sample
        int64 (row,), number of the sample in its cube.
    location
        int64 (row,), place in the raster of its modality, row-major.
    modality
        str (row,).
    date
        datetime64[D] (row,), NaT where the modality has no dates. Of OlmoEarth it is the first day
        of the slot.
    grid
        Modality to locations along one side of its raster.

    Raises
    ------
    ParameterError
        If the columns differ in length, or a modality has no grid.

    Examples
    --------
    >>> row = np.zeros(1, int)
    >>> TokenTable(
    ...     np.ones((1, 4), "f4"), row, row, np.array(["s2"]), np.array(["2021-05-01"], "M8[D]"),
    ...     {"s2": 3},
    ... ).month
    array([5])
    """

    features: np.ndarray
    sample: np.ndarray
    location: np.ndarray
    modality: np.ndarray
    date: np.ndarray
    grid: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        long = {f.name: len(getattr(self, f.name)) for f in fields(self) if f.name != "grid"}
        if len(set(long.values())) > 1 or self.features.ndim != 2:
            raise ParameterError(
                "a table of tokens",
                expected="features (row, width) and as many entries in each column",
                found=f"features {self.features.shape}, "
                + ", ".join(f"{n} {rows}" for n, rows in long.items() if n != "features"),
            )
        lacking = sorted(set(np.unique(self.modality)) - set(self.grid))
        if lacking:
            raise ParameterError("a table of tokens", expected=f"the grid of {', '.join(lacking)}")

    def __len__(self) -> int:
        return len(self.features)

    @property
    def month(self) -> np.ndarray:
        """Month of the year of each token, 1 to 12; 0 where it has no date."""
        months = self.date.astype("datetime64[M]").astype(np.int64) % 12 + 1
        return np.where(np.isnat(self.date), 0, months)


@torch.no_grad()
def embed_tokens(
    model: Model,
    data: CubeDataset | OlmoEarthDataset,
    *,
    most: int = 4000,
    samples: int = 256,
    seed: int = 0,
    batch_size: int = 64,
) -> TokenTable:
    """Encode samples, and keep a random choice of their tokens, as many of each modality.

    Tokens of one modality, date and location are averaged over band groups. Each was encoded
    together with all others of its sample, nothing masked. Tokens of dates that are missing or
    under clouds are left out.

    Parameters
    ----------
    model
        Used as it is, no gradient.
    data
        Samples, with ``train=False``.
    most
        Tokens to keep at most. Where a modality has too few, others give more.
    samples
        Samples to encode at most, a random choice of all.
    seed
        Of the choice.
    batch_size
        Samples at once.

    Raises
    ------
    ParameterError
        For data to train on, or numbers below 1.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> cube = ml.open_cube("landscape", samples=3, modalities=["s2", "dem"])
    >>> data = ml.CubeDataset(cube, ml.contract_for(cube), split=None, train=False)
    >>> model = ml.build_model(ml.MaestroConfig(data.contract, "nano"))
    >>> table = embed_tokens(model, data, most=100)
    >>> len(table), sorted(set(table.modality.tolist()))
    (100, ['dem', 's2'])
    """
    if check_samples(data, "data to embed").train:
        raise ParameterError("data to embed", expected="train=False", found="train=True")
    for what, number in (("tokens to keep", most), ("samples to encode", samples)):
        if number < 1:
            raise ParameterError(what, expected="at least 1", found=number)
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(data))[:samples])
    device, training = next(model.parameters()).device, model.training
    model.eval()
    kept: dict[str, _Kept] = {}
    for start in range(0, len(rows), batch_size):
        keys = [(0, int(row)) for row in rows[start : start + batch_size]]
        batch = data.__getitems__(keys)
        for name, (tokens, present) in model.features(batch.to(device)).items():
            mine = kept.setdefault(name, _Kept(round(tokens.shape[3] ** 0.5)))
            dates = _dates(model, batch, name, (tokens.shape[0], tokens.shape[2]))
            mine.add(tokens, present, batch.sample.numpy(), dates, rng, most)
    model.train(training)
    return _joined(kept, most)


class _Kept:
    """Tokens of one modality with the smallest random keys: an even choice of all seen so far."""

    def __init__(self, grid: int) -> None:
        self.grid, self.columns = grid, None

    def add(
        self,
        tokens: Tensor,
        present: Tensor | None,
        sample: np.ndarray,
        dates: np.ndarray,
        rng: np.random.Generator,
        most: int,
    ) -> None:
        """Add tokens (b, g, d, l, w) that are there, with dates (b, d); keep ``most``."""
        there = torch.ones(tokens.shape[:4], dtype=torch.bool) if present is None else present
        where = np.argwhere(there.any(1).cpu().numpy())  # (token, 3): sample, date, location
        key = rng.random(len(where))
        chosen = np.argsort(key, kind="stable")[:most]
        b, d, place = torch.from_numpy(where[chosen].T)
        weight = there.to(tokens.device)[b, :, d, place][..., None].to(tokens.dtype)
        mean = (tokens[b, :, d, place] * weight).sum(1) / weight.sum(1)
        columns = (
            key[chosen],
            mean.float().cpu().numpy(),
            sample[b.numpy()],
            place.numpy(),
            dates[b.numpy(), d.numpy()],
        )
        if self.columns is not None:
            columns = tuple(
                np.concatenate(pair) for pair in zip(self.columns, columns, strict=True)
            )
        first = np.argsort(columns[0], kind="stable")[:most]
        self.columns = tuple(column[first] for column in columns)


def _joined(kept: dict[str, _Kept], most: int) -> TokenTable:
    """Take as many tokens of each modality; where one has too few, others give more."""
    left, taken = most, {}
    names = sorted(kept, key=lambda name: len(kept[name].columns[0]))
    for k, name in enumerate(names):
        taken[name] = min(len(kept[name].columns[0]), -(-left // (len(names) - k)))
        left -= taken[name]
    parts = {name: [c[: taken[name]] for c in mine.columns] for name, mine in kept.items()}
    _, features, sample, location, date = (
        np.concatenate(columns) for columns in zip(*parts.values(), strict=True)
    )
    modality = np.repeat(list(parts), [taken[name] for name in parts])
    grid = {name: mine.grid for name, mine in kept.items()}
    return TokenTable(features, sample, location, modality, date, grid)


def _dates(model: Model, batch: Batch | Sample, name: str, shape: tuple[int, int]) -> np.ndarray:
    """Return the dates (b, d) of the tokens of a modality; NaT where it has none."""
    if not isinstance(model, OlmoEarth):
        year, day, _ = np.moveaxis(batch.series[name].dates.numpy(), -1, 0)
        start = (year - 1970).astype("datetime64[Y]").astype("datetime64[D]")
        return start + (day - 1).astype("timedelta64[D]")
    if not model.config.modalities[name].dated:
        return np.full(shape, "NaT", "datetime64[D]")
    day, month, year = np.moveaxis(batch.timestamps.numpy(), -1, 0)
    start = ((year - 1970) * 12 + month).astype("datetime64[M]").astype("datetime64[D]")
    return start + (day - 1).astype("timedelta64[D]")
