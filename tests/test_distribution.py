"""MirroredStrategy over two devices: every replica's batches are counted, once."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import mlflow
import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, matthews_corrcoef

pytestmark = pytest.mark.slow

# Two devices must be there before TensorFlow starts.
SCRIPT = """
import json, sys
import numpy as np
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

import keras
import mlflow_dlviz

units, form = int(sys.argv[1]), sys.argv[2]
data = np.load("data.npz")
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2

def train():
    keras.utils.set_random_seed(0)
    with strategy.scope():
        hidden = keras.layers.Dense(8, "relu")
        head = keras.layers.Dense(units, "sigmoid" if units == 1 else "softmax")
        model = keras.Sequential([keras.Input((4,)), hidden, keras.layers.Dropout(0.2), head])
        # At a rate of 0 the training set's predictions are those of the model as it is.
        rate = 0.0 if form == "still" else 0.01
        loss = "binary_crossentropy" if units == 1 else "sparse_categorical_crossentropy"
        if form == "still":
            model = keras.Sequential([keras.Input((4,)), hidden, head])
        model.compile(keras.optimizers.SGD(rate), loss)
    x, y, validation = data["x"], data["y"], (data["x_val"], data["y_val"])
    if form == "stream":
        x = tf.data.Dataset.from_tensor_slices((x, y)).batch(20)
        y, validation = None, tf.data.Dataset.from_tensor_slices(validation).batch(20)
    size = None if y is None else 20
    history = model.fit(x, y, batch_size=size, epochs=2, verbose=0, validation_data=validation)
    return model, history.history

plain, expected = train()
mlflow_dlviz.autolog(log_models=False)
model, history = train()
assert mlflow_dlviz.flush(120)
same = all((one == other).all() for one, other in zip(plain.get_weights(), model.get_weights(), strict=True))
left = sorted({"compute_metrics", "train_step", "test_step"} & vars(model).keys())
predictions = {
    subset: model(data[name], training=False).numpy().tolist() for subset, name in (("", "x"), ("val_", "x_val"))
}
found = {"history": history, "expected": expected, "same": same, "left": left, "predictions": predictions}
print(json.dumps(found))
"""


@pytest.fixture
def mirrored(store, runs, tmp_path):
    """``mirrored(units, form)``: what a fit under a strategy came to, its data, and its run."""

    def train(units, form):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(150, 4)).astype("float32")
        y = np.digitize(x[:, 0], [0] if units == 1 else [-0.5, 0.5]).astype("int32")
        # 103 and 47: the last batches are not whole, and one replica may have none of them.
        data = {"x": x[:103], "y": y[:103], "x_val": x[103:], "y_val": y[103:]}
        np.savez(tmp_path / "data.npz", **data)
        settings = {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(), "MLFLOW_EXPERIMENT_NAME": "test"}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(units), form],
            cwd=tmp_path,
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert not done.returncode, done.stderr[-3000:]
        [run] = runs()
        return json.loads(done.stdout.splitlines()[-1]), data, run

    return train


def classes(predictions, units):
    found = np.asarray(predictions)
    return (found[:, 0] > 0.5).astype(int) if units == 1 else found.argmax(axis=1)


@pytest.mark.parametrize("units", [1, 3])
def test_both_sets_are_counted_whole(mirrored, dlviz, ledger, units):
    found, data, run = mirrored(units, "still")
    history = found["history"]
    for prefix, targets in (("", data["y"]), ("val_", data["y_val"])):
        predicted = classes(found["predictions"][prefix], units)
        assert history[f"{prefix}mcc"] == pytest.approx([matthews_corrcoef(targets, predicted)] * 2, abs=1e-6)
        if units == 1:
            counts = [[history[f"{prefix}{name}"][-1] for name in pair] for pair in (("tn", "fp"), ("fn", "tp"))]
            np.testing.assert_array_equal(counts, confusion_matrix(targets, predicted))
        else:
            expected = f1_score(targets, predicted, average="macro")
            assert history[f"{prefix}f1_macro"][-1] == pytest.approx(expected, abs=1e-6)
    histogram = dlviz.load(run.info.run_id, "probabilities")["validation"][1]["counts"]
    assert histogram.sum() == 47 * max(2, units)
    assert run.info.status == "FINISHED"
    assert not [entry for entry in ledger(run) if entry["kind"] == "failed"]


@pytest.mark.parametrize("form", ["arrays", "stream"])
def test_training_is_as_without_us_and_pictures_are_there(mirrored, dlviz, ledger, form):
    found, data, run = mirrored(1, form)
    assert found["same"]
    assert {name: found["history"][name] for name in found["expected"]} == found["expected"]
    assert not found["left"]
    predicted = classes(found["predictions"]["val_"], 1)
    assert found["history"]["val_mcc"][-1] == pytest.approx(matthews_corrcoef(data["y_val"], predicted), abs=1e-6)
    assert found["history"]["tp"][0] + found["history"]["fn"][0] == data["y"].sum()
    entries = ledger(run)
    assert not [entry for entry in entries if entry["kind"] == "failed"]
    assert run.data.tags["dlviz.status"] == "ok"
    if form == "arrays":
        assert all(list(leaf) == [0, 1] for leaf in dlviz.load(run.info.run_id, "activations").values())
        assert list(dlviz.load(run.info.run_id, "boundary")["plane"]) == [0, 1]
    else:
        assert any("under a strategy" in entry["why"] for entry in entries)
