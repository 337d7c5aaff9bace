"""Point at a patch, and see which others an encoder takes for the same."""

from __future__ import annotations

from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from maestro_lab.errors import LabError
from maestro_lab.explore.base import Explorer, interactive

if TYPE_CHECKING:
    import holoviews as hv
    from ipywidgets import Widget
    from matplotlib.figure import Figure

    from maestro_lab.training.embed import Embeddings

__all__ = ["SimilarityExplorer"]


class SimilarityExplorer(Explorer):
    """Similarity of all patches to one, and the most alike elsewhere, for a patch one points at.

    In JupyterLab a click on the small picture chooses a patch, of the sample or of one beside it;
    sliders do the same, and so does :meth:`at` from code.

    Parameters
    ----------
    cube
        The cube.
    embeddings
        Of samples of the cube, as :func:`maestro_lab.embed` returns them.
    sample, row, column
        The first patch: number or name of the sample in the cube (default the first that is
        embedded), and where in its window, row 0 on top.
    modality
        To show; default the first one with three bands.
    best
        Patches of other places to show.

    Raises
    ------
    ParameterError
        If the embeddings are not of this cube, or there is no such sample, patch or modality.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> from maestro_lab.training.embed import Embeddings
    >>> cube = ml.open_cube("landscape", samples=4, modalities=["s2"])
    >>> table = np.random.default_rng(0).normal(size=(4, 9, 8))
    >>> explorer = SimilarityExplorer(cube, Embeddings(table, np.arange(4), 3))
    >>> explorer.at(1, 2, sample=3).state
    {'sample': 3, 'row': 1, 'column': 2}
    """

    def __init__(
        self,
        cube: xr.DataTree,
        embeddings: Embeddings,
        *,
        sample: int | str | None = None,
        row: int = 0,
        column: int = 0,
        modality: str = "",
        best: int = 6,
    ) -> None:
        from ipywidgets import BoundedIntText, IntSlider, IntText

        from maestro_lab.figures.alike import Alike

        self.alike, self.best = Alike(cube, embeddings, modality), best
        numbers, last = self.alike.sample, self.alike.grid - 1
        least, most = int(numbers.min()), int(numbers.max())

        def place(name: str) -> IntSlider:
            return IntSlider(0, 0, last, description=name, continuous_update=False)

        super().__init__(
            {
                "sample": BoundedIntText(int(numbers[0]), least, most, description="sample"),
                "row": place("row"),
                "column": place("column"),
            }
        )
        self._moves, self._moving, self._clicked = IntText(0), False, False
        self.set(sample=int(numbers[0]) if sample is None else sample, row=row, column=column)

    def set(self, **state: Any) -> SimilarityExplorer:
        """Move controls from code; the picture follows once all have moved."""
        if "sample" in state:
            known = self.alike.sample[self.alike.line(state["sample"])]
            state["sample"] = int(known)
        self._moving = True
        try:
            super().set(**state)
        finally:
            self._moving = False
        self._moves.value += 1
        return self

    def at(self, row: int, column: int, sample: int | str | None = None) -> SimilarityExplorer:
        """Choose a patch as a click does."""
        return self.set(row=row, column=column, **({} if sample is None else {"sample": sample}))

    def draw(self, sample: int, row: int, column: int) -> Figure:
        """Draw the picture, the similarity to one patch, and the most alike patches elsewhere."""
        from maestro_lab.figures import similarity_map

        return similarity_map(self.alike, sample=sample, row=row, column=column, best=self.best)

    def view(self) -> Widget:
        """Return controls, the picture to click on, and the figure as one widget.

        The figure is an image widget: what a click makes cannot be caught by an output widget.
        """
        from IPython.display import display
        from ipywidgets import HTML, HBox, Image, Layout, VBox, interactive_output

        wrapped = Layout(flex_flow="row wrap")
        image, words = Image(format="png"), HTML()

        def show(_: object = None) -> None:
            if not self._moving:
                image.value, words.value = self._rendered()
                image.layout.display = "none" if words.value else "block"

        def offer(sample: int) -> None:
            if sample in self.alike.sample and not self._clicked:
                display(_pane(self.picture(sample)))

        for control in (*self.controls.values(), self._moves):
            control.observe(show, "value")
        show()
        controls = HBox(list(self.controls.values()), layout=wrapped)
        picker = interactive_output(offer, {"sample": self.controls["sample"]})
        return VBox([controls, HBox([picker, VBox([words, image])], layout=wrapped)])

    def _rendered(self) -> tuple[bytes, str]:
        """Return the figure as png, or no figure and the error in words."""
        page = BytesIO()
        try:
            self.static().savefig(page, format="png", dpi=100)
        except LabError as error:  # a number between those of samples that are embedded
            return b"", f"<pre>{escape(str(error))}</pre>"
        return page.getvalue(), ""

    def picture(self, sample: int) -> hv.RGB:
        """Return a sample and those beside it, one unit a patch, that follows clicks."""
        import holoviews as hv
        import holoviews.plotting.bokeh

        frame = self.alike.frame(sample)
        rows, columns = self.alike.grid * np.array(frame.shape)
        picture = hv.RGB(self.alike.mosaic(frame), ["column", "row"], bounds=(0, 0, columns, rows))

        def tapped(x: float | None, y: float | None) -> None:
            if x is not None and y is not None and 0 <= x < columns and 0 < y <= rows:
                (above, row), (left, column) = (
                    divmod(int(place), self.alike.grid) for place in (rows - y, x)
                )
                line = frame[above, left]
                if line >= 0:
                    self._click(row, column, int(self.alike.sample[line]))

        hv.streams.Tap(source=picture).add_subscriber(tapped)
        long = max(rows, columns)
        return picture.opts(
            width=round(280 * columns / long) + 20, height=round(280 * rows / long) + 40,
            xaxis=None, yaxis=None, toolbar=None, title="click on a patch",
        )  # fmt: skip

    def _click(self, row: int, column: int, sample: int) -> None:
        """Choose a patch; the picture stays where it is under the pointer."""
        self._clicked = True
        try:
            self.at(row, column, sample)
        finally:
            self._clicked = False

    def _ipython_display_(self) -> None:
        from maestro_lab.explore.bands import load_holoviews

        if interactive():
            load_holoviews()
        super()._ipython_display_()


def _pane(picture: hv.RGB) -> Any:
    """Return a picture that brings its style sheets along; holoviews alone would ask a host."""
    import panel as pn

    return pn.pane.HoloViews(picture)
