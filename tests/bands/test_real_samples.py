"""Groups of real acquisitions, against numpy on the files themselves."""

import numpy as np
import pytest

import maestro_lab as ml
from maestro_lab.bands import (
    LINKAGES,
    REFERENCES,
    BandGroups,
    Survey,
    band_statistics,
    compare_groupings,
    distances,
    group_bands,
    propose_groups,
    stability_table,
)
from tests.bands import real
from tests.bands.made import changed_pixels, correlation, histograms, overlap, pixels

MAESTRO = REFERENCES["MAESTRO Sentinel-2"]


@pytest.fixture(scope="module")
def treesat(shared):
    """The survey of the only patch, and what its file holds."""
    cube = ml.open_cube("treesatai-ts", root=shared / "data" / "treesatai_ts")
    return Survey(cube, ["s2"]), *real.treesat(shared / "data")


def test_the_patch_is_read_as_it_is_stored(treesat):
    survey, _, clear = treesat
    assert survey.statistics("s2").bands == real.TREESAT_BANDS
    assert survey.statistics("s2").n == clear.sum()
    assert survey.statistics("s2", clouds="in").n == clear.size
    assert survey.statistics("s2").units_in["sample"] == 1


@pytest.mark.parametrize("method", LINKAGES)
def test_with_clouds_in_overlap_finds_the_groups_of_the_paper(treesat, method):
    found = group_bands(treesat[0], groups=3, statistic="overlap", linkage=method, clouds="in")
    assert found["s2"].groups == MAESTRO


@pytest.mark.parametrize("method", LINKAGES)
def test_with_clouds_out_overlap_never_does(treesat, method):
    found = group_bands(treesat[0], groups=3, statistic="overlap", linkage=method)["s2"].groups
    assert found != MAESTRO
    together = found.labels(["B05", "B12"])
    assert together[0] == together[1]


@pytest.mark.parametrize("clouds", ["out", "in"])
def test_distances_of_the_patch_are_those_of_its_file(treesat, clouds):
    survey, values, clear = treesat
    statistics = survey.statistics("s2", clouds=clouds)
    series, keep = values[None], (clear if clouds == "out" else np.ones_like(clear))[None]
    for statistic, within in (
        ("correlation", "all"), ("within_date", "date"), ("within_patch", "patch")
    ):  # fmt: skip
        expected = 1 - np.abs(correlation(series, keep, within))
        np.testing.assert_allclose(distances(statistics, statistic), expected, atol=1e-6)
    counts = histograms(pixels(series, keep), statistics.edges)
    np.testing.assert_allclose(distances(statistics, "overlap"), 1 - overlap(counts), atol=1e-6)


def test_the_answer_depends_on_how_it_is_asked(treesat):
    survey = treesat[0]
    groupings = group_bands(survey, groups=3, statistic="overlap", clouds="in")
    rows = compare_groupings(survey, groupings)
    assert rows["ways"].sum() == 36
    proposed = rows[rows["proposed"]].iloc[0]
    ways = proposed["which"].split("; ")
    assert {f"overlap, {k}, clouds in" for k in LINKAGES} <= set(ways)
    assert not [way for way in ways if way.startswith("overlap") and way.endswith("out")]
    assert len(rows) > 3


