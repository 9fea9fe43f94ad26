"""Whatever a model, its data and its names hold: ``fit`` ends, and the rest is recorded."""

from __future__ import annotations

import keras
import mlflow
import numpy as np
import pytest
from asking import SCRIPT, kept, outside, status, text_of
from keras import layers
from sklearn.metrics import confusion_matrix, matthews_corrcoef

from mlflow_dlviz.store import names
from mlflow_dlviz.store.images import list_images

# Keras takes these, and TensorFlow too.
LAYERS = ["..", "a..b", "a-", "a>b", "A.", "x" * 500]
METRICS = [f"../../{SCRIPT}", "f1 (macro)", "f1 [macro]", "é\u202eµ\n", '"', "m" * 500, "a/../b"]
CLASSES = [SCRIPT, "../../\u202eÜ漢🙂\n $x^{" + "y" * 500]


class Twins(keras.Model):
    """Layers of hostile names, two of them of one."""

    def __init__(self):
        super().__init__()
        self.hidden = [layers.Dense(3, "relu", name=name) for name in [*LAYERS, "twin", "twin"]]
        self.head = layers.Dense(1, "sigmoid", name="head")

    def call(self, x):
        for layer in self.hidden:
            x = layer(x)
        return self.head(x)


class Adds(keras.callbacks.Callback):
    """Puts numbers of its own into the logs, as a user's callback may."""

    def on_epoch_end(self, epoch, logs=None):
        logs.update({name: float(place) for place, name in enumerate(METRICS)})


# ---- names


@pytest.mark.parametrize("name", ["a/b", SCRIPT, 'a"b', "é", "a\nb", "\u202eb"])
def test_what_keras_refuses_as_the_name_of_a_layer(name):
    """So that no more than this reaches us: should Keras come to take them, the tests here must, too."""

    def fit():
        model = keras.Sequential([keras.Input((4,)), layers.Dense(1, name=name)])
        model.compile("sgd", "mse")
        model.fit(np.zeros((1, 4)), np.zeros(1), verbose=0)

    with pytest.raises(ValueError, match="cannot contain character|not a valid scope name"):
        fit()


def test_names_of_everything(dlviz, store, runs, table, tmp_path):
    x, y, validation = table
    experiment = store.create_experiment(
        f"../{SCRIPT}\n", artifact_location=(tmp_path / "artifacts" / "x").as_uri()
    )
    dlviz.autolog(log_models=False, class_names=CLASSES, cadence=2)
    keras.utils.set_random_seed(0)
    model = Twins()
    metrics = [keras.metrics.BinaryAccuracy(name=f"{SCRIPT} accuracy"), keras.metrics.BinaryAccuracy(name="..")]
    model.compile("adam", "binary_crossentropy", metrics=metrics)
    with mlflow.start_run(experiment_id=experiment, run_name=f"../{SCRIPT}\u202e{'n' * 200}"):
        history = model.fit(x, y, epochs=2, verbose=0, validation_data=validation, callbacks=[Adds()]).history
    assert dlviz.flush(60)
    [run] = runs()
    assert status(run) == "ok"
    for place, name in enumerate(METRICS):
        [*_, last] = store.get_metric_history(run.info.run_id, names.clean_metric(name))
        assert (last.step, last.value) == (1, place)
    for name, values in history.items():
        assert run.data.metrics[names.clean_metric(name)] == pytest.approx(values[-1]), name
    shown = [str(by_epoch[0]["layer"]) for by_epoch in dlviz.load(run.info.run_id, "activations").values()]
    assert sorted(shown) == sorted([*LAYERS, "twin", "twin'", "head"])
    [by_epoch] = [
        leaf for name, leaf in dlviz.load(run.info.run_id, "probabilities").items() if name == "validation"
    ]
    assert by_epoch[1]["class_names"].tolist() == CLASSES
    assert {image.step for image in list_images(store, run.info.run_id)} == {0, 1}
    page = text_of(run, "report.html")
    assert SCRIPT not in page
    assert "alert(" in page  # it is there, as text
    assert outside(tmp_path) == set()


def test_names_of_outputs(dlviz, runs, ledger, table):
    x, y, validation = table
    dlviz.autolog(log_models=False, visuals=["probabilities", "residuals"])
    given = keras.Input((4,))
    named = {"a/../b": "binary_crossentropy", "..": "mse", "o" * 500: "binary_crossentropy"}
    model = keras.Model(given, {name: layers.Dense(1, "sigmoid")(given) for name in named})
    model.compile("adam", named)
    targets, later = dict.fromkeys(named, y), dict.fromkeys(named, validation[1])
    model.fit(x, targets, epochs=1, verbose=0, validation_data=(validation[0], later))
    assert dlviz.flush(60)
    [run] = runs()
    for name, loss in named.items():
        metric = "r2" if loss == "mse" else "mcc"
        assert names.clean_metric(f"val_{name}_{metric}") in run.data.metrics
    assert {*dlviz.load(run.info.run_id, "probabilities")} == {
        names.clean_leaf(f"validation.{name}") for name, loss in named.items() if loss != "mse"
    }
    assert status(run) == "ok", ledger(run)


