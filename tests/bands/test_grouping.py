"""From distances to groups, on data whose groups are planted."""

from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import pytest
from scipy.cluster.hierarchy import dendrogram, fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.metrics import adjusted_rand_score, silhouette_score

from maestro_lab.bands import (
    LINKAGES,
    STATISTICS,
    BandGroups,
    Survey,
    band_statistics,
    compare_groupings,
    group_bands,
    propose_groups,
    statistics_agreement,
)
from maestro_lab.errors import ParameterError
from tests.bands.made import PLANTED, image_cube, planted
from tests.batches.cubes import changed, pixel_cube, small_cube


def measured(columns):
    return band_statistics(pixel_cube(columns), "m")


@pytest.fixture(scope="module")
def statistics():
    return measured(planted())


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("method", LINKAGES)
def test_planted_groups_and_their_number_are_found(statistics, statistic, method):
    found = propose_groups(statistics, statistic=statistic, linkage=method)
    assert found.groups == BandGroups.from_lists(PLANTED)
    assert found.chosen == "3 groups by silhouette"
    assert repr(found) == (
        f"a b c | d e | f g h  ({statistic}, clear pixels only, {method} linkage, 3 groups by "
        "silhouette)"
    )
    assert found.title.splitlines() == [
        statistics.title,
        f"{STATISTICS[statistic]}, {method} linkage, 3 groups by silhouette",
    ]


@pytest.mark.parametrize("method", LINKAGES)
@pytest.mark.parametrize("statistic", STATISTICS)
def test_the_number_of_groups_has_the_best_silhouette(small, statistic, method):
    for statistics in (band_statistics(small, "s2"), measured(planted(seed=3, apart=2))):
        found = propose_groups(statistics, statistic=statistic, linkage=method)
        tree = linkage(squareform(found.matrix), method)
        np.testing.assert_allclose(found.tree, tree)
        scores = {}
        for count in range(2, len(found.matrix)):
            labels = fcluster(tree, count, "maxclust")
            scores[count] = silhouette_score(found.matrix, labels, metric="precomputed")
        assert len(found.groups) == max(scores, key=scores.get)
        assert found.silhouette == pytest.approx(max(scores.values()))


@pytest.mark.parametrize("statistic", STATISTICS)
def test_groups_do_not_depend_on_the_order_of_bands(statistics, statistic):
    columns = planted()
    again = propose_groups(measured({b: columns[b] for b in "hdbgaefc"}), statistic=statistic)
    assert again.groups == propose_groups(statistics, statistic=statistic).groups
    assert again.groups.bands[0] == "h", "groups come in the order of their first band"


@pytest.mark.parametrize("groups", range(1, 9))
def test_as_many_groups_as_asked_for(statistics, groups):
    found = propose_groups(statistics, groups=groups)
    assert len(found.groups) == groups
    assert sorted(found.groups.bands) == [*"abcdefgh"]
    assert found.chosen == f"{groups} groups asked for"
    assert np.isnan(found.silhouette) == (groups in (1, 8))


@pytest.mark.parametrize("method", LINKAGES)
@pytest.mark.parametrize("groups", [1, 2, 3, 4])
def test_ties_do_not_change_the_number_of_groups(groups, method):
    flat = np.ones(16)  # four bands, each at distance 1 of every other
    statistics = measured({b: flat * k for k, b in enumerate("abcd")})
    found = propose_groups(statistics, groups=groups, linkage=method)
    assert len(found.groups) == groups


