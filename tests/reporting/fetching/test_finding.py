"""Which runs are read, and why others are not."""

from __future__ import annotations

import re

import pytest
from asked import split_up
from between import Between
from logged import log_run
from mlflow import MlflowClient

from mlflow_dlviz.reporting.bundle import Query
from mlflow_dlviz.reporting.fetching.fetch import fetch as fetch_bundle
from mlflow_dlviz.reporting.fetching.preview import preview
from mlflow_dlviz.reporting.fetching.source import Reading
from mlflow_dlviz.reporting.options import Choice, Options


def test_query_narrows_the_search(make_run, fetch):
    for number, status in enumerate(["FINISHED", "FAILED", "RUNNING"]):
        make_run(name=f"r{number}", metrics={"loss": [float(number)]}, status=status)

    def names_of(**told):
        return sorted(run.name for run in fetch(**told).runs)

    assert names_of() == ["r0", "r1", "r2"]
    assert names_of(filters=("metrics.loss < 0.5", "metrics.loss > 1.5")) == ["r0", "r2"]
    assert names_of(statuses=("FINISHED", "FAILED")) == ["r0", "r1"]
    assert names_of(since=3600.0) == []
    cut = fetch(order_by=("metrics.loss DESC",), limit=2)
    assert [run.name for run in cut.runs] == ["r2", "r1"]
    assert cut.notes == ("More than 2 runs match; the first 2 by metrics.loss DESC are shown (limit=2).",)
    assert "the newest 2 are shown" in fetch(limit=2).notes[0]


def test_what_is_missing_has_its_reason(experiment, make_run, client, store_uri):
    kept, deleted = make_run(metrics={"loss": [1.0]}), make_run(metrics={"loss": [1.0]})
    client.delete_run(deleted)
    report = client.create_run(experiment[0], run_name="page", tags={"dlviz.report": "true"}).info.run_id
    query = Query("", run_ids=(kept, deleted, "0" * 32, report))
    bundle = fetch_bundle(query, Options(), Reading(store_uri))
    assert [run.id for run in bundle.runs] == [kept]
    reasons = {gone.id: gone.reason for gone in bundle.excluded}
    assert reasons[deleted] == "deleted"
    assert "not found" in reasons["0" * 32]
    [problem] = bundle.problems
    assert problem.startswith(f"Run {'0' * 32} could not be read: ")
    assert reasons[report] == "holds a report"


def test_reports_do_not_count_where_the_limit_cuts(experiment, make_run, fetch, client):
    for name in ("r0", "r1", "r2"):
        make_run(name=name, metrics={"loss": [1.0]})
    for _ in range(3):
        client.create_run(experiment[0], run_name="page", tags={"dlviz.report": "true"})
    by_name = ("attributes.run_name ASC",)
    bundle = fetch(limit=2, order_by=by_name)
    assert [run.name for run in bundle.runs] == ["r0", "r1"]
    assert "More than 2 runs match" in bundle.notes[0]
    assert [gone.reason for gone in bundle.excluded] == ["holds a report"] * 3
    bundle = fetch(limit=3, order_by=by_name)
    assert (len(bundle.runs), bundle.notes) == (3, ())


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("nothing*", "metrics='nothing*': no run has such a curve; there are acc, loss, val_loss"),
        ("val_lose", "metrics='val_lose': no run has such a curve; there are val_loss, loss, acc"),
        ("val_loss:maxx", "metrics='val_loss:maxx': expected ':min' or ':max' at the end, not ':maxx'"),
    ],
)
def test_metrics_that_no_run_has_are_refused(experiment, make_run, fetch, store_uri, pattern, said):
    make_run(metrics={"loss": [1.0], "val_loss": [2.0]})
    make_run(metrics={"acc": [0.5], "best_acc": [0.5]})
    for read in (fetch, lambda **told: preview(*split_up(told, experiment[1], store_uri))):
        with pytest.raises(ValueError, match=re.escape(said)):
            read(metrics=(Choice("*loss"), Choice(pattern)))


def test_a_run_that_cannot_be_asked_for_is_a_problem(mlflow_server, impatient):
    at = MlflowClient(mlflow_server)
    experiment = at.create_experiment("one is refused")
    good, bad = (log_run(at, experiment, name=name, metrics={"loss": [1.0]}) for name in ("good", "bad"))
    with Between(mlflow_server) as between:
        between.refuse = lambda path: 500 if "runs/get" in path and bad in path else None
        query = Query("", run_ids=(good, bad, "0" * 32))
        bundle = fetch_bundle(query, Options(), Reading(between.address))
    assert [run.id for run in bundle.runs] == [good]
    assert sorted(gone.id for gone in bundle.excluded) == sorted([bad, "0" * 32])
    absent, problem = sorted(bundle.problems, key=lambda each: bad in each)
    assert "0" * 32 in absent
    assert problem.startswith(f"Run {bad} could not be read: ")
