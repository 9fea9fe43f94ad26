"""One recorded fit on data and models of every kind: it behaves as without us, and the ledger says why."""

from __future__ import annotations

import json

import keras
import mlflow
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from sklearn.metrics import confusion_matrix, matthews_corrcoef

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype("float32")
Y = (X[:, 0] > 0).astype("float32")


@pytest.fixture
def recorded(dlviz, runs):
    """``recorded(build, x, y, …)``: the history, run and ledger of a fit that equals the one without us."""

    def fit(build, *data, options=None, **fit_options):
        def train():
            keras.utils.set_random_seed(0)
            model = build()
            return model, model.fit(*data, **{"epochs": 2, "verbose": 0, **fit_options}).history

        with dlviz.paused():
            plain, expected = train()
        dlviz.autolog(log_models=False, **(options or {"visuals": []}))
        model, history = train()
        dlviz.autolog(disable=True)
        dlviz.flush(60)
        for one, other in zip(plain.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
        for name, values in expected.items():
            np.testing.assert_array_equal(history[name], values, err_msg=name)
        run = runs()[-1]
        assert run.info.status == "FINISHED"
        text = mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/dlviz/ledger.json")
        return history, run, {entry["what"]: entry for entry in json.loads(text)["entries"]}, model

    return fit


def classifier(units=1, loss="binary_crossentropy", features=4, **options):
    def build():
        activation = "sigmoid" if units == 1 else "softmax"
        model = keras.Sequential([keras.Input((features,)), layers.Dense(4), layers.Dense(units, activation)])
        model.compile("adam", loss, **options)
        return model

    return build


def nothing_failed(entries):
    return not [entry for entry in entries.values() if entry["kind"] == "failed"]


def test_nan_is_counted_apart(recorded, dlviz):
    x = X.copy()
    x[3] = np.nan
    history, run, entries, _ = recorded(classifier(), x, Y, validation_data=(x, Y), options={"visuals": None})
    assert np.isnan(history["loss"]).all()
    assert nothing_failed(entries)
    assert entries["part of the validation set"]["why"].startswith("60 samples: a prediction is NaN")
    assert run.data.tags["dlviz.status"] == "ok"
    assert "NaN" in entries["boundary"]["why"]
    assert len(dlviz.load(run.info.run_id, "activations")) == 2


def autoencoder():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2), layers.Dense(4)])
    model.compile("adam", "mse")
    return model


def test_an_autoencoder_shows_what_applies(recorded, dlviz):
    history, run, entries, model = recorded(
        autoencoder,
        X,
        X,
        validation_data=(X, X),
        options={"visuals": ["activations", "probabilities", "boundary"]},
    )
    assert nothing_failed(entries)
    assert "mean_squared_error" in entries["boundary"]["why"]
    assert "probabilities" in entries
    assert len(dlviz.load(run.info.run_id, "activations")) == 2
    assert "mcc" not in history
    expected = np.abs(model.predict(X, verbose=0) - X).mean()
    assert history["val_mae"][-1] == pytest.approx(expected, rel=1e-5)


