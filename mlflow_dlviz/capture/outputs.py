"""The outputs of a model apart, each with its name, loss, targets and weights, as Keras joins them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keras import tree


@dataclass(frozen=True)
class Output:
    """One output in one batch. name: "" where there is one; loss: as compiled, None without any; index: among
    the outputs; y, y_pred: tensors (N, …), y is None without targets; sample_weight: None, or a tensor.
    """

    name: str
    index: int
    loss: Any
    y: Any
    y_pred: Any
    sample_weight: Any


def split(model: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> list[Output]:
    """The outputs of one batch, in Keras' order.

    A dict of outputs goes by its keys, a list by the model's output names, or else "output_0", "output_1", …
    Losses, targets and weights are given alike, by name or by index; one loss, and one array of weights, is for
    all. Outputs nested deeper, such as a list within a dict, are named by their path.
    """
    leaves = [(path, leaf) for path, leaf in tree.flatten_with_path(y_pred) if leaf is not None]
    names = _names(model, y_pred, [path for path, _ in leaves])
    if len(leaves) == 1:
        [(_, only)] = leaves
        one = [_first(nested) for nested in (model.loss, y, sample_weight)]
        return [Output("", 0, one[0], one[1], only, one[2])]
    return [
        Output(
            name, index, part(model.loss, name, index), _target(y, name, index), leaf,
            part(sample_weight, name, index),
        )
        for index, (name, (_, leaf)) in enumerate(zip(names, leaves, strict=True))
    ]  # fmt: skip


def part(nested: Any, name: str, index: int) -> Any:
    """What belongs to one output of a dict by name or of a list by index; anything else belongs to all."""
    if isinstance(nested, Mapping):
        return nested.get(name)
    if isinstance(nested, list | tuple):
        return nested[index] if index < len(nested) else None
    return nested


def _target(y: Any, name: str, index: int) -> Any:
    return part(y, name, index) if isinstance(y, Mapping | list | tuple) else None


def _first(nested: Any) -> Any:
    flat = tree.flatten(nested)
    return flat[0] if flat else None


def _names(model: Any, y_pred: Any, paths: list[tuple[Any, ...]]) -> list[str]:
    own = list(getattr(model, "output_names", None) or [])
    if isinstance(y_pred, Mapping):
        return ["_".join(str(step) for step in path) for path in paths]
    if len(own) == len(paths):
        return own
    return ["output_" + "_".join(str(step) for step in path) for path in paths]
