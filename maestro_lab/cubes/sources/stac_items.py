"""What STAC items say of themselves: bands, resolution, passes, processing baseline."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from maestro_lab.cubes.sensors import Sensor
from maestro_lab.cubes.sources.layers import named_bands
from maestro_lab.errors import CubeError

if TYPE_CHECKING:
    import pystac

__all__ = [
    "CLEAR",
    "anchor_of",
    "assets_of",
    "mask_asset",
    "offset_of",
    "one_each",
    "passes_of",
    "side_of",
    "system_of",
]

CLEAR = (4, 5, 6, 7)
"""Scene classes of Sentinel-2 taken as clear: vegetation, bare soil, water, unclassified."""

_SAME_PASS = np.timedelta64(10, "m")


def _time(item: pystac.Item) -> np.datetime64:
    said = item.datetime or item.common_metadata.start_datetime
    if said is None:
        raise CubeError(f"STAC item {item.id}: no date", expected="datetime or start_datetime")
    return np.datetime64(said.replace(tzinfo=None), "ns")


def _baseline(item: pystac.Item) -> float:
    said = str(item.properties.get("s2:processing_baseline", "")).replace("N", "")
    if re.fullmatch(r"\d{4}", said):
        said = f"{said[:2]}.{said[2:]}"
    return float(said) if re.fullmatch(r"\d+(\.\d+)?", said) else 0.0


def one_each(items: Sequence[pystac.Item]) -> list[pystac.Item]:
    """Return items by date; of one tile processed several times the newest baseline."""
    best: dict[tuple[str, str], pystac.Item] = {}
    for item in sorted(items, key=lambda one: (_baseline(one), one.id)):
        best[_tile(item), str(_time(item).astype("datetime64[s]"))] = item
    return sorted(best.values(), key=lambda one: (_time(one), one.id))


def _tile(item: pystac.Item) -> str:
    """Return what tells the place of an item: the name of its tile, else its corners."""
    for key in ("s2:mgrs_tile", "grid:code", "landsat:wrs_path"):
        if item.properties.get(key):
            return f"{item.properties[key]} {item.properties.get('landsat:wrs_row', '')}"
    return str([round(float(edge), 4) for edge in item.bbox or []]) if item.bbox else item.id


def passes_of(
    items: Sequence[pystac.Item], offsets: Sequence[float]
) -> tuple[dict[str, int], np.ndarray]:
    """Give each item, in order of their dates, the number of its pass.

    Parameters
    ----------
    items
        The items.
    offsets
        What is added to the values of each.

    Returns
    -------
    tuple
        Item to the number of its pass, and what is added to the values of each pass (t,).

    Raises
    ------
    CubeError
        If items of one name differ.
    """
    found: dict[str, int] = {}
    starts: list[tuple[np.datetime64, float]] = []
    for item, offset in zip(items, offsets, strict=True):
        if item.id in found:
            raise CubeError(f"STAC item {item.id}", expected="one item of each name", found="two")
        same = [
            number
            for number, (start, other) in enumerate(starts)
            if other == offset and _time(item) - start < _SAME_PASS
        ]
        if not same:
            starts.append((_time(item), offset))
        found[item.id] = same[-1] if same else len(starts) - 1
    return found, np.array([offset for _, offset in starts])


def assets_of(
    items: Sequence[pystac.Item], known: Sensor, bands: Mapping[str, str] | Sequence[str] | None
) -> dict[str, str]:
    """Find out which assets are which bands: {asset: band}, in the sensor's order.

    A name that is a band as a whole (red) goes before one that holds it (red-jp2).

    Raises
    ------
    CubeError
        If a band wanted is no asset of every item.
    """
    names = [str(name) for name in items[0].assets]
    if isinstance(bands, Mapping):
        found = named_bands("STAC items", names, bands, known)
    else:
        wanted = None if bands is None else [known.band(str(band)) for band in bands]
        named: dict[str, str] = {}
        for asset in sorted(names, key=lambda name: len(re.split(r"[^A-Za-z0-9]+", name))):
            band = known.band(asset)
            if band is not None and band not in named and (wanted is None or band in wanted):
                named[band] = asset
        lost = [band for band, named_so in zip(bands or (), wanted or (), strict=True)
                if named_so not in named]  # fmt: skip
        if lost or not named:
            raise CubeError(
                f"STAC items: no asset for band {lost[0]}" if lost else "STAC items: no bands",
                expected=f"bands of {known.name}: {' '.join(known.bands)}",
                found=", ".join(names),
                do="say which asset is which: bands={'nir': 'B08', ...}",
            )
        found = {named[band]: band for band in sorted(named, key=known.bands.index)}
    for item in items:
        absent = [asset for asset in found if asset not in item.assets]
        if absent:
            raise CubeError(
                f"STAC item {item.id}: no asset {absent[0]!r}",
                expected=", ".join(found),
                found=", ".join(item.assets),
                do="leave the item out, or this band",
            )
    return found


def mask_asset(
    items: Sequence[pystac.Item], known: Sensor, clouds: tuple[str, Sequence[int]] | str | None
) -> tuple[str, tuple[int, ...]]:
    """Return the asset that masks pixels and its clear classes; an empty name for none.

    Raises
    ------
    CubeError
        If it is no asset of the items.
    """
    if clouds is None:
        return "", ()
    if clouds == "auto":
        found = [name for name in items[0].assets if str(name).lower() == "scl"]
        clouds = (str(found[0]), CLEAR) if found and known.name == "sentinel-2" else None
        return clouds or ("", ())
    if isinstance(clouds, str) or len(clouds) != 2 or clouds[0] not in items[0].assets:
        raise CubeError(
            "STAC items: clouds",
            expected="an asset and its clear classes, such as ('scl', [4, 5, 6, 7]); "
            f"assets are {', '.join(items[0].assets)}",
            found=repr(clouds),
        )
    return clouds[0], tuple(int(c) for c in clouds[1])


def side_of(items: Sequence[pystac.Item], asset: str, known: Sensor, band: str) -> float:
    """Return the metres a pixel of an asset.

    Raises
    ------
    CubeError
        If neither the item nor the sensor tells them.
    """
    said = items[0].assets[asset].to_dict()
    for layers in (said.get("raster:bands"), said.get("bands")):
        for key in ("spatial_resolution", "gsd"):
            if layers and layers[0].get(key):
                return float(layers[0][key])
    transform = said.get("proj:transform")
    for found in (transform and abs(transform[0]), said.get("gsd"), known.gsd.get(band),
                  items[0].properties.get("gsd")):  # fmt: skip
        if found:
            return float(found)
    raise CubeError(
        f"STAC items: metres a pixel of asset {asset!r}",
        expected="gsd or raster:bands in the item",
        found="neither",
        do="say them: resolution=10",
    )


def anchor_of(
    items: Sequence[pystac.Item], grids: Mapping[str, tuple[float, list[str]]]
) -> tuple[float, float]:
    """Return where lines of the coarsest pixels lie, less whole pixels; 0, 0 where not told."""
    side, assets = max(grids.values())
    transform = items[0].assets[assets[0]].to_dict().get("proj:transform")
    transform = transform or items[0].properties.get("proj:transform")
    return (transform[2] % side, transform[5] % side) if transform else (0.0, 0.0)


def system_of(items: Sequence[pystac.Item], crs: Any) -> str:
    """Return the reference system of some items.

    Raises
    ------
    CubeError
        If they have none, or several.
    """
    if crs is not None:
        return str(crs)
    found: dict[str, str] = {}
    for item in items:
        code, number = item.properties.get("proj:code"), item.properties.get("proj:epsg")
        if code or number:
            found.setdefault(str(code or f"EPSG:{number}"), item.id)
    if len(found) != 1:
        raise CubeError(
            "STAC items: reference system",
            expected="one in metres that all items have",
            found=", ".join(f"{code} ({name})" for code, name in found.items()) or "none",
            do="choose one: crs='EPSG:32633'; items in another are resampled to it",
        )
    return next(iter(found))


def offset_of(item: pystac.Item, known: Sensor, units: str, offset: float | str | None) -> float:
    """Return what is added to the numbers of an item.

    Raises
    ------
    CubeError
        If ``offset`` is neither a number nor "baseline".
    """
    if offset is None:
        return 0.0
    if offset != "baseline":
        if not isinstance(offset, int | float):
            raise CubeError("offset", expected="a number, 'baseline' or None", found=repr(offset))
        return float(offset)
    if known.name != "sentinel-2" or item.properties.get("earthsearch:boa_offset_applied"):
        return 0.0
    return -1000.0 if units == "DN" and _baseline(item) >= 4 else 0.0
