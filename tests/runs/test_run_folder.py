import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from maestro_lab.errors import ParameterError, RunError
from maestro_lab.runs import Run, open_run, start_run
from maestro_lab.runs.folder import TOKEN
from maestro_lab.runs.namespace import declared


@pytest.fixture
def run(here):
    return start_run("tiny", {}, "run")


def namespace(source, **more):
    """The globals of a notebook after the given source ran."""
    names = {**more}
    exec(source, names)
    return names


def test_card(here):
    names = namespace(
        "seed: int = 3\nlr: float = 0.1\nrun_folder: str = ''\nother: bytes = b''\nn = 1"
    )
    run = start_run("tiny.ipynb", names)
    card = run.card
    assert run.folder == here / "runs" / "tiny-001"
    assert card["notebook"] == "tiny"
    assert card["parameters"] == {"seed": 3, "lr": 0.1}
    assert card["seed"] == 3
    assert card["status"] == "interactive"
    assert card["git"] is None
    assert set(card["versions"]) == {"python", "torch", "numpy", "xarray", "maestro_lab"}
    assert card["cpus"] >= 1 and card["host"] and card["device"] and card["started"]


def test_folders_are_numbered_and_never_used_twice(here):
    (here / "runs" / "tiny-007").mkdir(parents=True)
    (here / "runs" / "tiny-x").touch()
    names = [start_run("tiny", {}).folder.name for _ in range(2)]
    assert names == ["tiny-008", "tiny-009"]
    assert start_run("tiny-008", {}).folder.name == "tiny-008-001"


def test_a_notebook_in_the_notebooks_folder_runs_beside_it(here, monkeypatch):
    (here / "notebooks").mkdir()
    monkeypatch.chdir(here / "notebooks")
    assert start_run("tiny", {}).folder == here / "runs" / "tiny-001"


def test_run_folder_of_the_namespace_is_used_and_must_be_free(here):
    run = start_run("tiny", {"run_folder": "a/b"})
    assert run.folder == here / "a" / "b"
    with pytest.raises(RunError, match=r"exists already(.|\n)*free path(.|\n)*'interactive'"):
        start_run("tiny", {"run_folder": "a/b"})


def test_a_prepared_folder_is_taken_only_with_its_token(here, monkeypatch):
    folder = here / "made"
    folder.mkdir()
    (folder / "card.json").write_text(json.dumps({"status": "running", "token": "right"}))
    monkeypatch.setenv(TOKEN, "wrong")
    with pytest.raises(RunError):
        start_run("tiny", {"run_folder": "made"})
    monkeypatch.setenv(TOKEN, "right")
    assert start_run("tiny", {"run_folder": "made"}).folder == folder
    (folder / "card.json").write_text(json.dumps({"status": "completed", "token": "right"}))
    with pytest.raises(RunError):
        start_run("tiny", {"run_folder": "made"})


def test_a_file_in_the_way(here):
    (here / "runs").write_text("")
    with pytest.raises(RunError, match="cannot be made"):
        start_run("tiny", {})
    with pytest.raises(RunError, match="cannot be made"):
        start_run("tiny", {}, "runs/below")


@pytest.mark.parametrize("name", ["", "../up", "a/b"])
def test_a_name_that_is_no_file_name(here, name):
    with pytest.raises(RunError, match="cannot have this name"):
        start_run(name, {})
    assert not list(here.iterdir())


def test_parameters_without_annotations_dict():
    """Python 3.14 has a function instead, and IPython keeps only that of the last statement."""
    names = {
        "In": ["", "seed: int = 0\nbands: list = []", "import os\nx = 3"],
        "__annotate__": lambda _format: {"lr": float},
        "seed": 4,
        "bands": ("B02",),
        "lr": np.float32(0.5),
    }
    assert declared(names) == {"seed": 4, "bands": ["B02"], "lr": 0.5}


def test_parameters_must_be_plain(here):
    with pytest.raises(ParameterError, match=r"ndarray of shape \(3,\)"):
        start_run("tiny", namespace("x: list = np.zeros(3)", np=np))
    assert not list(here.iterdir())


def test_results(run):
    run.results(a=np.float32(0.5), b=np.int64(3), c=True, d=None, e="text", verdict="good")
    run.results(a=0.75, f=[1, 2.5], g={"x": 1}, h=float("nan"), i=np.array(2.0))
    assert json.loads((run.folder / "results.json").read_text()) == {
        "a": 0.75,
        "b": 3,
        "c": True,
        "d": None,
        "e": "text",
        "verdict": "good",
        "f": [1, 2.5],
        "g": {"x": 1},
        "h": None,
        "i": 2.0,
    }


