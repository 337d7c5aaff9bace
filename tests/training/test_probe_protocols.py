"""OlmoEarth's linear probe does what it says: rates, descent, choice, units held back."""

import math

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from maestro_lab.errors import ParameterError, TrainingError
from maestro_lab.training import protocols
from maestro_lab.training.protocols import (
    RATES,
    held_back,
    predict_by_linear_head,
    predict_by_neighbours,
    probe_rate,
)
from maestro_lab.training.scores import SCORES
from tests.training.probe_units import made_cloud, made_units, parts


@pytest.fixture(scope="module")
def cloud():
    return made_cloud()


class TestRates:
    def test_by_hand(self):
        found = [probe_rate(e, 0.1) for e in (0, 1, 4.5, 5, 20, 27.5, 50)]
        wanted = [0, 0.02, 0.09, 0.1, 0.75 * 0.1 + 0.25e-5, 0.5 * 0.1 + 0.5e-5, 1e-5]
        assert found == pytest.approx(wanted, rel=1e-12, abs=1e-15)

    @pytest.mark.parametrize("peak", RATES)
    def test_it_rises_and_then_falls(self, peak):
        rates = [probe_rate(e / 4, peak) for e in range(201)]
        assert max(rates) == rates[20] == peak
        assert rates[:21] == sorted(rates[:21]) and rates[20:] == sorted(rates[20:], reverse=True)

    def test_recorded_rates(self, shared):
        file = shared / "fixtures" / "olmoearth" / "components" / "probe_lr.safetensors"
        if not file.is_file():
            pytest.skip("the shared folder has no oracles of OlmoEarth")
        wanted = load_file(file)["lr_epoch_quarter_steps"]
        found = [probe_rate(e / 4, 0.1) for e in range(len(wanted))]
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def by_hand(rows, target, rate, seed):
    """Train one head on training units, all in one batch, in float64; return numbers of all.

    Decoupled weight decay of 0.01, moments with 0.9 and 0.999, and statistics of batches that are
    averaged with momentum 0.1, written out.
    """
    train = target.split == "train"
    x, y = torch.from_numpy(rows[train]), torch.from_numpy(target.target[train])
    n, width = x.shape
    generator, bound = torch.Generator().manual_seed(seed), width**-0.5
    weight, bias = (
        torch.empty(s).uniform_(-bound, bound, generator=generator).double() for s in (width, 1)
    )
    theta = [torch.ones(width).double(), torch.zeros(width).double(), weight, bias]
    first, second = ([torch.zeros_like(p) for p in theta] for _ in range(2))
    mean, variance = x.mean(0), x.var(0, correction=0)
    z = (x - mean) / (variance + 1e-5).sqrt()
    wanted = (y - y.mean()) / y.std(correction=0)
    for t in range(1, 51):
        warm, share = (t - 1) / 5, (t - 6) / 45
        lr = (
            rate * warm
            if warm < 1
            else 1e-5 + (rate - 1e-5) * 0.5 * (1 + math.cos(share * math.pi))
        )
        scale, shift, weight, bias = (p.clone().requires_grad_() for p in theta)
        loss = (((z * scale + shift) @ weight + bias - wanted) ** 2).mean()
        gradients = torch.autograd.grad(loss, [scale, shift, weight, bias])
        for k, g in enumerate(gradients):
            first[k] = 0.9 * first[k] + 0.1 * g
            second[k] = 0.999 * second[k] + 0.001 * g**2
            move = first[k] / (1 - 0.9**t) / ((second[k] / (1 - 0.999**t)).sqrt() + 1e-8)
            theta[k] = theta[k] * (1 - lr * 0.01) - lr * move
    left = 0.9**50
    mean, variance = mean * (1 - left), variance * n / (n - 1) * (1 - left) + left
    z = (torch.from_numpy(rows) - mean) / (variance + 1e-5).sqrt()
    scale, shift, weight, bias = theta
    return (((z * scale + shift) @ weight + bias) * y.std(correction=0) + y.mean()).numpy()


def line(seed=0, width=4, noise=0.5, **counts):
    """Numbers far from 0 that are linear in features, but for noise; by default 100 train."""
    rng = np.random.default_rng(seed)
    split = parts(**(counts or {"train": 100, "val": 40, "test": 30}))
    rows = rng.normal(size=(len(split), width)) * 3 + 1
    number = 1000 + rows @ rng.normal(size=width) + noise * rng.normal(size=len(split))
    return rows, made_units(number, split)


def only(monkeypatch, *rates):
    monkeypatch.setattr(protocols, "RATES", rates)


