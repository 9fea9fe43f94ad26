"""What is known of a ``fit`` besides its numbers."""

from __future__ import annotations

import platform

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import tensorflow as tf

from mlflow_dlviz.capture import facts

X, Y = np.zeros((20, 4), "float32"), np.zeros(20)


def test_versions_are_of_what_runs():
    told = dict(each.split(" ") for each in facts.versions().split(", "))
    assert told["keras"] == keras.__version__
    assert told["tensorflow"] == tf.__version__
    assert told["python"] == platform.python_version()


def compiled(optimizer="adam"):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(optimizer, "mse")
    return model


@pytest.mark.parametrize(("given", "expected"), [(None, 32), (7, 7)])
def test_the_batch_size_of_arrays_is_keras_own_default(call, given, expected):
    assert facts.fit_settings(call((X, Y), batch_size=given))["batch_size"] == expected


def test_data_that_bring_their_batches_have_no_batch_size(call):
    assert facts.fit_settings(call((iter([X]), None), batch_size=None))["batch_size"] is None


def data_set(**options):
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(8, **options)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return X[:8], Y[:8]


class Endless(Batches):
    @property
    def num_batches(self):
        return None


class Broken(Batches):
    def __len__(self):
        raise RuntimeError("not yet known")


@pytest.mark.parametrize(
    ("data", "batch_size", "batches"),
    [
        (lambda: data_set(), 8, 3),
        (lambda: data_set(drop_remainder=True), 8, 2),
        (lambda: data_set().prefetch(2), 8, 3),
        (lambda: data_set().map(lambda x, y: (x, y)).cache().shuffle(3).repeat(2), 8, 6),
        (lambda: data_set().repeat(), 8, None),
        (lambda: data_set().filter(lambda x, y: True), None, None),
        (lambda: Batches(), None, 3),
        (lambda: Endless(), None, None),
        (lambda: Broken(), None, None),
        (lambda: iter([X]), None, None),
        (lambda: X, 32, None),
    ],
    ids=["batched", "full", "prefetch", "cached", "endless", "filtered", "py", "py-endless", "py-broken",
         "iterator", "array"],
)  # fmt: skip
def test_batches_and_their_size_are_known_without_reading_any(call, data, batch_size, batches):
    data = data()
    assert facts.fit_settings(call((data, None), batch_size=None))["batch_size"] == batch_size
    assert facts.batches(data) == batches
    described = facts.data_description((data, None))
    assert described.get("batches") == batches
    if batches and batch_size:
        assert described["batch_size"] == batch_size


def test_main_settings_are_always_notable_and_others_when_changed():
    model = compiled(keras.optimizers.SGD(0.1, momentum=0.9))
    settings = {
        "epochs": 1,
        "batch_size": 32,
        "shuffle": True,
        "validation_freq": 3,
        **facts.optimizer_settings(model),
    }
    assert facts.notable(settings, model) == {
        "epochs": "1",
        "batch_size": "32",
        "validation_freq": "3",
        "optimizer_name": "sgd",
        "optimizer_learning_rate": "0.1",
        "optimizer_momentum": "0.9",
    }


def test_a_schedule_is_named_with_its_settings():
    model = compiled(keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.1, 100, 0.9)))
    text = facts.notable(facts.optimizer_settings(model), model)["optimizer_learning_rate"]
    assert text.startswith("ExponentialDecay(initial_learning_rate=0.1")


def test_an_optimizer_that_needs_arguments_is_no_trouble():
    class Own(keras.optimizers.SGD):
        def __init__(self, needed, **options):
            super().__init__(0.5, **options)

    model = compiled(Own(3))
    assert facts.notable(facts.optimizer_settings(model), model)["optimizer_learning_rate"] == "0.5"


@pytest.mark.parametrize(
    ("value", "text"), [(np.float32(0.1).item(), "0.1"), (1e-7, "1e-07"), (None, "None"), ({0: 1.0}, "{0: 1.0}")]
)
def test_settings_as_text(value, text):
    assert facts.as_text(value) == text


