"""``describe(cube)``: what is in a cube, as text and as a table in a notebook."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

import numpy as np
import pandas as pd
import xarray as xr

from maestro_lab.cubes.contract import TARGETS, modality_names, validate

__all__ = ["Description", "describe"]


@dataclass(frozen=True)
class Description:
    """What :func:`describe` found; prints as text, shows as a table in a notebook.

    Parameters
    ----------
    title, licence, source
        From the root of the cube.
    samples
        Number of samples.
    splits
        Samples in each split.
    table
        One row a modality: grid, bands, units, dates, valid share, first and last date.
    targets
        One row a target: task, shape, classes.
    note
        How the share of valid pixels was measured.
    """

    title: str
    licence: str
    source: str
    samples: int
    splits: dict[str, int]
    table: pd.DataFrame
    targets: pd.DataFrame
    note: str = field(default="")

    def _head(self) -> list[tuple[str, str]]:
        splits = ", ".join(f"{n} {name}" for name, n in self.splits.items())
        return [
            ("samples", f"{self.samples} ({splits})"),
            ("source", self.source),
            ("licence", self.licence),
        ]

    def __str__(self) -> str:
        head = "\n".join(f"{key:<8} {value}" for key, value in self._head())
        parts = [self.title, head, "", self.table.to_string()]
        if len(self.targets):
            parts += ["", self.targets.to_string()]
        return "\n".join([*parts, *([f"\n{self.note}"] if self.note else [])])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(
            f"<tr><th style='text-align:left'>{key}</th><td style='text-align:left'>"
            f"{escape(value)}</td></tr>"
            for key, value in self._head()
        )
        parts = [f"<h4>{escape(self.title)}</h4><table>{head}</table>"]
        with pd.option_context("display.max_colwidth", None):  # else long lists of bands are cut
            parts += [t.to_html() for t in (self.table, self.targets) if len(t)]
        if self.note:
            parts.append(f"<p><small>{escape(self.note)}</small></p>")
        return "".join(parts)


def describe(cube: xr.DataTree, *, samples: int | None = 64) -> Description:
    """Summarise a cube: per modality shape, grid, bands, units, dates, valid pixels.

    Parameters
    ----------
    cube
        A cube; it is validated first (structure only).
    samples
        How many samples, evenly spread, are read to measure the share of valid pixels; None
        reads all of them.

    Raises
    ------
    CubeError
        If the cube breaks the contract.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> print(ml.describe(ml.open_cube("landscape", samples=8)))  # doctest: +ELLIPSIS
    Synthetic landscape...
    """
    validate(cube, values=0)
    n = cube.sizes["sample"]
    count = n if samples is None else min(n, max(1, samples))
    chosen = np.unique(np.linspace(0, n - 1, count).round().astype(int))
    split = pd.Series(np.asarray(cube["split"].values).astype(str))
    return Description(
        title=cube.attrs["title"],
        licence=cube.attrs["licence"],
        source=cube.attrs["source"],
        samples=n,
        splits={str(k): int(v) for k, v in split.value_counts(sort=False).items()},
        table=pd.DataFrame({m: _modality_row(cube[m], chosen) for m in modality_names(cube)}).T,
        targets=_targets_table(cube),
        note="" if len(chosen) == n else f"Valid share measured on {len(chosen)} of {n} samples.",
    )


def _modality_row(ds: xr.DataTree, chosen: np.ndarray) -> dict[str, str]:
    time = np.asarray(ds["time"].values)
    dated = ~np.isnat(time)
    per_sample = dated.sum(axis=1)
    valid = ds["valid"].isel(sample=chosen).values
    there = dated[chosen]
    share = f"{valid[there].mean():.1%}" if there.any() else "no dates"
    low, high = int(per_sample.min()), int(per_sample.max())
    days = time[dated].astype("datetime64[D]")
    size = f"{ds.sizes['y']} x {ds.sizes['x']} px"
    return {
        "grid": f"{size} of {ds.attrs['gsd']:g} m",
        "bands": " ".join(str(b) for b in ds["band"].values),
        "units": f"{ds.attrs['units']} ({ds['values'].dtype})",
        "dates": str(low) if low == high else f"{low} to {high}",
        "missing": f"{int((per_sample == 0).sum())} samples",
        "valid": share,
        "first": str(days.min()) if days.size else "",
        "last": str(days.max()) if days.size else "",
    }


def _targets_table(cube: xr.DataTree) -> pd.DataFrame:
    if TARGETS not in cube.children:
        return pd.DataFrame()
    rows = {}
    for name, target in cube[TARGETS].data_vars.items():
        classes = target.attrs.get("classes")
        if classes is None and "class" in target.dims:
            classes = target["class"].values
        rows[f"target {name}"] = {
            "task": target.attrs["task"],
            "shape": " x ".join(str(target.sizes[d]) for d in target.dims[1:]) or "one value",
            "classes": "" if classes is None else ", ".join(str(c) for c in classes),
            "units": target.attrs.get("units", ""),
        }
    return pd.DataFrame(rows).T
