"""The command line on a real store, and spools of runs that are over."""

from __future__ import annotations

import mlflow
import pytest
from click.testing import CliRunner
from mlflow.entities import Metric

from mlflow_dlviz.cli import main
from mlflow_dlviz.store.batch import Batch, End
from mlflow_dlviz.store.spool import Plan, begin

NOWHERE = "http://127.0.0.1:9"


def call(*words, **options):
    return CliRunner().invoke(main, list(words), prog_name="mlflow-dlviz", **options)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """The commands shorten MLflow's patience in their process, which here is the tests'."""
    for name in ("MAX_RETRIES", "TIMEOUT"):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", "1")
    monkeypatch.setenv("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "false")


@pytest.fixture
def laid_down(store, spool_root):
    """A spool of a run that is over, as a function."""

    def make(name, uri=None):
        spool = begin(
            spool_root, Plan(name * 32, uri or mlflow.get_tracking_uri(), None, "name:test", name, owned=True)
        )
        spool.add("numbers", Batch([Metric("loss", 1.0, 1, 0)]))
        spool.add("the end of the run", Batch(end=End("FINISHED", 5)))
        spool.change(closed=True)
        return spool

    return make


@pytest.fixture
def logged(store):
    """A run with a curve, of another tool."""
    run = store.create_run(store.get_experiment_by_name("test").experiment_id, run_name="plain")
    for step in range(3):
        store.log_metric(run.info.run_id, "val_loss", 1 / (step + 1), step=step)
    store.set_terminated(run.info.run_id)
    return run.info.run_id
