"""Groups of bands: what they know, how they are kept, and those of papers."""

import json
import math

import numpy as np
import pytest
import xarray as xr
import yaml
from sklearn.metrics import adjusted_rand_score

from maestro_lab.bands import (
    REFERENCES,
    BandGroups,
    band_statistics,
    load_groups,
    propose_groups,
    references,
    save_groups,
    spectral_regions,
)
from maestro_lab.errors import ParameterError
from tests.bands.made import planted
from tests.batches.cubes import pixel_cube

S2 = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]
NM = [493, 560, 665, 704, 741, 783, 833, 865, 1614, 2202]


@pytest.fixture
def groups():
    return BandGroups({"visible": ["B02", "B03"], "infrared": ["B08"]})


def test_groups_are_equal_by_what_they_put_together(groups):
    assert groups == BandGroups.from_lists([["B08"], ["B03", "B02"]])
    assert len({groups, BandGroups.from_lists([["B08"], ["B03", "B02"]])}) == 1
    assert groups != BandGroups.from_lists([["B08", "B03"], ["B02"]])
    assert groups != {"visible": ("B02", "B03"), "infrared": ("B08",)}
    assert groups.labels(["B08", "B02", "B03"]) == [1, 0, 0]


def test_groups_are_a_mapping(groups):
    assert list(groups) == ["visible", "infrared"]
    assert groups["visible"] == ("B02", "B03")
    assert len(groups) == 2
    assert groups.bands == ("B02", "B03", "B08")
    assert groups.words == "B02 B03 | B08"
    assert dict(groups.items()) == {"visible": ("B02", "B03"), "infrared": ("B08",)}
    assert BandGroups(groups) == groups == BandGroups(groups.to_dict())


@pytest.mark.parametrize(
    "lists", [[["B02"], ["B02"]], [["B02", "B03", "B04"], ["B02", "B05", "B04"]], [[]], [], [[3]]]
)
def test_groups_are_disjoint_lists_of_names(lists):
    with pytest.raises(ParameterError, match="band group"):
        BandGroups.from_lists(lists)


@pytest.mark.parametrize(
    "content", [["B02"], "B02", {"a": "B02"}, {"a": 3}, {"a": [1]}, {"a": {"B02"}}, {"a": []}, {}]
)
def test_anything_but_lists_of_names_is_refused(content):
    with pytest.raises(ParameterError, match="band group"):
        BandGroups(content)


def test_a_band_in_no_group_is_named():
    with pytest.raises(ParameterError, match="'B09' is in no group"):
        BandGroups({"visible": ["B02"]}).labels(["B02", "B09"])


def test_numpy_names_are_names():
    bands = xr.DataArray(np.array(["B02", "B03"]), dims="band").values
    found = BandGroups({"a": bands})
    assert found.bands == ("B02", "B03")
    assert json.dumps(found.to_dict()) == '{"a": ["B02", "B03"]}'


def test_groups_can_be_restricted_to_some_bands(groups):
    assert groups.restricted(["B03", "B11"]).to_dict() == {"visible": ["B03"]}
    assert groups.restricted(S2) == groups
    assert groups.restricted(["B11"]) is None


@pytest.mark.parametrize("seed", range(5))
def test_agreement_is_the_adjusted_rand_index_over_common_bands(seed):
    first, second = np.random.default_rng(seed).integers(0, 3, (2, 10))
    bands = np.array([*"abcdefghij"])
    one, other = (
        BandGroups({str(k): bands[labels == k] for k in np.unique(labels)})
        for labels in (first, second)
    )
    assert one.agreement(other) == pytest.approx(adjusted_rand_score(first, second))
    assert other.agreement(one) == pytest.approx(one.agreement(other))
    assert one.agreement(one) == 1
    some = other.restricted([*"abcdefg"])
    assert one.agreement(some) == pytest.approx(adjusted_rand_score(first[:7], second[:7]))


