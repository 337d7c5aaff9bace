"""Damaged folders of FLAIR-HUB and S2-NAIP urban: each is refused with the file's name."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cubes.sources.conftest import FLAIR as TILES
from tests.cubes.sources.conftest import NAIP as CITIES
from tests.cubes.sources.damage import (
    a_folder,
    another_table,
    at,
    check_refused,
    columns,
    content,
    flair,
    gone,
    gpkg,
    half,
    listed,
    naip,
    png,
    products,
    table,
    tif,
)
from tests.cubes.sources.layouts import dates, s1_product, s2_product

F, G = TILES["train"][0], TILES["val"][0]
N, M = CITIES["train"][0], CITIES["val"][0]
DAY = json.dumps({"1": "20210105", "2": "20210125", "3": "20210214"})
AREA = [(F.rsplit("_", 1)[0], DAY), (G.rsplit("_", 1)[0], DAY)]

FLAIR = [
    (columns("val.csv", patch_id="UU-S2-1_0-0"), r"val.csv: column 'patch_id'\n.*DOMAIN_A"),
    (gone(table("AERIAL")), r"GLOBAL_AERIAL_MTD_DATES.gpkg does not exist"),
    (half(table("SENTINEL2")), r"GLOBAL_SENTINEL2_MTD_DATES.gpkg cannot be read\n.*a G"),
    (content(table("AERIAL"), b""), r"AERIAL_MTD_DATES.gpkg cannot be read\n"),
    (content(table("AERIAL"), b"x" * 999), r"AERIAL_MTD_DATES.gpkg cannot be read\n"),
    (another_table, r"AERIAL_MTD_DATES.gpkg: no table has.*\n.*\n.*other with none"),
    (
        gpkg("SENTINEL2", AREA, ("patch_id", "dates")),
        r"SENTINEL2_MTD_DATES.gpkg: no table has.*\n.*acquisition_dates\n.*fid, geom, patch_id, da",
    ),
    (gpkg("SENTINEL2", AREA[:1]), rf"SENTINEL2_MTD_DATES.gpkg: no row of {G}\n"),
    (
        gpkg("AERIAL", [(F, "20210701"), (G, None)], ("patch_id", "date")),
        r"GLOBAL_AERIAL_MTD_DATES.gpkg: .*a date\n.*YYYYMMDD\n.*None",
    ),
    (
        gpkg("SENTINEL2", [AREA[0], (G, None)]),
        rf"SENTINEL2_MTD_DATES.gpkg: {G}: acquisition_dates\n.*JSON",
    ),
    (
        gpkg("SENTINEL1-ASC", [AREA[0], (G, '["20210101"]')]),
        rf"SENTINEL1-ASC_MTD_DATES.gpkg: {G}: dates\n.*for each number",
    ),
    (
        gpkg("SENTINEL2", [(name, DAY.replace("20210105", "NaN")) for name, _ in AREA]),
        r"SENTINEL2_MTD_DATES.gpkg: D004-2021_AA-S1-32: a date\n.*YYYYMMDD\n.*NaN",
    ),
    (
        gpkg("SENTINEL1-DESC", AREA),
        r"SENTINEL1-DESC_TS_.*tif: bands\n.*6 \(3 dates of 2\)\n.*: +2\n",
    ),
    (
        tif(flair("s2", F), lambda a: a[:-1]),
        r"SENTINEL2_TS_AA-S1-32_1-2.tif: bands\n.*30 \(3 dates of 10\)\n.*29",
    ),
    (
        tif(flair("masks", G), lambda a: np.pad(a, ((0, 0), (5, 5), (5, 5)))),
        r"MSK-SC_UU-S2-1_0-0.tif: rows and columns\n.*\(10, 10\)\n.*\(20, 20\)",
    ),
    (tif(flair("masks", F), lambda a: a[::2]), r"MSK-SC_.*bands\n.*6 \(3 d.*2\)\n.*: +3"),
    (gone(flair("masks", G)), r"MSK-SC_UU-S2-1_0-0.tif does not exist\n.*each tile"),
    (gone(flair("labels", F)), r"LABEL-COSIA_AA-S1-32_1-2.tif does not exist"),
    (
        tif(flair("aerial", G), lambda a: a, crs="EPSG:32631"),
        r"AERIAL_RGBI_UU-S2-1_0-0.tif: coordinate.*\n.*EPSG:2154, as in the first.*\n.*EPSG:32631",
    ),
    (
        tif(flair("s2", G), lambda a: a.astype("f4")),
        r"SENTINEL2_TS_UU-S2-1_0-0.tif: numbers\n.*uint16, or what fits into it\n.*float32",
    ),
    (content(flair("aerial", F), b""), r"RGBI_AA-S1-32_1-2.tif cannot be read\n.*image"),
    (half(flair("dem", G)), r"DEM_ELEV_UU-S2-1_0-0.tif cannot be read\n.*an image"),
    (tif(flair("dem", F), lambda a: a[:1]), r"DEM_ELEV_.*tif: bands\n.*: +2\n.*: +1"),
    (tif(flair("dem", F), lambda a: a[:, :9]), r"DEM_ELEV_.*tif: rows and columns\n"),
    (
        tif(flair("labels", G), at(0, 3, 4, value=19)),
        r"LABEL-COSIA_UU-S2-1_0-0.tif: label 19\n.*from 0 to 18\n.*1 pixels",
    ),
    (tif(flair("labels", F), lambda a: a.astype("f4")), r"COSIA_.*: labels\n.*\n.*float32"),
]

FLAIR2 = [
    (tif(flair("labels", F), at(0, 3, 4, value=255)), r"COSIA_AA-S1-32_1-2.tif: label 255\n"),
]

NAIP = [
    (columns("train.csv", name=None, id="1"), r"train.csv: column 'name' is missing\n"),
    (gone(naip("naip", N)), rf"{N}.png does not exist\n.*picture of each tile"),
    (content(naip("naip", N), b""), rf"{N}.png cannot be read\n.*an image"),
    (half(naip("naip", M)), rf"{M}.png cannot be read\n.*an image"),
    (png(N, lambda a: a[:3]), rf"{N}.png: bands\n.*: +4\n.*: +3"),
    (png(N, lambda a: a[:, :256, :256]), rf"{N}.png: rows and columns\n.*\n.*\(256, 25"),
    (png(N, lambda a: a.astype("u2")), rf"{N}.png: numbers\n.*uint8\n.*uint16"),
    (products("naip", N, []), rf"naip.{N}.txt\n.*name of one product\n.*nothing"),
    (products("naip", N, ["a_20190101"] * 2), rf"naip.{N}.txt\n.*one product\n.*, a_2"),
    (products("naip", N, ["m_ne_NaN"]), rf"naip.{N}.txt: a date\n.*last field.*\n.*'NaN'"),
    (gone(listed("naip", M)), rf"naip.{M}.txt cannot be read\n.*names of products"),
    (gone(listed("s2", N)), rf"s2.{N}.txt cannot be read\n.*names of products\n.*No such f"),
    (content(listed("s1", N), b"\xff"), rf"s1.{N}.txt cannot be read\n.*names of products"),
    (products("s2", N, ["20190105"] * 3), rf"s2.{N}.txt: a date\n.*fifth field.*\n.*20190105"),
    (
        products("s1", N, [s1_product("2019May2", 1), s1_product("20190125", 2)]),
        rf"s1.{N}.txt: a date\n.*fifth field from the end.*\n.*2019May2",
    ),
    (gone(naip("s2", N)), rf"{N}_stacked.tif does not exist\n.*s2.{N}.txt has dates"),
    (a_folder(naip("s1", N)), rf"sentinel1.{N}.tif does not exist\n.*s1.{N}.txt has dates"),
    (
        products("s2", N, [s2_product(day) for day in dates(4)]),
        rf"{N}_stacked.tif: bands\n.*40 \(4 dates of 10\)\n.*30",
    ),
    (tif(naip("s1", N), lambda a: a[:3]), rf"sentinel1.{N}.tif: bands\n.*4 \(2 dates of 2\)"),
    (tif(naip("s2", N), lambda a: a[:, :32]), rf"{N}_stacked.tif: rows and columns\n"),
    (half(naip("s2", M)), rf"{M}_stacked.tif cannot be read\n.*an image"),
]

CASES = [
    *(("flair-hub", *case) for case in FLAIR),
    *(("flair2", *case) for case in FLAIR2),
    *(("s2-naip", *case) for case in NAIP),
]


@pytest.mark.parametrize(
    ("layout", "change", "message"), CASES, ids=lambda v: v if isinstance(v, str) else ""
)
def test_damage_is_told_with_the_file(layout, change, message, sound, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sound(layout, tmp_path / "data")
    change(tmp_path / "data")
    check_refused(layout, Path("data"), message)
