"""Compare experiments in one HTML file: `mlflow-dlviz report`, as an entry point of `mlflow run`."""

import os

import _show  # noqa: F401
import click
import mlflow

from mlflow_dlviz import cli


@click.command(context_settings={"show_default": True})
@click.option("--experiments", default="all", help="Names or ids, separated by commas: digits,moons.")
@click.option("--goal", default="auto", help="The metric to rank runs by.")
@click.option("--group-by", default="auto", help="Params that tell groups of runs apart: lr,depth; or none.")
@click.option("--baseline", default="none", help="The run to compare with: its id, its name, or best.")
@click.option("--since", default="ever", help="Only runs that began at most so long ago: 12h, 7d.")
@click.option("--output", default="report.html", type=click.Path(dir_okay=False), help="The file to write.")
def main(experiments: str, goal: str, group_by: str, baseline: str, since: str, output: str) -> None:
    """Compare the runs of one or more experiments in one HTML file.

    Inside `mlflow run` the file is logged to the run that MLflow made, too, so that the UI shows it.
    """
    names = [name.strip() for name in experiments.split(",") if name.strip()]
    arguments = ["report", "--group-by", group_by, "--output", output]
    for option, value, usual in (
        ("--goal", goal, "auto"),
        ("--baseline", baseline, "none"),
        ("--since", since, "ever"),
    ):
        arguments += [option, value] if value != usual else []
    if run_id := os.environ.get("MLFLOW_RUN_ID"):
        # Reports leave this run out from now on: there is nothing to compare in it.
        mlflow.MlflowClient().set_tag(run_id, "dlviz.report", "true")
        arguments += ["--log-to", run_id]
    cli.main([*arguments, "--", *([] if names == ["all"] else names)], prog_name="mlflow-dlviz")


if __name__ == "__main__":
    main()
