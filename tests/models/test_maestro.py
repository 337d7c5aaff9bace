from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from maestro_lab.batches import Batch, Series
from maestro_lab.contract import Contract, Modality
from maestro_lab.errors import ContractError, ParameterError
from maestro_lab.models.config import SIZES, MaestroConfig, Size
from maestro_lab.models.images import mask_images, predict_images, target_images
from maestro_lab.models.maestro import Maestro
from maestro_lab.models.masking import Masking, keys_for
from maestro_lab.models.tokens import patchify, unpatchify

MICRO = Size(16, 2, 2, 8, 32, 24, 1, 2, 12, 48)
BANDS = ("B02", "B03", "B04", "B08")


def contract(groups=()) -> Contract:
    s2 = Modality(
        BANDS, "DN", gsd=10, pixels=6, patch=2, dates=5, token_groups=groups,
        norm_groups=(("B02", "B04"), ("B03", "B08")),
    )  # fmt: skip
    radar = {
        name: Modality(("VV", "VH"), "dB", gsd=10, pixels=6, patch=3, dates=2, fusion_group="s1")
        for name in ("asc", "des")
    }
    return Contract({"s2": s2, **radar}, 6)


def batch_of(c: Contract, n: int = 3, valid: dict | None = None, seed: int = 0) -> Batch:
    torch.manual_seed(seed)
    series = {}
    for name, m in c.modalities.items():
        dates = torch.stack([torch.tensor([2020, 30 * (t + 1), 0]) for t in range(m.dates)])
        series[name] = Series(
            torch.rand(n, m.dates, len(m.bands), m.pixels, m.pixels),
            dates.expand(n, -1, -1),
            (valid or {}).get(name),
        )
    return Batch(series, torch.tensor([[2020, 180, 0]]).expand(n, -1), torch.arange(n))


FUSIONS = [("group", 1), ("group", 0), ("mod", 1), ("monotemp", 0), ("shared", 0)]
GROUPS = [(), (("B02", "B03", "B04"), ("B08",))]


def build(fusion="group", joint=1, groups=(), loss="l1_norm", **masking) -> Maestro:
    torch.manual_seed(1)
    return Maestro(MaestroConfig(contract(groups), MICRO, fusion, joint, Masking(**masking), loss))


@pytest.mark.parametrize("size", SIZES)
def test_every_size_has_the_published_parameters(size):
    """Counts of the specification, for TreeSatAI-TS without heads, in millions."""
    s1 = {
        n: Modality(("VV", "VH"), "DN", gsd=10, pixels=6, patch=2, dates=4, fusion_group="s1")
        for n in ("s1_asc", "s1_des")
    }
    aerial = Modality(("NIR", "R", "G", "B"), "DN", gsd=0.2, pixels=300, patch=20)
    s2 = Modality(tuple(f"B{i}" for i in range(10)), "DN", gsd=10, pixels=6, patch=2, dates=16)
    with torch.device("meta"):
        model = Maestro(MaestroConfig(Contract({"aerial": aerial, "s2": s2, **s1}, 96), size))
    count = sum(p.numel() for p in model.parameters()) / 1e6
    expected = {"tiny": 15.96 - 0.078, "small": 53.63 - 0.303, "base": 254.89 - 1.195}
    expected["large"] = 900.41 - 2.118
    if size in expected:
        assert count == pytest.approx(expected[size], abs=0.011)
    else:
        assert count < 2


@pytest.mark.parametrize(("fusion", "joint"), FUSIONS)
@pytest.mark.parametrize("groups", GROUPS)
def test_forward_backward_in_every_mode(fusion, joint, groups):
    model = build(fusion, joint, groups)
    c = model.config.contract
    output = model(batch_of(c), keys_for(0, 0, torch.arange(3)))
    output.loss.backward()
    assert torch.isfinite(output.loss)
    assert set(output.losses) == set(c.modalities)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    features = model.features(batch_of(c))
    for name, (tokens, present) in features.items():
        m = c.modalities[name]
        assert tokens.shape == (3, len(m.token_groups), m.dates, m.grid**2, 16)
        assert present is None


