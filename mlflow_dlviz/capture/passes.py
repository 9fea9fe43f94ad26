"""One compiled forward pass that brings what all due visuals need, and changes nothing in the model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mlflow_dlviz.capture.moment import NotShown, first_array, map_arrays

_SHOWN = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv2DTranspose,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
    keras.layers.MaxPooling1D,
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling1D,
    keras.layers.AveragePooling2D,
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling1D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.Dense,
)

# What all layers together may return on the probe; fewer of its samples pass where this would be exceeded.
_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Activation:
    """What one layer returned. index: its place in the model; path: its name, with those of the models that
    hold it; kind: its class; function: the name of its activation function, "" without one; values: (N, ...)
    float32; channels_first: which axis of a map is the channel.
    """

    index: int
    path: str
    kind: str
    function: str
    values: np.ndarray
    channels_first: bool


@dataclass(frozen=True)
class NamedLayer:
    """A layer and where it stands."""

    index: int
    path: str
    layer: Any


def find_layers(model: Any) -> list[NamedLayer]:
    """Convolution, pooling and dense layers in the model's order, those of nested models too."""
    named = [item for item in _walk(model, "") if isinstance(item[1], _SHOWN)]
    return [NamedLayer(index, path, layer) for index, (path, layer) in enumerate(named)]


def spread(layers: Sequence[NamedLayer], most: int) -> list[NamedLayer]:
    """At most ``most`` of the layers, evenly spread, the first and the last among them."""
    if len(layers) <= most:
        return list(layers)
    places = np.unique(np.linspace(0, len(layers) - 1, most).round().astype(int))
    return [layers[place] for place in places]


class Passes:
    """Stateless passes over one model, each compiled once.

    Dropout seeds, normalisation statistics and whatever else a layer keeps are read, and what the pass
    would have written to them is thrown away (Keras' ``stateless_call``).
    """

    def __init__(self, model: Any, layers: Sequence[NamedLayer]) -> None:
        self._model = model
        self._layers = list(layers)
        self._compiled: dict[tuple[Any, ...], Any] = {}

    def activations(self, x: Any) -> dict[str, Activation]:
        """What the chosen layers return on ``x``, or on its first samples where all would be too much."""
        x = map_arrays(lambda values: values[: self._samples(x)], x)
        outputs = self._run("layers", self._trace_layers, x)
        return {
            item.path: Activation(
                item.index,
                item.path,
                type(item.layer).__name__,
                getattr(getattr(item.layer, "activation", None), "__name__", ""),
                outputs[item.path].numpy(),
                getattr(item.layer, "data_format", "") == "channels_first",
            )
            for item in self._layers
            if item.path in outputs
        }

    def predict(self, x: Any, batch: int = 8192) -> np.ndarray:
        """Predictions (N, units) in inference mode, float32. Raises NotShown for several outputs."""
        total = len(first_array(x))
        parts = [
            self._run("predict", self._call, map_arrays(lambda values, at=at: values[at : at + batch], x))
            for at in range(0, total, batch)
        ]
        if not all(hasattr(part, "numpy") for part in parts):
            raise NotShown("the model has several outputs")
        return np.concatenate([part.numpy() for part in parts])

    def _run(self, name: str, function: Callable[..., Any], x: Any) -> Any:
        x = map_arrays(tf.convert_to_tensor, x)
        if self._model.run_eagerly:
            # Perhaps it can't be traced; and a trace that fails may leave Keras' stack of name scopes astray.
            return function(x)
        leaves = tf.nest.flatten(x)
        kind = (name, *((leaf.dtype, *leaf.shape[1:]) for leaf in leaves))
        if kind not in self._compiled:
            # Concrete, for any number of samples: called through tf.function, TensorFlow would count each new
            # model's trace as retracing of one function and warn of it.
            spec = map_arrays(lambda values: tf.TensorSpec([None, *values.shape[1:]], values.dtype), x)
            self._compiled[kind] = tf.function(_scoped(function), autograph=False).get_concrete_function(spec)
        return self._compiled[kind](x)

    def _samples(self, x: Any) -> int:
        total = len(first_array(x))
        floats = sum(_size(item.layer) for item in self._layers)
        return max(1, min(total, _BYTES // max(1, 4 * floats)))

    def _trace_layers(self, x: Any) -> dict[str, tf.Tensor]:
        seen: dict[str, tf.Tensor] = {}
        with _overheard(self._layers, seen):
            self._call(x)
        return seen

    def _call(self, x: Any) -> tf.Tensor:
        model = self._model
        # As Keras' own predict_step: a call of the user's own need not know of training.
        mode = {"training": False} if "training" in inspect.signature(model.call).parameters else {}
        outputs, _ = model.stateless_call(
            [variable.value for variable in model.trainable_variables],
            [variable.value for variable in model.non_trainable_variables],
            x,
            **mode,
        )
        return outputs if isinstance(outputs, dict | list | tuple) else tf.cast(outputs, tf.float32)


def _scoped(function: Callable[..., Any]) -> Callable[..., Any]:
    def traced(x: Any) -> Any:
        # Layers may have names, such as "_hidden", that TensorFlow refuses at the root of a graph.
        with tf.name_scope("dlviz"):
            return function(x)

    return traced


@contextmanager
def _overheard(layers: Sequence[NamedLayer], seen: dict[str, tf.Tensor]) -> Iterator[None]:
    """Keep what the layers return while a call is traced: works for any kind of model, without a sub-model."""
    saved = [(item.layer, vars(item.layer).get("call")) for item in layers]
    for item in layers:
        vars(item.layer)["call"] = _listening(item, item.layer.call, seen)
    try:
        yield
    finally:
        for layer, call in saved:
            if call is None:
                vars(layer).pop("call", None)
            else:
                vars(layer)["call"] = call


def _listening(item: NamedLayer, original: Callable[..., Any], seen: dict[str, tf.Tensor]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        output = original(*args, **kwargs)
        # A shared layer is called several times: the first call is the one shown.
        if hasattr(output, "shape") and item.path not in seen:
            seen[item.path] = tf.cast(output, tf.float32)
        return output

    return call


def _walk(model: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    used: set[str] = set()
    for layer in model.layers:
        name = prefix + layer.name
        while name in used:
            name += "'"
        used.add(name)
        if getattr(layer, "layers", None) and isinstance(layer, keras.Model):
            yield from _walk(layer, name + "/")
        else:
            yield name, layer


def _size(layer: Any) -> int:
    try:
        shape = layer.output.shape
    except (AttributeError, ValueError):
        return 0
    return int(np.prod([side or 1 for side in shape[1:]]))
