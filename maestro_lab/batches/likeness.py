"""Are these values like those a model was trained on? If not: what may have happened to them?"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import xarray as xr

from maestro_lab.contract import Contract
from maestro_lab.cubes.contract import modality_names
from maestro_lab.cubes.statistics import COLUMNS, cube_statistics
from maestro_lab.errors import ParameterError

__all__ = ["KEPT", "compare_statistics", "kept_statistics", "strange_values"]

KEPT = ("mean", "std", "q02", "median", "q98")
"""What a contract keeps of the statistics of its cube."""

_SAMPLES = 32
_FAR = 4.0  # deviations between the means
_WIDE, _NARROW = 8.0, 0.05  # ratio of the deviations
_FACTORS = (1e4, 255.0, 1e-4, 1 / 255)


def kept_statistics(
    table: pd.DataFrame, contract: Contract
) -> dict[str, dict[str, dict[str, float]]]:
    """Return what a contract keeps of :func:`~maestro_lab.cubes.statistics.cube_statistics`.

    Raises
    ------
    ParameterError
        If ``table`` is something else.
    """
    columns = list(table.columns) if isinstance(table, pd.DataFrame) else []
    if not set(COLUMNS) <= set(columns):
        raise ParameterError(
            "statistics", expected="what cube_statistics(cube) returns", found=type(table).__name__
        )
    kept: dict[str, dict[str, dict[str, float]]] = {}
    for name, m in contract.modalities.items():
        rows = {b: table.loc[(name, b)] for b in m.bands if (name, b) in table.index}
        kept[name] = {
            band: {key: float(f"{row[key]:.6g}") for key in KEPT}
            for band, row in rows.items()
            if np.isfinite(row["mean"])
        }
    return kept


def compare_statistics(cube: xr.DataTree, contract: Contract) -> pd.DataFrame:
    """Put the statistics that a contract keeps beside those of a cube.

    Parameters
    ----------
    cube
        The cube; a few of its samples are read.
    contract
        Made with ``contract_for(cube, statistics=...)``.

    Returns
    -------
    pandas.DataFrame
        One row for each (modality, band) both know: ``mean`` and ``std`` of ``model`` and
        ``cube``, and ``away``, the distance of the means in deviations of the model's data.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> cube = ml.open_cube("landscape", samples=8, modalities=["s2"])
    >>> contract = ml.contract_for(cube, statistics=ml.cube_statistics(cube))
    >>> bool(compare_statistics(cube, contract)["away"].max() < 1)
    True
    """
    there = [n for n in modality_names(cube) if contract.statistics.get(n)]
    if not there:
        return pd.DataFrame(columns=["model mean", "model std", "cube mean", "cube std", "away"])
    part = xr.DataTree(cube.to_dataset(inherit=False), children={n: cube[n] for n in there})
    found = cube_statistics(part, _SAMPLES)
    rows = {
        (name, band): {
            "model mean": kept["mean"],
            "model std": kept["std"],
            "cube mean": found.loc[(name, band), "mean"],
            "cube std": found.loc[(name, band), "std"],
            "away": (found.loc[(name, band), "mean"] - kept["mean"]) / max(kept["std"], 1e-12),
        }
        for name in there
        for band, kept in contract.statistics[name].items()
        if (name, band) in found.index and np.isfinite(found.loc[(name, band), "mean"])
    }
    table = pd.DataFrame(rows).T
    table.index.names = ["modality", "band"]
    return table


def strange_values(cube: xr.DataTree, contract: Contract) -> dict[str, str]:
    """Say, for each modality whose values are unlike those a model saw, what may be the matter."""
    if not any(contract.statistics.values()):
        return {}
    table = compare_statistics(cube, contract)
    found = {}
    for name, rows in table.groupby(level="modality", sort=False):
        units = contract.modalities[str(name)].units
        cause = _cause(rows.droplevel("modality"), units)
        if cause:
            found[str(name)] = cause
    return found


def _cause(rows: pd.DataFrame, units: str) -> str:
    model, here = rows["model mean"].to_numpy(), rows["cube mean"].to_numpy()
    std, away = rows["model std"].to_numpy(), rows["away"].to_numpy()
    ratio = _common_factor(model, here)
    if ratio:
        return f"values are about {ratio:g} times as large: in other units than {units}?"
    if units == "linear power" and (here < 0).all():
        return "values are negative: in dB rather than linear power?"
    if units == "dB" and (here > 0).all() and (model < 0).all():
        return "values are positive: in linear power rather than dB?"
    shift = here - model
    if units == "DN" and len(rows) > 2 and (np.abs(shift - 1000) < 350).all():
        return (
            "every band is about 1000 higher: the offset of Sentinel-2 products since 2022 is "
            "still in?"
        )
    swapped = _swapped(model, here, std)
    if swapped is not None:
        first, second = (rows.index[i] for i in swapped)
        return f"{first} looks like {second} and {second} like {first}: are they swapped?"
    spread = rows["cube std"].to_numpy() / np.maximum(std, 1e-12)
    strange = (np.abs(away) > _FAR) | (spread > _WIDE) | (spread < _NARROW)
    if units == "m" or not strange.any():  # mountains are not an error
        return ""
    return "; ".join(
        f"{band}: {row['cube mean']:.4g} ± {row['cube std']:.3g}, the model saw "
        f"{row['model mean']:.4g} ± {row['model std']:.3g}"
        for band, row in rows[strange].iterrows()
    )


def _common_factor(model: np.ndarray, here: np.ndarray) -> float:
    """Return the factor between two ways to write the same numbers; 0 if there is none."""
    if (model <= 0).any() or (here <= 0).any():
        return 0.0
    logs = np.log10(here / model)
    for factor in _FACTORS:
        if (np.abs(logs - np.log10(factor)) < 0.5).all():
            return factor
    return 0.0


def _swapped(model: np.ndarray, here: np.ndarray, std: np.ndarray) -> tuple[int, int] | None:
    """Return the two bands that fit much better the other way round; None if none do."""
    std = np.maximum(std, 1e-12)
    best, found = 5.0, None
    for i, j in combinations(range(len(model)), 2):
        now = ((here[i] - model[i]) / std[i]) ** 2 + ((here[j] - model[j]) / std[j]) ** 2
        then = ((here[i] - model[j]) / std[j]) ** 2 + ((here[j] - model[i]) / std[i]) ** 2
        if now > best and then < now / 8:
            best, found = now, (i, j)
    return found
