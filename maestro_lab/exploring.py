"""Which explorers fit a cube, a run, or a folder of runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maestro_lab.errors import ParameterError, RunError
from maestro_lab.explore.base import Explorer

if TYPE_CHECKING:
    import xarray as xr

    from maestro_lab.reopen import Pretrained

__all__ = ["explorers_for"]


def explorers_for(
    source: str | Path | xr.DataTree, *, root: str = "", options: Mapping[str, Any] | None = None
) -> dict[str, Callable[[], Explorer]]:
    """Return what there is to look at in a cube, a run, or a folder of runs.

    Parameters
    ----------
    source
        A cube, its name in the catalogue or its path; a run folder; or a folder with several runs.
    root, options
        Of the cube, as :func:`~maestro_lab.open_cube` takes them.

    Returns
    -------
    dict
        Name to a function that makes the explorer. Pixels are read, and models opened, when it is
        called.

    Raises
    ------
    LabError
        If there is no such cube, run or folder.

    Examples
    --------
    >>> list(explorers_for("landscape", options={"samples": 4}))
    ['cube', 'bands']
    """
    path = Path(source) if isinstance(source, str | Path) else None
    if path is not None and (path / "card.json").is_file():
        return _of_run(path)
    if path is not None and path.is_dir() and next(path.glob("*/**/card.json"), None):
        return {"runs": lambda: _runs(path)}

    if path is not None and not path.exists() and len(path.parts) > 1 and ":" not in str(source):
        raise RunError(
            f"nothing to look at: {path} does not exist",
            expected="a run, a folder of runs, the path of a cube, or a name of the catalogue",
            found=f"nothing there; the current folder is {Path.cwd()}",
        )
    opened = source
    if path is not None:
        from maestro_lab.catalogue import open_cube

        opened = open_cube(str(source), root=root, **dict(options or {}))  # or says what is wrong

    @cache
    def cube() -> xr.DataTree:
        from maestro_lab.reopen import in_memory

        return in_memory(opened)

    return {"cube": lambda: _cube(cube()), "bands": lambda: _bands(cube())}


def _of_run(folder: Path) -> dict[str, Callable[[], Explorer]]:
    """Return what there is to look at in one run: its training, and its model on its cube."""

    @cache
    def lab() -> Pretrained:
        from maestro_lab.reopen import pretrained

        return pretrained(folder)

    found: dict[str, Callable[[], Explorer]] = {"training": lambda: _training(folder)}
    if (folder / "model.safetensors").is_file():
        found["cube"] = lambda: _cube(lab().cube)
        found["reconstruction"] = lambda: _studio(lab())
        found["embeddings"] = lambda: _embeddings(lab())
        found["probes"] = lambda: _probes(lab())
    return found


def _runs(path: Path) -> Explorer:
    from maestro_lab.explore.runs import RunsExplorer

    return RunsExplorer(path)


def _training(folder: Path) -> Explorer:
    from maestro_lab.explore.cockpit import TrainingCockpit

    return TrainingCockpit(folder)


def _cube(cube: xr.DataTree) -> Explorer:
    from maestro_lab.explore.cube import CubeExplorer

    return CubeExplorer(cube)


def _bands(cube: xr.DataTree) -> Explorer:
    from maestro_lab.explore.bands import BandExplorer

    return BandExplorer(cube)


def _studio(lab: Pretrained) -> Explorer:
    from maestro_lab.datasets import held_out
    from maestro_lab.explore.studio import ReconstructionStudio
    from maestro_lab.models.systems import system_of

    if system_of(lab.model.config) != "maestro":
        raise ParameterError(
            "nothing to reconstruct",
            expected="a MAESTRO, which guesses pixels",
            found="an OlmoEarth, which guesses random projections of them",
        )
    return ReconstructionStudio(lab.model, held_out(lab.cube, lab.model.config))


def _embeddings(lab: Pretrained) -> Explorer:
    from maestro_lab.datasets import dataset_for
    from maestro_lab.explore.embedding import EmbeddingExplorer
    from maestro_lab.training.embed import embed
    from maestro_lab.training.token_table import embed_tokens

    data = dataset_for(lab.model.config, lab.cube, split=None)
    tokens = embed_tokens(lab.model, data)
    return EmbeddingExplorer(lab.cube, embed(lab.model, data), tokens=tokens)


def _probes(lab: Pretrained) -> Explorer:
    from maestro_lab.explore.probes import ProbeExplorer
    from maestro_lab.workflow import features

    # As notebook 04 does by default, so that its scores come out again.
    return ProbeExplorer(features(lab.model, lab.cube, random_encoders=2, date_draws=4), lab.cube)