# ---- numbers


class Breaks(keras.callbacks.Callback):
    """Diverges: the weights are NaN from an epoch on."""

    def __init__(self, epoch, value):
        super().__init__()
        self.epoch, self.value = epoch, value

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            self.model.layers[-1].kernel.assign(np.full(self.model.layers[-1].kernel.shape, self.value))


@pytest.mark.parametrize(("kind", "value"), [("classes", np.nan), ("values", np.inf)])
def test_a_model_that_diverges(dlviz, store, runs, ledger, table, kind, value):
    x, y, validation = table
    dlviz.autolog(log_models=False, cadence=1)
    keras.utils.set_random_seed(0)
    head = layers.Dense(1, "sigmoid" if kind == "classes" else None, name="head")
    model = keras.Sequential([keras.Input((4,)), layers.Dense(8, "relu"), head])
    model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy" if kind == "classes" else "mse")
    breaks = Breaks(2, value)
    history = model.fit(x, y, epochs=4, verbose=0, validation_data=validation, callbacks=[breaks]).history
    assert dlviz.flush(60)
    [run] = runs()
    assert run.info.status == "FINISHED"
    assert status(run) == "ok", ledger(run)
    assert run.data.metrics["best_val_loss"] == pytest.approx(min(history["val_loss"][:2]))
    assert run.data.metrics["best_epoch"] < 2
    assert not np.isfinite(history["val_loss"][2:]).any()
    assert "part of the validation set" in kept(ledger, run)
    metric = "val_mcc" if kind == "classes" else "val_r2"
    assert {found.step for found in store.get_metric_history(run.info.run_id, "val_loss")} == {0, 1, 2, 3}
    assert {0, 1} <= {found.step for found in store.get_metric_history(run.info.run_id, metric)}
    pictures = {(image.key, image.step) for image in list_images(store, run.info.run_id)}
    assert {("activations/01.head", step) for step in range(4)} <= pictures
    assert "val_loss" in text_of(run, "report.html")


def test_targets_that_are_not_numbers_are_counted_apart(dlviz, runs, ledger, table):
    x, y, _ = table
    targets = y.astype("float32")
    targets[:7], targets[7], targets[8] = np.nan, np.inf, 1e30
    dlviz.autolog(log_models=False)
    hidden = layers.Dense(3, "relu", name="hidden")
    model = keras.Sequential([keras.Input((4,)), hidden, layers.Dense(1, "sigmoid")])
    model.compile(keras.optimizers.SGD(0.0), "binary_crossentropy")
    start = model.get_weights()
    model.fit(x, targets, epochs=1, verbose=0, batch_size=120)
    assert dlviz.flush(60)
    [run] = runs()
    assert kept(ledger, run)["part of the training set"].startswith("9 samples: a prediction is NaN")
    assert status(run) == "ok", ledger(run)
    model.set_weights(start)
    predicted = model.predict(x[9:], verbose=0)[:, 0] > 0.5
    expected = confusion_matrix(y[9:], predicted).ravel()
    assert [run.data.metrics[name] for name in ("tn", "fp", "fn", "tp")] == expected.tolist()
    # Each sample is in the picture, those of no class too.
    assert len(dlviz.load(run.info.run_id, "activations")["00.hidden"][0]["labels"]) == 64


def sparse_categorical_crossentropy(true, predicted):
    """Keras' own raises for labels that are no class; a user's of that name need not."""
    known = keras.ops.cast(keras.ops.logical_and(true >= 0, true < 3), "float32")
    each = keras.losses.sparse_categorical_crossentropy(keras.ops.clip(true, 0, 2), predicted)
    return each * keras.ops.reshape(known, keras.ops.shape(each))


def test_labels_that_are_no_class(dlviz, store, runs, ledger):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 4)).astype("float32")
    y = rng.integers(0, 3, 90)
    y[:9], y[9], y[10:20] = 255, 2**40, -1
    dlviz.autolog(log_models=False, class_names=["a", "b", "c"])
    model = keras.Sequential([keras.Input((4,)), layers.Dense(5, "relu"), layers.Dense(3, "softmax")])
    model.compile(keras.optimizers.SGD(0.0), sparse_categorical_crossentropy)
    model.fit(x, y, epochs=1, verbose=0, validation_data=(x, y))
    assert dlviz.flush(60)
    [run] = runs()
    assert kept(ledger, run)["part of the validation set"].startswith("20 samples: ")
    assert status(run) == "ok", ledger(run)
    predicted = model.predict(x, verbose=0).argmax(axis=1)
    expected = matthews_corrcoef(y[20:], predicted[20:])
    assert run.data.metrics["val_mcc"] == pytest.approx(expected, abs=1e-6)
    drawn = {image.key.split("/")[0] for image in list_images(store, run.info.run_id)}
    assert drawn == {"activations", "boundary", "probabilities"}


