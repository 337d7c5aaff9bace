"""Maps: what is predicted where, for cubes whose windows lie side by side."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from maestro_lab.figures.drawn import painted_by
from maestro_lab.figures.style import (
    COLOURS,
    bare,
    beside,
    finish,
    narrow,
    new_figure,
    page_width,
    styled,
)
from maestro_lab.training.probe import ProbeResult

__all__ = ["embedding_map", "ground_map", "probe_map", "window_positions"]

_WINDOWS = 8  # from which a location's mean over windows is its position, and not the ground
_LARGE = 8  # locations along a side that make a window a picture of its own
_SHOWN = 12


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
    found = window_positions(cube)
    if found is None:
        return None
    shape = tuple(found.max(0) + 1)
    if np.prod(shape) > 4 * len(np.unique(found, axis=0)):
        return None
    row, column = found[samples].T
    deep = values.reshape(len(values), grid, grid, -1).astype(float)
    total = np.zeros((*shape, grid, grid, deep.shape[-1]))
    count = np.zeros((*shape, 1, 1, 1))
    np.add.at(total, (row, column), deep)
    np.add.at(count, (row, column), 1)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    image = mean.transpose(0, 2, 1, 3, 4).reshape(shape[0] * grid, shape[1] * grid, -1)
    return image[..., 0] if values.ndim == 2 else image


def window_positions(cube: xr.DataTree) -> np.ndarray | None:
    """Return row and column (sample, 2) of each window among all, counted from the north-west.

    None for a cube without positions, or whose windows are not cut from one raster of windows.
    """
    side = cube.attrs.get("window")
    if side is None or not {"easting", "northing"} <= set(cube.data_vars):
        return None
    east, north = (np.asarray(cube[n].values, float) for n in ("easting", "northing"))
    position = np.stack([north.max() - north, east - east.min()], 1) / side
    whole = np.rint(position)
    return whole.astype(int) if np.allclose(position, whole) else None


def _paint_probe_map(data: xr.Dataset) -> Figure:
    truth, predicted = data["truth"].values, data["predicted"].values
    error = predicted - truth
    low, high = np.nanquantile(truth, [0.01, 0.99])
    most = np.nanquantile(np.abs(error), 0.98)
    with styled():
        width = page_width()
        figure = new_figure(1.9 * width if narrow() else width / 3 + 0.3)
        panels = beside(figure, 3)
        for axes in panels:
            axes.set_facecolor("#EEEEEE")
            bare(axes)
        for axes, title, image in zip(
            panels, ("truth", "predicted"), (truth, predicted), strict=False
        ):
            shown = axes.imshow(image, cmap="viridis", vmin=low, vmax=high)
            axes.set_title(title if narrow() else f"{title}, held-out ground")
        figure.colorbar(shown, ax=panels[:2].tolist(), shrink=0.8, label=data.attrs["label"])
        wrong = panels[2].imshow(error, cmap="PuOr", vmin=-most, vmax=most)
        panels[2].set_title("predicted - truth")
        figure.colorbar(wrong, ax=panels[2], shrink=0.8)
    return finish(figure)


@painted_by(_paint_probe_map)
def probe_map(
    result: ProbeResult,
    cube: xr.DataTree,
    samples: np.ndarray,
    grid: int,
    *,
    features: str,
    method: str = "linear",
    label: str = "",
) -> xr.Dataset | None:
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
    there = np.isfinite(maps["truth"])
    window = np.ix_(there.any(1), there.any(0))
    images = {name: (("y", "x"), np.float32(image[window])) for name, image in maps.items()}
    return xr.Dataset(images, attrs={"label": label})


def _paint_embeddings(data: xr.Dataset) -> Figure:
    with styled():
        figure = _ground(data) if "held_out" in data else _windows(data)
    return finish(figure)


@painted_by(_paint_embeddings)
def embedding_map(
    cube: xr.DataTree, samples: np.ndarray, features: np.ndarray, grid: int
) -> xr.Dataset | None:
    """Draw embeddings as colours, their first three principal components.

    Windows that lie side by side make one map of the ground; large windows that do not are drawn
    one by one. From 8 windows on, the mean of each location in the window is taken out first:
    tokens carry a code of their position, which says nothing about the ground. The title tells
    how much that was.

    Parameters
    ----------
    cube
        The cube.
    samples
        Numbers of the samples that were embedded.
    features
        (sample, location, width), NaN where there is nothing.
    grid
        Locations along one side of a window.

    Returns
    -------
    matplotlib.figure.Figure or None
        None for a cube without a map whose windows have fewer than 8 x 8 locations.
    """
    samples = np.asarray(samples)
    features, position = _without_position(cube, samples, features)
    image = ground_map(cube, samples, features, grid)
    if image is None and grid < _LARGE:
        return None
    images = features.reshape(-1, grid, grid, features.shape[-1]) if image is None else image[None]
    colour, share = _colours(images)
    title = f"three principal components ({share:.0%} of the variance)".replace("%", " %")
    if position is not None:
        title += f",\nposition in the window taken out ({position:.0%})".replace("%", " %")
    if image is None:
        return xr.Dataset(
            {"colour": (("window", "y", "x", "rgb"), np.float32(colour[:_SHOWN]))},
            attrs={
                "title": title,
                "windows": [str(name) for name in cube["sample"].values[samples][:_SHOWN]],
                "of": len(colour),
            },
        )
    return xr.Dataset(
        {
            "colour": (("y", "x", "rgb"), np.float32(colour[0])),
            "held_out": (("y", "x"), _held_out(cube, samples, grid)),
        },
        attrs={"title": title},
    )


def _without_position(
    cube: xr.DataTree, samples: np.ndarray, features: np.ndarray
) -> tuple[np.ndarray, float | None]:
    """Return features less the mean of each location, and the share of variance that was."""
    there = {"easting", "northing"} <= set(cube.data_vars)
    place = (
        np.stack([cube[n].values[samples] for n in ("easting", "northing")], 1)
        if there
        else samples[:, None]
    )
    if len(np.unique(place, axis=0)) < _WINDOWS:
        return features, None
    left = features - _mean(features, 0)
    before, after = (
        np.nansum(np.square(f, dtype=float)) for f in (features - _mean(features, (0, 1)), left)
    )
    return left, float(1 - after / max(before, 1e-12))


def _mean(features: np.ndarray, axes: int | tuple[int, int]) -> np.ndarray:
    """Return the mean of what is there; 0 where nothing is."""
    count = np.isfinite(features).sum(axes)
    return np.nansum(features, axes, dtype=float) / np.maximum(count, 1)


def _colours(images: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the first three principal components as RGB, and their share of the variance."""
    from sklearn.decomposition import PCA

    flat = images.reshape(-1, images.shape[-1])
    there = np.isfinite(flat).all(1)
    parts = PCA(min(3, flat.shape[1], max(int(there.sum()), 1)), random_state=0)
    with np.errstate(invalid="ignore"):  # embeddings that are all the same have no variance
        scores = parts.fit_transform(flat[there])
    low, high = np.quantile(scores, [0.02, 0.98], axis=0)
    colour = np.full((len(flat), 3), 0.93)
    shown = np.clip((scores - low) / np.maximum(high - low, 1e-9), 0, 1)
    colour[there] = np.pad(shown, ((0, 0), (0, 3 - shown.shape[1])), constant_values=0.5)
    return colour.reshape(*images.shape[:3], 3), float(
        np.nan_to_num(parts.explained_variance_ratio_).sum()
    )


