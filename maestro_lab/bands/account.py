"""A grouping told in plain data and in words, for the command line."""

from __future__ import annotations

import math
from typing import Any

from maestro_lab.bands.grouping import Grouping
from maestro_lab.bands.resampling import compare_references, stability_table

__all__ = ["account", "in_words"]


def account(grouping: Grouping) -> dict[str, Any]:
    """Return all that was found as plain JSON data.

    Parameters
    ----------
    grouping
        From :func:`~maestro_lab.bands.group_bands`.

    Returns
    -------
    dict
        modality, groups, how they were found, distances (band to band), stability for samples,
        dates and blocks, and agreement with references. Numbers that do not exist are None.
    """
    statistics = grouping.statistics
    return {
        "modality": statistics.modality,
        "groups": grouping.groups.to_dict(),
        "statistic": grouping.statistic,
        "clouds": statistics.selection.clouds,
        "selection": str(statistics.selection),
        "linkage": grouping.linkage,
        "chosen": grouping.chosen,
        "silhouette": _number(grouping.silhouette),
        "pixels": statistics.n,
        "units": statistics.units,
        "bands": list(statistics.bands),
        "distances": [[float(d) for d in row] for row in grouping.matrix],
        "stability": _records(stability_table(grouping)),
        "references": _records(compare_references(grouping)),
    }


def _records(table: Any) -> list[dict[str, Any]]:
    rows = table.to_dict("records")
    return [{k: _number(v) if isinstance(v, float) else v for k, v in row.items()} for row in rows]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def in_words(found: dict[str, Any]) -> str:
    """Return an :func:`account` as lines for a terminal."""
    groups = " | ".join(" ".join(bands) for bands in found["groups"].values())
    silhouette = found["silhouette"]
    known = "" if silhouette is None else f", silhouette {silhouette:.2f}"
    lines = [
        f"{found['modality']}: {groups}",
        f"  {found['statistic']}, {found['linkage']} linkage, {found['chosen']}{known}",
        f"  {found['selection']}, {found['pixels']:,} pixels, {found['units']}",
    ]
    bands = found["bands"]
    if len(bands) > 1:
        width = max(4, *(len(b) for b in bands))
        lines += ["", "  " + " " * width + "".join(f" {b:>{width}}" for b in bands)]
        for band, row in zip(bands, found["distances"], strict=True):
            lines.append(f"  {band:<{width}}" + "".join(f" {d:{width}.2f}" for d in row))
        lines.append("")
    for row in found["stability"]:
        several = "s" if row["of"] != 1 else ""
        numbers = ""
        if row["within"] is not None and row["verdict"] != "given":
            numbers = (
                f"; the same groups in {row['same groups']:.0%} of the draws, pairs of one group "
                f"in {row['within']:.0%} or more, of two in {row['between']:.0%} or less"
            ).replace("%", " %")
        lines.append(f"  {row['of']:,} {row['drawn']}{several}: {row['verdict']}{numbers}")
    for row in found["references"]:
        index = "" if row["Rand index"] is None else f"Rand index {row['Rand index']:.2f} with "
        lines.append(f"  {index}{row['reference']}: {row['groups']}")
    return "\n".join(lines)
