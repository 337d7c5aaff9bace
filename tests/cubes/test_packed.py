"""A cube comes back from a packed store as it went."""

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import maestro_lab as ml
from maestro_lab.cubes.contract import modality_names, validate
from maestro_lab.cubes.packed import arrays, plan
from maestro_lab.cubes.packed.arrays import PackedArray, PackedSeries
from maestro_lab.cubes.packed.manifest import check_packed
from maestro_lab.cubes.packed.writing import pack_cube
from maestro_lab.cubes.reading import attached, read_of
from maestro_lab.cubes.sources.treesatai import open_treesatai
from maestro_lab.cubes.store import open_store, save_cube
from maestro_lab.errors import CubeError
from tests.conftest import REPOSITORY
from tests.cubes.conftest import edited, make_small
from tests.cubes.packing import KINDS, from_files, make_cube, many
from tests.cubes.test_dates import COUNTS, oracle, taken  # noqa: F401 (oracle is a fixture)

SMALL = settings(derandomize=True, database=None, deadline=None, max_examples=80)


def dated(ds):
    return ~np.isnat(ds["time"].values)


def same_cube(found, expected):
    """Compare two cubes, apart from columns of dates that no sample has, and what lies there."""
    assert list(found.children) == list(expected.children)
    assert found.attrs == expected.attrs
    for node in ("/", "targets") if "targets" in expected.children else ("/",):
        a, b = (c[node].to_dataset(inherit=False).load() for c in (found, expected))
        xr.testing.assert_identical(a, b)
        assert list(a.data_vars) == list(b.data_vars), "targets in their order"
        assert {n: v.dtype for n, v in a.variables.items()} == {
            n: v.dtype for n, v in b.variables.items()
        }
    for name in modality_names(expected):
        same_modality(name, found[name].to_dataset(), expected[name].to_dataset())


def same_modality(name, a, b):
    attrs = {k: v for k, v in a.attrs.items() if k != "statistics"}
    assert attrs == {k: v for k, v in b.attrs.items() if k != "statistics"}, name
    assert set(a.coords) == set(b.coords), name
    for coord in set(b.coords) - {"time"}:
        xr.testing.assert_identical(a[coord].variable, b[coord].variable)
    both = dated(a), dated(b)
    longest = max(1, max(d.sum(1).max() for d in both))
    np.testing.assert_array_equal(a["time"].values[:, :longest], b["time"].values[:, :longest])
    assert not any(d[:, longest:].any() for d in both), name
    assert (a["values"].dtype, a["valid"].dtype) == (b["values"].dtype, bool), name
    assert not a["valid"].values[~both[0]].any(), name
    for part in ("values", "valid"):
        one, other = (ds[part].values[d] for ds, d in zip((a, b), both, strict=True))
        np.testing.assert_array_equal(one, other, err_msg=f"{name} {part}")


