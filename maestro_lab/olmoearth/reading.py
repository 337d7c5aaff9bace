"""Any cube as OlmoEarth takes it: slots of a month, its bands in order, normalised, gaps marked."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import torch
import xarray as xr

from maestro_lab.batches.dataset import choose_samples
from maestro_lab.cubes.reading import whole
from maestro_lab.cubes.slots import monthly_slots
from maestro_lab.errors import ContractError, CubeWarning, ParameterError
from maestro_lab.models.olmoearth.config import MODALITIES, OlmoEarthConfig
from maestro_lab.models.olmoearth.norms import normalise_bands
from maestro_lab.models.olmoearth.sample import NO_DATA, Sample
from maestro_lab.olmoearth.maps import map_sources
from maestro_lab.olmoearth.parts import Part, of_one_acquisition, reader
from maestro_lab.olmoearth.sensors import UNITS, by_modality, in_units, nearest_bands

__all__ = ["OlmoEarthInput"]

_IN_MEMORY = 4e9  # bytes of normalised samples that are kept
_TOO_MANY = 0.2  # share of bands made up, above which there is a warning


class OlmoEarthInput:
    """The samples of a cube as batches for an OlmoEarth model.

    Sentinel-2, Sentinel-1 and Landsat are found by their sensor, whatever their names; bands of
    several grids are brought to the finest one by repeating pixels. Each slot takes the clearest
    acquisition in it, the same for all grids of a sensor, and stays empty where there is none. Of
    passes that have the same bands, such as two directions of Sentinel-1, a slot takes the first
    that has an acquisition in it. Levels of Landsat are those of Collection 2, Level 1.

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
    samples
        Numbers of the samples in the cube to take, of those in ``split``; None takes all.
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
        If more than a fifth of a sensor's bands are missing and have to be made up; once, however
        often the same cube is read.

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
        samples: Sequence[int] | None = None,
        maps: bool = False,
    ) -> None:
        self.config = config
        self.index = choose_samples(cube, split, samples)
        found = by_modality(cube, config)
        self.start = _first_days(cube, [n for names in found.values() for n in names], start)
        self.gsd = min(float(cube[n].attrs["gsd"]) for names in found.values() for n in names)
        self.slots = slots
        self.parts = {
            modality: of_one_acquisition([self._part(cube, name, modality) for name in names])
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
        numbers += sum(len(source.m.bands) for source in self.maps.values())
        self._keep = 4 * numbers * np.prod(self.pixels) * len(self.index) < _IN_MEMORY
        self._kept: dict[tuple[str, int], np.ndarray] = {}

    def _part(self, cube: xr.DataTree, name: str, modality: str) -> Part:
        ds = cube[name]
        factor = float(ds.attrs["gsd"]) / self.gsd
        if abs(factor - round(factor)) > 1e-6:
            raise ContractError(
                f"{name}: pixels of {ds.attrs['gsd']:g} m",
                expected=f"a multiple of {self.gsd:g} m, the finest grid",
                found=f"{factor:g} times as large",
            )
        known = {b.lower(): b for b in MODALITIES[modality].bands}
        given = [str(b) for b in ds["band"].values]
        bands = [known.get(b.lower(), "") for b in given]
        if ds.attrs["units"] not in UNITS[modality]:
            raise ContractError(
                f"{name}: units of {modality}",
                expected=" or ".join(UNITS[modality]), found=ds.attrs["units"],
            )  # fmt: skip
        if not any(bands):
            raise ContractError(
                f"{name}: bands of {modality}",
                expected=" ".join(known.values()), found=" ".join(given),
            )  # fmt: skip
        return Part(
            name,
            bands,
            reader(ds, self.index),
            (ds.sizes["y"], ds.sizes["x"]),
            round(factor),
            ds.attrs["units"],
            ds["time"].values,
            self._slots(ds),
        )

    def _slots(self, ds: xr.DataTree) -> np.ndarray:
        """Choose an acquisition for each slot (sample, slot); -1 also for samples not taken."""
        chosen = ds.to_dataset()
        if len(self.index) < chosen.sizes["sample"]:
            chosen = chosen.isel(sample=self.index)
        found = monthly_slots(chosen, start=self.start[self.index], slots=self.slots).index
        whole = np.full((ds.sizes["sample"], self.slots), -1)
        whole[self.index] = found
        return whole

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
                _warn_once(
                    f"{modality}: {len(lacking)} of {len(self.config.modalities[modality].bands)} "
                    f"bands are missing and are made up ({' '.join(lacking)}); embeddings suffer"
                )

    def __len__(self) -> int:
        return len(self.index)

    def __getstate__(self) -> dict[str, object]:
        """Leave behind what can be made again: workers get a copy each."""
        return {**self.__dict__, "_kept": {}}

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
        taken = np.zeros((self.slots, len(bands)), bool)
        for part in self.parts[modality]:
            mine = [bands.index(b) for b in part.bands if b in bands]
            free = ~taken[:, mine].any(1)
            slots = np.flatnonzero((part.slots[sample] >= 0) & free)
            if not len(slots):
                continue
            taken[np.ix_(slots, mine)] = True
            values, valid = part.read(sample, whole(part.pixels))
            dates = part.slots[sample, slots]
            found = np.where(valid[dates][:, None], in_units(values[dates], part.units), np.nan)
            found = found.repeat(part.factor, -2).repeat(part.factor, -1)
            for k, band in enumerate(part.bands):
                if band in bands:
                    out[slots, bands.index(band)] = found[:, k]
        nothing = np.isnan(out).all(1, keepdims=True)
        if len(self.config.modalities[modality].groups) > 1:
            out = nearest_bands(out, modality, bands)
        out = np.nan_to_num(normalise_bands(out, modality, bands), nan=0.0)
        return np.where(nothing, np.float32(NO_DATA), out)


def _first_days(cube: xr.DataTree, names: Sequence[str], start: object) -> np.ndarray:
    """Return the first day of the first slot of each sample, the same for all modalities."""
    count = cube.sizes["sample"]
    if start is not None:
        try:
            return np.broadcast_to(np.asarray(start, "datetime64[ns]"), count)
        except ValueError as error:
            raise ParameterError(
                "start", expected=f"a date, or one for each of {count} samples", found=repr(start)
            ) from error
    if "ref_date" in cube.data_vars:
        months = cube["ref_date"].values.astype("datetime64[M]") - 6
        return months.astype("datetime64[ns]")
    first = np.stack([cube[name]["time"].values[:, 0] for name in names])
    dated = first[~np.isnat(first)]
    some = dated.min() if len(dated) else np.datetime64("2000-01-01", "ns")
    empty = np.isnat(first).all(0)
    latest = dated.max() if len(dated) else some
    first = np.where(empty, some, np.where(np.isnat(first), latest, first).min(0))
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


@cache
def _warn_once(words: str) -> None:
    """Warn, if nobody was told the same before; Python itself forgets whom it has told."""
    warnings.warn(words, CubeWarning, stacklevel=4)
