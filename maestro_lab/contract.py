"""What a model expects of its input: bands, order, units, normalisation, grids, patch sizes.

The contract is plain data. It travels with the weights (``model.json``), is built from a cube and
its catalogue entry, and is compared with every cube before a single number reaches the model.
Nothing here imports xarray or torch, so both sides can use it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from numbers import Integral, Real
from typing import Any

from maestro_lab.errors import ContractError

__all__ = ["Contract", "Modality"]

Groups = tuple[tuple[str, ...], ...]
Statistics = Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True)
class Modality:
    """How one modality enters a model.

    Parameters
    ----------
    bands
        Band names, in the order of the model's channels.
    units
        Units of the cube's values before normalisation.
    gsd
        Metres a pixel in the cube.
    pixels
        Side of the square window in the cube, in pixels.
    patch
        Side of a patch in pixels, after resizing to ``size``.
    dates
        Dates of one sample that enter the model.
    size
        Side in pixels that the model resizes the window to; default ``pixels``.
    divide
        Values are divided by this, after the logarithm where there is one.
    log
        Take ln(max(value, 1e-10)) first (linear radar power).
    norm_groups
        Band groups that reconstruction targets are normalised in, patch by patch.
        Default: the token groups.
    token_groups
        Band groups that become tokens of their own. Default: one group of all bands.
    fusion_group
        Modalities with the same name share one sequence under group fusion. Default: its own.
    embedding
        Modalities with the same name share patch embedding and pixel head. Default: its own.
    resize
        How to resize: "nearest", "bilinear" or "bicubic".
    rescale_elevation
        Replace bands 1.. by 30 x (band 0 - band) metres: surface and height above ground.

    Raises
    ------
    ContractError
        If a patch does not divide the window, groups do not cover the bands, or a number is not
        positive.

    Examples
    --------
    >>> s1 = Modality(("VV", "VH"), "linear power", gsd=10, pixels=6, patch=2, dates=4, log=True)
    >>> s1.grid, s1.tokens
    (3, 36)
    """

    bands: tuple[str, ...]
    units: str
    gsd: float
    pixels: int
    patch: int
    dates: int = 1
    size: int = 0
    divide: float = 1.0
    log: bool = False
    norm_groups: Groups = ()
    token_groups: Groups = ()
    fusion_group: str = ""
    embedding: str = ""
    resize: str = "nearest"
    rescale_elevation: bool = False

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        if isinstance(self.bands, str):
            raise ContractError("bands", expected="a list of names", found=repr(self.bands))
        set_(self, "bands", tuple(self.bands))
        self._check_numbers()
        set_(self, "size", self.size or self.pixels)
        set_(self, "token_groups", _groups(self.token_groups) or (self.bands,))
        set_(self, "norm_groups", _groups(self.norm_groups) or self.token_groups)
        self._check()

    def _check_numbers(self) -> None:
        for name in ("pixels", "patch", "dates", "size"):
            value, least = getattr(self, name), 0 if name == "size" else 1
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise ContractError(
                    f"{name} of {' '.join(self.bands)}",
                    expected=f"a whole number, {least} or more",
                    found=repr(value),
                )
            object.__setattr__(self, name, int(value))
        for name in ("gsd", "divide"):
            value = getattr(self, name)
            if not isinstance(value, Real) or not 0 < value < float("inf"):
                raise ContractError(
                    f"{name} of {' '.join(self.bands)}",
                    expected="a number above 0",
                    found=repr(value),
                )

    def _check(self) -> None:
        if not self.bands or len(set(self.bands)) < len(self.bands):
            raise ContractError(
                "bands",
                expected="one band or more, each with a name of its own",
                found=" ".join(self.bands) or "none",
            )
        if self.size % self.patch:
            legal = [p for p in range(1, self.size + 1) if self.size % p == 0]
            raise ContractError(
                f"a patch of {self.patch} does not divide {self.size} pixels",
                expected=f"one of {', '.join(map(str, legal))}",
                found=self.patch,
            )
        if self.resize not in ("nearest", "bilinear", "bicubic"):
            raise ContractError(
                "resize", expected="nearest, bilinear or bicubic", found=repr(self.resize)
            )
        for name in ("token_groups", "norm_groups"):
            groups = getattr(self, name)
            flat = [band for group in groups for band in group]
            if sorted(flat) != sorted(self.bands) or not all(groups):
                raise ContractError(
                    f"{name} do not cover the bands once each",
                    expected=" ".join(self.bands),
                    found=" | ".join(" ".join(g) for g in groups),
                )
        if self.patch == 1 and any(len(group) == 1 for group in self.norm_groups):
            raise ContractError(
                "a norm group of one band in patches of one pixel holds a single number",
                expected="at least 2 numbers to take a mean and a deviation of",
                found=" | ".join(" ".join(g) for g in self.norm_groups),
                do="use larger patches, or put bands together",
            )

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.size // self.patch

    @property
    def tokens(self) -> int:
        """Tokens of one sample: band groups x dates x locations."""
        return len(self.token_groups) * self.dates * self.grid**2


def _groups(groups: Any) -> Groups:
    """Accept nested sequences, or a mapping of names to bands."""
    if isinstance(groups, Mapping):
        groups = groups.values()
    return tuple(tuple(str(band) for band in group) for group in groups)


@dataclass(frozen=True)
class Contract:
    """The input of a model: its modalities in order, and the cells of its position code.

    Parameters
    ----------
    modalities
        Name to :class:`Modality`; the order is the order of the model's sequences.
    position_cells
        Cells along one side of the shared ground that positions are counted in
        (``grid_pos_enc`` in the MAESTRO configurations).
    statistics
        Modality to band to ``mean``, ``std``, ``q02``, ``median``, ``q98`` of the values that the
        model was trained on, before normalisation. Not compared between contracts.

    Examples
    --------
    >>> s2 = Modality(("B02", "B03"), "DN", gsd=10, pixels=6, patch=2, dates=16, divide=5000)
    >>> contract = Contract({"s2": s2}, position_cells=96)
    >>> Contract.from_dict(contract.to_dict()) == contract
    True
    """

    modalities: Mapping[str, Modality]
    position_cells: int
    statistics: Statistics = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not self.modalities:
            raise ContractError("contract without modalities", expected="at least one")
        if not isinstance(self.position_cells, Integral) or self.position_cells < 1:
            raise ContractError(
                "position_cells", expected="a whole number, 1 or more", found=self.position_cells
            )
        object.__setattr__(self, "modalities", dict(self.modalities))

    def to_dict(self) -> dict[str, Any]:
        """Return the contract as plain JSON data."""
        plain = {name: asdict(m) for name, m in self.modalities.items()}
        found = {"position_cells": self.position_cells, "modalities": plain}
        return found | ({"statistics": dict(self.statistics)} if self.statistics else {})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Contract:
        """Build a contract from :meth:`to_dict` data.

        Raises
        ------
        ContractError
            If a field is unknown or missing.
        """
        whole, needed = ("modalities", "position_cells"), _needed(Modality)
        _check_fields("contract", data, (*whole, "statistics"), whole)
        _check_mapping("modalities of the contract", data["modalities"], "name: fields")
        modalities = {}
        for name, values in data["modalities"].items():
            where = f"contract of {name}"
            _check_fields(where, values, [f.name for f in fields(Modality)], needed)
            try:
                modalities[name] = Modality(**values)
            except ContractError as error:
                raise ContractError(
                    f"{where}: {error.what}", expected=error.expected, found=error.found
                ) from None
        return cls(modalities, data["position_cells"], data.get("statistics", {}))

    def __repr__(self) -> str:
        rows = [
            f"  {name}: {len(m.bands)} bands in {m.units}, {m.dates} dates, "
            f"{m.grid} x {m.grid} patches of {m.patch} px "
            f"({m.patch * m.gsd * m.pixels / m.size:g} m), "
            f"{m.tokens} tokens"
            for name, m in self.modalities.items()
        ]
        return "\n".join([f"Contract of {len(rows)} modalities", *rows])


def _needed(kind: type) -> list[str]:
    return [f.name for f in fields(kind) if f.default is MISSING]


def _check_fields(where: str, given: Any, known: Iterable[str], needed: Iterable[str]) -> None:
    known = list(known)
    _check_mapping(where, given, f"fields {', '.join(known)}")
    unknown = [name for name in given if name not in known]
    missing = [name for name in needed if name not in given]
    if unknown or missing:
        problem = f"unknown field {unknown[0]!r}" if unknown else f"field {missing[0]!r} is missing"
        raise ContractError(
            f"{where}: {problem}", expected=", ".join(known), found=", ".join(map(str, given))
        )


def _check_mapping(where: str, given: Any, expected: str) -> None:
    if not isinstance(given, Mapping):
        raise ContractError(where, expected=expected, found=repr(given)[:120])
