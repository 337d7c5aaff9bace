"""What is left to learn of targets, against a loop over patches."""

import numpy as np
import pytest

from maestro_lab.bands import BandGroups, balance, blocks, groupings_to_weigh
from maestro_lab.errors import CubeError, ParameterError
from tests.bands.made import image_cube, kept, overwritten

SHARES = ["constant", "between bands", "within bands"]
LISTS = {
    "one group": [[*"abcd"]],
    "pairs": [[*"ab"], [*"cd"]],
    "mixed": [[*"ca"], [*"b"], [*"d"]],
    "each alone": [[*"a"], [*"b"], [*"c"], [*"d"]],
}
GROUPINGS = {name: BandGroups.from_lists(lists) for name, lists in LISTS.items()}


def level_cube(seed=0, **options):
    """Four bands at different levels, cloudy, 7 x 9 pixels."""
    rng = np.random.default_rng(seed)
    level = np.array([3.0, 4.0, 9.0, 10.0])[:, None, None]
    pattern = rng.standard_normal((3, 4, 1, 7, 9))
    values = level + pattern + 0.5 * rng.standard_normal((3, 4, 4, 7, 9))
    return image_cube(values, valid=rng.random((3, 4, 7, 9)) < 0.93, **options)


def targets(values, keep, lists, bands, patch, divide):
    """Normalise complete patches as MAESTRO does: (patch, band, pixel)."""
    found = []
    for sample, there in zip(values, keep, strict=True):
        for image, clear in zip(sample, there, strict=True):
            for y in range(0, image.shape[1] - patch + 1, patch):
                for x in range(0, image.shape[2] - patch + 1, patch):
                    part = (slice(y, y + patch), slice(x, x + patch))
                    if not clear[part].all():
                        continue
                    piece = image[:, *part].reshape(len(bands), -1) / divide
                    out = np.empty_like(piece)
                    for group in lists:
                        rows = [bands.index(b) for b in group]
                        numbers = piece[rows]
                        spread = numbers.var(ddof=1) if numbers.size > 1 else 0.0
                        out[rows] = (numbers - numbers.mean()) / np.sqrt(spread + 1e-6)
                    found.append(out)
    return np.array(found)


def even(parts):
    return parts.sum() ** 2 / (len(parts) * (parts**2).sum())


def by_hand(normalised):
    """Decompose the variance of targets (patch, band, pixel)."""
    level = normalised.mean(2)
    steady = level.mean(0)
    constant, between = steady**2, level.var(0)
    within = normalised.var(2).mean(0)
    whole = (normalised**2).mean(0).mean(1).sum()
    assert whole == pytest.approx((constant + between + within).sum())
    of_patches = ((level - steady) ** 2 + normalised.var(2)).sum(1)
    return [
        constant.sum() / whole, between.sum() / whole, within.sum() / whole,
        even(between + within), even(of_patches), len(normalised),
    ]  # fmt: skip


COLUMNS = [*SHARES, "even bands", "even patches", "patches"]


@pytest.mark.parametrize("clouds", ["out", "in"])
@pytest.mark.parametrize(("patch", "divide"), [(2, 1.0), (2, 5000.0), (3, 10.0), (5, 2)])
def test_targets_consist_of_what_a_loop_over_patches_finds(patch, divide, clouds):
    cube = level_cube()
    values, keep = cube["m"]["values"].values, kept(cube, clouds=clouds)
    found = balance(cube, "m", GROUPINGS, patch=patch, divide=divide, clouds=clouds)
    assert list(found.index) == list(GROUPINGS)
    for name, lists in LISTS.items():
        normalised = targets(values, keep, lists, [*"abcd"], patch, divide)
        np.testing.assert_allclose(
            found.loc[name, COLUMNS].astype(float), by_hand(normalised), rtol=1e-8, atol=1e-12
        )
        assert found.loc[name, "groups"] == GROUPINGS[name].words


def test_patches_of_one_pixel_hold_the_contrast_between_bands_alone():
    cube = level_cube()
    found = balance(cube, "m", {"all": GROUPINGS["one group"]}, patch=1)
    normalised = targets(
        cube["m"]["values"].values, kept(cube), LISTS["one group"], [*"abcd"], 1, 1.0
    )
    np.testing.assert_allclose(
        found.loc["all", COLUMNS].astype(float), by_hand(normalised), rtol=1e-8, atol=1e-12
    )
    assert found.loc["all", "within bands"] == 0


