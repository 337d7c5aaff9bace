"""Packing that is killed, or fails half-way, goes on where it stopped, to the same bits."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster

import maestro_lab as ml
from maestro_lab.cubes.packed import writing
from maestro_lab.cubes.packed.manifest import check_packed
from maestro_lab.cubes.packed.writing import pack_cube
from maestro_lab.cubes.store import open_store, save_cube
from maestro_lab.errors import CubeError
from tests.conftest import REPOSITORY
from tests.cubes.conftest import edited
from tests.cubes.packing import LITTLE, contents, from_files, make_cube, many
from tests.cubes.test_packed import same_cube

SEED = 20
SAMPLES = 64  # in a file


def few(**options):
    return make_cube(LITTLE, n=3, **options)


class Server:
    """Packs in processes that can be killed."""

    def __init__(self, process):
        self.process = process

    def start(self, path, cube, **options):
        request = {"path": str(path), "cube": cube, **options}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def wait(self):
        return int(self.process.stdout.readline())

    def pack(self, *args, **options):
        self.start(*args, **options)
        return self.wait()


@pytest.fixture(scope="module")
def server():
    command = [sys.executable, "-m", "tests.cubes.packing"]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Server(process)
        process.stdin.close()


@pytest.fixture(scope="module")
def whole(server, tmp_path_factory):
    """Packs that were never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    assert server.pack(folder / "few.zarr", "few", samples=2) == 0
    assert server.pack(folder / "many.zarr", "many", samples=SAMPLES) == 0
    return folder


def files_in(folder):
    return sum(len(files) for _, _, files in os.walk(folder))  # which may change meanwhile


@pytest.mark.slow
def test_killed_ten_times_over(server, whole, tmp_path):
    """At random moments between the first file and the last, however fast the machine is."""
    rng = random.Random(SEED)
    path, landed, finished = tmp_path / "many.zarr", [], 0
    unfinished = path.with_name("many.zarr.unfinished")
    goals = sorted(rng.sample(range(files_in(whole / "many.zarr")), 10))
    while goals:
        pid = server.start(path, "many", samples=SAMPLES)
        while files_in(unfinished) < goals[0] and not path.exists():
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))
        if not path.exists():
            os.kill(pid, signal.SIGKILL)
        if server.wait() == -signal.SIGKILL:
            landed.append(files_in(unfinished))
            del goals[0]
            continue
        finished, goals[0] = finished + 1, goals[0] // 2
        assert contents(path) == contents(whole / "many.zarr"), (SEED, landed)
        shutil.rmtree(path)
        assert finished < 30, "it cannot be killed"
    assert len(set(landed)) > 2, f"all kills were too early, or too late: {landed}, seed {SEED}"
    assert server.pack(path, "many", samples=SAMPLES) == 0
    assert check_packed(path) == []
    assert contents(path) == contents(whole / "many.zarr"), f"seed {SEED}"
    assert [p.name for p in tmp_path.iterdir()] == ["many.zarr"]
    same_cube(open_store(path), many())


@pytest.mark.slow
def test_killed_at_every_step(server, whole, tmp_path):
    """Before each change of the file system, up to the last."""
    expected = contents(whole / "few.zarr")
    stop = 0
    path = tmp_path / "few.zarr"
    while server.pack(path, "few", samples=2, stop=stop) == -signal.SIGKILL:
        assert not path.exists()
        assert server.pack(path, "few", samples=2) == 0, stop
        assert contents(path) == expected, stop
        assert [p.name for p in tmp_path.iterdir()] == ["few.zarr"], stop
        shutil.rmtree(path)
        stop += 4 if 2 < stop < 18 else 1  # one file of pixels is written like another
    assert contents(path) == expected
    assert 20 < stop < 100


def closing(server, path):
    """Leave a store to which nothing lacks but its list of files, or its name."""
    for stop in range(20, 100):
        shutil.rmtree(path.with_name(f"{path.name}.unfinished"), ignore_errors=True)
        assert server.pack(path, "few", samples=2, stop=stop) == -signal.SIGKILL
        begun = path.with_name(f"{path.name}.unfinished")
        if (begun / "manifest").is_dir():
            return
    raise AssertionError("the manifest was never begun")


