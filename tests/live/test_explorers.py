"""Every explorer in a real JupyterLab: each control moves, and the picture is what it should be."""

import time
from itertools import cycle

import pytest

from tests.live.conftest import open_notebook, shot
from tests.live.driving import alike, click, drag, drive, response, settled, state_of

pytestmark = [pytest.mark.notebooks, pytest.mark.slow]

SETUP = """
import numpy as np, torch, xarray as xr
import maestro_lab as ml
from maestro_lab import explore
from maestro_lab.workflow import Features

cube = ml.in_memory(ml.open_cube("landscape", samples=500, modalities=["s2", "s1_asc", "dem"]))
contract = ml.contract_for(cube, dates={"s2": 6, "s1_asc": 3})
model = ml.build_model(ml.MaestroConfig(contract, "tiny", joint_depth=1), 0).eval()
held_out = ml.held_out(cube, contract)
"""
EXPLORERS = {
    "cube": "explorer = explore.CubeExplorer(cube, target='land_cover')",
    "studio": "explorer = explore.ReconstructionStudio(model, held_out)",
    "embedding": """
some = ml.CubeDataset(cube, contract, split=None, train=False, samples=range(40))
found = ml.embed(model, some, draws=1)
tokens = ml.embed_tokens(model, some, most=400)
explorer = explore.EmbeddingExplorer(cube, found, tokens=tokens)
""",
    "probes": """
rng = np.random.default_rng(0)
table = Features({"random weights": [rng.normal(size=(500, 4, 6))],
                     "pretrained encoder": [rng.normal(size=(500, 4, 6))]}, np.arange(500), 2)
twice = cube.copy()  # each place in two samples
for name in ("easting", "northing", "block", "split"):
    twice[name] = xr.DataArray(np.repeat(cube[name].values[::2], 2), dims="sample")
twice["place"] = xr.DataArray(np.repeat(np.arange(250), 2), dims="sample")
explorer = explore.ProbeExplorer(table, twice, target="biomass", draws=20)
""",
    "runs": """
import pandas as pd
many = pd.DataFrame({
    "run": [f"run-{k}" for k in range(6)], "notebook": "02_pretrain",
    "status": ["completed"] * 5 + ["failed"], "seconds": 10.0,
    "param.mask_ratio": [0.5, 0.5, 0.75, 0.75, 0.9, 0.9],
    "param.fusion": ["group", "mod"] * 3,
    "result.val_loss": [0.5, 0.52, 0.47, 0.49, 0.51, None],
})
explorer = explore.RunsExplorer(many)
""",
    "bands": "explorer = explore.BandExplorer(cube, 's2', statistic='overlap', groups=3)",
}


@pytest.fixture(scope="module")
def page(browser, lab_server):
    """A notebook with every explorer, executed in JupyterLab."""
    cells = [SETUP, *(f"{code.strip()}\nexplorer" for code in EXPLORERS.values())]
    page = open_notebook(browser, lab_server, "explorers", cells)
    page.locator(".maestro-explorer").nth(len(EXPLORERS) - 1).wait_for(timeout=180_000)
    page.locator(".band-groups").wait_for(timeout=90_000)
    yield page
    page.close()


@pytest.fixture(scope="module")
def twins():
    """The same explorers, made here."""
    names = {}
    exec(SETUP, names)
    found = {}
    for name, code in EXPLORERS.items():
        exec(code, names)
        found[name] = names["explorer"]
    return found


def box_of(page, name):
    box = page.locator(".maestro-explorer").nth(list(EXPLORERS).index(name))
    box.scroll_into_view_if_needed()
    return box


@pytest.mark.parametrize(
    ("name", "least"), [("cube", 6), ("studio", 8), ("embedding", 5), ("runs", 3)]
)
def test_every_control_moves_the_picture(page, twins, name, least):
    box = box_of(page, name)
    assert drive(box, twins[name]) >= least
    shot(box, name)


def test_each_view_of_the_probe_laboratory_is_drawn(page, twins):
    box, twin = box_of(page, "probes"), twins["probes"]
    buttons = box.locator(".widget-toggle-buttons button")
    state, pictures = settled(box, twin)[0], []
    for k in range(1, buttons.count()):
        buttons.nth(k).click()
        state, picture = settled(box, twin, state)
        pictures.append(picture.tobytes())
        shot(box, f"probes_{state['view']}")
    assert len(set(pictures)) == len(pictures), "each view is another picture"
    choose = box.locator("select")
    choose.nth(1).select_option("kNN")
    state = settled(box, twin, state)[0]
    assert state["probe"] == "knn"
    choose.nth(0).select_option("species")
    state = settled(box, twin, state)[0]
    choose.nth(2).select_option("random weights")
    state = settled(box, twin, state)[0]
    assert state["features"] == "random weights"
    choose.nth(0).select_option("biomass")
    state = settled(box, twin, state)[0]
    buttons.filter(has_text="predictions").click()
    state, apart = settled(box, twin, state)
    box.locator("input[type=checkbox]").click()
    state, together = settled(box, twin, state)
    assert state["average"] and not alike(apart, together)


def test_a_click_shows_the_course_of_a_pixel_and_a_click_on_it_a_date(page, twins):
    box, twin = box_of(page, "cube"), twins["cube"]
    state = settled(box, twin)[0]
    main = state["modality"]
    click(box, twin, f"image:{main}", 25.0, 15.0)
    state = settled(box, twin, state)[0]
    assert state["pixel"] == pytest.approx((25.0, 15.0), abs=1.0)
    other = next(a.get_label() for a in twin.static().axes if a.get_label().startswith("course"))
    click(box, twin, other, *_middle(twin, other))
    assert settled(box, twin, state)[0]["date"] != state["date"]


