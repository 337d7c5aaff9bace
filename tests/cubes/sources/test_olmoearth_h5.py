"""OlmoEarth's HDF5 samples: dates at their slots, maps as targets, every kind of damage told."""

import os
import pickle
import re
import shutil
import subprocess
import sys

import hdf5plugin
import numpy as np
import pytest

import maestro_lab as ml
from maestro_lab.cubes.contract import modality_names, validate
from maestro_lab.cubes.reading import read_of
from maestro_lab.cubes.sources.olmoearth_h5 import open_olmoearth_h5
from tests.cubes.sources.h5_layout import WORLDCOVER, rewrite, stamps, stored, write_olmoearth


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("olmo") / "été 2020, a copy"
    lacking = [(1, "sentinel1"), (2, "worldcover"), (2, "worldcereal"), (3, "srtm")]
    return root, write_olmoearth(root, lacking=lacking)


@pytest.fixture
def folder(written, tmp_path):
    """A copy of the data set that a test may change."""
    return shutil.copytree(written[1], tmp_path / "some data" / "8")


def dates_of(modality, sample):
    time = modality["time"].values[sample]
    return time[~np.isnat(time)].astype("datetime64[D]")


def test_a_folder_becomes_a_cube(written):
    root, inner = written
    cube = validate(ml.open_cube("olmoearth-h5", root=root), values=None)
    assert modality_names(cube) == ["s2", "s1", "landsat", "dem"]
    assert cube["sample"].values.tolist() == [f"sample_{i}" for i in range(8)]
    assert set(cube["split"].values.tolist()) == {"train"}
    assert cube["block"].values.tolist() == [0] * 4 + [1] * 4, "four samples of a tile"
    np.testing.assert_allclose(cube["latitude"].values, [45] * 4 + [47.5] * 4)
    np.testing.assert_allclose(cube["longitude"].values, [5] * 4 + [8] * 4)
    assert cube["landsat"].attrs["sensor"] == "landsat" and cube.attrs["window"] == 80
    again = ml.open_cube("olmoearth-h5", root=inner)
    assert again["s2"]["values"].equals(cube["s2"]["values"])
    for part in inner.parents[:2]:
        assert open_olmoearth_h5(part, limit=1).sizes["sample"] == 1


def test_stored_steps_stand_at_the_dates_of_their_slots(written):
    root, inner = written
    cube = open_olmoearth_h5(root)
    start = np.datetime64("2020-01-01") + 30 * np.arange(12)
    for name, key in (("s2", "sentinel2_l2a"), ("s1", "sentinel1"), ("landsat", "landsat")):
        for sample in (0, 4, 7):
            mask = stored(inner, sample, f"missing_timesteps_masks/{key}")
            assert dates_of(cube[name], sample).tolist() == start[mask].tolist()
            values = stored(inner, sample, key).transpose(2, 3, 0, 1)
            np.testing.assert_array_equal(cube[name]["values"].values[sample, : mask.sum()], values)
            valid = cube[name]["valid"].values[sample]
            assert valid[: mask.sum()].all() and not valid[mask.sum() :].any()
    assert not len(dates_of(cube["s1"], 1)) and not len(dates_of(cube["dem"], 3))
    assert dates_of(cube["dem"], 0).tolist() == start[:1].tolist()
    np.testing.assert_array_equal(
        cube["dem"]["values"].values[0, 0, 0], stored(inner, 0, "srtm")[:, :, 0, 0]
    )


