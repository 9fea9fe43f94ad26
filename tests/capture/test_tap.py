"""The probe of data that bring their own batches, taken as these pass, and nothing left behind."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from mlflow_dlviz.capture.moment import NotShown
from mlflow_dlviz.capture.tap import Tap

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4)).astype("float32")
Y = (np.arange(90) % 10 == 0).astype("int32")
VAL_X, VAL_Y = X[:40] + 100, Y[:40]


def data_set(x=X, y=Y, batch=16):
    return tf.data.Dataset.from_tensor_slices((x, y[:, None])).batch(batch)


def model_of(**options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "relu"), keras.layers.Dense(1, "sigmoid")])
    model.compile(keras.optimizers.Adam(0.1), "binary_crossentropy", **options)
    return model


class Listen(keras.callbacks.Callback):
    """Opens and closes the tap when the recorder would."""

    def __init__(self, subset, size=20, stratify=True, seed=5):
        super().__init__()
        self.options = {"size": size, "seed": seed, "stratify": stratify}
        self.subset, self.probes, self.samples, self.reasons = subset, [], [], []

    def on_train_begin(self, logs=None):
        self.tap = Tap(self.model, self.subset, **self.options)
        self.tap.attach()

    def on_epoch_begin(self, epoch, logs=None):
        self.tap.open("training", take=not self.probes)

    def on_test_begin(self, logs=None):
        self.tap.open("validation", take=not self.probes)

    def on_epoch_end(self, epoch, logs=None):
        self.tap.close()
        self.samples.append(self.tap.samples)
        try:
            self.probes.append(self.tap.take())
        except NotShown as reason:
            self.reasons.append(str(reason))

    def on_train_end(self, logs=None):
        self.tap.detach()


def listened(model, data, subset="training", *, epochs=2, **options):
    listen = Listen(subset, **{key: options.pop(key) for key in ("size", "stratify", "seed") if key in options})
    model.fit(data, epochs=epochs, verbose=0, callbacks=[listen], **options)
    return listen


def rows_of(probe):
    return {tuple(row) for row in probe.x.tolist()}


MODES = {
    "graph": {},
    "eager": {"run_eagerly": True},
    "steps": {"steps_per_execution": 3},
    "xla": {"jit_compile": True},
    "xla steps": {"jit_compile": True, "steps_per_execution": 2},
}


@pytest.mark.parametrize("mode", MODES)
def test_the_probe_is_of_the_validation_data_and_training_is_as_without(mode):
    plain, model = model_of(**MODES[mode]), model_of(**MODES[mode])
    options = {"validation_data": data_set(VAL_X, VAL_Y), "epochs": 2}
    expected = plain.fit(data_set(), verbose=0, **options).history
    listen = listened(model, data_set(), "validation", **options)
    assert model.history.history == expected
    for one, other in zip(plain.variables, model.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    first, second = listen.probes
    assert first.subset == "validation"
    assert rows_of(first) <= {tuple(row) for row in VAL_X.tolist()}
    assert len(rows_of(first)) == len(first) == 20
    assert np.bincount(first.labels).tolist() == [16, 4]
    np.testing.assert_array_equal(first.x, second.x)
    np.testing.assert_array_equal(first.y[:, 0], first.labels)
    assert listen.samples == [90, 90]


@pytest.mark.parametrize("mode", ["graph", "eager"])
def test_the_probe_is_the_same_at_every_run_and_another_with_another_seed(mode):
    probes = [listened(model_of(**MODES[mode]), data_set(), seed=seed).probes[0].x for seed in (5, 5, 6)]
    np.testing.assert_array_equal(probes[0], probes[1])
    assert not np.array_equal(probes[0], probes[2])


def test_samples_and_targets_belong_together():
    x = np.arange(90, dtype="float32")[:, None] * np.ones(4, "float32")
    y = np.eye(3, dtype="float32")[np.arange(90) % 3]
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax")])
    model.compile("sgd", "categorical_crossentropy")
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(7)
    probe = listened(model, data, size=12).probes[0]
    np.testing.assert_array_equal(probe.x[:, 0] % 3, probe.labels)
    np.testing.assert_array_equal(probe.y.argmax(axis=1), probe.labels)
    assert np.bincount(probe.labels).tolist() == [4, 4, 4]


def test_without_classes_rows_are_a_plain_sample():
    probe = listened(model_of(), data_set(), stratify=False).probes[0]
    assert probe.labels is None
    assert len(rows_of(probe)) == 20


def test_an_evaluation_of_the_users_own_is_not_listened_to():
    class Evaluate(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.evaluate(data_set(X + 500), verbose=0)

        def on_train_batch_end(self, batch, logs=None):
            self.model.evaluate(data_set(X + 500), verbose=0)

    model, listen = model_of(), Listen("validation")
    model.fit(data_set(), verbose=0, callbacks=[listen, Evaluate()], validation_data=data_set(VAL_X, VAL_Y))
    assert 90 < listen.probes[0].x.mean() < 110
    assert listen.samples == [90]


def test_inputs_of_several_kinds_keep_their_structure():
    a, b = keras.Input((4,), name="b"), keras.Input((3,), name="a", dtype="int32")
    joined = keras.layers.concatenate([a, keras.layers.Rescaling(1.0)(b)])
    model = keras.Model({"b": a, "a": b}, keras.layers.Dense(1, "sigmoid")(joined))
    model.compile("sgd", "binary_crossentropy")
    ids = np.arange(90)[:, None] * np.ones(3, "int32")
    inputs = {"b": np.arange(90, dtype="float32")[:, None] * np.ones(4, "float32"), "a": ids.astype("int32")}
    data = tf.data.Dataset.from_tensor_slices((inputs, Y[:, None], np.ones(90, "float32"))).batch(16)
    probe = listened(model, data).probes[0]
    assert list(probe.x) == ["b", "a"]
    assert probe.x["a"].dtype == np.int32
    np.testing.assert_array_equal(probe.x["a"][:, 0], probe.x["b"][:, 0])
    np.testing.assert_array_equal(Y[probe.x["a"][:, 0]], probe.labels)


def sequences(widths):
    def batches():
        for width in widths:
            yield np.full((8, width), width, "int32"), np.arange(8)[:, None] % 2

    spec = (tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None, 1), tf.int64))
    return tf.data.Dataset.from_generator(batches, output_signature=spec)


def reader(**options):
    stack = [keras.layers.Embedding(20, 4), keras.layers.GlobalAveragePooling1D()]
    model = keras.Sequential([*stack, keras.layers.Dense(1, "sigmoid")])
    model.compile("sgd", "binary_crossentropy", **options)
    return model


def test_sequences_of_unknown_length_are_of_the_first_batch():
    listen = listened(reader(), sequences([5, 9, 7]))
    assert listen.probes[0].x.shape == (8, 5)
    assert listen.samples == [24, 24]


def ragged():
    rows = tf.ragged.constant([[1.0, 2], [3.0], [4.0, 5, 6], [7.0]])
    return tf.data.Dataset.from_tensor_slices((rows, [[0], [1], [0], [1]])).batch(2)


class Sum(keras.Model):
    def __init__(self):
        super().__init__()
        self.head = keras.layers.Dense(1, "sigmoid")

    def call(self, x):
        if isinstance(x, tf.SparseTensor):
            return self.head(tf.ensure_shape(tf.sparse.to_dense(x), (None, 3)))
        if isinstance(x, tf.RaggedTensor):
            return self.head(tf.reduce_sum(x, axis=1, keepdims=True))
        return self.head(x["atoms"] if isinstance(x, dict) else x)


def summing(**options):
    model = Sum()
    model.compile("sgd", "binary_crossentropy", **options)
    return model


def sparse():
    rows = tf.sparse.from_dense(np.eye(4, 3, dtype="float32"))
    return tf.data.Dataset.from_tensor_slices((rows, [[0], [1], [0], [1]])).batch(2)


def graph():
    """As many bonds as there are, not as many as samples."""
    x = {"atoms": np.ones((4, 3), "float32"), "bonds": np.zeros((9, 2), "int32")}
    return tf.data.Dataset.from_tensors((x, np.ones((4, 1)))).repeat(3)


@pytest.mark.parametrize(
    ("data", "model", "samples", "words"),
    [
        (ragged, summing, 4, "has RaggedTensors; only dense"),
        (sparse, summing, 4, "has SparseTensors; only dense"),
        (graph, summing, 12, "not as many of each input"),
        (lambda: sequences([5, 9]), lambda: reader(jit_compile=True), 16, "unknown shape, which .* jit_compile"),
    ],
    ids=["ragged", "sparse", "graph", "xla"],
)
def test_what_can_not_be_kept_trains_as_ever_and_says_why(data, model, samples, words):
    listen = listened(model(), data())
    assert listen.probes == []
    assert listen.samples == [samples, samples]
    with pytest.raises(NotShown, match=words):
        listen.tap.take()


def test_ragged_targets_are_left_aside():
    model = Own()
    model.compile("sgd")
    y = tf.RaggedTensor.from_row_lengths(np.zeros(90, "float32"), np.ones(90, int))
    data = tf.data.Dataset.from_tensor_slices(({"features": X, "target": X[:, :1]}, y)).batch(30)
    vars(model)["train_step"] = lambda data, step=model.train_step: step(data[0])
    probe = listened(model, data).probes[0]
    assert probe.y is probe.labels is None
    assert len(probe) == 20


def test_a_step_that_never_runs_gives_no_probe():
    listen = listened(model_of(), data_set(), "validation")
    assert listen.probes == []
    assert {*listen.reasons} == {"no batch of the validation data passed through the model's test_step"}


def test_for_counting_alone_nothing_is_taken():
    listen = listened(model_of(), data_set(), "", validation_data=data_set())
    assert listen.samples == [90, 90]
    assert listen.probes == []


class Own(keras.Model):
    """Trains without ``compute_metrics``, on what it makes of the batch itself."""

    def __init__(self):
        super().__init__()
        self.head = keras.layers.Dense(1)

    def call(self, x):
        return self.head(x)

    def train_step(self, data):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(data["features"]) - data["target"]) ** 2)
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}


def test_a_train_step_of_the_users_own_is_listened_to():
    model = Own()
    model.compile("sgd")
    data = tf.data.Dataset.from_tensor_slices({"features": X, "target": X[:, :1]}).batch(30)
    probe = listened(model, data, stratify=False).probes[0]
    assert probe.x.keys() == {"features", "target"}
    assert probe.y is None


def test_it_leaves_the_model_as_it_was():
    model = model_of()
    model.fit(data_set(), verbose=0, validation_data=data_set())
    before, functions = {*vars(model)}, (model.train_function, model.test_function)
    vars(model)["test_step"] = mine = model.test_step
    tap = Tap(model, "training", size=4, seed=0, stratify=True)
    tap.attach()
    assert model.train_function is not functions[0]
    assert vars(model)["test_step"] is not mine
    tap.detach()
    tap.detach()
    assert vars(model)["test_step"] is mine
    assert {*vars(model)} == before | {"test_step"}
    assert (model.train_function, model.test_function) == functions
