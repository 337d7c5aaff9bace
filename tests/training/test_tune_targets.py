"""What heads of each kind learn, and ways of computing that change nothing but time and memory."""

import numpy as np
import pytest
import torch

from maestro_lab.batches import CubeDataset, contract_for
from maestro_lab.models import transformer
from maestro_lab.models.config import MaestroConfig, Size
from maestro_lab.models.heads import HeadConfig
from maestro_lab.models.predictor import Predictor, PredictorConfig
from maestro_lab.models.systems import build_model
from maestro_lab.models.transformer import Transformer
from maestro_lab.training.pretrain import pretrain
from maestro_lab.training.tune import PHASES, predict, score, tune
from tests.training.conftest import SIZE, make_data, make_model
from tests.training.labelled import HEADS, labelled_cube, make_predictor, quick, split_data


@pytest.fixture(scope="module")
def cube():
    return labelled_cube()


GOOD = {
    "mass": ("r2", 0.9),
    "height": ("r2", 0.7),
    "kind": ("overall_accuracy", 0.99),
    "cover": ("average_iou", 0.6),
    "shares": ("weighted_f1", 0.99),
}


@pytest.mark.parametrize("target", HEADS)
def test_a_handful_of_samples_is_learnt_by_heart(target):
    """With turns and other dates each epoch; scored on the same samples as they are."""
    cube = labelled_cube(7, whole=True)
    predictor = make_predictor(cube, target)
    train, _ = split_data(cube, target)
    same = make_data(cube, train=False, targets=[target])
    metric, least = GOOD[target]
    before = score(predictor, same)[f"{target}/{metric}"]
    config = quick(epochs=80, base_lr=8e-3, log_every=1000, evaluate_every=16)
    tune(predictor, train, config, val=same, patience=None, progress="silent")
    assert before < least < score(predictor, same)[f"{target}/{metric}"]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("target", ["mass", "height"])
def test_regressions_answer_in_units_of_their_target(cube, phase, target):
    predictor = make_predictor(cube, target)
    train, val = split_data(cube, target)
    tune(predictor, train, quick(epochs=1, base_lr=1e-6), phase=phase, val=val, progress="silent")
    labels = train.labels(target).numpy()
    head = predictor.heads[target]
    assert float(head.offset) == pytest.approx(np.nanmean(labels), rel=1e-6)
    assert float(head.scale) == pytest.approx(np.nanstd(labels), rel=1e-6)
    answers = predict(predictor, val)[target].answers
    away = (answers - np.nanmean(labels)) / np.nanstd(labels)
    assert 0 < np.abs(away).max() < 6
    if target == "mass":
        assert answers.min() > 300, "not numbers around zero"


def test_answers_come_with_labels_and_numbers_of_samples(cube):
    predictor = make_predictor(cube)
    data = make_data(cube, ["train", "val"], train=False, targets=list(HEADS))
    predictor.train()
    found = predict(predictor, data, batch_size=5)
    assert predictor.training, "left as it was"
    shapes = {n: (f.answers.shape[1:], f.labels.shape[1:]) for n, f in found.items()}
    assert shapes == {
        "mass": ((1,), (1,)), "height": ((1, 4, 4), (1, 4, 4)), "kind": ((3,), ()),
        "cover": ((3, 4, 4), (4, 4)), "shares": ((3,), (3,)),
    }  # fmt: skip
    for answers in found.values():
        np.testing.assert_array_equal(answers.sample, data.index)
    shares = cube["targets"]["shares"].values[data.index]
    known = np.isfinite(shares).all(1)
    labels = found["shares"].labels
    np.testing.assert_array_equal(labels[known], shares[known] > HEADS["shares"].threshold)
    assert (labels[~known] == -1).all() and (~known).sum() == 1
    one = data.__getitems__([(0, 6)])
    with torch.no_grad():
        alone = predictor.eval()(one)
    for name, answers in alone.items():
        np.testing.assert_allclose(answers[0], found[name].answers[6], rtol=1e-4, atol=1e-4)