def test_agreement_needs_two_bands_in_common(groups):
    assert math.isnan(groups.agreement(BandGroups({"a": ["B03", "B11"]})))
    assert math.isnan(groups.agreement(BandGroups({"a": ["B11"]})))
    assert groups.agreement(BandGroups({"a": ["B03"], "b": ["B08"]})) == 1


def test_token_bands_are_channel_numbers(groups):
    assert groups.as_token_bands(["B08", "B03", "B02"]) == [[2, 1], [0]]
    maestro = REFERENCES["MAESTRO Sentinel-2"]
    assert maestro.as_token_bands(S2) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_token_bands_need_each_channel_once(groups):
    with pytest.raises(ParameterError, match="'B11' is in no group"):
        groups.as_token_bands(["B02", "B03", "B08", "B11"])
    with pytest.raises(ParameterError, match="'B08' is not in the data"):
        groups.as_token_bands(["B02", "B03"])


def test_norm_bands_are_numbers_of_neighbouring_channels(groups):
    assert groups.as_norm_bands(["B02", "B03", "B08"]) == [2, 1]
    assert groups.as_norm_bands(["B08", "B03", "B02"]) == [1, 2]
    assert REFERENCES["MAESTRO Sentinel-2"].as_norm_bands(S2) == [4, 4, 2]
    assert REFERENCES["MAESTRO aerial"].as_norm_bands(["NIR", "R", "G", "B"]) == [1, 3]


def test_norm_bands_that_are_torn_apart_are_refused(groups):
    with pytest.raises(ParameterError, match=r"side by side\n.*B02 B03 B08\n.*B02 B08 B03\n.*norm"):
        groups.as_norm_bands(["B02", "B08", "B03"])
    with pytest.raises(ParameterError, match="is not in the data"):
        groups.as_norm_bands(["B02", "B03"])


def test_a_table_has_a_row_for_each_group(groups):
    found = groups.to_frame()
    assert found.index.tolist() == ["visible", "infrared"]
    assert found.index.name == "group"
    assert found["n"].tolist() == [2, 1]
    assert found["bands"].tolist() == ["B02 B03", "B08"]


def test_names_are_escaped_in_html():
    found = BandGroups({"<script>": ["<b>", "a & b"]})._repr_html_()
    assert "<script>" not in found and "<b>" not in found
    assert "&lt;script&gt;" in found and "&lt;b&gt; a &amp; b" in found


def test_groups_survive_the_run_folder(tmp_path):
    grouping = propose_groups(band_statistics(pixel_cube(planted()), "m"))
    groupings = {"m": grouping, "s1": BandGroups({"radar": ["VV", "VH"]})}
    path = save_groups(groupings, tmp_path)
    assert json.loads(path.read_text())["m"] == {"a-c": [*"abc"], "d-e": [*"de"], "f-h": [*"fgh"]}
    for place in (tmp_path, path, str(path)):
        found = load_groups(place)
        assert found == {"m": grouping.groups, "s1": groupings["s1"]}
        assert found["s1"].to_dict() == {"radar": ["VV", "VH"]}
    assert [p.name for p in tmp_path.iterdir()] == ["groups.json"]


@pytest.mark.parametrize("name", ["mine.json", "mine.yaml", "mine.yml"])
def test_groups_survive_files_of_either_kind(tmp_path, groups, name):
    path = save_groups({"s2": groups, "plain": {"a": ["x"]}}, tmp_path / name)
    assert path == tmp_path / name
    assert [p.name for p in tmp_path.iterdir()] == [name]
    found = load_groups(path)
    assert list(found) == ["s2", "plain"]
    assert found["s2"].to_dict() == groups.to_dict()
    assert found["plain"] == BandGroups({"a": ["x"]})
    save_groups({"s2": {"other": ["B02"]}}, path)
    assert load_groups(path) == {"s2": BandGroups({"a": ["B02"]})}


