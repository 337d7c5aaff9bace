"""Files of a folder of scenes: which band each holds, and which belong to one image."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from maestro_lab.cubes.sensors import Sensor, sensor
from maestro_lab.cubes.sources.geotiff import Image
from maestro_lab.cubes.sources.layers import Bands
from maestro_lab.errors import CubeError

__all__ = ["Layer", "Row", "layers_of_files", "rows_of"]

_PREFIXES = ("sr", "st", "qa", "toa", "boa", "pixel")  # of Landsat's files, before the band


@dataclass(frozen=True)
class Layer:
    """One band of an image file; ``number`` counts from 0."""

    image: Image
    number: int
    band: str


@dataclass(frozen=True)
class Row:
    """All bands of one image, and its mask where there is one."""

    layers: tuple[Layer, ...]
    mask: Layer | None = None

    @property
    def date(self) -> np.datetime64:
        """When it was taken."""
        return self.layers[0].image.date


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[^A-Za-z0-9]+", text.lower()) if word]


def layers_of_files(
    where: str,
    images: Sequence[Image],
    sensor_name: str,
    bands: Bands,
    clouds: tuple[str, Sequence[int]] | None,
) -> tuple[list[Layer], list[Layer]]:
    """Find out which bands and which mask some files hold.

    Parameters
    ----------
    where
        Start of an error.
    images
        The files.
    sensor_name
        Their sensor.
    bands
        {word or description: band}, names in the order of the files, or None.
    clouds
        Word that names the mask, and its clear classes.

    Returns
    -------
    tuple
        Layers of the bands, and layers of the mask. Files that are neither are left out.

    Raises
    ------
    CubeError
        If nothing says which band is which.
    """
    known, mask = sensor(sensor_name), _mask_word(where, clouds)
    layers, masks = [], []
    for image in images:
        for number, label in enumerate(_labels(image, bands)):
            if mask and mask in _words(label):
                masks.append(Layer(image, number, mask))
                continue
            band = _band(label, bands, known, alone=len(image.bands) == 1)
            if band is not None:
                layers.append(Layer(image, number, band))
    if not layers:
        several = next((image for image in images if len(image.bands) > 1), images[0])
        raise CubeError(
            f"{several.path}: which band is which",
            expected=f"bands of {known.name} ({' '.join(known.bands)}) in the names of the files, "
            "or as descriptions of their bands",
            found=f"{len(several.bands)} without names",
            do="say them in the order of the file: bands=['B02', 'B03', ...]",
        )
    if mask and not masks:
        raise CubeError(
            f"{where}: no file for the mask {clouds[0]!r}",
            expected=f"files with the word {clouds[0]} in their names, or a band so described",
            found=", ".join(image.path.name for image in images[:4]) + " ...",
        )
    return layers, masks


def _mask_word(where: str, clouds: Any) -> str:
    if clouds is None:
        return ""
    good = isinstance(clouds, list | tuple) and len(clouds) == 2 and isinstance(clouds[0], str)
    classes = clouds[1] if good else ()
    if not isinstance(classes, list | tuple | range) or not classes:
        raise CubeError(
            f"{where}: clouds",
            expected="a word and its clear classes, such as ('SCL', [4, 5, 7])",
            found=repr(clouds),
        )
    return clouds[0].lower()


def _labels(image: Image, bands: Bands) -> Sequence[str]:
    """Return what the bands of a file are called."""
    count = len(image.bands)
    if any(image.bands):
        return image.bands
    if count == 1:
        return (image.path.stem,)
    if bands is not None and not isinstance(bands, Mapping):
        if len(bands) != count:
            raise CubeError(
                f"{image.path}: bands",
                expected=f"{len(bands)}: {' '.join(map(str, bands))}",
                found=count,
                do="name every band of the file, in its order",
            )
        return tuple(map(str, bands))
    return ("",) * count


def _band(label: str, bands: Bands, known: Sensor, *, alone: bool) -> str | None:
    if isinstance(bands, Mapping):
        words = (label.lower(), *_words(label))
        found = next((band for word, band in bands.items() if str(word).lower() in words), None)
        return known.band(str(found)) if found is not None else None
    found = known.band(label) if label else None
    if bands is None:
        return found
    wanted = [known.band(str(band)) for band in bands]
    return wanted[0] if alone and len(wanted) == 1 else found if found in wanted else None


def rows_of(
    where: str, layers: Sequence[Layer], masks: Sequence[Layer], known: Sensor
) -> tuple[list[Row], list[str]]:
    """Put layers together that are of one image, by date; the last by name first within a date.

    Parameters
    ----------
    where
        Start of an error.
    layers, masks
        As :func:`layers_of_files` returns them, of one grid.
    known
        The sensor, whose order bands take that have a file each.

    Returns
    -------
    tuple
        The rows, and the bands that each of them has.

    Raises
    ------
    CubeError
        If a date lacks a band or its mask, or files name other bands than others.
    """
    bands = _order(layers, known)
    rows = []
    for date, found in groupby(sorted(layers, key=_when), key=lambda layer: str(layer.image.date)):
        of_date = list(found)
        products: dict[str, dict[str, Layer]] = {}
        for layer in sorted(of_date, key=lambda one: one.image.path.name, reverse=True):
            products.setdefault(_product(layer), {}).setdefault(layer.band, layer)
        if any(len(one) < len(bands) for one in products.values()) and len(of_date) == len(bands):
            products = {"": {layer.band: layer for layer in of_date}}
        for one in products.values():
            absent = [band for band in bands if band not in one]
            if absent:
                there = next(iter(one.values())).image.path
                raise CubeError(
                    f"{where}: no file for band {absent[0]} beside {there.name}",
                    expected=" ".join(bands),
                    found=" ".join(band for band in bands if band in one),
                    do="fetch it again, or leave this date out",
                )
            chosen = tuple(one[band] for band in bands)
            rows.append(Row(chosen, _mask_of(where, date, chosen[0], masks)))
    return rows, bands


def _when(layer: Layer) -> tuple[str, str]:
    return str(layer.image.date), layer.image.path.name


def _order(layers: Sequence[Layer], known: Sensor) -> list[str]:
    """Return the bands in the order of the files, or of the sensor where each has a file."""
    first = layers[0].image
    stored = [layer.band for layer in layers if layer.image is first]
    found = list(dict.fromkeys(layer.band for layer in layers))
    if len(stored) == 1:
        return sorted(found, key=known.bands.index)
    for layer in layers:
        if layer.band not in stored:
            raise CubeError(
                f"{layer.image.path.name}: other bands than {first.path.name}",
                expected=" ".join(stored),
                found=" ".join(one.band for one in layers if one.image is layer.image),
                do="give the files of each kind a folder of their own",
            )
    return stored


def _product(layer: Layer) -> str:
    """Return what the files of one image have in common in their names."""
    if len(layer.image.bands) > 1:
        return layer.image.path.name
    words = _words(layer.image.path.stem)
    drop = {layer.band.lower(), *_PREFIXES}
    plain = [w for w in words if w not in drop and not re.fullmatch(r"\d+m", w)]
    return " ".join(plain)


def _mask_of(where: str, date: str, layer: Layer, masks: Sequence[Layer]) -> Layer | None:
    if not masks:
        return None
    same = [mask for mask in masks if str(mask.image.date) == date]
    if not same:
        raise CubeError(
            f"{where}: no mask for {layer.image.path.name}",
            expected=f"a file with {masks[0].band} in its name of {date}",
            found=f"{len(masks)} masks of other dates",
            do="fetch it again, or leave this date out",
        )
    mine = set(_words(layer.image.path.stem))
    best = max(same, key=lambda mask: len(mine & set(_words(mask.image.path.stem))))
    _check_mask(layer.image, best.image)
    return best


def _check_mask(image: Image, mask: Image) -> None:
    """Refuse a mask whose pixels are no whole number of the image's, or start elsewhere."""
    one, two = image.grid, mask.grid
    ratio = max(one.gsd, two.gsd) / min(one.gsd, two.gsd)
    corner = max(abs(one.west - two.west), abs(one.north - two.north)) <= 0.01 * one.gsd
    covers = two.east >= one.east - 0.01 * one.gsd and two.south <= one.south + 0.01 * one.gsd
    if abs(ratio - round(ratio)) > 1e-6 or not corner or not covers:
        raise CubeError(
            f"{mask.path.name}: another grid than {image.path.name}",
            expected=f"from x {one.west:.10g}, y {one.north:.10g} to x {one.east:.10g}, "
            f"y {one.south:.10g}, in pixels finer or coarser by a whole number",
            found=f"from x {two.west:.10g}, y {two.north:.10g} to x {two.east:.10g}, "
            f"y {two.south:.10g}, {two.gsd:g} m a pixel",
            do="bring the mask to the grid of the image with gdalwarp",
        )
