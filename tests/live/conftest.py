"""A real JupyterLab and a real browser, one of each for all explorers."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

SHOTS = (
    Path(os.environ.get("MAESTRO_LAB_SHOTS", "")) if os.environ.get("MAESTRO_LAB_SHOTS") else None
)
IDLE = """() => {
  const widget = window.jupyterapp?.shell?.currentWidget;
  return widget?.sessionContext?.session?.kernel?.status === 'idle';
}"""
RUN_ALL = "async () => { await window.jupyterapp.commands.execute('notebook:run-all-cells'); }"


def chromium():
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for(address, seconds=90):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.3)
    raise TimeoutError(address)


@contextmanager
def jupyterlab(folder):
    port = free_port()
    own = {f"JUPYTER_{k}_DIR": str(folder / k.lower()) for k in ("CONFIG", "RUNTIME")}
    own |= {f"JUPYTERLAB_{k}_DIR": str(folder / k.lower()) for k in ("SETTINGS", "WORKSPACES")}
    settings = {
        "apputils-extension/notification": '{"fetchNews": "false"}',
        "notebook-extension/tracker": '{"windowingMode": "none"}',  # all cells are on the page
    }
    for name, text in settings.items():
        file = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    options = [
        "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
        "--ServerApp.port_retries=0", "--IdentityProvider.token=",
        f"--ServerApp.root_dir={folder}", "--LabApp.expose_app_in_browser=True",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.news_url=", "--LabApp.extension_manager=readonly",
    ]  # fmt: skip
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            env=os.environ | own, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            wait_for(f"http://127.0.0.1:{port}/api/status")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(20)


@pytest.fixture(scope="session")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if chromium() is None:
        pytest.skip("no chromium on this machine (a system package): nothing is shown")
    with api.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    with jupyterlab(folder) as address:
        yield folder, address


def watched(browser, address, **size):
    """Open a page that remembers requests to other hosts, and errors of its console."""
    page = browser.new_page(viewport={"width": 1500, "height": 1400} | size)
    page.outside, page.errors = [], []
    page.on(
        "request",
        lambda r: None if r.url.startswith((address, "data:", "blob:", "ws:")) else
        page.outside.append(r.url),
    )  # fmt: skip
    page.on("console", lambda m: page.errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: page.errors.append(str(e)))
    return page


def open_notebook(browser, lab_server, name, cells):
    """Write a notebook, open it in JupyterLab and run all its cells."""
    from nbformat import v4, write

    folder, address = lab_server
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made = v4.new_notebook(
        cells=[v4.new_code_cell(c.strip()) for c in cells], metadata={"kernelspec": kernel}
    )
    write(made, folder / f"{name}.ipynb")
    page = watched(browser, address)
    # in a workspace of its own, where no other notebook is open
    page.goto(f"{address}/lab/workspaces/{name}/tree/{name}.ipynb")
    page.wait_for_function(IDLE, timeout=90_000)
    page.evaluate(RUN_ALL)
    return page


def shot(target, name):
    """Keep a picture of a page or a part of it, where MAESTRO_LAB_SHOTS names a folder."""
    if SHOTS is not None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        target.screenshot(path=SHOTS / f"{name}.png")
