"""The training cockpit: what it shows of a training, and of what a run left behind."""

import json
import signal

import pytest

from maestro_lab.errors import ParameterError, RunError
from maestro_lab.explore import TrainingCockpit
from maestro_lab.explore import cockpit as module
from maestro_lab.runs.card import hostname
from maestro_lab.training.pretrain import pretrain
from tests.training.conftest import make_cube, make_data, make_model, settings

ROWS = [
    {"step": 2, "epoch": 1.0, "lr": 1e-3, "loss": 0.9, "loss/s2": 0.9, "val_loss": 0.95},
    {"step": 4, "epoch": 2.0, "lr": 5e-4, "loss": 0.7, "loss/s2": 0.7, "val_loss": 0.85},
]


@pytest.fixture(scope="module")
def cube():
    return make_cube()


def train(cube, cockpit, folder=None, **options):
    model, held_out = make_model(cube), make_data(cube, "val", train=False)
    return pretrain(
        model, make_data(cube), settings(**options), val=held_out, folder=folder, monitor=cockpit
    )


def left(folder, card=None, rows=ROWS, more=""):
    """Write what a run leaves in its folder."""
    folder.mkdir(exist_ok=True)
    if card is not None:
        (folder / "card.json").write_text(json.dumps({"notebook": "02", "parameters": {}} | card))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows) + more)
    return folder


def text(cockpit):
    return cockpit.words(**cockpit.state)


def test_a_training_that_nobody_looks_at_leaves_a_log_and_the_figure(cube, tmp_path, capsys):
    cockpit = TrainingCockpit(tmp_path)
    fitted = train(cube, cockpit, tmp_path)
    assert capsys.readouterr().out.splitlines()[-1].startswith("epoch 2/2   100 %")
    assert cockpit.rows == fitted.metrics and not cockpit._views
    figure = cockpit.static()
    names = [axes.get_label() for axes in figure.axes]
    assert names == ["losses", "rate", "modalities", "guesses"]
    losses = {line.get_label(): list(line.get_ydata()) for line in figure.axes[0].lines}
    assert losses["training"] == [row["loss"] for row in fitted.metrics if "loss" in row]
    assert losses["held out"] == [row["val_loss"] for row in fitted.metrics if "val_loss" in row]
    assert "step 10 of 10 · epoch 2.0 of 2" in cockpit.line and "samples/s" in cockpit.line


def test_guesses_are_those_of_the_sample_and_the_step(cube):
    cockpit = TrainingCockpit()
    train(cube, cockpit, epochs=1)
    first = cockpit.guesses(0)
    assert cockpit.guesses(0) is first, "not made twice"
    other = cockpit.set(sample=1).guesses(1)
    assert (other["optics"].values != first["optics"].values).any()
    with pytest.raises(ParameterError, match="0 to 1"):
        cockpit.set(sample=2)


@pytest.fixture
def seen(monkeypatch):
    """Somebody looks: what is displayed is caught."""
    shown = []
    monkeypatch.setattr(module, "interactive", lambda: True)
    monkeypatch.setattr("IPython.display.display", shown.append)
    return shown


def test_who_looks_sees_it_live_and_no_other_progress(cube, seen, capsys, monkeypatch):
    monkeypatch.setattr(module, "SHARE", float("inf"))
    cockpit = TrainingCockpit(every=0)
    pictures = []
    cockpit.follow(lambda: pictures.append(cockpit.picture().png))
    before = signal.getsignal(signal.SIGINT)
    train(cube, cockpit)
    assert capsys.readouterr().out == ""
    assert len(seen) == 1 and "maestro-cockpit" in seen[0]._dom_classes
    assert len(set(pictures)) >= 3, "the picture follows the training"
    head, below = seen[0].children
    line, stop = head.children
    assert "trained · step 10 of 10" in line.value and not stop.running
    assert below.children[0].layout.display == "flex"
    assert signal.getsignal(signal.SIGINT) is before
    train(cube, cockpit, epochs=1)
    assert len(seen) == 2 and len(cockpit._views) == 1, "views of earlier trainings rest"


