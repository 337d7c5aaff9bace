"""Errors a user can act on: what went wrong, what was expected, what was found, what to do."""

from __future__ import annotations

__all__ = [
    "CatalogError",
    "ContractError",
    "CubeError",
    "CubeWarning",
    "LabError",
    "ParameterError",
    "RunError",
    "SampleError",
    "TrainingError",
    "WeightsError",
]


class LabError(Exception):
    """Base of every error that maestro_lab raises on purpose.

    Parameters
    ----------
    what
        One line naming the thing that is wrong ("s2: bands out of order").
    expected, found
        What was expected and what was found instead.
    do
        The next step for the person who reads this.

    Examples
    --------
    >>> print(LabError("s2: wrong unit", expected="DN", found="dB", do="convert it"))
    s2: wrong unit
      expected: DN
      found:    dB
      to do:    convert it
    """

    def __init__(
        self,
        what: str,
        *,
        expected: object = None,
        found: object = None,
        do: str | None = None,
    ) -> None:
        self.what, self.expected, self.found, self.do = what, expected, found, do
        parts = {"expected": expected, "found": found, "to do": do}
        lines = [f"  {key + ':':<9} {value}" for key, value in parts.items() if value is not None]
        super().__init__("\n".join([what, *lines]))


class CatalogError(LabError):
    """The catalogue file, or a name looked up in it, is wrong."""


class CubeError(LabError):
    """A cube breaks the cube contract, or its source cannot be read."""


class CubeWarning(UserWarning):
    """The pixels of a cube look suspicious; the text says what of, and what to do."""


class ContractError(LabError):
    """A cube and a model disagree on modalities, bands, units or grids."""


class ParameterError(LabError):
    """A parameter has an unknown name, a wrong type or an impossible value."""


class SampleError(ParameterError, IndexError):
    """There is no sample of this number; an ``IndexError`` too, which ends a ``for`` loop."""


class RunError(LabError):
    """A run folder or the execution of a notebook failed."""


class TrainingError(LabError):
    """Training cannot go on (a loss that is not a number, a foreign checkpoint)."""


class WeightsError(LabError):
    """Weights do not fit the model they were meant for."""