def same_numbers(path, cube):
    """Compare a store as it lies on disk with a cube, by way of xarray and of zarr."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = xr.open_datatree(path, engine="zarr", consolidated=False)
        group = zarr.open_group(str(path), mode="r")
    for name in modality_names(cube):
        ds, there = cube[name].to_dataset(), dated(cube[name])
        offset = tree[name]["offset"].values
        np.testing.assert_array_equal(np.diff(offset), there.sum(1))
        assert offset[0] == 0
        for values in (tree[name]["values"].values, group[f"{name}/values"][:]):
            np.testing.assert_array_equal(values, ds["values"].values[there], err_msg=name)
        valid = ds["valid"].values[there]
        flat = valid.reshape(len(valid), valid.shape[1] * valid.shape[2])
        bits = np.unpackbits(tree[name]["valid"].values, axis=1, count=flat.shape[1])
        np.testing.assert_array_equal(bits, flat)
        np.testing.assert_allclose(tree[name]["share"].values, valid.mean((1, 2)), rtol=1e-6)
        np.testing.assert_array_equal(tree[name]["time"].values, ds["time"].values[there])
    for name, target in cube["targets"].data_vars.items():
        np.testing.assert_array_equal(tree["targets"][name].values, target.values)


@pytest.mark.parametrize(
    ("kind", "samples"), [("numpy", 3), ("numpy", 256), ("dask", 3), ("files", 1), ("files", 4)]
)
def test_a_cube_comes_back_as_it_was(kind, samples, tmp_path):
    cube = make_cube()
    given = {"numpy": lambda c: c, "dask": lambda c: c.chunk({"sample": 2, "y": 2}),
             "files": lambda c: from_files(c, tmp_path / "native files")}[kind](cube)  # fmt: skip
    path = pack_cube(given, tmp_path / "a folder" / "gepäckt 森.zarr", samples=samples)
    assert path == tmp_path / "a folder" / "gepäckt 森.zarr"
    again = ml.open_cube(path)
    same_cube(again, cube)
    validate(again, values=None)
    same_numbers(path, cube)
    assert check_packed(path) == []
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    if kind == "files":
        assert isinstance(read_of(again["s2"]), PackedSeries)


@pytest.mark.parametrize("names", [("never", "dem"), ("s1", "level"), ("photo", "dem")])
@pytest.mark.parametrize("n", [1, 2])
def test_the_smallest_cubes_come_back(names, n, tmp_path):
    cube = make_cube(names, n=n)
    path = pack_cube(cube, tmp_path / "one.zarr")
    same_cube(open_store(path), cube)
    same_numbers(path, cube)


def test_many_samples_come_back(tmp_path):
    cube = many(1500)
    path = pack_cube(cube, tmp_path / "many.zarr", samples=100)
    again = open_store(path)
    same_cube(again, cube)
    same_numbers(path, cube)
    assert len(list((path / "one" / "values" / "c").iterdir())) == 15
    some = again.isel(sample=[3, 1400, 7])
    assert read_of(some["one"]) is None, "a selection is no longer what is on disk"
    same_cube(some, cube.isel(sample=[3, 1400, 7]))


def test_large_images_lie_in_more_files(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "_LARGEST", 700)
    cube = make_cube()
    path = pack_cube(cube, tmp_path / "small_files.zarr")
    assert len(list((path / "s2" / "values" / "c").iterdir())) == 29, "two images a file"
    assert len(list((path / "dem" / "values" / "c").iterdir())) == 10
    same_cube(open_store(path), cube)


def test_coordinates_and_names_of_sensors_come_back(tmp_path):
    cube = make_small()
    again = open_store(pack_cube(cube, tmp_path / "small.zarr"))
    same_cube(again, cube)
    assert again["s2"]["values"].rio.crs.to_epsg() == 32633
    assert all(type(name) is str for name in again["sample"].values.tolist())


def test_a_pack_can_be_packed_saved_and_pickled_again(tmp_path):
    cube = make_cube()
    first = open_store(pack_cube(cube, tmp_path / "first.zarr", samples=2))
    same_cube(open_store(pack_cube(first, tmp_path / "second.zarr", samples=3)), cube)
    same_cube(open_store(save_cube(first, tmp_path / "saved.zarr")), cube)
    small = pickle.dumps(first)
    same_cube(pickle.loads(small), cube)
    assert len(small) < 50_000


def test_a_pack_from_another_folder_is_read_in_this_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = pack_cube(make_cube(), "here.zarr")
    cube = open_store(path)
    monkeypatch.chdir("/")
    same_cube(cube, make_cube())


def test_targets_are_read_where_they_lie(tmp_path):
    cube = open_store(pack_cube(make_cube(), tmp_path / "cube.zarr", samples=2))
    for name, target in cube["targets"].data_vars.items():
        assert isinstance(attached(target.variable), PackedArray), name
        assert target.chunks is not None
    changed = cube["targets"]["cover"] + 1
    assert attached(changed.variable) is None


def test_targets_that_are_no_numbers_are_refused(tmp_path):
    for values in (np.array(["wood"] * 3, object), np.array(["2020-01-01"] * 3, "M8[ns]")):
        cube = edited(
            make_small(), "targets",
            lambda ds, v=values: ds.assign(kind=("sample", v, {"task": "classification"})),
        )  # fmt: skip
        with pytest.raises(CubeError, match=r"targets/kind cannot be packed\n.*numbers\n"):
            pack_cube(cube, tmp_path / "kind.zarr")
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "options", "words"),
    [
        ("cube", {}, r"cube\n.*ends in \.zarr"),
        ("cube.nc", {}, r"cube\.nc\n.*ends in \.zarr"),
        ("there.zarr", {}, r"there\.zarr exists already\n.*free"),
        ("cube.zarr", {"samples": 0}, r"samples\n.*1 or more\n.*0"),
        ("cube.zarr", {"samples": 2.5}, r"samples\n.*1 or more\n.*2\.5"),
        ("cube.zarr", {"workers": -1}, r"workers\n.*0 or more\n.*-1"),
        ("cube.zarr", {"workers": True}, r"workers\n.*0 or more\n.*True"),
    ],
)
def test_impossible_packs_are_refused(path, options, words, tmp_path):
    (tmp_path / "there.zarr").mkdir()
    with pytest.raises(CubeError, match=words):
        pack_cube(make_cube(("dem",)), tmp_path / path, **options)
    assert [p.name for p in tmp_path.iterdir()] == ["there.zarr"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return pack_cube(make_cube(), tmp_path_factory.mktemp("store") / "store.zarr", samples=3)


@pytest.fixture(scope="module")
def series(store):
    """What reads each modality of the store, and values and valid of its images."""
    cube = open_store(store)
    there = {name: dated(cube[name]) for name in modality_names(cube)}
    return {
        name: (read_of(cube[name]), d, *(cube[name][v].values[d] for v in ("values", "valid")))
        for name, d in there.items()
    }


@SMALL
@given(st.data())
def test_rows_are_taken_as_numpy_takes_them(series, data):
    read, there, values, valid = series[
        data.draw(st.sampled_from([n for n in KINDS if n != "never"]))
    ]
    side = values.shape[-1]
    index = np.array(data.draw(st.lists(st.integers(0, len(values) - 1), max_size=20)), int)
    edges = [sorted(data.draw(st.tuples(*[st.integers(0, side)] * 2))) for _ in range(2)]
    where = data.draw(st.sampled_from([None, tuple(slice(*e) for e in edges)]))
    inner = (...,) if where is None else (..., *where)
    for found in (read.take(index, where), (read.values.take(index, where), valid[index][inner])):
        np.testing.assert_array_equal(found[0], values[index][inner])
        np.testing.assert_array_equal(found[1], valid[index][inner])
        assert (found[0].dtype, found[1].dtype) == (values.dtype, bool)
    sample = data.draw(st.integers(0, len(there) - 1))
    owner = np.repeat(np.arange(len(there)), there.sum(1))
    where = where or (slice(0, side), slice(0, side))
    for one, expected in zip(read(sample, where), (values, valid), strict=True):
        np.testing.assert_array_equal(one, expected[owner == sample][..., *where])


def test_more_files_than_a_process_may_open_are_read(tmp_path):
    path = pack_cube(many(80), tmp_path / "many.zarr", samples=1)
    code = (
        "import sys; from maestro_lab.cubes.store import open_store\n"
        "cube = open_store(sys.argv[1])\n"
        "print(sum(int(cube[n]['values'].sum()) for n in ('one', 'other')))"
    )
    done = subprocess.run(
        ["bash", "-c", 'ulimit -n 130; exec "$@"', "-", sys.executable, "-c", code, path],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cube = many(80)
    expected = sum(cube[n]["values"].values[dated(cube[n])].sum() for n in ("one", "other"))
    assert int(done.stdout) == expected
    assert arrays._mapped.cache_info().maxsize > 64


def test_a_treesatai_folder_is_packed_as_it_is_read(request, tmp_path):
    from tests.cubes.sources import test_treesatai as native

    folder = native.folder.__wrapped__(tmp_path)
    cube = open_treesatai(folder)
    again = open_store(pack_cube(cube, tmp_path / "treesat.zarr", samples=1))
    same_cube(again, cube)
    same_numbers(tmp_path / "treesat.zarr", cube)


def test_the_real_patch_and_its_dates_come_out_of_a_pack(oracle, shared, tmp_path):  # noqa: F811
    tensors, record, cube = oracle
    native = open_treesatai(shared / "data" / "treesatai_ts", splits=["val"], duplicates="keep")
    again = open_store(pack_cube(native, tmp_path / "patch.zarr"))
    same_cube(again, cube)
    rng = np.random.default_rng(42)
    for name, (values, dates) in taken(again, rng).items():
        official = tensors[name]
        scaled = (
            values / 5000 if name == "s2" else np.log(np.maximum(values.astype("f8"), 1e-10)) / 5
        )
        np.testing.assert_allclose(scaled, official, rtol=1e-5, atol=1e-6, err_msg=name)
        np.testing.assert_array_equal(dates, tensors[f"{name}_dates"], err_msg=name)
    for call in record["next_calls_selected_doy"]:
        found = {name: dates[:, 1].tolist() for name, (_, dates) in taken(again, rng).items()}
        assert found == {name: call[name] for name in COUNTS}
