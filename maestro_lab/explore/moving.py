"""Redraw of a figure only what moves with the date: fast enough to follow a slider."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from maestro_lab.explore.picture import DPI, Picture
from maestro_lab.figures.cube_panels import move_cube, moving_parts
from maestro_lab.figures.style import styled

__all__ = ["MovingPicture"]


class MovingPicture:
    """A figure of a cube whose images and date lines are drawn anew on a background that stays.

    Parameters
    ----------
    figure
        From :func:`~maestro_lab.figures.cube_view`.
    """

    def __init__(self, figure: Figure) -> None:
        self.figure = figure
        self.canvas = FigureCanvasAgg(figure)
        self.moving = [artist for several in moving_parts(figure) for artist in several]
        self.background = None

    def _shown(self, visible: bool) -> None:
        for artist in self.moving:
            artist.set_visible(visible)

    def _pixels(self) -> np.ndarray:
        """Draw; only the first time everything."""
        if self.background is None:
            self._shown(False)
            self.canvas.draw()
            self.background = self.canvas.copy_from_bbox(self.figure.bbox)
            self._shown(True)
        self.canvas.restore_region(self.background)
        renderer = self.canvas.get_renderer()
        for artist in self.moving:
            artist.draw(renderer)
        return np.asarray(self.canvas.buffer_rgba())

    def at(self, data: xr.Dataset, words: str) -> Picture:
        """Return the picture of what was prepared for another date."""
        before = self.figure.dpi
        with styled():
            self.figure.set_dpi(DPI)
            try:
                move_cube(self.figure, data)
                pixels = self._pixels()
            finally:
                self.figure.set_dpi(before)
        page = BytesIO()
        Image.fromarray(pixels).convert("RGB").save(page, format="png", compress_level=1)
        return Picture(page.getvalue(), words, self.figure.get_suptitle(), self.figure)
