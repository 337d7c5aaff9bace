"""A run that is killed and resumed ends like one that never was, to the bit."""

import json
import signal
import subprocess
import sys

import pytest
import torch

from maestro_lab.training.pretrain import pretrain
from tests.conftest import REPOSITORY
from tests.training.conftest import make_cube, make_data, make_model, settings
from tests.training.killable import EPOCHS, SAMPLES

CHECKPOINTS = {
    "each epoch": {},
    "often": {"checkpoint_every": 1},
    "accumulating": {"accumulate": 2},
}


@pytest.fixture(scope="module")
def run():
    """Train in a process of its own, and return its exit status."""
    command = [sys.executable, "-m", "tests.training.killable"]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:

        def ask(folder, options, deadly=("", 0)) -> int:
            print(json.dumps([str(folder), options, deadly]), file=server.stdin, flush=True)
            return int(server.stdout.readline())

        yield ask
        server.stdin.close()


def left(folder):
    """Return what a run leaves: its metrics, its weights, the names of its files."""
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return (folder / "metrics.jsonl").read_bytes(), torch.load(folder / "weights.pt"), files


@pytest.fixture(scope="module")
def reference(run, tmp_path_factory):
    """Runs that are never killed."""
    folders = {name: tmp_path_factory.mktemp("never_killed") for name in CHECKPOINTS}
    for name, options in CHECKPOINTS.items():
        assert run(folders[name], options) == 0
    return {name: left(folder) for name, folder in folders.items()}


@pytest.mark.parametrize(
    ("name", "kills"),
    [
        ("each epoch", [("batch", 2)]),  # before there is a checkpoint
        ("each epoch", [("batch", 6), ("batch", 3)]),  # between checkpoints, and once more
        ("often", [("batch", 6)]),  # with losses that no row tells of yet
        ("often", [("checkpoint", 4)]),
        ("often", [("metrics", 4)]),
        ("accumulating", [("batch", 8)]),
    ],
)
def test_killed_and_resumed(run, reference, tmp_path, name, kills):
    for deadly in kills:
        assert run(tmp_path, CHECKPOINTS[name], deadly) == -signal.SIGKILL
    assert not (tmp_path / "weights.pt").exists()
    assert run(tmp_path, CHECKPOINTS[name]) == 0
    (metrics, weights, files), (metrics_0, weights_0, files_0) = left(tmp_path), reference[name]
    assert metrics == metrics_0
    assert all(torch.equal(weights[n], weights_0[n]) for n in weights_0)
    assert files == files_0


def test_resuming_a_run_that_ended_changes_nothing(run, reference, tmp_path):
    name = "each epoch"
    assert run(tmp_path, CHECKPOINTS[name]) == 0
    before = left(tmp_path)
    cube = make_cube(SAMPLES)
    model = make_model(cube)
    fitted = pretrain(model, make_data(cube), settings(epochs=EPOCHS), folder=tmp_path)
    assert left(tmp_path)[0] == before[0] == reference[name][0]
    assert all(torch.equal(p, before[1][n]) for n, p in model.state_dict().items())
    assert fitted.summary()["step"] == 3 * EPOCHS
