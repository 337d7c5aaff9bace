"""Figures of cubes and of their bands show what they claim."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from maestro_lab.bands import group_bands
from maestro_lab.errors import CubeError, ParameterError
from maestro_lab.figures import (
    band_histograms,
    sample_overview,
    split_map,
    synthetic_and_real,
)
from maestro_lab.figures.style import as_rgb, composite, stretch
from tests.batches.cubes import changed, only, small_cube, without
from tests.pictures import stripes


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


def words(axes):
    return [text.get_text() for text in axes.texts]


def test_overview_has_a_row_for_each_modality(cube):
    figure = sample_overview(cube, 1, dates=6)
    panels = np.array(figure.axes).reshape(3, 6)
    assert [row[0].get_ylabel().split("\n")[0] for row in panels] == ["s2", "s1", "dem"]
    assert [sum(bool(axes.images) for axes in row) for row in panels] == [5, 5, 1]
    assert panels[0, 0].get_title() == "10 Jan 2020"
    assert figure.get_suptitle().startswith("sample place1; the clearest date of each stretch")


def test_overview_takes_the_clearest_date_of_each_stretch(cube):
    def clouds(ds):
        valid = np.zeros(ds["valid"].shape, bool)
        valid[0, [0, 4, 5]] = valid[0, 3, :4] = True  # of seven dates; the fourth is nearly clear
        return ds.assign(valid=(ds["valid"].dims, valid))

    figure = sample_overview(changed(only(cube, "s2"), "s2", clouds), 0, dates=3)
    shown = [t for t in titles(figure) if t]
    days = [f"{d:%d %b %Y}" for d in pd.to_datetime(cube["s2"]["time"].values[0, [0, 4, 5]])]
    assert shown == days


def test_one_stretch_for_all_dates_whichever_are_shown(cube):
    few, many = (sample_overview(only(cube, "s2"), 0, dates=n) for n in (1, 6))
    day = few.axes[0].get_title()
    same = next(axes for axes in many.axes if axes.get_title() == day)
    np.testing.assert_array_equal(few.axes[0].images[0].get_array(), same.images[0].get_array())


def test_overview_says_that_a_modality_is_missing(cube):
    panels = np.array(sample_overview(cube, 2).axes).reshape(3, 8)
    assert words(panels[1, 0]) == ["missing"]
    assert not any(axes.images for axes in panels[1])


def test_overview_stripes_what_is_not_valid():
    def hole(ds):
        valid = np.ones(ds["valid"].shape, bool)
        valid[0, 0, 2, 1:4] = valid[0, 0, 4, 5] = False
        valid[0, 1] = False
        return ds.assign(valid=(ds["valid"].dims, valid))

    cube = changed(only(small_cube(), "dem", "s2"), "s2", hole)
    figure = sample_overview(only(cube, "s2"), 0, dates=7)
    first, second, third = (axes.images[0].get_array() for axes in figure.axes[:3])
    assert np.argwhere(stripes(first, 6)).tolist() == [[2, 1], [2, 2], [2, 3], [4, 5]]
    assert stripes(second, 6).all()
    assert third.shape == (6, 6, 3), "nothing is striped"


def test_samples_go_by_number_or_name(cube):
    for sample, name in (("place3", "place3"), (np.int64(-1), "place7")):
        assert sample_overview(cube, sample, dates=1).get_suptitle().startswith(f"sample {name};")
    for wrong in ("place9", 8, -9):
        with pytest.raises(ParameterError, match=r"no sample.*\n.*0 to 7, or .* 'place0'"):
            sample_overview(cube, wrong)
    with pytest.raises(ParameterError, match="dates"):
        sample_overview(cube, 0, dates=0)


@pytest.mark.parametrize("name", ["s2", "s1", "dem"])
def test_one_modality_without_targets_is_enough(cube, name):
    alone = only(cube, name)
    assert sample_overview(alone, 0).axes[0].images
    assert len(band_histograms(list(group_bands(alone).values())).axes) == 1


def test_split_map_counts_samples(cube):
    (axes,) = split_map(cube).axes
    assert len(axes.patches) == 8
    shown = [text.get_text() for text in axes.get_legend().get_texts()]
    assert shown == [
        "train (4 samples)", "val (1 samples)", "test (2 samples)", "buffer (1 samples)"
    ]  # fmt: skip
    colours = {to_hex(patch.get_facecolor()) for patch in axes.patches}
    assert len(colours) == 4


def test_split_map_without_a_window_attribute_takes_the_ground_of_the_pixels(cube):
    bare = cube.copy()
    del bare.attrs["window"]
    assert split_map(bare).axes[0].patches[0].get_width() == 60


def test_no_positions_no_split_map(cube):
    assert split_map(without(cube, "easting")) is None


def test_composites_prefer_infrared_then_colour():
    assert composite(["B02", "B03", "B04", "B08"])[1] == "B08 B04 B03"
    assert composite(["B03", "B04", "B8A", "B11"])[1] == "B8A B04 B03"
    assert composite(["B02", "B03", "B04"]) == ([2, 1, 0], "B04 B03 B02")
    assert composite(["x", "y", "z"]) == ([2, 1, 0], "z y x")
    assert composite(["VH"]) == ([0], "VH")


def test_stretch_ignores_what_is_not_valid():
    image = np.concatenate([np.linspace(0, 1, 98), [np.nan, 1e6]]).reshape(1, 10, 10)
    valid = image[0] != 1e6
    low, high = stretch(image, valid)
    assert 0 < low[0] < 0.05 and 0.95 < high[0] < 1
    picture = as_rgb(image, (low, high))
    assert picture.shape == (10, 10, 3)
    assert picture.min() == 0 and picture.max() == 1 and np.isfinite(picture).all()
    nothing = stretch(image, np.zeros((10, 10), bool))
    assert (nothing[1] > nothing[0]).all()


def test_realism_needs_optics(cube):
    with pytest.raises(CubeError, match=r"cannot be compared\n.*sentinel-2.*\n.*s1, dem"):
        synthetic_and_real(only(cube, "s1", "dem"), {})


def test_realism_shows_every_real_cube(cube):
    real = {f"real {k}": only(cube, "s2", "s1") for k in range(5)}
    figure = synthetic_and_real(cube, real)
    (legend,) = (sub.legends[0] for sub in figure.subfigs if sub.legends)
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown[-5:] == list(real)
    assert titles(figure)[:4] == ["winter", "spring", "summer", "autumn"]
    assert "no aerial modality" in titles(figure)


def test_realism_takes_real_cubes_of_any_kind(cube):
    figure = synthetic_and_real(cube, {"optics": only(cube, "s2"), "radar": only(cube, "s1")})
    ndvi = next(axes for axes in figure.axes if "NDVI" in axes.get_title())
    radar = next(axes for axes in figure.axes if "Sentinel-1" in axes.get_title())
    assert [line.get_marker() for line in ndvi.lines] == ["None", "o"], "one made, one real"
    assert len(radar.lines) == 4, "VV and VH of two cubes"
