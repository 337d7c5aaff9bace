"""Checkpoints and metrics on disk: written whole or not at all, refused when they do not fit."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from maestro_lab.errors import TrainingError
from maestro_lab.training.monitor import read_metrics

__all__ = ["MetricsFile", "load_checkpoint", "save_checkpoint"]

_KEYS = ("model", "optimiser", "ema", "batch", "step", "sums", "counted")


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint to a temporary name, then rename it over the last one."""
    unfinished = path.with_suffix(".unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        raise TrainingError(
            f"checkpoint {path} could not be written",
            expected="a folder that can be written, with room",
            found=_first_line(error),
            do="make room, then resume"
            + ("; the last complete checkpoint is untouched" if path.exists() else ""),
        ) from error
    finally:
        with contextlib.suppress(OSError):  # gone after success; also when interrupted
            unfinished.unlink(missing_ok=True)
            path.parent.rmdir()  # only if nothing was ever written there


def _first_line(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:  # torch tells of positions in the file where the disk was full
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__context__
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def load_checkpoint(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Read a checkpoint, and refuse one that was made with other settings.

    Raises
    ------
    TrainingError
        If the file is damaged, or names the first setting that differs.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = json.loads(state["settings"])
        _check_keys(state)
    except Exception as error:
        raise TrainingError(
            f"checkpoint {path} cannot be read",
            expected="a complete file written by save_checkpoint",
            found=f"{type(error).__name__}: {_first_line(error)[:100]}",
            do="delete it to start anew",
        ) from error
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


def _check_keys(state: Mapping[str, Any]) -> None:
    absent = [key for key in _KEYS if key not in state]
    if absent:
        raise KeyError(absent[0])


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
                path.parent.mkdir(parents=True, exist_ok=True)
                unfinished.write_text(text, encoding="utf-8")
                unfinished.replace(path)
            except OSError as error:
                with contextlib.suppress(OSError):
                    unfinished.unlink(missing_ok=True)
                raise _unwritable(path, error) from error

    def write(self, row: Mapping[str, float | int | str]) -> None:
        """Append a row.

        Raises
        ------
        TrainingError
            If the disk takes no more.
        """
        line = json.dumps(row, allow_nan=False) + "\n"
        self.rows.append(dict(row))
        if self.path is not None:
            try:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(line)
            except OSError as error:
                raise _unwritable(self.path, error) from error


def _unwritable(path: Path, error: OSError) -> TrainingError:
    return TrainingError(
        f"{path} cannot be written",
        expected="a folder that can be written, with room",
        found=_first_line(error),
        do="make room, then resume",
    )
