"""Reading samples: a packed store and our reader of native files, each against plain ways.

    python benchmarks/loader.py [--samples 2000] [--folder DIR]

Writes samples of the shape of TreeSatAI-TS in their native layout (one HDF5 file and one GeoTIFF
each), packs them, and reads, in one run and interleaved:

* native arrays: every array of a sample, one open of each file, nothing else;
* native item: as the published loader works, one sample at a time: an open for each series,
  names of products parsed, dates cut into bins, medians, one date a bin, scaled to tensors;
* our native reader: whole batches from the same files, dates closest to the median of their bin;
* packed arrays: every array of a sample from the packed store, in batches;
* packed batches: what training gets: dates drawn, normalised, turned, as tensors.

Warm means that the files are in the page cache, cold that they were dropped from it before. At
the end, training at size tiny from the packed store: the share of its time spent on batches.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import rasterio
import torch
from rasterio.transform import Affine

import maestro_lab as ml
from maestro_lab.batches import CubeDataset, loader
from maestro_lab.cubes.packed.arrays import _mapped
from maestro_lab.cubes.reading import read_of
from maestro_lab.cubes.sources.treesatai import SPECIES
from maestro_lab.models.masking import keys_for

DATES = {"s2": 73, "s1_asc": 60, "s1_des": 60}
PREFIX = {"s2": "sen-2", "s1_asc": "sen-1-asc", "s1_des": "sen-1-des"}
TAKEN = {"s2": 16, "s1_asc": 4, "s1_des": 4}
BATCH, ROUNDS = 32, 5


# -- files


def products(name, count):
    """Name acquisitions as the agencies do, from January to December."""
    days = np.datetime64("2019-01-02") + np.arange(count) * (360 // count)
    texts = [str(day).replace("-", "") for day in days]
    if name == "s2":
        return [f"S2A_MSIL2A_{d}T104431_N0211_R008_T32UMD_{d}T115449" for d in texts]
    second = 10 if name == "s1_asc" else 40
    return [
        f"S1A_IW_GRDH_1SDV_{d}T0549{second}_{d}T0550{second}_{25000 + k:06d}_02CCD2_4331"
        for k, d in enumerate(texts)
    ]


def write_native(root, samples):
    """Write samples in the native layout of TreeSatAI-TS."""
    rng = np.random.default_rng(0)
    (root / "aerial").mkdir(parents=True)
    (root / "sentinel-ts").mkdir()
    level = np.array([450, 600, 560, 950, 1900, 2300, 2500, 2600, 1800, 1100], np.float32)
    rows = []
    for k in range(samples):
        with h5py.File(root / "sentinel-ts" / f"{k}.h5", "w") as file:
            for name, count in DATES.items():
                if name == "s2":
                    noise = rng.normal(1, 0.1, (count, 10, 6, 6)).astype(np.float32)
                    data = np.abs(noise * level[:, None, None])
                    clouds = np.zeros((count, 2, 6, 6), np.float32)
                    clouds[rng.random(count) < 0.4, 1] = 100
                    file["sen-2-masks"] = clouds
                else:
                    shape = (count, 2, 6, 6)
                    data = rng.gamma(4, 0.02, shape).astype(np.float32)
                    data[:, 1] /= 4
                file[f"{PREFIX[name]}-data"] = data
                file[f"{PREFIX[name]}-products"] = products(name, count)
        image = rng.integers(20, 230, (4, 304, 304), dtype=np.uint8)
        with rasterio.open(
            root / "aerial" / f"{k}.tif", "w", driver="GTiff", count=4, height=304, width=304,
            dtype="uint8", crs="EPSG:25832", transform=Affine(0.2, 0, 428370, 0, -0.2, 5862962),
            interleave="pixel",
        ) as file:  # fmt: skip
            file.write(image)
        shares = ",".join("1.0" if s == k % len(SPECIES) else "0.0" for s in range(len(SPECIES)))
        rows.append(f"{k}.tif,{k}.h5,20190701,{shares}")
    head = ",".join(["aerial_name", "sen_name", "aerial_date", *SPECIES])
    for split, part in (("train", rows), ("val", rows[:0]), ("test", rows[:0])):
        (root / f"{split}.csv").write_text("\n".join([head, *part]) + "\n", encoding="utf-8")


def forget(folder):
    """Drop the files of a folder from the page cache."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


