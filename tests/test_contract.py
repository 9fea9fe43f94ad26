"""What holds for every visual of the catalogue, on real fits: the arrays, the pictures, and hostile input."""

from __future__ import annotations

import dataclasses
import inspect
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import mlflow
import numpy as np
import pytest
from keras import layers
from matplotlib.figure import Figure

import mlflow_dlviz
from mlflow_dlviz import catalogue
from mlflow_dlviz.plots import encode
from mlflow_dlviz.store.images import fetch_image, list_images
from mlflow_dlviz.store.names import clean_leaf, image_key

RNG = np.random.default_rng(0)
VISUALS = sorted(catalogue.known())

# TensorFlow itself refuses other characters in a layer's name; class names may have any.
HOSTILE = ["..", "a..b", "x" * 500, "-", "a>b", "A.", "a."]
CLASSES = ["a/../../b", "<script>alert(1)</script>\nÜ漢🙂 $x^{" + "y" * 500]


def table(classes):
    x = RNG.normal(size=(90, 4)).astype("float32")
    return x, np.argmax(x[:, :classes] + 0.3 * RNG.normal(size=(90, classes)), axis=1)


def images():
    y = RNG.integers(0, 3, 60)
    x = RNG.uniform(0, 0.4, (60, 8, 8, 1)).astype("float32")
    x[np.arange(60), y] += 0.6
    return x, y


def dense(units, *names, scale=None):
    hidden = [layers.Dense(3, "relu", name=name) for name in names or ["hidden"]]
    start = {} if scale is None else {"kernel_initializer": keras.initializers.Constant(scale)}
    head = layers.Dense(units, "sigmoid" if units == 1 else "softmax", name="head", **start)
    return keras.Sequential([keras.Input((4,)), *hidden, head])


def convolutional():
    stack = [layers.Conv2D(3, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten()]
    return keras.Sequential([keras.Input((8, 8, 1)), *stack, layers.Dense(3, "softmax")])


class Twins(keras.Model):
    """Two layers of one name, and a model within the model."""

    def __init__(self):
        super().__init__()
        self.one, self.two = layers.Dense(3, "relu", name="twin"), layers.Dense(3, "relu", name="twin")
        self.inner = keras.Sequential([keras.Input((3,)), layers.Dense(3, name="deep")], name="inner")
        self.head = layers.Dense(1, "sigmoid")

    def call(self, x):
        return self.head(self.inner(self.two(self.one(x))))


# Name: model, data, options. Each is one fit, of 3 epochs of which the first and the last are due.
def masks():
    x = RNG.uniform(size=(60, 8, 8, 1)).astype("float32")
    return x, (x[..., 0] * 3).astype("int32")


def per_pixel():
    return keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Conv2D(3, 3, padding="same"), layers.Conv2D(3, 1, activation="softmax")]
    )


def values():
    x = RNG.normal(size=(90, 4)).astype("float32")
    return x, 1e4 + 100 * x[:, :2].sum(axis=1) + RNG.normal(size=90).astype("float32")


def labels():
    x = RNG.normal(size=(90, 4)).astype("float32")
    return x, (x[:, :3] > 0).astype("float32")


def both():
    x, (_, y), (_, z) = table(2)[0], values(), labels()
    return x, {"price": y, "kind..b": z}


def twofold():
    x = keras.Input((4,))
    return keras.Model(x, {"price": layers.Dense(1)(layers.Dense(4)(x)), "kind..b": layers.Dense(3, "sigmoid")(x)})


LOSSES = {
    "regression": "mse",
    "multilabel": "binary_crossentropy",
    "several outputs": {"price": "mse", "kind..b": "binary_crossentropy"},
}

FITS = {
    "binary": (lambda: dense(1), lambda: table(2), {}),
    "two units": (lambda: dense(2), lambda: table(2), {}),
    "multiclass": (lambda: dense(3), lambda: table(3), {}),
    "images": (convolutional, images, {}),
    "pixels": (per_pixel, masks, {}),
    "regression": (lambda: keras.Sequential([keras.Input((4,)), layers.Dense(1)]), values, {}),
    "multilabel": (lambda: keras.Sequential([keras.Input((4,)), layers.Dense(3, "sigmoid")]), labels, {}),
    "several outputs": (twofold, both, {}),
    "nan": (lambda: dense(1, scale=np.nan), lambda: table(2), {}),
    "twins": (Twins, lambda: table(2), {}),
    "hostile": (lambda: dense(2, *HOSTILE), lambda: table(2), {"class_names": CLASSES}),
}