@pytest.mark.parametrize("when", ["early", "closing"])
def test_another_cube_is_refused_and_nothing_is_deleted(server, whole, when, tmp_path):
    path = tmp_path / "few.zarr"
    if when == "early":
        assert server.pack(path, "few", samples=2, stop=5) == -signal.SIGKILL
    else:
        closing(server, path)
    before = contents(tmp_path)
    assert before
    shifted = edited(few(), "s2", lambda ds: ds.assign_attrs(gsd=11.0))
    for cube, samples in ((few(seed=1), 2), (few(), 1), (shifted, 2)):
        with pytest.raises(
            CubeError,
            match=r"few\.zarr\.unfinished was left by a call with another cube, or another number"
            r" of samples\n.*this store\n.*another one\n.*delete it, or choose another name",
        ):
            pack_cube(cube, path, samples=samples)
        assert contents(tmp_path) == before
    pack_cube(few(), path, samples=2)
    assert contents(path) == contents(whole / "few.zarr")


def test_what_save_cube_left_is_not_taken_for_a_pack(tmp_path):
    cube = make_cube(("dem",), n=4)
    save_cube(cube, tmp_path / "saved.zarr").rename(tmp_path / "dem.zarr.unfinished")
    before = contents(tmp_path)
    with pytest.raises(CubeError, match=r"was left by a call with another cube"):
        pack_cube(cube, tmp_path / "dem.zarr")
    assert contents(tmp_path) == before


@pytest.fixture(scope="module")
def small():
    return many(700)


@pytest.fixture(scope="module")
def expected(small, tmp_path_factory):
    with dask.config.set(scheduler="synchronous"):
        path = pack_cube(small, tmp_path_factory.mktemp("one") / "small.zarr", samples=SAMPLES)
    return contents(path)


def test_threads_write_the_same(small, expected, tmp_path):
    with dask.config.set(scheduler="threads", num_workers=4):
        assert contents(pack_cube(small, tmp_path / "small.zarr", samples=SAMPLES)) == expected


def test_processes_write_the_same(small, expected, tmp_path):
    path = pack_cube(small, tmp_path / "small.zarr", samples=SAMPLES, workers=2)
    assert contents(path) == expected


@pytest.fixture(params=[{"processes": False}, {"n_workers": 1}], ids=["threads", "process"])
def cluster(request):
    options = {"threads_per_worker": 2, "dashboard_address": None, **request.param}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        yield client


def jobs_done(dask_worker):
    return dask_worker.state.executed_count


