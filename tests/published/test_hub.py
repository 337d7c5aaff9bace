"""Weights by name: the real library, with answers of the hub's form in place of a network."""

import hashlib
import importlib
import sys
import time

import pytest

import maestro_lab as ml
from maestro_lab.errors import WeightsError
from maestro_lab.published.hub import fetch_official
from tests.published.conftest import lightning, saved, weights

NAME, COMMIT = "IGNF/MAESTRO_TreeSatAI-TS_tiny", "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Answers requests from a table; counts what was sent."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.asked, self.refuse = files, [], None
        self.http = self.usual = None

    def __call__(self, request):
        self.asked.append((request.method, request.url.path))
        if self.refuse == "down":
            raise self.http.ConnectError("no route to host", request=request)
        if self.refuse:
            status, code = self.refuse
            return self.http.Response(status, headers={"X-Error-Code": code}, request=request)
        path = request.url.path
        if path.startswith(f"/api/models/{NAME}/tree/"):
            rows = [
                {"type": "file", "oid": "0" * 40, "size": len(content), "path": name}
                for name, content in self.files.items()
            ]
            return self.http.Response(200, json=rows, request=request)
        name = path.rpartition("/")[2]
        if not path.startswith(f"/{NAME}/resolve/") or name not in self.files:
            code = {"X-Error-Code": "EntryNotFound"}
            return self.http.Response(404, headers=code, request=request)
        content = self.files[name]
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT,
            "Content-Length": str(len(content)),
        }  # fmt: skip
        body = content if request.method == "GET" else b""
        return self.http.Response(200, headers=headers, content=body, request=request)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    library = pytest.importorskip("huggingface_hub")
    if not hasattr(library, "set_client_factory"):
        pytest.skip("this huggingface_hub is older than 1.0: its network cannot be replaced")
    from huggingface_hub import constants, utils
    from huggingface_hub.utils import _http

    content = saved(lightning(), tmp_path / "made.ckpt").read_bytes()
    hub = Hub({"README.md": b"# Weights", "pretrain-epoch=99.ckpt": content})
    hub.http = importlib.import_module(type(utils.get_session()).__module__.split(".")[0])
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between tries
    hub.usual = _http._GLOBAL_CLIENT_FACTORY
    library.set_client_factory(
        lambda: hub.http.Client(transport=hub.http.MockTransport(hub), follow_redirects=True)
    )
    yield hub
    library.set_client_factory(hub.usual)


def refusal(*arguments, **options) -> str:
    """Return the message of a refusal; it says what was expected, found and to do."""
    with pytest.raises(WeightsError) as caught:
        fetch_official(*arguments, **options)
    text = str(caught.value)
    assert "expected:" in text and "found:" in text and "to do:" in text
    return text


def test_the_only_weights_are_found_and_read(hub, tmp_path):
    path = ml.fetch_official(NAME)
    assert path.name == "pretrain-epoch=99.ckpt" and COMMIT in str(path)
    assert path.is_relative_to(tmp_path / "cache")
    found = ml.read_lightning(path)
    assert list(found) == list(weights())


def test_a_file_is_fetched_once(hub, tmp_path):
    folder = tmp_path / "mine"
    path = fetch_official(NAME, "pretrain-epoch=99.ckpt", revision=COMMIT, folder=folder)
    assert path.is_relative_to(folder)
    fetched = len([m for m, p in hub.asked if m == "GET" and "resolve" in p])
    hub.refuse = "down"
    assert fetch_official(NAME, path.name, revision=COMMIT, folder=folder) == path
    assert fetched == 1 and len([m for m, p in hub.asked if m == "GET" and "resolve" in p]) == 1


def test_several_files_or_none(hub):
    hub.files["probe-epoch=9.ckpt"] = hub.files["model.safetensors"] = b""
    text = refusal(NAME)
    assert text.startswith(f"which file of {NAME}?") and "name one with filename=" in text
    assert "model.safetensors, pretrain-epoch=99.ckpt, probe-epoch=9.ckpt" in text
    hub.files = {"README.md": b""}
    assert refusal(NAME).startswith(f"no weights in {NAME}")


@pytest.mark.parametrize(
    ("refuse", "message"),
    [
        ((401, "RepoNotFound"), f"no repository {NAME}, or a private one"),
        ((404, "RepoNotFound"), f"no repository {NAME}, or a private one"),
        ((403, "GatedRepo"), f"{NAME} asks for an agreement"),
        ((404, "RevisionNotFound"), f"{NAME} has no such revision"),
        ((500, ""), f"{NAME} could not be fetched"),
        ("down", f"{NAME} could not be fetched"),
    ],
)
@pytest.mark.parametrize("filename", [None, "a.ckpt"])
def test_what_the_hub_refuses_is_told(hub, refuse, message, filename):
    hub.refuse = refuse
    assert refusal(NAME, filename).startswith(message)


def test_a_file_or_name_that_is_none(hub):
    assert refusal(NAME, "absent.ckpt").startswith(f"no file absent.ckpt in {NAME}")
    assert "is no name of a repository" in refusal("not a name/at all/or so")


def test_offline(hub, monkeypatch):
    from huggingface_hub import constants, set_client_factory

    set_client_factory(hub.usual)  # the one that minds the switch
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "OfflineModeIsEnabled" in refusal(NAME)
    assert "not in the cache: go online once" in refusal(NAME, "pretrain-epoch=99.ckpt")


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "pip install 'maestro-lab[hub]'" in refusal(NAME)