def test_maps_become_targets(written):
    root, inner = written
    targets = open_olmoearth_h5(root)["targets"]
    assert list(targets.data_vars) == [
        "worldcover", "openstreetmap", "canopy_height", "cdl", "worldcereal",
    ]  # fmt: skip
    cover = targets["worldcover"]
    assert cover.attrs["codes"] == WORLDCOVER and cover.attrs["missing"] == -1
    codes = stored(inner, 0, "worldcover")[:, :, 0, 0]
    np.testing.assert_array_equal(np.array(WORLDCOVER)[cover.values[0]], codes)
    assert cover.attrs["classes"][WORLDCOVER.index(50)] == "built-up"
    assert (cover.values[2] == -1).all() and cover.values.min() == -1
    layers = stored(inner, 0, "openstreetmap_raster")[:, :, 0]
    building = targets["openstreetmap"].sel(openstreetmap_layer="building").values[0]
    np.testing.assert_array_equal(building, layers[..., 4])
    cereal = targets["worldcereal"].values
    assert cereal.shape == (8, 8, 8, 8) and np.isnan(cereal[2]).all()
    assert set(np.unique(cereal[0])) == {0, 100}
    assert targets["canopy_height"].attrs["units"] == "m"


def test_what_has_no_meaning_is_missing(folder):
    rewrite(
        folder,
        0,
        worldcover=np.full((8, 8, 1, 1), 11, "uint8"),
        cdl=np.zeros((8, 8, 1, 1), "uint8"),
        wri_canopy_height_map=np.full((8, 8, 1, 1), 255, "uint8"),
        worldcereal=np.full((8, 8, 1, 8), 254, "float32"),
    )
    targets = open_olmoearth_h5(folder)["targets"].isel(sample=0)
    assert (targets["worldcover"] == -1).all() and (targets["cdl"] == -1).all()
    assert np.isnan(targets["canopy_height"]).all() and np.isnan(targets["worldcereal"]).all()


def test_pixels_without_a_measurement_are_not_valid(folder):
    s1, s2 = stored(folder, 0, "sentinel1"), stored(folder, 0, "sentinel2_l2a")
    height = stored(folder, 0, "srtm")
    s1[0, 0, 0, 0], s1[0, 1, 0, 1], s1[0, 2, 0, 0], s1[0, 3, 0] = np.nan, -32768, np.inf, -99999
    s2[1, 1, 0], s2[1, 2, 0, :11], height[2, 2] = 0, 0, -32768
    rewrite(folder, 0, sentinel1=s1, sentinel2_l2a=s2, srtm=height)
    cube = validate(open_olmoearth_h5(folder), values=None)
    valid = cube["s1"]["valid"].values[0, 0]
    assert not valid[0, :4].any() and valid.sum() == 60
    assert np.isfinite(cube["s1"]["values"].values).all()
    assert cube["s1"]["values"].values[0, 0, 1, 0, 0] == s1[0, 0, 0, 1]
    valid = cube["s2"]["valid"].values[0, 0]
    assert not valid[1, 1] and valid.sum() == 63, "0 in some bands is dark, in all it is nothing"
    assert not cube["dem"]["valid"].values[0, 0, 2, 2]


def test_a_missing_mask_means_that_every_slot_was_seen(folder):
    full = np.tile(stored(folder, 0, "landsat")[:, :, :1], (1, 1, 12, 1))
    rewrite(folder, 0, landsat=full, mask_landsat=None)
    assert len(dates_of(open_olmoearth_h5(folder)["landsat"], 0)) == 12


def test_dates_out_of_order_and_twins(folder):
    days = stamps()
    days[[0, 5]] = days[[5, 0]]
    days[7] = days[6]
    full = np.tile(stored(folder, 0, "landsat")[:, :, :1], (1, 1, 12, 1))
    full += np.arange(12, dtype="uint16")[:, None]
    rewrite(folder, 0, timestamps=days, landsat=full, mask_landsat=np.ones(12, bool))
    landsat = open_olmoearth_h5(folder)["landsat"]
    assert len(dates_of(landsat, 0)) == 11 and (np.diff(dates_of(landsat, 0)) > 0).all()
    first = landsat["values"].values[0, :, 0, 0, 0] - full[0, 0, 0, 0]
    assert first[:11].tolist() == [5, 1, 2, 3, 4, 0, 6, 8, 9, 10, 11]
    assert len(dates_of(open_olmoearth_h5(folder, duplicates="keep")["landsat"], 0)) == 12


