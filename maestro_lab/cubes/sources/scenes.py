"""``scenes``: a folder of GeoTIFFs over one place, as a cube.

The folder holds the files, or one folder a modality. Either a file holds one date with all bands
(named by their descriptions or by the option ``bands``), or one date and band, whose name is part
of the file's name (``..._B04_10m.tif``). What is done with them:

* Dates are the first in the file name (YYYYMMDD, YYYY-MM-DD, YYYYDDD, product names of Sentinel
  and Landsat), else that of the tags.
* Bands of another resolution make a modality of their own (``s2_10m``, ``s2_20m``); nothing is
  resampled but the mask, whose classes are repeated (or asked for all of its pixels).
* All files of a modality lie on one grid; nothing is merged or warped.
* Images less than ten minutes apart are one acquisition, and not left twice in the series, where
  one would give the other away: the last by name counts (the newer processing), and the others
  fill the pixels that it misses. ``duplicates="keep"`` keeps all.
* A modality of one single date belongs to every year.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from maestro_lab.cubes.scenes.ground import Scene
from maestro_lab.cubes.scenes.samples import Sampling, sample_scenes
from maestro_lab.cubes.sensors import sensor as known_sensor
from maestro_lab.cubes.sources.axes import dates_from
from maestro_lab.cubes.sources.files import there
from maestro_lab.cubes.sources.geotiff import Image, image_of, images_in, same_grid
from maestro_lab.cubes.sources.options import per_modality
from maestro_lab.cubes.sources.scene_files import Layer, Row, layers_of_files, rows_of
from maestro_lab.cubes.sources.scene_reading import ReadFiles
from maestro_lab.cubes.sources.target_maps import maps_of
from maestro_lab.errors import CubeError

__all__ = ["open_scenes"]


def open_scenes(
    root: str | Path,
    sensor: str | Mapping[str, str],
    window: float,
    units: str | Mapping[str, str],
    bands: Mapping[str, Any] | Sequence[str] | None = None,
    clouds: tuple[str, Sequence[int]] | Mapping[str, Any] | None = None,
    nodata: float | Mapping[str, float] | None = None,
    offset: float | str | Mapping[str, Any] | None = None,
    date: Any = None,
    targets: Mapping[str, Any] | None = None,
    years: Sequence[int] | None = None,
    period: str = "year",
    region: int | None = None,
    block: int | None = None,
    test: float = 0.2,
    val: float = 0.0,
    buffer: int = 1,
    split_seed: int = 0,
    duplicates: str = "drop",
    title: str = "",
    licence: str = "",
) -> xr.DataTree:
    """Open a folder of GeoTIFFs; pixels are read when they are used.

    Parameters
    ----------
    root
        Folder with the files of one sensor, or with one folder a modality.
    sensor
        One of :data:`~maestro_lab.cubes.sensors.SENSORS`, or ``{folder: sensor}``.
    window
        Side of a sample in metres: a whole number of pixels of each grid.
    units
        DN, reflectance, linear power, dB or m; or ``{folder: units}``.
    bands
        Names of the bands in the order of the files, where they hold several without
        descriptions; or ``{word in the file's name, or description: band}``.
    clouds
        Name of a layer of classes and those that are clear, such as ``("SCL", [4, 5, 7])``: files
        with that word in their name, or a band with that description.
    nodata
        Number that stands for missing pixels; default from the files.
    offset
        Added to valid pixels; "baseline" adds -1000 to Sentinel-2 products whose names tell a
        processing baseline of 04.00 or later.
    date
        Date of files that do not say it; or ``{folder: date}``.
    targets, years, period, region, block, test, val, buffer, split_seed
        As in :func:`~maestro_lab.cubes.sources.arrays.cube_from_dataset`; paths of maps may start
        in ``root``.
    duplicates
        "drop" makes one image of those less than ten minutes apart, "keep" keeps all.
    title, licence
        Kept in the root's attributes.

    Raises
    ------
    CubeError
        Names the file, what was expected and found, and what to do.
    """
    sampling = Sampling(
        window=window, years=years, period=period, region=region, block=block, test=test, val=val,
        buffer=buffer, split_seed=split_seed, duplicates=duplicates, title=title, licence=licence,
    )  # fmt: skip
    root = there(Path(root).expanduser(), "a folder of GeoTIFFs", "give its full path")
    targets = {name: _placed(root, each) for name, each in (targets or {}).items()}
    folders = _folders(root, sensor, _paths(targets))
    said = {
        "sensor": sensor, "units": units, "bands": bands, "clouds": clouds, "nodata": nodata,
        "offset": offset, "date": date,
    }  # fmt: skip
    options = per_modality(said, list(folders))
    scenes = [s for name, files in folders.items() for s in _scenes(name, files, **options[name])]
    return sample_scenes(scenes, sampling, source=str(root), targets=maps_of(targets, {}))


def _placed(root: Path, target: Any) -> Any:
    """Look the file of a map up in the folder, too."""
    said = dict(target) if isinstance(target, Mapping) else {"map": target}
    path = said.get("map")
    if isinstance(path, str | Path) and (root / path).is_file():
        said["map"] = root / path
    return said


def _paths(targets: Mapping[str, Mapping[str, Any]]) -> set[Path]:
    maps = [each.get("map") for each in targets.values()]
    return {Path(m).expanduser().resolve() for m in maps if isinstance(m, str | Path)}


def _folders(root: Path, sensor: Any, maps: set[Path]) -> dict[str, list[Path]]:
    """Return the image files of each modality."""
    if not root.is_dir():
        raise CubeError(f"{root} is no folder", expected="a folder of GeoTIFFs")

    def files(folder: Path) -> list[Path]:
        return [path for path in images_in(folder) if path.resolve() not in maps]

    inner = {f.name: files(f) for f in sorted(root.iterdir()) if f.is_dir()}
    inner = {name: found for name, found in inner.items() if found}
    if isinstance(sensor, Mapping):
        for name in sensor:
            if name not in inner:
                raise CubeError(
                    f"{root / str(name)}: no GeoTIFFs",
                    expected=f"a folder for each of {', '.join(map(str, sensor))}",
                    found=", ".join(inner) or "no folder with files in .tif or .tiff",
                )
        return {name: inner[name] for name in sensor}
    here = files(root)
    if here:
        return {known_sensor(sensor).modality: here}
    known_sensor(sensor)
    if not inner:
        raise CubeError(
            f"{root}: no GeoTIFFs",
            expected="files in .tif or .tiff, or folders with such files",
            found=", ".join(sorted(p.name for p in root.iterdir())[:8]) or "an empty folder",
        )
    return inner


def _scenes(
    name: str,
    files: Sequence[Path],
    *,
    sensor: str,
    units: str | None,
    bands: Any,
    clouds: Any,
    nodata: float | None,
    offset: Any,
    date: Any,
) -> list[Scene]:
    """Return a scene for each resolution that the files of a modality have."""
    images = [_dated(name, image_of(path), date) for path in files]
    if units is None:
        raise CubeError(f"{name}: units", expected="units", found="nothing", do="say them: units=")
    scaled = next((image for image in images if image.scaled and units != "DN"), None)
    if scaled is not None:
        raise CubeError(
            f"{scaled.path}: stored numbers that still have to be scaled",
            expected=f"values in {units}",
            found="a scale or an offset beside them",
            do="declare units='DN', or store the scaled values",
        )
    layers, masks = layers_of_files(name, images, sensor, bands, clouds)
    sides = sorted({layer.image.grid.gsd for layer in layers})
    scenes = []
    for side in sides:
        mine = [layer for layer in layers if layer.image.grid.gsd == side]
        title = name if len(sides) == 1 else f"{name}_{side:g}m"
        scenes.append(_scene(title, mine, masks, sensor, units, clouds, nodata, offset))
    return scenes


def _dated(name: str, image: Image, date: Any) -> Image:
    """Give an image the date that the user says, where it has none."""
    if not np.isnat(image.date) or date is None:
        return image
    return replace(image, date=dates_from(name, date)[0].astype("datetime64[s]"))


def _scene(
    name: str,
    layers: Sequence[Layer],
    masks: Sequence[Layer],
    sensor: str,
    units: str,
    clouds: Any,
    nodata: float | None,
    offset: Any,
) -> Scene:
    first = layers[0].image
    for layer in layers:
        same_grid(first, layer.image)
    rows, bands = rows_of(name, layers, masks, known_sensor(sensor))
    undated = [row.layers[0].image for row in rows if np.isnat(row.date)]
    elevation = sensor == "elevation"
    if undated and not (elevation and len(rows) == 1):
        raise CubeError(
            f"{undated[0].path}: no date",
            expected="YYYYMMDD, YYYY-MM-DD or YYYYDDD in its name, or a tag such as date",
            found="neither",
            do="rename the file, or say the date: date='2020-07-01'",
        )
    fills = tuple(_fill(row, nodata) for row in rows)
    dtype = np.result_type(*(layer.image.dtype for layer in layers))
    read = ReadFiles(
        rows=tuple(rows),
        grid=first.grid,
        dtype=np.dtype(np.float32) if dtype == np.float64 else dtype,
        nodata=fills,
        classes=tuple(int(c) for c in clouds[1]) if clouds else (),
        offset=_offsets(rows, offset),
        counts=units == "DN",
    )
    time = np.array([row.date for row in rows if not np.isnat(row.date)], "datetime64[ns]")
    return Scene(
        name, first.grid, tuple(bands), units, sensor, read.dtype, time, read,
        next((f for f in fills[0] if f is not None), None), len(rows) == 1, True,
    )  # fmt: skip


def _fill(row: Row, nodata: float | None) -> tuple[float | None, ...]:
    """Return the fill value of each band of a row."""
    found = [layer.image.nodata if nodata is None else float(nodata) for layer in row.layers]
    return tuple(None if f is None or np.isnan(f) else f for f in found)


def _offsets(rows: Sequence[Row], offset: Any) -> np.ndarray | None:
    """Return what is added to each row."""
    if offset is None:
        return None
    if offset != "baseline":
        if not isinstance(offset, int | float):
            raise CubeError("offset", expected="a number or 'baseline'", found=repr(offset))
        return np.full(len(rows), float(offset))
    found = []
    for row in rows:
        path = row.layers[0].image.path
        told = re.search(r"_N(\d{4})_", path.name)
        if told is None:
            raise CubeError(
                f"{path}: processing baseline",
                expected="a product name with a field such as N0400",
                found=path.name,
                do="say the number to add: offset=-1000, or 0",
            )
        found.append(-1000.0 if int(told[1]) >= 400 else 0.0)
    return np.array(found)
