"""A model refuses values unlike those it saw, and says what may have happened to them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import maestro_lab as ml
from maestro_lab.batches import check_contract
from maestro_lab.batches.likeness import compare_statistics, strange_values
from maestro_lab.contract import Contract
from maestro_lab.errors import ContractError, ParameterError


@pytest.fixture(scope="module")
def cube():
    return ml.open_cube("landscape", samples=48).load()


@pytest.fixture(scope="module")
def table(cube):
    return ml.cube_statistics(cube)


@pytest.fixture(scope="module")
def contract(cube, table):
    return ml.contract_for(cube, statistics=table)


def changed(cube, name, change):
    """Give a modality other values."""
    ds = cube[name].to_dataset()
    ds["values"] = (ds["values"].dims, change(ds["values"].values))
    other = cube.copy()
    other[name] = xr.DataTree(ds)
    return other


def swapped(first, second):
    def change(values):
        values = values.copy()
        values[:, :, [first, second]] = values[:, :, [second, first]]
        return values

    return change


def test_the_contract_keeps_them_and_travels(contract, cube, table):
    again = Contract.from_dict(json.loads(json.dumps(contract.to_dict())))
    assert again.statistics == contract.statistics and again == contract
    kept = contract.statistics["s2"]["B08"]
    assert kept["mean"] == pytest.approx(table.loc[("s2", "B08"), "mean"], rel=1e-5)
    bare = replace(contract, statistics={})
    assert "statistics" not in bare.to_dict() and bare == contract


@pytest.mark.parametrize("seed", range(4))
def test_other_ground_of_the_same_kind_is_taken(contract, seed):
    other = ml.open_cube("landscape", samples=8, seed=seed).load()
    check_contract(other, contract)
    assert compare_statistics(other, contract)["away"].abs().max() < 4


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("s2", lambda v: v / np.float32(1e4), r"s2: values are about 0.0001 times .*than DN"),
        ("s2", lambda v: v + np.uint16(1000), "s2: every band is about 1000 higher: the offset"),
        ("s2", swapped(2, 6), "s2: B04 looks like B08 and B08 like B04"),
        ("s1_asc", swapped(0, 1), "s1_asc: VV looks like VH"),
        ("s1_asc", lambda v: 10 * np.log10(np.maximum(v, 1e-6)), "values are negative: in dB"),
        ("aerial", swapped(0, 1), "aerial: NIR looks like R"),
        ("aerial", lambda v: v // 40, r"aerial: NIR: .* the model saw"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(cube, contract, name, change, message):
    other = changed(cube, name, change)
    with pytest.raises(ContractError, match=message):
        check_contract(other, contract)
    with pytest.raises(ContractError, match=message):
        ml.CubeDataset(other, contract, split=None)
    check_contract(other, replace(contract, statistics={}))


def test_elevation_may_differ_as_mountains_do(cube, contract):
    assert not strange_values(changed(cube, "dem", lambda v: v + 2500), contract)


def test_bands_the_model_does_not_take_do_not_matter(cube, table):
    contract = ml.contract_for(cube, modalities={"s2": ["B04", "B08"]}, statistics=table)
    assert list(contract.statistics["s2"]) == ["B04", "B08"]
    check_contract(changed(cube, "s2", swapped(0, 9)), contract)


def test_statistics_must_be_statistics(cube):
    with pytest.raises(ParameterError, match=r"statistics\n.*cube_statistics"):
        ml.contract_for(cube, statistics={"s2": 1})


def test_a_model_carries_them_to_other_cubes(cube, contract, tmp_path):
    model = ml.build_model(ml.MaestroConfig(contract, "nano"))
    ml.save_model(model, tmp_path / "run")
    again, _ = ml.load_model(tmp_path / "run")
    wrong = changed(cube, "s2", lambda v: v + np.uint16(1000))
    with pytest.raises(ContractError, match="about 1000 higher"):
        ml.CubeDataset(wrong, again.config.contract, split=None)
