"""Which pixels are looked at: splits, seasons, regions and clouds."""

import numpy as np
import pytest

from maestro_lab.bands import Selection, Survey, band_statistics, statistics_by
from maestro_lab.bands.selection import regions
from maestro_lab.errors import CubeError, ParameterError
from tests.bands.made import correlation, histograms, image_cube, kept, overwritten, pixels
from tests.batches.cubes import changed, without


def year_cube(samples=2):
    """A date on the 15th of each month, whose values tell sample and month, then padding."""
    month = np.arange(1, 14)
    rng = np.random.default_rng(0)
    values = 100 * month[None, :, None, None, None] + rng.random((samples, 13, 2, 4, 4))
    time = (np.datetime64("2021-01-15") + 0 * month).astype("datetime64[ns]")
    for k in range(12):
        time[k] = np.datetime64(f"2021-{k + 1:02d}-15")
    time[12] = np.datetime64("NaT")
    cube = image_cube(values, dates=[12] * samples)
    times = np.broadcast_to(time, (samples, 13))
    return changed(cube, "m", lambda ds: ds.assign_coords(time=(("sample", "time"), times)))


SEASONS = {"DJF": [1, 2, 12], "MAM": [3, 4, 5], "JJA": [6, 7, 8], "SON": [9, 10, 11]}


@pytest.mark.parametrize("season", SEASONS)
@pytest.mark.parametrize("clouds", ["out", "in"])
def test_a_season_is_three_months(season, clouds):
    cube = year_cube()
    found = band_statistics(cube, "m", season=season, clouds=clouds)
    expected = cube["m"]["values"].values[:, [m - 1 for m in SEASONS[season]]]
    assert found.n == 2 * 3 * 16
    np.testing.assert_allclose(found.mean, expected.mean((0, 1, 3, 4)))
    assert found.units_in["date"] == 3


def test_looks_at_training_samples_unless_told_otherwise(small):
    split = small["split"].values
    clear = small["s2"]["valid"].values.sum((1, 2, 3))
    assert band_statistics(small, "s2").n == clear[split == "train"].sum()
    both = band_statistics(small, "s2", split=["train", "val"])
    assert both.n == clear[np.isin(split, ["train", "val"])].sum()
    assert both.selection.split == ("train", "val")
    assert band_statistics(small, "s2", split="val").n == clear[split == "val"].sum()
    assert band_statistics(small, "s2", split=()).n == clear.sum()


def test_clouds_count_only_when_asked_for(small):
    clear, every = (band_statistics(small, "s2", clouds=c) for c in ("out", "in"))
    assert clear.edges[-1] < 4100, "cloudy pixels hold 65535"
    assert every.edges[-1] > 65_000
    assert every.n > clear.n
    assert "clear pixels only" in clear.title and "clouds in" in every.title


def test_regions_are_quarters_of_the_map(small):
    x, y = small["easting"].values, small["northing"].values
    expected = [
        f"{'north' if b >= np.median(y) else 'south'}-{'east' if a >= np.median(x) else 'west'}"
        for a, b in zip(x, y, strict=True)
    ]
    assert regions(small).tolist() == expected
    assert len(set(expected)) == 4
    clear = small["s2"]["valid"].values.sum((1, 2, 3))
    for name in set(expected):
        inside = np.array(expected) == name
        found = band_statistics(small, "s2", split=(), region=name)
        assert found.n == clear[inside].sum()
        assert name in found.title


@pytest.mark.parametrize("missing", ["easting", "northing"])
def test_regions_are_blocks_where_there_are_no_positions(small, missing):
    blind = without(small, missing)
    assert regions(blind).tolist() == [f"block {k // 2}" for k in range(8)]
    found = band_statistics(blind, "s2", split=(), region="block 1")
    assert found.n == small["s2"]["valid"].values[2:4].sum()


def many_blocks(blocks):
    values = np.random.default_rng(0).random((2 * blocks, 1, 1, 2, 2))
    return image_cube(values)


