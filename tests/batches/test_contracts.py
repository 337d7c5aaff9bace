"""Contracts made for a cube, and cubes that break one."""

import numpy as np
import pytest

from maestro_lab.batches import check_contract, contract_for
from maestro_lab.catalogue import open_cube
from maestro_lab.cubes.contract import make_modality
from maestro_lab.errors import ContractError
from tests.batches.cubes import changed, cube_of, days, only, small_cube


@pytest.fixture(scope="module")
def cube():
    return small_cube()


def attrs(**given):
    return lambda ds: ds.assign_attrs(given)


DIFFERENCES = {
    "units": (lambda c: changed(c, "s1", attrs(units="dB")), "s1: units linear power", "dB"),
    "gsd": (lambda c: changed(c, "s2", attrs(gsd=20.0)), "s2: gsd 10.0", "20.0"),
    "window": (
        lambda c: changed(c, "dem", lambda ds: ds.isel(x=slice(4))),
        "dem: window 6 x 6 px",
        "6 x 4 px",
    ),
    "band": (
        lambda c: changed(c, "s2", lambda ds: ds.isel(band=[0, 1, 2])),
        "s2: bands B02 B03 B04 B08",
        "only B02 B03 B04",
    ),
    "modality": (
        lambda c: only(c, "s2", "dem"),
        "modality s1",
        "not in the cube, which has s2, dem",
    ),
}


@pytest.mark.parametrize("what", DIFFERENCES)
def test_a_difference_is_told_by_name(cube, what):
    spoil, expected, found = DIFFERENCES[what]
    with pytest.raises(ContractError) as error:
        check_contract(spoil(cube), contract_for(cube))
    assert (error.value.expected, error.value.found) == (expected, found)
    assert "to do:" in str(error.value)


def test_all_differences_are_told_at_once(cube):
    spoilt = cube
    for what in ("units", "gsd", "window"):
        spoilt = DIFFERENCES[what][0](spoilt)
    with pytest.raises(ContractError, match=r"s2: gsd.*s1: units.*dem: window"):
        check_contract(spoilt, contract_for(cube))


def test_a_cube_may_hold_more_than_the_model_takes(cube):
    contract = contract_for(cube, modalities={"s2": ["B04", "B02"], "dem": []})
    assert list(contract.modalities) == ["s2", "dem"]
    assert contract.modalities["s2"].bands == ("B04", "B02")
    assert contract.modalities["dem"].bands == ("elevation",)
    check_contract(cube, contract)


def test_defaults_follow_from_the_sensor(cube):
    made = contract_for(cube).modalities
    assert [m.patch for m in made.values()] == [2, 2, 2], "20 m"
    assert [m.dates for m in made.values()] == [7, 5, 1], "as many as most samples have"
    assert [m.divide for m in made.values()] == [5000, 5, 1000]
    assert [m.log for m in made.values()] == [False, True, False]


def test_fine_grids_get_fifteen_patches_a_side():
    image = np.full((1, 1, 3, 30, 30), 90, np.uint8)
    ds = make_modality(image, days([1], 1), bands=["R", "G", "B"], units="DN", gsd=0.2)
    made = contract_for(cube_of({"photo": ds}))
    assert made.modalities["photo"].patch == 2
    assert made.modalities["photo"].divide == 255
    assert made.position_cells == 15


def test_what_one_asks_for_counts(cube):
    made = contract_for(
        cube, dates={"s2": 3}, patch={"s1": 3}, position_cells=12,
        norm_groups={"s2": {"visible": ["B02", "B03", "B04"], "infrared": ["B08"]}},
        token_groups={"s1": {"co": ["VV"], "cross": ["VH"]}},
    )  # fmt: skip
    s2, s1 = made.modalities["s2"], made.modalities["s1"]
    assert (s2.dates, s1.dates, s1.patch, made.position_cells) == (3, 5, 3, 12)
    assert s2.norm_groups == (("B02", "B03", "B04"), ("B08",))
    assert s1.token_groups == s1.norm_groups == (("VV",), ("VH",))
    one = contract_for(cube, dates=2).modalities
    assert [m.dates for m in one.values()] == [2, 2, 1], "elevation has one date only"


