"""The cube explorer: every control changes what it is there for, and gaps are told."""

import numpy as np
import pytest
import xarray as xr

from maestro_lab.cubes.contract import make_modality
from maestro_lab.errors import ParameterError
from maestro_lab.explore import CubeExplorer
from maestro_lab.figures.looks import look_images, looks
from tests.batches.cubes import changed, cube_of, only, small_cube


@pytest.fixture(scope="module")
def cube():
    return small_cube()


def panel(figure, name):
    return next(axes for axes in figure.axes if axes.get_label() == name)


def image(explorer, name="image:s2", layer=0):
    return np.asarray(panel(explorer.static(), name).images[layer].get_array())


def courses(explorer, name="s2"):
    lines = panel(explorer.static(), f"course:{name}").lines
    return {line.get_label(): line.get_ydata() for line in lines if line.get_label()[0] != "_"}


def test_each_control_changes_what_it_is_there_for(cube):
    explorer = CubeExplorer(cube, sample=3)
    for state in ({"sample": 4}, {"date": 3}, {"bands": "B08"}, {"clip": 0.05}, {"over": "sample"}):
        before = image(explorer)
        assert not np.array_equal(image(explorer.set(**state)), before), state
    bare = panel(explorer.static(), "image:s2")
    explorer.set(target="cover")
    covered = panel(explorer.static(), "image:s2")
    assert len(covered.images) == len(bare.images) + 1
    legend = panel(explorer.static(), "<legend>").get_legend()
    assert {t.get_text() for t in legend.get_texts()} <= {"water", "wood", "field"}
    explorer.set(opacity=0.1)
    assert panel(explorer.static(), "image:s2").images[-1].get_alpha() == pytest.approx(0.1)
    assert list(panel(explorer.set(modality="s1").static(), "image:s1").get_title())


def test_dates_are_real_and_cloudy_ones_are_marked(cube):
    explorer = CubeExplorer(cube, sample=3)
    options = explorer.controls["date"].options
    days = cube["s2"]["time"].values[3]
    days = days[~np.isnat(days)]
    assert [value for _, value in options] == [str(d.astype("datetime64[D]")) for d in days]
    clear = cube["s2"]["valid"].values[3, : len(days)].mean((1, 2))
    assert [("☁" in label) for label, _ in options] == (clear < 0.5).tolist()


def test_two_acquisitions_of_a_day_are_told_apart():
    time = np.array(
        [["2021-03-01T05:00", "2021-03-01T17:00", "2021-03-04T05:00"]], "datetime64[ns]"
    )
    ds = make_modality(
        np.random.default_rng(0).random((1, 3, 2, 2, 2)), time, bands=["VV", "VH"],
        units="linear power", gsd=10,
    )  # fmt: skip
    explorer = CubeExplorer(cube_of({"s1": ds}, splits=["train"]))
    values = explorer.controls["date"].values
    assert values == ["2021-03-01T05:00", "2021-03-01T17:00", "2021-03-04"]
    first = image(explorer, "image:s1")
    assert not np.array_equal(image(explorer.set(date=values[1]), "image:s1"), first)


def test_a_date_may_be_a_number_or_any_day(cube):
    explorer = CubeExplorer(cube, sample=3)
    values = explorer.controls["date"].values
    assert explorer.set(date=1).state["date"] == values[1]
    assert explorer.set(date=-1).state["date"] == values[-1]
    assert explorer.set(date="2020-01-01").state["date"] == values[0], "the nearest one"
    for beyond in ("1990-01-01", "2021-06-01"):
        with pytest.raises(ParameterError, match=r"control 'date'\n.*2020-01-10, .*2020-07-28"):
            explorer.set(date=beyond)
    for wrong in ("yesterday", "7", None):
        with pytest.raises(ParameterError, match="control 'date'"):
            explorer.set(date=wrong)
    with pytest.raises(ParameterError, match=r"no date 99 of s2\n.*-6 to 5(.|\n)*2020-01-10 to"):
        explorer.set(date=99)


def test_the_date_stays_when_sample_or_modality_change(cube):
    explorer = CubeExplorer(cube, sample=3, date=4)
    there = np.datetime64(explorer.state["date"])
    explorer.set(modality="s1")
    days = np.array(explorer.controls["date"].values, "datetime64[D]")
    nearest = days[np.abs(days - there).argmin()]
    assert explorer.state["date"] == str(nearest)


