"""The contract of a model: plain data that survives JSON and refuses what cannot be."""

import json

import pytest

from maestro_lab.contract import Contract, Modality
from maestro_lab.errors import ContractError

GOOD = {"bands": ("VV", "VH"), "units": "dB", "gsd": 10, "pixels": 6, "patch": 2, "dates": 4}


def test_sizes_follow_from_the_fields():
    s1 = Modality(**GOOD)
    assert (s1.size, s1.grid, s1.tokens) == (6, 3, 36)
    assert s1.token_groups == s1.norm_groups == (("VV", "VH"),)
    split = Modality(**{**GOOD, "token_groups": {"one": ["VV"], "two": ["VH"]}, "size": 12})
    assert (split.grid, split.tokens) == (6, 2 * 4 * 36)
    assert split.norm_groups == (("VV",), ("VH",))


def test_a_contract_survives_json():
    s1 = Modality(**{**GOOD, "norm_groups": [["VV"], ["VH"]], "log": True, "fusion_group": "s1"})
    dem = Modality(("surface", "ground"), "m", 0.2, 512, 32, rescale_elevation=True)
    contract = Contract({"s1": s1, "dem": dem}, position_cells=96)
    again = Contract.from_dict(json.loads(json.dumps(contract.to_dict())))
    assert again == contract
    assert list(again.modalities) == ["s1", "dem"]
    assert repr(contract).splitlines() == [
        "Contract of 2 modalities",
        "  s1: 2 bands in dB, 4 dates, 3 x 3 patches of 2 px (20 m), 36 tokens",
        "  dem: 2 bands in m, 1 dates, 16 x 16 patches of 32 px (6.4 m), 256 tokens",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch": 4}, r"patch of 4 does not divide 6 pixels\n.*one of 1, 2, 3, 6\n.*4"),
        ({"patch": 0}, r"patch of VV VH\n.*1 or more\n.*0"),
        ({"patch": "2"}, r"patch of VV VH\n.*a whole number, 1 or more\n.*'2'"),
        ({"patch": 2.0}, r"patch of VV VH\n.*a whole number"),
        ({"dates": True}, r"dates of VV VH\n.*a whole number"),
        ({"size": -6}, r"size of VV VH\n.*0 or more\n.*-6"),
        ({"gsd": float("nan")}, r"gsd of VV VH\n.*above 0\n.*nan"),
        ({"divide": float("inf")}, r"divide of VV VH\n.*above 0\n.*inf"),
        ({"divide": None}, r"divide of VV VH\n.*above 0\n.*None"),
        ({"bands": ()}, r"bands\n.*one band or more.*\n.*none"),
        ({"bands": ("VV", "VV")}, r"bands\n.*a name of its own\n.*VV VV"),
        ({"bands": "VV"}, r"bands\n.*a list of names\n.*'VV'"),
        ({"token_groups": [["VV"]]}, r"token_groups do not cover.*\n.*VV VH\n.*VV"),
        ({"norm_groups": [["VV", "VH"], []]}, r"norm_groups do not cover"),
        ({"norm_groups": [["VV"], ["VH", "VV"]]}, r"norm_groups do not cover.*\n.*\n.*VV \| VH VV"),
        ({"patch": 1, "norm_groups": [["VV"], ["VH"]]}, r"holds a single number\n.*\n.*VV \| VH"),
        ({"resize": "cubic"}, r"resize\n.*nearest, bilinear or bicubic\n.*'cubic'"),
    ],
)
def test_impossible_modalities_are_refused(change, message):
    with pytest.raises(ContractError, match=message):
        Modality(**{**GOOD, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("position_cells"), r"contract: field 'position_cells' is missing\n.*mod"),
        (lambda d: d.pop("modalities"), r"contract: field 'modalities' is missing"),
        (lambda d: d.update(version=2), r"contract: unknown field 'version'\n.*position_cells"),
        (lambda d: d.update(modalities=[]), r"fields"),
        (lambda d: d.update(modalities={}), r"without modalities\n.*at least one"),
        (lambda d: d.update(position_cells=0), r"position_cells\n.*1 or more\n.*0"),
        (lambda d: d["modalities"]["s1"].pop("gsd"), r"contract of s1: field 'gsd' is missing"),
        (lambda d: d["modalities"]["s1"].update(norm=1), r"contract of s1: unknown field 'norm'"),
        (lambda d: d["modalities"]["s1"].update(patch=5), r"contract of s1: a patch of 5"),
        (
            lambda d: d["modalities"].update(s1="radar"),
            r"contract of s1\n.*fields bands.*\n.*radar",
        ),
    ],
)
def test_damaged_contracts_are_told(change, message):
    data = json.loads(json.dumps(Contract({"s1": Modality(**GOOD)}, 96).to_dict()))
    change(data)
    with pytest.raises(ContractError, match=message):
        Contract.from_dict(data)
