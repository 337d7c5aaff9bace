"""Where a run goes: a free folder, made by exactly one process."""

from __future__ import annotations

import re
from pathlib import Path

from maestro_lab.errors import RunError
from maestro_lab.runs.card import status_of

__all__ = ["make_folder", "run_name"]


def make_folder(notebook: str, folder: Path | None = None) -> Path:
    """Make the folder of a new run and return its full path.

    Parameters
    ----------
    notebook
        Name for a numbered folder ``runs/{notebook}-{NNN}`` below the current folder, or beside
        ``notebooks`` if the current folder is that or lies in it.
    folder
        The folder, if it is not to be a numbered one.

    Raises
    ------
    RunError
        If the folder exists, or cannot be made.
    """
    try:
        if folder is not None:
            if folder.exists() or folder.is_symlink():
                raise taken(folder)
            folder.mkdir(parents=True)
            return folder.resolve()
        return _numbered(_above_notebooks(Path.cwd()) / "runs", notebook)
    except OSError as error:
        raise RunError(
            "the folder of the run cannot be made",
            expected="a place where folders can be made",
            found=f"{error.filename or folder}: {error.strerror}",
            do="name another one with --run",
        ) from error


def run_name(notebook: Path) -> str:
    """Return what runs of a notebook are called; solutions are told apart from their lesson.

    Examples
    --------
    >>> run_name(Path("notebooks/04_probe.ipynb")), run_name(Path("solutions/04_probe.ipynb"))
    ('04_probe', '04_probe_solutions')
    """
    return notebook.stem + "_solutions" * (notebook.absolute().parent.name == "solutions")


def _above_notebooks(here: Path) -> Path:
    """Return the folder that holds ``notebooks``, from in there; else the folder itself."""
    inside = [path for path in (here, *here.parents) if path.name == "notebooks"]
    return inside[-1].parent if inside else here


def taken(folder: Path) -> RunError:
    """Return the error for a folder that is not free."""
    is_run = (folder / "card.json").is_file()
    return RunError(
        f"{folder} exists already",
        expected="a free path for a new run",
        found=f"a run with status {status_of(folder)!r}" if is_run else "something else there",
        do="choose another path, or go on with a run that stopped: --resume",
    )


def _numbered(parent: Path, name: str) -> Path:
    if re.search(r"[/\\\0]", name) or not name:
        raise RunError(
            "a run cannot have this name", expected="a plain file name", found=repr(name)
        )
    parent.mkdir(parents=True, exist_ok=True)
    while True:
        used = [p.name.removeprefix(f"{name}-") for p in parent.iterdir()]
        number = max((int(n) for n in used if n.isascii() and n.isdecimal()), default=0) + 1
        path = parent / f"{name}-{number:03d}"
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path.resolve()
