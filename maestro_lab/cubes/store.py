"""Cubes on disk: one zarr v3 group, one node a modality, written whole or not at all."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import xarray as xr

from maestro_lab.cubes.contract import TARGETS, validate
from maestro_lab.errors import CubeError

__all__ = ["open_store", "save_cube"]


@contextmanager
def _quiet_zarr() -> Iterator[None]:
    """Silence zarr's notice that fixed-width strings have no entry in the v3 specification."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have a Zarr V3 specification.*")
        yield


def save_cube(cube: xr.DataTree, path: str | Path, *, chunk: int = 64) -> Path:
    """Save a cube as a zarr v3 group that :func:`xarray.open_datatree` opens.

    The group is written beside its final place and renamed at the end, so an interrupted call
    leaves no cube that looks complete. Chunks hold ``chunk`` whole samples.

    Parameters
    ----------
    cube
        The cube, validated first.
    path
        Folder to make; it must not exist. Its name should end in ``.zarr``.
    chunk
        Samples in a chunk.

    Raises
    ------
    CubeError
        If ``path`` exists, or the cube breaks the contract.

    Examples
    --------
    >>> import maestro_lab as ml, tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> path = ml.save_cube(ml.open_cube("landscape", samples=4), folder / "tiny.zarr")
    >>> ml.open_cube(path).sizes["sample"]
    4
    """
    path = Path(path)
    if path.exists():
        raise CubeError(
            f"{path} exists already", expected="a path that is free", do="choose another name"
        )
    validate(cube)
    unfinished = path.with_name(path.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _quiet_zarr():
            _unencoded(cube, chunk).to_zarr(unfinished, zarr_format=3, consolidated=False)
        unfinished.rename(path)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return path


def _unencoded(cube: xr.DataTree, chunk: int) -> xr.DataTree:
    """Forget how the source was encoded, and chunk by whole samples."""

    def clean(ds: xr.Dataset) -> xr.Dataset:
        ds = ds.drop_encoding()
        return ds.chunk({d: min(chunk, n) if d == "sample" else n for d, n in ds.sizes.items()})

    children = {
        name: xr.DataTree(clean(node.to_dataset(inherit=False)))
        for name, node in cube.children.items()
    }
    return xr.DataTree(cube.to_dataset(inherit=False).drop_encoding(), children=children)


def open_store(path: str | Path) -> xr.DataTree:
    """Open a cube saved by :func:`save_cube`, lazily, and check its structure.

    Raises
    ------
    CubeError
        If the path is missing, is no zarr group, or is no cube.
    """
    path = Path(path)
    if not path.exists():
        raise CubeError(f"{path} does not exist", expected="a folder written by save_cube")
    if not (path / "zarr.json").is_file():
        raise CubeError(
            f"{path} is not a cube", expected="a zarr v3 group (a folder with zarr.json)"
        )
    try:
        with _quiet_zarr():
            tree = xr.open_datatree(path, engine="zarr", chunks={}, consolidated=False)
    except (OSError, ValueError, KeyError) as error:
        raise CubeError(
            f"{path} cannot be read as a cube", found=str(error).splitlines()[0]
        ) from error
    return validate(_named(tree), values=0)


def _named(tree: xr.DataTree) -> xr.DataTree:
    """Bring names and splits back as plain Python strings, whatever the store made of them."""

    def plain(ds: xr.Dataset) -> xr.Dataset:
        texts = [n for n, v in ds.variables.items() if v.dtype.kind in "TU" and v.ndim == 1]
        for name in texts:
            ds = (
                ds.assign_coords({name: ds[name].astype(object)})
                if name in ds.coords
                else ds.assign({name: ds[name].astype(object).load()})
            )
        loaded = [n for n in ("time", "wavelength", "block") if n in ds.variables]
        for name in loaded:
            ds[name].load()
        return ds

    children = {
        name: xr.DataTree(plain(node.to_dataset(inherit=False)))
        for name, node in tree.children.items()
    }
    order = [n for n in children if n != TARGETS] + [n for n in children if n == TARGETS]
    root = plain(tree.to_dataset(inherit=False))
    return xr.DataTree(root, children={n: children[n] for n in order})
