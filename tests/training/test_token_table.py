"""A table of tokens: those that are there, where and when they are from, as many of each kind."""

from collections import Counter

import numpy as np
import pytest
import torch

import maestro_lab as ml
from maestro_lab.errors import ParameterError
from maestro_lab.training.embed import embed
from maestro_lab.training.token_table import TokenTable, embed_tokens
from tests.training.conftest import make_data, make_model

WIDTH = 16


@pytest.fixture(scope="module")
def model(cube):
    return make_model(cube)


@pytest.fixture(scope="module")
def data(cube):
    return make_data(cube, None, train=False)


@pytest.fixture(scope="module")
def whole(model, data):
    """Every token that is there."""
    return embed_tokens(model, data, most=100_000, batch_size=5)


def keys(table):
    return list(
        zip(
            table.sample.tolist(), table.location.tolist(), table.modality.tolist(),
            table.date.astype(str).tolist(), strict=True,
        )
    )  # fmt: skip


def test_all_tokens_that_are_there_and_no_others(model, data, whole):
    """Against a loop over samples, modalities, dates and locations."""
    expected = {}
    for row in range(len(data)):
        batch = data[row]
        with torch.no_grad():
            features = model.eval().features(batch)
        for name, (tokens, present) in features.items():
            dates = batch.series[name].dates[0]
            there = torch.ones(tokens.shape[:4]) if present is None else present
            for d, place in np.argwhere(there[0].any(0).numpy()):
                year, day, _ = dates[d].tolist()
                date = np.datetime64(f"{year}-01-01") + (day - 1)
                key = (int(data.index[row]), int(place), name, str(date))
                expected[key] = tokens[0, 0, d, place].numpy()
    assert sorted(keys(whole)) == sorted(expected)
    for key, vector in zip(keys(whole), whole.features, strict=True):
        assert np.allclose(vector, expected[key], atol=1e-5)
    assert whole.features.dtype == np.float32 and whole.grid == {"optics": 2, "radar": 2}
    lacking = (np.arange(14) % 5) == 2
    assert not set(whole.sample[whole.modality == "radar"]) & set(np.flatnonzero(lacking))


def test_means_of_tokens_are_the_embeddings(model, data, whole):
    found = embed(model, data, draws=1).features
    for k, name in enumerate(("optics", "radar")):
        for place in range(4):
            mine = (whole.sample == 1) & (whole.modality == name) & (whole.location == place)
            mean = whole.features[mine].mean(0)
            assert np.allclose(mean, found[1, place, k * WIDTH : (k + 1) * WIDTH], atol=1e-5)


def test_a_choice_has_as_many_of_each_modality(model, data, whole):
    some = embed_tokens(model, data, most=60)
    assert Counter(some.modality) == {"optics": 30, "radar": 30}
    assert len(set(keys(some))) == 60 and set(keys(some)) <= set(keys(whole))
    assert keys(embed_tokens(model, data, most=60)) == keys(some)
    assert keys(embed_tokens(model, data, most=60, seed=1)) != keys(some)
    radar = int((whole.modality == "radar").sum())
    most = len(whole) - 5
    assert Counter(embed_tokens(model, data, most=most).modality) == {
        "radar": radar,
        "optics": most - radar,
    }, "what one modality lacks, the other gives"
    assert len(embed_tokens(model, data, most=1)) == 1


def test_of_the_kept_all_samples_have_their_share(model, data):
    count = Counter()
    for seed in range(15):
        count.update(embed_tokens(model, data, most=40, seed=seed, batch_size=5).sample.tolist())
    middle = np.median(list(count.values()))
    assert set(count) == set(range(14)) and max(count.values()) < 2.5 * middle


def test_the_model_is_left_as_it_was(model, data):
    model.train()
    embed_tokens(model, data, most=5)
    assert model.training
    model.eval()


def test_olmoearth_gives_months():
    cube = ml.open_cube("landscape", samples=3, modalities=["s2", "s1_asc"])
    config = ml.olmoearth_config(cube, size="nano")
    data = ml.dataset_for(config, cube, split=None)
    table = embed_tokens(ml.build_model(config), data, most=500)
    assert set(table.modality) == set(table.grid) == {"sentinel2_l2a", "sentinel1"}
    assert set(table.grid.values()) == {data.grid} and table.location.max() == data.grid**2 - 1
    first = data.input.timestamps[table.sample]
    day, month, year = np.moveaxis(first, -1, 0)
    starts = {f"{y}-{m + 1:02}-{d:02}" for y, m, d in zip(
        year.ravel(), month.ravel(), day.ravel(), strict=True
    )}  # fmt: skip
    assert set(table.date.astype(str)) <= starts and len(set(table.month)) > 9


def test_months_of_dates():
    dates = np.array(["2020-01-31", "1969-12-01", "NaT"], "datetime64[D]")
    column = np.zeros(3, int)
    table = TokenTable(np.ones((3, 2), "f4"), column, column, np.array(["a"] * 3), dates, {"a": 1})
    assert table.month.tolist() == [1, 12, 0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sample": np.zeros(2, int)}, "features .3, 2., sample 2"),
        ({"features": np.ones(3)}, "row, width"),
        ({"grid": {}}, "the grid of a"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(change, words):
    column = np.zeros(3, int)
    columns = {
        "features": np.ones((3, 2), "f4"), "sample": column, "location": column,
        "modality": np.array(["a"] * 3), "date": np.full(3, "NaT", "datetime64[D]"),
        "grid": {"a": 1},
    }  # fmt: skip
    with pytest.raises(ParameterError, match=words):
        TokenTable(**(columns | change))


def test_bad_choices_are_explained(cube, model, data):
    with pytest.raises(ParameterError, match=r"train=False"):
        embed_tokens(model, make_data(cube))
    with pytest.raises(ParameterError, match=r"at least 1\n.*0"):
        embed_tokens(model, data, most=0)