@pytest.mark.parametrize(("fusion", "joint"), FUSIONS)
def test_permuting_the_batch_permutes_the_output(fusion, joint):
    model = build(fusion, joint, GROUPS[1]).eval()
    batch = batch_of(model.config.contract, 4)
    order = torch.tensor([2, 0, 3, 1])
    turned = Batch(
        {n: Series(s.values[order], s.dates[order]) for n, s in batch.series.items()},
        batch.ref_date[order],
        batch.sample[order],
    )
    for name, (tokens, _) in model.features(batch).items():
        assert torch.allclose(model.features(turned)[name][0], tokens[order], atol=1e-5)
    losses = [model(b, keys_for(0, 0, b.sample)).loss.item() for b in (batch, turned)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_what_is_not_valid_changes_nothing():
    """Pixels under clouds, missing dates and a missing modality may hold any number."""
    c = contract()
    valid = {
        n: torch.ones(3, m.dates, m.pixels, m.pixels, dtype=torch.bool)
        for n, m in c.modalities.items()
    }
    valid["s2"][0, 1] = False  # a missing date
    valid["s2"][1, 2, :2, :2] = False  # a patch under clouds
    valid["des"][2] = False  # a missing modality
    model, keys = build(), keys_for(0, 0, torch.arange(3))
    outputs = []
    for value in (0.0, 0.7):
        batch = batch_of(c, valid=valid)
        batch.series["s2"].values[0, 1] = value
        batch.series["des"].values[2] = value
        outputs.append(model(batch, keys))
    assert outputs[0].loss.item() == pytest.approx(outputs[1].loss.item(), rel=1e-6)
    batch = batch_of(c, valid=valid)
    before = {n: t for n, (t, _) in model.features(batch).items()}
    batch.series["des"].values[2] = 9.0
    after = {n: t for n, (t, _) in model.features(batch).items()}
    assert torch.equal(before["s2"], after["s2"])
    assert torch.equal(before["asc"], after["asc"])


def test_a_modality_missing_from_the_whole_batch_gives_no_nan():
    c = contract()
    absent = {"asc": torch.zeros(3, 2, 6, 6, dtype=torch.bool)}
    model = build()
    output = model(batch_of(c, valid=absent), keys_for(0, 0, torch.arange(3)))
    output.loss.backward()
    assert torch.isfinite(output.loss)
    assert output.losses["asc"].item() == 0
    others = {n: v for n, v in output.losses.items() if n != "asc"}
    weights = {n: c.modalities[n].dates * c.modalities[n].grid ** 2 for n in others}
    mean = sum(weights[n] * others[n] for n in others) / sum(weights.values())
    assert output.loss.item() == pytest.approx(mean.item(), rel=1e-6)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("loss", ["l1_norm", "l2"])
@pytest.mark.parametrize("groups", GROUPS)
def test_the_loss_is_the_error_of_hidden_valid_pixels(loss, groups):
    """The loss lives in token space; computed anew from images it is the same."""
    c = contract(groups)
    valid = {"s2": torch.rand(3, 5, 6, 6) > 0.3}
    model, batch = build(groups=groups, loss=loss), batch_of(c, valid=valid)
    output = model(batch, keys_for(0, 0, batch.sample))
    predicted, hidden = predict_images(model, batch, output.masks), mask_images(model, output.masks)
    for name in c.modalities:
        target, values, mean, deviation, counts = target_images(model, name, batch.series[name])
        scored = hidden[name] & counts[:, :, None]
        error = (predicted[name] - target)[scored]
        error = error.abs().mean() if loss.startswith("l1") else (error**2).mean()
        assert output.losses[name].item() == pytest.approx(error.item(), rel=1e-5)
        assert torch.allclose(target * deviation + mean, values, atol=1e-5)


def test_hidden_pixels_reach_the_encoder_only_through_the_norm_of_their_image():
    model = build("monotemp", 0).eval()
    batch = batch_of(model.config.contract)
    output = model(batch, keys_for(0, 0, batch.sample))
    hidden = mask_images(model, output.masks)["s2"]
    changed = batch_of(model.config.contract)
    changed.series["s2"].values[0, 0] = torch.where(
        hidden[0, 0], torch.rand_like(hidden[0, 0].float()), batch.series["s2"].values[0, 0]
    )
    sequences, other = model.sequences(batch)[0]["s2"], model.sequences(changed)[0]["s2"]
    same = torch.isclose(sequences.tokens, other.tokens).all(-1)
    assert same[1:].all(), "an image of another date or sample changed"


@pytest.mark.parametrize("patch", [1, 2, 3, 6])
def test_patchify_and_unpatchify_undo_each_other(patch):
    images = torch.rand(2, 3, 4, 6, 6)
    assert torch.equal(unpatchify(patchify(images, patch), patch), images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fusion": "late"}, "group, mod, monotemp, shared"),
        ({"fusion": "shared", "joint_depth": 1}, "only group and mod have joint blocks"),
        ({"joint_depth": 3}, "0 to 2"),
        ({"size": "huge"}, "nano, tiny, small, base, large"),
        ({"loss": "huber"}, "l1_norm, l2_norm, l1, l2"),
    ],
)
def test_illegal_configurations_say_what_is_legal(change, message):
    settings = {"contract": contract(), "size": MICRO, "joint_depth": 1, **change}
    with pytest.raises(ParameterError, match=message):
        MaestroConfig(**settings)


def test_contract_errors_name_what_is_wrong():
    with pytest.raises(ContractError, match="one of 1, 2, 3, 6"):
        Modality(BANDS, "DN", gsd=10, pixels=6, patch=4)
    with pytest.raises(ContractError, match="do not cover the bands"):
        Modality(BANDS, "DN", gsd=10, pixels=6, patch=2, norm_groups=(("B02",), ("B03",)))
    with pytest.raises(ContractError, match="single number"):
        Modality(BANDS, "DN", gsd=10, pixels=6, patch=1, norm_groups=(BANDS[:3], BANDS[3:]))
    shared = {
        "a": Modality(BANDS, "DN", gsd=10, pixels=6, patch=2, embedding="e"),
        "b": Modality(BANDS, "DN", gsd=10, pixels=6, patch=3, embedding="e"),
    }
    with pytest.raises(ContractError, match="cannot share the embedding 'e'"):
        Maestro(MaestroConfig(Contract(shared, 6), MICRO, joint_depth=1))


def test_configuration_survives_json():
    config = build(groups=GROUPS[1], ratio=0.5).config
    assert MaestroConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [("maestro_lab.models.maestro", "xarray"), ("maestro_lab.cubes.sources.romania", "torch")],
)
def test_rooms_keep_to_themselves(module, forbidden):
    code = f"import sys, {module}; sys.exit({forbidden!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
