"""Figures of embeddings: who is alike, month by month, and whether they collapse."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from maestro_lab.errors import ParameterError
from maestro_lab.figures import collapse_curves, embedding_map, month_similarity, similarity_map
from maestro_lab.figures.alike import EMPTY, Alike
from maestro_lab.figures.style import COLOURS, WIDTH
from maestro_lab.training.embed import Embeddings
from maestro_lab.training.spread import directions, month_cosines
from tests.batches.cubes import changed, cube_of, days, only, without
from tests.batches.cubes import make_modality as modality
from tests.figures.conftest import SAMPLES

CONDITIONS = ("frozen target", "learned target", "no contrastive loss")


def made_embeddings(samples=SAMPLES, grid=3, width=5, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(len(samples), grid * grid, width)).astype(np.float32) + 4
    return Embeddings(features, np.asarray(samples), grid)


def made_runs(conditions=CONDITIONS, seeds=2, steps=5):
    rows = [
        (name, seed, 10 * step, 5.0 - k - step, 3.0 + k + seed + step, -k - 0.1 * seed)
        for k, name in enumerate(conditions)
        for seed in range(seeds)
        for step in range(steps)
    ]
    columns = ["condition", "seed", "step", "loss", "effective rank", "uniformity"]
    return pd.DataFrame(rows, columns=columns)


def scene_cube(samples=2, grid=32, pixels=2):
    """Scenes of 32 x 32 patches that do not lie side by side."""
    side = grid * pixels
    rng = np.random.default_rng(1)
    values = rng.integers(100, 4000, (samples, 2, 3, side, side)).astype(np.uint16)
    ds = modality(
        values, days([2] * samples, 2), bands=("B02", "B03", "B04"), units="DN", gsd=10,
        sensor_name="sentinel-2",
    )  # fmt: skip
    return cube_of({"s2": ds})


def shown(axes):
    return np.ma.filled(np.ma.asarray(axes.images[0].get_array(), float), np.nan)


def boxes(axes):
    """Marks of patches: left, top, width, height."""
    return {p.get_bbox().bounds for p in axes.patches if p.get_edgecolor()[:3] == (0, 0, 0)}


def alone(cube):
    """The cube without positions: each sample a picture of its own."""
    return without(cube, "easting")


def test_the_map_shows_cosines_to_the_marked_patch(cube):
    found = made_embeddings()
    figure = similarity_map(alone(cube), found, sample=3, row=1, column=2)
    left, right, bar, chips = figure.axes
    rows = directions(found.features)[2].reshape(3, 3, 5)
    np.testing.assert_allclose(shown(right), rows @ rows[1, 2], atol=1e-6)
    assert shown(right)[1, 2] == pytest.approx(1)
    assert boxes(left) == boxes(right) == {(1.5, 0.5, 1.0, 1.0)}
    assert "mean of all embeddings taken out" in right.get_title()
    assert left.get_title() == "place3\nB08 B04 B03, median of valid dates"
    apart = np.delete(shown(right).ravel(), 5)
    low, high = right.images[0].get_clim()
    assert high == pytest.approx(apart.max()), "the patch itself is not what colours span"
    assert low == pytest.approx(np.quantile(apart, 0.02))
    assert bar.get_position().x0 > right.get_position().x1
    assert len(chips.images) == 5, "one for each other sample"


def test_the_picture_is_a_median_of_valid_dates(cube):
    """Against a loop over pixels; a pixel that is never valid is grey."""
    covered = changed(cube, "s2", lambda ds: ds.assign(valid=ds["valid"].copy()))
    covered["s2"]["valid"].values[1, :, 2, 3] = False
    alike = Alike(covered, made_embeddings())
    picture = alike.picture(1)
    assert (picture[2, 3] == EMPTY).all() and (picture != EMPTY).any(-1).sum() == 35
    values, valid = (covered["s2"][n].values[1] for n in ("values", "valid"))
    medians = np.full((6, 6), np.nan)
    for y, x in np.ndindex(6, 6):
        clear = np.sort(values[valid[:, y, x], 3, y, x])
        medians[y, x] = clear[(len(clear) - 1) // 2] if len(clear) else np.nan
    order = np.argsort(medians[np.isfinite(medians)])
    assert (np.diff(picture[np.isfinite(medians)][order][:, 0]) >= 0).all(), "red is B08"


def test_most_alike_elsewhere_are_the_best_of_each_place(cube):
    found = made_embeddings()
    alike = Alike(alone(cube), found)
    cosines = alike.cosines("place3", 0, 1)
    matches = alike.matches(cosines, "place3", 9)
    assert [m.cosine for m in matches] == sorted((m.cosine for m in matches), reverse=True)
    assert {m.sample for m in matches} == set(SAMPLES) - {3}
    for m in matches:
        line = list(SAMPLES).index(m.sample)
        assert m.cosine == cosines[line].max() == cosines[line, m.row, m.column]
    assert alike.matches(cosines, 3, 2) == matches[:2]
    assert alike.matches(cosines, 3, 0) == []


def test_other_years_of_a_place_are_not_elsewhere(cube):
    twice = cube.isel(sample=[0, 0, 1, 1, 3])
    alike = Alike(twice, made_embeddings(np.arange(5)))
    found = alike.matches(alike.cosines(0, 0, 0), 0, 9)
    samples = [m.sample for m in found]
    assert len(found) == 2 and 1 not in samples and len({2, 3} & set(samples)) == 1


def test_chips_show_the_patch_with_those_around_it(cube):
    alike = Alike(scene_cube(), made_embeddings([0, 1], 32))
    cosines = alike.cosines(0, 4, 4)
    (match,) = alike.matches(cosines, 0, 6)
    chip, box = alike.chip(match)
    assert chip.shape == (6, 6, 3)
    left, top = (box[:2] * 6).round().astype(int)
    y, x = 2 * match.row, 2 * match.column
    whole = alike.picture(match.sample)
    np.testing.assert_array_equal(chip[top : top + 2, left : left + 2], whole[y : y + 2, x : x + 2])
    np.testing.assert_allclose(box[2:], 1 / 3)
    corner = type(match)(1, 31, 0, 0.5)
    chip, box = alike.chip(corner)
    np.testing.assert_array_equal(chip, alike.picture(1)[-6:, :6])
    np.testing.assert_allclose(box, [0, 2 / 3, 1 / 3, 1 / 3])


def test_chips_are_named_and_numbered(cube):
    found = made_embeddings()
    figure = similarity_map(alone(cube), found, sample=0, best=3)
    chips = figure.axes[-1]
    alike = Alike(alone(cube), found)
    matches = alike.matches(alike.cosines(0, 0, 0), 0, 3)
    words = [text.get_text() for text in chips.texts]
    for match in matches:
        assert f"{match.cosine:.3f}" in words and f"place{match.sample}" in words
    middle = np.mean([image.get_extent()[:2] for image in chips.images])
    assert middle == pytest.approx(WIDTH / 2), "in the middle of the page"
    assert len(similarity_map(alone(cube), found, best=0).axes) == 3


def test_windows_side_by_side_are_drawn_together(cube):
    found = made_embeddings(np.arange(8))
    figure = similarity_map(cube, found, sample=5, row=2, column=0)
    left, right = figure.axes[:2]
    rows = directions(found.features)
    cosines = rows @ rows[5, 6]
    expected = cosines.reshape(2, 4, 3, 3).transpose(0, 2, 1, 3).reshape(6, 12)
    np.testing.assert_allclose(shown(right), expected, atol=1e-6)
    assert left.images[0].get_array().shape == (12, 24, 3)
    assert boxes(right) == {(2.5, 4.5, 1.0, 1.0)}
    alike = Alike(cube, found)
    np.testing.assert_allclose(left.images[0].get_array()[6:, 6:12], alike.picture(5), atol=1e-6)
    near = similarity_map(alike, sample=4, around=1)
    assert shown(near.axes[1]).shape == (6, 6), "nothing beyond the edge"
    assert shown(similarity_map(alike, sample=4, around=0).axes[1]).shape == (3, 3)


def test_windows_that_are_not_embedded_are_grey(cube):
    figure = similarity_map(cube, made_embeddings(), sample=0)  # without 2 and 5
    left, right = figure.axes[:2]
    empty = np.isnan(shown(right)).reshape(2, 3, 4, 3).all((1, 3))
    assert np.argwhere(empty).tolist() == [[0, 2], [1, 1]]
    np.testing.assert_allclose(left.images[0].get_array()[:6, 12:18], EMPTY)
    np.testing.assert_allclose(right.get_facecolor(), (EMPTY,) * 3 + (1,))


def test_beside_a_window_lies_its_neighbour_of_the_nearest_date(cube):
    """Three years of two windows."""
    years = cube.isel(sample=[0, 0, 0, 1, 1, 1])
    dates = np.array(["2018-07-01", "2019-07-01", "2020-07-01"] * 2, "datetime64[ns]")
    years = years.assign(ref_date=xr.DataArray(dates, dims="sample"))
    alike = Alike(years, made_embeddings(np.arange(6)))
    for own, other in ((0, 3), (1, 4), (2, 5)):
        assert alike.frame(own).tolist() == [[own, other]]
        assert alike.frame(other).tolist() == [[own, other]]


def test_several_samples_below_each_other(cube):
    figure = similarity_map(alone(cube), made_embeddings(), sample=0, beside=[3, "place7"])
    titles = [axes.get_title() for axes in figure.axes]
    assert [t for t in titles if t.startswith("place")] == [
        "place0\nB08 B04 B03, median of valid dates", "place3", "place7",
    ]  # fmt: skip
    first, other, last = (a for a in figure.axes if a.images and a.images[0].get_cmap().name ==
                          "viridis" and a.images[0].get_array().ndim == 2)  # fmt: skip
    assert len(boxes(first)) == 1 and not boxes(other) and not boxes(last)
    limits = {a.images[0].get_clim() for a in (first, other, last)}
    assert len(limits) == 1, "one colour bar for all"


def test_a_patch_without_data_is_like_nothing(cube):
    found = made_embeddings()
    found.features[0, 4] = np.nan
    figure = similarity_map(alone(cube), found, sample=0, row=1, column=1)
    assert "which has no data" in figure.axes[1].get_title() and len(figure.axes) == 3
    other = similarity_map(alone(cube), found, sample=0)
    assert np.argwhere(np.isnan(shown(other.axes[1]))).tolist() == [[1, 1]]


def test_collapsed_embeddings_are_drawn(cube):
    found = made_embeddings()
    found.features[:] = 1 / 3
    assert (shown(similarity_map(alone(cube), found).axes[1]) == 0).all()
    assert embedding_map(cube, SAMPLES, found.features, 3).axes


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sample": 2}, "sample 2 is not embedded\n.*one of 6"),
        ({"sample": "nowhere"}, "'nowhere' is not embedded\n.*'place0'"),
        ({"row": 3}, "row of a patch\n.*0 to 2\n.*3"),
        ({"column": -1}, "column of a patch\n.*0 to 2\n.*-1"),
        ({"beside": [5]}, "sample 5 is not embedded"),
        ({"modality": "s3"}, "modality to show\n.*s2, s1, dem\n.*s3"),
    ],
)
def test_what_is_not_there_is_explained(cube, options, words):
    with pytest.raises(ParameterError, match=words):
        similarity_map(cube, made_embeddings(), **options)


def test_embeddings_of_another_cube_are_refused(cube):
    for found, words in (
        (made_embeddings([0, 9]), "another cube\n.*0 to 7\n.*0 to 9"),
        (made_embeddings([]), "another cube\n.*\n.*none"),
        (Embeddings(np.ones((2, 8, 4)), np.arange(2), 3), r"3 x 3 patches.*\n.*\(2, 8, 4\)"),
        (Embeddings(np.ones((3, 9, 4)), np.arange(2), 3), r"2 samples.*\n.*\(3, 9, 4\)"),
    ):
        with pytest.raises(ParameterError, match=words):
            similarity_map(cube, found)


def test_radar_and_single_bands_are_shown_too(cube):
    radar = similarity_map(alone(cube), made_embeddings(), modality="s1")
    assert radar.axes[0].get_title() == "place0\nVV VH VV (dB), median of valid dates"
    grey = similarity_map(alone(only(cube, "dem")), made_embeddings())
    picture = grey.axes[0].images[0].get_array()
    assert (picture == picture[..., :1]).all()


def test_a_large_scene_is_a_map_of_its_own():
    found = made_embeddings([0, 1], 32)
    cube = scene_cube()
    figure = embedding_map(cube, found.sample, found.features, 32)
    assert [axes.get_title() for axes in figure.axes] == ["place0", "place1"]
    assert all(axes.images[0].get_array().shape == (32, 32, 3) for axes in figure.axes)
    assert "position" not in figure.get_suptitle(), "two scenes do not tell position from ground"
    (axes,) = embedding_map(cube, found.sample[1:], found.features[1:], 32).axes
    assert np.std(axes.images[0].get_array(), axis=(0, 1)).min() > 0.1, "not all taken out"
    similar = similarity_map(cube, found, sample=1, row=31, column=31)
    assert shown(similar.axes[1]).shape == (32, 32)


def test_position_is_taken_out_of_many_windows(cube):
    code = 9 * np.random.default_rng(0).normal(size=(1, 9, 5))
    found = made_embeddings(np.arange(8))
    (axes,) = embedding_map(cube, found.sample, found.features + code, 3).axes
    (plain,) = embedding_map(cube, found.sample, found.features, 3).axes
    np.testing.assert_allclose(axes.images[0].get_array(), plain.images[0].get_array(), atol=1e-4)
    assert "position in the window taken out (9" in axes.get_title()
    assert "held-out ground outlined" in axes.get_title()
    few = embedding_map(cube, found.sample[:4], found.features[:4], 3)
    assert "position" not in few.axes[0].get_title()


def test_an_embedding_without_data_is_grey_on_the_map(cube):
    found = made_embeddings(np.arange(8))
    found.features[2] = np.nan
    found.features[:, 0] = np.nan
    (axes,) = embedding_map(cube, found.sample, found.features, 3).axes
    grey = np.isclose(axes.images[0].get_array(), 0.93).all(-1)
    assert grey[:3, 6:9].all() and grey[::3, ::3].all()
    assert grey.sum() == 9 + 7


def test_months_show_their_mean_cosines():
    features = np.random.default_rng(0).normal(size=(4, 6, 3)) + 3
    features[2] = np.nan
    features[3, :5] = np.nan
    figure = month_similarity(features, ["Jan", "Feb", "Mar", "Apr"])
    axes = figure.axes[0]
    mean, _ = month_cosines(features)
    np.testing.assert_allclose(shown(axes), mean)
    cells = {tuple(text.get_position()): text.get_text() for text in axes.texts}
    assert cells == {
        (j, i): f"{mean[i, j]:.2f}" for i in range(4) for j in range(4) if 2 not in (i, j)
    }
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Jan", "Feb", "Mar", "Apr"]
    apart = mean[~np.eye(4, dtype=bool)]
    low, high = axes.images[0].get_clim()
    assert (low, high) == pytest.approx((np.nanmin(apart), np.nanmax(apart)))
    title = figure.get_suptitle()
    assert "mean of all embeddings taken out" in title
    assert title.endswith("1 to 6 places in common, 1 month without data")
    full = month_similarity(features[:2], ["Jan", "Feb"])
    assert full.get_suptitle().endswith("\n6 places")


def test_months_that_cannot_be_compared():
    with pytest.raises(ParameterError, match=r"3 names\n.*2"):
        month_similarity(np.random.default_rng(0).random((3, 2, 2)), ["Jan", "Feb"])
    with pytest.raises(ParameterError, match="at least one row of finite"):
        month_similarity(np.full((2, 2, 2), np.nan), ["Jan", "Feb"])


def test_runs_share_the_colour_of_their_condition():
    runs = made_runs()
    figure = collapse_curves(runs)
    assert [axes.get_title() for axes in figure.axes] == ["loss", "effective rank", "uniformity"]
    for axes in figure.axes:
        assert axes.get_xlabel() == "step" and len(axes.lines) == 6
        drawn = {(line.get_color(), tuple(line.get_ydata())) for line in axes.lines}
        expected = {
            (COLOURS[k], tuple(run[axes.get_title()]))
            for k, name in enumerate(CONDITIONS)
            for _, run in runs[runs["condition"] == name].groupby("seed")
        }
        assert drawn == expected
    assert {line.get_linewidth() for line in figure.axes[0].lines} == {0.9}


def test_conditions_are_named_beside_their_ends_without_overlap():
    figure = collapse_curves(made_runs())
    texts = figure.axes[2].texts
    assert {t.get_text(): t.get_color() for t in texts} == dict(
        zip(CONDITIONS, COLOURS, strict=False)
    )
    height = {t.get_text(): t.xy[1] for t in texts}
    assert height[CONDITIONS[0]] > height[CONDITIONS[1]] > height[CONDITIONS[2]], "as lines end"
    same = made_runs([f"c{k}" for k in range(9)])
    same["uniformity"] = -1.0
    ends = np.sort([t.xy[1] for t in collapse_curves(same).axes[2].texts])
    assert np.diff(ends).min() > 0.08 and ends[0] >= 0 and ends[-1] <= 1.01
    lines = {(line.get_color(), line.get_linestyle()) for line in
             collapse_curves(same).axes[0].lines}  # fmt: skip
    assert len(lines) == 9, "told apart by dashes when colours run out"


def test_what_was_not_measured_or_diverged_is_left_out():
    runs = made_runs(seeds=1)
    runs.loc[runs["step"] % 20 == 10, "effective rank"] = np.nan
    runs.loc[(runs["condition"] == CONDITIONS[1]) & (runs["step"] > 10), "loss"] = np.inf
    runs.loc[runs["condition"] == CONDITIONS[2], "uniformity"] = np.nan
    loss, rank, even = collapse_curves(runs.rename(columns={"step": "epoch"}), over="epoch").axes
    assert [len(line.get_xdata()) for line in rank.lines] == [3, 3, 3]
    assert [len(line.get_xdata()) for line in loss.lines] == [5, 2, 5]
    assert [len(line.get_xdata()) for line in even.lines] == [5, 5, 0]
    assert len(even.texts) == 3 and loss.get_xlabel() == "epoch"
    assert all(
        line.get_marker() == "o" for line in collapse_curves(made_runs(steps=1)).axes[0].lines
    )


def test_runs_without_a_column_or_a_row_are_refused():
    with pytest.raises(ParameterError, match=r"condition, seed, step.*\n.*no effective rank"):
        collapse_curves(made_runs().drop(columns="effective rank"))
    with pytest.raises(ParameterError, match="no row"):
        collapse_curves(made_runs().iloc[:0])