def _held_out(cube: xr.DataTree, samples: np.ndarray, grid: int) -> np.ndarray:
    split = np.asarray(cube["split"].values).astype(str)[samples]
    held = ground_map(cube, samples, np.repeat((split == "test")[:, None], grid * grid, 1), grid)
    return np.nan_to_num(held) > 0.5


def _ground(data: xr.Dataset) -> Figure:
    title, held = data.attrs["title"], data["held_out"].values
    rows, columns = held.shape
    figure = new_figure(min(3.4, 0.7 + page_width() * rows / columns))
    axes = figure.subplots()
    axes.imshow(data["colour"].values)
    if held.any() and not held.all():
        axes.contour(held, [0.5], colors=COLOURS[1], linewidths=1)
        title += ", held-out ground outlined"
    bare(axes)
    axes.set_title(title.replace(", held-out", ",\nheld-out") if narrow() else title)
    return figure


def _windows(data: xr.Dataset) -> Figure:
    names, images, count = data.attrs["windows"], data["colour"].values, data.attrs["of"]
    lines = -(-len(images) // (2 if narrow() else 4))
    columns = -(-len(images) // lines)
    figure = new_figure(0.45 + lines * (min(page_width() / columns, 3.2) + 0.15))
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in panels:
        bare(axes)
        axes.set_visible(False)
    for axes, image, name in zip(panels, images, names, strict=False):
        axes.set_visible(True)
        axes.imshow(image)
        axes.set_title(name, fontsize=8)
    title = data.attrs["title"]
    if len(images) < count:
        title += f", {len(images)} of {count} windows"
    figure.suptitle(title, fontsize=9)
    return figure
