"""The summary tells the truth, in text and in a notebook."""

import numpy as np

from maestro_lab.cubes.contract import assemble, make_modality
from maestro_lab.cubes.describe import describe
from maestro_lab.cubes.sensors import sensor
from tests.cubes.conftest import edited


def test_numbers_are_those_of_the_cube(small):
    found = describe(small)
    assert found.samples == 3 and found.splits == {"train": 2, "test": 1}
    assert found.table.loc["s2"].to_dict() == {
        "grid": "2 x 2 px of 10 m",
        "bands": "B03 B08",
        "units": "DN (uint16)",
        "dates": "0 to 3",
        "missing": "1 samples",
        "valid": "85.0%",  # 17 of 5 dates x 4 pixels
        "first": "2020-03-01",
        "last": "2021-02-03",
    }
    aerial = found.table.loc["aerial"]
    assert (aerial["dates"], aerial["missing"], aerial["valid"]) == ("1", "0 samples", "100.0%")
    assert (aerial["first"], aerial["last"]) == ("2019-07-01", "2019-07-03")
    assert found.targets.loc["target species"].to_dict() == {
        "task": "fractions",
        "shape": "2",
        "classes": "oak, winter cereal",
        "units": "share of the area",
    }
    assert found.targets.loc["target age", "shape"] == "one value"
    assert found.note == ""


def test_the_text_holds_all_of_it(small):
    text = str(describe(small))
    assert text == repr(describe(small))
    assert text.startswith("Forest & <field>\nsamples  3 (2 train, 1 test)\nsource   this test\n")
    for part in ("CC0-1.0", "2 x 2 px of 10 m", "B03 B08", "85.0%", "target species", "fractions"):
        assert part in text


def test_html_is_escaped_and_whole(small):
    named = edited(small, "targets", lambda ds: ds.assign_coords({"class": ["<i>oak", "x & y"]}))
    html = describe(named)._repr_html_()
    assert "Forest &amp; &lt;field&gt;" in html and "<field>" not in html
    assert "&lt;i&gt;oak, x &amp; y" in html and "<i>" not in html
    for part in ("3 (2 train, 1 test)", "10 m", "85.0%", "2021-02-03", "regression"):
        assert part in html


def test_no_band_is_cut_off():
    bands = sensor("sentinel-2").bands
    time = np.array([["2020-01-01"]], "datetime64[ns]")
    s2 = make_modality(
        np.full((1, 1, 13, 1, 1), 500), time, bands=bands, units="DN", gsd=10,
        sensor_name="sentinel-2",
    )  # fmt: skip
    cube = assemble(
        {"s2": s2}, sample=["a"], split=["train"], block=[0], title="t", licence="l", source="s"
    )
    assert " ".join(bands) in str(describe(cube))
    assert " ".join(bands) in describe(cube)._repr_html_()
    assert len(describe(cube).targets) == 0


def test_a_large_cube_is_measured_in_part_and_says_so(small):
    found = describe(small, samples=1)
    assert found.table.loc["s2", "valid"] == "91.7%"  # 11 of 3 dates x 4 pixels of sample a
    assert found.table.loc["s2", "last"] == "2021-02-03", "dates are those of every sample"
    assert found.note == "Valid share measured on 1 of 3 samples."
    assert found.note in str(found) and found.note in found._repr_html_()


def test_a_modality_without_dates_has_no_share(small):
    row = describe(small.isel(sample=[2])).table.loc["s2"]
    assert (row["valid"], row["dates"], row["first"], row["last"]) == ("no dates", "0", "", "")
