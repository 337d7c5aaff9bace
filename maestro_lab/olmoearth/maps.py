"""Maps and elevation of a cube as OlmoEarth predicts them: one image, on the sensors' grid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from maestro_lab.batches.source import TargetSource
from maestro_lab.cubes.contract import TARGETS, modality_names
from maestro_lab.cubes.reading import Read, whole
from maestro_lab.errors import ContractError, ParameterError
from maestro_lab.models.olmoearth.config import MODALITIES, Modality, OlmoEarthConfig
from maestro_lab.models.olmoearth.norms import normalise_bands
from maestro_lab.olmoearth.parts import reader

__all__ = ["MapSource", "map_modality", "map_sources", "own_name", "published_name"]

KNOWN = {
    "worldcover": "worldcover",
    "openstreetmap": "openstreetmap_raster",
    "canopy_height": "wri_canopy_height_map",
    "cdl": "cdl",
    "worldcereal": "worldcereal",
    "elevation": "srtm",
}
"""Target of a cube, or sensor of a modality, to the map of the model."""


def own_name(cube: xr.DataTree, name: str) -> str:
    """Return what the model calls a target or modality of a cube: a published name, or the same.

    Raises
    ------
    ParameterError
        If the cube has no such target with pixels, and no such modality without dates.
    """
    if name not in _legal(cube):
        raise ParameterError(
            f"map {name!r}",
            expected=", ".join(_legal(cube)) or "a cube with targets that have pixels",
            found="no such target with pixels, nor elevation",
        )
    return published_name(cube, name) or name


def published_name(cube: xr.DataTree, name: str) -> str:
    """Return the published name of a map whose values are what the published levels are of."""
    kind = name if _is_target(cube, name) else cube[name].attrs.get("sensor", "")
    found = KNOWN.get(kind, "")
    if found == "worldcover" and "codes" not in cube[TARGETS][name].attrs:
        return ""  # levels are those of codes, not of class numbers
    return found if found and len(MODALITIES[found].bands) == _layers(cube, name) else ""


def map_modality(cube: xr.DataTree, name: str) -> Modality:
    """Describe a map of a cube that has no published levels: its range becomes 0 to 1.

    The range is that of the training samples, where there are any.
    """
    source = MapSource.of(cube, name, name, Modality((("value",),)))
    train = np.flatnonzero(np.asarray(cube["split"].values).astype(str) == "train")
    values = source.codes(train if len(train) else slice(None))
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    bands = tuple(f"layer {k}" for k in range(_layers(cube, name)))
    return Modality((bands,), span=(low, high if high > low else low + 1))


def map_sources(
    cube: xr.DataTree, config: OlmoEarthConfig, pixels: tuple[int, int]
) -> dict[str, MapSource]:
    """Find what the maps of a model are made from in a cube, as far as it is there.

    Raises
    ------
    ContractError
        If a source that the configuration names is not there, or does not lie on the grid.
    """
    there = {own_name(cube, name): name for name in reversed(_legal(cube))}
    found = {}
    for modality in config.predicted_only:
        name = (*config.sources.get(modality, ()), there.get(modality))[0]
        if name is None:
            continue
        if name not in _legal(cube):
            raise ContractError(
                f"{modality}: no source in this cube",
                expected=f"a target with pixels, or elevation, named {name}",
                found=", ".join(_legal(cube)) or "none",
            )
        source = MapSource.of(cube, name, modality, config.modalities[modality])
        source.check(pixels)
        found[modality] = source
    return found


@dataclass(frozen=True)
class MapSource:
    """One map of a cube.

    Parameters
    ----------
    name
        Of the target or modality.
    modality, m
        What the model calls it, and how it takes it.
    read
        Returns samples as they are stored: (sample, layer, y, x), NaN where there is nothing.
    pixels
        Rows and columns.
    """

    name: str
    modality: str
    m: Modality
    read: Any
    pixels: tuple[int, int]

    @classmethod
    def of(cls, cube: xr.DataTree, name: str, modality: str, m: Modality) -> MapSource:
        """Find a target with pixels or, of that name, a modality without dates."""
        if _is_target(cube, name):
            variable = cube[TARGETS][name]
            read = _TargetRead(TargetSource(variable, np.arange(len(variable))), variable.attrs)
            return cls(name, modality, m, read, variable.shape[-2:])
        ds = cube[name].to_dataset()
        side = ds.sizes["y"], ds.sizes["x"]
        every = np.arange(ds.sizes["sample"])
        return cls(name, modality, m, _ImageRead(ds, reader(ds, every), side), side)

    def codes(self, samples: Any) -> np.ndarray:
        """Return stored values (sample, layer, y, x)."""
        if isinstance(samples, slice):
            samples = np.arange(self.read.count)[samples]
        return self.read(np.asarray(samples))

    def check(self, pixels: tuple[int, int]) -> None:
        """Refuse a map whose pixels do not line up with a grid, or with other layers.

        Raises
        ------
        ContractError
            Names both.
        """
        for mine, wanted in zip(self.pixels, pixels, strict=True):
            if max(mine, wanted) % min(mine, wanted):
                raise ContractError(
                    f"{self.name}: {self.pixels[0]} x {self.pixels[1]} px",
                    expected=f"a multiple or a part of {pixels[0]} x {pixels[1]} px",
                    found="pixels that do not line up",
                )
        layers = self.codes(slice(0, 1)).shape[1]
        if layers != len(self.m.bands):
            raise ContractError(f"{self.name}: layers", expected=len(self.m.bands), found=layers)

    def values(self, sample: int, pixels: tuple[int, int]) -> np.ndarray:
        """Return a sample (1, band, y, x), normalised, NaN where there is nothing.

        Coarser maps are repeated, of finer ones the pixel in the middle is taken.
        """
        found = self.codes([sample])
        for axis, wanted in ((-2, pixels[0]), (-1, pixels[1])):
            mine = found.shape[axis]
            if mine <= wanted:
                found = found.repeat(wanted // mine, axis)
            else:
                step = mine // wanted
                found = found.take(np.arange(step // 2, mine, step), axis)
        return normalise_bands(found, self.modality, self.m.bands, self.m.span)


@dataclass(frozen=True)
class _TargetRead:
    source: TargetSource
    attrs: Mapping[str, Any]

    @property
    def count(self) -> int:
        return len(self.source.samples)

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        stored = self.source.rows(samples, [None] * len(samples))
        values = stored.astype(float)
        none = -1 if stored.dtype.kind in "iu" else np.nan
        values[stored == self.attrs.get("missing", none)] = np.nan
        if "codes" in self.attrs:  # labels number the classes, levels are those of codes
            codes = np.asarray(self.attrs["codes"], float)
            values[(values < 0) | (values >= len(codes))] = np.nan
            there = np.isfinite(values)
            values[there] = codes[values[there].astype(int)]
        return values if values.ndim == 4 else values[:, None]


@dataclass(frozen=True)
class _ImageRead:
    ds: xr.Dataset
    read: Read
    side: tuple[int, int]

    @property
    def count(self) -> int:
        return self.ds.sizes["sample"]

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        return np.concatenate([self._one(int(k)) for k in samples])

    def _one(self, sample: int) -> np.ndarray:
        if np.isnat(self.ds["time"].values[sample, 0]):
            return np.full((1, self.ds.sizes["band"], *self.side), np.nan)
        values, valid = self.read(sample, whole(self.side))
        return np.where(valid[:1, None], values[:1], np.nan).astype(float)


def _legal(cube: xr.DataTree) -> list[str]:
    """Return names of what can be a map: targets with pixels, and what has no dates."""
    targets: Iterable[str] = cube[TARGETS].data_vars if TARGETS in cube.children else ()
    static = [n for n in modality_names(cube) if cube[n].attrs.get("sensor") == "elevation"]
    return [*(name for name in targets if _is_target(cube, name)), *static]


def _is_target(cube: xr.DataTree, name: str) -> bool:
    there = TARGETS in cube.children and name in cube[TARGETS].data_vars
    return there and cube[TARGETS][name].dims[-2:] == ("y", "x")


def _layers(cube: xr.DataTree, name: str) -> int:
    if _is_target(cube, name):
        variable = cube[TARGETS][name]
        return variable.shape[1] if variable.ndim == 4 else 1
    return cube[name].sizes["band"]
