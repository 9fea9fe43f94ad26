"""Whatever a model, its data, a visual or a file holds: ``fit`` ends, and the rest is recorded."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path

import keras
import mlflow
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from keras import layers
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix, matthews_corrcoef

import mlflow_dlviz
from mlflow_dlviz import diagnosis, drawing, frames
from mlflow_dlviz.capture.moment import NotShown
from mlflow_dlviz.store import names
from mlflow_dlviz.store.batch import Batch, TimedImage, read_batch, write_batch
from mlflow_dlviz.store.images import list_images
from mlflow_dlviz.store.put import put
from mlflow_dlviz.store.spool import find_spools
from mlflow_dlviz.visual import Every, Visual

SCRIPT = "<script>alert('1')</script>"
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


def status(run):
    return run.data.tags["dlviz.status"]


def outside(folder):
    """All files in a folder, but for those of the store, of the spool and of the artifacts."""
    inside = ("artifacts", "spool", "mlflow.db")
    return {path.name for path in folder.iterdir() if not path.name.startswith(inside)}


def text_of(run, path):
    return mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/{path}")


def kept(ledger, run):
    return {entry["what"]: entry["why"] for entry in ledger(run)}


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


# ---- visuals of the user's


def number(moment, frozen):
    return {"leaf": {"value": np.asarray(float(moment.epoch))}}


def blank(**arrays):
    return Figure(figsize=(1, 1))


def visual(name, **changes):
    return Visual(**{"name": name, "capture": number, "draw": blank, "cadence": Every(1), **changes})


def raising(error):
    def fail(*args, **kwargs):
        raise error

    return fail


class Odd(Exception):
    """One whose text can't be had."""

    def __str__(self):
        raise RuntimeError("no text")


class Undecided:
    def due(self, epoch, epochs):
        return np.array([True, False])


class Broken:
    def due(self, epoch, epochs):
        raise RuntimeError("no calendar")


def rectangles(**arrays):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(1, 1))
    axes.plot([1, 2])
    return figure


def spoils(moment, frozen):
    moment.probe.x[:] = 0
    return {}


def spoils_scores(moment, frozen):
    moment.values["scores"]["validation"]["confusion"][:] = 0
    return {}


def forgets_logs(moment, frozen):
    moment.logs.clear()
    return number(moment, frozen)


def works_in_place(value):
    value += 1
    return blank()


def sees(moment, frozen):
    return {"leaf": {"x": moment.probe.x, "confusion": moment.values["scores"]["validation"]["confusion"]}}


def giving(leaves):
    return lambda moment, frozen: leaves


