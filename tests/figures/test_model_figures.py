"""Figures of models, losses and probes show what they claim."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from maestro_lab.errors import ParameterError
from maestro_lab.figures import (
    embedding_map,
    loss_curves,
    predicted_and_true,
    probe_map,
    probe_scores,
    reconstruction_gain,
    reconstructions,
)
from maestro_lab.figures.guesses import ERRORS
from maestro_lab.figures.maps import ground_map
from tests.batches.cubes import only, without
from tests.figures.conftest import SAMPLES, probed
from tests.pictures import stripes, unstriped

HIDDEN = 0.82


def panels(figure, k):
    """Rows truth, visible, guess, error of modality k."""
    axes = [a for a in figure.subfigs[k].axes if a.get_label() != "<colorbar>"]
    return np.array(axes).reshape(4, -1)


def test_reconstructions_have_four_rows_and_a_column_a_date(guesses):
    figure = reconstructions(guesses, 0)
    assert len(figure.subfigs) == 3
    for k, (name, dates) in enumerate({"s2": 4, "s1": 3, "dem": 1}.items()):
        rows = panels(figure, k)
        assert rows.shape == (4, dates)
        assert [a.get_ylabel() for a in rows[:, 0]] == ["truth", "visible", "guess", "error"]
        assert figure.subfigs[k].get_suptitle().startswith(f"{name} (")
    assert "mean and scale" in figure.get_suptitle()


def test_what_the_encoder_did_not_see_is_grey(guesses):
    sample, r = 4, guesses["s2"]
    rows = panels(reconstructions({"s2": r}, sample), 0)
    assert 0 < r.masked[sample].mean() < 1
    for t in range(4):
        shown = [axes.images[0].get_array() for axes in rows[:, t]]
        truth, seen, guess, error = (unstriped(image, 6) for image in shown)
        hidden, clear = r.masked[sample, t, 0], r.valid[sample, t]
        assert (seen[hidden & clear] == HIDDEN).all()
        for image in shown:
            np.testing.assert_array_equal(stripes(image, 6), ~clear)
        assert (error[clear & ~hidden] == 1).all(), "white: no error is counted"
        np.testing.assert_array_equal(guess[clear & ~hidden], truth[clear & ~hidden])
        np.testing.assert_array_equal(seen[clear & ~hidden], truth[clear & ~hidden])


def test_the_error_is_that_of_hidden_bands(guesses):
    r = guesses["s2"]
    masked = r.masked.copy()
    masked[:, :, 2:] = False  # as with tokens of their own for two groups of bands
    rows = panels(reconstructions({"s2": replace(r, masked=masked)}, 0), 0)
    apart = np.abs(r.prediction - r.target)[0]
    for t in range(4):
        clear, counts = r.valid[0, t], masked[0, t, 0] & r.valid[0, t]
        shown = unstriped(rows[3, t].images[0].get_array(), 6)
        wanted = ERRORS.to_rgba(apart[t, :2].mean(0))[..., :3]
        np.testing.assert_allclose(shown[counts], wanted[counts], atol=1e-6)
        assert (shown[clear & ~counts] == 1).all()


def test_dates_without_data_are_not_dated(guesses):
    rows = panels(reconstructions({"s2": guesses["s2"]}, 5), 0)  # three dates, padded to four
    shown = [axes.get_title() for axes in rows[0]]
    assert shown == ["10 Jan 20", "19 Feb 20", "30 Mar 20", "no data"]


def test_a_missing_modality_is_drawn_empty(guesses):
    rows = panels(reconstructions({"s1": guesses["s1"]}, 2), 0)
    assert [axes.get_title() for axes in rows[0]] == ["no data"] * 3
    assert stripes(rows[0, 0].images[0].get_array(), 6).all()


def test_gain_compares_the_model_with_trivial_guesses(scores):
    (axes,) = reconstruction_gain(scores).axes
    assert [t.get_text() for t in axes.get_legend().get_texts()] == [
        "model",
        "nearest date",
        "band mean",
        "zero",
    ]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert sorted(names) == ["all", "dem", "s1", "s2"] and names[0] == "all"
    points = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1]
    np.testing.assert_allclose(sorted(points), sorted(scores["l1"]))


METRICS = [
    {"epoch": e, "loss": 1 / e, "loss/s2": 1 / e, "loss/s1": 2 / e, "val_loss": 3 / e,
     "val_loss/s2": 3 / e, "val_loss/s1": 4 / e}
    for e in (1, 2, 3)
]  # fmt: skip


def test_losses_of_all_and_by_modality():
    left, right = loss_curves(METRICS, held_out="val").axes
    assert [line.get_label() for line in left.lines] == ["training", "val"]
    assert [line.get_label() for line in right.lines] == ["s2", "s1"]
    assert right.get_title() == "val, by modality"
    np.testing.assert_allclose(left.lines[1].get_ydata(), [3, 1.5, 1])
    np.testing.assert_allclose(right.lines[1].get_ydata(), [4, 2, 4 / 3])
    assert left.get_ylim()[0] == 0


def test_losses_without_held_out_samples():
    rows = [{k: v for k, v in row.items() if not k.startswith("val")} for row in METRICS]
    left, right = loss_curves(rows).axes
    assert [line.get_label() for line in left.lines] == ["training"]
    assert right.get_title() == "training, by modality"
    np.testing.assert_allclose(right.lines[0].get_ydata(), [1, 0.5, 1 / 3])


def test_one_epoch_shows_as_a_point():
    left, _ = loss_curves(METRICS[:1]).axes
    assert all(line.get_marker() == "o" for line in left.lines)
    assert all(line.get_marker() in ("", "None") for line in loss_curves(METRICS).axes[0].lines)


def test_losses_of_nothing_are_refused_and_of_no_modality_drawn():
    with pytest.raises(ParameterError, match="at least one row"):
        loss_curves([])
    assert not loss_curves([{"epoch": 1, "loss": 1.0}]).axes[1].lines


def test_probe_scores_stand_beside_their_baselines(heights):
    figure = probe_scores(heights, title="height")
    assert [axes.get_title() for axes in figure.axes] == ["linear probe", "kNN probe"]
    title, warning = figure.get_suptitle().splitlines()
    assert title == "height, 2 held-out blocks" and "intervals mean little" in warning
    for axes, method in zip(figure.axes, ("linear", "knn"), strict=True):
        for k, name in enumerate(("encoder", "medians")):
            score, low, high = heights.score(name, method)
            assert axes.texts[k].get_text() == f"{score:.2f}"
            np.testing.assert_allclose(axes.lines[2 * k].get_xdata(), [low, high])
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["encoder", "medians"]


@pytest.mark.parametrize("more", [(), ("logistic",)])
def test_titles_of_many_probes_do_not_touch(heights, more):
    methods = ("linear", "knn", *more, "linear_olmoearth", "knn_olmoearth")
    part = heights.scores[heights.scores["probe"] == "linear"]
    many = replace(heights, scores=pd.concat([part.assign(probe=m) for m in methods]))
    figure = probe_scores(many)
    titles = [axes.title for axes in figure.axes]
    assert titles[-1].get_text() == "kNN probe\n(OlmoEarth)"
    figure.draw_without_rendering()
    edges = [(t.get_window_extent().x0, t.get_window_extent().x1) for t in titles]
    assert all(left[1] < right[0] for left, right in pairwise(edges))
    assert edges[-1][1] < figure.bbox.x1
    ticks = [
        label.get_window_extent()
        for axes in figure.axes
        for label in axes.get_xticklabels()
        if axes.get_xlim()[0] <= label.get_position()[0] <= axes.get_xlim()[1]
    ]
    assert all(left.x1 < right.x0 for left, right in pairwise(ticks))


def test_no_score_is_minus_nothing(heights):
    scores = heights.scores.assign(score=-0.001)
    texts = [
        t.get_text() for a in probe_scores(replace(heights, scores=scores)).axes for t in a.texts
    ]
    assert set(texts) == {"0.00"}


def test_predictions_name_the_published_protocol(heights):
    key = ("encoder", "knn_olmoearth")
    predictions = {key: heights.predictions["encoder", "knn"]}
    (axes,) = predicted_and_true(replace(heights, predictions=predictions), *key).axes
    assert axes.get_title() == "encoder, kNN probe (OlmoEarth)"


def test_numbers_are_scattered_against_the_truth(heights):
    (axes,) = predicted_and_true(heights, "encoder", "knn", units="m").axes
    points = axes.collections[0].get_offsets()
    truth = heights.units.target[heights.units.split == "test"]
    np.testing.assert_allclose(points.T, [truth, heights.predictions["encoder", "knn"]])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("truth (m)", "predicted (m)")
    assert axes.get_title() == "encoder, kNN probe"


def test_classes_make_a_confusion_matrix(covers):
    (axes,) = predicted_and_true(covers, "encoder", classes=["water", "wood", "field"]).axes
    matrix = axes.images[0].get_array()
    names = [label.get_text() for label in axes.get_xticklabels()]
    truth = covers.units.target[covers.units.split == "test"]
    guess = covers.predictions["encoder", "linear"]
    for i, j in np.ndindex(matrix.shape):
        a, b = (["water", "wood", "field"].index(names[k]) for k in (i, j))
        here = truth == a
        assert matrix[i, j] == pytest.approx(((guess == b) & here).sum() / max(here.sum(), 1))


def test_ground_map_lays_windows_side_by_side(cube):
    numbers = np.arange(8.0)[:, None] + np.array([0, 0.1, 0.2, 0.3])
    found = ground_map(cube, np.arange(8), numbers, grid=2)
    assert found.shape == (4, 8)
    np.testing.assert_allclose(found[:2, :4], [[0, 0.1, 1, 1.1], [0.2, 0.3, 1.2, 1.3]])
    assert found[2, 0] == 4, "north is up"
    some = ground_map(cube, np.array([5]), numbers[:1, :, None], grid=2)
    assert some.shape == (4, 8, 1) and np.isfinite(some).sum() == 4


def test_ground_map_averages_the_samples_of_a_place(cube):
    twice = cube.isel(sample=[0, 0, 1])
    found = ground_map(twice, np.arange(3), np.array([[1.0], [3], [7]]), grid=1)
    np.testing.assert_allclose(found, [[2, 7]])


@pytest.mark.parametrize("spoil", ["window", "easting", "scattered"])
def test_no_map_where_windows_do_not_lie_side_by_side(cube, heights, spoil):
    spoilt = cube.copy()
    if spoil == "window":
        del spoilt.attrs["window"]
    elif spoil == "easting":
        spoilt = without(spoilt, "easting")
    else:
        spoilt = spoilt.assign(easting=spoilt["easting"] * 1.01)
    assert probe_map(heights, spoilt, SAMPLES, 3, features="encoder") is None
    assert embedding_map(spoilt, SAMPLES, np.random.default_rng(0).random((6, 9, 4)), 3) is None


def test_probe_map_shows_held_out_ground(cube, heights):
    figure = probe_map(heights, cube, SAMPLES, 3, features="encoder", label="height (m)")
    truth, predicted, error = (axes.images[0].get_array() for axes in figure.axes[:3])
    test = heights.units.split == "test"
    assert truth.shape == (6, 3), "two windows, one above the other"
    np.testing.assert_allclose(truth[:3].ravel(), heights.units.target[test][:9])
    np.testing.assert_allclose(predicted[3:].ravel(), heights.predictions["encoder", "linear"][9:])
    np.testing.assert_allclose(error, predicted - truth)
    assert figure.axes[3].get_ylabel() == "height (m)"


def test_no_probe_map_of_classes_or_of_whole_windows(cube, covers):
    assert probe_map(covers, cube, SAMPLES, 3, features="encoder") is None
    biomass = probed(cube, "biomass")
    assert probe_map(biomass, cube, SAMPLES, 3, features="encoder") is None
    assert probe_map(biomass, cube, SAMPLES, 1, features="encoder") is not None


def test_embedding_map_outlines_held_out_ground(cube):
    rng = np.random.default_rng(0)
    (axes,) = embedding_map(cube, SAMPLES, rng.random((6, 9, 4)), 3).axes
    assert axes.images[0].get_array().shape == (6, 12, 3)
    assert len(axes.collections) == 1
    train = np.array([0, 1, 4, 6])
    (axes,) = embedding_map(cube, train, rng.random((4, 9, 4)), 3).axes
    assert not axes.collections, "nothing to outline"


def test_maps_need_no_targets(cube):
    bare = only(cube, "s2", "dem")
    rng = np.random.default_rng(0)
    assert embedding_map(bare, SAMPLES, rng.random((6, 9, 4)), 3).axes
