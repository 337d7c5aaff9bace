"""The training cockpit in a real JupyterLab: it follows, stops, and the cell goes on."""

import time

import pytest

from maestro_lab.explore import TrainingCockpit
from tests.live import conftest as lab
from tests.live.driving import drive, state_of

CELLS = [
    """
import maestro_lab as ml
from maestro_lab import explore

cube = ml.open_cube("landscape", samples=12, modalities=["dem", "s1_asc"]).load()
config = ml.MaestroConfig(ml.contract_for(cube, dates=2), "nano", joint_depth=1)
model = ml.build_model(config, 0)
train, held_out = ml.train_and_held_out(cube, config, seed=0)
run = ml.start_run("live", globals(), "run")
training = ml.TrainingConfig(epochs=100_000, batch_size=8, precision="fp32", log_every=1)
""",
    """
cockpit = explore.TrainingCockpit(run, every=0.5)
fitted = ml.pretrain(model, train, training, val=held_out, folder=run.folder, monitor=cockpit)
fitted
""",
    "explore.TrainingCockpit(run.folder)",
]
RUN_ALL = "() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }"


def step(page):
    line = page.locator(".maestro-line").first.inner_text()
    return int(line.split("step ")[1].split(" of")[0].replace(",", ""))


def changed(image, before, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if image.get_attribute("src") not in ("", before):
            return True
        time.sleep(0.1)
    return False


def _each_control_moves(page):
    """What this model guesses is known in its kernel alone: here, that the picture changes."""
    box = page.locator(".maestro-explorer").first
    box.scroll_into_view_if_needed()
    image, seen = box.locator(".maestro-picture img"), set()
    for move, name, wanted in (
        (lambda: box.locator("select").select_option("close up"), "scale", "close up"),
        (lambda: box.locator("select").select_option("logarithmic"), "scale", "logarithmic"),
        (lambda: _number(box, "1"), "sample", 1),
    ):
        before = image.get_attribute("src")
        seen.add(before)
        move()
        assert changed(image, before), name
        assert state_of(box)[name] == wanted
    assert len(seen) == 3 and image.get_attribute("src") not in seen


def _number(box, text):
    box.locator("input[type=number]").fill(text)
    box.locator("input[type=number]").press("Enter")


@pytest.mark.notebooks
def test_the_cockpit_follows_stops_and_goes_on(browser, lab_server, monkeypatch):
    monkeypatch.setattr(lab, "RUN_ALL", RUN_ALL)  # the cells are not waited for
    page = lab.open_notebook(browser, lab_server, "cockpit", CELLS)
    stop, image = page.locator(".maestro-stop").first, page.locator(".maestro-picture img").first
    stop.wait_for(timeout=90_000)
    image.wait_for(timeout=30_000)
    first = image.get_attribute("src")
    assert changed(image, first), "the curves grow while it trains"
    assert "training" in page.locator(".maestro-line").first.inner_text()
    lab.shot(page, "cockpit_training")

    stop.click()
    page.get_by_text("stopped after").first.wait_for(timeout=30_000)
    assert page.locator(".maestro-line").first.inner_text().startswith("stopped")
    assert not stop.is_visible()
    last = step(page)
    lab.shot(page, "cockpit_stopped")

    page.locator(".jp-CodeCell").nth(1).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    stop.wait_for(timeout=30_000)
    page.wait_for_function(
        f"""() => {{
          const line = document.querySelector('.maestro-line')?.innerText || '';
          const found = line.match(/step ([\\d,]+)/);
          return found && Number(found[1].replaceAll(',', '')) > {last};
        }}""",
        timeout=30_000,
    )
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:interrupt-kernel')")
    page.get_by_text("stopped after").first.wait_for(timeout=30_000)
    assert step(page) > last, "it went on where it had stopped; the square stops it as well"
    _each_control_moves(page)

    page.locator(".jp-CodeCell").nth(2).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    page.locator(".maestro-explorer").nth(1).wait_for(timeout=30_000)
    twin = TrainingCockpit(lab_server[0] / "run")
    assert drive(page.locator(".maestro-explorer").nth(1), twin) == 1, "the scale of a folder"
    assert page.errors == [] and page.outside == []
    page.close()
