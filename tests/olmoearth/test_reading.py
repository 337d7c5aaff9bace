"""Cubes as OlmoEarth takes them: slots, bands, units, gaps."""

import numpy as np
import pytest
import torch
import xarray as xr

import maestro_lab as ml
from maestro_lab import figures
from maestro_lab.cubes.contract import make_modality
from maestro_lab.errors import ContractError, CubeWarning, ParameterError
from maestro_lab.models.olmoearth.config import OlmoEarthConfig
from maestro_lab.models.olmoearth.model import OlmoEarth
from maestro_lab.models.olmoearth.norms import LEVELS, normalise_bands
from maestro_lab.olmoearth.reading import OlmoEarthInput
from tests.batches.cubes import cube_of

S2 = OlmoEarthConfig.of("v1.2", "nano").modalities["sentinel2_l2a"].bands
ALL = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")


def config(version="v1.2"):
    return OlmoEarthConfig.of(version, "nano")


def dated(*days):
    return np.array([list(days)], "datetime64[ns]")


def optical(values, days, valid=None, bands=ALL, units="DN", gsd=10.0):
    return make_modality(
        values, dated(*days), valid=valid, bands=bands, units=units, gsd=gsd,
        sensor_name="sentinel-2",
    )  # fmt: skip


def level(band, modality="sentinel2_l2a"):
    return LEVELS[modality][band][0]


def at_mean(dates, side=4, bands=ALL):
    values = np.array([level(b) for b in bands])[None, None, :, None, None]
    return np.broadcast_to(values, (1, dates, len(bands), side, side)).copy()


def read(cube, version="v1.2", **options):
    data = OlmoEarthInput(cube, config(version), start="2021-01-01", **options)
    return data, data.sample([0], patch=2)


def test_slots_bands_and_levels():
    values = at_mean(4)
    values[0, 1] *= 2  # the second acquisition of January, less clear
    valid = np.ones((1, 4, 4, 4), bool)
    valid[0, 1, 0, 0] = False
    valid[0, 3, 1, 2] = False
    days = ["2021-01-20", "2021-01-25", "2021-05-01", "2021-12-20"]
    data, sample = read(cube_of({"mine": optical(values, days, valid)}))
    found = sample.values["sentinel2_l2a"]
    assert found.shape == (1, 12, 12, 4, 4) and found.dtype == torch.float32
    seen = (found != -99999).all(2)[0]  # (slot, y, x)
    assert seen.any((1, 2)).tolist() == [k in (0, 4, 11) for k in range(12)]
    assert seen[0].all() and not seen[11, 1, 2] and int(seen[11].sum()) == 15
    torch.testing.assert_close(
        found[0][seen[:, None].expand(-1, 12, -1, -1)], torch.tensor(0.5).expand(12 * 47)
    )
    assert sample.timestamps[0, 0].tolist() == [1, 0, 2021], "day, month from 0, year"
    assert sample.timestamps[0, 1].tolist() == [31, 0, 2021] and sample.gsd == 10
    assert "sentinel2_l2a from mine" in repr(data) and len(data) == 1


def test_units_are_brought_to_those_of_the_model():
    reflectance = optical(at_mean(1) / 1e4, ["2021-01-05"], units="reflectance")
    power = np.full((1, 1, 2, 4, 4), 10 ** (LEVELS["sentinel1"]["vv"][0] / 10))
    power[0, 0, 1] = 10 ** (LEVELS["sentinel1"]["vh"][0] / 10)
    radar = make_modality(
        power, dated("2021-02-10"), bands=["VV", "VH"], units="linear power", gsd=10,
        sensor_name="sentinel-1",
    )  # fmt: skip
    values = read(cube_of({"s2": reflectance, "s1": radar}))[1].values
    torch.testing.assert_close(values["sentinel2_l2a"][0, 0], torch.full((12, 4, 4), 0.5))
    torch.testing.assert_close(values["sentinel1"][0, 1], torch.full((2, 4, 4), 0.5))
    assert (values["sentinel1"][0, 0] == -99999).all() and next(iter(values)) == "sentinel2_l2a"


def test_grids_are_brought_to_the_finest():
    fine, coarse = ("B02", "B03", "B04", "B08"), ("B05", "B06", "B07", "B8A", "B11", "B12")
    rough = at_mean(1, 2, coarse)
    rough[0, 0, 0] = np.arange(4).reshape(2, 2) * 100
    cube = cube_of(
        {
            "s2_10m": optical(at_mean(1, 4, fine), ["2021-01-05"], bands=fine),
            "s2_20m": optical(rough, ["2021-01-05"], bands=coarse, gsd=20.0),
        }
    )
    found = read(cube)[1].values["sentinel2_l2a"][0, 0]
    expected = normalise_bands(rough[0, 0, :1], "sentinel2_l2a", ["B05"])[0]
    np.testing.assert_allclose(found[S2.index("B05")], expected.repeat(2, 0).repeat(2, 1))
    assert (found[[S2.index("B01"), S2.index("B09")]] == 0).all(), "bands that nobody has"


