"""Published weights into our models and heads, and ours into published names."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from maestro_lab.catalogue import Entry, catalog
from maestro_lab.errors import ContractError, WeightsError
from maestro_lab.models.config import MaestroConfig
from maestro_lab.models.heads import Head, HeadConfig
from maestro_lab.models.maestro import Maestro
from maestro_lab.models.official import (
    from_official,
    head_from_official,
    head_to_official,
    to_official,
)
from maestro_lab.models.weights import LoadReport, check_fit
from maestro_lab.published.lightning import read_lightning

__all__ = ["Loaded", "heads_of_entry", "load_official", "save_official"]

_ENDINGS = (".safetensors", ".ckpt")


class Loaded(NamedTuple):
    """A model with published weights, its heads by target, and how much of them was in the file."""

    model: Maestro
    heads: dict[str, Head]
    report: LoadReport


def heads_of_entry(
    entry: str | Entry, *, catalogue: str | Path | None = None
) -> dict[str, HeadConfig]:
    """Return the heads that published models of a data set have, by official target name.

    Parameters
    ----------
    entry
        Name of a catalogue entry, or the entry.
    catalogue
        Catalogue file; default as in :func:`~maestro_lab.catalogue.catalog`.

    Raises
    ------
    CatalogError
        If there is no such entry.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> ml.heads_of_entry("flair-hub")["cosia"].outputs
    15
    """
    entry = catalog(catalogue)[entry] if isinstance(entry, str) else entry
    return {
        target.head.name: HeadConfig(
            target.head.task,
            len(target.classes),
            reference=target.head.reference,
            size=target.head.size,
            missing=target.head.missing,
            threshold=target.head.threshold or 0.0,
        )
        for target in entry.targets.values()
        if target.head is not None
    }


def load_official(
    path: str | Path,
    model: Maestro | MaestroConfig,
    *,
    ema: bool = False,
    targets: Mapping[str, HeadConfig] | None = None,
    partial: bool = False,
) -> Loaded:
    """Load published weights, all of them or none.

    Parameters
    ----------
    path
        A Lightning checkpoint or safetensors, see
        :func:`~maestro_lab.published.lightning.read_lightning`.
    model
        A model, changed in place unless an error is raised, or the configuration of one to build.
    ema
        Take the averaged weights in place of the model's own.
    targets
        Official target name to the head to load with it. Heads of the file that are not named
        stay there, and the report lists them.
    partial
        Accept missing and unexpected names; what is missing keeps its values. Shapes must agree
        all the same.

    Returns
    -------
    Loaded
        Model, heads, and a report that prints as "419 of 419 tensors, 100 % of the parameters".

    Raises
    ------
    WeightsError
        If the file cannot be read, a shape differs or, unless ``partial``, a name is missing or
        unexpected; in official names.
    ContractError
        If a head's reference is no modality of the model.

    Examples
    --------
    >>> import tempfile
    >>> import maestro_lab as ml
    >>> config = ml.MaestroConfig(ml.contract_of_entry("treesatai-ts"), size="nano")
    >>> path = save_official(Maestro(config), tempfile.mkdtemp() + "/weights.ckpt")
    >>> load_official(path, config).report.share
    1.0
    """
    state = read_lightning(path, ema=ema)
    model = Maestro(model) if isinstance(model, MaestroConfig) else model
    heads = {name: _head(model, name, config) for name, config in (targets or {}).items()}
    own = _official(model, heads)
    asked = {n: t for n, t in state.items() if n in own or not _spare(n, heads)}
    report = check_fit(own, asked, partial=partial)
    left = dict.fromkeys(n.split(".")[1] for n in state if n not in asked)
    found = {n: state[n] for n in own if n in state}
    model.load_state_dict(from_official(found, model.modalities), strict=not partial)
    for name, head in heads.items():
        if any(n.startswith(f"heads.{name}.") for n in found):
            ours = head_from_official(found, name, head.config.reduce)
            head.load_state_dict(ours, strict=not partial)
    return Loaded(model, heads, replace(report, not_asked=tuple(n for n in left if n not in heads)))


def _spare(name: str, heads: Mapping[str, Head]) -> bool:
    """Tell whether a name belongs to a head, or to a reduction, that is not wanted."""
    part, _, rest = name.partition(".")
    target, _, rest = rest.partition(".")
    if part != "heads" or target not in heads:
        return part == "heads"
    return rest.startswith("reduce.") and heads[target].config.reduce != "attentive"


def _head(model: Maestro, name: str, config: HeadConfig) -> Head:
    grid = 0
    if config.task == "segmentation":
        if config.reference not in model.modalities:
            raise ContractError(
                f"head {name}: its reference is no modality of the model",
                expected=f"one of {', '.join(model.modalities)}",
                found=config.reference,
                do="build the model with that modality, or leave the head out",
            )
        grid = model.modalities[config.reference].grid
    return Head(config, model.config.size.width, grid)


def _official(
    model: Maestro, heads: Mapping[str, Head], *, shapes: bool = True
) -> dict[str, Tensor]:
    """Return all parameters by official name; their shapes alone take no memory."""

    def of(module: torch.nn.Module) -> dict[str, Tensor]:
        state = module.state_dict()
        return {n: t.to("meta") for n, t in state.items()} if shapes else state

    official = to_official(of(model), model.modalities)
    for name, head in heads.items():
        official |= head_to_official(of(head), name, head.config.task)
    return official


def save_official(
    model: Maestro, path: str | Path, *, heads: Mapping[str, Head] | None = None
) -> Path:
    """Write a model and its heads under published names.

    Parameters
    ----------
    model
        What to save.
    path
        A file ending in .safetensors; or in .ckpt, for a dict with ``state_dict`` whose names
        begin with ``model.``, which ``torch.load(path, weights_only=True)`` reads. It appears
        whole or not at all, and replaces one of that name.
    heads
        Official target name to head.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    WeightsError
        If the ending is another or the file cannot be written.
    """
    path = Path(path).expanduser()
    if path.suffix not in _ENDINGS:
        raise WeightsError(
            f"{path}: published weights have another ending",
            expected=" or ".join(_ENDINGS),
            found=path.suffix or "none",
            do="name the file so",
        )
    state = _official(model, heads or {}, shapes=False)
    state = {name: t.detach().cpu().contiguous().clone() for name, t in state.items()}
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        if path.suffix == ".ckpt":
            torch.save({"state_dict": {f"model.{n}": t for n, t in state.items()}}, unfinished)
        else:
            save_file(state, unfinished)
        unfinished.replace(path)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch tells a full disk as the 2nd
        raise WeightsError(
            f"weights could not be written to {path}",
            expected="a folder that exists and can be written, with room",
            found=getattr(error, "strerror", None) or str(error).splitlines()[0],
            do="make room or choose another folder",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)  # gone after success
    return path