def test_the_learning_rate_is_the_one_in_force():
    model = compiled(keras.optimizers.SGD(0.1))
    assert facts.learning_rate(model) == pytest.approx(0.1)
    model.optimizer.learning_rate = 0.02
    assert facts.learning_rate(model) == pytest.approx(0.02)
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 100, 0.9)
    assert facts.learning_rate(compiled(keras.optimizers.Adam(schedule))) == pytest.approx(0.1)


def test_vector_valued_metrics_have_one_name_an_entry():
    logs = {
        "loss": np.float32(0.5),
        "f1": np.array([0.1, 0.2]),
        "steps": 3,
        "word": "a",
        "tensor": tf.constant(2.0),
    }
    found = facts.scalars(logs)
    assert found == pytest.approx({"loss": 0.5, "f1_0": 0.1, "f1_1": 0.2, "steps": 3.0, "tensor": 2.0})
    assert all(type(value) is float for value in found.values())
    assert len(facts.scalars({"many": np.zeros(1000)})) == 100
    assert np.isnan(facts.scalars({"loss": float("nan")})["loss"])


class Unreadable:
    def __array__(self, *args, **kwargs):
        raise RuntimeError("gone")


def test_what_a_callback_puts_into_the_logs_takes_no_metric_with_it():
    logs = {"loss": 0.5, 5: 1.0, "none": None, "object": object(), "unreadable": Unreadable()}
    assert facts.scalars(logs) == {"loss": 0.5, "5": 1.0}


@pytest.mark.parametrize(
    ("data", "samples", "words"),
    [
        ((X, Y), 20, "(20, 4)"),
        ((pd.DataFrame(X), pd.Series(Y)), 20, "DataFrame"),
        (({"a": X, "b": X}, Y), 20, "'b'"),
        (([X, X], None), 20, "float32"),
        ((tf.ragged.constant([[1.0], [2.0, 3.0]]), None), 2, "RaggedTensor"),
        ((tf.sparse.eye(5), None), 5, "SparseTensor"),
        ((scipy.sparse.eye_array(5, format="csr"), None), 5, "csr_array"),
        ((Batches(), None), None, "Batches"),
        ((tf.data.Dataset.from_tensor_slices(X), None), None, "element_spec"),
        ((iter([X]), None), None, "list_iterator"),
    ],
    ids=["arrays", "frame", "dict", "list", "ragged", "sparse", "scipy", "py", "dataset", "iterator"],
)
def test_data_are_described_without_being_read(data, samples, words):
    described = facts.data_description(data)
    assert described["samples"] == samples
    assert words in str(described["features"])
    assert ("targets" in described) == (data[1] is not None)


def stopped(epochs, **options):
    stopping = keras.callbacks.EarlyStopping(monitor="loss", **options)
    model = compiled(keras.optimizers.SGD(0.0))
    model.run_eagerly = True
    model.fit(X[:4], Y[:4] + 1, epochs=epochs, verbose=0, callbacks=[stopping])
    return stopping


def test_early_stopping_tells_where_it_stopped_and_what_it_restored():
    assert facts.stopping_metrics(stopped(5, patience=1, restore_best_weights=True)) == {
        "stopped_epoch": 1.0,
        "restored_epoch": 0.0,
    }
    assert facts.stopping_metrics(stopped(1, patience=1)) == {}
    stopping = keras.callbacks.EarlyStopping(monitor="val_mcc", patience=4)
    assert facts.early_stopping([keras.callbacks.TerminateOnNaN(), stopping]) is stopping
    assert facts.early_stopping([]) is None
    settings = facts.stopping_settings(stopping)
    assert settings["early_stopping_monitor"] == "val_mcc"
    assert settings["early_stopping_patience"] == 4


def test_the_summary_has_every_layer():
    model = compiled()
    assert model.layers[0].name in facts.model_summary(model)