@pytest.mark.parametrize("patch", [2, 4])
def test_shares_add_to_one(small, patch):
    lists = {"pairs": BandGroups.from_lists([["B02", "B08"], ["B03", "B04"]])}
    for clouds in ("out", "in"):
        found = balance(small, "s2", lists, patch=patch, clouds=clouds)
        np.testing.assert_allclose(found[SHARES].sum(axis=1), 1, rtol=1e-12)
        assert (found[SHARES] >= -1e-12).all(axis=None)


def test_one_group_of_bands_at_different_levels_is_mostly_constant():
    found = balance(level_cube(), "m", GROUPINGS)
    assert found.loc["one group", "constant"] > 0.7
    assert found.loc["pairs", "constant"] < 0.4
    assert found.loc["one group", "within bands"] < found.loc["pairs", "within bands"]


def test_bands_alone_have_no_constant_and_no_contrast():
    found = balance(level_cube(), "m", GROUPINGS)
    assert found.loc["each alone", ["constant", "between bands"]].tolist() == [0, 0]
    assert found.loc["each alone", "within bands"] == 1
    assert found.loc["each alone", "even bands"] == pytest.approx(1, abs=1e-4)


def test_what_values_are_divided_by_matters_through_epsilon_only():
    loud, quiet = 1e6, 1e-6
    found = {
        (scale, divide): balance(
            overwritten(level_cube(), np.s_[:], scale * level_cube()["m"]["values"].values),
            "m", GROUPINGS, divide=divide,
        ).drop(columns="groups")
        for scale, divide in ((loud, 1.0), (loud, 100.0), (1.0, 1.0), (quiet, 1e-6), (quiet, 1.0))
    }  # fmt: skip
    np.testing.assert_allclose(found[loud, 1.0], found[loud, 100.0], rtol=1e-6)
    np.testing.assert_allclose(found[quiet, 1e-6], found[1.0, 1.0], rtol=1e-9)
    assert abs(found[quiet, 1.0] - found[1.0, 1.0]).max(axis=None) > 0.01


@pytest.mark.parametrize("patch", [2, 3, 4])
def test_incomplete_patches_are_not_counted(patch):
    cube = level_cube()
    keep = cube["m"]["valid"].values
    complete = sum(
        keep[s, t, y : y + patch, x : x + patch].all()
        for s in range(3)
        for t in range(4)
        for y in range(0, 7 - patch + 1, patch)
        for x in range(0, 9 - patch + 1, patch)
    )
    found = balance(cube, "m", GROUPINGS, patch=patch)
    assert found["patches"].tolist() == [complete] * 4
    spoilt = overwritten(cube, np.nonzero(np.broadcast_to(~keep[:, :, None], (3, 4, 4, 7, 9))), 1e9)
    again = balance(spoilt, "m", GROUPINGS, patch=patch)
    np.testing.assert_array_equal(again.drop(columns="groups"), found.drop(columns="groups"))


def test_patches_with_a_nan_are_not_counted():
    values = level_cube()["m"]["values"].values
    cube = image_cube(values)
    holed = overwritten(cube, np.s_[0, 0, 2, 3, 4], np.nan)
    whole, less = (balance(c, "m", GROUPINGS, patch=2)["patches"] for c in (cube, holed))
    assert (whole - less == 1).all()


@pytest.mark.parametrize(
    ("chunks", "patch"),
    [
        ({"sample": 1}, 2),
        ({"sample": 1, "time": 2}, 4),
        ({"time": 3, "y": 4, "x": 5}, 3),
        ({"time": 3, "y": 4, "x": 5}, 4),
        ({"x": 1}, 2),
    ],
)
def test_chunks_change_nothing(monkeypatch, chunks, patch):
    cube = level_cube()
    whole = balance(cube, "m", GROUPINGS, patch=patch).drop(columns="groups")
    monkeypatch.setattr(blocks, "BLOCK", 64)
    pieces = balance(cube.chunk(chunks), "m", GROUPINGS, patch=patch).drop(columns="groups")
    np.testing.assert_allclose(pieces, whole, rtol=1e-10, atol=1e-14)


def test_radar_is_weighed_in_decibels(small):
    lists = {"both": BandGroups.from_lists([["VV", "VH"]])}
    found = balance(small, "s1", lists, split=()).drop(columns="groups")
    ds = small["s1"]
    power = np.where(ds["valid"].values[:, :, None], ds["values"].values, 1).astype(float)
    decibels = 10 * np.log10(power)
    normalised = targets(decibels, ds["valid"].values, [["VV", "VH"]], ["VV", "VH"], 2, 1.0)
    np.testing.assert_allclose(found.loc["both", COLUMNS], by_hand(normalised), rtol=1e-8)


