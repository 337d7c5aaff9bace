"""One sample of a cube: every modality on the same ground, and its course at one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure  # noqa: F401  what a decorated function returns

from maestro_lab.cubes.contract import TARGETS, modality_names
from maestro_lab.errors import ParameterError
from maestro_lab.figures.cube_panels import paint_cube, pixel_at
from maestro_lab.figures.drawn import painted_by
from maestro_lab.figures.looks import look_images, looks
from maestro_lab.figures.style import as_rgb, stretch

__all__ = ["CubeView", "cube_view", "ground_target", "prepare_cube"]


@dataclass(frozen=True)
class CubeView:
    """What of a cube is looked at.

    Parameters
    ----------
    sample
        Its number.
    modality, date
        Shown large, and when: a date as ISO text; empty is the first.
    bands
        Name of a look of :func:`~maestro_lab.figures.looks.looks`; empty is the first.
    clip
        Share of the pixels that is left darker than black and brighter than white.
    over
        Brightness is stretched over all dates of the "sample", or over this "date".
    target
        Laid over the large image, if it has pixels; empty is none.
    opacity
        Of the target, 0 to 1.
    pixel
        Metres east of the western and south of the northern edge; None is the whole window.
    """

    sample: int = 0
    modality: str = ""
    date: str = ""
    bands: str = ""
    clip: float = 0.02
    over: str = "date"
    target: str = ""
    opacity: float = 0.5
    pixel: tuple[float, float] | None = None


@painted_by(paint_cube)
def cube_view(cube: xr.DataTree, view: CubeView | None = None) -> xr.Dataset:
    """Draw one sample: its modalities on the same ground, and the course of their bands.

    Parameters
    ----------
    cube
        The cube.
    view
        What to show; default the first date of the first modality of the first sample.

    Raises
    ------
    ParameterError
        If the cube has no such sample, modality, look or target.
    """
    return prepare_cube(cube, view or CubeView())


def ground_target(cube: xr.DataTree, name: str) -> bool:
    """Tell whether a target has pixels."""
    return cube[TARGETS][name].dims[-2:] == ("y", "x")


def prepare_cube(cube: xr.DataTree, view: CubeView) -> xr.Dataset:
    """Return what is drawn, of each modality: pixels in colour, courses, and what is not valid."""
    names = modality_names(cube)
    main = view.modality or names[0]
    if main not in names:
        raise ParameterError(f"no modality {main!r}", expected=", ".join(names))
    if not 0 <= view.sample < cube.sizes["sample"]:
        last = cube.sizes["sample"] - 1
        raise ParameterError(f"no sample {view.sample}", expected=f"0 to {last}")
    order = [main, *(n for n in names if n != main)]
    parts = {n: cube[n].to_dataset().isel(sample=view.sample).load() for n in order}
    when = _chosen(parts[main], view.date)
    data: dict[str, Any] = {}
    attrs: dict[str, Any] = {
        "modalities": order,
        "sample": str(cube["sample"].values[view.sample]),
        "day": "" if when is None else str(when),
        "opacity": float(view.opacity),
        "images": {},
        "courses": {},
    }
    for name, ds in parts.items():
        data |= _part(name, ds, view, when, attrs)
    if view.pixel is not None:
        attrs["pixel"] = [float(v) for v in view.pixel]
    if view.target:
        data |= _target(cube, view, attrs)
    return xr.Dataset(data, attrs=attrs)


def _chosen(ds: xr.Dataset, date: str) -> np.datetime64 | None:
    """Return the date of a modality nearest to one that is wished for; None without any."""
    days = ds["time"].values
    days = days[~np.isnat(days)]
    if not len(days):
        return None
    if not date:
        return days[0]
    return days[np.abs(days - np.datetime64(date)).argmin()]


def _part(
    name: str, ds: xr.Dataset, view: CubeView, when: np.datetime64 | None, attrs: dict[str, Any]
) -> dict[str, Any]:
    """Return the variables of one modality, and tell about it in the attributes."""
    there = np.flatnonzero(~np.isnat(ds["time"].values))
    known = looks(ds["band"].values)
    main = name == attrs["modalities"][0]
    look = known.get(view.bands) if main and view.bands else next(iter(known.values()))
    if look is None:
        raise ParameterError(f"look at {name}", expected=", ".join(known), found=view.bands)
    gsd = float(ds.attrs["gsd"])
    about = {"words": look.words, "units": str(ds.attrs["units"]), "gsd": gsd}
    attrs["images"][name] = about
    y, x = ds.sizes["y"], ds.sizes["x"]
    if not len(there):
        return {f"image_{name}": ((f"y_{name}", f"x_{name}", "rgb"), np.ones((y, x, 3)))}
    ds = ds.isel(time=there)
    days, valid = ds["time"].values, ds["valid"].values
    at = 0 if when is None else int(np.abs(days - when).argmin())
    one = view.over == "date" or len(there) == 1
    images = look_images(ds.isel(time=[at]) if one else ds, look)
    seen = valid[[at]] if one else valid
    bounds = stretch(images, seen if seen.any() else None, view.clip, 1 - view.clip)
    shown = as_rgb(images[0 if one else at], bounds)
    about |= {"day": str(days[at]), "clear": float(valid[at].mean())}
    found = {
        f"image_{name}": ((f"y_{name}", f"x_{name}", "rgb"), shown.astype(np.float32)),
        f"bad_{name}": ((f"y_{name}", f"x_{name}"), ~valid[at]),
    }
    course, clear = _course(ds, view.pixel, gsd)
    if len(there) > 1:
        bands = [str(b) for b in ds["band"].values]
        attrs["courses"][name] = {
            "bands": bands,
            "shown": [b for b in look.bands if b in bands],
            "days": [str(day) for day in days.astype("datetime64[s]")],
        }
        found[f"course_{name}"] = ((f"time_{name}", f"band_{name}"), course.astype(np.float32))
        found[f"clear_{name}"] = ((f"time_{name}",), clear)
    return found


def _course(
    ds: xr.Dataset, pixel: tuple[float, float] | None, gsd: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return values (time, band) at a pixel, or the mean of valid ones, and the share valid."""
    values, valid = ds["values"], ds["valid"].values
    if pixel is not None:
        row, column = pixel_at(pixel, gsd, ds.sizes["y"], ds.sizes["x"])
        course = values.isel(y=row, x=column).values.astype(float)
        clear = valid[:, row, column].astype(float)
    else:
        table = np.where(valid[:, None], values.values, 0).sum((2, 3), dtype=float)
        count = valid.sum((1, 2))[:, None]
        course, clear = table / np.maximum(count, 1), valid.mean((1, 2))
    course[clear == 0] = np.nan
    if ds.attrs["units"] == "linear power":
        course = 10 * np.log10(np.maximum(course, 1e-6))
    return course, clear


