"""Who made the processor: numerical libraries treat makers differently."""

from __future__ import annotations

from pathlib import Path

__all__ = ["made_by"]

_TOLD = Path("/proc/cpuinfo")


def made_by(maker: str) -> bool:
    """Tell whether the processor names a maker, such as ``AuthenticAMD``; only Linux tells.

    Examples
    --------
    >>> made_by("NobodyAtAll")
    False
    """
    return _TOLD.exists() and maker in _TOLD.read_text()
