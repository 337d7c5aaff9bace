"""Explorers: a state one can read and set, a still picture, a view, and no need of a network."""

import nbformat
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from nbclient import NotebookClient
from nbconvert import HTMLExporter

from maestro_lab.batches import CubeDataset, contract_for
from maestro_lab.errors import ParameterError
from maestro_lab.explore import BandExplorer, CubeExplorer, ReconstructionExplorer
from maestro_lab.explore.base import Explorer, interactive
from maestro_lab.models.config import MaestroConfig
from maestro_lab.models.maestro import Maestro
from maestro_lab.models.masking import Masking
from tests.batches.cubes import only, small_cube


@pytest.fixture(scope="module")
def cube():
    return small_cube()


@pytest.fixture(scope="module")
def data(cube):
    contract = contract_for(cube, modalities=["s2", "s1"], dates=2)
    return CubeDataset(cube, contract, split=None, train=False)


def build(data, **masking):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Maestro(MaestroConfig(data.contract, "nano", masking=Masking(**masking)))


@pytest.fixture(scope="module")
def model(data):
    return build(data)


@pytest.fixture(params=["cube", "guesses"])
def explorer(request, cube, model, data):
    made = {
        "cube": lambda: CubeExplorer(cube),
        "guesses": lambda: ReconstructionExplorer(model, data),
    }
    return made[request.param]()


def picture(figure):
    return np.asarray(figure.axes[0].images[0].get_array())


def test_state_is_set_and_read(explorer):
    before = explorer.state
    assert before["sample"] == 0 and before["modality"] == "s2"
    assert explorer.set(sample=3, modality="s1") is explorer
    assert explorer.state == {**before, "sample": 3, "modality": "s1"}
    assert explorer.set(**before).state == before


def test_a_control_moves_the_picture(explorer):
    first = picture(explorer.static())
    assert isinstance(explorer.static(), Figure)
    np.testing.assert_array_equal(picture(explorer.static()), first)
    assert not np.array_equal(picture(explorer.set(sample=3).static()), first)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"sampel": 1}, "no control 'sampel'\n.*sample, modality"),
        ({"sample": 8}, "control 'sample'\n.*0 to 7\n.*8"),
        ({"sample": -1}, "control 'sample'\n.*0 to 7\n.*-1"),
        ({"sample": "three"}, "control 'sample'\n.*0 to 7\n.*'three'"),
        ({"sample": 1.5}, "control 'sample'"),
        ({"modality": "s3"}, "control 'modality'\n.*s2, s1.*\n.*'s3'"),
        ({"modality": None}, "control 'modality'"),
    ],
)
def test_a_bad_value_is_explained_and_moves_nothing(explorer, state, words):
    before = explorer.set(sample=2).state
    with pytest.raises(ParameterError, match=words):
        explorer.set(**{"sample": 5, "modality": "s1"} | state)
    assert explorer.state == before


def test_view_needs_no_frontend(explorer, capsys):
    view = explorer.view()
    controls, _ = view.children
    assert list(controls.children) == list(explorer.controls.values())
    assert "Figure" in capsys.readouterr().out, "drawn once, for a start"


def test_a_date_beyond_the_last_is_the_last(cube):
    explorer = CubeExplorer(cube).set(date=99)
    assert explorer.state["date"] == 6
    figure = explorer.set(sample=5).static()
    assert figure.get_suptitle() == "place5: date 3 of 3"
    still = CubeExplorer(only(cube, "dem")).set(sample=3, date=6)
    assert still.state == {"sample": 3, "modality": "dem", "date": 0}
    with pytest.raises(ParameterError, match=r"control 'date'\n.*0 to 6"):
        explorer.set(date=-1)


def test_the_course_shows_means_of_valid_pixels(cube):
    _, right = CubeExplorer(cube).set(sample=3, date=2).static().axes
    ds = cube["s2"].isel(sample=3)
    for k, line in enumerate(right.lines[:4]):
        expected = [ds["values"].values[t, k][ds["valid"].values[t]].mean() for t in range(6)]
        np.testing.assert_allclose(line.get_ydata(), expected)
    assert [t.get_text() for t in right.get_legend().get_texts()] == ["B02", "B03", "B04", "B08"]
    assert right.get_ylabel() == "mean of valid pixels (DN)"


def test_a_missing_modality_is_said_to_be_missing(cube):
    left, _ = CubeExplorer(cube, "s1").set(sample=2).static().axes
    assert left.get_title() == "s1 is missing in this sample"


def test_a_lazy_cube_is_read_where_one_looks(cube):
    lazy, eager = (CubeExplorer(c).set(sample=4) for c in (cube.chunk(sample=1), cube))
    np.testing.assert_array_equal(picture(lazy.static()), picture(eager.static()))


def test_what_is_shown_first_can_be_chosen(cube, model, data):
    assert CubeExplorer(cube, "dem").state["modality"] == "dem"
    state = {"sample": 3, "modality": "s1", "mask_ratio": 0.5, "seed": 7}
    assert ReconstructionExplorer(model, data, **state).state == state
    with pytest.raises(ParameterError, match=r"control 'modality'\n.*s2, s1, dem\n.*'s3'"):
        CubeExplorer(cube, "s3")
    for wrong in ({"sample": 99}, {"modality": "dem"}, {"mask_ratio": 1.5}, {"seed": -1}):
        with pytest.raises(ParameterError, match=f"control '{next(iter(wrong))}'"):
            ReconstructionExplorer(model, data, **wrong)


@pytest.mark.parametrize("ratio", [0.03, 0.6, 0.95])
def test_the_models_own_ratio_is_kept(data, ratio):
    assert ReconstructionExplorer(build(data, ratio=ratio), data).state["mask_ratio"] == ratio


def test_hiding_more_hides_more_and_leaves_the_model_alone(model, data):
    config = model.config
    explorer = ReconstructionExplorer(model, data, modality="s1")

    def hidden(ratio):
        figure = explorer.set(mask_ratio=ratio).static()
        seen = [axes for axes in figure.subfigs[0].axes if axes.images][2:4]
        return sum((axes.images[0].get_array() == 0.82).all(-1).sum() for axes in seen)

    assert hidden(0.1) < hidden(0.9)
    assert model.config == config
    with pytest.raises(KeyError):
        explorer.draw(sample=0, modality="dem", mask_ratio=0.5, seed=0)
    assert model.config == config, "put back after an error as well"


def test_the_seed_hides_other_patches(model, data):
    explorer = ReconstructionExplorer(model, data)
    seen = [picture_of(explorer.set(seed=seed).static(), 2) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[0], seen[2])


def picture_of(figure, k):
    return np.asarray(figure.axes[k].images[0].get_array())


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
    (output,) = notebook.cells[0].outputs
    assert "image/png" in output["data"]
    assert not any("widget" in kind for kind in output["data"])
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
    heading, pane = explorer.live(**explorer.state)
    found = explorer.grouping()
    assert "2 groups asked for" in heading.data
    plots = list(pane.object)
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
    explorer = BandExplorer(winter)
    (said,) = explorer.live(**explorer.state)
    assert "no pixel to take statistics of" in said.data
