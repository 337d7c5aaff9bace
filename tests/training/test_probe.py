"""Probes: right answers on constructed features, cross-validation in blocks, honest comparison."""

import numpy as np
import pytest

from maestro_lab.errors import ParameterError
from maestro_lab.training import protocols
from maestro_lab.training.probe import probe, units
from maestro_lab.training.protocols import predict_by_linear_head
from tests.training.probe_units import made_units, parts


def ground(seed=0, places=40, locations=9, width=6):
    """Features that hold a target linearly, in 20 blocks of two places; half train, half test."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(places, locations, width))
    block = np.arange(places) // 2
    split = np.where(block % 2, "test", "train")
    return features, features[..., 0] + 0.1 * rng.normal(size=(places, locations)), split, block


class TestUnits:
    def test_rows_of_features_and_targets_belong_together(self):
        features, target, split, block = ground()
        known, arrange = units(target, split=split, block=block)
        assert known.target.shape == (40 * 9,)
        np.testing.assert_array_equal(arrange(features)[17], features[1, 8])
        np.testing.assert_array_equal(known.index[17], [1, 8])

    def test_samples_of_a_place_are_averaged(self):
        target = np.array([[1.0], [3.0], [5.0]])
        known, arrange = units(
            target,
            split=np.array(["train", "train", "test"]),
            block=np.array([0, 0, 1]),
            place=np.array([7, 7, 8]),
        )
        assert known.target.tolist() == [2.0, 5.0]
        assert arrange(target[..., None])[:, 0].tolist() == [2.0, 5.0]

    def test_missing_targets_and_other_splits_are_left_out(self):
        target = np.array([[1.0, np.nan], [2.0, 3.0], [4.0, 5.0]])
        known, arrange = units(
            target, split=np.array(["train", "buffer", "test"]), block=np.arange(3)
        )
        assert known.target.tolist() == [1.0, 4.0, 5.0]
        assert arrange(np.zeros((3, 2, 4))).shape == (3, 4)

    def test_no_test_unit_is_refused(self):
        with pytest.raises(ParameterError, match="split 'test'"):
            units(np.ones((2, 1)), split=np.array(["train", "train"]), block=np.arange(2))


class TestProbe:
    def test_features_that_hold_the_target_score_high_and_noise_scores_nothing(self):
        features, target, split, block = ground()
        noise = np.random.default_rng(9).normal(size=features.shape)
        known, rows = units(target, split=split, block=block)
        result = probe(
            {"good": rows(features), "noise": rows(noise)}, known, compare=[("good", "noise")]
        )
        assert result.score("good", "linear")[0] > 0.95
        assert result.score("noise", "linear")[0] < 0.05
        assert (result.differences["low"] > 0.3).all()

    def test_the_penalty_is_chosen_by_what_it_does_to_other_blocks(self):
        """As many useless features as units, and a noisy target: no penalty would overfit."""
        rng = np.random.default_rng(0)
        features, target, split, block = ground(places=80, locations=1)
        target += rng.normal(size=target.shape)
        wide = np.concatenate([features, rng.normal(size=(80, 1, 34))], -1)
        known, rows = units(target, split=split, block=block)
        result = probe({"wide": rows(wide)}, known, methods=["linear"])
        assert float(result.chosen["wide", "linear"].split()[1]) >= 1
        assert result.score("wide", "linear")[0] > 0

    def test_intervals_resample_blocks_and_not_units(self):
        """A target that differs between blocks only: ten blocks are the evidence."""
        rng = np.random.default_rng(1)
        _, _, split, block = ground()
        target = rng.normal(size=20)[block][:, None] + np.zeros((40, 9))
        features = (target + rng.normal(size=20)[block][:, None])[..., None]
        whole, rows = units(target, split=split, block=block)
        apart, _ = units(target, split=split, block=np.arange(40))
        widths = []
        for known in (whole, apart):
            _, low, high = probe({"f": rows(features)}, known, methods=["linear"]).score(
                "f", "linear"
            )
            widths.append(high - low)
        assert widths[0] > widths[1]

    def test_several_draws_of_one_thing_are_scored_by_their_mean(self):
        features, target, split, block = ground()
        known, rows = units(target, split=split, block=block)
        a, b = rows(features), rows(features[..., ::-1] + 1)
        scores = [
            probe({"f": given}, known, methods=["linear"], draws=10).score("f", "linear")[0]
            for given in (a, b[:, 1:] * 0 + 1, [a, b[:, 1:] * 0 + 1])
        ]
        assert scores[2] == pytest.approx((scores[0] + scores[1]) / 2, abs=1e-6)

    @pytest.mark.parametrize("method", ["linear", "knn", "logistic"])
    def test_classes_that_lie_apart_are_told_apart(self, method):
        features, _, split, block = ground()
        labels = (features[..., 0] > 0).astype(int) + (features[..., 1] > 1)
        known, rows = units(labels, split=split, block=block, task="classification")
        only = rows(features[..., :2] * 3)
        result = probe({"f": only}, known, methods=[method], draws=50)
        assert result.metric == "macro_f1"
        assert result.score("f", method)[0] > 0.6

    def test_rare_classes_count_as_much_as_common_ones(self):
        rng = np.random.default_rng(3)
        _, _, split, block = ground()
        labels = (rng.random((40, 9)) < 0.1).astype(int)
        features = (labels + 0.7 * rng.normal(size=labels.shape))[..., None]
        known, rows = units(labels, split=split, block=block, task="classification")
        result = probe({"f": rows(features)}, known, methods=["linear"], draws=10)
        guessed = result.predictions["f", "linear"]
        found = guessed[known.target[known.split == "test"] == 1]
        assert found.mean() > 0.5

    def test_features_with_gaps_are_filled_in(self):
        features, target, split, block = ground()
        features[:5] = np.nan
        known, rows = units(target, split=split, block=block)
        assert np.isfinite(probe({"f": rows(features)}, known, draws=10).score("f", "linear")[0])

    def test_fractions_are_predicted_together(self):
        features, target, split, block = ground(locations=1)
        both = np.stack([target, -target], -1)
        known, rows = units(both, split=split, block=block)
        result = probe({"f": rows(features)}, known, methods=["linear"], draws=10)
        assert result.predictions["f", "linear"].shape == (20, 2)
        assert result.score("f", "linear")[0] > 0.7

    @pytest.mark.parametrize(
        ("task", "method"), [("regression", "logistic"), ("regression", "forest")]
    )
    def test_an_unknown_probe_is_refused_with_those_there_are(self, task, method):
        features, target, split, block = ground(places=8)
        known, rows = units(target, split=split, block=block, task=task)
        with pytest.raises(ParameterError, match=r"linear \| knn"):
            probe({"f": rows(features)}, known, methods=[method])


METHODS = ["linear", "knn", "linear_olmoearth", "knn_olmoearth"]


class TestPublishedProtocols:
    def ground(self):
        rng = np.random.default_rng(0)
        features = rng.normal(size=(50, 4, 3))
        target = features[..., 0] + 0.1 * rng.normal(size=(50, 4))
        split = np.array(["train", "train", "test", "val", "buffer"])[np.arange(50) // 2 % 5]
        return features, target, split, np.arange(50) // 2

    def test_one_table_of_all(self):
        features, target, split, block = self.ground()
        known, rows = units(target, split=split, block=block)
        tables = {"good": rows(features), "noise": [rows(features[::-1]), rows(features[:, ::-1])]}
        result = probe(tables, known, methods=METHODS, compare=[("good", "noise")], draws=20)
        assert result.scores["probe"].tolist() == METHODS * 2
        assert result.scores["units"].eq((split == "test").sum() * 4).all()
        assert (result.differences["low"] > 0).all()
        assert result.score("good", "linear_olmoearth")[0] > 0.95
        _, rate = predict_by_linear_head(rows(features), known, metric="r2")
        assert result.chosen["good", "linear_olmoearth"] == f"lr {rate:g}"
        assert result.chosen["good", "knn_olmoearth"] == ""

    def test_the_seed_and_the_metric_are_handed_on(self, monkeypatch):
        seen = []

        def spy(rows, target, *, metric, seed):
            seen.append((metric, seed))
            return target.target[target.split == "test"], 0.1

        monkeypatch.setattr(protocols, "predict_by_linear_head", spy)
        features, target, split, block = self.ground()
        known, rows = units(target, split=split, block=block)
        options = {"methods": ["linear_olmoearth"], "draws": 5}
        probe({"f": rows(features)}, known, seed=4, metric="negative_rmse", **options)
        assert seen == [("negative_rmse", 4)]

    def test_validation_units_are_kept_and_the_other_probes_do_not_look_at_them(self):
        features, target, split, block = self.ground()
        result, without = (
            probe({"f": rows(features)}, these, methods=METHODS, draws=5).predictions
            for these, rows in (
                units(target, split=s, block=block)
                for s in (split, np.where(split == "val", "buffer", split))
            )
        )
        for method in ("linear", "knn", "knn_olmoearth"):
            np.testing.assert_array_equal(result["f", method], without["f", method])
        assert (result["f", "linear_olmoearth"] != without["f", "linear_olmoearth"]).any()

    def test_validation_units_do_not_make_up_for_training_units(self):
        target = made_units(np.arange(20.0), parts(train=3, val=10, test=7))
        with pytest.raises(ParameterError, match="found:    3"):
            probe({"f": np.zeros((20, 2))}, target)

    def test_several_labels_are_scored_by_how_often_each_is_there(self):
        rng = np.random.default_rng(0)
        features = rng.normal(size=(60, 1, 3))
        labels = np.stack([features[..., 0] > 0, features[..., 1] > 1], -1).astype(int)
        split = np.where(np.arange(60) % 2, "test", "train")
        known, rows = units(labels, split=split, block=np.arange(60), task="classification")
        result = probe({"f": rows(features)}, known, methods=METHODS[2:], draws=5)
        assert result.metric == "weighted_f1"
        assert (result.scores["score"] > 0.5).all()

    @pytest.mark.parametrize("task", ["regression", "classification"])
    def test_an_unknown_probe_is_told_of_them(self, task):
        target = made_units(np.arange(20) % 2, parts(train=10, test=10), task)
        with pytest.raises(ParameterError, match=r"linear_olmoearth \| knn_olmoearth"):
            probe({"f": np.zeros((20, 2))}, target, methods=["knn_published"])
