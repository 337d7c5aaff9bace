"""Wrong units, swapped bands and forgotten offsets are found in real pixels, and nothing else is.

Each fault is planted in four real samples and in the synthetic landscape. The other half of the
test is that nothing is said of the pixels as they are, whole or in parts.
"""

import warnings

import numpy as np
import pytest

import maestro_lab as ml
from maestro_lab.cubes.contract import make_modality, modality_names, validate
from maestro_lab.cubes.plausible import check_pixels
from maestro_lab.errors import CubeError, CubeWarning
from tests.bands.real import slovenia, worldcereal
from tests.batches.cubes import small_cube
from tests.cubes.conftest import edited

REAL = ("romania", "treesat", "worldcereal", "slovenia")
CUBES = (*REAL, "landscape")


@pytest.fixture(scope="module")
def opened():
    """Return a function that opens a cube once."""
    found = {}

    def open_it(name, request):
        if name not in found:
            if name == "romania":
                data = pytest.importorskip("nrt.data", reason="package nrt is not installed")
                if not hasattr(data, "romania_10m"):
                    pytest.skip("this version of nrt ships no data")
                found[name] = ml.open_cube("romania")
            elif name == "landscape":
                found[name] = ml.open_cube("landscape", samples=8, seed=0).compute()
            else:
                folder = request.getfixturevalue("shared") / "data"
                found[name] = {
                    "treesat": lambda: ml.open_cube(
                        "treesatai-ts", root=folder / "treesatai_ts", splits=["train"]
                    ),
                    "worldcereal": lambda: worldcereal(folder),
                    "slovenia": lambda: slovenia(folder),
                }[name]()
        return found[name]

    return open_it


def of_sensor(cube, sensor):
    return [name for name in modality_names(cube) if cube[name].attrs["sensor"] == sensor]


def bands(cube, name):
    return [str(b) for b in cube[name]["band"].values]


def swapped(cube, name, one, two):
    """Leave the names of the bands, and give two of them each other's pixels."""
    there = bands(cube, name)
    order = list(range(len(there)))
    i, j = there.index(one), there.index(two)
    order[i], order[j] = j, i

    def change(ds):
        return ds.assign(values=(ds["values"].dims, ds["values"].values[:, :, order]))

    return edited(cube, name, change)


def changed(cube, name, change, **attrs):
    def apply(ds):
        values = change(ds["values"].values.astype(float))
        return ds.assign(values=(ds["values"].dims, values)).assign_attrs(attrs)

    return edited(cube, name, apply)


@pytest.mark.parametrize("name", CUBES)
def test_nothing_is_said_of_pixels_as_they_are(name, opened, request):
    validate(opened(name, request), values=None)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("samples", [1, 2, 4, 8, 64])
def test_nothing_is_said_of_landscapes(samples, seed):
    validate(ml.open_cube("landscape", samples=samples, seed=seed))


def test_nothing_is_said_of_noise():
    rng = np.random.default_rng(0)
    for seed in range(3):
        validate(small_cube(seed))
    time = np.array([["2023-05-01", "2023-06-01", "2023-07-01"]], "datetime64[ns]")
    for low, high in ((0, 4000), (1000, 4000), (100, 9000)):
        values = rng.integers(low, high, (4, 3, 6, 32, 32)).astype(np.uint16)
        ds = make_modality(
            values, np.repeat(time, 4, 0), bands=["B02", "B03", "B04", "B08", "B11", "B12"],
            units="DN", gsd=10, sensor_name="sentinel-2",
        )  # fmt: skip
        pixels = np.moveaxis(values, 2, -1).reshape(-1, 6)
        with warnings.catch_warnings():
            if low == 1000:  # bright and late: a question is in order, no more
                warnings.simplefilter("ignore", CubeWarning)
            check_pixels("s2", ds, pixels, np.full((4, 3), 32 * 32))


@pytest.mark.parametrize("pair", [("B04", "B08"), ("B03", "B11"), ("B02", "B8A"), ("B02", "B11"),
                                  ("B03", "B08"), ("B04", "B8A")], ids="-".join)  # fmt: skip
@pytest.mark.parametrize("name", CUBES)
def test_swapped_bands_of_sentinel_2(name, pair, opened, request):
    cube = opened(name, request)
    there = [m for m in of_sensor(cube, "sentinel-2") if set(pair) <= set(bands(cube, m))]
    if not there:
        pytest.skip(f"{name} has no modality with {' and '.join(pair)}")
    for modality in there:
        message = rf"{modality}: bands {pair[0]} and {pair[1]} look swapped\n(.*\n)*.*order that"
        with pytest.raises(CubeError, match=message):
            validate(swapped(cube, modality, *pair))


