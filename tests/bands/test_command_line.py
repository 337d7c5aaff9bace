"""``maestro-lab groups``: what it prints, what it writes and what it refuses."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.metrics import adjusted_rand_score

import maestro_lab as ml
from maestro_lab.bands import load_groups
from maestro_lab.cli import main
from tests.bands.made import image_cube, planted
from tests.bands.test_resampling import image_columns
from tests.batches.cubes import pixel_cube

LAND = ("landscape", "-o", "samples", 8, "-o", "modalities", "[s2, dem]")


def call(*words):
    """Run ``groups`` in this process."""
    return CliRunner().invoke(main, ["groups", *map(str, words)])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A cube saved as zarr, and one as netCDF with nothing to draw from."""
    folder = tmp_path_factory.mktemp("cubes")
    return {
        "zarr": ml.save_cube(image_columns(), folder / "cube.zarr"),
        "single": ml.save_cube(pixel_cube(planted()), folder / "single.nc"),
    }


def test_groups_are_told_in_words(saved):
    done = call(saved["zarr"])
    assert done.exit_code == 0 and not done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "m: a b c | d e | f g h"
    assert lines[1].startswith(
        "  correlation, average linkage, 3 groups by silhouette, silhouette 0."
    )
    assert lines[2] == "  clear pixels only, train, 3,840 pixels, m"
    assert lines[4].split() == [*"abcdefgh"]
    row = lines[5].split()
    assert row[:2] == ["a", "0.00"] and max(row[2:4]) < "0.20" < "0.80" < min(row[4:])
    assert lines[-3:] == [
        f"  {drawn}: firm; the same groups in 100 % of the draws, pairs of one group in 100 % or "
        "more, of two in 0 % or less"
        for drawn in ("12 samples", "5 dates", "6 blocks")
    ]


def test_options_reach_the_measurement(saved):
    done = call(
        saved["single"], "--statistic", "overlap", "--linkage", "single", "--clouds", "in",
        "--season", "DJF", "--region", "block 0", "-k", "2",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "  overlap, single linkage, 2 groups asked for" in done.stdout
    assert "  clouds in, train, DJF, block 0, 2,500 pixels, m" in done.stdout
    assert "  1 sample: nothing to draw from" in done.stdout


def test_json_holds_groups_distances_and_how_sure_they_are():
    done = call(*LAND, "-k", 3, "--json")
    assert done.exit_code == 0
    everything = json.loads(done.stdout)
    assert list(everything) == ["s2", "dem"]
    assert "NaN" not in done.stdout
    assert everything["dem"]["silhouette"] is None
    assert everything["dem"]["distances"] == [[0.0]]
    assert everything["dem"]["clouds"] == "unseen"
    found = everything["s2"]
    assert list(found["groups"].values()) == [
        ["B02", "B03", "B04", "B05"], ["B06", "B07", "B08", "B8A"], ["B11", "B12"]
    ]  # fmt: skip
    matrix = np.array(found["distances"])
    assert matrix.shape == (10, 10)
    np.testing.assert_array_equal(matrix, matrix.T)
    labels = fcluster(linkage(squareform(matrix), "average"), 3, "maxclust")
    assert adjusted_rand_score(labels, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]) == 1
    assert [row["drawn"] for row in found["stability"]] == ["sample", "date", "block"]
    assert all(0 <= row["within"] <= 1 for row in found["stability"])
    assert found["references"][0]["reference"] == "MAESTRO Sentinel-2"
    assert found["bands"][0] == "B02" and found["units"] == "DN"
    assert (found["statistic"], found["clouds"], found["linkage"]) == (
        "correlation", "out", "average"
    )  # fmt: skip


def test_netcdf_files_are_named_by_their_path(saved):
    done = call(saved["single"], "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["m"]
    assert list(found["groups"].values()) == [[*"abc"], [*"de"], [*"fgh"]]
    assert found["chosen"] == "3 groups by silhouette"
    assert [row["verdict"] for row in found["stability"]] == ["nothing to draw from"] * 3
    assert found["pixels"] == 2500


def test_a_data_set_is_named_with_its_folder(shared):
    folder = shared / "data" / "treesatai_ts"
    done = call(
        f"treesatai-ts:{folder}", "-m", "s2", "-s", "overlap", "--clouds", "in", "-k", 3, "--json"
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["s2"]
    assert list(found["groups"]) == ["B02-B05", "B06-B8A", "B11-B12"]
    assert found["selection"] == "clouds in, train"
    assert found["pixels"] == 146 * 36
    assert [row["verdict"] == "nothing to draw from" for row in found["stability"]] == [
        True, False, True
    ]  # fmt: skip
    assert found["references"][0]["Rand index"] == 1


@pytest.mark.parametrize("name", ["groups.json", "mine.yaml", ""])
def test_saved_groups_can_be_loaded(tmp_path, saved, name):
    done = call(saved["single"], "--json", "--save", tmp_path / name)
    assert done.exit_code == 0
    json.loads(done.stdout)
    assert str(tmp_path / (name or "groups.json")) in done.stderr
    found = load_groups(tmp_path / name)
    assert found["m"].words == "a b c | d e | f g h"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["landscape", "-o", "samples", 4, "-s", "cosine"], "correlation | within_date"),
        (["landscape", "-o", "samples", 4, "-l", "ward"], "average | complete | single"),
        (["landscape", "-o", "samples", 4, "--clouds", "maybe"], "out | in"),
        (["landscape", "-o", "samples", 4, "--season", "summer"], "DJF | MAM | JJA | SON"),
        (["landscape", "-o", "samples", 4, "--region", "x"], "region"),
        (["landscape", "-o", "samples", 4, "-m", "s3"], "no modality 's3'"),
        (["landscape", "-k", -1], "-k"),
        (["landscape", "-k", "many"], "not a valid integer"),
        (["landscape", "-o", "sample", 4], "no option 'sample'"),
        (["landscap"], "did you mean 'landscape'"),
        (["absent/cube.zarr"], "does not exist"),
        (["absent.nc"], "does not exist"),
        (["treesatai-ts:absent"], "absent/train.csv does not exist"),
        (["treesat:absent"], "no cube named 'treesat'"),
        ([], "Missing argument"),
    ],
)
def test_mistakes_end_with_status_2_and_a_message(words, message):
    done = call(*words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.output
    assert isinstance(done.exception, SystemExit)
    assert not done.stdout
    assert len(done.stderr.splitlines()) < 12


def test_groups_are_not_saved_where_no_groups_file_can_be(tmp_path, saved):
    done = call(saved["single"], "--save", tmp_path / "groups.csv")
    assert done.exit_code == 2
    assert ".json or .yaml" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["absent/groups.json", "file/groups.json"])
def test_groups_are_not_saved_in_a_folder_that_is_none(tmp_path, saved, name):
    (tmp_path / "file").write_text("no folder")
    done = call(saved["single"], "--save", tmp_path / name)
    assert done.exit_code == 2
    assert name in done.stderr


def test_a_folder_that_is_no_cube_is_refused(tmp_path):
    (tmp_path / "cube.zarr").mkdir()
    done = call(tmp_path / "cube.zarr")
    assert done.exit_code == 2
    assert "is not a cube" in done.stderr


def test_a_cube_without_training_samples_is_measured_as_a_whole(tmp_path):
    values = np.random.default_rng(0).standard_normal((2, 1, 2, 6, 6))
    path = ml.save_cube(image_cube(values, splits=["val", "test"]), tmp_path / "c.nc")
    done = call(path)
    assert done.exit_code == 0
    assert "clear pixels only, all splits, 72 pixels" in done.stdout
