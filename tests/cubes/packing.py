"""Cubes to pack, and packs that are killed, each in a process forked from one that is warm.

Run as a program: a line of JSON in (:func:`serve`), the number of the process out, and, when it has
ended, its exit status.
"""

import hashlib
import json
import os
import resource
import signal
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import dask
import numpy as np
import xarray as xr

from maestro_lab.cubes.contract import assemble, make_modality, modality_names
from maestro_lab.cubes.packed.writing import pack_cube
from maestro_lab.cubes.reading import lazy_modality
from maestro_lab.cubes.sources.files import read_array

NAMES = ("a", "b c", "Wäldchen/1", "森", "e", "f", "g", "h'\"\\", "i", "j")
SPLITS = ("train", "train", "val", "test", "train", "buffer", "train", "test", "val", "train")
N = len(NAMES)
KINDS = {  # name: (dates a sample, bands, pixels, type of numbers, metres a pixel)
    "s2": ([7, 5, 7, 6, 7, 3, 7, 7, 1, 7], 4, 6, "u2", 10.0),
    "s1": ([5, 5, 0, 5, 4, 5, 0, 5, 5, 5], 2, 6, "f4", 10.0),
    "photo": ([1, 0, 1, 1, 1, 1, 1, 1, 1, 0], 3, 12, "u1", 5.0),
    "level": ([1] * N, 1, 3, "i2", 20.0),
    "dem": ([2] * N, 1, 6, "f8", 10.0),
    "never": ([0] * N, 2, 3, "i2", 20.0),
}
"""Every type of number; ragged, missing in some samples, missing in all."""


def dates(counts, longest):
    """Dates (sample, time), no two alike: ``counts[i]`` of them in sample i, then NaT."""
    counts = np.asarray(counts)
    first = np.datetime64("2020-01-03T10:30", "ns") + np.arange(len(counts)) * np.timedelta64(
        1, "D"
    )
    time = first[:, None] + np.arange(longest) * np.timedelta64(23, "D")
    return np.where(np.arange(longest) < counts[:, None], time, np.datetime64("NaT"))


def modality(name, rng, n=N):
    counts, bands, side, kind, gsd = KINDS[name]
    counts = np.resize(counts, n)
    time = dates(counts, max([1, *counts]))
    there = ~np.isnat(time)
    shape = (*time.shape, bands, side, side)
    values = rng.integers(0, 250, shape).astype(kind) if kind != "f4" else rng.random(shape, "f4")
    if kind == "i2":
        values -= 100
    valid = rng.random((*time.shape, side, side)) < 0.8
    valid[:, ::2] = True
    valid[:1, -1:] = False  # an image without a single valid pixel
    valid &= there[..., None, None]
    if kind[0] == "f":
        values[np.broadcast_to(~valid[:, :, None], shape)] = np.nan
    names = [f"b{k}" for k in range(bands)]
    return make_modality(values, time, valid=valid, bands=names, units="m", gsd=gsd)


def targets(rng, n=N):
    height = rng.uniform(0, 30, (n, 6, 6))
    height[1 % n, :2] = np.nan
    classes = {"task": "segmentation", "classes": ["wood", "Wiese"], "missing": 255}
    cover = rng.integers(0, 2, (n, 3, 3)).astype("u1")
    return xr.Dataset(
        {
            "species": (("sample", "class"), rng.random((n, 3), "f4"), {"task": "fractions"}),
            "cover": (("sample", "y", "x"), cover, classes),
            "biomass": ("sample", rng.uniform(0, 300, n), {"task": "regression", "units": "t/ha"}),
            "age": ("sample", rng.integers(-9, 9, n), {"task": "classification"}),
            "height": (("sample", "row", "column"), height, {"task": "regression"}),
        },
        coords={"class": np.array(["Eiche", "オーク", "pine"], dtype=object)},
    )


def make_cube(names=tuple(KINDS), *, seed=0, n=N):
    """Make a cube of numpy arrays, whose ``n`` samples differ in what they lack."""
    rng = np.random.default_rng(seed)
    made = {name: modality(name, rng, n) for name in KINDS}
    there = np.array(["2020-07-01", "NaT"], "M8[ns]")[np.arange(n) % 2]
    return assemble(
        {name: made[name] for name in names},
        sample=NAMES[:n],
        split=SPLITS[:n],
        block=np.arange(n) // 2,
        title="Wald & Wiese",
        licence="CC0-1.0",
        source="made by a test",
        targets=targets(rng, n),
        extra={"ref_date": there, "note": np.array(["é", ""] * N, object)[:n]},
        attrs={"window": 60.0},
    )


