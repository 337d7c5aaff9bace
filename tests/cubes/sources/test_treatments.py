"""What native files may be without being refused, and what is made of it."""

import json
from pathlib import Path

import numpy as np
import pytest

import maestro_lab as ml
from maestro_lab.cubes.contract import modality_names
from tests.cubes.sources.conftest import FLAIR, NAIP, PASTIS, TREESAT, WRITERS
from tests.cubes.sources.damage import (
    at,
    columns,
    content,
    dates_s2,
    flair,
    gone,
    gpkg,
    h5,
    listed,
    naip,
    named,
    npy,
    pastis,
    products,
    read_all,
    tif,
)
from tests.cubes.sources.layouts import s1_product, s2_product

P, F, N, T = (tiles["train"][0] for tiles in (PASTIS, FLAIR, NAIP, TREESAT))


def days(cube, modality, sample=0):
    time = cube[modality]["time"].values[sample]
    return [str(d)[:10] for d in time[~np.isnat(time)]]


def gaps(cube, modality, sample=0):
    """Where a dated pixel of a sample is not valid."""
    ds = cube[modality].isel(sample=sample)
    dated = ~np.isnat(ds["time"].values)
    return np.argwhere(~ds["valid"].values[dated]).tolist()


@pytest.mark.parametrize("layout", list(WRITERS))
def test_any_folder_will_do(layout, sound, tmp_path):
    place = tmp_path / "Données d'été" / "données #2 100% prêtes"
    place.parent.mkdir()
    sound(layout, place)
    plain = read_all(layout, place)
    assert plain.attrs["source"] == str(place) and plain.sizes["sample"] == 2
    by_text = ml.open_cube(f"{layout}:{place}")
    assert by_text["sample"].values.tolist() == plain["sample"].values.tolist()


def three(first, second, third):
    return {"1": first, "2": second, "3": third}


