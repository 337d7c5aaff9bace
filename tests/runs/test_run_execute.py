import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest

from maestro_lab.errors import LabError, ParameterError, RunError
from maestro_lab.runs import collect, execute
from maestro_lab.runs.kernel import Live
from maestro_lab.runs.outcome import EXIT_STATUS, SCREEN, ExecutionError, Outcome, one_screen

COUNT = (
    "import time\nfor i in range(epochs):\n    print('epoch', i, flush=True)\n    time.sleep(0.3)"
)


def read(run):
    return nbformat.read(run.folder / "notebook.ipynb", as_version=4)


def stop(notebook, **options) -> ExecutionError:
    """Execute a notebook that does not complete, and check what every such run leaves."""
    with pytest.raises(ExecutionError) as caught:
        execute(notebook, **options)
    error = caught.value
    card = error.run.card
    assert card["status"] == error.status
    assert card["seconds"] > 0
    assert not {"token", "pid"} & set(card)
    assert error.exit_status == EXIT_STATUS[error.status] > 2
    assert len(str(error).splitlines()) <= SCREEN
    assert "\x1b" not in str(error)
    assert error.status in (error.run.folder / "notebook.html").read_text()
    executed = read(error.run)
    assert executed.metadata.papermill["exception"] is True
    assert not list(error.run.folder.glob(".*.tmp"))
    return error


