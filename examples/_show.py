"""What the examples share: a quiet start, an experiment to log to, and at the end the way to what was logged.

None of it is needed to use mlflow_dlviz; see quickstart.py.
"""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The working tree before an installed copy: MLflow keeps a project's environment for as long as conda.yaml
# stays the same, and an older copy of the package with it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click
import mlflow

import mlflow_dlviz

_SET_BY_MLFLOW = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")


def use_experiment(name: str) -> None:
    """Log to the experiment ``name``, unless `mlflow run` or the environment has chosen one already."""
    if not any(variable in os.environ for variable in _SET_BY_MLFLOW):
        mlflow.set_experiment(name)


def load_keras() -> None:
    """Import Keras without TensorFlow's chatter about oneDNN and absent GPUs."""
    with _quiet_stderr():
        import tensorflow as tf

        # The last of the chatter comes when TensorFlow first looks for devices.
        tf.config.list_logical_devices()


def show() -> None:
    """Wait for what is still being drawn, then say how to look at this process' last run."""
    click.echo("drawing the remaining pictures…")
    mlflow_dlviz.flush()
    run = mlflow.last_active_run()
    if run is None:
        click.echo("the tracking server gave no run in time; `mlflow-dlviz sync` sends what was logged")
        return
    for line in directions(mlflow.get_tracking_uri(), run.info.experiment_id, run.info.run_id):
        click.echo(line)


def directions(uri: str, experiment_id: str, run_id: str) -> list[str]:
    """The command that opens the UI, unless ``uri`` is a server's, and the links to the run and its report."""
    served = uri.startswith(("http://", "https://"))
    root = uri.rstrip("/") if served else "http://127.0.0.1:5000"
    run = f"{root}/#/experiments/{experiment_id}/runs/{run_id}"
    # Without the workflow type the UI opens in its GenAI mode, which lists no runs.
    links = [f"{run}{page}?workflowType=machine_learning" for page in ("", "/artifacts/report.html")]
    return links if served else [f"now start: {ui_command(uri)}", "then open:", *links]


def ui_command(uri: str) -> str:
    """The `mlflow ui` that shows the store at ``uri`` when called from the current folder."""
    default = f"sqlite:///{Path.cwd() / 'mlflow.db'}"
    return "mlflow ui" if uri == default else f"mlflow ui --backend-store-uri {shlex.quote(uri)}"


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep from the console what is written to stderr, by C++ too; show it after all if there is an error."""
    sys.stderr.flush()
    console = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(console, kept.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(console, 2)
            os.close(console)
