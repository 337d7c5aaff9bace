"""Probe, fine-tuning and supervised twin: what changes, what stays, which weights are left."""

import copy

import pytest
import torch

from maestro_lab.errors import ParameterError, TrainingError
from maestro_lab.models.predictor import Predictor
from maestro_lab.models.systems import build_model
from maestro_lab.training import tune as tuning
from maestro_lab.training.schedule import ema_momentum
from maestro_lab.training.tune import PHASES, predict, score, tune
from tests.training.conftest import make_data
from tests.training.labelled import HEADS, labelled_cube, make_predictor, quick, split_data

DECODING = ("to_decoder.", "decoders.", "mask_tokens.", "to_pixels.")


@pytest.fixture(scope="module")
def cube():
    return labelled_cube()


def state(model):
    return {name: t.detach().clone() for name, t in model.state_dict().items()}


def same(a, b):
    return set(a) == set(b) and all(torch.equal(t, b[name]) for name, t in a.items())


def train(cube, *targets, predictor=None, val=True, **options):
    """Tune a predictor for targets; return it with what came out."""
    settings = {k: options.pop(k) for k in ("epochs", "base_lr", "ema", "seed") if k in options}
    predictor = predictor or make_predictor(cube, *targets)
    data, held_out = split_data(cube, *targets)
    tuned = tune(
        predictor, data, quick(**settings), val=held_out if val else None, progress="silent",
        **options,
    )  # fmt: skip
    return predictor, tuned


@pytest.mark.parametrize("phase", PHASES)
def test_what_each_phase_changes(cube, phase):
    predictor = make_predictor(cube)
    with torch.no_grad():
        predictor.encoder.mask_tokens["optics"].add_(1.0)
    encoder, heads = state(predictor.encoder), state(predictor.heads)
    wanted = {n: p.requires_grad for n, p in predictor.named_parameters()}
    _, tuned = train(cube, predictor=predictor, phase=phase, monitor="kind/average_f1")
    changed = {
        n for n, t in predictor.encoder.state_dict().items() if not torch.equal(t, encoder[n])
    }
    decoding = {n for n in encoder if n.startswith(DECODING)}
    if phase == "probe":
        assert not changed
    elif phase == "finetune":
        learnt = {n for n, p in predictor.encoder.named_parameters()} - decoding
        assert changed == learnt and decoding
    else:
        assert changed & decoding == {"mask_tokens.optics"}, "new random weights for all"
        fresh = build_model(predictor.encoder.config, seed=0).state_dict()
        assert all(torch.equal(predictor.encoder.state_dict()[n], fresh[n]) for n in decoding)
    assert not any(torch.equal(p, heads[n]) for n, p in predictor.heads.named_parameters())
    assert {n: p.requires_grad for n, p in predictor.named_parameters()} == wanted
    assert tuned.phase == phase and repr(tuned).startswith(f"{phase}: 6 steps in")
    last = tuned.fitted.metrics[-1]
    assert {"loss", "val_loss", *(f"loss/{n}" for n in HEADS)} <= set(last)
    assert last["loss"] == pytest.approx(sum(last[f"loss/{n}"] for n in HEADS), rel=1e-5)


def test_the_supervised_twin_is_fine_tuning_from_random_weights(cube):
    pretrained = make_predictor(cube, "mass")
    with torch.no_grad():
        for p in pretrained.encoder.parameters():
            p.add_(0.1)
    _, twin = train(cube, "mass", predictor=pretrained, phase="supervised", seed=3)
    fresh = Predictor(build_model(pretrained.encoder.config, seed=3), pretrained.config)
    _, plain = train(cube, "mass", predictor=fresh, phase="finetune", seed=3)
    assert twin.fitted.metrics == plain.fitted.metrics
    assert same(pretrained.state_dict(), fresh.state_dict())
    _, other = train(cube, "mass", phase="supervised", seed=4)
    assert other.fitted.metrics != twin.fitted.metrics


