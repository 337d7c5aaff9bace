"""Read the weights of a Lightning checkpoint without running anything that is in it.

A ``.ckpt`` is a pickle in a zip. The published ones hold, beside their tensors, objects of their
authors' own package, and a pickle may name any function of any package. Here torch's restricted
unpickler reads it. Classes that it does not know become stand-ins, which keep what they are given
and do nothing; a file that asks for something that runs programs is refused.
"""

from __future__ import annotations

import threading
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, serialization

from maestro_lab.errors import WeightsError

__all__ = ["read_lightning"]

_AGAIN = "fetch the file again from where it was published"
_OURS, _AVERAGED = "model.", "ema_model."

_DANGEROUS = (
    *("os", "posix", "nt", "sys", "subprocess", "shutil", "socket", "ctypes", "cffi", "importlib"),
    *("runpy", "pickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "code"),
    *("codeop", "pty", "commands", "multiprocessing", "webbrowser", "timeit", "profile", "pdb"),
    *("cProfile", "bdb", "pip", "setuptools", "distutils", "imp", "pkgutil", "zipimport"),
    *(f"builtins.{name}" for name in ("eval", "exec", "compile", "open", "__import__", "input")),
    *("builtins.breakpoint", "io.open", "_io.open", "io.FileIO", "_io.FileIO", "codecs.open"),
    *("types.CodeType", "types.FunctionType", "numpy.load", "tempfile", "urllib", "http"),
    *("torch.load", "torch.serialization.load", "torch.storage._load_from_bytes", "torch.hub"),
    *("torch.jit", "torch.package", "torch.ops", "torch.utils.cpp_extension", "torch._dynamo"),
)
"""Modules and names that run programs, read files, or unpickle without restriction."""

_LISTS = ("collections.deque",)
_DICTS = ("collections.defaultdict", "AttributeDict")
_LOCK = threading.Lock()


class _StandIn:
    """In place of an object of a class that the file brings along: keeps, and does nothing."""

    arguments: tuple[Any, ...] = ()  # what its class would have been called with
    state: Any = None  # what it would have been restored from

    def __new__(cls, *arguments: Any) -> _StandIn:
        found = object.__new__(cls)
        found.arguments = arguments
        return found

    def __init__(self, *arguments: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _List(_StandIn):
    def __new__(cls, *arguments: Any) -> list:
        return []


class _Dict(_StandIn):
    def __new__(cls, *arguments: Any) -> dict:
        return {}


def _stand_in(name: str) -> tuple[type, str]:
    """Make a class of its own for a foreign name; torch pairs classes with names so."""
    base = _List if name in _LISTS else _Dict if name.endswith(_DICTS) else _StandIn
    return type(name, (base,), {}), name


def read_lightning(path: str | Path, ema: bool = False) -> dict[str, Tensor]:
    """Read the tensors of a published model, by official name.

    Parameters
    ----------
    path
        A Lightning checkpoint (the zip format of ``torch.save``), or the same names as safetensors.
    ema
        Take the averaged weights (``ema_model.``) in place of the model's own.

    Returns
    -------
    dict
        Official parameter name, without ``model.``, to tensor in memory.

    Raises
    ------
    WeightsError
        If the file is no such thing, is damaged, asks for something that runs programs, or lacks
        the weights that were asked for.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise WeightsError(
            f"no file {path}",
            expected="a Lightning checkpoint or a safetensors file",
            found="a folder" if path.is_dir() else "nothing",
            do="name the file of weights",
        )
    if path.suffix == ".safetensors":
        return _select(path, _read_safetensors(path), ema=ema)
    mapped = _select(path, _state_dict(path), ema=ema)  # read from the file where it is wanted
    whole = torch.contiguous_format
    return {name: tensor.detach().clone(memory_format=whole) for name, tensor in mapped.items()}


def _select(path: Path, state: Mapping[str, Tensor], *, ema: bool) -> dict[str, Tensor]:
    """Take one set of names, without its prefix; names without any are those of the model."""
    prefixed = any(name.startswith((_OURS, _AVERAGED)) for name in state)
    prefix = _AVERAGED if ema else _OURS if prefixed else ""
    found = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
    if not found:
        raise WeightsError(
            f"no {'averaged ' if ema else ''}weights in {path.name}",
            expected=f"names that begin with {prefix or _OURS}",
            found=", ".join(list(state)[:3]) or "no names at all",
            do=f"read it with ema={not ema}" if prefixed else "take another file",
        )
    return found


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{path} cannot be read",
            expected="a safetensors file",
            found=str(error).splitlines()[0],
            do=_AGAIN,
        ) from error


def _state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors under ``state_dict``, or a bare dict of tensors."""
    _check_zip(path)
    whole = _unpickle(path)
    state = whole.get("state_dict", whole) if type(whole) is dict else whole
    if not isinstance(state, dict):
        raise WeightsError(
            f"{path.name} holds no weights",
            expected="a dict with state_dict, or a dict of tensors",
            found=type(state).__name__,
            do="take another file",
        )
    state = dict(dict.items(state))  # the attributes of an OrderedDict may be anything
    for name, value in state.items():
        if type(name) is not str or not _is_plain(value):
            raise WeightsError(
                f"{path.name}: state_dict holds something else than weights",
                expected="names, and plain tensors with all their numbers in the file",
                found=f"{str(name)[:80]}: {type(value).__name__}",
                do="take another file",
            )
    return state


def _is_plain(value: Any) -> bool:
    if type(value) not in (Tensor, torch.nn.Parameter) or value.layout is not torch.strided:
        return False
    elsewhere = value.is_meta or value.is_quantized
    return (
        not elsewhere and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )


def _check_zip(path: Path) -> None:
    """Refuse what ``torch.save`` did not write as an uncompressed zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        with path.open("rb") as file:
            start = file.read(24)
        cut = start.startswith(b"PK")
        raise WeightsError(
            f"{path.name} is no checkpoint that can be read safely",
            expected="the zip format of torch.save (1.6 or newer)",
            found=f"a zip that is cut off or damaged ({error})"
            if cut
            else f"a file that begins with {start!r}, perhaps the old format, a pickle",
            do=_AGAIN if cut else "ask for the file as safetensors, or saved with a newer torch",
        ) from error
    packed = [e.filename for e in entries if e.compress_type != zipfile.ZIP_STORED]
    names = [e.filename for e in entries]
    pickles = [name for name in names if name.endswith("/data.pkl")]
    if packed or len(pickles) != 1 or len(set(names)) < len(names):
        raise WeightsError(
            f"{path.name} is a zip, but not one that torch.save wrote",
            expected="one data.pkl, each file once, nothing compressed",
            found=f"{len(pickles)} data.pkl, {len(names)} files, {len(packed)} compressed",
            do=_AGAIN,
        )


def _unpickle(path: Path) -> Any:
    """Read a checkpoint with torch's restricted unpickler and stand-ins for what it lacks."""
    try:
        with _registered([]):
            foreign = serialization.get_unsafe_globals_in_checkpoint(str(path))
        _refuse_dangerous(path, foreign)
        with _registered([_stand_in(name) for name in foreign]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a pickle protocol that torch.save does not use
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except WeightsError:
        raise
    except Exception as error:  # a broken pickle may break anything
        raise WeightsError(
            f"{path.name} cannot be read safely",
            expected="tensors, numbers, text and settings, as Lightning saves them",
            found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            do="ask for the file as safetensors; do not open it by other means",
        ) from error


def _refuse_dangerous(path: Path, names: Sequence[str]) -> None:
    for name in sorted(names):
        if any(name == known or name.startswith(f"{known}.") for known in _DANGEROUS):
            raise WeightsError(
                f"{path.name} asks for {name}, which has no place among weights: it was not opened",
                expected="tensors, numbers, text and settings",
                found=name,
                do="do not open this file by other means; tell those it came from",
            )


@contextmanager
def _registered(classes: Sequence[tuple[type, str]]) -> Iterator[None]:
    """Let torch know these classes, and for the moment none that others told it to trust."""
    with _LOCK:
        trusted = serialization.get_safe_globals()
        serialization.clear_safe_globals()
        serialization.add_safe_globals(list(classes))
        try:
            yield
        finally:
            serialization.clear_safe_globals()
            serialization.add_safe_globals(trusted)
