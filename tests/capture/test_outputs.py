"""Outputs are told apart as Keras does it: whatever it names and joins in its losses, we do alike."""

import keras
import numpy as np
import pytest
from keras import layers

from mlflow_dlviz.capture.outputs import split

X = np.zeros((3, 4), "float32")
ONE, TWO = np.ones((3, 1)), np.zeros((3, 2))


def functional(form):
    x = keras.Input((4,))
    outputs = [layers.Dense(1, name="late")(x), layers.Dense(2, name="early")(x)]
    return keras.Model(x, outputs if form == "list" else dict(zip(("z", "a"), outputs, strict=True)))


class Subclassed(keras.Model):
    def __init__(self, form):
        super().__init__()
        self.form, self.one, self.two = form, layers.Dense(1), layers.Dense(2)

    def call(self, x):
        outputs = self.one(x), self.two(x)
        return list(outputs) if self.form == "list" else {"z": outputs[0], "a": outputs[1]}


def found(model, loss, y, weight=None):
    model.compile("sgd", loss)
    outputs = split(model, y, model(X), weight)
    return {
        output.name: (output.loss, output.y, output.sample_weight, output.y_pred.shape[-1]) for output in outputs
    }


def test_a_list_goes_by_the_models_names():
    want = {"late": ("mse", ONE, None, 1), "early": ("mae", TWO, None, 2)}
    assert found(functional("list"), ["mse", "mae"], [ONE, TWO]) == want
    assert found(functional("list"), {"early": "mae", "late": "mse"}, {"early": TWO, "late": ONE}) == want


@pytest.mark.parametrize("kind", [functional, Subclassed])
def test_a_dict_goes_by_its_keys(kind):
    got = found(kind("dict"), {"a": "mae", "z": "mse"}, {"z": ONE, "a": TWO})
    assert got == {"a": ("mae", TWO, None, 2), "z": ("mse", ONE, None, 1)}


def test_a_subclassed_list_is_numbered():
    got = found(Subclassed("list"), ["mse", "mae"], (ONE, TWO), [X[:, 0], None])
    assert list(got) == ["output_0", "output_1"]
    assert got["output_0"][2] is not None
    assert got["output_1"][2] is None


def test_one_loss_and_one_weight_are_for_all():
    got = found(functional("list"), "mse", [ONE, TWO], X[:, 0])
    assert [(loss, weight.shape) for loss, _, weight, _ in got.values()] == [("mse", (3,))] * 2


def test_an_output_without_a_loss_or_targets_has_none():
    got = found(functional("dict"), {"a": "mae", "z": None}, {"a": TWO})
    assert got["z"][:2] == (None, None)


@pytest.mark.parametrize("nest", [lambda value: value, lambda value: [value], lambda value: {"head": value}])
def test_a_single_output_has_no_name(nest):
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(1, name="head")(x))
    assert found(model, nest("mse"), nest(ONE)) == {"": ("mse", ONE, None, 1)}


def test_names_are_those_of_keras_own_losses():
    for kind, form in ((functional, "list"), (functional, "dict"), (Subclassed, "dict")):
        model = kind(form)
        y = {"z": ONE, "a": TWO} if form == "dict" else [ONE, TWO]
        model.compile("sgd", {"z": "mse", "a": "mae"} if form == "dict" else ["mse", "mae"])
        history = model.fit(X, y, verbose=0).history
        assert {f"{output.name}_loss" for output in split(model, y, model(X))} == {*history} - {"loss"}
