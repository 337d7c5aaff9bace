"""Runs compared: table, choice by click and box, and runs that lack things."""

import json

import pandas as pd
import pytest

from maestro_lab.errors import ParameterError, RunError
from maestro_lab.explore import RunsExplorer
from maestro_lab.runs.card import hostname


def made(number=4, **changes):
    """A table as of collect: two sizes, mask ratios, and an interval."""
    rows = []
    for k in range(number):
        r2 = 0.3 + 0.1 * k
        row = {"run": f"probe-{k}", "notebook": "04_probe", "status": "completed", "seconds": 9.0}
        row |= {"param.size": ("nano", "tiny")[k % 2], "param.ratio": 0.2 * k, "param.seed": 0}
        row |= {"param.bands": ["B02"] if k else [], "result.r2": r2, "result.verdict": "fine"}
        rows.append(row | {"result.r2 interval": [r2 - 0.1, r2 + 0.1], "result.rmse": 1 - r2})
    return pd.DataFrame(rows).assign(**changes)


def words(explorer):
    return explorer.words(**explorer.state)


def test_what_differs_is_offered(capsys):
    explorer = RunsExplorer(made())
    assert explorer.controls["parameter"].values == ["", "size", "ratio", "bands", "seed"]
    assert explorer.controls["result"].values == ["", "r2", "rmse", "seconds"]
    assert explorer.state["parameter"] == "size", "the first that differs"
    assert explorer.set(parameter="ratio", result="rmse", colour="bands").static()
    with pytest.raises(ParameterError, match=r"control 'result'\n.*r2, rmse, seconds"):
        explorer.set(result="verdict")


def test_a_single_run_has_nothing_to_be_compared_with():
    explorer = RunsExplorer(made(1))
    assert "One run of this notebook: nothing to compare yet" in words(explorer)
    assert explorer.static().axes
    assert "One run" not in words(RunsExplorer(made(2)))


def test_the_best_run_comes_first_and_chosen_ones_are_marked():
    explorer = RunsExplorer(made(), chosen="probe-2")
    table = words(explorer)
    assert [table.index(f"probe-{k}") for k in (3, 2, 1, 0)] == sorted(
        table.index(f"probe-{k}") for k in range(4)
    )
    assert "● probe-2" in table and table.count("class='chosen'") == 1
    assert "0.6 [0.5, 0.7]" in table
    table = words(explorer.set(result="rmse"))
    assert table.index("probe-3") < table.index("probe-0"), "a small error is a good one"


def test_a_click_chooses_and_lets_go_and_a_box_takes_many():
    explorer = RunsExplorer(made(), parameter="ratio", result="r2")
    assert explorer.click("result:r2", 0.41, 0.52).state["chosen"] == ["probe-2"]
    assert explorer.click("result:r2", 0.0, 0.3).state["chosen"] == ["probe-0", "probe-2"]
    assert explorer.click("result:r2", 0.41, 0.52).state["chosen"] == ["probe-0"]
    box = explorer.select("result:r2", (0.1, 0.7), (0.35, 0.8))
    assert box.state["chosen"] == ["probe-1", "probe-2", "probe-3"]
    assert explorer.select("result:r2", (5, 6), (5, 6)).state["chosen"] == []
    assert explorer.pointed("elsewhere", 0, 0) == {} == explorer.boxed("elsewhere", (0, 1), (0, 1))
    with pytest.raises(ParameterError, match="names of runs"):
        explorer.set(chosen=["probe-9"])


def test_lines_of_parallel_coordinates_are_chosen_along_their_way():
    explorer = RunsExplorer(made(), view="parallel coordinates", result="r2", parameter="ratio")
    assert explorer.click("parallel", 3.0, 0.99).state["chosen"] == ["probe-3"]
    on_ratio = explorer.select("parallel", (-0.1, 0.1), (-0.1, 0.4))
    assert on_ratio.state["chosen"] == ["probe-0", "probe-1"]


def test_each_notebook_has_its_own_runs():
    other = made(2).rename(columns={"result.r2": "result.loss", "param.size": "param.depth"})
    both = pd.concat([made(), other.assign(notebook="02_pretrain", run=["x-1", "x-2"])])
    explorer = RunsExplorer(both, chosen=["probe-1"])
    assert explorer.state["notebook"] == "04_probe" and len(explorer.shown) == 4
    explorer.set(notebook="02_pretrain")
    assert explorer.state["chosen"] == [] and explorer.state["parameter"] == "ratio"
    assert "loss" in explorer.controls["result"].values
    assert "r2" not in explorer.controls["result"].values
    assert explorer.static()


@pytest.mark.parametrize("view", ["small multiples", "parallel coordinates"])
def test_runs_may_lack_anything(view):
    table = made()
    table.loc[1, ["result.r2", "result.rmse", "seconds"]] = None
    table["result.r2 interval"] = [None, None, [0.1, 0.2], "broken"]
    table.loc[2, "param.ratio"] = None
    table.loc[1, "status"] = "failed"
    table["error"] = [None, "TrainingError: not a number", None, None]
    explorer = RunsExplorer(table, view=view, parameter="ratio", result="r2")
    assert explorer.static()
    shown = words(explorer)
    assert "1 of 4 runs have no r2" in shown and "TrainingError: not a number" in shown
    assert RunsExplorer(made(1), view=view).static()
    nothing = made().drop(columns=[c for c in made() if "result" in c] + ["seconds"])
    explorer = RunsExplorer(nothing, view=view)
    assert "No run has a result that is a number." in words(explorer)
    assert explorer.static()
    same = made(2).assign(**{"param.size": "nano", "param.ratio": 0, "param.bands": "x"})
    assert "No parameter differs" in words(RunsExplorer(same, view=view))


def test_a_folder_of_runs_with_one_that_failed_and_one_that_cannot_be_read(tmp_path):
    for k, status in enumerate(("completed", "failed", "running")):
        folder = tmp_path / f"run-{k}"
        folder.mkdir()
        card = {"notebook": "04", "status": status, "parameters": {"size": k}, "host": hostname()}
        if status == "failed":
            card["error"] = {"cell": 3, "ename": "ValueError", "evalue": "no\nmore"}
        (folder / "card.json").write_text(json.dumps(card))
        (folder / "results.json").write_text(json.dumps({"r2": 0.5} if not k else {}))
    (tmp_path / "run-9").mkdir()
    (tmp_path / "run-9" / "card.json").write_text("{")
    explorer = RunsExplorer(tmp_path)
    shown = words(explorer)
    assert "ValueError: no<" in shown and "killed" in shown and explorer.static()
    assert explorer.set(notebook="-").static() and "unreadable" in words(explorer)
    with pytest.raises(RunError, match="no run below"):
        RunsExplorer(tmp_path / "nothing")
    with pytest.raises(ParameterError, match="a table of runs"):
        RunsExplorer(pd.DataFrame({"run": ["a"]}))
