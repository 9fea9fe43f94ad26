"""Which run is logged to, and that finding it changes nothing else."""

import random

import mlflow
import pytest

from mlflow_dlviz.store import runs as store_runs
from mlflow_dlviz.store.runs import RunRef, client, end_run, open_run


def test_pythons_random_state_is_left_alone(store):
    random.seed(3)
    state = random.getstate()
    opened = open_run({"a": "b"})
    assert random.getstate() == state
    assert opened.owned
    assert opened.tags["a"] == "b"


def test_run_names_differ_under_the_same_seed(store, runs):
    for _ in range(3):
        random.seed(3)
        end_run(open_run({}), "FINISHED")
    assert len({run.info.run_name for run in runs()}) == 3


def test_random_state_comes_back_where_no_run_can_be_had(store, monkeypatch):
    def fail(**_):
        random.random()
        raise OSError("no server")

    monkeypatch.setattr(mlflow, "start_run", fail)
    random.seed(3)
    state = random.getstate()
    with pytest.raises(OSError, match="no server"):
        open_run({})
    assert random.getstate() == state


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_our_own_run_ends_as_told(store, runs, status):
    opened = open_run({})
    end_run(opened, status)
    assert runs()[0].info.status == status
    assert mlflow.active_run() is None


def test_the_users_run_stays_open(store):
    with mlflow.start_run() as run:
        opened = open_run({"a": "b"})
        end_run(opened, "FAILED")
        assert mlflow.active_run().info.run_id == run.info.run_id
        assert opened.ref.run_id == run.info.run_id
        assert not opened.owned
        assert "a" not in store.get_run(run.info.run_id).data.tags
    assert store.get_run(run.info.run_id).info.status == "FINISHED"


def test_our_run_ends_even_if_another_became_active(store):
    opened = open_run({})
    with mlflow.start_run(nested=True) as other:
        end_run(opened, "FINISHED")
        assert mlflow.active_run().info.run_id == other.info.run_id
    assert store.get_run(opened.ref.run_id).info.status == "FINISHED"


def test_what_a_resumed_run_already_has_is_known(store):
    with mlflow.start_run(tags={"t": "1"}) as run:
        mlflow.log_param("p", 3)
    with mlflow.start_run(run_id=run.info.run_id):
        opened = open_run({})
    assert opened.tags["t"] == "1"
    assert opened.params == {"p": "3"}


def test_a_reference_does_not_depend_on_the_current_store(store, tmp_path):
    opened = open_run({})
    uri = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'other.db'}")
    assert client(opened.ref).get_run(opened.ref.run_id).info.status == "RUNNING"
    mlflow.set_tracking_uri(uri)


def test_references_to_one_run_are_equal():
    assert RunRef("a", "b") == RunRef("a", "b")
    assert RunRef("a", "b").spool_id != RunRef("a", "b").spool_id


def test_a_failed_run_of_the_users_own_is_not_taken_over(store, runs):
    with pytest.raises(ValueError, match="mine"), mlflow.start_run():
        raise ValueError("mine")
    end_run(open_run({}), "FINISHED")
    assert sorted(run.info.status for run in runs()) == ["FAILED", "FINISHED"]
    assert store_runs._abandoned_run() is None
