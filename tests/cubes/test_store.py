"""A cube comes back from disk as it went, and is written whole or not at all."""

import os
import subprocess
import sys
import textwrap

import dask
import numpy as np
import pytest
import xarray as xr
import zarr

import maestro_lab as ml
from maestro_lab.cubes.contract import modality_names
from maestro_lab.cubes.statistics import with_statistics
from maestro_lab.cubes.store import open_store, save_cube
from maestro_lab.errors import CubeError
from tests.cubes.conftest import edited, make_small


def test_a_cube_comes_back_identical(small, tmp_path):
    path = save_cube(small, tmp_path / "small.zarr", chunk=2)
    again = open_store(path)
    small = with_statistics(small)  # saved with it
    for node in ("/", *small.children):
        one, other = (c[node].to_dataset(inherit=False) for c in (small, again))
        xr.testing.assert_identical(one, other.load())
        for name, variable in one.variables.items():
            assert other[name].dtype == variable.dtype, (node, name)
        assert list(one.data_vars) == list(other.data_vars)
    assert list(again.children) == list(small.children)
    assert again.attrs == small.attrs
    assert again["s2"]["values"].rio.crs.to_epsg() == 32633
    assert all(type(name) is str for name in again["sample"].values.tolist())


@pytest.mark.parametrize("names", [("s2", "aerial", "dem"), ("dem", "zebra", "aerial", "s2")])
def test_modalities_keep_their_order(names, tmp_path):
    small = make_small()
    parts = {"s2": "s2", "dem": "aerial", "aerial": "aerial", "zebra": "s2"}
    cube = make_small(modalities={n: small[parts[n]].to_dataset(inherit=False) for n in names})
    again = open_store(save_cube(cube, tmp_path / "cube.zarr"))
    assert tuple(modality_names(again)) == names
    twice = open_store(save_cube(again, tmp_path / "twice.zarr"))
    assert tuple(modality_names(twice)) == names and twice.attrs == cube.attrs


def test_a_cube_written_by_other_means_opens_too(small, tmp_path):
    small.to_zarr(tmp_path / "plain.zarr", zarr_format=3, consolidated=False)
    assert set(modality_names(open_store(tmp_path / "plain.zarr"))) == {"s2", "aerial"}


def test_pixels_stay_on_disk_until_used(small, tmp_path):
    again = open_store(save_cube(small, tmp_path / "small.zarr", chunk=2))
    for name in modality_names(again):
        assert dask.is_dask_collection(again[name]["values"].data)
        assert again[name]["values"].chunks[0] == (2, 1), "two whole samples a chunk"
        assert not dask.is_dask_collection(again[name]["time"].data)


def test_lazy_and_eager_cubes_are_saved_alike(tmp_path):
    cube = ml.open_cube("landscape", samples=3, modalities=["s2", "dem"])
    lazy = open_store(save_cube(cube, tmp_path / "lazy.zarr"))
    eager = open_store(save_cube(cube.load(), tmp_path / "eager.zarr"))
    assert lazy.load().identical(eager.load()) and eager.identical(with_statistics(cube))


def while_writing(small, path, act):
    """Return the cube, acting once the writing of its pixels has begun."""

    def block(values):
        if path.with_name(path.name + ".unfinished").exists():
            act()
        return values

    return edited(
        small,
        "s2",
        lambda ds: ds.assign(
            values=(ds["values"].dims, ds.chunk()["values"].data.map_blocks(block, dtype="u2"))
        ),
    )


@pytest.mark.parametrize("problem", [KeyboardInterrupt, CubeError("a file is damaged")])
def test_a_failure_leaves_nothing(small, tmp_path, problem):
    path = tmp_path / "cubes" / "small.zarr"

    def fail():
        raise problem

    with pytest.raises(type(problem) if isinstance(problem, Exception) else problem):
        save_cube(while_writing(small, path, fail), path)
    assert list((tmp_path / "cubes").iterdir()) == []


def test_a_full_disk_is_told_and_leaves_nothing(small, tmp_path):
    path = tmp_path / "cubes" / "small.zarr"

    def full():
        raise OSError(28, "No space left on device")

    with pytest.raises(CubeError, match=r"cannot be written\n.*room.*\n.*No space left"):
        save_cube(while_writing(small, path, full), path)
    assert list((tmp_path / "cubes").iterdir()) == []


