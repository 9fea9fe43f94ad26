"""Which run is logged to, and that finding it changes nothing else."""

from __future__ import annotations

import os
import random
import threading
import time

import mlflow
import pytest

from mlflow_dlviz.store.deliver import deliver
from mlflow_dlviz.store.runs import SPOOL_TAG, Limits, RunRef, absolute, client, leave, open_run
from mlflow_dlviz.store.spool import find_spools

NOWHERE = "http://127.0.0.1:9"


def end(opened, status="FINISHED"):
    """What the spool would say to the server, at once."""
    leave(opened, status)
    mlflow.MlflowClient().set_terminated(opened.ref.run_id, status)


def test_pythons_random_state_is_left_alone(store, limits):
    random.seed(3)
    state = random.getstate()
    opened = open_run({"a": "b"}, limits)
    assert random.getstate() == state
    assert opened.owned
    assert opened.tags["a"] == "b"


def test_run_names_differ_under_the_same_seed(store, runs, limits):
    for _ in range(3):
        random.seed(3)
        end(open_run({}, limits))
    assert len({run.info.run_name for run in runs()}) == 3


@pytest.mark.parametrize("offline", [True, False])
def test_random_state_is_left_alone_where_no_run_can_be_had(store, spool_root, offline):
    mlflow.set_tracking_uri(NOWHERE)
    random.seed(3)
    state = random.getstate()
    opened = open_run({}, Limits(spool_root, offline=offline))
    assert random.getstate() == state
    assert opened.offline


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_our_own_run_is_left_and_not_ended(store, limits, status):
    """Its end goes through the spool, behind all that was logged."""
    opened = open_run({}, limits)
    leave(opened, status)
    assert store.get_run(opened.ref.run_id).info.status == "RUNNING"
    assert mlflow.active_run() is None
    assert mlflow.last_active_run().info.run_id == opened.ref.run_id


def test_the_users_run_stays_open(store, limits):
    with mlflow.start_run() as run:
        opened = open_run({"a": "b"}, limits)
        leave(opened, "FAILED")
        assert mlflow.active_run().info.run_id == run.info.run_id
        assert opened.ref.run_id == run.info.run_id
        assert not opened.owned
        assert "a" not in store.get_run(run.info.run_id).data.tags
    assert store.get_run(run.info.run_id).info.status == "FINISHED"


def test_our_run_is_left_only_while_it_is_the_active_one(store, limits):
    opened = open_run({}, limits)
    with mlflow.start_run(nested=True) as other:
        leave(opened, "FINISHED")
        assert mlflow.active_run().info.run_id == other.info.run_id


def test_what_a_resumed_run_already_has_is_known(store, limits):
    with mlflow.start_run(tags={"t": "1"}) as run:
        mlflow.log_param("p", 3)
        mlflow.log_metric("m", 0.5)
    with mlflow.start_run(run_id=run.info.run_id):
        opened = open_run({}, limits)
    assert opened.tags["t"] == "1"
    assert opened.params == {"p": "3"}
    assert opened.metrics == {"m": 0.5}


def test_a_reference_does_not_depend_on_the_current_store(store, limits, tmp_path):
    opened = open_run({}, limits)
    uri = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'other.db'}")
    assert client(opened.ref).get_run(opened.ref.run_id).info.status == "RUNNING"
    mlflow.set_tracking_uri(uri)


def test_references_to_one_run_are_equal():
    assert RunRef("a", "b") == RunRef("a", "b")
    assert RunRef("a", "b").spool_id != RunRef("a", "b").spool_id


def test_a_run_that_is_not_there_yet_has_no_id():
    with pytest.raises(RuntimeError, match="does not exist"):
        _ = RunRef("a", None).known_id


def test_a_failed_run_of_the_users_own_is_not_taken_over(store, runs, limits):
    with pytest.raises(ValueError, match="mine"), mlflow.start_run():
        raise ValueError("mine")
    end(open_run({}, limits))
    assert sorted(run.info.status for run in runs()) == ["FAILED", "FINISHED"]


def test_a_run_that_a_failing_stock_patch_has_just_ended_is_taken_over(store, runs, limits):
    stock = store.get_experiment_by_name("test").experiment_id
    with pytest.raises(ValueError, match="theirs"), mlflow.start_run(tags={"mlflow.autologging": "keras"}) as run:
        raise ValueError("theirs")
    opened = open_run({}, limits)
    assert opened.ref.run_id == run.info.run_id
    end(opened)
    assert [found.info.experiment_id for found in runs()] == [stock]


