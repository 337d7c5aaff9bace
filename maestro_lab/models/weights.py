"""Weights on disk: safetensors, with everything needed to use them in a JSON beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from maestro_lab.errors import WeightsError
from maestro_lab.models.config import MaestroConfig
from maestro_lab.models.maestro import Maestro

__all__ = ["LoadReport", "load_into", "load_model", "save_model"]

WEIGHTS, CONTRACT = "model.safetensors", "model.json"
_FORMAT = 1
_KINDS = {"maestro": (MaestroConfig, Maestro)}


@dataclass(frozen=True)
class LoadReport:
    """What came out of a weights file.

    Parameters
    ----------
    tensors, wanted
        Tensors loaded, and tensors the model has.
    parameters, share
        Numbers loaded, and their share of the model's.
    missing, unexpected
        Names the file lacks, and names the model has no place for.
    """

    tensors: int
    wanted: int
    parameters: int
    share: float
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return (
            f"{self.tensors} of {self.wanted} tensors, {self.share:.0%} of the parameters loaded "
            f"({self.parameters:,} numbers)"
        ).replace("%", " %")


def save_model(
    model: Maestro,
    folder: str | Path,
    *,
    parameters: Mapping[str, Tensor] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``model.safetensors`` and ``model.json`` into a folder.

    Parameters
    ----------
    model
        What to save.
    folder
        Must exist; both files appear whole or not at all.
    parameters
        Parameters to save in place of the model's own, such as averaged ones.
    facts
        Further facts for the JSON (data set, training settings).

    Returns
    -------
    Path
        The weights file.
    """
    folder = Path(folder)
    state = {**model.state_dict(), **(parameters or {})}
    state = {name: t.detach().cpu().contiguous().clone() for name, t in state.items()}
    unfinished = folder / (WEIGHTS + ".unfinished")
    try:
        save_file(state, unfinished)
        digest = hashlib.sha256(unfinished.read_bytes()).hexdigest()
        card = {
            "format": _FORMAT,
            "kind": "maestro",
            "sha256": digest,
            "parameters": sum(t.numel() for t in state.values()),
            "config": model.config.to_dict(),
            "facts": dict(facts or {}),
        }
        card_file = folder / (CONTRACT + ".unfinished")
        card_file.write_text(json.dumps(card, indent=1), encoding="utf-8")
        unfinished.replace(folder / WEIGHTS)
        card_file.replace(folder / CONTRACT)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        (folder / (CONTRACT + ".unfinished")).unlink(missing_ok=True)
        raise WeightsError(
            f"weights could not be written to {folder}", found=error.strerror or str(error)
        ) from error
    return folder / WEIGHTS


def load_model(folder: str | Path) -> tuple[Maestro, LoadReport]:
    """Build the model that a folder describes, with its weights.

    Raises
    ------
    WeightsError
        If a file is missing, damaged or belongs to another model.

    Examples
    --------
    >>> import tempfile
    >>> from maestro_lab.contract import Contract, Modality
    >>> s2 = Modality(("B02", "B03"), "DN", gsd=10, pixels=6, patch=2, dates=4)
    >>> model = Maestro(MaestroConfig(Contract({"s2": s2}, 6), size="nano"))
    >>> path = save_model(model, tempfile.mkdtemp())
    >>> again, report = load_model(path.parent)
    >>> report.share
    1.0
    """
    folder = Path(folder)
    card = _card(folder)
    config_type, model_type = _KINDS[card["kind"]]
    model = model_type(config_type.from_dict(card["config"]))
    try:
        state = load_file(folder / WEIGHTS)
    except Exception as error:
        raise WeightsError(
            f"{folder / WEIGHTS} cannot be read",
            expected="a safetensors file",
            found=str(error).splitlines()[0],
        ) from error
    return model, load_into(model, state)


def _card(folder: Path) -> dict[str, Any]:
    path = folder / CONTRACT
    if not path.is_file() or not (folder / WEIGHTS).is_file():
        raise WeightsError(
            f"no weights in {folder}",
            expected=f"{WEIGHTS} and {CONTRACT}, as a pretraining run leaves them",
            found=", ".join(sorted(p.name for p in folder.glob("*"))[:8]) or "nothing",
        )
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        known = card["format"] == _FORMAT and card["kind"] in _KINDS
    except (json.JSONDecodeError, KeyError) as error:
        raise WeightsError(f"{path} is damaged", found=str(error)) from error
    if not known:
        raise WeightsError(
            f"{path} is of another kind",
            expected=f"format {_FORMAT}, kind {' or '.join(_KINDS)}",
            found=f"format {card['format']}, kind {card['kind']}",
        )
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    if digest != card["sha256"]:
        raise WeightsError(
            f"{folder / WEIGHTS} is not the file that {CONTRACT} describes",
            expected=f"sha256 {card['sha256'][:12]}...",
            found=f"{digest[:12]}...",
        )
    return card


def load_into(
    model: torch.nn.Module, state: Mapping[str, Tensor], *, partial: bool = False
) -> LoadReport:
    """Load tensors into a model, and say how many found their place.

    Parameters
    ----------
    model
        Changed in place, unless an error is raised.
    state
        Parameter name to tensor.
    partial
        Accept missing and unexpected names. Shapes must agree all the same.

    Raises
    ------
    WeightsError
        If a shape differs or, unless ``partial``, a name is missing or unexpected.
    """
    own = model.state_dict()
    missing = tuple(name for name in own if name not in state)
    unexpected = tuple(name for name in state if name not in own)
    for name in own:
        if name in state and own[name].shape != state[name].shape:
            raise WeightsError(
                f"weights do not fit: {name}",
                expected=f"shape {tuple(own[name].shape)}",
                found=f"shape {tuple(state[name].shape)}",
            )
    loaded = {name: t for name, t in state.items() if name in own}
    numbers = sum(own[name].numel() for name in loaded)
    total = max(1, sum(t.numel() for t in own.values()))
    report = LoadReport(len(loaded), len(own), numbers, numbers / total, missing, unexpected)
    if (missing or unexpected) and not partial:
        raise WeightsError(
            f"weights do not fit: {report}",
            expected="every tensor of the model and no other",
            found=f"missing {_some(missing)}; unexpected {_some(unexpected)}",
        )
    model.load_state_dict(loaded, strict=False)
    return report


def _some(names: tuple[str, ...]) -> str:
    return (
        ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "none"
    )
