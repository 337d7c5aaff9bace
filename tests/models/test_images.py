"""Images of what a model sees, guesses and does not see, pixel by pixel where they belong."""

import pytest
import torch

from maestro_lab.batches import Batch, Series
from maestro_lab.contract import Contract, Modality
from maestro_lab.models.config import MaestroConfig, Size
from maestro_lab.models.images import mask_images, predict_images, target_images
from maestro_lab.models.maestro import Maestro
from maestro_lab.models.masking import keys_for

SIZE = Size(16, 2, 1, 16, 32, 24, 1, 1, 16, 32)
CASES = [
    ("group", "l1_norm", False),
    ("group", "l1", True),
    ("mod", "l2_norm", True),
    ("monotemp", "l1_norm", True),
    ("shared", "l2", False),
]


def modalities() -> dict[str, Modality]:
    s2 = Modality(
        ("B02", "B03", "B04"), "DN", gsd=10, pixels=6, patch=2, dates=3,
        token_groups=[["B04", "B02"], ["B03"]],
    )  # fmt: skip
    dem = Modality(("elevation",), "m", gsd=10, pixels=3, patch=2, size=6, resize="nearest")
    return {"s2": s2, "dem": dem}


def make_batch(valid: bool) -> Batch:
    generator = torch.Generator().manual_seed(0)

    def series(name, dates, bands, side):
        values = torch.randn(2, dates, bands, side, side, generator=generator)
        there = torch.rand(2, dates, side, side, generator=generator) > 0.2 if valid else None
        when = torch.tensor([2021, 150, 10]).expand(2, dates, 3).clone()
        when[..., 1] += 20 * torch.arange(dates)
        return Series(values, when, there)

    both = {"s2": series("s2", 3, 3, 6), "dem": series("dem", 1, 1, 3)}
    return Batch(both, torch.tensor([[2021, 182, 0]] * 2), torch.arange(2))


def build(fusion: str, loss: str) -> Maestro:
    torch.manual_seed(0)
    contract = Contract(modalities(), 6)
    return Maestro(MaestroConfig(contract, SIZE, fusion=fusion, joint_depth=0, loss=loss)).eval()


@pytest.mark.parametrize(("fusion", "loss", "valid"), CASES)
def test_images_give_the_loss_that_training_sees(fusion, loss, valid):
    model, batch = build(fusion, loss), make_batch(valid)
    with torch.no_grad():
        output = model(batch, keys_for(0, 0, batch.sample))
    predicted = predict_images(model, batch, output.masks)
    hidden = mask_images(model, output.masks)
    for name, m in model.modalities.items():
        target, _, _, _, counts = target_images(model, name, batch.series[name])
        shape = (2, m.dates, len(m.bands), m.size, m.size)
        assert predicted[name].shape == hidden[name].shape == target.shape == shape
        scored = hidden[name] & counts[:, :, None]
        error = predicted[name] - target
        error = error.abs() if loss.startswith("l1") else error**2
        expected = error[scored].mean() if scored.any() else torch.tensor(0.0)
        assert torch.allclose(output.losses[name], expected, rtol=1e-4, atol=1e-6)
        assert scored.any()


def test_targets_and_their_statistics_give_the_values_back():
    model, batch = build("group", "l1_norm"), make_batch(True)
    target, values, mean, deviation, counts = target_images(model, "s2", batch.series["s2"])
    assert torch.equal(values, batch.series["s2"].values)
    assert torch.allclose(target * deviation + mean, values, atol=1e-5)
    assert not (counts & ~batch.series["s2"].valid).any()
    one = (deviation[..., ::2, ::2] == deviation[..., 1::2, 1::2]).all()
    assert one, "one deviation a patch"


def test_raw_losses_leave_the_values_as_they_are():
    model, batch = build("group", "l1"), make_batch(False)
    target, values, mean, deviation, counts = target_images(model, "dem", batch.series["dem"])
    assert torch.equal(target, values) and (mean == 0).all() and (deviation == 1).all()
    assert counts.all()
    assert torch.equal(values[..., ::2, ::2], batch.series["dem"].values), "resized, 3 to 6 pixels"


def test_a_mask_covers_its_patch_in_the_bands_of_its_group():
    model = build("group", "l1_norm")
    masks = {s.name: torch.zeros(1, s.length, dtype=torch.bool) for s in model.streams}
    # Tokens of s2 run (group, date, place): the second group, third date, place (1, 2).
    masks["s2"][0, 1 * 27 + 2 * 9 + 5] = True
    hidden = mask_images(model, masks)
    expected = torch.zeros(1, 3, 3, 6, 6, dtype=torch.bool)
    expected[0, 2, 1, 2:4, 4:6] = True
    assert torch.equal(hidden["s2"], expected) and not hidden["dem"].any()


def test_hidden_dates_are_not_seen():
    """A date that is hidden as a whole may hold anything; one that is seen may not."""
    model, batch = build("group", "l1_norm"), make_batch(False)
    masks = {s.name: torch.zeros(2, s.length, dtype=torch.bool) for s in model.streams}
    masks["dem"][:, :7] = True
    places = masks["s2"].view(2, 2, 3, 9)
    places[:, :, :2] = True
    places[:, :, 2, :2] = True
    before = predict_images(model, batch, masks)
    batch.series["s2"].values[:, :2] += torch.rand(2, 2, 3, 6, 6)
    after = predict_images(model, batch, masks)
    assert all(torch.equal(before[name], after[name]) for name in before)
    batch.series["s2"].values[:, 2] += torch.rand(2, 3, 6, 6)
    assert (predict_images(model, batch, masks)["s2"] - before["s2"]).abs().max() > 1e-3
