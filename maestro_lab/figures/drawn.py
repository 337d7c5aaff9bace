"""What a figure was drawn from: plain data that is saved beside it and painted anew.

A figure of this package is made in two steps: a function prepares plain data from cubes, models
or results, and a painter draws from nothing but these. The data stay with the figure, are saved
as a table (csv) or as arrays (netCDF), and give the same picture again.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, overload

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from maestro_lab.errors import RunError
from maestro_lab.figures.style import page, page_width
from maestro_lab.pictures import whole

__all__ = ["Data", "Drawn", "paint", "painted_by", "parts", "read_drawn", "save_drawn", "several"]

Data = pd.DataFrame | xr.Dataset | xr.DataTree
"""What figures are painted from: a table, arrays, or several parts of arrays.

Options and words are ``attrs``, of plain values that JSON holds. A table has no index of its own,
and columns of numbers, booleans or text.
"""

_P = ParamSpec("_P")
_D = TypeVar("_D", pd.DataFrame, xr.Dataset, xr.DataTree)
MARK = "# maestro_lab "
"""What a table begins with; a line of JSON follows."""

_HEAD = "maestro_lab"
_KINDS = {"Dataset": xr.Dataset, "DataTree": xr.DataTree}


@dataclass(frozen=True)
class Drawn:
    """What a figure was drawn from.

    Parameters
    ----------
    name
        Of the function in :mod:`maestro_lab.figures`.
    data
        All that its painter needs.
    width
        Of the page, in inches.
    """

    name: str
    data: Data
    width: float

    def save(self, path: str | Path) -> Path:
        """Write ``{path}.csv`` for a table or ``{path}.nc`` for arrays, and return the file."""
        table = isinstance(self.data, pd.DataFrame)
        file, other = (
            Path(f"{path}.{kind}") for kind in (("csv", "nc") if table else ("nc", "csv"))
        )
        with whole(file) as temporary:
            (_write_table if table else _write_arrays)(self, temporary)
        if other.is_file() and _is_ours(other):  # this name was a figure of another kind before
            other.unlink()
        return file

    def paint(self, width: float | None = None) -> Figure:
        """Draw the figure anew, in its own width or in another one.

        Raises
        ------
        RunError
            If there is no such figure, or its data lack something.
        """
        try:
            with page(width or self.width):
                return paint(self.name, self.data)
        except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
            raise RunError(
                f"{self.name} cannot be painted",
                expected="the data that this version of maestro_lab saves",
                found=f"{type(error).__name__}: {error}",
                do="run its notebook again",
            ) from error


@overload
def painted_by(
    painter: Callable[[_D], Figure],
) -> Callable[[Callable[_P, _D]], Callable[_P, Figure]]: ...
@overload
def painted_by(
    painter: Callable[[_D], Figure],
) -> Callable[[Callable[_P, _D | None]], Callable[_P, Figure | None]]: ...
def painted_by(painter: Callable[..., Figure]) -> Callable[..., Any]:
    """Make a function that prepares data into one that returns the figure drawn from them.

    The function keeps its name, parameters and docstring; it returns a Figure, or None where it
    prepares None. It is to be found by its name in :mod:`maestro_lab.figures`.

    Parameters
    ----------
    painter
        Draws from what the function returns, and from nothing else.

    Examples
    --------
    >>> def _paint_dots(data: pd.DataFrame) -> Figure:
    ...     figure = Figure()
    ...     _ = figure.subplots().plot(data["x"], "o")
    ...     return figure
    >>> @painted_by(_paint_dots)
    ... def dots(numbers: list[float]) -> pd.DataFrame:
    ...     return pd.DataFrame({"x": numbers})
    >>> inspect.signature(dots)
    <Signature (numbers: 'list[float]') -> 'Figure'>
    >>> dots([1, 2]).drawn.name
    'dots'
    """

    def decorate(prepare: Callable[..., Data | None]) -> Callable[..., Figure | None]:
        @wraps(prepare)
        def drawing(*args: Any, **options: Any) -> Figure | None:
            data = prepare(*args, **options)
            return None if data is None else _painted(prepare.__name__, painter, data)

        signature = inspect.signature(prepare)
        returned = "Figure | None" if "None" in str(signature.return_annotation) else "Figure"
        drawing.__signature__ = signature.replace(return_annotation=returned)
        hint = Figure | None if "None" in returned else Figure
        drawing.__annotations__ = {**prepare.__annotations__, "return": hint}
        drawing.painter = painter
        return drawing

    return decorate


def _painted(name: str, painter: Callable[[Any], Figure], data: Data) -> Figure:
    data = _plain(data)
    figure = painter(data)
    figure.drawn = Drawn(name, data, page_width())
    return figure


def paint(name: str, data: Data) -> Figure:
    """Draw a figure of :mod:`maestro_lab.figures` from the data of an earlier one.

    Raises
    ------
    RunError
        If there is no such figure.
    """
    from maestro_lab import figures

    found = getattr(figures, name) if name in figures.__all__ else None
    if not hasattr(found, "painter"):
        raise RunError(
            f"no figure {name!r} to paint", expected=", ".join(figures.__all__), found=name
        )
    return _painted(name, found.painter, data)


def several(parts: Sequence[xr.Dataset], **attrs: Any) -> xr.DataTree:
    """Put arrays of several parts, each with axes of its own, together; :func:`parts` undoes it."""
    return xr.DataTree.from_dict(
        {"/": xr.Dataset(attrs=attrs)} | {f"/part_{k:03}": part for k, part in enumerate(parts)}
    )


def parts(tree: xr.DataTree) -> list[xr.Dataset]:
    """Return the parts that :func:`several` put together, in their order.

    Examples
    --------
    >>> tree = several([xr.Dataset(attrs={"of": "s2"}), xr.Dataset()], title="two")
    >>> [part.attrs for part in parts(tree)], tree.attrs
    ([{'of': 's2'}, {}], {'title': 'two'})
    """
    return [tree[name].to_dataset(inherit=False) for name in sorted(tree.children)]


def _plain(data: Data) -> Data:
    """Return data as they will be read from a file."""
    if isinstance(data, pd.DataFrame):
        table = data.reset_index(drop=True).rename(columns=str)
        table.attrs = _json(data.attrs)
        return table
    if isinstance(data, xr.Dataset):
        return _with_attrs(data, _json(data.attrs))
    return _each(data, lambda node: _with_attrs(node, _json(node.attrs)))


def _json(attrs: Any) -> dict[str, Any]:
    return json.loads(json.dumps(attrs))


def _with_attrs(ds: xr.Dataset, attrs: dict[str, Any]) -> xr.Dataset:
    ds = ds.copy()
    ds.attrs = attrs
    return ds


def _each(tree: xr.DataTree, change: Callable[[xr.Dataset], xr.Dataset]) -> xr.DataTree:
    nodes = {node.path: node.to_dataset(inherit=False) for node in tree.subtree}
    return xr.DataTree.from_dict({path: change(ds) for path, ds in nodes.items()})


def save_drawn(path: str | Path, figure: Figure) -> Path:
    """Save what a figure was drawn from.

    Parameters
    ----------
    path
        Where, without an ending; ``.csv`` is added for a table, ``.nc`` for arrays.
    figure
        Of :mod:`maestro_lab.figures`.

    Raises
    ------
    RunError
        If the figure was not drawn by :mod:`maestro_lab.figures`.
    """
    drawn = getattr(figure, "drawn", None)
    if not isinstance(drawn, Drawn):
        raise RunError(
            "a figure without the data it was drawn from",
            expected="one of maestro_lab.figures",
            do="save the picture itself with savefig",
        )
    return drawn.save(path)


def read_drawn(path: str | Path) -> Drawn:
    """Read what a figure was drawn from.

    Parameters
    ----------
    path
        A file of :func:`save_drawn`, ``.csv`` or ``.nc``.

    Raises
    ------
    RunError
        If there is no such file, or it is damaged or something else.
    """
    path = Path(path)
    try:
        return _read_table(path) if path.suffix == ".csv" else _read_arrays(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path} does not tell what a figure was drawn from",
            expected="a file that Run.figure saved beside a picture",
            found=(str(error).splitlines() or [type(error).__name__])[0]
            if path.is_file()
            else "no such file",
        ) from error


def _is_ours(path: Path) -> bool:
    try:
        read_drawn(path)
    except RunError:
        return False
    return True


def _write_table(drawn: Drawn, path: Path) -> None:
    table = drawn.data
    head = {
        "figure": drawn.name,
        "width": drawn.width,
        "rows": len(table),
        "columns": {name: _kind(table[name]) for name in table},
        "options": table.attrs,
    }
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(f"{MARK}{json.dumps(head, ensure_ascii=False)}\n")
        table.to_csv(file, index=False, lineterminator="\n")


def _kind(column: pd.Series) -> str:
    return column.dtype.name if pd.api.types.is_numeric_dtype(column) else "str"


def _read_table(path: Path) -> Drawn:
    with path.open(encoding="utf-8", newline="") as file:
        first = file.readline()
        if not first.startswith(MARK):
            raise ValueError("a table without the line that names its figure")
        head = json.loads(first.removeprefix(MARK))
        kinds = head["columns"]
        texts = pd.read_csv(file, dtype=str, keep_default_na=False)
    if len(texts) != head["rows"] or list(texts) != list(kinds):
        raise ValueError(
            f"{len(texts)} rows of {', '.join(texts)}; {head['rows']} of {', '.join(kinds)} "
            "were written"
        )
    table = texts.assign(**{name: _values(texts[name], kind) for name, kind in kinds.items()})
    table.attrs = head["options"]
    return Drawn(head["figure"], table, float(head["width"]))


def _values(texts: pd.Series, kind: str) -> pd.Series:
    """Return what a column was before it was text; Python reads numbers to the last bit."""
    if kind == "str":
        return texts
    if kind == "bool":
        return texts == "True"
    convert = int if np.dtype(kind).kind in "iu" else float
    return pd.Series([convert(text or "nan") for text in texts], texts.index, kind)


def _write_arrays(drawn: Drawn, path: Path) -> None:
    data = drawn.data
    tree = _each(
        data if isinstance(data, xr.DataTree) else xr.DataTree(data),
        lambda node: _with_attrs(node, {"options": json.dumps(node.attrs, ensure_ascii=False)}),
    )
    head = {"figure": drawn.name, "width": drawn.width, "kind": type(data).__name__}
    tree.attrs[_HEAD] = json.dumps(head)
    packed = {
        node.path: {
            name: {"zlib": True, "complevel": 4}
            for name, array in node.to_dataset(inherit=False).variables.items()
            if array.ndim and array.dtype.kind in "fiub"
        }
        for node in tree.subtree
    }
    tree.to_netcdf(path, engine="h5netcdf", encoding=packed)


def _read_arrays(path: Path) -> Drawn:
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        head = json.loads(tree.attrs[_HEAD])
        data = _each(tree, lambda node: _with_attrs(node.load(), json.loads(node.attrs["options"])))
    if _KINDS[head["kind"]] is xr.Dataset:
        data = data.to_dataset()
    return Drawn(head["figure"], data, float(head["width"]))
