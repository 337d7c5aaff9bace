from pathlib import Path

import pytest

PARAMETERS = (
    'run_folder: str = ""  # where the run goes\nepochs: int = 2  # passes\nlr: float = 0.1'
)
START = 'from maestro_lab.runs import start_run\nrun = start_run("tiny", globals())'


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MAESTRO_LAB_RUN", raising=False)
    return tmp_path


@pytest.fixture
def notebook(here):
    """Make a notebook of a parameters cell, the start of the run, and the given cells."""

    def make(*cells, name="tiny", parameters=PARAMETERS, tags=("parameters",), start=START) -> Path:
        import nbformat.v4 as v4

        made = v4.new_notebook()
        made.cells.append(v4.new_markdown_cell("# A tiny notebook\n\nIt does *little*."))
        made.cells.append(v4.new_code_cell(parameters, metadata={"tags": list(tags)}))
        for source in [start, *cells]:
            new = v4.new_markdown_cell if source.startswith("#") else v4.new_code_cell
            made.cells.append(new(source))
        path = Path(f"{name}.ipynb")
        path.write_text(v4.writes(made))
        return path

    return make
