"""What a model predicts, from its compiled loss and its last layer."""

import keras
import pytest
from keras import losses

from mlflow_dlviz.capture.heads import find_head


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
