"""Hidden tokens by their tables give the same numbers as the tokens themselves."""

import pytest
import torch
from torch import nn

from maestro_lab.contract import Contract, Modality
from maestro_lab.models.config import MaestroConfig, Size
from maestro_lab.models.maestro import Maestro
from maestro_lab.models.masking import keys_for, split_mask
from maestro_lab.models.placeholders import Placeholders
from maestro_lab.models.tokens import take
from tests.models.made import make_batch

WIDTH, ROWS, DATES = 24, 7, 5


def made(seed: int = 0) -> tuple[Placeholders, nn.LayerNorm, torch.Tensor]:
    torch.manual_seed(seed)
    hidden = Placeholders(
        torch.randn(ROWS, WIDTH, dtype=torch.float32),
        torch.randn(DATES, 8) * torch.tensor([20.0] * 4 + [1.0] * 4),  # years are large
        torch.randint(0, ROWS, (3, 40)),
        torch.randint(0, DATES, (3, 40)),
    )
    norm = nn.LayerNorm(WIDTH)
    nn.init.normal_(norm.weight, 1, 0.3)
    nn.init.normal_(norm.bias)
    return hidden, norm, torch.randn(10, WIDTH)


def test_tokens_are_a_row_of_the_table_and_a_date_in_the_last_eight_channels():
    hidden, _, _ = made()
    tokens = hidden.tokens()
    row, when = hidden.row[1, 3], hidden.when[1, 3]
    assert torch.equal(tokens[1, 3, :-8], hidden.base[row, :-8])
    assert torch.equal(tokens[1, 3, -8:], hidden.base[row, -8:] + hidden.date[when])


def both(change=lambda hidden, norm, weight: None):
    """Values and gradients of the projection, by the tables and by the tokens."""
    answers = []
    for by_table in (True, False):
        hidden, norm, weight = made()
        change(hidden, norm, weight)
        leaves = {"base": hidden.base, "weight": weight}
        for leaf in leaves.values():
            leaf.requires_grad_()
        leaves |= {"norm.weight": norm.weight, "norm.bias": norm.bias}
        found = hidden.project(norm, weight) if by_table else norm(hidden.tokens()) @ weight.T
        torch.manual_seed(1)
        (found * torch.randn_like(found)).sum().backward()
        assert not hidden.date.requires_grad
        answers.append((found.detach(), {n: t.grad for n, t in leaves.items()}))
    return answers


def test_projecting_the_tables_is_projecting_the_tokens():
    (found, grads), (expected, own) = both()
    assert found.shape == (3, 40, 10)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    for name, grad in own.items():
        assert grad.abs().max() > 0.1, name
        error = (grads[name] - grad).abs().max() / grad.abs().max()
        assert error < 1e-5, name


def test_rows_and_dates_that_nobody_uses_get_no_gradient():
    def change(hidden, norm, weight):
        hidden.row.clamp_(max=ROWS - 2)
        hidden.when.clamp_(max=DATES - 2)

    (found, grads), (expected, _) = both(change)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert not grads["base"][-1].any() and grads["base"][:-1].any(1).all()


def test_it_computes_in_float32_under_autocast():
    hidden, norm, weight = made()
    plain = hidden.project(norm, weight)
    with torch.autocast("cpu", torch.bfloat16):
        found = hidden.project(norm, weight)
    assert found.dtype == torch.float32 and torch.equal(found, plain)


def test_it_pays_where_tokens_are_many():
    hidden, _, _ = made()
    assert hidden.pays
    few = Placeholders(hidden.base, hidden.date, hidden.row[:, :4], hidden.when[:, :4])
    assert not few.pays, "12 tokens, 7 rows"
    on_gpu = Placeholders(hidden.base.to("meta"), hidden.date, hidden.row, hidden.when)
    assert not on_gpu.pays, "only on CPUs"


def test_it_does_not_pay_where_products_are_cheap(bf16):
    hidden, _, _ = made()
    with torch.autocast("cpu", torch.bfloat16):
        assert hidden.pays != bf16, "hardware multiplies quicker than rows are gathered"


def contract() -> Contract:
    return Contract(
        {
            "s2": Modality(
                ("B02", "B03", "B04", "B08"), "DN", gsd=10, pixels=6, patch=2, dates=4,
                token_groups=[["B08", "B02"], ["B03", "B04"]], fusion_group="sentinel",
            ),
            "s1": Modality(
                ("VV", "VH"), "DN", gsd=10, pixels=6, patch=3, dates=3, fusion_group="sentinel"
            ),
            "dem": Modality(("e",), "m", gsd=10, pixels=6, patch=3),
        },
        6,
    )  # fmt: skip


def step(monkeypatch, config, batch, pays: bool):
    """Loss and gradients of a model, with the tables or without; and how often they were asked."""
    asked, plain = [], Placeholders.project
    torch.manual_seed(0)
    model = Maestro(config)
    with monkeypatch.context() as patch:
        patch.setattr(Placeholders, "pays", property(lambda _: pays))
        patch.setattr(Placeholders, "project", lambda *a: asked.append(1) or plain(*a))
        output = model(batch, keys_for(0, 0, batch.sample))
        output.loss.backward()
    return output, {n: p.grad for n, p in model.named_parameters()}, len(asked)


@pytest.mark.parametrize("gaps", [False, True], ids=["whole", "gaps"])
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("fusion", ["group", "mod", "monotemp", "shared"])
def test_the_model_is_the_same_with_tables_and_without(monkeypatch, fusion, depth, gaps):
    size = Size(16, 2, 2, 8, 32, 24, depth, 2, 12, 48)
    config = MaestroConfig(contract(), size, fusion, int(fusion in ("group", "mod")))
    batch = make_batch(config.contract, 3, gaps=gaps)
    plain, own, never = step(monkeypatch, config, batch, pays=False)
    quick, grads, asked = step(monkeypatch, config, batch, pays=True)
    streams = 2 if fusion == "group" else 3
    assert never == 0 and asked == streams, "once a stream: in the first block of its decoder"
    for name, mask in plain.masks.items():
        assert torch.equal(quick.masks[name], mask)
    torch.testing.assert_close(quick.loss, plain.loss, rtol=1e-5, atol=1e-6)
    for name, value in plain.losses.items():
        torch.testing.assert_close(quick.losses[name], value, rtol=1e-5, atol=1e-6)
    assert set(grads) == set(own) and own["mask_tokens.s2"].abs().max() > 1e-4
    for name, grad in own.items():
        torch.testing.assert_close(grads[name], grad, rtol=1e-3, atol=1e-6, msg=name)


@pytest.mark.parametrize("depth", [1, 2])
def test_whole_sequences_are_the_same_too(monkeypatch, depth):
    """As reconstructions ask for them: visible tokens are decoded as well."""
    size = Size(16, 2, 2, 8, 32, 24, depth, 2, 12, 48)
    torch.manual_seed(0)
    model = Maestro(MaestroConfig(contract(), size, joint_depth=0)).eval()
    batch = make_batch(model.config.contract, 3)
    found = []
    for pays in (True, False):
        monkeypatch.setattr(Placeholders, "pays", property(lambda _, pays=pays: pays))
        with torch.no_grad():
            sequences, _ = model.sequences(batch)
            masks = model.draw_masks(keys_for(0, 0, batch.sample))
            stream = model.streams[0]
            split = split_mask(masks[stream.name], model.masked_count(stream))
            seen = take(sequences[stream.name].tokens, split[0])
            found.append(model.decode(stream, seen, sequences[stream.name], *split, whole=True))
    assert found[0].shape[1] == model.streams[0].length
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)
