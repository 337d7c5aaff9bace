"""Names of a package that are imported when they are first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["lazily"]


def lazily(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package that finds names in their modules.

    Parameters
    ----------
    package
        Full name of the package; a name that was found once is kept there.
    homes
        Name to the full name of the module that defines it.

    Examples
    --------
    >>> lazily("maestro_lab", {"LabError": "maestro_lab.errors"})("LabError").__name__
    'LabError'
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return find
