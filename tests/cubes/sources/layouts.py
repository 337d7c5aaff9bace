"""Writers of the native layouts of five data sets: small folders with known, plausible content."""

from __future__ import annotations

import json
import sqlite3
import warnings
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine

from maestro_lab.cubes.sources.treesatai import SPECIES
from tests.cubes.sources.scenes import camera, elevation, optical, radar

LAMBERT = "EPSG:2154"


@dataclass
class Tile:
    """What was written of a tile: series as stored (t, band, y, x) with their dates, labels."""

    split: str
    values: dict[str, np.ndarray] = field(default_factory=dict)
    days: dict[str, list[str]] = field(default_factory=dict)
    labels: np.ndarray | None = None


def dates(count: int, start: str = "20190105", step: int = 20) -> list[str]:
    """Return dates as YYYYMMDD, ``step`` days apart."""
    first = np.datetime64(f"{start[:4]}-{start[4:6]}-{start[6:]}")
    return [str(first + step * k).replace("-", "") for k in range(count)]


# -- files


def write_tif(path: Path, image: np.ndarray, crs: str | None = LAMBERT, **options: object) -> None:
    """Write an image (band, y, x); without ``crs`` it has no place on the ground."""
    path.parent.mkdir(parents=True, exist_ok=True)
    where = {"crs": crs, "transform": Affine(0.2, 0, 700_000, 0, -0.2, 6_600_000)} if crs else {}
    shape = {"count": len(image), "height": image.shape[1], "width": image.shape[2]}
    about = {"driver": "GTiff", "dtype": image.dtype, **where, **shape, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **about) as file:
            file.write(image)


def write_png(path: Path, image: np.ndarray) -> None:
    """Write a picture (band, y, x)."""
    write_tif(path, image, None, driver="PNG")


