"""Look around in a cube: sample, modality, date, bands, targets, and the course of a pixel."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from maestro_lab.cubes.contract import TARGETS, modality_names
from maestro_lab.errors import ParameterError
from maestro_lab.explore.base import Explorer, check_cube
from maestro_lab.explore.controls import Choice, Number, Spot, nearest_day
from maestro_lab.figures.looks import look_images, looks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from maestro_lab.explore.picture import Picture
    from maestro_lab.figures.sample_view import CubeView

__all__ = ["CubeExplorer"]

CLOUDY = 0.5  # share of valid pixels below which a date is marked
_CLIPS = (("no clipping", 0.0), ("1 to 99 %", 0.01), ("2 to 98 %", 0.02), ("5 to 95 %", 0.05))


class CubeExplorer(Explorer):
    """One sample of a cube: its modalities on the same ground, and the course of their bands.

    A click on an image shows the course of that place in all modalities; a click on a course goes
    to the date that lies there.

    Parameters
    ----------
    cube
        The cube.
    **state
        What is shown first: ``sample`` (number), ``modality``, ``date`` (ISO text, or its number in
        the series), ``bands`` (name of a look), ``clip`` and ``over`` (how brightness is
        stretched), ``target``, ``opacity``, and ``pixel`` (metres east and south of the window's
        north-western corner, None for the whole window).

    Raises
    ------
    ParameterError
        If the cube has no such sample, modality, date, look or target.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> explorer = CubeExplorer(ml.open_cube("landscape", samples=4, modalities=["s2"]))
    >>> explorer.set(sample=2, date=5, pixel=(25.0, 5.0)).state["date"]
    '2021-01-28'
    """

    title = "Cube explorer"

    def __init__(self, cube: xr.DataTree, **state: Any) -> None:
        self.cube, self._kept = check_cube(cube), (None, None)
        names = modality_names(cube)
        targets = list(cube[TARGETS].data_vars) if TARGETS in cube.children else []
        super().__init__(
            {
                "sample": Number(0, low=0, high=cube.sizes["sample"] - 1, look="box"),
                "modality": Choice(options=names),
                "date": Choice(look="slider"),
                "bands": Choice(),
                "clip": Choice(0.02, "stretch", options=_CLIPS),
                "over": Choice("date", options=[("of this date", "date"), ("of all", "sample")]),
                "target": Choice("", options=[("none", ""), *((t, t) for t in targets)]),
                "opacity": Number(0.5, low=0.0, high=1.0, step=0.1),
                "pixel": Spot(taken=self._pixel, words="(metres east, metres south), or None"),
            }
        )
        self._clearest = ""
        self.adapt("sample")
        self.adapt("modality")
        self.set(**state)
        if "date" not in state:
            self.set(date=self._clearest)  # to begin with something to be seen

    def _choose(self, name: str, value: Any) -> None:
        if name == "date" and not isinstance(value, bool):
            value = self._date(value)
        super()._choose(name, value)

    def _date(self, value: Any) -> Any:
        """Return the date of the series that a number or another date means."""
        days = self.controls["date"].values
        if isinstance(value, int | np.integer) and days:
            if not -len(days) <= value < len(days):
                raise ParameterError(
                    f"no date {value} of {self.controls['modality'].value}",
                    expected=f"-{len(days)} to {len(days) - 1}, or a day", found=str(value),
                    do=f"the days go from {days[0]} to {days[-1]}",
                )  # fmt: skip
            return days[int(value)]
        near = nearest_day(value, days)
        return value if near is None else days[near]

    def _pixel(self, value: Any) -> tuple[float, float]:
        east, south = (round(float(v), 2) for v in value)
        ds = self.cube[self.controls["modality"].value]
        sides = [ds.sizes[k] * float(ds.attrs["gsd"]) for k in ("x", "y")]
        if not (0 <= east <= sides[0] and 0 <= south <= sides[1]):
            raise ParameterError(
                "pixel", expected=f"0 to {sides[0]:g} m east, 0 to {sides[1]:g} m south",
                found=f"{east:g}, {south:g}",
            )  # fmt: skip
        return east, south

    def adapt(self, name: str) -> None:
        """Offer the dates and looks of the modality; the date stays as near as it can."""
        if name not in ("sample", "modality"):
            return
        modality = self.controls["modality"].value
        ds = self.cube[modality].to_dataset()
        if name == "modality":
            self.controls["bands"].offer(list(looks(ds["band"].values)))
        date, before = self.controls["date"], self.controls["date"].value
        one = ds.isel(sample=self.controls["sample"].value)
        days = one["time"].values
        there = np.flatnonzero(~np.isnat(days))
        clear = one["valid"].isel(time=there).mean(("y", "x")).values
        date.offer(_named(days[there], clear))
        self._clearest = date.values[int(clear.argmax())] if date.options else ""
        if before and date.options:
            date.value = date.values[nearest_day(before, date.values, far=True)]

    def view_of(self, **state: Any) -> CubeView:
        """Return what the figure is drawn from."""
        from maestro_lab.figures.sample_view import CubeView

        return CubeView(**{**self.state, **state, "date": state.get("date") or ""})

    def draw(self, **state: Any) -> Figure:
        """Draw all modalities at one date, and the courses of their bands."""
        from maestro_lab.figures.sample_view import cube_view

        return cube_view(self.cube, self.view_of(**state))

    def picture(self) -> Picture:
        """Return the figure as pixels; when nothing but the date moved, only what moves with it."""
        from maestro_lab.explore.moving import MovingPicture

        rest = {name: value for name, value in self.state.items() if name != "date"}
        key, moving = self._kept
        if moving is None or key != rest:
            picture = super().picture()
            self._kept = (rest, MovingPicture(picture.figure)) if picture.png else (None, None)
            return picture
        from maestro_lab.figures.sample_view import prepare_cube

        state = self.state
        return moving.at(prepare_cube(self.cube, self.view_of(**state)), self.words(**state))

    def words(self, **state: Any) -> str:
        """Tell values at the place of modalities with one date, and targets without pixels."""
        sample, lines = state["sample"], []
        for name in modality_names(self.cube):
            ds = self.cube[name].to_dataset().isel(sample=sample)
            there = np.flatnonzero(~np.isnat(ds["time"].values))
            if not len(there):
                lines.append(f"<b>{escape(name)}</b> is missing in this sample")
            elif len(there) == 1:
                lines.append(f"<b>{escape(name)}</b> {self._values(ds.isel(time=there), state)}")
        lines += self._target_words(sample, state["target"])
        return "<div class='maestro-words'>" + "<br>".join(lines) + "</div>"

    def _values(self, ds: xr.Dataset, state: dict[str, Any]) -> str:
        from maestro_lab.figures.cube_panels import pixel_at

        if state["pixel"] is None:
            return "one date: click on a place to see its values"
        row, column = pixel_at(state["pixel"], float(ds.attrs["gsd"]), ds.sizes["y"], ds.sizes["x"])
        here = ds.isel(y=[row], x=[column], time=[0]).load()
        if not bool(here["valid"].values.all()):
            return "not valid here"
        units = "dB" if ds.attrs["units"] == "linear power" else ds.attrs["units"]
        every = looks(ds["band"].values)
        values = {str(b): look_images(here, every[str(b)]).item() for b in ds["band"].values}
        day = pd.Timestamp(here["time"].values[0])
        shown = ", ".join(f"{escape(band)} {value:.4g}" for band, value in values.items())
        return f"{shown} {escape(units)} ({day:%d %b %Y})"

    def _target_words(self, sample: int, name: str) -> list[str]:
        if not self.controls["target"].options[1:]:
            return ["This cube has no targets."]
        if not name or self.cube[TARGETS][name].dims[-2:] == ("y", "x"):
            return []
        variable = self.cube[TARGETS][name].isel(sample=sample)
        values = np.atleast_1d(variable.values)
        units = escape(str(variable.attrs.get("units", "")))
        if "class" in variable.dims:
            pairs = zip(variable["class"].values, values, strict=True)
            text = ", ".join(f"{escape(str(c))} {v:.3g}" for c, v in pairs)
        else:
            classes = variable.attrs.get("classes", ())
            text = str(classes[int(values[0])]) if len(classes) else f"{values[0]:.4g}"
        return [f"<b>{escape(name)}</b> of the whole sample: {text} {units}".rstrip()]

    def pointed(self, panel: str, x: float, y: float) -> dict[str, Any]:
        """Choose a place on an image, or a date on a course."""
        kind, _, name = panel.partition(":")
        if kind == "image":
            return {"pixel": (x, y)}
        if kind == "course":
            from matplotlib.dates import num2date

            return {"modality": name, "date": f"{num2date(x):%Y-%m-%d}"}
        return {}


def _named(days: np.ndarray, clear: np.ndarray) -> list[tuple[str, str]]:
    """Name dates by their day, by the minute where a day has several; cloudy ones are marked."""
    by_day = np.datetime_as_string(days, "D")
    unique, count = np.unique(by_day, return_counts=True)
    several = set(unique[count > 1])
    found = []
    for day, when, share in zip(by_day, days, clear, strict=True):
        value = str(np.datetime_as_string(when, "m")) if day in several else str(day)
        mark = f" ☁ {share:.0%} clear".replace("%", " %") if share < CLOUDY else ""
        found.append((f"{value.replace('T', ' ')}{mark}", value))
    return found
