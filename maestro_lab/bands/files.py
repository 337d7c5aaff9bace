"""Band groups on disk: what notebook 01 leaves and notebook 02 takes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml

from maestro_lab.bands.groups import BandGroups
from maestro_lab.errors import ParameterError

__all__ = ["load_groups", "save_groups", "written_whole"]

GROUPS_FILE = "groups.json"


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a name to write to, and rename it to ``path`` once all is written."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        yield unfinished
        unfinished.replace(path)
    except OSError as error:
        raise ParameterError(
            f"{path} cannot be written",
            expected="a folder that exists, with room",
            found=error.strerror or error,
        ) from error


def save_groups(groups: Mapping[str, object], path: str | Path) -> Path:
    """Write the groups of several modalities: modality to group name to bands.

    Parameters
    ----------
    groups
        Modality to :class:`~maestro_lab.bands.BandGroups`, or to a grouping that holds some.
    path
        A file ending in .json, .yaml or .yml; or a folder, for ``groups.json`` in it.
    """
    plain = {name: getattr(g, "groups", g) for name, g in groups.items()}
    plain = {name: BandGroups(g).to_dict() for name, g in plain.items()}
    path = Path(path)
    path = path / GROUPS_FILE if path.is_dir() else path
    if path.suffix in (".yaml", ".yml"):
        text = yaml.safe_dump(plain, sort_keys=False, default_flow_style=None)
    elif path.suffix == ".json":
        text = json.dumps(plain, indent=1)
    else:
        raise ParameterError(
            f"{path}: band groups are kept as JSON or YAML",
            expected=".json or .yaml",
            found=path.suffix or "no ending",
        )
    with written_whole(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    return path


def load_groups(path: str | Path) -> dict[str, BandGroups]:
    """Read the groups that notebook 01 left in its run folder, or anyone wrote by hand.

    Parameters
    ----------
    path
        The run folder, or a JSON or YAML file.

    Raises
    ------
    ParameterError
        If there is no such file, or it holds something else.
    """
    path = Path(path)
    path = path / GROUPS_FILE if path.is_dir() else path
    if not path.is_file():
        raise ParameterError(
            f"no band groups at {path}",
            expected=f"a run folder of notebook 01, or its {GROUPS_FILE}",
            do="run notebook 01 first, or leave the parameter empty to measure groups here",
        )
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text) if path.suffix in (".yaml", ".yml") else json.loads(text)
        return {str(name): BandGroups(groups) for name, groups in content.items()}
    except (ValueError, AttributeError, TypeError, yaml.YAMLError) as error:
        raise ParameterError(
            f"{path} holds no band groups",
            expected='{"modality": {"group": ["band", ...]}}',
            found=str(error),
        ) from error
