"""The tiny cube with a target of every kind, each of which can be read from its pixels."""

import numpy as np
import xarray as xr

from maestro_lab.models.heads import HeadConfig
from maestro_lab.models.predictor import Predictor, PredictorConfig
from tests.training.conftest import make_cube, make_data, make_model, settings

CLASSES = ["low", "middle", "high"]
MISSING = 9
HEADS = {
    "mass": HeadConfig("regression", 1),
    "height": HeadConfig("regression", 1, reference="optics", size=4),
    "kind": HeadConfig("classification", 3, missing=MISSING),
    "cover": HeadConfig("segmentation", 3, reference="optics", size=4, missing=MISSING),
    "shares": HeadConfig("multilabel", 3, threshold=0.3),
}


def labelled_cube(samples: int = 14, *, whole: bool = False, seed: int = 0) -> xr.DataTree:
    """Return the tiny cube with targets; some labels are missing."""
    cube = make_cube(samples, whole=whole, seed=seed)
    optics = cube["optics"]["values"].values.astype(float)
    height = optics[:, 0].mean(1) / 20  # (sample, y, x), up to 225 m
    mass = height.mean((1, 2)) * 3 + 500
    cover = np.digitize(height, np.quantile(height, [0.33, 0.67]))
    kind = np.digitize(mass, np.quantile(mass, [0.33, 0.67]))
    shares = np.stack([(cover == c).mean((1, 2)) for c in range(3)], 1)
    if not whole:
        height[0, :2], cover[1, 2:] = np.nan, MISSING
        kind[2], shares[3], mass[4] = MISSING, np.nan, np.nan
    place = ("sample", "y", "x")
    told = {"classes": CLASSES, "missing": MISSING}
    targets = xr.Dataset(
        {
            "mass": ("sample", mass, {"task": "regression", "units": "t/ha"}),
            "height": (place, height, {"task": "regression", "units": "m"}),
            "kind": ("sample", kind, {"task": "classification", **told}),
            "cover": (place, cover, {"task": "segmentation", **told}),
            "shares": (("sample", "class"), shares, {"task": "fractions"}),
        },
        coords={"class": np.array(CLASSES, dtype=object)},
    )
    children = {n: xr.DataTree(cube[n].to_dataset(inherit=False)) for n in cube.children}
    root = cube.to_dataset(inherit=False)
    return xr.DataTree(root, children={**children, "targets": xr.DataTree(targets)})


def make_predictor(cube: xr.DataTree, *targets: str) -> Predictor:
    """Return an encoder with random weights and heads for targets."""
    encoder = make_model(cube, **{"joint_depth": 0})
    heads = {name: HEADS[name] for name in targets or HEADS}
    return Predictor(encoder, PredictorConfig(encoder.config, heads))


def split_data(cube: xr.DataTree, *targets: str, seed: int = 0):
    """Return training and validation data with targets."""
    names = list(targets or HEADS)
    train = make_data(cube, targets=names, seed=seed)
    return train, make_data(cube, "val", train=False, targets=names)


def quick(**options):
    """Return settings that finish soon."""
    return settings(**{"epochs": 3, "batch_size": 5, **options})
