"""Training comes first: with and without us, the same weights, history, objects and saved model."""

from __future__ import annotations

import random
import subprocess
import sys
from contextlib import nullcontext

import keras
import numpy as np
import pytest
import tensorflow as tf
from asking import quick

KERAS_KEYS = ["loss", "val_loss"]


class Noisy(keras.layers.Layer):
    """Draws and counts in every call, in inference too: whoever only looks must leave no trace in it."""

    def __init__(self):
        super().__init__()
        self.noise = keras.random.SeedGenerator(3)
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.calls.assign_add(1.0)
        return x + 0.01 * keras.random.normal(keras.ops.shape(x), seed=self.noise)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.noisy = Noisy()
        self.hidden = keras.layers.Dense(8, "relu")
        self.head = keras.layers.Dense(1, "sigmoid")

    def call(self, x):
        return self.head(self.hidden(self.noisy(x)))


def dense():
    layers = [keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.3), keras.layers.BatchNormalization()]
    return keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(1, "sigmoid")])


def noisy():
    return keras.Sequential([keras.Input((4,)), Noisy(), keras.layers.Dense(1, "sigmoid")])


def unbuilt():
    return keras.Sequential([keras.layers.Dense(4, "relu"), keras.layers.Dense(1, "sigmoid")])


MODELS = {"dense": dense, "noisy": noisy, "subclassed": Subclassed, "unbuilt": unbuilt}