# By name: what is wrong with it, and the words of the ledger.
BAD = {
    "capturing": ({"capture": raising(RuntimeError("broken"))}, "RuntimeError: broken"),
    "odd": ({"capture": raising(Odd())}, "Odd, whose text can't be had"),
    "odd_draw": ({"draw": raising(Odd())}, "Odd, whose text can't be had"),
    "freezing": ({"freeze": raising(RuntimeError("ice"))}, "RuntimeError: ice"),
    "drawing": ({"draw": raising(RuntimeError("no ink"))}, "RuntimeError: no ink"),
    "evolving": ({"evolve": raising(RuntimeError("stasis"))}, "RuntimeError: stasis"),
    "calendar": ({"cadence": Broken()}, "no calendar"),
    "undecided": ({"cadence": Undecided()}, "truth value"),
    "exits": ({"draw": raising(SystemExit(3))}, "SystemExit: 3"),
    "interrupts": ({"draw": raising(KeyboardInterrupt())}, "KeyboardInterrupt"),
    "nothing": ({"capture": giving(None)}, "captured NoneType"),
    "list": ({"capture": giving([1])}, "captured list"),
    "leaf": ({"capture": giving({"leaf": 3})}, "expected {leaf: {name: array}}"),
    "objects": ({"capture": giving({"leaf": {"a": np.array([{}])}})}, "dtype object"),
    "frozen_objects": ({"freeze": lambda moment: {"a": np.array([{}])}}, "dtype object"),
    "frozen_nothing": ({"freeze": lambda moment: None}, "froze NoneType"),
    "unnamed": ({"capture": giving({"leaf": {3: 1.0}})}, "3 is no name of an array"),
    "reserved": ({"capture": giving({"leaf": {"file": 1.0}})}, "can't be named 'file'"),
    "twice": ({"capture": giving({1: {"a": 1.0}, "1": {"a": 2.0}})}, "leaves '1' and '1'"),
    "overlap": (
        {"capture": giving({"a": {"b": 1.0}, "a-evolution": {"b": 2.0}}), "draw": blank, "evolve": blank},
        "'a-evolution'",
    ),
    "huge": ({"capture": giving({"leaf": {"a": np.zeros(2**12)}})}, "reduce what it hands on"),
    "poster": ({"draw": lambda **arrays: Figure(figsize=(500, 500))}, "too large to be a picture"),
    "undrawn": ({"draw": lambda **arrays: None}, "draw returned NoneType"),
    "picture": ({"draw": lambda **arrays: b"png"}, "draw returned bytes"),
    "argument": ({"draw": lambda other: blank()}, "unexpected keyword argument"),
    "spoils": ({"capture": spoils}, "read-only"),
    "spoils_scores": ({"capture": spoils_scores, "needs": ("scores",)}, "read-only"),
    "not_shown": ({"capture": raising(NotShown("there is no map"))}, "there is no map"),
}
GOOD = {
    "empty": {"capture": giving({})},
    "scalar": {"capture": giving({"leaf": {"a": 3, "b": "text", "c": True}})},
    "pyplot": {"draw": rectangles},
    "in_place": {"draw": works_in_place},
    "forgets": {"capture": forgets_logs},
    "files": {"capture": giving({"frozen.npz": {"a": 1.0}}), "freeze": lambda moment: {"limit": 1.0}},
    "sees": {"capture": sees, "needs": ("scores",)},
}


def test_whatever_a_visual_does_the_others_are_drawn(
    dlviz, store, runs, ledger, table, binary, monkeypatch, caplog
):
    monkeypatch.setattr(frames, "_MOST_BYTES", 2**14)
    x, y, validation = table
    plain = binary()
    expected = plain.fit(x, y, epochs=3, verbose=0, validation_data=validation).history
    visuals = [visual(name, **changes) for name, (changes, _) in BAD.items()]
    dlviz.autolog(log_models=False, visuals=[*visuals, *(visual(name, **how) for name, how in GOOD.items())])
    model = binary()
    history = model.fit(x, y, epochs=3, verbose=0, validation_data=validation).history
    for one, other in zip(plain.get_weights(), model.get_weights(), strict=True):
        assert np.array_equal(one, other)
    assert history["loss"] == expected["loss"]
    assert dlviz.flush(60)
    [run] = runs()
    assert status(run) == "partial"
    told = ledger(run)
    for name, (_, words) in BAD.items():
        about = [
            entry["why"]
            for entry in told
            if name == entry["what"] or f"'{name}'" in entry["what"] or f"'{name}/" in entry["what"]
        ]
        assert words in "".join(about[:1]), (name, about)
    for name in GOOD:
        assert not [entry for entry in told if f"'{name}" in entry["what"]], name
    drawn = {image.key.split("/")[0] for image in list_images(store, run.info.run_id)}
    assert {*GOOD} - {"empty"} <= drawn
    assert "evolving" in drawn
    seen = dlviz.load(run.info.run_id, "sees")["leaf"]
    assert np.array_equal(seen[2]["x"], seen[0]["x"])
    assert seen[2]["x"].any()
    assert seen[2]["confusion"].sum() == len(validation[1])
    assert {float(a["value"]) for a in dlviz.load(run.info.run_id, "in_place")["leaf"].values()} == {0, 1, 2}
    assert run.data.metrics["best_epoch"] == int(np.argmin(history["val_loss"]))
    # Each is said once.
    said = [record.getMessage() for record in caplog.records if record.name == "mlflow_dlviz"]
    assert sum("'drawing/leaf'" in sentence for sentence in said) == 1
    from matplotlib import pyplot

    assert not pyplot.get_fignums()