class OwnLoss(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(4)

    def call(self, x):
        output = self.dense(x)
        self.add_loss(keras.ops.mean((output - x) ** 2))
        return output


def unlabelled():
    model = OwnLoss()
    model.compile("adam")
    return model


def test_data_without_labels(recorded, dlviz):
    _, run, entries, _ = recorded(unlabelled, X, options={"visuals": None})
    assert nothing_failed(entries)
    assert "no loss" in entries["metrics of the whole set"]["why"]
    assert len(dlviz.load(run.info.run_id, "activations")) == 1


def sequences():
    model = keras.Sequential([keras.Input((5, 4)), layers.Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def test_a_class_at_each_position(recorded):
    x, y = RNG.normal(size=(20, 5, 4)).astype("float32"), RNG.integers(0, 3, (20, 5))
    history, _, entries, model = recorded(sequences, x, y, validation_data=(x, y), options={"visuals": None})
    assert nothing_failed(entries)
    expected = matthews_corrcoef(y.ravel(), model.predict(x, verbose=0).argmax(axis=-1).ravel())
    assert history["val_mcc"][-1] == pytest.approx(expected, abs=1e-6)
    assert "each position" in entries["boundary"]["why"]


def test_an_empty_validation_set_is_what_keras_makes_of_it(dlviz, runs):
    def train():
        keras.utils.set_random_seed(0)
        model = classifier()()
        return model.fit(X, Y, epochs=1, verbose=0, validation_data=(X[:0], Y[:0])).history

    with dlviz.paused():
        expected = outcome(train)
    dlviz.autolog(log_models=False)
    assert outcome(train) == expected
    assert runs()[0].info.status in ("FAILED", "FINISHED")


def outcome(train):
    try:
        return sorted(name for name in train() if name in ("loss", "val_loss"))
    except Exception as error:
        return type(error), str(error)


def test_a_single_class(recorded, dlviz):
    history, run, entries, _ = recorded(
        classifier(), X, 0 * Y, validation_data=(X, 0 * Y), options={"visuals": None}
    )
    assert nothing_failed(entries)
    assert history["val_mcc"] == [0, 0]
    assert len(dlviz.load(run.info.run_id, "boundary")["plane"][0]["class_names"]) == 2


def test_a_single_class_of_several(recorded):
    build = classifier(3, "sparse_categorical_crossentropy")
    history, _, entries, _ = recorded(build, X, 0 * Y, options={"visuals": None})
    assert nothing_failed(entries)
    assert len(history["mcc"]) == 2


def test_one_sample_and_batches_of_one(recorded):
    history, _, entries, _ = recorded(
        classifier(), X[:1], Y[:1], batch_size=1, validation_data=(X[:1], Y[:1]), options={"visuals": None}
    )
    assert nothing_failed(entries)
    assert "2 samples" in entries["boundary"]["why"]
    assert len(history["val_mcc"]) == 2


def test_a_data_set_has_metrics_and_a_probe_of_what_passed(recorded, dlviz):
    data = tf.data.Dataset.from_tensor_slices((X, Y[:, None])).batch(16)
    history, run, entries, _ = recorded(
        classifier(), data, validation_data=data, options={"visuals": ["activations", "boundary", "probabilities"]}
    )
    assert not entries
    assert len(history["val_mcc"]) == 2
    assert len(dlviz.load(run.info.run_id, "boundary")["plane"][0]["points"]) == 60
    for visual in ("activations", "boundary", "probabilities"):
        assert all(list(frames) == [0, 1] for frames in dlviz.load(run.info.run_id, visual).values())


class Bypassing(keras.Model):
    """Trains without ``compute_metrics``, and tests as Keras does."""

    def __init__(self):
        super().__init__()
        self.head = layers.Dense(1, "sigmoid")

    def call(self, x):
        return self.head(x)

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = keras.ops.mean(keras.losses.binary_crossentropy(y[:, None], self(x, training=True)))
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}


def bypassing():
    model = Bypassing()
    model.compile("adam", "binary_crossentropy")
    return model


@pytest.mark.parametrize("validated", [True, False])
def test_a_train_step_that_bypasses_the_metrics_is_said_once(recorded, caplog, validated):
    more = {"validation_data": (X, Y)} if validated else {}
    history, _, entries, _ = recorded(bypassing, X, Y, epochs=3, **more)
    assert "mcc" not in history
    assert ("val_mcc" in history) == validated
    assert nothing_failed(entries)
    assert any("does not call compute_metrics" in entry["why"] for entry in entries.values())
    assert caplog.text.count("does not call compute_metrics") == 1


def test_metrics_that_the_user_compiled_keep_their_names(recorded):
    compiled = [keras.metrics.Precision(name="precision", thresholds=0.9), keras.metrics.Recall(name="mcc")]
    history, _, entries, model = recorded(
        lambda: classifier(metrics=[type(m).from_config(m.get_config()) for m in compiled])(),
        X,
        Y,
        validation_data=(X, Y),
    )
    truth, found = Y > 0.5, model.predict(X, verbose=0)[:, 0]
    assert history["val_precision"][-1] == pytest.approx(
        ((found > 0.9) & truth).sum() / max((found > 0.9).sum(), 1)
    )
    assert history["val_mcc"][-1] == pytest.approx(((found > 0.5) & truth).sum() / truth.sum())
    assert {"metric 'precision'", "metric 'val_precision'", "metric 'mcc'"} <= entries.keys()
    assert "val_f1" in history


def test_counts_are_logged_beside_the_metrics(recorded):
    history, run, _, model = recorded(classifier(), X, Y, validation_data=(X, Y))
    (tn, fp), (fn, tp) = confusion_matrix(Y, model.predict(X, verbose=0)[:, 0] > 0.5)
    logged = {name: run.data.metrics[f"val_{name}"] for name in ("tp", "tn", "fp", "fn")}
    assert logged == {"tp": tp, "tn": tn, "fp": fp, "fn": fn}


def test_a_vector_valued_metric_is_logged_entry_by_entry(recorded, store):
    labels = np.eye(3, dtype="float32")[RNG.integers(0, 3, 60)]
    # Keras' own metrics hold state: each model needs its own.
    history, run, _, _ = recorded(
        lambda: classifier(
            3, "categorical_crossentropy", metrics=[keras.metrics.F1Score(average=None, name="each")]
        )(),
        X,
        labels,
        validation_data=(X, labels),
    )
    for index in range(3):
        steps = store.get_metric_history(run.info.run_id, f"val_each_{index}")
        assert [step.value for step in steps] == pytest.approx([epoch[index] for epoch in history["val_each"]])


def test_several_inputs_and_outputs(recorded, dlviz):
    def build():
        a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
        hidden = layers.Dense(4)(layers.concatenate([a, b]))
        model = keras.Model(
            {"a": a, "b": b}, {"p": layers.Dense(1, name="p")(hidden), "q": layers.Dense(1, name="q")(hidden)}
        )
        model.compile("adam", {"p": "mse", "q": "mse"})
        return model

    x, y = {"a": X, "b": X}, {"p": Y, "q": Y}
    _, run, entries, _ = recorded(build, x, y, validation_data=(x, y), options={"visuals": None})
    assert nothing_failed(entries)
    assert "several outputs" in entries["boundary"]["why"]
    assert len(dlviz.load(run.info.run_id, "activations")) == 3


def test_of_many_layers_an_even_choice_is_shown(recorded, dlviz, monkeypatch):
    monkeypatch.setattr("mlflow_dlviz.recorder.LAYERS", 3)

    def build():
        hidden = [layers.Dense(2) for _ in range(4)]
        model = keras.Sequential([keras.Input((4,)), *hidden, layers.Dense(1, "sigmoid")])
        model.compile("adam", "binary_crossentropy")
        return model

    _, run, entries, model = recorded(build, X, Y, epochs=1, options={"visuals": ["activations"], "probe": 4})
    found = list(dlviz.load(run.info.run_id, "activations"))
    assert found == ["00.dense", "02.dense_2", "04.dense_4"]
    assert entries["some layers"]["why"] == "the model has 5 layers to show, 3 of them are"


def test_a_pass_that_fails_costs_only_what_needs_it(recorded, dlviz, caplog):
    class TrainingOnly(layers.Dense):
        def call(self, x, training=None):
            if training is False:
                raise RuntimeError("never asked for this")
            return super().call(x)

    def build():
        model = keras.Sequential([keras.Input((4,)), TrainingOnly(1, "sigmoid")])
        model.compile("adam", "binary_crossentropy")
        return model

    _, run, entries, _ = recorded(build, X, Y, options={"visuals": ["activations", "probabilities"]})
    assert entries["reading the layers"]["kind"] == "failed"
    assert "reading the layers" in caplog.text
    assert "could not be read" in entries["activations"]["why"]
    assert list(dlviz.load(run.info.run_id, "probabilities")["training"]) == [0, 1]
    assert run.data.tags["dlviz.status"] == "partial"


def test_class_names_that_do_not_fit_are_said_and_not_used(recorded, dlviz, caplog):
    options = {"visuals": ["boundary"], "class_names": ["a", "b", "c"]}
    _, run, entries, _ = recorded(classifier(), X, Y, options=options)
    assert "3 names, the model has 2 classes" in entries["class_names"]["why"]
    assert caplog.text.count("class_names is left out") == 1
    assert dlviz.load(run.info.run_id, "boundary")["plane"][0]["class_names"].tolist() == ["0", "1"]


def test_an_initial_epoch_has_its_first_frame(recorded, dlviz):
    options = {"visuals": ["probabilities"], "cadence": 4}
    _, run, _, _ = recorded(classifier(), X, Y, initial_epoch=5, epochs=11, options=options)
    assert list(dlviz.load(run.info.run_id, "probabilities")["training"]) == [5, 9, 10]


def test_a_fit_of_no_epochs_leaves_a_finished_run(recorded):
    history, run, entries, _ = recorded(classifier(), X, Y, epochs=0)
    assert nothing_failed(entries)
    assert history == {}
