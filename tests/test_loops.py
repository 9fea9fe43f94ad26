"""Loops around fit: searches, cross-validation, threads, and fits within fits."""

from __future__ import annotations

import threading

import keras
import mlflow
import numpy as np
import pytest
from asking import quick


def fit(model, table, **more):
    x, y, validation = table
    return model.fit(x, y, **{"epochs": 2, "verbose": 0, "validation_data": validation, **more})


def steps(store, run, key="val_loss"):
    return [metric.step for metric in store.get_metric_history(run.info.run_id, key)]


@pytest.mark.slow
def test_each_trial_of_a_tuner_has_a_run(dlviz, store, runs, table, tmp_path):
    keras_tuner = pytest.importorskip("keras_tuner")

    def build(hp):
        model = keras.Sequential(
            [keras.layers.Dense(hp.Choice("units", [2, 4])), keras.layers.Dense(1, "sigmoid")]
        )
        model.compile("adam", "binary_crossentropy")
        return model

    tuner = keras_tuner.GridSearch(build, "val_loss", max_trials=2, directory=tmp_path, project_name="search")
    dlviz.autolog(visuals=["probabilities"], log_models=False)
    x, y, validation = table
    stopping = keras.callbacks.EarlyStopping("val_mcc", mode="max", patience=5)
    tuner.search(x, y, epochs=2, verbose=0, validation_data=validation, callbacks=[stopping])
    dlviz.flush(60)
    assert len(runs()) == 2
    for run in runs():
        assert run.info.status == "FINISHED"
        assert run.data.tags["dlviz.status"] == "ok"
        assert steps(store, run, "val_mcc") == [0, 1]
        assert list(dlviz.load(run.info.run_id, "probabilities")["validation"]) == [0, 1]
    found = {trial.score for trial in tuner.oracle.trials.values()}
    assert sorted(run.data.metrics["best_val_loss"] for run in runs()) == pytest.approx(sorted(found))


def wrapped():
    def build(X, y, units=4):  # noqa: N803 - the wrapper's names
        layers = [keras.layers.Dense(units, "relu"), keras.layers.Dense(y.shape[1], "softmax")]
        model = keras.Sequential([keras.Input(X.shape[1:]), *layers])
        model.compile("adam", "categorical_crossentropy")
        return model

    return keras.wrappers.SKLearnClassifier(build, model_kwargs={"units": 4})


@pytest.mark.parametrize("search", ["grid", "cross-validation"])
def test_each_fit_of_a_scikit_learn_search_has_a_run(dlviz, store, runs, table, search):
    from sklearn.model_selection import GridSearchCV, cross_val_score

    x, y, _ = table
    # The wrapper forgets its fit_kwargs when scikit-learn clones it (seen in Keras 3.15).
    options = {"epochs": 2, "verbose": 0}
    dlviz.autolog(visuals=[], log_models=False)
    if search == "grid":
        GridSearchCV(wrapped(), {"model_kwargs": [{"units": 2}, {"units": 4}]}, cv=2, n_jobs=1).fit(
            x, y, **options
        )
        expected = [60, 60, 60, 60, 120]
    else:
        cross_val_score(wrapped(), x, y, cv=3, n_jobs=1, params=options)
        expected = [80, 80, 80]
    dlviz.flush(60)
    counted = [sum(run.data.metrics[name] for name in ("tp", "tn", "fp", "fn")) for run in runs()]
    assert counted == expected
    assert [steps(store, run, "mcc") for run in runs()] == [[0, 1]] * len(expected)
    assert {run.info.status for run in runs()} == {"FINISHED"}


def test_cross_validation_in_nested_runs_of_the_users(dlviz, store, runs, binary, table):
    x, y, _ = table
    folds = np.arange(len(x)) % 3
    dlviz.autolog(visuals=["probabilities"], log_models=False)
    with mlflow.start_run() as parent:
        for fold in range(3):
            inside = folds != fold
            with mlflow.start_run(nested=True, run_name=f"fold {fold}"):
                fit(binary(), (x[inside], y[inside], (x[~inside], y[~inside])))
            assert mlflow.active_run().info.run_id == parent.info.run_id
    dlviz.flush(60)
    outer, *inner = runs()
    assert outer.info.run_id == parent.info.run_id
    assert not outer.data.metrics
    assert [run.info.run_name for run in inner] == ["fold 0", "fold 1", "fold 2"]
    for run in inner:
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert steps(store, run, "val_mcc") == [0, 1]
        assert sum(run.data.metrics[f"val_{name}"] for name in ("tp", "tn", "fp", "fn")) == 40
        assert list(dlviz.load(run.info.run_id, "probabilities")["validation"]) == [0, 1]


