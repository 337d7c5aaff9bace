"""Whatever happens to a packed store is found, told, and never read."""

import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import zarr
from click.testing import CliRunner
from distributed import LocalCluster

from maestro_lab.cli import main
from maestro_lab.cubes.packed import manifest
from maestro_lab.cubes.packed.arrays import PackedArray
from maestro_lab.cubes.packed.manifest import check_packed
from maestro_lab.cubes.packed.writing import pack_cube
from maestro_lab.cubes.store import open_store, save_cube
from maestro_lab.errors import CubeError
from tests.cubes.conftest import make_small
from tests.cubes.packing import contents, make_cube


@pytest.fixture(scope="module")
def little(tmp_path_factory):
    cube = make_cube(("s1", "level", "never"))
    return pack_cube(cube, tmp_path_factory.mktemp("little") / "little.zarr")


@pytest.fixture
def copy(little, tmp_path):
    return shutil.copytree(little, tmp_path / "copy.zarr")


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= random.randrange(1, 256)
    path.write_bytes(content)


def found_in(folder, name):
    """Check a store that is damaged in one file, which must be named."""
    try:
        problems = check_packed(folder)
    except CubeError as error:
        assert name == "manifest/zarr.json"
        assert "no packed store" in str(error) and name in str(error)
        return
    assert len(problems) == 1 and problems[0].startswith(f"{name}: "), (name, problems)


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: random.randrange(len(content))])


