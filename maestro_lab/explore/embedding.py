"""Look around in embeddings: on the ground, as points of a plane, and patch by patch."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from maestro_lab.cubes.contract import TARGETS
from maestro_lab.errors import ParameterError
from maestro_lab.explore.base import Explorer, check_cube
from maestro_lab.explore.controls import Choice, Number, Spot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from maestro_lab.figures.embedding_views import EmbeddingView
    from maestro_lab.training.embed import Embeddings
    from maestro_lab.training.token_table import TokenTable

__all__ = ["EmbeddingExplorer"]

_UMAP = ("UMAP (slow at first)", "umap")


class EmbeddingExplorer(Explorer):
    """Embeddings of patches: as colours on the ground, as points, and which patches are alike.

    A click on a map, a point or a small picture chooses a patch: the maps go there, its similarity
    to all others is shown, and the patches elsewhere that are most alike. A box among the points or
    on a map selects patches, which are then shown instead; an empty box selects none.

    Parameters
    ----------
    cube
        The cube.
    embeddings
        Of samples of the cube, as :func:`maestro_lab.embed` returns them.
    tokens
        Of the same samples, as :func:`maestro_lab.embed_tokens` returns them: points can then be
        single tokens, coloured by date or modality.
    modality
        To show; default the first one with three bands.
    best
        Patches of other places to show.
    position
        Leave the code of a patch's position in its window in: by default the mean of each location
        over all windows is taken out before patches are compared.
    others
        Names and embeddings, such as those of random weights, whose effective rank and uniformity
        are told beside.
    **state
        What is shown first: ``sample`` (number or name), ``row`` and ``column`` of the chosen
        patch, ``points`` ("places" or "tokens"), ``layout`` ("pca" or "umap"), ``colour`` (of
        places "map", "split" or a target; of tokens "modality" or "date"), ``selected`` (patches
        as sample, row, column), and ``centre`` (sample that the maps are laid round).

    Raises
    ------
    ParameterError
        If the embeddings are not of this cube, or there is no such sample, patch, target or
        modality.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> from maestro_lab.training.embed import Embeddings
    >>> cube = ml.open_cube("landscape", samples=4, modalities=["s2"])
    >>> table = np.random.default_rng(0).normal(size=(4, 9, 8))
    >>> explorer = EmbeddingExplorer(cube, Embeddings(table, np.arange(4), 3), colour="biomass")
    >>> state = explorer.set(sample=3, row=1, column=2).state
    >>> state["sample"], state["row"], state["column"], state["colour"]
    (3, 1, 2, 'biomass')
    """

    title = "Embedding explorer"

    def __init__(
        self,
        cube: xr.DataTree,
        embeddings: Embeddings,
        *,
        tokens: TokenTable | None = None,
        modality: str = "",
        best: int = 11,
        others: Mapping[str, Embeddings] | None = None,
        position: bool = False,
        **state: Any,
    ) -> None:
        from maestro_lab.figures.clouds import layouts
        from maestro_lab.figures.embedding_space import EmbeddingSpace

        if best not in range(12):
            raise ParameterError("patches to show", expected="0 to 11", found=best)
        self.space = EmbeddingSpace(
            check_cube(cube), embeddings, modality, tokens=tokens, position=position
        )
        self.best, self.others = best, dict(others or {})
        known, last = self.space.alike.sample, self.space.grid - 1
        names = [(self.space.alike.name(int(k)), int(k)) for k in known]
        points = ["places"] if tokens is None else ["places", "tokens"]
        ways = [("PCA", "pca"), *([_UMAP] if "umap" in layouts() else [])]
        patches = "patches (sample, row, column) that are embedded, or None"
        super().__init__(
            {
                "sample": Choice(int(known[0]), options=names),
                "row": Number(0, low=0, high=last, look="box", hidden=not last),
                "column": Number(0, low=0, high=last, look="box", hidden=not last),
                "points": Choice("places", options=points, hidden=tokens is None),
                "layout": Choice("pca", options=ways),
                "colour": Choice("map", options=self.space.colours("places")),
                "centre": Spot(taken=self._sample, words="a sample that is embedded, or None"),
                "selected": Spot(taken=self._patches, words=patches),
            }
        )
        self.set(**state)

    def _choose(self, name: str, value: Any) -> None:
        if name == "points" and value == "tokens" and self.space.token_cloud is None:
            raise ParameterError(
                "tokens to draw", expected="an explorer that was given some", found="none",
                do="EmbeddingExplorer(..., tokens=ml.embed_tokens(model, data))",
            )  # fmt: skip
        super()._choose(name, self._sample(value) if name == "sample" else value)

    def _sample(self, value: Any) -> int:
        """Return the number of a sample that is embedded, given by number or name."""
        if isinstance(value, bool) or not isinstance(value, str | int | np.integer):
            raise ParameterError(
                "control 'sample'", expected="number or name of a sample", found=repr(value)
            )
        return int(self.space.alike.sample[self.space.alike.line(value)])

    def _patches(self, value: Any) -> tuple[tuple[int, int, int], ...] | None:
        found = np.reshape(np.asarray(list(value), int), (-1, 3))
        known = np.isin(found[:, 0], self.space.alike.sample)
        inside = ((found[:, 1:] >= 0) & (found[:, 1:] < self.space.grid)).all(1)
        if not (known & inside).all():
            raise ValueError(value)
        return tuple(map(tuple, np.unique(found, axis=0).tolist())) or None

    def adapt(self, name: str) -> None:
        """Offer the colours that the points can have."""
        if name == "points":
            self.controls["colour"].offer(self.space.colours(self.controls["points"].value))

    def view_of(self, **state: Any) -> EmbeddingView:
        """Return what the figure shows."""
        from maestro_lab.figures.embedding_views import EmbeddingView

        return EmbeddingView(**{**self.state, **state}, best=self.best)

    def draw(self, **state: Any) -> Figure:
        """Draw the maps, the points and the patches."""
        from maestro_lab.figures import embedding_view

        return embedding_view(self.space, self.view_of(**state))

    def words(self, **state: Any) -> str:
        """Tell what rank and uniformity mean, what is drawn, and what is missing."""
        from maestro_lab.figures.embedding_space import room

        measured = {"": self.space.room} | {n: room(e) for n, e in self.others.items()}
        lines = [_room_words(name, found) for name, found in measured.items()]
        lines += self._chosen_words(state)
        lines += self._missing_words(state)
        return "<div class='maestro-words'>" + "<br>".join(lines) + "</div>"

    def _chosen_words(self, state: dict[str, Any]) -> list[str]:
        """Say what the chosen patch is, in the words of the colours."""
        cloud = self.space.cloud(state["points"])
        rows = cloud.rows_of(np.array([[state["sample"], state["row"], state["column"]]]))
        lines = []
        if state["points"] == "tokens":
            lines.append(
                f"{len(rows):,} of the {len(cloud.there):,} tokens are of the chosen patch."
            )
        elif not len(rows):
            lines.append("The chosen patch has no data: nothing is like it.")
        else:
            colouring = self.space.colouring("places", state["colour"])
            value = colouring.words(int(rows[0]))
            if value:
                lines.append(f"chosen patch: {escape(colouring.label)} {escape(value)}")
        if state["layout"] == "umap":
            lines.append(
                "UMAP lays out the points drawn; others lie where the most alike one does."
            )
        return lines

    def _missing_words(self, state: dict[str, Any]) -> list[str]:
        """Say what there is not."""
        from maestro_lab.figures.embedding_views import frame_of

        places, lines = self.space.places, []
        if self.space.position is not None:
            share = f"{self.space.position_share:.0%}".replace("%", " %")
            lines.append(
                f"A code of position, the same at a location of every window, is taken out "
                f"({share} of the variance); position=True leaves it in."
            )
        gaps = len(places.features) - len(places.there)
        if gaps:
            lines.append(f"{gaps:,} of {len(places.features):,} patches have no data.")
        if TARGETS not in self.space.cube.children:
            lines.append("This cube has no targets to colour by.")
        if len(self.space.alike.sample) == 1:
            lines.append("One sample: there is no other to find patches in.")
        elif frame_of(self.space, self.view_of(**state))[1].size == 1:
            lines.append("The maps show the sample alone: no windows lie beside it.")
        if not places.share.any():
            lines.append("All embeddings are equal: there are no directions to draw.")
        if len(self.controls["layout"].options) == 1:
            lines.append("UMAP is offered once umap-learn is installed: maestro-lab[umap].")
        return lines

    def pointed(self, panel: str, x: float, y: float) -> dict[str, Any]:
        """Choose the patch under a click."""
        from maestro_lab.figures.embedding_views import centre_of, patch_under, patches_shown

        view = self.view_of()
        if panel == "patches":
            shown = patches_shown(self.space, view)
            number = patch_under(len(shown), x, y)
            if number is None:
                return {}
            chosen = shown[number]
            return {"sample": chosen.sample, "row": chosen.row, "column": chosen.column}
        if panel == "points":
            cloud = self.space.cloud(view.points)
            patch = cloud.patch[cloud.nearest(view.layout, x, y)]
            return _chosen(patch) | {"selected": None}
        if panel in ("image", "map", "similarity"):
            patches = self._ground((x, x), (y, y))
            if len(patches):
                return _chosen(patches[0]) | {
                    "selected": None,
                    "centre": centre_of(self.space, view),
                }
        return {}

    def boxed(self, panel: str, x: tuple[float, float], y: tuple[float, float]) -> dict[str, Any]:
        """Select the patches in a box; none if it is empty."""
        view = self.view_of()
        if panel == "points":
            cloud = self.space.cloud(view.points)
            patches = cloud.patch[cloud.inside(view.layout, x, y)]
        elif panel in ("image", "map", "similarity"):
            patches = self._ground(x, y)
        else:
            return {}
        found = np.unique(np.reshape(patches, (-1, 3)), axis=0).tolist()
        return {"selected": tuple(map(tuple, found)) or None}

    def _ground(self, x: tuple[float, float], y: tuple[float, float]) -> np.ndarray:
        """Return the patches (n, 3) of the maps that a box touches."""
        from maestro_lab.figures.embedding_views import frame_of

        _, frame = frame_of(self.space, self.view_of())
        limits = np.array(frame.shape) * self.space.grid
        ranges = (
            np.arange(max(0, int(np.floor(low + 0.5))), min(most, int(np.floor(high + 0.5)) + 1))
            for (low, high), most in zip((y, x), limits, strict=True)
        )
        rows, columns = (axis.ravel() for axis in np.meshgrid(*ranges, indexing="ij"))
        (above, row), (left, column) = (np.divmod(k, self.space.grid) for k in (rows, columns))
        lines = frame[above, left]
        patches = np.column_stack([self.space.alike.sample[lines], row, column])
        return patches[lines >= 0]


def _chosen(patch: np.ndarray) -> dict[str, Any]:
    """Return the controls of a patch."""
    return dict(zip(("sample", "row", "column"), patch.tolist(), strict=True))


_WIDE = 2.0  # directions of differences below which there is hardly one


def _room_words(name: str, found: dict[str, float]) -> str:
    """Say what effective rank and uniformity are, and what they mean."""
    head = f"<b>{escape(name)}</b>: " if name else ""
    if "effective rank" not in found:
        return f"{head}too few patches for an effective rank."
    rank, even, most = found["effective rank"], found["uniformity"], found["most"]
    differ = found["differences"]
    if name:
        return (
            f"{head}effective rank of differences {differ:.1f}, of embeddings as they are "
            f"{rank:.1f} of {most}; uniformity {even:.2f}."
        )
    return (
        f"{'Not collapsed' if differ >= _WIDE else 'Collapsed, or nearly'}: patches differ from "
        f"their mean in about {differ:.0f} directions (<b>effective rank</b> {differ:.1f}; near 1, "
        f"all would look the same to the model). As they are, mean and all, embeddings fill "
        f"{rank:.1f} of {most} directions, with <b>uniformity</b> {even:.2f} (0 if all point the "
        f"same way, about -4 if they point everywhere). On {found['patches']:,} patches."
    )
