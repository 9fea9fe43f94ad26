"""The layers of a model and what they are called."""

from __future__ import annotations

import subprocess
import sys

import keras
import pytest

from mlflow_dlviz.capture.layers import find_layers

LAYERS = """
layers = [
    keras.layers.Conv2D(2, 3), keras.layers.MaxPooling2D(), keras.layers.SeparableConv2D(2, 2), keras.layers.Conv2D(2, 1),
    keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3), keras.layers.Dense(2, name="head"),
]
"""  # noqa: E501


def network():
    scope = {"keras": keras}
    exec(LAYERS, scope)
    return keras.Sequential([keras.Input((8, 8, 1)), *scope["layers"]])


def paths(model):
    return [item.path for item in find_layers(model)]


def test_layers_are_called_alike_in_every_fit_of_a_process():
    """And as Keras itself calls them in a process that has made no others."""
    first, second = network(), network()
    assert first.layers[0].name != second.layers[0].name
    code = f"import keras\n{LAYERS}\nprint(*[layer.name for layer in layers])"
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert paths(first) == paths(second) == fresh.stdout.split()


def test_nested_models_are_called_alike_too():
    def nested():
        inner = keras.Sequential([keras.layers.Dense(2), keras.layers.Dense(2)])
        return keras.Sequential([keras.Input((2,)), inner, keras.layers.Dense(1)])

    assert paths(nested()) == paths(nested()) == ["sequential/dense", "sequential/dense_1", "dense"]


@pytest.mark.parametrize("name", ["denser", "my_dense_1", "dense_one", "encoder"])
def test_a_name_of_the_users_own_is_kept(name):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name=name), keras.layers.Dense(1)])
    assert paths(model) == [name, "dense"]


def test_two_layers_never_share_a_path():
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(2, name="dense_7"), keras.layers.Dense(2, name="dense")]
    )
    assert len({*paths(model)}) == 2
