"""Maps as OlmoEarth predicts them: codes, grids, gaps, layers, and configurations for a cube."""

import numpy as np
import pytest
import xarray as xr

import maestro_lab as ml
from maestro_lab.cubes.contract import make_modality
from maestro_lab.errors import ContractError, ParameterError
from maestro_lab.models.olmoearth.config import MODALITIES
from maestro_lab.models.olmoearth.norms import LEVELS
from maestro_lab.models.olmoearth.sample import NO_DATA
from maestro_lab.olmoearth.maps import map_modality, own_name
from maestro_lab.olmoearth.reading import OlmoEarthInput
from tests.batches.cubes import cube_of

DAYS = np.array([["2021-02-01"], ["2021-03-01"]], "datetime64[ns]")


def a_cube(side=4, targets=None, dem=None):
    s2 = make_modality(
        np.full((2, 1, 3, side, side), 900), DAYS, bands=["B02", "B03", "B04"], units="DN",
        gsd=10.0, sensor_name="sentinel-2",
    )  # fmt: skip
    modalities = {"s2": s2}
    if dem is not None:
        modalities["dem"] = dem
    cube = cube_of(modalities)
    if targets is not None:
        cube["targets"] = xr.DataTree(targets)
    return cube


def mapped(name, values, **attrs):
    dims = ("sample", "layer", "y", "x") if values.ndim == 4 else ("sample", "y", "x")
    return xr.Dataset({name: (dims, values, {"task": "segmentation", **attrs})})


def read(cube, maps):
    config = ml.olmoearth_config(cube, maps=maps)
    return OlmoEarthInput(cube, config, maps=True)


@pytest.mark.filterwarnings("ignore:sentinel2_l2a")
def test_labels_become_the_codes_that_levels_are_of():
    labels = np.array([[[0, 1], [2, -1]], [[1, 1], [1, 1]]], "int16")
    targets = mapped("worldcover", labels, codes=[10, 50, 95], missing=-1, classes=["a", "b", "c"])
    found = read(a_cube(2, targets), ["worldcover"]).values(0)["worldcover"]
    mean, std = LEVELS["worldcover"]["B1"]
    expected = (np.array([[10, 50], [95, np.nan]]) - (mean - 2 * std)) / (4 * std)
    np.testing.assert_allclose(found[0, 0], np.where(np.isnan(expected), NO_DATA, expected), 1e-6)


