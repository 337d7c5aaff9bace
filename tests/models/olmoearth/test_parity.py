"""``maestro-lab parity`` on recorded OlmoEarth cases; and a folder that is wrong is said to be."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from maestro_lab.cli import main
from tests.conftest import VECTORS

OURS = VECTORS / "olmoearth"


def parity(folder, *options):
    done = CliRunner().invoke(main, ["parity", str(folder), *options])
    last = done.output.strip().splitlines()[-1]
    return done, json.loads(last) if last.startswith("{") else None


def test_every_recorded_case_agrees(fixtures):
    done, found = parity(fixtures)
    assert done.exit_code == 0, done.output
    cases = [p for p in fixtures.glob("*/*.safetensors")
             if p.name != "state_dict.safetensors" and p.parent.name != "components"]  # fmt: skip
    assert (found["cases"], found["failed"]) == (len(cases), []) and cases
    quantities = {"tokens", "pooled", "summary", "targets", "predictions", "losses", "step"}
    assert set(found["worst"]) == quantities | {"gradients"}
    assert all(w < 1e-5 for q, w in found["worst"].items() if q != "gradients")
    assert found["worst"]["gradients"] < 1e-4


def test_the_vectors_that_come_along_agree():
    done, found = parity(OURS)
    assert done.exit_code == 0, done.output
    assert found["cases"] == 2 and set(found["worst"]) >= {"tokens", "targets", "predictions"}
    assert all(w < 1e-5 for w in found["worst"].values())


@pytest.fixture
def folder(tmp_path):
    """One model under a name of its own, with a case under another."""
    shutil.copytree(OURS / "micro_v1_2", tmp_path / "mine", copy_function=shutil.copyfile)
    (tmp_path / "mine" / "mim_ps4_8px.safetensors").rename(tmp_path / "mine" / "one.safetensors")
    return tmp_path


def change(path, name, amount=1e-3):
    with safe_open(path, "pt") as file:
        facts = file.metadata()
    tensors = load_file(path)
    tensors[name] = tensors[name] + amount
    save_file(tensors, path, metadata=facts)


@pytest.mark.parametrize(
    ("key", "quantity"),
    [
        ("out.masked.latent.sentinel1", "tokens"),
        ("out.masked.project_aggregated", "summary"),
        ("out.masked.decoded.worldcover", "predictions"),
        ("out.target.srtm", "targets"),
    ],
)
def test_a_difference_is_found_where_it_is(folder, key, quantity):
    change(folder / "mine" / "one.safetensors", key)
    for place in (folder, folder / "mine"):
        done, found = parity(place)
        assert done.exit_code == 1
        assert found["failed"] == ["mine one"] and found["cases"] == 1
        assert f"beyond tolerance: {quantity}" in done.output
        assert found["worst"][quantity] == pytest.approx(1e-3, rel=0.01)
    assert parity(folder, "--tolerance", "0.01")[0].exit_code == 0


def test_other_weights_are_found_everywhere(folder):
    name = "encoder.blocks.0.attn.v.bias"
    change(folder / "mine" / "state_dict.safetensors", name, torch.rand(32))
    done, _ = parity(folder)
    assert done.exit_code == 1
    assert "beyond tolerance: tokens, summary, predictions" in done.output


def test_a_folder_that_is_wrong_is_told(folder):
    mine = folder / "mine"
    (mine / "one.safetensors").write_bytes(b"no tensors")
    done, _ = parity(folder)
    assert done.exit_code == 2 and "one.safetensors cannot be read" in done.output
    state = load_file(mine / "state_dict.safetensors")
    save_file({k: t for k, t in state.items() if "mask_token" not in k},
              mine / "state_dict.safetensors")  # fmt: skip
    done, _ = parity(folder)
    assert done.exit_code == 2 and "mine: weights do not fit" in done.output
    (mine / "config.json").write_text("{}")
    done, _ = parity(folder)
    assert done.exit_code == 2 and "describes no OlmoEarth model" in done.output
    assert "Traceback" not in done.output
