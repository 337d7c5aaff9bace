"""A monitor sees a training, changes no number, and can stop it; called again it goes on."""

import json

import pytest
import torch

from maestro_lab.errors import TrainingError
from maestro_lab.training.fitted import Fitted
from maestro_lab.training.monitor import Monitor, Plan, read_metrics
from maestro_lab.training.pretrain import pretrain
from tests.training.conftest import make_data, make_model, settings


class Recorder(Monitor):
    """Remembers all it is told, and asks to stop after one step."""

    def __init__(self, last=None):
        self.last, self.told = last, []

    def given(self, model, held_out):
        self.told.append(("given", model, held_out))

    def began(self, plan, rows):
        super().began(plan, rows)
        self.told.append(("began", plan, list(rows)))

    def stepped(self, step):
        self.told.append(("stepped", step))
        if step == self.last:
            self.stop()

    def measured(self, row):
        self.told.append(("measured", dict(row)))

    def ended(self, *, stopped, error=None):
        self.told.append(("ended", stopped, error))

    def of(self, kind):
        return [told[1:] for told in self.told if told[0] == kind]


def train(cube, folder=None, monitor=None, **options):
    config = settings(**{"epochs": 6} | options)
    model, val = make_model(cube), make_data(cube, "val", train=False)
    fitted = pretrain(
        model, make_data(cube), config, val=val, folder=folder, monitor=monitor, progress="silent"
    )
    return model, fitted


@pytest.fixture(scope="module")
def unwatched(cube, tmp_path_factory):
    """A training that nobody watched: metrics, weights and averages; five steps an epoch."""
    folder = tmp_path_factory.mktemp("unwatched")
    model, fitted = train(cube, folder)
    return (folder / "metrics.jsonl").read_bytes(), model.state_dict(), fitted.ema


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


def test_it_is_told_of_everything_and_changes_nothing(cube, tmp_path, unwatched):
    watcher = Recorder()
    model, fitted = train(cube, tmp_path, watcher)
    assert (tmp_path / "metrics.jsonl").read_bytes() == unwatched[0]
    assert same(model.state_dict(), unwatched[1]) and same(fitted.ema, unwatched[2])
    assert watcher.told[0][:2] == ("given", model) and len(watcher.told[0][2]) == 2
    assert watcher.told[1] == ("began", Plan(30, 0, 6, 2, resumable=True), [])
    assert [step for (step,) in watcher.of("stepped")] == list(range(1, 31))
    assert [row for (row,) in watcher.of("measured")] == fitted.metrics
    assert watcher.told[-1] == ("ended", False, None)
    assert not fitted.stopped and fitted.summary()["stopped"] is False


@pytest.mark.parametrize(
    ("stops", "options"),
    [
        ((1,), {}),  # before the first row
        ((8,), {}),  # inside an epoch
        ((10,), {}),  # at the end of one
        ((3, 4, 22), {"checkpoint_every": 2}),
        ((30,), {}),  # after the last step: nothing to go on with
    ],
)
def test_stopped_and_called_again_it_ends_as_if_never_stopped(
    cube, tmp_path, unwatched, stops, options
):
    for last in stops:
        watcher = Recorder(last)
        _, fitted = train(cube, tmp_path, watcher, **options)
        early = last < 30
        assert (fitted.step, fitted.stopped) == (last, early)
        assert watcher.told[-1] == ("ended", early, None)
        assert fitted.summary()["step"] == last and fitted.summary()["stopped"] == early
        assert repr(fitted).startswith(f"stopped after {last} of 30 steps" if early else "30 steps")
    watcher = Recorder()
    model, fitted = train(cube, tmp_path, watcher, **options)
    assert (tmp_path / "metrics.jsonl").read_bytes() == unwatched[0]
    assert same(model.state_dict(), unwatched[1]) and same(fitted.ema, unwatched[2])
    plan, rows = watcher.of("began")[0]
    assert plan.done == stops[-1] and all(row["step"] <= stops[-1] for row in rows)
    assert not fitted.stopped


def test_gradients_of_several_batches_are_never_torn(cube, tmp_path):
    whole, _ = train(cube, tmp_path / "a", epochs=2, accumulate=2)
    _, fitted = train(cube, tmp_path / "b", Recorder(2), epochs=2, accumulate=2)
    assert fitted.stopped and fitted.step == 2
    again, _ = train(cube, tmp_path / "b", epochs=2, accumulate=2)
    assert same(whole.state_dict(), again.state_dict())
    first, second = ((tmp_path / n / "metrics.jsonl").read_bytes() for n in "ab")
    assert first == second


def test_without_a_folder_there_is_nothing_to_go_on_from(cube):
    watcher = Recorder(2)
    _, fitted = train(cube, None, watcher)
    assert fitted.stopped and not watcher.of("began")[0][0].resumable


def test_it_is_told_of_an_error(cube, tmp_path):
    watcher = Recorder()
    model, data = make_model(cube), make_data(cube)
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="not a number"):
        pretrain(model, data, settings(), folder=tmp_path, monitor=watcher, progress="silent")
    _, stopped, error = watcher.told[-1]
    assert not stopped and isinstance(error, TrainingError)


def test_who_shows_progress_is_not_helped(cube, capsys):
    shows, watches = Recorder(), Recorder()
    shows.shows_progress = True
    for watcher in (shows, watches):
        pretrain(make_model(cube), make_data(cube), settings(), monitor=watcher)
        assert bool(capsys.readouterr().out) == (watcher is watches)


def test_a_row_cut_short_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert read_metrics(path) == []
    path.write_text(json.dumps({"step": 1}) + "\n" + '{"step": 2, "lo')
    assert read_metrics(path) == [{"step": 1}]


def test_words_of_a_training_that_stopped_before_any_row():
    fitted = Fitted([], None, 1.0, "cpu", "fp32", step=3, steps=9, stopped=True)
    assert fitted.summary() == {"step": 3, "device": "cpu", "precision": "fp32", "stopped": True}
    assert "no losses yet" in repr(fitted)
