"""Cubes with little, or nothing, to measure."""

import numpy as np
import pytest

from maestro_lab.bands import (
    BandGroups,
    Survey,
    balance,
    band_statistics,
    distances,
    group_bands,
    propose_groups,
    stability,
    stability_table,
)
from maestro_lab.errors import CubeError, ParameterError
from tests.bands.made import image_cube, overwritten, pixels
from tests.batches.cubes import changed, pixel_cube

STATISTICS = ("correlation", "within_date", "within_patch", "overlap", "wasserstein", "information")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(10, 1, shape)


def cleared(cube, where, name="m"):
    """Make some pixels invalid, more than a cube may have."""

    def clear(ds):
        valid = ds["valid"].values.copy()
        valid[where] = False
        return ds.assign(valid=(ds["valid"].dims, valid))

    return changed(cube, name, clear)


def test_a_split_without_samples_is_refused():
    with pytest.raises(CubeError, match=r"m: nothing to measure\n.*val\n.*none in 0 samples"):
        band_statistics(image_cube(noise(2, 1, 2, 4, 4)), "m", split="val")


def test_a_season_without_dates_is_refused():
    with pytest.raises(CubeError, match=r"nothing to measure\n.*JJA\n.*none in 2 samples"):
        band_statistics(image_cube(noise(2, 1, 2, 4, 4)), "m", season="JJA")


@pytest.mark.parametrize("clouds", ["out", "in"])
def test_samples_without_any_date_are_refused(small, clouds):
    undated = changed(
        small, "s2", lambda ds: ds.assign_coords(time=ds["time"].where(False, np.datetime64("NaT")))
    )
    with pytest.raises(CubeError, match="s2: nothing to measure"):
        band_statistics(undated, "s2", clouds=clouds)


def test_no_valid_pixel_at_all_is_refused():
    cube = cleared(image_cube(noise(2, 1, 2, 4, 4)), np.s_[:])
    with pytest.raises(CubeError, match=r"m: no pixel.*\n.*clear pixels only.*\n.*none in 2 samp"):
        band_statistics(cube, "m")
    assert band_statistics(cube, "m", clouds="in").n == 32


@pytest.mark.parametrize("clouds", ["out", "in"])
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_a_band_without_any_number_is_named(clouds, kind):
    cube = overwritten(image_cube(noise(3, 1, 3, 4, 4).astype(kind)), np.s_[:, :, 1], np.nan)
    with pytest.raises(CubeError, match=r"no pixel to take.*\n.*every band") as error:
        band_statistics(cube, "m", clouds=clouds)
    assert "where b is not finite" in str(error.value)


def test_samples_of_disagreeing_bands_name_the_bands():
    """Half of the samples have no band a, the others no band c: no pixel has both."""
    cube = image_cube(noise(4, 2, 3, 4, 4))
    cube = overwritten(cube, np.s_[:2, :, 0], np.nan)
    cube = overwritten(cube, np.s_[2:, :, 2], np.nan)
    for lazy in (cube, cube.chunk(sample=1)):
        with pytest.raises(CubeError, match=r"none in 4 samples, where a, c is not finite"):
            band_statistics(lazy, "m")


def test_samples_that_lack_a_band_are_left_out_and_counted():
    values = noise(4, 2, 3, 4, 4)
    cube = overwritten(image_cube(values), np.s_[1, :, 2], np.nan)
    found = band_statistics(cube, "m")
    there = np.ones((4, 2, 4, 4), bool)
    there[1] = False
    assert found.n == there.sum()
    assert found.missing.tolist() == [0, 0, 32]
    np.testing.assert_allclose(found.mean, pixels(values, there).mean(0))


