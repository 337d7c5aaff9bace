"""An executed notebook as HTML that needs no network: nothing is loaded, all is in the file."""

from __future__ import annotations

import base64
import logging
import re
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag
    from nbconvert.exporters.html import HTMLExporter
    from nbformat import NotebookNode

__all__ = ["document", "embed", "notebook_html", "read_notebook"]

_HERE = Path(__file__).parent
_NOTEBOOK = re.compile(r"^(?!(?:https?:)?//).*\.ipynb(?:#.*)?$")
_REMOTE = re.compile(r"\s*(?:https?:)?//", re.IGNORECASE)
_REMOTE_CSS = re.compile(r"@import[^;]*//[^;]*;|url\(\s*['\"]?(?:https?:)?//[^)]*\)", re.IGNORECASE)
_LOADING = ("src", "srcset", "href", "xlink:href", "data", "poster")
_PARAMETERS = {"parameters", "injected-parameters"}
_WIDGET = "application/vnd.jupyter.widget-view+json"
_PRIORITY = [
    "application/javascript",
    "text/html",
    "text/markdown",
    "image/svg+xml",
    "text/latex",
    "image/png",
    "image/jpeg",
    "text/plain",
]


def read_notebook(path: Path) -> NotebookNode | None:
    """Read an executed notebook; None if there is none or a crash left half of it."""
    import nbformat
    from nbformat.reader import NotJSONError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return nbformat.read(path, as_version=4)
    except (OSError, NotJSONError, nbformat.ValidationError, UnicodeDecodeError):
        return None


def notebook_html(
    nb: NotebookNode, source: Path, *, folded: bool, prefix: str = ""
) -> tuple[str, str, list[tuple[str, str]]]:
    """Render the cells of a notebook.

    Parameters
    ----------
    nb
        The notebook; it is not changed.
    source
        Folder that relative image paths in its text refer to.
    folded
        Hide the code of each cell until it is asked for, leave out the cells of the parameters,
        and move headings one level down.
    prefix
        Put before anchors, so that several notebooks fit on one page.

    Returns
    -------
    title, html, headings
        The first heading of level one, taken out of the HTML; the HTML; anchor and text of the
        headings of level two.
    """
    import copy

    from bs4 import BeautifulSoup

    nb = copy.deepcopy(nb)
    _still(nb)
    if folded:
        nb.cells = [c for c in nb.cells if not _PARAMETERS & set(c.metadata.get("tags", []))]
    with warnings.catch_warnings():
        # Outputs that only JupyterLab understands are left out, which is no news here.
        warnings.simplefilter("ignore")
        html, _ = _exporter(folded).from_notebook_node(nb, {"metadata": {"path": str(source)}})
    soup = BeautifulSoup(html, "html.parser")
    _go_offline(soup)
    for cell in soup.select("div.jp-Cell"):
        del cell["id"]
    title = soup.h1.extract().get_text(strip=True) if soup.h1 else ""
    headings = _tidy_headings(soup, prefix, down=folded)
    for table in soup.find_all("table"):
        if not table.find_parent("table"):
            table.wrap(soup.new_tag("div", attrs={"class": "scroll"}))
    for image in soup.find_all("img", alt=re.compile("^No description has been provided")):
        image["alt"] = "figure"
    if folded:
        _fold(soup)
    return title, str(soup), headings


def _exporter(folded: bool) -> HTMLExporter:
    from nbconvert.exporters.html import HTMLExporter
    from traitlets.config import Config

    log = logging.getLogger("maestro_lab.page")
    log.setLevel(logging.ERROR)
    return HTMLExporter(
        config=Config({"NbConvertBase": {"display_data_priority": _PRIORITY}}),
        # The template without its frame, which brings 300 kB of styles of JupyterLab.
        template_name="lab",
        template_file="base.html.j2",
        embed_images=True,
        exclude_anchor_links=True,
        exclude_input_prompt=folded,
        exclude_output_prompt=True,
        mathjax_url="",
        require_js_url="",
        mermaid_js_url="",
        log=log,
    )


def _still(nb: NotebookNode) -> None:
    """Say where an interactive control was: it needs a kernel, or scripts from the network."""
    nb.metadata.pop("widgets", None)
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if data.pop(_WIDGET, None) is not None and set(data) <= {"text/plain"}:
                data["text/html"] = "<p class='still'>Interactive: open the notebook to use it.</p>"


def _go_offline(soup: BeautifulSoup) -> None:
    for tag in soup.find_all(True):
        if tag.name != "a" and any(_REMOTE.match(str(tag.get(name, ""))) for name in _LOADING):
            _unload(soup, tag)
    for link in soup.find_all("a", href=_NOTEBOOK):
        link.name = "span"  # notebooks do not lie beside the page
        del link["href"]
    for style in soup.find_all("style"):
        style.string = _REMOTE_CSS.sub("", style.get_text())
    for tag in soup.find_all(style=True):
        tag["style"] = _REMOTE_CSS.sub("", str(tag["style"]))


def _unload(soup: BeautifulSoup, tag: Tag) -> None:
    """Put a link in place of a remote image; drop remote scripts, styles and frames."""
    if tag.name == "img" and tag.get("src"):
        link = soup.new_tag("a", href=tag["src"])
        link.string = f"image: {tag.get('alt') or tag['src']}"
        tag.replace_with(link)
    else:
        tag.decompose()


def _tidy_headings(soup: BeautifulSoup, prefix: str, *, down: bool) -> list[tuple[str, str]]:
    """Give headings anchors as Jupyter does, and return those of level two."""
    sections = []
    taken: set[str] = set()
    for heading in soup.find_all(re.compile("^h[1-6]$")):
        level, text = int(heading.name[1]), heading.get_text(" ", strip=True)
        anchor = prefix + re.sub(r"\s+", "-", text)
        if anchor not in taken:
            heading["id"] = anchor
            taken.add(anchor)
            if level == 2:
                sections.append((anchor, text))
        if down:
            heading.name = f"h{min(max(level + 1, 3), 6)}"
    for link in soup.find_all("a", href=re.compile("^#")):
        link["href"] = f"#{prefix}{link['href'][1:]}"
    return sections


def _fold(soup: BeautifulSoup) -> None:
    for code in soup.select("div.jp-CodeCell > div.jp-Cell-inputWrapper"):
        if not code.get_text(strip=True):
            code.decompose()
            continue
        lines = code.get_text().strip().count("\n") + 1
        details = code.wrap(soup.new_tag("details", attrs={"class": "code"}))
        summary = soup.new_tag("summary")
        summary.string = f"code, {lines} line{'s' if lines > 1 else ''}"
        details.insert(0, summary)


def embed(picture: Path) -> str:
    """Return a PNG file as an address that holds its bytes."""
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode("ascii")


def document(**content: Any) -> str:
    """Fill the page ``report.html.j2``."""
    return _template().render(css=_styles(), **content)


@cache
def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string((_HERE / "report.html.j2").read_text(encoding="utf-8"))


@cache
def _styles() -> str:
    from pygments.formatters.html import HtmlFormatter

    colours = HtmlFormatter(style="friendly", nobackground=True).get_style_defs(".highlight")
    return (_HERE / "report.css").read_text(encoding="utf-8") + colours