def test_groups_lose_the_bands_that_the_model_does_not_take(cube):
    groups = {"s2": {"visible": ["B02", "B03"], "red": ["B04"], "infrared": ["B08"]}}
    made = contract_for(cube, modalities={"s2": ["B02", "B08"]}, norm_groups=groups)
    assert made.modalities["s2"].norm_groups == (("B02",), ("B08",))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"modalities": ["s3"]}, "no modality 's3'\n.*s2, s1, dem"),
        ({"modalities": {"s2": ["B99"]}}, "s2: no band 'B99'\n.*B02 B03 B04 B08"),
        ({"modalities": []}, "without modalities"),
        ({"patch": {"s2": 4}}, "s2: a patch of 4 does not divide 6 pixels\n.*1, 2, 3, 6"),
        ({"dates": -1}, "s2: dates"),
        ({"dates": {"s3": 2}}, "a setting for 's3'"),
        ({"norm_groups": {"s2": {"a": ["B02"]}}}, "s2: norm_groups do not cover the bands"),
        ({"modalities": ["s2"], "patch": {"s1": 2}}, "a setting for 's1'"),
    ],
)
def test_impossible_wishes_are_refused(cube, options, words):
    with pytest.raises(ContractError, match=words):
        contract_for(cube, **options)


def test_windows_must_be_square(cube):
    with pytest.raises(ContractError, match=r"dem: windows are not square\n.*\n.*6 x 4 px"):
        contract_for(changed(cube, "dem", lambda ds: ds.isel(x=slice(4))))


CATALOGUE = """
version: 1
cubes:
  landscape:
    title: a landscape
    kind: landscape
    where: made when opened
    modalities:
      s1_asc:
        sensor: sentinel-1
        bands: [VV, VH]
        units: linear power
        gsd: 10
        model: {patch: 3, dates: 1, divide: 1.0, log: false, norm_groups: [[VV], [VH]]}
    position_cells: 12
    splits: [train, val, test]
    licence: CC0-1.0
    citation: none
"""


@pytest.mark.parametrize("how", ["environment", "argument"])
def test_the_catalogue_has_the_word_even_where_it_repeats_a_default(tmp_path, monkeypatch, how):
    path = tmp_path / "catalogue.yaml"
    path.write_text(CATALOGUE)
    given = {"catalogue": path} if how == "argument" else {}
    if how == "environment":
        monkeypatch.setenv("MAESTRO_LAB_CATALOG", str(path))
    made = contract_for(open_cube("landscape", samples=2, modalities=["s1_asc"], **given))
    m = made.modalities["s1_asc"]
    assert (m.patch, m.dates, m.divide, m.log) == (3, 1, 1.0, False)
    assert (m.norm_groups, made.position_cells) == ((("VV",), ("VH",)), 12)


def test_a_coarse_band_on_its_own_gets_patches_of_several_pixels():
    """One number alone has no deviation to be normalised with."""
    heights = only(small_cube(), "dem")
    coarse = changed(heights, "dem", lambda ds: ds.assign_attrs(gsd=90.0))
    assert contract_for(coarse).modalities["dem"].patch == 2


@pytest.mark.parametrize(
    "groups", ["B02", ["B02"], [["B2", "B03"]]], ids=["a string", "a flat list", "an unknown band"]
)
def test_groups_that_name_no_bands_of_the_cube_are_refused(cube, groups):
    with pytest.raises(ContractError, match="norm_groups"):
        contract_for(cube, norm_groups={"s2": groups})


def test_a_lone_name_is_one_modality_and_no_dates_are_refused(cube):
    assert list(contract_for(cube, modalities="s2").modalities) == ["s2"]
    with pytest.raises(ContractError, match="dates"):
        contract_for(cube, dates={"s2": 0})
