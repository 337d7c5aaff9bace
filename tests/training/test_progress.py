"""Progress in a log, in a terminal and in JupyterLab."""

import io
import sys

import pytest

from maestro_lab.training.progress import Progress


def test_a_log_gets_a_line_now_and_then_and_always_the_last(capsys):
    progress = Progress(10, samples=4, every=60, mode="lines")
    for step in range(1, 11):
        progress.update(step, f"step {step}", loss=1 / step)
    progress.close()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("   ")[:3] for line in lines] == [
        ["step 1", "10 %", "loss 1.0000"],
        ["step 10", "100 %", "loss 0.1000"],
    ]
    assert lines[0].endswith(" left") and "samples/s" in lines[0]
    assert not lines[1].endswith(" left")


def test_a_terminal_gets_one_line_that_is_overwritten(capsys):
    progress = Progress(2, mode="bar")
    progress.update(1, "a")
    progress.update(2, "b")
    progress.close()
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and out.endswith("\n")
    assert [part[:4] for part in out.split("\r")] == ["", "\x1b[Ka", "\x1b[Kb"]


def test_nothing_done_nothing_shown(capsys):
    Progress(2, mode="bar").close()
    assert capsys.readouterr().out == ""


def test_jupyter_gets_one_output_that_is_updated(monkeypatch):
    from IPython.core.displaypub import CapturingDisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    publisher = CapturingDisplayPublisher()
    monkeypatch.setattr(shell, "display_pub", publisher)
    try:
        progress = Progress(2, mode="jupyter")
        progress.update(1, "first", loss=0.5)
        progress.update(2, "second", loss=0.25)
        progress.close()
    finally:
        InteractiveShell.clear_instance()
    first, second = publisher.outputs
    assert first["data"]["text/plain"].startswith("first   50 %   loss 0.5000")
    assert second["data"]["text/plain"].startswith("second   100 %   loss 0.2500")
    assert second["update"] and not first["update"]
    assert first["transient"]["display_id"] == second["transient"]["display_id"]


def test_a_resumed_run_tells_the_speed_of_its_own_steps():
    progress = Progress(100, samples=10, done=90, mode="lines")
    line = progress._line(95, "x", {}, spent=5.0)
    assert "10 samples/s" in line and "5 s left" in line and "95 %" in line


@pytest.mark.parametrize(
    ("terminal", "run", "mode"), [(True, "", "bar"), (False, "", "lines"), (True, "t", "lines")]
)
def test_the_mode_is_found_out(monkeypatch, terminal, run, mode):
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("MAESTRO_LAB_RUN", run)
    assert Progress(1).mode == mode
