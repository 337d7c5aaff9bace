"""Published weights into our models and back, to the bit; what is missing or left is told."""

import pytest
import torch
from safetensors.torch import load_file

import maestro_lab as ml
from maestro_lab.contract import Contract, Modality
from maestro_lab.errors import WeightsError
from maestro_lab.models.config import MaestroConfig, Size
from maestro_lab.models.heads import Head, HeadConfig
from maestro_lab.models.maestro import Maestro
from tests.published.conftest import saved

SIZE = Size(16, 2, 1, 16, 32, 24, 1, 1, 16, 32)
TARGETS = {
    "species": HeadConfig("multilabel", 5),
    "cover": HeadConfig("segmentation", 3, reference="s2", size=12),
}
S1 = {"bands": ("VV", "VH"), "units": "dB", "gsd": 10, "pixels": 6, "patch": 2, "dates": 2}


def config(**options) -> MaestroConfig:
    s2 = Modality(
        ("B02", "B03", "B04"), "DN", gsd=10, pixels=6, patch=2, dates=4,
        token_groups=[["B02"], ["B03", "B04"]],
    )  # fmt: skip
    modalities = {
        "s2": s2,
        "s1_asc": Modality(**S1, fusion_group="s1", embedding="s1"),
        "s1_des": Modality(**S1, fusion_group="s1", embedding="s1"),
        "spot": Modality(("R", "G", "B"), "DN", gsd=1, pixels=6, size=8, patch=4),
    }
    return MaestroConfig(Contract(modalities, 6), SIZE, **({"joint_depth": 1} | options))


def made(**options):
    model = Maestro(config(**options))
    heads = {
        name: Head(head, SIZE.width, 3 if head.reference else 0) for name, head in TARGETS.items()
    }
    return model, heads


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    other = b.state_dict()
    return all(torch.equal(t, other[n]) for n, t in a.state_dict().items()) and len(other) > 0


@pytest.mark.parametrize("ending", [".safetensors", ".ckpt"])
@pytest.mark.parametrize("fusion", ["group", "mod", "monotemp", "shared"])
def test_there_and_back_to_the_bit(tmp_path, ending, fusion):
    options = {"fusion": fusion, "joint_depth": 1 if fusion in ("group", "mod") else 0}
    model, heads = made(**options)
    path = ml.save_official(model, tmp_path / f"published{ending}", heads=heads)
    again, loaded, report = ml.load_official(path, config(**options), targets=TARGETS)
    assert same(again, model) and all(same(loaded[n], h) for n, h in heads.items())
    count = sum(len(m.state_dict()) for m in (model, *heads.values()))
    numbers = sum(t.numel() for m in (model, *heads.values()) for t in m.state_dict().values())
    assert repr(report) == (
        f"{count} of {count} tensors, 100 % of the parameters loaded ({numbers:,} numbers)"
    )
    assert [p.name for p in tmp_path.iterdir()] == [path.name], "nothing else is left"


def test_names_in_the_files(tmp_path):
    model, heads = made()
    bare = load_file(ml.save_official(model, tmp_path / "a.safetensors", heads=heads))
    whole = torch.load(ml.save_official(model, tmp_path / "a.ckpt", heads=heads), weights_only=True)
    assert {f"model.{n}" for n in bare} == set(whole["state_dict"]) and list(whole) == [
        "state_dict"
    ]
    assert bare["heads.cover.conv.weight"].shape == (48, 16, 1, 1)
    assert bare["heads.species.linear.weight"].shape == (5, 16)
    assert bare["patch_embed.s1.patchify_bands.0.conv.weight"].shape == (16, 2, 2, 2)
    assert bare["patch_embed.s2.patchify_bands.1.conv.weight"].shape == (16, 2, 2, 2)
    assert bare["mask_token.s2"].shape == (1, 2, 1, 1, 24)
    assert {"encoder.s1.norm.bias", "encoder_inter.layers.0.0.to_qkv.weight"} < set(bare)


