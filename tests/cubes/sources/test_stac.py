"""STAC items written here, whose assets are GeoTIFFs beside them: nothing is fetched."""

import datetime
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine
from rasterio.warp import transform_bounds

import maestro_lab as ml
from maestro_lab.cubes.contract import validate
from maestro_lab.errors import CubeError

pystac = pytest.importorskip("pystac", reason="the extra stac is not installed")
pytest.importorskip("odc.stac", reason="the extra stac is not installed")
pytestmark = [  # odc-geo uses what shapely and affine will drop one day
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*shapely.ops.transform:DeprecationWarning"),
]

WEST, NORTH, SIDE = 500_000.0, 5_000_000.0, 640.0
BOX = transform_bounds("EPSG:32633", "EPSG:4326", WEST, NORTH - SIDE, WEST + SIDE, NORTH)


def image(gsd, level, seed):
    """Land with values around a level that differ from pixel to pixel."""
    side = round(SIDE / gsd)
    noise = np.random.default_rng(seed).integers(0, 300, (side, side))
    return (level + noise).astype(np.uint16)


def write(path, values, gsd, nodata=0, crs="EPSG:32633"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=values.shape[0], width=values.shape[1],
        dtype=values.dtype, crs=crs, nodata=nodata, transform=Affine(gsd, 0, WEST, 0, -gsd, NORTH),
    ) as file:  # fmt: skip
        file.write(values, 1)


LEVELS = {"red": ("B04", 10, 400), "nir": ("B08", 10, 2500), "swir16": ("B11", 20, 1500)}


def item(folder, name, when, *, added=0, scl=4, **properties):
    found = pystac.Item(
        id=name,
        geometry={
            "type": "Polygon",
            "coordinates": [[[BOX[0], BOX[1]], [BOX[2], BOX[1]], [BOX[2], BOX[3]],
                             [BOX[0], BOX[3]], [BOX[0], BOX[1]]]],
        },
        bbox=list(BOX),
        datetime=datetime.datetime.fromisoformat(when),
        properties={"proj:code": "EPSG:32633", "s2:mgrs_tile": "33TWL", **properties},
        stac_extensions=["https://stac-extensions.github.io/projection/v2.0.0/schema.json"],
    )  # fmt: skip
    for asset, (_, gsd, level) in LEVELS.items():
        path = folder / name / f"{asset}.tif"
        write(path, image(gsd, level, hash_of(name, asset)) + added, gsd)
        found.add_asset(asset, pystac.Asset(str(path), extra_fields=grid(gsd)))
    classes = np.full((32, 32), scl, np.uint8)
    classes[10, 10] = 9  # a cloud over four pixels of 10 m
    write(folder / name / "scl.tif", classes, 20, nodata=0)
    found.add_asset("scl", pystac.Asset(str(folder / name / "scl.tif"), extra_fields=grid(20)))
    found.add_asset("thumbnail", pystac.Asset("nowhere.jpg"))
    return found


def hash_of(*words):
    return sum(ord(c) * (k + 1) for k, c in enumerate("".join(words)))


def grid(gsd):
    side = round(SIDE / gsd)
    return {
        "gsd": gsd,
        "proj:shape": [side, side],
        "proj:transform": [gsd, 0.0, WEST, 0.0, -gsd, NORTH],
    }


@pytest.fixture
def items(tmp_path):
    return [
        item(tmp_path, "S2B_20220601", "2022-06-01T10:00:00+00:00", added=1000,
             **{"s2:processing_baseline": "04.00"}),
        item(tmp_path, "S2A_20210601", "2021-06-01T10:00:00+00:00",
             **{"s2:processing_baseline": "02.14"}),
        item(tmp_path, "S2A_20210701", "2021-07-01T10:00:00+00:00", added=1000,
             **{"s2:processing_baseline": "05.00"}),
        item(tmp_path, "S2A_20220701", "2022-07-01T10:00:00+00:00",
             **{"s2:processing_baseline": "05.10", "earthsearch:boa_offset_applied": True}),
    ]  # fmt: skip


OPTIONS = {"sensor": "sentinel-2", "window": 240, "test": 0, "period": "all"}