@pytest.fixture(scope="module")
def fits(tmp_path_factory, empty_store):
    """``fits(name)``: the visuals' captures of that fit, and the run they were logged to."""
    folder = tmp_path_factory.mktemp("contract")
    shutil.copy(empty_store, folder / "mlflow.db")
    uri, made = f"sqlite:///{folder / 'mlflow.db'}", {}
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("contract", artifact_location=(folder / "artifacts").as_uri())

    def fit(name):
        if name not in made:
            made[name] = recorded(client, experiment, *FITS[name], loss=LOSSES.get(name))
        return made[name]

    yield fit
    mlflow_dlviz.autolog(disable=True)


def recorded(client, experiment, build, data, options, loss=None):
    keras.utils.set_random_seed(0)
    x, y = data()
    model = build()
    if loss is None:
        units = 1 if isinstance(model, Twins) else model.output_shape[-1]
        loss = "binary_crossentropy" if units == 1 else "sparse_categorical_crossentropy"
    model.compile("adam", loss)
    captured = {}
    wrapped = [watched(factory(), captured) for factory in catalogue.known().values()]
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(client.tracking_uri)
    try:
        mlflow.set_experiment(experiment_id=experiment)
        mlflow_dlviz.autolog(log_models=False, visuals=wrapped, cadence=2, probe=30, **options)
        with mlflow.start_run() as run:
            validation = x[:40], keras.tree.map_structure(lambda values: values[:40], y)
            model.fit(x, y, epochs=3, verbose=0, validation_data=validation)
        assert mlflow_dlviz.flush(60)
    finally:
        mlflow_dlviz.autolog(disable=True)
        mlflow.set_tracking_uri(before)
    return SimpleNamespace(run_id=run.info.run_id, captured=captured, client=client, model=model)


def watched(visual, captured):
    """The visual, with what it captured kept by name and epoch."""

    def capture(moment, frozen):
        leaves = visual.capture(moment, frozen)
        captured.setdefault(visual.name, {})[moment.epoch] = leaves
        return leaves

    return dataclasses.replace(visual, capture=capture)


def shown(made, visual):
    if visual not in made.captured:
        pytest.skip("does not apply to this model and data, says the ledger")
    return made.captured[visual]


def stored(made, visual):
    return mlflow_dlviz.load(made.run_id, visual, tracking_uri=made.client.tracking_uri)


def ledger(made):
    return json.loads(Path(made.client.download_artifacts(made.run_id, "dlviz/ledger.json")).read_text())


# What does not apply to these; to all others, residuals do not.
MISSING = {
    "images": {"boundary", "residuals"},
    "pixels": {"boundary", "residuals"},
    "regression": {"boundary", "probabilities"},
    "multilabel": {"boundary", "residuals"},
    "several outputs": {"boundary"},
}


@pytest.mark.parametrize("name", FITS)
def test_nothing_fails_and_what_is_left_out_has_a_reason(fits, name):
    made = fits(name)
    entries = ledger(made)["entries"]
    assert [entry for entry in entries if entry["kind"] == "failed"] == []
    without = {*VISUALS} - {*made.captured}
    assert {entry["what"] for entry in entries} >= without
    assert without == MISSING.get(name, {"residuals"})
    assert made.client.get_run(made.run_id).data.tags["dlviz.status"] == "ok"


@pytest.mark.parametrize("visual", VISUALS)
@pytest.mark.parametrize("name", FITS)
def test_captures_are_named_arrays_without_objects(fits, name, visual):
    frames = shown(fits(name), visual)
    assert list(frames) == [0, 2]
    for leaves in frames.values():
        assert leaves
        for leaf, arrays in leaves.items():
            assert isinstance(leaf, str)
            for key, value in arrays.items():
                assert isinstance(key, str)
                assert isinstance(value, np.ndarray), key
                assert value.dtype.kind in "biufU", key
    assert len({frozenset(leaves) for leaves in frames.values()}) == 1


