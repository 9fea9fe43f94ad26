"""Metrics of the whole set for every kind of output, in recorded fits: scikit-learn's, under Keras' names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import keras
import mlflow
import numpy as np
import pytest
import tensorflow as tf
from asking import quick
from keras import layers
from sklearn.metrics import (
    confusion_matrix,
    f1_score,
    jaccard_score,
    matthews_corrcoef,
    mean_absolute_error,
    r2_score,
    root_mean_squared_error,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 4)).astype("float32")
VALUES = (1e4 + 100 * X[:, 0] + RNG.normal(size=80)).astype("float32")
LABELS = (X[:, :3] + 0.5 * RNG.normal(size=(80, 3)) > 0).astype("float32")
IMAGES = RNG.uniform(size=(30, 8, 8, 1)).astype("float32")


@pytest.fixture
def fitted(dlviz, runs):
    """``fitted(build, x, y, loss)``: history, ledger, model; the weights are those of a fit without us."""

    def fit(build, x, y, loss, options=None, **fit_options):
        def train():
            keras.utils.set_random_seed(0)
            model = build()
            model.compile(keras.optimizers.Adam(0.05), loss)
            given = {"epochs": 2, "verbose": 0, "batch_size": 16, "validation_data": (x, y), **fit_options}
            return model, (model.fit(x, **given) if y is None else model.fit(x, y, **given)).history

        with dlviz.paused():
            plain, _ = train()
        dlviz.autolog(log_models=False, **{"visuals": [], **(options or {})})
        model, history = train()
        dlviz.autolog(disable=True)
        dlviz.flush(60)
        for one, other in zip(plain.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
        text = mlflow.artifacts.load_text(f"runs:/{runs()[-1].info.run_id}/dlviz/ledger.json")
        entries = {entry["what"]: entry for entry in json.loads(text)["entries"]}
        assert [entry for entry in entries.values() if entry["kind"] == "failed"] == []
        return history, entries, model

    return fit


def dense(units, activation=None, features=4):
    return lambda: keras.Sequential([keras.Input((features,)), layers.Dense(units, activation)])


def pixels(units, activation=None):
    head = layers.Conv2D(units, 1, activation=activation)
    return keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(3, 3, padding="same"), head])


def of_values(y, found):
    y, found = np.asarray(y, "float64"), np.asarray(found, "float64")
    scores = r2_score(y, found), mean_absolute_error(y, found), root_mean_squared_error(y, found)
    return dict(zip(("r2", "mae", "rmse"), scores, strict=True))


def check(history, expected, prefix="val_", **tolerance):
    got = {name: history[f"{prefix}{name}"][-1] for name in expected}
    assert got == pytest.approx(expected, **{"rel": 1e-5, "abs": 1e-6, **tolerance})


LOSSES = ["mse", "mape", keras.losses.Huber(), lambda y, p: keras.ops.abs(y - p)]


@pytest.mark.parametrize(("loss", "column"), [("mse", True), *((loss, False) for loss in LOSSES)])
def test_regression(fitted, loss, column):
    y = VALUES[:, None] if column else VALUES
    history, entries, model = fitted(dense(1), X, y, loss)
    check(history, of_values(y, model.predict(X, verbose=0)[:, 0]))
    assert {"r2", "mae", "rmse"} <= history.keys()
    assert "mcc" not in history
    assert "metrics of the whole set" not in entries


def test_labels(fitted):
    history, _, model = fitted(dense(3, "sigmoid"), X, LABELS, "binary_crossentropy")
    found = model.predict(X, verbose=0) > 0.5
    check(
        history, {f"f1_{mean}": f1_score(LABELS, found, average=mean) for mean in ("macro", "micro", "weighted")}
    )
    check(history, {"subset_accuracy": (found == LABELS).all(1).mean(), "hamming_loss": (found != LABELS).mean()})


def test_a_class_at_each_pixel(fitted):
    y = (IMAGES[..., 0] * 3).astype("int32")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    history, _, model = fitted(lambda: pixels(3), IMAGES, y, loss)
    found = model.predict(IMAGES, verbose=0).argmax(-1).ravel()
    check(history, {"iou_macro": jaccard_score(y.ravel(), found, average="macro")})
    check(history, {"mcc": matthews_corrcoef(y.ravel(), found)})


def test_a_mask_of_pixels(fitted):
    y = (IMAGES > 0.6).astype("float32")
    history, _, model = fitted(lambda: pixels(1, "sigmoid"), IMAGES, y, "binary_crossentropy")
    found = (model.predict(IMAGES, verbose=0) > 0.5).ravel()
    (tn, fp), (fn, tp) = confusion_matrix(y.ravel(), found)
    check(history, {"tp": tp, "tn": tn, "fp": fp, "fn": fn, "iou": jaccard_score(y.ravel(), found)})


def test_a_class_at_each_token_but_not_the_padding(fitted):
    tokens = RNG.integers(1, 5, (40, 7))
    tokens[np.arange(7) >= RNG.integers(2, 8, (40, 1))] = 0

    def build():
        embedding = layers.Embedding(5, 4, mask_zero=True)
        return keras.Sequential(
            [keras.Input((7,)), embedding, layers.LSTM(4, return_sequences=True), layers.Dense(5, "softmax")]
        )

    history, _, model = fitted(build, tokens, tokens, "sparse_categorical_crossentropy")
    shown = tokens > 0
    found = model.predict(tokens, verbose=0).argmax(-1)[shown]
    got = f1_score(tokens[shown], found, average="macro", labels=range(5), zero_division=0)
    check(history, {"f1_macro": got})


AUTOENCODERS = {
    "images, mse": (lambda: pixels(1, "sigmoid"), IMAGES, "mse"),
    "images, binary": (lambda: pixels(1, "sigmoid"), IMAGES, "binary_crossentropy"),
    "flat, binary": (dense(20, "sigmoid", 20), IMAGES.reshape(-1, 20), "binary_crossentropy"),
    "table": (dense(4), X, "mse"),
}


@pytest.mark.parametrize("streamed", quick([False, True], False))
@pytest.mark.parametrize("name", AUTOENCODERS)
def test_an_autoencoder_is_no_classifier(fitted, name, streamed):
    build, x, loss = AUTOENCODERS[name]
    if streamed:
        data = tf.data.Dataset.from_tensor_slices((x, x)).batch(16)
        history, _, model = fitted(build, data, None, loss, validation_data=data, batch_size=None)
    else:
        history, _, model = fitted(build, x, x, loss)
    units = x.shape[-1]
    check(history, of_values(x.reshape(-1, units), model.predict(x, verbose=0).reshape(-1, units)))
    assert not {"mcc", "f1_macro", "tp"} & history.keys()


def test_labels_of_a_stream_are_known_by_what_they_are(fitted):
    data = tf.data.Dataset.from_tensor_slices((X, LABELS)).batch(16)
    build = dense(3, "sigmoid")
    history, _, model = fitted(build, data, None, "binary_crossentropy", validation_data=data, batch_size=None)
    check(history, {"f1_micro": f1_score(LABELS, model.predict(X, verbose=0) > 0.5, average="micro")})
    assert "rmse" not in history


def outputs(form):
    def build():
        x = keras.Input((4,))
        made = [layers.Dense(1, name="price")(x), layers.Dense(3, "softmax", name="kind")(x)]
        return keras.Model(x, made if form == "list" else {"price": made[0], "kind": made[1]})

    return build


@pytest.mark.parametrize("form", ["list", "dict"])
def test_several_outputs_have_metrics_under_their_names(fitted, form):
    kind = X[:, :3].argmax(1)
    y = [VALUES, kind] if form == "list" else {"price": VALUES, "kind": kind}
    losses = {"price": "mse", "kind": "sparse_categorical_crossentropy"}
    loss = list(losses.values()) if form == "list" else losses
    history, entries, model = fitted(outputs(form), X, y, loss)
    found = model.predict(X, verbose=0)
    price, kinds = found if form == "list" else (found["price"], found["kind"])
    check(history, of_values(VALUES, price[:, 0]), "val_price_")
    check(history, {"mcc": matthews_corrcoef(kind, kinds.argmax(1))}, "val_kind_")
    assert {"price_r2", "kind_mcc", "val_kind_loss"} <= history.keys()
    assert not {"price_mcc", "kind_r2"} & history.keys()
    assert not any(what.startswith("metrics") for what in entries)


def test_an_output_that_can_not_be_counted_is_said_by_name_and_the_rest_goes_on(fitted):
    y = {"price": VALUES, "kind": np.eye(3)[X[:, :3].argmax(1)]}
    losses = {"price": "mse", "kind": keras.losses.CosineSimilarity()}
    history, entries, _ = fitted(outputs("dict"), X, y, losses)
    assert "val_price_r2" in history
    assert "'cosine_similarity'" in entries["metrics of output 'kind'"]["why"]


class Twins(keras.Model):
    """A subclassed model that returns a list."""

    def __init__(self):
        super().__init__()
        self.one, self.two = layers.Dense(1), layers.Dense(3, "sigmoid")

    def call(self, x):
        return [self.one(x), self.two(x)]


def test_a_subclassed_models_list_is_numbered(fitted):
    history, _, model = fitted(Twins, X, [VALUES, LABELS], ["mse", "binary_crossentropy"])
    check(history, of_values(VALUES, model.predict(X, verbose=0)[0][:, 0]), "val_output_0_")
    assert "val_output_1_f1_micro" in history


def test_scores_of_several_outputs_are_told_apart(fitted, dlviz):
    seen = {}

    def capture(moment, frozen):
        seen.update(moment.values["scores"])
        return {}

    visual = dlviz.Visual("peek", capture, lambda: None, needs=("scores",))
    kind = X[:, :3].argmax(1)
    loss = {"price": "mse", "kind": "sparse_categorical_crossentropy"}
    options = {"visuals": [visual], "class_names": ["a", "b", "c"]}
    _, entries, _ = fitted(outputs("dict"), X, {"price": VALUES, "kind": kind}, loss, options)
    leaves = {f"{subset}.{name}" for subset in ("training", "validation") for name in ("price", "kind")}
    assert seen.keys() == leaves
    assert seen["validation.kind"]["confusion"].sum() == seen["validation.price"]["samples"] == 80
    assert "class_names" not in entries


def test_weights_count_when_asked_for(fitted):
    weight = RNG.uniform(0, 3, 80).astype("float32")
    history, _, model = fitted(
        dense(1), X, VALUES, "mse", {"weighted": True}, validation_data=(X, VALUES, weight), sample_weight=weight
    )
    found = model.predict(X, verbose=0)[:, 0].astype("float64")
    check(history, {"mae": mean_absolute_error(VALUES, found, sample_weight=weight)})
    check(history, {"r2": r2_score(VALUES.astype("float64"), found, sample_weight=weight)})


def test_metrics_that_the_user_compiled_keep_their_names(dlviz, runs):
    dlviz.autolog(log_models=False, visuals=[])
    model = dense(1)()
    model.compile("adam", "mse", metrics=["mae"])
    history = model.fit(X, VALUES, verbose=0).history
    dlviz.flush(60)
    assert {"loss", "mae", "r2", "rmse"} <= history.keys()
    # Keras' own is a float32 mean.
    assert history["mae"][0] == np.float32(history["mae"][0])
    text = mlflow.artifacts.load_text(f"runs:/{runs()[-1].info.run_id}/dlviz/ledger.json")
    assert "compiled by the user" in {e["what"]: e["why"] for e in json.loads(text)["entries"]}["metric 'mae'"]


def test_names_that_do_not_apply_are_said(fitted):
    history, entries, _ = fitted(dense(1), X, VALUES, "mse", {"metrics": ["mcc"]})
    assert "r2" not in history
    assert "not of what this output predicts" in entries["metrics mcc"]["why"]


def test_an_own_formula_is_of_labels_and_of_classes_alike(fitted):
    own = {"miss_rate": lambda tp, tn, fp, fn: fn / (fn + tp)}
    history, _, _ = fitted(dense(3, "sigmoid"), X, LABELS, "binary_crossentropy", {"metrics": own})
    check(history, {"miss_rate_macro": 1 - history["val_recall_macro"][-1]})


def test_a_target_that_is_no_number_is_counted_apart(fitted):
    y = VALUES.copy()
    y[3] = np.nan
    _, entries, _ = fitted(dense(1), X, y, "mse")
    assert entries["part of the validation set"]["why"].startswith("80 samples: a prediction or a target is NaN")


MIRRORED = """
import sys
import keras, mlflow, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import mlflow_dlviz
from sklearn.metrics import f1_score, matthews_corrcoef, r2_score, root_mean_squared_error

