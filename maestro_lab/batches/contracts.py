"""Make the contract of a model for a cube, or for what a catalogue entry describes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from maestro_lab.batches.likeness import kept_statistics
from maestro_lab.catalogue import Entry, catalog
from maestro_lab.contract import Contract, Modality
from maestro_lab.cubes.contract import modality_names, window_side
from maestro_lab.errors import CatalogError, ContractError

__all__ = ["contract_for", "contract_of_entry"]


def contract_for(
    cube: xr.DataTree,
    *,
    modalities: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    norm_groups: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
    token_groups: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
    dates: int | Mapping[str, int] | None = None,
    patch: Mapping[str, int] | None = None,
    size: Mapping[str, int] | None = None,
    resize: str | Mapping[str, str] | None = None,
    window: float | None = None,
    position_cells: int | None = None,
    statistics: pd.DataFrame | None = None,
) -> Contract:
    """Make the contract of a model for a cube.

    Starts from the catalogue entry the cube came from; what that does not say follows from the
    sensor: divisors and logarithms as MAESTRO uses them, patches of about 20 m (a 15th of the
    window where pixels are finer), as many dates as most samples have, 16 at most.

    Parameters
    ----------
    cube
        The cube.
    modalities
        Which modalities, and with a mapping which of their bands. Default: all.
    norm_groups, token_groups
        Modality to :class:`~maestro_lab.bands.BandGroups` or any mapping of names to bands.
    dates
        Dates a sample, one number for all multitemporal modalities or one for each.
    patch
        Side of a patch in pixels, for each modality that differs.
    size
        Side in pixels that windows are resized to before they are cut into patches.
    resize
        "nearest", "bilinear" or "bicubic", one for all modalities or one for each.
    window
        Side in metres of the windows that are cut from larger samples. Default: as the catalogue
        says, else whole samples.
    position_cells
        Cells of the position code along one side.
    statistics
        What :func:`~maestro_lab.cube_statistics` tells of the cube. A model keeps it, and refuses
        cubes whose values are unlike those it was trained on.

    Raises
    ------
    ContractError
        If a modality or band is not in the cube, or patches and groups do not fit.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> contract = ml.contract_for(ml.open_cube("landscape", samples=4), modalities=["s2"], dates=8)
    >>> contract.modalities["s2"].dates
    8
    """
    names = modality_names(cube)
    modalities = [modalities] if isinstance(modalities, str) else modalities
    wanted = names if modalities is None else list(modalities)
    entry = _entry(cube)
    whole = window_side(cube)
    window = window or min(entry.window if entry and entry.window else whole, whole)
    found = {}
    for name in wanted:
        if name not in names:
            raise ContractError(
                f"no modality {name!r}",
                expected=", ".join(names),
                found=name,
                do="name modalities of the cube, or open another cube",
            )
        ds = cube[name]
        options = _defaults(ds, _side(name, ds, window))
        declared = entry.modalities.get(name) if entry else None
        if declared is not None and declared.model is not None:
            options |= declared.model.model_dump(exclude_unset=True)
        bands = modalities[name] if isinstance(modalities, Mapping) else None
        options["bands"] = tuple(bands or (str(b) for b in ds["band"].values))
        for field, given in (("norm_groups", norm_groups), ("token_groups", token_groups)):
            groups = (given or {}).get(name, options.get(field, ()))
            known = [str(b) for b in ds["band"].values]
            options[field] = _restrict(name, field, groups, options["bands"], known)
        several = dates.get(name) if isinstance(dates, Mapping) else dates
        if several is not None and (isinstance(dates, Mapping) or ds.sizes["time"] > 1):
            options["dates"] = several
        for field, given in (("patch", patch), ("size", size)):
            if given and name in given:
                options[field] = given[name]
        how = resize.get(name) if isinstance(resize, Mapping) else resize
        if how:
            options["resize"] = how
        found[name] = _modality(name, ds, options)
    for given in (norm_groups, token_groups, patch, size, resize, dates):
        _refuse_strangers(given, wanted)
    cells = position_cells or (entry.position_cells if entry else 0)
    contract = Contract(found, cells or math.lcm(*(m.grid for m in found.values())))
    if statistics is None:
        return contract
    return replace(contract, statistics=kept_statistics(statistics, contract))


def contract_of_entry(
    entry: str | Entry,
    *,
    modalities: Sequence[str] | None = None,
    catalogue: str | Path | None = None,
) -> Contract:
    """Make the contract that a catalogue entry describes, without any data.

    Parameters
    ----------
    entry
        Name of an entry, or the entry. It says how each modality enters a model, and how wide a
        sample is: that over the metres a pixel are the pixels of a modality.
    modalities
        Which modalities, in this order. Default: all, in the order of the entry.
    catalogue
        Catalogue file; default as in :func:`~maestro_lab.catalogue.catalog`.

    Raises
    ------
    CatalogError
        If there is no such entry.
    ContractError
        If the entry lacks the modality, its model settings or the window.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> contract = ml.contract_of_entry("pastis-hd", modalities=["spot", "s2"])
    >>> contract.modalities["spot"].pixels, contract.modalities["s2"].tokens
    (160, 1024)
    """
    title = f"entry {entry!r}" if isinstance(entry, str) else f"entry {entry.title!r}"
    entry = catalog(catalogue)[entry] if isinstance(entry, str) else entry
    there = entry.modalities
    modalities = [modalities] if isinstance(modalities, str) else modalities
    wanted = list(there) if modalities is None else list(modalities)
    lacks = [f"modality {n}" for n in wanted if n not in there]
    lacks += [f"model settings of {n}" for n in wanted if n in there and there[n].model is None]
    if lacks or entry.window is None:
        raise ContractError(
            f"{title} describes no such input of a model",
            expected=f"a window, and model settings; modalities among {', '.join(there)}",
            found=f"no {lacks[0] if lacks else 'window'}",
            do="make the contract for an open cube (contract_for), or complete the entry",
        )
    found = {}
    for name in wanted:
        m = there[name]
        options = m.model.model_dump(exclude_unset=True)
        options |= {"bands": m.bands, "units": m.units, "gsd": m.gsd}
        found[name] = _named(name, pixels=round(entry.window / m.gsd), **options)
    return Contract(found, entry.position_cells)


def _refuse_strangers(given: object, wanted: Sequence[str]) -> None:
    strangers = [n for n in given if n not in wanted] if isinstance(given, Mapping) else []
    if strangers:
        raise ContractError(
            f"a setting for {strangers[0]!r}, which the model does not take",
            expected=", ".join(wanted),
            found=", ".join(strangers),
        )


def _entry(cube: xr.DataTree) -> Entry | None:
    name = cube.attrs.get("catalogue_entry")
    try:
        return catalog(cube.attrs.get("catalogue")).get(name) if name else None
    except CatalogError:
        return None


def _side(name: str, ds: xr.DataTree, window: float) -> int:
    """Return the pixels along a window."""
    if ds.sizes["x"] != ds.sizes["y"]:
        raise ContractError(
            f"{name}: windows are not square",
            expected="as many rows as columns",
            found=f"{ds.sizes['y']} x {ds.sizes['x']} px",
        )
    exact = window / float(ds.attrs["gsd"])
    if not 1 <= round(exact) <= ds.sizes["x"] or abs(exact - round(exact)) > 0.01:
        raise ContractError(
            f"{name}: a window of {window:g} m",
            expected=f"a multiple of {ds.attrs['gsd']:g} m, at most the sample's "
            f"{ds.sizes['x'] * float(ds.attrs['gsd']):g} m",
            found=f"{exact:g} pixels",
        )
    return round(exact)


def _defaults(ds: xr.DataTree, pixels: int) -> dict[str, Any]:
    """How MAESTRO takes data of this sensor and unit, in windows of so many pixels."""
    units, gsd = ds.attrs["units"], float(ds.attrs["gsd"])
    divide = {
        "DN": 255.0 if ds["values"].dtype == np.uint8 else 5000.0,
        "reflectance": 0.5,
        "linear power": 5.0,
        "dB": 20.0,
        "m": 1000.0,
    }[units]
    side = pixels / 15 if gsd < 1 else 20 / gsd
    least = 2 if ds.sizes["band"] == 1 and pixels > 1 else 1  # one number has no deviation
    legal = [p for p in range(least, pixels + 1) if pixels % p == 0]
    per_sample = (~np.isnat(ds["time"].values)).sum(1)
    return {
        "divide": divide,
        "log": units == "linear power",
        "patch": min(legal, key=lambda p: abs(p - side)),
        "dates": int(np.clip(np.median(per_sample), 1, 16)),
        "pixels": pixels,
    }


def _restrict(
    name: str, field: str, groups: Any, bands: Sequence[str], known: Sequence[str]
) -> list[list[str]]:
    """Keep of each group the bands that the model takes; empty groups vanish."""
    lists = list(groups.values() if isinstance(groups, Mapping) else groups)
    strange = [g for g in lists if isinstance(g, str)] or [
        b for g in lists for b in g if b not in (*known, *bands)
    ]
    if isinstance(groups, str) or strange:
        raise ContractError(
            f"{name}: {field}",
            expected=f"lists of bands among {' '.join(known)}",
            found=repr(groups if isinstance(groups, str) else strange[0]),
            do="name bands of the cube, group by group",
        )
    kept = [[b for b in group if b in bands] for group in lists]
    return [group for group in kept if group]


def _modality(name: str, ds: xr.DataTree, options: Mapping[str, Any]) -> Modality:
    there = [str(b) for b in ds["band"].values]
    absent = [b for b in options["bands"] if b not in there]
    if absent:
        raise ContractError(f"{name}: no band {absent[0]!r}", expected=" ".join(there))
    return _named(name, units=ds.attrs["units"], gsd=float(ds.attrs["gsd"]), **options)


def _named(name: str, **fields: Any) -> Modality:
    """Make a modality; an error says which one it is about."""
    try:
        return Modality(**fields)
    except ContractError as error:
        raise ContractError(
            f"{name}: {error.what}", expected=error.expected, found=error.found, do=error.do
        ) from None
