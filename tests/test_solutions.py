"""Exercises: every lesson closes with three, and each is restated and solved in its solutions."""

import json
import re
from pathlib import Path

import pytest

from maestro_lab.runs import execute
from maestro_lab.runs.parameters import read_parameters

FOLDER = Path(__file__).parents[1] / "notebooks"
LESSONS = sorted(FOLDER.glob("0[1-9]_*.ipynb"))
QUICK = {"draws": 20, "epochs": 1, "steps": 4, "bootstrap": 20}
"""What solutions run with here, to save time: as far as a notebook has these parameters."""


def cells_of(path):
    """Return (kind, text) of each cell."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [(c["cell_type"], "".join(c["source"])) for c in cells]


def exercises(path):
    """Return number to (title, task) of the exercises that a lesson closes with."""
    kind, text = cells_of(path)[-1]
    assert kind == "markdown" and text.startswith("## To go on")
    found = re.findall(r"^(\d+)\. \*\*(.+?)\.?\*\* (.+)$", text, re.MULTILINE)
    return {number: (title, task) for number, title, task in found}


def sections(path):
    """Return number to (title, task) of the sections of solutions, and number to kinds of cells."""
    titles, kinds, number = {}, {}, ""
    for kind, text in cells_of(path):
        heading = re.fullmatch(r"## (\d+) · (.+)\n\n> (.+)", text) if kind == "markdown" else None
        if heading:
            number = heading[1]
            titles[number], kinds[number] = (heading[2], heading[3]), []
        elif number:
            kinds[number].append(kind)
    return titles, kinds


def test_there_are_solutions_for_lessons_and_for_nothing_else():
    assert len(LESSONS) == 6
    solved = sorted((FOLDER / "solutions").glob("*.ipynb"))
    assert [p.name for p in solved] == [p.name for p in LESSONS]


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_every_exercise_is_restated_and_solved_in_code_and_words(path):
    asked, (restated, kinds) = exercises(path), sections(FOLDER / "solutions" / path.name)
    assert list(asked) == ["1", "2", "3"]
    assert restated == asked
    assert all({"code", "markdown"} <= set(cells) for cells in kinds.values())


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_a_lesson_says_where_its_solutions_lie(path):
    last = cells_of(path)[-1][1].splitlines()[-1]
    (linked,) = re.findall(r"\]\((solutions/[^)]+)\)", last)
    assert (FOLDER / linked).is_file() and f"`notebooks/{linked}`" in last
    opening = cells_of(FOLDER / linked)[0][1]
    assert f"(../{path.name})" in opening


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_a_lesson_and_its_solutions_ask_the_same_question(path):
    title = cells_of(path)[0][1].splitlines()[0]
    assert re.fullmatch(r"# \d · .+\?", title)
    solutions = cells_of(FOLDER / "solutions" / path.name)[0][1].splitlines()[0]
    assert solutions == f"{title} Solutions"


@pytest.mark.notebooks
@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_solutions_run_and_leave_numbers_figures_and_a_verdict(path, tmp_path):
    pytest.importorskip("nrt.data", reason="the demo's data are in the package nrt (extra demo)")
    solutions = FOLDER / "solutions" / path.name
    quick = {p.name: QUICK[p.name] for p in read_parameters(solutions) if p.name in QUICK}
    assert quick
    run = execute(solutions, quick, folder=tmp_path / "out", stream=False)
    results = json.loads((run.folder / "results.json").read_text())
    assert results["verdict"] and len(results) > 4
    outputs = [
        output
        for cell in json.loads((run.folder / "notebook.ipynb").read_text())["cells"]
        for output in cell.get("outputs", ())
    ]
    assert not [o for o in outputs if o.get("name") == "stderr"]
    assert sum("text/html" in o.get("data", ()) for o in outputs) >= 2  # tables