def test_a_kill_leaves_no_cube_and_does_not_block_the_next(small, tmp_path):
    path = tmp_path / "small.zarr"
    code = f"""
        import os, pathlib
        from tests.cubes.conftest import make_small
        from tests.cubes.test_store import while_writing
        from maestro_lab.cubes.store import save_cube
        path = pathlib.Path({str(path)!r})
        save_cube(while_writing(make_small(), path, lambda: os._exit(9)), path)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True
    )
    assert done.returncode == 9, done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["small.zarr.unfinished"]
    with pytest.raises(CubeError, match="does not exist"):
        open_store(path)
    assert open_store(save_cube(small, path)).sizes["sample"] == 3
    assert [p.name for p in tmp_path.iterdir()] == ["small.zarr"]


def test_what_is_there_is_never_overwritten(small, tmp_path):
    path = save_cube(small, tmp_path / "small.zarr")
    before = sorted((p, p.stat().st_mtime_ns) for p in path.rglob("*"))
    with pytest.raises(CubeError, match=r"exists already\n.*free\n.*another name"):
        save_cube(small, path)
    assert sorted((p, p.stat().st_mtime_ns) for p in path.rglob("*")) == before


def test_a_broken_cube_is_not_saved(small, tmp_path):
    broken = edited(small, "s2", lambda ds: ds.assign_attrs(units="dB"))
    with pytest.raises(CubeError, match="units do not fit"):
        save_cube(broken, tmp_path / "broken.zarr")
    with pytest.raises(CubeError, match=r"chunk\n.*1 sample or more\n.*0"):
        save_cube(small, tmp_path / "broken.zarr", chunk=0)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_no_folder_is_told(small, tmp_path):
    (tmp_path / "file").write_text("here")
    with pytest.raises(CubeError, match=r"small.zarr cannot be written\n.*expected: a folder"):
        save_cube(small, tmp_path / "file" / "small.zarr")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_told(small, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(CubeError, match=r"cannot be written\n.*\n.*Permission denied"):
        save_cube(small, tmp_path / "small.zarr")


def test_what_is_no_cube_is_told(small, tmp_path):
    (tmp_path / "notes.zarr").write_text("a file")
    (tmp_path / "empty.zarr").mkdir()
    zarr.create_array(store=str(tmp_path / "array.zarr"), shape=(3,), dtype="i4")
    zarr.open_group(str(tmp_path / "group.zarr"), mode="w")
    damaged = save_cube(small, tmp_path / "damaged.zarr")
    (damaged / "zarr.json").write_text("{")
    for name, message in (
        ("nowhere", r"does not exist\n.*written by save_cube"),
        ("notes", r"is not a cube\n.*a zarr v3 group"),
        ("empty", r"is not a cube\n.*a zarr v3 group"),
        ("array", r"cannot be read as a cube\n.*array"),
        ("group", r"is not a cube: .*'title' is missing"),
        ("damaged", r"cannot be read as a cube\n.*line 1"),
    ):
        with pytest.raises(CubeError, match=rf"{name}\.zarr {message}"):
            open_store(tmp_path / f"{name}.zarr")


def test_a_changed_store_is_checked_on_opening(small, tmp_path):
    path = save_cube(small, tmp_path / "small.zarr")
    group = zarr.open_group(str(path / "s2"))
    group.attrs["units"] = "furlongs"
    with pytest.raises(CubeError, match=r"small.zarr is not a cube: s2: units\n.*DN.*\n.*furl"):
        open_store(path)


def test_zeros_and_missing_numbers_are_kept_apart(small, tmp_path):
    dtype_and_fill = edited(
        small,
        "s2",
        lambda ds: ds.assign(values=(ds["values"].astype("f4").where(ds["valid"])).transpose(
            "sample", "time", "band", "y", "x"
        )),
    )  # fmt: skip
    again = open_store(save_cube(dtype_and_fill, tmp_path / "nan.zarr"))
    there = again["s2"]["values"].values
    np.testing.assert_array_equal(there, dtype_and_fill["s2"]["values"].values)
    assert np.isnan(there).any() and there.dtype == np.float32
