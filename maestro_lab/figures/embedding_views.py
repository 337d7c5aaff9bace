"""Embeddings beside what they are of: on the ground, as points of a plane, and patch by patch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from maestro_lab.errors import ParameterError
from maestro_lab.figures.alike import EMPTY, Match
from maestro_lab.figures.drawn import painted_by
from maestro_lab.figures.embedding_paint import chip_places, paint_view
from maestro_lab.figures.embedding_space import EmbeddingSpace

__all__ = [
    "EmbeddingView",
    "centre_of",
    "embedding_view",
    "frame_of",
    "patch_under",
    "patches_shown",
]

_SHOWN = 12  # patches shown of those that are selected
Patch = tuple[int, int, int]


@dataclass(frozen=True)
class EmbeddingView:
    """What of embeddings is looked at.

    Parameters
    ----------
    sample, row, column
        The chosen patch: number or name of its sample in the cube (None: the first one that is
        embedded), and where in its window, row 0 on top.
    centre
        Sample that the maps are laid round, if they then show the chosen one; None is that one.
    points
        "places", or "tokens" where there are any.
    layout
        "pca" or "umap".
    colour
        Of the points: "map", "split" or a target of the cube; of tokens "modality" or "date".
    selected
        Patches (sample, row, column) to show instead of those most alike to the chosen one.
    best
        Patches of other places to show, the most alike first.
    """

    sample: int | str | None = None
    row: int = 0
    column: int = 0
    centre: int | None = None
    points: str = "places"
    layout: str = "pca"
    colour: str = "map"
    selected: tuple[Patch, ...] | None = None
    best: int = 11


def frame_of(space: EmbeddingSpace, view: EmbeddingView) -> tuple[int, np.ndarray]:
    """Return the line of the chosen sample, and the lines of all windows on the maps."""
    line = _line(space, view)
    return line, space.alike.frame(centre_of(space, view))


def centre_of(space: EmbeddingSpace, view: EmbeddingView) -> int:
    """Return the sample that the maps are laid round: the view's, if they show the chosen one."""
    alike, line = space.alike, _line(space, view)
    if view.centre is not None and (alike.frame(view.centre) == line).any():
        return view.centre
    return int(alike.sample[line])


def _line(space: EmbeddingSpace, view: EmbeddingView) -> int:
    first = int(space.alike.sample[0])
    return space.alike.line(first if view.sample is None else view.sample)


def patches_shown(space: EmbeddingSpace, view: EmbeddingView) -> list[Match]:
    """Return the patches shown beside the points: the chosen one first, or those selected."""
    line, _ = frame_of(space, view)
    sample = int(space.alike.sample[line])
    cosines = space.alike.cosines(sample, view.row, view.column)
    if view.selected:
        some = np.linspace(0, len(view.selected) - 1, min(_SHOWN, len(view.selected)))
        chosen = [view.selected[k] for k in some.round().astype(int)]
        return [Match(*p, float(cosines[space.alike.line(p[0]), p[1], p[2]])) for p in chosen]
    own = Match(sample, view.row, view.column, float(cosines[line, view.row, view.column]))
    return [own, *space.alike.matches(cosines, sample, view.best)]


def patch_under(count: int, x: float, y: float) -> int | None:
    """Return which of ``count`` patches shown lies at a place of their panel; None for none.

    Examples
    --------
    >>> patch_under(3, 0.3, 0.4), patch_under(3, 0.3, 5.0)
    (0, None)
    """
    for k, (left, top, side) in enumerate(chip_places(count)):
        if left <= x <= left + side and top <= y <= top + side:
            return k
    return None


@painted_by(paint_view)
def embedding_view(space: EmbeddingSpace, view: EmbeddingView | None = None) -> xr.Dataset:
    """Draw embeddings on the ground, as points of a plane, and patches that are alike.

    Similarity is the cosine of embeddings once their mean over all patches is taken out. Colours of
    the map are three principal components of all patches; from 8 places on, the mean of each
    location in the window is taken out first: tokens carry a code of their position.

    Parameters
    ----------
    space
        Embeddings of a cube.
    view
        What to show; default the first patch.

    Raises
    ------
    ParameterError
        If there is no such sample, patch, layout or colour.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> from maestro_lab.training.embed import Embeddings
    >>> cube = ml.open_cube("landscape", samples=4, modalities=["s2"])
    >>> table = np.random.default_rng(0).normal(size=(4, 9, 8))
    >>> space = EmbeddingSpace(cube, Embeddings(table, np.arange(4), 3))
    >>> figure = embedding_view(space, EmbeddingView(sample=2, colour="land_cover"))
    >>> [axes.get_label() for axes in figure.axes][:3]
    ['image', 'map', 'similarity']
    """
    view = view or EmbeddingView()
    alike, (line, frame) = space.alike, frame_of(space, view)
    sample = int(alike.sample[line])
    cosines = alike.cosines(sample, view.row, view.column)
    window = np.argwhere(frame == line)[0]
    patch = window * space.grid + (view.row, view.column)
    data, told = _drawn_points(space, view, (sample, view.row, view.column))
    chips = patches_shown(space, view)
    return xr.Dataset(
        {
            "picture": (("y", "x", "rgb"), np.float32(alike.mosaic(frame))),
            "colour": (("row", "column", "rgb"), _colours(space, frame)),
            "cosine": (("row", "column"), np.float32(alike.lay(cosines, frame))),
            "picked": (("pick", "axis"), _on_maps(space, frame, view.selected or ())),
            **data,
            **{
                f"patch_{k}": ((f"y_{k}", f"x_{k}", "rgb"), np.float32(alike.chip(chip)[0]))
                for k, chip in enumerate(chips)
            },
        },
        attrs={
            "title": _title(space, view),
            "patch": patch.tolist(),
            "window": (window * space.grid).tolist(),
            "grid": int(space.grid),
            "alone": frame.size == 1,
            "bands": alike.words,
            "known": bool(np.isfinite(cosines).any()),
            "limits": list(alike.limits(cosines, [frame], line, (view.row, view.column))),
            "patches": [_told(space, chip) for chip in chips],
            "selected": len(view.selected or ()),
            **told,
        },
    )  # fmt: skip


