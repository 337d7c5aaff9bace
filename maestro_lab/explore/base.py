"""What all explorers share: a state settable from code, a view, and a static twin."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipywidgets import Widget
    from matplotlib.figure import Figure

__all__ = ["Explorer", "interactive"]


def interactive() -> bool:
    """Tell whether somebody can move a slider: a kernel that no runner drives."""
    if os.environ.get("MAESTRO_LAB_RUN") or os.environ.get("MAESTRO_LAB_STATIC"):
        return False
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


class Explorer:
    """Controls above a matplotlib figure that follows them.

    Subclasses make the controls and draw the figure for their values. Shown in a notebook it is
    live; executed by papermill, or on a page, it is the figure of :meth:`static`.

    Parameters
    ----------
    controls
        Name to widget; their values are the keyword arguments of :meth:`draw`.
    """

    def __init__(self, controls: dict[str, Widget]) -> None:
        self.controls = controls

    @property
    def state(self) -> dict[str, Any]:
        """Values of the controls: what one found by hand, to be put into a parameter cell."""
        return {name: control.value for name, control in self.controls.items()}

    def set(self, **state: Any) -> Explorer:
        """Move controls from code, and return the explorer."""
        for name, value in state.items():
            self.controls[name].value = value
        return self

    def draw(self, **state: Any) -> Figure:
        """Draw the figure for some values of the controls."""
        raise NotImplementedError

    def static(self) -> Figure:
        """Draw the figure for the present values."""
        return self.draw(**self.state)

    def view(self) -> Widget:
        """Return controls and figure as one widget."""
        from IPython.display import display
        from ipywidgets import HBox, VBox, interactive_output

        def show(**state: Any) -> None:
            display(self.draw(**state))

        return VBox([HBox(list(self.controls.values())), interactive_output(show, self.controls)])

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.view() if interactive() else self.static())