def _target(cube: xr.DataTree, view: CubeView, attrs: dict[str, Any]) -> dict[str, Any]:
    """Return the variables of the target, and tell about it in the attributes."""
    if TARGETS not in cube.children or view.target not in cube[TARGETS].data_vars:
        there = list(cube[TARGETS].data_vars) if TARGETS in cube.children else []
        raise ParameterError(
            f"no target {view.target!r}", expected=", ".join(there) or "a cube with targets"
        )
    about: dict[str, Any] = {"name": view.target}
    attrs["target"] = about
    if not ground_target(cube, view.target):
        return {}
    variable = cube[TARGETS][view.target].isel(sample=view.sample)
    values = np.asarray(variable.values, float)
    missing = variable.attrs.get("missing")
    if missing is not None:
        values = np.where(values == missing, np.nan, values)
    about["units"] = str(variable.attrs.get("units", ""))
    if variable.attrs.get("task") in ("segmentation", "classification"):
        about["classes"] = [str(c) for c in variable.attrs.get("classes", ())] or [""]
    else:
        everywhere = np.asarray(cube[TARGETS][view.target].values, float)
        about["range"] = [float(v) for v in np.nanquantile(everywhere, [0.01, 0.99])]
    return {"target": (("y_target", "x_target"), values.astype(np.float32))}