def test_an_interrupt_stops_after_the_step_and_the_cell_goes_on(cube, seen, tmp_path):
    class Hasty(TrainingCockpit):
        def stepped(self, step):
            if step == 3 and not self.rows[2:]:
                signal.raise_signal(signal.SIGINT)
            super().stepped(step)

    cockpit = Hasty(tmp_path)
    fitted = train(cube, cockpit, tmp_path)
    assert fitted.stopped and fitted.step == 3
    assert cockpit.status == "stopped" and "run the cell again" in text(cockpit)
    again = train(cube, TrainingCockpit(tmp_path), tmp_path)
    assert not again.stopped and again.step == 10


def test_a_run_that_goes_on_after_its_training_has_trained(cube, tmp_path):
    cockpit = TrainingCockpit(left(tmp_path / "run", {"status": "running"}))
    assert cockpit.status == "running"
    train(cube, cockpit)
    assert cockpit.static().get_suptitle() == "run, trained, step 10"


def test_a_second_interrupt_ends_at_once(cube, seen):
    class Hastier(TrainingCockpit):
        def stepped(self, step):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    cockpit, before = Hastier(), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(cube, cockpit)
    assert signal.getsignal(signal.SIGINT) is before
    assert "KeyboardInterrupt" in text(cockpit) and cockpit.status == "failed"


def test_drawing_waits_for_its_share_of_the_time(seen):
    cockpit = TrainingCockpit(every=0)
    cockpit.rows = list(ROWS)
    cockpit._draw(module.time.perf_counter() - 1.0)
    assert cockpit._wait == pytest.approx(1 / module.SHARE, rel=0.5)


def test_a_finished_run_is_looked_at(tmp_path):
    folder = left(tmp_path / "run", {"status": "completed"})
    cockpit = TrainingCockpit(folder, scale="logarithmic")
    assert cockpit.line == "completed · step 4 · epoch 2"
    assert "step 4, epoch 2" in text(cockpit) and "val_loss 0.85" in text(cockpit)
    figure = cockpit.static()
    assert figure.axes[0].get_yscale() == "log"
    assert figure.get_suptitle() == "run, completed, step 4"
    cockpit.click("losses", 1.2, 0.5)
    assert cockpit.state["at"] == 1.0 and "val_loss 0.95" in text(cockpit)
    assert cockpit.pointed("guesses", 0, 0) == {}
    with pytest.raises(ParameterError, match=r"epoch to tell\n.*0 to 2\n.*99"):
        cockpit.set(at=99)


@pytest.mark.parametrize(
    ("card", "words"),
    [
        (
            {"status": "failed", "error": {"cell": 7, "ename": "TrainingError", "evalue": "NaN"}},
            ["failed", "cell 7: TrainingError: NaN"],
        ),
        ({"status": "running", "host": hostname()}, ["killed"]),
        ({"status": 3}, ["unreadable"]),
    ],
)
def test_a_run_that_went_wrong_says_so(tmp_path, card, words):
    cockpit = TrainingCockpit(left(tmp_path / "run", card))
    assert all(word in text(cockpit) for word in words)
    assert len(cockpit.rows) == 2 and cockpit.static()


def test_what_is_missing_is_said(tmp_path):
    cockpit = TrainingCockpit(left(tmp_path / "a", rows=[]))
    assert "no metrics yet" in text(cockpit)
    assert "no metrics yet" in [t.get_text() for t in cockpit.static().axes[0].texts]
    rows = [{k: v for k, v in row.items() if "val" not in k} for row in ROWS]
    cockpit = TrainingCockpit(left(tmp_path / "b", rows=rows, more='{"step": 6, "lo'))
    assert len(cockpit.rows) == 2, "a line that is half written is ignored"
    assert "no held-out loss" in text(cockpit)
    left(tmp_path / "b")
    assert "no held-out loss" not in text(cockpit.refresh())
    with pytest.raises(RunError, match="no folder"):
        TrainingCockpit(tmp_path / "nowhere")
    assert TrainingCockpit().line == ""