def test_too_many_blocks_are_no_regions():
    assert len(set(regions(many_blocks(24)))) == 24
    with pytest.raises(ParameterError, match=r"no regions\n.*at most 24 blocks\n.*25 blocks"):
        regions(many_blocks(25))
    assert len(Survey(many_blocks(24)).regions()) == 24
    assert Survey(many_blocks(25)).regions() == []


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("season", ["DJF", "MAM", "JJA", "SON"]),
        ("split", ["train", "val", "test", "buffer"]),
        ("region", ["north-east", "north-west", "south-east", "south-west"]),
    ],
)
@pytest.mark.parametrize("clouds", ["out", "in"])
def test_conditions_part_the_pixels(small, by, names, clouds):
    split = () if by == "region" else ("train",)
    found = statistics_by(small, "s2", by, split=split, clouds=clouds)
    assert list(found) == names
    bins = next(iter(found.values())).bins
    whole = band_statistics(
        small, "s2", split=() if by == "split" else split, clouds=clouds, bins=bins
    )
    assert all(part.bins == bins for part in found.values())
    assert sum(part.n for part in found.values()) == whole.n
    np.testing.assert_array_equal(sum(part.counts for part in found.values()), whole.counts)
    np.testing.assert_array_equal(sum(p.sums.joint for p in found.values()), whole.sums.joint)


@pytest.mark.parametrize("by", ["season", "split", "region"])
def test_a_condition_is_what_it_selects(small, by):
    found = statistics_by(small, "s2", by, split=())
    for name, part in found.items():
        alone = band_statistics(small, "s2", bins=part.bins, **{"split": (), by: name})
        assert part.selection == alone.selection
        assert part.title == alone.title
        np.testing.assert_array_equal(part.counts, alone.counts)
        np.testing.assert_allclose(part.mean, alone.mean, rtol=1e-12)
        for within in ("all", "date", "patch"):
            expected = alone.comoment(within)
            np.testing.assert_allclose(
                part.comoment(within), expected, atol=1e-9 * np.abs(expected).max()
            )


def test_a_season_by_itself_agrees_with_numpy():
    cube = year_cube()
    found = statistics_by(cube, "m", "season")
    for season, part in found.items():
        months = [m - 1 for m in SEASONS[season]]
        values = cube["m"]["values"].values[:, months]
        keep = kept(cube)[:, months]
        np.testing.assert_array_equal(part.counts, histograms(pixels(values, keep), part.edges))
        np.testing.assert_allclose(
            part.correlation("date"), correlation(values, keep, "date"), atol=1e-9
        )


def test_clouds_in_and_out_share_their_bins(small):
    found = statistics_by(small, "s2", "clouds")
    assert list(found) == ["in", "out"]
    assert found["in"].bins == found["out"].bins
    for clouds, part in found.items():
        assert part.selection.clouds == clouds
        alone = band_statistics(small, "s2", clouds=clouds, bins=part.bins)
        np.testing.assert_array_equal(part.counts, alone.counts)


@pytest.mark.parametrize("name", ["s1", "dem"])
def test_sensors_that_see_through_clouds_have_one_policy(small, name):
    assert list(statistics_by(small, name, "clouds")) == ["unseen"]
    assert Survey(small).policies(name) == ("out",)
    counts = [band_statistics(small, name, clouds=c).counts for c in ("out", "in")]
    np.testing.assert_array_equal(*counts)


def test_an_unknown_sensor_may_see_clouds(small):
    assert Survey(small).policies("s2") == ("out", "in")
    nameless = changed(small, "s1", lambda ds: ds.drop_attrs().assign_attrs(units="dB", gsd=10.0))
    assert Survey(nameless).policies("s1") == ("out", "in")


def test_conditions_without_a_pixel_are_left_out():
    values = np.random.default_rng(0).random((2, 3, 1, 4, 4))
    valid = np.ones((2, 3, 4, 4), bool)
    valid[:, 2] = False  # January, February and, never clear, March
    cube = image_cube(values, valid=valid)
    assert list(statistics_by(cube, "m", "season")) == ["DJF"]
    assert list(statistics_by(cube, "m", "season", clouds="in")) == ["DJF", "MAM"]
    assert list(statistics_by(cube, "m", "split")) == ["train"]


