"""Maps become targets of the windows they lie under."""

import numpy as np
import pytest

import maestro_lab as ml
from maestro_lab.errors import CubeError
from tests.cubes.sources.images import OPTIONS, a_map, stack, window


def test_maps_are_targets():
    cover = a_map(task="segmentation", classes=["a", "b", "c", "d"], missing=255)
    height = (a_map(48, 20) * 1.5).assign_attrs(task="regression", units="m")
    height = height.assign_coords(x=height.x - 200, y=height.y + 200)
    cube = ml.cube_from_dataset(stack(), **OPTIONS, targets={"cover": cover, "height": height})
    found = cube["targets"]
    assert found["cover"].attrs == {
        "task": "segmentation", "classes": ["a", "b", "c", "d"], "missing": 255, "gsd": 20,
    }  # fmt: skip
    assert found["height"].attrs["units"] == "m"
    for sample in (0, 17):
        np.testing.assert_array_equal(
            found["cover"].values[sample], window(cube, sample, cover.values, 20)
        )
        part = height.sel(
            x=slice(float(cube["easting"][sample]), float(cube["easting"][sample]) + 80),
            y=slice(float(cube["northing"][sample]), float(cube["northing"][sample]) - 80),
        )
        np.testing.assert_array_equal(found["height"].values[sample], part.values)


def test_labels_are_numbered_by_their_names():
    raw = a_map()
    raw = raw.copy(data=np.array([0, 10, 20, 80])[raw.values])
    said = {"map": raw, "task": "segmentation", "classes": {10: "wood", 80: "water"}}
    cube = ml.cube_from_dataset(stack(), **OPTIONS, targets={"cover": said})
    cover = cube["targets"]["cover"]
    assert cover.attrs["classes"] == ["wood", "water"] and cover.attrs["missing"] == 255
    expected = np.select([raw.values == 10, raw.values == 80], [0, 1], 255)
    np.testing.assert_array_equal(cover.values[0], window(cube, 0, expected, 20))


def test_a_map_with_a_pixel_a_window_is_a_number_each():
    yields = (a_map(6, 80) * 2.0).assign_attrs(task="regression", units="t/ha")
    cube = ml.cube_from_dataset(stack(), **OPTIONS, targets={"yield": yields})
    assert cube["targets"]["yield"].dims == ("sample",)
    np.testing.assert_array_equal(
        cube["targets"]["yield"].values, yields.values.reshape(-1)[cube["place"].values]
    )


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (a_map(), r"targets/t: task\n.*segmentation.*\n.*nothing\n.*assign_attrs\(task="),
        (a_map(task="segmentation"), r"targets/t: classes\n.*each label.*\n.*\n.*assign_attrs"),
        (a_map(task="segmentation", classes=["a", "b"]), r"labels\n.*0 to 1\n.*2\n.*missing=255"),
        (a_map().expand_dims(time=2), r"targets/t\n.*a map \(y, x\)\n.*choose one date|time"),
        ("nowhere.tif", r"targets/t: map\n.*path of an image file\n.*'nowhere.tif'"),
        (3, r"targets/t: map\n.*\n.*int"),
        (a_map(24, 30, task="regression"), r"window\n.*multiple of 30 m"),
        (a_map().where(a_map() > 0).assign_attrs(task="segmentation", classes=list("abcd")),
         r"targets/t: pixels without a label\n.*\n.*NaN\n.*missing=255"),
    ],
)  # fmt: skip
def test_maps_that_are_no_targets(target, message):
    with pytest.raises(CubeError, match=message):
        ml.cube_from_dataset(stack(), **OPTIONS, targets={"t": target})


def test_maps_of_two_resolutions_are_refused():
    maps = {"a": a_map(task="regression"), "b": a_map(48, 10, task="regression")}
    with pytest.raises(
        CubeError, match=r"several resolutions\n.*one resolution.*\n.*a 20 m, b 10 m"
    ):
        ml.cube_from_dataset(stack(), **OPTIONS, targets=maps)
