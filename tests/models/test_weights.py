"""Weights on disk come back to the bit, or not at all."""

import hashlib
import json
import resource

import pytest
import torch
from safetensors.torch import load_file, save_file

from maestro_lab.contract import Contract, Modality
from maestro_lab.errors import WeightsError
from maestro_lab.models.config import MaestroConfig, Size
from maestro_lab.models.maestro import Maestro
from maestro_lab.models.official import from_official, to_official
from maestro_lab.models.weights import load_into, load_model, save_model

SIZE = Size(16, 2, 1, 16, 32, 24, 1, 1, 16, 32)


def config(**options) -> MaestroConfig:
    s2 = Modality(
        ("B02", "B03", "B04"), "DN", gsd=10, pixels=6, patch=2, dates=4, divide=5000,
        norm_groups=[["B02", "B03"], ["B04"]],
    )  # fmt: skip
    dem = Modality(("elevation",), "m", gsd=10, pixels=6, patch=3)
    return MaestroConfig(Contract({"s2": s2, "dem": dem}, 6), SIZE, joint_depth=1, **options)


@pytest.fixture
def model():
    return Maestro(config())


@pytest.fixture
def folder(model, tmp_path):
    save_model(model, tmp_path, facts={"cube": "landscape"})
    return tmp_path


def rewrite(folder, change):
    """Change the tensors of a file, and the checksum in the JSON as somebody cunning would."""
    state = change(load_file(folder / "model.safetensors"))
    save_file(state, folder / "model.safetensors")
    card = json.loads((folder / "model.json").read_text())
    card["sha256"] = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "model.json").write_text(json.dumps(card))


def edit(folder, **changes):
    card = json.loads((folder / "model.json").read_text()) | changes
    (folder / "model.json").write_text(json.dumps(card))


def refusal(folder) -> str:
    """Return the message with which a folder is refused; it says what was expected and found."""
    with pytest.raises(WeightsError) as caught:
        load_model(folder)
    text = str(caught.value)
    assert "expected:" in text and "found:" in text and "to do:" in text
    assert len(text.splitlines()) == 4
    return text


def test_round_trip_to_the_bit(model, folder):
    again, report = load_model(folder)
    assert again.config == model.config
    state = model.state_dict()
    assert all(torch.equal(t, state[n]) for n, t in again.state_dict().items())
    assert report.share == 1.0 and not report.missing and not report.unexpected
    numbers = sum(t.numel() for t in state.values())
    found = f"{len(state)} of {len(state)} tensors, 100 % of the parameters"
    assert repr(report) == f"{found} loaded ({numbers:,} numbers)"
    assert sorted(p.name for p in folder.iterdir()) == ["model.json", "model.safetensors"]


def test_the_contract_travels_with_the_weights(model, folder):
    card = json.loads((folder / "model.json").read_text())
    assert card["facts"] == {"cube": "landscape"} and card["kind"] == "maestro"
    assert card["parameters"] == sum(t.numel() for t in model.state_dict().values())
    s2 = card["config"]["contract"]["modalities"]["s2"]
    assert s2["bands"] == ["B02", "B03", "B04"] and s2["units"] == "DN" and s2["divide"] == 5000
    assert s2["norm_groups"] == [["B02", "B03"], ["B04"]] and s2["patch"] == 2
    assert MaestroConfig.from_dict(card["config"]) == model.config


