"""What can be chosen in an explorer, apart from how it is shown."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Choice", "Control", "Number", "Spot", "Switch", "nearest_day"]


_MONTH = np.timedelta64(31, "D")


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

    def hint(self, value: Any) -> str | None:
        """Say what was probably meant by a value that cannot be chosen."""
        return None


@dataclass
class Choice(Control):
    """One of several values.

    Parameters
    ----------
    options
        Values, or pairs of a label and a value.
    look
        "list", "slider" or "buttons".
    absent
        Values that others can choose but nobody here, and why.
    """

    options: Sequence[Any] = ()
    look: str = "list"
    absent: Mapping[str, str] = field(default_factory=dict)

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

    def hint(self, value: Any) -> str | None:
        """Return why a value is absent, or the option that comes nearest to what was written."""
        if not isinstance(value, str):
            return None
        if value in self.absent:
            return self.absent[value]
        if value in (str(v) for v in self.values):
            return f"{value} without quotes"
        close = difflib.get_close_matches(value, [v for v in self.values if isinstance(v, str)], 1)
        return f"did you mean {close[0]!r}?" if close else None


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
        whole = "a whole number, " if isinstance(self.step, int) else "a number, "
        return f"{whole}{self.low} to {self.high}"

    def hint(self, value: Any) -> str | None:
        """Tell a number that was given as text."""
        try:
            number = float(value) if isinstance(value, str) else None
        except ValueError:
            return None
        return None if number is None else f"{number:g} without quotes"


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


def nearest_day(value: Any, days: Sequence[Any], *, far: bool = False) -> int | None:
    """Return which of some days lies nearest to a day; None if ``value`` is no day near them.

    Parameters
    ----------
    value
        ISO text, or a date as numpy, pandas or Python have it.
    days
        ISO text, ascending.
    far
        Whether a day may lie more than a month before or after all of them.

    Examples
    --------
    >>> nearest_day("2021-02-01", ["2021-01-05", "2021-01-30"]), nearest_day("7", ["2021-01-05"])
    (1, None)
    """
    if isinstance(value, str) and not re.match(r"\d{4}(-|$)", value):
        return None
    if isinstance(value, int | np.integer) or not len(days):
        return None
    try:
        wished = np.datetime64(value, "m")
    except (ValueError, TypeError):
        return None
    if np.isnat(wished):
        return None
    known = np.array(days, "datetime64[m]")
    if not far and not known[0] - _MONTH <= wished <= known[-1] + _MONTH:
        return None
    return int(np.abs(known - wished).argmin())
