"""``treesatai-ts``: the native layout of TreeSatAI-TS, 60 m forest windows of four sensors.

A folder with ``train.csv``, ``val.csv``, ``test.csv`` (aerial_name, sen_name, aerial_date, then
one column a species with its share of the area), ``aerial/*.tif`` (0.2 m, uint8) and
``sentinel-ts/*.h5`` (Sentinel-1 and -2 series). Traps of the real files handled here:

* Sentinel-1 passes stored twice (two slices of one orbit): one is kept, else a masked date would
  stay visible in its twin.
* NaN and zeros in Sentinel-1: not valid.
* Sentinel-1 series of some orbit direction may be empty: the modality is missing for that sample.
* Snow and cloud masks in percent; some files hold further mask channels, which are ignored.
* Aerial bands run NIR, green, blue, red.
* Aerial tiles have 304 pixels for 60 m of 0.2 m pixels: the central 300 are read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from maestro_lab.cubes.contract import assemble
from maestro_lab.cubes.dates import padded
from maestro_lab.cubes.reading import Where, lazy_modality
from maestro_lab.cubes.sources.files import days_of, read_raster, read_table
from maestro_lab.errors import CubeError

if TYPE_CHECKING:
    import h5py

__all__ = ["SPECIES", "open_treesatai"]

SPECIES = [
    "Betula",
    "Cleared",
    "Quercus",
    "Larix",
    "Fraxinus",
    "Alnus",
    "Pseudotsuga",
    "Prunus",
    "Fagus",
    "Acer",
    "Abies",
    "Pinus",
    "Tilia",
    "Picea",
    "Populus",
]
S2_BANDS = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]
AERIAL_BANDS = ["NIR", "G", "B", "R"]
_AERIAL_PIXELS, _SENTINEL_PIXELS = 300, 6
_PREFIX = {"s2": "sen-2", "s1_asc": "sen-1-asc", "s1_des": "sen-1-des"}
_SERIES = {
    "s2": (S2_BANDS, "DN", "sentinel-2"),
    "s1_asc": (["VV", "VH"], "linear power", "sentinel-1"),
    "s1_des": (["VV", "VH"], "linear power", "sentinel-1"),
}
_SPLITS = ("train", "val", "test")


def open_treesatai(
    root: str | Path = "TreeSatAI-TS",
    splits: tuple[str, ...] | list[str] = _SPLITS,
    mask_threshold: float = 0.0,
    duplicates: str = "drop",
    limit: int | None = None,
) -> xr.DataTree:
    """Open a TreeSatAI-TS folder; pixels are read when they are used.

    Parameters
    ----------
    root
        The folder with the csv files.
    splits
        Which of train, val and test to read.
    mask_threshold
        A Sentinel-2 pixel is not valid where snow or cloud exceed this many percent.
    duplicates
        "drop" keeps one of several Sentinel-1 rows of one pass, "keep" keeps the rows as stored.
    limit
        At most so many samples a split.

    Returns
    -------
    xarray.DataTree
        ``aerial``, ``s2``, ``s1_asc``, ``s1_des`` and the target ``species``. Each sample is its
        own spatial block: the csv files tell no position.

    Raises
    ------
    CubeError
        Names the file that is missing or damaged.
    """
    root, splits = Path(root).expanduser(), [splits] if isinstance(splits, str) else list(splits)
    _check_options(splits, mask_threshold, duplicates, limit)
    table = pd.concat([_read_list(root, s, limit) for s in splits], ignore_index=True)
    if table.empty:
        raise CubeError(
            f"{root}: no samples",
            expected=f"rows in {', '.join(splits)}.csv",
            do="name other splits, or fetch the tables again",
        )
    files = [root / "sentinel-ts" / name for name in table["sen_name"]]
    plans = [_read_h5(path, _plan, duplicates) for path in files]
    modalities = {"aerial": _aerial(table, root)}
    for name in _SERIES:
        modalities[name] = _modality(name, files, [plan[name] for plan in plans], mask_threshold)
    name = table["split"] + "/" + table["aerial_name"].map(lambda n: Path(n).stem)
    return assemble(
        modalities,
        sample=name.tolist(),
        split=table["split"].tolist(),
        block=np.arange(len(table)),
        extra={"ref_date": table["date"].to_numpy("datetime64[ns]")},
        targets=_species(table),
        title="TreeSatAI-TS: tree species of Lower Saxony from aerial, Sentinel-1 and -2",
        licence="CC-BY-4.0",
        source=str(root),
        attrs={"window": 60.0},
    )


def _check_options(
    splits: list[str], mask_threshold: float, duplicates: str, limit: int | None
) -> None:
    several = splits and len(set(splits)) == len(splits) and set(splits) <= set(_SPLITS)
    positive = limit is None or (isinstance(limit, int) and limit > 0)
    percent = isinstance(mask_threshold, int | float) and 0 <= mask_threshold <= 100
    for good, name, expected, found in (
        (several, "splits", f"some of {', '.join(_SPLITS)}, each once", splits),
        (percent, "mask_threshold", "percent, 0 to 100", mask_threshold),
        (duplicates in ("drop", "keep"), "duplicates", "'drop' or 'keep'", duplicates),
        (positive, "limit", "None, or a whole number above 0", limit),
    ):
        if not good:
            raise CubeError(f"treesatai-ts: {name}", expected=expected, found=repr(found))


def _read_list(root: Path, split: str, limit: int | None) -> pd.DataFrame:
    path = root / f"{split}.csv"
    if not path.is_file():
        raise CubeError(
            f"{path} does not exist",
            expected="a TreeSatAI-TS folder with train.csv, val.csv, test.csv",
            do="name the folder with the option root",
        )
    needed = ["aerial_name", "sen_name", "aerial_date", *SPECIES]
    table = read_table(path, needed, text=["aerial_name", "sen_name", "aerial_date"])
    for column in SPECIES if len(table) else ():
        numbers = table[column].dtype.kind in "uif"
        if not numbers or not table[column].between(0, 1).all():
            strange = table[column][~table[column].between(0, 1)] if numbers else table[column]
            raise CubeError(
                f"{path}: column {column!r}",
                expected="a share of the area each row, 0 to 1",
                found=repr(strange.iloc[0]),
            )
    table["date"] = days_of(f"{path}: aerial_date", table["aerial_date"].tolist())
    for column, folder in (("aerial_name", "aerial"), ("sen_name", "sentinel-ts")):
        for file in table[column].head(limit).fillna(""):
            if not (root / folder / file).is_file():
                raise CubeError(
                    f"{root / folder / file} does not exist",
                    expected=f"as in {path}",
                    do="fetch it again",
                )
    return table.head(limit).assign(split=split)


# -- Sentinel series


def _read_h5(path: Path, read: Callable[..., Any], *args: Any) -> Any:
    import h5py

    try:
        with h5py.File(path) as file:
            return read(file, *args)
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise CubeError(
            f"{path} cannot be read", expected="an HDF5 file", found=reason, do="fetch it again"
        ) from error
    except KeyError as error:
        raise CubeError(
            f"{path} lacks a data set",
            expected="sen-2-data, sen-2-masks, sen-2-products, sen-1-asc-data ...",
            found=str(error.args[0]),
        ) from error


def _plan(file: h5py.File, duplicates: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return for each series which rows to read, by date, and their dates."""
    plan = {}
    for name, prefix in _PREFIX.items():
        products, time = _products(file, f"{prefix}-products")
        _check_shape(file, f"{prefix}-data", len(products), len(_SERIES[name][0]))
        rows = np.arange(len(products))
        if name == "s2":
            _check_shape(file, "sen-2-masks", len(products), 2, more=True)
        elif duplicates == "drop":
            rows = _one_per_pass(products, file[f"{prefix}-data"])
        rows = rows[np.argsort(time[rows], kind="stable")]
        plan[name] = rows, time[rows]
    return plan


