"""Band statistics against numpy, and against reading the data alone; ratios of one run.

    python benchmarks/band_statistics.py [--gigabytes 1]
    python benchmarks/band_statistics.py --whole [--gigabytes 20]

``--whole`` walks through a cube that is made while it is read, and prints the peak memory. Each
number is the best of three. Ours use two threads; numpy's own loops know one.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask.array as da
import numpy as np
from peak import own_peak

from maestro_lab.bands import band_statistics, kernels
from maestro_lab.catalogue import open_cube
from maestro_lab.cubes.contract import assemble, make_modality
from maestro_lab.cubes.store import save_cube

BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
SIDE = 1024
IMAGE = len(BANDS) * SIDE * SIDE * 2 / 1e9  # gigabytes
THREADS = 2


def scenes(count, seed=0):
    """Images (image, band, y, x) in uint16 that look like reflectances: smooth and skewed."""
    rng = np.random.default_rng(seed)
    ground = rng.gamma(4, 250, (count, 1, SIDE, SIDE))
    noise = rng.normal(0, 150, (count, len(BANDS), SIDE, SIDE))
    level = np.linspace(0.5, 2.5, len(BANDS))[:, None, None]
    return np.clip(level * ground + noise, 1, 12_000).astype(np.uint16)


def cube(values):
    """Wrap images in a cube, one date a sample."""
    n = len(values)
    time_ = np.full((n, 1), np.datetime64("2021-06-01", "ns"))
    s2 = make_modality(
        values[:, None], time_, bands=BANDS, units="DN", gsd=10, sensor_name="sentinel-2"
    )
    return assemble(
        {"s2": s2}, sample=[f"scene {k}" for k in range(n)], split=["train"] * n,
        block=np.arange(n), title="made up", licence="CC0-1.0", source="benchmark",
    )  # fmt: skip


def best(work, times=3):
    """Return the seconds of the fastest of some calls."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def on_threads(work, values):
    """Return a call that shares images out to threads."""
    parts = np.array_split(np.arange(len(values)), THREADS)

    def run():
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda part: work(values[part[0] : part[-1] + 1]), parts))

    return run


def levels(values):
    """Count every value of every band."""
    n, bands = values.shape[:2]
    keep = np.ones((n, SIDE * SIDE), bool)
    kernels.count_levels(values.reshape(n, bands, -1), keep, np.zeros((bands, 65_536), np.int64))


def moments(values):
    """Sum products of bands, over all, within images and within patches."""
    n, b = values.shape[:2]
    kernels.sum_moments(
        values, np.ones((n, SIDE, SIDE), bool), np.full(b, 1500.0), 2, np.zeros((1, n), np.int64),
        np.zeros(1, np.int64), np.zeros((1, b)), np.zeros((1, b, b)), np.zeros((1, b, b)),
        np.zeros(n, np.int64), np.zeros((n, b)),
    )  # fmt: skip


def numpy_histograms(values):
    """Call numpy.histogram for each band."""
    for band in range(values.shape[1]):
        np.histogram(values[:, band], 256, (0, 12_000))


def numpy_correlation(values):
    """Call numpy.corrcoef on all pixels."""
    np.corrcoef(np.moveaxis(values, 1, 0).reshape(values.shape[1], -1))


def compare(gigabytes):
    """Time each piece, and the whole, on data in memory and in a store."""
    values = scenes(max(THREADS, round(gigabytes / IMAGE)))
    size = values.nbytes / 1e9
    held = cube(values)
    for warm in (levels, moments):  # compile
        warm(values[:1])
    band_statistics(cube(values[:2]), "s2", bundles=0)
    band_statistics(cube(values[:2]), "s2")
    seconds = {
        "read from memory": best(on_threads(lambda v: v.view(np.uint64).max(), values)),
        "numpy.histogram, band by band": best(lambda: numpy_histograms(values), 1),
        "exact histograms": best(on_threads(levels, values)),
        "numpy.corrcoef": best(lambda: numpy_correlation(values), 1),
        "co-moments: all, dates, patches": best(on_threads(moments, values)),
        "band_statistics, nothing to resample": best(
            lambda: band_statistics(held, "s2", bundles=0)
        ),
        "band_statistics": best(lambda: band_statistics(held, "s2")),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = save_cube(held, Path(folder) / "scenes.zarr", chunk=1)
        stored = open_cube(path)
        seconds["read from a zarr store"] = best(
            lambda: stored["s2"]["values"].data.max().compute()
        )
        seconds["band_statistics from the store"] = best(
            lambda: band_statistics(stored, "s2", bundles=0)
        )
    print(f"{size:.2f} GB, {values.shape[0]} images of {SIDE} x {SIDE} in uint16, 10 bands")
    for name, took in seconds.items():
        print(f"  {name:<38} {took:7.2f} s  {size / took:6.2f} GB/s")
    both = seconds["numpy.histogram, band by band"] + seconds["numpy.corrcoef"]
    ratios = {
        "numpy.histogram / exact histograms":
            seconds["numpy.histogram, band by band"] / seconds["exact histograms"],
        "numpy.corrcoef / co-moments":
            seconds["numpy.corrcoef"] / seconds["co-moments: all, dates, patches"],
        "numpy, both / band_statistics": both / seconds["band_statistics"],
        "exact histograms / read from memory":
            seconds["exact histograms"] / seconds["read from memory"],
        "band_statistics / read, zarr store":
            seconds["band_statistics from the store"] / seconds["read from a zarr store"],
    }  # fmt: skip
    print(json.dumps({name: round(ratio, 2) for name, ratio in ratios.items()}))


def whole(gigabytes):
    """Walk through a cube larger than memory should be, made while it is read."""
    pattern = np.arange(len(BANDS) * SIDE * SIDE, dtype=np.uint32).reshape(-1, SIDE, SIDE)
    pattern = (500 + pattern % 2999).astype(np.uint16)

    def made(block_info=None):
        number = block_info[None]["chunk-location"][0]
        return (pattern + np.uint16(number % 7))[None, None]

    n = round(gigabytes / IMAGE)
    values = da.map_blocks(
        made, chunks=((1,) * n, (1,), (len(BANDS),), (SIDE,), (SIDE,)), dtype=np.uint16,
        meta=np.empty((0,) * 5, np.uint16),
    )  # fmt: skip
    start = time.perf_counter()
    found = band_statistics(cube(values[:, 0]), "s2", bundles=0)
    took = time.perf_counter() - start
    size = values.nbytes / 1e9
    peak = own_peak() / 1e9
    assert found.n == n * SIDE * SIDE
    print(f"{size:.1f} GB made and measured in {took:.0f} s; peak memory {peak:.2f} GB")
    print(json.dumps({"gigabytes": round(size, 2), "peak memory": round(peak, 2)}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float)
    parser.add_argument("--whole", action="store_true")
    given = parser.parse_args()
    if given.whole:
        whole(given.gigabytes or 20)
    else:
        compare(given.gigabytes or 1)
