"""Runs: one folder a run, notebooks executed strictly, results collected and shown."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

__all__ = ["Run", "collect", "execute", "open_run", "report", "start_run"]

_HOME = {
    "Run": "folder",
    "collect": "collect",
    "execute": "execute",
    "open_run": "folder",
    "report": "report",
    "start_run": "folder",
}


class _Runs(ModuleType):
    """A package in which ``report`` is always the function and never the file of that name.

    Importing ``maestro_lab.runs.report`` makes Python set the attribute ``report`` of the package
    to the module, which would hide the function.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _HOME and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Runs


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
