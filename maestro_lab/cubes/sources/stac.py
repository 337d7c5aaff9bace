"""A search in a SpatioTemporal Asset Catalog, or its items, as a cube (extra ``stac``).

What is done with the items:

* Bands keep their resolution: those of 10 and of 20 m become two modalities, unless ``resolution``
  asks for one grid.
* Items less than ten minutes apart are one pass: their tiles are put side by side. Of one tile
  processed twice the newest baseline is taken, else a masked date would stay visible in its twin.
* Sentinel-2 products of processing baseline 04.00 and later are stored with 1000 added, unless
  their catalogue says that it took it off (``earthsearch:boa_offset_applied``): it is taken off.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from maestro_lab.cubes.sensors import Sensor
from maestro_lab.cubes.sensors import sensor as known_sensor
from maestro_lab.cubes.sources.arrays import cube_from_dataset
from maestro_lab.cubes.sources.stac_items import (
    anchor_of,
    assets_of,
    mask_asset,
    offset_of,
    one_each,
    passes_of,
    side_of,
    system_of,
)
from maestro_lab.errors import CubeError

if TYPE_CHECKING:
    import pystac

__all__ = ["cube_from_stac"]

_CHUNKS = {"x": 512, "y": 512}
_AT_ONCE = 2 * 1024**3  # bytes


def cube_from_stac(
    items: Iterable[pystac.Item] | None = None,
    *,
    sensor: str,
    window: float,
    bbox: Sequence[float] | None = None,
    bands: Mapping[str, str] | Sequence[str] | None = None,
    url: str = "",
    collections: Sequence[str] | str | None = None,
    datetime: str | None = None,
    query: Mapping[str, Any] | None = None,
    units: str = "DN",
    clouds: tuple[str, Sequence[int]] | str | None = "auto",
    nodata: float | None = None,
    offset: float | str | None = "baseline",
    resolution: float | None = None,
    crs: Any = None,
    chunks: Mapping[str, int] | str | None = "auto",
    patch_url: Callable[[str], str] | None = None,
    **sampling: Any,
) -> xr.DataTree:
    """Make a cube of STAC items.

    Parameters
    ----------
    items
        Items or an ItemCollection; None searches at ``url``.
    sensor
        One of :data:`~maestro_lab.cubes.sensors.SENSORS`.
    window
        Side of a sample in metres.
    bbox
        West, south, east, north in degrees; the ground is the rectangle around it. Default: what
        the items cover together.
    bands
        Bands wanted, or ``{asset: band}``. Default: every asset that is a band of the sensor.
    url, collections, datetime, query
        The search, as in ``pystac_client.Client.search``.
    units
        Units of the assets' numbers.
    clouds
        Asset of classes and those that are clear, such as ``("scl", [4, 5, 6, 7])``; "auto" takes
        just these where Sentinel-2 items have a scene classification; None masks nothing.
    nodata
        Number that stands for missing pixels; default from the items, 0 for Sentinel-2 in DN.
    offset
        "baseline" takes 1000 off Sentinel-2 products that carry it; or a number to add; or None.
    resolution
        Metres a pixel for all bands together (nearest neighbour); None keeps each band's own.
    crs
        Reference system in metres; default the one that all items have.
    chunks
        Pixels fetched together, such as ``{"x": 512, "y": 512}``: each sample then fetches those
        it lies in when it is used, so save the cube before training. None fetches all into memory
        now; "auto" does so up to 2 GiB.
    patch_url
        Changes the address of each asset, such as ``planetary_computer.sign``.
    **sampling
        ``targets``, ``years``, ``period``, ``region``, ``block``, ``test``, ``val``, ``buffer``,
        ``split_seed``, ``title``, ``licence``: as in
        :func:`~maestro_lab.cubes.sources.arrays.cube_from_dataset`.

    Returns
    -------
    xarray.DataTree
        A validated cube; in memory, or lazy as ``chunks`` says.

    Raises
    ------
    CubeError
        If packages are missing, nothing is found, or it is not clear how items become a cube.
    """
    odc = _extra("odc.stac")
    known = known_sensor(sensor)
    found = one_each(_found(items, url, collections, bbox, datetime, query))
    assets = assets_of(found, known, bands)
    mask, classes = mask_asset(found, known, clouds)
    grids = _grids(
        assets, known, resolution, {a: side_of(found, a, known, b) for a, b in assets.items()}
    )
    system = system_of(found, crs)
    offsets = [offset_of(item, known, units, offset) for item in found]
    number, of_pass = passes_of(found, offsets)
    fill = 0.0 if nodata is None and known.name == "sentinel-2" and units == "DN" else nodata
    counts = units == "DN" and known.name in ("sentinel-2", "landsat")
    data = _loaded(
        odc, found, number, grids, mask, system, bbox, anchor_of(found, grids),
        chunks=chunks, patch_url=patch_url, dtype="uint16" if counts else None,
    )  # fmt: skip
    return cube_from_dataset(
        data,
        sensor=dict.fromkeys(data, sensor),
        window=window,
        units=units,
        bands={name: {a: b for a, b in assets.items() if a in ds} for name, ds in data.items()},
        clouds=dict.fromkeys(data, (mask, classes)) if mask else None,
        nodata=fill,
        offset=dict.fromkeys(data, of_pass) if of_pass.any() else None,
        source=url or ", ".join(sorted({str(item.collection_id or "items") for item in found})),
        **sampling,
    )


def _extra(name: str) -> ModuleType:
    """Import a package of the extra ``stac``."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise CubeError(
            f"STAC items need the package {name}",
            expected="the packages of the extra stac",
            found=str(error),
            do="pip install 'maestro-lab[stac]'",
        ) from error