def test_drawing_that_hangs_is_left_behind(dlviz, store, runs, ledger, table, binary, monkeypatch):
    import gc
    import threading

    release = threading.Event()
    monkeypatch.setattr(drawing, "DRAW_SECONDS", 1.0)
    tries = []

    def hang(**arrays):
        tries.append(1)
        release.wait(60)
        return blank()

    dlviz.autolog(log_models=False, visuals=[visual("hangs", draw=hang), visual("fine")])
    x, y, validation = table
    binary().fit(x, y, epochs=3, verbose=0, validation_data=validation)
    began = time.monotonic()
    try:
        assert dlviz.flush(60)
        assert time.monotonic() - began < 40
        assert gc.isenabled()
    finally:
        release.set()
    [run] = runs()
    assert len(tries) == 1
    assert {image.step for image in list_images(store, run.info.run_id) if image.key == "fine/leaf"} == {0, 1, 2}
    assert not [image for image in list_images(store, run.info.run_id) if image.key == "hangs/leaf"]
    assert len(dlviz.load(run.info.run_id, "hangs")["leaf"]) == 3
    told = {entry["what"]: entry["why"] for entry in ledger(run)}
    assert told["picture 'hangs/leaf'"].startswith("TimeoutError")
    assert "not tried again" in told["some pictures"]


def test_a_process_with_a_drawing_that_hangs_ends(store, tmp_path):
    run = store.create_run(store.get_experiment_by_name("test").experiment_id)
    script = f"""
        import time, uuid
        from pathlib import Path
        from mlflow_dlviz import drawing
        from mlflow_dlviz.drawing import Picture
        from mlflow_dlviz.process import writer
        from mlflow_dlviz.sending import RunLog
        from mlflow_dlviz.store.spool import Plan, begin

        drawing.DRAW_SECONDS = 0.5
        plan = Plan(uuid.uuid4().hex, {mlflow.get_tracking_uri()!r}, {run.info.run_id!r})
        run = RunLog(begin(Path({str(tmp_path / "spool")!r}), plan))
        writer().draw(Picture(run, "picture 'a/b'", 0, lambda: time.sleep(600)))
        run.training = False
        print("through")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "through\n"), done.stderr
    assert "not done within 0.5 s" in text_of(run, "dlviz/ledger.json")


def test_a_slow_capture_is_switched_off_once(dlviz, runs, ledger, table, binary, monkeypatch, caplog):
    monkeypatch.setattr(frames, "CAPTURE_SECONDS", 0.05)
    calls = []

    def dawdle(moment, frozen):
        calls.append(moment.epoch)
        time.sleep(0.4)
        return number(moment, frozen)

    dlviz.autolog(log_models=False, visuals=[visual("slow", capture=dawdle), visual("quick")])
    x, y, validation = table
    binary().fit(x, y, epochs=3, verbose=0, validation_data=validation)
    assert dlviz.flush(60)
    [run] = runs()
    # The first time it may compile, and takes six times as long as later.
    assert calls in ([0], [0, 1])
    assert list(dlviz.load(run.info.run_id, "slow")["leaf"]) == calls
    assert list(dlviz.load(run.info.run_id, "quick")["leaf"]) == [0, 1, 2]
    assert "of the training's time" in kept(ledger, run)["visual 'slow' from then on"]
    assert caplog.text.count("'slow'") == 1


# ---- paths

ANY = st.text(max_size=40) | st.text("ab./~\\\0 +%", max_size=10) | st.sampled_from(
    ["..", "/etc/x", "../../x", "frozen.npz", "C:\\x", "x" * 500, "a\n", "\ud800", "", ".", "~", "ledger.json"]
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(leaves=st.lists(ANY, min_size=1, max_size=4, unique=True), epoch=st.integers(0, 10**6))
@example(leaves=["../../escape", "/etc/passwd", "a/../../b", "frozen.npz"], epoch=0)
def test_no_leaf_leads_out_of_its_folder(store, run, tmp_path, leaves, epoch):
    """From a name through the spool and the artifact store to what is loaded."""
    content = {leaf: np.asarray(place) for place, leaf in enumerate(leaves)}
    files = {names.numbers_path("mine", leaf, epoch): _packed(value) for leaf, value in content.items()}
    files[names.frozen_path("mine")] = _packed(np.asarray(0))
    images = [TimedImage(names.image_key("mine", leaf), epoch, 1, b"png", b"webp") for leaf in leaves]
    run.spool.add("x", Batch(files=files, images=images))
    [*_, item] = run.spool.waiting()
    assert item.path.parent == run.spool.folder
    put(run.ref, item.read(tmp_path / "scratch"))
    run.spool.done(item)
    loaded = mlflow_dlviz.load(run.ref.run_id, "mine")
    for leaf, value in content.items():
        assert loaded[names.clean_leaf(leaf)][epoch]["value"] == value
    artifacts = Path(store.get_run(run.ref.run_id).info.artifact_uri.removeprefix("file://"))
    assert {path.name for path in artifacts.iterdir()} <= {"dlviz", "images"}
    assert {path.parent.parent for path in artifacts.rglob("*.npz")} <= {
        artifacts / "dlviz" / "mine",
        artifacts / "dlviz",
    }
    assert {path.parent for path in artifacts.rglob("*.png")} == {artifacts / "images"}
    assert outside(tmp_path) == set()


def _packed(value):
    from mlflow_dlviz.store.batch import pack

    return pack({"value": value})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(["../x", "/tmp/x", "a/../../x", "..", ".", "", "a/../..", "\0"]) | ANY)
def test_a_file_of_a_batch_that_leaves_the_artifacts_is_refused(store, run, tmp_path, path):
    """Our own names can't; those of a spool that somebody edited may."""
    before = {found for found in tmp_path.rglob("*") if "artifacts" not in found.parts}
    leaves = os.path.isabs(path) or os.path.normpath(path or ".").split("/")[0] in ("..", ".")
    try:
        put(run.ref, Batch(files={path: b"x"}))
    except (ValueError, OSError):
        pass
    else:
        assert not leaves, path
    after = {found for found in tmp_path.rglob("*") if "artifacts" not in found.parts}
    assert {found for found in after - before if "mlflow.db" not in found.name} == set()


