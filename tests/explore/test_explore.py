"""The frame of all explorers: a state one can read and set, a still picture, a view."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import nbformat
import numpy as np
import panel as pn
import param
import pytest
from matplotlib.figure import Figure
from nbclient import NotebookClient
from nbconvert import HTMLExporter

from maestro_lab.batches import CubeDataset, contract_for
from maestro_lab.errors import ParameterError
from maestro_lab.explore import BandExplorer, CubeExplorer, ReconstructionStudio, served
from maestro_lab.explore.base import Explorer, interactive
from maestro_lab.explore.controls import Choice, Number, Spot, Switch
from maestro_lab.explore.picture import point
from maestro_lab.explore.served import served_view
from tests.batches.cubes import only, small_cube
from tests.explore.conftest import build


@pytest.fixture(scope="module")
def cube():
    return small_cube()


@pytest.fixture(scope="module")
def data(cube):
    contract = contract_for(cube, modalities=["s2", "s1"], dates=2)
    return CubeDataset(cube, contract, split=None, train=False)


@pytest.fixture(params=["cube", "studio"])
def explorer(request, cube, data):
    made = {
        "cube": lambda: CubeExplorer(cube),
        "studio": lambda: ReconstructionStudio(build(data), data),
    }
    return made[request.param]()


class Squares(Explorer):
    """A picture of as many pixels as chosen, from a list that another control decides."""

    def __init__(self):
        super().__init__(
            {
                "kind": Choice(options=["even", "odd"]),
                "size": Choice(4, options=[2, 4]),
                "share": Number(0.5, low=0.0, high=1.0, step=0.1),
                "grey": Switch(False),
                "spot": Spot(taken=lambda v: (int(v[0]), int(v[1]))),
            }
        )

    def adapt(self, name):
        if name == "kind":
            start = 2 if self.controls["kind"].value == "even" else 1
            self.controls["size"].offer([start, start + 2])

    def draw(self, kind, size, share, grey, spot):
        from maestro_lab.figures.style import finish, new_figure

        if share > 0.9:
            raise ParameterError("share", expected="at most 0.9", found=share)
        figure = new_figure(2)
        axes = figure.subplots()
        axes.set_label("squares")
        axes.imshow(np.arange(size**2).reshape(size, size))
        return finish(figure)

    def words(self, **state):
        return f"{state['size']} x {state['size']}"

    def pointed(self, panel, x, y):
        return {"spot": (round(y), round(x))}

    def boxed(self, panel, x, y):
        return {"share": 0.1 * round(x[1] - x[0])}


def test_state_is_set_and_read(explorer):
    before = explorer.state
    assert before["sample"] == 0 and before["modality"] == "s2"
    assert explorer.set(sample=3, modality="s1") is explorer
    assert (explorer.state["sample"], explorer.state["modality"]) == (3, "s1")
    assert explorer.set(**before).state == before


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"sampel": 1}, "no control 'sampel'\n.*sample, modality"),
        ({"sample": 8}, "control 'sample'\n.*0 to 7\n.*8"),
        ({"sample": -1}, "control 'sample'\n.*0 to 7\n.*-1"),
        ({"sample": "three"}, "control 'sample'\n.*0 to 7\n.*'three'"),
        ({"sample": 1.5}, "control 'sample'"),
        ({"sample": True}, "control 'sample'"),
        ({"modality": "s3"}, "control 'modality'\n.*s2, s1.*\n.*'s3'"),
        ({"modality": None}, "control 'modality'"),
        ({"bands": "gamma"}, "control 'bands'\n.*radar.*\n.*'gamma'"),
    ],
)
def test_a_bad_value_is_explained_and_moves_nothing(explorer, state, words):
    if "bands" in state and isinstance(explorer, ReconstructionStudio):
        words = "control 'bands'\n.*VV, VH.*\n.*'gamma'"
    before = explorer.set(sample=2).state
    offered = [list(c.options) for c in explorer.controls.values() if isinstance(c, Choice)]
    with pytest.raises(ParameterError, match=words):
        explorer.set(**{"sample": 5, "modality": "s1"} | state)
    assert explorer.state == before
    again = [list(c.options) for c in explorer.controls.values() if isinstance(c, Choice)]
    assert again == offered, "what depends on the others is as it was, too"


def test_options_follow_the_control_they_depend_on():
    squares = Squares()
    assert squares.set(kind="odd").state["size"] == 1
    assert squares.set(size=3, kind="odd").state["size"] == 3
    with pytest.raises(ParameterError, match=r"control 'size'\n.*2, 4\n.*3"):
        squares.set(kind="even", size=3)
    assert squares.state["kind"] == "odd"


@pytest.mark.parametrize(
    ("state", "words"),
    [({"grey": 1}, "True or False"), ({"spot": 3}, "any value"), ({"share": "x"}, "0.0 to 1.0")],
)
def test_each_kind_of_control_says_what_it_takes(state, words):
    with pytest.raises(ParameterError, match=words):
        Squares().set(**state)
    assert Squares().set(spot=(1.0, 2.0), share=0.3, grey=True).state["spot"] == (1, 2)


@pytest.mark.parametrize(
    ("state", "hint"),
    [
        ({"size": "4"}, "4 without quotes"),
        ({"share": "0.5"}, "0.5 without quotes"),
        ({"kind": "evne"}, "did you mean 'even'"),
    ],
)
def test_what_was_probably_meant_is_said(state, hint):
    with pytest.raises(ParameterError, match=hint):
        Squares().set(**state)


def test_who_follows_is_told_once_a_change():
    squares, told = Squares(), []
    follow = lambda: told.append(dict(squares.state))  # noqa: E731
    squares.follow(follow)
    squares.set(kind="odd", size=3)
    assert [t["size"] for t in told] == [3]
    with pytest.raises(ParameterError):
        squares.set(share=7)
    squares.unfollow(follow)
    squares.set(size=1)
    assert len(told) == 1


def at(picture, panel, x, y):
    """Return a place of the data as shares of the picture, as a browser tells it."""
    axes = next(a for a in picture.figure.axes if a.get_label() == panel)
    across, up = picture.figure.transFigure.inverted().transform(axes.transData.transform((x, y)))
    return [float(across), 1 - float(up)]


def test_a_click_and_a_box_find_the_data_under_the_pointer():
    squares = Squares()
    picture = squares.picture()
    assert picture.png.startswith(b"\x89PNG") and picture.words == "4 x 4"
    place = at(picture, "squares", 2, 1)
    assert picture.axes_at(*place) == ("squares", pytest.approx(2), pytest.approx(1))
    point(squares, picture, {"start": place, "end": place})
    assert squares.state["spot"] == (1, 2)
    point(squares, picture, {"start": place, "end": at(picture, "squares", 3, 2)})
    assert squares.state["share"] == pytest.approx(0.1)
    before = squares.state
    point(squares, picture, {"start": [0.001, 0.001], "end": [0.001, 0.001]})
    point(squares, picture, {"start": place, "end": [0.001, 0.001]})
    assert squares.state == before, "beside the axes lies nothing"


def test_what_cannot_be_drawn_is_said():
    squares = Squares()
    picture = squares.set(share=1.0).picture()
    assert (picture.png, picture.source) == (b"", "")
    assert "at most 0.9" in picture.words


def test_the_widgets_of_jupyterlab_follow_and_are_followed():
    squares = Squares()
    view = squares.view()
    controls, words, image, _, line = view.children
    kind, size, share, grey = controls.children
    first = image.source
    assert first.startswith("data:image/png;base64,") and "4 x 4" in words.value
    kind.value = "odd"
    assert squares.state["size"] == 1 and list(size.options) == [("1", 1), ("3", 3)]
    assert size.value == 1 and image.source != first
    squares.set(size=3, grey=True)
    assert (size.value, grey.value) == (3, True) and "3 x 3" in words.value
    assert "size=3" in line.value
    image.event = {"number": 1, "start": at(squares.picture(), "squares", 1, 2),
                   "end": at(squares.picture(), "squares", 1, 2)}  # fmt: skip
    assert squares.state["spot"] == (2, 1)
    share.value = 1.0
    assert image.source == "" and "at most 0.9" in words.value
    share.value = 0.2
    assert image.source != ""


def test_the_widgets_of_panel_follow_and_are_followed():
    squares = Squares()
    controls, words, image, _, line = served_view(squares)
    kind, size, share, grey = controls
    first = image.source
    kind.value = "odd"
    assert squares.state["size"] == 1 and size.options == {"1": 1, "3": 3} and size.value == 1
    assert image.source != first
    squares.set(size=3, grey=True)
    assert (size.value, grey.value) == (3, True) and "3 x 3" in words.object
    assert "size=3" in line.object
    image.event = {"number": 1, "start": at(squares.picture(), "squares", 1, 2),
                   "end": at(squares.picture(), "squares", 1, 2)}  # fmt: skip
    assert squares.state["spot"] == (2, 1)
    with param.edit_constant(share):  # what a slider says when it is let go
        share.value_throttled = 1.0
    assert image.source == "" and "at most 0.9" in words.object


def test_a_tab_tells_the_time_and_then_what_it_is_or_what_went_wrong(monkeypatch):
    monkeypatch.setattr(served, "_TICK", 0.05)

    def fill(make):
        told, column = [], pn.Column(pn.pane.HTML(""))
        column[0].param.watch(lambda event: told.append(event.new), "object")
        with ThreadPoolExecutor(1) as maker:
            asyncio.run(served._fill(column, make, maker))
        return told, column

    told, column = fill(lambda: time.sleep(1.2) or Squares())
    assert "0 s" in told[0] and "1 s" in told[-1]
    assert "maestro-explorer" in column[0].css_classes

    def broken():
        raise ParameterError("no model", expected="one")

    assert "no model" in fill(broken)[1][0].object
    column = pn.Column(pn.pane.HTML(""))
    with ThreadPoolExecutor(1) as maker, pytest.raises(ZeroDivisionError):
        asyncio.run(served._fill(column, lambda: 1 / 0, maker))
    assert "ZeroDivisionError: division by zero" in column[0].object


def test_view_needs_no_frontend(explorer):
    controls, *_, image, _, _ = explorer.view().children
    shown = [name for name, control in explorer.controls.items() if not control.hidden]
    assert len(controls.children) == len(shown)
    assert image.source


def test_a_script_is_not_interactive():
    assert not interactive()


def test_subclasses_say_what_to_draw():
    with pytest.raises(NotImplementedError):
        Explorer({}).static()


CODE = """
from maestro_lab.explore import CubeExplorer
from tests.batches.cubes import small_cube
CubeExplorer(small_cube()).set(sample=1)
"""


def test_an_executed_notebook_holds_the_picture_and_needs_no_network(monkeypatch, request):
    monkeypatch.delenv("MAESTRO_LAB_RUN", raising=False)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    resources = {"metadata": {"path": str(request.config.rootpath)}}
    NotebookClient(notebook, timeout=60, resources=resources).execute()
    figure, words = (output["data"] for output in notebook.cells[0].outputs)
    assert "image/png" in figure and "click on a place" in words["text/html"]
    assert not any("widget" in kind for kind in (*figure, *words))
    exporter = HTMLExporter(embed_images=True, template_name="basic")
    page, _ = exporter.from_notebook_node(notebook)
    assert "data:image/png;base64" in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_the_band_explorer_answers_what_its_controls_ask(cube):
    explorer = BandExplorer(cube, statistic="overlap", groups=2)
    found = explorer.grouping()
    assert (found.statistic, found.linkage, len(found.groups)) == ("overlap", "average", 2)
    explorer.set(clouds="in", linkage="single", season="JJA", groups=9 - 5)
    found = explorer.grouping()
    assert str(found.statistics.selection) == "clouds in, train, JJA"
    assert len(found.groups) == 4
    assert len(explorer.grouping(modality="s1").groups) == 2, "there are but two bands"
    assert isinstance(explorer.static(), Figure)
    with pytest.raises(ParameterError, match="out, in"):
        explorer.set(clouds="maybe")
    with pytest.raises(ParameterError, match="'', DJF, MAM"):
        explorer.set(season="summer")


def test_the_band_explorer_shows_plots_of_what_it_found(cube):
    explorer = BandExplorer(cube, statistic="overlap", groups=2, bootstrap="block")
    found = explorer.grouping()
    assert "2 groups asked for" in explorer.words(**explorer.state)
    plots = list(explorer.plots(**explorer.state))
    assert len(plots) == 4
    bands = list(found.statistics.bands)
    shown = plots[1].dframe().set_index(["band", "other band"])["distance"]
    for (one, other), distance in shown.items():
        assert distance == found.matrix[bands.index(one), bands.index(other)]
    curves = [curve.label for curve in plots[0]]
    assert curves == bands


def test_the_band_explorer_says_when_there_is_nothing_to_measure(cube):
    winter = only(cube, "s2")
    winter["s2"]["valid"].values[:] = False
    view = BandExplorer(winter).view()
    assert "no pixel to take statistics of" in view.children[1].value