def test_two_equally_good_merges_are_told_apart_by_the_number_of_groups():
    a, b = np.random.default_rng(0).standard_normal((2, 64))
    statistics = measured({"a": a, "b": b, "a again": a, "b again": b})
    pairs = BandGroups.from_lists([["a", "a again"], ["b", "b again"]])
    assert propose_groups(statistics).groups == pairs
    three = propose_groups(statistics, groups=3).groups
    assert len(three) == 3
    assert {len(bands) for bands in three.values()} == {1, 2}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"linkage": "ward"}, r"linkage\n.*average \| complete \| single\n.*'ward'"),
        ({"statistic": "cosine"}, r"statistic\n.*correlation \| .* \| information\n.*'cosine'"),
        ({"groups": 9}, r"number of groups\n.*1 to 8\n.*9"),
        ({"groups": -1}, "number of groups"),
    ],
)
def test_refuses_unknown_ways(statistics, options, words):
    with pytest.raises(ParameterError, match=words):
        propose_groups(statistics, **options)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_bands_stand_in_the_order_of_the_tree_from_the_top_of_its_picture(statistics, statistic):
    found = propose_groups(statistics, statistic=statistic)
    leaves = dendrogram(found.tree, no_plot=True)["leaves"]
    assert found.order == leaves[::-1]
    groups = found.groups.labels([statistics.bands[k] for k in found.order])
    assert len([1 for a, b in pairwise(groups) if a != b]) == 2


def test_groups_a_cube_modality_by_modality(small):
    found = group_bands(small, groups={"s2": 3, "s1": 0}, clouds="in")
    assert list(found) == ["s2", "s1", "dem"]
    assert len(found["s2"].groups) == 3
    assert found["dem"].groups.bands == ("elevation",)
    assert found["s2"].statistics.selection.clouds == "in"
    assert found["s1"].statistics.selection.clouds == "unseen"


def test_as_many_groups_as_there_are_bands_at_most(small):
    found = group_bands(small, modalities=["s1", "s2"], groups=3)["s1"]
    assert len(found.groups) == 2
    assert found.chosen == "2 of 3 groups asked for"
    for wrong in (-1, 5):
        with pytest.raises(ParameterError, match="number of groups"):
            group_bands(small, modalities=["s1"], groups=wrong)


def test_ways_of_measuring_reach_the_statistics(small):
    found = group_bands(
        small, modalities=["s2"], statistic="overlap", linkage="single", season="JJA",
        region="north-west",
    )["s2"]  # fmt: skip
    alone = band_statistics(small, "s2", season="JJA", region="north-west")
    np.testing.assert_array_equal(found.statistics.counts, alone.counts)
    assert (found.statistic, found.linkage) == ("overlap", "single")
    assert "JJA, north-west" in found.title


def test_a_survey_is_not_measured_again(small):
    survey = Survey(small, ["s2"])
    first, second = (group_bands(survey, statistic=s)["s2"] for s in ("correlation", "overlap"))
    assert first.statistics is second.statistics
    assert repr(survey) == "Survey(s2; 1 measured)"
    direct = group_bands(small, modalities=["s2"])["s2"]
    assert direct.groups == first.groups
    np.testing.assert_array_equal(direct.matrix, first.matrix)


def test_groups_are_measured_on_training_samples_where_there_are_any(small):
    clear = small["s2"]["valid"].values
    train = small["split"].values == "train"
    assert group_bands(small, modalities=["s2"])["s2"].statistics.n == clear[train].sum()
    rest = small.isel(sample=np.flatnonzero(~train))
    assert group_bands(rest, modalities=["s2"])["s2"].statistics.n == clear[~train].sum()


def test_refuses_unknown_modalities(small):
    with pytest.raises(ParameterError, match="no modality 's3'"):
        group_bands(small, modalities=["s3"])
    with pytest.raises(ParameterError, match="number of groups for 's3'"):
        group_bands(small, groups={"s3": 2})


def clouded(columns, side=50):
    """Two dates: a clear one, and one under a cloud in which other bands are alike."""
    clear = np.stack(list(columns.values())).reshape(1, 1, len(columns), side, side)
    cloud = np.random.default_rng(1).normal(10, 100, (1, 1, 2, side, side))
    cloud = cloud[:, :, np.arange(len(columns)) % 2]
    values = np.concatenate([clear, cloud], axis=1)
    valid = np.broadcast_to(np.array([True, False])[None, :, None, None], (1, 2, side, side))
    return image_cube(values, valid=valid, bands=list(columns))


