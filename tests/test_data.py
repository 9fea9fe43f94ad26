"""Every form of data that ``fit`` takes: training is as without us, the metrics exact, the reasons said."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import keras
import mlflow
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import tensorflow as tf
from asking import quick
from keras import layers
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix, matthews_corrcoef

from mlflow_dlviz.plots.activations import draw

RNG = np.random.default_rng(0)
X = RNG.normal(size=(72, 4)).astype("float32")
Y = (X[:, 0] + X[:, 1] > 0.2).astype("int32")
TRAIN, VALIDATION = slice(0, 48), slice(48, 72)
WEIGHTS = RNG.uniform(0.5, 2, 72).astype("float32")
NAMES = ["activations", "boundary", "probabilities"]
PROBE = "pictures of a sample of the data"


def blank(**arrays):
    return Figure(figsize=(1, 1))


@pytest.fixture
def recorded(dlviz, runs):
    """``recorded(build, data)``: what came of a fit that equals the one without us.

    ``data()`` makes the arguments of ``fit`` anew, as generators can be read only once. The pictures are blank:
    what is drawn of the arrays is tested elsewhere, and takes longer than all the rest.
    """
    visuals = [replace(dlviz.catalogue.known()[name](), draw=blank, evolve=None) for name in NAMES]

    def fit(build, data, *, epochs=2, compared=True, **options):
        def train():
            keras.utils.set_random_seed(0)
            model = build()
            arguments = {"epochs": epochs, "verbose": 0, **data()}
            return model, model.fit(arguments.pop("x"), **arguments).history

        dlviz.autolog(log_models=False, probe=12, visuals=visuals, **options)
        model, history = train()
        if compared:
            with dlviz.paused():
                plain, expected = train()
            for one, other in zip(plain.variables, model.variables, strict=True):
                np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)
            for name, values in expected.items():
                np.testing.assert_array_equal(history[name], values, err_msg=name)
        dlviz.autolog(disable=True)
        assert dlviz.flush(120)
        run = runs()[-1]
        assert run.info.status == "FINISHED"
        ledger = json.loads(mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/dlviz/ledger.json"))
        assert [entry for entry in ledger["entries"] if entry["kind"] == "failed"] == []
        left_out = {entry["what"]: entry["why"] for entry in ledger["entries"]}
        return SimpleNamespace(model=model, history=history, run=run, left_out=left_out)

    return fit


@pytest.fixture
def frames(dlviz):
    """``frames(found, visual)``: the stored frames, none where the visual was left out."""

    def load(found, visual):
        return {} if visual in found.left_out else dlviz.load(found.run.info.run_id, visual)

    return load


def table(features=4, units=1, **options):
    def build():
        activation = "sigmoid" if units == 1 else "softmax"
        model = keras.Sequential(
            [keras.Input((features,)), layers.Dense(3, "relu"), layers.Dense(units, activation)]
        )
        kind = "binary_crossentropy" if units == 1 else "sparse_categorical_crossentropy"
        model.compile(keras.optimizers.Adam(0.05), kind, **options)
        return model

    return build


def two_inputs(kind):
    def build():
        a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
        output = layers.Dense(1, "sigmoid")(layers.Dense(3, "relu")(layers.concatenate([a, b])))
        model = keras.Model({"a": a, "b": b} if kind is dict else [a, b], output)
        model.compile("adam", "binary_crossentropy")
        return model

    return build


def split(kind, x=X):
    halves = x[:, :2], x[:, 2:]
    return dict(zip("ab", halves, strict=True)) if kind is dict else kind(halves)


def data_set(part=TRAIN, *more, x=None, batch=10):
    inputs = X[part] if x is None else x
    return tf.data.Dataset.from_tensor_slices((inputs, Y[part, None], *more)).batch(batch)


def generator(part=TRAIN, x=None, batch=12):
    """Batches without end."""
    inputs = X[part] if x is None else x
    rows = np.arange(len(Y[part]))
    at = 0
    while True:
        chosen = rows[np.arange(at, at + batch) % len(rows)]
        at += batch
        yield keras.tree.map_structure(lambda values, chosen=chosen: values[chosen], inputs), Y[part][chosen, None]


class Batches(keras.utils.PyDataset):
    """Shuffles after each epoch with Python's own generator, as users' do."""

    def __init__(self, part=TRAIN, x=None, shuffle=True, **options):
        super().__init__(**options)
        self.x, self.y = X[part] if x is None else x, Y[part]
        self.order, self.shuffle = np.arange(len(self.y)), shuffle

    def __len__(self):
        return 5

    def __getitem__(self, index):
        rows = self.order[index * 10 : index * 10 + 10]
        return keras.tree.map_structure(lambda values: values[rows], self.x), self.y[rows, None]

    def on_epoch_end(self):
        if self.shuffle:
            np.random.default_rng(len(self.order)).shuffle(self.order)


def validation(part=VALIDATION):
    return {"validation_data": (X[part], Y[part])}


ARRAYS = {
    "numpy": lambda: {"x": X[TRAIN], "y": Y[TRAIN], **validation()},
    "tensors": lambda: {"x": tf.constant(X[TRAIN]), "y": tf.constant(Y[TRAIN]), **validation()},
    "frame": lambda: {"x": pd.DataFrame(X[TRAIN]), "y": pd.Series(Y[TRAIN]), **validation()},
    "double": lambda: {"x": X[TRAIN].astype("float64"), "y": Y[TRAIN].astype(bool), **validation()},
    "whole": lambda: {"x": (100 * X[TRAIN]).astype("int64"), "y": Y[TRAIN], **validation()},
    "split": lambda: {"x": X, "y": Y, "validation_split": 1 / 3},
    "triple": lambda: {
        "x": X[TRAIN],
        "y": Y[TRAIN],
        "sample_weight": WEIGHTS[TRAIN],
        "validation_data": (X[VALIDATION], Y[VALIDATION], WEIGHTS[VALIDATION]),
    },
    "class weight": lambda: {"x": X[TRAIN], "y": Y[TRAIN], "class_weight": {0: 1.0, 1: 3.0}, **validation()},
    "steps": lambda: {"x": X[TRAIN], "y": Y[TRAIN], "steps_per_epoch": 2, "batch_size": 8, **validation()},
}

STREAMS = {
    "batched": lambda: {"x": data_set(), "validation_data": data_set(VALIDATION)},
    "endless": lambda: {
        "x": data_set().repeat().prefetch(2),
        "steps_per_epoch": 3,
        "validation_data": data_set(VALIDATION).repeat(),
        "validation_steps": 3,
    },
    "drop remainder": lambda: {"x": data_set().unbatch().batch(8, drop_remainder=True), **validation()},
    "weighted set": lambda: {
        "x": data_set(TRAIN, WEIGHTS[TRAIN]),
        "validation_data": data_set(VALIDATION, WEIGHTS[VALIDATION]),
    },
    "set, arrays": lambda: {"x": data_set(), **validation()},
    "arrays, set": lambda: {"x": X[TRAIN], "y": Y[TRAIN], "validation_data": data_set(VALIDATION)},
    "generator": lambda: {
        "x": generator(),
        "steps_per_epoch": 4,
        "validation_data": generator(VALIDATION),
        "validation_steps": 2,
    },
    "py": lambda: {"x": Batches(), "validation_data": Batches(slice(22, 72), shuffle=False)},
    "py workers": lambda: {"x": Batches(workers=2), "validation_data": Batches(slice(22, 72), shuffle=False)},
    "dicts": lambda: {
        "x": data_set(x={"a": X[TRAIN]}),
        "validation_data": data_set(VALIDATION, x={"a": X[VALIDATION]}),
    },
}


def whole_validation(name):
    return slice(22, 72) if name.startswith("py") else VALIDATION


def exact(found, part=VALIDATION, x=X):
    """The metrics of the last epoch equal scikit-learn's on the whole validation set."""
    inputs = keras.tree.map_structure(lambda values: values[part], x)
    output = found.model.predict(inputs, verbose=0)
    guessed = output.argmax(1) if output.shape[1] > 1 else output[:, 0] > 0.5
    (tn, fp), (fn, tp) = confusion_matrix(Y[part], guessed, labels=[0, 1])
    assert [found.history[f"val_{name}"][-1] for name in ("tp", "tn", "fp", "fn")] == [tp, tn, fp, fn]
    assert found.history["val_mcc"][-1] == pytest.approx(matthews_corrcoef(Y[part], guessed), abs=1e-6)
    assert found.run.data.metrics["val_mcc"] == pytest.approx(found.history["val_mcc"][-1])


