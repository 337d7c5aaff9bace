"""A figure as pixels that know which axes they lie in, for pointing at."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any

from maestro_lab.errors import LabError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from maestro_lab.explore.base import Explorer

__all__ = ["CSS", "ESM", "Picture", "as_it_stands", "picture_of", "point"]

DPI = 130

ESM = """
function render({ model, el }) {
  const frame = document.createElement("div");
  frame.className = "maestro-picture";
  const image = document.createElement("img");
  image.draggable = false;
  const band = document.createElement("div");
  band.className = "maestro-band";
  frame.append(image, band);
  el.append(frame);
  const show = () => {
    image.src = model.get("source");
    image.alt = model.get("alt");
    frame.style.display = model.get("source") ? "inline-block" : "none";
  };
  const wait = () => frame.classList.toggle("maestro-busy", model.get("busy"));
  model.on("change:busy", wait);
  let start = null;
  const place = (event) => {
    const box = image.getBoundingClientRect();
    const share = (value, low, length) => Math.min(1, Math.max(0, (value - low) / length));
    return [share(event.clientX, box.left, box.width), share(event.clientY, box.top, box.height)];
  };
  const draw = (now) => {
    const box = image.getBoundingClientRect();
    band.style.display = "block";
    band.style.left = Math.min(start[0], now[0]) * box.width + "px";
    band.style.top = Math.min(start[1], now[1]) * box.height + "px";
    band.style.width = Math.abs(now[0] - start[0]) * box.width + "px";
    band.style.height = Math.abs(now[1] - start[1]) * box.height + "px";
  };
  frame.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    start = place(event);
    frame.setPointerCapture(event.pointerId);
  });
  frame.addEventListener("pointermove", (event) => { if (start) draw(place(event)); });
  frame.addEventListener("pointercancel", () => { start = null; band.style.display = "none"; });
  frame.addEventListener("pointerup", (event) => {
    if (!start) return;
    const end = place(event);
    band.style.display = "none";
    const before = model.get("event") || {};
    model.set("event", { number: (before.number || 0) + 1, start: start, end: end });
    model.save_changes();
    start = null;
  });
  model.on("change:source", show);
  show();
}
export default { render };
"""

CSS = """
.maestro-picture { position: relative; line-height: 0; touch-action: none; cursor: crosshair; }
.maestro-picture img { max-width: 100%; user-select: none; }
.maestro-picture.maestro-busy img { opacity: 0.3; transition: opacity 0.2s 0.4s; }
.maestro-band { position: absolute; display: none; pointer-events: none;
  border: 1px solid #0072B2; background: rgba(0, 114, 178, 0.15); }
"""

_CLICK = 0.006  # shares of the picture; a pointer that moved less was not meant to draw a box


@dataclass(frozen=True)
class Picture:
    """A figure as pixels.

    Parameters
    ----------
    png
        The pixels; empty if the figure could not be drawn.
    words
        HTML to stand below it, or the error.
    alt
        The figure in one line, for those who cannot see it.
    figure
        The figure.
    """

    png: bytes
    words: str
    alt: str = ""
    figure: Figure | None = None

    @property
    def source(self) -> str:
        """The pixels as an address that a page can show."""
        if not self.png:
            return ""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()

    def axes_at(self, x: float, y: float) -> tuple[str, float, float] | None:
        """Return label and data coordinates of the axes at a place, None beside all of them.

        Parameters
        ----------
        x, y
            Shares of the picture's width and height, counted from its upper left corner.
        """
        if self.figure is None:
            return None
        pixel = self.figure.transFigure.transform((x, 1 - y))
        for axes in self.figure.axes:
            name = axes.get_label()
            if name and not name.startswith("<") and axes.bbox.contains(*pixel):
                return (name, *map(float, axes.transData.inverted().transform(pixel)))
        return None


def as_it_stands(text: object) -> str:
    """Return HTML that shows some text, an error for example, line by line."""
    return f"<pre>{escape(str(text))}</pre>"


def picture_of(explorer: Explorer) -> Picture:
    """Draw an explorer as it stands."""
    state = explorer.state
    try:
        figure, words = explorer.draw(**state), explorer.words(**state)
    except LabError as error:
        return Picture(b"", as_it_stands(error))
    page = BytesIO()
    figure.savefig(page, format="png", dpi=DPI, pil_kwargs={"compress_level": 1})
    head = figure.get_suptitle()
    return Picture(page.getvalue(), words, f"{explorer.title}: {head}".strip(": "), figure)


def point(explorer: Explorer, picture: Picture, event: dict[str, Any]) -> None:
    """Do what a click or a box, told by the browser, asks for."""
    (x0, y0), (x1, y1) = event["start"], event["end"]
    first = picture.axes_at(x0, y0)
    if first is None:
        return
    if max(abs(x1 - x0), abs(y1 - y0)) < _CLICK:
        state = explorer.pointed(*first)
    else:
        last = picture.axes_at(x1, y1)
        if last is None or last[0] != first[0]:
            return
        ranges = (tuple(sorted(pair)) for pair in zip(first[1:], last[1:], strict=True))
        state = explorer.boxed(first[0], *ranges)
    if state:
        explorer.set(**state)
