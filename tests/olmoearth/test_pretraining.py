"""OlmoEarth through the same loop, run folders and steps as MAESTRO."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import maestro_lab as ml
from maestro_lab.collapse import CONDITIONS
from maestro_lab.errors import ParameterError, TrainingError
from maestro_lab.models.predictor import Predictor
from maestro_lab.olmoearth.dataset import Crops
from maestro_lab.training.schedule import cosine_decay

CROPS = {"patches": (2, 3), "grid": (1, 3), "budget": 60}


@pytest.fixture(scope="module")
def cube():
    return ml.open_cube("landscape", samples=40, modalities=["s2", "s1_asc", "dem"]).load()


@pytest.fixture(scope="module")
def config(cube):
    return ml.olmoearth_config(cube, maps=["land_cover"])


def settings(**changes):
    given = {"epochs": 3, "batch_size": 8, "base_lr": 1e-3, "log_every": 1}
    return ml.TrainingConfig.published("olmoearth", **given | changes)


def run(cube, config, folder=None, **changes):
    model = ml.build_model(config)
    train, held = ml.train_and_held_out(cube, config, **CROPS)
    fitted = ml.pretrain(model, train, settings(**changes), val=held, folder=folder)
    return model, fitted


def test_it_learns_and_the_target_stays(cube):
    """Few samples, again and again, without what makes it hard: predictions find their targets."""
    v1 = ml.olmoearth_config(cube, version="v1", maps=["land_cover"], masking="random")
    easy = replace(v1, drop_path=0.0, contrastive=0.0)
    model = ml.build_model(easy)
    before = {n: p.clone() for n, p in model.state_dict().items()}
    few = np.flatnonzero(cube["split"].values == "train")[:8]
    crops = Crops(patches=(2, 2), grid=(3, 3), budget=120, turn=False)
    train = ml.dataset_for(easy, cube, train=True, samples=few, crops=crops)
    fitted = ml.pretrain(model, train, settings(epochs=60, base_lr=3e-3))
    losses = [row["loss/sentinel2_l2a"] for row in fitted.metrics]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    names = {n.removeprefix("loss/") for n in fitted.metrics[0] if n.startswith("loss/")}
    assert names == {"sentinel2_l2a", "sentinel1", "land_cover", "samples"}
    after = model.state_dict()
    still = {n for n in after if torch.equal(before[n], after[n])}
    assert {n for n in after if n.startswith("target.")} <= still
    assert any(n.startswith("encoder.") and n not in still for n in after)


def test_a_run_repeats_with_any_number_of_workers_and_after_a_stop(cube, config, tmp_path):
    """Skipped blocks and dropped bands are drawn by the model itself: they repeat as well."""
    assert config.band_dropout and config.drop_path
    _, fitted = run(cube, config)
    _, helped = run(cube, config, workers=2)
    assert fitted.metrics == helped.metrics
    stopped = ml.build_model(config)
    train, held = ml.train_and_held_out(cube, config, **CROPS)

    class StopError(Exception):
        pass

    def stop(_):
        seen.append(1)
        if len(seen) == 2:
            raise StopError
        return {}

    seen: list[int] = []
    with pytest.raises(StopError):
        ml.pretrain(stopped, train, settings(), val=held, measure=stop, folder=tmp_path)
    again = ml.build_model(config, 7)
    torch.manual_seed(99)
    resumed = ml.pretrain(again, train, settings(), val=held, folder=tmp_path)
    assert resumed.metrics == fitted.metrics
    with pytest.raises(TrainingError, match="another configuration: crops"):
        other, _ = ml.train_and_held_out(cube, config, **CROPS | {"budget": 61})
        ml.pretrain(again, other, settings(), folder=tmp_path)


def test_the_random_numbers_of_others_are_left_alone(cube, config):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(cube, config, epochs=1)
    assert torch.equal(torch.rand(3), expected)


def test_bf16_keeps_losses_in_full_precision(cube, config):
    full, half = (run(cube, config, precision=p, epochs=1)[1] for p in ("fp32", "bf16"))
    first = [fitted.metrics[0]["loss"] for fitted in (full, half)]
    assert half.precision == "bf16" and first[0] != first[1]
    np.testing.assert_allclose(first[1], first[0], rtol=0.02)
    assert all(np.isfinite(row["loss"]) for row in half.metrics)


@pytest.mark.parametrize("masking", ["modality_cross_random", "random", "space", "time"])
@pytest.mark.parametrize("token_loss", ["patch_discrimination", "all_discrimination"])
def test_other_maskings_and_losses_train_too(cube, config, masking, token_loss):
    changed = replace(config, masking=masking, token_loss=token_loss)
    _, fitted = run(cube, changed, epochs=1)
    assert np.isfinite(fitted.metrics[-1]["loss"]) and "loss/tokens" in fitted.metrics[0]


@pytest.fixture(scope="module")
def trained(cube, config):
    return run(cube, config, epochs=1)[0]


@pytest.mark.parametrize("target", ["land_cover", "species", "biomass"])
def test_heads_learn_on_it_in_every_phase(cube, trained, target, tmp_path):
    for phase in ("probe", "finetune", "supervised"):
        predictor, tuned, scores = ml.tune_on(
            trained, cube, target, phase=phase, steps=4, batch_size=8
        )
        assert np.isfinite(list(scores.values())).all() and tuned.phase == phase
        moved = any(
            not torch.equal(p, q)
            for p, q in zip(predictor.encoder.encoder.transformer.parameters(),
                            trained.encoder.transformer.parameters(), strict=True)
        )  # fmt: skip
        assert moved == (phase != "probe")
    ml.save_model(predictor, tmp_path)
    again, report = ml.load_model(tmp_path)
    assert isinstance(again, Predictor) and report.share == 1.0
    assert again.config == predictor.config
    data = ml.dataset_for(trained.config, cube, split="test", targets=[target])
    ours, theirs = (ml.predict(p, data)[target].answers for p in (predictor, again))
    np.testing.assert_array_equal(ours, theirs)


def test_an_encoder_may_wait_and_be_slower(cube, trained):
    """As published: heads alone for a fifth of the steps, then a tenth of their rate."""
    data = ml.dataset_for(trained.config, cube, train=True, targets=["biomass"])
    found = {}
    for freeze, rate in ((0.0, 1.0), (0.99, 1.0), (0.2, 0.01)):
        predictor, _, _ = ml.tune_on(
            trained, cube, "biomass", steps=6, batch_size=12, freeze=freeze, encoder_rate=rate
        )
        before = dict(trained.named_parameters())
        found[freeze] = max(
            float((p - before[n]).detach().abs().max())
            for n, p in predictor.encoder.named_parameters()
            if n.startswith("encoder.transformer")
        )
    assert len(data) and found[0.99] == 0 < found[0.2] < found[0.0] / 10
    for name, value in (("freeze", 1.0), ("encoder_rate", -1.0)):
        with pytest.raises(ParameterError, match=name):
            ml.tune_on(trained, cube, "biomass", steps=1, **{name: value})


def test_curves_of_labels_hold_for_it(cube, trained):
    curves = ml.compare_phases(
        trained, cube, "biomass", phases=["probe"], fractions=[1.0], seeds=1, steps=2, draws=20,
        patch=3,
    )  # fmt: skip
    assert np.isfinite(curves.scores["score"]).all()
    maestro = ml.build_model(ml.MaestroConfig(ml.contract_for(cube), "nano"))
    with pytest.raises(ParameterError, match="patch of a MAESTRO model"):
        ml.compare_phases(maestro, cube, "biomass", patch=3)


def test_months_alone(cube, trained):
    data = ml.dataset_for(trained.config, cube, split="test")
    data.input.values(int(data.index[0]))  # kept; then month 4 is taken away
    for name in data.input.parts:
        data.input._kept[name, int(data.index[0])] = lacking(data.input, name, int(data.index[0]))
    found, names = ml.embed_months(trained, data, batch_size=3)
    assert found.shape == (12, len(data) * data.grid**2, 128) and len(names) == 12
    assert np.isnan(found[4, :9]).all() and np.isfinite(found[3, :9]).all()
    one = data.__getitems__([(0, 0)])
    values = {n: v[:, 3:4] for n, v in one.values.items()}
    alone = replace(one, values=values, timestamps=one.timestamps[:, 3:4])
    with torch.no_grad():
        expected = trained.eval().embed(alone, spatial=True)[0].numpy()
    np.testing.assert_allclose(found[3, :9], expected, atol=1e-5)


def lacking(data, name, sample):
    values = data.values(sample)[name].copy()
    values[4] = -99999
    return values


def test_runs_are_measured_before_and_while_they_train(cube):
    config = ml.olmoearth_config(cube, modalities=["s2"])
    runs, models = ml.collapse_runs(cube, config, settings(epochs=1), seeds=[0], crops=CROPS)
    assert list(models) == list(CONDITIONS)
    assert models["learned, distance"].config.target == "learned"
    assert runs.groupby("condition").size().eq(2).all(), "before, and after the epoch"
    first = runs[runs["step"] == 0]
    assert first["loss"].isna().all()
    assert first["effective rank"].nunique() == 1, "all begin with the same weights"
    assert len(ml.collapse_results(runs)) == 8
    assert ml.collapse_verdict(runs).startswith("Effective rank: frozen, compared ")


@pytest.mark.slow
def test_what_learns_its_own_targets_collapses():
    """Effective rank of the frozen-target run: at least 3 times the other's, on three seeds."""
    cube = ml.open_cube("landscape", samples=200, modalities=["s2"]).load()
    config = ml.olmoearth_config(cube, drop_path=0.0, band_dropout=0.0)
    chosen = {name: CONDITIONS[name] for name in ("frozen, compared", "learned, distance")}
    runs, _ = ml.collapse_runs(
        cube, config, settings(epochs=12, batch_size=32, evaluate_every=12), seeds=[0, 1, 2],
        crops={"patches": (2, 3), "grid": (1, 2)}, conditions=chosen,
    )  # fmt: skip
    ends = runs[runs["step"] > 0].pivot_table("effective rank", "seed", "condition")
    factor = ends["frozen, compared"] / ends["learned, distance"]
    assert len(factor) == 3 and factor.min() >= 3
    losses = runs[runs["step"] > 0].pivot_table("loss", "seed", "condition")
    assert losses["learned, distance"].max() < 0.05, "and its loss looks like a triumph"


