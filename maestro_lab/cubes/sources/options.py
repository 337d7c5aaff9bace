"""Options that may be one for all modalities, or one each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from maestro_lab.errors import CubeError

__all__ = ["per_modality"]


def per_modality(said: Mapping[str, Any], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Tell the options of each modality.

    Parameters
    ----------
    said
        Option to a value for all, or ``{modality: value}``.
    names
        The modalities.

    Returns
    -------
    dict
        Modality to option to value; None where an option names other modalities only.

    Raises
    ------
    CubeError
        If an option names a modality that is not there.

    Examples
    --------
    >>> per_modality({"units": "DN", "nodata": {"s2": 0}}, ["s2", "aerial"])["aerial"]
    {'units': 'DN', 'nodata': None}
    """
    for option, value in said.items():
        if not isinstance(value, Mapping) or _named(value, names) or _plain(option, value):
            continue
        strangers = [str(name) for name in value if name not in names]
        raise CubeError(
            f"{option}: {'no modality ' + repr(strangers[0]) if strangers else 'empty'}",
            expected=f"one for all, or some of {', '.join(names)}",
            found=", ".join(map(str, value)) or "nothing",
        )
    return {
        name: {o: v.get(name) if _named(v, names) else v for o, v in said.items()} for name in names
    }


def _named(value: Any, names: Sequence[str]) -> bool:
    return isinstance(value, Mapping) and bool(value) and set(value) <= set(names)


def _plain(option: str, value: Mapping[str, Any]) -> bool:
    """Whether it is {name in the data: band}."""
    return option == "bands" and bool(value) and all(isinstance(b, str) for b in value.values())
