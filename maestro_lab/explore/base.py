"""What all explorers share: a state settable from code, a view, and a static twin."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from maestro_lab.errors import ParameterError

if TYPE_CHECKING:
    from ipywidgets import Widget
    from matplotlib.figure import Figure

__all__ = ["Explorer", "interactive"]


def interactive() -> bool:
    """Tell whether somebody can move a slider: a kernel that no runner drives.

    Runners (papermill, nbconvert) tell the kernel that nobody is there to answer a question.
    """
    if os.environ.get("MAESTRO_LAB_RUN") or os.environ.get("MAESTRO_LAB_STATIC"):
        return False
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    kernel = getattr(shell, "kernel", None)
    return kernel is not None and getattr(kernel, "_allow_stdin", True)


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
        """Move controls from code, and return the explorer.

        Raises
        ------
        ParameterError
            For an unknown control, or a value it cannot take; then no control has moved.
        """
        before = self.state
        try:
            for name, value in state.items():
                self._move(name, value)
        except ParameterError:
            for name, value in before.items():
                self.controls[name].value = value
            raise
        return self

    def _move(self, name: str, value: Any) -> None:
        from traitlets import TraitError

        if name not in self.controls:
            raise ParameterError(
                f"no control {name!r}", expected=", ".join(self.controls), found=name
            )
        control = self.controls[name]
        with suppress(TraitError, TypeError, ValueError):
            control.value = value
            if value is not None and control.value == value:  # sliders move to their ends instead
                return
        options = getattr(control, "options", None)
        if options:
            values = [o[1] if isinstance(o, tuple) else o for o in options]
            legal = ", ".join(repr(v) if v == "" else str(v) for v in values)
        else:
            legal = f"{control.min} to {control.max}"
        raise ParameterError(f"control {name!r}", expected=legal, found=repr(value))

    def draw(self, **state: Any) -> Figure:
        """Draw the figure for some values of the controls."""
        raise NotImplementedError

    def static(self) -> Figure:
        """Draw the figure for the present values."""
        return self.draw(**self.state)

    def live(self, **state: Any) -> tuple[Any, ...]:
        """Return what JupyterLab shows for some values of the controls: by default the figure."""
        return (self.draw(**state),)

    def view(self) -> Widget:
        """Return controls and figure as one widget."""
        from IPython.display import display
        from ipywidgets import HBox, Layout, VBox, interactive_output

        def show(**state: Any) -> None:
            display(*self.live(**state))

        controls = HBox(list(self.controls.values()), layout=Layout(flex_flow="row wrap"))
        return VBox([controls, interactive_output(show, self.controls)])

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.view() if interactive() else self.static())
