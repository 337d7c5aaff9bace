"""The command line ``maestro-lab``: thin, every verb is one call into the package."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from maestro_lab.errors import LabError, RunError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["main"]

INTERRUPTED = 130


class _Cli(click.Group):
    """Turns errors made for people into one screen and an exit status; the others are bugs."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LabError as error:
            from maestro_lab.runs.outcome import one_screen

            click.echo(one_screen(str(error).splitlines()), err=True)
            ctx.exit(getattr(error, "exit_status", 2))
        except (KeyboardInterrupt, click.Abort):
            click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)


@click.group(cls=_Cli, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="maestro-lab", message="maestro-lab %(version)s")
def main() -> None:
    """Masked pretraining on Earth-observation data, from notebooks to a report."""


@main.command()
@click.argument("notebook", type=click.Path(path_type=Path))
@click.option(
    "-p",
    "--parameter",
    "given",
    nargs=2,
    multiple=True,
    metavar="NAME VALUE",
    help="Set a parameter; lists and dicts as YAML. May be repeated.",
)
@click.option("--run", "folder", type=click.Path(path_type=Path), help="Folder of the run.")
@click.option("--resume", type=click.Path(path_type=Path), help="Go on with a run that stopped.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), help="Seconds a cell may take.")
@click.option("--help-parameters", is_flag=True, help="List the parameters and exit.")
def run(
    notebook: Path,
    given: tuple[tuple[str, str], ...],
    folder: Path | None,
    resume: Path | None,
    timeout: float | None,
    help_parameters: bool,
) -> None:
    """Execute NOTEBOOK in a run folder of its own.

    Exit status: 0 completed, 2 wrong usage, 3 a cell failed, 4 the kernel died, 5 a cell took too
    long, 6 the notebook stopped early, 130 interrupted.
    """
    from maestro_lab.runs.execute import execute
    from maestro_lab.runs.parameters import parse_given, read_parameters

    if folder and resume:
        raise click.UsageError("--run names a new folder, --resume an old one: give one of them")
    declared = read_parameters(notebook)
    if help_parameters:
        rows = [(p.name, p.type, repr(p.default), p.help) for p in declared]
        click.echo(_table(("name", "type", "default", "help"), rows))
        return
    # A job scheduler says with this signal that time is up: the card should tell so.
    signal.signal(signal.SIGTERM, _interrupt)
    done = execute(
        notebook,
        parse_given(declared, given),
        folder=resume or folder,
        timeout=timeout,
        resume=resume is not None,
    )
    click.echo(f"completed in {done.card['seconds']:.1f} s: {done.shown / 'notebook.html'}")


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


@main.command()
@click.option("--catalog", "path", type=click.Path(path_type=Path), help="Catalogue file.")
def cubes(path: Path | None) -> None:
    """List the cubes of the catalogue."""
    from maestro_lab.catalogue import catalog

    click.echo(repr(catalog(path)))


_reader_options = click.option(
    "-o",
    "--option",
    "options",
    nargs=2,
    multiple=True,
    metavar="OPTION VALUE",
    help="Option of the reader, as YAML. May be repeated.",
)


@main.command()
@click.argument("cube")
@_reader_options
def describe(cube: str, options: tuple[tuple[str, str], ...]) -> None:
    """Say what is in CUBE: a name of the catalogue, or the path of a cube (zarr or netCDF)."""
    from maestro_lab.cubes.describe import describe as describe_cube

    click.echo(describe_cube(_open(cube, options)))


@main.command()
@click.argument("cube")
@click.argument("path", type=click.Path(path_type=Path))
@_reader_options
def save(cube: str, path: Path, options: tuple[tuple[str, str], ...]) -> None:
    """Save CUBE at PATH (.zarr or .nc), which any notebook then takes as its cube."""
    from maestro_lab.cubes.store import save_cube

    click.echo(save_cube(_open(cube, options), path))


@main.command()
@click.argument("cube")
@click.argument("path", type=click.Path(path_type=Path))
@_reader_options
@click.option("--samples", default=256, help="Samples in a file; fewer where files grow large.")
@click.option("--workers", default=0, help="Processes that read and write; 0: threads of this one.")
@click.option("--cluster", default="", help="Address of a dask scheduler to work on instead.")
def pack(
    cube: str,
    path: Path,
    options: tuple[tuple[str, str], ...],
    samples: int,
    workers: int,
    cluster: str,
) -> None:
    """Pack CUBE into PATH (.zarr), a store that training reads fastest.

    Any notebook takes PATH as its cube, and xarray opens it. Killed half-way, the same call goes
    on where it stopped.
    """
    from maestro_lab.cubes.packed.writing import pack_cube

    with _cluster(cluster):
        data = _open(cube, options)
        done = pack_cube(data, path, samples=samples, workers=workers, progress=_files_done())
    click.echo(done)


@contextmanager
def _cluster(address: str) -> Iterator[None]:
    """Work on a dask cluster for a while; an empty address names none."""
    if not address:
        yield
        return
    try:
        from distributed import Client

        client = Client(address, timeout=10)
    except (ImportError, OSError, ValueError) as error:
        raise RunError(
            f"no dask cluster at {address}",
            expected="the address of a dask scheduler, and the package distributed",
            found=str(error).splitlines()[0],
        ) from error
    with client:
        yield


def _files_done() -> Callable[[int, int], None]:
    from maestro_lab.training.progress import Progress

    shown: list[Progress] = []

    def show(done: int, total: int) -> None:
        if not shown:
            shown.append(Progress(total, samples=0))
        shown[0].update(done, f"{done} of {total} files")
        if done == total:
            shown[0].close()

    return show


@main.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.pass_context
def check(ctx: click.Context, path: Path) -> None:
    """Compare a packed store, byte by byte, with what was written; exit status 1 if it differs."""
    from maestro_lab.cubes.packed.manifest import check_packed

    problems = check_packed(path)
    for problem in problems:
        click.echo(problem)
    click.echo(f"{path}: " + (f"{len(problems)} problems" if problems else "complete, undamaged"))
    ctx.exit(1 if problems else 0)


def _open(cube: str, options: tuple[tuple[str, str], ...]) -> xr.DataTree:
    from maestro_lab.catalogue import open_cube

    return open_cube(cube, **_values(options))


def _values(options: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    from maestro_lab.runs.yaml12 import yaml_value

    try:
        values = {name: yaml_value(text) for name, text in options}
    except ValueError as error:
        raise click.UsageError(f"an option has no YAML value: {options}") from error
    if "name" in values:
        raise click.UsageError("name is no option: the cube is named by CUBE")
    return values


@main.command()
@click.argument("cube")
@_reader_options
@click.option("-m", "--modality", "modalities", multiple=True, help="Default: all. Repeatable.")
@click.option("-s", "--statistic", default="correlation", help="correlation, overlap, ...")
@click.option("--clouds", default="out", help="out: clear pixels only; in: clouds and all.")
@click.option("--season", default="", help="DJF, MAM, JJA or SON; default the whole year.")
@click.option("--region", default="", help="A quarter or block; default everywhere.")
@click.option("-l", "--linkage", default="average", help="average, complete or single.")
@click.option("-k", "--k", "groups", type=click.IntRange(0), default=0, help="0: by silhouette.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--save", "path", type=click.Path(path_type=Path), help="Write a groups file.")
def groups(
    cube: str,
    options: tuple[tuple[str, str], ...],
    modalities: tuple[str, ...],
    path: Path | None,
    as_json: bool,
    **how: Any,
) -> None:
    """Say which bands of CUBE belong together, and how sure that is.

    CUBE is a name of the catalogue, NAME:FOLDER for a data set in its native folder, or the path
    of a cube saved as zarr or netCDF. Measured on training samples where there are some.
    """
    import json

    from maestro_lab.bands import group_bands, save_groups
    from maestro_lab.bands.account import account, in_words

    found = group_bands(_open(cube, options), modalities=modalities or None, **how)
    accounts = {name: account(grouping) for name, grouping in found.items()}
    if as_json:
        click.echo(json.dumps(accounts, indent=1))
    else:
        click.echo("\n\n".join(in_words(a) for a in accounts.values()))
    if path is not None:
        click.echo(f"groups: {save_groups(found, path)}", err=True)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--csv", type=click.Path(path_type=Path), help="Write the table to this file.")
def collect(folder: Path, csv: Path | None) -> None:
    """Show the runs below FOLDER as one table.

    The terminal shows what was found, and the parameters in which runs of one notebook differ; the
    file that --csv names holds every parameter and result, one row a run.
    """
    from maestro_lab.runs.collect import collect as collect_runs
    from maestro_lab.runs.collect import records
    from maestro_lab.runs.table import readable

    if csv is None:
        click.echo(readable(records(folder)))
        return
    table = collect_runs(folder)
    try:
        table.to_csv(csv, index=False)
    except OSError as error:
        raise RunError(f"{csv} cannot be written", found=error.strerror or error) from error
    click.echo(f"{len(table)} runs: {csv}")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Default: report.html in FOLDER.")
@click.option("--title", default="Runs of maestro_lab", help="Heading of the page.")
def report(folder: Path, out: Path | None, title: str) -> None:
    """Write one page of all runs below FOLDER that opens without a network."""
    from maestro_lab.runs.report import report as write_report

    click.echo(write_report(folder, out, title))


@main.command()
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder for them. Default: in place.")
@click.option("--venue", default="", help="Width of a venue, e.g. ieee-column. Default: as drawn.")
@click.option("--name", "names", multiple=True, help="Which figure. Default: all. Repeatable.")
@click.pass_context
def figures(
    ctx: click.Context, folder: Path, out: Path | None, venue: str, names: tuple[str, ...]
) -> None:
    """Paint the figures of RUN, or of all runs below a folder, anew from their saved data.

    Those of a venue go to figures/VENUE of the run, unless --out says where. Exit status 1 if one
    could not be painted.
    """
    from maestro_lab.repaint import repaint

    failed = 0
    for words, done in repaint(folder, out, venue=venue, names=names):
        click.echo(words, err=not done)
        failed += not done
    ctx.exit(1 if failed else 0)


@main.command()
@click.argument("source", metavar="CUBE|RUN")
@_reader_options
@click.option("--address", default="127.0.0.1", help="To listen on. Default: this machine alone.")
@click.option("--port", default=0, help="Default: one that is free.")
@click.option("--browser/--no-browser", default=True, help="Whether to open a browser.")
def explore(
    source: str, options: tuple[tuple[str, str], ...], address: str, port: int, browser: bool
) -> None:
    """Serve the explorers of CUBE, of a run, or of a folder of runs, until interrupted."""
    from maestro_lab.explore.served import serve
    from maestro_lab.exploring import explorers_for

    values = _values(options)
    found = explorers_for(source, root=values.pop("root", ""), options=values)
    serve(found, title=f"maestro_lab: {source}", address=address, port=port, show=browser)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--tolerance",
    default=1e-5,
    help="Of tensors and losses; a hundred times as much for gradients.",
)
@click.pass_context
def parity(ctx: click.Context, folder: Path, tolerance: float) -> None:
    """Hold our models against recorded outputs of the published code in FOLDER.

    Prints the worst difference of each quantity, a line a case, and last one line of JSON. Exit
    status 1 if anything is beyond tolerance.
    """
    import json

    from maestro_lab.parity import check_folder

    worst: dict[str, float] = {}
    failed, cases = [], 0
    for report in check_folder(folder):
        wrong = report.failed(tolerance)
        cases, failed = cases + 1, failed + [report.name] * bool(wrong)
        click.echo(f"{report}" + (f"   beyond tolerance: {', '.join(wrong)}" if wrong else ""))
        for quantity, value in report.worst.items():
            worst[quantity] = max(value, worst.get(quantity, 0.0))
    click.echo(json.dumps({"cases": cases, "worst": worst, "failed": failed}))
    ctx.exit(1 if failed or not cases else 0)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = (
        "  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)) for row in [head, *rows]
    )
    return "\n".join(line.rstrip() for line in lines)
