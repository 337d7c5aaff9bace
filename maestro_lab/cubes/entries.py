"""What an entry of ``data_catalog.yaml`` may say, and what a mistake in it is called."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from maestro_lab.cubes.sensors import SENSORS
from maestro_lab.errors import CatalogError

__all__ = ["Entry", "HeadEntry", "ModalityEntry", "ModelInput", "TargetEntry", "read_entries"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ModelInput(_Strict):
    """How a modality enters a model; fields as in :class:`maestro_lab.contract.Modality`."""

    patch: int = Field(gt=0)
    dates: int = Field(default=1, gt=0)
    divide: float = Field(default=1.0, gt=0)
    log: bool = False
    size: int = Field(default=0, ge=0)
    norm_groups: list[list[str]] = []
    token_groups: list[list[str]] = []
    fusion_group: str = ""
    embedding: str = ""
    resize: Literal["nearest", "bilinear", "bicubic"] = "nearest"
    rescale_elevation: bool = False


class ModalityEntry(_Strict):
    """What the catalogue declares of one modality, and how a model takes it by default."""

    sensor: str | None = None
    bands: list[str] = Field(min_length=1, description="band names, in the order of the file")
    units: Literal["DN", "reflectance", "linear power", "dB", "m"]
    gsd: float = Field(gt=0, description="metres a pixel")
    nodata: float | None = None
    model: ModelInput | None = None

    @model_validator(mode="after")
    def _bands_agree(self) -> ModalityEntry:
        twice = sorted({b for b in self.bands if self.bands.count(b) > 1})
        if twice:
            raise ValueError(f"bands once each; {', '.join(twice)} is there twice")
        if self.sensor not in (None, *SENSORS):
            raise ValueError(f"a sensor among {', '.join(SENSORS)}, not {self.sensor!r}")
        known = SENSORS[self.sensor].bands if self.sensor else self.bands
        strange = [b for b in self.bands if b not in known]
        if strange:
            raise ValueError(
                f"bands of {self.sensor} ({' '.join(known)}); {strange[0]!r} is none of them"
            )
        for field in ("norm_groups", "token_groups") if self.model else ():
            groups = getattr(self.model, field)
            grouped = [band for group in groups for band in group]
            if groups and (sorted(grouped) != sorted(self.bands) or not all(groups)):
                raise ValueError(f"model.{field} that hold each of {' '.join(self.bands)} once")
        return self


class HeadEntry(_Strict):
    """The head that published models have for a target; it answers one number a class."""

    name: str = Field(min_length=1, description="the target's name in published weights")
    task: Literal["multilabel", "classification", "segmentation"]
    reference: str = Field(default="", description="modality whose patches a map is made on")
    size: int = Field(default=0, ge=0, description="side of a map in pixels")
    missing: int = Field(default=-1, description="label that says there is none")
    threshold: float | None = Field(default=None, description="a larger fraction is a label")


class TargetEntry(_Strict):
    """What the catalogue declares of one target."""

    task: Literal["fractions", "multilabel", "classification", "segmentation", "regression"]
    units: str | None = None
    classes: list[str] | None = None
    head: HeadEntry | None = None

    @model_validator(mode="after")
    def _head_has_classes(self) -> TargetEntry:
        if self.head and not self.classes:
            raise ValueError("classes beside a head: it answers one number for each")
        return self


class Entry(_Strict):
    """One cube of the catalogue."""

    title: str
    kind: str
    where: str = Field(description="where the data lies, or comes from")
    options: dict[str, Any] = {}
    modalities: dict[str, ModalityEntry] = Field(min_length=1)
    targets: dict[str, TargetEntry] = {}
    position_cells: int = Field(gt=0, description="cells of the position code along one side")
    window: float | None = Field(default=None, gt=0, description="metres along a sample's side")
    splits: list[Literal["train", "val", "test", "buffer"]] = Field(min_length=1)
    licence: str
    citation: str

    @model_validator(mode="after")
    def _maps_have_a_reference(self) -> Entry:
        for name, target in self.targets.items():
            head = target.head
            maps = head is not None and head.task == "segmentation"
            if maps and (head.reference not in self.modalities or not head.size):
                raise ValueError(
                    f"targets.{name}.head with a size and a reference among "
                    f"{', '.join(self.modalities)}"
                )
        return self


class _File(_Strict):
    version: Literal[1]
    cubes: dict[str, Entry] = Field(min_length=1)


_MODELS = (ModelInput, ModalityEntry, HeadEntry, TargetEntry, Entry, _File)


def read_entries(path: Path, content: Any) -> dict[str, Entry]:
    """Check the content of a catalogue file and return its entries.

    Raises
    ------
    CatalogError
        Names the file, the entry, the field and what was expected there.
    """
    try:
        return _File.model_validate(content).cubes
    except ValidationError as error:
        raise _explain(path, error) from error


def _explain(path: Path, error: ValidationError) -> CatalogError:
    problems = error.errors(include_url=False)
    first, more = problems[0], len(problems) - 1
    where = list(first["loc"])
    entry = f"entry {str(where[1])!r}, " if len(where) > 1 and where[0] == "cubes" else ""
    field = ".".join(map(str, where[2:] if entry else where))
    expected, found = first["msg"].removeprefix("Value error, "), repr(first["input"])[:120]
    close = None
    if first["type"] == "missing":
        expected, found = _meaning(where), "nothing"
    elif first["type"] == "extra_forbidden":
        known = _model_at(where[:-1]).model_fields
        expected, found = f"one of {', '.join(known)}", str(where[-1])
        close = difflib.get_close_matches(found, known, n=1)
    elif first["type"] == "model_type":
        expected = f"fields: {', '.join(_model_at(where).model_fields)}"
    do = f"mend {path}" + (f"; did you mean {close[0]!r}?" if close else "")
    return CatalogError(
        f"{path.name}: {entry}" + (f"field {field}" if field else "all of it"),
        expected=expected,
        found=found,
        do=do + (f" ({more} more to mend)" if more else ""),
    )


def _model_at(where: Sequence[str | int]) -> type[_Strict]:
    """Return the model that describes a place in the file: ("cubes", "romania") is an Entry."""
    model: type[_Strict] = _File
    for part in where:
        field = model.model_fields.get(str(part))
        inside = [t for t in _types(field.annotation) if t in _MODELS] if field else []
        model = inside[0] if inside else model
    return model


def _meaning(where: Sequence[str | int]) -> str:
    """Say in words what belongs into a field that is missing."""
    field = _model_at(where[:-1]).model_fields[str(where[-1])]
    for kind in _types(field.annotation):
        if get_origin(kind) is Literal:
            return "one of " + ", ".join(map(str, get_args(kind)))
    words = {str: "text", float: "a number", int: "a whole number"}
    return field.description or words.get(field.annotation, "this field")


def _types(annotation: Any) -> list[Any]:
    """Return an annotation and all that stands in its brackets."""
    return [annotation, *(t for inner in get_args(annotation) for t in _types(inner))]
