"""Of the curves: those that are asked for, whole; and what is said of the rest."""

from __future__ import annotations

import sqlite3

import numpy as np
from asked import history_requests, statements
from between import Between
from logged import log_run
from mlflow import MlflowClient
from mlflow.entities import Metric

from mlflow_dlviz.reporting.bundle import Query
from mlflow_dlviz.reporting.fetching import metrics as metrics_module
from mlflow_dlviz.reporting.fetching.fetch import fetch as fetch_bundle
from mlflow_dlviz.reporting.fetching.source import Reading
from mlflow_dlviz.reporting.options import Choice, Options


def test_only_the_metrics_that_are_asked_for_are_read(make_run, fetch, store_uri):
    make_run(metrics={"loss": [1.0], "val_loss": [2.0], "acc": [0.5], "best_acc": [0.5]})
    with statements(store_uri) as seen:
        [run] = fetch(metrics=(Choice("*loss"),), goal="best_acc").runs
    assert sorted(run.histories) == ["best_acc", "loss", "val_loss"]
    assert len(history_requests(seen)) == 1


def test_of_too_many_metrics_those_that_matter_are_read(make_run, fetch, monkeypatch):
    monkeypatch.setattr(metrics_module, "MAX_METRICS", 2)
    make_run(metrics={"zeta": [1.0], "loss": [1.0], "accuracy": [1.0], "eta": [1.0]})
    bundle = fetch(goal="zeta")
    assert sorted(bundle.runs[0].histories) == ["loss", "zeta"]
    assert bundle.notes == ("2 further metrics were logged; the 2 that matter most are shown.",)


def test_a_run_whose_metrics_cannot_be_read_is_told(make_run, fetch, client, store_uri):
    make_run(metrics={"loss": [1.0]}, name="good")
    bad = make_run(metrics={"loss": [1.0]}, name="bad")
    with sqlite3.connect(store_uri.removeprefix("sqlite:///")) as database:
        database.execute("UPDATE metrics SET timestamp = 'soon' WHERE run_uuid = ?", (bad,))
    try:
        bundle = fetch(cache=False)
    finally:
        client.delete_run(bad)
    assert [run.name for run in bundle.runs] == ["good"]
    [problem] = bundle.problems
    assert problem.startswith(f"Metrics could not be read: run {bad}: loss: ")
    [gone] = bundle.excluded
    assert gone.reason.startswith("its metrics could not be read: ")


def test_a_server_that_fails_for_one_run_costs_that_run(mlflow_server, impatient):
    at = MlflowClient(mlflow_server)
    experiment = at.create_experiment("one fails")
    good = log_run(at, experiment, name="good", metrics={"loss": [1.0]})
    bad = log_run(at, experiment, name="bad", metrics={"loss": [1.0]})
    with Between(mlflow_server) as between:
        between.refuse = lambda path: 500 if "get-history" in path and bad in path else None
        bundle = fetch_bundle(Query("", experiments=("one fails",)), Options(), Reading(between.address))
    assert [run.id for run in bundle.runs] == [good]
    assert [gone.id for gone in bundle.excluded] == [bad]
    assert f"run {bad}: loss: " in bundle.problems[0]


def test_many_points_of_one_run_come_whole(client, experiment, fetch):
    run_id = client.create_run(experiment[0]).info.run_id
    for start in range(0, 5000, 1000):
        client.log_batch(run_id, metrics=[Metric("loss", at / 3, at, at) for at in range(start, start + 1000)])
    np.testing.assert_array_equal(fetch().runs[0].histories["loss"].values, np.arange(5000) / 3)
