"""One compiled forward pass that brings what all due visuals need, and changes nothing in the model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from mlflow_dlviz.capture.layers import NamedLayer, fixed_batch
from mlflow_dlviz.capture.moment import NotShown, first_array, map_arrays

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


class Passes:
    """Stateless passes over one model, each compiled once.

    Dropout seeds, normalisation statistics and whatever else a layer keeps are read, and what the pass
    would have written to them is thrown away (Keras' ``stateless_call``).
    """

    def __init__(self, model: Any, layers: Sequence[NamedLayer]) -> None:
        self._model = model
        self._layers = list(layers)
        self._compiled: dict[tuple[Any, ...], Any] = {}
        self._batch = fixed_batch(model)
        self._most: int | None = None

    def activations(self, x: Any) -> dict[str, Activation]:
        """What the chosen layers return on ``x``, or on its first samples where all would be too much."""
        if self._most is None:
            # Only a call tells how much the layers of a subclassed model return.
            outputs = self._layers_on(_first(x, 1))
            self._most = max(1, _BYTES // max(1, sum(values.nbytes for values in outputs.values())))
        outputs = self._layers_on(_first(x, self._most))
        return {
            item.path: Activation(
                item.index,
                item.path,
                type(item.layer).__name__,
                getattr(getattr(item.layer, "activation", None), "__name__", ""),
                outputs[item.path],
                getattr(item.layer, "data_format", "") == "channels_first",
            )
            for item in self._layers
            if item.path in outputs
        }

    def predict(self, x: Any, batch: int = 8192) -> np.ndarray:
        """Predictions (N, units) in inference mode, float32. Raises NotShown for several outputs."""
        total, batch = len(first_array(x)), self._batch or batch
        parts = []
        for at in range(0, total, batch):
            part = self._run("predict", self._call, map_arrays(lambda values, at=at: values[at : at + batch], x))
            if not hasattr(part, "numpy"):
                raise NotShown("the model has several outputs")
            parts.append(part.numpy()[: total - at])
        return np.concatenate(parts)

    def _layers_on(self, x: Any) -> dict[str, np.ndarray]:
        samples = min(len(first_array(x)), self._batch or len(first_array(x)))
        outputs = self._run("layers", self._trace_layers, _first(x, samples))
        # What has no row for each sample, such as a mean over the batch, is no activation of the sample.
        rows = self._batch or samples
        return {path: value.numpy()[:samples] for path, value in outputs.items() if value.shape[0] == rows}

    def _run(self, name: str, function: Callable[..., Any], x: Any) -> Any:
        x = map_arrays(tf.convert_to_tensor, self._filled(x))
        if self._model.run_eagerly:
            # Perhaps it can't be traced; and a trace that fails may leave Keras' stack of name scopes astray.
            return function(x)
        leaves = tf.nest.flatten(x)
        kind = (name, *((leaf.dtype, *leaf.shape[1:]) for leaf in leaves))
        if kind not in self._compiled:
            # Concrete, for any number of samples: called through tf.function, TensorFlow would count each new
            # model's trace as retracing of one function and warn of it.
            spec = map_arrays(lambda values: tf.TensorSpec([self._batch, *values.shape[1:]], values.dtype), x)
            self._compiled[kind] = tf.function(_scoped(function), autograph=False).get_concrete_function(spec)
        return self._compiled[kind](x)

    def _filled(self, x: Any) -> Any:
        """The batch repeated to the number of samples that the model insists on."""
        rows = len(first_array(x))
        if self._batch is None or rows == self._batch:
            return x
        return map_arrays(lambda values: values[np.arange(self._batch) % rows], x)

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
    # What a loop's body or a function of the user's own computes can't be handed out of its graph.
    graph = _current()

    def call(*args: Any, **kwargs: Any) -> Any:
        output = original(*args, **kwargs)
        values = first_array(output)  # what recurrent and attention layers may return besides comes behind it
        # A shared layer is called several times: the first call is the one shown.
        if item.path not in seen and _is_array(values) and _current() is graph:
            seen[item.path] = tf.cast(values, tf.float32)
        return output

    return call


def _current() -> Any:
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


def _is_array(values: Any) -> bool:
    return isinstance(values, tf.Tensor) and bool(values.shape.rank) and values.dtype != tf.string


def _first(x: Any, samples: int) -> Any:
    return map_arrays(lambda values: values[:samples], x)
