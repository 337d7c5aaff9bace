"""Weights of OlmoEarth: a published folder into our model, and back.

A published folder holds ``config.json`` and ``weights.pth``. Its weights have a licence of their
own, which restricts what they may be used for, so they are opened only by those who say that they
accept it. Nothing that is in a file is run (:mod:`maestro_lab.published.lightning`).
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from maestro_lab.errors import WeightsError
from maestro_lab.models.olmoearth.model import OlmoEarth
from maestro_lab.models.olmoearth.official import (
    TARGET,
    from_official,
    linear_projections,
    to_official,
)
from maestro_lab.models.weights import LoadReport, check_fit, write_pair
from maestro_lab.published.hub import fetch_official
from maestro_lab.published.lightning import read_lightning
from maestro_lab.published.olmoearth_config import config_from_official, config_to_official

__all__ = ["ACCEPT", "LICENCE", "LoadedOlmoEarth", "export_olmoearth", "fetch_olmoearth",
           "load_olmoearth", "read_json"]  # fmt: skip

ACCEPT = "MAESTRO_LAB_ACCEPT_OLMOEARTH_LICENCE"
"""Environment variable; 1 accepts the licence of published weights."""

LICENCE = """\
The published weights are under the OlmoEarth Artifact License of the Allen Institute for AI, which
is no open-source licence. In short: free to use, change and pass on. Not for military and defence
applications, gathering of intelligence, surveillance or policing of people, nor for extraction of
oil, gas or minerals, drilling, mining or deforestation. Whoever passes on the weights, or what was
made from them, cites Ai2, includes the licence, and asks the same of others. The text that counts
is LICENSE.txt beside the weights."""

_CONFIG, _WEIGHTS, _TERMS = "config.json", "weights.pth", "LICENSE.txt"
_LEGACY = ".composite_encodings.pos_embed"
_PROJECTION = f"{TARGET}patch_embeddings."


class LoadedOlmoEarth(NamedTuple):
    """A model with published weights.

    Parameters
    ----------
    model
        Ready to use, in evaluation mode.
    report
        How much of the model was in the file.
    left
        Names that were left in the file: tables that the model makes itself, and the parts of
        the target encoder that are never used.
    licence
        The licence of the weights: the file beside them, or a summary.
    """

    model: OlmoEarth
    report: LoadReport
    left: tuple[str, ...]
    licence: str


def fetch_olmoearth(
    repository: str,
    *,
    revision: str | None = None,
    folder: str | Path | None = None,
    accept_licence: bool = False,
) -> Path:
    """Fetch a folder of published weights, once; later calls find it in the cache.

    Parameters
    ----------
    repository
        Owner and name, as in "allenai/OlmoEarth-v1-Nano".
    revision, folder
        As in :func:`~maestro_lab.published.hub.fetch_official`.
    accept_licence
        Whether you accept the licence of the weights; the variable :data:`ACCEPT` says so too.

    Returns
    -------
    Path
        The folder, for :func:`load_olmoearth`.

    Raises
    ------
    WeightsError
        If the licence was not accepted, or the files cannot be fetched.
    """
    _check_accepted(accept_licence, LICENCE)
    names = (_TERMS, _CONFIG, _WEIGHTS)
    paths = [fetch_official(repository, n, revision=revision, folder=folder) for n in names]
    return paths[-1].parent


def load_olmoearth(
    folder: str | Path, *, accept_licence: bool = False, partial: bool = False
) -> LoadedOlmoEarth:
    """Load a published folder, all of it or nothing.

    Parameters
    ----------
    folder
        With ``config.json`` and ``weights.pth``.
    accept_licence
        Whether you accept the licence of the weights; the variable :data:`ACCEPT` says so too.
    partial
        Accept missing and unexpected names; what is missing keeps random values.

    Raises
    ------
    WeightsError
        If the licence was not accepted, a file is missing or damaged, or names or shapes are not
        those of the model.

    Examples
    --------
    >>> import tempfile
    >>> from maestro_lab.models.olmoearth.config import OlmoEarthConfig
    >>> model = OlmoEarth(OlmoEarthConfig.of("v1.1", "nano"))
    >>> folder = export_olmoearth(model, tempfile.mkdtemp())
    >>> load_olmoearth(folder, accept_licence=True).report.share
    1.0
    """
    folder = Path(folder).expanduser()
    terms = folder / _TERMS
    licence = terms.read_text(encoding="utf-8", errors="replace") if terms.is_file() else LICENCE
    _check_accepted(accept_licence, licence)
    config = config_from_official(read_json(folder / _CONFIG))
    given = read_lightning(folder / _WEIGHTS)
    model = OlmoEarth(config).eval()
    wanted = _official_shapes(model)
    left = tuple(n for n in given if n.endswith(_LEGACY) or _is_dead(n))
    state = linear_projections({n: t for n, t in given.items() if n not in left})
    if not any(name.startswith(TARGET) for name in state):
        wanted = {n: t for n, t in wanted.items() if not n.startswith(TARGET)}
    report = check_fit(wanted, state, partial=partial)
    unread = tuple(n for n in model.state_dict() if n.startswith("target."))
    if not any(n.startswith(TARGET) for n in wanted):
        report = replace(report, missing=(*report.missing, *unread))
    model.load_state_dict(from_official(state, model.state_dict()), strict=False)
    return LoadedOlmoEarth(model, report, left, licence)


def export_olmoearth(model: OlmoEarth, folder: str | Path) -> Path:
    """Write a model as a published folder, which other OlmoEarth software reads.

    Of the target encoder the projection alone is written, and ``config.json`` says so.

    Parameters
    ----------
    model
        What to write.
    folder
        Made if it is not there; files of these names are replaced.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    WeightsError
        If the files cannot be written.
    """
    state = {
        name: tensor.detach().cpu().clone()
        for name, tensor in to_official(model.state_dict(), model.config).items()
    }

    text = json.dumps(config_to_official(model.config), indent=1)
    pair = _WEIGHTS, lambda place: torch.save(state, place), _CONFIG, lambda _: text
    return write_pair(folder, *pair).parent


def _official_shapes(model: OlmoEarth) -> dict[str, Tensor]:
    """Return what a file must hold by published name; shapes alone, which take no memory."""
    shapes = {n: t.to("meta") for n, t in model.state_dict().items()}
    return linear_projections(to_official(shapes, model.config))


def _is_dead(name: str) -> bool:
    """Tell whether a parameter belongs to the target encoder, but not to its projection."""
    return name.startswith(TARGET) and not name.startswith(_PROJECTION)


def _check_accepted(accepted: bool, licence: str) -> None:
    if not accepted and os.environ.get(ACCEPT, "").lower() not in ("1", "true", "yes"):
        raise WeightsError(
            "published weights of OlmoEarth have a licence of their own\n\n" + licence + "\n",
            expected="that you read it and accept it",
            found="neither accept_licence=True nor the variable",
            do=f"pass accept_licence=True, or set {ACCEPT}=1",
        )


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
