"""How pixels of a folder of scenes are read."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import numpy as np

from maestro_lab.cubes.reading import Where
from maestro_lab.cubes.scenes.ground import Grid
from maestro_lab.cubes.sources.files import read_raster
from maestro_lab.cubes.sources.recognise import added
from maestro_lab.cubes.sources.scene_files import Layer, Row

__all__ = ["ReadFiles"]


@dataclass(frozen=True)
class ReadFiles:
    """Reads some rows of a part, as :class:`~maestro_lab.cubes.scenes.ground.ReadRows` says.

    Parameters
    ----------
    rows
        The files of each row.
    grid
        Their pixels.
    dtype
        Type of the values.
    nodata
        Fill value of each band of each row, None where there is none.
    classes
        Classes of the mask that are clear.
    offset
        What is added to the valid pixels of each row (t,), None for nothing.
    counts
        Whether the values are digital numbers.
    """

    rows: tuple[Row, ...]
    grid: Grid
    dtype: np.dtype
    nodata: tuple[tuple[float | None, ...], ...]
    classes: tuple[int, ...]
    offset: np.ndarray | None
    counts: bool

    def __call__(self, rows: np.ndarray, where: Where) -> tuple[np.ndarray, np.ndarray]:
        """Return values (t, band, y, x) and valid (t, y, x)."""
        size = tuple(cut.stop - cut.start for cut in where)
        values = np.zeros((len(rows), len(self.rows[0].layers), *size), self.dtype)
        valid = np.zeros((len(rows), *size), bool)
        for place, row in enumerate(rows):
            found, there = self._row(int(row), where)
            if self.offset is not None:
                found = added(found[None], self.offset[[row]], there[None], counts=self.counts)[0]
            values[place], valid[place] = found, there
        return values, valid

    def _row(self, number: int, where: Where) -> tuple[np.ndarray, np.ndarray]:
        row = self.rows[number]
        found: list[np.ndarray] = []
        for path, layers in groupby(row.layers, key=lambda layer: layer.image.path):
            wanted = [layer.number for layer in layers]
            found.extend(read_raster(path, bands=wanted, where=where, size=self.grid.shape))
        values = np.stack(found)
        valid = np.ones(values.shape[1:], bool)
        for band, fill in zip(values, self.nodata[number], strict=True):
            if fill is not None:
                valid &= band != fill
        if values.dtype.kind == "f":
            finite = np.isfinite(values)
            values, valid = np.where(finite, values, 0), valid & finite.all(0)
        if row.mask is not None:
            valid &= self._clear(row.mask, where)
        return values.astype(self.dtype, copy=False), valid

    def _clear(self, mask: Layer, where: Where) -> np.ndarray:
        """Return which pixels are of clear classes, the mask brought to the image's pixels."""
        ratio = mask.image.grid.gsd / self.grid.gsd
        coarse, fine = max(1, round(ratio)), max(1, round(1 / ratio))
        part = tuple(
            slice(cut.start * fine // coarse, -(-cut.stop * fine // coarse)) for cut in where
        )
        found = read_raster(mask.image.path, bands=[mask.number], where=part)[0]
        clear = np.isin(found, self.classes)
        if fine > 1:
            rows, columns = (n // fine for n in clear.shape)
            return clear.reshape(rows, fine, columns, fine).all(axis=(1, 3))
        clear = clear.repeat(coarse, 0).repeat(coarse, 1)
        first = [cut.start % coarse for cut in where]
        size = [cut.stop - cut.start for cut in where]
        return clear[first[0] : first[0] + size[0], first[1] : first[1] + size[1]]
