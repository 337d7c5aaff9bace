"""The catalogue: a table, one verb to open, and mistakes told with entry, field and expectation."""

import copy
from pathlib import Path

import pytest
import yaml

import maestro_lab as ml
from maestro_lab.catalogue import Entry
from maestro_lab.errors import CatalogError, CubeError

SHIPPED = Path(__file__).parent.parent / "data_catalog.yaml"

ENTRY = {
    "title": "Hills",
    "kind": "landscape",
    "where": "nowhere",
    "modalities": {
        "dem": {"sensor": "elevation", "bands": ["elevation"], "units": "m", "gsd": 10},
        "s2": {
            "sensor": "sentinel-2",
            "bands": ["B02", "B03"],
            "units": "DN",
            "gsd": 10,
            "model": {"patch": 2},
        },
    },
    "targets": {"species": {"task": "fractions"}},
    "position_cells": 8,
    "splits": ["train", "val", "test"],
    "licence": "CC0-1.0",
    "citation": "nobody",
}


def write(folder, *, change=None, name="hills", **fields):
    """Write a catalogue of one entry; ``change`` edits its content."""
    content = {"version": 1, "cubes": {name: copy.deepcopy({**ENTRY, **fields})}}
    if change:
        change(content)
    path = folder / "catalogue.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A cube with elevation alone, on disk."""
    path = tmp_path_factory.mktemp("cubes") / "dem.zarr"
    return ml.save_cube(ml.open_cube("landscape", samples=2, modalities=["dem"]), path)


def test_the_catalogue_is_a_table():
    content = yaml.safe_load(SHIPPED.read_text())["cubes"]
    catalogue = ml.catalog(SHIPPED)
    table = catalogue.to_frame()
    assert list(catalogue) == list(table.index) == list(content)
    assert len(catalogue) == len(content) >= 3
    for name, entry in content.items():
        assert table.loc[name, "title"] == entry["title"]
        assert table.loc[name, "licence"] == entry["licence"]
        for modality, declared in entry["modalities"].items():
            assert f"{modality} ({len(declared['bands'])})" in table.loc[name, "modalities"]
        assert name in repr(catalogue)
        assert entry["title"] in catalogue._repr_html_()


def test_html_is_escaped(tmp_path):
    html = ml.catalog(write(tmp_path, title="<b>Hills & dales</b>"))._repr_html_()
    assert "&lt;b&gt;Hills &amp; dales" in html and "<b>Hills" not in html


def test_an_entry_is_looked_up_like_in_a_dict():
    catalogue = ml.catalog(SHIPPED)
    assert isinstance(catalogue["romania"], Entry)
    assert catalogue["romania"].modalities["s2_10m"].gsd == 10
    assert "romania" in catalogue and "atlantis" not in catalogue
    assert catalogue.get("atlantis") is None
    assert catalogue.get("romania") is catalogue["romania"]


@pytest.mark.parametrize(
    ("name", "do"), [("romanai", "did you mean 'romania'"), ("xyz", "see maestro-lab cubes")]
)
def test_an_unknown_name_is_told(name, do):
    expected = (
        rf"no cube named '{name}' in data_catalog.yaml\n.*romania, tree.*netCDF\)\n.*\n.*{do}"
    )
    with pytest.raises(CatalogError, match=expected):
        ml.open_cube(name, catalogue=SHIPPED)


def test_options_replace_those_of_the_entry(tmp_path):
    path = write(tmp_path, options={"samples": 5, "modalities": ["dem"], "seed": 3})
    cube = ml.open_cube("hills", catalogue=path, samples=2)
    again = ml.open_cube("landscape", modalities=["dem"], seed=3, samples=2)
    assert list(cube.children) == ["dem", "targets"]
    assert cube["dem"].to_dataset().identical(again["dem"].to_dataset())
    assert cube.attrs["catalogue_entry"] == "hills"


def test_an_unknown_option_is_told():
    with pytest.raises(CatalogError, match=r"no option 'sample'\n.*samples, seed.*\n.*sample"):
        ml.open_cube("landscape", catalogue=SHIPPED, sample=2)
    with pytest.raises(CatalogError, match=r"no option 'root'\n.*samples"):
        ml.open_cube("landscape", catalogue=SHIPPED, root="data")


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_opens_a_saved_cube(saved, kind):
    cube = ml.open_cube(kind(saved))
    assert list(cube.children) == ["dem", "targets"]
    assert cube.attrs["catalogue_entry"] == "landscape", "model settings still come from there"


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(CubeError, match=r"nowhere.zarr does not exist\n.*save_cube"):
        ml.open_cube("nowhere.zarr")
    with pytest.raises(CubeError, match=r"is not a cube\n.*zarr v3 group"):
        ml.open_cube(tmp_path)
    with pytest.raises(
        CubeError, match=r"train.csv does not exist\n.*TreeSatAI-TS folder.*\n.*root"
    ):
        ml.open_cube("treesatai-ts", catalogue=SHIPPED, root=tmp_path)
    with pytest.raises(CatalogError, match=r"none.yaml cannot be read\n.*No such file"):
        ml.catalog(tmp_path / "none.yaml")


