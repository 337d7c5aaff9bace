"""The cube contract: how a cube is built, and the one validator every reader's output passes.

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

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from maestro_lab.cubes.sensors import UNITS, sensor
from maestro_lab.errors import CubeError

SPLITS = ("train", "val", "test", "buffer")
"""Values of ``split``; samples in ``buffer`` keep the others apart and are never used."""

TASKS = ("fractions", "multilabel", "classification", "segmentation", "regression")
"""Values of a target's ``task`` attribute."""

VALUES_DIMS = ("sample", "time", "band", "y", "x")
VALID_DIMS = ("sample", "time", "y", "x")
TARGETS = "targets"


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
    if valid is None:
        n_y, n_x = np.shape(values)[-2:]
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

    Raises
    ------
    CubeError
        If the result breaks the contract.
    """
    per_sample = {"split": np.array(list(split), dtype=object), "block": np.asarray(block)}
    per_sample |= dict(extra or {})
    root = xr.Dataset(
        {name: ("sample", np.asarray(value)) for name, value in per_sample.items()},
        coords={"sample": np.array(list(sample), dtype=object)},
        attrs={"title": title, "licence": licence, "source": source, **(attrs or {})},
    )
    children = {name: xr.DataTree(ds) for name, ds in modalities.items()}
    if targets is not None:
        children[TARGETS] = xr.DataTree(targets)
    return validate(xr.DataTree(root, children=children))


def modality_names(cube: xr.DataTree) -> list[str]:
    """Return the names of a cube's modalities, in order, without the targets."""
    return [name for name in cube.children if name != TARGETS]


def check_bands(where: str, expected: Iterable[str], found: Iterable[str]) -> None:
    """Refuse bands that differ from what was declared, in names or in order.

    Raises
    ------
    CubeError
        Naming the first difference and whether re-ordering would be enough.
    """
    expected, found = list(expected), list(found)
    if expected == found:
        return
    same_set = sorted(expected) == sorted(found)
    unknown = [b for b in found if b not in expected]
    raise CubeError(
        f"{where}: bands {'are in another order' if same_set else 'differ'}",
        expected=" ".join(expected),
        found=" ".join(found) + (f"  ({unknown[0]!r} was not expected)" if unknown else ""),
        do="declare the order the file really has"
        if same_set
        else "declare the bands the file really has, or choose another file",
    )


def validate(cube: xr.DataTree, *, values: int | None = 8) -> xr.DataTree:
    """Check that a cube keeps the contract, and return it.

    Parameters
    ----------
    cube
        The cube.
    values
        How many samples, evenly spread, have their pixels looked at (a lazy cube computes just
        these). 0 checks the structure only, None looks at every sample.

    Raises
    ------
    CubeError
        Names the modality, what was expected and what was found.
    """
    if not isinstance(cube, xr.DataTree):
        raise CubeError("not a cube", expected="an xarray.DataTree", found=type(cube).__name__)
    _check_root(cube)
    names = modality_names(cube)
    if not names:
        raise CubeError("cube has no modality", expected="at least one child beside 'targets'")
    for name in names:
        _check_modality(name, cube[name])
    if TARGETS in cube.children:
        _check_targets(cube[TARGETS])
    if values != 0:
        n = cube.sizes["sample"]
        count = n if values is None else min(n, values)
        _check_values(cube, np.unique(np.linspace(0, n - 1, count).round().astype(int)))
    return cube


def _check_root(cube: xr.DataTree) -> None:
    for attr in ("title", "licence", "source"):
        if not cube.attrs.get(attr):
            raise CubeError(f"cube: root attribute {attr!r} is missing", expected="a short text")
    if "sample" not in cube.coords or cube.sizes.get("sample", 0) == 0:
        raise CubeError(
            "cube: no samples",
            expected="a root coordinate 'sample' of length 1 or more",
            found=f"{dict(cube.sizes)}",
        )
    if not cube.indexes["sample"].is_unique:
        twice = cube.indexes["sample"][cube.indexes["sample"].duplicated()][0]
        raise CubeError(
            "cube: sample names repeat", expected="unique names", found=f"{twice!r} twice"
        )
    for name in ("split", "block"):
        if name not in cube.data_vars or cube[name].dims != ("sample",):
            raise CubeError(
                f"cube: root variable {name!r}",
                expected="dimensions ('sample',)",
                found=str(cube[name].dims) if name in cube.data_vars else "nothing",
            )
    strange = sorted(set(np.asarray(cube["split"]).tolist()) - set(SPLITS))
    if strange:
        raise CubeError("cube: unknown split", expected=", ".join(SPLITS), found=", ".join(strange))


def _check_dims(where: str, ds: xr.DataTree, name: str, dims: tuple[Hashable, ...]) -> None:
    variables = {**ds.data_vars, **ds.coords}
    if name not in variables:
        raise CubeError(f"{where}: no variable {name!r}", expected=f"dimensions {dims}")
    if variables[name].dims != dims:
        raise CubeError(
            f"{where}: {name!r}", expected=f"dimensions {dims}", found=variables[name].dims
        )