@pytest.mark.parametrize("value", [np.zeros(3), [[1]], {"a": {}}, [np.zeros(2)], object(), {1: 2}])
def test_results_refuses_anything_large(run, value):
    run.results(before=1)
    with pytest.raises(RunError, match="result 'x' cannot be kept"):
        run.results(y=1, x=value)
    assert json.loads((run.folder / "results.json").read_text()) == {"before": 1}


def test_note(run):
    run.note(fingerprint="abc", shape=(1, 2))
    assert run.card["fingerprint"] == "abc" and run.card["shape"] == [1, 2]
    assert run.card["status"] == "interactive"
    with pytest.raises(RunError, match="'status' is set by the runner"):
        run.note(status="completed")
    with pytest.raises(RunError, match="plain values"):
        run.note(data=np.zeros(2))


def test_a_broken_card_is_a_readable_error(run):
    (run.folder / "card.json").write_text('{"status": ')
    with pytest.raises(RunError, match="cannot be read"):
        _ = run.card


def draw():
    from matplotlib.figure import Figure

    fig = Figure(figsize=(2, 1))
    ax = fig.subplots()
    ax.plot([1, 3, 2], label="a")
    ax.fill_between([0, 1], [1, 2])
    ax.legend()
    return fig


def test_the_same_figure_gives_the_same_bytes(run):
    figure, png = draw(), run.folder / "figures" / "one.png"
    assert run.figure(figure, "one") is figure
    first = png.with_suffix(".svg").read_bytes()
    assert png.stat().st_size > 500
    run.figure(draw(), "one")
    assert run.figure(None, "two") is None and not png.with_name("two.png").exists()
    assert png.with_suffix(".svg").read_bytes() == first
    assert b"<dc:date>" not in first


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".hidden"])
def test_figure_names(run, name):
    with pytest.raises(RunError, match="plain file name"):
        run.figure(draw(), name)


def test_paths_and_repr(run, here):
    assert run.metrics == here / "run" / "metrics.jsonl"
    assert run.weights == here / "run" / "model.safetensors"
    assert run.checkpoints == here / "run" / "checkpoints"
    assert repr(run) == "Run('run', interactive)"
    run.results(text="<b>")
    assert "&lt;b&gt;" in run._repr_html_() and "<b>run</b>" in run._repr_html_()


def test_a_notebook_shows_the_verdict_first_and_folds_many_results(run):
    run.results(verdict="Good:\nbetter <than> chance.", **{f"r{k}": k for k in range(9)})
    shown = run._repr_html_()
    assert "<p>Good:<br>better &lt;than&gt; chance.</p>" in shown
    assert "<details><summary>9 results</summary>" in shown and shown.count("verdict") == 0


def test_a_run_that_left_nothing_is_forgotten_when_its_kernel_ends(here):
    begin = "import maestro_lab as ml; run = ml.start_run('look', {}, 'looked'); "
    for more, there in (("", False), ("run.results(found=1)", True), ("1 / 0", False)):
        code = subprocess.run([sys.executable, "-c", begin + more], capture_output=True).returncode
        assert (here / "looked").exists() == there, more
        assert code == (1 if "/" in more else 0)
        shutil.rmtree(here / "looked", ignore_errors=True)


def test_open_run(run, here):
    assert open_run("run") == run == Run(here / "run")
    with pytest.raises(RunError, match=r"a folder with card\.json"):
        open_run(here)
    with pytest.raises(RunError, match="no folder"):
        open_run(here / "absent")


def test_git(here):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    (here / "code.py").write_text("")
    (here / ".gitignore").write_text("runs/\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    clean = start_run("tiny", {}).card["git"]
    assert len(clean["revision"]) == 40 and clean["dirty"] is False
    (here / "new.py").write_text("")
    assert start_run("tiny", {}).card["git"] == {**clean, "dirty": True}


def test_the_functions_are_not_hidden_by_their_files():
    code = (
        "import maestro_lab.runs.report, maestro_lab.runs.collect, maestro_lab.runs.execute\n"
        "from maestro_lab import runs\n"
        "assert all(callable(getattr(runs, name)) for name in runs.__all__)\n"
        "from maestro_lab.runs.report import report\n"
        "assert runs.report is report"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_command_line_is_cheap():
    heavy = "torch xarray papermill nbconvert nbformat matplotlib pandas numpy"
    code = (
        "import sys, maestro_lab.cli, maestro_lab.runs.folder\n"
        f"print(*[m for m in '{heavy}'.split() if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={**os.environ}
    )
    assert done.stdout.split() == []
