"""Figures as files for papers: svg, pdf and png beside the data they were drawn from."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["save_figure", "whole"]

_RC = {"svg.hashsalt": "maestro_lab", "svg.fonttype": "path", "pdf.fonttype": 42}
_DATED = {"svg": "Date", "pdf": "CreationDate"}


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside a file, which becomes the file if all goes well.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with whole(target) as temporary:
    ...     _ = temporary.write_text("all of it")
    >>> target.read_text()
    'all of it'
    """
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def save_figure(figure: Figure, path: str | Path, *, dpi: int = 150) -> list[Path]:
    """Save a figure as svg, pdf and png with fonts embedded, and its data if it holds them.

    The same figure gives the same bytes. A figure of :mod:`maestro_lab.figures` is saved in its
    width to the point; of any other one, the empty margin is cut off.

    Parameters
    ----------
    figure
        A matplotlib figure. One of :mod:`maestro_lab.figures` also saves what it was drawn from,
        see :mod:`maestro_lab.figures.drawn`.
    path
        Where, without an ending.
    dpi
        Pixels of an inch of the png.

    Returns
    -------
    list of Path
        The files: data if there are any, then svg, pdf and png.

    Examples
    --------
    >>> import tempfile
    >>> from matplotlib.figure import Figure
    >>> [file.name for file in save_figure(Figure(), Path(tempfile.mkdtemp()) / "empty")]
    ['empty.svg', 'empty.pdf', 'empty.png']
    """
    import matplotlib as mpl

    path, drawn = Path(path), getattr(figure, "drawn", None)
    save: Callable[[Path], Path] | None = getattr(drawn, "save", None)
    files = [save(path)] if save else []
    with mpl.rc_context(_RC):
        for ending in ("svg", "pdf", "png"):
            files.append(path.with_name(f"{path.name}.{ending}"))
            with whole(files[-1]) as temporary:
                figure.savefig(
                    temporary, dpi=dpi, bbox_inches=None if save else "tight",
                    metadata={_DATED[ending]: None} if ending in _DATED else None,
                )  # fmt: skip
    return files
