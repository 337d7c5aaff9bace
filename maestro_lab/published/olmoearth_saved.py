"""Our own folders of OlmoEarth weights: safetensors, and a contract beside them."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from maestro_lab.errors import LabError, WeightsError
from maestro_lab.models.olmoearth.config import OlmoEarthConfig
from maestro_lab.models.olmoearth.model import OlmoEarth
from maestro_lab.models.olmoearth.norms import LEVELS, RANGES
from maestro_lab.models.weights import LoadReport, load_into

__all__ = ["contract_of", "open_olmoearth", "read_json", "save_olmoearth", "write_pair"]

_WEIGHTS, _CARD = "model.safetensors", "model.json"
_FORMAT, _KIND = 1, "olmoearth"
_AGAIN = "copy the folder again"


def save_olmoearth(
    model: OlmoEarth, folder: str | Path, *, facts: Mapping[str, Any] | None = None
) -> Path:
    """Write a model as safetensors, with its contract beside it as JSON.

    Parameters
    ----------
    model
        What to save.
    folder
        Made if it is not there.
    facts
        Further facts for the JSON, such as where the weights come from and their licence.

    Returns
    -------
    Path
        The folder, for :func:`open_olmoearth`.

    Raises
    ------
    WeightsError
        If the files cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> model = OlmoEarth(OlmoEarthConfig.of("v1.2", "nano"))
    >>> open_olmoearth(save_olmoearth(model, tempfile.mkdtemp()))[1].share
    1.0
    """
    state = {n: t.detach().cpu().contiguous().clone() for n, t in model.state_dict().items()}

    def card(weights: Path) -> str:
        content = {
            "format": _FORMAT,
            "kind": _KIND,
            "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
            "config": model.config.to_dict(),
            "contract": contract_of(model.config),
            "facts": dict(facts or {}),
        }
        return json.dumps(content, indent=1)

    return write_pair(folder, _WEIGHTS, lambda place: save_file(state, place), _CARD, card)


def open_olmoearth(folder: str | Path) -> tuple[OlmoEarth, LoadReport]:
    """Build the model that a folder describes, with its weights.

    Parameters
    ----------
    folder
        As :func:`save_olmoearth` left it.

    Raises
    ------
    WeightsError
        If a file is missing, damaged or belongs to another model.
    """
    folder = Path(folder).expanduser()
    card = read_json(folder / _CARD)
    kind = (card.get("format"), card.get("kind"))
    if kind != (_FORMAT, _KIND):
        raise WeightsError(
            f"{folder / _CARD} is of another kind",
            expected=f"format {_FORMAT}, kind {_KIND}",
            found=f"format {kind[0]}, kind {kind[1]}",
            do="name a folder that save_olmoearth wrote",
        )
    try:
        digest = hashlib.sha256((folder / _WEIGHTS).read_bytes()).hexdigest()
        state = load_file(folder / _WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{folder / _WEIGHTS} cannot be read",
            expected="a safetensors file",
            found=str(error).splitlines()[0],
            do=_AGAIN,
        ) from error
    if digest != card.get("sha256"):
        raise WeightsError(
            f"{folder / _WEIGHTS} is not the file that {_CARD} describes",
            expected=f"sha256 {str(card.get('sha256'))[:12]}...",
            found=f"{digest[:12]}...",
            do=_AGAIN,
        )
    try:
        model = OlmoEarth(OlmoEarthConfig.from_dict(card["config"]))
    except (LabError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(
            f"{folder / _CARD} describes no model",
            expected="a configuration as save_olmoearth writes it",
            found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            do=_AGAIN,
        ) from error
    return model, load_into(model, state)


def contract_of(config: OlmoEarthConfig) -> dict[str, Any]:
    """Tell what a model takes: bands in order, which of them share a token, and normalisation.

    Values are brought to 0 to 1 from the range, or from two deviations below to above the mean.

    Examples
    --------
    >>> contract_of(OlmoEarthConfig.of("v1", "nano"))["sentinel1"]["groups"]
    [['vv', 'vh']]
    """
    contract = {}
    for name, m in config.modalities.items():
        contract[name] = {
            "groups": [list(group) for group in m.groups],
            "dated": m.dated,
            "spatial": m.spatial,
            "predicted_only": name in config.predicted_only,
        }
        if name in RANGES:
            contract[name]["range"] = list(RANGES[name])
        elif name in LEVELS:
            contract[name]["mean_and_deviation"] = [list(LEVELS[name][b]) for b in m.bands]
    return contract


def read_json(path: Path) -> dict[str, Any]:
    """Read an object from a JSON file.

    Raises
    ------
    WeightsError
        If there is no such file, or it holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"a {type(content).__name__}")
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{path} cannot be read",
            expected="a JSON object",
            found=getattr(error, "strerror", None) or str(error),
            do="name a folder with OlmoEarth weights, whole",
        ) from error
    return content


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

    Raises
    ------
    WeightsError
        If they cannot be written.
    """
    folder = Path(folder).expanduser()
    unfinished = [folder / f"{name}.unfinished" for name in (weights, card)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
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
    return folder
