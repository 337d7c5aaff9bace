"""Figures of a training under way, and of many runs."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from maestro_lab.errors import ParameterError
from maestro_lab.figures import runs_view, training_view
from maestro_lab.figures.drawn import parts, read_drawn, save_drawn
from maestro_lab.figures.runs_data import runs_table, text_of
from maestro_lab.figures.style import page
from tests.explore.test_runs import made
from tests.figures.test_model_figures import METRICS

ROWS = [row | {"lr": 0.1 / (k + 1)} for k, row in enumerate(METRICS)]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def pixels(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def test_losses_rate_and_modalities_are_those_of_the_rows():
    figure = training_view(ROWS, title="a run", at=1.0)
    losses, rate, modalities = figure.axes
    assert figure.get_suptitle() == "a run"
    assert list(losses.lines[0].get_ydata()) == [r["loss"] for r in ROWS if "loss" in r]
    assert list(rate.lines[0].get_ydata()) == [r["lr"] for r in ROWS if "lr" in r]
    held = sorted({k for r in ROWS for k in r if k.startswith("val_loss/")})
    assert sorted(f"val_loss/{line.get_label()}" for line in modalities.lines[: len(held)]) == held
    assert [line.get_xdata()[0] for line in (losses.lines[-1], rate.lines[-1])] == [1.0, 1.0]


def test_what_is_missing_is_written_in_its_place():
    assert [texts(axes) for axes in training_view([]).axes] == [["no metrics yet"]] * 3
    losses, _, modalities = training_view([{"step": 1, "epoch": 1.0, "lr": 0.1, "loss": 2.0}]).axes
    assert texts(losses) == ["no held out loss yet"]
    assert texts(modalities) == ["no loss of a modality"]


@pytest.mark.parametrize(
    ("scale", "check"),
    [
        ("from zero", lambda axes: axes.get_ylim()[0] == 0),
        ("close up", lambda axes: axes.get_ylim()[0] > 0 and axes.get_yscale() == "linear"),
        ("logarithmic", lambda axes: axes.get_yscale() == "log"),
    ],
)
def test_the_axis_of_losses_is_scaled(scale, check):
    assert check(training_view(METRICS, scale=scale).axes[0])
    negative = [{"epoch": float(k), "loss": -1.0 - k} for k in range(2)]
    assert training_view(negative, scale=scale).axes[0].get_yscale() == "linear"


def test_another_scale_is_refused():
    with pytest.raises(ParameterError, match="scale of the losses"):
        training_view(METRICS, scale="upside down")


def test_guesses_are_shown_where_a_part_is_hidden(guesses):
    figure = training_view(METRICS, guesses=guesses)
    _, *shown = parts(figure.drawn.data)
    assert [part.attrs["modality"] for part in shown] == list(guesses)
    assert sum(part.sizes["date"] for part in shown) <= 8
    for part in shown:
        r, days = guesses[part.attrs["modality"]], part.attrs["days"]
        assert len(days) == part.sizes["date"] and part["truth"].shape == part["guess"].shape
        assert part["hidden"].values.any() == r.masked[0].any()
    strip = figure.axes[-1]
    assert len(strip.images) == 3 * sum(part.sizes["date"] for part in shown)
    assert any("answer's mean and scale" in text for text in texts(strip))


def test_the_same_picture_comes_out_of_the_saved_data(guesses, tmp_path):
    for name, figure in {
        "training": training_view(METRICS, guesses=guesses, title="t"),
        "runs": runs_view(made(), parameter="ratio", colour="size", chosen=["probe-1"]),
        "lines": runs_view(made(), view="parallel coordinates"),
    }.items():
        again = read_drawn(save_drawn(tmp_path / name, figure)).paint()
        np.testing.assert_array_equal(pixels(figure), pixels(again))


@pytest.mark.parametrize("width", [3.25, 7.0])
def test_nothing_hangs_over_the_edge(width, guesses):
    many = made(24)
    with page(width):
        drawn = [
            training_view(METRICS, guesses=guesses),
            runs_view(many, parameter="ratio", colour="size", chosen=["probe-3"]),
            runs_view(many, parameter="", results=["r2"]),
            runs_view(many, view="parallel coordinates"),
        ]
    for figure in drawn:
        pixels(figure)
        box = figure.get_tightbbox()
        wide, tall = figure.get_size_inches()
        assert box.x0 > -0.12 and box.x1 < wide + 0.12 and box.y0 > -0.12 and box.y1 < tall + 0.12


def test_runs_stand_where_their_values_are():
    data = runs_table(made(), parameter="ratio", colour="size", results=["r2"])
    assert list(data["x"]) == pytest.approx([0, 0.2, 0.4, 0.6])
    assert list(data["y"] - data["low"]) == pytest.approx([0.1] * 4)
    assert list(data["group"]) == ["nano", "tiny"] * 2 and data.attrs["groups"] == ["nano", "tiny"]
    lines = runs_table(made(), view="parallel coordinates", results=["rmse"], parameter="ratio")
    assert lines.attrs["panels"] == ["ratio", "size", "bands", "rmse"]
    ends = lines[lines["panel"] == "rmse"].set_index("run")["y"]
    assert ends["probe-0"] == 1 and ends["probe-3"] == 0


def test_text_numbers_and_wide_ranges_have_their_axes():
    wide = made().assign(
        **{"param.ratio": [1e-5, 1e-4, 1e-3, 1e-2], "param.mixed": [1, "a", 2, None]}
    )
    assert runs_view(wide, parameter="ratio", results=["r2"]).axes[0].get_xscale() == "log"
    mixed = runs_view(wide, parameter="mixed", results=["r2"]).axes[0]
    assert [t.get_text() for t in mixed.get_xticklabels()] == ["1", "2", "a", "-"]
    assert text_of(float("nan")) == "-" and text_of([True, 1.5]) == "True, 1.5"


def test_wrong_names_are_refused():
    with pytest.raises(ParameterError, match="no number 'verdict'"):
        runs_view(made(), results=["verdict"])
    with pytest.raises(ParameterError, match="no parameter 'nonsense'"):
        runs_view(made(), colour="nonsense")
    with pytest.raises(ParameterError, match="view of runs"):
        runs_view(made(), view="pie")


def test_many_groups_are_shades_and_few_are_named():
    many = made(20).assign(**{"param.ratio": np.arange(20.0)})
    figure = runs_view(many, parameter="size", colour="ratio", results=["r2"])
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()][::6] == ["0", "19"]
    colours = {line.get_color() for line in figure.axes[0].lines if line.get_marker() == "o"}
    assert len(colours) >= 20
    assert isinstance(figure.drawn.data, pd.DataFrame)