def _products(file: h5py.File, name: str) -> tuple[list[str], np.ndarray]:
    try:
        products = [str(p) for p in file[name].asstr()[:]]
        days = [p.split("_")[-5][:8] for p in products]
        return products, pd.to_datetime(days, format="%Y%m%d").to_numpy("datetime64[ns]")
    except (TypeError, ValueError, IndexError) as error:
        raise CubeError(
            f"{file.filename}: {name}",
            expected="names of Sentinel products, with the date as fifth field from the end",
            found=str(error),
        ) from error


def _check_shape(file: h5py.File, name: str, dates: int, bands: int, *, more: bool = False) -> None:
    """Refuse a data set that is not (dates, bands, 6, 6); ``more`` allows further bands."""
    found, pixels = file[name].shape, (_SENTINEL_PIXELS, _SENTINEL_PIXELS)
    there = found[1] if len(found) == 4 else 0
    if file[name].dtype.kind not in "uif":
        raise CubeError(f"{file.filename}: {name}", expected="numbers", found=str(file[name].dtype))
    if found != (dates, there, *pixels) or there < bands or (there > bands and not more):
        raise CubeError(
            f"{file.filename}: {name}",
            expected=f"{(dates, bands, *pixels)}" + (", or more than 2 masks" if more else ""),
            found=found,
        )


