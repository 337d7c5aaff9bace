"""Embeddings of a cube made ready to be looked at, and what they can be coloured by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import xarray as xr

from maestro_lab.batches.targets import target_at
from maestro_lab.cubes.contract import TARGETS
from maestro_lab.errors import ParameterError
from maestro_lab.figures.alike import Alike
from maestro_lab.figures.clouds import Cloud
from maestro_lab.training.embed import Embeddings
from maestro_lab.training.spread import effective_rank, spread
from maestro_lab.training.token_table import TokenTable

__all__ = ["MONTHS", "Colouring", "EmbeddingSpace", "room"]

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_PLACES = 8  # from which a location's mean over windows is its position, and not the ground
_MEASURED = 2048  # rows that effective rank and uniformity are measured on


@dataclass(frozen=True)
class Colouring:
    """What points are coloured by.

    Parameters
    ----------
    kind
        "rgb", "class", "number" or "month".
    values
        (row,), NaN where nothing is known: number of a class, a number, or months from 0 to 12; of
        "rgb" (row, 3).
    label
        What is shown, with units.
    names
        Of the classes.
    """

    kind: str
    values: np.ndarray
    label: str
    names: tuple[str, ...] = ()

    def words(self, row: int) -> str:
        """Say what is known of a row."""
        value = self.values[row]
        if self.kind == "rgb" or not np.isfinite(value):
            return "" if self.kind == "rgb" else "not known"
        return self.names[int(value)] if self.kind == "class" else f"{value:.4g}"


class EmbeddingSpace:
    """Embeddings of the patches of a cube, and of their tokens, made ready to be looked at.

    Parameters
    ----------
    cube, embeddings, modality
        As :class:`~maestro_lab.figures.alike.Alike` takes them.
    tokens
        Of the same samples; default none.
    position
        Leave in what all windows have in common at a location: tokens carry a code of their place
        in the window, which says nothing about the ground. It can be told from 8 places on.
    most
        Points to draw at most.
    seed
        Of their choice.

    Raises
    ------
    ParameterError
        If embeddings or tokens do not belong to the cube, or there is no such modality.
    """

    def __init__(
        self,
        cube: xr.DataTree,
        embeddings: Embeddings,
        modality: str = "",
        *,
        tokens: TokenTable | None = None,
        position: bool = False,
        most: int = 3000,
        seed: int = 0,
    ) -> None:
        self.cube, self.embeddings = cube, embeddings
        self.alike = Alike(cube, embeddings, modality)
        self.position = None if position else self._position()
        if self.position is not None:
            ground = replace(embeddings, features=embeddings.features - self.position)
            self.alike = Alike(cube, ground, modality)
        self.grid = embeddings.grid
        sample, place = np.indices((len(self.alike.sample), self.grid**2))
        patch = [self.alike.sample[sample], *np.divmod(place, self.grid)]
        self.places = Cloud(
            self._ground(), np.stack(patch, -1).reshape(-1, 3), most=most, seed=seed
        )
        self._colourings: dict[tuple[str, str], Colouring] = {}
        self.token_cloud: Cloud | None = None
        if tokens is not None:
            self._tokens = self._known(tokens)
            where = self._patches(self._tokens)
            self.token_cloud = Cloud(self._tokens.features, where, most=most, seed=seed)

    @cached_property
    def room(self) -> dict[str, float]:
        """Effective rank and uniformity, as :func:`room` returns them."""
        return room(self.embeddings, self._ground())

    def _position(self) -> np.ndarray | None:
        """Return the mean of each location (location, width), None for a few places."""
        features = self.embeddings.features
        if len(np.unique(self.alike.places)) < _PLACES:
            return None
        count = np.isfinite(features).sum(0)
        return (np.nansum(features, 0) / np.maximum(count, 1)).astype(np.float32)

    @cached_property
    def position_share(self) -> float:
        """Share of the variance that the code of position is."""
        features = np.asarray(self.embeddings.features, float)
        mean = np.nanmean(features.reshape(-1, features.shape[-1]), 0)
        whole, left = (np.nansum((features - m) ** 2) for m in (mean, self.position))
        return float(1 - left / max(whole, 1e-12))

    def _ground(self) -> np.ndarray:
        """Return features (row, width), the code of position taken out if it is to be."""
        features = np.asarray(self.embeddings.features, np.float32)
        if self.position is not None:
            features = features - self.position
        return features.reshape(-1, features.shape[-1])

    def _known(self, tokens: TokenTable) -> TokenTable:
        """Return the tokens of samples that are embedded."""
        there = np.isin(tokens.sample, self.alike.sample)
        there &= np.isfinite(tokens.features).all(1)
        if not there.any():
            raise ParameterError(
                "tokens", expected="some of the samples that are embedded",
                found=f"{len(tokens)} tokens of others",
            )  # fmt: skip
        columns = ("features", "sample", "location", "modality", "date")
        return replace(tokens, **{name: getattr(tokens, name)[there] for name in columns})

    def _patches(self, tokens: TokenTable) -> np.ndarray:
        """Return the patch (row, 3) that the middle of each token lies in."""
        side = np.array([tokens.grid[name] for name in tokens.modality])
        place = np.stack(np.divmod(tokens.location, side), 1)
        found = ((place + 0.5) / side[:, None] * self.grid).astype(int)
        return np.column_stack([tokens.sample, found])

    def cloud(self, points: str) -> Cloud:
        """Return the points of ``places``, or of ``tokens``."""
        if points == "tokens" and self.token_cloud is not None:
            return self.token_cloud
        if points != "places":
            raise ParameterError(
                "points to draw", expected="places" if self.token_cloud is None
                else "places, tokens", found=points,
            )  # fmt: skip
        return self.places

    def colours(self, points: str) -> list[str]:
        """Return what points can be coloured by."""
        if points == "tokens":
            dated = not np.isnat(self._tokens.date).all()
            return ["modality", *(["date"] if dated else [])]
        targets = list(self.cube[TARGETS].data_vars) if TARGETS in self.cube.children else []
        return ["map", *targets, "split"]

    def colouring(self, points: str, colour: str) -> Colouring:
        """Return the colour of every row.

        Raises
        ------
        ParameterError
            If the points cannot be coloured so.
        """
        self.cloud(points)
        legal = self.colours(points)
        if colour not in legal:
            raise ParameterError(f"colour of {points}", expected=", ".join(legal), found=colour)
        if (points, colour) not in self._colourings:
            make = self._token_colour if points == "tokens" else self._place_colour
            self._colourings[points, colour] = make(colour)
        return self._colourings[points, colour]

    def _token_colour(self, colour: str) -> Colouring:
        table = self._tokens
        if colour == "modality":
            return _named(table.modality, "modality")
        first = table.date.astype("datetime64[Y]")
        year = (first + 1).astype("datetime64[D]") - first.astype("datetime64[D]")
        share = (table.date - first.astype("datetime64[D]")) / year
        return Colouring("month", 12 * share, "month", MONTHS)

    def _place_colour(self, colour: str) -> Colouring:
        if colour == "map":
            return Colouring("rgb", self.places.colours, "PC 1, 2, 3 as\nred, green, blue")
        if colour == "split":
            split = np.asarray(self.cube["split"].values).astype(str)[self.alike.sample]
            return _named(np.repeat(split, self.grid**2), "split")
        target = target_at(self.cube, colour, self.alike.sample, self.grid)
        values = np.broadcast_to(
            target.values.astype(float),
            (len(target.values), self.grid**2, *target.values.shape[2:]),
        )
        label, number = colour.replace("_", " "), values.reshape(-1, *values.shape[2:])
        if number.ndim == 2:  # shares of classes
            known = np.nan_to_num(number).any(1)
            number = np.where(known, np.nan_to_num(number).argmax(1), np.nan)
            return Colouring("class", number, f"{label}: largest share", target.classes)
        if target.task == "classification" and not target.classes:
            names, found = np.unique(number[np.isfinite(number)], return_inverse=True)
            number[np.isfinite(number)] = found
            return Colouring("class", number, label, tuple(f"{name:g}" for name in names))
        if target.task == "classification":
            legal = (number >= 0) & (number < len(target.classes))
            return Colouring("class", np.where(legal, number, np.nan), label, target.classes)
        return Colouring("number", number, f"{label} ({target.units})".removesuffix(" ()"))


def room(
    embeddings: Embeddings, ground: np.ndarray | None = None, *, seed: int = 0
) -> dict[str, float]:
    """Return effective rank and uniformity of embeddings, and how many patches tell them.

    Parameters
    ----------
    embeddings
        Patches without data do not count; of many, a random choice of 2048 does.
    ground
        The same rows once the code of position is taken out; default as they are.
    seed
        Of the choice.

    Returns
    -------
    dict
        ``effective rank`` and ``uniformity`` of embeddings as they are, ``differences``, the
        effective rank of ``ground`` less its mean, ``patches``, and ``most``, the rank they could
        have; without the first three where there are fewer than 2 patches.
    """
    rows = np.asarray(embeddings.features).reshape(-1, embeddings.features.shape[-1])
    there = np.flatnonzero(np.isfinite(rows).all(1))
    there = np.random.default_rng(seed).permutation(there)[:_MEASURED]
    found = {"patches": len(there), "most": min(len(there), rows.shape[-1])}
    if len(there) < 2:
        return found
    differences = effective_rank((rows if ground is None else ground)[there], centred=True)
    return found | spread(rows[there]) | {"differences": differences}


def _named(values: np.ndarray, label: str) -> Colouring:
    """Return a colouring by names."""
    names, number = np.unique(values, return_inverse=True)
    return Colouring("class", number.reshape(-1).astype(float), label, tuple(map(str, names)))
