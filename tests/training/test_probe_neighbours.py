"""OlmoEarth's nearest neighbours, by sums written out anew and by recorded scores."""

import math

import numpy as np
import pytest
from safetensors.numpy import load_file

from maestro_lab.training.protocols import predict_by_neighbours
from tests.training.probe_units import made_cloud, made_units, parts


def neighbours(rows, split, k=20):
    """Yield for each test unit its nearest training units and their weights, one by one."""
    rows = [[float(v) for v in row] for row in rows]
    lengths = [math.sqrt(sum(v * v for v in row)) for row in rows]
    for i in np.flatnonzero(split == "test"):
        near = []
        for j in np.flatnonzero(split == "train"):
            dot = sum(a * b for a, b in zip(rows[i], rows[j], strict=True))
            near.append((dot / lengths[i] / lengths[j], j))
        yield [(math.exp(s / 0.07), j) for s, j in sorted(near, reverse=True)[:k]]


@pytest.fixture(scope="module")
def cloud():
    return made_cloud()


class TestNeighbours:
    def test_numbers_are_means_weighted_by_similarity(self, cloud):
        rows, number, _, _, split = cloud
        wanted = [
            sum(w * number[j] for w, j in near) / sum(w for w, _ in near)
            for near in neighbours(rows, split)
        ]
        found = predict_by_neighbours(rows, made_units(number, split))
        np.testing.assert_allclose(found, wanted, rtol=1e-9)

    def test_several_numbers_are_averaged_each_by_itself(self, cloud):
        rows, number, _, _, split = cloud
        both = predict_by_neighbours(rows, made_units(np.stack([number, -2 * number], 1), split))
        alone = predict_by_neighbours(rows, made_units(number, split))
        np.testing.assert_allclose(both, np.stack([alone, -2 * alone], 1))

    def test_the_class_with_most_weight_wins(self, cloud):
        rows, _, classes, _, split = cloud
        wanted = []
        for near in neighbours(rows, split):
            votes = dict.fromkeys((10, 20, 30), 0.0)
            for weight, j in near:
                votes[classes[j]] += weight
            wanted.append(max(votes, key=votes.get))
        found = predict_by_neighbours(rows, made_units(classes, split, "classification"))
        assert found.tolist() == wanted
        assert len(set(wanted)) == 3

    def test_each_of_several_labels_is_a_vote_of_its_own(self, cloud):
        rows, _, _, labels, split = cloud
        wanted = [
            [sum(w if labels[j, k] else -w for w, j in near) > 0 for k in (0, 1)]
            for near in neighbours(rows, split)
        ]
        found = predict_by_neighbours(rows, made_units(labels, split, "classification"))
        np.testing.assert_array_equal(found, np.array(wanted, int))
        assert found.dtype == labels.dtype

    def test_fewer_training_units_than_neighbours_vote_all(self, cloud):
        rows, number, _, _, split = cloud
        keep = np.r_[:7, 50:100]
        rows, number, split = rows[keep], number[keep], split[keep]
        wanted = [
            sum(w * number[j] for w, j in near) / sum(w for w, _ in near)
            for near in neighbours(rows, split, k=7)
        ]
        found = predict_by_neighbours(rows, made_units(number, split))
        np.testing.assert_allclose(found, wanted, rtol=1e-9)

    def test_gaps_are_filled_with_the_mean_of_training_units(self, cloud):
        rows, number, _, _, split = cloud
        gappy = rows.copy()
        gappy[3, 1] = gappy[90] = np.nan
        mean = np.nanmean(gappy[split == "train"], 0)
        filled = np.where(np.isnan(gappy), mean, gappy)
        assert not np.isclose(mean, np.nanmean(gappy, 0)).any()
        target = made_units(number, split)
        np.testing.assert_allclose(
            predict_by_neighbours(gappy, target), predict_by_neighbours(filled, target)
        )

    def test_features_that_are_all_zero_or_missing_are_near_to_nothing(self):
        rows = np.full((8, 3), np.nan)
        found = predict_by_neighbours(rows, made_units(np.arange(8.0), parts(train=6, test=2)))
        assert found.tolist() == [2.5, 2.5]

    def test_recorded_scores(self, shared):
        file = shared / "fixtures" / "olmoearth" / "components" / "knn.safetensors"
        if not file.is_file():
            pytest.skip("the shared folder has no oracles of OlmoEarth")
        case = load_file(file)
        rows = np.concatenate([case["train_x"], case["test_x"]])
        split = parts(train=len(case["train_x"]), test=len(case["test_x"]))
        classes = np.concatenate([case["train_y"], case["test_y"]])
        found = predict_by_neighbours(rows, made_units(classes, split, "classification"))
        assert found.tolist() == case["pred_k20"].tolist()
        shares = predict_by_neighbours(rows, made_units(np.eye(5)[classes], split))
        np.testing.assert_allclose(shares, case["scores_k20"], atol=2e-6)