@pytest.mark.parametrize("name", quick(ARRAYS, "numpy", "frame", "split", "triple"))
def test_arrays(recorded, frames, name):
    found = recorded(table(), ARRAYS[name], compared=False)
    if name != "whole":
        exact(found)
    assert found.left_out == {}
    assert list(frames(found, "boundary")["plane"]) == [0, 1]
    assert all(list(leaf) == [0, 1] for leaf in frames(found, "activations").values())
    assert ("samples_per_second" in found.run.data.metrics) == (name != "steps")


@pytest.mark.parametrize("name", quick(STREAMS, "endless", "generator", "py", "dicts"))
def test_data_that_bring_their_batches(recorded, frames, name):
    build = (lambda: named_input()) if name == "dicts" else table()
    found = recorded(build, STREAMS[name])
    part = whole_validation(name)
    exact(found, part, {"a": X} if name == "dicts" else X)
    assert found.left_out == {}
    plane = frames(found, "boundary")["plane"]
    assert list(plane) == [0, 1]
    np.testing.assert_array_equal(plane[0]["points"], plane[1]["points"])
    assert len(plane[0]["labels"]) == 12
    assert np.bincount(plane[0]["labels"]).tolist() == [6, 6]
    assert all(list(leaf) == [0, 1] for leaf in frames(found, "activations").values())
    assert found.run.data.metrics["samples_per_second"] > 0


