"""What is in a cube, as figures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from maestro_lab.cubes.contract import SPLITS, modality_names, window_side
from maestro_lab.errors import ParameterError
from maestro_lab.figures.drawn import painted_by, parts, several
from maestro_lab.figures.style import (
    COLOURS,
    GREY,
    as_rgb,
    bare,
    composites,
    finish,
    fitting,
    legend,
    narrow,
    new_figure,
    page_width,
    stretch,
    striped,
    styled,
)

__all__ = ["sample_overview", "split_map"]

_STRIPED = "striped: not valid"
SPLIT_COLOURS = dict(zip(SPLITS, (COLOURS[0], COLOURS[4], COLOURS[1], "#DDDDDD"), strict=True))


def _paint_sample(data: xr.DataTree) -> Figure:
    rows, dates = parts(data), len(fitting(data.attrs["dates"]))
    with styled():
        cell = page_width() / (dates + 0.6)
        figure = new_figure((cell + 0.28) * len(rows) + (0.6 if narrow() else 0.3))
        panels = figure.subplots(len(rows), dates, squeeze=False)
        for axes in panels.flat:
            bare(axes)
        for line, row in zip(panels, rows, strict=True):
            _draw_row(line, row)
        words = f"sample {data.attrs['sample']}", "the clearest date of each stretch", _STRIPED
        figure.suptitle(("\n" if narrow() else "; ").join(words), fontsize=9)
    return finish(figure)


@painted_by(_paint_sample)
def sample_overview(cube: xr.DataTree, sample: int | str = 0, *, dates: int = 8) -> xr.DataTree:
    """Draw one sample: some dates of each modality, what is not valid striped.

    Parameters
    ----------
    cube
        The cube.
    sample
        Number or name of the sample.
    dates
        Dates of each modality to show: the clearest of as many stretches of the series.

    Raises
    ------
    ParameterError
        If there is no such sample, or ``dates`` is not at least 1.
    """
    if dates < 1:
        raise ParameterError("dates", expected="at least 1", found=dates)
    number = _number(cube, sample)
    rows = [
        _row(name, cube[name].to_dataset().isel(sample=number), dates)
        for name in modality_names(cube)
    ]
    return several(rows, sample=str(cube["sample"].values[number]), dates=int(dates))


def _number(cube: xr.DataTree, sample: int | str) -> int:
    names = cube.indexes["sample"]
    if isinstance(sample, str) and sample in names:
        return int(names.get_loc(sample))
    if not isinstance(sample, str) and -len(names) <= sample < len(names):
        return int(sample)
    raise ParameterError(
        f"no sample {sample!r}",
        expected=f"a number from 0 to {len(names) - 1}, or a name such as {names[0]!r}",
    )


def _row(name: str, ds: xr.Dataset, dates: int) -> xr.Dataset:
    """Return some dates of a modality in the bands to show."""
    there = np.flatnonzero(~np.isnat(ds["time"].values))
    ds = ds.isel(time=there)
    images, words = composites(ds)
    valid = ds["valid"].values
    stretches = np.array_split(np.arange(len(there)), max(min(dates, len(there)), 1))
    clear = valid.mean((1, 2))
    chosen = [part[clear[part].argmax()] for part in stretches if len(part)]
    return xr.Dataset(
        {
            "values": (("date", "band", "y", "x"), np.float32(images[chosen])),
            "valid": (("date", "y", "x"), valid[chosen]),
            "bounds": (("end", "band"), np.stack(stretch(images, valid))),
        },
        attrs={
            "modality": name, "bands": words,
            "days": [pd.Timestamp(d).strftime("%d %b %Y") for d in ds["time"].values[chosen]],
        },
    )  # fmt: skip


def _draw_row(line: np.ndarray, row: xr.Dataset) -> None:
    line[0].set_ylabel(
        f"{row.attrs['modality']}\n{row.attrs['bands']}", fontsize=6 if narrow() else 7
    )
    chosen = fitting(row.sizes["date"])
    images, valid = (row[name].values[chosen] for name in ("values", "valid"))
    days = [row.attrs["days"][k] for k in chosen]
    if not len(images):
        line[0].text(0.5, 0.5, "missing", ha="center", va="center", transform=line[0].transAxes)
        return
    for axes, image, clear, day in zip(line, images, valid, days, strict=False):
        axes.imshow(striped(as_rgb(image, row["bounds"].values), ~clear))
        colour = "black" if clear.mean() >= 0.5 else GREY
        axes.set_title(day, fontsize=6.5, color=colour, pad=2)


def _paint_splits(data: pd.DataFrame) -> Figure:
    x, y = data["easting"] - data["easting"].min(), data["northing"] - data["northing"].min()
    side = data.attrs["window"]
    with styled():
        figure = new_figure(3.4 if narrow() else 3.2)
        axes = figure.subplots()
        least = max(x.max(), y.max()) / 90
        shown, edge = max(side, least), {"ec": "white", "lw": 0.4} if side > least else {"lw": 0}
        for px, py, name in zip(x, y, data["split"], strict=True):
            corner = (px - (shown - side) / 2, py - (shown - side) / 2)
            axes.add_patch(Rectangle(corner, shown, shown, fc=SPLIT_COLOURS[name], **edge))
        axes.set(aspect="equal", xlabel="metres east", ylabel="metres north")
        axes.set_xlim(-side / 2, x.max() + 1.5 * side)
        axes.set_ylim(-side / 2, y.max() + 1.5 * side)
        count = data.groupby("split")["samples"].sum()
        there = [s for s in SPLITS if s in count]
        handles = [Rectangle((0, 0), 1, 1, fc=SPLIT_COLOURS[s]) for s in there]
        legend(axes, handles, [f"{s} ({count[s]} samples)" for s in there], above=2)
        title = "splits: whole regions, neighbours kept apart"
        figure.suptitle(title, fontsize=9)
    return finish(figure)


@painted_by(_paint_splits)
def split_map(cube: xr.DataTree) -> pd.DataFrame | None:
    """Draw where the samples lie and which split each is in; None for a cube without positions."""
    if "easting" not in cube.data_vars or "northing" not in cube.data_vars:
        return None
    position = {n: np.asarray(cube[n].values, float) for n in ("easting", "northing")}
    table = pd.DataFrame({**position, "split": np.asarray(cube["split"].values).astype(str)})
    places = table.groupby(["easting", "northing", "split"]).size().rename("samples").reset_index()
    places.attrs["window"] = float(cube.attrs.get("window") or window_side(cube))
    return places
