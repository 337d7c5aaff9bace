"""The probe laboratory: each view shows what was computed once, and says what it cannot show."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from maestro_lab.errors import ContractError, ParameterError
from maestro_lab.explore import ProbeExplorer
from maestro_lab.workflow import Features
from tests.batches.cubes import small_cube, without

SAMPLES = np.array([0, 1, 3, 4, 6, 7])


@pytest.fixture(scope="module")
def cube():
    return small_cube()


def features(cube, *, names=("seasonal medians", "pretrained encoder")):
    """Make features of which the second hold the mean height of each location."""
    rng = np.random.default_rng(0)
    height = np.nan_to_num(cube["targets"]["height"].values[SAMPLES])
    cells = height.reshape(len(SAMPLES), 3, 2, 3, 2).mean((2, 4)).reshape(len(SAMPLES), 9, 1)
    tables = [rng.normal(size=(len(SAMPLES), 9, 4)), np.concatenate([cells, cells**2], -1)]
    return Features({n: [t] for n, t in zip(names, tables, strict=True)}, SAMPLES, 3)


@pytest.fixture(scope="module")
def laboratory(cube):
    return ProbeExplorer(features(cube), cube, draws=20, target="height")


@pytest.mark.parametrize("view", ["scores", "few", "predictions", "parts", "map", "leakage"])
def test_each_view_is_a_picture_of_its_own(laboratory, view):
    laboratory.set(view=view, target="height", probe="linear", average=False)
    figure = laboratory.static()
    names = {
        "scores": "probe_scores", "few": "few_shot_curves", "predictions": "predicted_and_true",
        "parts": "class_score_bars", "map": "error_map", "leakage": "leakage_histogram",
    }  # fmt: skip
    assert figure.drawn.name == names[view]
    assert laboratory.picture().png


def test_the_better_features_score_better_and_words_say_by_how_much(laboratory):
    laboratory.set(view="scores", target="height", probe="linear")
    result = laboratory.result()
    good, bad = (result.score(n, "linear")[0] for n in ("pretrained encoder", "seasonal medians"))
    assert good > 0.95 > bad
    assert "pretrained encoder - seasonal medians" in laboratory.words(**laboratory.state)


def test_a_probe_is_fitted_once(laboratory):
    first = laboratory.result(target="height", probe="knn")
    assert laboratory.result(target="height", probe="knn") is first
    assert laboratory.result(target="height", probe="linear") is not first
    curves = laboratory.few_shot(target="height", probe="knn")
    assert laboratory.few_shot(target="height", probe="knn") is curves


def test_classes_have_a_confusion_matrix_and_scores_of_their_own(laboratory):
    laboratory.set(target="cover", probe="knn", view="predictions")
    labels = [t.get_text() for t in laboratory.static().axes[0].get_xticklabels()]
    assert set(labels) <= {"water", "wood", "field"}
    laboratory.set(view="parts")
    assert {"water", "wood", "field"} & set(laboratory.static().drawn.data["part"])


def test_features_of_another_cube_are_refused(cube):
    found = replace(features(cube), names=tuple(f"place{k}" for k in SAMPLES))
    assert ProbeExplorer(found, cube, draws=5)
    few = cube.isel(sample=slice(4))
    for other, words in ((few, "at least 8 samples\n.*4"), (renamed(cube), "'place0'.*\n.*'x0'")):
        with pytest.raises(ContractError, match=f"features of another cube\n.*{words}"):
            ProbeExplorer(found, other)


def renamed(cube):
    nodes = {name: node.to_dataset(inherit=False) for name, node in cube.children.items()}
    root = cube.to_dataset().assign_coords(sample=[f"x{k}" for k in range(8)])
    return xr.DataTree.from_dict({"/": root, **nodes})


def test_what_a_cube_cannot_answer_is_said(cube):
    with pytest.raises(ParameterError, match="the cube has no targets"):
        ProbeExplorer(features(cube), small_cube(targets=False))
    nowhere = without(without(cube, "easting"), "northing")
    laboratory = ProbeExplorer(features(cube), nowhere, draws=5, target="height", view="map")
    for view in ("map", "leakage"):
        assert "positions of its windows" in laboratory.set(view=view).picture().words
    assert laboratory.controls["average"].hidden, "small_cube has no samples of one place"
    with pytest.raises(ParameterError, match="places to average"):
        laboratory.set(average=True)
    twice = cube.copy()
    twice["place"] = xr.DataArray(np.arange(8) // 2, dims="sample")
    assert not ProbeExplorer(features(twice), twice, draws=5).controls["average"].hidden
    with pytest.raises(ParameterError, match="control 'probe'"):
        ProbeExplorer(features(cube), cube, target="height", probe="logistic")
    classes = ProbeExplorer(features(cube), cube, target="cover", probe="logistic")
    assert classes.set(target="height").state["probe"] == "linear", "there is no logistic one"
    foreign = ProbeExplorer(features(cube, names=("a", "b")), cube, target="height").picture()
    assert "features to probe" in foreign.words