def r2(truth, predicted):
    return 1 - ((truth - predicted) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()


class TestDescent:
    def test_each_rate_is_trained_as_written_out_and_the_best_on_validation_counts(
        self, monkeypatch
    ):
        rows, target = line()
        test, val = target.split == "test", target.split == "val"
        scores = {}
        for rate in RATES:
            only(monkeypatch, rate)
            found, chosen = predict_by_linear_head(rows, target, metric="r2", seed=3)
            wanted = by_hand(rows, target, rate, seed=3)
            assert chosen == rate
            np.testing.assert_allclose(found, wanted[test], atol=2e-5 * target.target.std())
            scores[rate] = r2(target.target[val], wanted[val]), found
        only(monkeypatch, *RATES)
        found, chosen = predict_by_linear_head(rows, target, metric="r2", seed=3)
        assert chosen == max(scores, key=lambda rate: scores[rate][0])
        np.testing.assert_array_equal(found, scores[chosen][1])

    def test_validation_and_not_training_or_test_units_choose(self):
        """A target that follows the features in some units and runs against them in others."""
        rng = np.random.default_rng(0)
        rows, split = rng.normal(size=(300, 2)), parts(train=100, val=100, test=100)
        for other in ("val", "test"):
            number = np.where(split == other, -rows[:, 0], rows[:, 0])
            _, chosen = predict_by_linear_head(rows, made_units(number, split), metric="r2")
            assert (chosen < 0.01) == (other == "val")

    def test_only_one_rate_goes_far_enough(self, monkeypatch):
        """What matters is the small difference of two features: weights must become large."""
        rng = np.random.default_rng(1)
        split = parts(train=100, val=50, test=50)
        alike, apart = rng.normal(size=(2, 200))
        rows = np.stack([alike + 0.1 * apart, alike - 0.1 * apart], 1)
        target, test = made_units(apart, split), split == "test"
        found, chosen = predict_by_linear_head(rows, target, metric="r2")
        assert chosen == RATES[-1]
        assert r2(apart[test], found) > 0.9
        only(monkeypatch, *RATES[:-1])
        found, _ = predict_by_linear_head(rows, target, metric="r2")
        assert r2(apart[test], found) < 0.5

    @pytest.mark.parametrize("count", [129, 257])
    def test_batches_are_of_about_one_size(self, count):
        rows, target = line(noise=0.1, train=count, val=40, test=30)
        found, _ = predict_by_linear_head(rows, target, metric="r2")
        assert r2(target.target[target.split == "test"], found) > 0.99

    def test_classes_keep_their_names(self, cloud):
        rows, _, classes, _, _ = cloud
        split = parts(train=400, val=100, test=140)
        found, _ = predict_by_linear_head(
            rows, made_units(classes, split, "classification"), metric="accuracy"
        )
        test = split == "test"
        assert (found == classes[test]).mean() > 0.85
        assert set(found) == {10, 20, 30}

    def test_several_labels_are_learnt_each_by_itself(self, cloud):
        rows, _, _, labels, _ = cloud
        split = parts(train=400, val=100, test=140)
        target = made_units(labels, split, "classification")
        found, _ = predict_by_linear_head(rows, target, metric="weighted_f1")
        assert ((found == labels[split == "test"]).mean(0) > 0.95).all()
        assert found.dtype == labels.dtype

    def test_several_numbers_have_each_their_range(self):
        rows, target = line(noise=0.1)
        both = made_units(np.stack([target.target, 1e-3 * rows[:, 0]], 1), target.split)
        found, _ = predict_by_linear_head(rows, both, metric="r2")
        truth = both.target[both.split == "test"]
        assert [r2(truth[:, k], found[:, k]) > 0.99 for k in (0, 1)] == [True, True]

    def test_the_metric_that_is_asked_for_chooses(self, monkeypatch):
        """One class in ten: the best accuracy and the best macro F1 are of different rates."""
        rng = np.random.default_rng(5)
        classes = (rng.random(700) < 0.12).astype(int)
        rows = np.concatenate([classes[:, None], rng.normal(size=(700, 40))], 1)
        rows[:, 0] += rng.normal(size=700)
        target = made_units(classes, parts(train=100, val=300, test=300), "classification")
        flipped = made_units(classes, parts(train=100, test=300, val=300), "classification")
        best = {}
        for metric in ("accuracy", "macro_f1"):
            _, best[metric] = predict_by_linear_head(rows, target, metric=metric)
            scores = []
            for rate in RATES:
                only(monkeypatch, rate)
                guess, _ = predict_by_linear_head(rows, flipped, metric=metric)
                scores.append(SCORES[metric](classes[100:400], guess))
            only(monkeypatch, *RATES)
            assert max(scores) == scores[RATES.index(best[metric])]
        assert best["accuracy"] != best["macro_f1"]

    def test_where_the_score_is_undefined_the_loss_chooses(self, monkeypatch):
        """Numbers that are all the same have no R²."""
        rows, target = line(train=100, val=1, test=30)
        flipped = made_units(target.target, parts(train=100, test=1, val=30))
        _, chosen = predict_by_linear_head(rows, target, metric="r2")
        off = []
        for rate in RATES:
            only(monkeypatch, rate)
            guess, _ = predict_by_linear_head(rows, flipped, metric="r2")
            off.append(abs(guess[0] - target.target[100]))
        assert chosen == RATES[np.argmin(off)]

    def test_gaps_are_filled_with_the_mean_of_what_is_trained_on(self):
        rows, target = line()
        rows[:5, 1] = rows[120, 2] = rows[150] = np.nan
        mean = np.nanmean(rows[target.split == "train"], 0)
        filled = np.where(np.isnan(rows), mean, rows)
        found, rate = predict_by_linear_head(rows, target, metric="r2")
        again, same = predict_by_linear_head(filled, target, metric="r2")
        assert rate == same
        np.testing.assert_allclose(found, again)

    def test_one_class_only(self):
        rows, target = line()
        classes = np.full(len(rows), 7)
        for probed in (
            predict_by_neighbours,
            lambda *a: predict_by_linear_head(*a, metric="macro_f1")[0],
        ):
            found = probed(rows, made_units(classes, target.split, "classification"))
            assert found.tolist() == [7] * 30

    def test_a_number_that_never_changes_is_answered(self):
        rows, target = line()
        number = np.where(target.split == "test", 5.0, 3.0)
        found, _ = predict_by_linear_head(rows, made_units(number, target.split), metric="r2")
        np.testing.assert_allclose(found, 3, atol=0.5)

    @pytest.mark.parametrize("count", [4, 9, 19])
    def test_few_training_units(self, count):
        rows, target = line(width=2, train=count, test=30)
        found, chosen = predict_by_linear_head(rows, target, metric="r2")
        assert np.isfinite(found).all() and chosen in RATES

    def test_it_repeats_and_leaves_the_seed_of_torch_alone(self):
        rows, target = line(train=200, test=30)
        torch.manual_seed(1)
        before = torch.get_rng_state()
        first, _ = predict_by_linear_head(rows, target, metric="r2")
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(2)
        np.random.seed(2)  # noqa: NPY002
        again, _ = predict_by_linear_head(rows, target, metric="r2")
        np.testing.assert_array_equal(again, first)
        other, _ = predict_by_linear_head(rows, target, metric="r2", seed=1)
        assert (other != first).any()

    def test_features_beyond_float32_are_refused(self):
        rows, target = line()
        with pytest.raises(TrainingError, match=r"(?s)no learning rate.*values up to 1e\+39"):
            predict_by_linear_head(np.where(rows > rows.max() - 1, 1e39, rows), target, metric="r2")

    @pytest.mark.parametrize(
        "probed", [predict_by_neighbours, lambda *a: predict_by_linear_head(*a, metric="macro_f1")]
    )
    def test_labels_other_than_0_and_1_are_refused(self, probed):
        labels = np.tile([[0, 2]], (20, 1))
        target = made_units(labels, parts(train=10, test=10), "classification")
        with pytest.raises(ParameterError, match=r"(?s)0 or 1 in each column.*\[0, 2\]"):
            probed(np.zeros((20, 3)), target)


class TestHeldBack:
    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("sizes", [[5] * 20, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [3, 1], [9, 9]])
    def test_whole_blocks_and_about_a_fifth_of_the_units(self, sizes, seed):
        block = np.append(np.repeat(np.arange(len(sizes)), sizes), [0, 99])
        split = np.append(np.repeat("train", sum(sizes)), ["test", "test"])
        train, val = held_back(made_units(np.zeros(len(block)), split, block=block), seed)
        assert (train ^ val)[:-2].all() and not (train | val)[-2:].any()
        assert not set(block[train]) & set(block[val])
        if len(sizes) > 2:
            assert 0.1 <= val.sum() / sum(sizes) <= 0.2
        else:
            assert val.sum() == min(sizes)

    def test_units_of_a_single_block_are_held_back_one_by_one(self):
        target = made_units(np.zeros(30), parts(train=25, test=5), block=np.zeros(30))
        train, val = held_back(target, 0)
        assert (train.sum(), val.sum()) == (20, 5)
        assert not val[25:].any()

    def test_no_training_unit_is_held_back_where_there_are_validation_units(self):
        target = made_units(np.zeros(30), parts(train=20, val=5, test=5))
        train, val = held_back(target, 0)
        np.testing.assert_array_equal(train, target.split == "train")
        np.testing.assert_array_equal(val, target.split == "val")

    def test_heads_never_see_what_is_held_back(self):
        """Wild numbers there change the choice of the rate, and nothing else."""
        rows, target = line(train=100, test=30)
        _, val = held_back(target, 0)
        before = predict_by_linear_head(rows, target, metric="r2")
        target.target[val] = 1e9
        held = made_units(target.target, np.where(val, "val", target.split))
        after = predict_by_linear_head(rows, target, metric="r2")
        np.testing.assert_array_equal(after[0], predict_by_linear_head(rows, held, metric="r2")[0])
        assert np.abs(after[0] - before[0]).max() < 1e3
