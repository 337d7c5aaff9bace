"""What a batch holds: dates, values, turns, gaps."""

import numpy as np
import pytest
import torch
import xarray as xr

from maestro_lab.batches import CubeDataset, contract_for, dataset
from maestro_lab.contract import Modality
from maestro_lab.cubes.contract import make_modality
from maestro_lab.cubes.dates import year_day_hour
from maestro_lab.errors import ContractError, ParameterError
from tests.batches.cubes import changed, cube_of, days, only, small_cube


@pytest.fixture(scope="module")
def cube():
    return small_cube()


@pytest.fixture(scope="module")
def contract(cube):
    return contract_for(cube, dates={"s2": 4, "s1": 5})


def whole(data, epoch=0):
    return data.__getitems__([(epoch, i) for i in range(len(data))])


def same(a, b):
    assert torch.equal(a.ref_date, b.ref_date)
    assert torch.equal(a.sample, b.sample)
    for name, one in a.series.items():
        other = b.series[name]
        assert torch.equal(one.dates, other.dates), name
        assert torch.equal(one.values, other.values), name
        assert (one.valid is None) == (other.valid is None), name
        assert one.valid is None or torch.equal(one.valid, other.valid), name


def test_values_are_normalised_as_the_contract_says(cube, contract):
    batch = whole(CubeDataset(cube, contract, split=None, train=False))
    s1, dem = batch.series["s1"], batch.series["dem"]
    expected = np.log(cube["s1"]["values"].values[0]) / 5
    np.testing.assert_allclose(s1.values[0], expected, rtol=1e-5)
    np.testing.assert_allclose(dem.values, cube["dem"]["values"].values / 1000, rtol=1e-5)
    assert dem.valid is None, "all valid"
    assert s1.values.dtype == dem.values.dtype == torch.float32


def test_bad_pixels_get_the_mean_of_the_good_ones(cube, contract):
    data = CubeDataset(cube, contract, split=None, train=False)
    batch = whole(data).series["s2"]
    row = 3
    index = data.dates("s2", row)
    values = cube["s2"]["values"].values[row][index] / np.float32(5000)
    valid = cube["s2"]["valid"].values[row][index]
    np.testing.assert_array_equal(batch.valid[row, : len(index)], valid)
    for t, clear in enumerate(valid):
        for band in range(4):
            expected = np.where(clear, values[t, band], values[t, band][clear].mean())
            np.testing.assert_allclose(batch.values[row, t, band], expected, rtol=1e-5)


def test_padded_dates_are_masked_and_harmless(cube, contract):
    batch = whole(CubeDataset(cube, contract, split=None, train=False)).series["s2"]
    assert not batch.valid[5, 3:].any(), "sample 5 has three dates"
    assert batch.valid[5, :3].any(dim=(-1, -2)).all()
    assert batch.dates[5, 3].tolist() == [2020, 183, 0], "the reference date"
    assert (batch.values[5, 3:] == 0).all()


def test_a_missing_modality_is_all_masked(cube, contract):
    batch = whole(CubeDataset(cube, contract, split=None, train=False)).series["s1"]
    assert not batch.valid[2].any()
    assert batch.valid[[0, 1, 3]].all()
    assert torch.isfinite(batch.values).all(), "there is a NaN in the cube"


def test_a_sample_without_any_chosen_modality_is_all_masked(cube):
    alone = only(cube, "s1")
    batch = CubeDataset(alone, contract_for(alone), split=None, train=False)[2]
    assert not batch.series["s1"].valid.any()
    assert torch.isfinite(batch.series["s1"].values).all()
    assert 1900 < batch.ref_date[0, 0] < 2100


def test_dates_are_those_of_the_cube(cube, contract):
    data = CubeDataset(cube, contract, split=None, seed=3)
    for epoch in range(3):
        batch = whole(data, epoch)
        for row in range(len(data)):
            index = data.dates("s2", row, epoch)
            assert (np.diff(index) > 0).all()
            expected = year_day_hour(cube["s2"]["time"].values[row][index])
            np.testing.assert_array_equal(batch.series["s2"].dates[row, : len(index)], expected)


