"""Sensors by name, and their bands under the names that people give them."""

import math

import pytest

from maestro_lab.cubes.sensors import SENSORS, UNITS, sensor
from maestro_lab.errors import CubeError


@pytest.mark.parametrize("name", SENSORS)
def test_a_sensor_is_consistent(name):
    known = sensor(name)
    assert set(known.plausible) <= set(UNITS) and set(known.full_scale) <= set(known.plausible)
    assert all(low < high for low, high in known.plausible.values())
    assert set(known.aliases.values()) <= set(known.bands)
    assert not set(known.gsd) - set(known.bands)
    grouped = [band for bands in known.kinds.values() for band in bands]
    assert len(set(grouped)) == len(grouped) and set(grouped) <= set(known.bands)
    assert [known.band(band) for band in known.bands] == list(known.bands)
    assert all(w > 400 or math.isnan(w) for w in known.wavelengths.values())


def test_modalities_have_names_of_their_own():
    names = [known.modality for known in SENSORS.values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("name", "text", "band"),
    [
        ("sentinel-2", "B2", "B02"),
        ("sentinel-2", "b8a", "B8A"),
        ("sentinel-2", "S2-L2A-B02", "B02"),
        ("sentinel-2", "T32UMD_20190704T104031_B04_10m", "B04"),
        ("sentinel-2", "nir", "B08"),
        ("sentinel-2", "swir22", "B12"),
        ("sentinel-2", "SCL", None),
        ("sentinel-2", "B13", None),
        ("landsat", "LC08_L2SP_195025_20190704_20200827_02_T1_SR_B4", "B4"),
        ("landsat", "B02", "B2"),
        ("landsat", "nir08", "B5"),
        ("landsat", "pan", "B8"),
        ("landsat", "QA_PIXEL", None),
        ("sentinel-1", "S1-SIGMA0-VH", "VH"),
        ("sentinel-1", "vv", "VV"),
        ("naip", "near_infrared", "NIR"),
        ("aerial", "red", "R"),
        ("elevation", "dsm", "surface"),
    ],
)
def test_bands_go_by_many_names(name, text, band):
    assert sensor(name).band(text) == band


def test_landsat_and_naip():
    landsat = sensor("landsat")
    assert landsat.bands == tuple(f"B{n}" for n in range(1, 12))
    visible = [landsat.wavelengths[b] for b in ("B1", "B2", "B3", "B4", "B5", "B6", "B7")]
    assert visible == sorted(visible), "coastal, blue, green, red, nir, swir1, swir2"
    assert landsat.wavelengths["B10"] > 10_000, "thermal"
    assert landsat.gsd["B8"] == 15 and landsat.gsd["B4"] == 30
    assert sensor("naip").bands == ("R", "G", "B", "NIR")


@pytest.mark.parametrize("name", ["sentinel2", None, ["sentinel-2"]])
def test_an_unknown_sensor_is_told(name):
    with pytest.raises(CubeError, match=r"is not known\n.*sentinel-2, sentinel-1, landsat"):
        sensor(name)
