"""From a real store to a bundle."""

from __future__ import annotations

import io

import mlflow
import numpy as np
import pytest
from between import Between
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag
from PIL import Image

from mlflow_dlviz.reporting.bundle import Query
from mlflow_dlviz.reporting.fetching.fetch import fetch as fetch_bundle
from mlflow_dlviz.reporting.fetching.preview import preview
from mlflow_dlviz.reporting.fetching.source import Reading
from mlflow_dlviz.reporting.options import Choice, Options
from mlflow_dlviz.store.server import ServerUnreachable


def test_runs_are_fetched_with_all_they_have(experiment, make_run, fetch, client):
    run_id = make_run(
        name="fox",
        metrics={"loss": [1.0, 0.5], "dlviz/seconds": [1.0], "best_loss": [0.5]},
        params={"lr": 0.1},
        pictures={"activations/01.conv": [0, 1]},
    )
    told = [("digits", "d1", "eval"), ("digits", "d0", "train"), ("bare", "d2", None)]
    inputs = [
        DatasetInput(
            Dataset(name, digest, "code", "{}"), [InputTag("mlflow.data.context", context)] if context else []
        )
        for name, digest, context in told
    ]
    client.log_inputs(run_id, inputs)
    make_run(name="empty")
    stages = []
    bundle = fetch(progress=lambda what, done, total: stages.append(what))
    [run] = bundle.runs
    assert (run.id, run.name, run.experiment, run.status) == (run_id, "fox", experiment[1], "FINISHED")
    assert (run.seconds, run.params["lr"]) == (125.0, "0.1")
    assert list(run.histories) == ["loss"]
    np.testing.assert_array_equal(run.histories["loss"].values, [1.0, 0.5])
    assert [(frame.key, frame.step) for frame in run.frames] == [("activations/01.conv", step) for step in (0, 1)]
    assert Image.open(io.BytesIO(run.frames[0].webp)).format == "WEBP"
    found = [(dataset.name, dataset.digest, dataset.context) for dataset in run.datasets]
    assert found == [("bare", "d2", ""), ("digits", "d1", "eval"), ("digits", "d0", "train")]
    assert [(gone.name, gone.reason) for gone in bundle.excluded] == [("empty", "no metrics and no pictures")]
    assert set(stages) == {"metrics", "pictures", "pictures: listing"}
    assert bundle.problems == ()


def test_what_was_not_asked_for_is_not_called_missing(make_run, fetch):
    make_run(metrics={"loss": [1.0]}, pictures={"a/x": [0]})
    make_run(metrics={"acc": [1.0]})
    make_run(metrics={}, pictures={"b/x": [0]})

    def reasons(**told):
        return sorted(gone.reason for gone in fetch(**told).excluded)

    assert reasons(metrics=(Choice("acc*"),), images="b/*") == ["none of its metrics and pictures was asked for"]
    assert reasons(images="a/*") == ["none of its pictures was asked for"]
    assert reasons(metrics=(Choice("loss"),)) == ["none of its metrics was asked for"]
    make_run(metrics={})
    assert "no metrics and no pictures" in reasons(metrics=(Choice("loss"),))
    assert [gone.reason for gone in fetch().excluded] == ["no metrics and no pictures"]


@pytest.mark.parametrize("path", ["get-by-name", "runs/search"])
def test_a_server_that_fails_at_once_is_unreachable(mlflow_server, impatient, path):
    name = f"fails at {path}"
    MlflowClient(mlflow_server).create_experiment(name)
    with Between(mlflow_server) as between:
        between.refuse = lambda asked: 500 if path in asked else None
        for read in (fetch_bundle, preview):
            with pytest.raises(ServerUnreachable, match="fails: "):
                read(Query("", experiments=(name,)), Options(), Reading(between.address))


def test_the_current_server_is_the_default(experiment, make_run, store_uri):
    run_id = make_run(metrics={"loss": [1.0]})
    mlflow.set_tracking_uri(store_uri)
    try:
        bundle = fetch_bundle(Query("", run_ids=(run_id,)), Options(), Reading())
    finally:
        mlflow.set_tracking_uri(None)
    assert [run.id for run in bundle.runs] == [run_id]
    assert bundle.query.server == "sqlite: mlflow.db"
