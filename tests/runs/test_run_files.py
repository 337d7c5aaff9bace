import enum
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maestro_lab.runs.files import NotPlainError, plain, read_json, write_json

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(), v, max_size=3)
)


@given(VALUES)
def test_plain_leaves_plain_values_alone(value):
    assert plain(value) == value


def test_plain_converts():
    class Colour(str, enum.Enum):  # noqa: UP042  (a StrEnum's str() is its value already)
        RED = "red"

    assert plain(np.float32(1.5)) == 1.5
    assert type(plain(np.int64(3))) is int
    assert plain(np.bool_(True)) is True
    assert plain((1, (2,))) == [1, [2]]
    assert plain(Path("a/b")) == "a/b"
    assert type(plain(Colour.RED)) is str and plain(Colour.RED) == "red"


@pytest.mark.parametrize("value", [np.zeros(3), {1: 2}, {1, 2}, object(), b"x", 1j])
def test_plain_refuses(value):
    with pytest.raises(NotPlainError):
        plain(value)


def test_json_replaces_floats_that_are_not_finite(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": float("nan"), "b": [float("inf"), 1.0], "ß": "é"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": None, "b": [None, 1.0], "ß": "é"}


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, broken):
    path = tmp_path / "card.json"
    write_json(path, {"old": 1})

    def fail(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(OSError, match="No space"):
        write_json(path, {"new": 2})
    monkeypatch.undo()
    assert read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["card.json"]


def test_written_files_have_the_usual_rights(tmp_path):
    write_json(tmp_path / "a.json", {})
    (tmp_path / "b.json").write_text("{}")
    assert (tmp_path / "a.json").stat().st_mode == (tmp_path / "b.json").stat().st_mode


def test_read_json(tmp_path):
    assert read_json(tmp_path / "absent.json") == {}
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(ValueError, match="not a JSON object"):
        read_json(tmp_path / "list.json")
