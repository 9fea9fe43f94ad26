"""What tests ask of a run and of the folder it was made in, and the shortest way to one."""

from __future__ import annotations

import mlflow
import pytest

SCRIPT = "<script>alert('1')</script>"


def status(run):
    return run.data.tags["dlviz.status"]


def outside(folder):
    """All files in a folder, but for those of the store, of the spool and of the artifacts."""
    inside = ("artifacts", "spool", "mlflow.db")
    return {path.name for path in folder.iterdir() if not path.name.startswith(inside)}


def text_of(run, path):
    return mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/{path}")


def kept(ledger, run):
    return {entry["what"]: entry["why"] for entry in ledger(run)}


def quick(cases, *central):
    """Parameters of a test, all but the central ones slow: a ``fit`` each takes its seconds."""
    return [case if case in central else pytest.param(case, marks=pytest.mark.slow) for case in cases]


def fit(model, table, **more):
    x, y, validation = table
    return model.fit(x, y, **{"epochs": 2, "verbose": 0, "validation_data": validation, **more})


def steps(store, run_id, key):
    return [metric.step for metric in store.get_metric_history(run_id, key)]
