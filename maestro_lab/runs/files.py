"""The small files of a run: plain values in, JSON written wholly or not at all."""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

__all__ = ["NotPlainError", "plain", "read_json", "write_json", "write_text"]

# Unbound, because int(x) or str(x) of a subclass may be anything (str of an enum is its name).
_PLAIN = ((int, int.__int__), (float, float.__float__), (str, str.__str__))


class NotPlainError(TypeError):
    """A value that JSON cannot hold; its text names the place and the type."""


def plain(value: Any, where: str = "value") -> Any:
    """Turn a value into what JSON holds: numpy scalars, paths and tuples become plain.

    Parameters
    ----------
    value
        None, bool, int, float, str, a scalar of numpy or torch, a path, or a list, tuple or
        mapping of such.
    where
        How to call the value in the error.

    Raises
    ------
    NotPlainError
        For anything else, an array for example.

    Examples
    --------
    >>> import numpy as np
    >>> plain({"lr": np.float32(0.5), "bands": ("B02", "B03")})
    {'lr': 0.5, 'bands': ['B02', 'B03']}
    """
    shape = getattr(value, "shape", None)
    if shape == () and hasattr(value, "item"):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    for kind, convert in _PLAIN:
        if isinstance(value, kind):
            return convert(value)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise NotPlainError(f"{where} has the key {key!r}, which is no text")
        return {str(key): plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    detail = f" of shape {tuple(shape)}" if isinstance(shape, tuple) else ""
    raise NotPlainError(f"{where} is a {type(value).__module__}.{type(value).__qualname__}{detail}")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; an absent file is an empty one.

    Raises
    ------
    ValueError
        If the file holds no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"{path}: not a JSON object")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object, wholly or not at all; floats that are not finite become null."""
    text = json.dumps(_finite(dict(content)), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, wholly or not at all: the old one stays until the new one is on disk."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return value