def test_conditions_know_which_band_is_missing(small):
    weak = small["s1"]["values"].values[:, :, 1] < 0.1
    holed = overwritten(small, np.nonzero(np.stack([0 * weak, weak], 2)), np.nan, name="s1")
    found = statistics_by(holed, "s1", "season")
    whole = band_statistics(holed, "s1")
    assert whole.missing[1] > 0
    assert sum(part.missing[1] for part in found.values()) == whole.missing[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"clouds": "none"}, r"clouds\n.*out \| in\n.*'none'"),
        ({"split": "trian"}, r"split\n.*train \| val \| test \| buffer\n.*'trian'"),
        ({"split": ["train", "x"]}, r"split\n.*\n.*'x'"),
        ({"season": "summer"}, r"season\n.*DJF \| MAM \| JJA \| SON\n.*'summer'"),
        ({"region": "north"}, r"region\n.*north-east, north-west.*\n.*'north'"),
        ({"bins": 0}, r"bins\n.*at least 1\n.*0"),
        ({"bins": 2.5}, "bins"),
        ({"bins": True}, "bins"),
        ({"patch": 0}, r"patch\n.*at least 1"),
        ({"bundles": -1}, r"bundles\n.*at least 0"),
    ],
)
def test_refuses_what_it_cannot_select(small, options, words):
    with pytest.raises(ParameterError, match=words):
        band_statistics(small, "s2", **options)


def test_refuses_unknown_modalities_and_conditions(small):
    with pytest.raises(ParameterError, match=r"no modality 's3'\n.*s2, s1, dem"):
        band_statistics(small, "s3")
    with pytest.raises(ParameterError, match=r"by\n.*season \| split \| region \| clouds\n.*'day'"):
        statistics_by(small, "s2", "day")
    with pytest.raises(ParameterError, match="no modality 'targets'"):
        band_statistics(small, "targets")


def test_only_two_cloud_policies_can_be_asked_for(small):
    with pytest.raises(ParameterError, match="clouds"):
        band_statistics(small, "s2", clouds="unseen")


def test_selections_are_told_in_words():
    assert str(Selection()) == "clear pixels only, all splits"
    assert str(Selection("in", "val", "SON", "block 3")) == "clouds in, val, SON, block 3"
    assert str(Selection("unseen", ("train", "val"))) == "valid pixels, train+val"
    assert Selection("in", "val") == Selection("in", ("val",)) == Selection("in", ["val"])


def test_a_survey_measures_once_what_it_is_asked_for(small):
    survey = Survey(small, ["s2", "s1"], patch={"s2": 3})
    first = survey.statistics("s2", season="JJA")
    assert survey.statistics("s2", season="JJA") is first
    assert survey.statistics("s2") is not first
    assert survey.statistics("s1", clouds="in") is survey.statistics("s1")
    assert repr(survey) == "Survey(s2, s1; 3 measured)"
    assert (first.patch, survey.statistics("s1").patch) == (3, 2)
    assert first.selection == Selection("out", ("train",), "JJA")


def test_a_survey_looks_at_training_samples_where_there_are_any(small):
    train = small["split"].values == "train"
    clear = small["s2"]["valid"].values
    assert Survey(small).statistics("s2").n == clear[train].sum()
    rest = small.isel(sample=np.flatnonzero(~train))
    assert Survey(rest).statistics("s2").n == clear[~train].sum()
    assert Survey(small, split="test").statistics("s2").n == clear[[3, 7]].sum()


def test_a_survey_refuses_modalities_it_does_not_have(small):
    for make in (lambda: Survey(small, ["s3"]), lambda: Survey(small, patch={"s3": 2})):
        with pytest.raises(ParameterError, match=r"no modality 's3'\n.*s2, s1, dem"):
            make()
    with pytest.raises(ParameterError, match=r"no modality 's1' in this survey\n.*s2"):
        Survey(small, ["s2"]).statistics("s1")


def test_a_survey_refuses_unknown_policies_for_radar_too(small):
    survey = Survey(small)
    survey.statistics("s1")
    with pytest.raises(ParameterError, match="clouds"):
        survey.statistics("s1", clouds="none")


def test_a_season_that_no_sample_of_the_split_has_is_refused():
    cube = image_cube(np.random.default_rng(0).random((2, 1, 1, 4, 4)), splits=["train", "val"])
    with pytest.raises(CubeError, match=r"m: nothing to measure\n.*clear.*train, SON\n.*1 samples"):
        band_statistics(cube, "m", season="SON")
    with pytest.raises(CubeError, match=r"nothing to measure\n.*test\n.*0 samples"):
        band_statistics(cube, "m", split="test")