@pytest.mark.parametrize("phase", PHASES)
def test_the_seed_alone_decides(cube, phase):
    """Not the generator of torch, nor what was in the heads before."""
    runs = []
    for state_of_torch in (5, 6):
        torch.manual_seed(state_of_torch)
        runs.append(train(cube, "kind", phase=phase))
    assert runs[0][1].fitted.metrics == runs[1][1].fitted.metrics
    assert same(runs[0][0].state_dict(), runs[1][0].state_dict())
    _, other = train(cube, "kind", phase=phase, seed=1)
    assert other.fitted.metrics != runs[0][1].fitted.metrics


@pytest.mark.parametrize("phase", ["probe", "finetune"])
@pytest.mark.parametrize(("target", "metric"), [("mass", "r2"), ("cover", "average_iou")])
def test_the_weights_left_are_those_of_the_best_epoch(cube, phase, target, metric):
    rate = 3e-2 if phase == "probe" else 1e-2
    predictor, tuned = train(cube, target, phase=phase, epochs=8, base_lr=rate, patience=None)
    monitor = f"{target}/{metric}"
    values = [row[monitor] for row in tuned.fitted.metrics]
    assert tuned.monitor == monitor and len(values) == 8 and len(set(values)) > 1
    assert tuned.best == max(values) and tuned.epoch == values.index(max(values)) + 1
    assert score(predictor, split_data(cube, target)[1])[monitor] == pytest.approx(tuned.best)
    assert f"best {monitor} {tuned.best:.4f} in epoch {tuned.epoch}" in repr(tuned)


def test_training_stops_when_nothing_gets_better(cube, monkeypatch):
    plain, told = tuning._evaluate, iter([0.1, 0.5, 0.4, 0.5, 0.9])
    monkeypatch.setattr(tuning, "_evaluate", lambda *a: {**plain(*a), "mass/r2": next(told)})
    _, tuned = train(cube, "mass", epochs=20, patience=2)
    assert [row["mass/r2"] for row in tuned.fitted.metrics] == [0.1, 0.5, 0.4, 0.5]
    assert (tuned.best, tuned.epoch) == (0.5, 2)


def test_averaged_weights_of_an_epoch_are_evaluated_and_kept(cube, monkeypatch):
    """They are averaged first: the weights that reach a score are those that are left."""
    plain, raw, seen = tuning._evaluate, [], []

    def evaluate(heads, answer, *rest):
        seen.append(state(answer))
        return {**plain(heads, answer, *rest), "mass/r2": -abs(len(seen) - 7)}

    monkeypatch.setattr(tuning, "_evaluate", evaluate)
    predictor = make_predictor(cube, "mass")
    step = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW,
        "step",
        lambda self, *a, **k: (step(self, *a, **k), raw.append(state(predictor)))[0],
    )
    train(cube, "mass", predictor=predictor, epochs=10, base_lr=1e-2)
    assert same(predictor.state_dict(), seen[6]), "epoch 7 was the best"
    keep = ema_momentum(10)
    assert keep == 0.5 and len(raw) == 20
    names = [n for n, _ in predictor.named_parameters() if not n.startswith("encoder.decoders")]
    for epoch in range(1, 10):
        for name in names:
            expected = keep * seen[epoch - 1][name] + (1 - keep) * raw[2 * epoch + 1][name]
            torch.testing.assert_close(seen[epoch][name], expected, rtol=1e-5, atol=1e-7)
    assert not same(seen[9], raw[-1])


def test_without_averaging_or_in_a_probe_the_weights_themselves_count(cube, monkeypatch):
    plain, seen = tuning._evaluate, []
    monkeypatch.setattr(
        tuning, "_evaluate", lambda heads, *a: (seen.append(state(heads)), plain(heads, *a))[1]
    )
    for options in ({"ema": False}, {"phase": "probe"}):
        seen.clear()
        predictor, tuned = train(cube, "kind", epochs=10, base_lr=1e-2, patience=None, **options)
        assert tuned.fitted.ema is None
        assert same(state(predictor.heads), seen[tuned.epoch - 1])


