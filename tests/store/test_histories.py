"""Reading runs and metric histories from a real SQLite store."""

from __future__ import annotations

import time

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric

from mlflow_dlviz.store import histories


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> MlflowClient:
    folder = tmp_path_factory.mktemp("histories")
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    for name in ("vision", "speech", "gone"):
        client.create_experiment(name, artifact_location=(folder / name).as_uri())
    client.delete_experiment(client.get_experiment_by_name("gone").experiment_id)
    return client


def add_run(client: MlflowClient, experiment: str, name: str, **metrics) -> str:
    run = client.create_run(client.get_experiment_by_name(experiment).experiment_id, run_name=name)
    points = [
        Metric(key, value, 1000 + step, step)
        for key, values in metrics.items()
        for step, value in enumerate(values)
    ]
    client.log_batch(run.info.run_id, metrics=points)
    return run.info.run_id


def test_histories_come_back_as_they_were_logged(client):
    run_id = add_run(client, "vision", "a", loss=[3.0, float("nan"), float("inf"), 0.1], val_loss=[1.0])
    other = add_run(client, "vision", "b", loss=[1.0])
    seen = []
    found = histories.metric_histories(
        client, [run_id, other], ["loss", "val_loss"], progress=lambda *now: seen.append(now)
    )
    assert list(found) == [run_id, other]
    assert list(found[other]) == ["loss"]
    series = found[run_id]["loss"]
    np.testing.assert_array_equal(series.steps, [0, 1, 2, 3])
    np.testing.assert_array_equal(series.values, [3.0, np.nan, np.inf, 0.1])
    np.testing.assert_array_equal(series.times, [1000, 1001, 1002, 1003])
    assert seen == [(done, 4) for done in (1, 2, 3, 4)]


def test_a_run_that_cannot_be_read_leaves_its_reason(client, monkeypatch):
    good, bad = add_run(client, "vision", "good", loss=[1.0]), add_run(client, "vision", "bad", loss=[1.0])
    real = client.get_metric_history

    def fail(run_id, key):
        if run_id == bad:
            raise histories.MlflowException("disk on fire\ntrace")
        return real(run_id, key)

    monkeypatch.setattr(client, "get_metric_history", fail)
    errors: dict[str, str] = {}
    found = histories.metric_histories(client, [good, bad], ["loss"], errors=errors)
    assert found[good]["loss"].values.tolist() == [1.0]
    assert found[bad] == {}
    assert errors == {bad: "loss: disk on fire"}
    with pytest.raises(histories.MlflowException, match="disk on fire"):
        histories.metric_histories(client, [bad], ["loss"])


def test_runs_are_found_by_name_and_by_id(client):
    run_id = add_run(client, "speech", "wave", loss=[0.5])
    number = client.get_experiment_by_name("speech").experiment_id
    assert [run.info.run_id for run in histories.find_runs(client, ["speech"])] == [run_id]
    assert [run.info.run_id for run in histories.find_runs(client, [number])] == [run_id]
    assert run_id in [run.info.run_id for run in histories.find_runs(client)]
    assert histories.find_runs(client, ["speech"], "metrics.loss > 1") == []


def test_pages_are_joined_and_the_limit_holds(client, monkeypatch):
    client.create_experiment("many")
    wanted = [add_run(client, "many", f"run-{number}", loss=[1.0]) for number in range(7)]
    monkeypatch.setattr(histories, "_PAGE", 3)
    assert {run.info.run_id for run in histories.find_runs(client, ["many"])} == set(wanted)
    assert len(histories.find_runs(client, ["many"], max_results=5)) == 5
    assert len(histories.find_experiments(client)) >= 4


def test_an_unknown_experiment_names_its_neighbours(client):
    with pytest.raises(histories.UnknownExperiment, match=r"'visoin' does not exist; closest: 'vision'"):
        histories.find_runs(client, ["visoin"])
    with pytest.raises(histories.UnknownExperiment, match="'gone' is deleted"):
        histories.find_runs(client, ["gone"])
    with pytest.raises(histories.UnknownExperiment, match="'987654321'"):
        histories.find_runs(client, ["987654321"])


def test_a_bad_filter_says_what_mlflow_says(client):
    with pytest.raises(ValueError, match="filter='nonsense ='"):
        histories.find_runs(client, ["vision"], "nonsense =")


def test_missing_runs_have_reasons(client):
    run_id, deleted = (
        add_run(client, "vision", "here", loss=[1.0]),
        add_run(client, "vision", "x", loss=[1.0]),
    )
    client.delete_run(deleted)
    runs, missing = histories.get_runs(client, [run_id, deleted, "0" * 32, run_id])
    assert [run.info.run_id for run in runs] == [run_id]
    assert missing[deleted] == "deleted"
    assert "not found" in missing["0" * 32]


def test_a_dead_server_is_told_at_once():
    start = time.monotonic()
    with pytest.raises(histories.ServerUnreachable, match="127.0.0.1:9"):
        histories.connect("http://user:secret@127.0.0.1:9")
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://ada:pw@host.example:5000/base?x=1", "http://host.example:5000/base"),
        ("sqlite:////home/ada/work/mlflow.db", "sqlite: mlflow.db"),
        ("file:///home/ada/mlruns", "file: mlruns"),
        ("./mlruns", "file: mlruns"),
        ("databricks", "databricks"),
        ("postgresql://ada:pw@db.example/mlflow", "postgresql: mlflow"),
    ],
)
def test_a_shown_address_holds_no_secret_and_no_folder(uri, shown):
    assert histories.public_uri(uri) == shown
