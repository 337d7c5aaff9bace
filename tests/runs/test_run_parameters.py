import keyword
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maestro_lab.errors import ParameterError, RunError
from maestro_lab.runs.parameters import (
    TYPES,
    Parameter,
    check,
    parse,
    parse_given,
    parse_text,
    read_parameters,
)
from maestro_lab.runs.yaml12 import yaml_value

FINITE = st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.none() | st.booleans() | st.integers() | FINITE | st.text(max_size=8)
BY_TYPE = {
    "int": st.integers(),
    "float": FINITE,
    "bool": st.booleans(),
    "str": st.text(max_size=20),
    "list": st.lists(PLAIN, max_size=4),
    "dict": st.dictionaries(st.text(max_size=4), PLAIN, max_size=4),
}
NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(
    lambda n: not keyword.iskeyword(n)
)
HELP = st.text(st.characters(categories=["L", "N", "P"], exclude_characters="#"), max_size=20)


@st.composite
def parameter(draw):
    kind = draw(st.sampled_from(sorted(TYPES)))
    return Parameter(draw(NAMES), kind, draw(BY_TYPE[kind]), draw(HELP).strip())


@given(st.lists(parameter(), max_size=5, unique_by=lambda p: p.name))
def test_what_is_written_is_read(parameters):
    lines = [f"{p.name}: {p.type} = {p.default!r}  # {p.help}" for p in parameters]
    assert parse("\n".join(lines)) == parameters


@given(parameter())
def test_defaults_pass_the_check(p):
    assert check([p], {p.name: p.default}) == {p.name: p.default}


@given(
    st.sampled_from(["int", "float", "str"]).flatmap(lambda k: st.tuples(st.just(k), BY_TYPE[k]))
)
def test_command_line_text_round_trip(kind_and_value):
    kind, value = kind_and_value
    assert parse_text(Parameter("x", kind, value), str(value)) == value


def test_comments_strings_and_long_literals():
    source = (
        '# a heading\n\nname: str = "has # inside"  # and a comment\n'
        "bands: list = [\n    'B02',  # blue\n    'B03',\n]  # which bands\n"
        "lr: float = -1e-3\nepochs: float = 3"
    )
    name, bands, lr, epochs = parse(source)
    assert (name.default, name.help) == ("has # inside", "and a comment")
    assert (bands.default, bands.help) == (["B02", "B03"], "which bands")
    assert lr.default == -1e-3
    assert type(epochs.default) is float


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("import os", 1),
        ("a: int = 1\nb = 2", 2),
        ("a: int", 1),
        ("a: int = 1\n\nb: str | None = None", 3),
        ("a: 'int' = 1", 1),
        ("a: int = 1 + x", 1),
        ("a: int = 1.5", 1),
        ("a: int = True", 1),
        ("a: float = 1e999", 1),
        ("a: int = 1; b: int = 2", 1),
        ("a: int = 1\na: int = 2", 2),
        ("x.a: int = 1", 1),
        ("(a): int = 1", 1),
        ("a: int = 1\n%matplotlib inline", 2),
        ("a: dict = {1: 2}", 1),
        ("'''text'''", 1),
    ],
)
def test_anything_else_is_refused_by_line(source, line):
    with pytest.raises(ParameterError, match=f"line {line}: "):
        parse(source)


KNOWN = parse(
    "n: int = 1\nlr: float = 0.1\nname: str = ''\non: bool = True\nl: list = []\nd: dict = {}"
)


def test_check_converts():
    given_ = {"n": np.int64(3), "lr": 2, "name": Path("a"), "on": np.bool_(False), "l": (1, (2,))}
    checked = check(KNOWN, given_)
    assert checked == {"n": 3, "lr": 2.0, "name": "a", "on": False, "l": [1, [2]]}
    assert [type(v) for v in checked.values()] == [int, float, str, bool, list]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", "3"),
        ("n", 3.0),
        ("n", True),
        ("lr", True),
        ("lr", "0.1"),
        ("lr", math.nan),
        ("lr", 10**400),
        ("name", 3),
        ("name", None),
        ("on", 1),
        ("on", "true"),
        ("l", {}),
        ("l", np.zeros(3)),
        ("l", [math.inf]),
        ("d", []),
        ("d", {"a": object()}),
    ],
)
def test_check_refuses_wrong_types(name, value):
    with pytest.raises(ParameterError, match=f"parameter {name}"):
        check(KNOWN, {name: value})


def test_unknown_names_come_with_the_closest_one():
    with pytest.raises(ParameterError, match="did you mean 'name'"):
        check(KNOWN, {"nmae": "x"})
    with pytest.raises(ParameterError, match="no parameter at all"):
        check([], {"x": 1})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("n", "-12", -12),
        ("lr", "1e-3", 0.001),
        ("lr", "3", 3.0),
        ("name", "12", "12"),
        ("name", "", ""),
        ("on", "Yes", True),
        ("on", "false", False),
        ("l", "[B02, 1e-3, 7, true, no]", ["B02", 0.001, 7, True, "no"]),
        ("d", "{a: 1, b: [2.5]}", {"a": 1, "b": [2.5]}),
    ],
)
def test_parse_text(name, text, value):
    (declared,) = [p for p in KNOWN if p.name == name]
    assert parse_text(declared, text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("n", "1.5"),
        ("n", "x"),
        ("lr", "nan"),
        ("on", "1"),
        ("on", ""),
        ("l", "B02"),
        ("l", "[1"),
        ("d", "a"),
        ("d", "!!python/object:os.system x"),
    ],
)
def test_parse_text_refuses(name, text):
    with pytest.raises(ParameterError, match=f"parameter {name}"):
        parse_given(KNOWN, [(name, text)])


def test_parse_given_refuses_unknown_and_twice():
    with pytest.raises(ParameterError, match="did you mean 'lr'"):
        parse_given(KNOWN, [("lrr", "1")])
    with pytest.raises(ParameterError, match="given twice"):
        parse_given(KNOWN, [("n", "1"), ("n", "2")])


@given(FINITE)
def test_yaml_reads_every_float(value):
    assert yaml_value(repr(value)) == value


def test_yaml_keeps_text():
    assert yaml_value("[2020-06-01, 1:30, on, 010, B1e3]") == [
        "2020-06-01",
        "1:30",
        "on",
        "010",
        "B1e3",
    ]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"cells": 3}', '{"worksheets": []}'])
def test_what_is_no_notebook(tmp_path, content):
    path = tmp_path / "n.ipynb"
    path.write_text(content)
    with pytest.raises(RunError, match="not a notebook"):
        read_parameters(path)


def test_missing_notebook_and_missing_tag(notebook):
    with pytest.raises(RunError, match="no notebook"):
        read_parameters(Path("absent.ipynb"))
    with pytest.raises(RunError, match="tag 'parameters'"):
        read_parameters(notebook(tags=()))
