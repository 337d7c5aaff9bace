"""Entries of published data sets: the contract of a model, with and without the data."""

import numpy as np
import pytest

import maestro_lab as ml
from maestro_lab.batches import check_contract
from maestro_lab.cubes.contract import make_modality
from maestro_lab.cubes.sensors import SENSORS, sensor
from maestro_lab.cubes.sources.treesatai import SPECIES
from maestro_lab.errors import CatalogError, ContractError, CubeError
from tests.batches.cubes import cube_of, days
from tests.test_catalogue import SHIPPED, put, write

LAYOUTS = ["pastis-hd", "flair-hub", "flair2", "s2-naip"]
PUBLISHED = [
    # entry, modality: bands, pixels, size, patch, dates, divide, log, norm groups
    ("treesatai-ts", "aerial", "NIR G B R", 300, 300, 20, 1, 255, False, [1, 3]),
    ("treesatai-ts", "s1_des", "VV VH", 6, 6, 2, 4, 5, True, [1, 1]),
    ("pastis-hd", "spot", "R G B", 160, 160, 16, 1, 255, False, [3]),
    ("pastis-hd", "s2", None, 16, 16, 2, 16, 10_000, False, [4, 4, 2]),
    ("pastis-hd", "s1_asc", "VV VH", 16, 16, 2, 4, 20, False, [1, 1]),
    ("flair-hub", "aerial", "NIR R G B", 512, 512, 16, 1, 255, False, [1, 3]),
    ("flair-hub", "dem", "surface terrain", 512, 512, 32, 1, 1000, False, [2]),
    ("flair-hub", "s2", None, 10, 10, 2, 16, 5000, False, [4, 4, 2]),
    ("flair-hub", "s1_des", "VV VH", 10, 10, 2, 4, 5, True, [1, 1]),
    ("s2-naip", "aerial", "NIR R G B", 96, 384, 16, 1, 255, False, [1, 3]),
    ("s2-naip", "spot", "R G B", 96, 128, 16, 1, 255, False, [3]),
    ("s2-naip", "s2", None, 12, 12, 2, 16, 5000, False, [4, 4, 2]),
    ("s2-naip", "s1", "VV VH", 12, 12, 2, 4, 20, False, [1, 1]),
]
S2 = "B02 B03 B04 B05 B06 B07 B08 B8A B11 B12"


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: f"{row[0]} {row[1]}")
def test_what_the_published_models_take(row):
    name, modality, bands, pixels, size, patch, dates, divide, log, norm = row
    m = ml.contract_of_entry(name, catalogue=SHIPPED).modalities[modality]
    assert m.bands == tuple((bands or S2).split())
    assert (m.pixels, m.size, m.patch, m.dates) == (pixels, size, patch, dates)
    assert (m.divide, m.log, m.resize) == (divide, log, "nearest")
    assert [len(group) for group in m.norm_groups] == norm and len(m.token_groups) == 1
    assert m.rescale_elevation == (modality == "dem")
    assert m.fusion_group == ("s1" if modality in ("s1_asc", "s1_des") else "")


def test_positions_and_order():
    catalogue = ml.catalog(SHIPPED)
    cells = {n: ml.contract_of_entry(catalogue[n]).position_cells for n in LAYOUTS}
    assert cells == {"pastis-hd": 256, "flair-hub": 160, "flair2": 160, "s2-naip": 192}
    turned = ml.contract_of_entry("flair-hub", modalities=["s2", "aerial"])
    assert list(turned.modalities) == ["s2", "aerial"]
    kinds = [catalogue[name].kind for name in LAYOUTS]
    assert kinds == ["pastis-hd", "flair", "flair", "s2-naip"]
    assert catalogue["treesatai-ts"].targets["species"].classes == SPECIES


@pytest.mark.parametrize("name", LAYOUTS)
def test_without_the_data_they_say_where_it_should_be(name, tmp_path):
    with pytest.raises(
        CubeError, match=r"nowhere.train.*csv does not exist\n.*\n.*no such folder\n.*root"
    ):
        ml.open_cube(name, root=tmp_path / "nowhere", catalogue=SHIPPED)
    where = ml.catalog(SHIPPED).to_frame().loc[name, "where"]
    assert "local folder" in where and where.endswith("named by the option root")


