"""Explorers in JupyterLab: ipywidgets above, a picture to point at below."""

from __future__ import annotations

from typing import Any

import anywidget
import ipywidgets as widgets
import traitlets

from maestro_lab.explore.base import Explorer
from maestro_lab.explore.controls import Choice, Control, Number, Switch
from maestro_lab.explore.following import Following
from maestro_lab.explore.picture import CSS, ESM, Picture

__all__ = ["PointedImage", "control_widget", "lab_view", "load_holoviews"]

_WRAPPED = widgets.Layout(flex_flow="row wrap", align_items="center")
_APART = {"margin": "2px 14px 2px 2px"}
_BUTTONS = {"button_width": "auto", "description_width": "initial"}


class PointedImage(anywidget.AnyWidget):
    """An image that tells where it was clicked, or where a box was drawn on it."""

    _esm = ESM
    _css = CSS
    source = traitlets.Unicode().tag(sync=True)
    alt = traitlets.Unicode().tag(sync=True)
    event = traitlets.Dict().tag(sync=True)
    busy = traitlets.Bool(False).tag(sync=True)


def control_widget(name: str, control: Control) -> widgets.Widget:
    """Return the widget of a control."""
    style: dict[str, Any] = {"description": control.label or name}
    if isinstance(control, Switch):
        return widgets.Checkbox(control.value, indent=False, **style)
    style["style"] = {"description_width": "initial"}
    if isinstance(control, Choice):
        options = {"options": control.shown, "value": control.value}
        if control.look == "slider":
            wide = widgets.Layout(width="560px", **_APART)
            return widgets.SelectionSlider(continuous_update=False, layout=wide, **options, **style)
        if control.look == "buttons":
            line = widgets.Layout(display="flex", align_items="center", width="auto", **_APART)
            return widgets.ToggleButtons(layout=line, **options, **style | {"style": _BUTTONS})
        return widgets.Dropdown(layout=widgets.Layout(width="auto", **_APART), **options, **style)
    if not isinstance(control, Number):
        raise TypeError(f"no widget for {type(control).__name__}")
    ends = {"value": control.value, "min": control.low, "max": control.high, "step": control.step}
    whole = isinstance(control.step, int)
    if control.look == "box":
        kind = widgets.BoundedIntText if whole else widgets.BoundedFloatText
        return kind(layout=widgets.Layout(width="130px", **_APART), **ends, **style)
    kind = widgets.IntSlider if whole else widgets.FloatSlider
    narrow = widgets.Layout(width="260px", **_APART)
    return kind(continuous_update=False, layout=narrow, **ends, **style)


class _View(Following):
    """Widgets of JupyterLab that follow an explorer, and that it follows."""

    def __init__(self, explorer: Explorer) -> None:
        super().__init__(explorer, control_widget)
        self.image, self.words, self.line = PointedImage(), widgets.HTML(), widgets.HTML()
        self.plots = widgets.Output()
        for name, widget in self.widgets.items():
            widget.observe(lambda change, name=name: self.moved(name, change["new"]), "value")
        self.image.observe(lambda change: self.pointed(change["new"]), "event")
        self.begin()

    def take_over(self, widget: widgets.Widget, control: Control) -> None:
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

    def say(self, words: str) -> None:
        """Show HTML above the picture."""
        self.words.value = words

    def tell(self, line: str) -> None:
        """Show the line of the state."""
        self.line.value = line

    def draw(self, picture: Picture) -> None:
        """Show a picture."""
        self.image.alt, self.image.source = picture.alt, picture.source

    def plot(self, pane: Any) -> None:
        """Show a pane of holoviews, or none."""
        self.plots.outputs = ()
        if pane is not None:
            self.plots.append_display_data(pane)


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
