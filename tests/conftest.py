"""A real MLflow store for every test, and tiny real models."""

from __future__ import annotations

import os
import shutil

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow
import numpy as np
import pytest


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """An empty SQLite store: making one takes seconds, copying it none."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    mlflow.MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture()
def store(tmp_path, empty_store, monkeypatch):
    """The current store of this test, with the experiment "test"; yields a client."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = mlflow.create_experiment("test", artifact_location=(tmp_path / "artifacts").as_uri())
    mlflow.set_experiment(experiment_id=experiment)
    yield mlflow.MlflowClient()
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(None)


@pytest.fixture()
def dlviz(store):
    """The package, with everything off again afterwards."""
    import mlflow_dlviz

    yield mlflow_dlviz
    mlflow_dlviz.flush(60)
    mlflow_dlviz.autolog(disable=True)


@pytest.fixture()
def runs(store):
    """All runs of the test, oldest first, as a function: ``runs()``."""

    def all_runs():
        experiments = [experiment.experiment_id for experiment in store.search_experiments()]
        return store.search_runs(experiments, order_by=["attributes.start_time ASC"])

    return all_runs


@pytest.fixture()
def table():
    """A table (N, 4) with binary labels (N,), 120 for training and 40 for validation."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(160, 4)).astype("float32")
    y = (x[:, 0] + x[:, 1] > 0.2).astype("int32")
    return x[:120], y[:120], (x[120:], y[120:])


@pytest.fixture()
def binary():
    """A compiled binary classifier of 4 features; ``binary(units=2, from_logits=True)``."""
    import keras

    def build(features=4, units=1, from_logits=False, metrics=(), seed=0, **compile_options):
        keras.utils.set_random_seed(seed)
        activation = None if from_logits else ("sigmoid" if units == 1 else "softmax")
        kind = "BinaryCrossentropy" if units == 1 else "SparseCategoricalCrossentropy"
        model = keras.Sequential(
            [keras.Input((features,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(units, activation)]
        )
        loss = getattr(keras.losses, kind)(from_logits=from_logits)
        model.compile("adam", loss, metrics=list(metrics), **compile_options)
        return model

    return build


@pytest.fixture()
def images():
    """Images (N, 8, 8, 1) of three classes, made so that they can be told apart; 96 and 32 of them."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 128).astype("int32")
    x = rng.uniform(0, 0.3, (128, 8, 8, 1)).astype("float32")
    for label in range(3):
        x[y == label, label * 2 : label * 2 + 3] += 0.6
    return x[:96], y[:96], (x[96:], y[96:])


@pytest.fixture()
def convnet():
    """A compiled convolutional classifier with dropout and batch normalisation."""
    import keras

    def build(seed=0, **compile_options):
        keras.utils.set_random_seed(seed)
        model = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                keras.layers.Conv2D(4, 3, activation="relu"),
                keras.layers.BatchNormalization(),
                keras.layers.MaxPooling2D(),
                keras.layers.Flatten(),
                keras.layers.Dropout(0.3),
                keras.layers.Dense(3, "softmax"),
            ]
        )
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], **compile_options)
        return model

    return build