def test_cloudy_dates_enter_only_where_nothing_else_is_left():
    time = days([6], 6)
    valid = np.ones((1, 6, 4, 4), bool)
    valid[0, [1, 4]] = False
    valid[0, 1, 0, 0] = True
    ds = make_modality(np.ones((1, 6, 1, 4, 4)), time, valid=valid, bands=["z"], units="m", gsd=10)
    cube = cube_of({"m": ds})
    few = CubeDataset(cube, contract_for(cube, dates={"m": 4}), train=True)
    many = CubeDataset(cube, contract_for(cube, dates={"m": 5}), train=True)
    for epoch in range(8):
        assert few.dates("m", 0, epoch).tolist() == [0, 2, 3, 5]
        assert len(many.dates("m", 0, epoch)) == 5


def test_evaluation_takes_the_date_closest_to_the_median():
    level = np.array([5.0, 1, 3, 40, 20, 10])  # medians of the two bins: 3 and 20
    values = np.broadcast_to(level[None, :, None, None, None], (1, 6, 1, 4, 4))
    cube = cube_of({"m": make_modality(values, days([6], 6), bands=["z"], units="m", gsd=10)})
    data = CubeDataset(cube, contract_for(cube, dates={"m": 2}), train=False)
    assert data.has_choice
    assert data.dates("m", 0).tolist() == [2, 4]
    drawn = {tuple(data.dates("m", 0, epoch).tolist()) for epoch in range(1, 30)}
    assert len(drawn) > 3, "later epochs draw"


def test_epochs_and_seeds_differ_but_repeat(cube, contract):
    data = CubeDataset(cube, contract, seed=1)
    same(whole(data, 2), whole(CubeDataset(cube, contract, seed=1), 2))
    for other in (whole(data, 3), whole(CubeDataset(cube, contract, seed=2), 2)):
        assert not torch.equal(whole(data, 2).series["s2"].values, other.series["s2"].values)


def test_a_sample_is_the_same_in_any_company(cube, contract):
    data = CubeDataset(cube, contract, seed=1)
    batch = data.__getitems__([(4, 2), (4, 0), (1, 2)])
    for k, key in enumerate([(4, 2), (4, 0), (1, 2)]):
        alone = data[key]
        for name, series in batch.series.items():
            assert torch.equal(series.values[k], alone.series[name].values[0]), name
    everything = CubeDataset(cube, contract, split=None, seed=1)
    number = int(data.index[2])
    assert torch.equal(data[4, 2].series["s2"].values, everything[4, number].series["s2"].values)


def marked_cube(samples=12):
    """Optics, elevation and a target that show the same picture, whose eight views all differ."""
    picture = np.arange(36.0).reshape(6, 6) + 100
    time = days([2] * samples, 2)
    s2 = np.broadcast_to(picture, (samples, 2, 4, 6, 6))
    dem = np.broadcast_to(picture, (samples, 1, 1, 6, 6))
    target = xr.DataArray(
        np.broadcast_to(picture, (samples, 6, 6)), dims=("sample", "y", "x"),
        attrs={"task": "regression"},
    )  # fmt: skip
    hole = np.ones((samples, 2, 6, 6), bool)
    hole[:, :, 0, 0] = False
    return cube_of(
        {
            "s2": make_modality(s2, time, valid=hole, bands=list("abcd"), units="m", gsd=10),
            "dem": make_modality(dem, time[:, :1], bands=["z"], units="m", gsd=10),
        },
        targets=xr.Dataset({"picture": target}),
    )


def test_windows_turn_with_all_their_modalities_and_targets():
    cube = marked_cube()
    data = CubeDataset(cube, contract_for(cube), targets=["picture"])
    views = set()
    for epoch in range(3):
        batch = whole(data, epoch)
        for i, picture in enumerate(batch.targets["picture"]):
            dem, s2 = batch.series["dem"].values[i, 0, 0], batch.series["s2"]
            assert torch.allclose(dem * 1000, picture.float())
            corner = picture == 100
            assert torch.allclose(s2.values[i, 1, 3][~corner], dem[~corner])
            assert torch.equal(s2.valid[i, 0], ~corner), "the hole turns too"
            views.add(tuple(picture.flatten().tolist()))
    assert len(views) == 8


