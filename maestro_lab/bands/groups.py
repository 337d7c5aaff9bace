"""``BandGroups``: which bands belong together, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import pandas as pd

from maestro_lab.errors import ParameterError

__all__ = ["BandGroups"]


@dataclass(frozen=True, eq=False)
class BandGroups(Mapping[str, tuple[str, ...]]):
    """Named, disjoint groups of band names.

    Two are equal when they put the same bands together, whatever the groups are called and in
    whatever order they stand. Models, contracts and notebooks take one wherever they take groups.

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
        if not isinstance(self.groups, Mapping):
            raise ParameterError(
                "band groups", expected="group name: [band, ...]", found=repr(self.groups)[:120]
            )
        for name, bands in self.groups.items():
            listed = isinstance(bands, Sequence) or hasattr(bands, "__array__")
            if isinstance(bands, str) or not listed or not all(isinstance(b, str) for b in bands):
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

    @property
    def words(self) -> str:
        """The groups without their names: ``B02 B03 | B08``."""
        return " | ".join(" ".join(bands) for bands in self.groups.values())

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

    def restricted(self, bands: Sequence[str]) -> BandGroups | None:
        """Return the groups of those bands alone; None if none of them is grouped here.

        Examples
        --------
        >>> BandGroups({"visible": ["B02", "B03"], "infrared": ["B08"]}).restricted(["B03", "B11"])
        BandGroups(visible: B03)
        """
        kept = {name: [b for b in group if b in bands] for name, group in self.groups.items()}
        kept = {name: group for name, group in kept.items() if group}
        return BandGroups(kept) if kept else None

    def agreement(self, other: BandGroups) -> float:
        """Return the adjusted Rand index with other groups, over the bands that both know.

        1 for the same groups, about 0 for groups that agree no more than by chance. NaN if they
        have fewer than two bands in common.

        Examples
        --------
        >>> groups = BandGroups.from_lists([["B02", "B03"], ["B08", "B8A"]])
        >>> groups.agreement(BandGroups.from_lists([["B02", "B08"], ["B03", "B8A"]]))
        -0.5
        """
        from sklearn.metrics import adjusted_rand_score

        common = [b for b in self.bands if b in other.bands]
        if len(common) < 2:
            return float("nan")
        return float(adjusted_rand_score(self.labels(common), other.labels(common)))

    def as_token_bands(self, bands: Sequence[str]) -> list[list[int]]:
        """Return token band groups as MAESTRO configures them: lists of channel numbers.

        Parameters
        ----------
        bands
            The bands in the order of the file's channels.

        Examples
        --------
        >>> BandGroups({"a": ["B08"], "b": ["B03", "B02"]}).as_token_bands(["B02", "B03", "B08"])
        [[2], [1, 0]]
        """
        self.labels(bands)  # every channel has a group
        missing = [b for b in self.bands if b not in bands]
        if missing:
            raise ParameterError(
                f"band {missing[0]!r} is not in the data", expected=" ".join(bands), found=str(self)
            )
        number = {b: k for k, b in enumerate(bands)}
        return [[number[b] for b in group] for group in self.groups.values()]

    def as_norm_bands(self, bands: Sequence[str]) -> list[int]:
        """Return normalisation groups as MAESTRO configures them: how many channels each has.

        Parameters
        ----------
        bands
            The bands in the order of the model's channels; groups must be runs of neighbours.

        Raises
        ------
        ParameterError
            If the bands of a group do not stand side by side.

        Examples
        --------
        >>> BandGroups({"a": ["B08"], "b": ["B03", "B02"]}).as_norm_bands(["B02", "B03", "B08"])
        [2, 1]
        """
        self.as_token_bands(bands)
        labels = self.labels(bands)
        starts = [k for k, label in enumerate(labels) if not k or label != labels[k - 1]]
        if len(starts) > len(self):
            raise ParameterError(
                "the bands of a group do not stand side by side",
                expected=f"channels in the order {' '.join(self.bands)}",
                found=" ".join(bands),
                do="reorder the channels, or give the groups by name, as norm_groups",
            )
        return [b - a for a, b in zip(starts, [*starts[1:], len(labels)], strict=True)]

    def to_dict(self) -> dict[str, list[str]]:
        """Return plain data for JSON or YAML; ``BandGroups(data)`` reads it back."""
        return {name: list(bands) for name, bands in self.groups.items()}

    def to_frame(self) -> pd.DataFrame:
        """Return a table with one row a group."""
        rows = [(len(bands), " ".join(bands)) for bands in self.groups.values()]
        return pd.DataFrame(rows, index=pd.Index(self.groups, name="group"), columns=["n", "bands"])

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

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th>"
            f"<td style='text-align:left'>{escape(' '.join(bands))}</td></tr>"
            for name, bands in self.groups.items()
        )
        return f"<table>{rows}</table>"
