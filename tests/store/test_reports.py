"""A report among a run's artifacts, and the link to it."""

from __future__ import annotations

import mlflow
import pytest

from mlflow_dlviz.store import reports
from mlflow_dlviz.store.server import ServerUnreachable

PAGE = b"<!DOCTYPE html><title>fox</title>"


@pytest.fixture
def trained(store):
    """A run that mlflow_dlviz recorded, with its own page."""
    run = store.create_run(store.get_experiment_by_name("test").experiment_id, tags={"dlviz.status": "ok"})
    store.log_text(run.info.run_id, "its own", "report.html")
    return run.info.run_id


def text_of(run_id, path):
    return mlflow.artifacts.load_text(f"runs:/{run_id}/{path}")


def test_a_new_run_holds_nothing_else_and_is_over(store, runs):
    logged = reports.log_to_new_run(None, "test", PAGE)
    [run] = runs()
    assert (run.info.run_id, run.info.run_name, run.info.status) == (logged.run_id, "report", "FINISHED")
    assert run.data.tags[reports.REPORT_TAG] == "true"
    assert run.data.tags["mlflow.project.entryPoint"] == "report"
    assert text_of(logged.run_id, "report.html") == PAGE.decode()


def test_a_new_run_that_can_not_take_the_file_has_failed(store, runs):
    mlflow.create_experiment("served", artifact_location="mlflow-artifacts:/served")
    with pytest.raises(mlflow.MlflowException):
        reports.log_to_new_run(None, "served", PAGE)
    assert [run.info.status for run in runs()] == ["FAILED"]


def test_an_existing_run_keeps_what_it_has(store, trained):
    logged = reports.log_to_run(None, trained, PAGE)
    assert logged.path == "comparison.html"
    assert text_of(trained, "comparison.html") == PAGE.decode()
    assert text_of(trained, "report.html") == "its own"
    run = store.get_run(trained)
    assert run.info.status == "RUNNING"
    assert reports.REPORT_TAG not in run.data.tags
    assert reports.log_to_run(None, trained, PAGE, "both.html").path == "both.html"
    assert reports.log_to_run(None, trained, PAGE + b"!").path == "comparison.html"
    assert text_of(trained, "comparison.html").endswith("!")


def test_a_page_of_somebody_elses_stays_and_an_older_report_goes(store):
    foreign = store.create_run(store.get_experiment_by_name("test").experiment_id).info.run_id
    assert reports.log_to_run(None, foreign, PAGE).path == "report.html"
    assert reports.log_to_run(None, foreign, PAGE).path == "comparison.html"
    own = reports.log_to_new_run(None, "test", PAGE).run_id
    assert reports.log_to_run(None, own, PAGE + b"!").path == "report.html"
    assert text_of(own, "report.html").endswith("!")


@pytest.mark.parametrize("run_id", ["", "f" * 32, "../x", "a/b", 7, None])
def test_a_run_that_is_not_there_is_named(store, run_id):
    with pytest.raises(ValueError, match="^log_to="):
        reports.find_run(None, run_id)


def test_a_deleted_run_is_named(store, trained):
    store.delete_run(trained)
    with pytest.raises(ValueError, match="this run is deleted"):
        reports.find_run(None, trained)


def test_a_server_that_is_gone_is_no_missing_run():
    with pytest.raises(ServerUnreachable):
        reports.find_run("http://127.0.0.1:9", "f" * 32)


@pytest.mark.parametrize(
    ("uri", "root"),
    [
        ("sqlite:////data/mlflow.db", "http://127.0.0.1:5000/"),
        ("https://user:pass@host:8443/mlflow/", "https://host:8443/mlflow/"),
    ],
)
def test_the_link_opens_the_file_and_tells_no_password(uri, root):
    link = reports.ui_link(uri, "7", "abc", "both runs?.html")
    page = "#/experiments/7/runs/abc/artifacts/both%20runs%3F.html?workflowType=machine_learning"
    assert link == root + page


def test_the_uri_is_good_in_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert reports.resolved_uri("sqlite:///mlflow.db") == f"sqlite:///{tmp_path}/mlflow.db"
    assert reports.resolved_uri("http://host") == "http://host"
    mlflow.set_tracking_uri("sqlite:///here.db")
    try:
        assert reports.resolved_uri(None) == f"sqlite:///{tmp_path}/here.db"
    finally:
        mlflow.set_tracking_uri(None)
