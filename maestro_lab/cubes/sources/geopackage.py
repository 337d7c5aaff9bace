"""Tables of GeoPackage files, read as what they are: SQLite databases."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from maestro_lab.cubes.sources.files import AGAIN, there
from maestro_lab.errors import CubeError

__all__ = ["read_rows"]


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Read columns of the first table of a GeoPackage that has them, row by row.

    The file is opened for reading only, and left as it is.

    Raises
    ------
    CubeError
        If the file is missing or damaged, or no table has these columns.
    """
    there(path, f"a GeoPackage with {', '.join(columns)}")
    try:
        uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        with closing(sqlite3.connect(uri, uri=True)) as database:
            table = _table(database, path, columns)
            names = ", ".join(map(_quoted, columns))
            yield from database.execute(f"SELECT {names} FROM {_quoted(table)}")
    except sqlite3.Error as error:
        raise CubeError(
            f"{path} cannot be read", expected="a GeoPackage", found=error, do=AGAIN
        ) from error


def _table(database: sqlite3.Connection, path: Path, columns: Sequence[str]) -> str:
    found = {}
    for (name,) in database.execute("SELECT table_name FROM gpkg_contents").fetchall():
        rows = database.execute(f"PRAGMA table_info({_quoted(name)})")
        found[name] = [row[1] for row in rows]
        if set(columns) <= set(found[name]):
            return name
    tables = "; ".join(f"{name} with {', '.join(c) or 'none'}" for name, c in found.items())
    raise CubeError(
        f"{path}: no table has the columns",
        expected=", ".join(columns),
        found=tables or "no tables",
        do=AGAIN,
    )


def _quoted(name: object) -> str:
    return '"' + str(name).replace('"', '""') + '"'