def named_input():
    a = keras.Input((4,), name="a")
    model = keras.Model({"a": a}, layers.Dense(1, "sigmoid")(layers.Dense(3, "relu")(a)))
    model.compile("adam", "binary_crossentropy")
    return model


# In a stream, lists of inputs are tuples.
STRUCTURES = [("arrays", dict), ("arrays", list), ("set", tuple), ("generator", dict), ("py", dict)]


@pytest.mark.parametrize(("form", "kind"), STRUCTURES)
def test_several_inputs(recorded, frames, form, kind):
    trained, checked = split(kind, X[TRAIN]), split(kind, X[VALIDATION])
    given = {
        "arrays": lambda: {"x": trained, "y": Y[TRAIN], "validation_data": (checked, Y[VALIDATION])},
        "set": lambda: {
            "x": data_set(x=trained),
            "validation_data": data_set(VALIDATION, x=checked),
        },
        "generator": lambda: {
            "x": generator(TRAIN, trained),
            "steps_per_epoch": 4,
            "validation_data": generator(VALIDATION, checked),
            "validation_steps": 2,
        },
        "py": lambda: {
            "x": Batches(TRAIN, trained),
            "validation_data": (checked, Y[VALIDATION]),
        },
    }[form]
    found = recorded(two_inputs(kind), given)
    exact(found, VALIDATION, split(kind))
    assert found.left_out.keys() == {"boundary"}
    assert "takes 2 inputs" in found.left_out["boundary"]
    assert len(frames(found, "activations")) == 2


@pytest.mark.parametrize(("form", "frequency"), [("arrays", [2, 3]), ("set", 2)])
def test_validation_now_and_then(recorded, frames, form, frequency):
    data = {"arrays": ARRAYS["numpy"], "set": STREAMS["batched"]}[form]
    found = recorded(table(), lambda: {**data(), "validation_freq": frequency}, epochs=3, cadence=1)
    validated = 1 if frequency == 2 else 2
    assert len(found.history["val_mcc"]) == validated
    assert len(found.history["mcc"]) == 3
    assert found.left_out == {}
    plane = frames(found, "boundary")["plane"]
    assert list(plane) == [0, 1, 2]
    np.testing.assert_array_equal(plane[0]["points"], plane[2]["points"])


@pytest.mark.parametrize("form", quick(["arrays", "set", "generator", "py"], "set"))
def test_no_validation(recorded, frames, form):
    data = {
        "arrays": lambda: {"x": X[TRAIN], "y": Y[TRAIN]},
        "set": lambda: {"x": data_set()},
        "generator": lambda: {"x": generator(), "steps_per_epoch": 4},
        "py": lambda: {"x": Batches()},
    }[form]
    found = recorded(table(), data)
    assert "val_mcc" not in found.history
    assert found.left_out == {}
    assert list(frames(found, "boundary")["plane"]) == [0, 1]
    assert list(frames(found, "probabilities")["training"]) == [0, 1]


def test_a_pipeline_that_counts_gives_each_batch_once(dlviz):
    """Without reading ahead: the numbers of batches are equal, not only those that training saw."""

    def taken():
        count = tf.Variable(0, dtype=tf.int64)

        def note(x, y):
            count.assign_add(1)
            return x, y

        keras.utils.set_random_seed(0)
        table()().fit(data_set().map(note), epochs=3, verbose=0, validation_data=data_set(VALIDATION).map(note))
        return int(count)

    plain = taken()
    dlviz.autolog(log_models=False)
    assert taken() == plain == 3 * (5 + 3)


def images(channels, first=False):
    x = RNG.uniform(0, 1, (30, 8, 8, channels)).astype("float32")
    return np.moveaxis(x, -1, 1) if first else x


