"""``visuals`` and ``doctor``: what there is, and what is wrong."""

from __future__ import annotations

import sys

import click

from mlflow_dlviz.cli.exits import PARTIAL, exit_codes

_EXITS = """
\b
Exit status: 0 ok, 2 bad usage or no such run, 4 the installation needs
attention, its server too, 6 the server of RUN_ID can't be reached.
"""


@click.command()
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


@click.command(epilog=_EXITS)
@click.argument("run_id", required=False)
@click.option("--tracking-uri", metavar="URI", help="Default: MLflow's own setting.")
def doctor(run_id: str | None, tracking_uri: str | None) -> None:
    """Say what is missing of the run RUN_ID and why; without one, look at versions, the server and the spool."""
    from mlflow_dlviz import diagnosis

    with exit_codes():
        if run_id is not None:
            for line in diagnosis.of_run(run_id, tracking_uri):
                click.echo(line)
            return
        fine = True
        for good, line in diagnosis.of_installation(tracking_uri):
            click.echo(f"{'ok ' if good else click.style('!! ', fg='red')} {line}")
            fine = fine and good
    if not fine:
        sys.exit(PARTIAL)
