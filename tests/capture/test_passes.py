"""One pass brings what all layers return, for any kind of model, and changes nothing in it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

from mlflow_dlviz.capture import passes as captured
from mlflow_dlviz.capture.layers import NamedLayer, find_layers, spread
from mlflow_dlviz.capture.passes import Passes

X = np.random.default_rng(0).normal(size=(12, 8, 8, 1)).astype("float32")


def sequential():
    stack = [layers.Conv2D(3, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten(), layers.Dropout(0.5)]
    return keras.Sequential([keras.Input((8, 8, 1)), *stack, layers.Dense(4, "tanh"), layers.Dense(1)])


def branched():
    x = keras.Input((8, 8, 1))
    one = layers.Conv2D(2, 3, padding="same")(x)
    two = layers.Conv2D(2, 5, padding="same")(x)
    joined = layers.GlobalAveragePooling2D()(layers.add([one, two]))
    return keras.Model(x, layers.Dense(1)(joined))


def shared():
    x = keras.Input((8, 8, 1))
    dense = layers.Dense(64, "relu")
    return keras.Model(x, layers.Dense(1)(dense(dense(layers.Flatten()(x)))))


@pytest.mark.parametrize("build", [sequential, branched], ids=lambda build: build.__name__)
def test_values_are_those_of_a_sub_model(build):
    model = build()
    found = find_layers(model)
    values = Passes(model, found).activations(X)
    assert [each.path for each in values.values()] == [item.path for item in found]
    reference = keras.Model(model.inputs, [item.layer.output for item in found]).predict(X, verbose=0)
    for item, expected in zip(found, reference, strict=True):
        got = values[item.path]
        np.testing.assert_allclose(got.values, expected, rtol=1e-5, atol=1e-6)
        assert got.index == item.index
        assert got.kind == type(item.layer).__name__
    assert values[found[-1].path].values.dtype == np.float32


def test_layers_are_described():
    values = list(Passes(model := sequential(), find_layers(model)).activations(X).values())
    assert [each.kind for each in values] == ["Conv2D", "MaxPooling2D", "Dense", "Dense"]
    assert [each.function for each in values] == ["relu", "", "tanh", "linear"]
    assert [each.index for each in values] == [0, 1, 2, 3]
    assert not any(each.channels_first for each in values)


def test_layers_of_nested_models_have_the_path():
    inner = keras.Sequential([layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(5)], name="encoder")
    model = keras.Sequential([keras.Input((8, 8, 1)), inner, layers.Dense(1, name="head")])
    values = Passes(model, find_layers(model)).activations(X)
    assert [path.split("/")[0] for path in values] == ["encoder", "encoder", "head"]
    expected = inner.predict(X, verbose=0)
    np.testing.assert_allclose(list(values.values())[1].values, expected, rtol=1e-5, atol=1e-6)


def test_of_a_shared_layer_the_first_call_is_shown():
    model = shared()
    found = find_layers(model)
    dense = found[0].layer
    values = Passes(model, found).activations(X)
    expected = dense(X.reshape(12, 64)).numpy()
    np.testing.assert_allclose(values[found[0].path].values, expected, rtol=1e-5, atol=1e-6)


class Twins(keras.Model):
    """Subclassed, with two layers of one name and one that is never called."""

    def __init__(self):
        super().__init__()
        self.flat = layers.Flatten()
        self.one = layers.Dense(6, "relu", name="twin")
        self.two = layers.Dense(3, name="twin")
        self.unused = layers.Dense(3, name="unused")

    def call(self, x, training=False):
        return self.two(self.one(self.flat(x)))


def test_subclassed_models_and_layers_of_one_name():
    model = Twins()
    model(X)
    model.unused.build((None, 6))
    values = Passes(model, find_layers(model)).activations(X)
    assert list(values) == ["twin", "twin'"]
    np.testing.assert_allclose(values["twin"].values, model.one(X.reshape(12, 64)).numpy(), rtol=1e-5)
    np.testing.assert_allclose(values["twin'"].values, model(X).numpy(), rtol=1e-5, atol=1e-6)


def test_a_call_that_does_not_know_of_training():
    class Plain(keras.Model):
        def __init__(self):
            super().__init__()
            self.flat, self.dense = layers.Flatten(), layers.Dense(3)
            self.drop = layers.Dropout(0.5)

        def call(self, x):
            return self.drop(self.dense(self.flat(x)))

    model = Plain()
    expected = model.predict(X, verbose=0)
    passes = Passes(model, find_layers(model))
    np.testing.assert_allclose(passes.predict(X), expected, rtol=1e-5, atol=1e-6)
    [dense] = passes.activations(X).values()
    np.testing.assert_allclose(dense.values, expected, rtol=1e-5, atol=1e-6)


def test_a_name_that_tensorflow_refuses_at_the_root():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="_hidden")])
    x = X.reshape(-1, 4)
    found = Passes(model, find_layers(model)).activations(x)
    np.testing.assert_allclose(found["_hidden"].values, model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


def test_a_model_that_only_runs_eagerly():
    class Numpy(layers.Layer):
        def call(self, x):
            return keras.ops.convert_to_tensor(np.sort(x.numpy(), axis=1))

        def compute_output_shape(self, shape):
            return shape

    model = keras.Sequential([Numpy(), layers.Dense(3, name="my layer")])
    model.compile("sgd", "mse", run_eagerly=True)
    x = X.reshape(-1, 4)
    expected = model.predict(x, verbose=0)
    passes = Passes(model, find_layers(model))
    np.testing.assert_allclose(passes.predict(x), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(passes.activations(x)["my layer"].values, expected, rtol=1e-5, atol=1e-6)


def test_several_inputs_and_whole_numbers():
    ids, x = keras.Input((4,), dtype="int32", name="ids"), keras.Input((2,), name="x")
    embedded = layers.Flatten()(layers.Embedding(10, 2)(ids))
    model = keras.Model({"ids": ids, "x": x}, layers.Dense(1)(layers.concatenate([embedded, x])))
    data = {"ids": np.arange(12, dtype="int32").reshape(3, 4) % 10, "x": np.ones((3, 2), "float32")}
    passes = Passes(model, find_layers(model))
    np.testing.assert_allclose(passes.predict(data), model.predict(data, verbose=0), rtol=1e-5)
    assert [each.kind for each in passes.activations(data).values()] == ["Embedding", "Dense"]


def test_predictions_are_the_models_in_any_batch():
    model = sequential()
    passes = Passes(model, [])
    expected = model.predict(X, verbose=0)
    for batch in (1, 5, 8192):
        np.testing.assert_allclose(passes.predict(X, batch), expected, rtol=1e-5, atol=1e-6)
    assert passes.predict(X).dtype == np.float32


class Counted(layers.Layer):
    """Counts its traces, and in every call draws and writes."""

    traces = 0

    def __init__(self):
        super().__init__()
        self.noise = keras.random.SeedGenerator(3)
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        Counted.traces += 1
        self.calls.assign_add(1.0)
        return x + keras.random.normal(keras.ops.shape(x), seed=self.noise)


@pytest.fixture(scope="module")
def counted():
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), Counted(), layers.BatchNormalization(), layers.Flatten(), layers.Dense(2)]
    )
    return model, Passes(model, find_layers(model))


def test_any_number_of_samples_is_traced_once(counted):
    _, passes = counted
    passes.activations(X), passes.predict(X)
    traces = Counted.traces
    for size in (1, 2, 7, 12):
        assert len(passes.predict(X[:size])) == size
        assert all(len(each.values) == size for each in passes.activations(X[:size]).values())
    assert Counted.traces == traces


def test_nothing_in_the_model_changes(counted):
    model, passes = counted
    before = [variable.numpy() for variable in model.variables]
    attributes = [{*vars(layer)} for layer in model.layers]
    first, second = (passes.predict(X) for _ in range(2))
    passes.activations(X)
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy(), err_msg=variable.path)
    assert [{*vars(layer)} for layer in model.layers] == attributes
    # The same draws each time: the seed did not move.
    np.testing.assert_array_equal(first, second)


def test_new_weights_are_seen_without_another_trace(counted):
    model, passes = counted
    passes.predict(X)
    traces = Counted.traces
    before = model.get_weights()
    model.set_weights([np.zeros_like(value) for value in before])
    assert not passes.predict(X).any()
    model.set_weights(before)
    assert passes.predict(X).any()
    assert Counted.traces == traces


def test_a_call_of_the_users_own_is_put_back():
    model = sequential()
    conv = model.layers[0]
    original = conv.call
    vars(conv)["call"] = mine = lambda x: 2 * original(x)
    found = find_layers(model)
    passes = Passes(model, found)
    doubled = passes.activations(X)[found[0].path].values
    assert vars(conv)["call"] is mine
    del vars(conv)["call"]
    np.testing.assert_allclose(doubled, 2 * Passes(model, found).activations(X)[found[0].path].values, rtol=1e-5)
    assert "call" not in vars(conv)


def test_what_would_be_too_much_is_shown_of_fewer_samples(monkeypatch):
    model = sequential()
    floats = 6 * 6 * 3 + 3 * 3 * 3 + 4 + 1
    monkeypatch.setattr(captured, "_BYTES", 4 * floats * 5 + 3)
    assert {len(each.values) for each in Passes(model, find_layers(model)).activations(X).values()} == {5}
    monkeypatch.setattr(captured, "_BYTES", 1)
    assert {len(each.values) for each in Passes(model, find_layers(model)).activations(X).values()} == {1}


@given(total=st.integers(0, 200), most=st.integers(2, 30))
def test_layers_are_evenly_spread_with_the_first_and_the_last(total, most):
    named = [NamedLayer(index, str(index), None) for index in range(total)]
    chosen = [item.index for item in spread(named, most)]
    assert len(chosen) == min(total, most)
    assert chosen == sorted({*chosen})
    if total:
        assert {chosen[0], chosen[-1]} == {0, total - 1}


def test_of_a_subclassed_model_fewer_samples_too(monkeypatch):
    model = Twins()
    model(X)
    floats = 6 + 3
    monkeypatch.setattr(captured, "_BYTES", 4 * floats * 7)
    assert {len(each.values) for each in Passes(model, find_layers(model)).activations(X).values()} == {7}


def test_a_layer_of_many_channels_is_bounded():
    stack = [layers.Conv2D(512, 3, padding="same") for _ in range(2)]
    model = keras.Sequential([keras.Input((128, 128, 1)), *stack])
    x = np.zeros((3, 128, 128, 1), "float32")
    values = Passes(model, find_layers(model)).activations(x)
    assert sum(each.values.nbytes for each in values.values()) <= captured._BYTES
    assert {each.values.shape for each in values.values()} == {(1, 128, 128, 512)}


SEQUENCE = np.arange(12, dtype="int32").reshape(3, 4) % 10


class Block(layers.Layer):
    """A layer made of layers, which also works on its own."""

    def __init__(self):
        super().__init__(name="block")
        self.attention = layers.MultiHeadAttention(2, 3, name="heads")
        self.dense = layers.Dense(4, name="dense")
        self.scale = self.add_weight(shape=(), initializer="ones")

    def call(self, x):
        attended, _ = self.attention(x, x, return_attention_scores=True)
        return self.scale * self.dense(attended) + x


def test_recurrent_attention_embedding_and_own_layers():
    ids = keras.Input((4,), dtype="int32")
    x = layers.Embedding(10, 4, mask_zero=True, name="embedding")(ids)
    x = Block()(x)
    x, *_ = layers.LSTM(3, return_sequences=True, return_state=True, name="lstm")(x)
    x = layers.Bidirectional(layers.GRU(2, return_sequences=True), name="both")(x)
    x = layers.TimeDistributed(layers.Dense(5), name="each")(x)
    x = layers.LayerNormalization()(x)
    model = keras.Model(ids, layers.Dense(1, name="head")(x))
    values = Passes(model, find_layers(model)).activations(SEQUENCE)
    names = ["embedding", "block/heads", "block/dense", "block", "lstm", "both", "each", "head"]
    assert list(values) == names
    assert [each.index for each in values.values()] == list(range(8))
    outer = [layer for layer in model.layers if layer.name in names]
    reference = keras.Model(ids, [layer.output[0] if layer.name == "lstm" else layer.output for layer in outer])
    for layer, expected in zip(outer, reference.predict(SEQUENCE, verbose=0), strict=True):
        np.testing.assert_allclose(values[layer.name].values, expected, rtol=1e-5, atol=1e-6)


def test_backbones_three_deep():
    inner = keras.Sequential([layers.Dense(3, name="one"), layers.Dense(3, name="one_more")], name="inner")
    middle = keras.Sequential([keras.Input((4,)), inner, layers.Dense(3, name="one")], name="middle")
    outer = keras.Sequential([keras.Input((4,)), middle, layers.Dense(4, name="one")], name="outer")
    model = keras.Sequential([keras.Input((4,)), outer, layers.Dense(1, name="one")])
    values = Passes(model, find_layers(model)).activations(X.reshape(-1, 4))
    paths = ["outer/middle/inner/one", "outer/middle/inner/one_more", "outer/middle/one", "outer/one", "one"]
    assert list(values) == paths
    x = X.reshape(-1, 4)
    np.testing.assert_allclose(values[paths[1]].values, inner.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(values[paths[3]].values, outer.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_of_any_precision_values_are_single(policy):
    stack = [layers.Dense(3, "relu", dtype=policy), layers.Dense(2, dtype=policy)]
    model = keras.Sequential([keras.Input((4,)), *stack])
    x = X.reshape(-1, 4)
    passes = Passes(model, find_layers(model))
    assert {each.values.dtype for each in passes.activations(x).values()} == {np.dtype("float32")}
    np.testing.assert_allclose(
        passes.predict(x), model.predict(x, verbose=0).astype("float32"), rtol=1e-2, atol=1e-2
    )


class Looping(keras.Model):
    """Calls one layer inside a loop of the graph, one inside a function of its own, and one plainly."""

    def __init__(self):
        super().__init__()
        self.looped, self.apart, self.plain = (layers.Dense(4, name=name) for name in ("looped", "apart", "plain"))
        self.shrink = tf.function(lambda x: self.apart(x))

    def call(self, x):
        x = tf.while_loop(lambda i, x: i < 2, lambda i, x: (i + 1, self.looped(x)), [0, x])[1]
        return self.plain(self.shrink(x))


def test_what_happens_inside_a_loop_is_left_out():
    model = Looping()
    x = X.reshape(-1, 4)
    for layer in (model.looped, model.apart, model.plain):
        layer.build((None, 4))
    expected = model(x).numpy()
    values = Passes(model, find_layers(model)).activations(x)
    assert list(values) == ["plain"]
    np.testing.assert_allclose(values["plain"].values, expected, rtol=1e-5, atol=1e-6)


def test_a_state_for_each_sample_fixes_the_batch():
    stack = [layers.LSTM(3, stateful=True), layers.Dense(1)]
    model = keras.Sequential([keras.Input(batch_shape=(4, 5, 2)), *stack])
    x = np.random.default_rng(0).normal(size=(10, 5, 2)).astype("float32")
    passes = Passes(model, find_layers(model))
    assert {len(each.values) for each in passes.activations(x).values()} == {4}
    assert {len(each.values) for each in passes.activations(x[:3]).values()} == {3}
    expected = np.concatenate([model(x[:4]), model.layers[0].reset_state() or model(x[4:8])])
    model.layers[0].reset_state()
    found = passes.predict(x)
    assert found.shape == (10, 1)
    np.testing.assert_allclose(found[:8], expected, rtol=1e-5, atol=1e-6)


def test_layers_with_one_path_have_names_of_their_own():
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="b")], name="a")
    again = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="b")], name="a")

    class Both(keras.Model):
        def __init__(self):
            super().__init__()
            self.one, self.two = inner, again

        def call(self, x):
            return self.two(self.one(x))

    model = Both()
    model(X.reshape(-1, 4))
    assert list(Passes(model, find_layers(model)).activations(X.reshape(-1, 4))) == ["a/b", "a/b'"]


def test_of_hundreds_of_layers_the_chosen_are_heard():
    x = inputs = keras.Input((4,))
    for _ in range(200):
        x = layers.Dense(4)(x)
    model = keras.Model(inputs, x)
    found = find_layers(model)
    assert len(found) == 200
    chosen = spread(found, 5)
    values = Passes(model, chosen).activations(X.reshape(-1, 4)[:2])
    assert [each.index for each in values.values()] == [0, 50, 100, 149, 199]
