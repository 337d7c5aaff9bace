"""Few labels: which ones, that all features see the same, and how scores are put together."""

import numpy as np
import pytest

from maestro_lab.errors import ParameterError
from maestro_lab.training.few_shot import few_shot_scores, label_order
from maestro_lab.training.probe import fit_probe, probe, units
from maestro_lab.training.scores import bootstrap
from maestro_lab.training.units import TRIVIAL
from maestro_lab.workflow import PRETRAINED, Features, few_shot, probe_target
from tests.batches.cubes import small_cube
from tests.training.probe_units import made_units, parts


def ground(places=80, locations=1, width=5, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(places, locations, width))
    target = features[..., 0] + 0.3 * rng.normal(size=(places, locations))
    block = np.arange(places) // 4
    split = np.where(block % 2, "test", "train").astype(object)
    split[:4] = "val"
    return features, target, split, block


class TestOrder:
    def test_all_training_units_once_and_another_seed_another_order(self):
        _, target, split, block = ground()
        known, _ = units(target, split=split, block=block)
        orders = [label_order(known, seed) for seed in (0, 0, 1)]
        np.testing.assert_array_equal(orders[0], orders[1])
        assert (orders[0] != orders[2]).any()
        np.testing.assert_array_equal(np.sort(orders[2]), np.flatnonzero(known.split == "train"))

    def test_blocks_take_turns(self):
        target = made_units(np.zeros(30), parts(train=24, test=6), block=np.repeat(range(10), 3))
        for seed in range(5):
            order = label_order(target, seed)
            assert len(set(target.block[order[:8]])) == 8
            assert len(set(target.block[order[8:16]])) == 8

    def test_each_class_has_one_label_first_and_then_its_share(self):
        classes = np.repeat([5, 6, 7], [60, 30, 2])
        target = made_units(np.append(classes, 5), parts(train=92, test=1), "classification")
        order = label_order(target, 3)
        assert sorted(target.target[order[:3]]) == [5, 6, 7]
        counts = [np.sum(target.target[order[:33]] == c) for c in (5, 6, 7)]
        assert counts == [21, 11, 1]

    def test_label_sets_are_spread_like_classes(self):
        labels = np.array([[0, 1], [1, 0]])[np.repeat([0, 1], [40, 8])]
        target = made_units(
            np.append(labels, [[0, 1]], 0), parts(train=48, test=1), "classification"
        )
        first = target.target[label_order(target, 0)[:2]]
        assert sorted(first.tolist()) == [[0, 1], [1, 0]]


