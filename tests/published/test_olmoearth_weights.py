"""Folders of OlmoEarth weights: published ones, ours, damaged ones, and those of the hub."""

from __future__ import annotations

import hashlib
import importlib
import json
import pickle
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from maestro_lab.errors import WeightsError
from maestro_lab.models.olmoearth.config import OlmoEarthConfig
from maestro_lab.models.olmoearth.model import OlmoEarth
from maestro_lab.models.olmoearth.official import to_official
from maestro_lab.models.weights import load_model, save_model
from maestro_lab.published.olmoearth import (
    ACCEPT,
    LICENCE,
    export_olmoearth,
    fetch_olmoearth,
    load_olmoearth,
)
from maestro_lab.published.olmoearth_config import config_from_official, config_to_official
from tests.models.olmoearth.made import VERSIONS, make_sample, micro, shaken

versions = pytest.mark.parametrize("version", VERSIONS)


def model_of(version: str) -> OlmoEarth:
    torch.manual_seed(0)
    return shaken(OlmoEarth(micro(version))).eval()


def published(model: OlmoEarth, folder: Path) -> Path:
    """A folder as Ai2 publishes them: whole target encoder, legacy tables, settings of training."""
    folder.mkdir(exist_ok=True)
    state = to_official(model.state_dict(), model.config, whole_target=True)
    for end in ("encoder", "decoder", "target_encoder"):
        state[f"{end}.composite_encodings.pos_embed"] = torch.zeros(12, 8)
    torch.save(state, folder / "weights.pth")
    config = config_to_official(model.config)
    config["model"]["projection_only_target"] = False
    config["train_module"]["optim_config"] = {"lr": 1e-4}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "LICENSE.txt").write_text("OlmoEarth Artifact License, the whole text")
    return folder


def changed(folder: Path, change) -> Path:
    state = torch.load(folder / "weights.pth", weights_only=True)
    change(state)
    torch.save(state, folder / "weights.pth")
    return folder


def refusal(folder: Path, **options) -> str:
    with pytest.raises(WeightsError) as caught:
        load_olmoearth(folder, **{"accept_licence": True, **options})
    text = str(caught.value)
    assert "expected:" in text and "found:" in text and "to do:" in text
    return text


@versions
def test_a_published_folder_is_loaded_whole(version, tmp_path):
    model = model_of(version)
    loaded = load_olmoearth(published(model, tmp_path / "w"), accept_licence=True)
    assert loaded.report.share == 1.0 and not loaded.report.missing + loaded.report.unexpected
    assert "100 % of the parameters" in repr(loaded.report)
    assert loaded.licence == "OlmoEarth Artifact License, the whole text"
    assert any(name.endswith("pos_embed") for name in loaded.left)
    assert all("pos_embed" in name or name.startswith("target_encoder.") for name in loaded.left)
    assert not loaded.model.training
    ours, theirs = model.state_dict(), loaded.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    sample = make_sample(model.config)
    with torch.no_grad():
        assert torch.equal(model.embed(sample), loaded.model.embed(sample))


@versions
def test_what_we_export_is_loaded_again(version, tmp_path):
    model = model_of(version)
    folder = export_olmoearth(model, tmp_path / "new" / "folder")
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "weights.pth"]
    again = load_olmoearth(folder, accept_licence=True)
    assert again.report.share == 1.0 and again.left == () and again.licence == LICENCE
    assert replace(again.model.config, masking=model.config.masking) == replace(
        model.config, contrastive=again.model.config.contrastive
    )


@versions
def test_the_published_package_reads_what_we_export(version, tmp_path, recwarn):
    theirs = pytest.importorskip(
        "olmoearth_pretrain_minimal", reason="the published package is not installed"
    )
    model = model_of(version)
    found = theirs.load_model_from_path(export_olmoearth(model, tmp_path)).state_dict()
    expected = to_official(model.state_dict(), model.config)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    recwarn.clear()


@versions
def test_reconstructed_configurations_are_read(shared, version):
    folder = shared / "fixtures" / "olmoearth" / "configs"
    content = json.loads((folder / f"nano_{version.replace('.', '_')}.json").read_text())
    expected = OlmoEarthConfig.of(version, "nano")
    found = config_from_official(content)
    assert replace(found, dropout_modalities=expected.dropout_modalities) == expected


def test_weights_without_a_target_are_told(tmp_path):
    folder = published(model_of("v1.2"), tmp_path)

    def drop(state):
        for name in [n for n in state if n.startswith("target_encoder.")]:
            del state[name]

    report = load_olmoearth(changed(folder, drop), accept_licence=True).report
    assert report.missing and all(name.startswith("target.") for name in report.missing)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("encoder.blocks.1.attn.k.bias"), "missing encoder.blocks.1.attn.k.bias"),
        (lambda s: s.update({"encoder.more": torch.zeros(1)}), "unexpected encoder.more"),
        (lambda s: s.update({"decoder.mask_token": torch.zeros(7)}), "decoder.mask_token"),
        (
            lambda s: s.pop(
                "target_encoder.patch_embeddings.per_modality_embeddings.srtm.srtm__0.proj.bias"
            ),
            "missing target_encoder.patch_embeddings",
        ),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(tmp_path, change, message):
    assert message in refusal(changed(published(model_of("v1.1"), tmp_path), change))


def test_a_part_can_be_asked_for(tmp_path):
    folder = published(model_of("v1"), tmp_path)
    changed(folder, lambda s: s.pop("decoder.mask_token"))
    report = load_olmoearth(folder, accept_licence=True, partial=True).report
    assert report.missing == ("decoder.mask_token",) and report.share < 1


