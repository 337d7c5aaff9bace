"""Checkpoints and metrics on disk: written whole or not at all, refused when they do not fit."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from maestro_lab.errors import TrainingError

__all__ = ["MetricsFile", "load_checkpoint", "save_checkpoint"]


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint to a temporary name, then rename it over the last one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    try:
        with unfinished.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        unfinished.unlink(missing_ok=True)
        raise TrainingError(
            f"checkpoint {path} could not be written",
            found=str(error).splitlines()[0],
            do="make room; the last complete checkpoint is untouched",
        ) from error


def load_checkpoint(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Read a checkpoint, and refuse one that was made with other settings.

    Raises
    ------
    TrainingError
        If the file is damaged, or names the first setting that differs.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise TrainingError(
            f"checkpoint {path} cannot be read",
            found=str(error).splitlines()[0],
            do="delete it to start anew",
        ) from error
    found = json.loads(state["settings"])
    wanted = json.loads(json.dumps(settings))
    different = list(_differences(wanted, found))
    if different:
        key, expected, there = different[0]
        raise TrainingError(
            f"checkpoint {path} is from another configuration: {key}",
            expected=expected,
            found=there,
            do="resume with the settings of the checkpoint, or choose another run folder",
        )
    return state


def _differences(wanted: Any, found: Any, where: str = "") -> Any:
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in {**wanted, **found}:
            yield from _differences(
                wanted.get(key, "absent"), found.get(key, "absent"), f"{where}.{key}".strip(".")
            )
    elif wanted != found:
        yield where, wanted, found


class MetricsFile:
    """``metrics.jsonl``: one JSON object a line, the same for every run with one seed.

    Times do not belong here: they differ between runs.

    Parameters
    ----------
    path
        The file, or None to keep rows in memory only.
    step
        Rows after this step, written by a run that was killed, are dropped.
    """

    def __init__(self, path: Path | None, step: int = 0) -> None:
        self.path = path
        self.rows = [r for r in read_metrics(path) if r["step"] <= step] if path and step else []
        if path is not None:
            unfinished = path.with_suffix(".unfinished")
            text = "".join(json.dumps(row) + "\n" for row in self.rows)
            try:
                unfinished.write_text(text, encoding="utf-8")
                unfinished.replace(path)
            except OSError as error:
                raise TrainingError(f"{path} cannot be written", found=error.strerror) from error

    def write(self, row: Mapping[str, float | int | str]) -> None:
        """Append a row."""
        self.rows.append(dict(row))
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the complete rows of a metrics file; a line cut short by a kill is left out."""
    rows = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return rows
