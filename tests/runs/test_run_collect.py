import json
import os
import socket
import subprocess
import sys

import pytest

from maestro_lab.errors import RunError
from maestro_lab.runs import collect, start_run
from maestro_lab.runs.card import is_alive, owner


def make(folder, started, results=None, **card):
    folder.mkdir(parents=True)
    full = {"notebook": "n", "status": "completed", "seconds": 1.5, "started": started, **card}
    (folder / "card.json").write_text(json.dumps(full))
    if results is not None:
        (folder / "results.json").write_text(json.dumps(results))
    return folder


def test_collect_a_mixture(here):
    runs = here / "runs"
    make(runs / "b", "2026-01-01T00:00", {"acc": 0.5, "per": {"oak": 1}}, parameters={"lr": 1})
    make(runs / "deep" / "a", "2026-01-02", {"acc": 0.7, "loss": None}, status="failed")
    make(runs / "b" / "inside", "2026-01-03", parameters={"bands": ["B02"], "lr": 2})
    make(runs / "torn", "2026-01-04").joinpath("results.json").write_text("{")
    broken = runs / "broken"
    broken.mkdir()
    (broken / "card.json").write_text('{"status": "comp')
    make(runs / "odd", "2026-01-05", parameters=[1])
    (runs / "figures").mkdir()
    table = collect(runs).set_index("run")
    assert list(table.index) == ["b", "deep/a", "b/inside", "broken", "odd", "torn"]
    assert list(table.columns) == [
        *["notebook", "status", "seconds"],
        *["param.lr", "param.bands", "result.acc", "result.per.oak", "result.loss"],
    ]
    assert table.loc["b", "result.acc"] == 0.5 and table.loc["b", "result.per.oak"] == 1
    assert table.loc["deep/a", "status"] == "failed"
    assert table.loc["b/inside", "param.bands"] == ["B02"]
    for name in ("broken", "odd", "torn"):
        assert table.loc[name, "status"] == "unreadable"


def test_a_single_run_is_a_folder_too(here):
    start_run("tiny", {}, "run")
    assert collect("run")["run"].tolist() == ["run"]


def test_no_runs(here):
    with pytest.raises(RunError, match="no run below"):
        collect(here)
    with pytest.raises(RunError, match="no such folder"):
        collect(here / "absent")


def test_a_dead_process_is_told_from_a_living_one(here):
    me = {"host": socket.gethostname(), **owner()}
    assert is_alive(me)
    assert not is_alive({**me, "pid_started": me["pid_started"] - 100}), "the number was used again"
    assert is_alive({**me, "host": "elsewhere", "pid": 1})
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    make(here / "runs" / "a", "1", status="running", **{**me, "pid": ended.pid})
    make(here / "runs" / "b", "2", status="running", **me)
    make(here / "runs" / "c", "3", status="running", host=me["host"])
    assert collect("runs")["status"].tolist() == ["killed", "running", "killed"]
    assert os.getpid() == me["pid"]
