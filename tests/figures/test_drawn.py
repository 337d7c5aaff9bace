"""Figures are painted from what is saved beside them: the same picture from a file."""

import inspect
import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner
from matplotlib.figure import Figure

from maestro_lab import figures
from maestro_lab.cli import main
from maestro_lab.errors import ParameterError, RunError
from maestro_lab.figures.drawn import (
    Drawn,
    paint,
    painted_by,
    parts,
    read_drawn,
    save_drawn,
    several,
)
from maestro_lab.figures.style import VENUES, WIDTH, finish, new_figure, page, page_width
from maestro_lab.runs.folder import open_run, start_run
from tests.figures.test_model_figures import METRICS
from tests.figures.test_saving import MAKERS, png


@pytest.mark.parametrize("name", MAKERS)
def test_a_figure_read_from_its_file_is_the_same_picture(name, request, tmp_path):
    first = MAKERS[name](request.getfixturevalue)
    path = save_drawn(tmp_path / "a", first)
    assert path.stat().st_size < 300_000, "slim: what is shown, and not the cube"
    drawn = read_drawn(path)
    assert (drawn.name, drawn.width) == (name, WIDTH)
    again = drawn.paint()
    assert png(again) == png(first)
    assert save_drawn(tmp_path / "b", again).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", MAKERS)
def test_signatures_tell_that_a_figure_is_returned(name):
    function = getattr(figures, name)
    assert function.__name__ == name and function.__doc__.startswith("Draw ")
    signature = inspect.signature(function)
    assert signature.return_annotation in ("Figure", "Figure | None")
    assert function.__annotations__["return"] in (Figure, Figure | None)
    assert set(signature.parameters) == set(inspect.signature(function.__wrapped__).parameters)


def _paint_anything(data):
    return finish(new_figure(1))


def made(data):
    """A figure of the name of one in the package, drawn from made-up data."""

    def loss_curves() -> pd.DataFrame:
        return data

    return painted_by(_paint_anything)(loss_curves)()


def test_tables_come_back_to_the_bit(tmp_path):
    table = pd.DataFrame(
        {
            "number": [0.1 + 0.2, np.nan, np.inf, -1e-300],
            "single": np.float32([1 / 3, np.nan, 0, 7]),
            "count": [1, -2, 3, 2**60],
            "yes": [True, False, True, True],
            "words, quoted": ["NA", "", 'a "b",\nnew # line', "01"],
        }
    )
    table.attrs = {"title": "é\n", "list": (1, "a", None)}
    path = save_drawn(tmp_path / "table", made(table))
    assert path.name == "table.csv"
    found = read_drawn(path).data
    pd.testing.assert_frame_equal(found, table, check_exact=True)
    assert found.attrs == {"title": "é\n", "list": [1, "a", None]}
    seen = pd.read_csv(path, skiprows=1)
    assert list(seen) == list(table), "anybody can read it"


def test_arrays_come_back_to_the_bit(tmp_path):
    part = xr.Dataset(
        {
            "image": (("y", "x"), np.random.default_rng(0).random((3, 4), np.float32)),
            "exact": ("y", [0.1, np.nan, 1 / 3]),
            "mask": ("y", [True, False, True]),
            "count": ("x", np.arange(4)),
            "one": 3.5,
        },
        attrs={"names": ["a", "b"], "none": None},
    )
    other = xr.Dataset({"image": (("y", "x"), np.ones((1, 2)))})
    path = save_drawn(tmp_path / "arrays", made(several([part] + [other] * 11, of="all")))
    found = read_drawn(path).data
    assert path.name == "arrays.nc" and found.attrs == {"of": "all"} and len(parts(found)) == 12
    xr.testing.assert_identical(parts(found)[0], part)
    xr.testing.assert_identical(parts(found)[11], other)
    assert parts(found)[0]["mask"].dtype == bool and parts(found)[0]["exact"].dtype == float
    alone = read_drawn(save_drawn(tmp_path / "alone", made(part))).data
    assert isinstance(alone, xr.Dataset)
    xr.testing.assert_identical(alone, part)


def test_a_table_takes_the_place_of_arrays_of_the_same_name(tmp_path):
    arrays = save_drawn(tmp_path / "a", made(xr.Dataset({"x": ("x", [1.0])})))
    table = save_drawn(tmp_path / "a", made(pd.DataFrame({"x": [1]})))
    assert table.exists() and not arrays.exists()
    table.write_text("mine\n1\n")
    save_drawn(tmp_path / "a", made(xr.Dataset()))
    assert table.read_text() == "mine\n1\n", "what is not ours stays"


def test_damaged_and_foreign_files_are_explained(tmp_path):
    path = save_drawn(tmp_path / "a", figures.loss_curves(METRICS))
    good = path.read_text()
    rows = good.splitlines(keepends=True)
    for text, words in (
        ("".join(rows[:-1]), "2 rows of .*; 3 of .* were written"),
        ("".join(rows[1:]), "without the line that names its figure"),
        (good[:40], "Unterminated|Expecting"),
        (good.replace("\nepoch,loss,", "\nepoch,lost,"), "epoch, lost"),
        (good.replace("\n1.0,", "\nx,", 1), "x"),
        ("", "without the line"),
    ):
        path.write_text(text)
        with pytest.raises(RunError, match=f"does not tell(.|\n)*({words})"):
            read_drawn(path)
    with pytest.raises(RunError, match="no such file"):
        read_drawn(tmp_path / "absent.csv")
    arrays = save_drawn(tmp_path / "b", made(xr.Dataset({"x": ("x", np.arange(1e4))})))
    arrays.write_bytes(arrays.read_bytes()[:3000])
    with pytest.raises(RunError, match="does not tell"):
        read_drawn(arrays)
    xr.Dataset({"x": ("x", [1.0])}).to_netcdf(tmp_path / "c.nc", engine="h5netcdf")
    with pytest.raises(RunError, match="does not tell"):
        read_drawn(tmp_path / "c.nc")