def test_a_saved_cube_may_be_an_entry(saved, tmp_path):
    path = write(tmp_path, kind="zarr", options={"path": str(saved)})
    cube = ml.open_cube("hills", catalogue=path)
    assert cube.sizes["sample"] == 2
    assert cube.attrs["catalogue_entry"] == "hills", "not the entry it was made from"
    path = write(tmp_path, kind="zarr")
    with pytest.raises(CatalogError, match=r"'hills' needs the option 'path'\n.*path\n.*no opt"):
        ml.open_cube("hills", catalogue=path)


DEM = ENTRY["modalities"]["dem"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"modalities": {"dtm": DEM}}, r"'hills': modality 'dem' is not in .*\n.*dtm\n.*dem"),
        ({"modalities": {"dem": {**DEM, "gsd": 5}}}, r"dem: gsd not as .*\n.*5.0\n.*10.0"),
        (
            {"modalities": {"dem": {**DEM, "units": "DN"}}},
            r"dem: units not as in the catalogue\n.*DN\n.*m",
        ),
        (
            {"modalities": {"dem": {**DEM, "sensor": None, "bands": ["height"]}}},
            r"dem: bands differ\n.*height\n.*'elevation' was not expected",
        ),
        (
            {"modalities": {"dem": {**DEM, "sensor": "aerial", "bands": ["NIR"]}}},
            r"dem: bands differ\n.*NIR\n.*elevation",
        ),
        ({"modalities": {"dem": {**DEM, "nodata": -1}}}, r"dem: nodata not as .*\n.*-1.0"),
        ({"splits": ["val", "test"]}, r"'hills': splits not as .*\n.*val, test\n.*train"),
        (
            {"targets": {"species": {"task": "regression"}}},
            r"targets/species: task not as .*\n.*regression\n.*fractions",
        ),
        (
            {"targets": {"biomass": {"task": "regression", "units": "kg"}}},
            r"targets/biomass: units not as .*\n.*kg\n.*t/ha",
        ),
    ],
)
def test_a_cube_unlike_its_entry_is_refused(saved, tmp_path, fields, message):
    path = write(tmp_path, kind="zarr", options={"path": str(saved)}, **fields)
    with pytest.raises(CubeError, match=message):
        ml.open_cube("hills", catalogue=path)


def put(value, *where):
    """Return a change of the content: set a field, or take it away where ``value`` is None."""

    def change(content):
        node = content
        for part in where[:-1]:
            node = node[part]
        node[where[-1]] = value
        if value is None:
            del node[where[-1]]

    return change


AT = ("cubes", "hills")
S2 = (*AT, "modalities", "s2")
MODEL = (*S2, "model")


