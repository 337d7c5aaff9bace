"""Look around in a cube: sample, modality, date."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from maestro_lab.cubes.contract import modality_names
from maestro_lab.explore.base import Explorer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CubeExplorer"]


class CubeExplorer(Explorer):
    """One sample of a cube: an image of one date, and where it stands in the series.

    Parameters
    ----------
    cube
        The cube.
    modality
        Shown first; default the first one.

    Raises
    ------
    ParameterError
        If the cube has no such modality.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> explorer = CubeExplorer(ml.open_cube("landscape", samples=4, modalities=["s2"]))
    >>> explorer.set(sample=2, date=5).state["date"]
    5
    """

    def __init__(self, cube: xr.DataTree, modality: str = "") -> None:
        from ipywidgets import BoundedIntText, Dropdown, IntSlider

        self.cube = cube
        names = modality_names(cube)
        longest = max(cube[name].sizes["time"] for name in names)
        super().__init__(
            {
                "sample": BoundedIntText(0, 0, cube.sizes["sample"] - 1, description="sample"),
                "modality": Dropdown(options=names, value=names[0], description="modality"),
                "date": IntSlider(0, 0, longest - 1, description="date", continuous_update=False),
            }
        )
        self.set(modality=modality or names[0])

    def set(self, **state: Any) -> CubeExplorer:
        """Move controls from code; a date beyond the longest series means its last."""
        if isinstance(state.get("date"), int):
            state["date"] = min(state["date"], self.controls["date"].max)
        super().set(**state)
        return self

    def draw(self, sample: int, modality: str, date: int) -> Figure:
        """Draw one date of one modality, and the course of its bands over all dates."""
        from maestro_lab.figures.style import finish, new_figure, styled

        ds = self.cube[modality].to_dataset().isel(sample=sample).load()
        days = ds["time"].values
        there = np.flatnonzero(~np.isnat(days))
        with styled():
            figure = new_figure(2.8)
            left, right = figure.subplots(1, 2, width_ratios=[1, 2.2])
            if not len(there):
                left.set_title(f"{modality} is missing in this sample")
                left.axis("off")
                right.axis("off")
                return finish(figure)
            ds, date = ds.isel(time=there), min(date, len(there) - 1)
            _image(left, ds, date)
            _course(right, ds, days[there[date]])
            name = self.cube["sample"].values[sample]
            figure.suptitle(f"{name}: date {date + 1} of {len(there)}", fontsize=9)
        return finish(figure)


def _image(axes: Any, ds: xr.Dataset, date: int) -> None:
    """Draw one date, as bright as it is among the others; hatched where it is not valid."""
    from maestro_lab.figures.style import as_rgb, bare, composites, hatch, stretch

    (images, words), valid = composites(ds), ds["valid"].values
    axes.imshow(as_rgb(images[date], stretch(images, valid if valid.any() else None)))
    hatch(axes, ~valid[date])
    bare(axes)
    share = f"{valid[date].mean():.0%} valid".replace("%", " %")
    day = pd.Timestamp(ds["time"].values[date])
    axes.set_title(f"{day:%d %b %Y}, {share}\n{words}", fontsize=8)


def _course(axes: Any, ds: xr.Dataset, day: np.datetime64) -> None:
    from maestro_lab.figures.style import COLOURS

    values = ds["values"].where(ds["valid"]).mean(("y", "x")).values  # (time, band)
    for k, band in enumerate(ds["band"].values):
        clear = np.isfinite(values[:, k])
        style = "-" if k < len(COLOURS) else "--"
        axes.plot(
            ds["time"].values[clear], values[clear, k], style, marker=".", ms=4, lw=1,
            color=COLOURS[k % len(COLOURS)], label=str(band),
        )  # fmt: skip
    axes.axvline(day, color="#444444", lw=0.8, ls=":")
    axes.set(ylabel=f"mean of valid pixels ({ds.attrs['units']})")
    axes.tick_params(axis="x", rotation=30)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