def test_a_cluster_writes_the_same(cluster, small, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the workers have been elsewhere since they began
    path = pack_cube(small, "small.zarr", samples=SAMPLES)
    assert contents(tmp_path / path) == expected
    assert sum(cluster.run(jobs_done).values()) > len(expected) / 4, "the work was done there"
    files = from_files(make_cube(n=4), tmp_path / "native")
    same_cube(open_store(pack_cube(files, "files.zarr", samples=1)), make_cube(n=4))
    (tmp_path / "native" / "s2" / "1.npy").unlink()
    with pytest.raises(CubeError, match=r"s2: sample 'b c': .*1\.npy does not exist"):
        writing._run([*jobs(files, tmp_path / "more")], 0, None)


def jobs(cube, folder):
    return writing._image_jobs(cube, writing.plan_of(make_cube(n=4), 1), folder)


@pytest.mark.parametrize(
    ("damage", "workers"), [("vanished", 0), ("damaged", 0), ("grown", 0), ("damaged", 1)]
)
def test_files_that_fail_half_way_are_told(workers, damage, tmp_path, monkeypatch):
    cube = make_cube()
    files = from_files(cube, tmp_path / "native")
    bad = tmp_path / "native" / "s1" / "4.npy"
    before = bad.read_bytes()
    change = {
        "vanished": bad.unlink,
        "damaged": lambda: bad.write_bytes(before[:100]),
        "grown": lambda: np.save(bad, np.zeros((9, 2, 6, 6), "f4")),
    }[damage]
    words = {
        "vanished": r"s1: sample 'e': .*4\.npy does not exist\n.*a \.npy file",
        "damaged": r"s1: sample 'e': .*4\.npy cannot be read\n.*numbers in a \.npy file",
        "grown": r"s1: sample 'e' cannot be packed\n.*\(4, 2, 6, 6\).*\n.*\(9, 2, 6, 6\).*\n.*open",
    }[damage]
    begin = writing._begin
    monkeypatch.setattr(writing, "_begin", lambda *args: [begin(*args), change()])
    with pytest.raises(CubeError, match=words) as error:
        pack_cube(files, tmp_path / "cube.zarr", samples=1, workers=workers)
    assert "Traceback" not in str(error.value)
    with pytest.raises(CubeError, match=r"no packed store\n.*\n.*not finished"):
        check_packed(tmp_path / "cube.zarr")
    bad.write_bytes(before)
    monkeypatch.setattr(writing, "_begin", begin)
    path = pack_cube(files, tmp_path / "cube.zarr", samples=1)
    same_cube(open_store(path), cube)
    assert check_packed(path) == []
    monkeypatch.undo()
    fresh = pack_cube(files, tmp_path / "fresh.zarr", samples=1)
    assert contents(fresh) == contents(path)


def test_errors_without_their_traceback(monkeypatch):
    """As they come from another process where tblib is not there to carry it."""
    from dask.multiprocessing import remote_exception

    error = CubeError("s1: sample 'e': broken", expected="whole", found="a hole")

    def compute(*_, **__):
        raise remote_exception(error, "File x, line 1")

    monkeypatch.setattr(writing.dask, "compute", compute)
    with pytest.raises(CubeError, match=r"^s1: sample 'e': broken\n  expected: whole\n.*hole$"):
        writing._run([lambda: None], 2, None)


def test_arrays_that_cannot_be_read_are_no_fault_of_the_disk(tmp_path):
    def fail(block, block_info=None):
        if block_info[0]["chunk-location"][0] == 30 and begun.exists():
            raise OSError(5, "Input/output error")
        return block

    begun = tmp_path / "many.zarr.unfinished"
    cube = many(400)
    data = cube["one"]["values"].chunk(sample=10).data.map_blocks(fail, dtype="u2")
    cube = edited(cube, "one", lambda ds: ds.assign(values=(ds["values"].dims, data)))
    with pytest.raises(CubeError, match=r"the cube cannot be read\n.*Input/output error"):
        pack_cube(cube, tmp_path / "many.zarr", samples=50)


def test_a_full_disk_is_told_and_packing_goes_on(server, whole, tmp_path, capfd):
    path = tmp_path / "many.zarr"
    command = [sys.executable, "-m", "tests.cubes.packing"]
    request = {"path": str(path), "cube": "few", "samples": 2, "most": 1000}
    done = subprocess.run(
        command, cwd=REPOSITORY, input=json.dumps(request), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.stdout.split()[-1] == "1"
    assert done.stderr.startswith("CubeError "), done.stderr
    assert "many.zarr.unfinished" in done.stderr and "cannot be written" in done.stderr
    assert "with room for the cube" in done.stderr and "File too large" in done.stderr
    assert not path.exists()
    assert server.pack(path, "few", samples=2) == 0
    assert contents(path) == contents(whole / "few.zarr")


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("here")
    with pytest.raises(CubeError, match=r"small\.zarr cannot be written\n.*room for"):
        pack_cube(make_cube(n=2), tmp_path / "file" / "small.zarr")
    assert (tmp_path / "file").read_text() == "here"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_told(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(CubeError, match=r"cannot be written\n.*\n.*Permission denied"):
        pack_cube(make_cube(n=2), tmp_path / "small.zarr")


def test_progress_counts_the_files_that_are_left(tmp_path, monkeypatch):
    cube, told = make_cube(), []
    monkeypatch.setattr(writing, "_AT_ONCE", 4)
    stop = partial(setattr, writing, "write_manifest")
    keep = writing.write_manifest
    stop(lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        pack_cube(cube, tmp_path / "c.zarr", samples=5, progress=lambda *a: told.append(a))
    assert told[0] == (0, told[-1][1]) and told[-1][0] == told[-1][1] > 4
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    stop(keep)
    begun = tmp_path / "c.zarr.unfinished"
    for number in (0, 1):
        (begun / "s2" / "values" / "c" / str(number) / "0" / "0" / "0").unlink()
    again = []
    pack_cube(cube, tmp_path / "c.zarr", samples=5, progress=lambda *a: again.append(a))
    assert again == [(0, 2), (2, 2)]
    assert check_packed(tmp_path / "c.zarr") == []
    assert ml.open_cube(tmp_path / "c.zarr").sizes["sample"] == 10
