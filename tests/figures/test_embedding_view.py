"""Embeddings beside what they are of: maps, points, patches, and their colours."""

import numpy as np
import pytest

from maestro_lab.errors import ParameterError
from maestro_lab.figures import embedding_map, embedding_view
from maestro_lab.figures.alike import EMPTY
from maestro_lab.figures.clouds import Cloud, layouts
from maestro_lab.figures.drawn import read_drawn, save_drawn
from maestro_lab.figures.embedding_space import EmbeddingSpace, room
from maestro_lab.figures.embedding_views import EmbeddingView, patch_under, patches_shown
from maestro_lab.figures.style import page
from maestro_lab.training.embed import Embeddings
from maestro_lab.training.spread import effective_rank
from maestro_lab.training.token_table import TokenTable
from tests.batches.cubes import changed, small_cube
from tests.figures.test_embedding_figures import alone, made_embeddings


@pytest.fixture(scope="module")
def cube():
    return small_cube()


@pytest.fixture(scope="module")
def space(cube):
    return EmbeddingSpace(cube, made_embeddings(range(8)), tokens=made_tokens())


def made_tokens(samples=range(8)):
    """Two tokens of optics on 3 x 3 places and one of elevation on 1 x 1, for each sample."""
    rows = [(s, s % 9, "s2", f"2020-{1 + (s + k) % 12:02}-15") for s in samples for k in (0, 6)]
    rows += [(s, 0, "dem", "NaT") for s in samples]
    sample, location, modality, date = (np.array(column) for column in zip(*rows, strict=True))
    features = np.random.default_rng(3).normal(size=(len(rows), 4)).astype(np.float32)
    grid = {"s2": 3, "dem": 1}
    return TokenTable(features, sample, location, modality, date.astype("datetime64[D]"), grid)


def panel(figure, name):
    return next(axes for axes in figure.axes if axes.get_label() == name)


def shown(figure, name):
    return np.asarray(panel(figure, name).images[0].get_array(), float)


def colours(figure):
    return panel(figure, "points").collections[0].get_facecolors()


def test_the_maps_are_of_the_same_ground(space):
    figure = embedding_view(space, EmbeddingView(sample=5, row=2, column=1))
    assert shown(figure, "image").shape == (12, 24, 3)
    cosines, colour = shown(figure, "similarity"), shown(figure, "map")
    assert cosines.shape == colour.shape[:2] == (6, 12), "2 x 4 windows of 3 x 3"
    place = 3 + 2, 3 + 1  # sample 5 is the second window of the second row
    assert cosines[place] == pytest.approx(1) and cosines.max() == pytest.approx(1)
    rows = space.places.colours.reshape(8, 3, 3, 3)
    np.testing.assert_allclose(colour[place], rows[5, 2, 1], atol=1e-6)
    for name in ("image", "map", "similarity"):
        marks = [p for p in panel(figure, name).patches if p.get_edgecolor()[:3] == (0, 0, 0)]
        assert marks[0].get_bbox().bounds == (place[1] - 0.5, place[0] - 0.5, 1, 1)


def test_the_colours_are_those_of_the_embedding_map(cube):
    found = made_embeddings(range(8), width=7)
    space = EmbeddingSpace(cube, found)
    expected = embedding_map(cube, found.sample, found.features, 3).axes[0].images[0].get_array()
    mine = shown(embedding_view(space), "map")
    for k in range(3):  # the sign of a component is free
        assert np.allclose(mine[..., k], expected[..., k], atol=1e-3) or np.allclose(
            mine[..., k], 1 - expected[..., k], atol=1e-3
        )