mlflow.set_tracking_uri(sys.argv[1])
mlflow_dlviz.autolog(log_models=False, visuals=["residuals", "probabilities"])
rng = np.random.default_rng(0)
x = rng.normal(size=(101, 4)).astype("float32")
values = (1e4 + x[:, 0] * 50)[:, None].astype("float32")
labels = (x[:, :3] > 0).astype("float32")
kinds = rng.integers(0, 300, 101)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

def fit(units, activation, loss, y, streamed):
    with strategy.scope():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(units, activation)])
        model.compile(keras.optimizers.Adam(0.1), loss)
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
    options = dict(epochs=2, verbose=0)
    if streamed:
        history = model.fit(data, validation_data=data, **options).history
    else:
        history = model.fit(x, y, batch_size=16, validation_data=(x, y), **options).history
    return history, model.predict(x, verbose=0).astype("float64")

def same(got, want):
    assert abs(got[-1] - want) <= 1e-5 * max(1, abs(want)), (got, want)

for streamed in (False, True):
    history, found = fit(1, None, "mse", values, streamed)
    same(history["val_r2"], r2_score(values.astype("float64"), found))
    same(history["val_rmse"], root_mean_squared_error(values, found))
    assert "r2" in history
    history, found = fit(3, "sigmoid", "binary_crossentropy", labels, streamed)
    same(history["val_f1_macro"], f1_score(labels, found > 0.5, average="macro"))
    history, found = fit(300, "softmax", "sparse_categorical_crossentropy", kinds, streamed)
    same(history["val_mcc"], matthews_corrcoef(kinds, found.argmax(1)))
mlflow_dlviz.flush(60)
run = mlflow.search_runs(output_format="list")[-1]
frames = mlflow_dlviz.load(run.info.run_id, "residuals")["validation"]
assert frames[1]["residuals"].sum() == frames[1]["pairs"].sum() == frames[1]["samples"] == 101
print("all as one")
"""


@pytest.mark.slow
def test_replicas_sum_to_what_one_would_count(store, tmp_path):
    script = tmp_path / "mirrored.py"
    script.write_text(textwrap.dedent(MIRRORED))
    done = subprocess.run(
        [sys.executable, str(script), mlflow.get_tracking_uri()],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert "all as one" in done.stdout, done.stderr[-3000:]


def test_weights_that_are_all_0_count_nothing_and_are_the_reason(fitted):
    given = {"sample_weight": np.zeros(80), "validation_data": (X, X[:, 0] > 0, np.zeros(80))}
    build = dense(1, "sigmoid")
    history, entries, _ = fitted(build, X, X[:, 0] > 0, "binary_crossentropy", {"weighted": True}, **given)
    assert "mcc" not in history
    assert entries["metrics of the whole set"]["why"] == "the weights of all its samples are 0"