def test_without_held_out_samples_the_last_epoch_counts(cube):
    predictor, tuned = train(cube, "mass", val=False, ema=False)
    assert (tuned.monitor, tuned.best, tuned.epoch) == ("", None, 0)
    assert "best" not in repr(tuned)
    twin = make_predictor(cube, "mass")
    twin.load_state_dict(state(predictor))
    assert not any("val_loss" in row for row in tuned.fitted.metrics)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("phase", PHASES)
def test_a_run_that_died_goes_on_as_if_it_had_not(cube, tmp_path, monkeypatch, phase):
    options = {"phase": phase, "epochs": 6, "base_lr": 1e-2, "patience": 3}
    whole, expected = train(cube, "mass", "cover", folder=tmp_path / "whole", **options)
    plain, calls = tuning._evaluate, []

    def dying(*args):
        calls.append(1)
        if len(calls) == 4:
            raise KilledError
        return plain(*args)

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(tuning, "_evaluate", dying)
        train(cube, "mass", "cover", folder=tmp_path / "died", **options)
    text = (tmp_path / "died" / "metrics.jsonl").read_text()
    assert len(text.splitlines()) == 3
    again, found = train(cube, "mass", "cover", folder=tmp_path / "died", **options)
    assert found.fitted.metrics == expected.fitted.metrics
    assert (found.best, found.epoch) == (expected.best, expected.epoch)
    assert same(again.state_dict(), whole.state_dict())
    for name in ("died", "whole"):
        metrics = (tmp_path / name / "metrics.jsonl").read_text()
        assert len(metrics.splitlines()) == len(expected.fitted.metrics)
    done, finished = train(cube, "mass", "cover", folder=tmp_path / "whole", **options)
    assert same(done.state_dict(), whole.state_dict()) and finished.epoch == expected.epoch


@pytest.mark.parametrize("other", [{"phase": "probe"}, {"patience": 4}, {"monitor": "mass/rmse"}])
def test_a_checkpoint_of_another_run_is_refused(cube, tmp_path, other):
    train(cube, "mass", epochs=1, folder=tmp_path)
    with pytest.raises(TrainingError, match="from another configuration"):
        train(cube, "mass", **{"epochs": 1, "folder": tmp_path, **other})
    train(cube, "mass", **{"epochs": 1, "folder": tmp_path, "resume": False, **other})


def test_what_cannot_be_is_refused(cube):
    predictor, before = make_predictor(cube, "mass", "kind"), None
    before = state(predictor)
    data, val = split_data(cube, "mass", "kind")
    with pytest.raises(ParameterError, match=r"phase\n.*probe \| finetune \| supervised"):
        tune(predictor, data, quick(), phase="pretrain")
    poor = make_data(cube, targets=["mass"])
    for pair in ((poor, val), (data, poor)):
        with pytest.raises(ParameterError, match=r"no target 'kind' in the data(.|\n)*targets="):
            tune(predictor, pair[0], quick(), val=pair[1])
    with pytest.raises(ParameterError, match="no target 'kind'"):
        score(predictor, make_data(cube, "val", train=False, targets=["mass"]))
    with pytest.raises(ParameterError, match=r"train=False(.|\n)*train=True"):
        predict(predictor, data)
    assert same(state(predictor), before)
    with pytest.raises(TrainingError, match=r"no score 'mass/f1'(.|\n)*mass/r2"):
        tune(predictor, data, quick(), val=val, monitor="mass/f1", progress="silent")


def test_the_encoder_is_left_as_it_was_also_after_an_error(cube):
    predictor = make_predictor(cube, "mass")
    wanted = copy.deepcopy({n: p.requires_grad for n, p in predictor.named_parameters()})
    frozen = next(iter(wanted))
    dict(predictor.named_parameters())[frozen].requires_grad_(False)
    with pytest.raises(TrainingError, match="no score"):
        train(cube, predictor=predictor, monitor="nothing", phase="finetune")
    assert {n: p.requires_grad for n, p in predictor.named_parameters()} == {
        **wanted, frozen: False
    }  # fmt: skip
