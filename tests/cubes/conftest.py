"""A small cube whose every number is known."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr

from maestro_lab.cubes.contract import assemble, make_modality


@pytest.fixture(autouse=True)
def _in_this_thread():
    with dask.config.set(scheduler="synchronous"):
        yield


def make_small(**changes):
    """Three samples of two sensors. s2 has 3, 2 and no dates; 20 of its 5 x 4 dated pixels less 3
    are valid."""
    time = np.array(
        [
            ["2020-03-01T10:30", "2020-06-01T10:30", "2020-09-01T10:30"],
            ["2020-04-01T10:30", "2021-02-03T10:30", "NaT"],
            ["NaT", "NaT", "NaT"],
        ],
        dtype="datetime64[ns]",
    )
    values = 1000 + np.arange(3 * 3 * 2 * 2 * 2, dtype=np.uint16).reshape(3, 3, 2, 2, 2)
    valid = np.broadcast_to(~np.isnat(time)[..., None, None], (3, 3, 2, 2)).copy()
    valid[0, 1, 0, 0] = valid[1, 0, 1, :] = False
    values[~np.moveaxis(np.broadcast_to(valid[..., None], (3, 3, 2, 2, 2)), -1, 2)] = 0
    s2 = make_modality(
        values, time, valid=valid, bands=["B03", "B08"], units="DN", gsd=10,
        sensor_name="sentinel-2", nodata=0, crs="EPSG:32633",
    )  # fmt: skip
    aerial = make_modality(
        np.full((3, 1, 1, 4, 4), 90, np.uint8),
        np.array([["2019-07-01"], ["2019-07-02"], ["2019-07-03"]], "datetime64[ns]"),
        bands=["NIR"], units="DN", gsd=0.2, sensor_name="aerial",
    )  # fmt: skip
    targets = xr.Dataset(
        {
            "species": (
                ("sample", "class"),
                np.array([[0.5, 0.5], [1, 0], [0, 1]], np.float32),
                {"task": "fractions", "units": "share of the area"},
            ),
            "age": ("sample", np.array([10.0, 20.0, 30.0]), {"task": "regression"}),
        },
        coords={"class": np.array(["oak", "winter cereal"], dtype=object)},
    )
    options = {
        "modalities": {"s2": s2, "aerial": aerial},
        "sample": ["a", "b", "c"],
        "split": ["train", "train", "test"],
        "block": [0, 0, 1],
        "title": "Forest & <field>",
        "licence": "CC0-1.0",
        "source": "this test",
        "targets": targets,
        "extra": {"ref_date": np.array(["2020-07-01"] * 3, "datetime64[ns]")},
        "attrs": {"window": 20.0},
    }
    return assemble(**{**options, **changes})


@pytest.fixture
def small():
    return make_small()


def edited(cube, node, change):
    """Return a cube one of whose nodes ("/" is the root) is ``change(dataset)``."""
    nodes = {name: child.to_dataset(inherit=False) for name, child in cube.children.items()}
    nodes["/"] = cube.to_dataset(inherit=False)
    nodes[node] = change(nodes[node])
    return xr.DataTree.from_dict(nodes)
