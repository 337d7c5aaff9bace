"""The similarity explorer: a patch chosen by control, click or code; the figure follows."""

import time

import numpy as np
import pytest
from matplotlib.figure import Figure

from maestro_lab.errors import ParameterError
from maestro_lab.explore import SimilarityExplorer
from maestro_lab.figures import similarity_map
from tests.batches.cubes import small_cube
from tests.figures.test_embedding_figures import alone, made_embeddings
from tests.test_live import IDLE, RUN_ALL, chromium, jupyterlab


@pytest.fixture(scope="module")
def cube():
    return small_cube()


@pytest.fixture
def explorer(cube):
    return SimilarityExplorer(cube, made_embeddings())


def pictures(figure):
    return [np.ma.filled(image.get_array(), -9) for axes in figure.axes for image in axes.images]


def image_and_words(view):
    _, below = view.children
    _, right = below.children
    words, image = right.children
    return image, words


def tap(picture, x, y):
    """Click as a browser does: the event of a holoviews stream."""
    import holoviews as hv

    (stream,) = (s for s in hv.streams.Stream.registry[picture] if isinstance(s, hv.streams.Tap))
    stream.event(x=x, y=y)


def test_state_is_read_and_set_from_code(cube, explorer):
    assert explorer.state == {"sample": 0, "row": 0, "column": 0}
    assert explorer.at(2, 1).state == {"sample": 0, "row": 2, "column": 1}
    assert explorer.at(0, 1, sample="place6").state == {"sample": 6, "row": 0, "column": 1}
    assert explorer.set(sample=3).state == {"sample": 3, "row": 0, "column": 1}
    first = SimilarityExplorer(cube, made_embeddings([3, 4]), sample=4, row=1, column=2)
    assert first.state == {"sample": 4, "row": 1, "column": 2}
    assert SimilarityExplorer(cube, made_embeddings([3, 4])).state["sample"] == 3


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"sample": 2}, "sample 2 is not embedded"),
        ({"sample": "nowhere"}, "'nowhere' is not embedded"),
        ({"row": 3}, "control 'row'\n.*0 to 2\n.*3"),
        ({"column": -1}, "control 'column'\n.*0 to 2\n.*-1"),
        ({"colum": 1}, "no control 'colum'\n.*sample, row, column"),
    ],
)
def test_a_bad_value_is_explained_and_moves_nothing(explorer, state, words):
    before = explorer.at(1, 1, sample=4).state
    with pytest.raises(ParameterError, match=words):
        explorer.set(**{"row": 2} | state)
    assert explorer.state == before
    assert image_and_words(explorer.view())[0].value, "and it still draws"


def test_the_static_twin_is_the_figure_of_the_state(cube, explorer):
    figure = explorer.at(1, 2, sample=7).static()
    assert isinstance(figure, Figure)
    expected = similarity_map(cube, made_embeddings(), sample=7, row=1, column=2)
    for one, other in zip(pictures(figure), pictures(expected), strict=True):
        np.testing.assert_array_equal(one, other)


def test_shown_by_a_runner_it_is_a_still_picture(explorer, capsys):
    explorer._ipython_display_()
    assert "Figure" in capsys.readouterr().out


def test_controls_move_the_picture_once(explorer, monkeypatch):
    view = explorer.view()
    image, _ = image_and_words(view)
    drawn = []
    draw = explorer.draw
    monkeypatch.setattr(explorer, "draw", lambda **state: drawn.append(state) or draw(**state))
    before = image.value
    explorer.controls["row"].value = 2
    assert image.value != before and bytes(image.value[:4]) == b"\x89PNG"
    explorer.at(1, 1, sample=4)
    assert drawn == [{"sample": 0, "row": 2, "column": 0}, {"sample": 4, "row": 1, "column": 1}]


