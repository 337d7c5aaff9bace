"""``treesatai-ts``: the native layout of TreeSatAI-TS, 60 m forest windows of four sensors.

A folder with ``train.csv``, ``val.csv``, ``test.csv`` (aerial_name, sen_name, aerial_date, then
one column a species with its share of the area), ``aerial/*.tif`` (0.2 m, uint8) and
``sentinel-ts/*.h5`` (Sentinel-1 and -2 series). Traps of the real files handled here:

* Sentinel-1 passes stored twice (two slices of one orbit): one is kept, else a masked date would
  stay visible in its twin.
* NaN and zeros in Sentinel-1: not valid.
* Snow and cloud masks in percent; some files hold further mask channels, which are ignored.
* Aerial bands run NIR, green, blue, red.
* Aerial tiles have 304 pixels for 60 m of 0.2 m pixels: the central 300 are read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr

from maestro_lab.cubes.contract import assemble, make_modality
from maestro_lab.errors import CubeError

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
_RADAR = {"s1_asc": "sen-1-asc", "s1_des": "sen-1-des"}
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
    root = Path(root)
    if duplicates not in ("drop", "keep"):
        raise CubeError("duplicates", expected="'drop' or 'keep'", found=repr(duplicates))
    table = pd.concat([_read_list(root, s, limit) for s in splits], ignore_index=True)
    series = {"s2": _series(table, root, _s2, mask_threshold)}
    for name, prefix in _RADAR.items():
        series[name] = _series(table, root, _radar_reader(prefix, duplicates))
    modalities = {"aerial": _aerial(table, root)}
    modalities["s2"] = _modality(series["s2"], S2_BANDS, "DN", "sentinel-2")
    for name in _RADAR:
        modalities[name] = _modality(series[name], ["VV", "VH"], "linear power", "sentinel-1")
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


def _read_list(root: Path, split: str, limit: int | None) -> pd.DataFrame:
    if split not in _SPLITS:
        raise CubeError("treesatai-ts: splits", expected=", ".join(_SPLITS), found=split)
    path = root / f"{split}.csv"
    if not path.is_file():
        raise CubeError(
            f"{path} does not exist",
            expected="a TreeSatAI-TS folder with train.csv, val.csv, test.csv",
            do="name the folder with the option root",
        )
    table = pd.read_csv(path, dtype={"aerial_date": str})
    missing = [c for c in ("aerial_name", "sen_name", "aerial_date", *SPECIES) if c not in table]
    if missing:
        raise CubeError(
            f"{path}: column {missing[0]!r} is missing",
            expected=f"aerial_name, sen_name, aerial_date and {len(SPECIES)} species",
            found=", ".join(table.columns),
        )
    try:
        table["date"] = pd.to_datetime(table["aerial_date"], format="%Y%m%d")
    except ValueError as error:
        raise CubeError(f"{path}: aerial_date", expected="YYYYMMDD", found=str(error)) from error
    for column, folder in (("aerial_name", "aerial"), ("sen_name", "sentinel-ts")):
        for file in table[column].head(limit):
            if not (root / folder / file).is_file():
                raise CubeError(f"{root / folder / file} does not exist", expected=f"as in {path}")
    return table.head(limit).assign(split=split)


# -- Sentinel series


def _read_h5(path: Path, read: Callable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    import h5py

    try:
        with h5py.File(path) as file:
            return read(file)
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


def _product_dates(file: object, name: str) -> np.ndarray:
    products = file[name].asstr()[:]
    days = [p.split("_")[-5][:8] for p in products]
    return pd.to_datetime(days, format="%Y%m%d").to_numpy("datetime64[ns]")


def _check_shape(file: object, name: str, bands: int) -> np.ndarray:
    values = file[name][:]
    expected = (bands, _SENTINEL_PIXELS, _SENTINEL_PIXELS)
    if values.ndim != 4 or values.shape[1:] != expected:
        raise CubeError(
            f"{file.filename}: {name}", expected=f"dates x {expected}", found=values.shape
        )
    return values


def _s2(file: object, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read Sentinel-2: values (t, 10, 6, 6), valid (t, 6, 6), time (t,)."""
    values = _check_shape(file, "sen-2-data", len(S2_BANDS))
    masks = file["sen-2-masks"][:, :2]  # snow and cloud; further channels exist in some files
    valid = np.isfinite(values).all(1) & ~(np.nan_to_num(masks, nan=100.0) > threshold).any(1)
    return _sorted(values, valid, _product_dates(file, "sen-2-products"))


