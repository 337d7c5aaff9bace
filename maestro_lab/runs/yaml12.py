"""What is typed on the command line, read by the rules of YAML 1.2."""

from __future__ import annotations

import functools
import re
from typing import Any

__all__ = ["yaml_value"]

_YAML_1_1 = (":bool", ":int", ":float", ":timestamp")
_YAML_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)$")
_YAML_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)$")
_YAML_FLOAT = re.compile(
    r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$|[-+]?\.inf$|\.nan$"
)


def yaml_value(text: str) -> Any:
    """Read a YAML value by the rules of YAML 1.2: ``1e-3`` is a number, ``no`` and dates are text.

    Raises
    ------
    ValueError
        If the text is not YAML.

    Examples
    --------
    >>> yaml_value("[1e-3, no, 2020-06-01]")
    [0.001, 'no', '2020-06-01']
    """
    import yaml

    try:
        return yaml.load(text, Loader=_yaml_loader())
    except yaml.YAMLError as error:
        raise ValueError("not YAML") from error


@functools.cache
def _yaml_loader() -> type:
    import yaml

    class Loader(yaml.SafeLoader):
        # PyYAML speaks YAML 1.1, in which 1e-3 is text and no is False.
        yaml_implicit_resolvers = {  # noqa: RUF012
            first: [(tag, regex) for tag, regex in resolvers if not tag.endswith(_YAML_1_1)]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", _YAML_BOOL, list("tTfF"))
    Loader.add_implicit_resolver("tag:yaml.org,2002:int", _YAML_INT, list("-+0123456789"))
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _YAML_FLOAT, list("-+.0123456789"))
    return Loader