def test_yaml_by_hand_is_read(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("# by hand\ns2:\n  visible: [B02, B03]\n  infrared:\n  - B08\n")
    assert load_groups(path)["s2"].words == "B02 B03 | B08"
    again = save_groups(load_groups(path), tmp_path / "again.yaml")
    assert yaml.safe_load(again.read_text()) == {
        "s2": {"visible": ["B02", "B03"], "infrared": ["B08"]}
    }


@pytest.mark.parametrize("name", ["groups.txt", "groups"])
def test_other_endings_are_refused(tmp_path, groups, name):
    with pytest.raises(ParameterError, match=r"JSON or YAML\n.*\.json or \.yaml"):
        save_groups({"s2": groups}, tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content",
    [
        b"{", b"[]", b"\xff\xfe", b'{"s2": ["B02"]}', b'{"s2": {"visible": "B02"}}',
        b'{"s2": {"visible": [0, 1]}}', b'{"s2": {"a": []}}', b"null", b"3",
        b'{"s2": {"a": ["B02"], "b": ["B02"]}}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["groups.json", "groups.yaml"])
def test_a_file_without_groups_of_names_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ParameterError, match="expected"):
        load_groups(tmp_path / name)


def test_yaml_that_makes_objects_is_refused(tmp_path):
    (tmp_path / "groups.yaml").write_text("s2: !!python/object/apply:os.getcwd []")
    with pytest.raises(ParameterError, match="holds no band groups"):
        load_groups(tmp_path / "groups.yaml")


def test_a_missing_file_says_what_to_do(tmp_path):
    for place in (tmp_path, tmp_path / "absent.yaml"):
        with pytest.raises(ParameterError, match="run notebook 01 first"):
            load_groups(place)


def test_references_are_those_of_the_papers():
    words = {name: groups.words for name, groups in REFERENCES.items()}
    assert words == {
        "MAESTRO Sentinel-2": "B02 B03 B04 B05 | B06 B07 B08 B8A | B11 B12",
        "MAESTRO aerial": "NIR | R G B",
        "OlmoEarth v1 Sentinel-2": "B02 B03 B04 B08 | B05 B06 B07 B8A B11 B12 | B01 B09",
        "OlmoEarth v1 Landsat": "B8 | B1 B2 B3 B4 B5 B6 B7 B9 B10 B11",
    }


def test_bands_of_sentinel_2_lie_in_four_regions():
    found = spectral_regions(S2, NM)
    assert found.to_dict() == {
        "visible": ["B02", "B03", "B04"],
        "red edge": ["B05", "B06", "B07"],
        "near infrared": ["B08", "B8A"],
        "shortwave infrared": ["B11", "B12"],
    }


def test_regions_begin_and_end_where_they_say():
    ends = {"a": 689.9, "b": 690, "c": 794.9, "d": 795, "e": 999.9, "f": 1000, "g": 2999, "h": 3000}
    assert spectral_regions(list(ends), list(ends.values())).to_dict() == {
        "visible": ["a"], "red edge": ["b", "c"], "near infrared": ["d", "e"],
        "shortwave infrared": ["f", "g"], "thermal": ["h"],
    }  # fmt: skip


def test_bands_without_a_wavelength_have_no_region():
    assert spectral_regions(["VV", "VH"], [math.nan, math.nan]) is None
    assert spectral_regions(["VV", "B04"], [math.nan, 665]).bands == ("B04",)


def test_references_know_enough_of_the_bands():
    found = references(S2, NM)
    assert list(found) == ["MAESTRO Sentinel-2", "OlmoEarth v1 Sentinel-2", "spectral regions"]
    assert found["OlmoEarth v1 Sentinel-2"].words == "B02 B03 B04 B08 | B05 B06 B07 B8A B11 B12"
    assert list(references(["B02", "B08", "x"], [490, 833, math.nan])) == []
    assert len(references(["B02", "B08", "x"], [490, 833, math.nan], least=2)) == 3
    assert references(["VV", "VH"], [math.nan] * 2) == {}
