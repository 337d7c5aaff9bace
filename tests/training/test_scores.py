"""Scores with known answers, and intervals that hold what they promise."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, r2_score

from maestro_lab.errors import ParameterError
from maestro_lab.models.heads import HeadConfig
from maestro_lab.training.metrics import TaskMetrics
from maestro_lab.training.scores import SCORES, bootstrap, bootstrap_difference

RNG = np.random.default_rng(0)


def test_r2_by_hand():
    r2 = SCORES["r2"]
    truth = np.array([0.0, 1, 2, 3])
    assert r2(truth, truth) == 1.0
    assert r2(truth, np.full(4, 1.5)) == 0.0
    assert r2(truth, truth[::-1]) == -3.0
    assert np.isnan(r2(np.ones(4), truth))


def test_r2_of_several_outputs_pools_their_variance():
    truth = RNG.normal(size=(50, 3)) * [1, 5, 0.1]
    predicted = truth + RNG.normal(size=(50, 3))
    expected = r2_score(truth, predicted, multioutput="variance_weighted")
    assert SCORES["r2"](truth, predicted) == pytest.approx(expected)


def test_macro_f1_is_the_mean_over_the_classes_that_occur():
    truth, predicted = RNG.integers(0, 4, 200), RNG.integers(0, 6, 200)
    expected = f1_score(truth, predicted, labels=np.unique(truth), average="macro")
    assert SCORES["macro_f1"](truth, predicted) == pytest.approx(expected)
    assert SCORES["macro_f1"](np.array([0, 0, 1]), np.array([0, 0, 0])) == pytest.approx(0.4)


def test_the_other_scores():
    truth = np.array([1, 2, 3, 4])
    assert SCORES["accuracy"](truth, np.array([1, 2, 0, 0])) == 0.5
    assert SCORES["negative_rmse"](truth, truth + np.array([1, -1, 1, -1])) == -1.0


def test_intervals_cover_the_true_score():
    """Accuracy 0.7 in blocks that are right or wrong together: 95 % intervals hold it mostly."""
    covered = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        block = np.repeat(np.arange(40), 5)
        right = np.repeat(rng.random(40) < 0.7, 5)
        score, low, high = bootstrap(
            "accuracy", np.ones(200), [right.astype(float)], block, draws=200, seed=seed
        )
        assert low <= score <= high
        covered += low <= 0.7 <= high
    assert 51 <= covered <= 60


def test_whole_blocks_are_resampled():
    truth = np.repeat(RNG.random(20) < 0.5, 10).astype(int)
    guess = np.where(np.repeat(RNG.random(20) < 0.6, 10), truth, 1 - truth)
    _, low, high = bootstrap("accuracy", truth, [guess], np.repeat(np.arange(20), 10), draws=300)
    _, low_alone, high_alone = bootstrap("accuracy", truth, [guess], np.arange(200), draws=300)
    assert high - low > 2 * (high_alone - low_alone)


def test_several_predictions_give_their_mean_score():
    truth = np.array([0, 1, 0, 1])
    assert bootstrap("accuracy", truth, [truth, 1 - truth], np.arange(4), draws=50) == (0.5,) * 3


def test_the_difference_of_equal_predictions_is_exactly_zero():
    truth = RNG.normal(size=30)
    guess = truth + RNG.normal(size=30)
    found = bootstrap_difference("r2", truth, [guess], [guess.copy()], np.arange(30) // 3)
    assert found == (0.0, 0.0, 0.0)


def test_a_difference_is_paired():
    """A small gain in every block is sure, however much the blocks differ."""
    block = np.repeat(np.arange(12), 5)
    truth = np.zeros(60)
    worse = np.repeat(RNG.uniform(1, 9, 12), 5)
    mean, low, high = bootstrap_difference(
        "negative_rmse", truth, [worse - 0.1], [worse], block, draws=200
    )
    assert 0 < low <= mean <= high < 0.2
    separate = [
        bootstrap("negative_rmse", truth, [p], block, draws=200) for p in (worse - 0.1, worse)
    ]
    assert separate[0][1] < separate[1][2], "unpaired intervals overlap"


def test_a_score_that_is_never_defined_has_no_interval():
    found = bootstrap("r2", np.ones(6), [np.zeros(6)], np.arange(6), draws=10)
    assert np.isnan(found).all()


def test_one_seed_gives_one_interval():
    truth, guess = np.random.default_rng(0).normal(size=(2, 40))  # no two scores are alike
    a, b, c = (bootstrap("r2", truth, [guess], np.arange(40), draws=50, seed=s) for s in (1, 1, 2))
    assert a == b != c


def test_average_iou_is_that_of_the_metrics():
    """Classes that are only guessed do not count; class 3 never occurs, 4 is never guessed."""
    rng = np.random.default_rng(1)
    truth = rng.choice([0, 1, 2, 4], (20, 6, 6))
    answers = rng.normal(size=(20, 5, 6, 6)) + 0.5 * (np.arange(5)[:, None, None] == truth[:, None])
    answers[:, 4] = -9
    metrics = TaskMetrics(HeadConfig("segmentation", 5, reference="s2", size=6))
    metrics.update(torch.from_numpy(answers), torch.from_numpy(truth))
    found = SCORES["average_iou"](truth.ravel(), answers.argmax(1).ravel())
    assert 0 < found == pytest.approx(metrics.compute()["average_iou"], rel=1e-12)
    assert (
        SCORES["average_iou"](np.array([0, 0, 1, 1]), np.array([0, 1, 1, 2])) == (1 / 2 + 1 / 3) / 2
    )


def test_weighted_f1_is_that_of_the_metrics():
    """Label 3 is neither there nor guessed, 4 only there, 5 only guessed."""
    rng = np.random.default_rng(2)
    truth = (rng.random((60, 6)) < [0.2, 0.5, 0.9, 0, 0.3, 0]).astype(int)
    answers = rng.normal(size=(60, 6)) + np.array([0, 0, 1, -99, -99, 0])
    metrics = TaskMetrics(HeadConfig("multilabel", 6))
    metrics.update(torch.from_numpy(answers), torch.from_numpy(truth))
    found = SCORES["weighted_f1"](truth, (answers > 0).astype(int))
    assert 0 < found == pytest.approx(metrics.compute()["weighted_f1"], rel=1e-12)
    assert np.isnan(SCORES["weighted_f1"](np.zeros((4, 2), int), np.ones((4, 2), int)))


def several(spread, runs=6, seed=0):
    """Numbers of 30 blocks and predictions of runs that differ by ``spread``."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=60)
    noise = rng.normal(size=60)
    return truth, [truth + noise + spread * k for k in range(runs)], np.arange(60) // 2


