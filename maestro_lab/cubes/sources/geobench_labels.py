"""Labels of GEO-Bench: a class, several classes or a map of classes for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from maestro_lab.cubes.reading import Where
from maestro_lab.cubes.sources.files import AGAIN, read_json
from maestro_lab.cubes.sources.hdf5 import read_h5
from maestro_lab.cubes.sources.maps import lazy_map
from maestro_lab.cubes.sources.series import check_labels
from maestro_lab.errors import CubeError

if TYPE_CHECKING:
    import h5py

__all__ = ["labels_of"]


def labels_of(
    root: Path,
    names: Sequence[str],
    files: Sequence[Path],
    *,
    classes: Sequence[str] | None,
    missing: int | None,
    shape: tuple[int, ...] | None,
    gsd: float,
    pixels: tuple[int, int],
) -> xr.Dataset:
    """Return the target ``label`` of some samples.

    Parameters
    ----------
    root
        The folder of the samples.
    names, files
        Of the samples.
    classes
        Names of the classes, by number.
    missing
        Number in maps that says there is no class.
    shape
        Of the data set ``label`` in the first sample; None if there is none.
    gsd, pixels
        Of the images.

    Raises
    ------
    CubeError
        If the labels are missing, or something else than expected.
    """
    attrs: dict[str, Any] = {"classes": list(map(str, classes))} if classes else {}
    if shape is not None and len(shape) >= 2:
        attrs |= {"task": "segmentation", "gsd": gsd * pixels[1] / max(1, shape[1])}
        attrs |= {} if missing is None else {"missing": missing}
        read = _ReadLabels(list(files), shape[:2], len(classes or ()), missing)
        label = lazy_map(read, len(files), pixels=shape[:2], dtype="int16", attrs=attrs)
        return xr.Dataset({"label": label})
    if (root / "label_map.json").exists() or not (root / "label_stats.json").exists():
        of, found = _one_class(root / "label_map.json", names, classes)
        attrs = {"task": "classification", "classes": found}
        return xr.Dataset({"label": ("sample", of, attrs)})
    several = _several_classes(root / "label_stats.json", names, classes)
    found = attrs.get("classes") or [f"class {k}" for k in range(several.shape[1])]
    return xr.Dataset(
        {"label": (("sample", "class"), several, {"task": "multilabel"})},
        coords={"class": np.array(found, object)},
    )


def _one_class(
    path: Path, names: Sequence[str], classes: Sequence[str] | None
) -> tuple[np.ndarray, list[str]]:
    """Return the class of each sample, and the names of the classes."""
    table = read_json(path)
    good = isinstance(table, dict) and all(isinstance(v, list) for v in table.values())
    keys = list(table) if good else []
    numbered = all(key.isdigit() for key in keys)
    found = list(map(str, classes or ()))
    if not found:
        count = max(map(int, keys), default=-1) + 1 if numbered else 0
        found = [f"class {k}" for k in range(count)] or sorted(keys)
    number = {k: int(k) if numbered else found.index(k) if k in found else -1 for k in keys}
    if not good or not keys or not all(0 <= n < len(found) for n in number.values()):
        raise CubeError(
            f"{path}",
            expected="{class: [names of samples]}" + (f" of {len(found)} classes" if found else ""),
            found=", ".join(keys)[:80] or repr(table)[:60],
            do="declare as many classes as there are, or none",
        )
    label = {str(name): number[key] for key in keys for name in table[key]}
    lacking = [name for name in names if name not in label]
    if lacking:
        raise CubeError(f"{path}: no class of {lacking[0]!r}", expected="one a sample", do=AGAIN)
    return np.array([label[name] for name in names]), found


def _several_classes(path: Path, names: Sequence[str], classes: Sequence[str] | None) -> np.ndarray:
    """Return 0 and 1 of each sample and class (sample, class)."""
    table = read_json(path)
    rows = [table.get(name) if isinstance(table, dict) else None for name in names]
    length = len(classes or (isinstance(rows[0], list) and rows[0]) or ())
    for name, row in zip(names, rows, strict=True):
        good = isinstance(row, list) and len(row) == length > 0
        if not good or not all(v in (0, 1) for v in row):
            raise CubeError(
                f"{path}: {name!r}",
                expected=f"0 or 1 for each of {length or 'the'} classes",
                found=repr(row)[:60],
                do=AGAIN,
            )
    return np.array(rows, "uint8")


@dataclass(frozen=True)
class _ReadLabels:
    """Reads the map of classes of a sample."""

    files: list[Path]
    pixels: tuple[int, int]
    classes: int
    missing: int | None

    def __call__(self, sample: int, where: Where) -> np.ndarray:
        return read_h5(self.files[sample], partial(self._map, sample), holds="a label")[where]

    def _map(self, sample: int, file: h5py.File) -> np.ndarray:
        name = next((name for name in file if name.startswith("label")), "label")
        labels = file[name][:]
        if labels.shape not in (self.pixels, (*self.pixels, 1)) or labels.dtype.kind not in "buif":
            raise CubeError(
                f"{file.filename}: {name!r}",
                expected=f"{self.pixels} whole numbers",
                found=f"{labels.shape} in {labels.dtype}",
            )
        labels = labels.reshape(self.pixels)
        known = labels if self.missing is None else labels[labels != self.missing]
        check_labels(self.files[sample], known, self.classes - 1 if self.classes else 32_767)
        return labels.astype("int16")
