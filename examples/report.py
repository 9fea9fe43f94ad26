"""Compare experiments in one HTML file: `mlflow-dlviz report`, as an entry point of `mlflow run`."""

import os
import sys

import _show  # noqa: F401
import click
import mlflow

from mlflow_dlviz import cli

PARTIAL = 4


@click.command(context_settings={"show_default": True})
@click.option("--experiments", default="all", help="Names or ids, separated by commas: digits,moons.")
@click.option("--output", default="report.html", type=click.Path(dir_okay=False), help="The file to write.")
def main(experiments: str, output: str) -> None:
    """Compare the runs of one or more experiments in one HTML file.

    Inside `mlflow run` the file is logged to the run that MLflow made, too, so that the UI shows it.
    """
    names = [name.strip() for name in experiments.split(",") if name.strip()]
    arguments = ["report", *([] if names == ["all"] else names), "--output", output]
    if reports := report_runs():
        arguments += ["--filter", f"attributes.run_id NOT IN ({', '.join(map(repr, reports))})"]
    status = 0
    try:
        cli.main(arguments, standalone_mode=False)
    except SystemExit as left:
        status = left.code
    if status in (0, PARTIAL) and (run_id := os.environ.get("MLFLOW_RUN_ID")):
        mlflow.MlflowClient().log_artifact(run_id, output)
    sys.exit(status)


def report_runs() -> list[str]:
    """The runs that `mlflow run -e report` made: there is nothing to compare in them."""
    client = mlflow.MlflowClient()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(experiments, "tags.`mlflow.project.entryPoint` = 'report'")
    return [run.info.run_id for run in found]


if __name__ == "__main__":
    main()