@pytest.mark.parametrize(
    ("entry", "options", "message"),
    [
        ("romania", {}, r"entry 'romania' describes no such .*\n.*s2_10m, s2_20m\n.*no window"),
        ("flair2", {"modalities": ["s1"]}, r"'flair2' .*\n.*aerial, dem, s2\n.*no modality s1"),
        ("flair2", {"modalities": []}, "without modalities"),
    ],
)
def test_an_entry_that_says_too_little(entry, options, message):
    with pytest.raises(ContractError, match=message):
        ml.contract_of_entry(entry, catalogue=SHIPPED, **options)


def test_each_modality_needs_its_model_settings(tmp_path):
    hills = write(tmp_path, window=60)
    with pytest.raises(
        ContractError, match=r"'hills'.*\n.*\n.*no model settings of dem\n.*contrac"
    ):
        ml.contract_of_entry("hills", catalogue=hills)
    made = ml.contract_of_entry("hills", modalities="s2", catalogue=hills)
    assert made.modalities["s2"].pixels == 6 and made.position_cells == 8
    with pytest.raises(ContractError, match=r"s2: a patch of 2 does not divide 5 pixels"):
        odd = write(tmp_path, window=50)
        ml.contract_of_entry("hills", modalities="s2", catalogue=odd)
    with pytest.raises(CatalogError, match="did you mean 'hills'"):
        ml.contract_of_entry("hill", catalogue=hills)


TARGET = ("cubes", "hills", "targets", "cover")
COVER = {
    "task": "segmentation", "classes": ["a", "b"],
    "head": {"name": "cover", "task": "segmentation", "reference": "s2", "size": 12},
}  # fmt: skip


@pytest.mark.parametrize(
    ("value", "where", "message"),
    [
        (None, (*TARGET, "classes"), r"field targets.cover\n.*classes beside a head"),
        ([], (*TARGET, "classes"), r"field targets.cover\n.*classes beside a head"),
        ("s3", (*TARGET, "head", "reference"), r"targets.cover.head .* reference among dem, s2"),
        (0, (*TARGET, "head", "size"), r"targets.cover.head with a size"),
        (
            None,
            (*TARGET, "head", "name"),
            r"targets.cover.head.name\n.*published weights\n.*nothing",
        ),
        ("map", (*TARGET, "head", "task"), r"targets.cover.head.task\n.*'segmentation'"),
        (1, (*TARGET, "head", "sizes"), r"one of name, task.*\n.*sizes\n.*did you mean 'size'"),
        (0, ("cubes", "hills", "window"), r"field window\n.*greater than 0\n.*0"),
        ("layouts", ("cubes", "hills", "kind"), r"field kind\n.*pastis-hd, flair.*zarr\n.*layouts"),
    ],
)
def test_mistakes_in_heads_and_windows_are_told(tmp_path, value, where, message):
    targets = {"cover": {**COVER, "head": dict(COVER["head"])}}
    path = write(tmp_path, targets=targets, window=60, change=put(value, *where))
    with pytest.raises(CatalogError, match=message):
        ml.catalog(path)


def test_data_saved_in_that_layout_fits_the_contract(tmp_path):
    rng = np.random.default_rng(0)
    declared = ml.catalog(SHIPPED)["s2-naip"].modalities
    modalities = {}
    for name, dates, side in (("spot", 1, 96), ("s2", 16, 12)):
        m = declared[name]
        values = rng.integers(50, 200, (2, dates, len(m.bands), side, side)).astype(np.uint16)
        modalities[name] = make_modality(
            values, days([dates] * 2, dates, step=20), bands=m.bands, units=m.units, gsd=m.gsd,
            sensor_name=m.sensor,
        )  # fmt: skip
    contract = ml.contract_of_entry("s2-naip", modalities=list(modalities))
    cube = cube_of(modalities, attrs={"catalogue_entry": "s2-naip"})
    again = ml.open_cube(ml.save_cube(cube, tmp_path / "mine.zarr"))
    check_contract(again, contract)
    assert ml.contract_for(again) == contract, "the cube names the entry that it is laid out like"


def test_sensors_of_these_entries_are_known():
    spot = sensor("spot")
    assert spot.bands == ("R", "G", "B", "NIR")
    assert sorted(spot.bands, key=spot.wavelengths.get) == ["B", "G", "R", "NIR"]
    assert all(low < high for s in SENSORS.values() for low, high in s.plausible.values())
    assert sensor("elevation").bands == ("elevation", "surface", "terrain")
