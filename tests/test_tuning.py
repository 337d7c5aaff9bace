"""Heads for the targets of a cube, and what labels are worth with and without pretraining."""

import numpy as np
import pytest
import torch
import xarray as xr

import maestro_lab as ml
from maestro_lab.errors import ParameterError
from maestro_lab.label_curves import label_results, trivial_answers, units_of
from maestro_lab.models.heads import HeadConfig
from maestro_lab.training.tune import Answers, score
from maestro_lab.training.units import TRIVIAL
from maestro_lab.tuning import compare_phases, head_for, tune_on
from maestro_lab.verdicts import label_verdict
from tests.training.conftest import make_contract, make_model
from tests.training.labelled import CLASSES, MISSING, labelled_cube

PHASES = ["probe", "finetune", "supervised"]


@pytest.fixture(scope="module")
def landscape():
    return ml.open_cube("landscape", samples=8, modalities=["s2", "dem"])


@pytest.fixture(scope="module")
def cube():
    return labelled_cube(42)


@pytest.fixture(scope="module")
def model(cube):
    return make_model(cube)


@pytest.mark.parametrize(
    ("target", "threshold", "expected"),
    [
        ("species", 0.0, {"task": "regression", "outputs": 6}),
        ("species", 0.07, {"task": "multilabel", "outputs": 6, "threshold": 0.07}),
        ("land_cover", 0.0, {"task": "segmentation", "outputs": 6, "reference": "s2", "size": 6}),
        ("biomass", 0.0, {"task": "regression", "outputs": 1}),
    ],
)
def test_heads_of_the_landscape(landscape, target, threshold, expected):
    contract = ml.contract_for(landscape, patch={"s2": 2, "dem": 6})
    targets = landscape["targets"]
    if target == "species":
        expected["outputs"] = targets["species"].sizes["class"]
    if target == "land_cover":
        expected["outputs"] = len(targets["land_cover"].attrs["classes"])
    name, head = head_for(landscape, contract, target, threshold=threshold, reduce="linear")
    assert name == target and head == HeadConfig(reduce="linear", **expected)


def test_heads_of_other_kinds(cube):
    contract = make_contract(cube)
    assert head_for(cube, contract)[0] == "mass", "the first"
    kind = head_for(cube, contract, "kind")[1]
    assert kind == HeadConfig("classification", 3, missing=MISSING)
    height = head_for(cube, contract, "height", threshold=0.5)[1]
    assert (height.task, height.outputs, height.size) == ("regression", 1, 4)


def test_classes_without_names_are_counted_without_the_missing_ones(cube):
    bare = cube.copy()
    cover = cube["targets"]["cover"]
    cover = cover.where(cover != MISSING, 255).drop_attrs()
    cover.attrs = {"task": "segmentation", "missing": 255}
    bare["targets"] = xr.DataTree(xr.Dataset({"cover": cover}))
    head = head_for(bare, make_contract(cube), "cover")[1]
    assert (head.outputs, head.missing) == (len(CLASSES), 255)


def test_a_map_goes_to_the_finest_grid_that_divides_it(landscape):
    def reference(**patch):
        contract = ml.contract_for(landscape, patch=patch)
        return head_for(landscape, contract, "land_cover")[1].reference

    assert reference(s2=3, dem=2) == "dem" and reference(s2=1, dem=2) == "s2"
    contract = ml.contract_for(landscape, size={"s2": 8, "dem": 10}, patch={"s2": 2, "dem": 2})
    with pytest.raises(ParameterError) as caught:
        head_for(landscape, contract, "land_cover")
    text = str(caught.value)
    assert "land_cover has 6 x 6 pixels, which fit no grid" in text
    assert "s2 4, dem 5" in text and "other patches" in text