def test_comparison_tells_which_ways_lead_to_which_groups():
    cube = clouded(planted())
    rows = compare_groupings(cube, group_bands(cube))
    assert rows["ways"].sum() == 36
    assert rows["proposed"].sum() == 1
    proposed = rows[rows["proposed"]].iloc[0]
    assert proposed["groups"] == "a b c | d e | f g h"
    clear = {f"{s}, {k}, clouds out" for s in STATISTICS for k in LINKAGES}
    assert clear <= {*proposed["which"].split("; ")}
    assert rows["ways"].is_monotonic_decreasing
    ways = [way for which in rows["which"] for way in which.split("; ")]
    assert len(set(ways)) == len(ways) == 36
    assert rows["ways"].tolist() == [len(w.split("; ")) for w in rows["which"]]


def see_through(cube):
    return changed(cube, "m", lambda ds: ds.assign_attrs(sensor="sentinel-1"))


def test_sensors_that_see_through_clouds_have_half_as_many_ways():
    cube = see_through(pixel_cube(planted()))
    rows = compare_groupings(cube, group_bands(cube))
    assert rows["ways"].tolist() == [18]
    assert rows["proposed"].tolist() == [True]


def test_comparison_leaves_out_what_cannot_differ(small):
    rows = compare_groupings(small, group_bands(small))
    assert set(rows["modality"]) == {"s2"}
    assert compare_groupings(small, group_bands(small, modalities=["s1", "dem"])).empty


def test_comparison_keeps_season_and_region():
    cube = small_cube()
    survey = Survey(cube, ["s2"])
    groupings = group_bands(survey, groups=2, season="JJA", region="north-west")
    compare_groupings(survey, groupings)
    for clouds in ("out", "in"):
        survey.statistics("s2", clouds=clouds, season="JJA", region="north-west")
    assert repr(survey) == "Survey(s2; 2 measured)"


def test_agreement_of_statistics_is_symmetric_with_ones_on_the_diagonal():
    cube = clouded(planted())
    grouping = group_bands(cube)["m"]
    found = statistics_agreement(cube, grouping)
    assert found.shape == (12, 12)
    assert list(found.index) == list(found.columns)
    np.testing.assert_array_equal(found, found.T)
    assert (np.diag(found) == 1).all()
    clear = [f"{s}, clouds out" for s in STATISTICS]
    assert (found.loc[clear, clear] == 1).all(axis=None)
    assert found.min(axis=None) < 1, "clouds have groups of their own"


def test_agreement_of_statistics_is_the_adjusted_rand_index(small):
    survey = Survey(small, ["s2"])
    grouping = group_bands(survey, groups=2)["s2"]
    found = statistics_agreement(survey, grouping)
    bands = grouping.statistics.bands
    labels = {
        f"{s}, clouds {c}": propose_groups(
            survey.statistics("s2", clouds=c), groups=2, statistic=s
        ).groups.labels(bands)
        for c in ("out", "in")
        for s in STATISTICS
    }
    expected = [[adjusted_rand_score(a, b) for b in labels.values()] for a in labels.values()]
    np.testing.assert_allclose(found.loc[list(labels), list(labels)], expected)


def test_agreement_does_not_speak_of_clouds_that_are_not_seen():
    cube = see_through(pixel_cube(planted()))
    found = statistics_agreement(cube, group_bands(cube)["m"])
    assert list(found.index) == list(STATISTICS)
    assert (found == 1).all(axis=None)


@pytest.mark.skipif(find_spec("nrt") is None, reason="romania needs the package nrt")
def test_romania_separates_visible_from_infrared():
    from maestro_lab.cubes.sources.romania import open_romania

    found = group_bands(open_romania(years=(2018,)), modalities=["s2_10m"])["s2_10m"]
    assert found.groups == BandGroups.from_lists([["B02", "B03", "B04"], ["B08"]])
