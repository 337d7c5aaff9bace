"""The parameters cell of a notebook: read, checked and converted, strictly.

papermill passes on any name and any value. Here a misspelt name or a wrong type is an error before
anything runs.
"""

from __future__ import annotations

import ast
import difflib
import io
import json
import math
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maestro_lab.errors import ParameterError, RunError
from maestro_lab.runs.files import NotPlainError, plain
from maestro_lab.runs.yaml12 import yaml_value

__all__ = [
    "TYPES",
    "Parameter",
    "check",
    "convert",
    "parse",
    "parse_given",
    "parse_text",
    "read_parameters",
]

TYPES = {"int": int, "float": float, "str": str, "bool": bool, "list": list, "dict": dict}
"""The types a parameter may have, by the name that stands in the cell."""

_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}
_FORM = "name: int|float|str|bool|list|dict = literal  # help"


@dataclass(frozen=True)
class Parameter:
    """One line of the parameters cell.

    Parameters
    ----------
    name
        The variable.
    type
        ``int``, ``float``, ``str``, ``bool``, ``list`` or ``dict``.
    default
        Its value in the notebook.
    help
        The comment behind it.
    """

    name: str
    type: str
    default: Any
    help: str = ""


def read_parameters(notebook: Path) -> list[Parameter]:
    """Read the cell tagged ``parameters`` of a notebook file.

    Raises
    ------
    RunError
        If the notebook is missing, cannot be read, or has not exactly one such cell.
    ParameterError
        If a line of the cell is not ``name: type = literal``.
    """
    # Plain JSON, because importing nbformat takes longer than everything else here.
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        tagged = [c for c in cells if "parameters" in c["metadata"].get("tags", [])]
        sources = ["".join(c["source"]) for c in tagged if c["cell_type"] == "code"]
    except FileNotFoundError:
        raise RunError(
            f"no notebook {notebook}",
            expected="the path of a .ipynb file",
            found=f"nothing there; the current folder is {Path.cwd()}",
            do="name a notebook that exists",
        ) from None
    except OSError as error:
        raise RunError(f"{notebook} cannot be read", found=error.strerror) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{notebook} is not a notebook", expected="Jupyter notebook format 4", found=repr(error)
        ) from error
    if len(sources) != 1:
        raise RunError(
            f"{notebook.name}: parameters cannot be set",
            expected="exactly one code cell with the tag 'parameters'",
            found=f"{len(sources)} of them",
            do="in JupyterLab: select the cell, property inspector (gear), Cell Tags, 'parameters'",
        )
    return parse(sources[0])


def parse(source: str) -> list[Parameter]:
    """Parse the source of a parameters cell.

    Parameters
    ----------
    source
        Lines ``name: type = literal  # help``; a literal may span lines. Comments and blank lines
        are free.

    Raises
    ------
    ParameterError
        Names the line that is something else.

    Examples
    --------
    >>> parse("epochs: int = 10  # passes over the data")
    [Parameter(name='epochs', type='int', default=10, help='passes over the data')]
    """
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError) as error:
        raise _bad_line(source, getattr(error, "lineno", None) or 1, "not Python") from error
    comments = _comments(source)
    found: dict[str, Parameter] = {}
    last_line = 0
    for statement in statements:
        line, end = statement.lineno, statement.end_lineno or statement.lineno
        if line <= last_line:
            raise _bad_line(source, line, "two statements on one line")
        last_line = end
        parameter = _parameter(source, statement, comments.get(end, ""))
        if parameter.name in found:
            raise _bad_line(source, line, f"{parameter.name} for the second time")
        found[parameter.name] = parameter
    return list(found.values())


def _parameter(source: str, statement: ast.stmt, comment: str) -> Parameter:
    line = statement.lineno
    if not isinstance(statement, ast.AnnAssign):
        raise _bad_line(source, line, type(statement).__name__)
    if not isinstance(statement.target, ast.Name) or not statement.simple:
        raise _bad_line(source, line, "something other than a plain name")
    if not isinstance(statement.annotation, ast.Name) or statement.annotation.id not in TYPES:
        raise _bad_line(source, line, f"the type {ast.unparse(statement.annotation)}")
    if statement.value is None:
        raise _bad_line(source, line, "no default")
    parameter = Parameter(statement.target.id, statement.annotation.id, None, comment)
    try:
        default = convert(parameter, ast.literal_eval(statement.value))
    except ParameterError as error:
        raise _bad_line(source, line, error.found) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise _bad_line(source, line, "a value that is no literal") from error
    return Parameter(parameter.name, parameter.type, default, comment)


