"""``report``: runs of any experiments compared in one file."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_dlviz.cli.exits import NOTHING, PARTIAL, exit_codes, impatient, leave, printable
from mlflow_dlviz.cli.headings import Command, under

if TYPE_CHECKING:
    from mlflow_dlviz.reporting import Preview, Report

_EXITS = """
\b
Exit status: 0 ok, 2 bad usage or filter, 3 nothing matched, 4 written but
partial (with --strict: not written), 6 the tracking server can't be reached.
"""

_select = under("Which runs")
_show = under("What is shown")
_write = under("Where it goes")
_read = under("How it is read")

_STATUSES = click.Choice(["finished", "running", "failed", "killed", "scheduled"], case_sensitive=False)
_FOLDER = click.Path(file_okay=False)
_FILE = click.Path(dir_okay=False)
_TOLD = 5


@click.command(cls=Command, epilog=_EXITS)
@click.argument("experiments", nargs=-1, metavar="[EXPERIMENT]...")
@_select("--run-id", "run_ids", multiple=True, metavar="ID", help="Also this run. Repeatable.")
@_select(
    "--filter",
    multiple=True,
    metavar="TEXT",
    help="Only runs that match, in MLflow's syntax: \"metrics.val_loss < 0.3 and params.lr = '0.1'\". Repeated: "
    "one of them must match.",
)
@_select(
    "--status",
    multiple=True,
    type=_STATUSES,
    metavar="STATUS",
    help="Only runs of this status: finished, running, failed, killed, scheduled. They count in the figures of "
    "groups, where else finished runs do. Repeatable.",
)
@_select("--since", metavar="AGE", help="Only runs that began at most so long ago: 30m, 12h, 7d, 2w.")
@_select(
    "--order-by",
    multiple=True,
    metavar="TEXT",
    help='Which runs come first where --limit cuts: "metrics.val_loss ASC". Default: the newest. Repeatable.',
)
@_select("--limit", default=1000, show_default=True, type=click.IntRange(1), metavar="N", help="Runs at most.")
@_show(
    "--metric",
    "metrics",
    multiple=True,
    metavar="GLOB[:min|:max]",
    help='Only these metrics: "val_*"; ":max" says that more is better. Repeatable.',
)
@_show("--goal", metavar="METRIC", help="Rank runs by this metric. Default: the most important that most have.")
@_show(
    "--x",
    default="epoch",
    show_default=True,
    type=click.Choice(["epoch", "step", "time"]),
    help="What curves are drawn over at first; epoch and step are what was logged as step.",
)
@_show("--baseline", metavar="RUN|best", help="Compare with this run: its id, its name, or the best one.")
@_show(
    "--group-by",
    default="auto",
    show_default=True,
    metavar="KEYS|auto|none",
    help="Params that tell groups of runs apart: lr,depth. auto: those that vary, but the seeds.",
)
@_show(
    "--seed-key",
    "seed_keys",
    multiple=True,
    metavar="KEY",
    help="A param that is a seed: runs of one group may differ in it. Default: seed, random_state and the like. "
    "Repeatable.",
)
@_show("--images", metavar="GLOB", help='Only pictures of these keys: "activations/*".')
@_show("--epochs", metavar="LIST", help="Only pictures of these epochs: 0,5,10,last.")
@_show(
    "--smoothing",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 0.999),
    metavar="W",
    help="Of the curves at first: the weight of the past, from 0 to 0.999.",
)
@_write("-o", "--output", default="report.html", show_default=True, type=_FILE, help="The file.")
@_write("--csv", type=_FOLDER, metavar="DIR", help="Also runs.csv, metrics.csv and groups.csv, all digits kept.")
@_write("--md", type=_FILE, metavar="FILE", help="Also the tables as Markdown, for a pull request or a mail.")
@_write("--png", type=_FOLDER, metavar="DIR", help="Also a picture of each main metric, and of the groups.")
@_write(
    "--log-to",
    metavar="new|RUN_ID",
    help="Also log the file to MLflow: to a new run, which later reports leave out, or to this one.",
)
@_write(
    "--max-mb",
    default=12.0,
    show_default=True,
    type=click.FloatRange(2, 1000),
    metavar="MB",
    help="How large the file may get, pictures aside. Over 50 MB the MLflow UI shows none.",
)
@_write("--open", "open_", is_flag=True, help="Show the report in a browser.")
@_read("--tracking-uri", metavar="URI", help="Default: MLflow's own setting.")
@_read("--jobs", default=4, show_default=True, type=click.IntRange(1), metavar="N", help="Requests at a time.")
@_read("--no-cache", is_flag=True, help="Neither read nor keep what was read before.")
@_read("--refresh", is_flag=True, help="Read all again, and keep that.")
@_read(
    "--redact",
    multiple=True,
    metavar="REGEX",
    help="Mask values of params and tags so named, as those like token, key and password are anyway. Repeatable.",
)
@_read("--strict", is_flag=True, help="Write nothing unless everything could be read.")
@_read("--dry-run", is_flag=True, help="Say what would be read; write nothing.")
@_read("-q", "--quiet", is_flag=True, help="No progress bar, no closing lines.")
@_read("-v", "--verbose", is_flag=True, help="Say how it was read, and all that could not be.")
def report(experiments: tuple[str, ...], **told: Any) -> None:
    """Compare the runs of one or more EXPERIMENTs (names or ids; all, if none is given) in one HTML file.

    \b
    mlflow-dlviz report digits moons -o report.html
    mlflow-dlviz report digits --group-by learning_rate --baseline best --open
    mlflow-dlviz report --filter "params.optimizer_name = 'adam'" --since 7d

    The file needs no server and no network: mail it, or log it as an artifact and read it in the MLflow UI.
    """  # noqa: D301
    for one, other in (("no_cache", "refresh"), ("quiet", "verbose")):
        if told[one] and told[other]:
            raise click.UsageError(f"--{one.replace('_', '-')} and --{other} exclude each other")
    from mlflow_dlviz import reporting

    asked = _asked(told)
    impatient()
    with exit_codes():
        if told["dry_run"]:
            _tell_preview(reporting.preview(experiments, **asked))
            return
        if told["log_to"] not in (None, "new"):
            reporting.check_run(told["log_to"], told["tracking_uri"])
        began = time.perf_counter()
        made = reporting.report(experiments, **asked, strict=told["strict"], progress=not told["quiet"])
        seconds = time.perf_counter() - began
        written = _save(made, told)
    if not told["quiet"]:
        _tell(written)
    if told["verbose"]:
        asked_for = ", ".join(f"{what} {count}" for what, count in made.read.items())
        _tell([f"asked of the server: {asked_for or 'the list of runs alone'}", f"built in {seconds:.1f} s"])
        _tell(made.bundle.notes)
    _log(made, told)
    if told["open_"]:
        click.launch(Path(told["output"]).resolve().as_uri())
    if made.problems:
        _leave_partial(made.problems, everything=told["verbose"])


_ASKED = (
    ("run_ids", "filter", "status", "since", "order_by", "limit")
    + ("metrics", "goal", "x", "baseline", "group_by", "seed_keys", "images", "epochs", "smoothing")
    + ("max_mb", "tracking_uri", "jobs", "refresh", "redact")
)


def _asked(told: dict[str, Any]) -> dict[str, Any]:
    """Of the command's options those that are arguments of the library's call."""
    return {name: told[name] for name in _ASKED} | {"cache": not told["no_cache"]}


def _save(made: Report, told: dict[str, Any]) -> list[str]:
    """Write all files; a line about each."""
    path = made.save(told["output"])
    runs = len(made.analysis.runs)
    lines = [f"{told['output']}: {runs} run{'s' * (runs != 1)}, {path.stat().st_size / 1e6:.1f} MB"]
    if told["csv"]:
        lines += [f"{each}: {each.stat().st_size / 1e6:.1f} MB" for each in made.to_csv(told["csv"])]
    if told["md"]:
        made.to_markdown(told["md"])
        lines.append(told["md"])
    if told["png"]:
        lines += map(str, made.to_png(told["png"]))
    return lines


def _log(made: Report, told: dict[str, Any]) -> None:
    from mlflow.exceptions import MlflowException

    if told["log_to"] is None:
        return
    try:
        made.log(told["log_to"], name=Path(told["output"]).name, quiet=told["quiet"])
    # What was written is good all the same.
    except (MlflowException, OSError, ValueError) as error:
        leave(PARTIAL, RuntimeError(f"{told['output']} is written, but could not be logged: {error}"))


def _tell_preview(preview: Preview) -> None:
    _tell([" ".join(line.split("\n")) for line in preview.lines()])
    if not preview.runs:
        sys.exit(NOTHING)


def _leave_partial(problems: Sequence[str], *, everything: bool) -> None:
    shown = problems if everything else problems[:_TOLD]
    more = len(problems) - len(shown)
    rest = f"; and {more} more, which -v shows" if more else ""
    click.echo(printable(f"partial: {'; '.join(shown)}{rest}"), err=True)
    sys.exit(PARTIAL)


def _tell(lines: Sequence[str]) -> None:
    for line in lines:
        click.echo(printable(line))
