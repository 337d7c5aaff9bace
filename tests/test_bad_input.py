"""What a user does wrong, or what a machine does to a user, on the command line.

Each ends with an exit status, one screen that says what was expected, what was found and what to
do, and nothing half-written.
"""

import json
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import psutil
import pytest
import rasterio
import torch
from click.testing import CliRunner

from maestro_lab.cli import main
from maestro_lab.cubes.sources.treesatai import SPECIES
from maestro_lab.cubes.store import save_cube
from maestro_lab.runs import execute
from tests.conftest import REPOSITORY
from tests.training.conftest import make_cube

PRETRAIN = REPOSITORY / "notebooks" / "02_pretrain.ipynb"
RECONSTRUCT = REPOSITORY / "notebooks" / "03_reconstruct.ipynb"
COMMAND = [sys.executable, "-c", "from maestro_lab.cli import main; main()"]
SCREEN = 24


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Cubes that the tests copy from."""
    folder = tmp_path_factory.mktemp("shelf")
    save_cube(make_cube(), folder / "tiny.zarr")
    make_treesat(folder / "treesat")
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch, shelf):
    """A current folder with nothing in it but ``tiny.zarr``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MAESTRO_LAB_RUN", raising=False)
    before = signal.getsignal(signal.SIGTERM)
    shutil.copytree(shelf / "tiny.zarr", tmp_path / "tiny.zarr")
    yield tmp_path
    signal.signal(signal.SIGTERM, before)


def make_treesat(root: Path) -> None:
    """Write three samples in the native layout of TreeSatAI-TS."""
    rng = np.random.default_rng(0)
    for folder in ("aerial", "sentinel-ts"):
        (root / folder).mkdir(parents=True)
    for split in ("train", "val", "test"):
        row = [f"{split}.tif", f"{split}.h5", "20200701", "1", *"0" * (len(SPECIES) - 1)]
        head = ["aerial_name", "sen_name", "aerial_date", *SPECIES]
        (root / f"{split}.csv").write_text(",".join(head) + "\n" + ",".join(row) + "\n")
        with rasterio.open(
            root / "aerial" / row[0], "w", driver="GTiff", width=304, height=304, count=4,
            dtype="uint8", crs="EPSG:25832",
            transform=rasterio.Affine(0.2, 0, 5e5, 0, -0.2, 5.8e6),
        ) as file:  # fmt: skip
            file.write(rng.integers(40, 200, (4, 304, 304)).astype(np.uint8))
        with h5py.File(root / "sentinel-ts" / row[1], "w") as file:
            file["sen-2-data"] = rng.uniform(300, 3000, (4, 10, 6, 6)).astype(np.float32)
            file["sen-2-masks"] = np.zeros((4, 2, 6, 6), np.float32)
            file["sen-2-products"] = [
                f"S2A_MSIL2A_2020{m:02d}10T102021_N0214_R065_T32UNC_x" for m in range(1, 5)
            ]
            for way in ("asc", "des"):
                file[f"sen-1-{way}-data"] = rng.uniform(0.01, 0.3, (4, 2, 6, 6)).astype(np.float32)
                file[f"sen-1-{way}-products"] = [
                    f"S1A_IW_GRDH_1SDV_2020{m:02d}10T052500_x_0{m}1234_03A{m}B_1A2B"
                    for m in range(1, 5)
                ]


def call(*words):
    """Run a command in this process."""
    return CliRunner().invoke(main, [str(word) for word in words])


def screen(done) -> str:
    """Return what a command showed, after checking what every refusal has in common."""
    text = done.stdout + done.stderr
    assert len(text.splitlines()) <= SCREEN, text
    assert "Traceback" not in text and "--->" not in text
    assert "expected:" in text
    return text


def names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*")}


# -- before anything runs


def refused(here, *words) -> str:
    """Return the message of a command that is refused and leaves nothing behind."""
    before = names(here)
    done = call(*words)
    assert done.exit_code == 2 and done.stdout == ""
    assert names(here) == before
    return screen(done)


