"""Where a probe is wrong: held-out ground as it lies, side by side or scattered."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from maestro_lab.cubes.contract import window_side
from maestro_lab.errors import ParameterError
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
from maestro_lab.training.probe import ProbeResult, probe_name

__all__ = ["error_map"]

_RIGHT = "#D9D9D9"
_SPARSE = 12  # places of a raster for each window that is drawn


def _paint_errors(data: pd.DataFrame) -> Figure:
    attrs, whole, width = data.attrs, "truth" in data, page_width()
    share = (np.ptp(data["north"]) + data["side"].max()) / (
        np.ptp(data["east"]) + data["side"].max()
    )
    with styled():
        count = 3 if whole else 1
        across = width if narrow() or not whole else width / 3
        height = float(np.clip(0.85 * across * share, 0.9, 1.3 * across)) + 0.45
        figure = new_figure(min(height, 4.2) * (count if narrow() else 1) + 0.3)
        panels = beside(figure, count, share="xy")
        if whole and attrs["kind"] == "class":
            _class_panels(figure, panels, data)
        elif whole:
            limits = np.nanquantile(data["truth"], [0.01, 0.99])
            for axes, name in zip(panels, ("truth", "predicted"), strict=False):
                shown = _squares(axes, data, data[name], "viridis", limits)
                axes.set_title(name)
            figure.colorbar(shown, ax=panels[:2].tolist(), shrink=0.8, label=attrs["label"])
        _error_panel(figure, panels[-1], data)
        where = "empty ground left out" if attrs["lattice"] else "a point for each window"
        title = f"{attrs['features']}, {probe_name(attrs['method'])}: held-out ground"
        figure.suptitle(title + ("\n" if narrow() else ", ") + where, fontsize=9)
    return finish(figure)


def _class_panels(figure: Figure, panels: Sequence[Axes], data: pd.DataFrame) -> None:
    """Draw true and predicted classes, and add some height for their names."""
    import matplotlib as mpl

    classes = data.attrs["classes"]
    there = sorted({int(c) for n in ("truth", "predicted") for c in data[n]})
    many = [mpl.colors.to_hex(c) for c in mpl.colormaps["tab20"].colors]
    colours = list(COLOURS) if len(there) <= len(COLOURS) else many
    palette = {code: colours[k % len(colours)] for k, code in enumerate(there)}
    for axes, name in zip(panels, ("truth", "predicted"), strict=False):
        _squares(axes, data, [palette[int(c)] for c in data[name]])
        axes.set_title(name)
    handles = [Patch(color=palette[code], label=classes[code]) for code in there]
    longest = max(len(classes[code]) for code in there)
    columns = max(1, min(len(there), int(page_width() / (0.075 * longest + 0.6))))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)
    figure.set_figheight(figure.get_figheight() + 0.18 * -(-len(there) // columns))


def _error_panel(figure: Figure, axes: Axes, data: pd.DataFrame) -> None:
    attrs, error = data.attrs, data["error"]
    if attrs["kind"] == "number":
        most = float(np.nanquantile(np.abs(error), 0.98)) or 1.0
        shown = _squares(axes, data, error, "PuOr", (-most, most))
        title, words = "predicted - truth", attrs["label"]
    elif attrs["kind"] == "numbers":
        most = float(np.nanquantile(error, 0.98)) or 1.0
        shown = _squares(axes, data, error, "cividis", (0, most))
        title, words = "error", "root mean squared error"
        words = "\n".join(textwrap.wrap(words, 22))
    else:
        shown = _squares(axes, data, error, _greys_to_red(), (0, 1))
        words = "share that is wrong" if ((error > 0) & (error < 1)).any() else ""
        title = f"wrong: {100 * np.average(error, weights=data['units']):.0f} %"
    axes.set_title(title)
    if words or attrs["kind"] == "number":
        figure.colorbar(shown, ax=axes, shrink=0.8, label=words)


def _greys_to_red() -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("wrong", [_RIGHT, COLOURS[1]])


def _squares(
    axes: Axes,
    data: pd.DataFrame,
    values: Sequence,
    cmap: str | Colormap | None = None,
    limits: Sequence[float] | None = None,
) -> PatchCollection:
    """Draw each unit as a square, large enough to be seen, in colours or by values."""
    span = max(np.ptp(data["east"]), np.ptp(data["north"])) + data["side"].max()
    sides = data["side"] if data.attrs["lattice"] else np.maximum(data["side"], span / 60)
    patches = [
        Rectangle((x - s / 2, y - s / 2), s, s)
        for x, y, s in zip(data["east"], data["north"], sides, strict=True)
    ]
    squares = PatchCollection(patches, lw=0, rasterized=True, antialiased=False)
    if limits is None:
        squares.set_facecolor(list(values))
    else:
        squares.set_array(np.asarray(values, float))
        squares.set_cmap(cmap)
        squares.set_clim(*limits)
    axes.add_collection(squares)
    bare(axes)
    axes.set_facecolor("#F4F4F4")
    axes.set_aspect("equal")
    margin = 0.02 * span + sides.max() / 2
    axes.set_xlim(data["east"].min() - margin, data["east"].max() + margin)
    axes.set_ylim(data["north"].min() - margin, data["north"].max() + margin)
    return squares


@painted_by(_paint_errors)
def error_map(
    result: ProbeResult,
    cube: xr.DataTree,
    samples: np.ndarray,
    grid: int,
    *,
    features: str,
    method: str = "linear",
    label: str = "",
    classes: Sequence[str] = (),
) -> pd.DataFrame | None:
    """Draw held-out ground: truth, prediction and error.

    Windows of one raster are drawn in its order, rows and columns without held-out windows left
    out but for one. Of others, each is a point where it lies, coloured by its mean error. Of
    several samples of one place (years), numbers and errors are averaged, and the last class is
    shown. Of several numbers or labels a unit, only the error is.

    Parameters
    ----------
    result
        Of a probe with no places averaged.
    cube, samples, grid
        The cube, the samples that were embedded, and locations along one side.
    features, method
        Which predictions.
    label, classes
        What the values are; names of classes by their number.

    Returns
    -------
    matplotlib.figure.Figure or None
        None for a cube without positions, and where units are no samples of the cube.
    """
    units, test = result.units, result.units.split == "test"
    place, location = units.index[test].T
    known = {"easting", "northing"} <= set(cube.data_vars)
    if not known or place.max() >= len(samples) or units.locations not in (1, grid * grid):
        return None
    if (features, method) not in result.predictions:
        raise ParameterError(
            f"no predictions of {features!r} by {method!r}",
            expected=" | ".join(f"{f!r} by {m!r}" for f, m in result.predictions),
        )
    truth, predicted = units.target[test], result.predictions[features, method]
    kind, columns = _errors(units.task, truth, predicted)
    window = _windows(cube, np.asarray(samples)[place])
    side, along = 1.0, grid if units.locations > 1 else 1
    lattice = _lattice(window, _windows(cube, np.arange(cube.sizes["sample"])))
    if lattice is None:
        lattice, side, along = window, float(window_side(cube)), 1
        columns = {"error": columns["error"]}
    row, column = np.divmod(location if along > 1 else 0 * location, along)
    cell = side / along
    centre = lattice + np.stack([(column + 0.5) * cell, -(row + 0.5) * cell], 1)
    table = pd.DataFrame({"east": centre[:, 0], "north": centre[:, 1], "side": cell, "units": 1})
    table = _by_place(table.assign(**columns), kind)
    table.attrs = {
        "kind": kind, "features": features, "method": method, "label": label,
        "lattice": lattice is not window,
    }  # fmt: skip
    table.attrs["classes"] = _words(classes, table)
    return table


def _windows(cube: xr.DataTree, sample: np.ndarray) -> np.ndarray:
    """Return the corner (unit, 2) in metres east and north of the window of each unit."""
    return np.stack([np.asarray(cube[n].values, float)[sample] for n in ("easting", "northing")], 1)


def _lattice(window: np.ndarray, every: np.ndarray) -> np.ndarray | None:
    """Return columns and rows (unit, 2) of corners, long gaps closed to one.

    None where the corners of all samples, ``every`` (sample, 2), are not those of one raster.
    """
    closed = []
    for values, others in zip(window.T, every.T, strict=True):
        steps = np.diff(np.unique(np.round(others, 3)))
        step = steps.min() if len(steps) else 1.0
        if not np.allclose(steps / step, np.rint(steps / step), atol=0.01):
            return None
        names, code = np.unique(np.rint((values - others.min()) / step), return_inverse=True)
        closed.append(np.r_[0, np.cumsum(np.minimum(np.diff(names), 2))][code])
    found = np.stack(closed, 1)
    room = np.prod(found.max(0) + 1)
    return found if room <= _SPARSE * len(np.unique(found, axis=0)) else None


def _by_place(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Put the units of one place together."""
    how = dict.fromkeys([n for n in ("truth", "predicted", "error") if n in table], "mean")
    how["units"] = "sum"
    if kind == "class":
        how |= {n: "last" for n in ("truth", "predicted") if n in table}
    return table.groupby(["east", "north", "side"], sort=False).agg(how).reset_index()


def _errors(
    task: str, truth: np.ndarray, predicted: np.ndarray
) -> tuple[str, dict[str, np.ndarray]]:
    """Return what kind of target it is, and truth, prediction and error of each unit."""
    if task == "classification" and truth.ndim == 1:
        wrong = (truth != predicted).astype(float)
        return "class", {"truth": truth, "predicted": predicted, "error": wrong}
    if task == "classification":
        return "labels", {"error": (truth != predicted).mean(1)}
    truth, predicted = (np.asarray(a, float).reshape(len(a), -1) for a in (truth, predicted))
    if truth.shape[1] > 1:
        return "numbers", {"error": np.sqrt(((predicted - truth) ** 2).mean(1))}
    truth, predicted = truth[:, 0], predicted[:, 0]
    return "number", {"truth": truth, "predicted": predicted, "error": predicted - truth}


def _words(classes: Sequence[str], table: pd.DataFrame) -> list[str]:
    """Return a name for each class up to the highest number that is drawn."""
    if table.attrs["kind"] != "class" or "truth" not in table:
        return []
    most = int(max(table["truth"].max(), table["predicted"].max()))
    return [str(classes[k]) if k < len(classes) else str(k) for k in range(most + 1)]
