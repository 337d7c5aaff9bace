"""Weights on disk: safetensors, with everything needed to use them in a JSON beside them."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from maestro_lab.errors import LabError, WeightsError
from maestro_lab.models.olmoearth.config import OlmoEarthConfig
from maestro_lab.models.olmoearth.norms import input_contract
from maestro_lab.models.predictor import Predictor, PredictorConfig, build_predictor
from maestro_lab.models.systems import SYSTEMS, Model, system_of

__all__ = ["LoadReport", "check_fit", "load_into", "load_model", "save_model", "write_pair"]

WEIGHTS, CONTRACT = "model.safetensors", "model.json"
_FORMAT = 1
_KINDS = {**SYSTEMS, "predictor": (PredictorConfig, build_predictor)}
_AGAIN = "copy the folder again, or train again"


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
    not_asked
        Heads of the file that were left there because nobody asked for them.

    Examples
    --------
    >>> LoadReport(312, 312, 15_960_000, 1.0)
    312 of 312 tensors, 100 % of the parameters loaded (15,960,000 numbers)
    """

    tensors: int
    wanted: int
    parameters: int
    share: float
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    not_asked: tuple[str, ...] = ()

    def __repr__(self) -> str:
        percent = int(100 * self.share)  # 100 only where nothing is missing
        heads = f"; heads not asked for: {', '.join(self.not_asked)}" if self.not_asked else ""
        return (
            f"{self.tensors} of {self.wanted} tensors, {percent} % of the parameters loaded "
            f"({self.parameters:,} numbers){heads}"
        )


