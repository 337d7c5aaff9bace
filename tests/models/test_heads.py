"""Heads: what they answer from, what they ignore, and what their loss counts.

Their numbers are held against the published ones in ``tests/test_parity_command.py``.
"""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from maestro_lab.errors import ParameterError
from maestro_lab.models.heads import Attentive, Head, HeadConfig, Mean, head_loss

WIDTH = 16


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def features(present=True):
    """Two modalities of 2 samples: 1 group x 3 dates x 4 places, and 2 groups x 1 date x 9."""
    one, two = torch.randn(2, 1, 3, 4, WIDTH), torch.randn(2, 2, 1, 9, WIDTH)
    there = torch.rand(2, 1, 3, 4) < 0.6 if present else None
    return {"s2": (one, there), "dem": (two, None)}


def head(task="multilabel", outputs=5, reduce="attentive", **options):
    grid = options.pop("grid", 0)
    return Head(HeadConfig(task, outputs, reduce, **options), WIDTH, grid)


@pytest.mark.parametrize("reduce", ["attentive", "linear"])
@pytest.mark.parametrize("task", ["multilabel", "classification", "regression"])
def test_what_is_not_there_does_not_matter(task, reduce):
    given = features()
    tokens, there = given["s2"]
    changed = torch.where(there[..., None], tokens, 1e3)
    answer = head(task, reduce=reduce)
    found = answer(given)
    assert found.shape == (2, 5)
    torch.testing.assert_close(answer({**given, "s2": (changed, there)}), found)
    moved = torch.where(there[..., None], tokens + torch.randn(WIDTH), tokens)
    assert not torch.allclose(answer({**given, "s2": (moved, there)}), found)


@pytest.mark.parametrize("reduce", ["attentive", "linear"])
def test_the_order_of_tokens_does_not_matter(reduce):
    given = features(present=False)
    tokens, _ = given["s2"]
    answer = head(reduce=reduce)
    torch.testing.assert_close(answer({**given, "s2": (tokens.flip(2, 3), None)}), answer(given))


@pytest.mark.parametrize("reduce", [Mean(), Attentive(WIDTH)])
def test_a_sample_without_any_token_gives_a_finite_answer(reduce):
    tokens, nothing = torch.randn(2, 4, WIDTH), torch.zeros(2, 4, dtype=torch.bool)
    assert torch.isfinite(reduce(tokens, nothing)).all()


def test_attention_is_that_of_one_query():
    reduce = Attentive(WIDTH)
    tokens = torch.randn(1, 7, WIDTH)
    key, value = reduce.kv(reduce.norm(tokens)).chunk(2, -1)
    parts = []
    for h in range(8):  # two channels a head
        k, v, q = (x[..., 2 * h : 2 * h + 2] for x in (key[0], value[0], reduce.query))
        parts.append((k @ q / 2**0.5).softmax(0) @ v)
    torch.testing.assert_close(reduce(tokens)[0], reduce.norm_out(torch.cat(parts)))


def test_a_map_puts_every_place_where_it_lies():
    answer = head("segmentation", 3, "linear", reference="s2", size=4, grid=2)
    tokens = torch.randn(2, 1, 3, 4, WIDTH)
    found = answer({"s2": (tokens, None)})
    assert found.shape == (2, 3, 4, 4)
    place = 2  # second row, first column of the grid
    numbers = answer.project(tokens[:, 0, :, place].mean(1)).reshape(2, 2, 2, 3)
    torch.testing.assert_close(found[:, :, 2:4, 0:2], numbers.permute(0, 3, 1, 2))


def test_other_grids_are_brought_to_that_of_the_reference():
    answer = head("segmentation", 3, "linear", reference="s2", size=2, grid=2)
    given = features(present=False)
    coarse, fine = given["s2"][0], given["dem"][0]
    images = fine[:, :, 0].permute(0, 1, 3, 2).reshape(4, WIDTH, 3, 3)
    images = F.interpolate(images, (2, 2), mode="bilinear", align_corners=False)
    brought = images.reshape(2, 2, WIDTH, 4).permute(0, 1, 3, 2)
    mean = torch.cat([coarse[:, 0], brought], 1).mean(1)
    expected = answer.project(mean).reshape(2, 2, 2, 3).permute(0, 3, 1, 2)
    torch.testing.assert_close(answer(given), expected)


def test_every_parameter_learns():
    for answer in (head(), head("segmentation", 3, reference="s2", size=2, grid=2)):
        answer(features()).square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in answer.parameters())


def test_losses_leave_out_what_is_missing():
    config = HeadConfig("multilabel", 3)
    answers, labels = torch.randn(3, 3), torch.tensor([[1, 0, 1], [1, -1, 0], [0, 0, 1]])
    kept = F.binary_cross_entropy_with_logits(answers[[0, 2]], labels[[0, 2]].float())
    torch.testing.assert_close(head_loss(answers, labels, config), kept)
    config = HeadConfig("segmentation", 3, reference="s2", size=4, missing=9)
    answers, labels = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    labels[0, :2] = 9
    expected = F.cross_entropy(answers, labels, ignore_index=9)
    torch.testing.assert_close(head_loss(answers, labels, config), expected)
    config = HeadConfig("classification", 3)
    expected = F.cross_entropy(answers[:1, :, 0, 0], labels[1, :1, 0])
    torch.testing.assert_close(
        head_loss(answers[:, :, 0, 0], torch.stack([labels[1, 0, 0], torch.tensor(-1)]), config),
        expected,
    )
    config = HeadConfig("regression", 2)
    numbers = torch.tensor([[1.0, float("nan")], [3.0, 4.0]])
    expected = torch.tensor([1.0, 9.0, 16.0]).mean()
    torch.testing.assert_close(head_loss(torch.zeros(2, 2), numbers, config), expected)


@pytest.mark.parametrize("task", ["multilabel", "classification", "regression"])
def test_no_label_at_all_costs_nothing_and_breaks_nothing(task):
    answers = torch.randn(2, 3, requires_grad=True)
    labels = {
        "multilabel": torch.full((2, 3), -1),
        "classification": torch.full((2,), -1),
        "regression": torch.full((2, 3), np.nan),
    }[task]
    loss = head_loss(answers, labels, HeadConfig(task, 3))
    loss.backward()
    assert loss.item() == 0
    assert not answers.grad.any()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: HeadConfig("detection", 3), "task\n.*multilabel \\| classification"),
        (lambda: HeadConfig("multilabel", 0), "outputs"),
        (lambda: HeadConfig("multilabel", 3, "max"), "reduce\n.*attentive \\| linear"),
        (lambda: HeadConfig("segmentation", 3), "reference modality and a size"),
        (lambda: head("segmentation", 3, reference="s2", size=5, grid=2), "multiple of the grid"),
        (lambda: Attentive(12), "width that 8 divides"),
    ],
)
def test_refuses_what_cannot_be(make, words):
    with pytest.raises(ParameterError, match=words):
        make()


def test_a_reference_that_is_not_there_is_named():
    answer = head("segmentation", 3, reference="aerial", size=4, grid=2)
    with pytest.raises(ParameterError, match=r"reference\n.*s2, dem\n.*aerial"):
        answer(features())
