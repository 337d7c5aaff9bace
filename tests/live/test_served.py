"""`maestro-lab explore` serves the same explorers to a browser, and to this machine alone."""

import os
import subprocess
import sys

import pytest

import maestro_lab as ml
from maestro_lab.explore import CubeExplorer
from tests.live.conftest import free_port, shot, wait_for, watched
from tests.live.driving import click, drive, settled

pytestmark = [pytest.mark.notebooks, pytest.mark.slow]

CUBE = {"samples": 6, "modalities": ["s2", "dem"]}


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    port = free_port()
    command = [sys.executable, "-m", "maestro_lab", "explore", "landscape", "--no-browser"]
    options = ["-o", "samples", "6", "-o", "modalities", "[s2, dem]", "--port", str(port)]
    with (tmp_path_factory.mktemp("served") / "log").open("w") as log:
        server = subprocess.Popen([*command, *options], stdout=log, stderr=log, env=os.environ)
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(address)
            page = watched(browser, address)
            page.goto(address)
            page.locator(".maestro-picture img").wait_for(timeout=60_000)
            yield page
            page.close()
        finally:
            server.terminate()
            server.wait(20)


@pytest.fixture(scope="module")
def twin():
    return CubeExplorer(ml.in_memory(ml.open_cube("landscape", **CUBE)))


def test_every_control_moves_the_picture(page, twin):
    box = page.locator(".maestro-explorer").first
    assert drive(box, twin) >= 3
    shot(page, "served_cube")


def test_a_click_reaches_the_explorer(page, twin):
    box = page.locator(".maestro-explorer").first
    state = settled(box, twin)[0]
    click(box, twin, f"image:{state['modality']}", 35.0, 45.0)
    assert settled(box, twin, state)[0]["pixel"] == pytest.approx((35.0, 45.0), abs=1.0)


def test_a_tab_is_made_when_it_is_opened(page):
    page.get_by_text("bands", exact=True).first.click()
    page.locator(".band-groups").wait_for(timeout=60_000)
    page.locator(".bk-Figure, .bk-GridPlot").first.wait_for(timeout=30_000)
    shot(page, "served_bands")


def test_no_error_in_the_console_and_nothing_asked_of_another_host(page):
    assert page.errors == []
    assert page.outside == []