@pytest.mark.parametrize("spread", [0.0, 0.4])
def test_runs_that_differ_widen_the_interval_and_equal_ones_keep_it(spread):
    truth, predictions, block = several(spread)
    plain = bootstrap("r2", truth, predictions, block, draws=300)
    both = bootstrap("r2", truth, predictions, block, draws=300, runs=True)
    assert both[0] == plain[0], "the score is the same"
    if spread:
        assert both[2] - both[1] > 1.3 * (plain[2] - plain[1])
    else:
        assert both == plain


def test_runs_of_a_difference_are_drawn_in_pairs():
    """Seeds differ much, and each gains the same: paired, that is sure."""
    truth, predictions, block = several(0.4)
    better = [truth + 0.9 * (p - truth) for p in predictions]
    found = bootstrap_difference(
        "negative_rmse", truth, better, predictions, block, draws=200, runs=True
    )
    assert 0 < found[1] <= found[0] <= found[2]
    shuffled = [better[(k + 3) % 6] for k in range(6)]
    other = bootstrap_difference(
        "negative_rmse", truth, shuffled, predictions, block, draws=200, runs=True
    )
    assert other[0] == pytest.approx(found[0])
    assert other[2] - other[1] > 2 * (found[2] - found[1])
    with pytest.raises(ParameterError, match=r"runs in pairs(.|\n)*6 of each(.|\n)*5 of the other"):
        bootstrap_difference("r2", truth, better, predictions[:5], block, runs=True)
    free = bootstrap_difference("r2", truth, better, predictions[:5], block, draws=5)
    assert np.isfinite(free).all(), "scores of blocks alone need no pairs"