def convolutional(channels):
    def build():
        stack = [layers.Conv2D(2, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten()]
        model = keras.Sequential([keras.Input((8, 8, channels)), *stack, layers.Dense(3, "softmax")])
        model.compile("adam", "sparse_categorical_crossentropy")
        return model

    return build


@pytest.mark.parametrize(
    "case", quick([("arrays", 1), ("arrays", 2), ("arrays", 3), ("set", 4)], ("arrays", 3)), ids=str
)
def test_images_of_any_channels(recorded, frames, case):
    form, channels = case
    x, y = images(channels), np.arange(30) % 3
    given = {"x": x, "y": y} if form == "arrays" else {"x": tf.data.Dataset.from_tensor_slices((x, y)).batch(7)}
    found = recorded(convolutional(channels), lambda: given, epochs=1)
    assert found.left_out.keys() == {"boundary"}
    assert "inputs of shape (8, 8, " in found.left_out["boundary"]
    conv = next(iter(frames(found, "activations").values()))[0]
    assert conv["input"].shape == (8, 8, channels)
    assert conv["values"].shape == (2, 6, 6)
    assert isinstance(draw(**conv), Figure)


def first():
    # On a CPU TensorFlow convolves channels last only; pooling over all positions it can.
    stack = [layers.GlobalAveragePooling2D(data_format="channels_first"), layers.Dense(3, "softmax")]
    model = keras.Sequential([keras.Input((2, 8, 8)), *stack])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def test_images_of_channels_first(recorded, frames):
    x = images(2, first=True)
    found = recorded(first, lambda: {"x": x, "y": np.arange(30) % 3}, epochs=1)
    pooled = next(iter(frames(found, "activations").values()))[0]
    assert pooled["input"].shape == (8, 8, 2)


IDS = RNG.integers(1, 20, (72, 6)).astype("int32")
IDS[:, 4:] *= RNG.integers(0, 2, (72, 2))  # zero is the padding


def lstm():
    stack = [layers.Embedding(20, 4, mask_zero=True), layers.Bidirectional(layers.LSTM(3, return_sequences=True))]
    stack += [layers.GRU(3), layers.Dense(1, "sigmoid")]
    model = keras.Sequential([keras.Input((6,), dtype="int32"), *stack])
    model.compile("adam", "binary_crossentropy")
    return model


class Block(layers.Layer):
    """A transformer's block."""

    def __init__(self):
        super().__init__()
        self.attention, self.norm = layers.MultiHeadAttention(2, 3), layers.LayerNormalization()
        self.dense = layers.Dense(4, "relu")

    def call(self, x):
        return self.dense(self.norm(x + self.attention(x, x)))


def transformer():
    ids = keras.Input((6,), dtype="int32")
    x = Block()(layers.Embedding(20, 4)(ids))
    model = keras.Model(ids, layers.Dense(1, "sigmoid")(layers.GlobalAveragePooling1D()(x)))
    model.compile("adam", "binary_crossentropy")
    return model


KINDS = {
    lstm: ["Embedding", "Bidirectional", "GRU", "Dense"],
    transformer: ["Embedding", "MultiHeadAttention", "Dense", "Block", "GlobalAveragePooling1D", "Dense"],
}


@pytest.mark.slow
@pytest.mark.parametrize(("build", "form"), [(lstm, "set"), (transformer, "arrays")])
def test_ids_with_and_without_a_mask(recorded, frames, build, form):
    data = tf.data.Dataset.from_tensor_slices((IDS, Y[:, None])).batch(10)
    given = {
        "arrays": {"x": IDS[TRAIN], "y": Y[TRAIN], "validation_data": (IDS[VALIDATION], Y[VALIDATION])},
        "set": {"x": data.take(5), "validation_data": data},
    }[form]
    found = recorded(build, lambda: given)
    exact(found, VALIDATION if form == "arrays" else slice(None), IDS)
    assert found.left_out.keys() == {"boundary"}
    assert "between ids" in found.left_out["boundary"]
    leaves = frames(found, "activations")
    assert [str(leaf[0]["kind"]) for leaf in leaves.values()] == KINDS[build]
    embedded = next(iter(leaves.values()))[0]
    assert embedded["values"].shape == (4, 6)
    assert embedded["input"].size == 0


WORDS = np.asarray(["good film", "bad film", "a good one", "so bad", "good"] * 12, dtype=object)
PRAISE = (np.char.find(WORDS.astype(str), "good") >= 0).astype("int32")
VECTORS = layers.TextVectorization(8, output_sequence_length=4)
VECTORS.adapt(WORDS)


def reading(inside):
    def build():
        text = keras.Input((), dtype="string") if inside else keras.Input((4,), dtype="int64")
        x = layers.GlobalAveragePooling1D()(layers.Embedding(8, 3)(VECTORS(text) if inside else text))
        model = keras.Model(text, layers.Dense(1, "sigmoid")(x))
        model.compile("adam", "binary_crossentropy")
        return model

    return build


@pytest.mark.parametrize("inside", quick([True, False], True), ids=["in the model", "in the pipeline"])
def test_text(recorded, frames, inside):
    pairs = tf.data.Dataset.from_tensor_slices((WORDS.astype(str), PRAISE[:, None])).batch(8)
    data = pairs if inside else pairs.map(lambda text, y: (VECTORS(text), y))
    found = recorded(reading(inside), lambda: {"x": data, "validation_data": data})
    assert found.left_out.keys() == {"boundary"}
    assert ("text" if inside else "between ids") in found.left_out["boundary"]
    assert len(frames(found, "activations")) == 3
    guessed = found.model.predict(data, verbose=0)[:, 0] > 0.5
    assert found.history["val_mcc"][-1] == pytest.approx(matthews_corrcoef(PRAISE, guessed), abs=1e-6)


def test_text_as_an_array(recorded, frames):
    found = recorded(reading(True), lambda: {"x": tf.constant(WORDS.astype(str)), "y": PRAISE})
    assert "text" in found.left_out["boundary"]
    assert len(frames(found, "activations")) == 3


class Summing(keras.Model):
    """Takes rows of any kind."""

    def __init__(self):
        super().__init__()
        self.head = layers.Dense(1, "sigmoid")

    def call(self, x):
        if isinstance(x, tf.RaggedTensor):
            return self.head(tf.reduce_sum(x, axis=1, keepdims=True))
        return self.head(tf.ensure_shape(tf.sparse.to_dense(x), (None, 4)))


def summing():
    model = Summing()
    model.compile("adam", "binary_crossentropy")
    return model


LENGTHS = RNG.integers(1, 5, 48)
RAGGED = tf.RaggedTensor.from_row_lengths(RNG.normal(size=LENGTHS.sum()).astype("float32"), LENGTHS)
SPARSE = scipy.sparse.random_array((48, 4), density=0.4, rng=RNG, dtype="float32").tocsr()
NOT_DENSE = {
    "ragged": (lambda: {"x": RAGGED, "y": Y[TRAIN]}, "has a RaggedTensor"),
    "ragged set": (
        lambda: {"x": tf.data.Dataset.from_tensor_slices((RAGGED, Y[TRAIN, None])).batch(8)},
        "has RaggedTensors",
    ),
    "sparse": (lambda: {"x": tf.sparse.from_dense(X[TRAIN]), "y": Y[TRAIN]}, "has a SparseTensor"),
    "scipy": (lambda: {"x": SPARSE, "y": Y[TRAIN]}, "has a csr_array"),
    "sparse set": (
        lambda: {
            "x": tf.data.Dataset.from_tensor_slices((tf.sparse.from_dense(X[TRAIN]), Y[TRAIN, None])).batch(8)
        },
        "has SparseTensors",
    ),
}


@pytest.mark.parametrize("name", NOT_DENSE)
def test_ragged_and_sparse_rows_have_metrics_and_no_probe(recorded, frames, name):
    data, words = NOT_DENSE[name]
    found = recorded(summing, data)
    assert words in found.left_out[PROBE]
    assert found.left_out.keys() == {PROBE, "activations", "boundary"}
    assert len(found.history["mcc"]) == 2
    assert list(frames(found, "probabilities")["training"]) == [0, 1]
    assert found.run.data.metrics["samples_per_second"] > 0


REFUSED = {
    "nullable": lambda: {"x": pd.DataFrame(X).convert_dtypes(), "y": Y},
    "nullable targets": lambda: {"x": X, "y": pd.Series(Y, dtype="Int64")},
    "lists of numbers": lambda: {"x": X.tolist(), "y": Y},
    "fixed-width text": lambda: {"x": np.asarray([["a"], ["b"]]), "y": Y[:2]},
    "nothing to yield": lambda: {"x": (batch for batch in ())},
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_keras_refuses_it_refuses_in_the_same_words(dlviz, name):
    def said():
        given = REFUSED[name]()
        with pytest.raises(Exception) as raised:  # noqa: PT011, Keras' own, whatever it is
            table()().fit(given.pop("x"), **given, verbose=0)
        return raised.type, str(raised.value)

    plain = said()
    dlviz.autolog(log_models=False)
    assert said() == plain