def _middle(explorer, panel):
    axes = next(a for a in explorer.static().axes if a.get_label() == panel)
    low, high = axes.get_xlim()
    return low + 0.61 * (high - low), sum(axes.get_ylim()) / 2


def test_clicks_in_the_studio_choose_dates_and_places(page, twins):
    box, twin = box_of(page, "studio"), twins["studio"]
    box.locator("select").nth(0).select_option("s2")
    box.locator("button", has_text="images").click()
    time.sleep(1)
    state = settled(box, twin)[0]
    click(box, twin, "date:4", 2.0, 2.0)
    state = settled(box, twin, state)[0]
    assert state["date"] == 4
    click(box, twin, "patch:truth", 3.0, 1.0)
    assert settled(box, twin, state)[0]["hide"] == "location"


def test_a_box_around_points_shows_their_patches(page, twins):
    box, twin = box_of(page, "embedding"), twins["embedding"]
    state = settled(box, twin)[0]
    box.locator("select").filter(has_text="tokens").select_option("places")
    if state["points"] != "places":
        state = settled(box, twin, state)[0]
    panel = next(a for a in twin.static().axes if a.get_label() == "points")
    (x0, x1), (y0, y1) = panel.get_xlim(), panel.get_ylim()
    corners = [(x0 + s * (x1 - x0), y0 + s * (y1 - y0)) for s in (0.4, 0.97)]
    drag(box, twin, "points", *corners)
    state = settled(box, twin, state)[0]
    assert state["selected"], "the box held points"
    shot(box, "embedding_selected")


def test_a_box_around_runs_chooses_them(page, twins):
    box, twin = box_of(page, "runs"), twins["runs"]
    twin.set(result="val_loss", parameter="mask_ratio", colour="", view="small multiples")
    box.locator("button", has_text="small multiples").click()
    for k, option in ((1, "val_loss"), (2, "mask_ratio"), (3, "nothing")):
        box.locator("select").nth(k).select_option(option)
    time.sleep(1)
    state = settled(box, twin)[0]
    drag(box, twin, "result:val_loss", (0.65, 0.4686), (0.85, 0.4914))
    assert settled(box, twin, state)[0]["chosen"] == ["run-2", "run-3"]
    assert "failed" in box.inner_text()
    shot(box, "runs_chosen")


def test_band_groups_follow_the_controls(page):
    box = box_of(page, "bands")
    heading = box.locator(".band-groups")
    heading.filter(has_text="3 groups asked for").wait_for(timeout=30_000)
    words, plots = heading.inner_text(), _plots(box)
    box.locator(".noUi-handle").focus()
    page.keyboard.press("ArrowRight")
    heading.filter(has_text="4 groups asked for").wait_for(timeout=30_000)
    more, other = heading.inner_text(), _plots(box)
    assert more != words and other != plots, "the plots follow"
    for k, (option, told) in enumerate(
        (("s2", ""), ("wasserstein", "Wasserstein"), ("in", "clouds in"), ("JJA", "JJA"),
         ("complete", "complete linkage"), ("block", "blocks"))
    ):  # fmt: skip
        box.locator("select").nth(k).select_option(option)
        heading.filter(has_text=told).wait_for(timeout=30_000)
    assert _plots(box) != other
    shot(box, "bands")


def _plots(box):
    time.sleep(1.5)
    plots = box.locator(".bk-GridPlot, .bk-GridBox").last
    plots.wait_for(timeout=20_000)
    return plots.screenshot()


def test_a_burst_of_moves_ends_at_the_last_one(page, twins):
    box, twin = box_of(page, "cube"), twins["cube"]
    before = settled(box, twin)[0]
    box.locator(".noUi-handle").first.focus()
    for _ in range(8):
        page.keyboard.press("ArrowLeft")
        time.sleep(0.06)
    time.sleep(1)
    state = settled(box, twin, before)[0]
    values = twin.controls["date"].values
    moved = values.index(before["date"]) - values.index(state["date"])
    assert moved == min(8, values.index(before["date"]))


def test_pictures_follow_quickly(page, capsys):
    """Printed, not asserted: the machine may be busy. README tells what an idle one needs."""
    found = {}
    for name, handle in (("cube", 0), ("studio", 1)):
        box = box_of(page, name)
        slider = box.locator(".noUi-handle").nth(handle)
        low, now = (float(slider.get_attribute(f"aria-value{k}")) for k in ("min", "now"))
        keys = cycle(("ArrowRight", "ArrowLeft") if now == low else ("ArrowLeft", "ArrowRight"))

        def move(slider=slider, keys=keys):
            slider.focus()
            page.keyboard.press(next(keys))

        found[name] = response(box, move)
    with capsys.disabled():
        print(
            "\nmedian of 20 moves: " + ", ".join(f"{n} {1e3 * t:.0f} ms" for n, t in found.items())
        )
    assert found["cube"] < 5 and found["studio"] < 10


def test_no_error_in_the_console_and_nothing_asked_of_another_host(page):
    assert page.errors == []
    assert page.outside == []
    assert all(state_of(box_of(page, name)) for name in EXPLORERS)