def test_numbers_classes_and_splits_colour_the_points(cube, space):
    import matplotlib as mpl

    figure = embedding_view(space, EmbeddingView(colour="biomass"))
    drawn = space.places.patch[space.places.drawn]
    mass = cube["targets"]["biomass"].values
    low, high = np.quantile(np.repeat(mass, 9), [0.01, 0.99])
    expected = mpl.colormaps["viridis"](np.clip((mass[drawn[:, 0]] - low) / (high - low), 0, 1))
    np.testing.assert_allclose(colours(figure), expected, atol=1e-6)
    assert panel(figure, "<colours>").get_title(loc="left") == "biomass (t/ha)"
    for colour, count in (("cover", 3), ("species", 3), ("split", 4)):
        figure = embedding_view(space, EmbeddingView(colour=colour))
        names = panel(figure, "points").get_legend().get_texts()
        assert 1 < len(names) <= count, colour
        assert len(np.unique(colours(figure), axis=0)) == len(names)
    values = space.colouring("places", "species").values.reshape(8, 9)
    assert (values[:, 0] == cube["targets"]["species"].values.argmax(1)).all()


def test_what_is_not_known_is_grey(cube):
    rng = np.random.default_rng(0)
    height = rng.uniform(0, 30, (8, 6, 6))
    height[2] = np.nan
    new = ("sample", "y", "x"), height, cube["targets"]["height"].attrs
    gappy = changed(cube, "targets", lambda ds: ds.assign(height=new))
    space = EmbeddingSpace(gappy, made_embeddings(range(8)))
    figure = embedding_view(space, EmbeddingView(colour="height"))
    unknown = space.places.patch[space.places.drawn][:, 0] == 2
    assert (np.ptp(colours(figure)[unknown, :3], axis=1) == 0).all()
    assert "not known" in panel(figure, "<colours>").get_xlabel()
    assert space.colouring("places", "height").words(2 * 9) == "not known"


def test_tokens_are_coloured_by_date_and_modality(space):
    figure = embedding_view(space, EmbeddingView(points="tokens", colour="modality"))
    names = [t.get_text() for t in panel(figure, "points").get_legend().get_texts()]
    assert names == ["dem", "s2"] and len(colours(figure)) == 24
    figure = embedding_view(space, EmbeddingView(points="tokens", colour="date"))
    labels = [t.get_text() for t in panel(figure, "<colours>").get_yticklabels()]
    assert labels[0] == "Jan" and len(labels) == 12
    values = space.colouring("tokens", "date").values
    assert np.isnan(values[16:]).all() and values[0] == pytest.approx(12 * 14 / 366)
    patches = space.token_cloud.patch
    assert patches[2:4].tolist() == [[1, 0, 1]] * 2, "location 1 of sample 1"
    assert patches[16].tolist() == [0, 1, 1], "the middle of a token of the whole window"


def test_patches_alike_or_selected_are_shown(space):
    view = EmbeddingView(sample=3, row=1, column=1, best=4)
    own, *others = patches_shown(space, view)
    assert (own.sample, own.row, own.column) == (3, 1, 1) and own.cosine == pytest.approx(1)
    assert others == space.alike.matches(space.alike.cosines(3, 1, 1), 3, 4)
    figure = embedding_view(space, view)
    assert len(panel(figure, "patches").images) == 5
    for k, image in enumerate(panel(figure, "patches").images):
        left, right, bottom, top = image.get_extent()
        assert patch_under(5, (left + right) / 2, (bottom + top) / 2) == k
    selected = tuple((s, r, 0) for s in range(8) for r in range(3))
    figure = embedding_view(space, EmbeddingView(sample=3, selected=selected))
    assert len(panel(figure, "patches").images) == 12
    assert panel(figure, "patches").get_title() == "12 of 24 selected patches"
    assert len(panel(figure, "points").lines[0].get_xdata()) == 24


def test_maps_stay_where_they_are_if_they_show_the_chosen_sample(cube):
    space = EmbeddingSpace(cube, made_embeddings(range(8), grid=12))
    far = embedding_view(space, EmbeddingView(sample=3))
    stays = embedding_view(space, EmbeddingView(sample=3, centre=2))
    leaves = embedding_view(space, EmbeddingView(sample=3, centre=0))
    assert shown(far, "map").shape == shown(leaves, "map").shape == (24, 24, 3)
    assert shown(stays, "map").shape == (24, 36, 3)


