"""How sure are the groups? Measure again on resampled data, and compare with others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from maestro_lab.bands.between import distances
from maestro_lab.bands.grouping import Grouping, cluster
from maestro_lab.bands.known import references
from maestro_lab.errors import ParameterError

__all__ = ["Stability", "compare_references", "stability", "stability_table"]

OVER = ("sample", "date", "block")
FIRM, LOOSE, FAINT = 0.95, 0.75, 0.25


@dataclass(frozen=True, eq=False)
class Stability:
    """How often bands share a group when the data are drawn again.

    Parameters
    ----------
    grouping
        The groups in question.
    over
        What was drawn: "sample", "date" or "block".
    drawn
        How many of these there are.
    draws
        How often.
    together
        (band, band) share of the draws in which two bands share a group.
    exact
        Share of the draws that give the same groups.
    agreement
        Mean adjusted Rand index between drawn and proposed groups.
    """

    grouping: Grouping
    over: str
    drawn: int
    draws: int
    together: np.ndarray
    exact: float
    agreement: float

    @property
    def within(self) -> float:
        """The least share of draws in which two bands of one group stay together."""
        same = self._same() & ~np.eye(len(self.together), dtype=bool)
        return float(self.together[same].min()) if same.any() else 1.0

    @property
    def between(self) -> float:
        """The largest share of draws in which two bands of different groups come together."""
        other = ~self._same()
        return float(self.together[other].max()) if other.any() else 0.0

    @property
    def given(self) -> bool:
        """Whether there is but one group, or one for each band: nothing to be unsure of."""
        return _given(self.grouping)

    @property
    def word(self) -> str:
        """How sure the groups are: given, firm, loose, not stable, or no groups to speak of.

        Firm: no pair of bands changes sides in more than 5 % of the draws; loose: in no more than
        25 %. Whatever the draws say, groups with a mean silhouette below 0.25 are none: a cut
        through bands that are all alike can be stable and still mean nothing.
        """
        if self.given:
            return "given"
        if self.grouping.silhouette < FAINT:
            return f"no groups to speak of (silhouette {self.grouping.silhouette:.2f})"
        worst = min(self.within, 1 - self.between)
        return "firm" if worst >= FIRM else "loose" if worst >= LOOSE else "not stable"

    @property
    def verdict(self) -> str:
        """The word, and the numbers behind it."""
        if self.given:
            return f"{self.word}: one group, or one for each band, cannot come out otherwise"
        within = "always together" if self.within == 1 else f"together in {self.within:.0%} or more"
        between = "never" if self.between == 0 else f"in {self.between:.0%} or less"
        return (
            f"{self.word}: drawn again from {self.drawn:,} {self.over}s, the same groups come "
            f"out in {self.exact:.0%}; bands of one group are {within}, bands of two "
            f"{between}"
        ).replace("%", " %")

    @property
    def stable(self) -> bool:
        """Whether the groups are firm, or given."""
        return self.word in ("firm", "given")

    def _same(self) -> np.ndarray:
        labels = np.array(self.grouping.groups.labels(self.grouping.statistics.bands))
        return labels[:, None] == labels[None, :]

    def __repr__(self) -> str:
        return f"Stability({self.grouping.groups.words}: {self.verdict})"


def stability(
    grouping: Grouping, over: str = "", *, draws: int = 200, seed: int = 0
) -> Stability | None:
    """Group again on data drawn with replacement, with as many groups.

    Parameters
    ----------
    grouping
        From :func:`~maestro_lab.bands.propose_groups`.
    over
        What to draw: "sample", "date" or "block". Default: blocks where there are several, as
        neighbours resemble each other; else dates, else samples.
    draws
        How often.
    seed
        Of the draws.

    Returns
    -------
    Stability or None
        None where there is only one to draw from, so that nothing can be said.

    Raises
    ------
    ParameterError
        If the statistics kept nothing to resample.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> from maestro_lab.bands import band_statistics, propose_groups
    >>> cube = ml.open_cube("landscape", samples=60, modalities=["s2"])
    >>> found = propose_groups(band_statistics(cube, "s2", split=()), groups=3)
    >>> stability(found, "date").within
    1.0
    """
    statistics = grouping.statistics
    several = [o for o in reversed(OVER) if statistics.units_in.get(o, 0) > 1]
    over = over or next(iter(several), "sample")
    if over not in OVER:
        raise ParameterError("what to draw", expected=" | ".join(OVER), found=repr(over))
    if over not in statistics.bundles:
        raise ParameterError(
            "these statistics keep nothing to resample",
            expected="bundles of samples, dates and blocks",
            found="bundles=0",
            do="measure with bundles=24",
        )
    if draws < 1:
        raise ParameterError("draws", expected="1 or more", found=draws)
    bundles = statistics.bundles[over]
    if len(bundles.n) < 2:
        return None
    size, count = len(statistics.bands), len(grouping.groups)
    proposed = np.array(grouping.groups.labels(statistics.bands))
    number = len(bundles.n)
    weights = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), draws)
    together, scores = np.zeros((size, size)), []
    known: dict[bytes, float] = {}
    given = _given(grouping)  # nothing to draw: it cannot come out otherwise
    for again in () if given else statistics.resampled(over, weights):
        matrix = distances(again, grouping.statistic)
        labels = cluster(matrix, grouping.linkage, count)[1]
        together += labels[:, None] == labels[None, :]
        key = labels.tobytes()  # most draws repeat a grouping
        if key not in known:
            known[key] = _rand(labels, proposed)
        scores.append(known[key])
    if given:
        together += draws * (proposed[:, None] == proposed[None, :])
        scores.append(1.0)
    exact = float(np.mean(np.array(scores) == 1))
    return Stability(
        grouping,
        over,
        statistics.units_in[over],
        draws,
        together / draws,
        exact,
        float(np.mean(scores)),
    )


def _given(grouping: Grouping) -> bool:
    return len(grouping.groups) in (1, len(grouping.statistics.bands))


def _rand(a: np.ndarray, b: np.ndarray) -> float:
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(a, b))


def stability_table(grouping: Grouping, *, draws: int = 200, seed: int = 0) -> pd.DataFrame:
    """Draw samples, dates and blocks in turn.

    Returns
    -------
    pandas.DataFrame
        One row each: what was drawn, from how many, the share of draws with the same groups, the
        mean adjusted Rand index, the weakest pair within and the strongest between groups. Empty
        numbers where there is only one to draw from; no row for what statistics kept no bundles.
    """
    rows = []
    for over in (o for o in OVER if o in grouping.statistics.bundles):
        found = stability(grouping, over, draws=draws, seed=seed)
        n = grouping.statistics.units_in[over]
        if found is None:
            rows.append((over, n, *[np.nan] * 4, "nothing to draw from"))
            continue
        numbers = (found.exact, found.agreement, found.within, found.between)
        rows.append((over, n, *numbers, found.word))
    columns = ["drawn", "of", "same groups", "Rand index", "within", "between", "verdict"]
    return pd.DataFrame(rows, columns=columns).round(3)


def compare_references(grouping: Grouping) -> pd.DataFrame:
    """Compare groups with those of papers, and with the regions of the spectrum.

    Returns
    -------
    pandas.DataFrame
        One row a reference that knows three of the bands or more: its groups, the bands in common
        and the adjusted Rand index (1: the same, about 0: no better than chance).
    """
    statistics = grouping.statistics
    known = references(statistics.bands, statistics.wavelengths)
    rows = [
        (name, groups.words, len(groups.bands), grouping.groups.agreement(groups))
        for name, groups in known.items()
    ]
    columns = ["reference", "groups", "bands in common", "Rand index"]
    return pd.DataFrame(rows, columns=columns).round({"Rand index": 3})
