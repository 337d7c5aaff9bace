"""Windows of all modalities and targets cover the same ground, and lie evenly in a sample."""

import pickle
import tracemalloc

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from maestro_lab.cubes.contract import assemble, make_modality, modality_names, validate
from maestro_lab.cubes.packed.writing import pack_cube
from maestro_lab.cubes.reading import read_of
from maestro_lab.cubes.store import open_store
from maestro_lab.cubes.windows import Lattice, cut_windows, lattice
from maestro_lab.errors import CubeError
from tests.cubes.conftest import edited
from tests.cubes.packing import from_files
from tests.cubes.test_packed import same_cube
from tests.cubes.test_reading import noted

SMALL = settings(derandomize=True, database=None, deadline=None, max_examples=150)
SIDES = {"s2": 28, "photo": 56, "dem": 14}
N = 3


def ground(side, n=N, total=56):
    """Pixels that tell their sample, and the row and column of their corner on the ground."""
    row, column = np.meshgrid(*[np.arange(side) * (total // side)] * 2, indexing="ij")
    return np.arange(n)[:, None, None] * 10_000 + row * 100 + column


def ground_cube():
    """Samples of 280 m; every pixel of every modality and map tells where it lies."""
    children = {}
    for name, side in SIDES.items():
        counts = {"s2": [3, 1, 2], "photo": [1, 0, 1], "dem": [1, 1, 1]}[name]
        first = np.datetime64("2020-01-01", "ns") + np.arange(3) * np.timedelta64(9, "D")
        time = np.where(np.arange(3) < np.array(counts)[:, None], first, np.datetime64("NaT"))
        values = np.broadcast_to(ground(side)[:, None, None], (N, 3, 2, side, side))
        values = values + np.arange(2)[:, None, None] * 50_000 + np.arange(3)[:, None, None, None]
        valid = ~np.isnat(time)[..., None, None] & (ground(side)[:, None] % 7 > 0)
        children[name] = make_modality(
            values.astype("i4"), time, valid=valid, bands=["up", "down"], units="m",
            gsd=280 / side, nodata=-1, crs="EPSG:32633",
        )  # fmt: skip
    shares = np.stack([ground(28), -ground(28)], 1)
    maps = {
        "cover": (("sample", "y", "x"), ground(28), {"task": "segmentation", "classes": ["a"]}),
        "shares": (("sample", "class", "y", "x"), shares, {"task": "fractions"}),
        "age": ("sample", np.arange(N), {"task": "regression"}),
    }  # fmt: skip
    return assemble(
        children, sample=["a", "b/c", "é"], split=["train", "val", "test"], block=[4, 5, 6],
        title="t", licence="l", source="s", targets=xr.Dataset(maps),
        extra={"easting": [100.0, 2000, 3000], "northing": [9000.0, 8000, 7000], "place": [0, 1, 1],
               "ref_date": np.array(["2020-07-01"] * N, "M8[ns]")},
        attrs={"window": 280.0, "catalogue_entry": "x"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def cube():
    return ground_cube()


def sizes(data):
    """Draw a lattice: cells, window, and how many pixels of each modality fit in a cell."""
    cells = data.draw(st.integers(1, 40))
    window = data.draw(st.integers(1, cells))
    scale = data.draw(st.dictionaries(st.text("abc", min_size=1), st.integers(1, 6), min_size=1))
    return Lattice({n: s * cells for n, s in scale.items()}, cells, window), scale


@SMALL
@given(st.data())
def test_regular_windows_are_as_many_as_fit_and_evenly_spread(data):
    grid, _ = sizes(data)
    n = grid.repeats
    assert n * grid.window <= grid.cells < (n + 1) * grid.window
    assert grid.corners.shape == (n * n, 2)
    for r, corner in enumerate(grid.corners.tolist()):
        assert corner == [r // n * grid.cells // n, r % n * grid.cells // n]
    gaps = np.diff([*grid.corners[:n, 1], grid.cells])
    assert gaps.min() >= grid.window, "no overlap, and inside the sample"
    assert gaps.max() - gaps.min() <= 1


@SMALL
@given(st.data(), st.integers(0, 2**32))
def test_drawn_windows_lie_inside_and_cover_one_ground(data, seed):
    grid, scale = sizes(data)
    corner = grid.draw(np.random.default_rng(seed))
    for name, pixels in grid.pixels.items():
        for edge, start in zip(grid.where(name, corner), corner, strict=True):
            assert edge.start >= 0 and edge.stop <= pixels
            assert edge.start / scale[name] == start
            assert (edge.stop - edge.start) / scale[name] == grid.window


def test_every_corner_is_drawn():
    grid, rng = Lattice({"a": 7}, 7, 4), np.random.default_rng(0)
    drawn = {grid.draw(rng) for _ in range(600)}
    assert drawn == {(r, c) for r in range(4) for c in range(4)}


def test_the_finest_grid_that_all_pixels_meet_on_is_found(cube):
    grid = lattice(cube, {"s2": 8})
    assert (grid.cells, grid.window, grid.repeats) == (14, 4, 3)
    assert grid.pixels == {**SIDES, "targets/cover": 28, "targets/shares": 28}
    assert lattice(cube, {"s2": 8, "photo": 16, "dem": 4}) == grid


@pytest.mark.parametrize(
    ("window", "words"),
    [
        ({"s2": 7}, r"s2 7 of 28 px cannot.*\n.*14 cells\n.*s2 3\.5 cells\n.*of 2 px of s2"),
        ({"s2": 8, "dem": 8}, r"s2 8 of 28 px, dem 8 of 14 px cannot.*\n.*same share"),
        ({"s2": 30}, r"s2 30 of 28 px cannot"),
        ({"s2": 0}, r"s2 0 of 28 px cannot"),
        ({"s2": -2}, r"s2 -2 of 28 px cannot"),
        ({"s9": 4}, r"windows\n.*s2, photo, dem\n.*s9"),
        ({}, r"windows\n.*s2, photo, dem\n.*none"),
        (85.0, r"photo|s2: a window of 85 m\n.*a multiple of 10 m\n.*8\.5 pixels"),
        (30.0, r"dem: a window of 30 m\n.*a multiple of 20 m\n.*1\.5 pixels"),
        (300.0, r"px cannot be cut"),
        (0, r"px cannot be cut"),
    ],
)
def test_windows_that_cannot_be_cut_are_told(cube, window, words):
    with pytest.raises(CubeError, match=words):
        cut_windows(cube, window)


def test_oblong_samples_are_told(cube):
    for node, name in (("s2", "s2"), ("targets", "targets/(cover|shares)")):
        oblong = edited(cube, node, lambda ds: ds.isel(y=slice(0, 10)))
        with pytest.raises(CubeError, match=rf"{name}: samples are not square\n.*\n.*10 x"):
            cut_windows(oblong, {"dem": 2})


def check_cut(cut, cube, metres):
    """Compare windows with what slicing gives, in loops."""
    n, cells = int(280 // metres), int(metres // 20)
    assert cut.sizes["sample"] == N * n * n
    assert cut.attrs == cube.attrs | {"window": float(metres)}
    assert list(cut["targets"].data_vars) == ["cover", "shares"], (
        "what is true of the whole is gone"
    )
    k = 0
    for owner in range(N):
        for r, c in np.ndindex(n, n):
            top, left = (i * 14 // n for i in (r, c))
            one = cut.isel(sample=k)
            assert str(one["sample"].values) == f"{cube['sample'].values[owner]}/r{r}c{c}"
            assert one["split"] == cube["split"][owner] and one["block"] == cube["block"][owner]
            assert one["place"] == cube["place"][owner] * n * n + r * n + c
            assert one["ref_date"] == cube["ref_date"][owner]
            assert one["easting"] == cube["easting"][owner] + left * 20
            assert one["northing"] == cube["northing"][owner] - top * 20
            nodes = [(name, v) for name in SIDES for v in ("values", "valid")]
            for name, v in [*nodes, ("targets", "cover"), ("targets", "shares")]:
                scale = cube[name][v].sizes["x"] // 14
                where = (slice(i * scale, (i + cells) * scale) for i in (top, left))
                expected = cube[name][v].values[owner][..., *where]
                dates = slice(None)
                if name in SIDES:
                    dates = slice(int((~np.isnat(cube[name]["time"].values[owner])).sum()))
                found = one[name][v].values[dates]
                np.testing.assert_array_equal(found, expected[dates], err_msg=name)
            k += 1
    for name in SIDES:
        assert {a: v for a, v in cut[name].attrs.items() if a != "statistics"} == cube[name].attrs
        time = cut[name]["time"].values
        owner = np.repeat(np.arange(N), n * n)
        expected = cube[name]["time"].values[owner]
        np.testing.assert_array_equal(time, expected[:, : time.shape[1]])
        assert cut[name]["values"].rio.crs.to_epsg() == 32633
        assert cut[name]["values"].dtype == cube[name]["values"].dtype


@pytest.mark.parametrize("kind", ["numpy", "dask", "files", "packed"])
@pytest.mark.parametrize("metres", [140, 80])
def test_windows_are_cut_where_they_lie(cube, kind, metres, tmp_path):
    given = {
        "numpy": lambda: cube,
        "dask": lambda: cube.chunk({"sample": 2, "y": 5}),
        "files": lambda: with_crs(from_files(cube, tmp_path / "files"), cube),
        "packed": lambda: open_store(pack_cube(cube, tmp_path / "cube.zarr", samples=2)),
    }[kind]()
    for window in (metres, {"s2": metres // 10}):
        check_cut(cut_windows(given, window).load(), cube, metres)


def with_crs(files, cube):
    for name in SIDES:
        extra = cube[name].to_dataset()["spatial_ref"]
        ds = files[name].to_dataset(inherit=False)
        files[name].dataset = ds.assign_coords(spatial_ref=extra).assign_attrs(cube[name].attrs)
    return files


def test_cutting_reads_nothing_and_then_only_the_windows(cube):
    reads, children = {}, {}
    for name in SIDES:
        reads[name], ds = noted(cube[name].to_dataset())
        children[name] = xr.DataTree(ds)
    lazy = xr.DataTree(cube.to_dataset(inherit=False), children=children)
    cut = cut_windows(lazy, 140)
    assert not any(read.asked for read in reads.values())
    cut["photo"]["values"].isel(sample=6).compute()
    assert reads["photo"].asked == [(1, (slice(28, 56), slice(0, 28)))]
    again = cut_windows(cut, 60)
    again["photo"]["values"].isel(sample=6 * 4 + 3).compute()
    assert reads["photo"].asked[1:] == [(1, (slice(28 + 12, 40 + 12), slice(12, 24)))]
    assert reads["s2"].asked == reads["dem"].asked == []


def test_windows_of_windows(cube):
    twice = cut_windows(cut_windows(cube, 140), 60)
    assert twice.sizes["sample"] == N * 4 * 4
    assert len(set(twice["place"].values.tolist())) == 2 * 16
    assert twice.attrs["window"] == 60
    for name in SIDES:
        scale = SIDES[name] // 14
        for k in (0, 21, 47):
            owner, (big, small) = k // 16, divmod(k % 16, 4)
            top, left = (
                a * 7 + b * 3 for a, b in zip(divmod(big, 2), divmod(small, 2), strict=True)
            )
            where = (slice(i * scale, (i + 3) * scale) for i in (top, left))
            expected = cube[name]["values"].values[owner][..., *where]
            np.testing.assert_array_equal(twice[name]["values"].values[k], expected)


def test_one_window_lies_in_the_corner_and_the_whole_stays_as_it_is(cube):
    assert cut_windows(cube, 280) is cube
    one = cut_windows(cube, 160)
    assert one["sample"].values.tolist() == ["a/r0c0", "b/c/r0c0", "é/r0c0"]
    expected = cube["dem"]["values"].values[..., :8, :8]
    np.testing.assert_array_equal(one["dem"]["values"].values, expected)


@pytest.mark.parametrize("kind", ["dask", "packed"])
def test_cut_cubes_can_be_packed_and_sent_to_other_processes(cube, kind, tmp_path):
    given = cube.chunk(sample=1)
    if kind == "packed":
        given = open_store(pack_cube(cube, tmp_path / "cube.zarr"))
    cut = cut_windows(given, 140)
    assert (read_of(cut["s2"]) is None) == (kind == "dask")
    expected = cut_windows(cube, 140)
    same_cube(pickle.loads(pickle.dumps(cut)), expected)
    same_cube(open_store(pack_cube(cut, tmp_path / "cut.zarr", samples=5)), expected)
    validate(cut, values=None)


def test_cutting_in_memory_copies_only_the_windows():
    pixels = np.zeros((4, 3, 2, 240, 240), np.uint8)
    time = np.broadcast_to(np.array(["2020-01-01", "2020-02-01", "2020-03-01"], "M8[ns]"), (4, 3))
    ds = make_modality(pixels, time, bands=["a", "b"], units="m", gsd=1)
    cube = assemble(
        {"m": ds}, sample=list("abcd"), split=["train"] * 4, block=range(4), title="t",
        licence="l", source="s",
    )  # fmt: skip
    tracemalloc.start()
    cut = cut_windows(cube, 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert cut.sizes["sample"] == 4 * 144
    assert peak < 3 * (pixels.nbytes + ds["valid"].nbytes)


def test_a_cube_without_targets_is_cut(cube):
    children = {n: xr.DataTree(cube[n].to_dataset(inherit=False)) for n in modality_names(cube)}
    bare = xr.DataTree(cube.to_dataset(inherit=False)[["split", "block"]], children=children)
    cut = cut_windows(bare, 140)
    assert list(cut.data_vars) == ["split", "block"] and "targets" not in cut.children
    assert not cut_windows(edited(cube, "targets", lambda ds: ds[["age"]]), 140).children.get(
        "targets"
    )
