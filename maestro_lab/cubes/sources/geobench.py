"""``geobench``: GEO-Bench, images of one date, an HDF5 file a sample with a data set a band.

Beside the samples lie ``default_partition.json`` (split to names), ``band_stats.json`` (statistics
of each band) and, for images with one class, ``label_map.json`` (class to names); for several,
``label_stats.json`` (name to 0 and 1 of each class). A data set ``label`` in the samples is a map
of classes. The files also hold pickled Python objects; they are never looked at, for unpickling
runs whatever program somebody put there.

* A band's data set may end in the date (``02 - Blue_2019-11-15``), which is then the sample's.
* Bands of fewer pixels than the finest are repeated (nearest) if the factor is whole, else refused.
* ``m-eurosat`` and ``m-brick-kiln`` were published with the names of some bands exchanged
  (issues 28 and 29 of GEO-Bench). Where one is declared as Sentinel-2's B10, which clouds alone
  make bright, it must be the darkest band of the statistics.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from maestro_lab.cubes.contract import assemble
from maestro_lab.cubes.reading import Where, lazy_modality
from maestro_lab.cubes.sensors import sensor as known_sensor
from maestro_lab.cubes.sources.chips import SPLITS, Chips
from maestro_lab.cubes.sources.files import AGAIN, all_there, day_of, read_json, refuse_options
from maestro_lab.cubes.sources.geobench_labels import labels_of
from maestro_lab.cubes.sources.hdf5 import read_h5
from maestro_lab.cubes.sources.series import clear_optical, without_nan
from maestro_lab.errors import CubeError

if TYPE_CHECKING:
    import h5py

__all__ = ["open_geobench"]

_DATED = re.compile(r"(.+)_(\d{4}-\d{2}-\d{2})")
_SPLIT = {"train": "train", "valid": "val", "val": "val", "test": "test"}


def open_geobench(
    root: str | Path,
    bands: Mapping[str, str] | None = None,
    classes: list[str] | None = None,
    missing: int | None = None,
    partition: str = "default",
    modality: str = "s2",
    sensor: str | None = "sentinel-2",
    units: str = "DN",
    gsd: float = 10.0,
    date: str = "2020-07-01",
    seed: int = 0,
    limit: int | None = None,
    title: str = "GEO-Bench",
    licence: str = "as its publisher says",
) -> xr.DataTree:
    """Open a data set of GEO-Bench; pixels are read when they are used.

    Parameters
    ----------
    root
        The folder of the samples.
    bands
        Name of a stored band to that in the cube, in the cube's order; others are left out.
        Default: those whose number the sensor knows (``02 - Blue`` is B02 of Sentinel-2).
    classes
        Names of the classes, by number.
    missing
        Number in maps that says there is no class.
    partition
        Which ``{partition}_partition.json`` tells the splits.
    modality, sensor, units, gsd
        Of the images.
    date
        The date of images that tell none.
    seed
        Chooses the samples that a limit leaves.
    limit
        At most so many samples a split.
    title, licence
        Of the cube.

    Returns
    -------
    xarray.DataTree
        One modality, and the target ``label``: a class, several, or a map. Each sample is its own
        spatial block: positions are stored as Python objects.

    Raises
    ------
    CubeError
        Names the file that is missing, damaged or something else.
    """
    about = Chips("geobench", modality, sensor, units, gsd, date, seed, limit)
    root = Path(root).expanduser()
    names, split = _partition(root, partition)
    keep = about.keep(names, split)
    names, split = [names[row] for row in keep], [split[row] for row in keep]
    all_there(root, [f"{n}.hdf5" for n in names], f"as in {partition}_partition.json")
    files = [root / f"{name}.hdf5" for name in names]
    bands = _bands(root, bands, sensor)
    first = read_h5(files[0], _look, list(bands), holds="bands")
    days = [first.day] * len(files)
    if first.day:
        days = [read_h5(path, _look, list(bands), holds="bands").day for path in files]
    time = np.array([day_of(d) if d else about.day for d in days], "datetime64[ns]")
    images = lazy_modality(
        _ReadBands(files, tuple(bands), first.pixels, str(first.dtype)), time[:, None],
        bands=list(bands.values()), pixels=first.pixels, dtype=first.dtype, units=units, gsd=gsd,
        sensor_name=sensor,
    )  # fmt: skip
    return assemble(
        {modality: images},
        sample=names,
        split=split,
        block=np.arange(len(names)),
        targets=labels_of(
            root,
            names,
            files,
            classes=classes,
            missing=missing,
            shape=first.labels,
            gsd=float(gsd),
            pixels=first.pixels,
        ),
        title=title,
        licence=licence,
        source=str(root),
        attrs={"window": first.pixels[1] * float(gsd)},
    )


def _partition(root: Path, partition: str) -> tuple[list[str], list[str]]:
    """Return the names of samples and their splits."""
    path = root / f"{partition}_partition.json"
    parts = read_json(path)
    if not isinstance(parts, dict) or not all(isinstance(n, list) for n in parts.values()):
        raise CubeError(
            f"{path}", expected='{"train": [names], "valid": [...], "test": [...]}',
            found=repr(parts)[:60], do=AGAIN,
        )  # fmt: skip
    strange = [key for key in parts if key not in _SPLIT]
    pairs = [(str(n), _SPLIT[key]) for key in parts if key in _SPLIT for n in parts[key]]
    pairs.sort(key=lambda pair: SPLITS.index(pair[1]))
    names = [name for name, _ in pairs]
    twice = [name for name, times in Counter(names).items() if times > 1]
    wrong = [name for name in names if "/" in name or "\\" in name]
    if strange or twice or wrong or not names:
        raise CubeError(
            f"{path}: names of samples",
            expected="those of train, valid and test, every sample in one of them once",
            found=", ".join([*strange, *(f"{name!r} twice" for name in twice), *wrong][:3])
            or "none",
            do=AGAIN,
        )
    return names, [split for _, split in pairs]


def _bands(root: Path, bands: Mapping[str, str] | None, sensor: str | None) -> dict[str, str]:
    """Return stored names and those of the cube."""
    stats = read_json(root / "band_stats.json")
    if not isinstance(stats, dict) or not stats:
        raise CubeError(
            f"{root / 'band_stats.json'}",
            expected="statistics of each band by its name",
            found=repr(stats)[:60],
            do=AGAIN,
        )
    known = [name for name in stats if not name.startswith("label")]
    if bands is None and sensor is not None:
        numbers = {name: re.match(r"(\d+A?) ", name) for name in known}
        found = {name: known_sensor(sensor).band(f"B{n[1]}") for name, n in numbers.items() if n}
        bands = {name: band for name, band in found.items() if band}
    good = isinstance(bands, Mapping) and 0 < len(set(bands.values())) == len(bands)
    refuse_options(
        "geobench", (good, "bands", "stored name to the name of a band, each once", bands)
    )
    bands = {str(name): str(band) for name, band in bands.items()}  # type: ignore[union-attr]
    lacking = [name for name in bands if name not in known]
    if lacking:
        raise CubeError(
            f"{root / 'band_stats.json'}: no band {lacking[0]!r}",
            expected=", ".join(bands),
            found=", ".join(known),
            do="declare the names of this data set with the option bands",
        )
    cirrus = [name for name, band in bands.items() if (sensor, band) == ("sentinel-2", "B10")]
    if cirrus:
        _check_cirrus(root, cirrus[0], {name: stats[name] for name in bands})
    return bands


def _check_cirrus(root: Path, cirrus: str, stats: Mapping[str, Any]) -> None:
    means = {n: s.get("mean") if isinstance(s, dict) else None for n, s in stats.items()}
    if not all(isinstance(mean, int | float) for mean in means.values()):
        return  # nothing to tell it by
    darkest = min(means, key=means.__getitem__)
    if darkest != cirrus:
        raise CubeError(
            f"{root}: {cirrus!r} is not the cirrus band B10",
            expected=f"the darkest band; that is {darkest!r}, {means[darkest]:.4g} on average",
            found=f"{means[cirrus]:.4g} on average",
            do="some copies exchange the names of bands: declare what they are (option bands)",
        )


@dataclass(frozen=True)
class _Look:
    """What one file holds."""

    day: str
    pixels: tuple[int, int]
    dtype: np.dtype
    labels: tuple[int, ...] | None


def _look(file: h5py.File, bands: list[str]) -> _Look:
    stored = _stored(file, bands)
    sets = [file[name] for name in stored]
    for data in sets:
        if data.ndim != 2 or data.dtype.kind not in "uif":
            raise CubeError(
                f"{file.filename}: {data.name[1:]!r}",
                expected="numbers (y, x)",
                found=f"{data.shape} in {data.dtype}",
            )
    days = sorted({match[2] for name in stored if (match := _DATED.fullmatch(name))})
    if len(days) > 1:
        raise CubeError(
            f"{file.filename}: dates", expected="one date a sample", found=", ".join(days)
        )
    label = next((name for name in file if name.startswith("label")), None)
    return _Look(
        days[0] if days else "",
        max(data.shape for data in sets),
        np.result_type(*(data.dtype for data in sets)),
        None if label is None else file[label].shape,
    )


def _stored(file: h5py.File, bands: list[str] | tuple[str, ...]) -> list[str]:
    """Return the data sets of bands, whose names may end in a date."""
    dated: dict[str, list[str]] = {}
    for name in file:
        match = _DATED.fullmatch(name)
        dated.setdefault(match[1] if match else name, []).append(name)
    for band in bands:
        if len(dated.get(band, [])) != 1:
            raise CubeError(
                f"{file.filename}: band {band!r}",
                expected="one data set of that name, or of that name and a date",
                found=", ".join(dated.get(band, [])) or f"none; there are {', '.join(file)}",
            )
    return [dated[band][0] for band in bands]


@dataclass(frozen=True)
class _ReadBands:
    """Reads the image of a sample."""

    files: list[Path]
    bands: tuple[str, ...]
    pixels: tuple[int, int]
    dtype: str

    def __call__(self, sample: int, where: Where) -> tuple[np.ndarray, np.ndarray]:
        image = read_h5(self.files[sample], self._image, holds="bands")[None][..., *where]
        return without_nan(image), clear_optical(image)

    def _image(self, file: h5py.File) -> np.ndarray:
        out = np.empty((len(self.bands), *self.pixels), self.dtype)
        for row, name in enumerate(_stored(file, self.bands)):
            data = file[name]
            size = data.shape if data.ndim == 2 and 0 not in data.shape else (1, 0)
            factor = self.pixels[0] // size[0]
            fits = tuple(n * factor for n in size) == self.pixels
            if not fits or not np.can_cast(data.dtype, self.dtype):
                raise CubeError(
                    f"{file.filename}: {name!r}",
                    expected=f"{self.pixels}, or a whole part of it, in {self.dtype}",
                    found=f"{data.shape} in {data.dtype}",
                )
            out[row] = data[:].repeat(factor, 0).repeat(factor, 1)
        return out
