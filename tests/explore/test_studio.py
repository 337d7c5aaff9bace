"""The reconstruction studio: what is hidden, how it comes back, and what it costs."""

import numpy as np
import pytest

from maestro_lab.batches import CubeDataset, contract_for
from maestro_lab.errors import ParameterError
from maestro_lab.explore import ReconstructionStudio
from maestro_lab.figures.guesses import ERRORS
from maestro_lab.training.reconstruct import WAYS
from tests.batches.cubes import only, small_cube
from tests.explore.conftest import build
from tests.pictures import unstriped


@pytest.fixture(scope="module")
def cube():
    return small_cube()


@pytest.fixture(scope="module")
def data(cube):
    groups = {"s2": [["B02", "B03"], ["B04", "B08"]]}
    contract = contract_for(cube, dates={"s2": 4, "s1": 3}, norm_groups=groups)
    return CubeDataset(cube, contract, split=None, train=False)


@pytest.fixture(scope="module")
def model(data):
    return build(data)


@pytest.fixture
def studio(model, data):
    return ReconstructionStudio(model, data, sample=3)


def panel(figure, name):
    image = next(a for a in figure.axes if a.get_label() == name).images[0].get_array()
    return unstriped(image, 6)


def test_what_is_shown_first_can_be_chosen(model, data):
    state = {
        "sample": 3, "modality": "s1", "mask_ratio": 0.5, "seed": 7, "date": 2, "bands": "VH",
        "hide": "date", "way": "visible", "view": "images", "place": (0, 0),
    }  # fmt: skip
    assert ReconstructionStudio(model, data, **state).state == state
    for wrong in ({"sample": 99}, {"modality": "s9"}, {"mask_ratio": 1.5}, {"seed": -1},
                  {"place": (9, 0)}, {"hide": "all"}, {"way": "magic"}):  # fmt: skip
        with pytest.raises(ParameterError, match=f"control '{next(iter(wrong))}'"):
            ReconstructionStudio(model, data, **wrong)


@pytest.mark.parametrize("ratio", [0.03, 0.6, 0.95])
def test_the_models_own_ratio_is_kept(data, ratio):
    assert ReconstructionStudio(build(data, ratio=ratio), data).state["mask_ratio"] == ratio


def test_hiding_more_hides_more_and_leaves_the_model_alone(studio, model):
    config = model.config
    shares = [studio.set(mask_ratio=r).reconstruction().masked.mean() for r in (0.1, 0.5, 0.9)]
    assert shares == sorted(shares) and shares[0] < 0.3 < 0.7 < shares[2]
    assert model.config == config


def test_each_button_hides_what_it_names(studio):
    masked = studio.set(hide="date", date=2, mask_ratio=0.3).reconstruction().masked[0]
    assert masked[2].all() and not masked.all()
    masked = studio.set(hide="location", place=(1, 0)).reconstruction().masked[0]
    patch = studio.model.modalities["s2"].patch
    assert masked[:, :, patch : 2 * patch, :patch].all() and not masked.all()
    other = studio.reconstructions()["s1"].masked[0]
    assert other[..., patch, 0].all(), "the same ground in other modalities"


def test_large_images_show_truth_seen_guess_and_what_lies_between(studio):
    studio.set(hide="date", date=1, way="true")
    figure, r = studio.static(), studio.reconstruction()
    seen, truth, whole = (panel(figure, f"patch:{n}") for n in ("visible", "truth", "composite"))
    guess = panel(figure, "patch:prediction")
    hidden = r.masked[0, 1, 0]
    there = r.valid[0, 1]
    assert hidden.all() and (seen[there] == np.float32(0.82)).all()
    np.testing.assert_array_equal(whole[there], guess[there])
    studio.set(hide="at random", mask_ratio=0.5)
    figure, r = studio.static(), studio.reconstruction()
    clear = ~r.masked[0, 1, 0] & r.valid[0, 1]
    truth, whole = (panel(figure, f"patch:{n}") for n in ("truth", "composite"))
    assert clear.any()
    np.testing.assert_array_equal(whole[clear], truth[clear])
    error = panel(figure, "patch:error")
    scored = r.masked[0, 1, 0] & r.valid[0, 1]
    expected = np.abs(r.prediction - r.target)[0, 1, [2, 1, 0]].mean(0)
    wanted = ERRORS.to_rgba(expected)[..., :3]
    np.testing.assert_allclose(error[scored], wanted[scored], atol=1e-3)
    assert (error[clear] == 1).all(), "white: no error is counted"


def test_the_figure_says_how_brightness_came_back(studio):
    told = {way: studio.set(way=way).static().get_suptitle() for way in WAYS}
    assert "uses the answer's mean and scale" in told["true"]
    assert "visible patches" in told["visible"] and "answer" not in told["visible"]
    assert "normalised" in told["normalised"]
    pictures = {way: panel(studio.set(way=way).static(), "patch:prediction") for way in WAYS}
    assert not np.array_equal(pictures["true"], pictures["visible"])


