"""``mlflow-dlviz`` on the command line: decorators over one library call each."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from mlflow_dlviz import __version__

_EXITS = """
\b
Exit status: 0 ok, 2 bad usage or filter, 3 nothing matched, 4 written but
partial, 6 the tracking server can't be reached.
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mlflow-dlviz")
def main() -> None:
    """Deep-learning visualisation inside MLflow.

    In a training script, mlflow_dlviz.autolog() is all there is to call. The commands here work on what
    it logged.
    """


@main.command(epilog=_EXITS)
@click.argument("experiments", nargs=-1, metavar="[EXPERIMENT]...")
@click.option(
    "-o", "--output", default="report.html", show_default=True, type=click.Path(dir_okay=False), help="The file."
)
@click.option("--run-id", "run_ids", multiple=True, metavar="ID", help="Also this run. Repeatable.")
@click.option("--filter", "filter_", default="", metavar="TEXT", help='MLflow\'s: "metrics.val_loss < 0.3".')
@click.option("--limit", default=1000, show_default=True, type=click.IntRange(1), help="Runs, newest first.")
@click.option("--goal", metavar="METRIC", help="Rank runs by this metric.")
@click.option("--tracking-uri", metavar="URI", help="Default: MLflow's own setting.")
@click.option("--open", "open_", is_flag=True, help="Show the report in a browser.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar, no closing line.")
def report(
    experiments: tuple[str, ...],
    output: str,
    run_ids: tuple[str, ...],
    filter_: str,
    limit: int,
    goal: str | None,
    tracking_uri: str | None,
    open_: bool,
    quiet: bool,
) -> None:
    """Compare the runs of one or more EXPERIMENTs (names or ids; all, if none is given) in one HTML file.

    \b
    mlflow-dlviz report digits moons -o report.html
    mlflow-dlviz report digits --filter "params.optimizer_name = 'adam'" --open

    The file needs no server and no network: mail it, or log it as an artifact and read it in the MLflow UI.
    """  # noqa: D301
    from mlflow_dlviz import reporting

    with _exit_codes():
        made = reporting.report(
            experiments,
            run_ids=run_ids,
            filter=filter_,
            limit=limit,
            output=output,
            tracking_uri=tracking_uri,
            progress=not quiet,
            goal=goal,
        )
    if not quiet:
        runs = len(made.bundle.runs)
        click.echo(f"{output}: {runs} run{'s' * (runs != 1)}, {Path(output).stat().st_size / 1e6:.1f} MB")
    if open_:
        click.launch(Path(output).resolve().as_uri())
    if made.problems:
        click.echo(f"partial: {'; '.join(made.problems[:5])}", err=True)
        sys.exit(4)


@main.command()
def visuals() -> None:
    """List the visuals, one line each, and their options.

    \b
    Choose them in a script, by name or with options:
      autolog(visuals=["probabilities", catalogue.boundary(grid=96)])
    """  # noqa: D301
    from mlflow_dlviz import catalogue

    for name, factory in catalogue.known().items():
        click.echo(f"{click.style(name, bold=True)}  {catalogue.describe(factory)}")
        for option, default in catalogue.options(factory).items():
            click.echo(f"    {option}={default!r}")


@contextmanager
def _exit_codes() -> Iterator[None]:
    """The library's errors as one line and a status that scripts can tell apart."""
    from mlflow.exceptions import MlflowException

    from mlflow_dlviz import reporting

    try:
        yield
    except reporting.NothingMatched as error:
        _leave(3, error)
    except reporting.ServerUnreachable as error:
        _leave(6, error)
    except (ValueError, LookupError, MlflowException, OSError) as error:
        _leave(2, error)


def _leave(status: int, error: Exception) -> None:
    text = error.args[0] if isinstance(error, LookupError) and error.args else error
    click.echo(f"Error: {text}", err=True)
    sys.exit(status)
