"""How sure are the groups? Drawn again from samples, dates and blocks."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

import maestro_lab as ml
from maestro_lab.bands import (
    REFERENCES,
    STATISTICS,
    BandGroups,
    band_statistics,
    compare_references,
    group_bands,
    propose_groups,
    stability,
    stability_table,
)
from maestro_lab.errors import ParameterError
from tests.bands.made import PLANTED, image_cube, planted
from tests.batches.cubes import pixel_cube

OVER = ("sample", "date", "block")


def image_columns(seed=0, noise=0.3):
    """Planted bands in 12 samples of 5 dates."""
    rng = np.random.default_rng(seed)
    values = []
    for k, group in enumerate(PLANTED):
        course = rng.standard_normal((12, 5, 1, 8, 8)) + 10 * k
        values.append(course + noise * rng.standard_normal((12, 5, len(group), 8, 8)))
    return image_cube(np.concatenate(values, 2))


@pytest.fixture(scope="module")
def statistics():
    return band_statistics(image_columns(), "m")


@pytest.fixture(scope="module")
def doubtful():
    """Bands that resemble each other by chance only."""
    values = np.random.default_rng(0).standard_normal((12, 5, 5, 2, 2))
    return propose_groups(band_statistics(image_cube(values), "m"), groups=2)


@pytest.mark.parametrize("over", OVER)
@pytest.mark.parametrize("statistic", STATISTICS)
def test_planted_groups_are_firm(statistics, statistic, over):
    found = stability(propose_groups(statistics, statistic=statistic), over, draws=20)
    assert found.within >= 0.95
    assert found.between <= 0.05
    assert found.exact == found.agreement == 1
    assert found.stable
    assert found.verdict.startswith("firm: drawn again from ")


@pytest.mark.parametrize("over", OVER)
def test_a_seed_decides_all_draws(doubtful, over):
    first, again, other = (stability(doubtful, over, draws=30, seed=s) for s in (3, 3, 4))
    np.testing.assert_array_equal(first.together, again.together)
    assert (first.exact, first.agreement) == (again.exact, again.agreement)
    assert (first.together != other.together).any()


@pytest.mark.parametrize("over", OVER)
def test_co_membership_is_a_symmetric_share_with_ones_on_the_diagonal(doubtful, over):
    together = stability(doubtful, over, draws=60).together
    np.testing.assert_array_equal(together, together.T)
    assert (np.diag(together) == 1).all()
    assert together.min() >= 0 and together.max() <= 1
    np.testing.assert_allclose(together * 60, np.round(together * 60), atol=1e-9)


def test_within_and_between_are_the_weakest_pairs(doubtful):
    found = stability(doubtful, "date", draws=60)
    labels = doubtful.groups.labels(doubtful.statistics.bands)
    pairs = [(a, b) for a in range(5) for b in range(a)]
    same = [found.together[p] for p in pairs if labels[p[0]] == labels[p[1]]]
    other = [found.together[p] for p in pairs if labels[p[0]] != labels[p[1]]]
    assert found.within == min(same)
    assert found.between == max(other)
    assert not found.stable


def test_draws_are_groupings_of_what_was_drawn(doubtful):
    """Once more by hand: weigh bundles of dates, group again, count."""
    found = stability(doubtful, "date", draws=40, seed=5)
    bundles = doubtful.statistics.bundles["date"]
    weights = np.random.default_rng(5).multinomial(5, [0.2] * 5, 40)
    proposed = doubtful.groups.labels(doubtful.statistics.bands)
    together, scores = np.zeros((5, 5)), []
    for weight in weights:
        sums = bundles.weighted(weight)
        again = propose_groups(replace(doubtful.statistics, sums=sums), groups=2)
        labels = np.array(again.groups.labels(doubtful.statistics.bands))
        together += labels[:, None] == labels
        scores.append(adjusted_rand_score(proposed, labels))
    np.testing.assert_allclose(found.together, together / 40)
    assert found.agreement == pytest.approx(np.mean(scores))
    assert found.exact == np.mean(np.array(scores) == 1)
    assert (found.over, found.drawn, found.draws) == ("date", 5, 40)


def test_blocks_are_drawn_where_there_are_several_else_dates_else_samples(statistics):
    grouping = propose_groups(statistics)
    assert stability(grouping, draws=5).over == "block"
    one_block = image_columns().isel(sample=slice(0, 2))
    assert stability(group_bands(one_block)["m"], draws=5).over == "date"
    one_date = image_cube(image_columns()["m"]["values"].values[:2, :1])
    assert stability(group_bands(one_date)["m"], draws=5).over == "sample"


def test_statistics_without_bundles_are_refused():
    grouping = propose_groups(band_statistics(image_columns(), "m", bundles=0))
    for over in ("", "sample", "date"):
        with pytest.raises(ParameterError, match=r"nothing to resample\n(.*\n)*.*bundles=24"):
            stability(grouping, over)
    assert stability_table(grouping).empty


def test_anything_else_cannot_be_drawn(statistics):
    with pytest.raises(ParameterError, match=r"what to draw\n.*sample \| date \| block\n.*'pixel'"):
        stability(propose_groups(statistics), "pixel")


@pytest.mark.parametrize("draws", [0, -1])
def test_there_is_at_least_one_draw(statistics, draws):
    with pytest.raises(ParameterError, match="draws"):
        stability(propose_groups(statistics), "sample", draws=draws)


@pytest.mark.parametrize("groups", [1, 8])
def test_trivial_groups_are_given(statistics, groups):
    found = stability(propose_groups(statistics, groups=groups), "sample", draws=5)
    assert found.verdict.startswith("given: one group, or one for each band")
    assert found.stable
    assert found.exact == 1
    assert (found.within, found.between) == (1, 0)


def test_doubtful_groups_are_told_in_numbers(doubtful):
    found = stability(doubtful, "date", draws=60)
    assert doubtful.silhouette < 0.25
    assert found.verdict.startswith(
        f"no groups to speak of (silhouette {doubtful.silhouette:.2f}): drawn again from 5 dates, "
        f"the same groups come out in {100 * found.exact:.0f} %"
    )
    assert repr(found) == f"Stability({doubtful.groups.words}: {found.verdict})"


@pytest.mark.parametrize(
    ("weakest", "word"), [(1.0, "firm"), (0.95, "firm"), (0.94, "loose"), (0.75, "loose"),
                          (0.74, "not stable")],
)  # fmt: skip
@pytest.mark.parametrize("side", ["within", "between"])
def test_the_weakest_pair_decides_the_verdict(statistics, weakest, word, side):
    found = stability(propose_groups(statistics), "sample", draws=5)
    together = found.together.copy()
    a, b = (0, 1) if side == "within" else (0, 3)
    together[a, b] = together[b, a] = weakest if side == "within" else 1 - weakest
    again = replace(found, together=together)
    assert again.verdict.startswith(f"{word}: drawn again from 12 samples")
    assert again.stable == (word == "firm")


def test_the_table_has_a_row_for_each_thing_drawn(statistics):
    grouping = propose_groups(statistics)
    table = stability_table(grouping, draws=20, seed=2)
    assert table["drawn"].tolist() == list(OVER)
    assert table["of"].tolist() == [12, 5, 6]
    assert list(table.columns) == [
        "drawn", "of", "same groups", "Rand index", "within", "between", "verdict"
    ]  # fmt: skip
    for row in table.itertuples(index=False):
        found = stability(grouping, row.drawn, draws=20, seed=2)
        numbers = (found.exact, found.agreement, found.within, found.between)
        np.testing.assert_allclose(row[2:6], np.round(numbers, 3))
        assert row.verdict == found.verdict.split(":")[0]


def test_groups_are_compared_with_references(planted_landscape):
    table = compare_references(planted_landscape).set_index("reference")
    assert list(table.index) == [
        "MAESTRO Sentinel-2",
        "OlmoEarth v1 Sentinel-2",
        "spectral regions",
    ]
    assert table["bands in common"].tolist() == [10, 10, 10]
    assert table.loc["OlmoEarth v1 Sentinel-2", "groups"] == (
        "B02 B03 B04 B08 | B05 B06 B07 B8A B11 B12"
    )
    labels = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
    olmo = [0, 0, 0, 1, 1, 1, 0, 1, 1, 1]
    regions = [0, 0, 0, 1, 1, 1, 2, 2, 3, 3]
    expected = [1, *(adjusted_rand_score(labels, other) for other in (olmo, regions))]
    np.testing.assert_allclose(table["Rand index"], expected, atol=5e-4)


def test_bands_that_no_reference_knows_have_none():
    grouping = group_bands(pixel_cube(planted()))["m"]
    assert compare_references(grouping).empty


@pytest.fixture(scope="module")
def planted_landscape(landscape):
    return group_bands(landscape)["s2"]


@pytest.mark.parametrize("over", OVER)
def test_the_planted_groups_of_the_landscape_are_firm(planted_landscape, over):
    assert planted_landscape.groups == REFERENCES["MAESTRO Sentinel-2"]
    assert planted_landscape.chosen == "3 groups by silhouette"
    assert stability(planted_landscape, over, draws=60).within > 0.95


@pytest.fixture(scope="module")
def bare():
    cube = ml.open_cube("landscape", samples=60, modalities=["s2"], planted_groups=False)
    return band_statistics(cube, "s2")


@pytest.mark.parametrize("groups", [0, 3])
@pytest.mark.parametrize("over", ["sample", "block"])
def test_a_landscape_without_groups_has_none_to_speak_of(bare, over, groups):
    grouping = propose_groups(bare, groups=groups)
    assert grouping.groups != REFERENCES["MAESTRO Sentinel-2"]
    word = stability(grouping, over, draws=60).verdict.split(":")[0]
    assert word == "not stable" or word.startswith("no groups to speak of")


def test_groups_put_by_hand_can_be_questioned(statistics):
    grouping = propose_groups(statistics)
    wrong = replace(grouping, groups=BandGroups.from_lists([[*"ad"], [*"bce"], [*"fgh"]]))
    found = stability(wrong, "sample", draws=20)
    assert (found.within, found.between, found.exact) == (0, 1, 0)
    assert found.verdict.startswith("not stable")
