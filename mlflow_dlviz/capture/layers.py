"""The layers of a model whose output makes a picture, wherever in it they stand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

_SHOWN = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
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
    keras.layers.EinsumDense,
    keras.layers.Embedding,
    keras.layers.RNN,
    keras.layers.Bidirectional,
    keras.layers.TimeDistributed,
    keras.layers.MultiHeadAttention,
    keras.layers.GroupQueryAttention,
    keras.layers.Attention,
)

_TAKING_IDS = (
    keras.layers.Embedding,
    keras.layers.CategoryEncoding,
    keras.layers.Hashing,
    keras.layers.IntegerLookup,
)


@dataclass(frozen=True)
class NamedLayer:
    """A layer and where it stands."""

    index: int
    path: str
    layer: Any


def find_layers(model: Any) -> list[NamedLayer]:
    """Convolution, pooling, dense, recurrent, attention and embedding layers, and the user's own trained ones.

    In the model's order, those of nested models and of layers made of layers too; such a layer of the user's
    comes behind its parts.
    """
    named = [item for item in _walk(model) if _is_shown(item[1])]
    return [NamedLayer(index, path, layer) for index, (path, layer) in enumerate(named)]


def spread(layers: Sequence[NamedLayer], most: int) -> list[NamedLayer]:
    """At most ``most`` of the layers, evenly spread, the first and the last among them."""
    if len(layers) <= most:
        return list(layers)
    places = np.unique(np.linspace(0, len(layers) - 1, most).round().astype(int))
    return [layers[place] for place in places]


def takes_ids(model: Any) -> bool:
    """Whether whole numbers in the model's input may stand for words or categories."""
    return model is not None and any(isinstance(layer, _TAKING_IDS) for _, layer in _walk(model))


def fixed_batch(model: Any) -> int | None:
    """The number of samples that every batch must have; None for any number.

    A recurrent layer that carries its state from batch to batch has one state a sample. A batch size given to
    ``keras.Input`` binds nobody: Keras itself gives a model another one.
    """
    stateful = (layer for _, layer in _walk(model) if getattr(layer, "stateful", False))
    states = (state for layer in stateful for state in keras.tree.flatten(getattr(layer, "states", None)))
    return next((int(state.shape[0]) for state in states if state is not None), None)


def _is_shown(layer: Any) -> bool:
    own = not isinstance(layer, keras.Model) and not type(layer).__module__.startswith("keras.")
    return isinstance(layer, _SHOWN) or (own and bool(layer.trainable_weights))


def _walk(model: Any) -> Iterator[tuple[str, Any]]:
    """Every layer and its path, once by each way that leads to it; the parts of those shown whole left out."""
    used: set[str] = set()
    for path, layer in _descend(model, ""):
        while path in used:
            path += "'"
        used.add(path)
        yield path, layer


def _descend(model: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, layer in _named(_parts(model)):
        if not isinstance(layer, _SHOWN):
            yield from _descend(layer, f"{prefix}{name}/")
        if not isinstance(layer, keras.Model):
            yield prefix + name, layer


def _named(layers: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """The layers under the names that Keras would give them in a fresh process.

    It numbers the layers of all models that a process makes, so in a search of twenty fits the same layer
    would be conv2d, conv2d_1, … and no two runs would have a picture in common.
    """
    seen: Counter[str] = Counter()
    for layer in layers:
        kind = _snake_case(type(layer).__name__)
        if not re.fullmatch(rf"{kind}(_\d+)?", layer.name):
            yield layer.name, layer
            continue
        yield f"{kind}_{seen[kind]}" if seen[kind] else kind, layer
        seen[kind] += 1


def _snake_case(name: str) -> str:
    # As Keras does it for the names that it makes up.
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _parts(layer: Any) -> list[Any]:
    # Keras' public ``layers`` is a model's alone; for other layers it has this (seen in 3.12 to 3.15).
    if hasattr(layer, "layers") and isinstance(layer, keras.Model):
        return list(layer.layers)
    flatten = getattr(layer, "_flatten_layers", None)
    return [] if flatten is None else list(flatten(include_self=False, recursive=False))
