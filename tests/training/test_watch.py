"""Early stopping: what counts as better, when to stop, which weights are kept."""

import math

import pytest
import torch

from maestro_lab.errors import ParameterError, TrainingError
from maestro_lab.training.watch import Watch


def see(watch, scores):
    """Show scores one by one until told to stop; weights are the number of the epoch."""
    for epoch, score in enumerate(scores):
        watch.see(epoch, {"a/r2": score}, lambda epoch=epoch: {"w": torch.tensor(float(epoch))})
        if watch.stop:
            return epoch
    return None


@pytest.mark.parametrize(
    ("scores", "patience", "stopped", "best"),
    [
        ([0.1, 0.2, 0.3], 1, None, 2),
        ([0.3, 0.2], 1, 1, 0),
        ([0.3, 0.2, 0.1, 0.4], 2, 2, 0),
        ([0.3, 0.2, 0.4, 0.1, 0.1, 0.9], 2, 4, 2),
        ([0.3, 0.3, 0.3], 2, 2, 0),  # the same is not better
        ([-5.0, -4.0, -4.5], 2, None, 1),
        ([0.3, 0.1, 0.1, 0.1, 0.1], None, None, 0),
    ],
)
def test_when_it_stops_and_what_was_best(scores, patience, stopped, best):
    watch = Watch("a/r2", patience)
    assert see(watch, scores) == stopped
    assert (watch.epoch, watch.best) == (best, scores[best])
    assert watch.weights["w"] == best


def test_weights_are_asked_for_only_when_they_are_the_best_and_are_copies():
    watch, asked, weight = Watch("a"), [], torch.nn.Parameter(torch.zeros(2))

    def weights():
        asked.append(1)
        return {"w": weight}

    for epoch, score in enumerate([0.5, 0.4, 0.6, 0.6]):
        watch.see(epoch, {"a": score}, weights)
    assert len(asked) == 2
    with torch.no_grad():
        weight += 1
    assert not watch.weights["w"].any() and not watch.weights["w"].requires_grad


def test_a_score_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(TrainingError) as caught:
        Watch("a/r2").see(0, {"val_loss": 1.0, "a/rmse": 2.0, "b/f1": 0.1}, dict)
    text = str(caught.value)
    assert "no score 'a/r2'" in text and "expected: a/rmse, b/f1" in text
    assert "found:    val_loss, a/rmse, b/f1" in text and "monitor another score" in text


@pytest.mark.parametrize("patience", [0, -1, 2.0, "5"])
def test_impossible_patience_is_refused(patience):
    with pytest.raises(ParameterError, match="at least 1, or None") as caught:
        Watch("a", patience)
    assert repr(patience) in str(caught.value)


def test_a_checkpoint_takes_it_up_where_it_was():
    scores = [0.1, 0.5, 0.4, 0.3, 0.2]
    whole, first = Watch("a/r2", 3), Watch("a/r2", 3)
    see(whole, scores)
    see(first, scores[:3])
    again = Watch("a/r2", 3)
    again.load(first.state())
    assert (again.best, again.epoch, again.waited) == (0.5, 1, 1) and not again.stop
    for epoch, score in enumerate(scores[3:], 3):
        again.see(epoch, {"a/r2": score}, dict)
    assert again.stop and again.state() == whole.state()
    fresh = Watch("a").state()
    assert fresh == {"best": -math.inf, "epoch": -1, "waited": 0, "weights": {}}