def test_evaluation_turns_nothing():
    cube = marked_cube(2)
    data = CubeDataset(cube, contract_for(cube), train=False, targets=["picture"])
    for epoch in (0, 1):
        pictures = whole(data, epoch).targets["picture"]
        assert torch.equal(pictures, torch.tensor(cube["targets"]["picture"].values))


def test_bands_are_found_by_name(cube, contract):
    order = [3, 1, 0, 2]
    moved = changed(cube, "s2", lambda ds: ds.isel(band=order))
    same(*(whole(CubeDataset(c, contract, train=False)) for c in (cube, moved)))
    fewer = contract_for(cube, modalities={"s2": ["B08", "B02"]})
    batch = CubeDataset(cube, fewer, split=None, train=False)[0].series["s2"]
    index = CubeDataset(cube, fewer, split=None, train=False).dates("s2", 0)
    valid = batch.valid[0, 0]
    expected = torch.from_numpy(cube["s2"]["values"].values[0, index[0]][[3, 0]] / 5000.0)
    assert torch.allclose(batch.values[0, 0][:, valid], expected[:, valid].float())


@pytest.mark.parametrize("train", [True, False])
def test_cubes_beyond_memory_give_the_same_batches(cube, contract, monkeypatch, train):
    inside = whole(CubeDataset(cube, contract, train=train), 1)
    monkeypatch.setattr(dataset, "_IN_MEMORY", 0)
    lazy = CubeDataset(cube.chunk(sample=2), contract, train=train)
    assert not isinstance(lazy.sources["s2"].read.values, np.ndarray)
    same(inside, whole(lazy, 1))


def test_split_chooses_samples(cube, contract):
    assert CubeDataset(cube, contract).index.tolist() == [0, 1, 4, 6]
    assert CubeDataset(cube, contract, split=("val", "test")).index.tolist() == [2, 3, 7]
    assert CubeDataset(cube, contract, split=None).index.tolist() == list(range(8))
    assert whole(CubeDataset(cube, contract, split="test")).sample.tolist() == [3, 7]


def test_refuses_unknown_splits_and_targets(cube, contract):
    with pytest.raises(ParameterError, match=r"split\n.*train, val, test, buffer\n.*trian"):
        CubeDataset(cube, contract, split="trian")
    with pytest.raises(ParameterError, match=r"no sample in split val\n.*\n.*'train': 1"):
        CubeDataset(cube.isel(sample=[0]), contract, split="val")
    with pytest.raises(ParameterError, match=r"no target 'age'[^\n]*\n.*biomass, height"):
        CubeDataset(cube, contract, targets=["age"])


def test_refuses_a_cube_of_another_kind(cube, contract):
    with pytest.raises(ContractError, match="s1"):
        CubeDataset(only(cube, "s2", "dem"), contract)


def test_reference_date_is_the_first_of_july_of_the_first_year(cube, contract):
    data = CubeDataset(cube, contract, split=None)
    assert data.ref_date.tolist() == [[2020, 183, 0]] * 8  # 2020 has a 29 February
    dated = cube.assign(ref_date=xr.DataArray(days([1] * 8, 1, year=2019)[:, 0], dims="sample"))
    assert CubeDataset(dated, contract, split="test").ref_date.tolist() == [[2019, 10, 0]] * 2


def test_batches_travel_whole(cube, contract):
    data = CubeDataset(cube, contract, split=None, targets=["biomass", "cover"])
    batch = whole(data)
    moved = batch.to("meta")
    assert len(batch) == 8
    assert moved.series["s2"].values.device.type == moved.ref_date.device.type == "meta"
    assert moved.series["dem"].valid is None
    assert moved.targets["cover"].shape == (8, 6, 6)
    np.testing.assert_array_equal(batch.targets["biomass"], cube["targets"]["biomass"].values)


def test_logarithm_of_nothing_is_finite():
    m = Modality(("VV",), "linear power", gsd=10, pixels=2, patch=2, log=True, divide=5)
    found = dataset.normalise(np.array([0.0, 1.0, np.e**5]), m)
    np.testing.assert_allclose(found, [np.log(1e-10) / 5, 0, 1], atol=1e-6)
