"""The training cockpit in JupyterLab: a line of words and a Stop button above the picture."""

from __future__ import annotations

import asyncio
import re
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import anywidget
import ipywidgets as widgets
import traitlets

from maestro_lab.explore.lab import lab_view

if TYPE_CHECKING:
    from maestro_lab.explore.cockpit import TrainingCockpit

__all__ = ["CockpitView", "StopButton"]

_ESM = """
function render({ model, el }) {
  const button = document.createElement("button");
  button.className = "jupyter-button mod-danger maestro-stop";
  button.style.marginLeft = "1em";
  const words = document.createElement("span");
  const page = document.getElementById("jupyter-config-data");
  let pressed = false;
  const show = () => {
    button.textContent = pressed ? "Stopping" : "Stop";
    button.disabled = pressed;
    button.style.display = model.get("running") && page && model.get("kernel") ? "" : "none";
    const square = model.get("running") && button.style.display === "none";
    words.textContent = square ? "To stop, interrupt the kernel (the square in the toolbar)." : "";
  };
  button.addEventListener("click", async () => {
    pressed = true;
    show();
    const config = JSON.parse(page.textContent);
    const cookie = document.cookie.match("\\\\b_xsrf=([^;]*)");
    const headers = {};
    if (cookie) headers["X-XSRFToken"] = cookie[1];
    if (config.token) headers["Authorization"] = `token ${config.token}`;
    const address = `${config.baseUrl}api/kernels/${model.get("kernel")}/interrupt`;
    const answer = await fetch(address, { method: "POST", headers }).catch(() => null);
    if (!answer || !answer.ok) {
      button.style.display = "none";
      words.textContent = "This button does not reach the kernel: use the square in the toolbar.";
    }
  });
  model.on("change:running", show);
  el.append(button, words);
  show();
}
export default { render };
"""


class StopButton(anywidget.AnyWidget):
    """A button that does what the square in the toolbar does: it asks the server to interrupt.

    Messages of widgets wait until a busy kernel has time for them, also with subshells: ipykernel
    hands them to the thread that uses the widget. An interrupt is heard at once.
    """

    _esm = _ESM
    kernel = traitlets.Unicode().tag(sync=True)
    running = traitlets.Bool(False).tag(sync=True)


def kernel_name() -> str:
    """Return the name by which the Jupyter server knows this kernel; empty outside of one."""
    from ipykernel.connect import get_connection_file

    try:
        file = Path(get_connection_file())
    except RuntimeError:
        return ""
    found = re.fullmatch(r"kernel-(.+)\.json", file.name)
    return found[1] if found else ""


class CockpitView:
    """Widgets that follow a cockpit.

    Parameters
    ----------
    cockpit
        What is shown.
    """

    def __init__(self, cockpit: TrainingCockpit) -> None:
        self.cockpit, self.closed = cockpit, False
        self.stop, self.line = StopButton(kernel=kernel_name()), widgets.HTML()
        before = list(cockpit._followers)
        below = lab_view(cockpit)
        self._own = [follow for follow in cockpit._followers if follow not in before]
        self.controls = below.children[0]
        self.tell()
        self.box = widgets.VBox([widgets.HBox([self.line, self.stop]), below])
        self.box.add_class("maestro-cockpit")

    def tell(self) -> None:
        """Bring words and button up to date; controls are there once somebody listens to them."""
        self.line.value = f"<span class='maestro-line'>{escape(self.cockpit.line)}</span>"
        self.stop.running = self.cockpit.running
        self.controls.layout.display = "none" if self.cockpit.running else "flex"

    def follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look again now and then, as long as another process trains."""
        self._task = loop.create_task(self._follow())

    async def _follow(self) -> None:
        cockpit = self.cockpit
        while not self.closed and not cockpit.running and cockpit.status == "running":
            await asyncio.sleep(cockpit.every)
            rows = len(cockpit.rows)
            cockpit.refresh()
            if len(cockpit.rows) != rows or cockpit.status != "running":
                cockpit.set()
                self.tell()

    def close(self) -> None:
        """Follow no more."""
        self.closed = True
        for follow in self._own:
            self.cockpit.unfollow(follow)