@pytest.mark.parametrize(
    ("value", "where", "message"),
    [
        (2, ("version",), r"field version\n.*1\n.*2"),
        ({}, ("cubes",), r"field cubes\n.*at least 1 item.*\n.*{}"),
        ("romania", AT, r"entry 'hills', all of it\n.*fields: title, kind.*\n.*'romania'"),
        (None, (*AT, "licence"), r"entry 'hills', field licence\n.*text\n.*nothing"),
        (None, (*AT, "splits"), r"entry 'hills', field splits\n.*one of train, val.*\n.*nothing"),
        (None, (*S2, "gsd"), r"entry 'hills', field modalities.s2.gsd\n.*metres a pixel\n.*noth"),
        (None, (*S2, "units"), r"field modalities.s2.units\n.*one of DN, reflectance.*\n.*nothing"),
        (None, (*MODEL, "patch"), r"field modalities.s2.model.patch\n.*a whole number\n.*nothing"),
        (
            "x",
            (*AT, "license"),
            r"entry 'hills', field license\n.*one of title.* licence.*\n.*license\n"
            r".*mend .*catalogue.yaml; did you mean 'licence'\?",
        ),
        (8, (*S2, "pixels"), r"field modalities.s2.pixels\n.*one of sensor, bands.*\n.*pixels"),
        ("ten", (*S2, "gsd"), r"field modalities.s2.gsd\n.*valid number\n.*'ten'"),
        ("10", (*S2, "gsd"), r"field modalities.s2.gsd\n.*valid number\n.*'10'"),
        (True, (*S2, "gsd"), r"field modalities.s2.gsd\n.*valid number\n.*True"),
        (0, (*S2, "gsd"), r"field modalities.s2.gsd\n.*greater than 0\n.*0"),
        (float("inf"), (*S2, "gsd"), r"field modalities.s2.gsd\n.*finite number\n.*inf"),
        ("B02", (*S2, "bands"), r"field modalities.s2.bands\n.*list\n.*'B02'"),
        ([], (*S2, "bands"), r"field modalities.s2.bands\n.*at least 1 item.*\n.*\[\]"),
        ([2, 3], (*S2, "bands"), r"field modalities.s2.bands.0\n.*string\n.*2"),
        (["B02", "B02"], (*S2, "bands"), r"field modalities.s2\n.*once each; B02 is there twice"),
        (["B02", "VV"], (*S2, "bands"), r"modalities.s2\n.*bands of sentinel-2.*'VV' is none of"),
        ("sentinel2", (*S2, "sensor"), r"modalities.s2\n.*sensor among sentinel-2.*'sentinel2'"),
        ("counts", (*S2, "units"), r"field modalities.s2.units\n.*'DN', 'refl.*\n.*'counts'"),
        ([["B02"]], (*MODEL, "norm_groups"), r"s2\n.*model.norm_groups that hold each of B02 B03"),
        ([["B02"], ["B3"]], (*MODEL, "token_groups"), r"s2\n.*model.token_groups that hold each"),
        (1.5, (*MODEL, "patch"), r"modalities.s2.model.patch\n.*integer.*\n.*1.5"),
        (-4, (*MODEL, "size"), r"modalities.s2.model.size\n.*greater than or equal to 0\n.*-4"),
        ("netcdf", (*AT, "kind"), r"entry 'hills', field kind\n.*romania, landscape.*\n.*netcdf"),
        ({"targets": DEM}, (*AT, "modalities"), r"field modalities\n.*'targets'\n.*targets"),
        (["train", "tset"], (*AT, "splits"), r"field splits.1\n.*'train', 'val'.*\n.*'tset'"),
        ("all", (*AT, "position_cells"), r"field position_cells\n.*integer\n.*'all'"),
        ({"task": "guess"}, (*AT, "targets", "species"), r"targets.species.task\n.*'fractions'"),
    ],
)
def test_a_mistake_is_told_with_file_entry_field_and_expectation(tmp_path, value, where, message):
    path = write(tmp_path, change=put(value, *where))
    with pytest.raises(CatalogError, match=message) as told:
        ml.catalog(path)
    assert str(told.value).startswith("catalogue.yaml: ")


def test_more_mistakes_are_counted(tmp_path):
    path = write(tmp_path, position_cells=-1, licence=3, citation=[])
    with pytest.raises(CatalogError, match=r"field position_cells\n.*\n.*\n.*2 more to mend"):
        ml.catalog(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"cubes: [", r"is not YAML at line [12]\n.*expected"),
        (b"version: 1\n\tcubes: 1", r"is not YAML at line 2\n.*(?:tab|token)"),
        (b"version: 1\nversion: 1", r"is not YAML at line 2\n.*'version' is there twice"),
        (b"version: 1\ncubes:\n  a: 1\n  b: 2\n  a: 3", r"YAML at line 5\n.*'a' is there twice"),
        (b"title: Caf\xe9", r"cannot be read\n.*UTF-8"),
        (b"", r"catalogue.yaml: all of it\n.*fields: version, cubes\n.*None"),
        (b"- romania", r"catalogue.yaml: all of it\n.*fields: version, cubes\n.*\['romania'\]"),
        (b"!!python/object:os.system {}", r"is not YAML at line 1\n.*could not determine"),
    ],
)
def test_what_is_no_catalogue_is_told(tmp_path, text, message):
    path = tmp_path / "catalogue.yaml"
    path.write_bytes(text)
    with pytest.raises(CatalogError, match=message):
        ml.catalog(path)


@pytest.mark.parametrize("name", ["my/cube", "cube.zarr"])
def test_a_name_that_is_read_as_a_path_is_refused(tmp_path, name):
    with pytest.raises(CatalogError, match=r"expected: a name that is no path"):
        ml.catalog(write(tmp_path, name=name))


def test_the_nearest_catalogue_is_used(tmp_path, monkeypatch):
    monkeypatch.delenv("MAESTRO_LAB_CATALOG", raising=False)
    write(tmp_path, name="above").rename(tmp_path / "data_catalog.yaml")
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert list(ml.catalog()) == ["above"]
    named = write(tmp_path, name="named")
    monkeypatch.setenv("MAESTRO_LAB_CATALOG", str(named))
    assert list(ml.catalog()) == ["named"]
    assert "romania" in ml.catalog(SHIPPED)


def test_without_any_catalogue_the_packaged_one_is_used(tmp_path, monkeypatch):
    monkeypatch.delenv("MAESTRO_LAB_CATALOG", raising=False)
    monkeypatch.chdir(tmp_path)
    assert "romania" in ml.catalog()
