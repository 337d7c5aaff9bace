"""The figures of runs painted anew, in the width of a venue if one is named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from maestro_lab.errors import LabError, RunError

__all__ = ["repaint"]


def repaint(
    folder: str | Path,
    out: str | Path | None = None,
    *,
    venue: str = "",
    names: Sequence[str] = (),
) -> Iterator[tuple[str, bool]]:
    """Paint the figures of a run, or of all runs below a folder, anew from their saved data.

    Parameters
    ----------
    folder
        A run, or a folder of runs.
    out
        Where figures go; of several runs each in a folder of its own. Default ``figures`` of the
        run itself, or ``figures/VENUE``.
    venue
        Name of :data:`maestro_lab.figures.style.VENUES`; default the width they were drawn in.
    names
        Which figures; default all.

    Yields
    ------
    tuple of str and bool
        A line for each figure or run without any, and whether all is well.

    Raises
    ------
    RunError
        If there is no run, or no figure of such a name in any.
    ParameterError
        If there is no such venue.
    """
    from maestro_lab.figures.again import data_files, paint_again
    from maestro_lab.figures.style import venue_width
    from maestro_lab.runs.collect import records

    width = venue_width(venue) if venue else None
    found = records(folder)
    there = {name for record in found for name in data_files(record.folder / "figures")}
    if unknown := [name for name in names if name not in there]:
        raise RunError(
            f"no figure {unknown[0]!r} with data below {folder}",
            expected=", ".join(sorted(there)) or "a run that saved figures",
        )
    for record in found:
        source = record.folder / "figures"
        target = source / venue
        if out is not None:
            target = Path(out) / record.name if len(found) > 1 else Path(out)
        if not data_files(source):
            yield f"{record.folder}: no figure with its data", True
        for files in paint_again(source, target, width=width, names=names):
            yield (str(files), False) if isinstance(files, LabError) else (_said(files), True)


def _said(files: Sequence[Path]) -> str:
    return f"{files[0].with_suffix('')}: {', '.join(file.suffix[1:] for file in files)}"