def _bad_line(source: str, line: int, found: object) -> ParameterError:
    lines = source.splitlines()
    text = lines[line - 1].strip() if line <= len(lines) else ""
    return ParameterError(
        f"parameters cell, line {line}: {text}",
        expected=_FORM,
        found=found,
        do="move anything else to the next cell",
    )


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("#").strip() for t in tokens if t.type == tokenize.COMMENT}


def check(parameters: Iterable[Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """Check given values against the declared parameters.

    Returns
    -------
    dict
        The given values, plain and of the declared type (an int for a float becomes a float).

    Raises
    ------
    ParameterError
        For an unknown name, with the closest known one, or a wrong type.

    Examples
    --------
    >>> check(parse("lr: float = 1e-3"), {"lr": 1})
    {'lr': 1.0}
    """
    known = {p.name: p for p in parameters}
    for name in given:
        if name not in known:
            raise _unknown(name, known)
    return {name: convert(known[name], value) for name, value in given.items()}


def _unknown(name: str, known: Iterable[str]) -> ParameterError:
    known = list(known)
    close = difflib.get_close_matches(str(name), known, n=1)
    return ParameterError(
        f"no parameter named {name!r}",
        expected=f"one of {', '.join(known)}" if known else "no parameter at all",
        found=name,
        do=f"did you mean {close[0]!r}?"
        if close
        else "see maestro-lab run NOTEBOOK --help-parameters",
    )


def convert(parameter: Parameter, value: Any) -> Any:
    """Return a value as the plain value of the declared type, or refuse it."""
    try:
        value = plain(value)
    except NotPlainError as error:
        raise _wrong(parameter, str(error)) from error
    if parameter.type == "float" and type(value) is int:
        try:
            value = float(value)
        except OverflowError as error:
            raise _wrong(parameter, "a number too large for a float") from error
    if type(value) is not TYPES[parameter.type]:
        raise _wrong(parameter, f"{value!r}, which is {type(value).__name__}")
    if not _all_finite(value):
        raise _wrong(parameter, f"{value!r}, which is not finite")
    return value


def _all_finite(value: Any) -> bool:
    if isinstance(value, list | dict):
        return all(
            _all_finite(item) for item in (value if isinstance(value, list) else value.values())
        )
    return not isinstance(value, float) or math.isfinite(value)


def parse_text(parameter: Parameter, text: str) -> Any:
    """Convert what was typed on the command line to the declared type.

    Parameters
    ----------
    parameter
        What the notebook declares.
    text
        A number, true/false/yes/no, any text, or YAML for lists and dicts.

    Raises
    ------
    ParameterError
        If the text does not say such a value.

    Examples
    --------
    >>> parse_text(Parameter("bands", "list", []), "[B02, B03]")
    ['B02', 'B03']
    """
    try:
        if parameter.type == "bool":
            return _BOOLEANS[text.strip().lower()]
        if parameter.type in ("list", "dict"):
            return convert(parameter, yaml_value(text))
        return convert(parameter, TYPES[parameter.type](text))
    except (ValueError, KeyError) as error:
        raise _wrong(parameter, repr(text)) from error


def parse_given(
    parameters: Iterable[Parameter], given: Iterable[tuple[str, str]]
) -> dict[str, Any]:
    """Convert what was typed for several parameters; unknown names are errors."""
    known = {p.name: p for p in parameters}
    values: dict[str, Any] = {}
    for name, text in given:
        if name not in known:
            raise _unknown(name, known)
        if name in values:
            raise ParameterError(
                f"parameter {name} is given twice", found=f"{values[name]}, {text}"
            )
        values[name] = parse_text(known[name], text)
    return values


def _wrong(parameter: Parameter, found: str) -> ParameterError:
    examples = {
        "int": "a whole number, as 10",
        "float": "a finite number, as 1e-3",
        "str": "text",
        "bool": "true or false",
        "list": "a list of plain values, as [B02, B03]",
        "dict": "a mapping of plain values, as {B02: 0.5}",
    }
    return ParameterError(
        f"parameter {parameter.name}",
        expected=f"{parameter.type}: {examples[parameter.type]}",
        found=found,
        do=f"give another value: -p {parameter.name} VALUE",
    )
