"""Reading from a packed store, for as long as one likes, takes no more memory.

Run as a program: the path of a store in, the memory of all its processes (bytes) out, a line for
each count of batches in ``LOOK``.
"""

import itertools
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from maestro_lab.cubes.packed.writing import pack_cube
from tests.conftest import REPOSITORY
from tests.cubes.packing import many

LOOK = (400, 2400)  # batches
PROC = Path("/proc")


def memory():
    """Resident bytes of this process and its workers."""
    pids = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
    pages = [int((PROC / str(pid) / "statm").read_text().split()[1]) for pid in pids]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE"), len(pids)


def read(path, workers):
    import torch

    from maestro_lab.batches import CubeDataset, contract_for, loader
    from maestro_lab.cubes.store import open_store

    torch.set_num_threads(1)
    cube = open_store(path)
    contract = contract_for(cube, modalities=["one"], dates=2, window=None if workers else 10)
    data = CubeDataset(cube, contract, targets=[] if workers else ["age"])
    made, done = loader(data, 2, workers=workers), itertools.count(1)
    for epoch in itertools.count():
        made.batch_sampler.epoch = epoch
        for _, n in zip(made, done, strict=False):
            if n in LOOK:
                print(*memory(), flush=True)
            if n == LOOK[-1]:
                return


@pytest.mark.slow
@pytest.mark.skipif(not (PROC / "self" / "statm").exists(), reason="no /proc tells the memory")
@pytest.mark.parametrize("workers", [0, 2])
def test_memory_stays_flat(workers, tmp_path):
    path = pack_cube(many(1500), tmp_path / "many.zarr", samples=64)
    command = [sys.executable, "-m", "tests.test_memory_loader", path, str(workers)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (early, count), (late, again) = (map(int, line.split()) for line in done.stdout.splitlines())
    assert count == again == 1 + workers
    assert late < 1.1 * early, f"{early / 1e6:.0f} MB, then {late / 1e6:.0f} MB"


if __name__ == "__main__":
    read(Path(sys.argv[1]), int(sys.argv[2]))