@pytest.mark.parametrize(("version", "how"), [("v1", "nearest"), ("v1.2", "zero")])
def test_missing_bands_are_made_up_as_the_version_wants(version, how):
    bands = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B11", "B12")
    values = at_mean(1, 4, bands)
    with pytest.warns(CubeWarning, match=r"3 of 12 bands are missing .*B8A"):
        found = read(cube_of({"s2": optical(values, ["2021-01-05"], bands=bands)}), version)[1]
    found = found.values["sentinel2_l2a"][0, 0]
    order = config(version).modalities["sentinel2_l2a"].bands
    nearest = {"B01": "B02", "B8A": "B08", "B09": "B08"}
    for band, source in nearest.items():
        expected = np.zeros((4, 4))
        if how == "nearest":
            copied = np.full((1, 4, 4), level(source))
            expected = normalise_bands(copied, "sentinel2_l2a", [band])[0]
        np.testing.assert_allclose(found[order.index(band)], expected, rtol=1e-6)


def test_radar_of_two_directions_shares_the_slots():
    def radar(day, number):
        values = np.full((1, 1, 2, 4, 4), number)
        return make_modality(
            values, dated(day), bands=["VV", "VH"], units="dB", gsd=10, sensor_name="sentinel-1"
        )

    cube = cube_of({"asc": radar("2021-01-05", -8.0), "des": radar("2021-03-05", -12.0)})
    found = read(cube)[1].values["sentinel1"][0, :, 0, 0, 0]
    assert [k for k in range(12) if found[k] != -99999] == [0, 2] and found[0] > found[2]


def test_a_cube_gives_the_same_lazily_and_packed(tmp_path):
    cube = ml.open_cube("landscape", samples=5, modalities=["s2", "s1_asc", "s1_des"])
    packed = ml.open_cube(ml.pack_cube(cube, tmp_path / "cube.zarr"))
    one, two, three = (
        OlmoEarthInput(c, config(), split=None).sample(range(5)).values
        for c in (cube.copy(deep=True).load(), cube, packed)
    )
    for name in one:
        assert torch.equal(one[name], two[name]) and torch.equal(one[name], three[name])


def test_samples_and_batches():
    cube = ml.open_cube("landscape", samples=20, modalities=["s2"])
    data = OlmoEarthInput(cube, config(), split=["train", "val"])
    names = cube["split"].values[data.index]
    assert set(names) == {"train", "val"} and len(data) == len(names)
    sizes = [len(b) for b in data.batches(size=7)]
    assert sum(sizes) == len(data) and max(sizes) == 7
    whole = data.sample(range(len(data)))
    parts = torch.cat([b.values["sentinel2_l2a"] for b in data.batches(size=7)])
    assert torch.equal(whole.values["sentinel2_l2a"], parts)


def test_a_model_embeds_them():
    cube = ml.open_cube("landscape", samples=3, modalities=["s2", "s1_asc"])
    model = OlmoEarth(config()).eval()
    data = OlmoEarthInput(cube, model.config)
    with torch.no_grad():
        found = model.embed(data.sample([0, 1, 2], patch=2), spatial=True)
    assert found.shape == (3, 9, 128) and found.isfinite().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.drop_nodes("s2"), "no sensor that OlmoEarth sees\n.*sentinel-2.*\n.*dem"),
        (lambda c: c["s2"].attrs.update(gsd=15.0) or c, "s2: pixels of 15 m"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    cube = ml.open_cube("landscape", samples=2, modalities=["s2", "s1_asc", "dem"]).copy()
    cube = change(cube.drop_nodes("s1_asc") if "no sensor" in message else cube)
    with pytest.raises(ContractError, match=message):
        OlmoEarthInput(cube, config())


def test_an_empty_split_is_told():
    cube = ml.open_cube("landscape", samples=2, modalities=["s2"])
    with pytest.raises(ParameterError, match="no sample in split buffer"):
        OlmoEarthInput(cube, config(), split="buffer")


def test_the_real_months_with_two_missing(shared):
    path = shared / "data" / "worldcereal" / "worldcereal_preprocessed_inputs.nc"
    with xr.open_dataset(path, engine="h5netcdf") as data:
        radar = data[["S1-SIGMA0-VV", "S1-SIGMA0-VH"]].load()
        optics = data[[f"S2-L2A-B{b:02d}" for b in (2, 3, 4, 5, 6, 7, 8, 11, 12)]].load()
    decibels = 20 * np.log10(radar.where(radar != 65535)) - 83
    cube = ml.cube_from_dataset(
        {"s2": optics, "s1": decibels}, sensor={"s2": "sentinel-2", "s1": "sentinel-1"},
        window=200, units={"s2": "DN", "s1": "dB"}, nodata={"s2": 65535}, period="all",
    )  # fmt: skip
    with pytest.warns(CubeWarning, match="B8A B01 B09"):
        data = OlmoEarthInput(cube, config(), start="2020-10-25")
    sample = data.sample(range(4))
    seen = (sample.values["sentinel2_l2a"] != -99999).any((0, 2, 3, 4))
    assert seen.tolist() == [True, False, False] + [True] * 9
    with torch.no_grad():
        found = OlmoEarth(config()).eval().embed(sample, spatial=True)
    assert found.shape == (4, 25, 128) and found.isfinite().all()
    whole = ml.dataset_for(config(), cube, split=None, start="2020-10-25")  # told once is enough
    table = ml.embed(ml.build_model(config()), whole)
    figure = figures.embedding_map(cube, table.sample, table.features, table.grid)
    (image,) = figure.axes[0].get_images()
    assert image.get_array().shape[:2] == (25, 25), "5 x 5 windows of 5 x 5 patches, side by side"
