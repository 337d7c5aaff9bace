"""Statistics of a cube: what they say, and that they travel with it."""

import numpy as np
import pytest

import maestro_lab as ml
from maestro_lab.cubes.contract import make_modality
from maestro_lab.cubes.statistics import ATTRIBUTE, COLUMNS, cube_statistics, with_statistics
from tests.batches.cubes import cube_of, days


@pytest.fixture(scope="module")
def cube():
    rng = np.random.default_rng(3)
    time = days([4, 2, 0, 4], 4)
    values = rng.gamma(3, 200, (4, 4, 2, 5, 5)).astype(np.float32)
    valid = (rng.random((4, 4, 5, 5)) < 0.7) & ~np.isnat(time)[:, :, None, None]
    values[~np.broadcast_to(valid[:, :, None], values.shape)] = 9e9
    s2 = make_modality(values, time, valid=valid, bands=["B02", "B08"], units="DN", gsd=10)
    once = make_modality(
        rng.integers(0, 9, (4, 1, 1, 5, 5)).astype(np.uint8), days([1] * 4, 1), bands=["a"],
        units="m", gsd=10,
    )  # fmt: skip
    return cube_of({"s2": s2, "once": once})


@pytest.mark.parametrize("lazy", [False, True])
def test_they_are_those_of_the_valid_pixels(cube, lazy):
    table = cube_statistics(cube.chunk(sample=2) if lazy else cube, samples=None)
    assert tuple(table.columns) == COLUMNS
    assert list(table.index) == [("s2", "B02"), ("s2", "B08"), ("once", "a")]
    values, valid = cube["s2"]["values"].values, cube["s2"]["valid"].values
    pixels = np.moveaxis(values, 2, -1)[valid].astype(float)
    for k, band in enumerate(("B02", "B08")):
        row, one = table.loc[("s2", band)], pixels[:, k]
        expected = [one.mean(), one.std(), *np.quantile(one, [0, 0.02, 0.25, 0.5, 0.75, 0.98, 1])]
        np.testing.assert_allclose(row.to_numpy()[:9], expected, rtol=1e-6)
        assert row["valid"] == pytest.approx(valid.sum() / (10 * 25)) and row["samples"] == 4


def test_quantiles_of_many_pixels_are_those_of_some(monkeypatch, cube):
    exact = cube_statistics(cube, samples=None)
    monkeypatch.setattr("maestro_lab.cubes.statistics._KEPT", 60)
    few = cube_statistics(cube, samples=None)
    np.testing.assert_allclose(
        few[["mean", "std", "min", "max"]], exact[["mean", "std", "min", "max"]]
    )
    assert not np.allclose(few["q25"], exact["q25"])
    np.testing.assert_allclose(few["median"], exact["median"], rtol=0.3)


def test_a_modality_without_a_pixel_has_none(cube):
    empty = cube.copy(deep=True)
    empty["s2"]["valid"][:] = False
    table = cube_statistics(empty)
    assert table.loc["s2"][["mean", "std", "median"]].isna().all().all()
    assert (table.loc["s2"]["valid"] == 0).all() and np.isfinite(table.loc["once"]).all().all()


@pytest.mark.parametrize("how", ["zarr", "nc", "packed"])
def test_they_are_saved_with_the_cube(cube, tmp_path, how):
    measured = cube_statistics(cube)
    if how == "packed":
        path = ml.pack_cube(cube, tmp_path / "cube.zarr")
    else:
        path = ml.save_cube(cube, tmp_path / f"cube.{how}")
    again = ml.open_cube(path)
    assert ATTRIBUTE in again["s2"].attrs
    found = cube_statistics(again)
    np.testing.assert_allclose(found, measured, rtol=1e-6)
    assert list(found.index) == list(measured.index)


def test_what_was_measured_on_fewer_samples_is_measured_again(cube):
    few = with_statistics(cube, samples=2)
    assert cube_statistics(few, samples=2)["samples"].eq(2).all()
    assert cube_statistics(few, samples=4)["samples"].eq(4).all()


def test_damaged_statistics_are_measured_again(cube):
    strange = with_statistics(cube)
    strange["s2"].attrs[ATTRIBUTE] = '{"B99": {"mean": 1}}'
    np.testing.assert_allclose(cube_statistics(strange), cube_statistics(cube), rtol=1e-6)
