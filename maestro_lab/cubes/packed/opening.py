"""A packed store as a cube again."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import dask.array as da
import numpy as np
import xarray as xr

from maestro_lab.cubes.contract import TARGETS, validate
from maestro_lab.cubes.dates import padded
from maestro_lab.cubes.packed.arrays import PackedArray, PackedSeries
from maestro_lab.cubes.packed.plan import PLAN
from maestro_lab.cubes.reading import attach, lazy_modality
from maestro_lab.cubes.store import LAYOUT, plain, quiet_zarr
from maestro_lab.errors import CubeError

__all__ = ["open_packed"]

_CHUNK = 2**26  # bytes in a chunk of the lazy arrays


def open_packed(path: Path) -> xr.DataTree:
    """Open a packed store as a cube; pixels are read when they are used.

    Raises
    ------
    CubeError
        If it is damaged; ``maestro-lab check`` tells where.
    """
    path = Path(path).absolute()  # it is read later, when the current folder may be another one
    try:
        with quiet_zarr():
            tree = xr.open_datatree(path, engine="zarr", consolidated=False, chunks={})
        root = plain(tree.to_dataset(inherit=False)).load()
        layout = dict(json.loads(root.attrs.pop(LAYOUT)))
        root.attrs.pop("maestro_lab_packed")
        root.attrs.pop(PLAN)
        children = {
            name: _targets(tree[name], path, names)
            if name == TARGETS
            else _modality(tree[name], path)
            for name, names in layout.items()
            if name != "/"
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CubeError(
            f"{path} cannot be read as a packed store",
            found=(str(error).splitlines() or [error])[0],
            do=f"maestro-lab check {path} says what is damaged",
        ) from error
    root = root[[v for v in layout["/"] if v in root]]
    cube = xr.DataTree(root, children={n: xr.DataTree(ds) for n, ds in children.items()})
    return validate(cube, values=0)


def _modality(node: xr.DataTree, path: Path) -> xr.Dataset:
    ds = plain(node.to_dataset(inherit=False))
    offset = ds["offset"].values
    time = ds["time"].values
    folder = path / node.name
    read = PackedSeries(
        PackedArray.open(folder / "values"),
        PackedArray.open(folder / "valid"),
        ds["share"].values,
        offset,
    )
    padded_time = padded([time[a:b] for a, b in pairwise(offset.tolist())])
    _, bands, *pixels = read.values.shape
    size = padded_time.shape[1] * bands * pixels[0] * pixels[1] * read.values.dtype.itemsize
    found = lazy_modality(
        read,
        padded_time,
        bands=[str(b) for b in ds["band"].values],
        pixels=tuple(pixels),
        dtype=read.values.dtype,
        units=ds.attrs["units"],
        gsd=ds.attrs["gsd"],
        chunk=int(np.clip(_CHUNK // max(1, size), 1, 512)),
    )
    others = {name: ds[name] for name in ds.coords if "image" not in ds[name].dims}
    return found.assign_coords(others).assign_attrs(ds.attrs)


def _targets(node: xr.DataTree, path: Path, names: list[str]) -> xr.Dataset:
    ds = plain(node.to_dataset(inherit=False))[names]
    for name, target in ds.data_vars.items():
        array = PackedArray.open(path / TARGETS / str(name))
        lazy = _lazy(array)
        ds[name] = (target.dims, lazy, target.attrs)
        attach(ds.variables[name], lazy.name, array)
    return ds


def _lazy(array: PackedArray) -> da.Array:
    size = max(1, int(np.prod(array.shape[1:], dtype=np.int64)) * array.dtype.itemsize)
    number = da.arange(array.shape[0], chunks=int(np.clip(_CHUNK // size, 1, array.shape[0])))
    return da.map_blocks(
        array.take,
        number,
        name=f"packed-{uuid4().hex}",
        dtype=array.dtype,
        new_axis=list(range(1, len(array.shape))) or None,
        chunks=(number.chunks[0], *((n,) for n in array.shape[1:])),
        meta=np.empty((0,) * len(array.shape), array.dtype),
    )
