"""``data_catalog.yaml`` -> cubes: a table of what there is, and one verb to open it."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from maestro_lab.errors import CatalogError

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["Catalog", "Entry", "catalog", "open_cube"]

FILE_NAME = "data_catalog.yaml"

READERS = {
    "romania": "maestro_lab.cubes.romania:open_romania",
    "landscape": "maestro_lab.cubes.landscape:open_landscape",
    "treesatai-ts": "maestro_lab.cubes.treesatai:open_treesatai",
    "zarr": "maestro_lab.cubes.store:open_store",
}
"""Source kind to the function that reads it, imported when first used."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelInput(_Strict):
    """How a modality enters a model; fields as in :class:`maestro_lab.contract.Modality`."""

    patch: int = Field(gt=0)
    dates: int = Field(default=1, gt=0)
    divide: float = Field(default=1.0, gt=0)
    log: bool = False
    size: int = 0
    norm_groups: list[list[str]] = []
    token_groups: list[list[str]] = []
    fusion_group: str = ""
    embedding: str = ""
    resize: Literal["nearest", "bilinear", "bicubic"] = "nearest"
    rescale_elevation: bool = False


class ModalityEntry(_Strict):
    """What the catalogue declares of one modality, and how a model takes it by default."""

    sensor: str | None = None
    bands: list[str] = Field(min_length=1)
    units: Literal["DN", "reflectance", "linear power", "dB", "m"]
    gsd: float = Field(gt=0, description="metres a pixel")
    nodata: float | None = None
    model: ModelInput | None = None


class TargetEntry(_Strict):
    """What the catalogue declares of one target."""

    task: Literal["fractions", "multilabel", "classification", "segmentation", "regression"]
    units: str | None = None
    classes: list[str] | None = None


class Entry(_Strict):
    """One cube of the catalogue."""

    title: str
    kind: str
    where: str = Field(description="where the data lies, or comes from")
    options: dict[str, Any] = {}
    modalities: dict[str, ModalityEntry] = Field(min_length=1)
    targets: dict[str, TargetEntry] = {}
    position_cells: int = Field(gt=0, description="cells of the position code along one side")
    splits: list[Literal["train", "val", "test", "buffer"]] = Field(min_length=1)
    licence: str
    citation: str


class _File(_Strict):
    version: Literal[1]
    cubes: dict[str, Entry] = Field(min_length=1)


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
        close = difflib.get_close_matches(name, self.entries, n=1)
        raise CatalogError(
            f"no cube named {name!r} in {self.path.name}",
            expected=f"one of {', '.join(self.entries)}, or the path of a cube saved as zarr",
            found=name,
            do=f"did you mean {close[0]!r}?" if close else "see maestro-lab cubes",
        )

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
    path = Path(path) if path is not None else _find()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CatalogError(f"catalogue {path} cannot be read", found=error.strerror) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        raise CatalogError(
            f"catalogue {path} is not YAML{line}", found=getattr(error, "problem", str(error))
        ) from error
    try:
        entries = _File.model_validate(content).cubes
    except ValidationError as error:
        raise _explain(path, error) from error
    for name, entry in entries.items():
        if entry.kind not in READERS:
            raise CatalogError(
                f"{path.name}: entry {name!r}, field kind",
                expected=f"one of {', '.join(READERS)}",
                found=entry.kind,
            )
    return Catalog(path, entries)


def _find() -> Path:
    named = os.environ.get("MAESTRO_LAB_CATALOG")
    if named:
        return Path(named)
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


def _explain(path: Path, error: ValidationError) -> CatalogError:
    first = error.errors(include_url=False)[0]
    where = [str(part) for part in first["loc"]]
    entry = f"entry {where[1]!r}, " if len(where) > 1 and where[0] == "cubes" else ""
    field = ".".join(where[2:] if entry else where) or "the file"
    more = len(error.errors()) - 1
    missing = first["type"] == "missing"
    return CatalogError(
        f"{path.name}: {entry}field {field}",
        expected="this field" if missing else first["msg"],
        found="nothing" if missing else repr(first["input"])[:120],
        do=f"mend {path}" + (f" ({more} more problems follow)" if more else ""),
    )


def open_cube(
    name: str | Path,
    *,
    root: str | Path = "",
    catalogue: str | Path | None = None,
    **overrides: Any,
) -> xr.DataTree:
    """Open a cube of the catalogue, or one saved as zarr.

    Parameters
    ----------
    name
        Name of a catalogue entry, or the path of a cube saved by
        :func:`~maestro_lab.cubes.store.save_cube`.
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
    if root:
        overrides["root"] = root
    if _is_path(name):
        from maestro_lab.cubes.store import open_store

        return _call(str(name), open_store, {"path": name}, overrides)
    found = catalog(catalogue)
    entry = found[str(name)]
    module, function = READERS[entry.kind].split(":")
    reader = getattr(importlib.import_module(module), function)
    cube = _call(str(name), reader, entry.options, overrides)
    _compare(str(name), entry, cube)
    cube.attrs.setdefault("catalogue_entry", str(name))
    return cube


def _is_path(name: str | Path) -> bool:
    return isinstance(name, Path) or "/" in name or os.sep in name or name.endswith(".zarr")


def _call(
    name: str,
    reader: Callable[..., xr.DataTree],
    options: Mapping[str, Any],
    overrides: Mapping[str, Any],
) -> xr.DataTree:
    known = list(inspect.signature(reader).parameters)
    unknown = [key for key in {**options, **overrides} if key not in known]
    if unknown:
        raise CatalogError(
            f"cube {name!r} has no option {unknown[0]!r}",
            expected=", ".join(known),
            found=", ".join(unknown),
        )
    return partial(reader, **{**options, **overrides})()


def _compare(name: str, entry: Entry, cube: xr.DataTree) -> None:
    """Refuse a cube whose bands or units are not the declared ones."""
    from maestro_lab.cubes.contract import check_bands, modality_names
    from maestro_lab.errors import CubeError

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
        for field in ("units", "gsd"):
            if ds.attrs[field] != getattr(declared, field):
                raise CubeError(
                    f"{modality}: {field} differ from the catalogue",
                    expected=getattr(declared, field),
                    found=ds.attrs[field],
                )