@pytest.mark.parametrize("name", ["treesat", "landscape"])
def test_bands_whose_order_is_only_suspicious(name, opened, request):
    with pytest.warns(CubeWarning, match="bands B8A and B11 look swapped"):
        validate(swapped(opened(name, request), "s2", "B8A", "B11"))


@pytest.mark.parametrize("band", ["R", "G", "B"])
@pytest.mark.parametrize("name", ["treesat", "landscape"])
def test_the_near_infrared_of_a_camera_is_not_where_it_should_be(name, band, opened, request):
    message = rf"aerial: bands {band} and NIR look swapped"
    with pytest.raises(CubeError, match=message):
        validate(swapped(opened(name, request), "aerial", "NIR", band))


def test_a_camera_whose_bands_are_all_shifted(opened, request):
    """R, G, B, NIR declared, NIR, R, G, B stored."""
    cube = opened("landscape", request)
    order = [bands(cube, "aerial").index(b) for b in ("NIR", "R", "G", "B")]

    def change(ds):
        values = ds["values"].values[:, :, order]
        return ds.assign(values=(ds["values"].dims, values)).assign_coords(
            band=np.array(["R", "G", "B", "NIR"], object)
        )

    with pytest.raises(CubeError, match=r"aerial: bands R and NIR look swapped"):
        validate(edited(cube, "aerial", change))


@pytest.mark.parametrize("name", ["treesat", "worldcereal", "landscape"])
def test_swapped_polarisations(name, opened, request):
    cube = opened(name, request)
    for modality in of_sensor(cube, "sentinel-1"):
        message = rf"{modality}: bands VV and VH look swapped\n.*4 to 12 dB.*\n.*by \d\.\d dB"
        with pytest.raises(CubeError, match=message):
            validate(swapped(cube, modality, "VV", "VH"))


@pytest.mark.parametrize("years", [0, 6])
@pytest.mark.parametrize("name", CUBES)
def test_an_offset_that_was_left(name, years, opened, request):
    cube = opened(name, request)
    for modality in of_sensor(cube, "sentinel-2"):
        added = {"DN": 1000, "reflectance": 0.1}[cube[modality].attrs["units"]]
        shift = np.timedelta64(365 * years, "D")
        moved = edited(cube, modality, lambda ds, d=shift: ds.assign_coords(time=ds["time"] + d))
        if years:
            validate(moved)  # late dates alone are nothing to tell
        with pytest.raises(CubeError, match=rf"an offset of {added} (.*\n)*.*offset=-{added}"):
            validate(changed(moved, modality, lambda v, a=added: v + a))


@pytest.mark.parametrize("name", ["romania", "landscape"])
def test_a_series_that_jumps_when_products_changed(name, opened, request):
    cube = opened(name, request)
    for modality in of_sensor(cube, "sentinel-2"):
        time = cube[modality]["time"].values
        middle = np.nanmedian(time[~np.isnat(time)].astype(np.int64)).astype("datetime64[ns]")
        moved = time + (np.datetime64("2022-01-25", "ns") - middle)
        after = (moved >= np.datetime64("2022-01-25"))[:, :, None, None, None]

        def move(ds, moved=moved):
            return ds.assign_coords(time=(("sample", "time"), moved))

        quiet = edited(cube, modality, move)
        validate(quiet)
        with pytest.raises(CubeError, match=rf"{modality}: values jump by about \d+ on 2022-01-25"):
            validate(changed(quiet, modality, lambda v, after=after: v + 1000 * after))


@pytest.mark.parametrize("factor", [1e4, 1e-4])
@pytest.mark.parametrize("name", CUBES)
def test_values_in_another_unit(name, factor, opened, request):
    cube = opened(name, request)
    for modality in modality_names(cube):
        if cube[modality].attrs["sensor"] != "elevation":
            with pytest.raises(CubeError, match=rf"{modality}: values do not look like"):
                validate(changed(cube, modality, lambda v: v * factor))


@pytest.mark.parametrize("name", ["treesat", "worldcereal", "landscape"])
def test_power_and_decibels(name, opened, request):
    cube = opened(name, request)
    for modality in of_sensor(cube, "sentinel-1"):
        if cube[modality].attrs["units"] == "dB":
            power, decibels = changed(cube, modality, lambda v: 10 ** (v / 10)), cube
        else:
            power = cube
            decibels = changed(cube, modality, lambda v: 10 * np.log10(np.maximum(v, 1e-6)))
        as_decibels = edited(power, modality, lambda ds: ds.assign_attrs(units="dB"))
        with pytest.raises(CubeError, match=r"look like dB\n.*\n.*'linear power'.*\n.*10 \* log10"):
            validate(as_decibels)
        as_power = edited(decibels, modality, lambda ds: ds.assign_attrs(units="linear power"))
        with pytest.raises(
            CubeError, match=r"look like linear power\n.*\n.*'dB'.*\n.*10 \*\* \(dB"
        ):
            validate(as_power)