def test_the_same_weights_give_the_same_bytes(model, folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    save_model(model, other, facts={"cube": "landscape"})
    for name in ("model.json", "model.safetensors"):
        assert (other / name).read_bytes() == (folder / name).read_bytes()


def test_averaged_parameters_are_saved_in_place_of_the_own(model, tmp_path):
    averaged = {n: p.detach() * 0 + 1 for n, p in model.named_parameters()}
    save_model(model, tmp_path, parameters=averaged)
    again, _ = load_model(tmp_path)
    assert all((p == 1).all() for p in again.parameters())
    name = next(iter(averaged))
    for wrong in ({"encoder.other": torch.zeros(1)}, {name: torch.zeros(2, 2, 2)}):
        with pytest.raises(WeightsError, match="do not fit"):
            save_model(model, tmp_path, parameters=wrong)
    assert load_model(tmp_path)[1].share == 1.0


def test_an_empty_folder(tmp_path):
    assert "no weights in" in refusal(tmp_path)
    assert "found:    nothing" in refusal(tmp_path / "absent")


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_file(folder, damage):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    path.write_bytes({"cut": whole[:middle], "flipped": flipped, "empty": b""}[damage])
    assert "is not the file that model.json describes" in refusal(folder)


def test_a_file_of_another_format_with_the_right_checksum(folder):
    (folder / "model.safetensors").write_bytes(b"not safetensors at all")
    edit(folder, sha256=hashlib.sha256(b"not safetensors at all").hexdigest())
    assert "cannot be read" in refusal(folder)


def test_a_missing_tensor(folder):
    rewrite(folder, lambda s: {n: t for n, t in s.items() if n != "mask_tokens.s2"})
    assert "missing mask_tokens.s2; unexpected none" in refusal(folder)


def test_an_extra_tensor(folder):
    rewrite(folder, lambda s: s | {"surprise": torch.zeros(2)})
    assert "missing none; unexpected surprise" in refusal(folder)


def test_a_tensor_of_another_size(folder):
    rewrite(folder, lambda s: s | {"mask_tokens.s2": torch.zeros(1, 99)})
    text = refusal(folder)
    assert "mask_tokens.s2" in text and "shape (1, 24)" in text and "shape (1, 99)" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "format 99, kind maestro"),
        ({"kind": "other"}, "format 1, kind other"),
        ({"kind": ["maestro"]}, "is of another kind"),
        ({"config": {}}, "describes no model"),
        ({"config": []}, "describes no model"),
        ({"config": None}, "describes no model"),
    ],
)
def test_a_strange_json(folder, change, message):
    edit(folder, **change)
    assert message in refusal(folder)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format": 1, "kind": "maestro"}', "\xff"])
def test_a_damaged_json(folder, text):
    (folder / "model.json").write_bytes(text.encode("latin-1"))
    assert "is damaged" in refusal(folder)


def test_a_configuration_with_an_unknown_field_is_named(folder):
    card = json.loads((folder / "model.json").read_text())
    card["config"]["contract"]["modalities"]["s2"]["colour"] = "blue"
    edit(folder, config=card["config"])
    assert "'colour'" in refusal(folder)


def test_part_of_the_weights(model):
    state = {n: t * 0 for n, t in model.state_dict().items() if n.startswith("encoders.")}
    before = {n: t.clone() for n, t in model.state_dict().items()}
    with pytest.raises(WeightsError, match="every tensor of the model and no other"):
        load_into(model, state | {"other": torch.zeros(1)})
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items()), "left alone"
    report = load_into(model, state | {"other": torch.zeros(1)}, partial=True)
    assert report.unexpected == ("other",) and report.tensors == len(state) < report.wanted
    assert report.parameters == sum(t.numel() for t in state.values())
    assert 0 < report.share < 1 and f"{report.share:.0%}".replace("%", " %") in repr(report)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state.get(name, before[name]))


def test_shapes_must_agree_also_in_part(model):
    before = {n: t.clone() for n, t in model.state_dict().items()}
    wrong = {"mask_tokens.dem": torch.zeros(1, 24), "mask_tokens.s2": torch.zeros(3)}
    with pytest.raises(WeightsError, match=r"mask_tokens\.s2"):
        load_into(model, wrong, partial=True)
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())


def test_a_full_disk_leaves_the_old_weights_and_nothing_else(model, folder):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limit[1]))
    try:
        with pytest.raises(WeightsError, match=r"could not be written(.|\n)*make room"):
            save_model(Maestro(config()), folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_facts_that_json_cannot_hold_leave_nothing(model, tmp_path):
    with pytest.raises(TypeError):
        save_model(model, tmp_path, facts={"array": torch.zeros(2)})
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_made_if_it_can_be(model, tmp_path):
    save_model(model, tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder" / "model.safetensors").is_file()
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match="cannot be made"):
        save_model(model, tmp_path / "file" / "folder")


@pytest.mark.parametrize("fusion", ["group", "shared"])
def test_official_names_there_and_back(fusion):
    model = Maestro(config() if fusion == "group" else shared())
    state, modalities = model.state_dict(), model.modalities
    official = to_official(state, modalities)
    assert set(official).isdisjoint(state) and len(official) == len(state)
    assert all(t.ndim == 4 for n, t in official.items() if n.endswith("conv.weight"))
    back = from_official({**official, "heads.linear.weight": torch.zeros(1)}, modalities)
    assert set(back) == set(state)
    assert all(torch.equal(back[n], t) for n, t in state.items())


def shared() -> MaestroConfig:
    plain = config()
    return MaestroConfig(plain.contract, SIZE, fusion="shared", joint_depth=0)


def test_an_unknown_official_name_is_refused(model):
    with pytest.raises(WeightsError, match="is no parameter of a MAESTRO model"):
        from_official({"patch_embed.s2.nonsense": torch.zeros(1)}, model.modalities)