def test_an_unknown_cube(here):
    text = refused(here, "describe", "landscap")
    assert "romania, treesatai-ts, landscape" in text and "did you mean 'landscape'?" in text


def test_a_cube_that_is_not_there(here):
    assert "absent.zarr does not exist" in refused(here, "describe", "absent.zarr")


def test_a_file_that_is_not_there(here, shelf):
    text = refused(here, "describe", "treesatai-ts", "-o", "root", "nowhere")
    assert "nowhere/train.csv does not exist" in text and "the option root" in text
    shutil.copytree(shelf / "treesat", "treesat")
    Path("treesat/sentinel-ts/val.h5").unlink()
    text = refused(here, "describe", "treesatai-ts", "-o", "root", "treesat")
    assert "treesat/sentinel-ts/val.h5 does not exist" in text and "val.csv" in text


def test_a_truncated_file(here, shelf):
    shutil.copytree(shelf / "treesat", "treesat")
    assert call("describe", "treesatai-ts", "-o", "root", "treesat").exit_code == 0
    path = Path("treesat/sentinel-ts/test.h5")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    text = refused(here, "describe", "treesatai-ts", "-o", "root", "treesat")
    assert "test.h5 cannot be read" in text and "truncated" in text and "fetch it again" in text


def test_bands_in_another_order_than_declared(here, shelf):
    catalogue = (REPOSITORY / "data_catalog.yaml").read_text()
    assert "bands: [B02, B03, B04, B05" in catalogue
    swapped = catalogue.replace("bands: [B02, B03, B04, B05", "bands: [B03, B02, B04, B05")
    Path("data_catalog.yaml").write_text(swapped)
    text = refused(here, "describe", "treesatai-ts", "-o", "root", shelf / "treesat")
    assert "s2: bands are in another order" in text and "declare the order" in text
    assert "expected: B03 B02" in text and "found:    B02 B03" in text


def test_reflectance_where_dn_was_declared(here, shelf):
    shutil.copytree(shelf / "treesat", "treesat")
    for path in Path("treesat/sentinel-ts").iterdir():
        with h5py.File(path, "r+") as file:
            file["sen-2-data"][:] = file["sen-2-data"][:] / 10_000
    text = refused(here, "describe", "treesatai-ts", "-o", "root", "treesat")
    assert "s2: values do not look like DN" in text and "would fit 'reflectance'" in text
    assert "declare the right units" in text


def test_an_unknown_parameter(here):
    text = refused(here, "run", PRETRAIN, "-p", "epoch", "3")
    assert "no parameter named 'epoch'" in text and "did you mean 'epochs'?" in text


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", "many"), ("base_lr", "nan"), ("dates", "[3]"), ("workers", "1.5")],
)
def test_a_parameter_of_the_wrong_type(here, name, value):
    text = refused(here, "run", PRETRAIN, "-p", name, value)
    assert f"parameter {name}\n" in text and "found:" in text
    assert f"give another value: -p {name} VALUE" in text


def test_a_run_folder_that_exists(here):
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("all of it")
    text = refused(here, "run", PRETRAIN, "--run", "mine")
    assert "mine exists already" in text and "a free path" in text and "choose another" in text


def test_a_run_folder_that_cannot_be_made(here):
    Path("file").write_text("")
    text = refused(here, "run", PRETRAIN, "--run", "file/run")
    assert "file/run: Not a directory" in text and "name another one" in text


def test_a_run_whose_kernel_goes_on(here, monkeypatch):
    """It would still write into the folder that the resumed run writes to."""
    monkeypatch.setattr(sys.modules[execute.__module__], "KERNEL_ENDS", 0.3)
    Path("run").mkdir()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as orphan:
        born = psutil.Process(orphan.pid).create_time()
        card = {"notebook": "02_pretrain", "status": "running", "parameters": {}}
        card |= {"host": socket.gethostname(), "pid": 0, "pid_started": 0}
        card |= {"kernel": {"pid": orphan.pid, "pid_started": born}}
        Path("run/card.json").write_text(json.dumps(card))
        text = refused(here, "run", PRETRAIN, "--resume", "run")
        orphan.stdin.close()
    assert "run is still being written to" in text and f"kill {orphan.pid}, then resume" in text


