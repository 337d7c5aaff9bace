"""Explorers in JupyterLab: ipywidgets above, a picture to point at below."""

from __future__ import annotations

from html import escape
from typing import Any

import anywidget
import ipywidgets as widgets
import traitlets

from maestro_lab.errors import LabError
from maestro_lab.explore.base import Explorer
from maestro_lab.explore.controls import Choice, Control, Number, Switch
from maestro_lab.explore.picture import CSS, ESM, Picture, point

__all__ = ["PointedImage", "control_widget", "lab_view", "load_holoviews", "spaced", "state_line"]

_WRAPPED = widgets.Layout(flex_flow="row wrap")


class PointedImage(anywidget.AnyWidget):
    """An image that tells where it was clicked, or where a box was drawn on it."""

    _esm = ESM
    _css = CSS
    source = traitlets.Unicode().tag(sync=True)
    alt = traitlets.Unicode().tag(sync=True)
    event = traitlets.Dict().tag(sync=True)


def control_widget(name: str, control: Control) -> widgets.Widget:
    """Return the widget of a control."""
    style = {"description": control.label or name}
    if isinstance(control, Switch):
        return widgets.Checkbox(control.value, indent=False, **style)
    if isinstance(control, Choice):
        options = {"options": control.shown, "value": control.value}
        if control.look == "slider":
            wide = widgets.Layout(width="540px")
            return widgets.SelectionSlider(continuous_update=False, layout=wide, **options, **style)
        if control.look == "buttons":
            wide = widgets.Layout(width="max-content")
            return widgets.ToggleButtons(
                style={"button_width": "auto", "description_width": "auto"}, layout=wide,
                **options, **style,
            )  # fmt: skip
        return widgets.Dropdown(**options, **style)
    if not isinstance(control, Number):
        raise TypeError(f"no widget for {type(control).__name__}")
    ends = {"value": control.value, "min": control.low, "max": control.high, "step": control.step}
    whole = isinstance(control.step, int)
    if control.look == "box":
        kind = widgets.BoundedIntText if whole else widgets.BoundedFloatText
        return kind(layout=widgets.Layout(width="180px"), **ends, **style)
    kind = widgets.IntSlider if whole else widgets.FloatSlider
    return kind(continuous_update=False, **ends, **style)


class _View:
    """Widgets that follow an explorer, and that it follows."""

    def __init__(self, explorer: Explorer) -> None:
        self.explorer, self.following, self.picture = explorer, False, Picture(b"", "")
        self.widgets = {
            name: control_widget(name, control)
            for name, control in explorer.controls.items()
            if not control.hidden
        }
        self.image, self.words, self.line = PointedImage(), widgets.HTML(), widgets.HTML()
        self.plots = widgets.Output()
        for name, widget in self.widgets.items():
            widget.observe(lambda change, name=name: self.moved(name, change["new"]), "value")
        self.image.observe(lambda change: self.pointed(change["new"]), "event")
        explorer.follow(self.show)
        self.show()

    def moved(self, name: str, value: Any) -> None:
        """Take over what a widget says."""
        if not self.following:
            self._try(lambda: self.explorer.set(**{name: value}))

    def pointed(self, event: dict[str, Any]) -> None:
        """Take over what was pointed at."""
        self._try(lambda: point(self.explorer, self.picture, event))

    def _try(self, act: Any) -> None:
        try:
            act()
        except LabError as error:
            self.words.value = f"<pre>{escape(str(error))}</pre>"

    def show(self) -> None:
        """Bring widgets and picture to what the explorer says."""
        self.following = True
        try:
            for name, widget in self.widgets.items():
                _take_over(widget, self.explorer.controls[name])
        finally:
            self.following = False
        self.line.value = state_line(self.explorer)
        if self.explorer.live_plots:
            self._show_plots()
            return
        self.picture = self.explorer.picture()
        self.image.alt, self.image.source = self.picture.alt, self.picture.source
        self.words.value = spaced(self.picture.words)

    def _show_plots(self) -> None:
        """Show holoviews; in a pane of panel, which brings its style sheets along."""
        import panel as pn

        state = self.explorer.state
        try:
            words, plots = self.explorer.words(**state), self.explorer.plots(**state)
        except LabError as error:
            self.words.value, self.plots.outputs = f"<pre>{escape(str(error))}</pre>", ()
            return
        self.words.value = spaced(words)
        self.plots.outputs = ()
        self.plots.append_display_data(pn.pane.HoloViews(plots))


def spaced(words: str) -> str:
    """Set the lines of some words closer than widgets do."""
    return f"<div style='line-height:1.4'>{words}</div>" if words else ""


def _take_over(widget: widgets.Widget, control: Control) -> None:
    """Bring a widget to what its control says."""
    if isinstance(control, Choice) and list(widget.options) != control.shown:
        widget.options = control.shown
    if isinstance(control, Number) and (widget.min, widget.max) != (control.low, control.high):
        with widget.hold_trait_notifications():
            widget.min, widget.max = control.low, control.high
            widget.value = control.value
    if isinstance(control, Choice) and control.look == "slider":
        widget.disabled = len(control.options) < 2
    if widget.value != control.value:
        widget.value = control.value


def state_line(explorer: Explorer) -> str:
    """Return the state as keyword arguments, to be copied into a parameter cell."""
    words = ", ".join(f"{name}={value!r}" for name, value in explorer.state.items())
    return (
        "<code class='maestro-state' style='display:block;max-height:4em;overflow:auto;"
        "color:#767676;font-size:11px'>"
        f"{escape(type(explorer).__name__)}(..., {escape(words)})</code>"
    )


def load_holoviews() -> None:
    """Bring holoviews with bokeh into the notebook, whole, so that no other host is asked."""
    import holoviews as hv
    import panel as pn

    hv.extension("bokeh", inline=True, logo=False)
    pn.extension(inline=True)


def lab_view(explorer: Explorer) -> widgets.VBox:
    """Return an explorer as one widget."""
    view = _View(explorer)
    controls = widgets.HBox(list(view.widgets.values()), layout=_WRAPPED)
    box = widgets.VBox([controls, view.words, view.image, view.plots, view.line])
    box.add_class("maestro-explorer")
    return box