def pixels_of(values, names, *, units="DN", sensor="sentinel-2", days=4, year=2020):
    """Give pixels (n, band) to the checks, as of so many dates."""
    first = np.datetime64(f"{year}-05-01", "ns")
    time = (first + np.arange(days) * np.timedelta64(10, "D"))[None]
    ds = make_modality(
        np.zeros((1, days, len(names), 1, 1)), time, bands=names, units=units, gsd=10,
        sensor_name=sensor,
    )  # fmt: skip
    check_pixels("s2", ds, np.asarray(values), np.full((1, days), len(values) // days))


def desert(n=4000, seed=0):
    """Bright sand without a plant: every band above 0.1, and all alike."""
    rng = np.random.default_rng(seed)
    light = rng.uniform(0.7, 1.3, n)[:, None]
    sand = np.array([1400, 2000, 2900, 3500, 4200, 3900])
    return sand * light + rng.normal(0, 40, (n, 6))


def snow(n=4000, seed=0):
    rng = np.random.default_rng(seed)
    light = rng.uniform(0.4, 1.1, n)[:, None]
    return np.array([8800, 8900, 8700, 8000, 900, 700]) * light + rng.normal(0, 60, (n, 6))


def lake(n=4000, seed=0):
    """Water: dark, with glint that brightens all bands together."""
    rng = np.random.default_rng(seed)
    glint = rng.gamma(2, 60, n)[:, None]
    return np.array([420, 380, 220, 90, 40, 30]) + glint + rng.normal(0, 15, (n, 6))


def turbid(n=4000, seed=0):
    """An estuary: sediment brightens green, red and infrared, and blue hardly."""
    rng = np.random.default_rng(seed)
    mud = rng.gamma(2, 0.5, n)[:, None]
    water = np.array([700, 600, 400, 150, 40, 30]) + mud * np.array([60, 300, 350, 200, 5, 3])
    return water + rng.normal(0, 25, (n, 6))


SIX = ["B02", "B03", "B04", "B08", "B11", "B12"]


@pytest.mark.parametrize("ground", [desert, snow, lake, turbid])
@pytest.mark.parametrize("year", [2020, 2023])
def test_odd_ground_is_no_mistake(ground, year):
    with warnings.catch_warnings():
        if (ground, year) == (desert, 2023):
            warnings.simplefilter("ignore", CubeWarning)
        pixels_of(ground().clip(1), SIX, year=year)
        pixels_of(ground()[:, :4].clip(1), SIX[:4], year=year)


def test_a_bright_desert_is_asked_about_when_it_may_be_the_offset():
    pixels_of(desert(), SIX, year=2020)
    with pytest.warns(CubeWarning, match=r"is an offset of 1000 left.*Bright sand.*subtract 1000"):
        pixels_of(desert(), SIX, year=2023)


def test_pixels_that_hold_one_number_in_all_bands():
    values = lake()
    values[::20] = 65_535
    with pytest.warns(CubeWarning, match=r"5% of the valid pixels are 65535 in all.*nodata=65535"):
        pixels_of(values, SIX)


@pytest.mark.parametrize(
    ("values", "units", "sensor", "names", "message"),
    [
        (0.2, "DN", "sentinel-2", ["B04"], r"'reflectance'.*\n.*multiply by 10000"),
        (2000, "reflectance", "sentinel-2", ["B04"], r"'DN'.*\n.*divide by 10000"),
        (20, "reflectance", "sentinel-2", ["B04"], r"median of 20 .*\n.*divide the values by 100"),
        (300, "linear power", "sentinel-1", ["VV"], r"median of 300 .*\n.*calibrate them"),
        (-12, "linear power", "sentinel-1", ["VV"], r"'dB'.*\n.*10 \*\* \(dB / 10\)"),
        (
            50_000,
            "m",
            "elevation",
            ["elevation"],
            r"median of 5e\+04 .*\n.*divide the values by 10",
        ),
    ],
)
def test_what_to_do_about_units(values, units, sensor, names, message):
    with pytest.raises(CubeError, match=rf"do not look like {units}\n.*\n.*{message}"):
        pixels_of(np.full((400, 1), float(values)), names, units=units, sensor=sensor)


def test_little_is_not_judged():
    few = np.repeat(desert(40)[:, ::-1], 2, 0)
    pixels_of(few, SIX)
    unnamed = make_modality(
        np.zeros((1, 1, 1, 4, 4)), np.array([["2020-01-01"]], "datetime64[ns]"), bands=["x"],
        units="DN", gsd=10,
    )  # fmt: skip
    check_pixels("any", unnamed, np.full((4000, 1), -3.0), np.array([[4000]]))
