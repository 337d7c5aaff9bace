"""The embedding explorer: a patch or a box chosen by control, click or code; the figure follows."""

import time

import numpy as np
import pytest

from maestro_lab.errors import ParameterError
from maestro_lab.explore import EmbeddingExplorer
from maestro_lab.explore.lab import lab_view
from maestro_lab.figures.clouds import layouts
from maestro_lab.training.embed import Embeddings
from tests.batches.cubes import only, small_cube
from tests.figures.test_embedding_figures import alone, made_embeddings
from tests.figures.test_embedding_view import colours, made_tokens, panel, shown


@pytest.fixture(scope="module")
def cube():
    return small_cube()


@pytest.fixture
def explorer(cube):
    return EmbeddingExplorer(cube, made_embeddings([0, 1, 3, 4, 6, 7]), tokens=made_tokens())


def chosen(explorer):
    return tuple(explorer.state[name] for name in ("sample", "row", "column"))


def text(explorer):
    return explorer.words(**explorer.state)


def test_state_is_read_and_set_from_code(cube, explorer):
    assert explorer.state == {
        "sample": 0, "row": 0, "column": 0, "points": "places", "layout": "pca", "colour": "map",
        "centre": None, "selected": None,
    }  # fmt: skip
    assert chosen(explorer.set(sample="place6", column=1)) == (6, 0, 1)
    found = explorer.set(selected=[(3, 1, 1), (0, 2, 2), (3, 1, 1)]).state["selected"]
    assert found == ((0, 2, 2), (3, 1, 1))
    again = EmbeddingExplorer(cube, made_embeddings([3, 6, 0]), **explorer.state)
    assert again.state == explorer.state
    assert EmbeddingExplorer(cube, made_embeddings([3, 4])).state["sample"] == 3


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"sample": 2}, "sample 2 is not embedded"),
        ({"sample": "nowhere"}, "'nowhere' is not embedded"),
        ({"sample": None}, "control 'sample'\n.*\n.*None"),
        ({"centre": 5}, "sample 5 is not embedded"),
        ({"row": 3}, "control 'row'\n.*0 to 2\n.*3"),
        ({"column": -1}, "control 'column'\n.*0 to 2\n.*-1"),
        ({"colum": 1}, "no control 'colum'\n.*sample, row, column"),
        ({"colour": "depth"}, "control 'colour'\n.*map, biomass.*split\n.*depth"),
        ({"selected": [(0, 0, 3)]}, "control 'selected'"),
        ({"selected": [(2, 0, 0)]}, "control 'selected'"),
        ({"selected": 3}, "control 'selected'"),
    ],
)
def test_a_bad_value_is_explained_and_moves_nothing(explorer, state, words):
    before = explorer.set(sample=4, row=1, column=1).state
    with pytest.raises(ParameterError, match=words):
        explorer.set(**{"row": 2} | state)
    assert explorer.state == before


def test_each_control_changes_what_it_is_there_for(explorer):
    before = explorer.static()
    after = explorer.set(sample=4, row=1, column=2).static()
    assert not np.array_equal(shown(before, "similarity"), shown(after, "similarity"))
    assert after.get_suptitle().startswith("place4, row 1, column 2 chosen")
    for colour in ("biomass", "cover", "split"):
        kept = colours(explorer.static())
        assert not np.array_equal(colours(explorer.set(colour=colour).static()), kept), colour
    explorer.set(points="tokens")
    assert explorer.state["colour"] == "modality" and len(colours(explorer.static())) == 18
    assert explorer.controls["colour"].values == ["modality", "date"]
    explorer.set(points="places", colour="height")
    assert len(colours(explorer.static())) == 54


@pytest.mark.parametrize("name", ["image", "map", "similarity"])
@pytest.mark.parametrize(
    ("x", "y", "patch"),
    [
        (-0.4, -0.4, (0, 0, 0)),
        (2.4, 1.6, (0, 2, 2)),
        (3.4, 0.9, (1, 1, 0)),
        (11.4, 5.4, (7, 2, 2)),
        (7.0, 1.0, None),  # place2 is not embedded
    ],
)
def test_a_click_on_a_map_chooses_the_patch_under_it(explorer, name, x, y, patch):
    explorer.set(sample=6, row=1, column=1, selected=[(0, 0, 0)])
    before = explorer.state
    explorer.click(name, x, y)
    if patch is None:
        assert explorer.state == before
    else:
        assert chosen(explorer) == patch and explorer.state["selected"] is None
        assert explorer.state["centre"] == 6, "the maps stay under the pointer"


def test_a_click_on_a_point_or_a_picture_chooses_its_patch(explorer):
    cloud = explorer.space.places
    x, y = cloud.at("pca", cloud.drawn[7:8])[0]
    explorer.set(selected=[(0, 0, 0)]).click("points", x, y)
    assert chosen(explorer) == tuple(cloud.patch[cloud.drawn[7]])
    assert explorer.state["selected"] is None
    ring = panel(explorer.static(), "points").lines[-1]
    np.testing.assert_allclose([ring.get_xdata()[0], ring.get_ydata()[0]], (x, y), rtol=1e-5)
    images = panel(explorer.static(), "patches").images
    left, right, bottom, top = images[2].get_extent()
    own = chosen(explorer)
    best = explorer.space.alike.matches(explorer.space.alike.cosines(*own), own[0], 2)[1]
    explorer.click("patches", (left + right) / 2, (bottom + top) / 2)
    assert chosen(explorer) == (best.sample, best.row, best.column)
    before = explorer.state
    assert explorer.click("patches", 0, 99).state == before
    assert explorer.click("<cosines>", 0, 0).state == before


