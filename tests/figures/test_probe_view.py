"""Figures of the probe laboratory: what is drawn is what was computed."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from maestro_lab.cubes.splits import leakage_distances
from maestro_lab.errors import ParameterError
from maestro_lab.figures import class_score_bars, error_map, few_shot_curves, leakage_histogram
from maestro_lab.figures.style import page
from maestro_lab.training.class_scores import class_scores
from maestro_lab.training.few_shot import FewShot
from maestro_lab.training.units import TRIVIAL
from tests.figures.conftest import SAMPLES, probed


def made_shots(scores=(0.1, 0.5, 0.8)):
    told = ["features", "probe", "labels", "score", "low", "high"]
    rows = [(TRIVIAL, "", n, -0.1, -0.3, 0.0) for n in (5, 20, 90)]
    for name, less in (("medians", 0.1), ("encoder", 0.0)):
        for method in ("linear", "attentive"):
            rows += [
                (name, method, n, s - less, s - less - 0.2, s - less + 0.1)
                for n, s in zip((5, 20, 90), scores, strict=True)
            ]
    table = pd.DataFrame(rows, columns=told)
    runs = table.assign(seed=0)[[*told[:3], "seed", "score"]]
    return FewShot(table, runs, "r2", "biomass", 8, 3, "samples")


def words(figure):
    return [t.get_text() for legend in figure.legends for t in legend.get_texts()]


class TestFewShot:
    def test_each_probe_has_a_panel_with_all_features_and_the_trivial_answer(self):
        figure = few_shot_curves(made_shots())
        assert [a.get_title() for a in figure.axes] == ["linear probe", "attentive probe"]
        assert words(figure) == ["encoder", "medians", TRIVIAL]
        axes = figure.axes[0]
        curves = [line.get_ydata() for line in axes.lines if len(line.get_ydata()) == 3]
        np.testing.assert_allclose(curves, [[-0.1] * 3, [0.1, 0.5, 0.8], [0, 0.4, 0.7]], atol=1e-9)
        assert [t.get_text() for t in axes.get_xticklabels()] == ["90", "20", "5"]
        assert axes.get_xlabel() == "labelled training samples"
        assert figure.get_suptitle().startswith("biomass on 8 held-out blocks; 95 % intervals")

    def test_scores_far_below_zero_are_marked_at_the_edge(self):
        axes = few_shot_curves(made_shots((-30.0, 0.5, 0.8))).axes[0]
        assert axes.get_ylim()[0] > -2
        edge = [line for line in axes.lines if line.get_marker() == "v" and len(line.get_ydata())]
        assert len(edge) == 2
        assert all(y > axes.get_ylim()[0] for line in edge for y in line.get_ydata())
        assert words(axes.figure)[-1] == "goes on below"

    def test_a_single_number_of_labels(self):
        shots = made_shots()
        one = replace(shots, scores=shots.scores[shots.scores["labels"] == 20])
        assert few_shot_curves(one).axes[0].get_xscale() == "linear"


class TestClasses:
    def test_bars_intervals_and_the_trivial_answer_are_those_of_the_table(self, covers):
        table = class_scores(covers, "encoder", classes=["water", "wood", "field"], draws=9)
        axes = class_score_bars(table, title="cover").axes[0]
        mine, trivial = (table[table["features"] == n][::-1] for n in ("encoder", TRIVIAL))
        np.testing.assert_allclose([b.get_width() for b in axes.patches], mine["f1"])
        np.testing.assert_allclose(axes.lines[0].get_xdata(), trivial["f1"])
        shown = [t.get_text() for t in axes.get_yticklabels()]
        assert shown[-1] == f"{mine['class'].iloc[-1]}  ({mine['support'].iloc[-1]})"
        assert axes.get_xlim() == (0, 1)

    def test_numbers_have_units(self, heights):
        table = class_scores(heights, "encoder", draws=9)
        axes = class_score_bars(table, units="m").axes[0]
        assert axes.get_xlabel() == "mean absolute error (m)"

    def test_another_table_is_refused(self, covers):
        with pytest.raises(ParameterError, match="a table of class_scores"):
            class_score_bars(covers.scores)


def test_shares_of_windows_by_distance_sum_to_all(cube):
    found = leakage_distances(cube, draws=4)
    figure = leakage_histogram(found)
    data = figure.drawn.data
    assert data.groupby("split")["share"].sum().to_numpy() == pytest.approx([1, 1])
    stairs = figure.axes[0].patches[1].get_data()
    near = found.distances["metres"].to_numpy()
    np.testing.assert_allclose(stairs.values, 100 * np.histogram(near, stairs.edges)[0] / len(near))
    assert f"{len(near)} test windows" in figure.axes[0].get_title()
    assert "side of a window: 60 m" in words(figure)


def squares(axes):
    (found,) = axes.collections
    boxes = [path.get_extents() for path in found.get_paths()]
    return found, np.array([[b.x0, b.y0, b.x1, b.y1] for b in boxes])


class TestErrorMap:
    def options(self, cube):
        return {"cube": cube, "samples": SAMPLES, "grid": 3, "features": "encoder"}

    def test_wrong_pixels_of_classes(self, covers, cube):
        figure = error_map(covers, **self.options(cube), classes=["water", "wood", "field"])
        assert set(words(figure)) <= {"water", "wood", "field"}
        truth, predicted, wrong = figure.axes[:3]
        test = covers.units.split == "test"
        share = (covers.units.target[test] != covers.predictions["encoder", "linear"]).mean()
        assert wrong.get_title() == f"wrong: {100 * share:.0f} %"
        assert (truth.get_title(), predicted.get_title()) == ("truth", "predicted")
        found, boxes = squares(wrong)
        assert len(boxes) == test.sum()
        assert found.get_array().mean() == pytest.approx(share)
        np.testing.assert_allclose(boxes[:, 2] - boxes[:, 0], 1 / 3)

    def test_numbers_lie_row_by_row_from_the_north_west(self, heights, cube):
        figure = error_map(heights, **self.options(cube), label="height (m)")
        test = heights.units.split == "test"
        found, boxes = squares(figure.axes[0])
        np.testing.assert_allclose(found.get_array(), heights.units.target[test])
        first = boxes[heights.units.index[test][:, 0] == heights.units.index[test][0, 0]]
        assert first[0, 0] < first[1, 0] and first[0, 1] == pytest.approx(first[1, 1])
        assert first[0, 1] > first[3, 1], "rows go south"
        error, _ = squares(figure.axes[2])
        expected = heights.predictions["encoder", "linear"] - heights.units.target[test]
        np.testing.assert_allclose(error.get_array(), expected)

    def test_scattered_windows_are_points_with_their_mean_error(self, covers, cube):
        scattered = cube.copy()
        rng = np.random.default_rng(0)
        places = {n: ("sample", rng.uniform(0, 1e5, 8)) for n in ("easting", "northing")}
        scattered.dataset = cube.to_dataset().assign(places)
        figure = error_map(covers, **self.options(scattered))
        found, boxes = squares(figure.axes[0])
        test = covers.units.split == "test"
        assert len(boxes) == len(np.unique(covers.units.index[test][:, 0]))
        wrong = covers.units.target[test] != covers.predictions["encoder", "linear"]
        assert found.get_array().mean() == pytest.approx(wrong.mean())
        assert "a point for each window" in figure.get_suptitle()

    def test_whole_windows_and_narrow_columns(self, cube):
        for name in ("biomass", "height"):
            with page(3.25):
                figure = error_map(probed(cube, name), **self.options(cube))
            assert figure.get_figwidth() == 3.25

    def test_nowhere_is_no_map_and_no_predictions_are_told(self, covers, cube):
        nowhere = cube.copy()
        nowhere.dataset = cube.to_dataset().drop_vars(["easting", "northing"])
        assert error_map(covers, **self.options(nowhere)) is None
        with pytest.raises(ParameterError, match="'encoder' by 'knn'"):
            error_map(covers, **self.options(cube), method="attentive")