def test_only_dates_can_be_drawn_from_a_single_patch(treesat):
    table = stability_table(group_bands(treesat[0], groups=3)["s2"], draws=20).set_index("drawn")
    assert table["of"].to_dict()["sample"] == table["of"].to_dict()["block"] == 1
    assert table["within"].isna().to_dict() == {"sample": True, "date": False, "block": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("saved")


@pytest.fixture(scope="module")
def worldcereal(shared, folder):
    cube = real.worldcereal(shared / "data")
    return cube, real.opened_by_name(cube, "worldcereal", folder)


@pytest.fixture(scope="module")
def slovenia(shared, folder):
    cube = real.slovenia(shared / "data")
    return cube, real.opened_by_name(cube, "slovenia", folder)


def test_worldcereal_lacks_two_months_of_optics(worldcereal):
    made, cube = worldcereal
    assert cube["s2"]["valid"].values.all((0, 2, 3)).tolist() == [True, False, False] + 9 * [True]
    assert not cube["s2"]["valid"].values[:, 1:3].any()
    assert cube["s2"]["values"].dtype == np.uint16
    assert cube["s1"]["valid"].values.all()
    np.testing.assert_array_equal(cube["s2"]["values"].values, made["s2"]["values"].values)
    assert cube.attrs["catalogue_entry"] == "worldcereal"


def test_slovenia_is_sorted_and_partly_cloudy(slovenia):
    ds = slovenia[1]["s2"]
    assert ds["time"].values.astype("datetime64[D]").astype(str).tolist() == [
        ["2015-07-11", "2015-07-31", "2015-08-20", "2015-08-30", "2015-09-09"]
    ]
    assert ds["valid"].values.mean((0, 2, 3)).tolist() == [1, 0, 0, 1, 1]
    blue = ds["values"].values[0, :, 1].mean((1, 2))
    assert blue[[1, 2]].min() > 1.8 * blue[[0, 3, 4]].max(), "clouds are bright"


def test_dates_of_slovenia_are_matched_with_their_masks(shared, slovenia):
    """The vegetation index of all dates that comes with the masks is that of the five scenes."""
    stored = np.load(shared / "data" / "eolearn_slovenia" / "NDVI.npy")[..., 0]
    red, infrared = (slovenia[1]["s2"]["values"].sel(band=b).values[0] for b in ("B04", "B08"))
    index = (infrared - red) / (infrared + red)
    assert [int(np.abs(stored - i).mean((1, 2)).argmin()) for i in index] == [0, 1, 2, 3, 4]


def agrees(statistics, values, keep):
    """Compare statistics with numpy on pixels that count."""
    rows = pixels(values, keep)
    assert statistics.n == len(rows)
    np.testing.assert_allclose(statistics.mean, rows.mean(0), rtol=1e-6)
    for statistic, within in (("correlation", "all"), ("within_date", "date")):
        expected = 1 - np.abs(correlation(values, keep, within))
        np.testing.assert_allclose(distances(statistics, statistic), expected, atol=1e-6)
    counts = histograms(rows, statistics.edges)
    np.testing.assert_array_equal(statistics.counts, counts)
    np.testing.assert_allclose(distances(statistics, "overlap"), 1 - overlap(counts), atol=1e-6)


@pytest.mark.parametrize("clouds", ["out", "in"])
@pytest.mark.parametrize("name", ["s2", "s1"])
def test_worldcereal_agrees_with_numpy(worldcereal, name, clouds):
    made, cube = worldcereal
    agrees(
        band_statistics(cube, name, clouds=clouds),
        made[name]["values"].values,
        made[name]["valid"].values,  # pixels without data do not count with clouds in either
    )


@pytest.mark.parametrize("clouds", ["out", "in"])
def test_slovenia_agrees_with_numpy(slovenia, clouds):
    made, cube = slovenia
    values, valid = made["s2"]["values"].values, made["s2"]["valid"].values
    found = band_statistics(cube, "s2", clouds=clouds)
    agrees(found, values, valid if clouds == "out" else np.ones_like(valid))


def test_patches_of_slovenia_agree_with_numpy(slovenia):
    """The images have 101 rows: the last patches are half."""
    made, cube = slovenia
    part = {"time": slice(1, 4), "x": slice(0, 31)}
    values, valid = (made["s2"][n].isel(part).values for n in ("values", "valid"))
    piece = cube.map_over_datasets(lambda ds: ds.isel(part) if "values" in ds else ds)
    expected = 1 - np.abs(correlation(values, valid, "patch"))
    found = distances(band_statistics(piece, "s2"), "within_patch")
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_visible_and_infrared_bands_of_worldcereal_stand_apart(worldcereal):
    found = group_bands(worldcereal[1], groups={"s2": 3})
    labels = found["s2"].groups.labels
    assert set(labels(["B02", "B03", "B04"])).isdisjoint(labels(["B06", "B07", "B08"]))
    assert len(set(labels(["B02", "B03", "B04"]))) == len(set(labels(["B06", "B07", "B08"]))) == 1
    assert found["s1"].groups == BandGroups.from_lists([["VV"], ["VH"]])


def test_the_band_that_sees_no_ground_stands_alone_in_slovenia(slovenia):
    found = group_bands(slovenia[1], groups=3)["s2"].groups
    assert ("B10",) in found.values()
    assert len(set(found.labels(["B06", "B07", "B08", "B8A", "B09"]))) == 1


@pytest.mark.parametrize("source", ["worldcereal", "slovenia"])
def test_garbage_under_invalid_pixels_changes_nothing(request, source):
    _, cube = request.getfixturevalue(source)
    dirty = changed_pixels(cube, "s2", seed=1)
    clean_values, dirty_values = (c["s2"]["values"].values for c in (cube, dirty))
    assert (clean_values != dirty_values).mean() > 0.05
    clean, other = (band_statistics(c, "s2") for c in (cube, dirty))
    assert other.bins == clean.bins
    for name, array in clean.sums.arrays().items():
        np.testing.assert_array_equal(other.sums.arrays()[name], array)
    np.testing.assert_array_equal(other.missing, clean.missing)
    assert propose_groups(other, groups=3).groups == propose_groups(clean, groups=3).groups