# -- ways to read; each takes the numbers of samples


def native_arrays(root, numbers):
    """Every array of a sample, one open of each file."""
    for k in numbers:
        with h5py.File(root / "sentinel-ts" / f"{k}.h5") as file:
            for name in DATES:
                file[f"{PREFIX[name]}-data"][:]
            file["sen-2-masks"][:]
        with rasterio.open(root / "aerial" / f"{k}.tif") as file:
            file.read()


def day_of_year(text):
    """Turn a day into (year, day of the year, hour)."""
    day = np.datetime64(f"{text[:4]}-{text[4:6]}-{text[6:8]}")
    year = day.astype("M8[Y]")
    return int(str(year)), int((day - year).astype(int)) + 1, 0


def native_item(root, k, rng):
    """One sample as the published loader makes it: parsed, binned, medians, one date a bin."""
    out = {}
    for name, taken in TAKEN.items():
        path = root / "sentinel-ts" / f"{k}.h5"
        with h5py.File(path) as file:
            data = file[f"{PREFIX[name]}-data"][:].astype(np.float32)
            names = [p.decode() for p in file[f"{PREFIX[name]}-products"][:]]
        bad = np.isnan(data).any(1)
        if name == "s2":
            with h5py.File(path) as file:
                bad |= (file["sen-2-masks"][:] > 0).any(1)
        dates = np.array([day_of_year(p.split("_")[-5][:8]) for p in names])
        size = len(data) // taken
        first = int(rng.integers(0, len(data) % taken + 1))
        chosen = []
        for begin in range(first, first + size * taken, size):
            part, masked = data[begin : begin + size], bad[begin : begin + size]
            clear = ~masked.any((1, 2))
            if not clear.any():
                clear, masked = ~clear, np.zeros_like(masked)
            median = np.nanmedian(np.where(masked[:, None], np.nan, part), axis=0)
            away = np.abs(part - median).mean((1, 2, 3))
            chosen.append(begin + int(np.where(clear, away, np.inf).argmin()))
        values = data[chosen]
        scaled = values / 5000 if name == "s2" else np.log(np.maximum(values, 1e-10)) / 5
        out[name] = torch.from_numpy(scaled), torch.from_numpy(dates[chosen])
    with rasterio.open(root / "aerial" / f"{k}.tif") as file:
        image = file.read()[:, 2:302, 2:302]
    out["aerial"] = torch.from_numpy(image.astype(np.float32) / 255)
    return out


def packed_arrays(reads, numbers):
    """Every array of a sample, in batches, from the packed store."""
    for read in reads:
        first = read.offset
        images = np.concatenate([np.arange(first[k], first[k + 1]) for k in numbers])
        read.take(images, None)


def batches(data, numbers, epoch=0):
    """Batches of a data set."""
    for start in range(0, len(numbers), BATCH):
        data.__getitems__([(epoch, int(k)) for k in numbers[start : start + BATCH]])


# -- measuring


def per_sample(work, numbers):
    """Return seconds a sample."""
    start = time.perf_counter()
    work(numbers)
    return (time.perf_counter() - start) / len(numbers)


def with_workers(data, workers, samples):
    """Return samples per second of the loader, without the start of its workers."""
    order = loader(data, BATCH, workers=workers)
    steps = iter(order)
    next(steps)
    start, count = time.perf_counter(), 0
    for batch in steps:
        count += len(batch)
        if count >= samples:
            break
    return count / (time.perf_counter() - start)


