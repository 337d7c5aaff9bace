"""From distances to groups, on data whose groups are planted."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
import xarray as xr

from maestro_lab.bands import (
    BandGroups,
    band_statistics,
    compare_groupings,
    group_bands,
    load_groups,
    propose_groups,
    save_groups,
)
from maestro_lab.bands.grouping import DISTANCES, LINKAGES, distances
from maestro_lab.cubes.contract import make_modality
from maestro_lab.errors import ParameterError
from tests.batches.cubes import cube_of, days, pixel_cube, small_cube

PLANTED = [["a", "b", "c"], ["d", "e"], ["f", "g", "h"]]


def planted(n=400, seed=0):
    """Bands of three kinds, alike within a kind in course and in level."""
    rng = np.random.default_rng(seed)
    columns = {}
    for k, group in enumerate(PLANTED):
        course = rng.standard_normal(n) + 10 * k
        columns |= {band: course + 0.3 * rng.standard_normal(n) for band in group}
    return columns


def measured(columns):
    return band_statistics(pixel_cube(columns), "m")


@pytest.fixture(scope="module")
def statistics():
    return measured(planted())


def test_correlation_distance_of_known_bands():
    a, b = np.array([1.0, -1, 1, -1]), np.array([1.0, 1, -1, -1])
    found = distances(measured({"a": a, "same": 2 * a + 5, "against": -a, "b": b, "flat": 0 * a}))
    alike = [[0, 0, 0, 1, 1]] * 3
    np.testing.assert_allclose(found, [*alike, [1, 1, 1, 0, 1], [1, 1, 1, 1, 0]], atol=1e-12)


def test_overlap_distance_of_known_bands():
    low, half, high = np.zeros(16), np.repeat([0.0, 10.0], 8), np.full(16, 10.0)
    found = distances(measured({"a": low, "b": half, "c": high}), "overlap")
    np.testing.assert_allclose(found, [[0, 0.5, 1], [0.5, 0, 0.5], [1, 0.5, 0]], atol=1e-12)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("link", LINKAGES)
def test_planted_groups_and_their_number_are_found(statistics, distance, link):
    found = propose_groups(statistics, distance=distance, link=link)
    assert found.groups == BandGroups.from_lists(PLANTED)
    assert found.chosen == "3 groups by silhouette"
    assert str(found).startswith("a b c | d e | f g h  (")


def test_groups_do_not_depend_on_the_order_of_bands(statistics):
    columns = planted()
    order = [*"hdbgaefc"]
    again = propose_groups(measured({band: columns[band] for band in order}))
    assert again.groups == propose_groups(statistics).groups
    assert again.groups.bands[0] == "h", "groups come in the order of their first band"


@pytest.mark.parametrize("groups", range(1, 9))
def test_as_many_groups_as_asked_for(statistics, groups):
    found = propose_groups(statistics, groups=groups)
    assert len(found.groups) == groups
    assert sorted(found.groups.bands) == [*"abcdefgh"]


@pytest.mark.parametrize("groups", [1, 2, 3, 4])
def test_ties_do_not_change_the_number_of_groups(groups):
    flat = np.ones(16)  # four bands, each at distance 1 of every other
    found = propose_groups(measured({b: flat * k for k, b in enumerate("abcd")}), groups=groups)
    assert len(found.groups) == groups


def test_identical_bands_stay_together():
    a, b = np.random.default_rng(0).standard_normal((2, 64))
    found = propose_groups(measured({"a": a, "b": b, "a again": a}))
    assert found.groups == BandGroups.from_lists([["a", "a again"], ["b"]])


def test_one_band_is_one_group():
    found = propose_groups(measured({"a": [1.0, 2, 3, 4]}))
    assert found.groups == BandGroups({"a": ["a"]})
    assert found.chosen == "one band"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"link": "ward"}, "linkage\n.*average \\| complete \\| single\n.*'ward'"),
        ({"distance": "cosine"}, "distance\n.*correlation \\| overlap\n.*'cosine'"),
        ({"groups": 9}, "number of groups\n.*1 to 8\n.*9"),
        ({"groups": -1}, "number of groups"),
    ],
)
def test_refuses_unknown_ways(statistics, options, words):
    with pytest.raises(ParameterError, match=words):
        propose_groups(statistics, **options)


def test_groups_a_cube_modality_by_modality():
    found = group_bands(small_cube(), groups={"s2": 3, "s1": 0}, clear_only=False)
    assert list(found) == ["s2", "s1", "dem"]
    assert len(found["s2"].groups) == 3
    assert found["dem"].groups.bands == ("elevation",)
    assert not found["s2"].statistics.clear_only
    capped = group_bands(small_cube(), modalities=["s1"], groups=5)["s1"]
    assert len(capped.groups) == 2, "there are but two bands"


def test_groups_are_measured_on_training_samples_where_there_are_any():
    cube = small_cube()
    clear = cube["s2"]["valid"].values
    train = cube["split"].values == "train"
    assert group_bands(cube, modalities=["s2"])["s2"].statistics.n == clear[train].sum()
    rest = cube.isel(sample=np.flatnonzero(~train))
    assert group_bands(rest, modalities=["s2"])["s2"].statistics.n == clear[~train].sum()


def test_refuses_unknown_modalities():
    with pytest.raises(ParameterError, match="no modality 's3'"):
        group_bands(small_cube(), modalities=["s3"])
    with pytest.raises(ParameterError, match="number of groups for 's3'"):
        group_bands(small_cube(), groups={"s3": 2})


def clouded(columns):
    """Two dates: a clear one, and one under a cloud in which all bands are alike."""
    clear = np.stack(list(columns.values())).reshape(1, 1, len(columns), 20, 20)
    cloud = np.random.default_rng(1).normal(10, 100, (1, 1, 1, 20, 20))
    values = np.concatenate([clear, np.broadcast_to(cloud, clear.shape)], axis=1)
    valid = np.broadcast_to(np.array([True, False])[None, :, None, None], (1, 2, 20, 20))
    ds = make_modality(values, days([2], 2), valid=valid, bands=list(columns), units="m", gsd=10)
    return cube_of({"m": ds})


def test_comparison_tells_which_ways_lead_to_which_groups():
    cube = clouded(planted())
    rows = compare_groupings(cube, group_bands(cube))
    assert rows["ways"].sum() == 12
    assert rows["proposed"].sum() == 1
    proposed = rows[rows["proposed"]].iloc[0]
    assert proposed["groups"] == "a b c | d e | f g h"
    assert {f"{d}, {k}, clear" for d in DISTANCES for k in LINKAGES} <= {
        *proposed["which"].split("; ")
    }
    assert rows["ways"].is_monotonic_decreasing
    assert len({way for which in rows["which"] for way in which.split("; ")}) == 12


def test_comparison_leaves_out_what_cannot_differ():
    cube = small_cube()
    rows = compare_groupings(cube, group_bands(cube))
    assert set(rows["modality"]) == {"s2"}
    assert compare_groupings(cube, group_bands(cube, modalities=["s1", "dem"])).empty


def test_groups_survive_the_run_folder(tmp_path, statistics):
    groupings = {"m": propose_groups(statistics), "s1": BandGroups({"radar": ["VV", "VH"]})}
    path = save_groups(groupings, tmp_path)
    assert json.loads(path.read_text())["m"] == {"a-c": [*"abc"], "d-e": [*"de"], "f-h": [*"fgh"]}
    for place in (tmp_path, path):
        found = load_groups(place)
        assert found == {"m": groupings["m"].groups, "s1": groupings["s1"]}
        assert found["s1"].to_dict() == {"radar": ["VV", "VH"]}
    assert [p.name for p in tmp_path.iterdir()] == ["groups.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"{", b"[]", b"\xff\xfe", b'{"s2": ["B02"]}', b'{"s2": {"visible": "B02"}}',
        b'{"s2": {"visible": [0, 1]}}', b'{"s2": {"a": []}}',
        b'{"s2": {"a": ["B02"], "b": ["B02"]}}',
    ],
)  # fmt: skip
def test_a_file_without_groups_of_names_is_refused(tmp_path, content):
    (tmp_path / "groups.json").write_bytes(content)
    with pytest.raises(ParameterError, match="expected"):
        load_groups(tmp_path)


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(ParameterError, match="run notebook 01 first"):
        load_groups(tmp_path)


def test_groups_are_equal_by_what_they_put_together():
    groups = BandGroups({"visible": ["B02", "B03"], "infrared": ["B08"]})
    assert groups == BandGroups.from_lists([["B08"], ["B03", "B02"]])
    assert len({groups, BandGroups.from_lists([["B08"], ["B03", "B02"]])}) == 1
    assert groups != BandGroups.from_lists([["B08", "B03"], ["B02"]])
    assert groups.labels(["B08", "B02", "B03"]) == [1, 0, 0]


@pytest.mark.parametrize(
    "lists", [[["B02"], ["B02"]], [["B02", "B03", "B04"], ["B02", "B05", "B04"]], [[]], [], [[3]]]
)
def test_groups_are_disjoint_lists_of_names(lists):
    with pytest.raises(ParameterError, match="band group"):
        BandGroups.from_lists(lists)


def test_a_band_in_no_group_is_named():
    with pytest.raises(ParameterError, match="'B09' is in no group"):
        BandGroups({"visible": ["B02"]}).labels(["B02", "B09"])


def test_numpy_names_are_names():
    bands = xr.DataArray(np.array(["B02", "B03"]), dims="band").values
    assert BandGroups({"a": bands}).bands == ("B02", "B03")


@pytest.mark.skipif(find_spec("nrt") is None, reason="romania needs the package nrt")
def test_romania_separates_visible_from_infrared():
    from maestro_lab.cubes.romania import open_romania

    found = group_bands(open_romania(years=(2018,)), modalities=["s2_10m"])["s2_10m"]
    assert found.groups == BandGroups.from_lists([["B02", "B03", "B04"], ["B08"]])
