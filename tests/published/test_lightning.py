"""Lightning checkpoints are read in full, and nothing in them ever runs."""

import builtins
import collections
import datetime
import enum
import functools
import importlib
import operator
import os
import pathlib
import pickle
import runpy
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from maestro_lab.errors import WeightsError
from maestro_lab.models.heads import HeadConfig
from maestro_lab.published.lightning import read_lightning
from maestro_lab.published.weights import load_official
from tests.models.conftest import Oracle
from tests.published.conftest import lightning, raw, saved, weights


def same(found, expected) -> bool:
    """Compare names, types and bits."""
    return list(found) == list(expected) and all(
        found[n].dtype == t.dtype and torch.equal(found[n], t) for n, t in expected.items()
    )


def refusal(path, **options) -> str:
    """Return the message with which a file is refused; it says what was expected and found."""
    with pytest.raises(WeightsError) as caught:
        read_lightning(path, **options)
    text = str(caught.value)
    assert "expected:" in text and "found:" in text and "to do:" in text
    return text


def test_the_published_layout(shared):
    folder = shared / "fixtures" / "maestro"
    path = folder / "treesat_group_i1_lightning_layout.ckpt"
    recorded = load_file(folder / "treesat_group_i1.safetensors")
    expected = {n[2:]: t.float() for n, t in recorded.items() if n.startswith("w.")}
    found = read_lightning(path)
    assert set(found) == set(expected) and len(found) == 166
    assert all(torch.equal(found[n], t) for n, t in expected.items())
    averaged = read_lightning(path, ema=True)
    assert set(averaged) == set(found)
    assert not any(torch.equal(averaged[n], t) for n, t in found.items())


def test_a_published_file_fills_model_and_head(shared, vectors):
    folder = shared / "fixtures" / "maestro"
    path = folder / "treesat_group_i1_lightning_layout.ckpt"
    oracle = Oracle("treesat_group_i1", vectors)
    targets = {"treesat_mlc_thresh": HeadConfig("multilabel", 15)}
    model, heads, report = load_official(path, oracle.config, targets=targets)
    assert repr(report).startswith("166 of 166 tensors, 100 % of the parameters")
    logits = heads["treesat_mlc_thresh"](model.features(oracle.batch))
    recorded = load_file(folder / "treesat_group_i1.safetensors")
    expected = recorded["probe.logits_attentive.treesat_mlc_thresh"].float()
    assert (logits - expected).abs().max() < 1e-5


class Mask:
    """As in the published files: plain settings; this one tells when it is really built."""

    built = False

    def __init__(self) -> None:
        self.mask_ratio = 0.75

    def __setstate__(self, state) -> None:
        Mask.built = True


@pytest.mark.parametrize("there", [True, False], ids=["importable", "not importable"])
def test_classes_of_the_authors_are_never_built(foreign, tmp_path, monkeypatch, there):
    foreign("maestro.conf.mask", MaskConfig=Mask)
    path = saved(lightning({"mask": Mask(), "model_size": "tiny"}), tmp_path / "a.ckpt")
    if not there:
        for name in ("maestro", "maestro.conf", "maestro.conf.mask"):
            monkeypatch.delitem(sys.modules, name)
    Mask.built = False
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    trusted = [Mask, (Mask, "maestro.conf.mask.MaskConfig")]
    torch.serialization.add_safe_globals(trusted)  # somebody else in this process trusts it
    try:
        assert same(read_lightning(path), weights())
        assert set(trusted) <= set(torch.serialization.get_safe_globals())
    finally:
        torch.serialization.clear_safe_globals()
    assert not Mask.built


class Color(enum.Enum):
    RED = 1


class AttributeDict(dict):
    pass


