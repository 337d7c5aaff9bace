"""The one validator that every reader's output passes; its errors name the modality."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import numpy as np
import xarray as xr

from maestro_lab.cubes.plausible import check_pixels
from maestro_lab.cubes.sensors import UNITS, sensor
from maestro_lab.errors import CubeError, ParameterError

__all__ = [
    "SPLITS",
    "TARGETS",
    "TASKS",
    "VALID_DIMS",
    "VALUES_DIMS",
    "check_bands",
    "modality_names",
    "validate",
]

SPLITS = ("train", "val", "test", "buffer")
"""Values of ``split``; samples in ``buffer`` keep the others apart and are never used."""

TASKS = ("fractions", "multilabel", "classification", "segmentation", "regression")
"""Values of a target's ``task`` attribute."""

VALUES_DIMS = ("sample", "time", "band", "y", "x")
VALID_DIMS = ("sample", "time", "y", "x")
TARGETS = "targets"


def modality_names(cube: xr.DataTree) -> list[str]:
    """Return the names of a cube's modalities, in order, without the targets.

    Raises
    ------
    ParameterError
        If it is no cube.
    """
    if not hasattr(cube, "children"):
        raise ParameterError(
            "no cube", expected="an xarray.DataTree, as ml.open_cube returns it",
            found=repr(cube) if isinstance(cube, str) else type(cube).__name__,
        )  # fmt: skip
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

    Warns
    -----
    CubeWarning
        If the pixels look like another unit, order of bands or offset, but may be right.
    """
    if not isinstance(cube, xr.DataTree):
        raise CubeError(
            "not a cube",
            expected="an xarray.DataTree",
            found=type(cube).__name__,
            do="open one with maestro_lab.open_cube(name)",
        )
    _check_root(cube)
    names = modality_names(cube)
    if not names:
        raise CubeError("cube has no modality", expected="at least one child beside 'targets'")
    for name in names:
        _check_modality(name, cube[name])
    _check_dated(cube)
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
    strange = sorted(map(repr, set(np.asarray(cube["split"]).tolist()) - set(SPLITS)))
    if strange:
        raise CubeError("cube: unknown split", expected=", ".join(SPLITS), found=", ".join(strange))
    if cube["block"].dtype.kind not in "ui":
        raise CubeError("cube: 'block'", expected="whole numbers", found=cube["block"].dtype)


def _check_dims(where: str, ds: xr.DataTree, name: str, dims: tuple[Hashable, ...]) -> None:
    variables = {**ds.data_vars, **ds.coords}
    if name not in variables:
        raise CubeError(
            f"{where}: no variable {name!r}",
            expected=f"dimensions {dims}",
            found=", ".join(map(str, variables)) or "no variables",
        )
    if variables[name].dims != dims:
        raise CubeError(
            f"{where}: {name!r}", expected=f"dimensions {dims}", found=variables[name].dims
        )


def _check_modality(name: str, ds: xr.DataTree) -> None:
    _check_dims(name, ds, "values", VALUES_DIMS)
    _check_dims(name, ds, "valid", VALID_DIMS)
    _check_dims(name, ds, "time", ("sample", "time"))
    _check_dims(name, ds, "band", ("band",))
    _check_dims(name, ds, "wavelength", ("band",))
    if 0 in ds["values"].shape:
        raise CubeError(
            f"{name}: 'values'", expected="a length of 1 or more", found=dict(ds["values"].sizes)
        )
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
        raise CubeError(
            f"{name}: units", expected=" | ".join(UNITS), found=ds.attrs.get("units", "nothing")
        )
    gsd = ds.attrs.get("gsd")
    if not isinstance(gsd, int | float | np.number) or not gsd > 0:
        raise CubeError(f"{name}: gsd", expected="metres a pixel, above 0", found=repr(gsd))
    if "sensor" in ds.attrs:
        _check_sensor(name, ds, bands)
    _check_time(name, ds)


def _check_sensor(name: str, ds: xr.DataTree, bands: list[str]) -> None:
    try:
        known = sensor(ds.attrs["sensor"])
    except CubeError as error:
        raise CubeError(
            f"{name}: {error.what}", expected=error.expected, found=error.found
        ) from None
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
    gap = missing[:, :-1] & ~missing[:, 1:]
    if gap.any():
        row, column = np.argwhere(gap)[0]
        raise CubeError(
            f"{name}: 'time' of sample {ds['sample'].values[row]!r}",
            expected="NaT only after the last date",
            found=f"NaT before {time[row, column + 1].astype('datetime64[D]')}",
        )
    backwards = time[:, 1:] < time[:, :-1]  # False where either is NaT
    if backwards.any():
        row, column = np.argwhere(backwards)[0]
        first, second = time[row, column : column + 2].astype("datetime64[s]")
        raise CubeError(
            f"{name}: 'time' of sample {ds['sample'].values[row]!r}",
            expected="dates in ascending order",
            found=f"{first} before {second}",
        )


def _check_dated(cube: xr.DataTree) -> None:
    """Refuse samples without a date in any modality; cheap, so every sample is looked at."""
    dated = [~np.isnat(cube[name]["time"].values).all(axis=1) for name in modality_names(cube)]
    some = np.any(dated, axis=0)
    if not some.all():
        raise _empty_sample(cube, int(np.argmin(some)))


def _empty_sample(cube: xr.DataTree, row: int) -> CubeError:
    return CubeError(
        f"sample {cube['sample'].values[row]!r} is empty",
        expected="at least one valid pixel in one modality",
        found="none in " + ", ".join(modality_names(cube)),
        do="drop the sample",
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
                f"targets/{name}: task",
                expected=" | ".join(TASKS),
                found=target.attrs.get("task", "nothing"),
            )


def _check_values(cube: xr.DataTree, samples: np.ndarray) -> None:
    some = np.zeros(len(samples), dtype=bool)
    for name in modality_names(cube):
        ds = cube[name].to_dataset().isel(sample=samples)
        values, valid = ds["values"].values, ds["valid"].values
        undated = np.isnat(ds["time"].values)
        wrong = (valid & undated[:, :, None, None]).any(axis=(1, 2, 3))
        if wrong.any():
            raise CubeError(
                f"{name}: 'valid' of sample {ds['sample'].values[int(np.argmax(wrong))]!r}",
                expected="False where 'time' is NaT",
                found="True",
            )
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
        check_pixels(name, ds, pixels, valid.sum(axis=(2, 3)))
    if not some.all():
        raise _empty_sample(cube, int(samples[int(np.argmin(some))]))
