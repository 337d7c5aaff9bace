"""Targets at the locations a model embeds, and the medians that a model must beat."""

from collections import Counter

import numpy as np
import pytest
import xarray as xr

from maestro_lab.batches import CubeDataset, contract_for
from maestro_lab.batches.seasons import SEASONS, seasonal_medians, to_grid
from maestro_lab.batches.targets import target_at
from maestro_lab.errors import ParameterError
from tests.batches.cubes import changed, only, small_cube

SAMPLES = np.array([4, 1, 2])


@pytest.fixture(scope="module")
def cube():
    return small_cube()


def cell(image, grid, k):
    """The pixels of location k."""
    side = image.shape[-1] // grid
    row, column = divmod(k, grid)
    return image[..., row * side : (row + 1) * side, column * side : (column + 1) * side]


def test_numbers_are_averaged_over_a_location(cube):
    found = target_at(cube, "height", SAMPLES, grid=3)
    truth = cube["targets"]["height"].values[SAMPLES]
    assert found.values.shape == (3, 9) and found.per_location
    assert (found.task, found.units) == ("regression", "m")
    for k in range(9):
        pixels = cell(truth, 3, k).reshape(3, -1)
        here = np.isfinite(pixels).any(1)
        np.testing.assert_allclose(found.values[here, k], np.nanmean(pixels[here], axis=1))
    assert np.isnan(found.values[1, 0]), "nothing is known there"
    assert np.isfinite(found.values).sum() == 26


def test_of_classes_the_most_frequent_one_counts(cube):
    found = target_at(cube, "cover", SAMPLES, grid=2)
    truth = cube["targets"]["cover"].values[SAMPLES]
    assert found.task == "classification" and found.classes == ("water", "wood", "field")
    for i, k in np.ndindex(3, 4):
        votes = Counter(cell(truth[i], 2, k).ravel().tolist())
        assert votes[found.values[i, k]] == max(votes.values())


def test_whole_samples_have_one_location(cube):
    biomass, species = (target_at(cube, name, SAMPLES, grid=3) for name in ("biomass", "species"))
    np.testing.assert_array_equal(biomass.values[:, 0], cube["targets"]["biomass"].values[SAMPLES])
    assert not biomass.per_location
    assert species.values.shape == (3, 1, 3)
    assert (species.task, species.classes) == ("regression", ("oak", "pine", "birch"))


def test_maps_of_shares_keep_their_classes(cube):
    shares = np.random.default_rng(0).random((8, 3, 6, 6))
    dims = ("sample", "class", "y", "x")
    wider = changed(
        cube, "targets", lambda ds: ds.assign(map=(dims, shares, {"task": "fractions"}))
    )
    found = target_at(wider, "map", SAMPLES, grid=2)
    assert found.values.shape == (3, 4, 3)
    for k in range(4):
        expected = cell(shares[SAMPLES], 2, k).mean((-1, -2))
        np.testing.assert_allclose(found.values[:, k], expected)


def test_an_empty_name_takes_the_first(cube):
    assert target_at(cube, "", SAMPLES, 1).name == "biomass"


def test_unknown_targets_are_refused(cube):
    with pytest.raises(ParameterError, match=r"no target 'age'\n.*biomass, height, cover, species"):
        target_at(cube, "age", SAMPLES, 1)
    for name in ("", "age"):
        with pytest.raises(ParameterError, match="a cube with targets"):
            target_at(only(cube, "s2"), name, SAMPLES, 1)


@pytest.mark.parametrize("grid", [1, 2, 3, 6])
def test_to_grid_averages_the_pixels_of_each_cell(grid):
    image = np.random.default_rng(0).random((2, 6, 6))
    found = to_grid(image, grid)
    for k in range(grid**2):
        expected = cell(image, grid, k).mean((-1, -2))
        np.testing.assert_allclose(found.reshape(2, -1)[:, k], expected)


def test_to_grid_repeats_pixels_and_shares_those_between_cells():
    np.testing.assert_array_equal(to_grid(np.array([[1.0, 2], [3, 4]]), 4)[0], [1, 1, 2, 2])
    thirds = to_grid(np.array([[0.0, 3], [0, 3]]), 3)
    np.testing.assert_allclose(thirds[0], [0, 1.5, 3])


def test_to_grid_leaves_missing_pixels_out():
    image = np.array([[1.0, np.nan], [np.nan, np.nan]])
    assert to_grid(image, 1).tolist() == [[1.0]]
    assert np.isnan(to_grid(image, 2)).sum() == 3


def expected_medians(cube, contract, row, grid):
    """The same by loops over seasons and bands, with xarray's own calendar."""
    columns = []
    for name, m in contract.modalities.items():
        ds = cube[name].to_dataset().isel(sample=row)
        values = ds["values"].where(ds["valid"]).astype(float)
        values = (np.log(values) if m.log else values) / m.divide
        month = ds["time"].dt.month.values
        every = [range(1, 13)] if ds.sizes["time"] == 1 else SEASONS.values()
        for months in every:
            here = values.isel(time=np.flatnonzero(np.isin(month, list(months))))
            for band in range(ds.sizes["band"]):
                pixels = here.isel(band=band)
                median = pixels.median("time").values if pixels.size else np.full((6, 6), np.nan)
                cells = [cell(median, grid, k).ravel() for k in range(grid**2)]
                columns.append([np.mean(c[np.isfinite(c)]) if np.isfinite(c).any() else np.nan
                                for c in cells])  # fmt: skip
    return np.array(columns).T


def test_seasonal_medians_agree_with_xarray(cube):
    contract = contract_for(cube, dates=2)
    data = CubeDataset(cube, contract, split=("train", "val"), train=False)
    found = seasonal_medians(data, grid=2)
    assert found.shape == (5, 4, 4 * 4 + 4 * 2 + 1) and found.dtype == np.float32
    for row, sample in enumerate(data.index):
        expected = expected_medians(cube, contract, sample, 2)
        np.testing.assert_allclose(found[row], expected, rtol=1e-5)
    assert np.isnan(found[2, :, 16:24]).all(), "the val sample has no radar"


def test_seasonal_medians_of_a_lazy_cube_are_the_same(cube):
    contract = contract_for(cube, modalities=["s2"])
    lazy = CubeDataset(cube.chunk(sample=4), contract, train=False)
    np.testing.assert_array_equal(
        seasonal_medians(lazy, 3), seasonal_medians(CubeDataset(cube, contract, train=False), 3)
    )


def test_december_belongs_to_winter():
    cube = small_cube()
    time = np.array(["2020-12-15", "2021-01-15", "2021-03-15"], "datetime64[ns]")

    def redate(ds):
        ds = ds.isel(time=slice(3), sample=[0])
        ds = ds.assign_coords(time=(("sample", "time"), time[None]))
        values = np.array([100, 300, 900], np.uint16)[None, :, None, None, None]
        full = np.broadcast_to(values, ds["values"].shape)
        return ds.assign(
            values=(ds["values"].dims, full), valid=xr.ones_like(ds["valid"], dtype=bool)
        )

    root = cube.isel(sample=[0]).to_dataset(inherit=False)
    tree = xr.DataTree(root, children={"s2": xr.DataTree(redate(cube["s2"].to_dataset()))})
    data = CubeDataset(tree, contract_for(tree), train=False)
    found = seasonal_medians(data, 1)[0, 0].reshape(4, 4)[:, 0] * 5000
    np.testing.assert_allclose(found, [200, 900, np.nan, np.nan], rtol=1e-6)
