"""Fetch published weights by name, into the cache that ``huggingface_hub`` keeps.

Nothing is opened here: what was fetched goes through the safe reader of
:mod:`maestro_lab.published.lightning` like any other file.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from maestro_lab.errors import WeightsError

__all__ = ["fetch_official"]

_ENDINGS = (".ckpt", ".safetensors")


def fetch_official(
    repository: str,
    filename: str | None = None,
    *,
    revision: str | None = None,
    folder: str | Path | None = None,
) -> Path:
    """Fetch one file of weights, once; later calls find it in the cache.

    Parameters
    ----------
    repository
        Owner and name, as in "IGNF/MAESTRO_FLAIR-HUB_base".
    filename
        The file in the repository. Default: its only .ckpt or .safetensors.
    revision
        Branch, tag or commit; name a commit for a result that can be repeated. Default: the newest.
    folder
        Where to keep it. Default: the cache of ``huggingface_hub``.

    Returns
    -------
    Path
        The file on this machine, for :func:`~maestro_lab.published.weights.load_official`.

    Raises
    ------
    WeightsError
        If the extra ``hub`` is not installed, there is no such repository or file, several files
        could be meant, or the network fails.
    """
    hub, errors = _library()
    try:
        if filename is None:
            files = hub.list_repo_files(repository, revision=revision)
            filename = _only_weights(repository, files)
        return Path(hub.hf_hub_download(repository, filename, revision=revision, cache_dir=folder))
    except WeightsError:
        raise
    except Exception as error:  # of the hub, or of whichever HTTP library is underneath
        raise _explain(error, errors, repository, filename) from error


def _library() -> tuple[ModuleType, ModuleType]:
    try:
        names = ("huggingface_hub", "huggingface_hub.errors")
        return tuple(importlib.import_module(name) for name in names)
    except ImportError as error:
        raise WeightsError(
            "weights are fetched by name with huggingface_hub, which is not here",
            expected="the optional part hub of maestro-lab",
            found=str(error),
            do="pip install 'maestro-lab[hub]', or fetch the file by hand and name its path",
        ) from error


def _only_weights(repository: str, files: list[str]) -> str:
    weights = sorted(name for name in files if name.endswith(_ENDINGS))
    if len(weights) == 1:
        return weights[0]
    raise WeightsError(
        f"which file of {repository}?" if weights else f"no weights in {repository}",
        expected=f"one file ending in {' or '.join(_ENDINGS)}",
        found=", ".join((weights or sorted(files))[:12]) or "no file at all",
        do="name one with filename=" if weights else "name another repository",
    )


def _explain(
    error: Exception, errors: ModuleType, repository: str, filename: str | None
) -> WeightsError:
    """Say in our words what went wrong; the narrower class first."""
    what, do = f"{repository} could not be fetched", "try again later, or fetch the file by hand"
    offline = (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled)
    if isinstance(error, offline):
        do = "the file is not in the cache: go online once, or fetch it by hand and name its path"
    elif isinstance(error, errors.GatedRepoError):
        what, do = f"{repository} asks for an agreement", "agree on its page and log in, then again"
    elif isinstance(error, errors.RepositoryNotFoundError):
        what, do = f"no repository {repository}, or a private one", "check the name, or log in"
    elif isinstance(error, errors.RevisionNotFoundError):
        what, do = f"{repository} has no such revision", "name another branch, tag or commit"
    elif isinstance(error, errors.EntryNotFoundError):
        what, do = f"no file {filename} in {repository}", "leave filename out to find it"
    elif isinstance(error, errors.HFValidationError):
        what, do = f"{repository!r} is no name of a repository", "name it as OWNER/NAME"
    lines = [line for line in str(error).splitlines() if line.strip()]
    return WeightsError(
        what,
        expected="a public repository with weights, and a network",
        found=f"{type(error).__name__}: {lines[0] if lines else ''}".rstrip(": "),
        do=do,
    )
