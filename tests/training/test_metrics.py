"""Scores of heads: the published numbers, what is left out, and what is refused."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from maestro_lab.errors import ParameterError
from maestro_lab.models.heads import TASKS, HeadConfig, head_loss
from maestro_lab.training.metrics import METRICS, TaskMetrics, main_metric

WORST = 1e-6
CLASSES = ("classification", "segmentation")


def config(task, outputs, missing=-1):
    extra = {"reference": "s2", "size": 4} if task == "segmentation" else {}
    return HeadConfig(task, outputs, missing=missing, **extra)


def score(head, *batches):
    metrics = TaskMetrics(head)
    for answers, labels in batches:
        metrics.update(torch.as_tensor(answers), torch.as_tensor(labels))
    return metrics


def as_task(task, answers, labels):
    """Answers (n, k) and labels (n,) as one class a sample, or as maps of 2 x 2 pixels."""
    if task == "classification":
        return answers, labels
    k = answers.shape[1]
    return answers.reshape(-1, 2, 2, k).transpose(0, 3, 1, 2), labels.reshape(-1, 2, 2)


@pytest.fixture(scope="module")
def published(shared):
    folder = shared / "fixtures" / "maestro"
    inputs = load_file(folder / "metrics_inputs.safetensors")
    return inputs, json.loads((folder / "data_lr_metrics.json").read_text())


def test_several_labels_as_published(published):
    inputs, expected = published
    found = score(
        config("multilabel", 15), (inputs["multilabel_logits"], inputs["multilabel_targets"])
    ).compute()
    assert found == pytest.approx(expected["metric_multilabel"], abs=WORST)


@pytest.mark.parametrize("task", CLASSES)
@pytest.mark.parametrize("parts", [1, 7])
def test_classes_as_published(published, task, parts):
    inputs, expected = published
    answers, labels = inputs["segment_logits"].numpy(), inputs["segment_targets"].numpy()
    answers, labels = as_task(task, answers, labels)
    metrics = score(
        config(task, 19, missing=19),
        *zip(np.array_split(answers, parts), np.array_split(labels, parts), strict=True),
    )
    wanted = dict(expected["metric_segment"])
    matrix = np.array(wanted.pop("confusion_matrix"))
    found = metrics.compute()
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, abs=WORST)
    assert metrics.per_class()["support"] == matrix.sum(1).tolist()
    iou = np.diag(matrix)[:17] / (matrix.sum(0) + matrix.sum(1) - np.diag(matrix))[:17]
    assert metrics.per_class()["iou"][:17] == pytest.approx(iou.tolist(), abs=WORST)


def test_torchmetrics_agrees_where_it_defines_the_same():
    from torchmetrics.functional import classification as other
    from torchmetrics.functional import mean_absolute_error, mean_squared_error, r2_score

    generator = torch.Generator().manual_seed(0)
    answers = torch.randn(300, 4, generator=generator)
    labels = torch.randint(0, 4, (300,), generator=generator)
    found = score(config("classification", 4), (answers, labels)).compute()
    assert found["average_f1"] == pytest.approx(
        float(other.multiclass_f1_score(answers, labels, 4))
    )
    jaccard = float(other.multiclass_jaccard_index(answers, labels, 4))
    assert found["average_iou"] == pytest.approx(jaccard)
    several = torch.randint(0, 2, (300, 4), generator=generator)
    found = score(config("multilabel", 4), (answers, several)).compute()
    for name, function in (
        ("f1", other.multilabel_f1_score),
        ("ap", other.multilabel_average_precision),
    ):
        for ours, theirs in (("average", "macro"), ("weighted", "weighted")):
            expected = float(function(answers, several, 4, average=theirs))
            assert found[f"{ours}_{name}"] == pytest.approx(expected, abs=WORST)
    numbers = torch.randn(300, 4, generator=generator)
    found = score(config("regression", 4), (answers, numbers)).compute()
    pooled = r2_score(answers, numbers, multioutput="variance_weighted")
    assert found["r2"] == pytest.approx(float(pooled), abs=1e-5)
    assert found["rmse"] ** 2 == pytest.approx(float(mean_squared_error(answers, numbers)))
    assert found["mae"] == pytest.approx(float(mean_absolute_error(answers, numbers)))


def test_a_label_that_never_occurs():
    """Never there and never guessed it does not count; guessed, it counts as 0, as published."""
    labels = torch.tensor([[1, 0], [1, 0]])
    never = score(config("multilabel", 2), (torch.tensor([[1.0, -1], [1, -1]]), labels))
    assert np.isnan(never.per_class()["f1"][1])
    assert never.compute()["average_f1"] == 1
    guessed = score(config("multilabel", 2), (torch.tensor([[1.0, 1], [1, -1]]), labels))
    assert guessed.per_class()["f1"] == [1, 0]
    assert guessed.compute()["average_f1"] == 0.5
    for metrics in (never, guessed):
        assert metrics.per_class()["ap"] == [1, 0]
        assert metrics.compute()["weighted_ap"] == metrics.compute()["weighted_f1"] == 1


def test_a_class_that_is_only_guessed_does_not_lower_the_averages():
    answers = torch.eye(3)[[0, 0, 1, 2]]
    found = score(config("classification", 3), (answers, torch.tensor([0, 0, 1, 1])))
    assert np.isnan(found.per_class()["iou"][2])
    assert found.compute() == pytest.approx(
        {"overall_accuracy": 0.75, "average_f1": 5 / 6, "average_iou": 0.75, "weighted_f1": 5 / 6}
    )


def test_tied_scores_enter_the_curve_together():
    answers, labels = torch.zeros(4, 1), torch.tensor([[1], [0], [0], [1]])
    for order in ([0, 1, 2, 3], [1, 2, 0, 3]):
        found = score(config("multilabel", 1), (answers, labels[order])).compute()
        assert found["average_ap"] == 0.5


def test_logits_between_0_and_1_are_still_logits():
    answers, labels = torch.tensor([[0.2], [0.4]]), torch.tensor([[1], [1]])
    assert score(config("multilabel", 1), (answers, labels)).compute()["average_f1"] == 1


def empty(task):
    shape = {"classification": (2,), "segmentation": (2, 2, 2)}.get(task, (2, 3))
    labels = torch.full(shape, np.nan if task == "regression" else -1)
    return torch.randn(2, 3, *shape[1:] if task == "segmentation" else ()), labels


@pytest.mark.parametrize("task", TASKS)
def test_nothing_to_score_is_not_a_number(task):
    head = config(task, 3)
    for metrics in (TaskMetrics(head), score(head, empty(task), empty(task))):
        found = metrics.compute()
        assert tuple(found) == METRICS[task] and main_metric(task) in found
        assert all(np.isnan(value) for value in found.values())
        parts = metrics.per_class()
        assert parts.pop("support") == [0, 0, 0]
        assert all(np.isnan(values).all() for values in parts.values())
    assert head_loss(*empty(task), head) == 0


@pytest.mark.parametrize("task", TASKS)
def test_reads_half_precision_and_bytes_and_leaves_no_graph(task):
    answers, labels = empty(task)
    labels = torch.ones_like(labels) if task == "regression" else torch.ones_like(labels).byte()
    metrics = score(config(task, 3), (answers.bfloat16().requires_grad_(), labels))
    assert metrics.compute() == score(config(task, 3), (answers.bfloat16(), labels)).compute()
    kept = [v for v in vars(metrics._gathered).values() if isinstance(v, list | torch.Tensor)]
    assert kept
    assert not any(t.requires_grad for each in kept for t in each)


@pytest.mark.parametrize("task", TASKS)
def test_gathers_on_the_device_of_the_answers_without_looking_at_them(task):
    """On the meta device there are no numbers, so nothing can wait for one."""
    answers, labels = empty(task)
    metrics = score(config(task, 3), *[(answers.to("meta"), labels)] * 2)
    kept = [v for v in vars(metrics._gathered).values() if isinstance(v, list | torch.Tensor)]
    assert {t.device.type for each in kept for t in each} == {"meta"}


def test_constant_labels_have_no_r2():
    found = score(config("regression", 1), (torch.randn(4, 1), torch.ones(4, 1))).compute()
    assert np.isnan(found["r2"]) and found["rmse"] > 0


@pytest.mark.parametrize("task", ["multilabel", *CLASSES])
@pytest.mark.parametrize("wrong", [3, -2, 0.5, float("nan")])
def test_labels_that_cannot_be_are_refused(task, wrong):
    answers, labels = empty(task)
    labels = torch.zeros_like(labels, dtype=torch.float64)
    labels.view(-1)[1] = wrong
    metrics = score(config(task, 3), (answers, labels))
    with pytest.raises(ParameterError, match=r"labels to score\n.*\n.*1 others"):
        metrics.compute()


@pytest.mark.parametrize("task", ["multilabel", *CLASSES])
def test_answers_that_are_not_numbers_are_refused(task):
    answers, labels = empty(task)
    metrics = score(config(task, 3), (answers * np.nan, torch.zeros_like(labels)))
    with pytest.raises(ParameterError, match="answers to score"):
        metrics.per_class()


@pytest.mark.parametrize("task", TASKS)
def test_shapes_that_do_not_fit_are_refused(task):
    answers, labels = empty(task)
    metrics = TaskMetrics(config(task, 3))
    for pair in ((answers[:, :2], labels), (answers, labels[:1]), (answers[0], labels)):
        with pytest.raises(ParameterError, match="answers and labels do not fit"):
            metrics.update(*pair)


def test_an_unknown_task_is_refused():
    with pytest.raises(ParameterError, match="multilabel \\| classification"):
        main_metric("detection")
