"""Masks made on purpose hide what they name, in every fusion mode, as many in each row."""

import pytest
import torch

from maestro_lab.errors import ParameterError
from maestro_lab.models.hiding import HIDE, Hide, hidden_masks, masked_count
from maestro_lab.models.images import mask_images, predict_images
from maestro_lab.models.masking import keys_for
from tests.models.test_images import build, make_batch

KEYS = keys_for(0, 0, torch.arange(2))


@pytest.mark.parametrize("valid", [False, True])
@pytest.mark.parametrize(
    ("what", "hidden"),
    [
        ("date", lambda m: m[:, 1]),
        ("bands", lambda m: m[:, :, 1]),  # B03 is the second token group
        ("location", lambda m: m[..., 2:4, 4:6]),
    ],
)
def test_what_is_named_is_hidden(what, hidden, valid):
    model, batch = build("group", "l1_norm"), make_batch(valid)
    hide = Hide(what, "s2", date=1, location=(1, 2), bands=1, ratio=0.4)
    masks = hidden_masks(model, batch, hide, KEYS)
    image = mask_images(model, masks)["s2"]
    assert hidden(image).all() and not image.all()
    for stream in model.streams:
        assert masked_count(masks, stream) >= round(0.4 * stream.length)
    assert predict_images(model, batch, masks)["s2"].isfinite().all()


@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("fusion", ["group", "mod", "monotemp", "shared"])
def test_at_random_hides_the_share_that_is_asked_for(fusion, ratio):
    model, batch = build(fusion, "l1_norm"), make_batch(False)
    masks = hidden_masks(model, batch, Hide("at random", ratio=ratio), KEYS)
    for stream in model.streams:
        expected = max(1, min(round(ratio * stream.length), stream.length - 1))
        assert (masks[stream.name].sum(1) == expected).all()
    again = hidden_masks(model, batch, Hide("at random", ratio=ratio), KEYS)
    assert all(torch.equal(masks[n], again[n]) for n in masks)
    other = hidden_masks(
        model, batch, Hide("at random", ratio=ratio), keys_for(1, 0, torch.arange(2))
    )
    assert any(not torch.equal(masks[n], other[n]) for n in masks)


def test_a_place_is_hidden_in_every_modality():
    model, batch = build("mod", "l1_norm"), make_batch(False)
    masks = hidden_masks(model, batch, Hide("location", "s2", location=(2, 0), ratio=0.2), KEYS)
    images = mask_images(model, masks)
    assert images["s2"][..., 4:6, 0:2].all() and images["dem"][..., 4:6, 0:2].all()


def test_hiding_on_purpose_more_than_the_ratio_hides_it_all():
    model, batch = build("group", "l1_norm"), make_batch(False)
    masks = hidden_masks(model, batch, Hide("bands", "s2", bands=0, ratio=0.1), KEYS)
    assert masked_count(masks, model.streams[0]) == 27


def test_as_trained_draws_what_training_draws():
    model, batch = build("group", "l1_norm"), make_batch(True)
    present = {n: s.present for n, s in model.sequences(batch)[0].items()}
    expected = model.draw_masks(KEYS, present)
    found = hidden_masks(model, batch, Hide(), KEYS)
    assert all(torch.equal(expected[n], found[n]) for n in expected)
    config = model.config
    hidden_masks(model, batch, Hide(ratio=0.3), KEYS)
    assert model.config is config


@pytest.mark.parametrize(
    ("hide", "fusion", "words"),
    [
        (Hide("modality", "dem"), "group", "nothing to see of dem"),
        (Hide("date", "s2"), "monotemp", "nothing to see of s2"),
        (Hide("date", "s3"), "group", "no modality 's3'"),
        (Hide("date", "s2", date=3), "group", "date of s2\n.*0 to 2"),
        (Hide("bands", "s2", bands=2), "group", "bands of s2\n.*0 to 1"),
        (Hide("location", "s2", location=(0, 3)), "group", "location of s2\n.*0 to 2"),
    ],
)
def test_what_cannot_be_hidden_is_refused(hide, fusion, words):
    with pytest.raises(ParameterError, match=words):
        hidden_masks(build(fusion, "l1_norm"), make_batch(False), hide, KEYS)


def test_unknown_ways_to_hide_are_refused():
    with pytest.raises(ParameterError, match="as trained"):
        Hide("everything")
    assert HIDE[0] == "as trained"


def test_masks_of_unequal_count_are_refused():
    model = build("group", "l1_norm")
    masks = {s.name: torch.zeros(2, s.length, dtype=torch.bool) for s in model.streams}
    masks["s2"][0, :3] = True
    with pytest.raises(ParameterError, match="as many masked tokens"):
        masked_count(masks, model.streams[0])
