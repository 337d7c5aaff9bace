"""Checkpoints that the tests write themselves."""

import io
import sys
import types
import zipfile
from collections import OrderedDict

import pytest
import torch


def raw(path, pickled: bytes):
    """Write a pickle into a zip as torch.save lays it out."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", b"little")
        archive.writestr("archive/version", b"3\n")
    return path


def weights() -> dict[str, torch.Tensor]:
    """Return a few tensors; a view, half precision, and none of a shape."""
    return {
        "encoder.s2.norm.weight": torch.arange(6.0).reshape(2, 3).T,
        "encoder.s2.norm.bias": torch.arange(10, dtype=torch.float16)[2:5],
        "mask_token.s2": torch.tensor(7.0),
    }


def lightning(hyper_parameters=None, **more) -> dict:
    """Return what Lightning saves: the model, its average beside it, and much else."""
    state = OrderedDict((f"model.{n}", t) for n, t in weights().items())
    state.update((f"ema_model.{n}", t + 1) for n, t in weights().items())
    return {
        "epoch": 99, "global_step": 1234, "pytorch-lightning_version": "2.5.1",
        "state_dict": state, "loops": {"fit_loop": {"state_dict": {}}}, "callbacks": {},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": []}],
        "lr_schedulers": [{"_last_lr": [1e-7], "total_steps": 100}], "hparams_name": "kwargs",
        "hyper_parameters": hyper_parameters or {}, **more,
    }  # fmt: skip


@pytest.fixture
def foreign(monkeypatch):
    """Make a module of somebody else's, which pickles may name while it is there."""

    def make(name: str, **members) -> types.ModuleType:
        parts = name.split(".")
        for k in range(1, len(parts) + 1):
            monkeypatch.setitem(sys.modules, ".".join(parts[:k]), types.ModuleType(name))
        module = sys.modules[name]
        for key, value in members.items():
            value.__module__, value.__qualname__ = name, key
            setattr(module, key, value)
        return module

    return make


def saved(whole, path, **options):
    """Save with torch, in memory first so that the inner folder has always the same name."""
    buffer = io.BytesIO()
    torch.save(whole, buffer, **options)
    path.write_bytes(buffer.getvalue())
    return path
