"""``chips``: images of one date in a folder for each class, as EuroSAT comes.

``ROOT/CLASS/NAME.tif``, all with the same bands and pixels. Lists ``train.txt``, ``val.txt`` and
``test.txt`` in the folder, a name a line, tell the splits; without any, a hash of each name does.
A name in a list may carry a folder and any ending (``Forest/Forest_1.jpg``); images that no list
names are left out. EuroSAT's images of 13 bands are Level-1C and hold B8A last: B01 to B08, B09,
B10, B11, B12, B8A.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from maestro_lab.cubes.contract import assemble
from maestro_lab.cubes.reading import Where, lazy_modality
from maestro_lab.cubes.sensors import UNITS
from maestro_lab.cubes.sensors import sensor as known_sensor
from maestro_lab.cubes.sources.files import AGAIN, day_of, read_raster, refuse_options
from maestro_lab.cubes.sources.hashed import draw, hashed_splits, refuse_shares
from maestro_lab.cubes.sources.series import clear_optical, without_nan
from maestro_lab.errors import CubeError

__all__ = ["SPLITS", "Chips", "open_chips"]

SPLITS = ("train", "val", "test")
ENDINGS = (".tif", ".tiff")


@dataclass(frozen=True)
class Chips:
    """What single-date images have in common, as options of a reader tell it.

    Parameters
    ----------
    kind
        Name of the reader, for errors.
    modality, sensor, units, gsd
        Of the only modality.
    date
        Date of images that tell none, ``YYYY-MM-DD``.
    seed
        Chooses the splits where nothing else does, and which samples a limit leaves.
    limit
        At most so many samples a split.

    Raises
    ------
    CubeError
        If one of them makes no sense.
    """

    kind: str
    modality: str
    sensor: str | None
    units: str
    gsd: float
    date: str
    seed: int
    limit: int | None

    def __post_init__(self) -> None:
        number = isinstance(self.gsd, int | float) and not isinstance(self.gsd, bool)
        some = self.limit is None or (type(self.limit) is int and self.limit > 0)
        try:
            day, good = day_of(self.date), True
        except ValueError:
            day, good = np.datetime64("NaT"), False
        refuse_options(
            self.kind,
            (isinstance(self.modality, str) and bool(self.modality), "modality", "a name",
             self.modality),
            (self.units in UNITS, "units", " | ".join(UNITS), self.units),
            (number and self.gsd > 0, "gsd", "metres a pixel, above 0", self.gsd),
            (good and not np.isnat(day), "date", "YYYY-MM-DD", self.date),
            (type(self.seed) is int, "seed", "a whole number", self.seed),
            (some, "limit", "None, or a whole number above 0", self.limit),
        )  # fmt: skip
        if self.sensor is not None:
            known_sensor(self.sensor)

    @property
    def day(self) -> np.datetime64:
        """The date of images that tell none."""
        return day_of(self.date).astype("datetime64[ns]")

    def keep(self, names: Sequence[str], split: Sequence[str]) -> np.ndarray:
        """Return the samples that the limit leaves: those whose names draw the lowest numbers."""
        chosen = []
        for each in SPLITS:
            rows = [row for row, name in enumerate(split) if name == each]
            rows.sort(key=lambda row: draw(names[row], self.seed))
            chosen += rows[: self.limit]
        return np.sort(np.array(chosen, int))


def open_chips(
    root: str | Path,
    bands: list[str] | tuple[str, ...],
    modality: str = "s2",
    sensor: str | None = "sentinel-2",
    units: str = "DN",
    gsd: float = 10.0,
    date: str = "2020-07-01",
    lists: str = "{split}.txt",
    val: float = 0.2,
    test: float = 0.2,
    seed: int = 0,
    limit: int | None = None,
    title: str = "Images of one date, a folder for each class",
    licence: str = "as its publisher says",
) -> xr.DataTree:
    """Open a folder of images sorted by class; pixels are read when they are used.

    Opening lists the folders and reads the first image, no other.

    Parameters
    ----------
    root
        The folder of the classes' folders.
    bands
        Names of the bands, in the order of the files.
    modality, sensor, units, gsd
        Of the images.
    date
        The date they are given, for they tell none.
    lists
        Names of the lists of a split, in ``root``.
    val, test
        Shares of the splits where there are no lists; a hash of its name puts each image into one.
    seed
        Another seed, other splits.
    limit
        At most so many samples a split, which a hash of their names chooses.
    title, licence
        Of the cube.

    Returns
    -------
    xarray.DataTree
        One modality, and the target ``label``. Pixels that are 0 or NaN in all bands, or NaN in
        one, are not valid. Each sample is its own spatial block: no position is read.

    Raises
    ------
    CubeError
        Names the file or folder that is missing, damaged or something else.
    """
    about = Chips("chips", modality, sensor, units, gsd, date, seed, limit)
    refuse_shares("chips", {"val": val, "test": test})
    root, bands = Path(root).expanduser(), _names(bands)
    classes, files = _images(root)
    names = [f"{path.parent.name}/{path.stem}" for path in files]
    split = _listed(root, lists, names)
    if split is None:
        split = hashed_splits(f"{root}: images", names, {"test": test, "val": val}, seed).tolist()
    keep = about.keep(names, split)
    files = [files[row] for row in keep]
    labels = np.array([classes.index(path.parent.name) for path in files])
    first = read_raster(files[0], count=len(bands), reason=f"declared as {' '.join(bands)}")
    read = _ReadImage(files, first.shape, str(first.dtype))
    images = lazy_modality(
        read, np.full((len(files), 1), about.day), bands=bands, pixels=first.shape[1:],
        dtype=first.dtype, units=units, gsd=gsd, sensor_name=sensor,
    )  # fmt: skip
    attrs = {"task": "classification", "classes": classes}
    return assemble(
        {modality: images},
        sample=[names[row] for row in keep],
        split=[split[row] for row in keep],
        block=np.arange(len(keep)),
        targets=xr.Dataset({"label": ("sample", labels, attrs)}),
        title=title,
        licence=licence,
        source=str(root),
        attrs={"window": float(first.shape[2] * gsd)},
    )


def _names(bands: object) -> list[str]:
    several = isinstance(bands, list | tuple) and len(bands) > 0
    good = several and all(isinstance(b, str) for b in bands) and len(set(bands)) == len(bands)
    refuse_options("chips", (good, "bands", "names in the order of the files, each once", bands))
    return list(bands)  # type: ignore[call-overload]


def _images(root: Path) -> tuple[list[str], list[Path]]:
    """Return the classes, and every image in the order of classes and names."""
    if not root.is_dir():
        raise CubeError(
            f"{root} does not exist" if not root.exists() else f"{root} is no folder",
            expected="a folder with a folder of images for each class",
            do="name it with the option root",
        )
    folders = sorted(p for p in root.iterdir() if p.is_dir() and p.name[0] not in "._")
    files = []
    for folder in folders:
        found = sorted(
            (p for p in folder.iterdir() if p.suffix.lower() in ENDINGS and p.name[0] != "."),
            key=lambda p: (len(p.stem), p.name),
        )
        if not found:
            raise CubeError(
                f"{folder} holds no image",
                expected=f"files {' or '.join('*' + e for e in ENDINGS)} in the folder of a class",
                do="name the folder of the classes with the option root, or move this one away",
            )
        files += found
    twice = {p.with_suffix("") for p in files}
    if len(folders) < 2 or len(twice) < len(files):
        raise CubeError(
            f"{root}: {'classes' if len(folders) < 2 else 'images'}",
            expected="two folders or more, one a class, with images of different names",
            found=", ".join(f.name for f in folders) or "no folders",
            do="name the folder of the classes with the option root",
        )
    return [folder.name for folder in folders], files


def _listed(root: Path, lists: str, names: list[str]) -> list[str] | None:
    """Return the split of each image as lists tell it, empty where none does."""
    if not isinstance(lists, str) or "{split}" not in lists:
        raise CubeError("chips: lists", expected="a name with {split} in it", found=repr(lists))
    paths = {split: root / lists.replace("{split}", split) for split in SPLITS}
    there = {split: path for split, path in paths.items() if path.exists()}
    if not there:
        return None
    row_of: dict[str, int | None] = {}
    for row, name in enumerate(names):
        stem = name.split("/", 1)[1]
        row_of[stem] = None if stem in row_of else row  # a name in two classes tells nothing
    row_of |= {name: row for row, name in enumerate(names)}
    split = [""] * len(names)
    for each, path in there.items():
        for line in _lines(path):
            parts = line.replace("\\", "/").split("/")
            stem = parts[-1].rsplit(".", 1)[0]
            row = row_of.get(f"{parts[-2]}/{stem}" if len(parts) > 1 else stem)
            if row is None or split[row]:
                raise CubeError(
                    f"{path}: {line!r}",
                    expected="the name of one image of the folder, in one list once",
                    found="no such image, or several" if row is None else f"it is in {split[row]}",
                    do=AGAIN if row is None else "remove one of the two",
                )
            split[row] = each
    if not any(split):
        raise CubeError(
            f"{root}: no samples", expected=f"names in {', '.join(p.name for p in there.values())}"
        )
    return split


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise CubeError(f"{path} cannot be read", expected="a text file", found=error) from error
    return [line.strip() for line in text.splitlines() if line.strip()]


@dataclass(frozen=True)
class _ReadImage:
    """Reads the image of a sample."""

    files: list[Path]
    shape: tuple[int, int, int]
    dtype: str

    def __call__(self, sample: int, where: Where) -> tuple[np.ndarray, np.ndarray]:
        count, *size = self.shape
        image = read_raster(
            self.files[sample], where=where, count=count, size=tuple(size), dtype=self.dtype
        )[None]
        return without_nan(image), clear_optical(image)
