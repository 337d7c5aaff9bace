"""``data_catalog.yaml`` -> cubes: a table of what there is, and one verb to open it."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from maestro_lab.cubes.entries import Entry, read_entries
from maestro_lab.errors import CatalogError, CubeError

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["Catalog", "Entry", "catalog", "open_cube"]

FILE_NAME = "data_catalog.yaml"

READERS = {
    "romania": "maestro_lab.cubes.sources.romania:open_romania",
    "landscape": "maestro_lab.cubes.landscape:open_landscape",
    "treesatai-ts": "maestro_lab.cubes.sources.treesatai:open_treesatai",
    "pastis-hd": "maestro_lab.cubes.sources.pastis:open_pastis",
    "flair": "maestro_lab.cubes.sources.flair:open_flair",
    "s2-naip": "maestro_lab.cubes.sources.s2_naip:open_s2_naip",
    "olmoearth-h5": "maestro_lab.cubes.sources.olmoearth_h5:open_olmoearth_h5",
    "chips": "maestro_lab.cubes.sources.chips:open_chips",
    "geobench": "maestro_lab.cubes.sources.geobench:open_geobench",
    "scenes": "maestro_lab.cubes.sources.scenes:open_scenes",
    "arrays": "maestro_lab.cubes.sources.arrays:cube_from_dataset",
    "zarr": "maestro_lab.cubes.store:open_store",
}
"""Source kind to the function that reads it, imported when first used."""


@dataclass(frozen=True)
class Catalog(Mapping[str, Entry]):
    """The entries of one catalogue file; prints as a table.

    Parameters
    ----------
    path
        The file it was read from.
    entries
        Name to entry.
    """

    path: Path
    entries: Mapping[str, Entry]

    def __getitem__(self, name: str) -> Entry:
        if name in self.entries:
            return self.entries[name]
        close = difflib.get_close_matches(str(name), self.entries, n=1)
        raise CatalogError(
            f"no cube named {name!r} in {self.path.name}",
            expected=f"one of {', '.join(self.entries)}, or the path of a cube (zarr or netCDF)",
            found=name,
            do=f"did you mean {close[0]!r}?" if close else "see maestro-lab cubes",
        )

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def get(self, name: str, default: Any = None) -> Any:
        """Return an entry, or ``default`` if there is none of that name."""
        return self.entries.get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def to_frame(self) -> pd.DataFrame:
        """Return the catalogue as a table, one row a cube."""
        import pandas as pd

        rows = {
            name: {
                "title": entry.title,
                "modalities": ", ".join(
                    f"{m} ({len(e.bands)})" for m, e in entry.modalities.items()
                ),
                "targets": ", ".join(entry.targets),
                "where": entry.where,
                "licence": entry.licence,
            }
            for name, entry in self.entries.items()
        }
        return pd.DataFrame(rows).T

    def __repr__(self) -> str:
        return self.to_frame().to_string(max_colwidth=48)

    def _repr_html_(self) -> str:
        import pandas as pd

        with pd.option_context("display.max_colwidth", None):
            return self.to_frame().to_html()


def catalog(path: str | Path | None = None) -> Catalog:
    """Read the catalogue.

    Parameters
    ----------
    path
        The file. Default: the one named by the environment variable ``MAESTRO_LAB_CATALOG``, else
        ``data_catalog.yaml`` in this folder or the nearest one above it, else the one that came
        with the package.

    Raises
    ------
    CatalogError
        Names the file, the entry, the field and what was expected there.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> "romania" in ml.catalog()
    True
    """
    path = Path(path).expanduser() if path is not None else _find()
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise CatalogError(f"catalogue {path} cannot be read", found=error.strerror) from error
    except UnicodeDecodeError as error:
        raise CatalogError(
            f"catalogue {path} cannot be read", expected="text in UTF-8", found=str(error)
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        raise CatalogError(
            f"catalogue {path} is not YAML{line}", found=getattr(error, "problem", str(error))
        ) from error
    entries = read_entries(path, content)
    for name, entry in entries.items():
        _check_names(path, name, entry)
    return Catalog(path, entries)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Refuses a key that is there twice; plain YAML would keep the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key!r} is there twice", problem_mark=node.value[number][0].start_mark
                )
        return super().construct_mapping(node, deep=deep)


def _check_names(path: Path, name: str, entry: Entry) -> None:
    if entry.kind not in READERS:
        raise CatalogError(
            f"{path.name}: entry {name!r}, field kind",
            expected=f"one of {', '.join(READERS)}",
            found=entry.kind,
        )
    if _is_path(name):
        raise CatalogError(
            f"{path.name}: entry {name!r}", expected="a name that is no path", found=name
        )
    for modality in entry.modalities:
        if modality == "targets" or "/" in modality:
            raise CatalogError(
                f"{path.name}: entry {name!r}, field modalities",
                expected="names without '/', other than 'targets'",
                found=modality,
            )


def _find() -> Path:
    named = os.environ.get("MAESTRO_LAB_CATALOG")
    if named:
        return Path(named).expanduser()
    here = Path.cwd()
    package = Path(__file__).parent
    for folder in (here, *here.parents, package, package.parent):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    raise CatalogError(
        f"no {FILE_NAME} found",
        expected=f"{FILE_NAME} in {here} or above it",
        do="name one with the environment variable MAESTRO_LAB_CATALOG",
    )


def open_cube(
    name: str | Path,
    *,
    root: str | Path = "",
    catalogue: str | Path | None = None,
    **overrides: Any,
) -> xr.DataTree:
    """Open a cube of the catalogue, one that was saved, or plain images of one's own.

    Parameters
    ----------
    name
        Name of a catalogue entry, or the path of a cube saved by
        :func:`~maestro_lab.cubes.store.save_cube` as zarr or netCDF. ``NAME:FOLDER`` stands for
        an entry and its root. With options it may be the path of plain netCDF or zarr (see
        :func:`~maestro_lab.cubes.sources.arrays.cube_from_dataset`) or of a folder of GeoTIFFs
        (:func:`~maestro_lab.cubes.sources.scenes.open_scenes`).
    root
        Folder of the data, for cubes that are read from files; empty keeps the entry's.
    catalogue
        Catalogue file; default as in :func:`catalog`.
    **overrides
        Options of the reader that replace those of the entry (``samples=64``).

    Returns
    -------
    xarray.DataTree
        A validated cube whose modalities are what the catalogue declares.

    Raises
    ------
    CatalogError
        For an unknown name or option.
    CubeError
        If the data cannot be read, or is not what was declared.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> cube = ml.open_cube("landscape", samples=4, seed=1)
    >>> list(cube.children)[0]
    's2'
    """
    kind, colon, folder = str(name).partition(":")
    if colon and kind and not _is_path(kind) and not root:
        name, root = kind, folder
    if root:
        overrides["root"] = root
    if _is_path(name):
        from maestro_lab.cubes.sources.paths import reader_of_path

        reader, option = reader_of_path(name, overrides)
        return _call(str(name), reader, {option: name}, overrides)
    entry = catalog(catalogue)[str(name)]
    module, function = READERS[entry.kind].split(":")
    reader = getattr(importlib.import_module(module), function)
    cube = _call(str(name), reader, entry.options, overrides)
    _compare(str(name), entry, cube)
    cube.attrs["catalogue_entry"] = str(name)  # a saved cube may name the one it was made from
    if catalogue is not None:
        cube.attrs["catalogue"] = str(Path(catalogue).resolve())
    return cube


def _is_path(name: str | Path) -> bool:
    return (
        isinstance(name, Path) or "/" in name or os.sep in name or name.endswith((".zarr", ".nc"))
    )


def _call(
    name: str,
    reader: Callable[..., xr.DataTree],
    options: Mapping[str, Any],
    overrides: Mapping[str, Any],
) -> xr.DataTree:
    parameters = inspect.signature(reader).parameters
    known, given = list(parameters), {**options, **overrides}
    unknown = [key for key in given if key not in known]
    needed = [k for k, p in parameters.items() if p.default is p.empty and k not in given]
    if needed:
        raise CatalogError(
            f"cube {name!r} needs the option {needed[0]!r}",
            expected=", ".join(known),
            found=", ".join(given) or "no options",
            do=f"add it to the options of the entry, or call open_cube({name!r}, {needed[0]}=...)",
        )
    if unknown:
        raise CatalogError(
            f"cube {name!r} has no option {unknown[0]!r}",
            expected=", ".join(known),
            found=", ".join(unknown),
        )
    return reader(**given)


def _compare(name: str, entry: Entry, cube: xr.DataTree) -> None:
    """Refuse a cube that is not what its entry declares."""
    from maestro_lab.cubes.contract import TARGETS, check_bands, modality_names

    def same(what: str, declared: object, there: object) -> None:
        if declared is not None and declared != there:
            raise CubeError(f"{what} not as in the catalogue", expected=declared, found=there)

    found = modality_names(cube)
    strangers = [m for m in found if m not in entry.modalities]
    if strangers:
        raise CubeError(
            f"cube {name!r}: modality {strangers[0]!r} is not in its catalogue entry",
            expected=", ".join(entry.modalities),
            found=", ".join(found),
        )
    for modality in found:
        declared, ds = entry.modalities[modality], cube[modality]
        check_bands(modality, declared.bands, [str(b) for b in ds["band"].values])
        for field in ("units", "gsd", "sensor", "nodata"):
            same(f"{modality}: {field}", getattr(declared, field), ds.attrs.get(field))
    targets = cube[TARGETS].data_vars if TARGETS in cube.children else {}
    for target, task in entry.targets.items():
        if target in targets:
            same(f"targets/{target}: task", task.task, targets[target].attrs["task"])
            same(f"targets/{target}: units", task.units, targets[target].attrs.get("units"))
    splits = dict.fromkeys(cube["split"].values)
    if not set(splits) <= set(entry.splits):
        raise CubeError(
            f"cube {name!r}: splits not as in the catalogue",
            expected=", ".join(entry.splits),
            found=", ".join(splits),
        )