def test_a_click_on_a_token_chooses_the_patch_it_lies_in(explorer):
    explorer.set(points="tokens")
    cloud = explorer.space.token_cloud
    x, y = cloud.at("pca", np.array([2]))[0]
    explorer.click("points", x, y)
    assert chosen(explorer) == (1, 0, 1)
    assert "2 of the 18 tokens are of the chosen patch" in text(explorer)


def test_a_box_selects_and_an_empty_one_selects_none(explorer):
    cloud = explorer.space.places
    points = cloud.points("pca")
    middle = np.median(points, axis=0)
    explorer.select("points", (middle[0], 1e9), (-1e9, middle[1]))
    inside = (points[:, 0] >= middle[0]) & (points[:, 1] <= middle[1])
    expected = {tuple(p) for p in cloud.patch[cloud.drawn[inside]].tolist()}
    assert set(explorer.state["selected"]) == expected and 1 < len(expected) < len(points)
    shown_words = panel(explorer.static(), "patches").get_title()
    assert shown_words.endswith("selected patches")
    explorer.select("points", (1e8, 1e9), (1e8, 1e9))
    assert explorer.state["selected"] is None
    explorer.select("map", (1.6, 3.4), (-0.4, 0.4))
    assert explorer.state["selected"] == ((0, 0, 2), (1, 0, 0))
    outlines = panel(explorer.static(), "image").collections[0]
    assert len(outlines.get_paths()) == 2
    before = explorer.state
    assert explorer.select("patches", (0, 1), (0, 1)).state == before


def test_what_is_missing_is_said(cube):
    words = text(EmbeddingExplorer(cube, made_embeddings()))
    assert "effective rank" in words and "uniformity" in words and "no data" not in words
    assert "Not collapsed: patches differ" in words
    gaps = made_embeddings()
    gaps.features[0, :2] = np.nan
    explorer = EmbeddingExplorer(alone(cube), gaps)
    assert "2 of 54 patches have no data" in text(explorer)
    assert "nothing is like it" in text(explorer) and "the sample alone" in text(explorer)
    bare = EmbeddingExplorer(only(cube, "s2"), made_embeddings([3]))
    assert "no targets" in text(bare) and "One sample" in text(bare)
    assert "nothing elsewhere" in panel(bare.static(), "patches").get_title()
    equal = Embeddings(np.ones((8, 1, 4), np.float32), np.arange(8), 1)
    explorer = EmbeddingExplorer(cube, equal)
    assert "All embeddings are equal" in text(explorer)
    assert explorer.controls["row"].hidden and colours(explorer.static()).shape == (8, 4)
    assert ("UMAP is offered" in text(explorer)) == ("umap" not in layouts())


def test_others_are_measured_beside(cube):
    narrow = made_embeddings(width=2)
    words = text(EmbeddingExplorer(cube, made_embeddings(), others={"random <weights>": narrow}))
    assert "random &lt;weights&gt;" in words and "as they are 1.5 of 2" in words


def test_the_chosen_patch_is_told_in_the_words_of_the_colours(cube):
    explorer = EmbeddingExplorer(cube, made_embeddings(), sample=3, colour="biomass")
    assert f"biomass (t/ha) {cube['targets']['biomass'].values[3]:.4g}" in text(explorer)
    assert "chosen patch: split test" in text(explorer.set(colour="split"))


@pytest.mark.parametrize(
    ("samples", "words"),
    [([0, 9], "embeddings of another cube\n.*0 to 7"), ([], "embeddings of another cube")],
)
def test_embeddings_of_another_cube_are_refused(cube, samples, words):
    with pytest.raises(ParameterError, match=words):
        EmbeddingExplorer(cube, made_embeddings(samples))


def test_bad_parameters_are_explained(cube):
    blank = made_embeddings()
    blank.features[:] = np.nan
    with pytest.raises(ParameterError, match="at least one row of finite numbers"):
        EmbeddingExplorer(cube, blank)
    with pytest.raises(ParameterError, match="modality to show"):
        EmbeddingExplorer(cube, made_embeddings(), modality="s3")
    with pytest.raises(ParameterError, match="patches to show"):
        EmbeddingExplorer(cube, made_embeddings(), best=30)


def test_the_view_follows_code_and_pointer(explorer):
    view = lab_view(explorer)
    image = next(child for child in view.children if hasattr(child, "source"))
    before = image.source
    explorer.set(sample=4)
    assert image.source != before and image.source.startswith("data:image/png")
    moved = image.source
    image.event = {"number": 1, "start": [0.05, 0.15], "end": [0.05, 0.15]}
    assert image.source != moved and explorer.state["centre"] == 4


def test_a_redraw_is_quick(cube):
    """In seconds of the processor, some four times what it takes."""
    explorer = EmbeddingExplorer(cube, made_embeddings())
    costs = []
    for column in (1, 2, 0, 1):
        start = time.process_time()
        explorer.set(column=column).picture()
        costs.append(time.process_time() - start)
    assert min(costs) < 1.2