@pytest.mark.filterwarnings("ignore:sentinel2_l2a")
@pytest.mark.parametrize("side", [2, 8, 12])
def test_other_grids_are_repeated_or_thinned_out(side):
    values = np.arange(2 * side * side).reshape(2, side, side).astype("uint8")
    cube = a_cube(4, mapped("kind", values))
    found = read(cube, ["kind"]).values(1)["kind"][0, 0] * values.max()
    if side == 2:
        expected = values[1].repeat(2, 0).repeat(2, 1)
    else:
        step = side // 4
        expected = values[1][step // 2 :: step, step // 2 :: step]
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.filterwarnings("ignore:sentinel2_l2a")
def test_layers_and_elevation():
    rng = np.random.default_rng(0)
    layers = rng.random((2, 30, 4, 4)).astype("float32")
    layers[0, 3, 1, 2] = np.nan
    targets = mapped("openstreetmap", layers)
    height = np.arange(32.0).reshape(2, 1, 1, 4, 4)
    valid = np.ones((2, 1, 4, 4), bool)
    valid[1, 0, 0, 3] = False
    dem = make_modality(
        height, DAYS, valid=valid, bands=["elevation"], units="m", gsd=10.0,
        sensor_name="elevation",
    )  # fmt: skip
    data = read(a_cube(4, targets, dem), ["openstreetmap", "dem"])
    assert set(data.maps) == {"openstreetmap_raster", "srtm"}
    found = data.values(0)["openstreetmap_raster"]
    assert found.shape == (1, 30, 4, 4) and found[0, 3, 1, 2] == NO_DATA
    np.testing.assert_allclose(found[0, 5], layers[0, 5], atol=1e-6)
    mean, std = LEVELS["srtm"]["srtm"]
    found = data.values(1)["srtm"][0, 0]
    expected = (height[1, 0, 0] - mean + 2 * std) / (4 * std)
    assert found[0, 3] == NO_DATA
    np.testing.assert_allclose(np.delete(found, 3), np.delete(expected, 3), rtol=1e-5)


def test_names_of_ones_own_have_levels_of_their_own():
    cube = a_cube(4, mapped("crops", np.arange(32).reshape(2, 4, 4).astype("int16"), missing=31))
    assert own_name(cube, "crops") == "crops"
    assert map_modality(cube, "crops").span == (0.0, 30.0)
    flat = a_cube(4, mapped("flat", np.full((2, 4, 4), 7)))
    assert map_modality(flat, "flat").span == (7.0, 8.0)
    odd = a_cube(4, mapped("worldcereal", np.zeros((2, 3, 4, 4))))
    assert (
        own_name(odd, "worldcereal")
        == "worldcereal"
        not in {n for n in MODALITIES if len(MODALITIES[n].bands) == 3}
    )
    assert map_modality(odd, "worldcereal").bands == ("layer 0", "layer 1", "layer 2")


def test_a_configuration_for_what_a_cube_holds():
    cube = ml.open_cube("landscape", samples=4)
    config = ml.olmoearth_config(cube, version="v1.1", size="tiny", masking="random")
    assert list(config.modalities) == ["sentinel2_l2a", "sentinel1"] == list(config.seen)
    assert (config.size.width, config.masking, config.rotary) == (192, "random", False)
    config = ml.olmoearth_config(cube, maps=["land_cover"], modalities=["s1_des"])
    assert list(config.modalities) == ["sentinel1", "land_cover"]
    assert config.sources == {"sentinel1": ("s1_des",), "land_cover": ("land_cover",)}
    assert config.spare_alike == config.predicted_only == ("land_cover",)
    assert ml.OlmoEarthConfig.from_dict(config.to_dict()) == config
    data = OlmoEarthInput(cube, config, maps=True)
    assert [part.name for part in data.parts["sentinel1"]] == ["s1_des"]
    assert "land_cover from land_cover" in repr(data)
    v1 = ml.olmoearth_config(cube, version="v1", maps=["land_cover"])
    assert v1.spare_alike == () and len(v1.modalities["sentinel2_l2a"].groups) == 3
    table = ml.inputs_of(config)
    assert table["role"].tolist() == ["seen and predicted", "predicted"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"maps": ["species"]}, ParameterError, r"map 'species'\n.*land_cover, dem"),
        ({"modalities": ["dem"]}, ContractError, r"modality 'dem'\n.*sentinel-2"),
        ({"version": "v9"}, ParameterError, "version"),
        ({"colour": 1}, ParameterError, r"setting\n.*band_dropout"),
        ({"target": "moving"}, ParameterError, r"target\n.*frozen, learned"),
    ],
)
def test_impossible_configurations_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        ml.olmoearth_config(ml.open_cube("landscape", samples=2), **options)


@pytest.mark.filterwarnings("ignore:sentinel2_l2a")
def test_a_cube_without_the_source_is_refused():
    cube = ml.open_cube("landscape", samples=2)
    config = ml.olmoearth_config(cube, maps=["land_cover"])
    bare = cube.copy()
    del bare["targets"]
    with pytest.raises(ContractError, match=r"land_cover: no source in this cube\n.*\n.*dem"):
        OlmoEarthInput(bare, config, maps=True)
    assert not OlmoEarthInput(bare, config).maps, "nobody asked for maps"
    uneven = a_cube(4, mapped("kind", np.zeros((2, 3, 3))))
    with pytest.raises(ContractError, match=r"kind: 3 x 3 px\n.*4 x 4 px"):
        read(uneven, ["kind"])
