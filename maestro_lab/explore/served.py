"""The same explorers on a page of their own, served by panel to this machine."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from html import escape
from typing import Any

import panel as pn
import param
from panel.custom import AnyWidgetComponent

from maestro_lab.errors import LabError
from maestro_lab.explore.base import Explorer
from maestro_lab.explore.controls import Choice, Control, Number, Switch
from maestro_lab.explore.following import Following
from maestro_lab.explore.picture import CSS, ESM, Picture, as_it_stands

__all__ = ["serve", "served_view"]

_SOON = 20  # milliseconds, in which a page is told something
_TICK = 1.0  # seconds between words to those who wait


class ServedImage(AnyWidgetComponent):
    """An image that tells where it was clicked, or where a box was drawn on it."""

    _esm = ESM
    _stylesheets = [CSS]  # noqa: RUF012  panel's own way

    source = param.String()
    alt = param.String()
    event = param.Dict(default={})
    busy = param.Boolean(default=False)


def served_widget(name: str, control: Control) -> pn.widgets.Widget:
    """Return the widget of a control."""
    style: dict[str, Any] = {"label": control.label or name}
    if isinstance(control, Switch):
        return pn.widgets.Checkbox(value=control.value, **style)
    if isinstance(control, Choice):
        options = {"options": dict(control.shown), "value": control.value}
        kind = {
            "slider": pn.widgets.DiscreteSlider,
            "buttons": pn.widgets.RadioButtonGroup,
        }.get(control.look, pn.widgets.Select)
        if control.look == "list":
            longest = max(len(label) for label, _ in control.shown)
            style["width"] = min(max(120, 50 + 8 * longest), 300)
        return kind(**options, **style)
    if not isinstance(control, Number):
        raise TypeError(f"no widget for {type(control).__name__}")
    ends = {"value": control.value, "start": control.low, "end": control.high}
    whole = isinstance(control.step, int)
    if control.look == "box":
        kind = pn.widgets.IntInput if whole else pn.widgets.FloatInput
        return kind(width=110, step=control.step, **ends, **style)
    kind = pn.widgets.IntSlider if whole else pn.widgets.FloatSlider
    return kind(step=control.step, **ends, **style)


class _View(Following):
    """Widgets of panel that follow an explorer, and that it follows."""

    def __init__(self, explorer: Explorer) -> None:
        super().__init__(explorer, served_widget)
        self.image = ServedImage()
        self.words, self.line = pn.pane.HTML(), pn.pane.HTML()
        self.plots = pn.Column()
        for name, widget in self.widgets.items():
            # Sliders tell every step while they are dragged; what counts is where they are left.
            throttled = "value_throttled" if "value_throttled" in widget.param else "value"
            widget.param.watch(lambda event, name=name: self.moved(name, event.new), throttled)
        self.image.param.watch(lambda event: self.pointed(event.new), "event")
        self.begin()

    def moved(self, name: str, value: Any) -> None:
        """Take over what a widget says, if it is news."""
        if value != self.explorer.controls[name].value:
            self._soon(lambda: Following.moved(self, name, value))

    def pointed(self, event: dict[str, Any]) -> None:
        """Take over what was pointed at, if anything was."""
        if event:
            self._soon(lambda: Following.pointed(self, event))

    def _soon(self, act: Callable[[], None]) -> None:
        """Act once the page knows that it has to wait."""
        page = pn.state.curdoc
        if page is None or page.session_context is None:
            act()
            return
        self.busy(True)
        page.add_timeout_callback(act, _SOON)

    def take_over(self, widget: pn.widgets.Widget, control: Control) -> None:
        """Bring a widget to what its control says."""
        if isinstance(control, Choice):
            options = dict(control.shown)
            if dict(widget.options) != options:
                widget.param.update(options=options, value=control.value)
                return
        ends = (control.low, control.high) if isinstance(control, Number) else None
        if ends and (widget.start, widget.end) != ends:
            widget.param.update(start=control.low, end=control.high, value=control.value)
        if widget.value != control.value:
            widget.value = control.value

    def say(self, words: str) -> None:
        """Show HTML above the picture."""
        self.words.object = words

    def tell(self, line: str) -> None:
        """Show the line of the state."""
        self.line.object = line

    def draw(self, picture: Picture) -> None:
        """Show a picture."""
        self.image.param.update(alt=picture.alt, source=picture.source)

    def plot(self, pane: Any) -> None:
        """Show a pane of holoviews, or none."""
        self.plots[:] = [] if pane is None else [pane]


def served_view(explorer: Explorer) -> pn.Column:
    """Return an explorer as a column of panel."""
    view = _View(explorer)
    controls = pn.FlexBox(*view.widgets.values())
    return pn.Column(
        controls, view.words, view.image, view.plots, view.line,
        css_classes=["maestro-explorer"],
    )  # fmt: skip


def serve(
    explorers: Mapping[str, Callable[[], Explorer]],
    *,
    title: str = "maestro_lab",
    address: str = "127.0.0.1",
    port: int = 0,
    show: bool = True,
    threaded: bool = False,
) -> Any:
    """Serve explorers as the tabs of a page.

    Parameters
    ----------
    explorers
        Name of a tab to a function that makes its explorer: each visitor has explorers of his own,
        made when he opens their tab.
    title
        Of the page.
    address
        To listen on: by default this machine alone. Whoever reaches it sees the data.
    port
        0 takes a free one.
    show
        Open a browser.
    threaded
        Return at once, with the server; else serve until interrupted.
    """
    import holoviews as hv

    hv.extension("bokeh", logo=False)

    maker = ThreadPoolExecutor(1)  # one at a time: they share cube and model

    def page() -> pn.Column:
        columns = [pn.Column(pn.pane.HTML(_waiting(0))) for _ in explorers]
        makers = list(explorers.values())
        tabs = pn.Tabs(*zip(explorers, columns, strict=True))
        begun: set[int] = set()

        async def fill(*_: Any) -> None:
            number = tabs.active
            if number not in begun:
                begun.add(number)
                await _fill(columns[number], makers[number], maker)

        tabs.param.watch(fill, "active")
        pn.state.onload(fill)
        return pn.Column(f"# {escape(title)}", tabs)

    port = port or _free_port(address)
    origins = [f"{name}:{port}" for name in dict.fromkeys((address, "localhost"))]
    return pn.serve(
        {"/": page}, title=title, address=address, port=port, show=show, threaded=threaded,
        websocket_origin=origins, autoreload=False,
    )  # fmt: skip


async def _fill(column: pn.Column, make: Callable[[], Explorer], maker: Executor) -> None:
    """Make an explorer in a thread of its own, telling the time, and show it."""
    began = time.monotonic()
    task = asyncio.get_running_loop().run_in_executor(maker, _prepared, make)
    while not (await asyncio.wait({task}, timeout=_TICK))[0]:
        column[0].object = _waiting(time.monotonic() - began)
    try:
        column[:] = [served_view(task.result())]
    except Exception as error:
        words = str(error) if isinstance(error, LabError) else f"{type(error).__name__}: {error}"
        column[:] = [pn.pane.HTML(as_it_stands(words))]
        if not isinstance(error, LabError):
            raise  # whoever serves shall see where it comes from


def _prepared(make: Callable[[], Explorer]) -> Explorer:
    """Make an explorer, and let it compute what its first view tells: most keep it."""
    explorer = make()
    with suppress(LabError):  # the view tells it
        explorer.words(**explorer.state)
    return explorer


def _waiting(seconds: float) -> str:
    return (
        "<i>being prepared: some seconds; where a model has to look at the whole cube, up to a "
        f"minute ... {seconds:.0f} s</i>"
    )


def _free_port(address: str) -> int:
    with socket.socket() as free:
        free.bind((address, 0))
        return free.getsockname()[1]
