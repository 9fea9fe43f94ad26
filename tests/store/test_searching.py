"""Finding runs in a real SQLite store."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric

from mlflow_dlviz.store import searching


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> MlflowClient:
    folder = tmp_path_factory.mktemp("searching")
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    for name in ("vision", "speech", "gone"):
        client.create_experiment(name, artifact_location=(folder / name).as_uri())
    client.delete_experiment(client.get_experiment_by_name("gone").experiment_id)
    return client


def add_run(client, experiment, name, *, status="FINISHED", start=None, tags=None, **metrics) -> str:
    experiment_id = client.get_experiment_by_name(experiment).experiment_id
    run_id = client.create_run(experiment_id, run_name=name, start_time=start, tags=tags).info.run_id
    client.log_batch(run_id, metrics=[Metric(key, value, 1000, 3) for key, value in metrics.items()])
    if status != "RUNNING":
        client.set_terminated(run_id, status)
    return run_id


@pytest.fixture(scope="module")
def shelf(client) -> SimpleNamespace:
    """Five runs, a second apart, of three statuses; "old" began ten days ago."""
    client.create_experiment("shelf")
    now = int(time.time() * 1000)
    told = {
        "old": ("FINISHED", now - 10 * 86_400_000, 0.5),
        "a": ("FINISHED", now - 4000, 0.1),
        "b": ("FAILED", now - 3000, 0.4),
        "c": ("RUNNING", now - 2000, 0.2),
        "d": ("FINISHED", now - 1000, 0.3),
    }
    for name, (status, start, loss) in told.items():
        add_run(client, "shelf", name, status=status, start=start, tags={"kind": name}, loss=loss)
    return lambda *filters, **more: [
        run.info.run_name for run in searching.find_runs(client, ["shelf"], filters, **more)
    ]


def test_runs_are_found_by_name_and_by_id(client):
    run_id = add_run(client, "speech", "wave", loss=0.5)
    number = client.get_experiment_by_name("speech").experiment_id
    assert [run.info.run_id for run in searching.find_runs(client, ["speech"])] == [run_id]
    assert [run.info.run_id for run in searching.find_runs(client, [number])] == [run_id]
    assert run_id in [run.info.run_id for run in searching.find_runs(client)]
    assert searching.find_runs(client, ["speech"], ["metrics.loss > 1"]) == []


def test_the_newest_come_first(shelf):
    assert shelf() == ["d", "c", "b", "a", "old"]
    assert shelf(limit=2) == ["d", "c"]


def test_of_several_filters_one_must_match(shelf):
    assert shelf("metrics.loss < 0.15", "metrics.loss > 0.35") == ["b", "a", "old"]
    assert shelf("metrics.loss < 0.25", "metrics.loss < 0.35") == ["d", "c", "a"]
    assert shelf("metrics.loss < 0.15", "metrics.loss > 0.35", limit=2) == ["b", "a"]
    assert shelf("tags.kind = 'a'", "tags.kind = 'a'") == ["a"]
    assert shelf("metrics.loss < 0", "metrics.loss > 9") == []


@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        (["metrics.loss ASC"], ["a", "c", "d", "b", "old"]),
        (["metrics.loss DESC"], ["old", "b", "d", "c", "a"]),
        (["attributes.status", "metrics.loss"], ["b", "a", "d", "old", "c"]),
    ],
)
def test_the_order_is_mlflows_with_one_filter_and_with_several(shelf, order_by, expected):
    assert shelf(order_by=order_by) == expected
    assert shelf("metrics.loss < 0.25", "metrics.loss > 0.15", order_by=order_by) == expected
    assert shelf("metrics.loss < 0.25", "metrics.loss > 0.15", order_by=order_by, limit=2) == expected[:2]


def test_statuses_and_age_narrow_it(shelf):
    assert shelf(statuses=["FINISHED"]) == ["d", "a", "old"]
    assert shelf(statuses=["FAILED", "RUNNING"]) == ["c", "b"]
    assert shelf(since=86_400) == ["d", "c", "b", "a"]
    assert shelf("metrics.loss > 0.25", statuses=["FINISHED", "FAILED"], since=86_400) == ["d", "b"]


def test_what_is_sorted_out_does_not_count(shelf, monkeypatch):
    monkeypatch.setattr(searching, "_PAGE", 2)
    assert shelf(statuses=["FINISHED", "FAILED"], limit=3) == ["d", "b", "a"]


def test_pages_are_joined_and_the_limit_holds(client, monkeypatch):
    client.create_experiment("many")
    wanted = [add_run(client, "many", f"run-{number}", loss=1.0) for number in range(7)]
    monkeypatch.setattr(searching, "_PAGE", 3)
    assert {run.info.run_id for run in searching.find_runs(client, ["many"])} == set(wanted)
    assert len(searching.find_runs(client, ["many"], limit=5)) == 5
    assert len(searching.find_experiments(client)) >= 4


def test_an_unknown_experiment_names_its_neighbours(client):
    with pytest.raises(searching.UnknownExperiment, match=r"'visoin' does not exist; closest: 'vision'"):
        searching.find_runs(client, ["visoin"])
    with pytest.raises(searching.UnknownExperiment, match="'gone' is deleted"):
        searching.find_runs(client, ["gone"])
    with pytest.raises(searching.UnknownExperiment, match="'987654321'"):
        searching.find_runs(client, ["987654321"])


def test_a_bad_filter_or_order_says_what_mlflow_says(client):
    with pytest.raises(ValueError, match="filter='nonsense ='.*nonsense"):
        searching.find_runs(client, ["vision"], ["nonsense ="])
    with pytest.raises(ValueError, match="filter='metrics.loss OR 1'"):
        searching.find_runs(client, ["vision"], ["metrics.loss < 1", "metrics.loss OR 1"], statuses=["FAILED"])
    with pytest.raises(ValueError, match=r"order_by=\['metrics.loss SIDEWAYS'\]"):
        searching.find_runs(client, ["vision"], order_by=["metrics.loss SIDEWAYS"])


def test_missing_runs_have_reasons(client):
    run_id, deleted = add_run(client, "vision", "here", loss=1.0), add_run(client, "vision", "x", loss=1.0)
    client.delete_run(deleted)
    runs, missing = searching.get_runs(client, [run_id, deleted, "0" * 32, run_id])
    assert [run.info.run_id for run in runs] == [run_id]
    assert missing[deleted] == "deleted"
    assert "not found" in missing["0" * 32]


def test_experiments_have_names_by_id_alone(client, monkeypatch):
    number = client.get_experiment_by_name("vision").experiment_id
    gone = client.get_experiment_by_name("gone").experiment_id
    # An experiment may be called as another is numbered.
    client.create_experiment(number)
    wanted = {number: "vision", gone: "gone"}
    assert searching.experiment_names(client, [number, gone, "987654321"]) == wanted
    monkeypatch.setattr(searching, "_FEW", 1)
    assert searching.experiment_names(client, [number, gone, "987654321"]) == wanted


def test_the_search_tells_each_metrics_last_point(client):
    run_id = add_run(client, "vision", "last")
    points = [("loss", 5.0, 10, 0), ("loss", 4.0, 30, 7), ("loss", 6.0, 40, 2), ("acc", float("nan"), 20, 1)]
    client.log_batch(run_id, metrics=[Metric(*point) for point in points])
    found = {run.info.run_id: run for run in searching.find_runs(client, ["vision"])}
    last = searching.last_points(found[run_id])
    assert last["loss"] == (7, 30, 4.0)
    assert last["acc"][:2] == (1, 20)
    assert last["acc"][2] != last["acc"][2]
