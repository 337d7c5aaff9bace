"""Which function reads what lies at a path: a cube, a folder of images, or plain arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from maestro_lab.cubes.store import open_store
from maestro_lab.errors import CubeError

__all__ = ["reader_of_path"]

_STORES = ("zarr.json", ".zgroup", ".zmetadata", "manifest")


def reader_of_path(
    path: str | Path, options: Mapping[str, Any]
) -> tuple[Callable[..., xr.DataTree], str]:
    """Return the function that reads a path, and which of its options the path is.

    Parameters
    ----------
    path
        Saved or packed cube, folder of GeoTIFFs, plain netCDF or zarr.
    options
        What the user says beside it; who names a sensor or a window means plain data.

    Examples
    --------
    >>> reader_of_path("mine.nc", {"sensor": "sentinel-2", "window": 160})[1]
    'data'
    """
    path = Path(path).expanduser()
    if _has_images(path):
        from maestro_lab.cubes.sources.scenes import open_scenes

        return open_scenes, "root"
    if {"sensor", "window"} & set(options):
        from maestro_lab.cubes.sources.arrays import cube_from_dataset

        return cube_from_dataset, "data"
    return _open_cube, "path"


def _has_images(folder: Path) -> bool:
    from maestro_lab.cubes.sources.geotiff import images_in

    if not folder.is_dir() or any((folder / name).exists() for name in _STORES):
        return False
    return any(images_in(f) for f in (folder, *(f for f in folder.iterdir() if f.is_dir())))


def _open_cube(path: str | Path) -> xr.DataTree:
    """Open a cube; an error tells how plain data is opened."""
    try:
        return open_store(path)
    except CubeError as error:
        if error.do or not Path(path).expanduser().exists():
            raise
        raise CubeError(
            error.what,
            expected=error.expected,
            found=error.found,
            do=f"if it holds plain images, say of what: open_cube({str(path)!r}, "
            "sensor='sentinel-2', units='DN', window=160), with the metres along a sample",
        ) from error
