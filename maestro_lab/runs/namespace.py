"""The parameters of a run, as they stand in the globals of a notebook."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from maestro_lab.errors import ParameterError
from maestro_lab.runs.files import NotPlainError, plain
from maestro_lab.runs.parameters import TYPES, parse

__all__ = ["declared"]


def declared(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters in a notebook's globals: name to plain value.

    Variables annotated with another type than those a parameter may have are no parameters.
    """
    found: dict[str, Any] = {}
    for name, kind in _annotations(namespace).items():
        if kind not in TYPES or name not in namespace or name == "run_folder":
            continue
        try:
            found[name] = plain(namespace[name], name)
        except NotPlainError as error:
            raise ParameterError("a parameter holds no plain value", found=error) from error
    return found


def _annotations(namespace: Mapping[str, Any]) -> dict[str, str]:
    kinds = namespace.get("__annotations__")
    if kinds is None:
        # Python 3.14 keeps a function, and IPython one a statement, so that only the last
        # statement is left in it; the sources of the cells know all of them.
        kinds = dict(_annotated_in_cells(namespace.get("In", [])))
        annotate = namespace.get("__annotate__")
        if annotate is not None:
            with contextlib.suppress(NameError):
                kinds |= annotate(1)
    return {
        name: k if isinstance(k, str) else getattr(k, "__name__", "") for name, k in kinds.items()
    }


def _annotated_in_cells(sources: list[str]) -> Iterator[tuple[str, str]]:
    for source in sources:
        try:
            parameters = parse(source)
        except ParameterError:
            continue
        yield from ((p.name, p.type) for p in parameters)