# -- in a cell


def failed(done, folder, *, written=()) -> str:
    """Return the message of a run that failed in a cell, and whose card says so."""
    text = screen(done)
    assert "found:" in text and "to go on:" in text
    card = json.loads((Path(folder) / "card.json").read_text())
    assert card["status"] == "failed" and card["error"]["ename"] in text
    assert not {"token", "pid", "kernel"} & set(card)
    usual = {"card.json", "notebook.html", "notebook.ipynb"}
    assert names(Path(folder)) == usual | set(written)
    return text


def run(folder, **parameters):
    words = [w for name, value in parameters.items() for w in ("-p", name, value)]
    return call("run", PRETRAIN, "--run", folder, *words)


@pytest.mark.notebooks
def test_an_unknown_cube_in_a_notebook(here):
    done = run("r", cube="landscap")
    assert done.exit_code == 3
    text = failed(done, "r")
    assert "CatalogError: no cube named 'landscap'" in text and "did you mean" in text
    assert "begin a new run" in text, "a resume would keep the wrong parameter"


@pytest.mark.notebooks
def test_batch_size_zero(here):
    done = run("r", cube="./tiny.zarr", batch_size=0)
    assert done.exit_code == 3
    text = failed(done, "r")
    assert "ParameterError: batch_size" in text and "at least 1" in text and "found:    0" in text


@pytest.mark.notebooks
def test_a_loss_that_is_not_a_number(here):
    done = run("r", cube="./tiny.zarr", batch_size=2, epochs=2, base_lr="1e30")
    assert done.exit_code == 3
    text = failed(done, "r", written=["metrics.jsonl"])
    assert "TrainingError: the loss is not a number at step 5" in text
    assert "a finite loss" in text and "a lower base_lr" in text
    assert "no checkpoint was written" in text
    assert Path("r/metrics.jsonl").read_text() == ""


@pytest.mark.notebooks
def test_a_full_disk(here):
    """A limit to the size of files stands for it: also the superuser cannot write past it."""
    words = ["run", PRETRAIN, "--run", "r", "-p", "cube", "./tiny.zarr", "-p", "epochs", "1"]

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))

    done = subprocess.run(
        [*COMMAND, *map(str, words)], capture_output=True, text=True, preexec_fn=limit
    )
    assert done.returncode == 3
    text = failed(done, "r", written=["metrics.jsonl"])
    assert "checkpoints/last.pt could not be written" in text
    assert "File too large" in text and "make room, then resume" in text
    assert "--resume r" in text


# -- killed, and resumed


EPOCHS = 6
TRAINING = {"cube": "./tiny.zarr", "batch_size": 1, "epochs": EPOCHS}


@pytest.fixture(scope="module")
def home(tmp_path_factory, shelf):
    """A folder with the cube, and a run ``reference`` that nobody killed."""
    folder = tmp_path_factory.mktemp("home")
    shutil.copytree(shelf / "tiny.zarr", folder / "tiny.zarr")
    runner = begin(folder, "reference")
    assert runner.wait() == 0, runner.stderr.read()
    runner.stderr.close()
    return folder


def begin(folder: Path, name: str) -> subprocess.Popen:
    words = [w for n, value in TRAINING.items() for w in ("-p", n, str(value))]
    return subprocess.Popen(
        [*COMMAND, "run", str(PRETRAIN), "--run", name, *words], cwd=folder, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def halfway(runner: subprocess.Popen, run: Path) -> psutil.Process:
    """Wait until a run is in the middle, after a checkpoint; return its kernel."""
    metrics = run / "metrics.jsonl"
    while not metrics.exists() or metrics.read_text().count("\n") < 2:
        assert runner.poll() is None, runner.stderr.read()
        time.sleep(0.02)
    assert (run / "checkpoints" / "last.pt").exists()
    return psutil.Process(json.loads((run / "card.json").read_text())["kernel"]["pid"])


def resume(folder: Path, name: str) -> subprocess.CompletedProcess:
    words = [*COMMAND, "run", str(PRETRAIN), "--resume", name]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True)