def test_targets_that_are_not_there_are_told(landscape, cube):
    contract = ml.contract_for(landscape)
    with pytest.raises(ParameterError, match=r"no target 'trees'\n.*species, land_cover, biomass"):
        head_for(landscape, contract, "trees")
    bare = xr.DataTree(
        cube.to_dataset(),
        children={"optics": xr.DataTree(cube["optics"].to_dataset(inherit=False))},
    )
    with pytest.raises(ParameterError, match="the cube has no targets"):
        head_for(bare, make_contract(cube))


@pytest.fixture(scope="module")
def curves(model, cube):
    before = {n: t.clone() for n, t in model.state_dict().items()}
    found = compare_phases(
        model, cube, "mass", fractions=(0.2, 1.0), seeds=2, steps=8, draws=50, batch_size=8,
        base_lr={"probe": 1e-2, "finetune": 3e-3, "supervised": 3e-3},
    )  # fmt: skip
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items()), "as it was"
    return found


def test_every_phase_is_scored_at_every_number_of_labels(curves, cube):
    train = int((cube["split"].values == "train").sum())
    few = round(0.2 * train)
    table = curves.scores
    assert list(table.columns) == ["phase", "fraction", "labels", "score", "low", "high"]
    assert [tuple(r) for r in table[["phase", "labels"]].values] == [
        (p, n) for n in (few, train) for p in (*PHASES, TRIVIAL)
    ]
    assert (table["low"] <= table["high"]).all()
    assert list(curves.runs.columns) == ["phase", "fraction", "labels", "seed", "epoch", "score"]
    assert len(curves.runs) == 2 * 2 * 3 and (curves.runs["epoch"] >= 1).all()
    means = curves.runs.groupby(["phase", "fraction"])["score"].mean()
    for row in table[table["phase"] != TRIVIAL].itertuples():
        assert row.score == pytest.approx(means[row.phase, row.fraction])
    assert (curves.metric, curves.target) == ("r2", "mass")
    blocks = cube["block"].values[cube["split"].values == "test"]
    assert curves.blocks == len(np.unique(blocks))


def test_the_mean_of_the_labels_explains_nothing(curves):
    trivial = curves.scores[curves.scores["phase"] == TRIVIAL]["score"]
    assert (trivial <= 0).all() and trivial.iloc[-1] > -0.5


def test_differences_are_those_of_the_scores_in_pairs(curves):
    score = curves.scores.set_index(["phase", "labels"])["score"]
    table = curves.differences
    pairs = [("finetune", "supervised"), ("probe", "supervised"), ("finetune", "probe")]
    assert [tuple(r) for r in table[["better", "worse"]].values] == pairs * 2
    for row in table.itertuples():
        expected = score[row.better, row.labels] - score[row.worse, row.labels]
        assert row.difference == pytest.approx(expected)
        assert row.low <= row.high
    flat = label_results(curves)
    labels = table["labels"].iloc[0]
    assert flat[f"r2 finetune - supervised, {labels} labels"] == round(
        table["difference"].iloc[0], 4
    )
    assert len(flat) == 2 * (len(table) + len(curves.scores))
    assert "finetune" in repr(curves) and "<table" in curves._repr_html_()


def test_shares_that_come_to_the_same_samples_are_taken_once(model, cube):
    """A tenth and a twentieth of 30 samples are both four: the fewest there are."""
    found = compare_phases(
        model, cube, "cover", fractions=(0.05, 0.1), seeds=1, steps=1, draws=5,
        phases=["probe", "supervised"],
    )  # fmt: skip
    assert found.metric == "average_iou" and len(found.runs) == 2
    assert set(found.scores["labels"]) == {4} and set(found.scores["fraction"]) == {0.1}
    assert "With 4 labels" in label_verdict(found)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fractions": (0.0, 1.0)}, "fractions\n.*above 0 and up to 1"),
        ({"fractions": (0.5, 1.1)}, "fractions"),
        ({"fractions": ()}, "fractions"),
        ({"phases": ["probe", "pretrain"]}, r"phases\n.*probe \| finetune(.|\n)*pretrain"),
        ({"phases": []}, "phases\n.*probe(.|\n)*none"),
        ({"base_lr": {"probe": 1e-3}}, "no rate for 'finetune'"),
        ({"seeds": 0}, "seeds\n.*at least 1"),
        ({"steps": 1.5}, "steps\n.*whole number"),
        ({"target": "trees"}, "no target 'trees'"),
    ],
)
def test_what_cannot_be_compared_is_refused(model, cube, options, words):
    with pytest.raises(ParameterError, match=words):
        compare_phases(model, cube, **options)


