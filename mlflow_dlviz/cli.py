"""``mlflow-dlviz`` on the command line: decorators over one library call each."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlflow_dlviz import __version__

if TYPE_CHECKING:
    from mlflow_dlviz.syncing import Synced, Waiting

_EXITS = """
\b
Exit status: 0 ok, 2 bad usage or filter, 3 nothing matched, 4 written but
partial, 6 the tracking server can't be reached.
"""


_SYNC_EXITS = """
\b
Exit status: 0 ok, 2 bad usage, 4 something needs attention, 6 the tracking
server can't be reached.
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


@main.command(epilog=_SYNC_EXITS)
@click.option("--status", is_flag=True, help="List what waits; send nothing.")
@click.option("--prune", is_flag=True, help="Delete what can't be sent, and what is older than --days.")
@click.option("--days", default=30.0, show_default=True, type=click.FloatRange(0), help="For --prune.")
@click.option("-y", "--yes", is_flag=True, help="For --prune: do not ask.")
@click.option(
    "--spool", type=click.Path(file_okay=False), help="Default: $MLFLOW_DLVIZ_SPOOL, or ~/.mlflow-dlviz/spool."
)
@click.option("--tracking-uri", metavar="URI", help="Where to make the runs that no server knows yet.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar; only what went wrong.")
def sync(
    status: bool, prune: bool, days: float, yes: bool, spool: str | None, tracking_uri: str | None, quiet: bool
) -> None:
    """Send what waits in the spool: logged without a tracking server, or by a process that died.

    \b
    mlflow-dlviz sync --status      what waits
    mlflow-dlviz sync               send it; any time, again, from several processes
    mlflow-dlviz sync --prune       delete what can't be sent
    """  # noqa: D301
    from mlflow_dlviz import syncing

    root = Path(spool) if spool else None
    if status:
        _show_waiting(syncing.waiting(root))
    elif prune:
        _prune(syncing.forgotten(root, days), yes)
    else:
        _impatient()
        with _exit_codes(), _sync_bar(quiet) as progress:
            results = syncing.sync(root, tracking_uri=tracking_uri, progress=progress)
        _show_synced(results, quiet)


@main.command(epilog=_SYNC_EXITS)
@click.argument("run_id", required=False)
@click.option("--tracking-uri", metavar="URI", help="Default: MLflow's own setting.")
def doctor(run_id: str | None, tracking_uri: str | None) -> None:
    """Say what is missing of the run RUN_ID and why; without one, look at versions, the server and the spool."""
    from mlflow_dlviz import diagnosis

    with _exit_codes():
        if run_id is not None:
            for line in diagnosis.of_run(run_id, tracking_uri):
                click.echo(line)
            return
        fine = True
        for good, line in diagnosis.of_installation(tracking_uri):
            click.echo(f"{'ok ' if good else click.style('!! ', fg='red')} {line}")
            fine = fine and good
    if not fine:
        sys.exit(4)


def _impatient() -> None:
    # Somebody waits at the command line, and what is not sent now can be sent later: not MLflow's four minutes.
    for name, value in (("MAX_RETRIES", "2"), ("TIMEOUT", "30")):
        os.environ.setdefault(f"MLFLOW_HTTP_REQUEST_{name}", value)


@contextmanager
def _sync_bar(quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    if quiet:
        yield None
        return
    with click.progressbar(length=1, label="sending", file=sys.stderr) as bar:

        def progress(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        yield progress


def _show_waiting(found: Sequence[Waiting]) -> None:
    if not found:
        click.echo("nothing waits")
    for each in found:
        refused = f", {each.refused} refused" if each.refused else ""
        click.echo(
            f"{each.run}  {each.state}: {each.items} items{refused}, {each.size / 1e6:.1f} MB, "
            f"{_age(each.age)} old, for {each.tracking_uri}"
        )


def _show_synced(results: Sequence[Synced], quiet: bool) -> None:
    if not results and not quiet:
        click.echo("nothing waits")
    for each in results:
        if each.trouble:
            click.echo(f"{each.run}: {each.items} items sent, the rest waits: {each.trouble}", err=True)
        elif not quiet:
            click.echo(f"{each.run}: {each.items} items sent to {each.tracking_uri}, run {each.run_id}")
    if any(each.trouble for each in results):
        sys.exit(6 if any(each.unreachable for each in results) else 4)


def _prune(found: Sequence[Waiting], yes: bool) -> None:
    from mlflow_dlviz import syncing

    _show_waiting(found)
    if found and (yes or click.confirm("Delete all this for good?")):
        click.echo(f"{syncing.prune(found) / 1e6:.1f} MB freed")


def _age(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


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
