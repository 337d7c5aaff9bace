"""It does not matter in how many pieces a cube is measured, nor where."""

import os

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from maestro_lab.bands import balance, band_statistics, blocks
from maestro_lab.bands.groups import BandGroups
from tests.bands.made import image_cube, overwritten
from tests.batches.cubes import changed

CHUNKS = [
    {"sample": 3},
    {"time": 2},
    {"sample": 3, "time": 5, "y": 4, "x": 5},
    {"y": 1, "x": 3},
    {"sample": 2, "time": 4, "y": 2, "x": 5},
]
FEW = 100  # values in a block: less than an image of s2


def same(found, expected):
    """Counts must be the same, sums of fractions may differ by rounding."""
    assert found.bins == expected.bins
    assert found.n == expected.n
    np.testing.assert_array_equal(found.counts, expected.counts)
    np.testing.assert_array_equal(found.sums.joint, expected.sums.joint)
    np.testing.assert_array_equal(found.missing, expected.missing)
    for within in ("all", "date", "patch"):
        size = np.abs(expected.comoment(within)).max()
        np.testing.assert_allclose(
            found.comoment(within), expected.comoment(within), rtol=1e-10, atol=1e-10 * size
        )
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-12)


def identical(found, expected):
    assert found.bins == expected.bins
    for name, array in expected.sums.arrays().items():
        np.testing.assert_array_equal(getattr(found.sums, name), array)
    for over, sums in expected.bundles.items():
        for name, array in sums.arrays().items():
            np.testing.assert_array_equal(getattr(found.bundles[over], name), array)


@pytest.mark.parametrize("patch", [1, 2, 4])
@pytest.mark.parametrize("chunks", [{}, *CHUNKS], ids=str)
def test_tiles_cover_each_image_once_and_cut_no_patch(monkeypatch, small, chunks, patch):
    monkeypatch.setattr(blocks, "BLOCK", FEW)
    ds = small["s2"].to_dataset()
    ds = ds.chunk(chunks) if chunks else ds
    found = blocks.tiles(ds, patch)
    assert sum(map(len, found)) >= 2
    covered = np.zeros(ds["valid"].shape, int)
    for images in found:
        assert len({(str(t.sample), str(t.time)) for t in images}) == 1
        for tile in images:
            covered[tile.sample, tile.time, tile.y, tile.x] += 1
            assert tile.y.start % patch == tile.x.start % patch == 0
    assert (covered == 1).all()


@pytest.mark.parametrize("chunks", [{}, *CHUNKS], ids=str)
@pytest.mark.parametrize(("name", "patch"), [("s2", 4), ("s1", 2)])
def test_many_blocks_give_what_one_gives(monkeypatch, small, name, chunks, patch):
    options = {"split": (), "patch": patch}
    few = small.isel(sample=slice(0, 4))
    whole = band_statistics(few, name, **options)
    monkeypatch.setattr(blocks, "BLOCK", FEW)
    pieces = band_statistics(few.chunk(chunks) if chunks else few, name, **options)
    same(pieces, whole)
    if whole.levels is not None:
        np.testing.assert_array_equal(pieces.levels[1], whole.levels[1])
    for over, sums in whole.bundles.items():
        np.testing.assert_array_equal(pieces.bundles[over].counts, sums.counts)
        np.testing.assert_array_equal(pieces.bundles[over].joint, sums.joint)


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
def test_what_targets_consist_of_does_not_depend_on_blocks(monkeypatch, small, chunks):
    groups = {"pairs": BandGroups.from_lists([["B02", "B03"], ["B04", "B08"]])}
    options = {"split": (), "clouds": "in", "patch": 2}
    few = small.isel(sample=slice(0, 4))
    whole = balance(few, "s2", groups, **options).drop(columns="groups")
    monkeypatch.setattr(blocks, "BLOCK", FEW)
    pieces = balance(few.chunk(chunks), "s2", groups, **options).drop(columns="groups")
    np.testing.assert_allclose(pieces, whole, rtol=1e-10)


