"""Which explorers fit a cube, a run, a folder of runs; and their page, served to this machine."""

import json

import pytest
from click.testing import CliRunner

from maestro_lab.cli import main
from maestro_lab.errors import LabError, RunError
from maestro_lab.explore import CubeExplorer
from maestro_lab.exploring import explorers_for
from tests.batches.cubes import small_cube


def card(folder, **facts):
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(json.dumps({"status": "failed", **facts}))
    return folder


def test_a_cube_is_looked_at_by_its_pixels_and_its_bands():
    found = explorers_for(small_cube())
    assert list(found) == ["cube", "bands"]
    assert isinstance(found["cube"](), CubeExplorer)
    named = explorers_for("landscape", options={"samples": 4, "modalities": ["dem"]})
    assert named["cube"]().cube.sizes["sample"] == 4


def test_a_run_without_weights_shows_its_training(tmp_path):
    run = card(tmp_path / "one", notebook="02_pretrain", error="ValueError: no")
    (run / "metrics.jsonl").write_text('{"step": 1, "epoch": 1, "lr": 0.1, "loss": 0.9}\n{"st')
    found = explorers_for(run)
    assert list(found) == ["training"]
    assert "no" in found["training"]().words(**found["training"]().state)


def test_what_is_not_there_is_named_with_all_it_might_be(tmp_path):
    with pytest.raises(RunError, match=r"nothing to look at.*\n.*a run, a folder of runs"):
        explorers_for(tmp_path / "nope")


def test_a_run_with_weights_shows_its_model_on_its_cube(tmp_path):
    run = card(tmp_path / "one", notebook="02_pretrain")
    (run / "model.safetensors").write_bytes(b"")
    assert list(explorers_for(run)) == [
        "training",
        "cube",
        "reconstruction",
        "embeddings",
        "probes",
    ]


def test_a_folder_of_runs_compares_them(tmp_path):
    card(tmp_path / "runs" / "a")
    card(tmp_path / "runs" / "b")
    assert list(explorers_for(tmp_path / "runs")) == ["runs"]


@pytest.mark.parametrize("arguments", [[], ["-o", "samples", "4"]])
def test_the_command_serves_what_it_is_told(monkeypatch, arguments):
    import maestro_lab.explore.served as served

    told = {}
    monkeypatch.setattr(served, "serve", lambda found, **how: told.update(how, found=list(found)))
    done = CliRunner().invoke(main, ["explore", "landscape", *arguments, "--no-browser"])
    assert done.exit_code == 0, done.output
    assert told["found"] == ["cube", "bands"]
    assert told["address"] == "127.0.0.1" and told["show"] is False


def test_what_is_not_there_is_refused_before_anything_is_served(tmp_path):
    with pytest.raises(LabError, match="nope"):
        explorers_for(tmp_path / "nope")
    done = CliRunner().invoke(main, ["explore", "landscap", "--no-browser"])
    assert done.exit_code == 2 and "landscape" in done.output
