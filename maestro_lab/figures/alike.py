"""Which patches are alike to an encoder, and how they look to us."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

from maestro_lab.cubes.contract import modality_names
from maestro_lab.errors import ParameterError
from maestro_lab.figures.maps import window_positions
from maestro_lab.figures.style import as_rgb, composites, stretch
from maestro_lab.training.embed import Embeddings
from maestro_lab.training.spread import directions

__all__ = ["Alike", "Match"]

EMPTY = 0.93  # grey of what has no data
_WIDE = 20  # patches to show along a side, if there are so many side by side
_SHARED_LIMITS = 24  # samples that the colours of all pictures are taken from


@dataclass(frozen=True)
class Match:
    """A patch that looks like another one: sample of the cube, row, column, cosine similarity."""

    sample: int
    row: int
    column: int
    cosine: float


class Alike:
    """Embeddings made ready to be compared, and pictures of the samples they are of.

    Parameters
    ----------
    cube
        The cube.
    embeddings
        Of samples of the cube. Their mean over all patches is subtracted before they are
        compared: see :func:`~maestro_lab.training.spread.directions`.
    modality
        To show; default the first one with three bands, else the first one.

    Raises
    ------
    ParameterError
        If the embeddings do not belong to the cube, or there is no such modality.
    """

    def __init__(self, cube: xr.DataTree, embeddings: Embeddings, modality: str = "") -> None:
        if not isinstance(embeddings, Embeddings):
            raise ParameterError(
                "embeddings", expected="what ml.embed returns", found=type(embeddings).__name__
            )
        self.cube, self.grid = cube, embeddings.grid
        self.sample = np.asarray(embeddings.sample)
        _check(cube, embeddings)
        self.rows = directions(embeddings.features).astype(np.float32)
        self.modality = _modality(cube, modality)
        self._line = {int(s): k for k, s in enumerate(self.sample)}
        self._medians: dict[int, np.ndarray] = {}

    def line(self, sample: int | str) -> int:
        """Return the line of the table that a sample, by number or name, stands in."""
        names = self.cube.indexes["sample"]
        number = (
            int(names.get_loc(sample)) if isinstance(sample, str) and sample in names else sample
        )
        if isinstance(number, str) or int(number) not in self._line:
            raise ParameterError(
                f"sample {sample!r} is not embedded",
                expected=f"one of {len(self.sample)} such as {int(self.sample[0])}, "
                f"or a name such as {names[self.sample[0]]!r}",
                found=repr(sample),
            )
        return self._line[int(number)]

    def cosines(self, sample: int | str, row: int, column: int) -> np.ndarray:
        """Return the cosine similarity of every patch to one: (line, row, column), NaN for gaps."""
        for name, value in (("row", row), ("column", column)):
            if not 0 <= value < self.grid:
                raise ParameterError(
                    f"{name} of a patch", expected=f"0 to {self.grid - 1}", found=value
                )
        found = self.rows @ self.rows[self.line(sample), row * self.grid + column]
        return found.reshape(-1, self.grid, self.grid)

    def matches(self, cosines: np.ndarray, sample: int | str, best: int) -> list[Match]:
        """Return the most alike patch of each other place, the best places first.

        Samples of one place, such as several years of it, count as one; without positions in the
        cube each sample is a place of its own.
        """
        flat = np.nan_to_num(cosines.reshape(len(cosines), -1), nan=-np.inf)
        where, most = flat.argmax(1), flat.max(1)
        taken = {self.places[self.line(sample)]}
        found: list[Match] = []
        for line in np.argsort(-most, kind="stable"):
            if len(found) >= best or not np.isfinite(most[line]):
                break
            if self.places[line] not in taken:
                taken.add(self.places[line])
                row, column = divmod(int(where[line]), self.grid)
                found.append(Match(int(self.sample[line]), row, column, float(most[line])))
        return found

    @cached_property
    def places(self) -> np.ndarray:
        """Return a number for each line; the same for samples of one place."""
        if not {"easting", "northing"} <= set(self.cube.data_vars):
            return np.arange(len(self.sample))
        position = np.stack([self.cube[n].values[self.sample] for n in ("easting", "northing")], 1)
        return np.unique(position, axis=0, return_inverse=True)[1].reshape(-1)

    def picture(self, sample: int) -> np.ndarray:
        """Return the median of a sample's valid dates as RGB (y, x, 3), grey where there is none.

        The same colours mean the same values in all samples.
        """
        image = self._median(sample)
        picture = as_rgb(image, self._limits)
        picture[~np.isfinite(image).all(0)] = EMPTY
        return picture

    def frame(self, sample: int | str, around: int | None = None) -> np.ndarray:
        """Return the lines (y, x) of windows beside a sample as they lie on the ground.

        Where several samples are of one window, the one nearest in date is taken; -1 where there
        is none. ``around`` windows on each side; by default enough for some 20 patches. Just the
        sample itself, (1, 1), where windows do not lie side by side.
        """
        own = self.line(sample)
        around = max(0, -(-(_WIDE - self.grid) // (2 * self.grid))) if around is None else around
        if self._position is None or not around:
            return np.array([[own]])
        step = self._position - self._position[own] + around
        near = np.flatnonzero(((step >= 0) & (step <= 2 * around)).all(1))
        near = near[np.argsort(-self._apart(own)[near], kind="stable")]  # the last one is kept
        frame = np.full((2 * around + 1,) * 2, -1)
        frame[tuple(step[near].T)] = near
        frame[around, around] = own
        return frame[(frame >= 0).any(1)][:, (frame >= 0).any(0)]

    @cached_property
    def _position(self) -> np.ndarray | None:
        found = window_positions(self.cube)
        return None if found is None else found[self.sample]

    def _apart(self, line: int) -> np.ndarray:
        """Return days between a sample and all others; 0 where the cube does not tell."""
        if "ref_date" not in self.cube.data_vars:
            return np.zeros(len(self.sample))
        date = self.cube["ref_date"].values[self.sample].astype("datetime64[D]").astype(float)
        return np.abs(date - date[line])

    def mosaic(self, frame: np.ndarray) -> np.ndarray:
        """Return pictures side by side, (y, x, 3)."""
        known = {k: self.picture(int(self.sample[k])) for k in frame[frame >= 0]}
        empty = np.full_like(next(iter(known.values())), EMPTY)
        rows = [np.concatenate([known.get(k, empty) for k in line], 1) for line in frame]
        return np.concatenate(rows)

    @cached_property
    def words(self) -> str:
        """Return the bands of the pictures in words."""
        return composites(self.cube[self.modality].isel(sample=[0], time=[0]))[1]

    @cached_property
    def _limits(self) -> tuple[np.ndarray, np.ndarray]:
        count = min(_SHARED_LIMITS, len(self.sample))
        some = self.sample[np.linspace(0, len(self.sample) - 1, count).round().astype(int)]
        ds = self.cube[self.modality].to_dataset().isel(sample=some).load()
        for k, number in enumerate(some):
            self._medians[int(number)] = _median(ds.isel(sample=k))
        return stretch(np.stack([self._medians[int(number)] for number in some]))

    def _median(self, sample: int) -> np.ndarray:
        if sample not in self._medians:
            ds = self.cube[self.modality].to_dataset().isel(sample=sample)
            self._medians[sample] = _median(ds)
        return self._medians[sample]

    def lay(self, cosines: np.ndarray, frame: np.ndarray) -> np.ndarray:
        """Return similarities of windows side by side, (y, x), NaN where there is nothing."""
        there = np.where((frame >= 0)[..., None, None], cosines[frame], np.nan)
        y, x = frame.shape
        return there.transpose(0, 2, 1, 3).reshape(y * self.grid, x * self.grid)

    def limits(
        self,
        cosines: np.ndarray,
        frames: Sequence[np.ndarray],
        line: int,
        patch: tuple[int, int],
    ) -> tuple[float, float]:
        """Return the range of similarities on show, the patch itself and 2 % of the least aside."""
        others = cosines.copy()
        others[line, *patch] = np.nan
        shown = np.concatenate([self.lay(others, frame).ravel() for frame in frames])
        shown = shown[np.isfinite(shown)]
        if not len(shown):
            return 0.0, 1.0
        low, high = float(np.quantile(shown, 0.02)), float(shown.max())
        return min(low, high - 0.02), high

    def name(self, sample: int) -> str:
        """Return the name of a sample."""
        return str(self.cube["sample"].values[sample])

    def chip(self, match: Match) -> tuple[np.ndarray, np.ndarray]:
        """Return the picture of a patch with those around it, and its box.

        The box is left, top, width and height as shares of the picture.
        """
        picture = self.picture(match.sample)
        size = np.array(picture.shape[:2]) / self.grid  # pixels of a patch
        shown = min(3, self.grid)
        place = np.array([match.row, match.column])
        first = np.clip(place - 1, 0, self.grid - shown)
        start, stop = (
            np.floor(first * size).astype(int),
            np.ceil((first + shown) * size).astype(int),
        )
        corner, share = (place * size - start) / (stop - start), size / (stop - start)
        chip = picture[start[0] : stop[0], start[1] : stop[1]]
        return chip, np.array([*corner[::-1], *share[::-1]])


def _check(cube: xr.DataTree, embeddings: Embeddings) -> None:
    features, sample = np.asarray(embeddings.features), np.asarray(embeddings.sample)
    if features.ndim != 3 or features.shape[:2] != (len(sample), embeddings.grid**2):
        raise ParameterError(
            "embeddings",
            expected=f"({len(sample)} samples, {embeddings.grid} x {embeddings.grid} patches, "
            "width)",
            found=f"shape {features.shape}",
        )
    if not len(sample) or sample.min() < 0 or sample.max() >= cube.sizes["sample"]:
        raise ParameterError(
            "embeddings of another cube",
            expected=f"samples 0 to {cube.sizes['sample'] - 1}",
            found=f"{sample.min()} to {sample.max()}" if len(sample) else "none",
        )


def _modality(cube: xr.DataTree, wanted: str) -> str:
    names = modality_names(cube)
    if wanted and wanted not in names:
        raise ParameterError("modality to show", expected=", ".join(names), found=wanted)
    return wanted or next((n for n in names if cube[n].sizes["band"] >= 3), names[0])


def _median(ds: xr.Dataset) -> np.ndarray:
    """Return the lower median of valid dates (c, y, x), NaN where there is none."""
    images, _ = composites(ds)
    good = ds["valid"].values[:, None] & np.isfinite(images)
    count = good.sum(0)
    ordered = np.sort(np.where(good, images, np.inf), axis=0)
    middle = np.take_along_axis(ordered, np.maximum(count - 1, 0)[None] // 2, 0)[0]
    return np.where(count > 0, middle, np.nan)