def test_published_settings_and_their_schedule():
    config = ml.TrainingConfig.published("olmoearth", final_factor=None, epochs=7)
    assert (config.base_lr, config.weight_decay, config.clip, config.ema) == (2e-4, 0.02, 1, False)
    assert config.betas == (0.9, 0.999) and config.epochs == 7 and config.final_factor == 10
    assert ml.TrainingConfig.published() == ml.TrainingConfig()
    with pytest.raises(ParameterError, match=r"system\n.*maestro | olmoearth"):
        ml.TrainingConfig.published("galileo")
    rates = [cosine_decay(k, 100, 2.0, warmup=0.1, final_factor=10) for k in range(100)]
    assert rates[0] == 0 and rates[5] == 1.0 and max(rates) == rates[10] == 2.0
    assert rates[99] == pytest.approx(0.2) and np.all(np.diff(rates[10:]) < 0)
    middle = 0.2 + 1.8 / 2 * (1 + np.cos(np.pi * 45 / 89))
    assert rates[55] == pytest.approx(middle)


def test_gradients_are_clipped(cube, config):
    """The first loss is before any step; a limit far below Adam's epsilon holds the rest back."""
    loose, tight = (run(cube, config, epochs=2, clip=c)[1].metrics for c in (0.0, 1e-12))
    assert loose[0]["loss"] == tight[0]["loss"] and loose[-1]["loss"] != tight[-1]["loss"]
