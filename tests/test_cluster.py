"""Which of several processes logs: read from the environment, and tried with two of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import mlflow
import pytest

from mlflow_dlviz.cluster import is_chief

SETTINGS = ("TF_CONFIG", "RANK", "WORLD_SIZE", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK")
WORKERS = {"worker": ["a:1", "b:1"]}
CHIEF = {"chief": ["a:1"], "worker": ["b:1"], "ps": ["c:1"], "evaluator": ["d:1"]}


def tf_config(cluster, kind, index=0):
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


@pytest.fixture
def environment(monkeypatch):
    """``environment(settings)``: these and no others of those that a launcher makes."""

    def change(settings):
        for name in SETTINGS:
            monkeypatch.delenv(name, raising=False)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)

    return change


@pytest.mark.parametrize(
    ("settings", "chief"),
    [
        ({}, True),
        (tf_config(WORKERS, "worker", 0), True),
        (tf_config(WORKERS, "worker", 1), False),
        (tf_config(CHIEF, "chief"), True),
        (tf_config({"master": ["a:1"], "worker": ["b:1"]}, "master"), True),
        (tf_config(CHIEF, "worker", 0), False),
        (tf_config(CHIEF, "ps"), False),
        (tf_config(CHIEF, "evaluator"), False),
        (tf_config(WORKERS, "evaluator"), False),
        ({"TF_CONFIG": "{}"}, True),
        ({"TF_CONFIG": json.dumps({"cluster": WORKERS})}, True),
        ({"TF_CONFIG": ""}, True),
        ({"RANK": "0", "WORLD_SIZE": "2"}, True),
        ({"RANK": "1", "WORLD_SIZE": "2"}, False),
        ({"RANK": "0", "WORLD_SIZE": "1"}, True),
        ({"RANK": "3"}, True),
        ({"WORLD_SIZE": "2"}, True),
        ({**tf_config(WORKERS, "worker", 1), "RANK": "0", "WORLD_SIZE": "2"}, False),
        ({"TF_CONFIG": "{}", "RANK": "1", "WORLD_SIZE": "2"}, False),
        # A job array, or a step of several tasks, may as well be several trainings.
        ({"SLURM_PROCID": "3", "OMPI_COMM_WORLD_RANK": "3"}, True),
    ],
)
def test_the_chief_is_read_from_the_environment(environment, caplog, settings, chief):
    environment(settings)
    assert is_chief() is chief
    assert not caplog.text


@pytest.mark.parametrize(
    "settings",
    [
        {"TF_CONFIG": "{worker"},
        {"TF_CONFIG": "[1]"},
        {"TF_CONFIG": json.dumps({"cluster": WORKERS, "task": {"index": 1}})},
        {"TF_CONFIG": json.dumps({"cluster": WORKERS, "task": {"type": "worker", "index": "one"}})},
        {"TF_CONFIG": json.dumps({"cluster": 3, "task": {"type": "worker", "index": 1}})},
        {"RANK": "x", "WORLD_SIZE": "2"},
        {"RANK": "2", "WORLD_SIZE": "2"},
        {"RANK": "-1", "WORLD_SIZE": "2"},
        {"RANK": "0", "WORLD_SIZE": ""} | {"TF_CONFIG": "3"},
    ],
)
def test_what_can_not_be_read_is_said_once_and_is_one_process(environment, caplog, settings):
    environment(settings)
    assert is_chief()
    assert is_chief()
    assert caplog.text.count("is not understood") == 1


FIT = """
import logging, sys
import keras, numpy as np
import mlflow_dlviz

if sys.argv[1] == "on":
    mlflow_dlviz.autolog(log_models=False, metrics=["mcc"])
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, "sigmoid")])
model.compile("adam", "binary_crossentropy")
x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
callbacks = []
history = model.fit(x, (x[:, 0] > 0).astype("float32"), epochs=2, verbose=0, callbacks=callbacks).history
mlflow_dlviz.flush(60)
print(sorted(history), float(model.get_weights()[0].sum()))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "task",
    [
        lambda index: tf_config(WORKERS, "worker", index),
        lambda index: {"RANK": str(index), "WORLD_SIZE": "2"},
    ],
    ids=["TF_CONFIG", "RANK"],
)
def test_two_processes_make_one_run(store, runs, tmp_path, task):
    common = {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(), "MLFLOW_EXPERIMENT_NAME": "test"}
    clean = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FIT, "on"],
            cwd=tmp_path,
            env={**clean, **common, **task(index)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    (chief, _), (other, said) = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert "mlflow_dlviz" not in said
    assert "'mcc'" in chief
    assert "'mcc'" not in other
    assert chief.split("]")[1] == other.split("]")[1]
    [run] = runs()
    assert run.info.status == "FINISHED"
    assert [metric.step for metric in store.get_metric_history(run.info.run_id, "loss")] == [0, 1]


def test_a_process_that_is_not_the_chief_leaves_fit_alone(environment, dlviz, runs, binary, table):
    import keras

    seen = []
    mine = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(sorted(logs)))
    environment({"RANK": "1", "WORLD_SIZE": "2"})
    dlviz.autolog()
    given = keras.callbacks.CallbackList([mine], add_history=True, model=(model := binary()), epochs=1)
    model.fit(*table[:2], epochs=1, verbose=0, callbacks=given)
    assert {type(each).__module__.split(".")[0] for each in given.callbacks} == {"keras"}
    assert seen == [["loss"]]
    with dlviz.recording(model, table[0]) as recorded:
        assert recorded.log_epoch(0, {"loss": 1.0}) == {"loss": 1.0}
    assert not runs()