def _title(space: EmbeddingSpace, view: EmbeddingView) -> str:
    """Name the chosen patch, and tell how much room embeddings fill."""
    name = space.alike.name(int(space.alike.sample[_line(space, view)]))
    words, found = f"{name}, row {view.row}, column {view.column} chosen", space.room
    if "effective rank" not in found:
        return words
    rank, even = found["effective rank"], found["uniformity"]
    return (
        f"{words}; effective rank {rank:.1f} of {found['most']} "
        f"({found['differences']:.1f} of differences), uniformity {even:.2f}"
    )


def _colours(space: EmbeddingSpace, frame: np.ndarray) -> np.ndarray:
    """Return principal components of windows side by side as RGB (row, column, 3)."""
    colours = space.places.colours.reshape(-1, space.grid, space.grid, 3)
    channels = [space.alike.lay(colours[..., k], frame) for k in range(3)]
    return np.nan_to_num(np.stack(channels, -1), nan=EMPTY).astype(np.float32)


def _told(space: EmbeddingSpace, chip: Match) -> dict[str, Any]:
    """Tell about a patch that is shown."""
    cosine = chip.cosine if np.isfinite(chip.cosine) else None
    return {
        "name": space.alike.name(chip.sample),
        "box": space.alike.chip(chip)[1].tolist(),
        "cosine": cosine,
    }


def _on_maps(space: EmbeddingSpace, frame: np.ndarray, selected: Sequence[Patch]) -> np.ndarray:
    """Return row and column (n, 2) on the maps of the selected patches that these show."""
    corner = {int(space.alike.sample[k]): at for at, k in np.ndenumerate(frame) if k >= 0}
    found = [
        (corner[s][0] * space.grid + row, corner[s][1] * space.grid + column)
        for s, row, column in selected
        if s in corner
    ]
    return np.reshape(np.array(found, int), (-1, 2))


def _drawn_points(
    space: EmbeddingSpace, view: EmbeddingView, patch: Patch
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return variables and attributes of the points."""
    cloud = space.cloud(view.points)
    colouring = space.colouring(view.points, view.colour)
    if view.layout not in ("pca", "umap"):
        raise ParameterError("layout", expected="pca, umap", found=view.layout)
    values = np.asarray(colouring.values)
    marked = {
        name: (
            (name, "axis"),
            np.float32(cloud.at(view.layout, cloud.rows_of(np.reshape(patches, (-1, 3))))),
        )
        for name, patches in (("chosen", [patch]), ("selection", view.selected or []))
    }
    axes = ["UMAP 1", "UMAP 2"]
    if view.layout == "pca":
        axes = [f"PC {k + 1} ({100 * cloud.share[k]:.0f} %)" for k in range(2)]
    dims = ("point", "rgb") if values.ndim == 2 else ("point",)
    told = {
        "points": f"{len(cloud.drawn):,} of {len(cloud.there):,} {_kinds(view.points)}"
        if len(cloud.drawn) < len(cloud.there)
        else f"{len(cloud.there):,} {_kinds(view.points)}",
        "axes": axes,
        "kind": colouring.kind,
        "label": colouring.label,
        "names": list(colouring.names),
    }
    if colouring.kind == "number":
        known = values[np.isfinite(values)]
        told["range"] = np.quantile(known, [0.01, 0.99]).tolist() if len(known) else [0.0, 1.0]
    return {
        "at": (("point", "axis"), np.float32(cloud.points(view.layout))),
        "value": (dims, np.float32(values[cloud.drawn])),
        **marked,
    }, told


def _kinds(points: str) -> str:
    return {"places": "patches"}.get(points, points)
