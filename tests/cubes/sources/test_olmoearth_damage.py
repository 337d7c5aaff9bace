"""Damaged samples of OlmoEarth: one error that names the file, what should be and what is."""

import shutil

import numpy as np
import pandas as pd
import pytest

from maestro_lab.cubes.contract import modality_names
from maestro_lab.cubes.sources.olmoearth_h5 import open_olmoearth_h5
from maestro_lab.errors import CubeError
from tests.cubes.sources.h5_layout import rewrite, stamps, stored, write_olmoearth


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_olmoearth(tmp_path_factory.mktemp("olmo"))


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "some data, übrig" / "8")


def table(change):
    def damage(folder):
        path = folder / "sample_metadata.csv"
        frame = pd.read_csv(path)
        frame = change(frame)
        frame.to_csv(path, index=False)

    return damage


def cell(column, value):
    return table(lambda frame: frame.assign(**{column: [value, *frame[column][1:]]}))


def sample(**values):
    return lambda folder: rewrite(folder, 0, **values)


def cut(name, part):
    """Store a part of a data set in its place."""
    return lambda folder: rewrite(folder, 0, **{name: part(stored(folder, 0, name))})


def half(folder):
    path = folder / "sample_0.h5"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


S2, FILE = "sentinel2_l2a", r"sample_0\.h5"
DAMAGE = {
    "no table": (
        lambda folder: (folder / "sample_metadata.csv").unlink(),
        r"holds no sample_metadata.csv\n.*h5py_data.*\n.*option root",
    ),
    "empty table": (
        lambda folder: (folder / "sample_metadata.csv").write_text(""),
        r"sample_metadata.csv cannot be read",
    ),
    "no index": (
        table(lambda frame: frame.drop(columns="sample_index")),
        r"sample_metadata.csv: column 'sample_index' is missing",
    ),
    "index twice": (cell("sample_index", 1), r"'sample_index'\n.*each once\n.*1, 1, 2"),
    "neither 0 nor 1": (cell("landsat", 2), r"metadata.csv: column 'landsat'\n.*0 or 1"),
    "NaN in the table": (cell("landsat", None), r"metadata.csv: column 'landsat'\n.*0 or 1"),
    "fewer rows than the folder's name": (
        table(lambda frame: frame.head(7)),
        r"metadata.csv: rows\n.*8, as the name of the folder says\n.*7\n",
    ),
    "fewer positions": (
        lambda folder: np.save(folder / "latlon_distribution.npy", np.zeros((3, 2))),
        r"latlon_distribution.npy\n.*8 x 2 numbers\n.*3 x 2",
    ),
    "positions with half a header": (
        lambda folder: (folder / "latlon_distribution.npy").write_bytes(
            b"\x93NUMPY\x01\x00\x0e\x00{'descr': ('a\n"
        ),
        r"latlon_distribution.npy cannot be read\n.*a .npy file",
    ),
    "file missing": (
        lambda folder: (folder / "sample_0.h5").unlink(), FILE + r" does not exist",
    ),
    "zero bytes": (
        lambda folder: (folder / "sample_0.h5").write_bytes(b""),
        FILE + r" cannot be read\n.*an HDF5 file\n.*\n.*again",
    ),
    "truncated": (half, FILE + r" cannot be read\n.*HDF5.*\n.*truncated"),
    "no timestamps": (
        sample(timestamps=None),
        FILE + r" lacks a data set\n.*latlon, timestamps.*\n.*'timestamps'",
    ),
    "no latlon": (sample(latlon=None), FILE + r" lacks a data set\n.*\n.*'latlon'"),
    "nowhere": (
        sample(latlon=np.array([5, 200], "float32")), FILE + r": latlon\n.*degrees\n.*200",
    ),
    "NaN for a place": (
        sample(latlon=np.array([np.nan, 20], "float32")), FILE + r": latlon\n.*degrees\n.*nan",
    ),
    "13th month": (
        sample(timestamps=stamps() + np.array([0, 1, 0])),
        FILE + r": timestamps\n.*month from 0.*\n.*\(12, 3\)",
    ),
    "31 February": (
        sample(timestamps=np.tile([31, 1, 2020], (12, 1))), FILE + r": timestamps\n.*\n.*\[31, 1, ",
    ),
    "dates as fractions": (
        sample(timestamps=stamps().astype(float)), FILE + r": timestamps\n.*whole.*\n.*float64",
    ),
    "no dates at all": (
        sample(timestamps=np.zeros((0, 3), int)), FILE + r": timestamps\n.*\n.*\(0, 3\)",
    ),
    "mask longer than the series": (
        sample(mask_landsat=np.ones(13, bool)),
        FILE + r": missing_timesteps_masks/landsat\n.*each of 12 timestamps\n.*\(13,\)",
    ),
    "mask in fractions": (
        sample(mask_landsat=np.ones(12)), FILE + r": missing_timesteps_masks/landsat\n.*\n.*float",
    ),
    "fewer steps than the mask tells": (
        cut(S2, lambda a: a[:, :, 1:]), FILE + r": sentinel2_l2a\n.*\(8, 8, \d+, 12\).*uint16\n",
    ),
    "a band more": (
        cut(S2, lambda a: np.concatenate([a, a[..., :1]], -1)),
        FILE + r": sentinel2_l2a\n.*\(8, 8, \d+, 12\) \(y, x, step, band\).*\n.*, 13\) in uint16",
    ),
    "other pixels": (
        cut("landsat", lambda a: a[:4]), FILE + r": landsat\n.*\(8, 8, .*\n.*\(4, 8, ",
    ),
    "a wrong type": (
        cut(S2, lambda a: a.astype("float32")), FILE + r": sentinel2_l2a\n.*in uint16\n.*float32",
    ),
    "text for a map": (
        sample(cdl=np.full((8, 8, 1, 1), b"corn")), FILE + r": cdl\n.*uint8.*\n.*in \|S4",
    ),
    "a map that the table promises": (
        sample(worldcover=None), FILE + r" lacks a data set\n.*\n.*'worldcover'",
    ),
    "a group for a modality": (
        sample(**{"cdl": None, "cdl/a": np.ones(3)}), FILE + r" lacks a data set\n.*\n.*'cdl'",
    ),
    "a folder for a file": (
        lambda folder: ((folder / "sample_0.h5").unlink(), (folder / "sample_0.h5").mkdir()),
        FILE + r" cannot be read",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_told_with_the_file(folder, what):
    change, message = DAMAGE[what]
    change(folder)
    with pytest.raises(CubeError, match=message) as caught:
        open_olmoearth_h5(folder).load()
    assert str(folder) in str(caught.value)


def test_a_file_damaged_after_opening_is_told_when_it_is_read(folder):
    cube = open_olmoearth_h5(folder)
    half(folder)
    for lazy in (cube["s2"]["values"], cube["targets"]["worldcover"]):
        with pytest.raises(CubeError, match=FILE + r" cannot be read\n.*HDF5"):
            lazy.load()


def test_folders_that_are_something_else(tmp_path, written):
    with pytest.raises(CubeError, match=r"nothing does not exist\n.*h5py_data.*\n.*option root"):
        open_olmoearth_h5(tmp_path / "nothing")
    for name in ("a", "b"):
        shutil.copytree(written, tmp_path / name)
    with pytest.raises(CubeError, match=r"holds several data sets\n.*one.*\n.*a, b\n.*root"):
        open_olmoearth_h5(tmp_path)
    assert open_olmoearth_h5(tmp_path / "a").sizes["sample"] == 8, "a name that is no number"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modalities": ["s3"]}, r"modalities\n.*s2, s1, landsat, dem"),
        ({"modalities": []}, r"modalities\n.*s2, s1, landsat, dem"),
        ({"targets": ["naip"]}, r"\n.*worldcover, openstreetmap, .*\n.*'naip'"),
        ({"val": -0.1}, r"val and test\n.*together below 1\n.*-0.1"),
        ({"val": 0.5, "test": 0.5}, r"val and test\n.*together below 1"),
        ({"test": "half"}, r"val and test\n.*\n.*'half'"),
        ({"cell": 0}, r"cell\n.*degrees.*\n.*0"),
        ({"seed": 0.5}, r"seed\n.*whole number"),
        ({"duplicates": "both"}, r"duplicates\n.*'drop' or 'keep'"),
        ({"limit": 0}, r"limit\n.*above 0"),
        ({"cell": 180, "test": 0.5}, r"cells: too few to split\n.*2 or more, for test, train\n.*1"),
    ],
)
def test_impossible_options_are_refused(written, options, message):
    with pytest.raises(CubeError, match=message):
        open_olmoearth_h5(written, **options)


def test_a_column_the_table_lacks(folder):
    table(lambda frame: frame.drop(columns="landsat"))(folder)
    assert "landsat" not in open_olmoearth_h5(folder).children
    with pytest.raises(CubeError, match=r"'landsat' is not in the data set\n.*column 'landsat'"):
        open_olmoearth_h5(folder, modalities=["landsat"])


def test_modalities_that_nobody_reads_are_left_alone(folder):
    table(lambda frame: frame.assign(era5_10=1, naip_10=0))(folder)
    assert modality_names(open_olmoearth_h5(folder)) == ["s2", "s1", "landsat", "dem"]
