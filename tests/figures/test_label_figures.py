"""The figure of what labels are worth shows the numbers it is given."""

import numpy as np
import pandas as pd
import pytest

from maestro_lab.figures import label_curves, tuning_curves
from maestro_lab.label_curves import LabelCurves
from maestro_lab.training.loop import Fitted
from maestro_lab.training.tune import Tuned
from maestro_lab.training.units import TRIVIAL

PHASES = {
    "probe": "probe (encoder frozen)",
    "finetune": "fine-tuned",
    "supervised": "supervised twin (not pretrained)",
}


def made(labels=(10, 100), phases=tuple(PHASES), metric="r2", seeds=2):
    rows, runs = [], []
    for k, n in enumerate(labels):
        for j, phase in enumerate(phases):
            score = 0.3 + 0.2 * k + 0.1 * j
            rows.append((phase, n / labels[-1], n, score, score - 0.9, score + 0.05))
            runs += [(phase, n / labels[-1], n, s, 1, score + 0.02 * s) for s in range(seeds)]
        rows.append((TRIVIAL, n / labels[-1], n, -0.01, -0.5, 0.0))
    columns = ["phase", "fraction", "labels"]
    return LabelCurves(
        pd.DataFrame(rows, columns=[*columns, "score", "low", "high"]),
        pd.DataFrame(columns=["better", "worse", "labels", "difference", "low", "high"]),
        pd.DataFrame(runs, columns=[*columns, "seed", "epoch", "score"]),
        metric, "biomass", 8,
    )  # fmt: skip


def made_tuning(watched=True):
    rows = [
        {"epoch": float(k), "loss": 1 / k, "val_loss": 1.2 / k, "cover/average_iou": score}
        for k, score in enumerate((0.1, 0.2, 0.3, 0.25), 1)
    ]
    fitted = Fitted(rows, None, 3.0, "cpu", "fp32")
    if not watched:
        return Tuned("probe", fitted)
    return Tuned("finetune", fitted, "cover/average_iou", 0.3, 3)


def test_losses_and_the_watched_score_with_its_best_epoch():
    losses, score = tuning_curves(made_tuning()).axes
    legend = [text.get_text() for text in losses.get_legend().get_texts()]
    assert legend == ["training", "validation"]
    assert score.get_title() == "best: 0.30 at epoch 3"
    assert score.get_ylabel() == "average iou of cover, validation"
    (best,) = (line for line in score.lines if line.get_marker() == "o")
    assert best.get_xydata().tolist() == [[3, 0.3]]


def test_nothing_watched_draws_losses_alone():
    assert len(tuning_curves(made_tuning(watched=False)).axes) == 1


@pytest.mark.parametrize(
    ("metric", "name"),
    [("r2", "R²"), ("macro_f1", "macro F1"), ("average_iou", "mean IoU"),
     ("weighted_f1", "weighted F1")],
)  # fmt: skip
def test_axes_legend_and_title_say_what_is_shown(metric, name):
    (axes,) = label_curves(made(metric=metric)).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("labelled training samples", name)
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == [*PHASES.values(), TRIVIAL]
    assert axes.get_title() == (
        "biomass on 8 held-out blocks; mean and 95 % interval over blocks and 2 seeds"
    )
    assert [label.get_text() for label in axes.get_xticklabels()] == ["10", "100"]
    assert axes.get_xscale() == "log"


def test_means_intervals_and_seeds_are_those_of_the_table():
    curves = made()
    (axes,) = label_curves(curves).axes
    lines = {line.get_label(): line for line in axes.lines}
    for k, (phase, name) in enumerate(PHASES.items()):
        part = curves.scores[curves.scores["phase"] == phase]
        np.testing.assert_allclose(lines[name].get_ydata(), part["score"])
        np.testing.assert_allclose(lines[name].get_xdata(), part["labels"], rtol=0.1)
        ends = np.array([segment[:, 1] for segment in axes.collections[k].get_segments()])
        np.testing.assert_allclose(ends, part[["low", "high"]])
    dots = [line for line in axes.lines if line.get_marker() == "."]
    seen = np.concatenate([line.get_ydata() for line in dots])
    np.testing.assert_allclose(np.sort(seen), np.sort(curves.runs["score"]))
    np.testing.assert_allclose(lines[TRIVIAL].get_ydata(), [-0.01, -0.01])
    low, high = axes.get_ylim()
    assert low < -0.01 and high > curves.scores["high"].max(), "every mean and seed is inside"
    assert low > curves.scores["low"].min(), "long intervals may leave the figure"


def test_one_number_of_labels_and_some_phases():
    (axes,) = label_curves(made((7,), ("finetune", "supervised"), seeds=1)).axes
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["fine-tuned", "supervised twin (not pretrained)", TRIVIAL]
    assert axes.get_xscale() == "linear" and "1 seed" in axes.get_title()
    assert not axes.get_title().endswith("seeds")


def test_a_single_block_has_no_intervals_and_is_drawn():
    curves = made()
    curves.scores[["low", "high"]] = np.nan
    (axes,) = label_curves(curves).axes
    assert np.isfinite(axes.get_ylim()).all()