@pytest.mark.parametrize(
    ("options", "samples"),
    [({"split": "val"}, [1]), ({"split": ("train", "val")}, [0, 1]), ({"split": ()}, [0, 1, 2])],
)
@pytest.mark.parametrize("season", ["", "MAM"])
def test_only_what_is_selected_is_weighed(options, samples, season):
    cube = level_cube(splits=["train", "val", "test"])
    month = cube["m"]["time"].values[0].astype("datetime64[M]").astype(int) % 12 + 1
    dates = np.isin(month, (3, 4, 5)) if season else month > 0
    assert 0 < np.isin(month, (3, 4, 5)).sum() < 4
    values, keep = (
        a[samples][:, dates] for a in (cube["m"]["values"].values, cube["m"]["valid"].values)
    )
    found = balance(cube, "m", GROUPINGS, season=season, **options)
    normalised = targets(values, keep, LISTS["pairs"], [*"abcd"], 2, 1.0)
    np.testing.assert_allclose(
        found.loc["pairs", COLUMNS].astype(float), by_hand(normalised), rtol=1e-8
    )


def test_targets_that_are_the_same_everywhere_have_nothing_to_learn():
    values = np.broadcast_to(np.arange(4.0)[:, None, None], (2, 2, 4, 6, 6)).copy()
    found = balance(image_cube(values), "m", GROUPINGS)
    assert found.loc["one group", SHARES].tolist() == pytest.approx([1, 0, 0])
    assert found.loc["pairs", "constant"] == pytest.approx(1)


@pytest.mark.parametrize("lists", [[[*"abc"]], [[*"abcde"]], [["a", "b", "c", "e"]]])
def test_groups_that_do_not_cover_the_bands_are_refused(lists):
    with pytest.raises(ParameterError, match=r"mine does not cover the bands\n.*a b c d\n"):
        balance(level_cube(), "m", {"mine": BandGroups.from_lists(lists)})


@pytest.mark.parametrize("divide", [0, -1.0])
def test_values_are_divided_by_something_positive(divide):
    with pytest.raises(ParameterError, match=r"divide\n.*above 0"):
        balance(level_cube(), "m", GROUPINGS, divide=divide)


def test_no_complete_patch_is_refused():
    values = level_cube()["m"]["values"].values
    valid = np.ones((3, 4, 7, 9), bool)
    valid[..., ::2, ::2] = False
    with pytest.raises(
        CubeError, match=r"no complete patch\n.*2 x 2 pixels.*\n.*none in 3 samples"
    ):
        balance(image_cube(values, valid=valid), "m", GROUPINGS)


def test_refuses_what_it_cannot_select():
    with pytest.raises(ParameterError, match="no modality 'x'"):
        balance(level_cube(), "x", GROUPINGS)
    with pytest.raises(ParameterError, match="season"):
        balance(level_cube(), "m", GROUPINGS, season="summer")
    with pytest.raises(CubeError, match="nothing to measure"):
        balance(level_cube(), "m", GROUPINGS, split="test")


@pytest.mark.parametrize(
    ("options", "error"),
    [({"patch": 0}, ParameterError), ({"patch": 2.5}, ParameterError),
     ({"patch": 10}, CubeError), ({"divide": float("nan")}, ParameterError)],
)  # fmt: skip
def test_patches_that_cannot_be_are_refused(options, error):
    with pytest.raises(error):
        balance(level_cube(), "m", GROUPINGS, **options)


def test_no_grouping_makes_an_empty_table():
    assert balance(level_cube(), "m", {}).empty


def test_groupings_to_weigh_stand_once_each():
    groups = BandGroups.from_lists([["B02", "B03"], ["B08"]])
    others = {
        "same": BandGroups.from_lists([["B08"], ["B03", "B02"]]),
        "other": BandGroups.from_lists([["B02"], ["B03", "B08"]]),
        "again": BandGroups.from_lists([["B08", "B03"], ["B02"]]),
        "fewer bands": BandGroups.from_lists([["B02", "B03"]]),
    }
    found = groupings_to_weigh(groups, others)
    assert list(found) == ["one group", "proposed = same", "other", "each band alone"]
    assert found["one group"].words == "B02 B03 B08"
    assert found["proposed = same"] is groups
    assert found["each band alone"].words == "B02 | B03 | B08"


@pytest.mark.parametrize(
    ("lists", "names"),
    [([["a", "b"]], ["proposed", "each band alone"]), ([["a"], ["b"]], ["one group", "proposed"])],
)
def test_trivial_proposals_stand_under_the_name_proposed(lists, names):
    groups = BandGroups.from_lists(lists)
    found = groupings_to_weigh(groups)
    assert found["proposed"] is groups
    assert set(names) <= set(found)
