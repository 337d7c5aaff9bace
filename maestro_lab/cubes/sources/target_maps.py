"""Maps as people have them -> targets on a grid."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from maestro_lab.cubes.scenes.targets import TargetMap
from maestro_lab.cubes.sources.axes import canonical, grid_of, with_system
from maestro_lab.cubes.sources.files import read_raster
from maestro_lab.cubes.sources.geotiff import image_of
from maestro_lab.errors import CubeError

__all__ = ["maps_of"]


def maps_of(
    targets: Mapping[str, Any],
    data: Mapping[str, xr.Dataset | xr.DataArray],
    *,
    gsd: Any = None,
    crs: Any = None,
) -> dict[str, TargetMap]:
    """Recognise maps as targets.

    Parameters
    ----------
    targets
        As in :func:`~maestro_lab.cubes.sources.arrays.cube_from_dataset`.
    data
        Where variables are looked up by name.
    gsd, crs
        For maps that do not say them.

    Raises
    ------
    CubeError
        Names the target and what it lacks.
    """
    found = {}
    for name, value in targets.items():
        said = dict(value) if isinstance(value, Mapping) else {"map": value}
        array = _map(name, said.pop("map", None), data)
        where = f"targets/{name}"
        image = canonical(where, array)
        image = image.squeeze([d for d in ("time", "band") if image.sizes.get(d) == 1], drop=True)
        if image.ndim != 2:
            raise CubeError(
                where, expected="a map (y, x)", found=dict(image.sizes), do="choose one date"
            )
        grid = grid_of(where, image, gsd=gsd if isinstance(gsd, int | float) else None, crs=crs)
        attrs = {**image.attrs, **said}
        found[name] = TargetMap(name, grid, *_labels(where, image.values, attrs))
    return found


def _map(name: str, value: Any, data: Mapping[str, xr.Dataset | xr.DataArray]) -> xr.DataArray:
    if isinstance(value, xr.DataArray):
        return value
    for each in data.values() if isinstance(value, str) else ():
        if isinstance(each, xr.Dataset) and value in each.data_vars:
            return with_system(each)[value]
    if isinstance(value, str | Path) and Path(value).expanduser().is_file():
        return _read(Path(value).expanduser())
    raise CubeError(
        f"targets/{name}: map",
        expected="a DataArray, the name of a variable, or the path of an image file",
        found=repr(value) if isinstance(value, str | Path | None) else type(value).__name__,
    )


def _read(path: Path) -> xr.DataArray:
    """Read a map from an image file of one band."""
    import rioxarray  # noqa: F401  registers the .rio accessor

    image = image_of(path)
    grid, steps = image.grid, [image.grid.gsd * (np.arange(n) + 0.5) for n in image.grid.shape]
    found = xr.DataArray(
        read_raster(path, count=1)[0],
        dims=("y", "x"),
        coords={"y": grid.north - steps[0], "x": grid.west + steps[1]},
        attrs={} if image.nodata is None else {"nodata": image.nodata},
    )
    return found.rio.write_crs(grid.crs) if grid.crs else found


def _labels(where: str, values: np.ndarray, attrs: dict[str, Any]) -> tuple[np.ndarray, dict]:
    """Return labels that count from 0 on, with one that says there is none, and their names."""
    fill = next((attrs[k] for k in ("_FillValue", "nodata") if attrs.get(k) is not None), None)
    labelled = attrs.get("task") in ("segmentation", "classification")
    if not labelled:
        if fill is not None and values.dtype.kind == "f":
            values = np.where(values == fill, np.nan, values).astype(values.dtype)
        return values, attrs
    if attrs.get("missing") is None and fill is not None and not np.isnan(fill):
        attrs["missing"] = int(fill)
    classes = attrs.get("classes")
    if isinstance(classes, Mapping):
        missing = int(attrs.get("missing") if attrs.get("missing") is not None else 255)
        out = np.full(values.shape, missing, np.int16)
        for number, label in enumerate(classes):
            out[values == label] = number
        return out, attrs | {"classes": list(classes.values()), "missing": missing}
    if values.dtype.kind == "f":
        there = np.isfinite(values)
        if not there.all() and attrs.get("missing") is None:
            raise CubeError(
                f"{where}: pixels without a label",
                expected="the label that stands for them",
                found="NaN",
                do="say it in the map's attributes: map.assign_attrs(missing=255)",
            )
        whole = np.where(there, values, attrs.get("missing", 0))
        values = whole.astype(np.int16) if (whole == np.rint(whole)).all() else values
    return values, attrs