def test_red_is_red(studio):
    """Red, green and blue of the true colours are B04, B03 and B02, in this order."""
    figure, r = studio.set(bands="true colour", way="true").static(), studio.reconstruction()
    assert "(B04 B03 B02)" in figure.get_suptitle()
    there, truth = r.valid[0, 0], panel(figure, "patch:truth")
    for channel, band in enumerate((2, 1, 0)):
        order = np.argsort(r.values[0, 0, band][there], kind="stable")
        assert (np.diff(truth[there][:, channel][order]) >= 0).all()


def test_a_group_of_bands_is_what_is_shown_and_scored(studio):
    options = dict(studio.controls["bands"].options)
    assert options["group B04 B08"] == "group 1"
    assert studio.set(bands="group 1").bands_of("s2", "group 1") == ("B04", "B08")
    r = studio.reconstruction()
    scored = r.masked[0, 0][2:] & r.valid[0, 0]
    if scored.any():
        mean = np.abs(r.prediction - r.target)[0, 0, 2:][scored].mean()
        title = next(a for a in studio.static().axes if a.get_label() == "patch:error").get_title()
        assert f"{mean:.2f}" in title


def test_clicks_choose_a_date_or_a_place_to_hide(studio):
    assert studio.click("date:2", 1.0, 1.0).state["date"] == 2
    patch = studio.model.modalities["s2"].patch
    studio.click("patch:truth", patch + 0.5, 0.5)
    assert (studio.state["hide"], studio.state["place"]) == ("location", (0, 1))
    assert studio.pointed("<colorbar>", 0, 0) == {}


def test_the_model_runs_only_when_something_changed(studio, monkeypatch):
    import maestro_lab.training.reconstruct as module

    runs = []
    real = module.reconstruct
    monkeypatch.setattr(module, "reconstruct", lambda *a, **k: runs.append(1) or real(*a, **k))
    studio.picture()
    studio.set(way="normalised", bands="B08").picture()
    assert len(runs) == 1
    studio.set(mask_ratio=0.4).picture()
    assert len(runs) == 2


def test_words_tell_the_error_beside_trivial_guesses(studio):
    r = studio.reconstruction()
    scored = r.masked & r.valid[:, :, None]
    assert f"model <b>{np.abs(r.prediction - r.target)[scored].mean():.3f}" in studio.words(
        **studio.state
    )


def test_errors_are_a_second_view(studio):
    figure = studio.set(view="errors").static()
    assert {a.get_label() for a in figure.axes} >= {
        "errors:modality", "errors:band", "errors:season", "errors:month",
    }  # fmt: skip
    assert "8 samples" in figure.get_suptitle()
    assert "beside" in studio.words(**studio.state)


def test_a_missing_modality_is_said_to_be_missing(studio):
    studio.set(sample=2, modality="s1")
    assert "missing in this sample" in studio.words(**studio.state)
    assert studio.picture().png


def test_what_a_model_cannot_hide_is_said(studio):
    assert studio.controls["hide"].values == ["as trained", "at random", "date", "location"]
    assert "Not offered: this modality, these bands: this model" in studio.picture().words
    with pytest.raises(ParameterError, match=r"control 'hide'(.|\n)*encodes that on its own"):
        studio.set(hide="modality")
    with pytest.raises(ParameterError, match="did you mean 'date'"):
        studio.set(hide="dates")
    studio.set(hide="date")
    assert studio.set(modality="dem").state["hide"] == "as trained", "it has but one date"


def test_what_shares_a_sequence_can_be_hidden(cube):
    groups = {"s2": [["B02", "B03"], ["B04", "B08"]]}
    contract = contract_for(cube, dates={"s2": 4, "s1": 3}, token_groups=groups)
    data = CubeDataset(cube, contract, split=None, train=False)
    studio = ReconstructionStudio(build(data), data, hide="bands", bands="B08")
    assert "Not offered: this modality: this model" in studio.picture().words
    masked = studio.reconstruction().masked[0]
    assert masked[:, 2:].all() and not masked[:, :2].all()


def test_one_date_and_one_band(cube):
    alone = only(cube, "dem")
    data = CubeDataset(alone, contract_for(alone), split=None, train=False)
    studio = ReconstructionStudio(build(data), data)
    assert studio.picture().png
    assert [label for label, _ in studio.controls["bands"].options] == ["elevation"]


def test_a_date_may_be_a_day(studio):
    days = [label[:10] for label, _ in studio.controls["date"].options]
    assert studio.set(date=days[2]).state["date"] == 2
    studio.set(hide="date", mask_ratio=0.3)
    assert f"hidden: {days[2]}" in studio.static().get_suptitle()
    with pytest.raises(ParameterError, match="control 'date'"):
        studio.set(date="yesterday")
    with pytest.raises(ParameterError, match="0 to 2"):
        studio.set(place=(50, 50))