def test_scores_are_those_of_answers_and_labels(cube):
    predictor = make_predictor(cube, "height", "kind")
    data = make_data(cube, None, train=False, targets=["height", "kind"])
    found, scores = predict(predictor, data), score(predictor, data, batch_size=3)
    answers, labels = found["height"].answers, found["height"].labels
    kept = np.isfinite(labels)
    error = (answers - labels)[kept]
    spread = ((labels[kept] - labels[kept].mean()) ** 2).sum()
    assert scores["height/r2"] == pytest.approx(1 - (error**2).sum() / spread, rel=1e-5)
    assert scores["height/rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5)
    answers, labels = found["kind"].answers.argmax(1), found["kind"].labels
    kept = labels != HEADS["kind"].missing
    assert kept.sum() == 13
    assert scores["kind/overall_accuracy"] == pytest.approx((answers == labels)[kept].mean())


# -- the same by other means


def losses_of(cube, **options):
    """Losses of a short fine-tuning of two transformers, two blocks each."""
    contract = contract_for(cube, modalities=["optics"], dates=3)
    size = Size(16, 2, 1, 16, 32, 16, 1, 1, 16, 32)
    encoder = build_model(MaestroConfig(contract, size, joint_depth=1))
    config = PredictorConfig(encoder.config, {"kind": HeadConfig("classification", 3, missing=9)})
    predictor = Predictor(encoder, config)
    data = CubeDataset(cube, contract, split="train", targets=["kind"])
    tuned = tune(
        predictor, data, quick(epochs=2, base_lr=1e-2, log_every=1, **options), progress="silent"
    )
    blocks = [b for t in predictor.modules() if isinstance(t, Transformer) for b in t.blocks]
    assert len(blocks) == 3 and all("forward" not in b.__dict__ for b in blocks), "as it was"
    assert not any(t.checkpointing for t in predictor.modules() if isinstance(t, Transformer))
    return [row["loss"] for row in tuned.fitted.metrics]


def test_activations_computed_again_give_the_same_losses(cube, monkeypatch):
    plain, calls, original = losses_of(cube), [], transformer.checkpoint
    monkeypatch.setattr(
        transformer, "checkpoint", lambda *a, **k: calls.append(1) or original(*a, **k)
    )
    assert losses_of(cube, checkpointing=True) == pytest.approx(plain, rel=1e-6)
    assert len(calls) == 2 * 4, "both blocks of the encoder, in each of four steps"


@pytest.mark.filterwarnings("ignore")  # what torch says to itself while it traces
def test_compiled_blocks_give_the_same_losses(cube, monkeypatch):
    """Traced and differentiated as always; without the C++ stage, which takes most of a minute."""
    original, plain = torch.compile, losses_of(cube)
    monkeypatch.setattr(torch, "compile", lambda f, **k: original(f, backend="aot_eager", **k))
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    assert losses_of(cube, compiled=True) == pytest.approx(plain, rel=1e-5)
    stats = torch._dynamo.utils.counters["stats"]
    assert stats["unique_graphs"] >= 1 and stats["calls_captured"] > 10, "it did compile"


def test_pretraining_with_activations_computed_again_is_the_same(cube):
    found = []
    for checkpointing in (False, True):
        model = make_model(cube, size=SIZE)
        fitted = pretrain(
            model, make_data(cube), quick(epochs=1, checkpointing=checkpointing, log_every=1)
        )
        found.append([row["loss"] for row in fitted.metrics])
    assert found[1] == pytest.approx(found[0], rel=1e-6)


def test_a_switch_is_off_again_after_an_error(cube):
    predictor = make_predictor(cube, "kind")
    data, val = split_data(cube, "kind")
    with pytest.raises(Exception, match="no score"):
        tune(
            predictor, data, quick(epochs=1, checkpointing=True), val=val, monitor="nothing",
            progress="silent",
        )  # fmt: skip
    assert not any(t.checkpointing for t in predictor.modules() if isinstance(t, Transformer))
