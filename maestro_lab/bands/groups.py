"""``BandGroups``: which bands belong together, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from maestro_lab.errors import ParameterError

__all__ = ["REFERENCES", "BandGroups"]


@dataclass(frozen=True, eq=False)
class BandGroups(Mapping[str, tuple[str, ...]]):
    """Named, disjoint groups of band names.

    Two are equal when they put the same bands together, whatever the groups are called and in
    whatever order they stand.

    Parameters
    ----------
    groups
        Group name to band names.

    Raises
    ------
    ParameterError
        If a group is empty, a band stands in two groups, or bands are told by anything but names.

    Examples
    --------
    >>> groups = BandGroups({"visible": ["B02", "B03"], "infrared": ["B08"]})
    >>> groups
    BandGroups(visible: B02 B03 | infrared: B08)
    >>> groups == BandGroups({"a": ["B08"], "b": ["B03", "B02"]})
    True
    """

    groups: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        for name, bands in self.groups.items():
            if isinstance(bands, str) or not all(isinstance(b, str) for b in bands):
                raise ParameterError(
                    f"band group {name!r}", expected="a list of band names", found=repr(bands)
                )
        plain = {str(name): tuple(map(str, bands)) for name, bands in self.groups.items()}
        flat = [band for bands in plain.values() for band in bands]
        twice = sorted({band for band in flat if flat.count(band) > 1})
        if twice:
            raise ParameterError("band groups overlap", expected="disjoint groups", found=twice[0])
        if not all(plain.values()) or not plain:
            raise ParameterError("band groups", expected="at least one band a group", found=plain)
        object.__setattr__(self, "groups", plain)

    @classmethod
    def from_lists(cls, lists: Sequence[Sequence[str]]) -> BandGroups:
        """Name groups after their bands.

        Examples
        --------
        >>> BandGroups.from_lists([["B02", "B03", "B04"], ["B08"]])
        BandGroups(B02-B04: B02 B03 B04 | B08: B08)
        """
        groups: dict[str, tuple[str, ...]] = {}
        for bands in map(tuple, lists):
            name = "-".join(dict.fromkeys(map(str, (*bands[:1], *bands[-1:]))))
            if name in groups:
                raise ParameterError(
                    "band groups overlap", expected="disjoint groups", found=f"{name} twice"
                )
            groups[name] = bands
        return cls(groups)

    @property
    def bands(self) -> tuple[str, ...]:
        """All bands, group by group."""
        return tuple(band for bands in self.groups.values() for band in bands)

    def labels(self, bands: Sequence[str]) -> list[int]:
        """Return the number of the group that each of ``bands`` is in.

        Raises
        ------
        ParameterError
            If a band is in no group.
        """
        number = {b: k for k, group in enumerate(self.groups.values()) for b in group}
        strangers = [b for b in bands if b not in number]
        if strangers:
            raise ParameterError(
                f"band {strangers[0]!r} is in no group", expected=str(self), found=strangers[0]
            )
        return [number[b] for b in bands]

    def to_dict(self) -> dict[str, list[str]]:
        """Return plain data for JSON or YAML; ``BandGroups(data)`` reads it back."""
        return {name: list(bands) for name, bands in self.groups.items()}

    def _key(self) -> frozenset[frozenset[str]]:
        return frozenset(frozenset(bands) for bands in self.groups.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BandGroups) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __getitem__(self, name: str) -> tuple[str, ...]:
        return self.groups[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.groups)

    def __len__(self) -> int:
        return len(self.groups)

    def __repr__(self) -> str:
        inside = " | ".join(f"{name}: {' '.join(bands)}" for name, bands in self.groups.items())
        return f"BandGroups({inside})"


REFERENCES = {
    "MAESTRO Sentinel-2": BandGroups(
        {
            "visible": ("B02", "B03", "B04", "B05"),
            "infrared": ("B06", "B07", "B08", "B8A"),
            "shortwave": ("B11", "B12"),
        }
    ),
    "MAESTRO aerial": BandGroups({"infrared": ("NIR",), "visible": ("R", "G", "B")}),
}
"""Groups that papers use, to compare with."""
