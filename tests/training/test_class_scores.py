"""Scores part by part: those of sklearn, with intervals of blocks, beside the trivial answer."""

import numpy as np
import pytest
from sklearn.metrics import jaccard_score, precision_recall_fscore_support, r2_score

from maestro_lab.errors import ParameterError
from maestro_lab.training.class_scores import class_scores
from maestro_lab.training.probe import probe
from maestro_lab.training.scores import bootstrap
from maestro_lab.training.units import TRIVIAL
from tests.training.probe_units import made_cloud, made_units


def probed(target, task="classification", block=None):
    rows, *_, split = made_cloud()
    block = np.arange(len(rows)) // 20 if block is None else block
    return probe({"f": rows}, made_units(target, split, task, block), draws=5, methods=["linear"])


def test_classes_are_scored_as_sklearn_does():
    _, _, classes, _, split = made_cloud()
    result = probed(classes)
    table = class_scores(result, "f", "linear", classes=["?"] * 10 + ["ten"], draws=50)
    assert table["features"].tolist() == ["f"] * 3 + [TRIVIAL] * 3
    assert table["class"].tolist() == ["ten", "20", "30"] * 2
    truth, predicted = classes[split == "test"], result.predictions["f", "linear"]
    expected = precision_recall_fscore_support(truth, predicted, zero_division=np.nan)
    mine = table[:3]
    for name, column in zip(["precision", "recall", "f1", "support"], expected, strict=True):
        assert mine[name].to_numpy() == pytest.approx(column)
    assert mine["iou"].to_numpy() == pytest.approx(jaccard_score(truth, predicted, average=None))
    assert ((mine["low"] <= mine["f1"]) & (mine["f1"] <= mine["high"])).all()
    names, counts = np.unique(classes[split == "train"], return_counts=True)
    often = table[3:].set_axis(names)
    assert often["recall"].tolist() == [float(n == names[counts.argmax()]) for n in names]
    assert often["precision"].isna().sum() == 2


def test_labels_are_scored_one_by_one():
    *_, labels, split = made_cloud()
    result = probed(labels)
    table = class_scores(result, "f", "linear", classes=["wet", "green"], draws=20)[:2]
    truth, predicted = labels[split == "test"], result.predictions["f", "linear"]
    expected = precision_recall_fscore_support(truth, predicted)
    assert table["class"].tolist() == ["wet", "green"]
    assert table["f1"].to_numpy() == pytest.approx(expected[2])
    assert table["support"].tolist() == expected[3].tolist()


def test_several_numbers_are_scored_column_by_column():
    rows, number, *_, split = made_cloud()
    both = np.stack([rows[:, 0], number, np.where(split == "test", 2.0, number)], 1)
    result = probed(both, "regression")
    table = class_scores(result, "f", "linear", draws=200)[:3]
    truth, predicted = both[split == "test"], result.predictions["f", "linear"]
    assert table["column"].tolist() == ["0", "1", "2"]
    expected = [r2_score(truth[:, k], predicted[:, k]) for k in (0, 1)]
    assert table["r2"].to_numpy()[:2] == pytest.approx(expected)
    assert np.isnan(table["r2"].iloc[2]), "a constant has no variance to explain"
    assert table["mae"].to_numpy() == pytest.approx(abs(truth - predicted).mean(0))
    block = result.units.block[split == "test"]
    _, low, high = bootstrap("r2", truth[:, 1], [predicted[:, 1]], block, draws=2000)
    assert table[["low", "high"]].to_numpy()[1] == pytest.approx((low, high), abs=0.05)


def test_one_number_is_scored_by_size():
    _, number, *_, split = made_cloud()
    result = probed(number, "regression")
    table = class_scores(result, "f", "linear", bins=2, draws=20)
    truth, predicted = number[split == "test"], result.predictions["f", "linear"]
    small = truth < np.median(truth)
    error = predicted - truth
    assert table["support"].tolist() == [small.sum(), (~small).sum()] * 2
    assert table["mae"].tolist()[:2] == pytest.approx(
        [abs(error[small]).mean(), abs(error[~small]).mean()]
    )
    assert table["bias"].iloc[1] == pytest.approx(error[~small].mean())
    assert table["bin"].iloc[0] == f"{truth.min():.3g} to {np.median(truth):.3g}"
    constant = probed(np.where(split == "test", 3.0, number), "regression")
    assert class_scores(constant, "f", bins=3, draws=5)["bin"].tolist() == ["3", "3"]


def test_a_single_block_tells_no_interval():
    _, _, classes, *_ = made_cloud()
    table = class_scores(probed(classes, block=np.zeros(len(classes))), "f")
    assert table[["low", "high"]].isna().all(axis=None)
    assert table["f1"].notna().all()


def test_what_there_is_not_is_told():
    _, _, classes, *_ = made_cloud()
    result = probed(classes)
    with pytest.raises(ParameterError, match="'f' by 'linear'"):
        class_scores(result, "f", "knn")
    with pytest.raises(ParameterError, match="bins"):
        class_scores(result, "f", bins=0)