def save_model(
    model: Model | Predictor,
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
        Made if it is not there; both files appear whole or not at all.
    parameters
        Parameters to save in place of the model's own, such as averaged ones.
    facts
        Further facts for the JSON (data set, training settings).

    Returns
    -------
    Path
        The weights file.

    Raises
    ------
    WeightsError
        If ``parameters`` are not those of the model, or the files cannot be written.
    """
    state = {**model.state_dict(), **(parameters or {})}
    check_fit(model.state_dict(), state, partial=False)
    state = {name: t.detach().cpu().contiguous().clone() for name, t in state.items()}
    kind = "predictor" if isinstance(model, Predictor) else system_of(model.config)
    encoder = model.config.encoder if isinstance(model, Predictor) else model.config

    def card(weights: Path) -> str:
        content = {
            "format": _FORMAT,
            "kind": kind,
            "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
            "parameters": sum(t.numel() for t in state.values()),
            "config": model.config.to_dict(),
            "facts": dict(facts or {}),
        }
        if isinstance(encoder, OlmoEarthConfig):  # MAESTRO's contract is part of its config
            content["contract"] = input_contract(encoder)
        return json.dumps(content, indent=1)

    return write_pair(folder, WEIGHTS, lambda place: save_file(state, place), CONTRACT, card)


def write_pair(
    folder: str | Path,
    weights: str,
    write: Callable[[Path], Any],
    card: str,
    text: Callable[[Path], str],
) -> Path:
    """Write weights and the JSON beside them; both appear whole or not at all.

    Parameters
    ----------
    folder
        Made if it is not there.
    weights, card
        Names of the files.
    write
        Writes the weights to a path.
    text
        Returns the JSON, given where the weights are.

    Returns
    -------
    Path
        The weights file.

    Raises
    ------
    WeightsError
        If they cannot be written.
    """
    folder = Path(folder).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WeightsError(
            f"{folder} cannot be made",
            expected="a folder, or a place for one",
            found=error.strerror,
            do="name another folder",
        ) from error
    unfinished = [folder / f"{name}.unfinished" for name in (weights, card)]
    try:
        write(unfinished[0])
        unfinished[1].write_text(text(unfinished[0]), encoding="utf-8")
        for path, name in zip(unfinished, (weights, card), strict=True):
            path.replace(folder / name)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch tells a full disk as the 2nd
        raise WeightsError(
            f"weights could not be written to {folder}",
            expected="a folder that can be written, with room",
            found=getattr(error, "strerror", None) or str(error).splitlines()[0],
            do="make room or choose another folder",
        ) from error
    finally:
        for path in unfinished:  # gone after success
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
    return folder / weights


def load_model(folder: str | Path) -> tuple[Model | Predictor, LoadReport]:
    """Build the model, or encoder with heads, that a folder describes, with its weights.

    Raises
    ------
    WeightsError
        If a file is missing, damaged or belongs to another model.

    Examples
    --------
    >>> import tempfile
    >>> from maestro_lab.models.systems import build_model
    >>> model = build_model(OlmoEarthConfig.of("v1.2", "nano"))
    >>> path = save_model(model, tempfile.mkdtemp())
    >>> again, report = load_model(path.parent)
    >>> report.share
    1.0
    """
    folder = Path(folder)
    card = _card(folder)
    config_type, model_type = _KINDS[card["kind"]]
    try:
        model = model_type(config_type.from_dict(card["config"]))
    except (LabError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(
            f"{folder / CONTRACT} describes no model",
            expected="a configuration as save_model writes it",
            found=f"{type(error).__name__}: {str(error).splitlines()[0]}",
            do=_AGAIN,
        ) from error
    try:
        state = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{folder / WEIGHTS} cannot be read",
            expected="a safetensors file",
            found=str(error).splitlines()[0],
            do=_AGAIN,
        ) from error
    return model, load_into(model, state)


def _card(folder: Path) -> dict[str, Any]:
    path = folder / CONTRACT
    if not path.is_file() or not (folder / WEIGHTS).is_file():
        raise WeightsError(
            f"no weights in {folder}",
            expected=f"{WEIGHTS} and {CONTRACT}, as a pretraining run leaves them",
            found=", ".join(sorted(p.name for p in folder.glob("*"))[:8]) or "nothing",
            do="name a folder with weights",
        )
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        kind = (card["format"], card["kind"], str(card["sha256"]), card["config"])[:2]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{path} is damaged",
            expected="JSON with format, kind, sha256 and config",
            found=f"{type(error).__name__}: {error}",
            do=_AGAIN,
        ) from error
    if kind not in [(_FORMAT, known) for known in _KINDS]:
        raise WeightsError(
            f"{path} is of another kind",
            expected=f"format {_FORMAT}, kind {' or '.join(_KINDS)}",
            found=f"format {card['format']}, kind {card['kind']}",
            do="read it with the version of maestro_lab that wrote it",
        )
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    if digest != card["sha256"]:
        raise WeightsError(
            f"{folder / WEIGHTS} is not the file that {CONTRACT} describes",
            expected=f"sha256 {card['sha256'][:12]}...",
            found=f"{digest[:12]}...",
            do=_AGAIN,
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
    report = check_fit(own, state, partial=partial)
    model.load_state_dict({name: t for name, t in state.items() if name in own}, strict=False)
    return report


def check_fit(
    own: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    *,
    partial: bool = False,
) -> LoadReport:
    """Compare names and shapes of a file with those of a model; nothing is loaded.

    Parameters
    ----------
    own
        The model's parameters; only their names and shapes count.
    state
        Parameter name to tensor, from a file.
    partial
        Accept missing and unexpected names. Shapes must agree all the same.

    Raises
    ------
    WeightsError
        If a shape differs or, unless ``partial``, a name is missing or unexpected.
    """
    missing = tuple(name for name in own if name not in state)
    unexpected = tuple(name for name in state if name not in own)
    for name in own:
        if name in state and own[name].shape != state[name].shape:
            raise WeightsError(
                f"weights do not fit: {name}",
                expected=f"shape {tuple(own[name].shape)}",
                found=f"shape {tuple(state[name].shape)}",
                do="take the weights of this model, or a model with this configuration",
            )
    loaded = [name for name in own if name in state]
    numbers = sum(own[name].numel() for name in loaded)
    total = max(1, sum(t.numel() for t in own.values()))
    report = LoadReport(len(loaded), len(own), numbers, numbers / total, missing, unexpected)
    if (missing or unexpected) and not partial:
        raise WeightsError(
            f"weights do not fit: {report}",
            expected="every tensor of the model and no other",
            found=f"missing {_some(missing)}; unexpected {_some(unexpected)}",
            do="take the weights of this model, or a model with this configuration",
        )
    return report


def _some(names: tuple[str, ...]) -> str:
    return (
        ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "none"
    )