def test_a_completed_run(notebook, here, monkeypatch):
    class Watched:
        encoding = "utf-8"

        def __init__(self):
            self.lines = []

        def write(self, text):
            self.lines += [(time.monotonic(), line) for line in text.splitlines()]

        def flush(self):
            pass

    out = Watched()
    path = notebook(COUNT, "run.results(lr=lr)", "from pathlib import Path\nprint(Path.cwd())")
    before = path.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", out)
        run = execute(path, {"epochs": 3, "lr": 1})
    ended = time.monotonic()
    assert run.folder == here / "runs" / "tiny-001"
    assert [text for _, text in out.lines][:4] == [
        "tiny.ipynb -> runs/tiny-001",
        "epoch 0",
        "epoch 1",
        "epoch 2",
    ]
    assert out.lines[1][0] < ended - 0.5, "what a cell prints is seen while it runs"
    assert str(here) in out.lines[-1][1], "cells work in the folder of the caller"
    card = run.card
    assert card["status"] == "completed" and card["seconds"] > 0.9
    assert card["parameters"] == {"epochs": 3, "lr": 1.0}
    assert "error" not in card and "token" not in card
    assert json.loads((run.folder / "results.json").read_text()) == {"lr": 1.0}
    executed = read(run)
    assert executed.cells[2].source.startswith("# Parameters")
    assert path.read_bytes() == before, "the notebook itself is not changed"
    assert "MAESTRO_LAB_RUN" not in os.environ
    assert repr(run) == "Run('runs/tiny-001', completed)"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epoch": 3}, "did you mean 'epochs'"),
        ({"epochs": "3"}, "parameter epochs"),
        ({"run_folder": "x"}, "not set like other parameters"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_is_made(notebook, here, given, message):
    path = notebook()
    with pytest.raises(ParameterError, match=message):
        execute(path, given)
    assert [p.name for p in here.iterdir()] == ["tiny.ipynb"]


def test_wrong_notebooks_are_refused_before_anything_is_made(notebook, here):
    with pytest.raises(RunError, match=r"no notebook absent\.ipynb"):
        execute("absent.ipynb")
    with pytest.raises(RunError, match="tag 'parameters'"):
        execute(notebook(tags=()))
    with pytest.raises(ParameterError, match="cannot be told its run folder"):
        execute(notebook(parameters="epochs: int = 2"))
    with pytest.raises(ParameterError, match="timeout"):
        execute(notebook(), timeout=0)
    assert [p.name for p in here.iterdir()] == ["tiny.ipynb"]


def test_an_existing_folder_is_left_alone(notebook, here):
    (here / "mine").mkdir()
    (here / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(RunError, match="exists already"):
        execute(notebook(), folder="mine")
    assert [p.name for p in (here / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("folder", ["file/run", "/proc/run", "/proc/1/run"])
def test_a_folder_that_cannot_be_made(notebook, here, folder):
    (here / "file").write_text("")
    with pytest.raises(RunError, match="cannot be made"):
        execute(notebook(), folder=folder)


def test_a_full_disk_leaves_no_folder(notebook, here, monkeypatch):
    def fail(*_args):
        raise OSError(28, "No space left on device")

    path = notebook()
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(RunError, match=r"cannot be written(.|\n)*No space"):
        execute(path)
    assert not list((here / "runs").iterdir())


def test_a_cell_error_shows_the_end_of_the_traceback(notebook, here):
    deep = "def f(n):\n    return 1 / n if n == 0 else f(n - 1)\nf(30)"
    error = stop(notebook("print('fine')", deep, "print('never')"), stream=False)
    assert error.status == "failed" and error.outcome.cell == 5
    lines = str(error).splitlines()
    assert lines[0] == "tiny.ipynb: failed at cell [5]"
    assert "ZeroDivisionError: division by zero" in lines
    assert lines[-3] == "executed notebook: runs/tiny-001/notebook.html"
    assert lines[-1].endswith("once mended; with other parameters begin a new run")
    assert error.run.card["error"]["ename"] == "ZeroDivisionError"
    executed = read(error.run)
    assert [c.metadata.papermill.status for c in executed.cells[-3:]] == [
        "completed",
        "failed",
        "pending",
    ]


def test_an_error_of_maestro_lab_is_one_screen_without_a_traceback(notebook, here):
    source = (
        "from maestro_lab.errors import ContractError\n"
        "raise ContractError('s2: bands out of order', expected='B02', found='\\n'.join('x' * 40))"
    )
    text = str(stop(notebook(source), stream=False))
    assert "ContractError: s2: bands out of order\n  expected: B02" in text
    assert "Traceback" not in text and "--->" not in text
    assert "more lines)" in text
    assert "executed notebook: runs/tiny-001/notebook.html" in text


def test_a_killed_kernel(notebook, here):
    error = stop(notebook("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"), stream=False)
    assert error.status == "kernel died" and error.outcome.cell == 4
    assert "memory" in str(error)


def test_a_timeout(notebook, here, capsys):
    error = stop(notebook("import time\ntime.sleep(60)"), timeout=1.5)
    assert error.status == "timeout"
    assert capsys.readouterr().err == ""


def test_an_interrupt_while_the_kernel_starts_leaves_no_kernel(notebook, here, monkeypatch):
    from jupyter_client.asynchronous import AsyncKernelClient

    async def interrupted(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(AsyncKernelClient, "wait_for_ready", interrupted)
    before = set(psutil.Process().children())  # servers that other tests forked workers from
    error = stop(notebook(), stream=False)
    assert error.status == "interrupted" and "before the first cell" in str(error)
    new = set(psutil.Process().children()) - before
    assert not [p for p in new if p.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("source", ["import sys\nsys.exit(0)", "quit()"])
def test_leaving_early_is_no_success(notebook, here, source):
    error = stop(notebook(source, "print('never')"), stream=False)
    assert error.status == "stopped early"
    executed = read(error.run)
    assert executed.cells[-1].metadata.papermill.status == "pending"
    assert not executed.cells[-1].outputs


def test_an_error_that_a_cell_expects_is_none(notebook, here):
    path = notebook("1 / 0", "run.results(went_on=True)")
    nb = nbformat.read(path, as_version=4)
    nb.cells[3].metadata["tags"] = ["raises-exception"]
    nb.metadata["kernelspec"] = {"name": "a-kernel-of-another-machine", "display_name": "x"}
    nbformat.write(nb, path)
    run = execute(path, stream=False, folder="a {b} c/run")
    assert run.card["status"] == "completed"
    assert (run.folder / "results.json").exists()


def test_resume_after_the_runner_was_killed(notebook, here):
    source = (
        "run.checkpoints.mkdir(exist_ok=True)\n"
        "mark = run.checkpoints / 'last'\n"
        "if not mark.exists():\n"
        "    mark.write_text('half')\n"
        "    print('waiting', flush=True)\n"
        "    import time; time.sleep(60)\n"
        "run.results(found=mark.read_text(), epochs=epochs)"
    )
    path = notebook(source)
    command = [sys.executable, "-c", "from maestro_lab.cli import main; main()"]
    command += ["run", str(path), "-p", "epochs", "7"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as runner:
        assert any(line.strip() == "waiting" for line in runner.stdout)
        with pytest.raises(RunError, match="status 'running'"):
            execute(path, folder="runs/tiny-001", resume=True)
        runner.send_signal(signal.SIGKILL)
    folder = Path("runs/tiny-001")
    assert json.loads((folder / "card.json").read_text())["status"] == "running"
    assert collect("runs")["status"].tolist() == ["killed"]
    with pytest.raises(ParameterError, match="epochs differs"):
        execute(path, {"epochs": 2}, folder=folder, resume=True)
    run = execute(path, {"epochs": 7}, folder=folder, resume=True, stream=False)
    assert run.card["status"] == "completed" and run.card["resumed"] == 1
    assert json.loads((folder / "results.json").read_text()) == {"found": "half", "epochs": 7}
    with pytest.raises(RunError, match="status 'completed'"):
        execute(path, folder=folder, resume=True)


def test_the_log_tells_which_part_runs_and_since_when(notebook, capsys):
    execute(notebook("# Top\n\n## First part\n\nwords", "print('one')", "## Second", "2"))
    lines = capsys.readouterr().out.splitlines()
    assert [re.sub(r"\d:\d\d", "m:ss", line) for line in lines[1:]] == [
        "[m:ss] First part", "one", "[m:ss] Second",
    ]  # fmt: skip


def test_resume_wants_a_run_of_this_notebook(notebook, here):
    path = notebook()
    with pytest.raises(RunError, match="is no run"):
        execute(path, folder="absent", resume=True)
    (here / "run").mkdir()
    (here / "run" / "card.json").write_text('{"notebook": "other", "status": "failed"}')
    with pytest.raises(RunError, match="another notebook"):
        execute(path, folder="run", resume=True)


def test_a_closed_terminal_harms_no_run():
    class Closed:
        encoding = "ascii"
        calls = 0

        def write(self, text):
            text.encode("ascii")
            self.calls += 1
            raise BrokenPipeError

    closed = Closed()
    live = Live(closed, closed)
    for _ in range(3):
        live.out.write("é\n")
    assert closed.calls == 1


def test_one_screen():
    text = one_screen([str(i) for i in range(100)] + ["x" * 1000], ["end"])
    lines = text.splitlines()
    assert len(lines) == SCREEN and lines[-1] == "end" and "(79 more lines)" in lines[-2]
    assert max(map(len, one_screen(["y" * 1000]).splitlines())) <= 200


@pytest.mark.parametrize("status", [s for s in EXIT_STATUS if s != "completed"])
def test_every_status_has_words(status):
    assert all(Outcome(status, 1, "E", "v").lines())
    assert issubclass(ExecutionError, LabError)