class Uncounted(keras.Model):
    """Its step calls no compute_metrics, so that only the labels tell how many classes there are."""

    def __init__(self):
        super().__init__()
        self.hidden, self.head = layers.Dense(3, "relu"), layers.Dense(3, "softmax")

    def call(self, x):
        return self.head(self.hidden(x))

    def train_step(self, data):
        return {"loss": self.compute_loss(data[0], data[1], self(data[0]))}


def test_labels_do_not_make_a_billion_names(dlviz, runs, ledger, table):
    x, y, _ = table
    y = y.astype("int64")
    y[3] = 2**31 - 2
    dlviz.autolog(log_models=False, visuals=["activations"])
    model = Uncounted()
    model.compile(keras.optimizers.SGD(0.0), sparse_categorical_crossentropy)
    model.fit(x, y, epochs=1, verbose=0)
    assert dlviz.flush(60)
    [run] = runs()
    assert status(run) == "ok", ledger(run)
    [frame] = {len(by[0]["class_names"]) for by in dlviz.load(run.info.run_id, "activations").values()}
    assert frame == 4096


# ---- sizes


@pytest.mark.parametrize(
    ("samples", "batch", "label"), [(1, 1, 1), (5, 1, None), (40, 32, 0)], ids=["one", "batch of one", "one class"]
)
def test_hardly_any_data(dlviz, store, runs, ledger, table, samples, batch, label):
    x, y = table[0][:samples], table[1][:samples].copy()
    if label is not None:
        y[:] = label
    dlviz.autolog(log_models=False)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, "relu"), layers.Dense(1, "sigmoid")])
    model.compile(keras.optimizers.SGD(0.0), "binary_crossentropy")
    model.fit(x, y, batch_size=batch, epochs=2, verbose=0, validation_data=(x, y))
    assert dlviz.flush(60)
    [run] = runs()
    assert status(run) == "ok", ledger(run)
    expected = confusion_matrix(y, model.predict(x, verbose=0)[:, 0] > 0.5, labels=[0, 1]).ravel()
    found = [run.data.metrics[f"val_{name}"] for name in ("tn", "fp", "fn", "tp")]
    assert found == expected.tolist()
    assert {image.step for image in list_images(store, run.info.run_id)} == {0, 1}


def test_a_thousand_classes_and_512_channels(dlviz, store, runs, ledger):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 8, 8, 1)).astype("float32"), rng.integers(0, 1000, 40)
    dlviz.autolog(log_models=False)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(512, 3, activation="relu", name="wide"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1000, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=1, verbose=0, validation_data=(x, y))
    assert dlviz.flush(60)
    [run] = runs()
    assert status(run) == "ok", ledger(run)
    wide = dlviz.load(run.info.run_id, "activations")["00.wide"][0]
    assert (int(wide["total"]), len(wide["channels"])) == (512, 64)
    predicted = model.predict(x, verbose=0).argmax(axis=1)
    assert run.data.metrics["val_mcc"] == pytest.approx(matthews_corrcoef(y, predicted), abs=1e-6)
    assert len(dlviz.load(run.info.run_id, "probabilities")["validation"][0]["class_names"]) == 1000
    assert all(image.thumbnail_path for image in list_images(store, run.info.run_id))


class Deep(keras.Model):
    """A model of 500 layers, cheap ones."""

    def __init__(self):
        super().__init__()
        self.stack = [layers.MaxPooling1D(1, name=f"d{place}") for place in range(499)]
        self.head = layers.Dense(1, "sigmoid", name="head")

    def call(self, x):
        for layer in self.stack:
            x = layer(x)
        return self.head(x[:, :, 0])


@pytest.mark.slow
def test_five_hundred_layers(dlviz, store, runs, ledger, table):
    x, y, validation = table
    dlviz.autolog(log_models=False, visuals=["activations"])
    model = Deep()
    model.compile(keras.optimizers.SGD(0.0), "binary_crossentropy")
    x, validation = x[:, :, None], (validation[0][:, :, None], validation[1])
    model.fit(x, y, epochs=2, verbose=0, batch_size=60, validation_data=validation)
    assert dlviz.flush(60)
    [run] = runs()
    assert status(run) == "ok", ledger(run)
    assert kept(ledger, run)["some layers"] == "the model has 500 layers to show, 16 of them are"
    leaves = dlviz.load(run.info.run_id, "activations")
    assert len(leaves) == 16
    assert {"00.d0", "499.head"} <= {*leaves}
    assert len({image.key for image in list_images(store, run.info.run_id)}) == 16
    spent = {m.step: m.value for m in store.get_metric_history(run.info.run_id, "dlviz/training_thread_seconds")}
    # The first epoch compiles; those after it read 16 layers.
    assert spent[1] < max(1.0, spent[0])