def test_the_same_weights_give_the_same_answers(tmp_path):
    model, heads = made()
    tokens = {
        "s2": (torch.randn(2, 2, 4, 9, 16), None),
        "spot": (torch.randn(2, 1, 1, 4, 16), None),
    }
    path = ml.save_official(model, tmp_path / "a.ckpt", heads=heads)
    loaded = ml.load_official(path, model, targets=TARGETS).heads
    assert all(torch.equal(loaded[n](tokens), head(tokens)) for n, head in heads.items())


def test_heads_that_nobody_asked_for_stay_in_the_file(tmp_path):
    model, heads = made()
    path = ml.save_official(model, tmp_path / "a.ckpt", heads=heads)
    loaded = ml.load_official(path, config())
    assert loaded.heads == {} and same(loaded.model, model) and loaded.report.share == 1
    assert loaded.report.not_asked == ("species", "cover")
    assert repr(loaded.report).endswith("numbers); heads not asked for: species, cover")
    linear = {"species": HeadConfig("multilabel", 5, "linear")}
    _, found, report = ml.load_official(path, config(), targets=linear)
    assert torch.equal(found["species"].project.weight, heads["species"].project.weight)
    assert report.share == 1 and report.not_asked == ("cover",) and not report.unexpected


def test_a_head_that_is_not_there(tmp_path):
    model, heads = made()
    path = ml.save_official(model, tmp_path / "a.ckpt", heads={"cover": heads["cover"]})
    with pytest.raises(
        WeightsError, match=r"9\d % of the param.*\n.*\n.*missing heads.species.red"
    ):
        ml.load_official(path, config(), targets=TARGETS)
    _, found, report = ml.load_official(path, config(), targets=TARGETS, partial=True)
    assert same(found["cover"], heads["cover"]) and report.share < 1
    assert all(name.startswith("heads.species.") for name in report.missing)


def test_part_of_a_model(tmp_path):
    model, _ = made()
    path = ml.save_official(model, tmp_path / "a.safetensors")
    larger = config()
    dem = Modality(("elevation",), "m", gsd=10, pixels=6, patch=3)
    larger = MaestroConfig(
        Contract(larger.contract.modalities | {"dem": dem}, 6), SIZE, joint_depth=1
    )
    with pytest.raises(WeightsError, match=r"missing .*dem.* and \d+ more; unexpected none"):
        ml.load_official(path, larger)
    found, _, report = ml.load_official(path, larger, partial=True)
    assert all(torch.equal(found.state_dict()[n], t) for n, t in model.state_dict().items())
    assert all("dem" in name for name in report.missing) and 0 < report.share < 1
    whole = ml.save_official(Maestro(larger), tmp_path / "b.safetensors")
    with pytest.raises(WeightsError, match=r"missing none; unexpected .*dem"):
        ml.load_official(whole, config())
    report = ml.load_official(whole, config(), partial=True).report
    assert report.share == 1 and all("dem" in name for name in report.unexpected)


def test_averaged_weights(tmp_path):
    model, _ = made()
    own = load_file(ml.save_official(model, tmp_path / "a.safetensors"))
    state = {f"model.{n}": t for n, t in own.items()}
    state |= {f"ema_model.{n}": t * 2 for n, t in own.items()}
    path = saved({"state_dict": state}, tmp_path / "a.ckpt")
    assert same(ml.load_official(path, config()).model, model)
    found, _, report = ml.load_official(path, config(), ema=True)
    assert all(torch.equal(t, 2 * model.state_dict()[n]) for n, t in found.state_dict().items())
    assert report.share == 1


def test_what_cannot_be_written(tmp_path, monkeypatch):
    model, _ = made()
    with pytest.raises(WeightsError, match=r"another ending\n.*safetensors or .ckpt\n.*.pt"):
        ml.save_official(model, tmp_path / "a.pt")
    path = ml.save_official(model, tmp_path / "a.ckpt")
    before = path.read_bytes()
    for ending in ("ckpt", "safetensors"):
        with pytest.raises(WeightsError, match=r"could not be written .*\n.*a folder that exists"):
            ml.save_official(model, tmp_path / "absent" / f"a.{ending}")

    def breaks(whole, file):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", breaks)
    with pytest.raises(WeightsError, match="No space left"):
        ml.save_official(model, path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1