ORDER = ("20210214", "20210105", "20210125")
SORTED = {
    "pastis-hd": (dates_s2(dict(zip("012", ORDER, strict=True))), "s2"),
    "flair-hub": (
        gpkg("SENTINEL2", [(n.rsplit("_", 1)[0], json.dumps(three(*ORDER)))
                           for names in FLAIR.values() for n in names]),
        "s2",
    ),
    "s2-naip": (products("s2", N, [s2_product(day) for day in ORDER]), "s2"),
    "treesatai-ts": (
        h5(T, "sen-2-products", lambda a: [s2_product(day) for day in ORDER]), "s2"
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", list(SORTED))
def test_dates_out_of_order_are_sorted_with_their_pixels(layout, sound, tmp_path):
    tiles = sound(layout, tmp_path / "data")
    change, modality = SORTED[layout]
    change(tmp_path / "data")
    cube = read_all(layout, tmp_path / "data")
    assert days(cube, modality) == ["2021-01-05", "2021-01-25", "2021-02-14"]
    stored = next(iter(tiles.values())).values[modality]
    np.testing.assert_array_equal(cube[modality]["values"].values[0], stored[[1, 2, 0]])


TWINS = [
    # the change, the series, which stored rows are left
    ("pastis-hd", dates_s2({"0": "20190105", "1": "20190101", "2": "20190105"}), "s2", [1, 0]),
    (
        "flair-hub",
        gpkg("SENTINEL1-ASC", [(n.rsplit("_", 1)[0], '{"1": "20210103", "2": "20210103"}')
                               for names in FLAIR.values() for n in names]),
        "s1_asc",
        [0],
    ),
    (
        "s2-naip",
        products("s1", N, [s1_product("20190105", 7), s1_product("20190105", 7, second=59)]),
        "s1",
        [0],
    ),
    ("s2-naip", products("s2", N, [s2_product("20190105")] * 3), "s2", [0]),
]  # fmt: skip


@pytest.mark.parametrize(("layout", "change", "modality", "rows"), TWINS)
def test_of_one_acquisition_the_first_row_is_kept(layout, change, modality, rows, sound, tmp_path):
    tiles = sound(layout, tmp_path / "data")
    change(tmp_path / "data")
    cube = read_all(layout, tmp_path / "data")
    assert len(days(cube, modality)) == len(rows)
    found = cube[modality]["values"].values[0, : len(rows)]
    stored = next(iter(tiles.values())).values[modality][rows]
    np.testing.assert_array_equal(found, stored[:, : found.shape[1]])
    kept = ml.open_cube(layout, root=tmp_path / "data", duplicates="keep")
    assert len(days(kept, modality)) > len(rows)


def none_of(kind):
    return gpkg(kind, [(n.rsplit("_", 1)[0], "{}") for names in FLAIR.values() for n in names])


MISSING = [
    ("pastis-hd", dates_s2({}), "s2"),
    ("pastis-hd", dates_s2("{}"), "s2"),
    ("flair-hub", none_of("SENTINEL1-DESC"), "s1_des"),
    ("s2-naip", products("s1", N, []), "s1"),
    ("s2-naip", lambda root: [gone(place("s2", N))(root) for place in (naip, listed)], "s2"),
    (
        "treesatai-ts",
        lambda root: [
            h5(T, "sen-1-asc-data", lambda a: a[:0])(root),
            h5(T, "sen-1-asc-products", lambda a: a[:0])(root),
        ],
        "s1_asc",
    ),
]


@pytest.mark.parametrize(("layout", "change", "modality"), MISSING)
def test_an_empty_series_is_a_missing_modality(layout, change, modality, sound, tmp_path):
    sound(layout, tmp_path / "data")
    change(tmp_path / "data")
    cube = read_all(layout, tmp_path / "data")
    assert days(cube, modality) == [] and not cube[modality]["valid"].values[0].any()
    assert not cube[modality]["values"].values[0].any()
    others = [name for name in modality_names(cube) if name != modality]
    assert all(days(cube, name) for name in others)


NAN = float("nan")
GAPS = [
    # the change, the modality, where it is not valid
    ("pastis-hd", npy(pastis("s2", P), at(1, slice(None), 5, 6, value=0)), "s2", [[1, 5, 6]]),
    ("pastis-hd", npy(pastis("s1_asc", P), at(1, 0, 5, 6, value=NAN)), "s1_asc", [[1, 5, 6]]),
    ("pastis-hd", npy(pastis("s1_asc", P), at(1, 2, 5, 6, value=NAN)), "s1_asc", []),
    ("flair-hub", tif(flair("s1_asc", F), at(3, 5, 6, value=0)), "s1_asc", [[1, 5, 6]]),
    ("flair-hub", tif(flair("s1_asc", F), at(0, 5, 6, value=np.inf)), "s1_asc", [[0, 5, 6]]),
    ("flair-hub", tif(flair("masks", F), at(2, 5, 6, value=1)), "s2", [[1, 5, 6]]),
    ("flair-hub", tif(flair("masks", F), lambda a: at(5, 5, 6, value=NAN)(a.astype("f4"))), "s2",
     [[2, 5, 6]]),
    ("flair-hub", tif(flair("s2", F), lambda a: at(11, 5, 6, value=NAN)(a.astype("f4"))), "s2",
     [[1, 5, 6]]),
    ("flair-hub", tif(flair("dem", F), at(1, 5, 6, value=-9999)), "dem", [[0, 5, 6]]),
    ("s2-naip", tif(naip("s2", N), at(slice(0, 10), 5, 6, value=0)), "s2", [[0, 5, 6]]),
    ("s2-naip", tif(naip("s1", N), at(3, 5, 6, value=NAN)), "s1", [[1, 5, 6]]),
    ("treesatai-ts", h5(T, "sen-1-des-data", at(0, 1, 5, 4, value=NAN)), "s1_des", [[0, 5, 4]]),
    ("treesatai-ts", h5(T, "sen-2-masks", at(2, 1, 5, 4, value=NAN)), "s2", [[2, 5, 4]]),
]  # fmt: skip


@pytest.mark.parametrize(("layout", "change", "modality", "expected"), GAPS)
def test_pixels_without_data_are_not_valid(layout, change, modality, expected, sound, tmp_path):
    sound(layout, tmp_path / "data")
    change(tmp_path / "data")
    cube = read_all(layout, tmp_path / "data")
    assert gaps(cube, modality) == expected
    assert np.isfinite(cube[modality]["values"].values).all()


HARMLESS = [
    ("pastis-hd", columns("train.csv", note="further columns")),
    ("pastis-hd", content(named("val.csv"), "\ufeffimage\r\n 10001 \r\n".encode())),
    ("flair-hub", tif(flair("dem", F), lambda a: a, crs=None)),
    ("flair-hub", tif(flair("s2", F), lambda a: a, compress="lzw", interleave="band")),
    ("s2-naip", tif(naip("s2", N), lambda a: a, crs="EPSG:3857")),
    ("s2-naip", content(listed("naip", N), b"\n m_3211225_ne_12_060_20190810.tif \n\n")),
]


@pytest.mark.parametrize(("layout", "change"), HARMLESS)
def test_what_does_not_matter_changes_nothing(layout, change, sound, tmp_path):
    sound(layout, tmp_path / "sound")
    sound(layout, tmp_path / "data")
    change(tmp_path / "data")
    expected, found = (read_all(layout, tmp_path / name) for name in ("sound", "data"))
    for name in ("sample", "split", "ref_date"):
        assert found[name].values.tolist() == expected[name].values.tolist()
    for name in modality_names(expected):
        for variable in ("time", "values", "valid"):
            np.testing.assert_array_equal(found[name][variable], expected[name][variable])


def test_a_day_00_is_the_first_of_its_month(sound, tmp_path):
    sound("s2-naip", tmp_path / "data")
    products("naip", N, ["m_3211225_ne_12_060_20190800"])(tmp_path / "data")
    assert days(read_all("s2-naip", Path(tmp_path / "data")), "aerial") == ["2019-08-01"]
