"""Cubes on disk: a zarr v3 group or a netCDF file, one node a modality, whole or not at all."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import xarray as xr

from maestro_lab.cubes.contract import TARGETS, validate
from maestro_lab.cubes.statistics import with_statistics
from maestro_lab.errors import CubeError

__all__ = ["LAYOUT", "MANIFEST", "layout_of", "open_store", "plain", "quiet_zarr", "save_cube"]

NETCDF = ".nc"
MANIFEST = "manifest/zarr.json"
LAYOUT = "maestro_lab_layout"
"""Root attribute of a saved cube: its nodes and their variables in order, which zarr forgets."""


@contextmanager
def quiet_zarr() -> Iterator[None]:
    """Silence zarr's notice that fixed-width strings have no entry in the v3 specification."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have a Zarr V3 specification.*")
        yield


def save_cube(cube: xr.DataTree, path: str | Path, *, chunk: int = 64) -> Path:
    """Save a cube as a zarr v3 group or netCDF file that :func:`xarray.open_datatree` opens.

    It is written beside its final place and renamed at the end, so an interrupted call
    leaves no cube that looks complete. Chunks hold ``chunk`` whole samples.

    Parameters
    ----------
    cube
        The cube, validated first.
    path
        Folder to make, ending in ``.zarr``, or file, ending in ``.nc``; it must not exist.
    chunk
        Samples in a chunk.

    Raises
    ------
    CubeError
        If ``path`` exists or cannot be written, or the cube breaks the contract.

    Examples
    --------
    >>> import maestro_lab as ml, tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> path = ml.save_cube(ml.open_cube("landscape", samples=4), folder / "tiny.zarr")
    >>> ml.open_cube(path).sizes["sample"]
    4
    """
    path = Path(path).expanduser()
    if path.exists():
        raise CubeError(
            f"{path} exists already", expected="a path that is free", do="choose another name"
        )
    if chunk < 1:
        raise CubeError("chunk", expected="1 sample or more", found=chunk)
    cube = with_statistics(validate(cube))
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        _remove(unfinished)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(_unencoded(cube, chunk), unfinished, netcdf=path.suffix == NETCDF)
        unfinished.rename(path)
    except OSError as error:
        _remove(unfinished)
        raise CubeError(
            f"{path} cannot be written",
            expected="a folder that can be written, with room for the cube",
            found=error.strerror or str(error),
        ) from error
    except BaseException:
        _remove(unfinished)
        raise
    return path


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    if path.is_file():
        path.unlink()


def _write(cube: xr.DataTree, path: Path, *, netcdf: bool) -> None:
    if not netcdf:
        with quiet_zarr():
            cube.to_zarr(path, zarr_format=3, consolidated=False)
        return
    cube.to_netcdf(path, engine="h5netcdf")


def _unencoded(cube: xr.DataTree, chunk: int) -> xr.DataTree:
    """Forget how the source was encoded, and chunk by whole samples."""

    def clean(ds: xr.Dataset) -> xr.Dataset:
        ds = ds.drop_encoding()
        return ds.chunk({d: min(chunk, n) if d == "sample" else n for d, n in ds.sizes.items()})

    children = {
        name: xr.DataTree(clean(node.to_dataset(inherit=False)))
        for name, node in cube.children.items()
    }
    root = cube.to_dataset(inherit=False).drop_encoding()
    return xr.DataTree(root.assign_attrs({LAYOUT: layout_of(cube)}), children=children)


def layout_of(cube: xr.DataTree) -> str:
    """Return nodes and their variables in order, as JSON: attributes of netCDF are not nested."""
    nodes = {"/": cube, **cube.children}
    return json.dumps([[name, [str(v) for v in node.data_vars]] for name, node in nodes.items()])


def open_store(path: str | Path) -> xr.DataTree:
    """Open a cube that was saved or packed, lazily, and check its structure.

    Raises
    ------
    CubeError
        If the path is missing, is no zarr group or netCDF file, or is no cube.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise CubeError(
            f"{path} does not exist",
            expected="a folder or file written by save_cube",
            found=f"nothing there; the current folder is {Path.cwd()}",
            do="give its full path, or a name that maestro-lab cubes lists",
        )
    if (path / MANIFEST).is_file():
        from maestro_lab.cubes.packed.opening import open_packed

        return open_packed(path)
    netcdf = path.suffix == NETCDF and path.is_file()
    if not netcdf and not (path / "zarr.json").is_file():
        raise CubeError(
            f"{path} is not a cube",
            expected="a zarr v3 group (a folder with zarr.json) or a netCDF file (.nc)",
        )
    try:
        with quiet_zarr():
            options = (
                {"engine": "h5netcdf"} if netcdf else {"engine": "zarr", "consolidated": False}
            )
            cube = _ordered(xr.open_datatree(path, chunks={}, **options))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CubeError(
            f"{path} cannot be read as a cube", found=(str(error).splitlines() or [error])[0]
        ) from error
    try:
        return validate(cube, values=0)
    except CubeError as error:
        raise CubeError(
            f"{path} is not a cube: {error.what}", expected=error.expected, found=error.found
        ) from error


def _ordered(tree: xr.DataTree) -> xr.DataTree:
    """Bring nodes and variables back into the order they were saved in, names as plain strings."""
    names = [n for n in tree.children if n != TARGETS] + [n for n in tree.children if n == TARGETS]
    layout = dict(json.loads(tree.attrs.get(LAYOUT, "[]")))
    names = [n for n in layout if n in names] + [n for n in names if n not in layout]

    def node(name: str) -> xr.Dataset:
        ds = (tree if name == "/" else tree[name]).to_dataset(inherit=False)
        first = [v for v in layout.get(name, ()) if v in ds.data_vars]
        return plain(ds[first + [v for v in ds.data_vars if v not in first]])

    root = node("/").load()
    root.attrs.pop(LAYOUT, None)
    return xr.DataTree(root, children={name: xr.DataTree(node(name)) for name in names})


def plain(ds: xr.Dataset) -> xr.Dataset:
    """Load names and dates, and make names plain Python strings whatever the store holds."""
    small = [n for n, v in ds.variables.items() if v.ndim < 2 or n == "time"]
    loaded = {n: ds.variables[n].load() for n in small}
    texts = {n: v.astype(object) for n, v in loaded.items() if v.dtype.kind in "TU"}
    return ds.assign_coords({n: v for n, v in texts.items() if n in ds.coords}).assign(
        {n: v for n, v in texts.items() if n in ds.data_vars}
    )