def test_data_that_lack_something_and_unknown_figures_are_explained():
    with pytest.raises(RunError, match=r"loss_curves cannot be painted\n.*\n.*KeyError"):
        Drawn("loss_curves", pd.DataFrame({"epoch": [1.0]}), 7.0).paint()
    for name in ("nonsense", "VENUES"):
        with pytest.raises(RunError, match=rf"no figure '{name}'"):
            paint(name, pd.DataFrame())
    with pytest.raises(RunError, match="without the data"):
        save_drawn("never", Figure())


def test_a_page_is_as_wide_as_the_venue():
    assert page_width() == WIDTH
    with page(VENUES["ieee-column"]):
        assert figures.loss_curves(METRICS).get_figwidth() == 3.5
        with page(5):
            assert page_width() == 5
        assert page_width() == 3.5
    assert figures.loss_curves(METRICS).get_figwidth() == WIDTH
    with pytest.raises(ParameterError, match="2 to 20 inches"), page(0):
        pass


@pytest.mark.parametrize("width", [WIDTH, VENUES["ieee-column"]])
@pytest.mark.parametrize("name", MAKERS)
def test_nothing_is_cut_off(name, width, request):
    with page(width):
        figure = MAKERS[name](request.getfixturevalue)
    figure.draw_without_rendering()
    box, (wide, high) = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 > -0.02 and box.y0 > -0.02, box
    assert box.x1 < wide + 0.02 and box.y1 < high + 0.02, (box, wide, high)


def test_long_names_leave_room_for_bars_in_a_narrow_column():
    row = {"constant": 0, "between bands": 0, "within bands": 1, "even bands": 1, "even patches": 1}
    names = ["proposed = MAESTRO Sentinel-2 = spectral regions", "one group"]
    with page(3.25):
        figure = figures.target_balance({"s2: clear pixels only": pd.DataFrame([row] * 2, names)})
    figure.draw_without_rendering()
    assert figure.axes[0].get_position().width > 0.3


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = start_run("tiny", {}, tmp_path / "runs" / "one")
    run.figure(figures.loss_curves(METRICS), "loss")
    months = np.random.default_rng(0).random((2, 5, 4))
    run.figure(figures.month_similarity(months, ["Jan", "Feb"]), "other")
    return run


def told(*words):
    done = CliRunner().invoke(main, ["figures", *map(str, words)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_figures_are_painted_anew_in_place_with_the_same_bytes(run):
    before = contents(run.folder / "figures")
    assert sorted(before) == sorted(
        f"{n}.{e}" for n, d in (("loss", "csv"), ("other", "nc")) for e in (d, "svg", "pdf", "png")
    )
    for ending in ("svg", "pdf", "png"):
        (run.folder / "figures" / f"loss.{ending}").unlink()
    status, words = told(run.folder, "--name", "loss")
    assert status == 0 and words.strip().endswith("loss: csv, svg, pdf, png")
    assert contents(run.folder / "figures") == before


def test_figures_go_where_one_says_and_as_wide_as_a_venue(run, tmp_path):
    status, _ = told(run.folder, "--venue", "cvpr-column", "--name", "loss")
    assert status == 0
    venue = run.folder / "figures" / "cvpr-column"
    assert b'width="234pt"' in (venue / "loss.svg").read_bytes()
    assert read_drawn(venue / "loss.csv").width == 3.25
    assert read_drawn(run.folder / "figures" / "loss.csv").width == WIDTH
    start_run("tiny", {}, tmp_path / "runs" / "two")
    status, words = told("runs", "--out", "paper", "--name", "loss")
    assert status == 0 and (tmp_path / "paper" / "one" / "loss.pdf").exists()
    assert "two: no figure with its data" in words


def test_what_cannot_be_painted_is_told_and_the_others_are(run):
    folder = run.folder / "figures"
    (folder / "mine.csv").write_text("a,b\n1,2\n")
    (folder / "bad.csv").write_text((folder / "loss.csv").read_text().splitlines()[0])
    status, words = told(run.folder, "--out", "new")
    assert status == 1 and "bad.csv does not tell" in words and "mine" not in words
    assert "loss: csv, svg" in words and "other: nc, svg" in words
    status, words = told(run.folder, "--name", "absent")
    assert status == 2 and "no figure 'absent'" in words and "loss" in words
    assert told(run.folder, "--venue", "nature")[0] == 2
    assert told("nowhere")[0] == 2


def test_fonts_are_embedded_and_pdf_has_no_date(run):
    pdf = (run.folder / "figures" / "loss.pdf").read_bytes()
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf and b"CreationDate" not in pdf
    svg = (run.folder / "figures" / "loss.svg").read_bytes()
    assert b"<text" not in svg and b"<dc:date>" not in svg


def test_a_figure_of_ones_own_is_saved_as_pictures_only(run):
    own = Figure(figsize=(2, 1))
    own.subplots().plot([1, 2])
    open_run(run.folder).figure(own, "own")
    there = sorted(p.suffix for p in (run.folder / "figures").glob("own.*"))
    assert there == [".pdf", ".png", ".svg"]


def test_the_first_line_of_a_table_says_what_it_is(run):
    first = (run.folder / "figures" / "loss.csv").read_text().splitlines()[0]
    head = json.loads(first.removeprefix("# maestro_lab "))
    assert head["figure"] == "loss_curves" and head["options"] == {"held_out": "held-out"}
