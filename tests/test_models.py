"""Every kind of model: fit ends as without us, its metrics are exact, and nothing is left on the model."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from asking import quick
from keras import layers
from sklearn.metrics import confusion_matrix, f1_score, matthews_corrcoef


def compiled(model, **options):
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", **options)
    return model


def dense(**options):
    inner = [layers.Dense(8, "relu"), layers.Dropout(0.3), layers.BatchNormalization()]
    return compiled(keras.Sequential([keras.Input((4,)), *inner, layers.Dense(1, "sigmoid")]), **options)


def unbuilt():
    return compiled(keras.Sequential([layers.Dense(4, "relu"), layers.Dense(1, "sigmoid")]))


def functional():
    inputs = keras.Input((4,))
    hidden = layers.Dense(4, "relu")(inputs)
    joined = layers.Concatenate()([inputs, layers.Dropout(0.2)(hidden)])
    return compiled(keras.Model(inputs, layers.Dense(1, "sigmoid")(joined)))


def nested():
    backbone = keras.Sequential([keras.Input((4,)), layers.Dense(6, "relu"), layers.BatchNormalization()])
    inputs = keras.Input((4,))
    body = keras.Model(inputs, layers.Dense(3, "relu")(backbone(inputs)), name="body")
    outer = keras.Input((4,))
    return compiled(keras.Model(outer, layers.Dense(1, "sigmoid")(body(outer))))


def shared():
    inputs, layer = keras.Input((4,)), layers.Dense(4, "relu", name="twice")
    return compiled(keras.Model(inputs, layers.Dense(1, "sigmoid")(layer(layer(inputs)))))


class Subclassed(keras.Model):
    """A list of layers, a model within, and a call that knows of training."""

    def __init__(self):
        super().__init__()
        self.blocks = [layers.Dense(4, "relu") for _ in range(2)]
        self.dropout = layers.Dropout(0.3)
        self.head = keras.Sequential([layers.Dense(1, "sigmoid")])

    def call(self, x, training=False):
        for block in self.blocks:
            x = self.dropout(block(x), training=training)
        return self.head(x)


class OwnSteps(Subclassed):
    """Steps of its own that call ``compute_metrics``, each in another of the ways that there are."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=y_pred)
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {**self.compute_metrics(x, y, y_pred, sample_weight=None), "extra": loss}

    def test_step(self, data):
        x, y = data
        y_pred = self(x)
        self.compute_loss(x=x, y=y, y_pred=y_pred)
        return self.compute_metrics(x=x, y=y, y_pred=y_pred)


def mixed(policy):
    def build():
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            return dense()
        finally:
            keras.config.set_dtype_policy(before)

    return build


MODELS = {
    "sequential": dense,
    "unbuilt": unbuilt,
    "functional": functional,
    "nested": nested,
    "shared": shared,
    "subclassed": lambda: compiled(Subclassed()),
    "own steps": lambda: compiled(OwnSteps()),
    "compiled with XLA": lambda: dense(jit_compile=True),
    "eager": lambda: dense(run_eagerly=True),
    "several steps at once": lambda: dense(steps_per_execution=3),
    "mixed_float16": mixed("mixed_float16"),
    "mixed_bfloat16": mixed("mixed_bfloat16"),
}
CENTRAL = ("unbuilt", "nested", "own steps", "several steps at once", "mixed_float16")


def trained(build, table, **more):
    x, y, validation = table
    keras.utils.set_random_seed(3)
    model = build()
    history = model.fit(x, y, **{"epochs": 2, "verbose": 0, "validation_data": validation, **more}).history
    return model, history