def write_npy(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def write_csv(path: Path, **columns: Sequence[object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_csv(path, index=False)


def write_gpkg(
    path: Path, rows: Sequence[Sequence[object]], columns: Sequence[str], table: str = "dates"
) -> None:
    """Write a GeoPackage with one table without geometries."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    names = ", ".join(f'"{name}"' for name in columns)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA application_id = 1196444487")  # "GPKG"
        database.execute("CREATE TABLE gpkg_contents (table_name TEXT, data_type TEXT)")
        database.execute("INSERT INTO gpkg_contents VALUES (?, 'features')", (table,))
        database.execute(f'CREATE TABLE "{table}" (fid INTEGER PRIMARY KEY, geom BLOB, {names})')
        marks = ", ".join("?" * len(columns))
        database.executemany(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', rows)


def numbered(days: Sequence[str], first: int = 0) -> dict[str, str]:
    """Return dates as the data sets store them: a JSON object with a number for each."""
    return {str(first + k): day for k, day in enumerate(days)}


def _tiles(samples: Mapping[str, Sequence[str]]) -> dict[str, Tile]:
    return {name: Tile(split) for split, names in samples.items() for name in names}


# -- PASTIS-HD

PATCHES = {"train": ["10000"], "val": ["10001"], "test": ["10002"]}
PASTIS_DAYS = {"s2": dates(3), "s1_asc": dates(2), "s1_des": dates(2, "20190107")}


def pastis_file(root: Path, modality: str, tile: str) -> Path:
    place = {
        "s2": f"DATA_S2/S2_{tile}.npy",
        "s1_asc": f"DATA_S1A/S1A_{tile}.npy",
        "s1_des": f"DATA_S1D/S1D_{tile}.npy",
        "spot": f"DATA_SPOT/PASTIS_SPOT6_RVB_1M00_2019/SPOT6_RVB_1M00_2019_{tile}.tif",
        "labels": f"ANNOTATIONS/TARGET_{tile}.npy",
    }
    return root / place[modality]


def write_pastis(
    root: Path,
    patches: Mapping[str, Sequence[str]] = PATCHES,
    days: Mapping[str, Sequence[str]] = PASTIS_DAYS,
    suffix: str = "",
    seed: int = 0,
) -> dict[str, Tile]:
    """Write PASTIS-HD tiles; ``suffix`` belongs to the names of the lists ("_fold_1")."""
    tiles = _tiles(patches)
    for number, (name, tile) in enumerate(tiles.items()):
        rng = np.random.default_rng([seed, number])
        tile.days = {key: list(value) for key, value in days.items()}
        tile.values["s2"] = optical(rng, len(days["s2"]), 128)
        for key in ("s1_asc", "s1_des"):
            echo = radar(rng, len(days[key]), 128)
            tile.values[key] = np.concatenate([echo, echo[:, :1] - echo[:, 1:]], 1)
        tile.values["spot"] = camera(rng, 1280, 3)[None]
        tile.labels = rng.integers(0, 20, (128, 128)).astype(np.uint8)
        for key, values in tile.values.items():
            if key != "spot":
                write_npy(pastis_file(root, key, name), values)
        write_tif(pastis_file(root, "spot", name), tile.values["spot"][0], crs="EPSG:32631")
        instances = rng.integers(0, 50, (2, 128, 128)).astype(np.uint8)
        labels = np.concatenate([tile.labels[None], instances])
        write_npy(pastis_file(root, "labels", name), labels)
    for split, names in patches.items():
        write_csv(root / f"{split}{suffix}.csv", image=names)
    write_geojson(root, {name: tile.days for name, tile in tiles.items()})
    return tiles


def write_geojson(
    root: Path,
    tiles: Mapping[str, Mapping[str, Sequence[str]]],
    key: str = "ID_PATCH",
    text: bool = False,
) -> None:
    """Write the dates of tiles; ``text`` stores them as JSON in a text."""
    features = []
    for name, days in tiles.items():
        stored = {f"dates-{k}": numbered(days[m]) for k, m in
                  (("S2", "s2"), ("S1A", "s1_asc"), ("S1D", "s1_des")) if m in days}  # fmt: skip
        stored = {k: json.dumps(v) for k, v in stored.items()} if text else stored
        about = {key: int(name) if name.isdigit() else name, "Fold": 1, **stored}
        features.append({"type": "Feature", "properties": about, "geometry": None})
    content = {"type": "FeatureCollection", "features": features}
    (root / "metadata.geojson").write_text(json.dumps(content))


# -- FLAIR-HUB

FLAIR_TILES = {
    "train": ["D004-2021_AA-S1-32_1-2", "D004-2021_AA-S1-32_1-3"],
    "val": ["D004-2021_UU-S2-1_0-0"],
    "test": ["D075-2020_AA-S1-32_10-11"],
}
FLAIR_DAYS = {"s2": dates(3, "20210105"), "s1_asc": dates(2, "20210103"), "s1_des": ["20210104"]}
FLAIR_KINDS = {
    "aerial": "AERIAL_RGBI",
    "dem": "DEM_ELEV",
    "s2": "SENTINEL2_TS",
    "masks": "SENTINEL2_MSK-SC",
    "s1_asc": "SENTINEL1-ASC_TS",
    "s1_des": "SENTINEL1-DESC_TS",
    "labels": "AERIAL_LABEL-COSIA",
}


def flair_file(root: Path, modality: str, tile: str) -> Path:
    domain, area, position = tile.split("_")
    kind = f"{domain}_{FLAIR_KINDS[modality]}"
    return root / kind / area / f"{kind}_{area}_{position}.tif"


def flair_dates(root: Path, kind: str) -> Path:
    return root / "GLOBAL_ALL_MTD" / f"GLOBAL_{kind}_MTD_DATES.gpkg"


def write_flair(
    root: Path,
    tiles: Mapping[str, Sequence[str]] = FLAIR_TILES,
    days: Mapping[str, Sequence[str]] = FLAIR_DAYS,
    version: str = "flair-hub",
    seed: int = 0,
) -> dict[str, Tile]:
    """Write FLAIR-HUB tiles; for "flair2" without radar, and with lists of that name."""
    written = _tiles(tiles)
    days = {key: value for key, value in days.items() if version == "flair-hub" or key == "s2"}
    for number, (name, tile) in enumerate(written.items()):
        rng = np.random.default_rng([seed, number])
        tile.days = {key: list(value) for key, value in days.items()}
        tile.days["aerial"] = [dates(1, "20210701", 0)[0][:6] + f"{number + 1:02d}"]
        tile.values["aerial"] = camera(rng, 512)[None]
        tile.values["dem"] = elevation(rng, 512)[None]
        tile.values["s2"] = optical(rng, len(days["s2"]), 10, "uint16")
        tile.values["masks"] = np.zeros((len(days["s2"]), 2, 10, 10), np.uint8)
        for key in set(days) - {"s2"}:
            tile.values[key] = 10 ** (radar(rng, len(days[key]), 10) / 10)
        tile.labels = rng.integers(0, 19, (512, 512)).astype(np.uint8)
        for key, values in tile.values.items():
            write_tif(flair_file(root, key, name), values.reshape(-1, *values.shape[2:]))
        write_tif(flair_file(root, "labels", name), tile.labels[None])
    for split, names in tiles.items():
        middle = "_flair2" if version == "flair2" else ""
        write_csv(root / f"{split}{middle}.csv", patch_id=names)
    rows = [(name, tile.days["aerial"][0]) for name, tile in written.items()]
    write_gpkg(flair_dates(root, "AERIAL"), rows, ["patch_id", "date"])
    areas = dict.fromkeys(name.rsplit("_", 1)[0] for name in written)
    for key, value in days.items():
        text = json.dumps(numbered(value, 1))
        kind = FLAIR_KINDS[key].removesuffix("_TS")
        rows = [(area, text) for area in areas]
        write_gpkg(flair_dates(root, kind), rows, ["patch_id", "acquisition_dates"])
    return written


# -- S2-NAIP urban

NAIP_TILES = {"train": ["32612_960_-6049"], "val": ["32612_961_-6049"], "test": ["32613_7_-6050"]}


def s2_product(day: str, orbit: int = 8, satellite: str = "S2A") -> str:
    return f"{satellite}_MSIL1C_{day}T104431_N0211_R{orbit:03d}_T12SVC_{day}T115449"


def s1_product(day: str, orbit: int = 100, second: int = 40, satellite: str = "S1A") -> str:
    start, stop = f"{day}T0549{second:02d}", f"{day}T0550{second:02d}"
    return f"{satellite}_IW_GRDH_1SDV_{start}_{stop}_{orbit:06d}_02CCD2_4331"


NAIP_PRODUCTS = {
    "naip": ["m_3211225_ne_12_060_20190810"],
    "s2": [s2_product(day) for day in dates(3)],
    "s1": [s1_product(day, 100 + k) for k, day in enumerate(dates(2))],
}


def naip_file(root: Path, modality: str, tile: str) -> Path:
    place = {"naip": f"naip/{tile}.png", "s2": f"sentinel2/{tile}_stacked.tif",
             "s1": f"sentinel1/{tile}.tif"}  # fmt: skip
    return root / place[modality]


def write_products(root: Path, modality: str, tile: str, products: Sequence[str]) -> None:
    path = root / "dates" / modality / f"{tile}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(products) + "\n")


def write_s2_naip(
    root: Path,
    tiles: Mapping[str, Sequence[str]] = NAIP_TILES,
    products: Mapping[str, Sequence[str]] = NAIP_PRODUCTS,
    seed: int = 0,
) -> dict[str, Tile]:
    """Write S2-NAIP urban tiles, each of the same products."""
    written = _tiles(tiles)
    for number, (name, tile) in enumerate(written.items()):
        rng = np.random.default_rng([seed, number])
        tile.values["naip"] = camera(rng, 512)[None]
        tile.values["s2"] = optical(rng, len(products["s2"]), 64, "uint16")
        tile.values["s1"] = radar(rng, len(products["s1"]), 64)
        write_png(naip_file(root, "naip", name), tile.values["naip"][0])
        for key in ("s2", "s1"):
            values = tile.values[key]
            image = values.reshape(-1, *values.shape[2:])
            write_tif(naip_file(root, key, name), image, crs="EPSG:32612")
        for key, names in products.items():
            write_products(root, key, name, names)
            tile.days[key] = [p.split("_")[-1 if key == "naip" else -5][:8] for p in names]
    for split, names in tiles.items():
        write_csv(root / f"{split}.csv", name=names)
    return written


# -- TreeSatAI-TS

TREESAT_SAMPLES = {"train": ["Quercus_1_WEFL_NLF"], "val": ["Pinus_2_WEFL_NLF"], "test": ["Acer_3"]}
TREESAT_DAYS = {"s2": dates(3), "s1_asc": dates(2), "s1_des": dates(2, "20190107")}


def treesat_file(root: Path, modality: str, sample: str) -> Path:
    name = f"aerial/{sample}.tif" if modality == "aerial" else f"sentinel-ts/{sample}_2019.h5"
    return root / name


def write_treesat(
    root: Path,
    samples: Mapping[str, Sequence[str]] = TREESAT_SAMPLES,
    days: Mapping[str, Sequence[str]] = TREESAT_DAYS,
    seed: int = 0,
) -> dict[str, Tile]:
    """Write TreeSatAI-TS samples; ``labels`` of the tiles are the shares of the species."""
    written = _tiles(samples)
    for number, (name, tile) in enumerate(written.items()):
        rng = np.random.default_rng([seed, number])
        tile.days = {key: list(value) for key, value in days.items()} | {"aerial": ["20190713"]}
        tile.labels = rng.dirichlet(np.full(len(SPECIES), 0.3)).round(4)
        tile.values["aerial"] = camera(rng, 304)[None, [3, 1, 2, 0]]
        tile.values["s2"] = optical(rng, len(days["s2"]), 6, "float32")
        tile.values["masks"] = np.zeros((len(days["s2"]), 2, 6, 6), np.float32)
        write_tif(treesat_file(root, "aerial", name), tile.values["aerial"][0], "EPSG:25832")
        path = treesat_file(root, "s2", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file["sen-2-data"], file["sen-2-masks"] = tile.values["s2"], tile.values["masks"]
            file["sen-2-products"] = [s2_product(day) for day in days["s2"]]
            for key, short in (("s1_asc", "asc"), ("s1_des", "des")):
                tile.values[key] = 10 ** (radar(rng, len(days[key]), 6) / 10)
                file[f"sen-1-{short}-data"] = tile.values[key]
                file[f"sen-1-{short}-products"] = [
                    s1_product(day, 100 + k) for k, day in enumerate(days[key])
                ]
    for split, names in samples.items():
        shares = {s: [written[n].labels[k] for n in names] for k, s in enumerate(SPECIES)}
        write_csv(
            root / f"{split}.csv",
            aerial_name=[f"{n}.tif" for n in names],
            sen_name=[f"{n}_2019.h5" for n in names],
            aerial_date=["20190713"] * len(names),
            **shares,
        )
    return written