def _radar_reader(prefix: str, duplicates: str) -> Callable:
    def read(file: object) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        values = _check_shape(file, f"{prefix}-data", 2)
        time = _product_dates(file, f"{prefix}-products")
        valid = (np.isfinite(values) & (values > 0)).all(1)
        if duplicates == "drop":
            keep = _one_per_pass(file[f"{prefix}-products"].asstr()[:], valid)
            values, valid, time = values[keep], valid[keep], time[keep]
        return _sorted(values, valid, time)

    return read


def _one_per_pass(products: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Of rows from one absolute orbit keep the one with most valid pixels, the first on ties."""
    orbit = pd.Series([p.split("_")[0] + p.split("_")[-3] for p in products])
    share = pd.Series(valid.mean(axis=(1, 2)))
    best = share.groupby(orbit, sort=False).idxmax()
    return np.sort(best.to_numpy())


def _sorted(
    values: np.ndarray, valid: np.ndarray, time: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order = np.argsort(time, kind="stable")
    return np.nan_to_num(values[order]), valid[order], time[order]


def _series(table: pd.DataFrame, root: Path, read: Callable, *args: float) -> list[tuple]:
    """Plan the reading of one series a sample: its dates now, its pixels when used."""
    planned = []
    for name in table["sen_name"]:
        path = root / "sentinel-ts" / name

        def bound(file: object) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            return read(file, *args)

        values, _, time = _read_h5(path, bound)
        planned.append((dask.delayed(_read_h5, pure=True)(path, bound), values.shape, time))
    return planned


def _modality(series: list[tuple], bands: list[str], units: str, sensor: str) -> xr.Dataset:
    longest = max(shape[0] for _, shape, _ in series)
    time = np.full((len(series), longest), np.datetime64("NaT"), "datetime64[ns]")
    values, valid = [], []
    for i, (pixels, shape, dates) in enumerate(series):
        time[i, : len(dates)] = dates
        full = (longest, *shape[1:])
        padded = dask.delayed(_pad)(pixels, longest)
        values.append(da.from_delayed(padded[0], full, np.float32)[None])
        valid.append(da.from_delayed(padded[1], (longest, *shape[2:]), bool)[None])
    return make_modality(
        da.concatenate(values), time, valid=da.concatenate(valid), bands=bands, units=units,
        gsd=10.0, sensor_name=sensor,
    )  # fmt: skip


def _pad(pixels: tuple, longest: int) -> tuple[np.ndarray, np.ndarray]:
    values, valid, _ = pixels
    more = longest - len(values)
    return tuple(
        np.pad(a, [(0, more)] + [(0, 0)] * (a.ndim - 1)) for a in (values.astype(np.float32), valid)
    )


# -- aerial image and species


def _read_tif(path: Path) -> np.ndarray:
    import rasterio
    from rasterio.errors import RasterioError

    try:
        with rasterio.open(path) as file:
            image = file.read()
    except RasterioError as error:
        raise CubeError(f"{path} cannot be read", expected="a GeoTIFF", found=str(error)) from error
    bands, *size = image.shape
    if bands != len(AERIAL_BANDS) or min(size) < _AERIAL_PIXELS:
        raise CubeError(
            f"{path}",
            expected=f"{len(AERIAL_BANDS)} bands of at least {_AERIAL_PIXELS} x {_AERIAL_PIXELS}",
            found=image.shape,
        )
    top, left = ((s - _AERIAL_PIXELS) // 2 for s in size)
    return image[:, top : top + _AERIAL_PIXELS, left : left + _AERIAL_PIXELS]


def _aerial(table: pd.DataFrame, root: Path) -> xr.Dataset:
    shape = (len(AERIAL_BANDS), _AERIAL_PIXELS, _AERIAL_PIXELS)
    images = [
        da.from_delayed(dask.delayed(_read_tif, pure=True)(root / "aerial" / n), shape, np.uint8)
        for n in table["aerial_name"]
    ]
    return make_modality(
        da.stack(images)[:, None], table[["date"]].to_numpy("datetime64[ns]"), bands=AERIAL_BANDS,
        units="DN", gsd=0.2, sensor_name="aerial",
    )  # fmt: skip


def _species(table: pd.DataFrame) -> xr.Dataset:
    attrs = {"task": "fractions", "threshold": 0.07, "units": "share of the area"}
    shares = table[SPECIES].to_numpy(np.float32)
    return xr.Dataset(
        {"species": (("sample", "class"), shares, attrs)},
        coords={"class": np.array(SPECIES, dtype=object)},
    )
