"""Explorers in a real JupyterLab and a real browser: controls move, figures follow."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import pytest

CELLS = [
    """
import maestro_lab as ml
from maestro_lab import explore

cube = ml.open_cube("landscape", samples=6, modalities=["s2", "dem"])
explorer = explore.CubeExplorer(cube)
explorer
""",
    """
contract = ml.contract_for(cube, dates={"s2": 4})
model = ml.build_model(ml.MaestroConfig(contract, "nano", joint_depth=2))
held_out = ml.CubeDataset(cube, contract, split=None, train=False)
studio = explore.ReconstructionExplorer(model, held_out)
studio
""",
    """
finder = explore.BandExplorer(cube, statistic="overlap", groups=3)
finder
""",
]
RUN_ALL = """async () => {
  const app = window.jupyterapp;
  await app.commands.execute('notebook:run-all-cells');
}"""
IDLE = """() => {
  const widget = window.jupyterapp?.shell?.currentWidget;
  return widget?.sessionContext?.session?.kernel?.status === 'idle';
}"""


def chromium():
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")


@contextmanager
def jupyterlab(folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {f"JUPYTER_{k}_DIR": str(folder / k.lower()) for k in ("CONFIG", "RUNTIME")}
    own |= {f"JUPYTERLAB_{k}_DIR": str(folder / k.lower()) for k in ("SETTINGS", "WORKSPACES")}
    quiet = folder / "settings" / "@jupyterlab" / "apputils-extension"
    quiet.mkdir(parents=True)
    (quiet / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
    options = [
        "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
        "--ServerApp.port_retries=0", "--IdentityProvider.token=",
        f"--ServerApp.root_dir={folder}", "--LabApp.expose_app_in_browser=True",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.news_url=",
    ]  # fmt: skip
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            env=os.environ | own, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            _wait_for(f"http://127.0.0.1:{port}/api/status")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(20)


def _wait_for(address, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.3)
    raise TimeoutError(address)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A notebook with both explorers, executed in JupyterLab."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if chromium() is None:
        pytest.skip("no chromium on this machine (a system package): JupyterLab is not shown")
    from nbformat import v4, write

    folder = tmp_path_factory.mktemp("lab")
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [v4.new_code_cell(c.strip()) for c in CELLS]
    made = v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    write(made, folder / "live.ipynb")
    with jupyterlab(folder) as address, api.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1500, "height": 1400})
        page.outside = []
        page.on(
            "request",
            lambda r: None if r.url.startswith((address, "data:", "blob:", "ws:")) else
            page.outside.append(r.url),
        )  # fmt: skip
        page.goto(f"{address}/lab/tree/live.ipynb")
        page.wait_for_function(IDLE, timeout=90_000)
        page.evaluate(RUN_ALL)
        page.wait_for_function(
            "() => document.querySelectorAll('.jp-OutputArea img').length >= 2", timeout=90_000
        )
        page.locator(".band-groups").wait_for(timeout=90_000)
        yield page
        browser.close()


def picture(page, number):
    return page.locator(".jp-OutputArea img").nth(number).get_attribute("src")


def changed(page, number, before, seconds=20):
    """Wait until a picture is another one."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if page.locator(".jp-OutputArea img").count() > number and picture(page, number) != before:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.notebooks
def test_the_date_slider_moves_the_picture(page):
    before = picture(page, 0)
    page.locator(".noUi-handle").first.focus()
    page.keyboard.press("ArrowRight")
    assert changed(page, 0, before)


@pytest.mark.notebooks
def test_a_burst_of_moves_ends_at_the_last_one(page):
    handle = page.locator(".noUi-handle").first
    handle.focus()
    for _ in range(8):
        page.keyboard.press("ArrowRight")
        time.sleep(0.06)
    time.sleep(4)
    settled = picture(page, 0)
    page.keyboard.press("ArrowLeft")
    assert changed(page, 0, settled)
    page.keyboard.press("ArrowRight")
    end = time.monotonic() + 20
    while picture(page, 0) != settled and time.monotonic() < end:
        time.sleep(0.1)
    assert picture(page, 0) == settled


@pytest.mark.notebooks
def test_hiding_more_runs_the_model_again(page):
    before = picture(page, 1)
    page.locator(".noUi-handle").nth(1).focus()
    page.keyboard.press("ArrowLeft")
    assert changed(page, 1, before)


def band_groups(page):
    """The heading of the band explorer, and a picture of its plots."""
    time.sleep(1.5)
    heading = page.locator(".band-groups")
    plots = page.locator(".bk-GridPlot, .bk-GridBox").last
    plots.wait_for(timeout=20_000)
    return heading.inner_text(), plots.screenshot()


def answer(page, words, seconds=30):
    """Wait until the band explorer's heading tells some words."""
    heading = page.locator(".band-groups").filter(has_text=words)
    heading.wait_for(timeout=1000 * seconds)
    return band_groups(page)


@pytest.mark.notebooks
def test_band_groups_follow_the_controls(page):
    page.locator(".band-groups").scroll_into_view_if_needed()
    words, plots = answer(page, "3 groups asked for")
    assert "1 - histogram overlap" in words and "clear pixels only" in words
    page.locator(".noUi-handle").last.focus()
    page.keyboard.press("ArrowRight")
    more, other = answer(page, "4 groups asked for")
    assert more != words and other != plots, "the plots follow"
    choice = page.locator(".widget-dropdown select")
    clouds = next(k for k in range(choice.count()) if "in" in choice.nth(k).inner_text().split())
    choice.nth(clouds).select_option("in")
    cloudy, pictures = answer(page, "clouds in")
    assert cloudy != more and pictures != other
    assert page.locator(".bk-Figure canvas, .bk-Figure .bk-Canvas").count() >= 4


@pytest.mark.notebooks
def test_nothing_was_asked_of_another_host(page):
    assert json.dumps(page.outside) == "[]"
