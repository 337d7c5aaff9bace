"""What can be chosen in an explorer, apart from how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Choice", "Control", "Number", "Spot", "Switch"]


@dataclass
class Control:
    """One thing that can be chosen.

    Parameters
    ----------
    value
        What is chosen.
    label
        What it is called beside its widget; empty takes its name.
    hidden
        Whether it has no widget: it is set from code, or by pointing at the picture.
    """

    value: Any = None
    label: str = ""
    hidden: bool = False

    def check(self, value: Any) -> Any:
        """Return the value as it is kept.

        Raises
        ------
        ValueError
            If it cannot be chosen.
        """
        return value

    @property
    def legal(self) -> str:
        """What can be chosen, in words."""
        return "any value"


@dataclass
class Choice(Control):
    """One of several values.

    Parameters
    ----------
    options
        Values, or pairs of a label and a value.
    look
        "list", "slider" or "buttons".
    """

    options: Sequence[Any] = ()
    look: str = "list"

    def __post_init__(self) -> None:
        self.offer(self.options)

    @property
    def values(self) -> list[Any]:
        """What can be chosen."""
        return [value for _, value in self.options]

    @property
    def shown(self) -> list[tuple[str, Any]]:
        """Labels and values for a widget, which must have something to show."""
        return list(self.options) or [("none", "")]

    def offer(self, options: Sequence[Any]) -> None:
        """Offer other values; the present one stays if it is among them, else the first is taken.

        Where there is nothing to choose, the value is empty text.
        """
        self.options = [o if isinstance(o, tuple) else (str(o), o) for o in options]
        if self.value not in self.values:
            self.value = self.values[0] if self.options else ""

    def check(self, value: Any) -> Any:
        """Return the value if it is among the options; empty where there are none."""
        if value not in (self.values or [""]):
            raise ValueError(value)
        return value

    @property
    def legal(self) -> str:
        """The options, many of them cut short."""
        shown = [repr(v) if v == "" else str(v) for v in self.values]
        return ", ".join(shown if len(shown) <= 12 else [*shown[:5], "...", shown[-1]])


@dataclass
class Number(Control):
    """A number between two ends; whole if ``step`` is.

    Parameters
    ----------
    low, high, step
        Ends and grain.
    look
        "slider" or "box".
    """

    low: float = 0
    high: float = 1
    step: float = 1
    look: str = "slider"

    def check(self, value: Any) -> float:
        """Return the number if it lies between the ends."""
        whole = isinstance(self.step, int)
        if isinstance(value, bool) or not self.low <= value <= self.high:
            raise ValueError(value)
        if whole and value != int(value):
            raise ValueError(value)
        return int(value) if whole else round(float(value), 6)  # sliders add up their steps

    @property
    def legal(self) -> str:
        """The ends."""
        return f"{self.low} to {self.high}"


@dataclass
class Switch(Control):
    """Something that is on or off."""

    value: bool = False

    def check(self, value: Any) -> bool:
        """Return the value if it is True or False."""
        if not isinstance(value, bool):
            raise ValueError(value)
        return value

    @property
    def legal(self) -> str:
        """Both values."""
        return "True or False"


@dataclass
class Spot(Control):
    """Something one points at; None is nothing.

    Parameters
    ----------
    taken
        Turns what is given into what is kept; raises ValueError, TypeError or LabError.
    words
        What is legal.
    """

    hidden: bool = True
    taken: Callable[[Any], Any] = field(default_factory=lambda: _as_it_is, repr=False)
    words: str = "any value"

    def check(self, value: Any) -> Any:
        """Return what is kept of the value."""
        return None if value is None else self.taken(value)

    @property
    def legal(self) -> str:
        """What is legal, in words."""
        return self.words


def _as_it_is(value: Any) -> Any:
    return value