@dataclass(frozen=True)
class ReadFiles:
    """Reads one modality of a sample from two ``.npy`` files, as a source of native files does."""

    folder: Path
    bands: int
    side: int

    def __call__(self, sample, where):
        inner = (self.side, self.side)
        values = read_array(self.folder / f"{sample}.npy", (None, self.bands, *inner))
        valid = read_array(self.folder / f"{sample}_valid.npy", (None, *inner), kinds="b")
        return np.array(values[..., *where]), np.array(valid[..., *where])


def from_files(cube, folder):
    """Write the pixels of a cube to files, and return the cube that reads them."""
    children = {}
    for name in modality_names(cube):
        ds = cube[name].to_dataset()
        (folder / name).mkdir(parents=True)
        length = (~np.isnat(ds["time"].values)).sum(1)
        for k, n in enumerate(length):
            np.save(folder / name / f"{k}.npy", ds["values"].values[k, :n])
            np.save(folder / name / f"{k}_valid.npy", ds["valid"].values[k, :n])
        found = lazy_modality(
            ReadFiles(folder / name, ds.sizes["band"], ds.sizes["x"]), ds["time"].values,
            bands=ds["band"].values.tolist(), pixels=ds.sizes["x"], dtype=ds["values"].dtype,
            units=ds.attrs["units"], gsd=ds.attrs["gsd"], chunk=3,
        )  # fmt: skip
        children[name] = xr.DataTree(found)
    if "targets" in cube.children:
        children["targets"] = xr.DataTree(cube["targets"].to_dataset(inherit=False))
    return xr.DataTree(cube.to_dataset(inherit=False), children=children)


@dataclass(frozen=True)
class ReadMade:
    """Makes the pixels of a sample out of its number."""

    counts: np.ndarray
    seed: int

    def __call__(self, sample, where):
        count = int(self.counts[sample])
        number = np.arange(count * 12, dtype=np.int64) + 7919 * (sample + 1)
        values = ((number * 2654435761 + self.seed) >> 9) % 997
        values = values.reshape(count, 3, 2, 2).astype(np.uint16)
        return values[..., *where], (values.sum(1) % 5 > 0)[..., *where]


def many(n=5000, seed=0):
    """Make a cube of many small samples; of one seed they are the same for any ``n``."""
    made = {}
    for name, most in (("one", 4), ("other", 2)):
        counts = 1 + (np.arange(n) * 7) % most - (name == "other")
        made[name] = lazy_modality(
            ReadMade(counts, zlib.crc32(name.encode()) + seed), dates(counts, most), chunk=20,
            bands=["p", "q", "r"], pixels=2, dtype="u2", units="m", gsd=10,
        )  # fmt: skip
    age = xr.Dataset({"age": ("sample", np.arange(n) * 0.5, {"task": "regression"})})
    return assemble(
        made, sample=[f"s{k}" for k in range(n)], split=["train"] * n, block=np.zeros(n, int),
        title="many", licence="CC0-1.0", source="made by a test", targets=age,
    )  # fmt: skip


def contents(folder):
    """Return the checksum of every file below a folder."""
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


OURS = (".part", ".frame", ".unfinished")
LITTLE = ("s2", "level")
CUBES = {"many": many, "few": lambda: make_cube(LITTLE, n=3)}


def stop_at(when):
    """Die right before the nth change of the file system that is our own, and not zarr's."""
    done = []

    def deadly(function):
        def counted(path, *args, **kwargs):
            mkdir = function.__name__ == "mkdir"
            done.extend([path] * (path.name == "manifest" if mkdir else path.suffix in OURS))
            if len(done) > when:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(path, *args, **kwargs)

        return counted

    for name in ("rename", "replace", "unlink", "write_bytes", "mkdir"):
        setattr(Path, name, deadly(getattr(Path, name)))


def pack(path, cube, *, stop=None, most=None, **options):
    if most is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    if stop is not None:
        stop_at(stop)
        dask.config.set(scheduler="synchronous")
    try:
        pack_cube(CUBES[cube](), path, **options)
    except Exception as error:
        print(type(error).__name__, error, file=sys.stderr, flush=True)
        os._exit(1)


def serve():
    """Pack what each line names, in a process of its own; wait for it, and say how it ended."""
    with dask.config.set(scheduler="synchronous"):  # threads would not outlive the fork
        many(2).load()  # for what that imports
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            pack(**json.loads(line))
            os._exit(0)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