# ---- files of others


def by_pickle():
    buffer = io.BytesIO()
    np.savez(buffer, value=np.array([print], dtype=object), allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [(by_pickle(), "allow_pickle=False"), (b"rubbish", ""), (b"", ""), (b"PK\x03\x04" + b"\0" * 40, "")],
    ids=["objects", "rubbish", "empty", "broken zip"],
)
def test_arrays_of_somebody_elses_are_never_unpickled(store, run, content, words):
    put(run.ref, Batch(files={"dlviz/mine/leaf/0000.npz": content, "dlviz/mine/leaf/notes.npz": b"not ours"}))
    with pytest.raises(ValueError, match="0000.npz is not a file of arrays") as told:
        mlflow_dlviz.load(run.ref.run_id, "mine")
    assert words in str(told.value)
    put(run.ref, Batch(metrics=[], files={"images/x.png": content}, tags={"mlflow.loggedImages": "True"}))
    with pytest.raises(LookupError):
        mlflow_dlviz.report(run_ids=[run.ref.run_id], progress=False)


def test_a_run_resumed_beside_a_file_of_objects_goes_on(dlviz, store, runs, ledger, table, binary):
    x, y, validation = table
    made = store.create_run(store.get_experiment_by_name("test").experiment_id)
    store.set_tag(made.info.run_id, names.NEXT_EPOCH_TAG, "3")
    from mlflow_dlviz.store.runs import RunRef

    put(
        RunRef(mlflow.get_tracking_uri(), made.info.run_id, "0" * 32),
        Batch(files={names.frozen_path("activations"): by_pickle()}),
    )
    dlviz.autolog(log_models=False, visuals=["activations"])
    with mlflow.start_run(run_id=made.info.run_id):
        binary().fit(x, y, epochs=1, verbose=0, validation_data=validation)
    assert dlviz.flush(60)
    assert [metric.step for metric in store.get_metric_history(made.info.run_id, "loss")] == [3]
    assert {image.step for image in list_images(store, made.info.run_id)} == {3}