def test_damaged_files_are_refused(tmp_path):
    folder = published(model_of("v1"), tmp_path)
    whole = (folder / "weights.pth").read_bytes()
    (folder / "weights.pth").write_bytes(whole[: len(whole) // 2])
    assert "weights.pth" in refusal(folder)
    (folder / "weights.pth").write_bytes(pickle.dumps({"encoder.norm.weight": print}))
    assert "read safely" in refusal(folder)
    (folder / "weights.pth").unlink()
    assert "no file" in refusal(folder)
    for text in ("{", "[]", "{}", '{"model": {"encoder_config": {}, "decoder_config": {}}}'):
        (folder / "config.json").write_text(text)
        assert "config.json" in refusal(folder)
    (folder / "config.json").unlink()
    assert "config.json cannot be read" in refusal(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("position_encoding", "rope_3d"),
        ("num_register_tokens", 4),
        ("qk_norm", True),
        ("max_patch_size", 16),
        ("attention_pooler_config", {"depth": 1}),
        ("patch_embed_hidden_sizes", [8, 8]),
        ("rope_temporal_coordinate_scale", 1.0),
    ],
)
def test_models_that_are_not_built_here_are_refused(tmp_path, field, value):
    folder = published(model_of("v1.2"), tmp_path)
    content = json.loads((folder / "config.json").read_text())
    content["model"]["encoder_config"][field] = value
    (folder / "config.json").write_text(json.dumps(content))
    text = refusal(folder)
    assert f"encoder_config: {field}" in text and repr(value) in text


def test_the_licence_is_shown_and_asked_for(tmp_path, monkeypatch):
    folder = published(model_of("v1"), tmp_path)
    monkeypatch.delenv(ACCEPT, raising=False)
    text = refusal(folder, accept_licence=False)
    assert "OlmoEarth Artifact License, the whole text" in text
    assert "accept_licence=True" in text and ACCEPT in text
    with pytest.raises(WeightsError, match="military"):
        fetch_olmoearth("allenai/OlmoEarth-v1-Nano")
    monkeypatch.setenv(ACCEPT, "1")
    assert load_olmoearth(folder).report.share == 1.0
    monkeypatch.setenv(ACCEPT, "0")
    refusal(folder, accept_licence=False)


@versions
def test_our_folders_keep_model_and_contract(version, tmp_path):
    model = model_of(version)
    folder = save_model(model, tmp_path / "run", facts={"from": "a test"}).parent
    card = json.loads((folder / "model.json").read_text())
    assert card["kind"] == "olmoearth" and card["facts"] == {"from": "a test"}
    s1 = card["contract"]["sentinel1"]
    assert s1["groups"] == [["vv", "vh"]] and s1["mean_and_deviation"][0][0] < -11
    assert card["contract"]["srtm"]["predicted_only"]
    again, report = load_model(folder)
    assert report.share == 1.0 and again.config == model.config
    ours, theirs = model.state_dict(), again.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_our_folders_are_checked(tmp_path):
    folder = save_model(model_of("v1"), tmp_path).parent
    state = load_file(folder / "model.safetensors")
    state["encoder.summary.bias"] += 1
    save_file(state, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=r"is not the file that model.json describes"):
        load_model(folder)
    card = json.loads((folder / "model.json").read_text())
    for change, message in (
        ({"kind": "neither"}, "of another kind"),
        ({"sha256": digest(folder / "model.safetensors"), "config": {}}, "describes no model"),
    ):
        (folder / "model.json").write_text(json.dumps(card | change))
        with pytest.raises(WeightsError, match=message):
            load_model(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="no weights in"):
        load_model(folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match="cannot be made"):
        save_model(model_of("v1"), tmp_path / "file")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


NAME, COMMIT = "allenai/OlmoEarth-v1-Nano", "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The real library, with answers of the hub's form in place of a network."""
    library = pytest.importorskip("huggingface_hub")
    if not hasattr(library, "set_client_factory"):
        pytest.skip("this huggingface_hub is older than 1.0: its network cannot be replaced")
    from huggingface_hub import constants, utils
    from huggingface_hub.utils import _http

    folder = published(model_of("v1"), tmp_path / "made")
    http = importlib.import_module(type(utils.get_session()).__module__.split(".")[0])

    def answer(request):
        path = folder / request.url.path.rpartition("/")[2]
        if not request.url.path.startswith(f"/{NAME}/resolve/") or not path.is_file():
            code = {"X-Error-Code": "EntryNotFound"}
            return http.Response(404, headers=code, request=request)
        content = path.read_bytes()
        headers = {
            "ETag": f'"{digest(path)}"', "X-Repo-Commit": COMMIT,
            "Content-Length": str(len(content)),
        }  # fmt: skip
        body = content if request.method == "GET" else b""
        return http.Response(200, headers=headers, content=body, request=request)

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between tries
    usual = _http._GLOBAL_CLIENT_FACTORY
    library.set_client_factory(
        lambda: http.Client(transport=http.MockTransport(answer), follow_redirects=True)
    )
    yield folder
    library.set_client_factory(usual)


def test_a_folder_is_fetched_by_name(hub):
    folder = fetch_olmoearth(NAME, accept_licence=True)
    assert COMMIT in str(folder)
    loaded = load_olmoearth(folder, accept_licence=True)
    assert loaded.report.share == 1.0 and loaded.licence.endswith("the whole text")


def test_a_file_that_is_not_on_the_hub_is_named(hub):
    (hub / "weights.pth").unlink()
    with pytest.raises(WeightsError, match=f"no file weights.pth in {NAME}"):
        fetch_olmoearth(NAME, accept_licence=True)
