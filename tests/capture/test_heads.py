"""What a model predicts, from its compiled loss and its last layer."""

from functools import partial

import keras
import numpy as np
import pytest
from keras import losses

from mlflow_dlviz.capture.heads import find_head, head_of
from mlflow_dlviz.capture.targets import look_at


def compiled(units, loss, build=True):
    layers = [keras.layers.Dense(units)]
    model = keras.Sequential([keras.Input((3,)), *layers] if build else layers)
    model.compile("sgd", loss)
    return model


@pytest.mark.parametrize(
    ("units", "loss", "kind", "from_logits"),
    [
        (1, "binary_crossentropy", "binary", False),
        (1, "bce", "binary", False),
        (1, losses.binary_crossentropy, "binary", False),
        (1, losses.BinaryCrossentropy(from_logits=True), "binary", True),
        (1, losses.BinaryFocalCrossentropy(), "binary", False),
        (1, [losses.BinaryCrossentropy()], "binary", False),
        (1, {"dense": "bce"}, "binary", False),
        (1, "crossentropy", "binary", False),
        (5, "crossentropy", "multiclass", False),
        (1, losses.Dice(), "binary", False),
        (1, partial(losses.binary_crossentropy, from_logits=True), "binary", True),
        (2, "sparse_categorical_crossentropy", "binary", False),
        (2, losses.CategoricalCrossentropy(from_logits=True), "binary", True),
        (5, losses.SparseCategoricalCrossentropy(from_logits=True), "multiclass", True),
        (5, "categorical_crossentropy", "multiclass", False),
        (5, losses.CategoricalFocalCrossentropy(), "multiclass", False),
    ],
)
def test_a_classifier_is_known_by_its_loss(units, loss, kind, from_logits):
    head = find_head(compiled(units, loss))
    assert (head.kind, head.from_logits, head.classifies) == (kind, from_logits, True)


@pytest.mark.parametrize(
    ("units", "loss", "words"),
    [
        (1, "mse", "'mean_squared_error' does not train class probabilities"),
        (4, "binary_crossentropy", "on 4 units trains independent labels"),
        (1, "sparse_categorical_crossentropy", "needs one unit a class"),
        (1, lambda y, p: p, "does not train class probabilities"),
        (1, losses.Hinge(), "'hinge' does not train"),
        (1, None, "no loss"),
    ],
)
def test_what_is_no_classifier_says_why(units, loss, words):
    head = find_head(compiled(units, loss))
    assert not head.classifies
    assert words in head.reason


def test_several_outputs_are_said():
    x = keras.Input((3,))
    model = keras.Model(x, [keras.layers.Dense(1)(x), keras.layers.Dense(1)(x)])
    model.compile("sgd", ["mse", "binary_crossentropy"])
    assert "several outputs" in find_head(model).reason


def test_a_model_that_is_not_built_is_read_by_its_loss_alone():
    assert find_head(compiled(1, "binary_crossentropy", build=False)).kind == "binary"
    assert find_head(compiled(5, "categorical_crossentropy", build=False)).kind == "multiclass"


VALUES = np.linspace(0, 1, 12).reshape(4, 3)


@pytest.mark.parametrize(
    ("loss", "shape", "kind"),
    [
        ("mse", (None, 1), "regression"),
        ("mae", (None, 8, 8, 3), "regression"),
        (losses.MeanAbsolutePercentageError(), (None, 3), "regression"),
        (losses.LogCosh(), (None, 3), "regression"),
        (losses.Huber(), (None,), "regression"),
        (losses.Poisson(), (None, 1), "regression"),
        (lambda y, p: p, (None, 3), "regression"),
        (losses.KLDivergence(), (None, 3), "other"),
        (losses.CosineSimilarity(), (None, 3), "other"),
        (None, (None, 3), "other"),
        ("bce", (None, 3), "multilabel"),
        ("bce", (None, 8, 8, 1), "binary"),
        ("bce", (None, 8, 3), "multilabel"),
        ("sparse_categorical_crossentropy", (None, 8, 8, 4), "multiclass"),
        (losses.Dice(), (None, 8, 8, 4), "multiclass"),
        (losses.Dice(), (None, 8, 8, 1), "binary"),
    ],
)
def test_every_kind_of_output_has_a_head(loss, shape, kind):
    head = head_of(loss, shape)
    assert head.kind == kind
    assert head.positions == (len(shape) > 2)
    assert head.classifies == (kind in ("binary", "multiclass") and len(shape) == 2)
    assert head.classifies or head.reason


def test_a_binary_loss_on_several_units_asks_the_targets():
    for shape, labels in (((None, 3), "multilabel"), ((None, 3, 1), "binary")):
        assert head_of("bce", shape).unsure
        assert head_of("bce", shape, look_at(VALUES, 3)).kind == "regression"
        seen = head_of("bce", shape, look_at(VALUES > 0.5, 3))
        assert (seen.kind, seen.unsure) == (labels, False)
    # One unit a sample is a class, soft labels or not.
    assert head_of("bce", (None, 1), look_at(VALUES, 1)).kind == "binary"


def test_a_loss_of_ones_own_is_of_values_unless_all_targets_are_labels():
    def mine(y, p):
        return p

    assert head_of(mine, (None, 3), look_at(VALUES, 3)).kind == "regression"
    head = head_of(mine, (None, 3), look_at(VALUES > 0.5, 3))
    assert head.kind == "other"
    assert "'mine'" in head.reason
    assert "all targets are 0 and 1" in head.reason


def test_the_ignored_class_is_read():
    assert head_of(losses.SparseCategoricalCrossentropy(ignore_class=255), (None, 4, 3)).ignore_class == 255
    assert head_of("sparse_categorical_crossentropy", (None, 4, 3)).ignore_class is None


def test_an_unbuilt_models_positions_are_not_known_yet():
    assert find_head(compiled(5, "mse", build=False)).kind == "regression"


def test_a_loss_derived_from_one_of_keras_trains_what_that_does():
    class Mine(keras.losses.BinaryCrossentropy):
        pass

    class Other(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return y_pred

    for loss, kind in ((Mine(from_logits=True), "binary"), (Other(), "regression")):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("sgd", loss)
        assert find_head(model).kind == kind
    assert find_head(model).reason.startswith("the loss 'other'")
