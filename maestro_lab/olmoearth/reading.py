"""Any cube as OlmoEarth takes it: slots of a month, its bands in order, normalised, gaps marked."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr

from maestro_lab.cubes.contract import modality_names
from maestro_lab.cubes.reading import Read, Where, read_of, whole
from maestro_lab.cubes.sensors import sensor
from maestro_lab.cubes.slots import monthly_slots
from maestro_lab.errors import ContractError, CubeWarning, ParameterError
from maestro_lab.models.olmoearth.config import MODALITIES, OlmoEarthConfig
from maestro_lab.models.olmoearth.norms import normalise_bands
from maestro_lab.models.olmoearth.sample import NO_DATA, Sample
from maestro_lab.olmoearth.maps import map_sources

__all__ = ["OlmoEarthInput", "sensors_of"]

SENSORS = {"sentinel-2": "sentinel2_l2a", "sentinel-1": "sentinel1", "landsat": "landsat"}
"""Sensor of a cube to the modality of the model."""

_IN_MEMORY = 4e9  # bytes of normalised samples that are kept
_TOO_MANY = 0.2  # share of bands made up, above which there is a warning
_THERMAL = ("B10", "B11")  # of Landsat: like nothing but each other


@dataclass(frozen=True)
class _Part:
    """One modality of the cube that a modality of the model is made from."""

    name: str
    bands: list[str]
    read: Read
    pixels: tuple[int, int]
    factor: int
    units: str
    slots: np.ndarray


class OlmoEarthInput:
    """The samples of a cube as batches for an OlmoEarth model.

    Sentinel-2, Sentinel-1 and Landsat are found by their sensor, whatever their names; bands of
    several grids are brought to the finest one by repeating pixels. Each slot takes the clearest
    acquisition in it, and stays empty where there is none. Of Sentinel-1 in two directions a slot
    takes the first that has something.

    Parameters
    ----------
    cube
        The cube; Sentinel-2 L2A in digital numbers or reflectance, radar in dB or linear power.
    config
        Of the model.
    split
        Which samples: a name or several of train, val, test, buffer; None takes all.
    start
        First day of the first slot, one date or one for each sample of the cube. Default: half a
        year before the reference date, else the first month with data.
    slots
        Slots of a sample, of 30 days each.
    maps
        Bring the maps of the model along that the cube has; they are predicted, never seen.

    Raises
    ------
    ContractError
        If the cube has no sensor that the model can see, or grids that do not line up.
    ParameterError
        If no sample is left.

    Warns
    -----
    CubeWarning
        If more than a fifth of a sensor's bands are missing and have to be made up.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> from maestro_lab.models.olmoearth.config import OlmoEarthConfig
    >>> cube = ml.open_cube("landscape", samples=4, modalities=["s2", "s1_asc"])
    >>> data = OlmoEarthInput(cube, OlmoEarthConfig.of("v1.2", "nano"), start="2021-01-01")
    >>> data.sample([0, 1]).values["sentinel2_l2a"].shape
    torch.Size([2, 12, 12, 6, 6])
    """

    def __init__(
        self,
        cube: xr.DataTree,
        config: OlmoEarthConfig,
        *,
        split: str | Sequence[str] | None = None,
        start: object = None,
        slots: int = 12,
        maps: bool = False,
    ) -> None:
        self.config = config
        self.index = _rows(cube, split)
        found = _by_modality(cube, config)
        self.start = _first_days(cube, [n for names in found.values() for n in names], start)
        self.gsd = min(float(cube[n].attrs["gsd"]) for names in found.values() for n in names)
        self.slots = slots
        self.parts = {
            modality: [self._part(cube, name, modality) for name in names]
            for modality, names in found.items()
        }
        first = next(iter(self.parts.values()))[0]
        self.pixels = first.pixels[0] * first.factor, first.pixels[1] * first.factor
        self._check()
        self.maps = map_sources(cube, config, self.pixels) if maps else {}
        begin = self.start[:, None] + np.timedelta64(30, "D") * np.arange(slots)
        self.timestamps = _day_month_year(begin)
        self.present = np.zeros((len(begin), slots), bool)
        for part in (part for parts in self.parts.values() for part in parts):
            self.present |= part.slots >= 0
        numbers = sum(slots * len(config.modalities[m].bands) for m in self.parts)
        self._keep = 4 * numbers * np.prod(self.pixels) * len(self.index) < _IN_MEMORY
        self._kept: dict[tuple[str, int], np.ndarray] = {}

    def _part(self, cube: xr.DataTree, name: str, modality: str) -> _Part:
        ds = cube[name]
        factor = float(ds.attrs["gsd"]) / self.gsd
        if abs(factor - round(factor)) > 1e-6:
            raise ContractError(
                f"{name}: pixels of {ds.attrs['gsd']:g} m",
                expected=f"a multiple of {self.gsd:g} m, the finest grid",
                found=f"{factor:g} times as large",
            )
        bands = [str(b) for b in ds["band"].values]
        known = {b.lower(): b for b in MODALITIES[modality].bands}
        return _Part(
            name,
            [known.get(b.lower(), "") for b in bands],
            read_of(ds) or _ArrayRead(ds["values"].data, ds["valid"].data, ds["time"].values),
            (ds.sizes["y"], ds.sizes["x"]),
            round(factor),
            ds.attrs["units"],
            monthly_slots(ds, start=self.start, slots=self.slots).index,
        )

    def _check(self) -> None:
        for modality, parts in self.parts.items():
            for part in parts:
                side = part.pixels[0] * part.factor, part.pixels[1] * part.factor
                if side != self.pixels:
                    raise ContractError(
                        f"{part.name}: another window",
                        expected=f"{self.pixels[0]} x {self.pixels[1]} px of {self.gsd:g} m",
                        found=f"{side[0]} x {side[1]} px",
                    )
            there = {band for part in parts for band in part.bands}
            lacking = [b for b in self.config.modalities[modality].bands if b not in there]
            if len(lacking) > _TOO_MANY * len(self.config.modalities[modality].bands):
                warnings.warn(
                    f"{modality}: {len(lacking)} of {len(self.config.modalities[modality].bands)} "
                    f"bands are missing and are made up ({' '.join(lacking)}); embeddings suffer",
                    CubeWarning,
                    stacklevel=3,
                )

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        sources = ", ".join(
            f"{modality} from {' + '.join(part.name for part in parts)}"
            for modality, parts in self.parts.items()
        )
        maps = ", ".join(f"{modality} from {m.name}" for modality, m in self.maps.items())
        found = f"{len(self)} samples in {self.slots} slots: {sources}"
        return f"{found}; to predict alone: {maps}" if maps else found

    def sample(self, rows: Sequence[int], patch: int = 4) -> Sample:
        """Gather samples; ``rows`` are positions in this data set."""
        samples = self.index[np.asarray(rows)]
        found = [self.values(int(sample)) for sample in samples]
        return Sample(
            {name: torch.from_numpy(np.stack([f[name] for f in found])) for name in found[0]},
            torch.from_numpy(self.timestamps[samples]),
            patch,
            self.gsd,
            torch.from_numpy(samples),
        )

    def batches(self, size: int = 16, patch: int = 4) -> Iterator[Sample]:
        """Walk through all samples in order."""
        for start in range(0, len(self), size):
            yield self.sample(range(start, min(len(self), start + size)), patch)

    def values(self, sample: int) -> dict[str, np.ndarray]:
        """Return one sample of the cube, normalised: modality to float32 (slot, band, y, x)."""
        found = {}
        for name in (*self.parts, *self.maps):
            values = self._kept.get((name, sample))
            if values is None:
                values = (
                    self._series(name, sample) if name in self.parts else self._map(name, sample)
                )
                if self._keep:
                    self._kept[name, sample] = values
            found[name] = values
        return found

    def _map(self, modality: str, sample: int) -> np.ndarray:
        """Return one sample of a map (1, band, y, x), normalised."""
        values = self.maps[modality].values(sample, self.pixels)[0][None]
        return np.where(np.isnan(values), np.float32(NO_DATA), values)

    def _series(self, modality: str, sample: int) -> np.ndarray:
        """Return one sample of one modality (slot, band, y, x), normalised."""
        bands = self.config.modalities[modality].bands
        out = np.full((self.slots, len(bands), *self.pixels), np.nan)
        for part in self.parts[modality]:
            slots = np.flatnonzero(part.slots[sample] >= 0)
            if not len(slots):
                continue
            values, valid = part.read(sample, whole(part.pixels))
            dates = part.slots[sample, slots]
            found = np.where(
                valid[dates][:, None], _in_units(values[dates], modality, part), np.nan
            )
            found = found.repeat(part.factor, -2).repeat(part.factor, -1)
            for k, band in enumerate(part.bands):
                if band in bands:
                    at = slots, bands.index(band)
                    out[at] = np.where(np.isnan(out[at]), found[:, k], out[at])
        nothing = np.isnan(out).all(1, keepdims=True)
        if len(self.config.modalities[modality].groups) > 1:
            out = _nearest_bands(out, modality, bands)
        out = np.nan_to_num(normalise_bands(out, modality, bands), nan=0.0)
        return np.where(nothing, np.float32(NO_DATA), out)


@dataclass(frozen=True)
class _ArrayRead:
    """Reads samples out of the arrays of a cube."""

    values: object
    valid: object
    time: np.ndarray

    def __call__(self, sample: int, where: Where) -> tuple[np.ndarray, np.ndarray]:
        dated = slice(0, int((~np.isnat(self.time[sample])).sum()))
        pair = self.values[sample, dated][..., *where], self.valid[sample, dated][..., *where]
        return np.asarray(pair[0]), np.asarray(pair[1])


def _rows(cube: xr.DataTree, split: str | Sequence[str] | None) -> np.ndarray:
    there = np.asarray(cube["split"].values).astype(str)
    wanted = [split] if isinstance(split, str) else split
    index = np.arange(len(there)) if wanted is None else np.flatnonzero(np.isin(there, wanted))
    if not len(index):
        raise ParameterError(
            f"no sample in split {split}", expected="at least one",
            found=", ".join(dict.fromkeys(there)),
        )  # fmt: skip
    return index


def sensors_of(cube: xr.DataTree, chosen: Sequence[str] = ()) -> dict[str, list[str]]:
    """Return which modalities of a cube make up each modality that OlmoEarth sees.

    Parameters
    ----------
    cube
        The cube.
    chosen
        Names of modalities to take; empty takes all.

    Raises
    ------
    ContractError
        If a name is not there, or nothing is left.
    """
    sensor_name = {n: cube[n].attrs.get("sensor", "no sensor") for n in modality_names(cube)}
    there = ", ".join(f"{n} ({s})" for n, s in sensor_name.items())
    for name in chosen:
        if sensor_name.get(name) not in SENSORS:
            raise ContractError(f"modality {name!r}", expected=" or ".join(SENSORS), found=there)
    found: dict[str, list[str]] = {}
    for name in chosen or sensor_name:
        if sensor_name[name] in SENSORS:
            found.setdefault(SENSORS[sensor_name[name]], []).append(name)
    if not found:
        raise ContractError(
            "this cube has no sensor that OlmoEarth sees",
            expected=" or ".join(SENSORS), found=there,
        )  # fmt: skip
    return {name: found[name] for name in SENSORS.values() if name in found}


def _by_modality(cube: xr.DataTree, config: OlmoEarthConfig) -> dict[str, list[str]]:
    """Return which modalities of a cube make up each modality of the model."""
    named = [n for modality in config.seen for n in config.sources.get(modality, ())]
    found = sensors_of(cube, named)
    kept = {name: found[name] for name in config.seen if name in found}
    if not kept:
        raise ContractError(
            "this cube has no sensor that the model sees",
            expected=" or ".join(config.seen), found=", ".join(found),
        )  # fmt: skip
    return kept


def _first_days(cube: xr.DataTree, names: Sequence[str], start: object) -> np.ndarray:
    """Return the first day of the first slot of each sample, the same for all modalities."""
    count = cube.sizes["sample"]
    if start is not None:
        return np.broadcast_to(np.asarray(start, "datetime64[ns]"), count)
    if "ref_date" in cube.data_vars:
        months = cube["ref_date"].values.astype("datetime64[M]") - 6
        return months.astype("datetime64[ns]")
    first = np.stack([cube[name]["time"].values[:, 0] for name in names])
    first = np.where(np.isnat(first), np.datetime64("2262-01-01", "ns"), first).min(0)
    return first.astype("datetime64[M]").astype("datetime64[ns]")


def _day_month_year(time: np.ndarray) -> np.ndarray:
    """Turn dates into day of the month from 1, month from 0, year."""
    month, day = time.astype("datetime64[M]"), time.astype("datetime64[D]")
    parts = [
        (day - month).astype(int) + 1,
        month.astype(int) % 12,
        time.astype("datetime64[Y]").astype(int) + 1970,
    ]
    return np.stack(parts, -1)


def _in_units(values: np.ndarray, modality: str, part: _Part) -> np.ndarray:
    """Bring values to the units the model was trained in: digital numbers, and dB."""
    values = values.astype(np.float64)
    if modality == "sentinel1" and part.units == "linear power":
        return 10 * np.log10(np.maximum(values, 1e-10))
    if modality == "sentinel2_l2a" and part.units == "reflectance":
        return values * 10_000
    if part.units not in ("DN", "dB"):
        raise ContractError(
            f"{part.name}: units", expected="DN, or what can be turned into it", found=part.units
        )
    return values


def _nearest_bands(values: np.ndarray, modality: str, bands: Sequence[str]) -> np.ndarray:
    """Put the band nearest in wavelength where one is missing; thermal bands only from thermal."""
    names = {model: name for name, model in SENSORS.items()}
    length: Mapping[str, float] = sensor(names[modality]).wavelengths
    out = values.copy()
    for k, band in enumerate(bands):
        if not np.isnan(values[:, k]).any() or band not in length:
            continue
        thermal = modality == "landsat" and band in _THERMAL
        others = [
            b for b in bands
            if b != band and (modality == "landsat" and b in _THERMAL) == thermal
        ]  # fmt: skip
        for other in sorted(others, key=lambda b: (abs(length[b] - length[band]), length[b])):
            gap = np.isnan(out[:, k])
            if not gap.any():
                break
            out[:, k] = np.where(gap, values[:, bands.index(other)], out[:, k])
    return out
