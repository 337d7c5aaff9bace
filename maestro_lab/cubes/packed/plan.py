"""What a packed store will hold: decided before the first pixel is written."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from maestro_lab.cubes.contract import TARGETS, modality_names
from maestro_lab.cubes.store import LAYOUT, layout_of, quiet_zarr
from maestro_lab.errors import CubeError

__all__ = ["FORMAT", "PLAN", "Images", "Plan", "plan_of", "write_frame"]

FORMAT = 1
PLAN = "maestro_lab_plan"
"""Root attribute of a packed store: the digest of its plan, by which it is known again."""
_LARGEST = 2**27  # bytes in a chunk file
_LOOKED_AT = 8  # samples whose pixels are part of the fingerprint


@dataclass(frozen=True)
class Images:
    """How the images of one modality, or the rows of one target, are cut into files.

    Parameters
    ----------
    path
        Folder of the modality or target in the store.
    rows
        Images, or samples of a target.
    shape, dtype
        Of one row.
    chunk
        Rows in a file.
    """

    path: str
    rows: int
    shape: tuple[int, ...]
    dtype: str
    chunk: int

    @property
    def files(self) -> int:
        """Number of chunk files."""
        return -(-self.rows // self.chunk)

    def span(self, number: int) -> tuple[int, int]:
        """Return the first row of a file, and the one after its last."""
        return number * self.chunk, min(self.rows, (number + 1) * self.chunk)


@dataclass(frozen=True)
class Plan:
    """What a store will hold, and what it was made from.

    Parameters
    ----------
    modalities, targets
        Name to how it is cut.
    offset
        Modality to the first image of each sample, and behind the last.
    fingerprint
        Hash of the cube: names, dates, attributes, the pixels of a few samples.
    """

    modalities: dict[str, Images]
    targets: dict[str, Images]
    offset: dict[str, np.ndarray]
    fingerprint: str

    @property
    def digest(self) -> str:
        """Return a hash of the plan; equal plans make equal stores."""
        plain = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "arrays": [asdict(a) for a in (*self.modalities.values(), *self.targets.values())],
        }
        return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


def plan_of(cube: xr.DataTree, samples: int) -> Plan:
    """Decide how a cube is packed, ``samples`` of them in a file or fewer.

    Raises
    ------
    CubeError
        If a target is no numbers.
    """
    modalities, offset = {}, {}
    for name in modality_names(cube):
        ds = cube[name]
        count = (~np.isnat(ds["time"].values)).sum(1)
        offset[name] = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
        together = max(1, round(samples * max(1.0, float(count.mean()))))
        shape = ds["values"].shape[2:]
        modalities[name] = _images(name, int(count.sum()), shape, ds["values"].dtype, together)
    found = cube[TARGETS].data_vars if TARGETS in cube.children else {}
    for name, t in found.items():
        if t.dtype.kind not in "biuf":
            raise CubeError(f"{TARGETS}/{name} cannot be packed", expected="numbers", found=t.dtype)
    targets = {
        str(name): _images(f"{TARGETS}/{name}", t.shape[0], t.shape[1:], t.dtype, samples)
        for name, t in found.items()
    }
    return Plan(modalities, targets, offset, _fingerprint(cube))


def _images(path: str, rows: int, shape: tuple, dtype: np.dtype, together: int) -> Images:
    size = max(1, int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
    chunk = max(1, min(together, _LARGEST // size, rows))
    return Images(path, rows, tuple(int(n) for n in shape), np.dtype(dtype).name, int(chunk))


def _fingerprint(cube: xr.DataTree) -> str:
    digest = hashlib.sha256()
    count = cube.sizes["sample"]
    few = np.unique(np.linspace(0, count - 1, min(count, _LOOKED_AT)).round().astype(int))
    for path, node in cube.subtree_with_keys:
        digest.update(f"{path} {sorted(map(str, node.attrs.items()))}".encode())
        for name, variable in sorted(node.to_dataset(inherit=False).variables.items()):
            lazy = variable.chunks and "sample" in variable.dims
            data = variable.isel(sample=few) if lazy else variable
            data = np.asarray(data.values)
            digest.update(f"{name} {variable.dims} {variable.shape} {variable.dtype}".encode())
            text = data.dtype.kind in "OUT"
            digest.update("\n".join(map(str, data.ravel())).encode() if text else data.tobytes())
    return digest.hexdigest()


def write_frame(cube: xr.DataTree, plan: Plan, path: Path) -> None:
    """Write all of a store but its pixels: names, dates, offsets, and empty arrays for the rest."""
    root = cube.to_dataset(inherit=False).drop_encoding().load()
    root.attrs |= {LAYOUT: layout_of(cube), "maestro_lab_packed": FORMAT, PLAN: plan.digest}
    with quiet_zarr():
        root.to_zarr(path, mode="w-", zarr_format=3, consolidated=False)
        for name, images in plan.modalities.items():
            _write(_frame(cube[name].to_dataset(inherit=False), images, plan.offset[name]),
                   path, name)  # fmt: skip
        if plan.targets:
            targets = cube[TARGETS].to_dataset(inherit=False).drop_encoding()
            targets = targets.assign_coords(
                {c: v.variable.load() for c, v in targets.coords.items()}
            )
            for name, rows in plan.targets.items():
                empty = _empty((rows.rows, *rows.shape), rows.dtype, rows.chunk)
                targets[name] = (targets[name].dims, empty, targets[name].attrs)
            _write(targets, path, TARGETS)


def _write(ds: xr.Dataset, path: Path, group: str) -> None:
    large = [name for name, v in ds.variables.items() if v.chunks is not None]
    ds.to_zarr(
        path, group=group, mode="a", zarr_format=3, consolidated=False, compute=False,
        encoding={
            name: {"compressors": None, "chunks": tuple(c[0] for c in ds[name].chunks)}
            for name in large
        },
    )  # fmt: skip


def _frame(ds: xr.Dataset, images: Images, offset: np.ndarray) -> xr.Dataset:
    _, y, x = images.shape
    time = ds["time"].values
    coords: dict[str, Any] = {
        str(name): (ds[name].dims, ds[name].values, ds[name].attrs)
        for name in ds.coords
        if "sample" not in ds[name].dims
    }
    return xr.Dataset(
        {
            "values": (
                ("image", "band", "y", "x"),
                _empty((images.rows, *images.shape), images.dtype, images.chunk),
            ),
            "valid": (
                ("image", "byte"),
                _empty((images.rows, -(-y * x // 8)), "uint8", images.chunk),
                {"meaning": "a bit a pixel, row by row, most significant first; 1 is valid"},
            ),
            "share": ("image", _empty((images.rows,), "float32", images.chunk)),
            "offset": ("edge", offset),
        },
        coords={**coords, "time": ("image", time[~np.isnat(time)])},
        attrs=ds.attrs,
    )


def _empty(shape: tuple[int, ...], dtype: str, chunk: int) -> da.Array:
    return da.zeros(shape, dtype=dtype, chunks=(max(1, chunk), *shape[1:]))
