"""What all explorers share: a state settable from code, a live view, and a static twin."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from maestro_lab.errors import LabError, ParameterError
from maestro_lab.explore.controls import Control

if TYPE_CHECKING:
    from ipywidgets import Widget
    from matplotlib.figure import Figure

    from maestro_lab.explore.picture import Picture

__all__ = ["Explorer", "check_cube", "interactive"]


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


def check_cube(cube: Any) -> Any:
    """Return a cube if it is one.

    Raises
    ------
    ParameterError
        If it is something else: a name, or one modality alone.
    """
    from maestro_lab.cubes.contract import modality_names

    found = type(cube).__name__
    if hasattr(cube, "children"):
        if "sample" in cube.dims and modality_names(cube):
            return cube
        found += " without samples and modalities"
    raise ParameterError(
        "nothing to explore", expected="a cube, as ml.open_cube returns it", found=found,
        do="cube = ml.open_cube(NAME), and give the cube as a whole",
    )  # fmt: skip


class Explorer:
    """Controls above a figure that follows them, and that one can point at.

    Subclasses make the controls and draw the figure for their values. Shown in a notebook it is
    live; executed by papermill, or on a page, it is the figure of :meth:`static`. What one found by
    hand is in :attr:`state`, and :meth:`set` takes it from a parameter cell.

    Parameters
    ----------
    controls
        Name to control; their values are the keyword arguments of :meth:`draw`. A control whose
        options depend on another stands after it.
    """

    title = "Explorer"
    live_plots = False
    """Whether :meth:`plots` takes the place of the figure where somebody can point at it."""

    def __init__(self, controls: Mapping[str, Control]) -> None:
        self.controls = dict(controls)
        self._followers: list[Callable[[], None]] = []

    @property
    def state(self) -> dict[str, Any]:
        """Values of the controls: what one found by hand, to be put into a parameter cell."""
        return {name: control.value for name, control in self.controls.items()}

    def __repr__(self) -> str:
        words = ", ".join(f"{name}={value!r}" for name, value in self.state.items())
        return f"{type(self).__name__}(..., {words})"

    def set(self, **state: Any) -> Explorer:
        """Move controls from code, and return the explorer.

        Raises
        ------
        ParameterError
            For an unknown control, or a value it cannot take; then no control has moved.
        """
        for name in state:
            if name not in self.controls:
                raise ParameterError(
                    f"no control {name!r}", expected=", ".join(self.controls), found=name
                )
        before = {name: copy.copy(vars(control)) for name, control in self.controls.items()}
        try:
            for name in self.controls:
                if name in state:
                    self._choose(name, state[name])
        except LabError:
            for name, kept in before.items():
                vars(self.controls[name]).update(kept)
            raise
        for follow in list(self._followers):
            follow()
        return self

    def _choose(self, name: str, value: Any) -> None:
        control = self.controls[name]
        try:
            control.value = control.check(value)
        except (ValueError, TypeError) as error:
            raise ParameterError(
                f"control {name!r}", expected=control.legal, found=repr(value),
                do=control.hint(value),
            ) from error  # fmt: skip
        self.adapt(name)

    def adapt(self, name: str) -> None:
        """Change what other controls offer, now that one was moved."""

    def follow(self, callback: Callable[[], None]) -> None:
        """Call a function after every change, from code or by hand."""
        self._followers.append(callback)

    def unfollow(self, callback: Callable[[], None]) -> None:
        """Call a function no more."""
        if callback in self._followers:
            self._followers.remove(callback)

    def draw(self, **state: Any) -> Figure:
        """Draw the figure for some values of the controls."""
        raise NotImplementedError

    def static(self) -> Figure:
        """Draw the figure for the present values."""
        return self.draw(**self.state)

    def words(self, **state: Any) -> str:
        """Say, in HTML, what the figure does not show: numbers, and what is missing."""
        return ""

    def plots(self, **state: Any) -> Any:
        """Return holoviews to be shown live in place of the figure."""
        raise NotImplementedError

    def pointed(self, panel: str, x: float, y: float) -> dict[str, Any]:
        """Return which controls a click moves, and where to.

        Parameters
        ----------
        panel
            Label of the axes that was clicked on.
        x, y
            Where, in its data coordinates.
        """
        return {}

    def boxed(self, panel: str, x: tuple[float, float], y: tuple[float, float]) -> dict[str, Any]:
        """Return which controls a box moves that was drawn with the pointer."""
        return {}

    def click(self, panel: str, x: float, y: float) -> Explorer:
        """Do what a click on a panel of the figure does."""
        return self.set(**self.pointed(panel, x, y))

    def select(self, panel: str, x: tuple[float, float], y: tuple[float, float]) -> Explorer:
        """Do what drawing a box on a panel of the figure does."""
        return self.set(**self.boxed(panel, x, y))

    def picture(self) -> Picture:
        """Return the figure as pixels that know where they are, or the error in words."""
        from maestro_lab.explore.picture import picture_of

        return picture_of(self)

    def view(self) -> Widget:
        """Return controls and figure as one widget of JupyterLab."""
        from maestro_lab.explore.lab import lab_view

        return lab_view(self)

    def panel(self) -> Any:
        """Return controls and figure for a page that panel serves."""
        from maestro_lab.explore.served import served_view

        return served_view(self)

    def _ipython_display_(self) -> None:
        from IPython.display import HTML, display

        if interactive():
            if self.live_plots:
                from maestro_lab.explore.lab import load_holoviews

                load_holoviews()
            display(self.view())
            return
        try:
            display(self.static())
        except LabError as error:
            print(error)  # noqa: T201  the still picture of what cannot be drawn
            return
        words = self.words(**self.state)
        if words:
            display(HTML(words))
