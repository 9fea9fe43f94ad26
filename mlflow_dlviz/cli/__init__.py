"""``mlflow-dlviz`` on the command line: decorators over one library call each."""

from __future__ import annotations

import click

from mlflow_dlviz import __version__
from mlflow_dlviz.cli.facts import doctor, visuals
from mlflow_dlviz.cli.reports import report
from mlflow_dlviz.cli.spools import sync

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mlflow-dlviz")
def main() -> None:
    """Deep-learning visualisation inside MLflow.

    In a training script, mlflow_dlviz.autolog() is all there is to call. The commands here work on what
    it logged.
    """


for _command in (doctor, report, sync, visuals):
    main.add_command(_command)