def test_settings_of_many_kinds_do_no_harm(foreign, tmp_path):
    foreign("omegaconf.nodes", AnyNode=type("AnyNode", (), {}))
    foreign("lightning.utilities", AttributeDict=AttributeDict)
    settings = {
        "path": pathlib.PurePosixPath("a/b"), "when": datetime.datetime(2025, 1, 1),
        "color": Color.RED, "partial": functools.partial(print, "hello"), "size": torch.Size([2]),
        "node": sys.modules["omegaconf.nodes"].AnyNode(), "number": np.float64(0.5),
        "array": np.arange(3), "counts": collections.defaultdict(int, a=1),
        "queue": collections.deque([1, 2]), "attributes": AttributeDict(a=AttributeDict(b=2)),
        "set": {1, 2}, "bytes": b"abc", "get": operator.attrgetter("a"), "type": torch.float16,
        "big": 1 << 70, "function": len, "counter": collections.Counter("a"),
    }  # fmt: skip
    path = saved(lightning(settings), tmp_path / "a.ckpt")
    assert same(read_lightning(path), weights())
    assert same(read_lightning(path, ema=True), {n: t + 1 for n, t in weights().items()})


class Evil:
    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.system, f"{os.name}.system"),
        (os.remove, f"{os.name}.remove"),
        (eval, "builtins.eval"),
        (exec, "builtins.exec"),
        (open, "io.open"),
        (compile, "builtins.compile"),
        (builtins.__import__, "builtins.__import__"),
        (subprocess.check_output, "commands.check_output"),  # as pickles call it
        (importlib.import_module, "importlib.import_module"),
        (runpy.run_path, "runpy.run_path"),
        (pickle.loads, "pickle.loads"),
        (torch.load, "torch.serialization.load"),
        (torch.storage._load_from_bytes, "torch.storage._load_from_bytes"),
        (torch.hub.load, "torch.hub.load"),
    ],
)
@pytest.mark.parametrize("where", ["settings", "weights"])
def test_what_runs_programs_is_refused_by_name(tmp_path, monkeypatch, function, name, where):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    trace = tmp_path / "trace"
    whole = lightning({"mask": Evil(function, f"touch {trace}")})
    if where == "weights":
        whole["state_dict"]["model.evil"] = Evil(function, f"open({str(trace)!r}, 'w')")
    text = refusal(saved(whole, tmp_path / "evil.ckpt"))
    assert f"asks for {name}, which has no place among weights" in text
    assert "was not opened" in text and not trace.exists()


@pytest.mark.parametrize(
    "name", [b"os\nsystem", b"posix\nsystem", b"__builtin__\neval", b"commands\ngetoutput"]
)
def test_old_names_of_the_same_things(tmp_path, name):
    trace = tmp_path / "trace"
    hostile = b"\x80\x02c" + name + b"\nX\x05\x00\x00\x00touch\x85R."
    assert "asks for" in refusal(raw(tmp_path / "evil.ckpt", hostile))
    assert not trace.exists()


def test_what_is_not_known_to_be_dangerous_does_not_run_either(tmp_path):
    calls = []
    sys.modules[__name__].calls = calls
    hostile = [
        Evil(calls_it, "a"),
        Evil(getattr, calls_it, "__globals__"),
        Evil(operator.methodcaller, "append", 1),
        Evil(functools.partial, calls_it, "b"),
        Evil(map, calls_it, ("c",)),
    ]
    for each in hostile:
        path = saved(lightning({"mask": each}), tmp_path / "evil.ckpt")
        assert same(read_lightning(path), weights())
    rebuild = torch._tensor._rebuild_from_type_v2  # torch trusts it, and it calls what it is given
    for each in (
        Evil(collections.OrderedDict, Evil(calls_it, "d")),
        Evil(rebuild, calls_it, torch.Tensor, ("e",), {}),
    ):
        refusal(saved(lightning({"mask": each}), tmp_path / "evil.ckpt"))
    assert not calls


def calls_it(what) -> None:
    sys.modules[__name__].calls.append(what)