def test_chunks_of_the_valid_pixels_may_differ_from_those_of_the_values(monkeypatch, small):
    monkeypatch.setattr(blocks, "BLOCK", FEW)

    def apart(ds):
        return ds.assign(values=ds["values"].chunk(sample=3, x=4), valid=ds["valid"].chunk(time=2))

    same(
        band_statistics(changed(small, "s2", apart), "s2", split=()),
        band_statistics(small, "s2", split=()),
    )


def test_chunks_of_bands_are_joined(small):
    found = band_statistics(small.chunk(band=1), "s2", split=())
    same(found, band_statistics(small, "s2", split=()))


def test_the_same_pass_again_gives_the_same_bits(monkeypatch, small):
    monkeypatch.setattr(blocks, "BLOCK", FEW)
    first, second = (band_statistics(small.chunk(sample=1), "s1", split=()) for _ in range(2))
    identical(first, second)


def test_missing_bands_are_counted_once_in_whatever_piece_they_lie(monkeypatch, small):
    spoilt = overwritten(small, np.s_[:, :, 1, 2:4, 3], np.nan, name="s1")
    whole = band_statistics(spoilt, "s1", split=())
    monkeypatch.setattr(blocks, "BLOCK", 16)
    same(band_statistics(spoilt.chunk(y=3), "s1", split=()), whole)
    assert whole.missing[1] == 2 * small["s1"]["valid"].values[:, :, 2, 3].sum()


def test_only_chunks_with_images_that_are_wanted_are_read(small):
    values = small["s2"]["values"].values
    read = set()

    def piece(block_info=None):
        sample = block_info[None]["chunk-location"][0]
        read.add(sample)
        return values[sample : sample + 1]

    lazy = da.map_blocks(
        piece, chunks=((1,) * 8, *[(n,) for n in values.shape[1:]]), dtype=values.dtype
    )
    cube = changed(small, "s2", lambda ds: ds.assign(values=(ds["values"].dims, lazy)))
    found = band_statistics(cube, "s2", split="val")
    assert found.n == small["s2"]["valid"].values[2].sum()
    assert read == {2}


def test_the_only_sample_with_data_in_a_long_cube_is_found(small):
    def lonely(ds):
        ds = ds.isel(sample=np.zeros(200, int)).copy(deep=True)
        ds["valid"].values[np.arange(200) != 101] = False
        return ds

    root = small.to_dataset(inherit=False).isel(sample=np.zeros(200, int))
    root = root.assign_coords(sample=[f"s{i}" for i in range(200)])
    ds = lonely(small["s2"].to_dataset(inherit=False))
    long = xr.DataTree(root, children={"s2": xr.DataTree(ds)})
    edges = band_statistics(long, "s2").edges
    assert edges[0] > 0 and 3000 < edges[-1] < 4100


def test_the_only_corner_with_data_in_a_large_image_is_found():
    rng = np.random.default_rng(0)
    values = rng.normal(100, 10, (1, 1, 2, 200, 200)) + np.array([0, 1000])[:, None, None]
    valid = np.zeros((1, 1, 200, 200), bool)
    valid[..., 90:110, 90:110] = True
    found = band_statistics(image_cube(values, valid=valid), "m")
    assert found.n == 400
    assert found.overlap()[0, 1] == 0


def test_large_images_are_looked_at_in_two_places():
    values = np.random.default_rng(0).normal(100, 10, (1, 1, 2, 200, 200))
    found = band_statistics(image_cube(values), "m")
    outer = np.quantile(values, [0.001, 0.999])
    np.testing.assert_allclose(found.edges[[0, -1]], outer, atol=3)


def test_processes_of_a_cluster_give_the_same_bits_as_threads(small, cluster):
    few = small.isel(sample=slice(0, 4))
    chunks = few.chunk(sample=3, x=4)

    def measured():
        return [band_statistics(c, n, split=()) for c, n in ((few, "s1"), (chunks, "s2"))]

    here = measured()
    with cluster() as workers:
        there = measured()
        processes = set(workers.run(os.getpid).values())
    assert len(processes - {os.getpid()}) == 2
    for found, expected in zip(there, here, strict=True):
        identical(found, expected)


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes; calling it makes them the place where dask runs."""
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    with distributed.LocalCluster(
        n_workers=2, processes=True, threads_per_worker=1, dashboard_address=None
    ) as workers:
        yield lambda: distributed.Client(workers)
