"""The figures of a folder painted anew from the data saved beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from maestro_lab.errors import RunError
from maestro_lab.figures.drawn import MARK, read_drawn
from maestro_lab.pictures import save_figure

__all__ = ["data_files", "paint_again"]


def data_files(folder: str | Path) -> dict[str, Path]:
    """Return name and file of the data of each figure in a folder, sorted by name.

    Tables of somebody else, which do not begin with the name of a figure, are passed over.
    """
    found = [*Path(folder).glob("*.nc"), *filter(_is_ours, Path(folder).glob("*.csv"))]
    return {path.stem: path for path in sorted(found) if not path.name.startswith(".")}


def _is_ours(table: Path) -> bool:
    with table.open("rb") as file:
        return file.read(len(MARK)) == MARK.encode()


def paint_again(
    folder: str | Path,
    out: str | Path | None = None,
    *,
    width: float | None = None,
    names: Sequence[str] = (),
) -> Iterator[list[Path] | RunError]:
    """Paint the figures of a folder anew.

    Parameters
    ----------
    folder
        Holds ``NAME.csv`` or ``NAME.nc`` for each figure.
    out
        Where they go; default the folder itself.
    width
        In inches; default the one each figure was drawn in.
    names
        Which figures; default all.

    Yields
    ------
    list of Path or RunError
        For each figure the files that were written, or why it could not be painted.

    Examples
    --------
    >>> import tempfile
    >>> from maestro_lab.figures import loss_curves
    >>> where = Path(tempfile.mkdtemp())
    >>> _ = save_figure(loss_curves([{"epoch": 1, "loss": 2.0}]), where / "loss")
    >>> [[file.name for file in files] for files in paint_again(where, where / "new")]
    [['loss.csv', 'loss.svg', 'loss.pdf', 'loss.png']]
    """
    target = Path(out) if out is not None else Path(folder)
    for name, path in data_files(folder).items():
        if names and name not in names:
            continue
        try:
            figure = read_drawn(path).paint(width)
            target.mkdir(parents=True, exist_ok=True)
            # what goes to a venue is printed
            yield save_figure(figure, target / name, dpi=150 if width is None else 300)
        except RunError as error:
            yield error
        except OSError as error:
            yield RunError(f"{target / name} cannot be written", found=error.strerror or error)
