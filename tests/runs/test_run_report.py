import json
import re
import socket

import nbformat.v4 as v4
import pytest
from bs4 import BeautifulSoup

from maestro_lab.errors import RunError
from maestro_lab.runs import report, start_run
from maestro_lab.runs.collect import record_of
from maestro_lab.runs.report import keep_notebook

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
REMOTE = "https://cdn.example.org"


def loaded_from_elsewhere(html):
    """Everything a browser would fetch to show the page."""
    soup = BeautifulSoup(html, "html.parser")
    found = [
        str(tag)[:200]
        for tag in soup.find_all(["script", "link", "img", "iframe", "source", "video", "object"])
        for name in ("src", "href", "srcset", "data")
        if re.match(r"\s*(https?:)?//", tag.get(name, ""))
    ]
    styles = "".join(s.get_text() for s in soup.find_all("style"))
    styles += "".join(t["style"] for t in soup.find_all(style=True))
    return found + re.findall(r"@import[^;]*//|url\([\"']?(?:https?:)?//", styles)


def cell(source, *outputs, tags=()):
    return v4.new_code_cell(
        source, outputs=list(outputs), execution_count=1, metadata={"tags": list(tags)}
    )


def html(text):
    return v4.new_output("display_data", {"text/html": text, "text/plain": "?"})


@pytest.fixture
def executed(here):
    """A run whose notebook holds everything that could ask for a network."""
    run = start_run("01_bands", {"__annotations__": {"lr": "float"}, "lr": 1e-07}, "runs/first")
    run.results(accuracy=0.123456, pixels=5242880, verdict="It <works>.", good=True, none=None)
    nb = v4.new_notebook()
    nb.cells = [
        v4.new_markdown_cell(
            f"# Which bands?\n\n![a logo]({REMOTE}/a.png)\n\n## Part one\n\n[web]({REMOTE})"
        ),
        cell("lr: float = 1.0", tags=["parameters"]),
        cell(
            "plot()", v4.new_output("display_data", {"image/png": PIXEL, "text/plain": "<Figure>"})
        ),
        cell(
            "widgets()",
            html(
                f"<script src='{REMOTE}/x.js'></script><link rel='stylesheet' href='//cdn.org/x'>"
            ),
            html(f"<style>@import '{REMOTE}/y.css'; p {{background: url({REMOTE}/z.png)}}</style>"),
            html(
                f"<iframe src='{REMOTE}'></iframe><p style=\"background:url('{REMOTE}/b')\">b</p>"
            ),
            html("<table class='dataframe'><tr><td>7</td></tr></table>"),
            html("<script>var kept = '<img src=\"https://x.org/a.png\">';</script>"),
            v4.new_output(
                "display_data",
                {
                    "application/vnd.jupyter.widget-view+json": {"model_id": "1"},
                    "text/plain": "i(1)",
                },
            ),
            v4.new_output("display_data", {"application/vnd.of-another-program+json": {}}),
            v4.new_output("stream", name="stdout", text="epoch 1 \x1b[31mred\x1b[0m\n"),
        ),
    ]
    nb.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
    keep_notebook(nb, record_of(run.folder), here)
    return run


def test_pages_open_without_a_network(executed):
    for page in (executed.folder / "notebook.html", report("runs")):
        text = page.read_text(encoding="utf-8")
        assert loaded_from_elsewhere(text) == []
        assert PIXEL in text and f'href="{REMOTE}/a.png"' in text
        assert "var kept = '<img src=" in text, "text inside a script is not touched"
        assert "widget-view" not in text and "open the notebook to use it" in text


def test_the_page_of_a_run_shows_code_and_parameters(executed):
    soup = BeautifulSoup((executed.folder / "notebook.html").read_text(), "html.parser")
    assert soup.h1.get_text() == "Which bands?" and len(soup.find_all("h1")) == 1
    assert "lr: float = 1.0" in soup.get_text()
    assert not soup.select("details.code")
    facts = soup.select_one("details.facts")
    assert "1e-07" in facts.get_text()


def test_the_report(executed):
    page = report("runs", "page.html", title="A <title>")
    assert page.name == "page.html"
    soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    assert soup.h1.get_text() == "A <title>"
    assert soup.select_one(".verdict").get_text() == "It <works>."
    results = soup.select_one("section.results").get_text(" ")
    for text in ("accuracy", "0.1235", "5\u202f242\u202f880", "yes"):
        assert text in results
    code = soup.select("details.code")
    assert [c.summary.get_text() for c in code] == ["code, 1 line"] * 2
    assert not any(c.has_attr("open") for c in code)
    targets = [a["href"] for a in soup.select("nav a")]
    assert len(targets) == 2 and all(soup.find(id=t[1:]) for t in targets)
    assert soup.select_one(".scroll > table.dataframe")


def test_runs_of_every_kind_on_one_page(executed, here):
    second = start_run("01_bands", {"__annotations__": {"lr": float}, "lr": 0.5}, "runs/second")
    second.results(accuracy=float("nan"), listed=list(range(20)), by_class={"oak": 0.5})
    (second.folder / "figures").mkdir()
    (second.folder / "figures" / "loss.png").write_bytes(b"png")
    (second.folder / "notebook.ipynb").write_text('{"cells": [')
    broken = here / "runs" / "broken"
    broken.mkdir()
    (broken / "card.json").write_text("{")
    killed = here / "runs" / "killed"
    killed.mkdir()
    facts = {"status": "running", "host": socket.gethostname(), "pid": 0, "notebook": "02"}
    (killed / "card.json").write_text(json.dumps(facts))
    soup = BeautifulSoup(report("runs").read_text(encoding="utf-8"), "html.parser")
    assert [s["id"] for s in soup.select("section.run")] == [f"run-{n}" for n in (1, 2, 3, 4)]
    assert {"unreadable", "killed"} <= {s.get_text() for s in soup.select(".status")}
    grid = soup.select_one("table.grid")
    assert [th.get_text() for th in grid.select("thead th")][:3] == ["Run", "lr", "accuracy"]
    assert soup.select_one("figure figcaption").get_text() == "loss"
    assert "oak: 0.5" in soup.get_text()


def test_a_page_that_cannot_be_written(executed, here):
    with pytest.raises(RunError, match="cannot be written"):
        report("runs", here / "absent" / "page.html")
    with pytest.raises(RunError, match="no run below"):
        report(here / "nothing")
