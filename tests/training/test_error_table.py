"""Errors by modality, band, date and season add up to the errors of the samples."""

import numpy as np
import pytest

from maestro_lab.batches import CubeDataset, contract_for
from maestro_lab.models.hiding import Hide
from maestro_lab.training.error_table import error_table
from maestro_lab.training.reconstruct import (
    GUESSES,
    WAYS,
    in_pixels,
    reconstruct,
    reconstruction_errors,
)
from tests.batches.cubes import small_cube
from tests.explore.conftest import build


@pytest.fixture(scope="module")
def data():
    cube = small_cube()
    contract = contract_for(cube, dates={"s2": 4, "s1": 3})
    return CubeDataset(cube, contract, split=None, train=False)


@pytest.fixture(scope="module")
def model(data):
    return build(data)


@pytest.fixture(scope="module")
def r(model, data):
    return reconstruct(model, data[3], seed=1)["s2"]


def test_the_parts_add_up_to_the_whole(model, data):
    table, whole = error_table(model, data, batch_size=3), reconstruction_errors(model, data)
    assert table.samples == len(data)
    sums = table.rows.groupby("modality")[["pixels", *GUESSES]].sum()
    expected = whole.groupby("modality")[["pixels", *GUESSES]].sum()
    np.testing.assert_allclose(sums, expected.loc[sums.index], rtol=1e-5)
    means = table.by("modality").set_index("modality")
    np.testing.assert_allclose(means["zero"], (sums["zero"] / sums["pixels"])[means.index])


def test_dates_and_seasons_are_those_of_the_cube(model, data):
    rows = error_table(model, data).rows
    optics = rows[rows["modality"] == "s2"]
    months = optics["date"].dt.month
    named = {"DJF": (12, 1, 2), "MAM": (3, 4, 5), "JJA": (6, 7, 8), "SON": (9, 10, 11)}
    assert all(m in named[s] for m, s in zip(months, optics["season"], strict=True))
    assert set(optics["band"]) == {"B02", "B03", "B04", "B08"}


def test_a_few_samples_stand_for_all(model, data):
    table = error_table(model, data, most=3)
    assert table.samples == 3
    assert set(table.rows["sample"]) <= {0, 3, 4, 7}


def test_what_is_hidden_on_purpose_is_what_is_scored(model, data):
    rows = error_table(model, data, hide=Hide("date", "s2", date=0, ratio=0.1)).rows
    rows = rows[rows["modality"] == "s2"]
    first = rows.groupby("sample")["date"].transform("min") == rows["date"]
    assert rows[first]["pixels"].sum() > rows[~first]["pixels"].sum()


class TestInPixels:
    """Ways back from normalised predictions."""

    def test_the_true_way_is_the_guess(self, r):
        truth, guess = in_pixels(r, "true")
        assert truth is r.values and guess is r.guess
        np.testing.assert_allclose(guess, r.prediction * r.deviation + r.mean, rtol=1e-5)

    def test_the_visible_way_takes_nothing_from_what_is_hidden(self, r):
        from dataclasses import replace

        _, guess = in_pixels(r, "visible")
        hidden = r.masked | ~r.valid[:, :, None]
        spoilt = replace(
            r, mean=np.where(hidden, 1e6, r.mean), deviation=np.where(hidden, 1e6, r.deviation)
        )
        np.testing.assert_array_equal(in_pixels(spoilt, "visible")[1], guess)
        seen = ~hidden[0, 0, 0]
        if seen.any():
            mean, spread = r.mean[0, 0, 0][seen].mean(), r.deviation[0, 0, 0][seen].mean()
            np.testing.assert_allclose(
                guess[0, 0, 0], r.prediction[0, 0, 0] * spread + mean, rtol=1e-4
            )

    def test_the_normalised_way_leaves_both_as_compared(self, r):
        truth, guess = in_pixels(r, "normalised")
        assert truth is r.target and guess is r.prediction

    def test_other_ways_are_refused(self, r):
        from maestro_lab.errors import ParameterError

        with pytest.raises(ParameterError, match=" | ".join(WAYS)):
            in_pixels(r, "guess")