def assert_same_weights(one, other):
    for name in ("variables", "optimizer.variables"):
        for mine, theirs in zip(values(one, name), values(other, name), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def values(model, name):
    found = model
    for part in name.split("."):
        found = getattr(found, part)
    return [variable.numpy() for variable in found]


def failures(entries):
    return [entry for entry in entries if entry["kind"] == "failed"]


@pytest.mark.parametrize("name", quick(MODELS, *CENTRAL))
def test_a_model_of_each_kind(dlviz, runs, ledger, table, name):
    x, y, (x_val, y_val) = table
    with dlviz.paused():
        plain, expected = trained(MODELS[name], table)
    dlviz.autolog(cadence=1)
    model, history = trained(MODELS[name], table)
    assert dlviz.flush(120)
    assert_same_weights(plain, model)
    assert {key: history[key] for key in expected} == expected
    assert vars(model).keys() == vars(plain).keys()
    assert [metric.name for metric in model.metrics] == [metric.name for metric in plain.metrics]
    # Of the last epoch on the validation set, every count and what follows from it.
    predicted = model.predict(x_val, verbose=0)[:, 0] > 0.5
    (tn, fp), (fn, tp) = confusion_matrix(y_val, predicted)
    assert [history[f"val_{count}"][-1] for count in ("tp", "tn", "fp", "fn")] == [tp, tn, fp, fn]
    assert history["val_mcc"][-1] == pytest.approx(matthews_corrcoef(y_val, predicted), abs=1e-6)
    assert history["val_f1"][-1] == pytest.approx(f1_score(y_val, predicted), abs=1e-6)
    # Of the training set, all samples.
    assert [history["tp"][i] + history["fn"][i] for i in range(2)] == [y.sum()] * 2
    assert [history["tn"][i] + history["fp"][i] for i in range(2)] == [(1 - y).sum()] * 2
    [run] = runs()
    assert run.info.status == "FINISHED"
    assert not failures(ledger(run))
    assert run.data.tags["dlviz.status"] == "ok"
    assert len(run.outputs.model_outputs) == 1
    frames = dlviz.load(run.info.run_id, "activations")
    assert frames
    assert all(list(leaf) == [0, 1] for leaf in frames.values())
    assert list(dlviz.load(run.info.run_id, "boundary")["plane"]) == [0, 1]


@pytest.mark.parametrize("name", ["functional", "nested", "shared"])
def test_the_layers_of_nested_models_are_shown(dlviz, runs, table, name):
    shown = {"functional": ["dense", "dense"], "nested": ["dense"] * 3, "shared": ["twice", "dense"]}[name]
    dlviz.autolog(visuals=["activations"], log_models=False)
    trained(MODELS[name], table, epochs=1)
    dlviz.flush(60)
    leaves = sorted(dlviz.load(runs()[0].info.run_id, "activations"))
    assert len(leaves) == len(shown)
    assert all(part in leaf for part, leaf in zip(shown, leaves, strict=True))


class Bypassing(Subclassed):
    def loss_of(self, data, *, training):
        x, y = data
        return keras.ops.mean(keras.losses.binary_crossentropy(y[:, None], self(x, training=training)))


class BypassingInTraining(Bypassing):
    def train_step(self, data):
        with tf.GradientTape() as tape:
            loss = self.loss_of(data, training=True)
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}


class BypassingInTesting(Bypassing):
    def test_step(self, data):
        return {"loss": self.loss_of(data, training=False)}


class BypassingAlways(BypassingInTraining, BypassingInTesting):
    pass


@pytest.mark.parametrize(
    ("kind", "counted", "step"),
    [
        (BypassingInTraining, {"val_mcc"}, "train_step"),
        (BypassingInTesting, {"mcc"}, "test_step"),
        (BypassingAlways, set(), "train_step"),
    ],
)
def test_a_step_that_bypasses_the_metrics_is_said_once(dlviz, runs, ledger, table, caplog, kind, counted, step):
    def build():
        return compiled(kind())

    with dlviz.paused():
        plain, _ = trained(build, table)
    dlviz.autolog(log_models=False, visuals=["activations"])
    model, history = trained(build, table, epochs=2)
    dlviz.flush(60)
    assert_same_weights(plain, model)
    assert history.keys() & {"mcc", "val_mcc"} == counted
    [run] = runs()
    said = [entry["why"] for entry in ledger(run) if "compute_metrics" in entry["why"]]
    assert len(said) == 1
    assert step in said[0]
    assert caplog.text.count("compute_metrics") == 1
    assert not failures(ledger(run))
    assert dlviz.load(run.info.run_id, "activations")


class Recompile(keras.callbacks.Callback):
    """Freezes a part of the model and compiles it anew in mid-training."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            self.model.layers[0].trainable = False
            self.model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy", metrics=["accuracy"])
            self.model.make_train_function()


def test_a_model_compiled_anew_in_mid_fit(dlviz, runs, ledger, table):
    with dlviz.paused():
        plain, expected = trained(dense, table, epochs=3, callbacks=[Recompile()])
    dlviz.autolog(log_models=False, visuals=["probabilities", "boundary"])
    model, history = trained(dense, table, epochs=3, callbacks=[Recompile()])
    dlviz.flush(60)
    assert_same_weights(plain, model)
    assert {key: history[key] for key in expected} == expected
    assert vars(model).keys() == vars(plain).keys()
    assert len(history["val_mcc"]) == 3
    predicted = model.predict(table[2][0], verbose=0)[:, 0] > 0.5
    assert history["val_mcc"][-1] == pytest.approx(matthews_corrcoef(table[2][1], predicted), abs=1e-6)
    assert not failures(ledger(runs()[0]))


@pytest.mark.parametrize("name", ["sequential", "nested", "mixed_bfloat16"])
def test_a_model_is_cloned_saved_and_loaded_as_without_us(dlviz, table, tmp_path, name):
    dlviz.autolog(log_models=False)
    model, _ = trained(MODELS[name], table, epochs=1)
    expected = model.predict(table[0], verbose=0)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone.predict(table[0], verbose=0), expected)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(table[0], verbose=0), expected)
    # It trains on, compiled as it was.
    dlviz.autolog(disable=True)
    assert set(loaded.fit(*table[:2], epochs=1, verbose=0).history) == {"loss"}
