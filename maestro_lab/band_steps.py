"""What notebook 01 does in one line: bands meet the catalogue and the models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from maestro_lab.bands import (
    BandGroups,
    Grouping,
    Stability,
    Survey,
    balance,
    compare_references,
    group_bands,
    groupings_to_weigh,
    load_groups,
    references,
    stability_table,
)
from maestro_lab.bands.selection import UNSEEN
from maestro_lab.batches import contract_for
from maestro_lab.contract import Modality
from maestro_lab.cubes.contract import modality_names
from maestro_lab.errors import ContractError, ParameterError

__all__ = [
    "balance_tables",
    "groups_for",
    "groups_results",
    "reference_report",
    "stability_report",
    "survey_bands",
]


def groups_for(
    cube: xr.DataTree, band_groups: str | Path = "", modalities: Sequence[str] = ()
) -> dict[str, BandGroups]:
    """Return the band groups of a cube: those a run of notebook 01 left, or measured now.

    Parameters
    ----------
    cube
        The cube.
    band_groups
        Run folder of notebook 01, or its ``groups.json``; empty measures.
    modalities
        Which modalities; empty takes all. Groups of others are left out.
    """
    wanted = list(modalities) or modality_names(cube)
    if not band_groups:
        return {name: g.groups for name, g in group_bands(cube, modalities=wanted).items()}
    loaded = load_groups(band_groups)
    found = {name: g for name, g in loaded.items() if name in wanted}
    missing = [name for name in wanted if name not in found and cube[name].sizes["band"] > 1]
    if missing:
        raise ParameterError(
            f"{band_groups} has no groups for {', '.join(missing)}",
            expected="groups of the bands of this cube",
            found=f"groups for {', '.join(loaded)}",
            do="run 01_band_groups on this cube, or leave band_groups empty",
        )
    return found


def survey_bands(cube: xr.DataTree, modalities: Sequence[str] = ()) -> Survey:
    """Return a survey of a cube's bands, with the patches that a model of this cube would have.

    Parameters
    ----------
    cube
        The cube.
    modalities
        Which modalities; empty takes all.
    """
    wanted = list(modalities) or modality_names(cube)
    found = _inputs(cube, wanted)
    patch = {n: max(1, round(m.patch * m.pixels / m.size)) for n, m in found.items()}
    return Survey(cube, wanted, patch=patch)


def _inputs(cube: xr.DataTree, modalities: Sequence[str]) -> dict[str, Modality]:
    """Return how a model takes each modality; without those that no model can take."""
    found = {}
    for name in modalities:
        with suppress(ContractError):  # windows that are not square can still be measured
            found |= contract_for(cube, modalities=[name]).modalities
    return found


def balance_tables(survey: Survey, groupings: Mapping[str, Grouping]) -> dict[str, pd.DataFrame]:
    """Tell what reconstruction targets consist of: one group, the proposed ones, known ones, none.

    Parameters
    ----------
    survey
        From :func:`survey_bands`.
    groupings
        From :func:`~maestro_lab.bands.group_bands`.

    Returns
    -------
    dict
        Title to table of :func:`~maestro_lab.bands.balance`, for modalities of several bands.
    """
    inputs = _inputs(survey.cube, survey.modalities)
    tables = {}
    for name, grouping in groupings.items():
        statistics = grouping.statistics
        if len(statistics.bands) < 2:
            continue
        known = references(statistics.bands, statistics.wavelengths)
        at, model = statistics.selection, inputs.get(name)
        divide = model.divide if model else 1.0
        if model and model.log:  # measured in dB, modelled as a natural logarithm
            divide *= 10 / math.log(10)
        side = survey.patch[name]
        title = f"{statistics.modality}: {at}\npatches of {side} x {side} pixels"
        tables[title] = balance(
            survey.cube, name, groupings_to_weigh(grouping.groups, known), patch=side,
            divide=divide, clouds="out" if at.clouds == UNSEEN else at.clouds,
            split=at.split, season=at.season, region=at.region,
        )  # fmt: skip
    return tables


def groups_results(
    groupings: Mapping[str, Grouping],
    comparison: pd.DataFrame,
    sure: Mapping[str, Stability | None],
    weighed: Mapping[str, pd.DataFrame],
) -> dict[str, Any]:
    """Return what notebook 01 found as flat results.

    Parameters
    ----------
    groupings, comparison, sure, weighed
        From :func:`~maestro_lab.bands.group_bands`,
        :func:`~maestro_lab.bands.compare_groupings`, :func:`~maestro_lab.bands.stability` for each
        modality, and :func:`balance_tables`.
    """
    found: dict[str, Any] = {
        "groups": {name: grouping.groups.words for name, grouping in groupings.items()},
        "found by": {name: grouping.how for name, grouping in groupings.items()},
        "ways_that_agree": int(comparison[comparison["proposed"]]["ways"].sum()),
        "ways": int(comparison["ways"].sum()),
    }
    for name, drawn in sure.items():
        if drawn is not None and not drawn.given:
            found[f"{name}: same groups, {drawn.over}s drawn again"] = round(drawn.exact, 3)
    several = [n for n, g in groupings.items() if len(g.statistics.bands) > 1]
    for name, table in zip(several, weighed.values(), strict=True):
        for row in (r for r in table.index if r == "one group" or r.startswith("proposed")):
            key = f"{name}: nothing to learn, {row.split(' = ')[0]}"
            found[key] = round(float(table.loc[row, "constant"]), 3)
    return found


def stability_report(groupings: Mapping[str, Grouping], *, draws: int = 200) -> pd.DataFrame:
    """Return how sure the groups of each modality are, over samples, dates and blocks drawn again.

    What cannot be drawn, as there is only one, has no row.

    Parameters
    ----------
    groupings
        From :func:`~maestro_lab.bands.group_bands`.
    draws
        How often.
    """
    tables = {name: stability_table(g, draws=draws) for name, g in groupings.items()}
    return _stacked({name: t[t["Rand index"].notna()] for name, t in tables.items()})


def reference_report(groupings: Mapping[str, Grouping]) -> pd.DataFrame:
    """Return how close the groups of each modality come to published ones."""
    return _stacked({name: compare_references(g) for name, g in groupings.items()})


def _stacked(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    there = {name: table for name, table in tables.items() if not table.empty}
    if not there:
        return pd.DataFrame()
    return pd.concat(there, names=["modality", None]).reset_index(0).reset_index(drop=True)
