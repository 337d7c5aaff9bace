"""The list of a store's files with their checksums, and the check against it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from maestro_lab.cubes.packed.plan import FORMAT
from maestro_lab.cubes.store import MANIFEST
from maestro_lab.errors import CubeError, LabError

__all__ = ["check_packed", "remove_strays", "write_manifest"]

_BLOCK = 2**20


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def remove_strays(folder: Path) -> None:
    """Delete what killed writers left behind."""
    for path in folder.rglob("*.part"):
        path.unlink()


def _checksum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _entries(folder: Path) -> dict[str, dict[str, Any]]:
    paths = [path for path in _files(folder) if path != folder / MANIFEST]
    with ThreadPoolExecutor(4) as pool:
        sums = list(pool.map(_checksum, paths))
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": total}
        for path, total in zip(paths, sums, strict=True)
    }


def _as_group(content: dict[str, Any]) -> bytes:
    """Return the file of a zarr group with these attributes, and their own checksum."""
    seal = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    group = {"zarr_format": 3, "node_type": "group", "attributes": {**content, "sha256": seal}}
    return json.dumps(group, indent=1).encode()


def write_manifest(folder: Path) -> None:
    """List every file of a store, with size and SHA-256, as attributes of the group ``manifest``.

    Any other place inside the store would make zarr warn of a file that it does not know.
    """
    content: dict[str, Any] = {"format": FORMAT, "files": _entries(folder)}
    part = folder / "manifest.part"
    part.write_bytes(_as_group(content))
    (folder / MANIFEST).parent.mkdir(exist_ok=True)  # there if it was killed right here
    part.replace(folder / MANIFEST)


def check_packed(path: str | Path) -> list[str]:
    """Compare a packed store with its manifest, byte by byte.

    Returns
    -------
    list of str
        What is wrong, a line a file; empty if nothing is.

    Raises
    ------
    CubeError
        If there is no packed store.

    Examples
    --------
    >>> import maestro_lab as ml, tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> path = ml.pack_cube(ml.open_cube("landscape", samples=2), folder / "tiny.zarr")
    >>> check_packed(path)
    []
    """
    path = Path(path).expanduser()
    if not (path / MANIFEST).is_file():
        begun = (path, path.with_name(f"{path.name}.unfinished"))
        unfinished = any(p.suffix == ".unfinished" and p.is_dir() for p in begun)
        raise CubeError(
            f"{path} is no packed store",
            expected=f"a folder with {MANIFEST}, as maestro-lab pack writes it",
            found="one that is not finished" if unfinished else "none",
            do="run maestro-lab pack again; it goes on where it stopped" if unfinished else None,
        )
    try:
        there = (path / MANIFEST).read_bytes()
        content = json.loads(there)["attributes"]
        content.pop("sha256")
        listed = content["files"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"{MANIFEST}: cannot be read ({error})"]
    if there != _as_group(content):
        return [f"{MANIFEST}: damaged, its own checksum differs"]
    try:
        found = _entries(path)
    except OSError as error:
        return [f"{error.filename}: cannot be read ({error.strerror})"]
    problems = [f"{name}: {_difference(about, found.get(name))}" for name, about in listed.items()]
    problems = [p for p in problems if not p.endswith(": ")]
    problems += [f"{name}: not in the manifest" for name in found if name not in listed]
    return problems or _structure(path)


def _difference(listed: dict[str, Any], found: dict[str, Any] | None) -> str:
    if found is None:
        return "missing"
    if listed["bytes"] != found["bytes"]:
        return f"{found['bytes']} bytes instead of {listed['bytes']}"
    return "" if listed["sha256"] == found["sha256"] else "damaged, its checksum differs"


def _structure(path: Path) -> list[str]:
    from maestro_lab.cubes.contract import validate
    from maestro_lab.cubes.packed.opening import open_packed

    try:
        validate(open_packed(path))
    except LabError as error:
        return [f"the cube: {error.what} (expected {error.expected}, found {error.found})"]
    return []
