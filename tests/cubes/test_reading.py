"""Pixels stay in their files until they are used, and whoever reads samples finds how."""

import pickle
from dataclasses import dataclass, field

import numpy as np
import pytest
import xarray as xr

import maestro_lab as ml
from maestro_lab.cubes.contract import modality_names
from maestro_lab.cubes.packed.arrays import PackedSeries
from maestro_lab.cubes.packed.writing import pack_cube
from maestro_lab.cubes.reading import attach, attached, lazy_modality, read_of, whole
from maestro_lab.cubes.store import open_store, save_cube
from maestro_lab.errors import CubeError
from maestro_lab.reopen import in_memory
from tests.cubes.packing import ReadFiles, from_files, make_cube
from tests.cubes.test_packed import same_cube, same_modality


@dataclass
class Noting:
    """Reads from memory and notes what it was asked for."""

    ds: xr.Dataset
    asked: list = field(default_factory=list)

    def __call__(self, sample, where):
        self.asked.append((sample, where))
        n = int((~np.isnat(self.ds["time"].values[sample])).sum())
        return tuple(self.ds[v].values[sample, :n][..., *where] for v in ("values", "valid"))


def noted(ds, **options):
    read = Noting(ds)
    found = lazy_modality(
        read, ds["time"].values, bands=ds["band"].values.tolist(), pixels=ds.sizes["x"],
        dtype=ds["values"].dtype, units=ds.attrs["units"], gsd=ds.attrs["gsd"], **options,
    )  # fmt: skip
    return read, found


@pytest.fixture(scope="module")
def cube():
    return make_cube()


@pytest.mark.parametrize("chunk", [1, 3, 10, 99])
def test_what_is_read_is_what_there_is(cube, chunk):
    for name in modality_names(cube):
        read, found = noted(cube[name].to_dataset(), chunk=chunk)
        assert read.asked == [], "nothing is read on opening"
        assert found["values"].chunks[0] == found["valid"].chunks[0]
        assert max(found["values"].chunks[0]) == min(chunk, 10)
        same_modality(name, found, cube[name].to_dataset(inherit=False))


def test_only_what_is_used_is_read(cube):
    read, found = noted(cube["s2"].to_dataset())
    found["values"].isel(sample=[3, 7]).compute()
    assert sorted(sample for sample, _ in read.asked) == [3, 7]
    assert all(where == whole((6, 6)) for _, where in read.asked)


def test_numbers_take_the_declared_type():
    def read(sample, where):
        return np.full((1, 1, 2, 3), 7.0)[..., *where], np.ones((1, 2, 3), bool)[:, *where]

    found = lazy_modality(
        read, [["2020-01-01"]], bands=["z"], pixels=(2, 3), dtype="i2", units="m", gsd=1.0,
        nodata=-1, crs="EPSG:32633",
    )  # fmt: skip
    assert found["values"].shape == (1, 1, 1, 2, 3)
    assert found["values"].values.dtype == np.int16 and (found["values"].values == 7).all()
    assert found.attrs["nodata"] == -1 and found.rio.crs.to_epsg() == 32633


def test_how_a_modality_is_read_is_found_again(cube, tmp_path):
    files = from_files(cube, tmp_path / "files")
    for name in modality_names(cube):
        reader = ReadFiles(tmp_path / "files" / name, *cube[name]["values"].shape[2:4])
        for node in (files, files.copy(), pickle.loads(pickle.dumps(files)), ml.validate(files)):
            assert read_of(node[name]) == read_of(node[name].to_dataset()) == reader
        untouched = files[name].to_dataset().assign_attrs(more=1).assign_coords(extra=3)
        assert read_of(untouched.isel(sample=slice(None))) == reader


