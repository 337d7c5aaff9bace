"""The TreeSatAI-TS reader, on a folder written here with every trap, and on the real patch."""

import h5py
import numpy as np
import pandas as pd
import pytest
import rasterio
from rasterio.transform import Affine

import maestro_lab as ml
from maestro_lab.cubes.contract import modality_names, validate
from maestro_lab.cubes.sources.treesatai import SPECIES, open_treesatai
from maestro_lab.cubes.statistics import with_statistics
from maestro_lab.cubes.store import open_store, save_cube
from maestro_lab.errors import CubeError

OAK, PINE = "Quercus_1_WEFL_NLF", "Pinus_2_WEFL_NLF"


def s2_name(day):
    return f"S2A_MSIL2A_{day}T104431_N0211_R008_T32UMD_{day}T115449"


def s1_name(day, orbit, second=40, platform="S1A"):
    start, stop = f"{day}T0549{second:02d}", f"{day}T0550{second:02d}"
    return f"{platform}_IW_GRDH_1SDV_{start}_{stop}_{orbit:06d}_02CCD2_4331"


def optical(dates):
    """Make values that tell their date, band and pixel."""
    t, b, y, x = np.indices((dates, 10, 6, 6))
    return (1000 + 100 * t + 10 * b + y + x / 8).astype(np.float32)


def radar(dates, seed):
    return np.random.default_rng(seed).uniform(0.01, 0.3, (dates, 2, 6, 6)).astype(np.float32)


def write_h5(path, s2, masks, days, **passes):
    with h5py.File(path, "w") as file:
        file["sen-2-data"], file["sen-2-masks"] = s2, masks
        file["sen-2-products"] = [s2_name(day) for day in days]
        for name in ("asc", "des"):
            values, products = passes[name]
            file[f"sen-1-{name}-data"] = values
            file.create_dataset(f"sen-1-{name}-products", data=products, dtype=h5py.string_dtype())


def write_tif(path, image, dtype="uint8"):
    with rasterio.open(
        path, "w", driver="GTiff", count=len(image), height=image.shape[1], width=image.shape[2],
        dtype=dtype, crs="EPSG:25832", transform=Affine(0.2, 0, 428370, 0, -0.2, 5862962.2),
    ) as file:  # fmt: skip
        file.write(image.astype(dtype))