def test_a_cube_without_test_samples_is_refused(model, cube):
    some = cube.isel(sample=np.flatnonzero(cube["split"].values != "test"))
    with pytest.raises(ParameterError, match="no sample in split test"):
        compare_phases(model, some, "mass")


@pytest.mark.parametrize("phase", ["probe", "finetune"])
def test_one_predictor_on_all_labels_is_scored_and_can_be_saved(model, cube, tmp_path, phase):
    predictor, tuned, scores = tune_on(
        model, cube, "kind", phase=phase, steps=8, batch_size=8, base_lr={phase: 3e-3},
        folder=tmp_path,
    )  # fmt: skip
    assert tuned.phase == phase and tuned.monitor == "kind/average_f1"
    test = ml.CubeDataset(cube, model.config.contract, split="test", train=False, targets=["kind"])
    assert scores == score(predictor, test)
    assert (tmp_path / "metrics.jsonl").exists()
    ml.save_model(predictor, tmp_path)
    again, _ = ml.load_model(tmp_path)
    assert score(again, test) == scores
    same = all(
        torch.equal(t, predictor.encoder.state_dict()[n]) for n, t in model.state_dict().items()
    )
    assert same == (phase == "probe")


def test_units_leave_out_what_has_no_label():
    block = np.array([7, 8])
    head = HeadConfig("segmentation", 2, reference="s2", size=2, missing=9)
    labels = np.array([[[0, 9], [1, 1]], [[9, 9], [0, 9]]])
    guessed = np.stack([labels != 0, labels == 0], 1)[:, ::-1].astype(float)
    found = units_of(head, Answers(guessed, labels, block), guessed, block)
    np.testing.assert_array_equal(found, [[0, 1, 1, 0], [0, 1, 1, 0], [7, 7, 7, 8]])
    head = HeadConfig("multilabel", 2)
    labels, answers = np.array([[1, 0], [1, -1]]), np.array([[2.0, -1.0], [1.0, 1.0]])
    truth, guess, kept = units_of(head, Answers(answers, labels, block), answers, block)
    assert (truth.tolist(), guess.tolist(), kept.tolist()) == ([[1, 0]], [[1, 0]], [7])
    head = HeadConfig("regression", 1, reference="s2", size=2)
    labels = np.array([[[[1.0, np.nan], [2, 3]]]])
    truth, guess, kept = units_of(head, Answers(labels, labels, block), labels * 2, block[:1])
    assert (truth.T.tolist(), guess.T.tolist()) == ([[1, 2, 3]], [[2, 4, 6]])


def test_trivial_answers_by_hand():
    numbers = trivial_answers(
        HeadConfig("regression", 2), np.array([[1.0, np.nan], [3.0, 5.0]]), np.zeros((4, 2))
    )
    np.testing.assert_array_equal(numbers, [[2, 5]] * 4)
    classes = trivial_answers(
        HeadConfig("segmentation", 3, reference="s2", size=2, missing=9),
        np.array([[[9, 9], [1, 2]], [[9, 1], [9, 0]]]), np.zeros((1, 3, 2, 2)),
    )  # fmt: skip
    assert (classes.argmax(1) == 1).all() and classes.shape == (1, 3, 2, 2)
    labels = trivial_answers(
        HeadConfig("multilabel", 2), np.array([[1, 0], [1, 1], [0, 0], [-1, 1]]), np.zeros((1, 2))
    )
    assert ((labels > 0) == [[True, False]]).all()