@pytest.mark.parametrize("visual", VISUALS)
@pytest.mark.parametrize("name", FITS)
def test_the_plot_takes_these_arrays_and_gives_a_figure(fits, name, visual):
    frames, draw = shown(fits(name), visual), catalogue.known()[visual]().draw
    parameters = inspect.signature(draw).parameters.values()
    required = {each.name for each in parameters if each.default is each.empty}
    for arrays in frames[2].values():
        assert required <= arrays.keys() <= {each.name for each in parameters}
        assert isinstance(draw(**arrays), Figure)
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


@pytest.mark.parametrize("visual", VISUALS)
@pytest.mark.parametrize("name", FITS)
def test_what_was_captured_is_what_is_loaded(fits, name, visual):
    made = fits(name)
    frames, loaded = shown(made, visual), stored(made, visual)
    assert loaded.keys() == {clean_leaf(leaf) for leaf in frames[0]}
    for epoch, leaves in frames.items():
        for leaf, arrays in leaves.items():
            back = loaded[clean_leaf(leaf)][epoch]
            assert back.keys() == arrays.keys()
            for key, value in arrays.items():
                assert back[key].dtype == value.dtype
                assert back[key].tobytes() == np.ascontiguousarray(value).tobytes()


@pytest.mark.parametrize("visual", VISUALS)
@pytest.mark.parametrize("name", ["multiclass", "images", "regression", "several outputs", "hostile"])
def test_the_logged_picture_is_drawn_again_from_the_numbers(fits, name, visual):
    made = fits(name)
    shown(made, visual)
    logged = {(image.key, image.step): image for image in list_images(made.client, made.run_id)}
    draw = catalogue.known()[visual]().draw
    for leaf, frames in stored(made, visual).items():
        key = f"{visual}/{leaf}"
        assert {(key, 0), (key, 2)} <= logged.keys()
        image = fetch_image(made.client, made.run_id, logged[key, 2].path)
        assert encode(draw(**frames[2])) == image.data


@pytest.mark.parametrize("visual", VISUALS)
@pytest.mark.parametrize("name", ["binary", "multiclass", "regression", "several outputs", "nan"])
def test_an_evolution_is_drawn_over_the_frames(fits, name, visual):
    made, evolve = fits(name), catalogue.known()[visual]().evolve
    frames = shown(made, visual)
    if evolve is None:
        pytest.skip("has no evolution")
    for leaf in frames[0]:
        stacked = {key: np.stack([leaves[leaf][key] for leaves in frames.values()]) for key in frames[0][leaf]}
        assert isinstance(evolve(**stacked), Figure)
        key = image_key(visual, f"{leaf}-evolution")
        assert (key, 0) in {(image.key, image.step) for image in list_images(made.client, made.run_id)}


@pytest.mark.parametrize("visual", VISUALS)
def test_metrics_of_a_visual_are_numbers_among_its_arrays(fits, visual):
    for leaves in shown(fits("multiclass"), visual).values():
        for arrays in leaves.values():
            for name in catalogue.known()[visual]().metrics:
                assert arrays[name].ndim == 0


def test_hostile_names_are_kept_whole_with_the_numbers(fits):
    made = fits("hostile")
    layers_named = {str(frames[0]["layer"]) for frames in stored(made, "activations").values()}
    assert layers_named == {*HOSTILE, "head"}
    names = next(iter(stored(made, "boundary").values()))[0]["class_names"].tolist()
    assert names == CLASSES
    assert {file.path for file in made.client.list_artifacts(made.run_id)} == {
        "dlviz",
        "images",
        "report.html",
        "summary.png",
        "model_summary.txt",
    }


def test_layers_of_one_name_are_told_apart(fits):
    leaves = stored(fits("twins"), "activations")
    assert [str(frames[0]["layer"]) for frames in leaves.values()][:3] == ["twin", "twin'", "inner/deep"]
    first, second = (frames[0]["values"] for frames in [*leaves.values()][:2])
    assert not np.array_equal(first, second)
