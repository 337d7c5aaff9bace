"""Small cubes, made by hand, whose every number a test can know."""

import numpy as np
import xarray as xr

from maestro_lab.cubes.contract import assemble, make_modality

SIDE = 6
SPLITS = ("train", "train", "val", "test", "train", "buffer", "train", "test")
BANDS = ("B02", "B03", "B04", "B08")


def days(counts, longest, *, year=2020, step=40):
    """Dates (sample, time): ``counts[i]`` of them in sample i, then NaT."""
    first = np.datetime64(f"{year}-01-10", "ns")
    row = first + np.arange(longest) * np.timedelta64(step, "D")
    there = np.arange(longest) < np.asarray(counts)[:, None]
    return np.where(there, row, np.datetime64("NaT"))


def cube_of(modalities, *, splits=None, targets=None, extra=None, attrs=None):
    """Wrap modalities (and targets) in a cube with as many samples as they have."""
    n = next(iter(modalities.values())).sizes["sample"]
    return assemble(
        modalities,
        sample=[f"place{i}" for i in range(n)],
        split=splits or ["train"] * n,
        block=np.arange(n) // 2,
        title="small",
        licence="CC0-1.0",
        source="made by a test",
        targets=targets,
        extra=extra,
        attrs=attrs,
    )


def pixel_cube(columns, *, units="m", name="m", split="train"):
    """One sample whose pixels, band by band, are the given numbers (a square number of them)."""
    columns = {band: np.asarray(values, float) for band, values in columns.items()}
    side = round(len(next(iter(columns.values()))) ** 0.5)
    values = np.stack(list(columns.values())).reshape(1, 1, len(columns), side, side)
    ds = make_modality(values, days([1], 1), bands=list(columns), units=units, gsd=10)
    return cube_of({name: ds}, splits=[split])


def _s2(rng, n):
    dates = np.array([7, 5, 7, 6, 7, 3, 7, 7])
    time = days(dates, 7)
    values = rng.integers(100, 4000, (n, 7, 4, SIDE, SIDE)).astype(np.uint16)
    valid = rng.random((n, 7, SIDE, SIDE)) < 0.9
    valid[:, ::3] = True
    valid &= ~np.isnat(time)[:, :, None, None]
    values = np.where(valid[:, :, None], values, 65_535).astype(np.uint16)
    return make_modality(
        values, time, valid=valid, bands=BANDS, units="DN", gsd=10, sensor_name="sentinel-2"
    )


def _s1(rng, n):
    counts = np.array([5, 5, 0, 5, 4, 5, 5, 5])  # missing in sample 2
    time = days(counts, 5, step=60)
    values = rng.uniform(0.01, 0.5, (n, 5, 2, SIDE, SIDE)).astype(np.float32)
    there = ~np.isnat(time)
    values[~there] = np.nan
    return make_modality(
        values, time, bands=("VV", "VH"), units="linear power", gsd=10, sensor_name="sentinel-1"
    )


def _targets(rng, n):
    height = rng.uniform(0, 30, (n, SIDE, SIDE))
    height[1, :2, :2] = np.nan
    shares = rng.dirichlet(np.ones(3), n)
    kinds = ["water", "wood", "field"]
    return xr.Dataset(
        {
            "biomass": ("sample", rng.uniform(0, 300, n), {"task": "regression", "units": "t/ha"}),
            "height": (("sample", "y", "x"), height, {"task": "regression", "units": "m"}),
            "cover": (
                ("sample", "y", "x"),
                rng.integers(0, 3, (n, SIDE, SIDE)),
                {"task": "segmentation", "classes": kinds},
            ),
            "species": (("sample", "class"), shares, {"task": "fractions"}),
        },
        coords={"class": np.array(["oak", "pine", "birch"], dtype=object)},
    )


def small_cube(seed=0, *, targets=True):
    """Eight samples with optics (clouds, padding), radar (missing once) and elevation."""
    rng = np.random.default_rng(seed)
    n = len(SPLITS)
    dem = make_modality(
        rng.uniform(100, 300, (n, 1, 1, SIDE, SIDE)), days([1] * n, 1), bands=["elevation"],
        units="m", gsd=10, sensor_name="elevation",
    )  # fmt: skip
    row, column = np.divmod(np.arange(n), 4)
    return cube_of(
        {"s2": _s2(rng, n), "s1": _s1(rng, n), "dem": dem},
        splits=list(SPLITS),
        targets=_targets(rng, n) if targets else None,
        extra={
            "easting": 500_000.0 + 60 * column,
            "northing": 5_000_000.0 - 60 * row,
        },
        attrs={"window": 60.0},
    )


def only(cube, *names):
    """Keep some children of a cube."""
    children = {n: xr.DataTree(cube[n].to_dataset(inherit=False)) for n in names}
    return xr.DataTree(cube.to_dataset(inherit=False), children=children)


def changed(cube, name, change):
    """Return the cube with ``change`` applied to one modality's dataset."""
    children = {
        n: xr.DataTree(
            change(node.to_dataset(inherit=False)) if n == name else node.to_dataset(inherit=False)
        )
        for n, node in cube.children.items()
    }
    return xr.DataTree(cube.to_dataset(inherit=False), children=children)


def without(cube, variable):
    """Drop a variable of the root."""
    root = cube.to_dataset(inherit=False).drop_vars(variable)
    children = {n: xr.DataTree(node.to_dataset(inherit=False)) for n, node in cube.children.items()}
    return xr.DataTree(root, children=children)