def test_a_click_chooses_the_patch_under_it(explorer):
    picture = explorer.picture(0)
    rows, columns = 6, 12
    assert picture.bounds.lbrt() == (0, 0, columns, rows)
    for x, y, sample, row, column in (
        (0.5, rows - 0.5, 0, 0, 0),
        (2.9, rows - 2.1, 0, 2, 2),
        (4.2, rows - 1.5, 1, 1, 1),
        (11.5, 0.5, 7, 2, 2),
    ):
        tap(picture, x, y)
        assert explorer.state == {"sample": sample, "row": row, "column": column}


@pytest.mark.parametrize(("x", "y"), [(7.0, 5.0), (-0.1, 1.0), (13.0, 1.0), (1.0, 6.1), (1.0, 0.0)])
def test_a_click_beside_all_patches_moves_nothing(explorer, x, y):
    """Among them one on a window that is not embedded."""
    before = explorer.at(1, 1).state
    tap(explorer.picture(0), x, y)
    assert explorer.state == before


def test_a_click_moves_the_figure_and_not_the_picture_under_the_pointer(explorer, monkeypatch):
    image, _ = image_and_words(explorer.view())
    before, picture, offered = image.value, explorer.picture(0), []
    offer = explorer.picture
    monkeypatch.setattr(explorer, "picture", lambda sample: offered.append(sample) or offer(sample))
    tap(picture, 4.5, 4.5)
    assert image.value != before and explorer.state["sample"] == 1 and not offered
    explorer.set(sample=4)
    assert offered == [4], "another sample by its number brings its own picture"


def test_the_picture_is_that_of_the_figure(explorer):
    left = explorer.set(sample=4).static().axes[0].images[0].get_array()
    picture = explorer.picture(4)
    channels = np.stack([picture.dimension_values(k + 2, flat=False) for k in range(3)])
    np.testing.assert_allclose(np.moveaxis(channels, 0, -1)[::-1], left)


def test_a_number_that_is_not_embedded_is_explained_in_words(explorer):
    image, words = image_and_words(explorer.view())
    explorer.controls["sample"].value = 2
    assert "sample 2 is not embedded" in words.value and image.layout.display == "none"
    explorer.controls["sample"].value = 3
    assert not words.value and image.layout.display == "block" and image.value


def test_a_redraw_is_quick(cube):
    """In seconds of the processor, some four times what it takes."""
    explorer = SimilarityExplorer(alone(cube), made_embeddings())
    image, _ = image_and_words(explorer.view())
    costs = []
    for column in (1, 2, 0, 1):
        start = time.process_time()
        explorer.at(0, column)
        costs.append(time.process_time() - start)
    assert image.value and min(costs) < 1.0


LIVE = """
from maestro_lab.explore import SimilarityExplorer
from tests.batches.cubes import small_cube
from tests.figures.test_embedding_figures import made_embeddings
explorer = SimilarityExplorer(small_cube(), made_embeddings())
explorer
"""


@pytest.mark.notebooks
def test_a_click_in_jupyterlab_moves_the_figure(tmp_path, request, monkeypatch):
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if chromium() is None:
        pytest.skip("no chromium on this machine (a system package): JupyterLab is not shown")
    from nbformat import v4, write

    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [v4.new_code_cell(LIVE.strip())]
    write(v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), tmp_path / "live.ipynb")
    with jupyterlab(tmp_path) as address, api.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.goto(f"{address}/lab/tree/live.ipynb")
        page.wait_for_function(IDLE, timeout=90_000)
        page.evaluate(RUN_ALL)
        picture = page.locator(".bk-Figure .bk-Canvas, .bk-Figure").last
        picture.wait_for(timeout=90_000)
        figure = page.locator(".jp-OutputArea img").last
        figure.wait_for(timeout=30_000)
        before = figure.get_attribute("src")
        time.sleep(2)
        box = picture.bounding_box()
        page.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + 0.8 * box["height"])
        end = time.monotonic() + 20
        number = page.locator(".widget-text input").first
        while time.monotonic() < end and number.input_value() == "0":
            time.sleep(0.1)
        assert number.input_value() == "7", "the last window of the second row"
        while time.monotonic() < end and figure.get_attribute("src") == before:
            time.sleep(0.1)
        assert figure.get_attribute("src") != before
        browser.close()
