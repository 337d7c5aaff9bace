"""Rows of embeddings as points of a plane."""

from __future__ import annotations

import warnings
from functools import cached_property
from importlib.util import find_spec

import numpy as np

from maestro_lab.errors import ParameterError
from maestro_lab.figures.alike import EMPTY

__all__ = ["Cloud", "layouts"]

_LEAST = 5  # points that UMAP needs


def layouts() -> list[str]:
    """Return the ways to lay points out: ``umap`` only where umap-learn is installed."""
    return ["pca", "umap"] if find_spec("umap") else ["pca"]


class Cloud:
    """Rows of a table of embeddings as points of a plane; some of them are drawn.

    Parameters
    ----------
    features
        (row, width), NaN for gaps.
    patch
        int (row, 3): sample, row and column of the patch that each is of.
    most
        Points to draw at most.
    seed
        Of their choice, and of UMAP.
    """

    def __init__(
        self, features: np.ndarray, patch: np.ndarray, *, most: int = 3000, seed: int = 0
    ) -> None:
        self.features, self.patch, self.seed = features, patch, seed
        self.there = np.flatnonzero(np.isfinite(features).all(1))
        self.drawn = np.random.default_rng(seed).permutation(self.there)[:most]
        self._umap: np.ndarray | None = None

    @cached_property
    def _parts(self) -> tuple[np.ndarray, np.ndarray]:
        """Return scores (row, 3), NaN for gaps, and shares of the variance (3,)."""
        from sklearn.decomposition import PCA

        rows = self.features[self.there]
        found = PCA(min(3, *rows.shape), random_state=self.seed)
        with np.errstate(invalid="ignore"):  # rows that are all the same have no variance
            made = found.fit_transform(rows)
        scores = np.full((len(self.features), 3), np.nan)
        scores[self.there] = np.pad(made, ((0, 0), (0, 3 - made.shape[1])))
        share = np.nan_to_num(found.explained_variance_ratio_)
        return scores, np.pad(share, (0, 3 - len(share)))

    @property
    def share(self) -> np.ndarray:
        """Shares of the variance along the first three principal components."""
        return self._parts[1]

    @cached_property
    def colours(self) -> np.ndarray:
        """First three principal components as RGB (row, 3), grey for gaps."""
        scores = self._parts[0]
        low, high = np.nanquantile(scores, [0.02, 0.98], axis=0)
        flat = high - low <= 1e-9 * max(float(np.abs(scores[self.there]).max()), 1e-9)
        shown = np.clip((scores - low) / np.where(flat, 1, high - low), 0, 1)
        shown[:, flat] = 0.5
        return np.where(np.isfinite(scores), shown, EMPTY)

    def at(self, layout: str, rows: np.ndarray) -> np.ndarray:
        """Return where rows lie (n, 2).

        UMAP lays out what is drawn; other rows lie where the most alike of these does.
        """
        if layout == "pca":
            return self._parts[0][rows, :2]
        rows = rows[np.isin(rows, self.there)]
        drawn = self.features[self.drawn]
        apart = np.square(drawn).sum(1) - 2 * self.features[rows] @ drawn.T
        return self._laid_out[apart.argmin(1)]

    def points(self, layout: str) -> np.ndarray:
        """Return where the drawn rows lie (n, 2)."""
        return self._parts[0][self.drawn, :2] if layout == "pca" else self._laid_out

    @cached_property
    def _laid_out(self) -> np.ndarray:
        if len(self.drawn) < _LEAST:
            raise ParameterError(
                "points for UMAP", expected=f"{_LEAST} or more", found=len(self.drawn),
                do="choose the layout pca",
            )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of parts of umap-learn that are not used
            from umap import UMAP

            few = min(15, len(self.drawn) - 1)
            made = UMAP(n_neighbors=few, init="pca", n_jobs=1, random_state=self.seed)
            return made.fit_transform(self.features[self.drawn])

    def rows_of(self, patches: np.ndarray) -> np.ndarray:
        """Return the rows that are of some patches (n, 3) and have data."""
        first = self.patch[self.there]
        side = max(int(first.max(initial=0)), int(np.max(patches, initial=0))) + 1
        key = np.array([side * side, side, 1])
        return self.there[np.isin(first @ key, np.reshape(patches, (-1, 3)) @ key)]

    def nearest(self, layout: str, x: float, y: float) -> int:
        """Return the drawn row whose point is nearest, both axes being as long."""
        points = self.points(layout)
        apart = (points - (x, y)) / np.maximum(np.ptp(points, axis=0), 1e-12)
        return int(self.drawn[np.square(apart).sum(1).argmin()])

    def inside(self, layout: str, x: tuple[float, float], y: tuple[float, float]) -> np.ndarray:
        """Return the drawn rows whose points lie in a box."""
        points = self.points(layout)
        low, high = np.transpose([x, y])
        return self.drawn[((points >= low) & (points <= high)).all(1)]
