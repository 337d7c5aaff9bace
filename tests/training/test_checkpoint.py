"""Checkpoints are whole or absent, and those of other runs are refused."""

import json
import os
import pickle
from pathlib import Path

import pytest
import torch

from maestro_lab.errors import TrainingError
from maestro_lab.training.checkpoint import MetricsFile, load_checkpoint, save_checkpoint
from maestro_lab.training.pretrain import pretrain
from tests.training.conftest import make_cube, make_data, make_model, settings

SETTINGS = {"model": {"size": "nano", "groups": [["a", "b"]]}, "training": {"epochs": 3}}


def state(**more):
    return {
        "settings": json.dumps(SETTINGS), "model": {"w": torch.arange(4.0)}, "optimiser": {},
        "ema": None, "batch": 0, "step": 7, "sums": {}, "counted": 0, **more,
    }  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoints" / "last.pt"


def test_round_trip(path):
    save_checkpoint(path, state())
    again = load_checkpoint(path, {**SETTINGS, "model": {"size": "nano", "groups": (("a", "b"),)}})
    assert again["step"] == 7 and torch.equal(again["model"]["w"], torch.arange(4.0))


class _Fails:
    def __reduce__(self):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("before", [True, False])
def test_a_write_that_fails_leaves_the_old_checkpoint_and_nothing_else(path, before):
    if before:
        save_checkpoint(path, state())
    with pytest.raises(TrainingError, match=r"could not be written(.|\n)*No space left") as caught:
        save_checkpoint(path, state(step=8, model={"big": torch.zeros(100_000), "bad": _Fails()}))
    assert ("untouched" in str(caught.value)) == before
    assert [p.name for p in path.parent.parent.rglob("*")] == ["checkpoints", "last.pt"] * before
    assert not before or load_checkpoint(path, SETTINGS)["step"] == 7


def test_an_interrupt_while_writing_leaves_nothing(path):
    class Interrupts:
        def __reduce__(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, state(model=Interrupts()))
    assert not path.parent.exists()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "checkpoints").write_text("a file")
    with pytest.raises(TrainingError, match="could not be written"):
        save_checkpoint(tmp_path / "checkpoints" / "last.pt", state())


def test_the_first_setting_that_differs_is_named(path):
    save_checkpoint(path, state())
    with pytest.raises(TrainingError) as caught:
        load_checkpoint(path, {"model": SETTINGS["model"], "training": {"epochs": 5}})
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("another configuration: training.epochs")
    assert lines[1:3] == ["  expected: 5", "  found:    3"]
    with pytest.raises(TrainingError, match=r"model\.size(.|\n)*absent"):
        load_checkpoint(path, {"model": {}, "training": {"epochs": 3}})


def damage(path, kind):
    whole = path.read_bytes()
    if kind == "of another program":
        torch.save({"weights": torch.zeros(3)}, path)
    elif kind == "no mapping":
        torch.save(torch.zeros(3), path)
    else:
        path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"hello"}[kind])


@pytest.mark.parametrize("kind", ["cut", "empty", "text", "of another program", "no mapping"])
def test_a_damaged_checkpoint_is_refused(path, kind):
    save_checkpoint(path, state())
    damage(path, kind)
    with pytest.raises(TrainingError, match=r"cannot be read(.|\n)*delete it to start anew"):
        load_checkpoint(path, SETTINGS)


class _Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("write", [torch.save, lambda o, p: p.write_bytes(pickle.dumps(o))])
def test_a_checkpoint_runs_no_code(path, tmp_path, write):
    path.parent.mkdir()
    write(state(model=_Bomb(tmp_path / "made")), path)
    with pytest.raises(TrainingError, match="cannot be read"):
        load_checkpoint(path, SETTINGS)
    assert not (tmp_path / "made").exists()


def test_training_refuses_the_checkpoint_of_other_settings(cube, tmp_path):
    pretrain(make_model(cube), make_data(cube), settings(epochs=1), folder=tmp_path)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    for model, data, config, named in [
        (make_model(cube), make_data(cube), settings(epochs=1, base_lr=2e-3), "training.base_lr"),
        (make_model(cube, loss="l2_norm"), make_data(cube), settings(epochs=1), "model.loss"),
        (make_model(cube), make_data(cube, seed=1), settings(epochs=1), "training.data_seed"),
        (make_model(cube), make_data(make_cube(21)), settings(epochs=1), "training.samples"),
    ]:
        with pytest.raises(TrainingError, match=named):
            pretrain(model, data, config, folder=tmp_path)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    free = settings(epochs=1, workers=1, log_every=3, checkpoint_every=1)
    assert len(pretrain(make_model(cube), make_data(cube), free, folder=tmp_path).metrics) == 3


def test_a_new_start_forgets_the_old_checkpoint(cube, tmp_path):
    pretrain(make_model(cube), make_data(cube), settings(epochs=1), folder=tmp_path)
    with pytest.raises(ZeroDivisionError):
        pretrain(
            make_model(cube), make_data(cube), settings(epochs=1), folder=tmp_path, resume=False,
            val=_Breaks(),
        )  # fmt: skip
    assert not (tmp_path / "checkpoints" / "last.pt").exists()


class _Breaks:
    train = False

    def __len__(self):
        return 1 // 0


def test_metrics_of_steps_after_the_checkpoint_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    metrics = MetricsFile(path)
    for step in (2, 4, 6):
        metrics.write({"step": step, "loss": 0.1})
    with path.open("a") as file:
        file.write('{"step": 8, "lo')
    again = MetricsFile(path, step=4)
    again.write({"step": 5, "loss": 0.2})
    assert [r["step"] for r in again.rows] == [2, 4, 5]
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [2, 4, 5]
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.jsonl"]
    assert MetricsFile(path).rows == [] and path.read_text() == ""


def test_metrics_hold_no_nan(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    with pytest.raises(ValueError, match="JSON"):
        metrics.write({"step": 1, "loss": float("nan")})
    assert (tmp_path / "metrics.jsonl").read_text() == "" and metrics.rows == []


def test_metrics_that_cannot_be_written(tmp_path):
    (tmp_path / "a file").write_text("")
    with pytest.raises(TrainingError, match=r"cannot be written(.|\n)*to do"):
        MetricsFile(tmp_path / "a file" / "metrics.jsonl")
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.path = Path("/dev/full")
    with pytest.raises(TrainingError, match=r"/dev/full cannot be written(.|\n)*No space left"):
        metrics.write({"step": 1})
