import json
import os
import signal
import subprocess
import sys
import threading
import time

import pandas as pd
import pytest
from click.testing import CliRunner

from maestro_lab.cli import main
from maestro_lab.runs import kernel, start_run

COMMAND = [sys.executable, "-c", "from maestro_lab.cli import main; main()"]


def call(*words):
    """Run a command in this process."""
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(autouse=True)
def _keep_signals():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_help_and_version():
    assert call("--version").output.startswith("maestro-lab 0.")
    for command in main.commands:
        assert call(command, "--help").exit_code == 0


def test_help_parameters(notebook):
    done = call("run", notebook(), "--help-parameters")
    assert done.exit_code == 0
    assert done.output.splitlines()[:3] == [
        "name        type   default  help",
        "run_folder  str    ''       where the run goes",
        "epochs      int    2        passes",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "absent.ipynb"], "no notebook absent.ipynb"),
        (["run", "tiny.ipynb", "-p", "epoch", "3"], "did you mean 'epochs'"),
        (["run", "tiny.ipynb", "-p", "epochs", "x"], "a whole number"),
        (["run", "tiny.ipynb", "-p", "epochs"], "requires 2 arguments"),
        (["run", "tiny.ipynb", "--run", "tiny.ipynb"], "exists already"),
        (["run", "tiny.ipynb", "--run", "a", "--resume", "b"], "give one of them"),
        (["run", "tiny.ipynb", "--resume", "b"], "is no run"),
        (["run", "tiny.ipynb", "--timeout", "0"], "x>0"),
        (["collect", "."], "no run below"),
        (["report", "absent"], "no run below"),
        (["describe", "a", "-o", "x", "["], "no YAML value"),
        (["describe", "a", "-o", "name", "b"], "name is no option"),
        (["nonsense"], "No such command"),
    ],
)
def test_wrong_usage_is_one_screen_and_status_2(notebook, here, words, message):
    notebook()
    done = call(*words)
    assert done.exit_code == 2
    assert message in done.stderr and done.stdout == ""
    assert len(done.stderr.splitlines()) <= 24 and "Traceback" not in done.stderr
    assert [p.name for p in here.iterdir()] == ["tiny.ipynb"]


def test_a_bug_shows_itself(monkeypatch, here):
    start_run("tiny", {}, "runs/a")

    def fail(*_args, **_kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(sys.modules["maestro_lab.runs.collect"], "records", fail)
    assert isinstance(call("collect", "runs").exception, ZeroDivisionError)


def test_collect_and_report(here):
    start_run("tiny", {}, "runs/a").results(loss=1.5e-6)
    assert "1.5e-06" in call("collect", "runs").output
    assert call("collect", "runs", "--csv", "t.csv").output == "1 runs: t.csv\n"
    assert pd.read_csv("t.csv")["result.loss"].tolist() == [1.5e-6]
    assert call("collect", "runs", "--csv", "no/t.csv").exit_code == 2
    assert call("report", "runs", "--out", "p.html", "--title", "T").output == "p.html\n"
    assert "<h1>T</h1>" in (here / "p.html").read_text()


def test_options_are_passed_on(monkeypatch, here):
    import maestro_lab.catalogue
    import maestro_lab.cubes.describe as module

    seen = {}
    monkeypatch.setattr(maestro_lab.catalogue, "catalog", lambda path: {"path": path})
    monkeypatch.setattr(
        maestro_lab.catalogue, "open_cube", lambda name, **options: seen.update(options) or name
    )
    monkeypatch.setattr(module, "describe", lambda cube: f"described {cube}")
    assert call("cubes", "--catalog", "c.yaml").output == "{'path': PosixPath('c.yaml')}\n"
    done = call(
        "describe", "landscape", "-o", "samples", "4", "-o", "mode", "no", "-o", "lr", "1e-3"
    )
    assert done.output == "described landscape\n"
    assert seen == {"samples": 4, "mode": "no", "lr": 0.001}


def test_run_passes_parameters_and_the_exit_status(notebook):
    path = notebook(
        "print(epochs)", "from maestro_lab.errors import CubeError\nraise CubeError('x')"
    )
    done = call("run", path, "-p", "epochs", "-3")
    assert done.exit_code == 3
    assert done.stdout == "tiny.ipynb -> runs/tiny-001\n-3\n"
    assert done.stderr.startswith("tiny.ipynb: failed at cell [5]\n\nCubeError: x\n")


def test_an_interrupt_of_the_real_command_is_recorded(notebook, here):
    """Here also with a closed pipe, as behind ``| head``, which does not stop the run."""
    path = notebook(
        "print('waiting', flush=True)\n"
        "import time\n"
        "for i in range(100):\n"
        "    print('line', i, flush=True)\n"
        "    run.results(lines=i)\n"
        "    time.sleep(0.2)"
    )
    results = here / "runs" / "tiny-001" / "results.json"
    with subprocess.Popen(
        [*COMMAND, "run", path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background of a shell, interrupts are ignored from birth.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as runner:
        assert any(line.strip() == "waiting" for line in runner.stdout)
        runner.stdout.close()
        while not results.exists() or json.loads(results.read_text())["lines"] < 5:
            assert runner.poll() is None
            time.sleep(0.1)
        runner.send_signal(signal.SIGINT)
        error = runner.stderr.read()
    assert runner.returncode == 130
    assert error.startswith("tiny.ipynb: interrupted at cell [4]") and "Traceback" not in error
    assert "BrokenPipe" not in error
    assert '"status": "interrupted"' in (here / "runs" / "tiny-001" / "card.json").read_text()


def test_a_job_scheduler_interrupts_too(notebook, monkeypatch):
    def write(tap, text):
        if text.startswith("waiting"):
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()

    monkeypatch.setattr(kernel.Tap, "write", write)
    done = call("run", notebook("print('waiting', flush=True)\nimport time\ntime.sleep(60)"))
    assert done.exit_code == 130
    assert done.stderr.startswith("tiny.ipynb: interrupted at cell [4]")


def test_save_writes_a_cube_that_describe_then_finds(here):
    options = ["-o", "samples", "3", "-o", "modalities", "[dem]"]
    runner = CliRunner()
    done = runner.invoke(main, ["save", "landscape", "small.zarr", *options])
    assert (done.exit_code, done.output) == (0, "small.zarr\n")
    shown = runner.invoke(main, ["describe", "small.zarr"])
    assert "3" in shown.output and "elevation" in shown.output
    again = runner.invoke(main, ["save", "landscape", "small.zarr", *options])
    assert again.exit_code == 2 and "exists already" in again.output