def test_gaps_are_grey_and_no_points(cube):
    found = made_embeddings(range(8))
    found.features[4, :5] = np.nan
    space = EmbeddingSpace(alone(cube), found)
    figure = embedding_view(space, EmbeddingView(sample=4))
    assert (shown(figure, "map").reshape(9, 3)[:5] == np.float32(EMPTY)).all()
    assert len(colours(figure)) == 67 and "no data" in panel(figure, "similarity").get_title()
    assert "none of the chosen patch" in panel(figure, "points").get_title()
    assert panel(figure, "patches").texts[0].get_text() == "chosen"
    assert room(found)["effective rank"] == pytest.approx(
        effective_rank(found.features.reshape(72, 5)[np.isfinite(found.features[..., 0].ravel())])
    )


@pytest.mark.parametrize("samples", [1, 2, 8])
def test_equal_embeddings_and_a_single_place_are_drawn(cube, samples):
    equal = Embeddings(np.ones((samples, 1, 4), np.float32), np.arange(samples), 1)
    figure = embedding_view(EmbeddingSpace(alone(cube), equal))
    assert len(colours(figure)) == samples
    assert ("effective rank 1.0" in figure.get_suptitle()) == (samples > 1)


def test_it_is_painted_anew_from_its_data(space, tmp_path):
    view = EmbeddingView(points="tokens", colour="date", selected=((0, 0, 0), (1, 2, 2)))
    figure = embedding_view(space, view)
    again = read_drawn(save_drawn(tmp_path / "view", figure)).paint()
    for name in ("image", "map", "similarity"):
        np.testing.assert_array_equal(shown(again, name), shown(figure, name))
    np.testing.assert_array_equal(colours(again), colours(figure))
    with page(3.5):
        narrow = embedding_view(space, view)
    assert narrow.get_size_inches()[0] == 3.5 and "\n" in narrow.get_suptitle()


def test_points_are_a_choice_that_follows_from_the_seed():
    features = np.random.default_rng(0).normal(size=(50, 4))
    patch = np.stack([np.arange(50), np.zeros(50, int), np.zeros(50, int)], 1)
    one, two, other = (Cloud(features, patch, most=20, seed=s) for s in (0, 0, 1))
    assert (one.drawn == two.drawn).all() and set(one.drawn) != set(other.drawn)
    x, y = one.at("pca", one.drawn[3:4])[0]
    assert one.nearest("pca", x, y) == one.drawn[3]
    assert one.inside("pca", (x, x), (y, y)).tolist() == [one.drawn[3]]
    assert one.rows_of(np.array([[7, 0, 0], [99, 0, 0]])).tolist() == [7]


@pytest.mark.slow
@pytest.mark.skipif("umap" not in layouts(), reason="umap-learn is not installed")
def test_umap_keeps_groups_together():
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1], 40)
    features = (rng.normal(size=(80, 6)) + 20 * group[:, None]).astype(np.float32)
    cloud = Cloud(features, np.stack([np.arange(80)] * 3, 1), most=60)
    points = cloud.points("umap")
    side = group[cloud.drawn]
    middle = np.stack([points[side == k].mean(0) for k in (0, 1)])
    apart = np.linalg.norm(points[:, None] - middle, axis=-1)
    assert (apart.argmin(1) == side).all()
    np.testing.assert_array_equal(cloud.at("umap", cloud.drawn), points)


@pytest.mark.parametrize(
    ("view", "words"),
    [
        ({"sample": 9}, "sample 9 is not embedded"),
        ({"row": 3}, "row of a patch\n.*0 to 2"),
        ({"colour": "date"}, "colour of places\n.*map, biomass, height, cover, species, split"),
        ({"points": "tokens"}, "colour of tokens\n.*modality, date\n.*map"),
        ({"points": "pixels"}, "points to draw\n.*places, tokens\n.*pixels"),
        ({"layout": "tsne"}, "layout\n.*pca, umap\n.*tsne"),
    ],
)
def test_what_cannot_be_shown_is_explained(space, view, words):
    with pytest.raises(ParameterError, match=words):
        embedding_view(space, EmbeddingView(**view))


def test_tokens_of_another_cube_are_refused(cube):
    with pytest.raises(ParameterError, match="some of the samples that are embedded"):
        EmbeddingSpace(cube, made_embeddings([0, 1]), tokens=made_tokens([5, 6]))