@pytest.mark.parametrize(
    "change",
    [
        lambda ds: ds.isel(sample=[0, 1]),
        lambda ds: ds.isel(sample=slice(0, 4)),
        lambda ds: ds.isel(band=[2, 1, 0, 3]),
        lambda ds: ds.isel(time=slice(0, 2)),
        lambda ds: ds.isel(x=slice(None, None, -1)),
        lambda ds: ds.assign(values=ds["values"] * 2),
        lambda ds: ds.assign(values=ds["values"].astype("f4")),
        lambda ds: ds.assign(valid=ds["valid"] & False),
        lambda ds: ds.assign(valid=xr.zeros_like(ds["valid"])),
        lambda ds: ds.assign(values=ds["values"].compute()),
        lambda ds: ds.assign(valid=ds["valid"].compute()),
        lambda ds: xr.concat([ds, ds], "sample"),
        lambda ds: ds.chunk(sample=5),
        lambda ds: ds.drop_encoding(),
        lambda ds: ds.compute(),
    ],
)
def test_changed_pixels_are_never_read_past_the_change(cube, tmp_path, change):
    ds = from_files(cube, tmp_path / "files")["s2"].to_dataset()
    assert read_of(ds) is not None
    assert read_of(change(ds)) is None


def test_pixels_of_two_modalities_are_not_mixed_up(cube):
    (one, a), (_, b) = (noted(cube[n].to_dataset()) for n in ("s2", "s2"))
    assert read_of(a) is one
    assert read_of(a.assign(valid=b["valid"])) is None
    assert read_of(a.assign(values=b["values"])) is None


def test_what_is_attached_holds_for_one_array():
    variable = xr.Variable("x", np.arange(3)).chunk()
    assert attached(variable) is None
    attach(variable, variable.data.name, "how")
    assert attached(variable) == "how"
    variable.data = variable.data + 1
    assert attached(variable) is None
    assert attached(xr.Variable("x", np.arange(3), encoding={"maestro_lab_read": ("", 1)})) is None


def test_cubes_read_from_files_can_be_written_by_other_means(cube, tmp_path):
    files = from_files(make_cube(("s2", "dem")), tmp_path / "files")
    expected = make_cube(("s2", "dem"))
    files.to_zarr(tmp_path / "plain.zarr", zarr_format=3, consolidated=False)
    with xr.open_datatree(tmp_path / "plain.zarr", engine="zarr", consolidated=False) as again:
        same_modality(
            "s2",
            again["s2"].to_dataset(inherit=False).load(),
            expected["s2"].to_dataset(inherit=False),
        )
    same_cube(open_store(save_cube(files, tmp_path / "saved.zarr")), expected)
    files["s2"].to_dataset(inherit=False).to_netcdf(tmp_path / "s2.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "s2.nc", engine="h5netcdf") as again:
        same_modality("s2", again.load(), expected["s2"].to_dataset(inherit=False))


def test_an_error_of_a_reader_comes_through(cube, tmp_path):
    files = from_files(cube, tmp_path / "files")
    (tmp_path / "files" / "dem" / "3.npy").unlink()
    with pytest.raises(CubeError, match=r"dem/3\.npy does not exist"):
        files["dem"]["values"].compute()


def test_memory_holds_what_is_small_and_not_mapped(cube, tmp_path):
    files = from_files(cube, tmp_path / "files")
    size = sum(v.nbytes for n in files.children for v in files[n].data_vars.values())
    assert read_of(in_memory(files, size)["s2"]) is not None, "as large as the limit"
    assert read_of(in_memory(files, size + 1)["s2"]) is None
    assert isinstance(files["s2"]["values"].data, np.ndarray)
    packed = open_store(pack_cube(cube, tmp_path / "cube.zarr"))
    assert in_memory(packed) is packed
    assert isinstance(read_of(packed["s2"]), PackedSeries)
    some = in_memory(packed.isel(sample=[1, 2]))
    assert isinstance(some["s2"]["values"].data, np.ndarray)
    same_cube(some, cube.isel(sample=[1, 2]))