def test_choices(written):
    root, _ = written
    cube = open_olmoearth_h5(root, modalities=["dem", "s1"], targets="worldcover", limit=5)
    assert modality_names(cube) == ["s1", "dem"] and cube.sizes["sample"] == 5
    assert list(cube["targets"].data_vars) == ["worldcover"]
    assert "targets" not in open_olmoearth_h5(root, targets=[]).children


def test_tiles_stay_together_and_never_change_split(tmp_path):
    root = tmp_path / "many"
    write_olmoearth(root, tiles=10, side=2)
    options = {"modalities": ["s2"], "targets": [], "val": 0.3, "test": 0.3}
    cube = open_olmoearth_h5(root, **options)
    split = cube["split"].values.reshape(10, 4)
    assert (split == split[:, :1]).all() and {"train", "val", "test"} == set(split[:, 0])
    assert len(set(cube["block"].values.tolist())) == 10
    part = open_olmoearth_h5(root, limit=32, **options)
    assert part["split"].values.tolist() == cube["split"].values[:32].tolist()
    other = open_olmoearth_h5(root, seed=1, **options)["split"].values
    assert (other != cube["split"].values).any()
    one = open_olmoearth_h5(root, limit=24, **options | {"cell": 180, "val": 0, "test": 0})
    assert set(one["block"].values.tolist()) == {0}


def test_reading_is_lazy_and_can_be_sent_to_workers(written, monkeypatch):
    cube = open_olmoearth_h5(written[0])
    read = pickle.loads(pickle.dumps(read_of(cube["s2"])))
    values, valid = read(0, (slice(2, 5), slice(1, 3)))
    np.testing.assert_array_equal(
        values, cube["s2"]["values"].values[0, : len(values), :, 2:5, 1:3]
    )
    assert valid.shape == (len(values), 3, 2)
    empty, none = read_of(cube["s1"])(1, (slice(0, 8), slice(0, 4)))
    assert empty.shape == (0, 2, 8, 4) and none.shape == (0, 8, 4)


def test_a_cube_can_be_saved(written, tmp_path):
    cube = open_olmoearth_h5(written[0], limit=3)
    for name in ("a.zarr", "a.nc"):
        again = ml.open_cube(ml.save_cube(cube, tmp_path / name))
        assert again["targets"]["worldcover"].equals(cube["targets"]["worldcover"])
        assert again["s2"].to_dataset().equals(cube["s2"].to_dataset())


@pytest.fixture(scope="module")
def compressed(tmp_path_factory):
    return write_olmoearth(
        tmp_path_factory.mktemp("zstd"), tiles=1, compression=hdf5plugin.Zstd(clevel=3)
    )


def run(code, folder):
    """Run Python where no filter was ever loaded."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HDF5")}
    code = f"""
import sys
{code}
from maestro_lab.cubes.sources.olmoearth_h5 import open_olmoearth_h5
try:
    print(open_olmoearth_h5(sys.argv[1])["s2"]["values"].values.sum())
except Exception as error:
    print(type(error).__name__, error)
"""
    command = [sys.executable, "-W", "error", "-c", code, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=clean)
    return done.stdout


def test_compressed_files_are_read_and_their_extra_is_named(compressed):
    total = int(open_olmoearth_h5(compressed)["s2"]["values"].values.sum())
    assert run("", compressed).strip() == str(total), "hdf5plugin is loaded when it is needed"
    told = run("sys.modules['hdf5plugin'] = None", compressed)
    assert re.search(r"^CubeError .*sample_\d.h5 is compressed", told)
    assert (
        "HDF5 filter 32015 HDF5 zstd filter\n" in told
        and "pip install 'maestro-lab[olmoearth]'" in told
    )