def test_the_run_carries_the_tag_it_is_found_by(store, limits, spool_root):
    opened = open_run({"a": "b"}, limits)
    tags = store.get_run(opened.ref.run_id).data.tags
    assert tags[SPOOL_TAG] == opened.ref.spool_id
    assert tags["mlflow.user"]
    [spool] = find_spools(spool_root)
    assert (spool.plan.run_id, spool.plan.spool_id) == (opened.ref.run_id, opened.ref.spool_id)
    assert spool.plan.owned


def test_the_plan_is_on_disk_before_the_server_hears_of_the_run(store, limits, spool_root, monkeypatch):
    found, create = [], mlflow.MlflowClient.create_run

    def listening(self, *args, **kwargs):
        found.extend(find_spools(spool_root))
        return create(self, *args, **kwargs)

    monkeypatch.setattr(mlflow.MlflowClient, "create_run", listening)
    opened = open_run({}, limits)
    assert [(spool.plan.spool_id, spool.plan.run_id) for spool in found] == [(opened.ref.spool_id, None)]


def test_offline_nothing_is_asked_and_the_run_is_made_later(store, runs, spool_root):
    before = int(time.time() * 1000)
    opened = open_run({"a": "b"}, Limits(spool_root, offline=True))
    assert opened.offline == "asked for by offline=True"
    assert mlflow.active_run() is None
    assert runs() == []
    spool = opened.spool()
    assert spool.try_lock()
    deliver(spool, page=lambda *_: {})
    spool.unlock()
    [run] = runs()
    assert run.data.tags["a"] == "b"
    assert run.data.tags["mlflow.user"]
    assert run.info.run_name == spool.plan.name
    assert run.info.experiment_id == store.get_experiment_by_name("test").experiment_id
    assert before <= run.info.start_time <= time.time() * 1000


def test_a_nested_fit_has_a_child_run(store, limits):
    with mlflow.start_run() as parent:
        opened = open_run({}, limits, nested=True)
        assert mlflow.active_run().info.run_id == opened.ref.run_id
        tags = store.get_run(opened.ref.run_id).data.tags
        assert tags["mlflow.parentRunId"] == parent.info.run_id
        end(opened)
        assert mlflow.active_run().info.run_id == parent.info.run_id


def test_inside_mlflow_run_its_own_run_is_used_once(store, limits, monkeypatch):
    made = store.create_run(store.get_experiment_by_name("test").experiment_id)
    monkeypatch.setenv("MLFLOW_RUN_ID", made.info.run_id)
    opened = open_run({}, limits)
    assert opened.ref.run_id == made.info.run_id
    end(opened)
    assert "MLFLOW_RUN_ID" not in os.environ
    assert open_run({}, limits).ref.run_id != made.info.run_id


def test_inside_mlflow_run_offline_its_run_is_known_too(store, spool_root, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "f" * 32)
    opened = open_run({}, Limits(spool_root, offline=True))
    assert opened.ref.run_id == "f" * 32
    assert "MLFLOW_RUN_ID" not in os.environ


def test_who_answers_late_does_not_make_the_run_twice(store, runs, spool_root, monkeypatch):
    go, create = threading.Event(), mlflow.MlflowClient.create_run

    def slow(self, *args, **kwargs):
        assert go.wait(30)
        return create(self, *args, **kwargs)

    monkeypatch.setattr(mlflow.MlflowClient, "create_run", slow)
    opened = open_run({}, Limits(spool_root, deadline=0.1))
    assert "not done within 0.1 s" in opened.offline
    spool = opened.spool()
    assert not spool.try_lock()  # the one that is late still has it
    go.set()
    deadline = time.monotonic() + 20
    while not spool.try_lock():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    deliver(spool, page=lambda *_: {})
    spool.unlock()
    assert len(runs()) == 1


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sqlite:///runs.db", "sqlite:///{here}/runs.db"),
        ("sqlite:///sub/runs.db", "sqlite:///{here}/sub/runs.db"),
        ("./mlruns", "{here}/mlruns"),
        ("file:./mlruns", "file:{here}/mlruns"),
        ("sqlite:////var/runs.db", "sqlite:////var/runs.db"),
        ("sqlite://", "sqlite://"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("http://host:5000", "http://host:5000"),
        ("databricks", "databricks"),
        ("postgresql+psycopg2://u:p@host/runs", "postgresql+psycopg2://u:p@host/runs"),
    ],
)
def test_a_store_in_this_folder_is_the_same_from_any_other(tmp_path, monkeypatch, uri, expected):
    monkeypatch.chdir(tmp_path)
    assert absolute(uri) == expected.format(here=tmp_path)


def test_the_spool_knows_a_relative_store_from_any_folder(store, spool_root, tmp_path):
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    opened = open_run({}, Limits(spool_root, offline=True))
    assert opened.ref.tracking_uri == f"sqlite:///{tmp_path}/mlflow.db"
