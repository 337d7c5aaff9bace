"""Figures of band groups: what is drawn is what was measured, and titles say how."""

import numpy as np
import pandas as pd
import pytest

from maestro_lab.bands import (
    Survey,
    balance,
    band_statistics,
    group_bands,
    groupings_to_weigh,
    propose_groups,
    stability,
)
from maestro_lab.bands import statistics_agreement as agreement
from maestro_lab.figures import (
    band_distances,
    band_histograms,
    band_overview,
    band_togetherness,
    statistics_agreement,
    target_balance,
)
from tests.batches.cubes import pixel_cube


def test_histograms_are_coloured_by_group(groupings):
    figure = band_histograms(groupings)
    assert len(figure.axes) == 3
    axes, grouping = figure.axes[0], groupings[0]
    stats = grouping.statistics
    assert axes.get_title() == f"s2: clear pixels only, train, {stats.n:,} pixels"
    assert axes.get_xlabel() == "DN"
    shown = [text.get_text() for text in axes.get_legend().get_texts()]
    assert shown == ["B02", "B03", "B04", "B08"]
    labels = grouping.groups.labels(stats.bands)
    looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines}
    assert len(looks) == 4, "bands of a group differ in their line"
    for k, line in zip(labels, axes.lines, strict=True):
        same = [other.get_color() for j, other in zip(labels, axes.lines, strict=True) if j == k]
        assert set(same) == {line.get_color()}
    inside = (axes.lines[0].get_ydata() * np.diff(stats.edges)).sum()
    assert inside == pytest.approx(1), "a density"


def test_histograms_of_few_bins_and_of_a_constant():
    cube = pixel_cube({"a": [1.0] * 16, "b": np.arange(16.0)})
    for bins in (1, 3, 256):
        grouping = propose_groups(band_statistics(cube, "m", bins=bins))
        assert len(band_histograms([grouping]).axes[0].lines) == 2


def test_distances_stand_in_the_order_of_the_tree(groupings):
    figure = band_distances(groupings)
    assert len(figure.subfigs) == 2, "elevation has one band"
    panels = [axes for axes in figure.axes if axes.images]
    for axes, grouping in zip(panels, groupings, strict=False):
        shown = [label.get_text() for label in axes.get_xticklabels()]
        bands = list(grouping.statistics.bands)
        assert sorted(shown) == sorted(bands)
        order = [bands.index(b) for b in shown]
        np.testing.assert_array_equal(axes.images[0].get_array(), grouping.matrix[order][:, order])
    above = [sub.get_suptitle() for sub in figure.subfigs]
    assert above[0].startswith("s2: clear pixels only, train")
    assert above[0].endswith("1 - |correlation|")


@pytest.mark.parametrize("groups", [1, 2, 3, 4])
def test_the_dotted_line_cuts_the_tree_into_the_groups(cube, groups):
    grouping = propose_groups(band_statistics(cube, "s2"), groups=groups)
    cut = band_distances([grouping]).axes[0].lines[-1].get_xdata()[0]
    assert (grouping.tree[:, 2] > cut).sum() == groups - 1


@pytest.mark.parametrize("groups", [1, 2])
def test_distances_of_identical_bands(groups):
    ramp = np.arange(16.0)
    grouping = propose_groups(
        band_statistics(pixel_cube({"a": ramp, "b": ramp}), "m"), groups=groups
    )
    assert band_distances([grouping]).axes


def test_single_bands_have_no_distances(cube):
    assert band_distances(list(group_bands(cube, modalities=["dem"]).values())) is None


def numbers(axes):
    """Read the numbers written into a matrix."""
    return [float(text.get_text()) for text in axes.texts]


def test_togetherness_shows_shares_of_draws_group_by_group(groupings):
    sure = [stability(g, "date", draws=20) for g in groupings]
    figure = band_togetherness([*sure, None])
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) == 1, "bands fewer than three have nothing to show"
    (axes,), found = panels, sure[0]
    shown = [label.get_text() for label in axes.get_xticklabels()]
    bands = list(found.grouping.statistics.bands)
    assert shown == list(found.grouping.groups.bands)
    order = [bands.index(b) for b in shown]
    np.testing.assert_array_equal(axes.images[0].get_array(), found.together[order][:, order])
    assert f"drawn again from {found.drawn} dates" in axes.get_title()
    assert band_togetherness([None]) is None


def test_agreement_is_written_with_its_sign(cube, groupings):
    table = agreement(cube, groupings[0])
    (axes, _) = statistics_agreement({"s2": table}).axes
    off = ~np.eye(len(table), dtype=bool)
    np.testing.assert_allclose(numbers(axes), table.to_numpy()[off], atol=0.005)
    assert axes.get_title() == "s2"
    assert statistics_agreement({}) is None


def test_bars_of_the_balance_add_up_and_keep_the_order_of_the_table(cube, groupings):
    groups = groupings[0].groups
    table = balance(cube, "s2", groupings_to_weigh(groups), divide=5000)
    (axes,) = target_balance({"s2: clear pixels only": table}).axes
    widths = np.array([bar.get_width() for bar in axes.patches]).reshape(3, len(table))
    np.testing.assert_allclose(widths.sum(0), 1)
    np.testing.assert_allclose(widths[0], table["constant"])
    assert [label.get_text() for label in axes.get_yticklabels()] == list(table.index)
    assert axes.get_title(loc="left") == "s2: clear pixels only"
    assert target_balance({}) is None


def test_a_table_of_one_band_alone_is_drawn():
    row = {"constant": 0, "between bands": 0, "within bands": 1, "even bands": 1, "even patches": 1}
    (axes,) = target_balance({"m": pd.DataFrame([row], index=["each band alone"])}).axes
    assert axes.get_xlabel() == "share of the variance of normalised targets"


def test_overview_has_all_of_one_grouping(cube):
    survey = Survey(cube)
    for name, images in (("s2", 2), ("s1", 1), ("dem", 0)):
        (grouping,) = group_bands(survey, modalities=[name]).values()
        figure = band_overview(grouping, stability(grouping, "date", draws=5))
        assert sum(len(axes.images) for axes in figure.axes) == images
