"""Maps: what is predicted where, for cubes whose windows lie side by side."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from maestro_lab.figures.style import COLOURS, WIDTH, bare, finish, new_figure, styled
from maestro_lab.training.probe import ProbeResult

__all__ = ["embedding_map", "ground_map", "probe_map"]


def ground_map(
    cube: xr.DataTree, samples: np.ndarray, values: np.ndarray, grid: int
) -> np.ndarray | None:
    """Lay values of windows side by side as they lie on the ground.

    Parameters
    ----------
    cube
        Its root tells ``easting`` and ``northing`` of each window, and their side as the
        attribute ``window``.
    samples
        Numbers of the samples that have values; several of one place are averaged.
    values
        (sample, location) or (sample, location, k) on ``grid`` x ``grid`` locations.
    grid
        Locations along one side of a window.

    Returns
    -------
    numpy.ndarray or None
        (y, x) or (y, x, k), NaN where there is nothing; None for a cube without positions, or
        whose windows do not lie side by side.
    """
    side = cube.attrs.get("window")
    if side is None or "easting" not in cube.data_vars:
        return None
    east, north = (np.asarray(cube[n].values, float) for n in ("easting", "northing"))
    column, row = (east - east.min()) / side, (north.max() - north) / side
    whole = np.allclose(column, np.rint(column)) and np.allclose(row, np.rint(row))
    shape = (int(np.rint(row.max())) + 1, int(np.rint(column.max())) + 1)
    if not whole or np.prod(shape) > 4 * len(np.unique(np.stack([row, column]), axis=1).T):
        return None
    row, column = (np.rint(a).astype(int)[samples] for a in (row, column))
    deep = values.reshape(len(values), grid, grid, -1).astype(float)
    total = np.zeros((*shape, grid, grid, deep.shape[-1]))
    count = np.zeros((*shape, 1, 1, 1))
    np.add.at(total, (row, column), deep)
    np.add.at(count, (row, column), 1)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    image = mean.transpose(0, 2, 1, 3, 4).reshape(shape[0] * grid, shape[1] * grid, -1)
    return image[..., 0] if values.ndim == 2 else image


def probe_map(
    result: ProbeResult,
    cube: xr.DataTree,
    samples: np.ndarray,
    grid: int,
    *,
    features: str,
    method: str = "linear",
    label: str = "",
) -> Figure | None:
    """Draw truth and prediction of held-out ground, and the difference; None where no map is.

    Parameters
    ----------
    result
        Of a probe of a number per location, no places averaged.
    cube, samples, grid
        The cube, the samples that were embedded, and locations along one side.
    features, method
        Which predictions.
    label
        What the values are.
    """
    units = result.units
    if units.task != "regression" or units.target.ndim != 1:
        return None
    test = units.split == "test"
    maps = {}
    for name, values in (
        ("truth", units.target[test]),
        ("predicted", result.predictions[features, method]),
    ):
        table = np.full((len(samples), grid * grid), np.nan)
        place, location = units.index[test].T
        if place.max() >= len(samples) or location.max() >= grid * grid:
            return None
        table[place, location] = values
        held = np.isfinite(table).all(1)
        if not held.any():  # a target of whole windows, on more than one location
            return None
        found = ground_map(cube, samples[held], table[held], grid)
        if found is None:
            return None
        maps[name] = found
    return _draw(maps, label)


def _draw(maps: dict[str, np.ndarray], label: str) -> Figure:
    truth = maps["truth"]
    error = maps["predicted"] - truth
    rows = np.isfinite(truth).any(1)
    columns = np.isfinite(truth).any(0)
    window = np.ix_(rows, columns)
    low, high = np.nanquantile(truth, [0.01, 0.99])
    most = np.nanquantile(np.abs(error), 0.98)
    with styled():
        figure = new_figure(WIDTH / 3 + 0.3)
        panels = figure.subplots(1, 3)
        for axes in panels:
            axes.set_facecolor("#EEEEEE")
            bare(axes)
        for axes, (title, image) in zip(panels[:2], maps.items(), strict=True):
            shown = axes.imshow(image[window], cmap="viridis", vmin=low, vmax=high)
            axes.set_title(f"{title}, held-out ground")
        figure.colorbar(shown, ax=panels[:2].tolist(), shrink=0.8, label=label)
        wrong = panels[2].imshow(error[window], cmap="PuOr", vmin=-most, vmax=most)
        panels[2].set_title("predicted - truth")
        figure.colorbar(wrong, ax=panels[2], shrink=0.8)
    return finish(figure)


def embedding_map(
    cube: xr.DataTree, samples: np.ndarray, features: np.ndarray, grid: int
) -> Figure | None:
    """Draw embeddings (sample, location, width) on the ground, as colours.

    The colours are the first three principal components of what is left once the mean of each
    location in the window is taken out: tokens carry a code of their position, which says nothing
    about the ground. The title tells how much that was. None for a cube without a map.
    """
    from sklearn.decomposition import PCA

    spread = features.var((0, 1)).sum()
    features = features - features.mean(0)
    position = 1 - features.var((0, 1)).sum() / max(spread, 1e-12)
    image = ground_map(cube, samples, features, grid)
    if image is None:
        return None
    flat = image.reshape(-1, image.shape[-1])
    there = np.isfinite(flat).all(1)
    parts = PCA(3, random_state=0)
    scores = parts.fit_transform(flat[there])
    low, high = np.quantile(scores, [0.02, 0.98], axis=0)
    colour = np.full((len(flat), 3), 0.93)
    colour[there] = np.clip((scores - low) / np.maximum(high - low, 1e-9), 0, 1)
    split = np.asarray(cube["split"].values).astype(str)[samples]
    held = ground_map(cube, samples, np.repeat((split == "test")[:, None], grid * grid, 1), grid)
    with styled():
        figure = new_figure(3.4)
        axes = figure.subplots()
        axes.imshow(colour.reshape(*image.shape[:2], 3))
        inside = np.nan_to_num(held) > 0.5
        if inside.any() and not inside.all():
            axes.contour(inside, [0.5], colors=COLOURS[1], linewidths=1)
        bare(axes)
        share = parts.explained_variance_ratio_.sum()
        title = (
            f"three principal components ({share:.0%} of the variance),\n"
            f"position in the window taken out ({position:.0%}), held-out ground outlined"
        )
        axes.set_title(title.replace("%", " %"))
    return finish(figure)
