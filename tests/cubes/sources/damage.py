"""Ways to damage native files: each returns a function of the folder that holds them."""

from __future__ import annotations

import io
import json
import pickle
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr

import maestro_lab as ml
from maestro_lab.errors import CubeError
from tests.cubes.sources.layouts import (
    camera,
    flair_dates,
    flair_file,
    naip_file,
    pastis_file,
    treesat_file,
    write_gpkg,
    write_npy,
    write_png,
    write_products,
    write_tif,
)
from tests.test_catalogue import SHIPPED

Change = Callable[[Path], object]
Place = Callable[[Path], Path]
Edit = Callable[[np.ndarray], np.ndarray]

# -- places


def named(name: str) -> Place:
    return lambda root: root / name


def pastis(modality: str, tile: str) -> Place:
    return partial(pastis_file, modality=modality, tile=tile)


def flair(modality: str, tile: str) -> Place:
    return partial(flair_file, modality=modality, tile=tile)


def table(kind: str) -> Place:
    return partial(flair_dates, kind=kind)


def naip(modality: str, tile: str) -> Place:
    return partial(naip_file, modality=modality, tile=tile)


def listed(modality: str, tile: str) -> Place:
    return named(f"dates/{modality}/{tile}.txt")


def treesat(modality: str, sample: str) -> Place:
    return partial(treesat_file, modality=modality, sample=sample)


# -- any file


def content(place: Place, text: bytes) -> Change:
    return lambda root: place(root).write_bytes(text)


def half(place: Place) -> Change:
    def change(root: Path) -> None:
        whole = place(root).read_bytes()
        place(root).write_bytes(whole[: len(whole) // 2])

    return change


def gone(place: Place) -> Change:
    return lambda root: place(root).unlink()


def a_folder(place: Place) -> Change:
    def change(root: Path) -> None:
        place(root).unlink()
        place(root).mkdir()

    return change


# -- lists


def columns(file: str, /, **values: object) -> Change:
    """Put other columns into a list; ``None`` removes one."""

    def change(root: Path) -> None:
        frame = pd.read_csv(root / file, dtype=str)
        for key, value in values.items():
            frame = frame.drop(columns=key) if value is None else frame.assign(**{key: value})
        frame.to_csv(root / file, index=False)

    return change


def no_rows(root: Path) -> None:
    for path in root.glob("*.csv"):
        path.write_text(path.read_text().splitlines()[0] + "\n")


def rows_again(name: str) -> Change:
    def change(root: Path) -> None:
        head, *rows = (root / name).read_text().splitlines()
        (root / name).write_text("\n".join([head, *rows, *rows]) + "\n")

    return change


# -- dates


def features(edit: Callable[[list[dict]], object]) -> Change:
    """Edit the features of the metadata of PASTIS-HD."""

    def change(root: Path) -> None:
        path = root / "metadata.geojson"
        collection = json.loads(path.read_text())
        edit(collection["features"])
        path.write_text(json.dumps(collection))

    return change


def dates_s2(value: object) -> Change:
    """Give the first tile of PASTIS-HD other Sentinel-2 dates."""
    return features(lambda all_: all_[0]["properties"].update({"dates-S2": value}))


def gpkg(
    kind: str,
    rows: Sequence[Sequence[object]],
    names: Sequence[str] = ("patch_id", "acquisition_dates"),
) -> Change:
    return lambda root: write_gpkg(flair_dates(root, kind), rows, names)


def another_table(root: Path) -> None:
    """Have a GeoPackage name a table that it does not hold."""
    with closing(sqlite3.connect(flair_dates(root, "AERIAL"))) as database, database:
        database.execute("UPDATE gpkg_contents SET table_name = 'other'")


def products(modality: str, tile: str, names: Sequence[str]) -> Change:
    return lambda root: write_products(root, modality, tile, names)


# -- pixels


def npy(place: Place, edit: Edit) -> Change:
    return lambda root: write_npy(place(root), edit(np.load(place(root))))


def tif(place: Place, edit: Edit, **options: object) -> Change:
    """Rewrite an image (band, y, x), with another reference system where ``crs`` is given."""

    def change(root: Path) -> None:
        with rasterio.open(place(root)) as file:
            image, crs = file.read(), file.crs
        write_tif(place(root), edit(image), **{"crs": crs, **options})

    return change


def png(tile: str, edit: Edit) -> Change:
    image = camera(np.random.default_rng(0), 512)
    return lambda root: write_png(naip_file(root, "naip", tile), edit(image))


def h5(sample: str, name: str, edit: Callable[[np.ndarray], object] | None) -> Change:
    """Replace a data set of TreeSatAI-TS; without ``edit`` it is removed."""

    def change(root: Path) -> None:
        with h5py.File(treesat_file(root, "s2", sample), "a") as file:
            old = file[name][:]
            del file[name]
            if edit is not None:
                file[name] = edit(old)

    return change


def at(*index: object, value: float) -> Edit:
    """Put a value at one place."""

    def edit(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array[index] = value
        return array

    return edit


# -- what must never be unpickled


class Bomb:
    """Leaves a trace in the current folder if somebody unpickles it."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path("exploded"),)


def pickled(*, as_array: bool) -> bytes:
    out = io.BytesIO()
    if as_array:
        np.save(out, np.array([Bomb()], dtype=object), allow_pickle=True)
    else:
        pickle.dump(Bomb(), out)
    return out.getvalue()


def zipped() -> bytes:
    out = io.BytesIO()
    np.savez(out, a=np.zeros(3))
    return out.getvalue()


# -- what comes of it


def read_all(layout: str, root: Path) -> xr.DataTree:
    """Open a folder and read every pixel and label of it."""
    cube = ml.open_cube(layout, root=root, catalogue=SHIPPED)
    return ml.validate(cube.load(), values=None)


def check_refused(layout: str, root: Path, message: str) -> None:
    """Check that a folder is refused in one short message, and that nothing was unpickled."""
    with pytest.raises(CubeError, match=message) as told:
        read_all(layout, root)
    assert len(str(told.value).splitlines()) <= 8 and "expected" in str(told.value)
    assert not Path("exploded").exists()
