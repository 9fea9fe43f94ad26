"""The private names of MLflow that we use are there, and what we do when they no longer are."""

from __future__ import annotations

import os
import random

import mlflow
import mlflow.tracking.context.registry as registry
import mlflow.utils.name_utils as name_utils
import pytest
from mlflow.tracking import fluent

from mlflow_dlviz.store import active


def test_each_private_name_is_there():
    """Fails when MLflow changes one: then see what active.py does instead, and whether it suffices."""
    assert callable(fluent._active_run_stack.get)
    assert isinstance(fluent._active_run_stack.get(), list)
    assert callable(fluent._last_active_run_id.get)
    assert callable(fluent._last_active_run_id.set)
    assert callable(fluent._get_experiment_id)
    assert isinstance(fluent.run_id_to_system_metrics_monitor, dict)
    assert callable(registry.resolve_tags)
    assert isinstance(name_utils._generate_random_name(), str)


def test_a_run_is_left_as_mlflow_leaves_it_without_a_word_to_the_server(store):
    run = mlflow.start_run()
    active.leave_run(run.info.run_id, "KILLED")
    assert mlflow.active_run() is None
    assert store.get_run(run.info.run_id).info.status == "RUNNING"
    assert active.last_run_id() == run.info.run_id
    assert mlflow.last_active_run().info.run_id == run.info.run_id


def test_a_run_below_another_is_not_left(store):
    with mlflow.start_run() as outer, mlflow.start_run(nested=True) as inner:
        active.leave_run(outer.info.run_id, "FINISHED")
        assert mlflow.active_run().info.run_id == inner.info.run_id


def test_its_system_metrics_end_with_it(store):
    class Monitor:
        ended = 0

        def finish(self):
            self.ended += 1

    run, monitor = mlflow.start_run(), Monitor()
    fluent.run_id_to_system_metrics_monitor[run.info.run_id] = monitor
    active.leave_run(run.info.run_id, "FINISHED")
    assert run.info.run_id not in fluent.run_id_to_system_metrics_monitor
    assert monitor.ended == 1


def test_what_monitors_system_metrics_can_be_ended():
    pytest.importorskip("psutil", reason="MLflow monitors the system with psutil")
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    assert callable(SystemMetricsMonitor.finish)


@pytest.mark.parametrize("name", ["_active_run_stack", "_last_active_run_id", "run_id_to_system_metrics_monitor"])
def test_without_the_stack_the_public_way_ends_the_run(store, monkeypatch, name):
    run = mlflow.start_run()

    class Without:
        """The module as a later version may have it."""

        def __getattr__(self, wanted):
            if wanted == name:
                raise AttributeError(name)
            return getattr(fluent, wanted)

    monkeypatch.setattr(active, "fluent", Without())
    active.leave_run(run.info.run_id, "KILLED")
    monkeypatch.undo()
    assert mlflow.active_run() is None


def test_where_only_the_public_way_is_left_the_run_ends_as_told(store, monkeypatch):
    run = mlflow.start_run()
    monkeypatch.setattr(active, "fluent", object())
    active.leave_run("another", "FAILED")
    assert mlflow.active_run() is not None
    active.leave_run(run.info.run_id, "KILLED")
    assert mlflow.active_run() is None
    assert store.get_run(run.info.run_id).info.status == "KILLED"


def test_the_last_run_is_unknown_without_its_name(monkeypatch):
    monkeypatch.delattr(fluent, "_last_active_run_id")
    assert active.last_run_id() is None


def test_the_experiment_is_that_of_a_new_run(store, monkeypatch):
    wanted = store.get_experiment_by_name("test").experiment_id
    assert active.experiment_id() == wanted
    assert active.experiment_unasked() == wanted
    with mlflow.start_run() as run:
        assert run.info.experiment_id == wanted
    monkeypatch.delattr(fluent, "_get_experiment_id")
    assert active.experiment_id() == wanted


def test_without_any_experiment_it_is_the_first(store, monkeypatch):
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)
    assert active.experiment_unasked() == "0"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    assert active.experiment_unasked() == "name:mine"


def test_set_experiment_leaves_what_is_taken_unasked(store):
    """What ``experiment_unasked`` relies on."""
    made = mlflow.set_experiment("another")
    assert os.environ["MLFLOW_EXPERIMENT_ID"] == made.experiment_id
    assert active.experiment_unasked() == made.experiment_id


def test_tags_are_mlflows_own(store, monkeypatch):
    with mlflow.start_run() as run:
        theirs = {name: value for name, value in run.data.tags.items() if name != "mlflow.runName"}
    assert active.context_tags({"mine": "1"}) == {**theirs, "mine": "1"}
    monkeypatch.delattr(registry, "resolve_tags")
    assert active.context_tags({"mine": "1"}) == {"mine": "1"}


def test_a_name_is_made_up_without_touching_the_generator(monkeypatch):
    random.seed(1)
    state = random.getstate()
    names = {active.random_name("plain") for _ in range(5)}
    assert random.getstate() == state
    assert len(names) > 1
    assert "plain" not in names
    monkeypatch.delattr(name_utils, "_generate_random_name")
    assert active.random_name("plain") == "plain"
    assert random.getstate() == state