def test_a_click_shows_the_course_of_that_pixel_in_all_modalities(cube):
    explorer = CubeExplorer(cube, sample=3).click("image:dem", 25.0, 42.0)
    assert explorer.state["pixel"] == (25.0, 42.0)
    for name in ("s2", "s1"):
        ds = cube[name].isel(sample=3)
        there = ~np.isnat(ds["time"].values)
        for k, band in enumerate(ds["band"].values):
            seen = ds["valid"].values[there, 4, 2]
            values = ds["values"].values[there][seen, k, 4, 2]
            expected = 10 * np.log10(np.maximum(values, 1e-6)) if name == "s1" else values
            np.testing.assert_allclose(courses(explorer, name)[band], expected, rtol=1e-5)
    value = cube["dem"]["values"].values[3, 0, 0, 4, 2]
    assert f"elevation {value:.4g} m" in explorer.words(**explorer.state)


def test_without_a_pixel_courses_are_means_of_valid_pixels(cube):
    explorer, ds = CubeExplorer(cube, sample=3), cube["s2"].isel(sample=3)
    for k, band in enumerate(ds["band"].values):
        both = zip(ds["values"].values, ds["valid"].values, strict=True)
        means = [values[k][valid].mean() for values, valid in both if valid.any()]
        np.testing.assert_allclose(courses(explorer)[band], means, rtol=1e-5)


def test_a_click_on_a_course_goes_to_that_date(cube):
    import matplotlib.dates as mdates

    explorer = CubeExplorer(cube, sample=3)
    day = cube["s1"]["time"].values[3, 2]
    explorer.click("course:s1", mdates.date2num(day) + 0.4, 0.0)
    assert explorer.state["modality"] == "s1"
    assert explorer.state["date"] == str(day.astype("datetime64[D]"))
    assert explorer.pointed("<legend>", 0, 0) == {}


def test_grids_of_different_resolution_line_up_on_the_ground(cube):
    finer = cube_of(
        {
            "s2": cube["s2"].to_dataset(inherit=False).isel(sample=[0]),
            "fine": make_modality(
                np.arange(144.0).reshape(1, 1, 1, 12, 12), np.array([["2021-06-01"]], "datetime64"),
                bands=["R"], units="DN", gsd=5,
            ),
        },
        splits=["train"],
    )  # fmt: skip
    figure = CubeExplorer(finer, pixel=(42.0, 17.0)).static()
    for name in ("image:s2", "image:fine"):
        axes = panel(figure, name)
        assert axes.images[0].get_extent() == [0, 60, 60, 0]
        assert [line.get_xydata()[0].tolist() for line in axes.lines[:2]] == [[42, 17]] * 2


def test_what_moves_with_the_date_is_drawn_like_the_whole_figure(cube):
    from io import BytesIO

    from PIL import Image

    explorer = CubeExplorer(cube, sample=3, pixel=(5.0, 5.0), target="height")
    explorer.picture()
    for date in (2, 5):
        moved = explorer.set(date=date).picture().png
        whole = BytesIO()
        explorer.static().savefig(whole, format="png", dpi=130)
        a, b = (np.asarray(Image.open(f).convert("RGB"), int) for f in (BytesIO(moved), whole))
        assert a.shape == b.shape
        assert (np.abs(a - b) > 24).mean() < 1e-3, "the same but for rounding"


def test_nothing_to_see_is_said(cube):
    missing = CubeExplorer(cube, modality="s1", sample=2)
    assert missing.controls["date"].options == [] and missing.state["date"] == ""
    assert "s1</b> is missing in this sample" in missing.words(**missing.state)
    texts = [t.get_text() for t in panel(missing.static(), "image:s1").texts]
    assert "missing" in texts
    views = missing.view().children[1].value, missing.panel()[1].object
    assert all("s1</b> is missing" in words for words in views)
    assert missing.set(sample=0).state["date"]
    bare = CubeExplorer(small_cube(targets=False))
    assert "no targets" in bare.words(**bare.state)


@pytest.mark.parametrize("name", ["dem", "s2", "s1"])
def test_one_modality_alone_one_band_one_date(cube, name):
    explorer = CubeExplorer(only(cube, name), sample=3)
    figure = explorer.static()
    labels = [axes.get_label() for axes in figure.axes]
    assert f"image:{name}" in labels
    assert (f"course:{name}" in labels) == (name != "dem")
    assert explorer.picture().png


