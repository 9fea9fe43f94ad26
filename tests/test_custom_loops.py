"""Training loops of the user's own: recorded as a fit is, without changing what they train."""

from __future__ import annotations

import json

import keras
import mlflow
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import confusion_matrix, f1_score, matthews_corrcoef

LOSS = keras.losses.BinaryCrossentropy()


def build():
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.3), keras.layers.BatchNormalization()]
    return keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(1, "sigmoid")])


def train(model, table, *, epochs=3, recorded=None, compiled=True):
    """A plain loop; recorded: what ``recording`` gave. Returns the confusion counts of each epoch."""
    x, y, (x_val, y_val) = table
    optimizer = keras.optimizers.Adam(0.01)

    def step(x, y):
        with tf.GradientTape() as tape:
            y_pred = model(x, training=True)
            loss = LOSS(y, y_pred)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss, y_pred

    step = tf.function(step) if compiled else step
    found = []
    for epoch in range(epochs):
        predicted = []
        for start in range(0, len(x), 32):
            batch = x[start : start + 32], y[start : start + 32, None].astype("float32")
            loss, y_pred = step(*batch)
            predicted.append(np.asarray(y_pred)[:, 0])
            if recorded is not None:
                recorded.update(batch[1], y_pred)
        on_validation = model(x_val, training=False)
        if recorded is not None:
            recorded.update(y_val[:, None], on_validation, subset="validation")
            seen = recorded.log_epoch(epoch, {"loss": loss, "val_loss": LOSS(y_val[:, None], on_validation)})
            found.append((np.concatenate(predicted), np.asarray(on_validation)[:, 0], seen))
    return found