def _found(
    items: Iterable[pystac.Item] | None,
    url: str,
    collections: Sequence[str] | str | None,
    bbox: Sequence[float] | None,
    datetime: str | None,
    query: Mapping[str, Any] | None,
) -> list[pystac.Item]:
    """Return the items that are given, or that a search finds."""
    if (items is None) == (not url):
        raise CubeError(
            "STAC items",
            expected="items, or the url of a catalogue to search",
            found="neither" if items is None else "both",
        )
    if items is None:
        client = _extra("pystac_client").Client.open(url)
        names = [collections] if isinstance(collections, str) else collections
        items = client.search(
            collections=names, bbox=bbox, datetime=datetime, query=query
        ).item_collection()
    found = list(items)
    if not found:
        raise CubeError(
            "no STAC items",
            expected="at least one",
            found=f"none for {collections}, {bbox}, {datetime}" if url else "none",
            do="widen the search",
        )
    return found


def _grids(
    assets: Mapping[str, str],
    known: Sensor,
    resolution: float | None,
    sides: Mapping[str, float],
) -> dict[str, tuple[float, list[str]]]:
    """Return for each modality its metres a pixel and its assets."""
    if resolution is not None:
        return {known.modality: (float(resolution), list(assets))}
    groups: dict[float, list[str]] = {}
    for asset in assets:
        groups.setdefault(sides[asset], []).append(asset)
    names = {
        side: known.modality if len(groups) == 1 else f"{known.modality}_{side:g}m"
        for side in groups
    }
    return {names[side]: (side, groups[side]) for side in sorted(groups)}


def _loaded(
    odc: ModuleType,
    items: Sequence[pystac.Item],
    passes: Mapping[str, int],
    grids: Mapping[str, tuple[float, list[str]]],
    mask: str,
    system: Any,
    bbox: Sequence[float] | None,
    anchor: tuple[float, float],
    *,
    chunks: Any,
    **options: Any,
) -> dict[str, xr.Dataset]:
    """Load each modality on its own pixels of one rectangle."""
    fractions = [Fraction(side).limit_denominator(10_000) for side, _ in grids.values()]
    step = Fraction(
        math.lcm(*(f.numerator for f in fractions)), math.gcd(*(f.denominator for f in fractions))
    )
    edges = _edges(items, bbox, system, float(step), anchor)
    boxes = {name: _geobox(edges, system, side) for name, (side, _) in grids.items()}
    if chunks == "auto":
        dates = len(set(passes.values()))
        size = sum(math.prod(boxes[n].shape) * (len(a) + bool(mask)) for n, (_, a) in grids.items())
        chunks = None if 4 * dates * size <= _AT_ONCE else _CHUNKS
    return {
        name: odc.load(
            items,
            bands=[*assets, *([mask] if mask else [])],
            geobox=boxes[name],
            groupby=lambda item, parsed, index: passes[item.id],
            resampling="nearest",
            chunks=chunks,
            **options,
        )
        for name, (_, assets) in grids.items()
    }


def _edges(
    items: Sequence[pystac.Item],
    bbox: Sequence[float] | None,
    system: Any,
    step: float,
    anchor: tuple[float, float],
) -> tuple[float, float, float, float]:
    """Return left, bottom, right and top of the ground, on the lines of the coarsest pixels."""
    from rasterio.warp import transform_bounds

    if bbox is None:
        boxes = np.array([item.bbox for item in items if item.bbox])
        bbox = (*boxes[:, :2].min(0), *boxes[:, 2:].max(0))
    left, bottom, right, top = transform_bounds("EPSG:4326", str(system), *map(float, bbox))
    x, y = anchor
    return (
        math.floor((left - x) / step + 1e-6) * step + x,
        math.floor((bottom - y) / step + 1e-6) * step + y,
        math.ceil((right - x) / step - 1e-6) * step + x,
        math.ceil((top - y) / step - 1e-6) * step + y,
    )


def _geobox(edges: tuple[float, float, float, float], system: Any, side: float) -> Any:
    from odc.geo.geobox import GeoBox

    return GeoBox.from_bbox(edges, str(system), resolution=side, tight=True)