class TestScores:
    def test_every_curve_has_every_number_of_labels_and_all(self):
        features, target, split, block = ground()
        known, _ = units(target, split=split, block=block)
        found = few_shot_scores(
            {"good": features, "noise": [features[::-1], features[:, :, ::-1]]},
            known, shots=(4, 8, 500), seeds=2, draws=20, name="height",
        )  # fmt: skip
        assert found.metric == "r2"
        assert (found.target, found.blocks, found.seeds, found.counted) == (
            "height",
            10,
            2,
            "samples",
        )
        table = found.scores.groupby(["features", "probe"])["labels"].apply(list)
        assert len(table) == 5
        assert all(labels == [4, 8, 36] for labels in table), "validation units are no labels"
        score = found.scores.set_index(["features", "probe", "labels"])["score"]
        assert score["good", "linear", 36] > 0.7
        assert score["good", "linear", 36] > score["good", "linear", 4]
        assert (score[TRIVIAL] <= 0).all()
        told = found.scores
        assert (told["low"] <= told["high"]).all()
        assert len(found.runs) == 5 * 3 * 2

    def test_with_all_labels_it_is_the_probe(self):
        features, target, split, block = ground(locations=3)
        known, _ = units(target, split=split, block=block)
        found = few_shot_scores({"f": features}, known, shots=(), seeds=1, draws=5)
        alone = probe({"f": features}, known, draws=5)
        scores = found.scores[found.scores["features"] == "f"].set_index("probe")["score"]
        for method in ("linear", "knn"):
            assert scores[method] == pytest.approx(alone.score("f", method)[0])
        assert found.counted == "locations"

    def test_intervals_are_those_of_blocks_and_seeds_together(self):
        features, target, split, block = ground()
        known, _ = units(target, split=split, block=block)
        found = few_shot_scores(
            {"f": features}, known, shots=(6,), methods=["linear"], seeds=3, draws=50
        )
        several = []
        for seed in range(3):
            some = np.where(known.split == "test", "test", "other")
            some[label_order(known, seed)[:6]] = "train"
            few = type(known)(known.target, some, known.block, known.index, known.task)
            several.append(fit_probe("linear", features, few, "r2", seed)[0])
        test = known.split == "test"
        expected = bootstrap(
            "r2", known.target[test], several, known.block[test], draws=50, runs=True
        )
        row = found.scores[(found.scores["features"] == "f") & (found.scores["labels"] == 6)]
        assert row[["score", "low", "high"]].to_numpy()[0] == pytest.approx(expected)

    def test_the_trivial_answer_is_the_most_frequent_class_of_the_labels(self):
        features, target, split, block = ground()
        known, _ = units(
            (target > -0.5).astype(int), split=split, block=block, task="classification"
        )
        found = few_shot_scores(
            {"f": features}, known, shots=(10,), methods=["attentive"], seeds=1, draws=5,
            metric="accuracy",
        )  # fmt: skip
        trivial = found.scores[found.scores["features"] == TRIVIAL]["score"]
        share = known.target[known.split == "test"].mean()
        assert trivial.to_numpy() == pytest.approx([share, share])
        attentive = found.scores[found.scores["probe"] == "attentive"]["score"]
        assert attentive.iloc[-1] > share

    @pytest.mark.parametrize(
        ("options", "message"),
        [({"shots": (1, 5)}, "4 or more"), ({"seeds": 0}, "at least 1 choice of labels")],
    )
    def test_impossible_options_are_refused(self, options, message):
        features, target, split, block = ground()
        known, _ = units(target, split=split, block=block)
        with pytest.raises(ParameterError, match=message):
            few_shot_scores({"f": features}, known, **options)


class TestOfACube:
    @pytest.fixture
    def cube(self):
        cube = small_cube()
        split = np.repeat(["train", "train", "train", "test"], 2).astype(object)
        places = {"place": np.arange(8) // 2 * 2, "split": split}
        cube.dataset = cube.to_dataset().assign({n: ("sample", v) for n, v in places.items()})
        return cube

    @pytest.fixture
    def found(self):
        rng = np.random.default_rng(0)
        tables = {n: [rng.normal(size=(8, 9, 3))] for n in ("seasonal medians", PRETRAINED)}
        return Features(tables, np.arange(8), 3)

    @pytest.mark.parametrize("target", ["height", "cover"])
    def test_all_probes_and_averaged_places_of_either_kind_of_target(self, found, cube, target):
        options = {"methods": ["linear", "knn", "attentive"], "draws": 5}
        result, _ = probe_target(found, cube, target, **options)
        assert len(result.scores) == 6
        averaged, _ = probe_target(found, cube, target, average_places=True, **options)
        assert averaged.units.index[:, 0].max() == 3
        shape = (averaged.units.split == "test").sum()
        assert len(averaged.predictions[PRETRAINED, "attentive"]) == shape

    def test_few_labels_of_a_cube(self, found, cube):
        curves = few_shot(found, cube, "height", shots=(4, 9), methods=["knn"], seeds=2, draws=5)
        assert (curves.target, curves.counted, curves.blocks) == ("height", "locations", 1)
        assert set(curves.scores["labels"]) == {4, 9, curves.scores["labels"].max()}