@pytest.mark.parametrize("kind", ["uint16", "float32"])
@pytest.mark.parametrize("chunk", [{"sample": 1}, {"time": 1}, {"y": 2}], ids=str)
def test_chunks_without_a_pixel_that_counts_change_nothing(monkeypatch, kind, chunk):
    cube = image_cube((100 * noise(4, 3, 3, 4, 4)).astype(kind))
    for where in (np.s_[1], np.s_[:, 1], np.s_[:, :, :2]):
        cube = cleared(cube, where)
    whole = band_statistics(cube, "m")
    monkeypatch.setattr("maestro_lab.bands.blocks.BLOCK", 1)
    pieces = band_statistics(cube.chunk(chunk), "m")
    assert pieces.n == whole.n == 3 * 2 * 8
    np.testing.assert_array_equal(pieces.counts, whole.counts)
    np.testing.assert_allclose(pieces.mean, whole.mean)
    np.testing.assert_array_equal(pieces.quantile([0, 0.5, 1]), whole.quantile([0, 0.5, 1]))


@pytest.mark.parametrize("kind", ["uint16", "int16"])
def test_levels_begin_at_the_lowest_one_whatever_the_chunks(monkeypatch, kind):
    cube = cleared(image_cube((100 * noise(4, 1, 2, 4, 4)).astype(kind)), np.s_[1])
    whole = band_statistics(cube, "m")
    monkeypatch.setattr("maestro_lab.bands.blocks.BLOCK", 1)
    pieces = band_statistics(cube.chunk(sample=1), "m")
    assert pieces.levels[0] == whole.levels[0] == cube["m"]["values"].values[[0, 2, 3]].min()
    np.testing.assert_array_equal(pieces.levels[1], whole.levels[1])


@pytest.mark.parametrize("statistic", STATISTICS)
def test_one_band_is_one_group(statistic):
    cube = pixel_cube({"a": noise(64)})
    assert distances(band_statistics(cube, "m"), statistic).tolist() == [[0]]
    found = group_bands(cube, statistic=statistic)["m"]
    assert found.groups == BandGroups({"a": ["a"]})
    assert found.chosen == "one band"
    assert found.order == [0] and np.isnan(found.silhouette)
    assert stability(found, "sample") is None


def test_one_constant_band_has_a_histogram():
    found = band_statistics(pixel_cube({"a": [7.0] * 9}), "m")
    assert found.counts.sum() == found.n == 9
    assert (np.diff(found.edges) > 0).all()
    assert np.isnan(found.correlation()).all()
    assert found.std.tolist() == [0]


def test_a_constant_fraction_has_a_histogram():
    found = band_statistics(pixel_cube({"a": [0.3] * 9}), "m")
    assert found.counts[0, 0] == 9
    np.testing.assert_allclose(found.edges[[0, -1]], [0.3, 1.3])


def test_a_constant_band_is_far_from_all_others():
    course = noise(64)
    statistics = band_statistics(pixel_cube({"a": course, "b": course, "flat": 0 * course}), "m")
    for statistic in ("correlation", "within_date", "within_patch", "information"):
        found = distances(statistics, statistic)
        np.testing.assert_allclose(found[2], [1, 1, 0], atol=1e-12)
        assert found[0, 1] < 0.01


def test_bands_that_are_all_constant_can_be_cut_into_any_number_of_groups():
    statistics = band_statistics(
        pixel_cube({b: [float(k)] * 16 for k, b in enumerate("abcd")}), "m"
    )
    for groups in (1, 2, 3, 4):
        assert len(propose_groups(statistics, groups=groups).groups) == groups


@pytest.mark.parametrize("statistic", STATISTICS)
def test_equal_bands_are_at_no_distance_and_always_together(statistic):
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (6, 3, 3, 8, 8)) + np.array([0, 5, 9])[:, None, None]
    values[:, :, 2] = values[:, :, 0]
    statistics = band_statistics(image_cube(values), "m")
    found = propose_groups(statistics, statistic=statistic)
    assert found.matrix[0, 2] == pytest.approx(0, abs=0.01 if statistic == "information" else 1e-9)
    assert found.groups == BandGroups.from_lists([["a", "c"], ["b"]])
    for over in ("sample", "date", "block"):
        assert stability(found, over, draws=15).together[0, 2] == 1


