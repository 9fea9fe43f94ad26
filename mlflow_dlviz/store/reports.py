"""A report among the artifacts of a run, through MLflow's public client alone."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from mlflow_dlviz.store import names
from mlflow_dlviz.store.runs import absolute
from mlflow_dlviz.store.searching import find_experiments
from mlflow_dlviz.store.server import connect, public_uri

REPORT_TAG = "dlviz.report"
"""On every run that holds nothing but a report: there is nothing in it to compare."""

_NEW = {REPORT_TAG: "true", "mlflow.project.entryPoint": "report"}
# A run's own page; what compares it with others must not take its place.
_OWN_PAGE = "report.html"
_COMPARISON = "comparison.html"
_RUN_ID = re.compile(r"[A-Za-z0-9]\w{0,255}")


@dataclass(frozen=True)
class Logged:
    """Where a report was logged to. link: to the page in MLflow's UI."""

    run_id: str
    path: str
    link: str


def resolved_uri(tracking_uri: str | None) -> str:
    """``tracking_uri``, or MLflow's own setting of now, good in any folder and after that setting changes."""
    return absolute(tracking_uri or mlflow.get_tracking_uri())


def find_run(tracking_uri: str | None, run_id: str) -> Run:
    """The run that a report is to be logged to.

    Raises ValueError if there is none, or if it is deleted, and ServerUnreachable.
    """
    if not isinstance(run_id, str) or not _RUN_ID.fullmatch(run_id):
        raise ValueError(f"log_to={run_id!r}: expected 'new' or the id of a run")
    try:
        run = connect(tracking_uri).get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise ValueError(f"log_to={run_id!r}: there is no such run") from error
    if run.info.lifecycle_stage != "active":
        raise ValueError(f"log_to={run_id!r}: this run is deleted")
    return run


def log_to_run(tracking_uri: str | None, run_id: str, content: bytes, name: str = _OWN_PAGE) -> Logged:
    """Log ``content`` as the file ``name`` at the root of a run's artifacts.

    A run that mlflow_dlviz recorded has a "report.html" of its own, another may have one of somebody's; there,
    "comparison.html" is written.
    Raises as :func:`find_run`, and what MLflow raises when the file can't be sent.
    """
    run = find_run(tracking_uri, run_id)
    client = connect(tracking_uri)
    if name == _OWN_PAGE and _has_a_page(client, run):
        name = _COMPARISON
    _send(client, run_id, content, name)
    return Logged(run_id, name, ui_link(client.tracking_uri, run.info.experiment_id, run_id, name))


def log_to_new_run(tracking_uri: str | None, experiment: str, content: bytes, name: str = _OWN_PAGE) -> Logged:
    """The same in a new run "report" of ``experiment`` (a name or an id), tagged so that later reports omit it."""
    client = connect(tracking_uri)
    [experiment_id] = find_experiments(client, [experiment])
    run_id = client.create_run(experiment_id, run_name="report", tags=_NEW).info.run_id
    try:
        _send(client, run_id, content, name)
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")
    return Logged(run_id, name, ui_link(client.tracking_uri, experiment_id, run_id, name))


def _has_a_page(client: MlflowClient, run: Run) -> bool:
    # Ours may still be on its way; a run that holds reports gets the newer one in place of the older.
    if names.STATUS_TAG in run.data.tags:
        return True
    there = any(item.path == _OWN_PAGE for item in client.list_artifacts(run.info.run_id))
    return there and not any(run.data.tags.get(tag) == value for tag, value in _NEW.items())


def ui_link(tracking_uri: str, experiment_id: str, run_id: str, path: str) -> str:
    """Where MLflow's UI shows a run's artifact; of a store without a server, where `mlflow ui` would."""
    served = tracking_uri.startswith(("http://", "https://"))
    root = public_uri(tracking_uri).rstrip("/") if served else "http://127.0.0.1:5000"
    # Without the workflow type the UI opens in its GenAI mode, which lists no runs.
    page = f"experiments/{quote(experiment_id)}/runs/{quote(run_id)}/artifacts/{quote(path)}"
    return f"{root}/#/{page}?workflowType=machine_learning"


def _send(client: MlflowClient, run_id: str, content: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory(prefix="dlviz-") as folder:
        file = Path(folder) / Path(name).name
        file.write_bytes(content)
        client.log_artifact(run_id, str(file))
