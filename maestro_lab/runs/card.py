"""What a card says of the circumstances: versions, code, machine, process."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from maestro_lab.runs.files import read_json

__all__ = ["circumstances", "device", "git", "hostname", "is_alive", "owner", "state", "status_of"]

PACKAGES = ("torch", "numpy", "xarray", "maestro_lab")


def circumstances(folder: Path) -> dict[str, Any]:
    """Return what a card records before anything runs.

    Parameters
    ----------
    folder
        Where to ask git: the folder of the notebook.
    """
    return {
        "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "seconds": None,
        "versions": {"python": platform.python_version(), **versions()},
        "git": git(folder),
        "device": device(),
        "host": hostname(),
        "cpus": cpus(),
    }


def versions() -> dict[str, str | None]:
    """Return the installed versions, without importing anything."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def git(folder: Path) -> dict[str, Any] | None:
    """Return the revision checked out there and whether files differ from it; None without git."""
    revision = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain")
    if not revision or changes is None:
        return None
    return {"revision": revision, "dirty": bool(changes)}


def _git(folder: Path, *words: str) -> str | None:
    # Without optional locks, a look at the state never gets in the way of a commit.
    env = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", *words], cwd=folder, env=env, capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def device() -> str:
    """Name the accelerator, else ``cpu``; asks torch only if something imported it already."""
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "cuda") and hasattr(torch, "backends"):
        if torch.cuda.is_available():
            return str(torch.cuda.get_device_name())
        return "mps" if torch.backends.mps.is_available() else "cpu"
    for gpu in Path("/proc/driver/nvidia/gpus").glob("*/information"):
        model = re.search(r"^Model:\s*(.+)$", gpu.read_text(errors="replace"), re.MULTILINE)
        if model:
            return model[1].strip()
    return "cpu"


def hostname() -> str:
    """Return the name of this machine."""
    return socket.gethostname()


def cpus() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def owner() -> dict[str, Any]:
    """Return what tells later whether the process that runs a notebook still lives."""
    import psutil

    return {"pid": os.getpid(), "pid_started": psutil.Process().create_time()}


def is_alive(card: Mapping[str, Any]) -> bool:
    """Tell whether the process named in a card may still live; a process elsewhere always may."""
    import psutil

    if card.get("host") != hostname():
        return True
    try:
        process = psutil.Process(int(card["pid"]))
        # A number is given again to other processes, soon in a container.
        same = abs(process.create_time() - float(card["pid_started"])) < 2
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False


def state(card: Mapping[str, Any]) -> str:
    """Return the status in a card; ``killed`` if it says ``running`` and its process is gone."""
    status = str(card.get("status"))
    return "killed" if status == "running" and not is_alive(card) else status


def status_of(folder: Path) -> str:
    """Return the status of a run folder, ``unreadable`` if its card is broken."""
    try:
        return state(read_json(folder / "card.json"))
    except (OSError, ValueError):
        return "unreadable"