def _one_per_pass(products: list[str], data: h5py.Dataset) -> np.ndarray:
    """Of rows from one absolute orbit keep the one with most valid pixels, the first on ties."""
    orbits: dict[tuple[str, str], list[int]] = {}
    for row, product in enumerate(products):
        parts = product.split("_")
        orbits.setdefault((parts[0], parts[-3]), []).append(row)
    if len(orbits) == len(products):
        return np.arange(len(products))
    share = _radar_valid(data[:]).mean(axis=(1, 2))
    return np.array([max(rows, key=lambda row: share[row]) for rows in orbits.values()])


def _radar_valid(values: np.ndarray) -> np.ndarray:
    return (np.isfinite(values) & (values > 0)).all(1)


@dataclass(frozen=True)
class _ReadSeries:
    """Reads one Sentinel series of a sample."""

    name: str
    files: list[Path]
    rows: list[np.ndarray]
    threshold: float

    def __call__(self, sample: int, where: Where) -> tuple[np.ndarray, np.ndarray]:
        return _read_h5(self.files[sample], self._pixels, self.rows[sample], where)

    def _pixels(
        self, file: h5py.File, rows: np.ndarray, where: Where
    ) -> tuple[np.ndarray, np.ndarray]:
        found = file[f"{_PREFIX[self.name]}-data"][:][rows][..., *where].astype(np.float32)
        if self.name != "s2":
            return np.nan_to_num(found, posinf=0, neginf=0), _radar_valid(found)
        masks = file["sen-2-masks"][:, :2][rows][..., *where]  # snow and cloud
        there = np.isfinite(found)
        clear = there.all(1) & (masks <= self.threshold).all(1)  # a mask of NaN tells nothing
        return (found if there.all() else np.where(there, found, 0)), clear


def _modality(
    name: str, files: list[Path], plans: list[tuple[np.ndarray, np.ndarray]], threshold: float
) -> xr.Dataset:
    bands, units, sensor = _SERIES[name]
    time = padded([dates for _, dates in plans])
    read = _ReadSeries(name, files, [rows for rows, _ in plans], threshold)
    return lazy_modality(
        read, time, bands=bands, pixels=_SENTINEL_PIXELS, dtype=np.float32, units=units, gsd=10.0,
        sensor_name=sensor,
    )  # fmt: skip


# -- aerial image and species


@dataclass(frozen=True)
class _ReadAerial:
    """Reads the aerial image of a sample."""

    files: list[Path]

    def __call__(self, sample: int, where: Where) -> tuple[np.ndarray, np.ndarray]:
        image = read_raster(self.files[sample])
        bands, *size = image.shape
        if bands != len(AERIAL_BANDS) or min(size) < _AERIAL_PIXELS or image.dtype != np.uint8:
            least = f"at least {_AERIAL_PIXELS} x {_AERIAL_PIXELS}"
            raise CubeError(
                f"{self.files[sample]}",
                expected=f"{len(AERIAL_BANDS)} bands of {least} in uint8",
                found=f"{bands} bands of {size[0]} x {size[1]} in {image.dtype}",
            )
        top, left = ((s - _AERIAL_PIXELS) // 2 for s in size)
        image = image[:, top : top + _AERIAL_PIXELS, left : left + _AERIAL_PIXELS][:, *where]
        return image[None], np.ones((1, *image.shape[1:]), bool)


def _aerial(table: pd.DataFrame, root: Path) -> xr.Dataset:
    return lazy_modality(
        _ReadAerial([root / "aerial" / name for name in table["aerial_name"]]),
        table[["date"]].to_numpy("datetime64[ns]"),
        bands=AERIAL_BANDS,
        pixels=_AERIAL_PIXELS,
        dtype=np.uint8,
        units="DN",
        gsd=0.2,
        sensor_name="aerial",
    )


def _species(table: pd.DataFrame) -> xr.Dataset:
    attrs = {"task": "fractions", "threshold": 0.07, "units": "share of the area"}
    shares = table[SPECIES].to_numpy(np.float32)
    return xr.Dataset(
        {"species": (("sample", "class"), shares, attrs)},
        coords={"class": np.array(SPECIES, dtype=object)},
    )