def test_targets_of_a_whole_sample_are_told_in_words(cube):
    explorer = CubeExplorer(cube, sample=1)
    share = float(cube["targets"]["species"].values[1, 0])
    assert f"oak {share:.3g}" in explorer.set(target="species").words(**explorer.state)
    mass = float(cube["targets"]["biomass"].values[1])
    assert f"{mass:.4g} t/ha" in explorer.set(target="biomass").words(**explorer.state)


@pytest.mark.parametrize("pixel", [(61.0, 2.0), (-1.0, 2.0)])
def test_a_place_outside_is_refused(cube, pixel):
    with pytest.raises(ParameterError, match="0 to 60 m east"):
        CubeExplorer(cube, pixel=pixel)


def test_a_lazy_cube_is_read_where_one_looks(cube):
    lazy, eager = (CubeExplorer(c).set(sample=4) for c in (cube.chunk(sample=1), cube))
    np.testing.assert_array_equal(image(lazy), image(eager))


class TestLooks:
    """Which bands are shown, and how."""

    def test_radar_is_shown_in_decibels_with_its_ratio(self, cube):
        ds = cube["s1"].to_dataset().isel(sample=0, time=0)
        shown = look_images(ds, looks(["VV", "VH"])["radar"])
        vv, vh = 10 * np.log10(ds["values"].values)
        np.testing.assert_allclose(shown, [vv, vh, vv - vh], rtol=1e-5)

    def test_each_composite_takes_the_bands_it_names(self):
        found = looks(["B02", "B03", "B04", "B08", "B8A", "B11", "B12"])
        assert found["true colour"].bands == ("B04", "B03", "B02")
        assert found["near infrared"].bands == ("B08", "B04", "B03")
        assert found["shortwave infrared"].bands == ("B12", "B8A", "B04")

    def test_unknown_bands_are_shown_as_they_come(self):
        assert next(iter(looks(["a", "b", "c"]))) == "first three bands"
        assert list(looks(["a", "b"])) == ["a", "b"]

    def test_a_band_that_is_not_there_is_named(self, cube):
        with pytest.raises(ParameterError, match="B12"):
            look_images(cube["s2"].to_dataset(), looks(["B12", "B8A", "B04"])["shortwave infrared"])


def test_missing_labels_are_not_coloured(cube):
    holes = changed(cube, "targets", lambda ds: ds.assign(cover=_with_hole(ds["cover"])))
    explorer = CubeExplorer(holes, target="cover", sample=0)
    alpha = image(explorer, layer=1)[..., 3]
    assert alpha[0, 0] == 0 and (alpha[1:] == 1).all()


def _with_hole(cover: xr.DataArray) -> xr.DataArray:
    values = cover.values.copy()
    values[0, 0, 0] = 9
    return cover.copy(data=values).assign_attrs(missing=9)


@pytest.mark.parametrize("wrong", ["landscape", None, 3])
def test_what_is_no_cube_is_refused(wrong):
    with pytest.raises(ParameterError, match=r"a cube, as ml\.open_cube returns it"):
        CubeExplorer(wrong)


def test_a_modality_alone_is_no_cube(cube):
    with pytest.raises(ParameterError, match="without samples and modalities"):
        CubeExplorer(cube["s2"])


def test_it_begins_with_the_clearest_date(cube):
    explorer = CubeExplorer(cube)
    clear = cube["s2"]["valid"].values[0].mean((1, 2))
    assert explorer.controls["date"].values.index(explorer.state["date"]) == clear.argmax()


def test_a_band_has_one_colour_in_all_courses_and_another_than_its_neighbours(cube):
    one = cube["s2"].to_dataset(inherit=False)
    both = cube_of({"a": one, "b": one.isel(band=[1, 3, 0])}, splits=["train", "test"] * 4)
    figure = CubeExplorer(both).static()
    colours = {
        name: {ln.get_label(): ln.get_color() for ln in panel(figure, f"course:{name}").lines[:n]}
        for name, n in (("a", 4), ("b", 3))
    }
    assert all(colours["a"][band] == colour for band, colour in colours["b"].items())
    assert len(set(colours["a"].values())) == 4