def _check_modality(name: str, ds: xr.DataTree) -> None:
    _check_dims(name, ds, "values", VALUES_DIMS)
    _check_dims(name, ds, "valid", VALID_DIMS)
    _check_dims(name, ds, "time", ("sample", "time"))
    _check_dims(name, ds, "wavelength", ("band",))
    if ds["valid"].dtype != bool:
        raise CubeError(f"{name}: 'valid'", expected="booleans", found=ds["valid"].dtype)
    if ds["values"].dtype.kind not in "uif":
        raise CubeError(f"{name}: 'values'", expected="numbers", found=ds["values"].dtype)
    if ds["time"].dtype.kind != "M":
        raise CubeError(f"{name}: 'time'", expected="datetime64", found=ds["time"].dtype)
    bands = [str(b) for b in ds["band"].values]
    if len(set(bands)) != len(bands):
        raise CubeError(
            f"{name}: band names repeat", expected="unique names", found=" ".join(bands)
        )
    if ds.attrs.get("units") not in UNITS:
        raise CubeError(f"{name}: units", expected=" | ".join(UNITS), found=ds.attrs.get("units"))
    gsd = ds.attrs.get("gsd")
    if not isinstance(gsd, int | float | np.number) or not gsd > 0:
        raise CubeError(f"{name}: gsd", expected="metres a pixel, above 0", found=repr(gsd))
    if "sensor" in ds.attrs:
        _check_sensor(name, ds, bands)
    _check_time(name, ds)


def _check_sensor(name: str, ds: xr.DataTree, bands: list[str]) -> None:
    known = sensor(ds.attrs["sensor"])
    unknown = [b for b in bands if b not in known.wavelengths]
    if unknown:
        raise CubeError(
            f"{name}: {known.name} has no such band",
            expected=f"bands among {' '.join(known.bands)} in {ds.attrs['units']}",
            found=repr(unknown[0]),
        )
    if ds.attrs["units"] not in known.plausible:
        raise CubeError(
            f"{name}: units do not fit {known.name}",
            expected=" | ".join(known.plausible),
            found=ds.attrs["units"],
        )


def _check_time(name: str, ds: xr.DataTree) -> None:
    time = np.asarray(ds["time"].values)
    missing = np.isnat(time)
    if (missing[:, :-1] & ~missing[:, 1:]).any():
        raise CubeError(
            f"{name}: 'time'", expected="NaT only after the last date", found="NaT before"
        )
    steps = np.diff(time, axis=1)
    backwards = (steps < np.timedelta64(0)) & ~np.isnat(steps)
    if backwards.any():
        row = int(np.argwhere(backwards)[0][0])
        raise CubeError(
            f"{name}: 'time' of sample {ds['sample'].values[row]!r}",
            expected="dates in ascending order",
            found=" ".join(time[row].astype("datetime64[D]").astype(str)[:6]) + " ...",
        )


def _check_targets(targets: xr.DataTree) -> None:
    if not targets.data_vars:
        raise CubeError("targets: empty", expected="at least one variable, or no 'targets' at all")
    for name, target in targets.data_vars.items():
        if not target.dims or target.dims[0] != "sample":
            raise CubeError(
                f"targets/{name}", expected="'sample' as first dimension", found=target.dims
            )
        if target.attrs.get("task") not in TASKS:
            raise CubeError(
                f"targets/{name}: task", expected=" | ".join(TASKS), found=target.attrs.get("task")
            )


def _check_values(cube: xr.DataTree, samples: np.ndarray) -> None:
    some = np.zeros(len(samples), dtype=bool)
    for name in modality_names(cube):
        ds = cube[name].to_dataset().isel(sample=samples)
        values, valid = ds["values"].values, ds["valid"].values
        undated = np.isnat(ds["time"].values)
        if (valid & undated[:, :, None, None]).any():
            raise CubeError(f"{name}: 'valid'", expected="False where 'time' is NaT", found="True")
        some |= valid.any(axis=(1, 2, 3))
        pixels = np.moveaxis(values, 2, -1)[valid]  # (n, band)
        if pixels.size == 0:
            continue
        if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            band = str(ds["band"].values[np.argwhere(~np.isfinite(pixels))[0][1]])
            raise CubeError(
                f"{name}: band {band}",
                expected="finite values where 'valid' is True",
                found="NaN or infinity",
                do="mark these pixels as not valid",
            )
        _check_range(name, ds, pixels)
    if not some.all():
        empty = cube["sample"].values[samples[int(np.argmin(some))]]
        raise CubeError(
            f"sample {empty!r} is empty",
            expected="at least one valid pixel in one modality",
            found="none",
            do="drop the sample",
        )


def _check_range(name: str, ds: xr.Dataset, pixels: np.ndarray) -> None:
    if "sensor" not in ds.attrs:
        return
    known, units = sensor(ds.attrs["sensor"]), ds.attrs["units"]
    low, high = known.plausible[units]
    median = float(np.median(pixels))
    if low <= median <= high:
        return
    fits = [u for u, (lo, hi) in known.plausible.items() if lo <= median <= hi]
    raise CubeError(
        f"{name}: values do not look like {units}",
        expected=f"a median between {low:g} and {high:g} for {known.name} in {units}",
        found=f"a median of {median:.4g}"
        + (f", which would fit {fits[0]!r}" if fits else "")
        + f" (range {pixels.min():.4g} to {pixels.max():.4g})",
        do="declare the right units, or convert the values",
    )