def ledger(run):
    return json.loads(mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/dlviz/ledger.json"))["entries"]


def steps(store, run, key):
    return [metric.step for metric in store.get_metric_history(run.info.run_id, key)]


@pytest.mark.parametrize("compiled", [True, False], ids=["graph", "eager"])
def test_a_loop_is_recorded_as_a_fit_is(dlviz, store, runs, table, compiled):
    x, y, (x_val, y_val) = table
    plain = build()
    train(plain, table, compiled=compiled)
    model = build()
    with dlviz.recording(model, (x_val, y_val), loss=LOSS, class_names=["no", "yes"]) as recorded:
        found = train(model, table, recorded=recorded, compiled=compiled)
    assert dlviz.flush(60)
    for one, other in zip(plain.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    [run] = runs()
    assert run.info.status == "FINISHED"
    assert mlflow.active_run() is None
    for training, validation, seen in found:
        assert seen["mcc"] == pytest.approx(matthews_corrcoef(y, training > 0.5), abs=1e-6)
        assert seen["val_f1"] == pytest.approx(f1_score(y_val, validation > 0.5), abs=1e-6)
        (tn, fp), (fn, tp) = confusion_matrix(y_val, validation > 0.5)
        assert [seen[f"val_{name}"] for name in ("tp", "tn", "fp", "fn")] == [tp, tn, fp, fn]
    for key in ("loss", "val_loss", "mcc", "val_mcc", "epoch_seconds"):
        assert steps(store, run, key) == [0, 1, 2], key
    assert run.data.metrics["best_val_loss"] == min(seen["val_loss"] for *_, seen in found)
    assert run.data.tags["dlviz.status"] == "ok"
    assert len(run.outputs.model_outputs) == 1
    paths = {file.path for file in store.list_artifacts(run.info.run_id)}
    assert paths >= {"images", "report.html", "summary.png", "model_summary.txt"}
    assert list(dlviz.load(run.info.run_id, "probabilities")["validation"]) == [0, 1, 2]
    boundary = dlviz.load(run.info.run_id, "boundary")["plane"]
    assert list(boundary) == [0, 1, 2]
    assert boundary[0]["class_names"].tolist() == ["no", "yes"]
    assert len(dlviz.load(run.info.run_id, "activations")) == 2


def test_a_step_that_counts_in_its_own_graph(dlviz, runs, table):
    x, y, _ = table
    model = build()
    with dlviz.recording(model, loss="binary_crossentropy", visuals=[], log_models=False) as recorded:

        @tf.function
        def step(x, y):
            y_pred = model(x, training=False)
            recorded.update(y, y_pred)
            return y_pred

        for epoch in range(2):
            predicted = np.concatenate([step(x[:60], y[:60, None]), step(x[60:], y[60:, None])])
            seen = recorded.log_epoch(epoch)
            assert seen["tp"] + seen["fn"] == y.sum()
            assert seen["mcc"] == pytest.approx(matthews_corrcoef(y, predicted[:, 0] > 0.5), abs=1e-6)


def test_the_last_epoch_has_its_pictures_though_nobody_knew_it_was_the_last(dlviz, runs, table):
    model = build()
    with dlviz.recording(model, table[0], visuals=["activations"], log_models=False) as recorded:
        for epoch in range(12):
            recorded.log_epoch(epoch, {"loss": 1.0 / (epoch + 1)})
    dlviz.flush(60)
    [run] = runs()
    frames = list(next(iter(dlviz.load(run.info.run_id, "activations").values())))
    assert frames[0] == 0
    assert frames[-1] == 11
    assert run.data.metrics["best_loss"] == pytest.approx(1 / 12)
    assert run.data.metrics["best_epoch"] == 11


def test_planned_epochs_lay_out_the_cadence(dlviz, runs, table):
    options = {"visuals": ["activations"], "cadence": 4, "log_models": False, "epochs": 11, "initial_epoch": 5}
    with dlviz.recording(build(), table[0], **options) as recorded:
        for epoch in range(5, 11):
            recorded.log_epoch(epoch)
    dlviz.flush(60)
    frames = next(iter(dlviz.load(runs()[0].info.run_id, "activations").values()))
    assert list(frames) == [5, 9, 10]


def test_a_model_without_a_loss_shows_what_applies(dlviz, runs, table):
    x, y, validation = table
    model = build()
    with dlviz.recording(model, validation, log_models=False) as recorded:
        recorded.update(y[:, None], model(x))
        assert "mcc" not in recorded.log_epoch(0, {"loss": 0.5})
    dlviz.flush(60)
    [run] = runs()
    entries = ledger(run)
    assert not [entry for entry in entries if entry["kind"] == "failed"]
    assert any("no loss" in entry["why"] for entry in entries)
    assert len(dlviz.load(run.info.run_id, "activations")) == 2


def test_a_compiled_model_needs_no_loss_and_has_its_parameters(dlviz, runs, table):
    x, y, validation = table
    model = build()
    model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy")
    with dlviz.recording(model, validation, visuals=["boundary"], log_models=False) as recorded:
        for epoch in range(2):
            loss = model.train_on_batch(x, y[:, None])
            seen = recorded.log_epoch(epoch, {"loss": loss})
    assert seen["learning_rate"] == pytest.approx(0.1)
    dlviz.flush(60)
    [run] = runs()
    assert run.data.params["optimizer_name"].lower() == "sgd"
    assert list(dlviz.load(run.info.run_id, "boundary")["plane"]) == [0, 1]


@pytest.mark.parametrize(("error", "status"), [(ValueError("mine"), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_a_block_that_raises_keeps_what_was_logged(dlviz, store, runs, table, error, status):
    def block():
        with dlviz.recording(build(), table[0], visuals=["activations"]) as recorded:
            recorded.log_epoch(0, {"loss": 1.0})
            raise error

    with pytest.raises(type(error)):
        block()
    dlviz.flush(60)
    [run] = runs()
    assert run.info.status == status
    assert mlflow.active_run() is None
    assert steps(store, run, "loss") == [0]
    assert len(dlviz.load(run.info.run_id, "activations")) == 2


def test_numbers_of_every_form(dlviz, store, runs):
    numbers = {
        "float": 0.5,
        "int": 2,
        "tensor": tf.constant(0.25),
        "array": np.ones((1, 1)),
        "numpy": np.float32(3),
    }
    with dlviz.recording(build(), visuals=[], log_models=False) as recorded:
        seen = recorded.log_epoch(0, {**numbers, "text": "no", "vector": np.ones(3)})
    dlviz.flush(60)
    expected = {"float": 0.5, "int": 2, "tensor": 0.25, "array": 1, "numpy": 3}
    assert seen == expected
    [run] = runs()
    assert {name: run.data.metrics[name] for name in expected} == expected
    assert {entry["what"] for entry in ledger(run)} >= {"metric 'text'", "metric 'vector'"}


def test_a_users_run_is_joined_and_left_open(dlviz, runs):
    with mlflow.start_run() as mine:
        for _ in range(2):
            with dlviz.recording(build(), visuals=[], log_models=False) as recorded:
                recorded.log_epoch(0, {"loss": 1.0})
        assert mlflow.active_run().info.run_id == mine.info.run_id
    dlviz.flush(60)
    [run] = runs()
    assert run.info.run_id == mine.info.run_id
    assert [m.step for m in mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")] == [0, 1]


def test_a_fit_within_has_a_run_of_its_own(dlviz, store, runs, binary, table):
    dlviz.autolog(visuals=[], log_models=False)
    with dlviz.recording(build(), visuals=[], log_models=False) as recorded:
        binary().fit(*table[:2], epochs=3, verbose=0)
        recorded.log_epoch(0, {"loss": 7.0})
    dlviz.flush(60)
    outer, inner = runs()
    assert inner.data.tags["mlflow.parentRunId"] == outer.info.run_id
    assert [m.value for m in store.get_metric_history(outer.info.run_id, "loss")] == [7.0]
    assert steps(store, inner, "loss") == [0, 1, 2]
    assert {run.info.status for run in runs()} == {"FINISHED"}


def test_paused_leaves_a_loop_alone(dlviz, runs):
    with dlviz.paused(), dlviz.recording(build()) as recorded:
        recorded.update(np.ones(3), np.ones(3))
        assert recorded.log_epoch(0, {"loss": 1.0}) == {"loss": 1.0}
    assert not runs()


def test_a_visual_that_fails_does_not_reach_the_loop(dlviz, runs, caplog):
    def fail(*args, **kwargs):
        raise RuntimeError("my mistake")

    with dlviz.recording(build(), visuals=[dlviz.Visual("mine", fail, fail)], log_models=False) as recorded:
        for epoch in range(3):
            recorded.log_epoch(epoch, {"loss": 1.0})
    dlviz.flush(60)
    assert runs()[0].data.tags["dlviz.status"] == "partial"
    assert caplog.text.count("my mistake") == 1


X = np.ones((3, 4), "float32")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": 3}, "model=3"),
        ({"probe": "data"}, "probe has a str"),
        ({"probe": (X, np.ones(2))}, r"arrays of \[2, 3\] samples"),
        ({"probe": X[:0]}, "at least 1"),
        ({"probe": (X, X, X)}, "a tuple of 3"),
        ({"probe": np.float32(1)}, "probe has a"),
        ({"epochs": 0}, "epochs=0"),
        ({"initial_epoch": -1}, "initial_epoch=-1"),
        ({"visuals": ["activation"]}, "did you mean 'activations'"),
        ({"weighted": 1}, "weighted=1"),
        ({"deadline": -1}, "deadline=-1"),
    ],
)
def test_bad_arguments_raise_at_once(store, given, words):
    import mlflow_dlviz

    with pytest.raises((TypeError, ValueError), match=words):
        mlflow_dlviz.recording(**{"model": build(), **given})


def test_bad_calls_raise_in_words(dlviz):
    with dlviz.recording(build(), visuals=[], log_models=False) as recorded:
        with pytest.raises(ValueError, match=r"epoch=1\.5"):
            recorded.log_epoch(1.5)
        with pytest.raises(TypeError, match="logs=3"):
            recorded.log_epoch(1, 3)
        with pytest.raises(ValueError, match="subset='test'"):
            recorded.update(X, X, subset="test")
