"""Cube and model: refuse a cube that breaks a contract, cut one whose samples are larger."""

from __future__ import annotations

from collections.abc import Mapping

import xarray as xr

from maestro_lab.batches.likeness import strange_values
from maestro_lab.contract import Contract
from maestro_lab.cubes.contract import modality_names
from maestro_lab.cubes.windows import cut_windows, lattice
from maestro_lab.errors import ContractError, CubeError

__all__ = ["check_contract", "cut_for"]


def check_contract(cube: xr.DataTree, contract: Contract) -> None:
    """Refuse a cube that is not what a model expects.

    Bands are compared by name, so a cube may hold more of them, or hold them in another order.
    Where the contract keeps statistics, a few samples are read and compared with them.

    Raises
    ------
    ContractError
        Lists every difference: modality, what the model expects, what the cube has.
    """
    names = modality_names(cube)
    differences: list[tuple[str, str]] = []
    for name, m in contract.modalities.items():
        if name not in names:
            differences.append(
                (f"modality {name}", "not in the cube, which has " + ", ".join(names))
            )
            continue
        ds = cube[name]
        bands = [str(b) for b in ds["band"].values]
        absent = [b for b in m.bands if b not in bands]
        if absent:
            differences.append((f"{name}: bands {' '.join(m.bands)}", f"only {' '.join(bands)}"))
        for what, expected, found in (
            ("units", m.units, ds.attrs["units"]),
            ("gsd", m.gsd, float(ds.attrs["gsd"])),
        ):
            if expected != found:
                differences.append((f"{name}: {what} {expected}", str(found)))
    differences += _windows(
        cube, {n: m.pixels for n, m in contract.modalities.items() if n in names}
    )
    if differences:
        raise ContractError(
            "cube and model do not fit",
            expected=";  ".join(e for e, _ in differences),
            found=";  ".join(f for _, f in differences),
            do="open the cube the model was made for, or build a model for this cube",
        )
    strange = strange_values(cube, contract)
    if strange:
        raise ContractError(
            "the values of this cube are unlike those the model was trained on",
            expected="; ".join(f"{name} as in the model's statistics" for name in strange),
            found="; ".join(f"{name}: {cause}" for name, cause in strange.items()),
            do="convert the values; if the ground really is that different, go on without the "
            "statistics: dataclasses.replace(contract, statistics={})",
        )


def _windows(cube: xr.DataTree, wanted: Mapping[str, int]) -> list[tuple[str, str]]:
    """Compare windows; samples may be larger, as windows are cut from them then."""
    sizes = {name: (cube[name].sizes["y"], cube[name].sizes["x"]) for name in wanted}
    if all(sizes[name] == (side, side) for name, side in wanted.items()):
        return []
    if all(min(sizes[name]) >= side for name, side in wanted.items()):
        try:
            lattice(cube, wanted)
            return []
        except CubeError as error:
            return [(f"{error.what}: {error.expected}", str(error.found))]
    return [
        (f"{name}: window {side} x {side} px", f"{sizes[name][0]} x {sizes[name][1]} px")
        for name, side in wanted.items()
        if sizes[name] != (side, side)
    ]


def cut_for(cube: xr.DataTree, contract: Contract) -> xr.DataTree:
    """Cut a cube into the windows of a contract; one that has them already is returned as it is.

    Raises
    ------
    ContractError
        If cube and contract differ.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> cube = ml.open_cube("landscape", samples=2, modalities=["s2"], window=120)
    >>> ml.cut_for(cube, ml.contract_for(cube, window=60)).sizes["sample"]
    8
    """
    check_contract(cube, contract)
    side = {name: m.pixels for name, m in contract.modalities.items()}
    if all(cube[name].sizes["x"] == pixels for name, pixels in side.items()):
        return cube
    return cut_windows(cube, side)