def test_fits_in_several_threads_have_a_run_each(dlviz, store, runs, binary, table):
    dlviz.autolog(visuals=["probabilities", "activations"], log_models=False)
    models = {epochs: binary(units=units) for epochs, units in ((2, 1), (3, 2), (4, 3))}
    wrong = []

    def train(epochs):
        try:
            fit(models[epochs], table, epochs=epochs)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=train, args=(epochs,)) for epochs in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    dlviz.flush(120)
    assert not wrong
    found = {int(run.data.params["epochs"]): run for run in runs()}
    assert found.keys() == models.keys()
    assert len(runs()) == 3
    for epochs, run in found.items():
        assert run.info.status == "FINISHED"
        assert run.data.tags["dlviz.status"] == "ok"
        assert "mlflow.parentRunId" not in run.data.tags
        assert steps(store, run, "val_mcc") == list(range(epochs))
        frames = dlviz.load(run.info.run_id, "probabilities")["validation"]
        assert list(frames) == list(range(epochs))
        assert frames[0]["counts"].shape[0] == max(2, models[epochs].output_shape[-1])
    assert mlflow.active_run() is None


class Inner(keras.callbacks.Callback):
    """Fits another model at the end of each epoch, as a probing classifier does."""

    def __init__(self, make, table, **options):
        super().__init__()
        self.make, self.table, self.options = make, table, options

    def on_epoch_end(self, epoch, logs=None):
        fit(self.make(), self.table, **self.options)


@pytest.mark.parametrize("users_run", quick([False, True], False), ids=["own run", "user's run"])
def test_a_fit_in_a_callback_has_a_child_run(dlviz, store, runs, binary, table, users_run):
    dlviz.autolog(visuals=["probabilities"], log_models=False)
    with dlviz.paused():
        expected = fit(binary(), table, epochs=3).history["val_loss"]
    inner = Inner(lambda: binary(units=3, seed=1), table, epochs=2)
    if users_run:
        with mlflow.start_run() as mine:
            fit(binary(), table, epochs=3, callbacks=[inner])
            assert mlflow.active_run().info.run_id == mine.info.run_id
    else:
        fit(binary(), table, epochs=3, callbacks=[inner])
    dlviz.flush(60)
    outer, *children = runs()
    assert len(children) == 3
    logged = store.get_metric_history(outer.info.run_id, "val_loss")
    assert [metric.step for metric in logged] == [0, 1, 2]
    assert [metric.value for metric in logged] == pytest.approx(expected)
    frames = dlviz.load(outer.info.run_id, "probabilities")["validation"]
    assert list(frames) == [0, 1, 2]
    assert {len(frame["counts"]) for frame in frames.values()} == {2}
    for child in children:
        assert child.data.tags["mlflow.parentRunId"] == outer.info.run_id
        assert steps(store, child) == [0, 1]
        assert {
            len(f["counts"]) for f in dlviz.load(child.info.run_id, "probabilities")["validation"].values()
        } == {3}
    assert {run.info.status for run in runs()} == {"FINISHED"}
    assert {run.data.tags["dlviz.status"] for run in runs()} == {"ok"}
    assert mlflow.active_run() is None


class Raise(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise ValueError("mine")


def test_a_fit_in_a_callback_that_raises_fails_alone(dlviz, store, runs, binary, table):
    class Tolerant(Inner):
        def on_epoch_end(self, epoch, logs=None):
            with pytest.raises(ValueError, match="mine"):
                super().on_epoch_end(epoch, logs)

    dlviz.autolog(visuals=[], log_models=False)
    fit(binary(), table, callbacks=[Tolerant(binary, table, callbacks=[Raise()])])
    dlviz.flush(60)
    outer, *children = runs()
    assert outer.info.status == "FINISHED"
    assert steps(store, outer) == [0, 1]
    assert [child.info.status for child in children] == ["FAILED", "FAILED"]


def test_a_fit_after_a_fit_is_no_child(dlviz, runs, binary, table):
    dlviz.autolog(visuals=[], log_models=False)
    with pytest.raises(ValueError, match="mine"):
        fit(binary(), table, callbacks=[Raise()])
    fit(binary(), table)
    assert not any("mlflow.parentRunId" in run.data.tags for run in runs())
    assert [run.info.status for run in runs()] == ["FAILED", "FINISHED"]


class Looking(keras.callbacks.Callback):
    """Evaluates and predicts on other data whenever it can."""

    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def look(self, *_):
        self.model.evaluate(self.x, self.y, verbose=0)
        self.model.predict(self.x, verbose=0)

    on_epoch_begin = on_epoch_end = look


@pytest.mark.parametrize("validated", [True, False])
def test_looking_at_other_data_in_a_callback_does_not_count(dlviz, binary, table, validated):
    x, y, validation = table
    dlviz.autolog(visuals=[], log_models=False)
    more = {"validation_data": validation if validated else None}
    plain = fit(binary(), table, **more).history
    seen = fit(binary(), table, callbacks=[Looking(x[:50], 1 - y[:50])], **more).history
    # Keras' own training loss is one of what was evaluated, too: its metrics are shared.
    assert {**seen, "loss": None} == {**plain, "loss": None}
    assert plain["tp"][0] + plain["fn"][0] == y.sum()
    assert ("val_tp" in plain) == validated


def test_batches_trained_by_hand_are_not_a_fit(dlviz, runs, binary, table):
    dlviz.autolog()
    model = binary()
    for _ in range(3):
        model.train_on_batch(*table[:2])
    model.test_on_batch(*table[:2])
    assert not runs()
