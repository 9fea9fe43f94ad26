"""``sync``: what waits in the spool, sent, listed or deleted."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlflow_dlviz.cli.exits import PARTIAL, UNREACHABLE, exit_codes, impatient
from mlflow_dlviz.words import count

if TYPE_CHECKING:
    from mlflow_dlviz.syncing import Synced, Waiting

_EXITS = """
\b
Exit status: 0 ok, 2 bad usage, 4 something needs attention, 6 the tracking
server can't be reached.
"""


@click.command(epilog=_EXITS)
@click.option("--status", is_flag=True, help="List what waits; send nothing.")
@click.option("--prune", is_flag=True, help="Delete what can't be sent, and what is older than --days.")
@click.option("--days", default=30.0, show_default=True, type=click.FloatRange(0), help="For --prune.")
@click.option("-y", "--yes", is_flag=True, help="For --prune: do not ask.")
@click.option(
    "--spool", type=click.Path(file_okay=False), help="Default: $MLFLOW_DLVIZ_SPOOL, or ~/.mlflow-dlviz/spool."
)
@click.option(
    "--tracking-uri",
    metavar="URI",
    help="Send to this server what no other knows yet, and the runs that it knows.",
)
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
        impatient()
        if quiet:
            # MLflow prints the address of each run that ends.
            os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        with exit_codes(), _sync_bar(quiet) as progress:
            results = syncing.sync(root, tracking_uri=tracking_uri, progress=progress)
        _show_synced(results, quiet)


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
            f"{each.run}  {each.state}: {count(each.items, 'item')}{refused}, {each.size / 1e6:.1f} MB, "
            f"{_age(each.age)} old, for {each.tracking_uri}"
        )


def _show_synced(results: Sequence[Synced], quiet: bool) -> None:
    if not results and not quiet:
        click.echo("nothing waits")
    for each in results:
        if each.trouble:
            click.echo(f"{each.run}: {count(each.items, 'item')} sent, the rest waits: {each.trouble}", err=True)
        elif not quiet:
            click.echo(f"{each.run}: {count(each.items, 'item')} sent to {each.tracking_uri}, run {each.run_id}")
    if any(each.trouble for each in results):
        sys.exit(UNREACHABLE if any(each.unreachable for each in results) else PARTIAL)


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
