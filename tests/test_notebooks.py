"""The notebooks: clean as committed, run by nbval with defaults, chained by papermill."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import pytest
from click.testing import CliRunner

from maestro_lab.cli import main
from maestro_lab.models.weights import load_model
from maestro_lab.runs.parameters import read_parameters

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SOLUTIONS = sorted((FOLDER / "solutions").glob("*.ipynb"))
ALL = [*NOTEBOOKS, *SOLUTIONS]
LESSONS = [path for path in NOTEBOOKS if path.stem != "00_tour"]
TOKENS = "{s2: [[B02, B03, B04], [B05, B06, B07, B08, B8A], [B11, B12]]}"
LANDSCAPE = "{samples: 64, modalities: [s2, dem], seed: 3}"


def named(path):
    """Return the name of a notebook, told apart from the solutions of its exercises."""
    return f"{path.parent.name}-{path.stem}" if path in SOLUTIONS else path.stem


def lab(*args, cwd):
    """Run maestro-lab in this process, from a folder; return what it printed."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        with chdir(cwd):
            done = CliRunner().invoke(main, [str(a) for a in args])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert done.exit_code == 0, done.output
    return done.stdout


def lab_from_a_shell(*args, cwd):
    """Run maestro-lab as a user does, in a process of its own."""
    command = [sys.executable, "-m", "maestro_lab", *map(str, args)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", ALL, ids=named)
def test_a_committed_notebook_has_no_outputs(path):
    cells = json.loads(path.read_text())["cells"]
    code = [c for c in cells if c["cell_type"] == "code"]
    assert not any(c["outputs"] or c["execution_count"] for c in code)
    assert len({c["id"] for c in cells}) == len(cells)


@pytest.mark.parametrize("path", ALL, ids=named)
def test_a_notebook_opens_with_a_promise_what_is_learnt_and_how_long_it_takes(path):
    first = "".join(json.loads(path.read_text())["cells"][0]["source"])
    assert first.startswith("# ")
    for part in ("\n> ", "**You will learn**", "**You need**", "**It takes**"):
        assert part in first


@pytest.mark.parametrize("path", ALL, ids=named)
def test_every_parameter_has_a_type_a_default_and_help(path):
    declared = read_parameters(path)
    assert all(p.type and p.help for p in declared)
    assert declared[-1].name == "run_folder"
    source = next(
        "".join(c["source"])
        for c in json.loads(path.read_text())["cells"]
        if "parameters" in c["metadata"].get("tags", ())
    )
    line = re.compile(r"\w+: \w+ = .+  # .+")
    assert all(line.fullmatch(text) for text in source.splitlines())


def test_papermill_explains_the_parameters():
    command = [sys.executable, "-m", "papermill", "--help-notebook", str(LESSONS[1])]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for parameter in read_parameters(LESSONS[1]):
        assert f"{parameter.name}:" in shown
        assert parameter.help.split(";")[0][:30] in " ".join(shown.split())


@pytest.mark.notebooks
@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_nbval_runs_a_notebook_with_its_defaults(path, tmp_path):
    pytest.importorskip("nrt.data", reason="the demo's data are in the package nrt (extra demo)")
    place = tmp_path / "notebooks"
    place.mkdir()
    copy = shutil.copy(path, place)
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-cell-timeout=600", "-q"]
    plain = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", str(copy)],
        cwd=place, env=plain, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    (results,) = tmp_path.glob("runs/*/results.json")
    assert json.loads(results.read_text())


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """The notebooks on a small landscape with other parameters than the defaults."""
    top = tmp_path_factory.mktemp("chain")
    one, two, three, four, five = LESSONS[:5]
    cube = ["-p", "cube", "landscape", "-p", "options", LANDSCAPE]
    lab_from_a_shell(
        "run", one, "--run", "out/1", *cube, "-p", "linkage", "complete", "-p", "groups", "3",
        cwd=top,
    )  # fmt: skip
    lab(
        "run", two, "--run", "out/2", *cube, "-p", "band_groups", "out/1", "-p", "fusion", "mod",
        "-p", "dates", "{s2: 6}", "-p", "epochs", "2", "-p", "batch_size", "8", "-p", "seed", "5",
        "-p", "loss", "l2_norm", "-p", "mask_ratio", "0.6", "-p", "joint_depth", "2", cwd=top,
    )  # fmt: skip
    lab("run", three, "--run", "out/3", "-p", "pretrained", "out/2", "-p", "sample", "1", cwd=top)
    lab(
        "run", four, "--run", "out/4", "-p", "pretrained", "out/2", "-p", "target", "land_cover",
        "-p", "random_encoders", "1", "-p", "date_draws", "1", "-p", "bootstrap", "100", cwd=top,
    )  # fmt: skip
    lab(
        "run", five, "--run", "out/5", "-p", "pretrained", "out/2", "-p", "target", "land_cover",
        "-p", "fractions", "[0.3]", "-p", "seeds", "2", "-p", "steps", "6", "-p", "reduce",
        "linear", "-p", "bootstrap", "100", "-p", "keep", "probe", cwd=top,
    )  # fmt: skip
    lab(
        "run", two, "--run", "out/6", *cube, "-p", "modalities", "[s2]", "-p", "dates", "{s2: 4}",
        "-p", "token_groups", TOKENS, "-p", "masking", "{bands: 0.3, scale: 0.1}", "-p", "fusion",
        "mod", "-p", "joint_depth", "2", "-p", "use_dates", "false", "-p", "accumulate", "2", "-p",
        "checkpointing", "true", "-p", "pixels", "{s2: 12}", "-p", "resize", "bilinear", "-p",
        "patch", "{s2: 4}", "-p", "epochs", "1", "-p", "warm_start", "out/5", "-p", "warm_fresh",
        "[embed, to_pixels, mask_tokens]", cwd=top,
    )  # fmt: skip
    return top / "out"


@pytest.mark.notebooks
class TestChain:
    """What papermill left with parameters that are not the defaults."""

    def test_every_run_is_completed_and_keeps_its_parameters(self, chain):
        cards = [json.loads((chain / k / "card.json").read_text()) for k in "123456"]
        assert [card["status"] for card in cards] == ["completed"] * 6
        assert cards[0]["parameters"]["linkage"] == "complete"
        assert cards[1]["parameters"]["dates"] == {"s2": 6}

    def test_the_groups_of_the_first_are_the_norm_groups_of_the_model(self, chain):
        groups = json.loads((chain / "1" / "results.json").read_text())["groups"]["s2"]
        contract = json.loads((chain / "2" / "model.json").read_text())["config"]["contract"]
        norm = contract["modalities"]["s2"]["norm_groups"]
        assert len(norm) == 3
        assert " | ".join(" ".join(group) for group in norm) in groups

    def test_the_model_was_built_from_the_parameters(self, chain):
        model = json.loads((chain / "2" / "model.json").read_text())["config"]
        assert (model["fusion"], model["loss"], model["joint_depth"]) == ("mod", "l2_norm", 2)
        assert model["masking"]["ratio"] == 0.6
        assert model["contract"]["modalities"]["s2"]["dates"] == 6

    def test_reconstructions_and_probes_leave_numbers_with_intervals(self, chain):
        three, four = (json.loads((chain / k / "results.json").read_text()) for k in "34")
        low, high = three["l1 model interval"]
        assert low <= three["l1 model"] <= high
        for name in ("seasonal medians", "random weights", "pretrained encoder"):
            assert 0 < four[f"macro_f1 linear {name}"] < 1

    def test_labels_leave_scores_differences_and_a_model_with_its_head(self, chain):
        five = json.loads((chain / "5" / "results.json").read_text())
        name = next(n for n in five if n.startswith("average_iou finetune - supervised"))
        low, high = five[f"{name} interval"]
        assert low <= five[name] <= high
        assert "supervised twin" in five["verdict"] and 0 <= five["land_cover/average_iou"] <= 1
        model, report = load_model(chain / "5")
        assert report.share == 1 and model.config.heads["land_cover"].reduce == "linear"

    def test_every_choice_of_pretraining_reached_the_model(self, chain):
        model = json.loads((chain / "6" / "model.json").read_text())["config"]
        s2 = model["contract"]["modalities"]["s2"]
        assert [len(group) for group in s2["token_groups"]] == [3, 5, 2]
        assert (s2["size"], s2["patch"], s2["resize"], s2["dates"]) == (12, 4, "bilinear", 4)
        assert model["use_dates"] is False and model["masking"]["bands"] == 0.3
        cells = json.loads((chain / "6" / "notebook.ipynb").read_text())["cells"]
        printed = "".join(str(o.get("text", "")) for c in cells for o in c.get("outputs", ()))
        assert re.search(r"\d+ of \d+ tensors, \d+ % of the parameters loaded", printed)

    def test_nothing_was_written_to_stderr_by_a_cell(self, chain):
        for k in "123456":
            cells = json.loads((chain / k / "notebook.ipynb").read_text())["cells"]
            outputs = [o for c in cells for o in c.get("outputs", ())]
            assert not [o for o in outputs if o.get("name") == "stderr"]

    def test_the_report_is_one_page_that_loads_nothing(self, chain, tmp_path):
        page = tmp_path / "report.html"
        lab("report", chain, "--out", page, cwd=chain)
        text = page.read_text()
        assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", text)
        assert text.count("<img") + text.count("<svg") >= len(list(chain.glob("*/figures/*.png")))

    def test_collect_shows_results_with_their_intervals(self, chain):
        shown = lab("collect", chain, cwd=chain)
        assert re.search(r"l1 model +0\.\d+ +\[0\.\d+, 0\.\d+\]", shown)
        assert all(len(line) <= 120 for line in shown.splitlines())


@pytest.mark.notebooks
def test_pretraining_on_the_real_treesatai_patch(shared, tmp_path):
    root = shared / "data" / "treesatai_ts"
    lab(
        "run", LESSONS[1], "--run", "out", "-p", "cube", "treesatai-ts", "-p", "root", root,
        "-p", "epochs", "2", "-p", "batch_size", "2", cwd=tmp_path,
    )  # fmt: skip
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert 0 < results["loss"] < 5
    assert {"loss/aerial", "loss/s2", "loss/s1_asc", "loss/s1_des"} <= set(results)


def test_the_command_is_the_one_that_is_installed():
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="maestro-lab")
    assert script.load() is main
