"""What a view of an explorer does in any toolkit: follow the explorer, and be followed by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from maestro_lab.errors import LabError
from maestro_lab.explore.base import Explorer
from maestro_lab.explore.controls import Control
from maestro_lab.explore.picture import Picture, as_it_stands, point

__all__ = ["Following", "spaced", "state_line"]


class Following:
    """Widgets that follow an explorer, and that it follows.

    Subclasses make the widgets and ``image``, which can be ``busy``, call :meth:`moved` and
    :meth:`pointed` when somebody uses them, and say how words, lines, pictures and plots are shown.

    Parameters
    ----------
    explorer
        What is shown.
    make
        Makes the widget of a control, given its name.
    """

    image: Any

    def __init__(self, explorer: Explorer, make: Callable[[str, Control], Any]) -> None:
        self.explorer, self.following, self.picture = explorer, False, Picture(b"", "")
        self.widgets: Mapping[str, Any] = {
            name: make(name, control)
            for name, control in explorer.controls.items()
            if not control.hidden
        }

    def begin(self) -> None:
        """Show the explorer, now and after every change."""
        self.explorer.follow(self.show)
        self.show()

    def moved(self, name: str, value: Any) -> None:
        """Take over what a widget says."""
        if not self.following:
            self._try(lambda: self.explorer.set(**{name: value}))

    def pointed(self, event: dict[str, Any]) -> None:
        """Take over what was pointed at."""
        self._try(lambda: point(self.explorer, self.picture, event))

    def _try(self, act: Callable[[], Any]) -> None:
        self.busy(True)
        try:
            act()
        except LabError as error:
            self.say(as_it_stands(error))
        finally:
            self.busy(False)

    def show(self) -> None:
        """Bring widgets and picture to what the explorer says."""
        self.following = True
        try:
            for name, widget in self.widgets.items():
                self.take_over(widget, self.explorer.controls[name])
        finally:
            self.following = False
        self.tell(state_line(self.explorer))
        if self.explorer.live_plots:
            self._show_plots()
            return
        self.picture = self.explorer.picture()
        self.draw(self.picture)
        self.say(spaced(self.picture.words))

    def _show_plots(self) -> None:
        """Show holoviews; in a pane of panel, which brings its style sheets along."""
        import panel as pn

        state = self.explorer.state
        try:
            words, plots = self.explorer.words(**state), self.explorer.plots(**state)
        except LabError as error:
            self.say(as_it_stands(error))
            self.plot(None)
            return
        self.say(spaced(words))
        self.plot(pn.pane.HoloViews(plots))

    def take_over(self, widget: Any, control: Control) -> None:
        """Bring a widget to what its control says."""
        raise NotImplementedError

    def say(self, words: str) -> None:
        """Show HTML above the picture."""
        raise NotImplementedError

    def tell(self, line: str) -> None:
        """Show the line of the state."""
        raise NotImplementedError

    def draw(self, picture: Picture) -> None:
        """Show a picture."""
        raise NotImplementedError

    def busy(self, on: bool) -> None:
        """Let the picture fade, if the next one takes long."""
        self.image.busy = on

    def plot(self, pane: Any) -> None:
        """Show a pane of holoviews, or none."""
        raise NotImplementedError


def spaced(words: str) -> str:
    """Set the lines of some words closer than widgets do."""
    return f"<div style='line-height:1.4'>{words}</div>" if words else ""


def state_line(explorer: Explorer) -> str:
    """Return the state as keyword arguments, to be copied into a parameter cell."""
    return (
        "<code class='maestro-state' style='display:block;max-height:4em;overflow:auto;"
        "color:#767676;font-size:11px'>"
        f"{escape(repr(explorer))}</code>"
    )