def test_two_bands_make_two_groups_unless_one_is_asked_for():
    statistics = band_statistics(pixel_cube({"a": noise(64), "b": noise(64, seed=1)}), "m")
    found = propose_groups(statistics)
    assert len(found.groups) == 2 and np.isnan(found.silhouette)
    assert len(propose_groups(statistics, groups=1).groups) == 1


def test_a_single_pixel_can_be_measured():
    found = band_statistics(image_cube(np.array([3.5, 4.5]).reshape(1, 1, 2, 1, 1)), "m")
    assert found.n == 1
    assert found.mean.tolist() == [3.5, 4.5]
    np.testing.assert_array_equal(found.comoment(), np.zeros((2, 2)))


def test_one_sample_one_date_and_one_block_say_nothing_when_drawn_again():
    found = group_bands(pixel_cube({b: noise(64, seed=k) for k, b in enumerate("abc")}))["m"]
    for over in ("sample", "date", "block", ""):
        assert stability(found, over) is None
    table = stability_table(found)
    assert table["of"].tolist() == [1, 1, 1]
    assert table["verdict"].str.contains("nothing to draw from").all()
    assert table[["same groups", "Rand index", "within", "between"]].isna().all(axis=None)


def test_several_dates_of_one_sample_can_be_drawn():
    found = group_bands(image_cube(noise(1, 5, 3, 6, 6)))["m"]
    assert stability(found, "sample") is None
    assert stability(found, draws=10).over == "date"


def test_dates_without_a_clear_pixel_are_not_drawn():
    values = noise(1, 2, 4, 20, 20)
    values[:, :, 1] = values[:, :, 0] + 0.1 * values[:, :, 1]
    values[:, :, 3] = values[:, :, 2] + 0.1 * values[:, :, 3]
    cube = cleared(image_cube(values), np.s_[:, 1])
    assert stability(group_bands(cube)["m"], "date") is None


def test_what_has_no_pixel_that_counts_is_not_counted_either():
    cube = cleared(image_cube(noise(6, 4, 2, 4, 4)), np.s_[:2])
    cube = cleared(cube, np.s_[:, 3])
    found = band_statistics(cube, "m")
    assert found.units_in == {"sample": 4, "date": 3, "block": 2}
    assert {over: len(sums.n) for over, sums in found.bundles.items()} == found.units_in
    every = band_statistics(cube, "m", clouds="in")
    assert every.units_in == {"sample": 6, "date": 4, "block": 3}


@pytest.mark.parametrize("bands", ["ab", "abc"])
def test_bands_that_are_all_equal_are_one_group(bands):
    column = noise(64)
    found = group_bands(pixel_cube(dict.fromkeys(bands, column)))["m"]
    assert found.groups.words == " ".join(bands)
    assert found.chosen == "one group: the bands are equal"
    assert len(group_bands(pixel_cube(dict.fromkeys(bands, column)), groups=2)["m"].groups) == 2


@pytest.mark.parametrize(
    "wrong", [{"statistic": "cosine"}, {"linkage": "ward"}, {"groups": "2"}, {"groups": -1}]
)
def test_a_wrong_way_is_refused_before_anything_is_measured(wrong):
    survey = Survey(pixel_cube({"a": noise(16), "b": noise(16)}))
    with pytest.raises(ParameterError):
        group_bands(survey, **wrong)
    assert repr(survey) == "Survey(m; 0 measured)"


def test_a_balance_of_patches_of_one_pixel_has_no_rounding_in_it():
    cube = pixel_cube({"a": noise(64), "b": noise(64) + 1})
    table = balance(cube, "m", {"pair": BandGroups({"pair": ["a", "b"]})}, patch=1)
    assert 0 <= table.loc["pair", "between bands"] <= 1
    assert table.loc["pair", "even bands"] == pytest.approx(1)


@pytest.mark.parametrize("name", ["absent/a.nc", "absent/a.json"])
def test_statistics_are_not_saved_in_a_folder_that_is_none(tmp_path, name):
    with pytest.raises(ParameterError, match="cannot be written"):
        band_statistics(pixel_cube({"a": noise(16)}), "m").save(tmp_path / name)
    assert not list(tmp_path.iterdir())
