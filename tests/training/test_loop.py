"""The training loop: the same from the same seed, readable where it must stop."""

import json
import math

import pytest
import torch

from maestro_lab.batches import Batch, loader
from maestro_lab.errors import ParameterError, TrainingError
from maestro_lab.models.masking import keys_for
from maestro_lab.training.config import TrainingConfig
from maestro_lab.training.loop import fit
from maestro_lab.training.pretrain import evaluate_loss, pretrain
from maestro_lab.training.schedule import max_lr
from tests.training.conftest import make_data, make_model, settings


def train(cube, folder=None, *, val=True, seed=0, **options):
    model = make_model(cube)
    held_out = make_data(cube, "val", train=False) if val else None
    fitted = pretrain(
        model, make_data(cube, seed=seed), settings(seed=seed, **options), val=held_out,
        folder=folder,
    )  # fmt: skip
    return model, fitted


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_one_seed_gives_one_metrics_file_with_any_number_of_workers(cube, tmp_path):
    texts = {}
    for name, seed, workers in (("a", 0, 0), ("b", 0, 0), ("c", 0, 2), ("d", 1, 0)):
        train(cube, tmp_path / name, seed=seed, workers=workers)
        texts[name] = (tmp_path / name / "metrics.jsonl").read_bytes()
    assert texts["a"] == texts["b"] == texts["c"]
    assert texts["a"] != texts["d"]
    states = [torch.load(tmp_path / n / "checkpoints" / "last.pt")["model"] for n in "ac"]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_what_a_row_says(cube, tmp_path):
    model, fitted = train(cube, tmp_path, epochs=2, batch_size=2, log_every=2)
    found = rows(tmp_path)
    assert found == fitted.metrics
    assert [row["step"] for row in found] == [2, 4, 5, 6, 8, 10]
    assert [row["epoch"] for row in found] == [0.4, 0.8, 1.0, 1.2, 1.6, 2.0]
    assert ["val_loss" in row for row in found] == [False, False, True, False, False, True]
    assert {"loss", "loss/optics", "loss/radar", "lr"} <= set(found[0])
    held_out = make_data(cube, "val", train=False)
    assert evaluate_loss(model.eval(), held_out, settings())["val_loss"] == found[-1]["val_loss"]
    assert "10 steps in" in repr(fitted) and "(fp32): loss" in repr(fitted)
    assert fitted.summary()["step"] == 10 and fitted.summary()["precision"] == "fp32"


def test_the_held_out_loss_may_be_measured_less_often_and_always_at_the_end(cube, tmp_path):
    weights = []
    for every in (1, 2):
        model, fitted = train(cube, tmp_path / str(every), epochs=3, evaluate_every=every)
        weights.append(model.state_dict())
        measured = [row["epoch"] for row in fitted.metrics if "val_loss" in row]
        assert measured == ([1, 2, 3] if every == 1 else [2, 3])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_it_learns(whole_cube):
    _, fitted = train(whole_cube, epochs=12, base_lr=5e-3, val=True)
    ends = [row["val_loss"] for row in fitted.metrics if "val_loss" in row]
    assert ends[-1] < 0.98 * ends[0]