def test_an_object_in_place_of_weights(tmp_path):
    whole = lightning()
    whole["state_dict"] = Evil(calls_it, "weights")
    assert "holds no weights" in refusal(saved(whole, tmp_path / "a.ckpt"))
    whole = lightning()
    whole["state_dict"]["model.a"] = Evil(calls_it, "weights")
    assert "found:    model.a: " in refusal(saved(whole, tmp_path / "a.ckpt"))
    whole["state_dict"]["model.a"] = torch.zeros(1).expand(10**9)
    assert "all their numbers" in refusal(saved(whole, tmp_path / "a.ckpt"))
    whole["state_dict"]["model.a"] = torch.zeros(3).to_sparse()
    assert "something else than weights" in refusal(saved(whole, tmp_path / "a.ckpt"))
    assert "found:    list" in refusal(saved([torch.zeros(1)], tmp_path / "a.ckpt"))


def test_attributes_of_a_dict_cannot_hide_its_names(tmp_path):
    whole = lightning()
    whole["state_dict"].itemz = whole["state_dict"].keyz = "mine"
    path = saved(whole, tmp_path / "a.ckpt")
    content = path.read_bytes()
    assert b"itemz" in content
    path.write_bytes(content.replace(b"itemz", b"items").replace(b"keyz", b"keys"))
    assert same(read_lightning(path), weights())


def test_names_with_and_without_prefix(tmp_path):
    bare = saved(weights(), tmp_path / "bare.ckpt")
    assert same(read_lightning(bare), weights())
    assert "names that begin with ema_model." in refusal(bare, ema=True)
    save_file(
        {f"model.{n}": t.contiguous() for n, t in weights().items()}, tmp_path / "a.safetensors"
    )
    found = read_lightning(str(tmp_path / "a.safetensors"))
    assert all(torch.equal(found[n], t) for n, t in weights().items()) and len(found) == 3
    assert "read it with ema=False" in refusal(tmp_path / "a.safetensors", ema=True)
    only = saved({"state_dict": {"ema_model.a": torch.zeros(1)}}, tmp_path / "ema.ckpt")
    assert "read it with ema=True" in refusal(only)
    assert "no names at all" in refusal(saved({"state_dict": {}}, tmp_path / "none.ckpt"))


def test_tensors_outlive_the_file(tmp_path):
    path = saved(lightning(), tmp_path / "a.ckpt")
    found = read_lightning(path)
    path.write_bytes(b"\0" * path.stat().st_size)
    assert same(found, weights()) and all(t.is_contiguous() for t in found.values())


def test_files_of_other_formats(tmp_path):
    path = tmp_path / "a.ckpt"
    assert "found:    nothing" in refusal(path)
    assert "found:    a folder" in refusal(tmp_path)
    old = refusal(saved(lightning(), path, _use_new_zipfile_serialization=False))
    assert "the zip format of torch.save" in old and "perhaps the old format" in old
    for content in (b"", b"<html>", pickle.dumps({"a": 1})):
        path.write_bytes(content)
        assert "a file that begins with" in refusal(path)
    whole = saved(lightning(), path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "cut off or damaged" in refusal(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
    assert "1 compressed" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", b"hello")
    assert "0 data.pkl" in refusal(path)
    for pickled in (
        b"",
        b"\x80\x02",
        b"\x80\x02R.",
        b"\x80\x02ccollections\nOrderedDict\n}b.",
        b"hi",
    ):
        assert "cannot be read safely" in refusal(raw(path, pickled))
    assert "cannot be read safely" in refusal(saved(lightning(), path, pickle_protocol=4))
    (tmp_path / "a.safetensors").write_bytes(b"no")
    assert "expected: a safetensors file" in refusal(tmp_path / "a.safetensors")


def test_a_torchscript_archive_is_refused(tmp_path):
    raw(tmp_path / "a.ckpt", b"\x80\x02}.")
    with zipfile.ZipFile(tmp_path / "a.ckpt", "a") as archive:
        archive.writestr("archive/constants.pkl", b"\x80\x02).")
    assert "torchscript" in refusal(tmp_path / "a.ckpt")