def trained(build, table, **options):
    keras.utils.set_random_seed(7)
    model = build()
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", **options)
    x, y, validation = table
    history = model.fit(x, y, epochs=3, verbose=0, validation_data=validation)
    return model, history.history, random.random(), np.random.random()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in MODELS),
        *((name, {"run_eagerly": True}) for name in MODELS),
        # Compiling with XLA takes its time: one model with all that could differ.
        pytest.param("noisy", {"jit_compile": True}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_weights_and_history_are_bit_identical(dlviz, table, name, options):
    plain, history, *drawn = trained(MODELS[name], table, **options)
    dlviz.autolog(log_models=False, cadence=1)
    watched, seen, *drawn_too = trained(MODELS[name], table, **options)
    for one, other in zip(plain.variables, watched.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)
    for one, other in zip(plain.optimizer.variables, watched.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)
    assert {key: seen[key] for key in history} == history
    assert len(seen["val_mcc"]) == 3
    assert drawn == drawn_too


def test_a_convolutional_network_is_bit_identical(dlviz, images, convnet):
    x, y, validation = images
    weights = []
    for watched in (False, True):
        if watched:
            dlviz.autolog(log_models=False, cadence=1)
        model = convnet()
        model.fit(x, y, epochs=3, batch_size=16, verbose=0, validation_data=validation)
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_model_carries_no_trace_afterwards(dlviz, table, binary):
    dlviz.autolog(log_models=False)
    model, plain = binary(), binary()
    for each, pause in ((model, nullcontext), (plain, dlviz.paused)):
        with pause():
            each.fit(*table[:2], epochs=1, verbose=0, validation_data=table[2])
    assert [metric.name for metric in model.metrics] == [metric.name for metric in plain.metrics]
    assert vars(model).keys() == vars(plain).keys()
    assert set(model.evaluate(*table[2], verbose=0, return_dict=True)) == {"loss"}
    assert set(model.fit(*table[:2], epochs=1, verbose=0).history) >= {"loss"}


def test_compiled_functions_of_before_are_put_back(dlviz, table, binary):
    model = binary()
    with dlviz.paused():
        model.fit(*table[:2], epochs=1, verbose=0, validation_data=table[2])
    compiled = model.train_function, model.test_function
    dlviz.autolog(log_models=False)
    model.fit(*table[:2], epochs=1, verbose=0, validation_data=table[2])
    assert (model.train_function, model.test_function) == compiled


def test_what_was_passed_in_is_not_modified(dlviz, table, binary):
    dlviz.autolog(log_models=False)
    x, y, (val_x, val_y) = table
    copies = [value.copy() for value in (x, y, val_x, val_y)]
    callbacks = [keras.callbacks.TerminateOnNaN()]
    validation, weights = (val_x, val_y), {0: 1.0, 1: 2.0}
    binary().fit(x, y, epochs=2, verbose=0, callbacks=callbacks, validation_data=validation, class_weight=weights)
    assert len(callbacks) == 1
    assert validation == (val_x, val_y)
    assert weights == {0: 1.0, 1: 2.0}
    for value, copy in zip((x, y, val_x, val_y), copies, strict=True):
        np.testing.assert_array_equal(value, copy)


def test_a_stateful_data_pipeline_gives_what_it_would_have_given(dlviz, table, binary):
    x, y, _ = table

    def pipeline(seed):
        def batches():
            rng = np.random.default_rng(seed)
            while True:
                rows = rng.integers(0, len(x), 16)
                yield x[rows], y[rows, None]

        spec = (tf.TensorSpec((16, 4)), tf.TensorSpec((16, 1), tf.int32))
        return tf.data.Dataset.from_generator(batches, output_signature=spec)

    def history():
        data, validation = pipeline(5), pipeline(6)
        keras.utils.set_random_seed(0)
        return (
            binary()
            .fit(data, steps_per_epoch=4, epochs=2, verbose=0, validation_data=validation, validation_steps=2)
            .history
        )

    plain = history()
    dlviz.autolog(log_models=False)
    watched = history()
    assert {key: watched[key] for key in plain} == plain
    assert len(watched["val_mcc"]) == 2


def streams(kind, table):
    x, y, (val_x, val_y) = table

    def batches(x, y):
        for at in range(0, 10**9, 16):
            rows = np.arange(at, at + 16) % len(x)
            yield x[rows], y[rows, None]

    if kind == "generator":
        steps = {"steps_per_epoch": 7, "validation_steps": 2}
        return batches(x, y), {"validation_data": batches(val_x, val_y), **steps}
    data = tf.data.Dataset.from_tensor_slices((x, y[:, None])).shuffle(50).batch(16)
    return data, {"validation_data": tf.data.Dataset.from_tensor_slices((val_x, val_y[:, None])).batch(16)}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("set", {}),
        pytest.param("set", {"jit_compile": True, "steps_per_execution": 2}, marks=pytest.mark.slow),
        pytest.param("set", {"run_eagerly": True}, marks=pytest.mark.slow),
        pytest.param("generator", {"steps_per_execution": 3}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_streams_are_left_as_they_were(dlviz, table, kind, options):
    outcomes, models = [], []
    for watched in (False, True):
        if watched:
            dlviz.autolog(log_models=False, cadence=1)
        keras.utils.set_random_seed(7)
        model = dense()
        model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", **options)
        data, more = streams(kind, table)
        history = model.fit(data, epochs=2, verbose=0, **more).history
        seen = {key: history[key] for key in KERAS_KEYS}
        if kind == "generator":
            # Reading ahead on a thread of its own, Keras alone does not always begin the second at the same batch.
            seen["val_loss"] = seen["val_loss"][:1]
        outcomes.append([seen, random.random(), np.random.random()])
        models.append(model)
    assert outcomes[0] == outcomes[1]
    for one, other in zip(models[0].variables, models[1].variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)
    assert vars(models[0]).keys() == vars(models[1]).keys()
    assert set(models[1].evaluate(*table[2], verbose=0, return_dict=True)) == {"loss"}


@pytest.mark.slow
def test_a_checkpoint_loads_where_we_are_not_installed(dlviz, table, binary, tmp_path):
    dlviz.autolog(log_models=False)
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "model.keras")
    model = binary()
    model.fit(*table[:2], epochs=1, verbose=0, callbacks=[checkpoint])
    np.save(tmp_path / "x.npy", table[0])
    script = (
        "import sys; sys.modules['mlflow_dlviz'] = None\n"
        "import keras, numpy as np\n"
        "model = keras.models.load_model('model.keras')\n"
        "np.save('y.npy', model.predict(np.load('x.npy'), verbose=0))\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), model.predict(table[0], verbose=0))


def test_users_matplotlib_settings_and_figures_are_left_alone(dlviz, table, binary):
    import matplotlib.pyplot as plt

    settings = dict(plt.rcParams)
    dlviz.autolog(log_models=False)
    binary().fit(*table[:2], epochs=2, verbose=0, validation_data=table[2])
    dlviz.flush(60)
    assert not plt.get_fignums()
    assert dict(plt.rcParams) == settings


@pytest.mark.parametrize("broken", quick(["capture", "freeze", "draw", "evolve"], "capture", "draw"))
def test_a_failing_visual_fails_alone_and_once(dlviz, runs, table, binary, caplog, broken):
    import json

    import mlflow

    def fail(*args, **kwargs):
        raise RuntimeError("my mistake")

    good = dlviz.catalogue.boundary()
    parts = {"capture": good.capture, "freeze": good.freeze, "draw": good.draw, "evolve": None, broken: fail}
    mine = dlviz.Visual(name="mine", needs=("predict",), **parts)
    plain = trained(dense, table)[0]
    dlviz.autolog(log_models=False, visuals=["probabilities", mine])
    model = trained(dense, table)[0]
    dlviz.flush(60)
    for one, other in zip(plain.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    [run] = runs()
    assert run.data.tags["dlviz.status"] == "partial"
    ledger = json.loads(mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/dlviz/ledger.json"))
    failures = [entry for entry in ledger["entries"] if entry["kind"] == "failed"]
    assert all("mine" in entry["what"] and "my mistake" in entry["traceback"] for entry in failures)
    assert failures
    assert caplog.text.count("my mistake") == 1
    assert list(dlviz.load(run.info.run_id, "probabilities")["validation"]) == [0, 1, 2]


class OwnMetrics(keras.Model):
    """Its ``compute_metrics`` takes what its own ``train_step`` gives, and no more."""

    def __init__(self):
        super().__init__()
        self.head = keras.layers.Dense(1, "sigmoid")

    def call(self, x):
        return self.head(x)

    def compute_metrics(self, x, y, y_pred):
        return {"mine": keras.ops.mean(y_pred)}

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x)
            loss = self.compute_loss(y=y, y_pred=y_pred)
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply(gradients, self.trainable_weights)
        return self.compute_metrics(x, y, y_pred)


def test_a_compute_metrics_of_the_users_own_is_called_as_without_us(dlviz, table):
    dlviz.autolog(log_models=False, visuals=[])
    keras.utils.set_random_seed(0)
    model = OwnMetrics()
    model.compile("adam", "binary_crossentropy")
    history = model.fit(table[0], table[1][:, None], epochs=2, verbose=0).history
    assert len(history["mine"]) == len(history["mcc"]) == 2


def test_compiling_inside_a_fit_holds_afterwards(dlviz, table, binary):
    x, y, _ = table
    model = binary()
    model.train_on_batch(x, y[:, None])
    model.evaluate(x, y, verbose=0)
    dlviz.autolog(log_models=False, visuals=[])

    class Recompile(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.compile(keras.optimizers.SGD(0.0), "mse")
            self.model.make_train_function()

    model.fit(x, y, epochs=1, verbose=0, callbacks=[Recompile()])
    before = model.get_weights()
    model.train_on_batch(x, y[:, None])
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    expected = np.mean((model.predict(x, verbose=0)[:, 0] - y) ** 2)
    assert model.evaluate(x, y, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_a_callback_list_without_a_model_can_be_made(dlviz):
    dlviz.autolog()
    assert keras.callbacks.CallbackList([], add_history=True).callbacks