def at(cube, name, x, y):
    """Return values (t, band) and valid (t,) at metres east and south of the corner."""
    east, south = WEST + x, NORTH - y
    window, gsd = cube.attrs["window"], cube[name].attrs["gsd"]
    inside = (cube["easting"].values <= east) & (east < cube["easting"].values + window)
    inside &= (cube["northing"].values >= south) & (south > cube["northing"].values - window)
    sample = int(np.flatnonzero(inside).item())
    row = int((float(cube["northing"][sample]) - south) // gsd)
    column = int((east - float(cube["easting"][sample])) // gsd)
    found = cube[name].isel(sample=sample, y=row, x=column)
    return found["values"].values, found["valid"].values


def covered(cube):
    """Return metres east and south of the corner of the first window."""
    return float(cube["easting"].min()) - WEST, NORTH - float(cube["northing"].max())


def test_bands_keep_their_resolution_and_offsets_are_taken_off(items):
    cube = ml.cube_from_stac(items, **OPTIONS)
    assert list(cube.children) == ["s2_10m", "s2_20m"]
    assert cube["s2_10m"]["band"].values.tolist() == ["B04", "B08"]
    assert cube["s2_20m"]["band"].values.tolist() == ["B11"]
    assert cube["s2_10m"]["values"].chunks is None, "little data is fetched at once"
    days = cube["s2_10m"]["time"].values[0].astype("datetime64[D]").astype(str).tolist()
    assert days == ["2021-06-01", "2021-07-01", "2022-06-01", "2022-07-01"]
    names = ["S2A_20210601", "S2A_20210701", "S2B_20220601", "S2A_20220701"]
    for modality, assets, gsd in (("s2_10m", ("red", "nir"), 10), ("s2_20m", ("swir16",), 20)):
        for x, y in ((155, 155), (305, 175), (235, 465)):
            values, valid = at(cube, modality, x, y)
            assert valid.all()
            for row, name in enumerate(names):
                expected = [image(gsd, LEVELS[a][2], hash_of(name, a))[y // gsd, x // gsd]
                            for a in assets]  # fmt: skip
                assert values[row].tolist() == expected, (modality, x, y, name)
    validate(cube, values=None)


def test_the_scene_classification_masks_clouds(items):
    cube = ml.cube_from_stac(items, **OPTIONS)
    assert [at(cube, "s2_10m", x, y)[1].all() for x, y in ((215, 205), (225, 205), (205, 215))] == [
        False, True, False,
    ]  # fmt: skip
    assert not at(cube, "s2_20m", 205, 205)[1].any() and at(cube, "s2_20m", 225, 205)[1].all()
    free = ml.cube_from_stac(items, **OPTIONS, clouds=None)
    assert at(free, "s2_10m", 205, 205)[1].all()
    named = ml.cube_from_stac(items, **OPTIONS, clouds=("scl", [4, 9]))
    assert at(named, "s2_10m", 205, 205)[1].all()


def test_a_pixel_of_1000_becomes_0_and_stays_valid_and_nodata_is_none(tmp_path):
    one = item(tmp_path, "S2A_20220601", "2022-06-01T10:00:00+00:00", added=1000,
               **{"s2:processing_baseline": "04.00"})  # fmt: skip
    red = image(10, 1400, 1)
    red[25, 25:28] = 1000, 0, 900
    write(tmp_path / "S2A_20220601" / "red.tif", red, 10)
    cube = ml.cube_from_stac([one], **OPTIONS, bands=["B04"])
    found = [at(cube, "s2", x, 255) for x in (255, 265, 275, 285)]
    assert [v[0, 0] for v, _ in found] == [0, 0, 0, red[25, 28] - 1000]
    assert [bool(valid[0]) for _, valid in found] == [True, False, True, True]


def test_much_data_stays_where_it_is(items):
    lazy = ml.cube_from_stac(items, **OPTIONS, chunks={"x": 32, "y": 32})
    assert lazy["s2_10m"]["values"].chunks is not None
    now = ml.cube_from_stac(items, **OPTIONS)
    for name in ("s2_10m", "s2_20m"):
        np.testing.assert_array_equal(lazy[name]["values"].values, now[name]["values"].values)
        np.testing.assert_array_equal(lazy[name]["valid"].values, now[name]["valid"].values)


def test_one_grid_for_all_bands(items):
    cube = ml.cube_from_stac(items, **OPTIONS, resolution=20, bands={"nir": "B08", "swir16": "B11"})
    assert list(cube.children) == ["s2"] and cube["s2"].attrs["gsd"] == 20
    assert cube["s2"]["band"].values.tolist() == ["B08", "B11"]


def test_a_box_chooses_the_ground(items):
    west, south, east, north = BOX
    middle = (west + (east - west) / 4, south + (north - south) / 4,
              east - (east - west) / 4, north - (north - south) / 4)  # fmt: skip
    cube = ml.cube_from_stac(items, **{**OPTIONS, "window": 80}, bbox=middle)
    x, y = covered(cube)
    assert 140 <= x <= 220 and 140 <= y <= 220
    assert cube.sizes["sample"] == 16


def test_a_product_processed_twice_is_read_once(items, tmp_path):
    again = item(tmp_path, "S2A_20210601_again", "2021-06-01T10:00:00+00:00", added=1000,
                 **{"s2:processing_baseline": "05.00"})  # fmt: skip
    cube = ml.cube_from_stac([*items, again], **OPTIONS, bands=["B04", "B08"])
    assert cube["s2"].sizes["time"] == 4
    red = image(10, 400, hash_of("S2A_20210601_again", "red"))
    assert at(cube, "s2", 305, 305)[0][0, 0] == red[30, 30]


def test_a_search_finds_the_items(items, monkeypatch):
    import pystac_client

    asked = {}

    class Client:
        @staticmethod
        def open(url):
            asked["url"] = url
            return Client()

        def search(self, **options):
            asked.update(options)
            return SimpleNamespace(item_collection=lambda: pystac.ItemCollection(items))

    monkeypatch.setattr(pystac_client, "Client", Client)
    cube = ml.cube_from_stac(
        url="https://stac.example", collections="s2", bbox=BOX, datetime="2021/2022",
        bands=["red"], **OPTIONS,
    )  # fmt: skip
    assert asked == {"url": "https://stac.example", "collections": ["s2"], "bbox": BOX,
                     "datetime": "2021/2022", "query": None}  # fmt: skip
    assert cube.attrs["source"] == "https://stac.example"


@pytest.mark.parametrize("package", ["odc.stac", "pystac_client"])
def test_missing_packages_are_named(items, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    given = {"url": "https://stac.example"} if package == "pystac_client" else {"items": items}
    with pytest.raises(CubeError, match=rf"package {package}\n(.*\n)*.*maestro-lab\[stac\]"):
        ml.cube_from_stac(**given, **OPTIONS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"items": []}, r"no STAC items"),
        ({"items": None}, r"STAC items\n.*items, or the url.*\n.*neither"),
        ({"bands": ["B12"]}, r"no asset for band B12\n.*\n.*red, nir.*\n.*which asset is which"),
        ({"clouds": ("QA", [1])}, r"clouds\n.*scl.*\n.*QA"),
        ({"offset": "yes"}, r"offset\n.*'baseline'.*\n.*'yes'"),
        ({"sensor": "sentinel-1", "units": "dB"}, r"no bands\n.*VV VH.*\n.*red"),
    ],
)
def test_what_cannot_be_is_told(items, options, message):
    with pytest.raises(CubeError, match=message):
        ml.cube_from_stac(**{"items": items, **OPTIONS, **options})


def test_items_of_two_zones_need_a_choice(items):
    items[1].properties["proj:code"] = "EPSG:32634"
    with pytest.raises(CubeError, match=r"reference system\n.*\n.*32634.*32633.*\n.*crs="):
        ml.cube_from_stac(items, **OPTIONS)
    cube = ml.cube_from_stac(items, **OPTIONS, crs="EPSG:32633")
    assert cube.attrs["crs"] == "EPSG:32633"


def test_an_item_without_an_asset_is_named(items):
    del items[2].assets["red"]
    with pytest.raises(CubeError, match=r"item S2A_20210701: no asset 'red'"):
        ml.cube_from_stac(items, **OPTIONS)
