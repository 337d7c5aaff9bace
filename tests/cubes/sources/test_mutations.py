"""Damaged folders of PASTIS-HD and TreeSatAI-TS: each is refused with the file's name."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.cubes.sources import layouts
from tests.cubes.sources.conftest import PASTIS as TILES
from tests.cubes.sources.conftest import TREESAT as SAMPLES
from tests.cubes.sources.damage import (
    a_folder,
    at,
    check_refused,
    columns,
    content,
    dates_s2,
    features,
    gone,
    h5,
    half,
    named,
    no_rows,
    npy,
    pastis,
    pickled,
    rows_again,
    tif,
    treesat,
    zipped,
)

P, Q = TILES["train"][0], TILES["val"][0]
T, U = SAMPLES["train"][0], SAMPLES["val"][0]

PASTIS = [
    (columns("train.csv", image=None, patch="1"), r"train.csv: column 'image' is missing"),
    (no_rows, r"data: no samples\n.*rows in train.csv, val.csv, test.csv"),
    (rows_again("val.csv"), rf"val.csv: '{Q}' is there twice\n.*once\n.*two rows"),
    (columns("val.csv", image=P), rf"val.csv: '{P}' is there twice\n.*\n.*in train.csv"),
    (a_folder(named("train.csv")), r"train.csv cannot be read\n.*csv file"),
    (content(named("val.csv"), b"image\n\xff\xfe\n"), r"val.csv cannot be read\n"),
    (content(named("val.csv"), b""), r"val.csv cannot be read\n.*csv file"),
    (columns("val.csv", image="../1"), r"val.csv: column 'image'\n.*\n.*'../1' in row 1"),
    (columns("val.csv", image="", x=1), r"val.csv: column 'image'\n.*name.*\n.*nan in r"),
    (gone(named("test.csv")), r"test.csv does not exist\n.*pastis-hd.*\n.*train.csv"),
    (gone(named("metadata.geojson")), r"metadata.geojson does not exist"),
    (half(named("metadata.geojson")), r"metadata.geojson cannot be read\n.*JSON"),
    (content(named("metadata.geojson"), b"[]"), r"metadata.geojson is no GeoJSON"),
    (
        features(lambda all_: all_[1]["properties"].pop("ID_PATCH")),
        r"metadata.geojson: feature 2\n.*an id, or ID_PATCH.*\n.*Fold, dates-S2",
    ),
    (
        features(lambda all_: all_.append(all_[0])),
        rf"metadata.geojson: feature 3\n.*of its own\n.*{P} again",
    ),
    (
        features(lambda all_: all_[0].update(properties=[1])),
        r"metadata.geojson: feature 1\n.*\n.*no properties",
    ),
    (
        lambda root: layouts.write_geojson(root, {Q: layouts.PASTIS_DAYS}),
        rf"metadata.geojson: tile {P} has no feature\n.*each tile.*\n.*{Q}",
    ),
    (
        features(lambda all_: all_[0]["properties"].pop("dates-S1A")),
        rf"metadata.geojson: tile {P} has no dates-S1A\n.*\n.*dates-S2, dates-S1D",
    ),
    (
        dates_s2({"0": "20190105", "1": float("nan"), "2": "20190214"}),
        rf"metadata.geojson: tile {P}, dates-S2: a date\n.*YYYYMMDD\n.*nan",
    ),
    (dates_s2({"0": "20191332"}), rf"tile {P}, dates-S2: a date\n.*YYYYMMDD\n"),
    (dates_s2(["20190105"]), rf"tile {P}, dates-S2: dates\n.*for each number"),
    (dates_s2({"first": "20190105"}), rf"tile {P}, dates-S2: dates\n.*for each num"),
    (dates_s2("{'0': 1"), rf"metadata.geojson: tile {P}, dates-S2\n.*JSON"),
    (
        dates_s2({"0": "20190105", "1": "20190125"}),
        rf"S2_{P}.npy\n.*2 x 10 x 128 x 128 numbers\n.*3 x 10 x 128 x 128 in int16",
    ),
    (gone(pastis("s2", Q)), rf"S2_{Q}.npy does not exist\n.*each tile of the lists"),
    (a_folder(pastis("s1_asc", P)), rf"S1A_{P}.npy is no file\n.*each tile"),
    (
        lambda root: shutil.rmtree(root / "ANNOTATIONS"),
        r"ANNOTATIONS cannot be listed\n.*each tile of the lists\n.*No such file",
    ),
    (npy(pastis("s2", P), lambda a: a.astype("f4")), rf"S2_{P}.npy: numbers\n.*int16.*\n.*float3"),
    (npy(pastis("s2", P), lambda a: a.astype("U5")), rf"S2_{P}.npy\n.*numbers\n.*in <U5"),
    (npy(pastis("s2", P), lambda a: a.swapaxes(0, 1)), rf"S2_{P}.npy\n.*3 x 10.*\n.*10 x 3 x 12"),
    (npy(pastis("s2", P), lambda a: a[0]), rf"S2_{P}.npy\n.*3 x 10 x 128 x 128.*\n.*: +10 x 128"),
    (npy(pastis("s1_des", P), lambda a: a[:, :2]), rf"S1D_{P}.npy\n.*2 x 3 x 12.*\n.*2 x 2 x 128"),
    (npy(pastis("s1_asc", P), lambda a: a + 1j), rf"S1A_{P}.npy\n.*numbers\n.*in complex"),
    (content(pastis("s2", P), b""), rf"S2_{P}.npy cannot be read\n.*in a .npy file"),
    (half(pastis("s2", P)), rf"S2_{P}.npy cannot be read\n.*in a .npy file"),
    (content(pastis("s2", P), pickled(as_array=False)), rf"S2_{P}.npy cannot be read\n"),
    (content(pastis("s2", P), pickled(as_array=True)), rf"S2_{P}.npy cannot be read\n"),
    (content(pastis("s2", P), zipped()), rf"S2_{P}.npy cannot be read\n"),
    (npy(pastis("labels", P), at(0, 3, 4, value=20)), rf"TARGET_{P}.npy: label 20\n.*0 to 19"),
    (
        npy(pastis("labels", Q), lambda a: at(0, 3, 4, value=-1)(a.astype("i1"))),
        rf"TARGET_{Q}.npy: label -1\n.*from 0 to 19\n.*1 pixels",
    ),
    (npy(pastis("labels", P), lambda a: a.astype("f4")), rf"TARGET_{P}.npy\n.*\n.*in float32"),
    (npy(pastis("labels", P), lambda a: a[0]), rf"TARGET_{P}.npy\n.*3 x 128 x 128.*\n.*: +128 x "),
    (half(pastis("spot", P)), rf"2019_{P}.tif cannot be read\n.*an image"),
    (content(pastis("spot", P), b""), rf"2019_{P}.tif cannot be read\n.*an image"),
    (tif(pastis("spot", P), lambda a: a[:1]), rf"2019_{P}.tif: bands\n.*: +3\n.*: +1"),
    (
        tif(pastis("spot", P), lambda a: a[:, ::2, ::2]),
        rf"2019_{P}.tif: rows and columns\n.*\(1280, 1280\)\n.*\(640, 640\)",
    ),
    (tif(pastis("spot", P), lambda a: a.astype("u2")), rf"{P}.tif: numbers\n.*\n.*uint16"),
]

TREESAT = [
    (columns("train.csv", sen_name=None), r"train.csv: column 'sen_name' is missing"),
    (columns("train.csv", aerial_date="NaN"), r"train.csv: aerial_date: a date\n.*YYYYMMDD"),
    (columns("train.csv", Quercus=None), r"train.csv: column 'Quercus' is missing"),
    (columns("val.csv", Picea=""), r"val.csv: column 'Picea'\n.*a share of the area"),
    (content(treesat("s2", T), b""), rf"{T}_2019.h5 cannot be read\n.*HDF5"),
    (a_folder(treesat("s2", T)), rf"{T}_2019.h5 does not exist\n.*as in .*train.csv"),
    (h5(T, "sen-2-data", None), rf"{T}_2019.h5 lacks a data set\n.*\n.*sen-2-data"),
    (h5(T, "sen-2-data", lambda a: a.swapaxes(0, 1)), rf"{T}_2019.h5: sen-2-data\n.*\(3, 10, 6, 6"),
    (h5(T, "sen-2-masks", lambda a: np.zeros((3, 2, 8, 8))), rf"{T}_2019.h5: sen-2-masks\n"),
    (h5(T, "sen-2-products", lambda a: ["NaN"] * 3), rf"{T}_2019.h5: sen-2-products\n.*fifth"),
    (half(treesat("aerial", U)), rf"{U}.tif cannot be read\n.*an image"),
]

CASES = [("pastis-hd", *case) for case in PASTIS] + [("treesatai-ts", *case) for case in TREESAT]


@pytest.mark.parametrize(
    ("layout", "change", "message"), CASES, ids=lambda v: v if isinstance(v, str) else ""
)
def test_damage_is_told_with_the_file(layout, change, message, sound, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sound(layout, tmp_path / "data")
    change(tmp_path / "data")
    check_refused(layout, Path("data"), message)