class _Mean(torch.nn.Module):
    """One weight; its loss is the squared distance to the mean of a batch."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, batch: Batch):
        return ((self.weight - batch.series["optics"].values.mean()) ** 2).sum()


def mean_losses(model, batch, epoch):
    return model(batch), {}


def first_gradient(cube, folder, batch_size, accumulate):
    model = make_model(cube)
    config = settings(epochs=1, batch_size=batch_size, accumulate=accumulate)
    fitted = pretrain(model, make_data(cube), config, folder=folder)
    assert [row["step"] for row in fitted.metrics] == [1]
    state = torch.load(folder / "checkpoints" / "last.pt")["optimiser"]["state"]
    return {k: s["exp_avg"] for k, s in state.items()}, fitted


def test_small_batches_together_equal_a_large_one(whole_cube, tmp_path):
    small, a = first_gradient(whole_cube, tmp_path / "small", 2, 5)
    large, b = first_gradient(whole_cube, tmp_path / "large", 10, 1)
    assert a.metrics[0]["loss"] == pytest.approx(b.metrics[0]["loss"], rel=1e-5)
    assert a.metrics[0]["lr"] == b.metrics[0]["lr"]
    for name in small:
        assert torch.allclose(small[name], large[name], rtol=1e-3, atol=1e-6)
    assert max(g.abs().max() for g in large.values()) > 1e-4


def test_batches_left_over_at_the_end_of_an_epoch_make_a_step_of_their_own(whole_cube):
    config = settings(epochs=2, batch_size=2, accumulate=3, log_every=1)
    fitted = fit(_Mean(), make_data(whole_cube), mean_losses, config)
    assert [row["step"] for row in fitted.metrics] == [1, 2, 3, 4]
    assert [row["epoch"] for row in fitted.metrics] == [0.6, 1.0, 1.6, 2.0]
    assert fitted.metrics[-1]["lr"] == pytest.approx(max_lr(1e-3, 2, 3) / 1e7)


def test_more_batches_a_step_than_an_epoch_has_still_train(whole_cube):
    model = _Mean()
    fit(model, make_data(whole_cube), mean_losses, settings(batch_size=2, accumulate=100))
    assert model.weight.item() != 0


def test_bf16_runs_on_the_cpu_and_leaves_the_model_as_it_was(cube):
    model, fitted = train(cube, epochs=1, batch_size=10, precision="bf16")
    assert fitted.precision == "bf16" and math.isfinite(fitted.metrics[-1]["loss"])
    _, plain = train(cube, epochs=1, batch_size=10)
    assert plain.precision == "fp32"
    difference = abs(fitted.metrics[-1]["loss"] / plain.metrics[-1]["loss"] - 1)
    assert 0 < difference < 0.02, "near, but not equal: it did compute in bf16"
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    fresh = make_model(cube)
    fresh.load_state_dict(model.state_dict())
    batch = next(iter(loader(make_data(cube, train=False), 4)))
    keys = keys_for(0, 0, batch.sample)
    assert model(batch, keys).loss == fresh(batch, keys).loss, "it computes in fp32 again"


def test_averaged_weights(cube):
    """At five epochs or fewer nothing is averaged; at ten, half of the old stays."""
    model, fitted = train(cube, epochs=5, val=False)
    assert all(torch.equal(fitted.ema[n], p) for n, p in model.named_parameters())
    model, fitted = train(cube, epochs=10, val=False)
    apart = [(fitted.ema[n] - p).abs().max().item() for n, p in model.named_parameters()]
    assert 0 < max(apart) < 0.1
    assert train(cube, ema=False, val=False)[1].ema is None


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"batch_size": 0}, "at least 1"),
        ({"epochs": 0}, "at least 1"),
        ({"epochs": 2.0}, "a whole number"),
        ({"workers": True}, "a whole number"),
        ({"workers": -1}, "at least 0"),
        ({"accumulate": 0}, "at least 1"),
        ({"seed": "7"}, "a whole number"),
        ({"precision": "fp16"}, r"auto \| fp32 \| bf16"),
        ({"base_lr": 0}, "above 0"),
        ({"base_lr": "1e-3"}, "a finite number"),
        ({"base_lr": math.inf}, "a finite number"),
        ({"weight_decay": -0.1}, "at least 0"),
        ({"weight_decay": math.nan}, "a finite number"),
        ({"ema": 1}, "True or False"),
    ],
)
def test_impossible_settings_are_refused(wrong, expected):
    with pytest.raises(ParameterError, match=expected) as caught:
        TrainingConfig(**wrong)
    [(name, value)] = wrong.items()
    assert caught.value.what == name and repr(value) in str(caught.value)


def spoil(when):
    """Losses of pretraining that become NaN in an epoch."""

    def losses(model, batch, epoch):
        loss = model(batch)
        return loss * (float("nan") if epoch == when else 1.0), {}

    return losses


def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_last_checkpoint(cube, tmp_path):
    config = settings(epochs=3, batch_size=2, log_every=3, checkpoint_every=2)
    with pytest.raises(TrainingError) as caught:
        fit(_Mean(), make_data(cube), spoil(1), config, folder=tmp_path)
    text = str(caught.value)
    assert text.startswith("the loss is not a number at step 6")
    assert "lower base_lr" in text and "the last good checkpoint is kept" in text
    assert [row["step"] for row in rows(tmp_path)] == [3, 5]
    state = torch.load(tmp_path / "checkpoints" / "last.pt")
    assert state["step"] == 5 and state["model"]["weight"].isfinite().all()
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["last.pt"]


def test_without_a_checkpoint_the_message_says_so(cube, tmp_path):
    with pytest.raises(TrainingError, match="no checkpoint was written"):
        fit(_Mean(), make_data(cube), spoil(0), settings(), folder=tmp_path)
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_weights_that_are_not_numbers_are_never_saved(cube, tmp_path):
    """The loss is that of the weights before the step, so it may be fine when they are not."""

    def losses(model, batch, epoch):
        # d/dw sqrt(w - w) is infinite times zero: a finite loss with a gradient that is NaN.
        return model(batch) + ((model.weight - model.weight) ** 0.5).sum(), {}

    config = settings(epochs=1, batch_size=10)
    with pytest.raises(TrainingError, match="a weight is not a number at step 1"):
        fit(_Mean(), make_data(cube), losses, config, folder=tmp_path)
    assert not (tmp_path / "checkpoints").exists()


def test_a_held_out_loss_that_is_not_a_number_is_told_and_not_written(cube, tmp_path):
    with pytest.raises(TrainingError, match="the val_loss is not a number at step 5"):
        fit(
            _Mean(), make_data(cube), mean_losses, settings(log_every=9), folder=tmp_path,
            evaluate=lambda _: {"val_loss": math.nan},
        )  # fmt: skip
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_a_frozen_part_stays_as_it_is(cube):
    model = make_model(cube)
    for p in model.encoders.parameters():
        p.requires_grad_(False)
    before = {n: p.clone() for n, p in model.named_parameters()}
    pretrain(model, make_data(cube), settings(epochs=1))
    changed = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert changed and not any(n.startswith("encoders.") for n in changed)
