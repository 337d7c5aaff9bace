"""The cube contract: what a cube is, and how one is built.

A cube is an :class:`xarray.DataTree`. Its root tells the samples (``sample``), the split each
belongs to (``split``) and the spatial block it lies in (``block``); each modality is a child with
its own grid, so nothing is resampled to a common one::

    /         split (sample)   block (sample)   ref_date (sample)
    /s2       values (sample, time, band, y, x)   valid (sample, time, y, x)   time (sample, time)
    /aerial   values (sample, time=1, band, y, x) ...
    /targets  species (sample, class)   land_cover (sample, y, x)

``valid`` is the only place that tells clouds, missing pixels and missing dates; ``time`` is padded
with NaT at the end where a sample has fewer dates than its neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from maestro_lab.cubes.sensors import sensor
from maestro_lab.cubes.validation import (
    SPLITS,
    TARGETS,
    TASKS,
    VALID_DIMS,
    VALUES_DIMS,
    check_bands,
    modality_names,
    validate,
)
from maestro_lab.errors import CubeError

__all__ = [
    "SPLITS",
    "TARGETS",
    "TASKS",
    "assemble",
    "check_bands",
    "make_modality",
    "modality_names",
    "validate",
    "window_side",
]


def make_modality(
    values: Any,
    time: Any,
    *,
    bands: Sequence[str],
    units: str,
    gsd: float,
    valid: Any = None,
    sensor_name: str | None = None,
    nodata: float | None = None,
    crs: Any = None,
) -> xr.Dataset:
    """Build one modality of a cube from arrays.

    Parameters
    ----------
    values
        Array (sample, time, band, y, x) in any numeric type, numpy or dask.
    time
        ``datetime64`` array (sample, time); NaT pads the end of shorter series.
    bands
        Band names, in the order of ``values``.
    units
        One of :data:`~maestro_lab.cubes.sensors.UNITS`.
    gsd
        Ground sampling distance in metres.
    valid
        Boolean array (sample, time, y, x). Default: everything valid where a date exists.
    sensor_name
        Name of a known sensor; brings the wavelengths.
    nodata
        The value the source used for missing pixels, kept for the record.
    crs
        Anything rioxarray understands as a coordinate reference system.

    Raises
    ------
    CubeError
        If shapes do not fit each other.

    Examples
    --------
    >>> import numpy as np
    >>> time = np.array([["2020-06-01", "2020-07-01"]], dtype="datetime64[ns]")
    >>> ds = make_modality(np.ones((1, 2, 2, 4, 4)), time, bands=["VV", "VH"], units="linear power",
    ...               gsd=10, sensor_name="sentinel-1")
    >>> dict(ds.sizes)
    {'sample': 1, 'time': 2, 'band': 2, 'y': 4, 'x': 4}
    """
    time = np.asarray(time, dtype="datetime64[ns]")
    _check_shape("values", ("sample", "time", f"{len(bands)} bands", "y", "x"), values)
    n, n_time, n_bands, n_y, n_x = np.shape(values)
    if n_bands != len(bands):
        raise CubeError("bands", expected=f"{n_bands} names", found=" ".join(map(str, bands)))
    _check_shape("time", (n, n_time), time)
    if valid is not None:
        _check_shape("valid", (n, n_time, n_y, n_x), valid)
    else:
        valid = np.broadcast_to(~np.isnat(time)[:, :, None, None], (*time.shape, n_y, n_x))
    known = sensor(sensor_name).wavelengths if sensor_name else {}
    attrs: dict[str, Any] = {"units": units, "gsd": float(gsd)}
    if sensor_name:
        attrs["sensor"] = sensor_name
    if nodata is not None:
        attrs["nodata"] = nodata
    dataset = xr.Dataset(
        {"values": (VALUES_DIMS, values), "valid": (VALID_DIMS, valid)},
        coords={
            "time": (("sample", "time"), time),
            "band": np.array(list(bands), dtype=object),
            "wavelength": ("band", [known.get(b, np.nan) for b in bands]),
        },
        attrs=attrs,
    )
    if crs is not None:
        import rioxarray  # noqa: F401  registers the .rio accessor

        dataset = dataset.rio.write_crs(crs)
    return dataset


def _check_shape(name: str, expected: tuple[int | str, ...], array: Any) -> None:
    found = np.shape(array)
    lengths = [n for n in expected if isinstance(n, int)]
    if len(found) != len(expected) or (lengths and found != expected):
        shape = " x ".join(map(str, expected))
        raise CubeError(f"shape of {name}", expected=shape, found=" x ".join(map(str, found)))


def assemble(
    modalities: Mapping[str, xr.Dataset],
    *,
    sample: Sequence[str],
    split: Sequence[str],
    block: Sequence[int],
    title: str,
    licence: str,
    source: str,
    targets: xr.Dataset | None = None,
    extra: Mapping[str, Any] | None = None,
    attrs: Mapping[str, Any] | None = None,
    check: int | None = 8,
) -> xr.DataTree:
    """Join modalities and targets into a cube and validate it.

    Parameters
    ----------
    modalities
        Name to dataset, as :func:`make_modality` builds them; the same samples in one order.
    sample
        Unique name of each sample.
    split, block
        Per sample: one of :data:`SPLITS`, and the number of its spatial block.
    title, licence, source
        Kept in the root's attributes.
    targets
        Dataset whose variables start with ``sample`` and carry a ``task`` attribute.
    extra
        Further per-sample variables of the root, such as ``ref_date``.
    attrs
        Further attributes of the root.
    check
        How many samples have their pixels looked at, as in :func:`validate`.

    Raises
    ------
    CubeError
        If the result breaks the contract.
    """
    per_sample = {"split": np.array(list(split), dtype=object), "block": np.asarray(block)}
    per_sample |= dict(extra or {})
    for name, value in per_sample.items():
        _check_shape(name, (len(sample),), value)
    for name, ds in {**modalities, **({} if targets is None else {TARGETS: targets})}.items():
        if ds.sizes.get("sample") != len(sample):
            raise CubeError(
                f"{name}: samples", expected=len(sample), found=ds.sizes.get("sample", "none")
            )
    root = xr.Dataset(
        {name: ("sample", np.asarray(value)) for name, value in per_sample.items()},
        coords={"sample": np.array(list(sample), dtype=object)},
        attrs={"title": title, "licence": licence, "source": source, **(attrs or {})},
    )
    children = {name: xr.DataTree(ds) for name, ds in modalities.items()}
    if targets is not None:
        children[TARGETS] = xr.DataTree(targets)
    return validate(xr.DataTree(root, children=children), values=check)


def window_side(cube: xr.DataTree) -> float:
    """Return the side of a cube's windows in metres, as its first modality tells it."""
    first = cube[modality_names(cube)[0]]
    return first.sizes["x"] * float(first.attrs["gsd"])
