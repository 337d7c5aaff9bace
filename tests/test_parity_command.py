"""``maestro-lab parity``: every recorded case, and a folder that is wrong is said to be."""

import json
import shutil

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from maestro_lab.cli import main

QUANTITIES = {
    "tokens", "encoder", "visible tokens", "decoder", "pixels", "losses", "gradients", "heads",
    "head losses",
}  # fmt: skip


def parity(folder, *options):
    done = CliRunner().invoke(main, ["parity", str(folder), *options])
    last = done.output.strip().splitlines()[-1]
    return done, json.loads(last) if last.startswith("{") else None


def test_every_recorded_case_of_every_mode_agrees(shared):
    done, found = parity(shared / "fixtures" / "maestro")
    assert done.exit_code == 0, done.output
    assert (found["cases"], found["failed"]) == (10, [])
    assert set(found["worst"]) == QUANTITIES
    assert all(w < 1e-5 for q, w in found["worst"].items() if q != "gradients")
    assert found["worst"]["gradients"] < 2e-4


@pytest.fixture
def folder(shared, tmp_path):
    """One case under a name of its own, with the inputs it names."""
    source = shared / "fixtures" / "maestro"
    content = json.loads((source / "cases.json").read_text())
    cases = {"mine": content["cases"]["treesat_group_i1"]}
    (tmp_path / "cases.json").write_text(
        json.dumps({"configs": content["configs"], "cases": cases})
    )
    shutil.copy(source / "treesat_group_i1.safetensors", tmp_path / "mine.safetensors")
    shutil.copy(source / "treesat_inputs.safetensors", tmp_path)
    return tmp_path


def test_a_case_is_known_by_no_name(folder):
    done, found = parity(folder)
    assert done.exit_code == 0, done.output
    assert done.output.startswith("mine: tokens ")
    assert found["cases"] == 1


@pytest.mark.parametrize(
    ("key", "quantity"),
    [
        ("probe.enc.s2", "encoder"),
        ("pretrain.pixels.s2", "pixels"),
        ("probe.logits_linear.treesat_mlc_thresh", "heads"),
    ],
)
def test_a_difference_is_found_where_it_is(folder, key, quantity):
    tensors = load_file(folder / "mine.safetensors")
    tensors[key].view(-1)[3] += 1e-3
    save_file(tensors, folder / "mine.safetensors")
    done, found = parity(folder)
    assert done.exit_code == 1
    assert found["failed"] == ["mine"]
    assert f"beyond tolerance: {quantity}" in done.output
    assert found["worst"][quantity] == pytest.approx(1e-3, rel=0.01)
    assert parity(folder, "--tolerance", "0.01")[0].exit_code == 0


def test_other_weights_are_found_everywhere(folder):
    tensors = load_file(folder / "mine.safetensors")
    name = "w.encoder.s2.layers.0.0.to_qkv.weight"
    tensors[name] = tensors[name] + torch.randn_like(tensors[name].float()).to(tensors[name]) * 0.1
    save_file(tensors, folder / "mine.safetensors")
    done, _ = parity(folder)
    for quantity in ("encoder", "decoder", "losses", "gradients", "heads"):
        assert quantity in done.output.split("beyond tolerance: ")[1]


def test_token_groups_elevation_and_native_sizes_are_read_from_the_folder():
    from maestro_lab.parity import contract_of

    config = {
        "dem": {"image_size": 8, "patch": 4, "bands": 2, "num_dates": 1, "rescale_elev": True},
        "naip": {
            "image_size": 8, "patch": 2, "bands": [[3], [0, 1, 2]], "norm_bands": [2, 2],
            "num_dates": 1, "name_embed": "aerial",
        },
        "_grid_pos_enc": 16,
    }  # fmt: skip
    inputs = {"dem": torch.zeros(1, 1, 2, 8, 8), "naip": torch.zeros(1, 1, 4, 4, 4)}
    found = contract_of(config, inputs)
    assert found.modalities["dem"].rescale_elevation
    naip = found.modalities["naip"]
    assert (naip.pixels, naip.size, naip.grid, naip.embedding) == (4, 8, 4, "aerial")
    assert naip.token_groups == (("band3",), ("band0", "band1", "band2"))
    assert naip.norm_groups == (("band3", "band0"), ("band1", "band2"))


@pytest.mark.parametrize("content", [None, "{", "{}", "[]"])
def test_a_folder_without_oracles_is_refused(tmp_path, content):
    if content:
        (tmp_path / "cases.json").write_text(content)
    done, _ = parity(tmp_path)
    assert done.exit_code == 2
    assert "holds no oracles" in done.output and "Traceback" not in done.output


def test_a_missing_file_is_named(folder):
    (folder / "mine.safetensors").unlink()
    done, _ = parity(folder)
    assert done.exit_code == 2
    assert "mine.safetensors cannot be read" in done.output