def camera(side):
    """Make an aerial image, near infrared, green, blue, red, with a gradient to tell pixels by."""
    y, x = np.indices((side, side))
    return np.stack([(level + y // 3 + x // 7) for level in (100, 60, 40, 20)]).astype(np.uint8)


def write_list(root, split, rows):
    frame = pd.DataFrame(
        [
            {"aerial_name": f"{n}.tif", "sen_name": f"{n}_2019.h5", "aerial_date": day}
            | {s: shares.get(s, 0.0) for s in SPECIES}
            for n, day, shares in rows
        ],
        columns=["aerial_name", "sen_name", "aerial_date", *SPECIES],
    )
    frame.to_csv(root / f"{split}.csv", index=False)


@pytest.fixture
def folder(tmp_path):
    """Two patches in the native layout, with every trap of the real files."""
    root = tmp_path / "TreeSatAI-TS"
    for name in ("aerial", "sentinel-ts"):
        (root / name).mkdir(parents=True)
    write_list(root, "train", [(OAK, "20190713", {"Quercus": 0.7, "Picea": 0.05})])
    write_list(root, "val", [(PINE, "20200800", {"Pinus": 1.0})])
    write_list(root, "test", [])

    write_tif(root / "aerial" / f"{OAK}.tif", camera(304))
    write_tif(root / "aerial" / f"{PINE}.tif", camera(300))

    s2, masks = optical(4), np.zeros((4, 2, 6, 6), np.float32)
    masks[1, 0, 2, 3] = 5  # snow
    masks[2, 1] = 100  # clouds
    masks[3, 1, 0, 0] = np.nan
    s2[0, 4, 5, 5] = np.nan
    asc = radar(4, 1)
    asc[1] = asc[0]  # one pass, stored twice
    asc[2, 0, :, :4] = np.nan  # half a slice, and the whole one
    asc[3, 1, 0, 0] = 0
    slices = [s1_name("20190104", 100), s1_name("20190104", 100, 45)]
    slices += [s1_name("20190102", 99), s1_name("20190102", 99, 45)]
    des = radar(2, 2)
    twins = [s1_name("20190103", 7), s1_name("20190103", 7, platform="S1B")]
    days = ["20190301", "20190501", "20190201", "20190701"]  # not in order
    write_h5(root / "sentinel-ts" / f"{OAK}_2019.h5", s2, masks, days,
             asc=(asc, slices), des=(des, twins))  # fmt: skip

    more = np.full((2, 5, 6, 6), 100, np.float32)  # further masks, to be ignored
    more[:, :2] = 0
    write_h5(root / "sentinel-ts" / f"{PINE}_2019.h5", optical(2), more, ["20190105", "20190205"],
             asc=(radar(1, 3), [s1_name("20190106", 5)]),
             des=(np.zeros((0, 2, 6, 6), np.float32), []))  # fmt: skip
    return root


def test_a_folder_becomes_a_cube(folder):
    cube = validate(ml.open_cube("treesatai-ts", root=folder), values=None)
    assert modality_names(cube) == ["aerial", "s2", "s1_asc", "s1_des"]
    assert cube["sample"].values.tolist() == [f"train/{OAK}", f"val/{PINE}"]
    assert cube["split"].values.tolist() == ["train", "val"]
    assert len(set(cube["block"].values.tolist())) == 2
    species = cube["targets"]["species"]
    assert species.sel({"class": ["Quercus", "Picea", "Pinus"]}).values == pytest.approx(
        np.array([[0.7, 0.05, 0], [0, 0, 1]])
    )
    dates = cube["ref_date"].values.astype("datetime64[D]").astype(str).tolist()
    assert dates == ["2019-07-13", "2020-08-01"], "a day 00 is the first"
    assert (cube["aerial"]["time"].values[:, 0] == cube["ref_date"].values).all()


def test_optical_series_are_sorted_padded_and_masked(folder):
    s2 = open_treesatai(folder)["s2"]
    order = [2, 0, 1, 3]
    assert s2["time"].values[0].astype("datetime64[D]").astype(str).tolist() == [
        "2019-02-01", "2019-03-01", "2019-05-01", "2019-07-01",
    ]  # fmt: skip
    assert np.isnat(s2["time"].values[1]).tolist() == [False, False, True, True]
    expected = optical(4)[order]
    expected[1, 4, 5, 5] = 0
    np.testing.assert_array_equal(s2["values"].values[0], expected)
    np.testing.assert_array_equal(s2["values"].values[1, :2], optical(2))
    valid = np.ones((2, 4, 6, 6), bool)
    valid[0, 0] = False  # clouds
    valid[0, 1, 5, 5] = False  # NaN in the data
    valid[0, 2, 2, 3] = False  # snow
    valid[0, 3, 0, 0] = False  # NaN in the mask
    valid[1, 2:] = False  # no date; the further masks hide nothing
    np.testing.assert_array_equal(s2["valid"].values, valid)


def test_a_threshold_lets_thin_snow_pass(folder):
    valid = open_treesatai(folder, mask_threshold=5)["s2"]["valid"].values[0]
    assert valid[2].all() and not valid[0].any() and not valid[3, 0, 0]


def test_a_pass_stored_twice_is_read_once(folder):
    asc = open_treesatai(folder)["s1_asc"]
    source = radar(4, 1)
    assert asc["time"].values[0].astype("datetime64[D]").astype(str).tolist() == [
        "2019-01-02", "2019-01-04",
    ]  # fmt: skip
    np.testing.assert_array_equal(asc["values"].values[0, 1], source[0])
    whole = asc["values"].values[0, 0]
    assert whole[1, 0, 0] == 0 and whole[0, 0, 0] == source[3, 0, 0, 0], "the slice with no NaN"
    np.testing.assert_array_equal(whole.ravel()[1:36], source[3].ravel()[1:36])
    valid = asc["valid"].values[0]
    assert valid[1].all() and not valid[0, 0, 0] and valid[0].sum() == 35, "zero is no backscatter"


def test_two_satellites_are_two_passes(folder):
    des = open_treesatai(folder)["s1_des"]
    np.testing.assert_array_equal(des["values"].values[0], radar(2, 2))


def test_rows_can_be_kept_as_stored(folder):
    asc = open_treesatai(folder, duplicates="keep")["s1_asc"]
    days = asc["time"].values[0].astype("datetime64[D]").astype(str).tolist()
    assert days == ["2019-01-02"] * 2 + ["2019-01-04"] * 2
    np.testing.assert_array_equal(asc["values"].values[0, 2], asc["values"].values[0, 3])
    half = asc.isel(sample=0, time=0)
    assert not half["valid"].values[:, :4].any() and half["valid"].values[:, 4:].all()
    assert (half["values"].values[0, :, :4] == 0).all(), "no NaN is left"


def test_a_series_without_passes_is_missing(folder):
    cube = open_treesatai(folder)
    assert np.isnat(cube["s1_des"]["time"].values[1]).all()
    assert not cube["s1_des"]["valid"].values[1].any()
    alone = open_treesatai(folder, splits=["val"])
    assert alone["s1_des"].sizes["time"] == 1 and np.isnat(alone["s1_des"]["time"].values).all()


def test_the_aerial_image_is_cut_from_the_centre_near_infrared_first(folder):
    aerial = open_treesatai(folder)["aerial"]
    assert [str(b) for b in aerial["band"].values] == ["NIR", "G", "B", "R"]
    assert aerial["wavelength"].values.tolist() == [830, 555, 465, 660]
    assert (aerial["values"].dtype, aerial.attrs["gsd"]) == (np.uint8, 0.2)
    np.testing.assert_array_equal(aerial["values"].values[0, 0], camera(304)[:, 2:302, 2:302])
    np.testing.assert_array_equal(aerial["values"].values[1, 0], camera(300))
    red = aerial["values"].sel(band="R").values[0, 0]
    np.testing.assert_array_equal(red, camera(304)[3, 2:302, 2:302])


def test_splits_and_a_limit_choose_samples(folder):
    assert open_treesatai(folder, splits=["val"])["split"].values.tolist() == ["val"]
    assert open_treesatai(folder, splits="train")["split"].values.tolist() == ["train"]
    rows = [(OAK, "20190713", {}), ("none", "20190713", {})]
    write_list(folder, "train", rows)
    assert open_treesatai(folder, limit=1).sizes["sample"] == 2, "one of train, one of val"
    with pytest.raises(CubeError, match=r"none.tif does not exist\n.*as in .*train.csv"):
        open_treesatai(folder)


def test_a_folder_can_be_packed(folder, tmp_path):
    cube = open_treesatai(folder)
    again = open_store(save_cube(cube, tmp_path / "packed.zarr")).load()
    assert again.identical(with_statistics(cube.load()))


def damage_h5(name, value):
    def change(root):
        with h5py.File(root / "sentinel-ts" / f"{OAK}_2019.h5", "a") as file:
            del file[name]
            if value is not None:
                file[name] = value

    return change


def truncate(*parts):
    def change(root):
        path = root.joinpath(*parts)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return change


def rewrite(split, old, new):
    def change(root):
        path = root / f"{split}.csv"
        path.write_text(path.read_text().replace(old, new))

    return change


def unlink(*parts):
    return lambda root: root.joinpath(*parts).unlink()


H5, TIF = f"{OAK}_2019.h5", f"{OAK}.tif"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (unlink("val.csv"), r"val.csv does not exist\n.*train.csv, val.csv.*\n.*option root"),
        (unlink("aerial", TIF), rf"{TIF} does not exist\n.*as in .*train.csv"),
        (unlink("sentinel-ts", H5), rf"{H5} does not exist\n.*as in .*train.csv"),
        (truncate("sentinel-ts", H5), rf"{H5} cannot be read\n.*HDF5.*\n.*truncated.*\n.*again"),
        (truncate("aerial", TIF), rf"{TIF} cannot be read\n.*an image"),
        (damage_h5("sen-2-masks", None), rf"{H5} lacks a data set\n.*sen-2-masks.*\n.*masks"),
        (damage_h5("sen-1-des-data", None), rf"{H5} lacks a data set\n.*\n.*sen-1-des-data"),
        (
            damage_h5("sen-2-data", optical(4)[:, :9]),
            rf"{H5}: sen-2-data\n.*\(4, 10, 6, 6\)\n.*\(4, 9, 6, 6\)",
        ),
        (damage_h5("sen-2-data", optical(3)), r"sen-2-data\n.*\(4, 10, 6, 6\)\n.*\(3, 10, 6, 6\)"),
        (damage_h5("sen-2-data", np.zeros(4)), r"sen-2-data\n.*\(4, 10, 6, 6\)\n.*\(4,\)"),
        (
            damage_h5("sen-2-masks", np.zeros((4, 1, 6, 6))),
            r"sen-2-masks\n.*\(4, 2, 6, 6\), or more than 2 masks\n.*\(4, 1, 6, 6\)",
        ),
        (
            damage_h5("sen-1-asc-data", np.ones((4, 3, 6, 6))),
            r"sen-1-asc-data\n.*\(4, 2, 6, 6\)\n.*\(4, 3, 6, 6\)",
        ),
        (damage_h5("sen-2-products", ["x"] * 4), rf"{H5}: sen-2-products\n.*fifth field from"),
        (damage_h5("sen-2-products", [1, 2, 3, 4]), rf"{H5}: sen-2-products\n.*names of Sentinel"),
        (
            lambda root: write_tif(root / "aerial" / TIF, camera(304)[:3]),
            rf"{TIF}\n.*4 bands of at least 300 x 300 in uint8\n.*3 bands of 304 x 304",
        ),
        (
            lambda root: write_tif(root / "aerial" / TIF, camera(200)),
            rf"{TIF}\n.*at least 300 x 300.*\n.*4 bands of 200 x 200",
        ),
        (
            lambda root: write_tif(root / "aerial" / TIF, camera(304), "uint16"),
            rf"{TIF}\n.*in uint8\n.*in uint16",
        ),
        (
            rewrite("train", "Picea", "Spruce"),
            r"train.csv: column 'Picea' is missing\n.*aerial_name",
        ),
        (rewrite("train", "20190713", "13.7.2019"), r"train.csv: aerial_date: a date\n.*YYYYMMDD"),
        (rewrite("train", "20190713", ""), r"train.csv: aerial_date: a date\n.*YYYYMMDD"),
        (rewrite("train", "0.7", "most"), r"train.csv: column 'Quercus'\n.*a share of the area"),
        (rewrite("train", "0.7", ""), r"train.csv: column 'Quercus'\n.*a share of the area"),
        (lambda root: (root / "train.csv").write_text(""), r"train.csv cannot be read\n.*a csv"),
    ],
)
def test_damage_is_told_with_the_file(folder, change, message):
    change(folder)
    with pytest.raises(CubeError, match=message):
        open_treesatai(folder).load()


def test_a_file_damaged_after_opening_is_told_when_it_is_read(folder):
    cube = open_treesatai(folder)
    truncate("sentinel-ts", H5)(folder)
    with pytest.raises(CubeError, match=rf"{H5} cannot be read\n.*HDF5"):
        cube["s2"]["values"].load()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"splits": ["test"]}, r"no samples\n.*rows in test.csv"),
        ({"splits": ["tset"]}, r"splits\n.*train, val, test.*\n.*'tset'"),
        ({"splits": []}, r"splits\n.*train, val, test.*\n.*\[\]"),
        ({"splits": ["val", "val"]}, r"splits\n.*each once"),
        ({"duplicates": True}, r"duplicates\n.*'drop' or 'keep'\n.*True"),
        ({"limit": 0}, r"limit\n.*above 0\n.*0"),
        ({"mask_threshold": -1}, r"mask_threshold\n.*0 to 100\n.*-1"),
    ],
)
def test_impossible_options_are_refused(folder, options, message):
    with pytest.raises(CubeError, match=message):
        open_treesatai(folder, **options)


