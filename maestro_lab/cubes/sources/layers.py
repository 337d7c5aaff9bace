"""Bands of xarray objects, under the names that people give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import xarray as xr

from maestro_lab.cubes.sensors import Sensor
from maestro_lab.cubes.sources.axes import canonical
from maestro_lab.errors import CubeError

__all__ = ["Bands", "layers_of", "named_bands"]

Bands = Mapping[str, str] | Sequence[str] | None
"""What a user says of bands: {name in the data: band}, names in order, or nothing."""


def layers_of(
    where: str, data: xr.Dataset | xr.DataArray, bands: Bands, known: Sensor | None
) -> tuple[list[xr.DataArray], list[str], dict[str, xr.DataArray]]:
    """Find the images of the bands in a Dataset or DataArray.

    Parameters
    ----------
    where
        Start of an error.
    data
        One variable with all bands, or one a band; other variables may stand beside them.
    bands
        As in :func:`named_bands`.
    known
        The sensor.

    Returns
    -------
    tuple
        Canonical images (one (time, band, y, x), or one (time, y, x) a band), names of the bands
        in their order, and all layers by name.

    Raises
    ------
    CubeError
        If there is no image, or it is not clear which band is which.
    """
    stacks, singles = _sorted(where, data)
    if len(stacks) > 1:
        raise CubeError(
            f"{where}: several variables with bands",
            expected="one, or one variable a band",
            found=", ".join(stacks),
            do="choose one: data['...']",
        )
    if not stacks:
        if len(singles) == 1 and bands is not None and not isinstance(bands, Mapping):
            singles = dict(zip(map(str, bands), singles.values(), strict=False))
        chosen = named_bands(where, list(singles), bands, known)
        return [singles[label] for label in chosen], list(chosen.values()), singles
    stack = next(iter(stacks.values()))
    labels = _labels(where, stack, bands)
    chosen = named_bands(where, labels, bands, known, ordered=True)
    inner = {label: stack.isel(band=k, drop=True) for k, label in enumerate(labels)}
    image = stack.isel(band=[labels.index(label) for label in chosen])
    return [image], list(chosen.values()), singles | inner


def _sorted(
    where: str, data: xr.Dataset | xr.DataArray
) -> tuple[dict[str, xr.DataArray], dict[str, xr.DataArray]]:
    """Return the images with a dimension of bands and those without, canonical, by name."""
    if isinstance(data, xr.DataArray):
        image = canonical(where, data)
        name = "values" if data.name is None else str(data.name)
        return ({name: image}, {}) if "band" in image.dims else ({}, {name: image})
    stacks, singles, refused = {}, {}, None
    for name, array in data.data_vars.items():
        if array.ndim < 2 or array.dtype.kind not in "uifb":
            continue
        try:
            image = canonical(f"{where}: {name}", array)
        except CubeError as error:  # a table beside the images
            refused = refused or error
            continue
        (stacks if "band" in image.dims else singles)[str(name)] = image
    if not stacks and not singles:
        raise refused or CubeError(
            f"{where}: no image",
            expected="variables with dimensions y and x",
            found=", ".join(map(str, data.data_vars)) or "no variables",
        )
    return stacks, singles


def _labels(where: str, image: xr.DataArray, bands: Bands) -> list[str]:
    """Return what the layers of an image (..., band, ...) are called."""
    count, told = image.sizes["band"], image.attrs.get("long_name")
    if bands is not None and not isinstance(bands, Mapping):
        labels = [str(b) for b in bands]
    elif isinstance(told, list | tuple) and len(told) == count:
        labels = [str(t) for t in told]
    else:
        labels = [str(b) for b in image["band"].values] if "band" in image.coords else []
    if len(labels) != count or len(set(labels)) != count:
        raise CubeError(
            f"{where}: names of the bands",
            expected=f"{count}, each once",
            found=", ".join(labels) or "none",
            do="say them in the order of the data: bands=['B02', 'B03', ...]",
        )
    return labels


def named_bands(
    where: str,
    labels: Sequence[str],
    bands: Bands,
    known: Sensor | None,
    *,
    ordered: bool = False,
) -> dict[str, str]:
    """Find out which label stands for which band of a sensor.

    Parameters
    ----------
    where
        Start of an error.
    labels
        What the data calls its layers.
    bands
        {label: band}, the labels to take, or None for all that are known.
    known
        The sensor; None takes labels as they are.
    ordered
        Whether the order of the labels is kept; else bands come in the sensor's order.

    Returns
    -------
    dict
        Label to band, in the order of the cube.

    Raises
    ------
    CubeError
        If no label is a band, or two are one.

    Examples
    --------
    >>> from maestro_lab.cubes.sensors import sensor
    >>> named_bands("s2", ["SCL", "nir", "S2-L2A-B02"], None, sensor("sentinel-2"))
    {'S2-L2A-B02': 'B02', 'nir': 'B08'}
    """
    given = bands if isinstance(bands, Mapping) else {b: b for b in bands or labels}
    lost = [label for label in given if label not in labels]
    if lost:
        raise CubeError(
            f"{where}: no {lost[0]!r} in the data",
            expected="some of " + ", ".join(labels),
            found=lost[0],
            do="say what the data calls its bands: bands={'B2': 'B02', ...}",
        )
    named = {label: known.band(str(b)) if known else str(b) for label, b in given.items()}
    found = {label: band for label, band in named.items() if band is not None}
    if not found or (bands is not None and len(found) < len(named)):
        raise CubeError(
            f"{where}: {'no' if not found else 'not every'} layer is a band of {known.name}",
            expected=" ".join(known.bands),
            found=", ".join(label for label in named if label not in found),
            do="say what they are: bands={'name in the data': 'name of the band', ...}",
        )
    for band in found.values():
        twins = [label for label, same in found.items() if same == band]
        if len(twins) > 1:
            raise CubeError(
                f"{where}: two layers for band {band}",
                expected="one",
                found=", ".join(twins),
                do=f"choose one: bands={{{twins[0]!r}: {band!r}, ...}}",
            )
    if known and bands is None and not ordered:
        return dict(sorted(found.items(), key=lambda item: known.bands.index(item[1])))
    return found
