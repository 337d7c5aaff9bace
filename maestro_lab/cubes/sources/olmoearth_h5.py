"""``olmoearth-h5``: the HDF5 files that OlmoEarth is pretrained on, 1.28 km tiles of one year.

A folder named by its number of samples, with ``sample_metadata.csv`` (sample_index, then a column
of 0 and 1 for each modality) and ``sample_{index}.h5``. A file holds ``latlon``, ``timestamps``
(slot, 3): day, month from 0, year; and for each modality (y, x, step, band) of the slots it was
seen in, which ``missing_timesteps_masks/<modality>`` tells (slot,), True where it was. Where that
mask is missing all slots were. What the layout leaves open is taken like this:

* A slot without an image is no date: nothing is filled in. Dates are the starts of the mosaics.
* What the table says is there must be in the file; what it says is not is not read.
* Optical pixels with 0 in all bands, and radar or heights that are NaN, infinite or -32768 and
  less, are not valid. The files know no clouds.
* Heights bear the date of the sample's first slot, since a modality needs one.
* Maps are targets: -1 (classes) or NaN (numbers) where a sample lacks one or a code has no
  meaning.
* ``latlon`` is the centre of a tile of 2.56 km, and so the same for the four samples cut from it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr

from maestro_lab.cubes.contract import assemble
from maestro_lab.cubes.dates import padded
from maestro_lab.cubes.reading import lazy_modality
from maestro_lab.cubes.sources.files import read_array, read_table, refuse_options
from maestro_lab.cubes.sources.hashed import hashed_splits, refuse_shares
from maestro_lab.cubes.sources.hdf5 import header, read_h5
from maestro_lab.cubes.sources.lists import chosen_modalities
from maestro_lab.cubes.sources.olmoearth_files import HOLDS, ReadMap, ReadSeries, look
from maestro_lab.cubes.sources.olmoearth_layout import MAPS, SERIES, Layers, Map, Series
from maestro_lab.cubes.sources.series import DUPLICATES, Plan
from maestro_lab.errors import CubeError

__all__ = ["open_olmoearth_h5"]

TABLE = "sample_metadata.csv"
GSD = 10.0


def open_olmoearth_h5(
    root: str | Path = "olmoearth_h5",
    modalities: list[str] | tuple[str, ...] | None = None,
    targets: list[str] | tuple[str, ...] | None = None,
    val: float = 0.0,
    test: float = 0.0,
    cell: float = 0.25,
    seed: int = 0,
    duplicates: str = "drop",
    limit: int | None = None,
) -> xr.DataTree:
    """Open a folder of OlmoEarth's pretraining samples; pixels are read when they are used.

    Every file is opened once for its dates (one to two milliseconds each). The data set has no
    split of its own: all samples are ``train`` unless shares of the world are held out.

    Parameters
    ----------
    root
        The folder of the samples, or one that holds it (``h5py_data_w_missing_timesteps...``).
    modalities
        Some of s2, s1, landsat and dem. Default: those that the table knows of.
    targets
        Some of worldcover, openstreetmap, canopy_height, cdl and worldcereal. Default: likewise.
    val, test
        Shares of the cells, of ``cell`` x ``cell`` degrees, whose samples are held out. Whether a
        cell is depends on ``seed`` and its place alone, so that more samples move none (unless
        there are so few cells that a split would be empty). Samples of one tile stay together;
        tiles at both sides of a border between cells may not.
    cell
        Side of a cell in degrees; ``block`` of the cube numbers them.
    seed
        Chooses the cells.
    duplicates
        "drop" keeps the first of several images of one date, "keep" all.
    limit
        At most so many samples, the first of the table.

    Returns
    -------
    xarray.DataTree
        A cube with the further root variables ``latitude`` and ``longitude``.

    Raises
    ------
    CubeError
        Names the file that is missing, damaged or something else.
    """
    refuse_shares("olmoearth-h5", {"val": val, "test": test})
    _check_options(cell, seed, duplicates, limit)
    folder = _find(Path(root).expanduser())
    table = _read_list(folder).head(limit)
    names = [f"sample_{i}" for i in table["sample_index"].tolist()]
    files = [folder / f"{name}.h5" for name in names]
    series = _chosen(SERIES, "modalities", modalities, table)
    maps = _chosen(MAPS, "targets", targets, table)
    side = _side(files, table, [*series, *maps])
    found = [
        read_h5(path, look, [series[k] for k in np.flatnonzero(row)], side, duplicates, holds=HOLDS)
        for path, row in zip(files, table[[s.stored for s in series]].to_numpy(), strict=True)
    ]
    latlon, plans = np.array([place for place, _ in found]), [p for _, p in found]
    cells, block = _cells(latlon, cell)
    split = hashed_splits(f"{folder}: cells", cells, {"test": test, "val": val}, seed)
    return assemble(
        {s.name: _modality(s, files, [p[s.stored] for p in plans], side) for s in series},
        sample=names,
        split=split[block],
        block=block,
        extra={"latitude": latlon[:, 0], "longitude": latlon[:, 1]},
        targets=_targets(maps, files, table, side) if maps else None,
        title="OlmoEarth pretraining data: a year of Sentinel-1, -2 and Landsat in 30-day mosaics",
        licence="as published by Ai2; contains modified Copernicus and OpenStreetMap data",
        source=str(folder),
        attrs={"window": side * GSD},
    )


def _check_options(cell: float, seed: int, duplicates: str, limit: int | None) -> None:
    def number(value: object, *kinds: type) -> bool:
        return isinstance(value, kinds) and not isinstance(value, bool)

    some = limit is None or (number(limit, int) and limit > 0)
    refuse_options(
        "olmoearth-h5",
        (number(cell, int, float) and 0 < cell <= 180, "cell", "degrees, 0 to 180", cell),
        (number(seed, int), "seed", "a whole number", seed),
        (duplicates in DUPLICATES, "duplicates", "'drop' or 'keep'", duplicates),
        (some, "limit", "None, or a whole number above 0", limit),
    )


def _find(root: Path) -> Path:
    """Return the folder of the table, which lies in ``root`` or up to three folders below."""
    for depth in range(4):
        found = sorted(path.parent for path in root.glob("*/" * depth + TABLE))
        if len(found) == 1:
            return found[0]
        if found:
            raise CubeError(
                f"{root} holds several data sets",
                expected=f"one {TABLE}",
                found=", ".join(str(folder.relative_to(root)) for folder in found),
                do="name one of these folders with the option root",
            )
    raise CubeError(
        f"{root} holds no {TABLE}" if root.is_dir() else f"{root} does not exist",
        expected=f"a folder h5py_data_w_missing_timesteps.../MODALITIES/NUMBER with {TABLE}",
        do="name the folder with the option root",
    )


def _read_list(folder: Path) -> pd.DataFrame:
    path = folder / TABLE
    table = read_table(path, ["sample_index"])
    index, count = table["sample_index"], folder.name
    if index.dtype.kind not in "ui" or (index < 0).any() or index.duplicated().any():
        raise CubeError(
            f"{path}: column 'sample_index'",
            expected="whole numbers from 0, each once",
            found=", ".join(map(str, index.head(5))),
        )
    if table.empty or (count.isdigit() and int(count) != len(table)):
        raise CubeError(
            f"{path}: rows",
            expected=f"{count}, as the name of the folder says" if count.isdigit() else "some",
            found=len(table),
            do="fetch the data set again, or name the folder by the samples that are there",
        )
    for column in table.columns.intersection([s.stored for s in (*SERIES, *MAPS)]):
        if not table[column].isin([0, 1]).all():
            raise CubeError(f"{path}: column {column!r}", expected="0 or 1 in each row")
    if (folder / "latlon_distribution.npy").exists():
        read_array(folder / "latlon_distribution.npy", (len(table), 2))
    return table


def _chosen(
    known: list[Any], option: str, names: list[str] | tuple[str, ...] | None, table: pd.DataFrame
) -> list[Any]:
    """Return which of the known layers to read: those asked for, or those the table knows of."""
    if names is None:
        return [s for s in known if s.stored in table and table[s.stored].any()]
    if not names and option == "targets":
        return []
    wanted = chosen_modalities("olmoearth-h5", [s.name for s in known], names)
    chosen = [s for s in known if s.name in wanted]
    lacking = [s for s in chosen if s.stored not in table]
    if lacking:
        raise CubeError(
            f"olmoearth-h5: {option}: {lacking[0].name!r} is not in the data set",
            expected=f"a column {lacking[0].stored!r} in {TABLE}",
            found=", ".join(map(str, table.columns)),
        )
    return chosen


def _side(files: list[Path], table: pd.DataFrame, layers: list[Layers]) -> int:
    """Return the pixels along a sample, as the first that has any says."""
    there = table[[layer.stored for layer in layers]].to_numpy(bool)
    if not there.any():
        raise CubeError(f"{files[0].parent / TABLE}: no sample has a modality", expected="ones")
    row = int(there.any(1).argmax())
    shape, _ = read_h5(files[row], header, layers[int(there[row].argmax())].stored, holds=HOLDS)
    return max(1, *shape[:1])


def _modality(layer: Series, files: list[Path], plans: list[Plan], side: int) -> xr.Dataset:
    return lazy_modality(
        ReadSeries(layer, files, plans, side), padded([p.time for p in plans]),
        bands=layer.layers, pixels=side, dtype=layer.dtype, units=layer.units, gsd=GSD,
        sensor_name=layer.sensor,
    )  # fmt: skip


def _block(read: ReadMap, number: np.ndarray) -> np.ndarray:
    out = np.empty((len(number), *read.shape), read.map.dtype)
    for row, sample in enumerate(number.tolist()):
        out[row] = read(sample)
    return out


def _targets(maps: list[Map], files: list[Path], table: pd.DataFrame, side: int) -> xr.Dataset:
    number = da.arange(len(files), chunks=1, dtype=np.int64)
    targets = {}
    for layer in maps:
        read = ReadMap(layer, files, table[layer.stored].to_numpy(bool), side)
        data = da.map_blocks(
            partial(_block, read),
            number,
            name=f"map-{uuid4().hex}",
            dtype=layer.dtype,
            new_axis=list(range(1, len(read.shape) + 1)),
            chunks=(number.chunks[0], *((n,) for n in read.shape)),
            meta=np.empty((0,) * (len(read.shape) + 1), layer.dtype),
        )
        dims = ("sample", *([f"{layer.name}_layer"] if len(read.shape) > 2 else []), "y", "x")
        targets[layer.name] = (dims, data, layer.attrs | {"gsd": GSD})
    coords = {f"{m.name}_layer": np.array(m.layers, object) for m in maps if len(m.layers) > 1}
    return xr.Dataset(targets, coords=coords)


def _cells(latlon: np.ndarray, cell: float) -> tuple[list[str], np.ndarray]:
    """Return the names of cells of ``cell`` degrees, and the number of each sample's."""
    places, number = np.unique(np.floor(latlon / cell).astype(int), axis=0, return_inverse=True)
    return [f"{row}/{column}" for row, column in places], number.reshape(-1)