@pytest.fixture(scope="module")
def patch(shared):
    folder = shared / "data" / "treesatai_ts"
    if not folder.is_dir():
        pytest.skip(f"no {folder.name} in {shared.name}/data: the real patch is not there")
    return folder


def test_the_real_patch_keeps_the_contract(patch):
    cube = validate(ml.open_cube("treesatai-ts", root=patch, splits=["train"]), values=None)
    assert {name: cube[name].sizes["time"] for name in modality_names(cube)} == {
        "aerial": 1, "s2": 146, "s1_asc": 115, "s1_des": 121,
    }  # fmt: skip
    assert float(cube["targets"]["species"].sel({"class": "Betula"})[0]) == pytest.approx(0.72542)
    assert str(cube["ref_date"].values[0])[:10] == "2019-07-01"
    with h5py.File(next((patch / "sentinel-ts").iterdir())) as file:
        clear = (file["sen-2-masks"][:] == 0).all(axis=1)
        stored = file["sen-2-data"][:]
    np.testing.assert_array_equal(cube["s2"]["valid"].values[0], clear)
    np.testing.assert_array_equal(cube["s2"]["values"].values[0], stored)
    assert 0.2 < clear.mean() < 0.5, "more than half is under snow or cloud"
    nir, green, blue, red = np.median(cube["aerial"]["values"].values[0, 0], axis=(1, 2))
    assert nir > 1.5 * max(green, blue, red), "leaves are bright in the near infrared"


def test_no_real_date_has_a_twin(patch):
    counts = {}
    for duplicates in ("drop", "keep"):
        cube = open_treesatai(patch, splits=["train"], duplicates=duplicates)
        rows = cube["s1_des"]["values"].values[0]
        counts[duplicates] = len(rows), len({row.tobytes() for row in rows})
    assert counts == {"drop": (121, 121), "keep": (235, 121)}
