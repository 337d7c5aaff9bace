"""What the notebooks say in words must follow from the numbers."""

import numpy as np
import pandas as pd
import pytest

from maestro_lab.label_curves import LabelCurves
from maestro_lab.training.probe import ProbeResult, Units
from maestro_lab.training.units import TRIVIAL
from maestro_lab.verdicts import (
    groups_verdict,
    label_verdict,
    pretrain_verdict,
    probe_verdict,
    reconstruction_verdict,
)
from maestro_lab.workflow import probe_results, reconstruction_results


def result(difference, low, high):
    scores = pd.DataFrame(
        [
            ("new", "linear", 0.6, 0.5, 0.7, 10, 8),
            ("old", "linear", 0.6 - difference, 0.4, 0.6, 10, 8),
        ],
        columns=["features", "probe", "score", "low", "high", "units", "blocks"],
    )
    differences = pd.DataFrame(
        [("new", "old", "linear", difference, low, high)],
        columns=["better", "worse", "probe", "difference", "low", "high"],
    )
    none = np.zeros(0)
    return ProbeResult(scores, differences, {}, Units(none, none, none, none, "regression"), "r2")


@pytest.mark.parametrize(
    ("difference", "low", "high", "words"),
    [
        (0.1, 0.05, 0.15, "better, the interval excludes zero"),
        (0.1, -0.05, 0.25, "undecided, the interval includes zero"),
        (-0.1, -0.25, 0.05, "undecided, the interval includes zero"),
        (-0.1, -0.15, -0.05, "worse, the interval excludes zero"),
    ],
)
def test_a_difference_inside_its_interval_is_not_sold_as_one(difference, low, high, words):
    said = probe_verdict(result(difference, low, high), "tree cover")
    assert words in said
    assert f"{difference:+.2f} [{low:+.2f}, {high:+.2f}]" in said


def test_without_an_interval_nothing_is_claimed():
    said = probe_verdict(result(0.1, np.nan, np.nan), "tree cover")
    assert "no interval from a single block" in said
    assert "nan" not in said


def test_the_easier_question_is_told_beside_the_harder_one():
    said = probe_verdict(result(0.1, 0.05, 0.15), "tree cover", result(-0.1, -0.2, 0.1))
    first, second = said.split("averaged, an easier question:")
    assert "8 held-out blocks" in first and "better, the interval excludes zero" in first
    assert "undecided" in second
    found = probe_results(result(0.1, 0.05, 0.15), result(-0.1, -0.2, 0.1))
    assert found["r2 linear new - old"] == 0.1
    assert found["r2 linear new - old, years averaged"] == -0.1
    assert found["r2 linear new - old, years averaged interval"] == [-0.2, 0.1]


def test_one_evaluation_is_no_change():
    rows = [{"step": 3, "loss": 1.0}, {"step": 5, "loss": 0.9, "val_loss": 0.8}]
    assert "the held-out loss is 0.800" in pretrain_verdict(rows)
    assert "none held out" in pretrain_verdict(rows[:1])


def test_probe_results_are_flat_and_keep_intervals():
    found = probe_results(result(0.1, 0.05, 0.15))
    assert found["r2 linear new"] == 0.6
    assert found["r2 linear new interval"] == [0.5, 0.7]
    assert found["r2 linear new - old interval"] == [0.05, 0.15]


def errors(model):
    return pd.DataFrame(
        [("all", "model", model, 0.1, 0.9), ("all", "zero", 0.8, 0.8, 0.8),
         ("all", "nearest date", 0.5, 0.4, 0.6), ("all", "band mean", 0.6, 0.5, 0.7),
         ("s2", "model", 9.0, 9.0, 9.0)],
        columns=["modality", "guess", "l1", "low", "high"],
    )  # fmt: skip


def test_a_reconstruction_is_compared_with_both_guesses():
    said = reconstruction_verdict(errors(0.4))
    assert "50 % below predicting the mean of each patch (0.800)" in said
    assert "20 % below copying the nearest visible date (0.500)" in said
    assert reconstruction_results(errors(0.4))["gain over zero"] == 0.5


def test_a_bad_reconstruction_is_called_one():
    assert "20 % above copying the nearest visible date" in reconstruction_verdict(errors(0.6))
    assert reconstruction_results(errors(0.6))["gain over nearest date"] == -0.2


def test_groups_that_few_ways_of_measuring_find_are_told_with_their_number():
    comparison = pd.DataFrame(
        [("s2", "B02 | B08", 5, True), ("s2", "B02 B08", 7, False)],
        columns=["modality", "groups", "ways", "proposed"],
    )
    assert groups_verdict(comparison) == "s2: B02 | B08 (5 of 12 ways of measuring agree)."
    assert "nothing to group" in groups_verdict(comparison.iloc[:0])


def curves(low, high, *, blocks=8, seeds=2):
    """A fine-tuned and a supervised model at two numbers of labels; the interval of the first."""
    scores = pd.DataFrame(
        [("finetune", 0.1, 10, 0.6, 0.5, 0.7), ("supervised", 0.1, 10, 0.45, 0.3, 0.5),
         ("probe", 0.1, 10, 0.4, 0.3, 0.5), (TRIVIAL, 0.1, 10, 0.0, 0.0, 0.0),
         ("finetune", 1.0, 90, 0.8, 0.7, 0.9), ("supervised", 1.0, 90, 0.85, 0.7, 0.9)],
        columns=["phase", "fraction", "labels", "score", "low", "high"],
    )  # fmt: skip
    differences = pd.DataFrame(
        [("finetune", "supervised", 0.1, 10, 0.15, low, high),
         ("finetune", "probe", 0.1, 10, 0.2, 0.19, 0.21),
         ("finetune", "supervised", 1.0, 90, -0.05, -0.08, -0.02)],
        columns=["better", "worse", "fraction", "labels", "difference", "low", "high"],
    )  # fmt: skip
    runs = pd.DataFrame({"seed": np.arange(4) % seeds})
    return LabelCurves(scores, differences, runs, "r2", "biomass", blocks)


def test_what_labels_are_worth_is_told_by_the_interval_of_the_difference():
    said = label_verdict(curves(0.05, 0.25))
    assert said.startswith("biomass, R² on 8 held-out blocks, 2 seeds.\nWith 10 labels")
    assert "twin reaches 0.45,\n\N{EN DASH} fine-tuning 0.60 (+0.15 [+0.05, +0.25]: " in said
    assert "better, the interval excludes zero)" in said
    many = said.split("With 90 labels")[1]
    assert "0.80 (-0.05 [-0.08, -0.02]: worse, the interval excludes zero)" in many
    assert "probe" not in said, "against the supervised twin only"
    assert "0.60 (+0.15 [-0.05, +0.35]: undecided)" in label_verdict(curves(-0.05, 0.35))


def test_a_single_block_decides_nothing_about_labels():
    said = label_verdict(curves(np.nan, np.nan, blocks=1, seeds=1))
    assert "on 1 held-out block, 1 seed." in said
    assert "0.60 (+0.15: no interval from a single block)." in said and "nan" not in said