@pytest.mark.parametrize("seed", [0, 1])
def test_damage_is_found_in_every_file(copy, seed):
    random.seed(seed)
    files = sorted(p for p in copy.rglob("*") if p.is_file())
    assert len(files) > 40
    for path in files:
        name, content = path.relative_to(copy).as_posix(), path.read_bytes()
        flip(path, random.randrange(len(content)))
        found_in(copy, name)
        random.choice([truncate, Path.unlink])(path)
        found_in(copy, name)
        path.write_bytes(content)
    for name in ("stray", "s1/values/c/99/0/0/0", "s1/values/c/0/0/0/0.12.part", "manifest/c"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("stray")
        found_in(copy, name)
        (copy / name).unlink()
    assert check_packed(copy) == []


def test_every_byte_of_the_manifest_counts(copy):
    path = copy / "manifest" / "zarr.json"
    content = path.read_bytes()
    random.seed(0)
    blanks = [k for k, byte in enumerate(content) if byte in b" \n"]
    for at in [*range(60), *random.sample(blanks, 40), *range(len(content) - 90, len(content))]:
        for other in (content[at] ^ 1, *b' \n\t\r"0'):
            if other != content[at]:
                path.write_bytes(content[:at] + bytes([other]) + content[at + 1 :])
                found_in(copy, "manifest/zarr.json")
    listed = json.loads(content)
    listed["attributes"]["files"].popitem()
    for text in (json.dumps(listed, indent=1), json.dumps(json.loads(content)), "[]", "", "null"):
        path.write_text(text)
        found_in(copy, "manifest/zarr.json")


def test_a_file_that_cannot_be_read_is_told(copy, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(manifest, "_checksum", refuse)
    (problem,) = check_packed(copy)
    assert problem.startswith(str(copy)) and problem.endswith(
        ": cannot be read (Permission denied)"
    )


def test_several_problems_are_all_told(copy):
    flip(copy / "zarr.json", 5)
    (copy / "s1" / "offset" / "c" / "0").unlink()
    (copy / "more").write_text("")
    problems = check_packed(copy)
    assert [p.split(":")[0] for p in problems] == ["s1/offset/c/0", "zarr.json", "more"]
    words = ("missing", "its checksum differs", "not in the manifest")
    assert all(p.endswith(word) for p, word in zip(problems, words, strict=True))


def test_what_is_no_finished_store_is_told(tmp_path):
    begun = tmp_path / "cube.zarr.unfinished"
    begun.mkdir()
    for path in (begun, tmp_path / "cube.zarr"):
        with pytest.raises(CubeError, match=r"no packed store\n.*\n.*not finished\n.*pack again"):
            check_packed(path)
    for path in (tmp_path, tmp_path / "nowhere.zarr", save_cube(make_small(), tmp_path / "s.zarr")):
        with pytest.raises(CubeError, match=r"no packed store\n.*manifest/zarr.json.*\n.*none"):
            check_packed(path)


def test_damage_is_told_when_it_is_read(copy):
    values = copy / "s1" / "values"
    cube = open_store(copy)
    (values / "c" / "0" / "0" / "0" / "0").write_bytes(b"short")
    with pytest.raises(CubeError, match=r"s1/values/c/0/0/0/0 is damaged\n.*bytes\n.*5 bytes"):
        cube["s1"]["values"].compute()
    (values / "c" / "0" / "0" / "0" / "0").unlink()
    with pytest.raises(CubeError, match=r"s1/values/c/0/0/0/0 is missing\n.*bytes\n.*nothing"):
        cube["s1"]["values"].compute()
    about = (values / "zarr.json").read_text()
    for text, words in (
        ("{", r"s1/values cannot be read\n.*zarr.json"),
        (about.replace('"little"', '"big"'), r"cannot be mapped into memory\n.*\n.*big-endian"),
        (about.replace('"shape": [', '"shape": [9, '), r"cannot be (mapped|read)"),
    ):
        (values / "zarr.json").write_text(text)
        with pytest.raises(CubeError, match=words):
            PackedArray.open(values)
        with pytest.raises(CubeError):
            open_store(copy)


def test_a_store_that_was_changed_is_checked_on_opening(copy):
    zarr.open_group(str(copy / "s1")).attrs["units"] = "furlongs"
    with pytest.raises(CubeError, match=r"s1: units\n.*DN.*\n.*furlongs"):
        open_store(copy)


def lab(*arguments):
    done = CliRunner().invoke(main, [str(a) for a in arguments])
    return done.exit_code, done.output


def test_the_command_line_packs_and_checks(tmp_path):
    save_cube(make_cube(("s1", "dem")), tmp_path / "saved.zarr")
    path = tmp_path / "packed.zarr"
    pack = ("pack", tmp_path / "saved.zarr", path, "--samples", 4)
    status, said = lab(*pack)
    assert (status, said.splitlines()[-1]) == (0, str(path)) and "files   100 %" in said
    assert lab("check", path) == (0, f"{path}: complete, undamaged\n")
    status, said = lab(*pack)
    assert status == 2 and said.startswith(f"{path} exists already\n")

    expected = contents(path)
    path.rename(path.with_name("packed.zarr.unfinished"))
    status, said = lab("check", path)
    assert status == 2 and "one that is not finished" in said and "pack again" in said
    status, said = lab(*pack[:-1], 5)
    assert status == 2 and "another number of samples" in said and not path.exists()
    assert lab(*pack)[0] == 0 and contents(path) == expected, "there was nothing left to do"

    (path / "s1" / "share" / "c" / "0").unlink()
    flip(path / "zarr.json", 9)
    status, said = lab("check", path)
    assert status == 1 and said.splitlines()[-1] == f"{path}: 2 problems"
    assert "s1/share/c/0: missing\n" in said and "\nzarr.json: damaged" in said


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [("--workers", -1, "workers\n.*0 or more"), ("--samples", 0, "samples\n.*1 or more")],
)
def test_the_command_line_tells_what_is_wrong(option, value, words, tmp_path):
    save_cube(make_cube(("dem",)), tmp_path / "saved.zarr")
    status, said = lab("pack", tmp_path / "saved.zarr", tmp_path / "packed.zarr", option, value)
    assert status == 2 and re.match(words, said), said
    assert not (tmp_path / "packed.zarr").exists()


def test_a_cluster_that_is_not_there_is_told(tmp_path):
    command = [sys.executable, "-m", "maestro_lab", "pack", "landscape", tmp_path / "packed.zarr"]
    done = subprocess.run(
        [*command, "--cluster", "nonsense://x"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, "it may not be in this process: a client that fails stays there"
    assert done.stderr.startswith("no dask cluster at nonsense://x\n"), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_packs_on_a_cluster(tmp_path):
    save_cube(make_cube(("dem",)), tmp_path / "saved.zarr")
    with LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster:
        where = "--cluster", cluster.scheduler_address
        assert lab("pack", tmp_path / "saved.zarr", tmp_path / "a.zarr", *where)[0] == 0
        (worker,) = cluster.workers.values()
        assert worker.state.executed_count > 2, "the work was done there"
    pack_cube(open_store(tmp_path / "saved.zarr"), tmp_path / "b.zarr")
    assert contents(tmp_path / "a.zarr") == contents(tmp_path / "b.zarr")