def archive(index, *members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as made:
        made.writestr("batch.json", index)
        for name in members:
            made.writestr(name, b"x")
    return buffer.getvalue()


def index(**changes):
    buffer = io.BytesIO()
    write_batch(Batch(), buffer)
    with zipfile.ZipFile(buffer) as made:
        return json.dumps({**json.loads(made.read("batch.json")), **changes})


DAMAGED = {
    "rubbish": b"rubbish",
    "empty": b"",
    "no index": archive("[]"),
    "index of nothing": archive("{}"),
    "absolute path": archive(index(files=["/tmp/dlviz-escaped"]), "files/0"),
    "path out": archive(index(files=["../../dlviz-escaped"]), "files/0"),
    "missing member": archive(index(files=["a.txt"])),
}


def test_a_spool_that_somebody_edited_is_refused_file_by_file(dlviz, store, new_log, caplog):
    run = new_log()
    for _ in DAMAGED:
        run.spool.add("x", Batch(tags={"t": "1"}))
    for item, content in zip(run.spool.waiting(), DAMAGED.values(), strict=True):
        item.path.write_bytes(content)
    run.spool.add("good", Batch(tags={"good": "yes"}))
    from mlflow_dlviz.process import writer

    writer().send(run, "more", Batch(tags={"more": "yes"}))
    run.training = False
    assert dlviz.flush(60)
    tags = store.get_run(run.ref.run_id).data.tags
    assert (tags["good"], tags["more"]) == ("yes", "yes")
    assert len(run.spool.refused()) == len(DAMAGED)
    assert run.ledger.status == "failed"  # no epoch was logged
    assert not Path("/tmp/dlviz-escaped").exists()


def test_members_of_a_model_stay_below_the_scratch_folder(tmp_path):
    content = archive(
        index(models=[["model", "id"]]),
        "models/0/MLmodel",
        "models/0/../../../escaped",
        "models/0//tmp/dlviz-escaped",
    )
    (tmp_path / "x.zip").write_bytes(content)
    scratch = tmp_path / "deep" / "er" / "scratch"
    batch = read_batch(tmp_path / "x.zip", scratch)
    assert batch.models[0].folder == scratch / "models" / "0"
    written = {path for path in tmp_path.rglob("*") if path.is_file()} - {tmp_path / "x.zip"}
    assert len(written) == 3
    assert all(scratch in path.parents for path in written)
    assert not Path("/tmp/dlviz-escaped").exists()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_spool_is_for_its_owner_alone(new_log, spool_root, umask):
    before = os.umask(umask)
    try:
        run = new_log()
        run.spool.add("x", Batch(tags={"t": "1"}, files={"a.txt": b"x"}))
        run.spool.keep_ledger("{}")
        run.spool.change(closed=False)
        assert run.spool.try_lock()
        run.spool.unlock()
    finally:
        os.umask(before)
    assert find_spools(spool_root)
    for path in [spool_root, *spool_root.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), (path, oct(mode))


# ---- what is shown


def test_what_a_ledger_holds_stays_text(dlviz, store, runs, table, binary):
    words = f"{SCRIPT}\u202e\ud800"
    dlviz.autolog(log_models=False, visuals=[visual("mine", capture=raising(RuntimeError(words)))])
    x, y, validation = table
    binary().fit(x, y, epochs=1, verbose=0, validation_data=validation)
    assert dlviz.flush(60)
    [run] = runs()
    assert SCRIPT not in text_of(run, "report.html")
    lines = list(diagnosis.of_run(run.info.run_id))
    assert any(SCRIPT in line for line in lines)