@pytest.mark.notebooks
@pytest.mark.parametrize("whom", ["the runner", "all of it"])
def test_a_run_killed_and_resumed_ends_as_if_nothing_had_been(home, whom):
    name = whom.replace(" ", "_")
    killed, reference = home / name, home / "reference"
    with begin(home, name) as runner:
        kernel = halfway(runner, killed)
        assert runner.pid in [p.pid for p in kernel.parents()]
        for process in [runner, kernel] if whom == "all of it" else [runner]:
            process.kill()
        runner.wait()
    assert (killed / "metrics.jsonl").read_text().count("\n") < EPOCHS
    assert not (killed / "model.safetensors").exists()
    done = resume(home, name)  # at once: an orphaned kernel must not write between its lines
    assert done.returncode == 0, done.stderr
    assert not kernel.is_running() or kernel.status() == psutil.STATUS_ZOMBIE
    for file in ("metrics.jsonl", "model.safetensors", "model.json", "results.json"):
        assert (killed / file).read_bytes() == (reference / file).read_bytes(), file
    assert names(killed) == names(reference)
    card = json.loads((killed / "card.json").read_text())
    assert card["status"] == "completed" and card["resumed"] == 1


@pytest.mark.notebooks
def test_a_checkpoint_of_another_configuration(home, monkeypatch):
    """Found in the folder of a run that is resumed with what its own card says."""
    monkeypatch.chdir(home)
    Path("foreign/checkpoints").mkdir(parents=True)
    card = json.loads(Path("reference/card.json").read_text()) | {"status": "failed"}
    card["parameters"]["epochs"] = 3
    Path("foreign/card.json").write_text(json.dumps(card))
    shutil.copy("reference/checkpoints/last.pt", "foreign/checkpoints/last.pt")
    shutil.copy("reference/metrics.jsonl", "foreign/metrics.jsonl")
    text = screen(call("run", PRETRAIN, "--resume", "foreign", "-p", "epochs", "4"))
    assert "parameter epochs differs from that of the run to resume" in text
    done = call("run", PRETRAIN, "--resume", "foreign")
    assert done.exit_code == 3
    written = ["checkpoints", "checkpoints/last.pt", "metrics.jsonl"]
    text = failed(done, "foreign", written=written)
    assert "last.pt is from another configuration: training.epochs" in text
    assert f"expected: 3\n  found:    {EPOCHS}\n" in text and "choose another run folder" in text
    for file in ("checkpoints/last.pt", "metrics.jsonl"):
        assert Path("foreign", file).read_bytes() == Path("reference", file).read_bytes()


@pytest.mark.notebooks
def test_a_cube_without_a_modality_that_the_model_needs(home, monkeypatch):
    """The cube was saved again, without radar, after the model had been trained on it."""
    monkeypatch.chdir(home)
    save_cube(make_cube().drop_nodes("radar"), "poorer.zarr")
    shutil.copytree("reference", "trained")
    card = json.loads(Path("trained/card.json").read_text())
    card["parameters"]["cube"] = "./poorer.zarr"
    Path("trained/card.json").write_text(json.dumps(card))
    done = call("run", RECONSTRUCT, "--run", "looked", "-p", "pretrained", "trained")
    assert done.exit_code == 3
    text = failed(done, "looked")
    assert "ContractError" in text and "expected: modality radar" in text
    assert "not in the cube, which has optics" in text


@pytest.mark.notebooks
def test_the_checkpoint_of_a_real_run_holds_plain_tensors(home):
    state = torch.load(home / "reference" / "checkpoints" / "last.pt", weights_only=True)
    assert state["step"] == 10 * EPOCHS
