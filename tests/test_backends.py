"""Keras on JAX and on PyTorch: fit is logged as far as it goes without TensorFlow, which is never imported."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import mlflow
import pytest

BACKENDS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed"),
    )
    for name in ("jax", "torch")
]

# Keras itself imports TensorFlow where it is installed: in keras.utils.set_random_seed, so that seeds are given
# one by one, and wherever it serialises an object, such as a model or a schedule of the learning rate.
MODEL = """
import json, sys
import keras
import numpy as np

def build():
    glorot = [keras.initializers.GlorotUniform(seed=seed) for seed in range(2)]
    model = keras.Sequential([
        keras.Input((4,)),
        keras.layers.Dense(8, "relu", kernel_initializer=glorot[0]),
        keras.layers.Dropout(0.3, seed=3),
        keras.layers.BatchNormalization(),
        keras.layers.Dense(1, "sigmoid", kernel_initializer=glorot[1]),
    ])
    model.compile(keras.optimizers.Adam(0.1), "binary_crossentropy", metrics=["accuracy"])
    return model

def train(epochs=3):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 4)).astype("float32")
    y = (x[:, 0] > 0).astype("float32")
    model = build()
    halving = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 * 0.5**epoch)
    options = {"shuffle": False, "verbose": 0, "validation_split": 0.25, "callbacks": [halving]}
    history = model.fit(x, y, epochs=epochs, **options).history
    return model, history
"""

FIT = """
import mlflow_dlviz

plain, expected = train()
mlflow_dlviz.autolog(OPTIONS)
model, history = train()
mlflow_dlviz.autolog(disable=True)
assert mlflow_dlviz.flush(60)
for one, other in zip(plain.get_weights(), model.get_weights(), strict=True):
    np.testing.assert_array_equal(one, other)
assert {name: history[name] for name in expected} == expected
again, _ = train(1)
assert vars(again).keys() == vars(model).keys()
print(json.dumps({"history": history, "imported": "tensorflow" in sys.modules}))
"""

OWN_VISUAL = """
from matplotlib.figure import Figure
import mlflow_dlviz

def capture(moment, frozen):
    norms = [float((weight.numpy() ** 2).sum() ** 0.5) for weight in moment.model.trainable_weights]
    return {"all": {"norms": norms}}

def draw(norms):
    figure = Figure(figsize=(9, 6))
    figure.subplots().bar(range(len(norms)), norms)
    return figure

own = mlflow_dlviz.Visual("weights", capture, draw)
"""


@pytest.fixture
def ran(store, tmp_path, runs):
    """``ran(backend, script)``: the result that a script of its own process prints, its run, and its console."""

    def run(backend, script):
        settings = {"KERAS_BACKEND": backend, "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}
        settings["MLFLOW_EXPERIMENT_NAME"] = "test"
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert not done.returncode, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1]), runs()[-1], done.stderr

    return run


def entries(run):
    return json.loads(mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/dlviz/ledger.json"))["entries"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_fit_is_logged_without_tensorflow(ran, store, backend):
    result, run, said = ran(backend, MODEL + FIT.replace("OPTIONS", "log_models=False"))
    assert not result["imported"]
    assert run.info.status == "FINISHED"
    for name, values in result["history"].items():
        logged = store.get_metric_history(run.info.run_id, name)
        assert [metric.value for metric in logged] == pytest.approx(values), name
        assert [metric.step for metric in logged] == [0, 1, 2]
    assert run.data.metrics.keys() >= {"epoch_seconds", "samples_per_second", "best_epoch", "best_val_loss"}
    assert result["history"]["learning_rate"] == pytest.approx([0.1, 0.05, 0.025])
    assert run.data.params["epochs"] == "3"
    assert run.data.params["optimizer_name"] == "adam"
    [entry] = entries(run)
    assert entry["what"].startswith("metrics of the whole set, activations, ")
    assert entry["why"] == f"needs Keras on TensorFlow, and it runs on {backend}"
    assert said.count("mlflow_dlviz: ") == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_model_is_logged_with_what_it_runs_on(ran, backend):
    _, run, _ = ran(backend, MODEL + FIT.replace("OPTIONS", "visuals=[]"))
    [output] = run.outputs.model_outputs
    info = mlflow.models.get_model_info(f"models:/{output.model_id}")
    assert info.signature.inputs.inputs[0].shape == (-1, 4)
    assert info.signature.outputs.inputs[0].shape == (-1, 1)
    folder = mlflow.artifacts.download_artifacts(f"models:/{output.model_id}")
    with open(f"{folder}/requirements.txt") as requirements:
        required = {line.split("==")[0].strip() for line in requirements}
    assert backend in required
    assert "tensorflow" not in required


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_visual_that_needs_no_pass_is_shown(ran, dlviz, backend):
    _, run, said = ran(backend, MODEL + OWN_VISUAL + FIT.replace("OPTIONS", "visuals=[own], log_models=False"))
    assert list(dlviz.load(run.info.run_id, "weights")["all"]) == [0, 1, 2]
    assert run.data.tags["dlviz.status"] == "ok"
    assert said.count("mlflow_dlviz: metrics of the whole set is left out") == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_turning_it_on_imports_no_framework_but_keras_own(tmp_path, backend):
    script = "import sys, mlflow_dlviz; mlflow_dlviz.autolog(); print('tensorflow' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "False"


RECORDED = """
import mlflow_dlviz

def loop(recorded):
    model = build()
    for epoch in range(2):
        loss, _ = model.train_on_batch(np.ones((8, 4), "float32"), np.ones((8, 1), "float32"))
        if recorded:
            recorded.update(np.ones((8, 1)), np.ones((8, 1)))
            recorded.log_epoch(epoch, {"loss": loss})
    return model

with mlflow_dlviz.recording(build(), np.ones((8, 4), "float32"), log_models=False) as recorded:
    model = loop(recorded)
assert mlflow_dlviz.flush(60)
for one, other in zip(loop(None).get_weights(), model.get_weights(), strict=True):
    np.testing.assert_array_equal(one, other)
print(json.dumps({"imported": "tensorflow" in sys.modules}))
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loop_of_ones_own_is_logged(ran, store, backend):
    result, run, said = ran(backend, MODEL + RECORDED)
    assert not result["imported"]
    assert [metric.step for metric in store.get_metric_history(run.info.run_id, "loss")] == [0, 1]
    assert run.info.status == "FINISHED"
    assert said.count("mlflow_dlviz: ") == 1