def waiting(data, steps=16, batch_size=8):
    """Share of a training step at size tiny that goes into the batch, and seconds a step."""
    torch.set_num_threads(2)
    model = ml.build_model(ml.MaestroConfig(data.contract, "tiny"))
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)
    source = iter(loader(data, batch_size))
    waits, whole = [], []
    for step in range(steps):
        start = time.perf_counter()
        batch = next(source)
        ready = time.perf_counter()
        model(batch, keys_for(0, 0, batch.sample)).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        if step >= 2:  # the first steps allocate memory
            waits.append(ready - start)
            whole.append(time.perf_counter() - start)
    return sum(waits) / sum(whole), statistics.median(whole)


def measure(root, packed, samples):
    """Print the table, and return its ratios."""
    native = CubeDataset(ml.open_cube("treesatai-ts", root=root), contract(packed), train=False)
    reads = [read_of(packed[name]) for name in ("aerial", *DATES)]
    training = CubeDataset(packed, contract(packed))
    ways = {
        "native arrays": lambda n: native_arrays(root, n),
        "native item, published way": lambda n: [
            native_item(root, int(k), np.random.default_rng(int(k))) for k in n
        ],
        "our native reader": lambda n: (native._median.clear(), batches(native, n)),
        "packed arrays": lambda n: [
            packed_arrays(reads, n[s : s + BATCH]) for s in range(0, len(n), BATCH)
        ],
        "packed batches": lambda n: batches(training, n),
    }
    rng = np.random.default_rng(1)
    slow, fast = min(samples, 160), min(samples, 960)
    native_arrays(root, range(samples))  # everything into the page cache
    batches(training, np.arange(samples))
    found = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, work in ways.items():
            count = fast if name.startswith("packed") else slow
            found[name].append(per_sample(work, rng.permutation(samples)[:count]))
    warm = {name: statistics.median(times) for name, times in found.items()}
    cold = {}
    for name, work in ways.items():
        forget(root)
        forget(Path(packed.attrs["path"]))
        _mapped.cache_clear()  # memory maps would keep pages alive
        count = fast if name.startswith("packed") else slow
        cold[name] = per_sample(work, rng.permutation(samples)[:count])
    for name in ways:
        print(f"{name:<28} warm {1 / warm[name]:8.0f}  cold {1 / cold[name]:8.0f} samples/s")
    return warm, cold, training


def contract(cube):
    """Return the published contract of these data."""
    return ml.contract_for(cube)


def main():
    """Write, pack, measure, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--folder", type=Path, help="where to write; default a temporary folder")
    given = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(dir=given.folder))
    try:
        root = folder / "TreeSatAI-TS"
        start = time.perf_counter()
        write_native(root, given.samples)
        print(f"{given.samples} samples written in {time.perf_counter() - start:.0f} s")
        start = time.perf_counter()
        cube = ml.open_cube("treesatai-ts", root=root)
        opened = time.perf_counter() - start
        start = time.perf_counter()
        path = ml.pack_cube(cube, folder / "packed.zarr")
        print(f"opened in {opened:.1f} s, packed in {time.perf_counter() - start:.0f} s")
        packed = ml.open_cube(path)
        packed.attrs["path"] = str(path)
        warm, cold, training = measure(root, packed, given.samples)
        workers = {n: with_workers(training, n, min(given.samples, 640)) for n in (0, 1, 2)}
        for n, rate in workers.items():
            print(f"packed, {n} workers             {rate:8.0f} samples/s")
        share, step = waiting(training)
        print(f"training at size tiny: {step:.2f} s a step of 8, {share:.1%} of it waiting")
    finally:
        shutil.rmtree(folder)
    ratios = {
        "packed arrays : native arrays": warm["native arrays"] / warm["packed arrays"],
        "packed batches : native item": warm["native item, published way"] / warm["packed batches"],
        "our native reader : native item": warm["native item, published way"]
        / warm["our native reader"],
        "cold, packed arrays : native arrays": cold["native arrays"] / cold["packed arrays"],
        "1 worker : none": workers[1] / workers[0],
        "2 workers : none": workers[2] / workers[0],
    }
    rounded = {name: round(value, 2) for name, value in ratios.items()}
    print(json.dumps({"ratios": rounded, "waiting": round(share, 4), "samples": given.samples}))


if __name__ == "__main__":
    main()
