"""What the model predicts, read from its compiled loss, the shape of its output, and its targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras

from mlflow_dlviz.capture.targets import Targets

# Compared without underscores, as classes and functions spell these differently.
_EITHER = {"crossentropy", "ce", "dice", "tversky"}
_BINARY = {"binarycrossentropy", "binaryfocalcrossentropy"}
_MULTI = {
    "categoricalcrossentropy",
    "sparsecategoricalcrossentropy",
    "categoricalfocalcrossentropy",
    "categoricalgeneralizedcrossentropy",
}
_VALUES = {
    "meansquarederror",
    "meanabsoluteerror",
    "meanabsolutepercentageerror",
    "meansquaredlogarithmicerror",
    "huber",
    "logcosh",
    "poisson",
}
_NEITHER = {"hinge", "squaredhinge", "categoricalhinge", "kldivergence", "cosinesimilarity", "ctc", "circle"}


@dataclass(frozen=True)
class Head:
    """What one output predicts.

    kind: "binary" (one unit, or two softmax units), "multiclass", "multilabel", "regression" or "other"; of a
    model with several outputs, "several";
    from_logits: no sigmoid or softmax was applied yet; reason: why a sample has no class, in words;
    positions: whether each pixel or time step is predicted, not each sample; unsure: the loss takes labels
    and values alike, and the targets, which would tell, can't be seen; ignore_class: a label not to count.
    """

    kind: str
    from_logits: bool = False
    reason: str = ""
    positions: bool = False
    unsure: bool = False
    ignore_class: int | None = None

    @property
    def classifies(self) -> bool:
        """Whether one sample has one class."""
        return self.kind in ("binary", "multiclass") and not self.positions


def find_head(model: Any) -> Head:
    """The head of a compiled model with one output, as far as it is known before the first batch."""
    loss = model.loss
    if isinstance(loss, dict | list | tuple) and len(loss) == 1:
        loss = next(iter(loss.values())) if isinstance(loss, dict) else loss[0]
    if isinstance(loss, dict | list | tuple) or _outputs(model) > 1:
        return Head("several", reason="the model has several outputs")
    return head_of(loss, _output_shape(model))


def head_of(loss: Any, shape: Sequence[int | None] | None, targets: Targets | None = None) -> Head:
    """The head that a loss trains, of an output of this shape, (N, …, units); None where it is not known.

    Decided by the loss. A binary loss on one unit a sample trains two classes. On several units it trains
    labels, on one unit at each position two classes; but where targets lie between 0 and 1, as an
    autoencoder's do, it trains values. A loss that is not Keras' own is taken to train values, unless all
    targets are 0 and 1.
    """
    if loss is None:
        return Head("other", reason="the model is compiled with no loss")
    name, units = _loss_name(loss), shape[-1] if shape else None
    positions = shape is not None and len(shape) > 2
    known = name.replace("_", "")
    if known in _EITHER:
        known = "binarycrossentropy" if units == 1 else "categoricalcrossentropy"
    if known in _BINARY:
        return _binary(name, units, positions, _argument(loss, "from_logits"), targets)
    if known in _MULTI:
        return _multi(name, units, positions, loss)
    reason = f"the loss {name!r} does not train class probabilities"
    if known in _VALUES:
        return Head("regression", reason=reason, positions=positions)
    if known in _NEITHER:
        return Head("other", reason=f"{reason}, nor values to compare")
    if targets is not None and targets.labels:
        return Head("other", reason=f"{reason} that are known, though all targets are 0 and 1")
    return Head("regression", reason=reason, positions=positions)


def _binary(name: str, units: int | None, positions: bool, from_logits: Any, targets: Targets | None) -> Head:
    if units in (None, 1) and not positions:
        return Head("binary", bool(from_logits))
    reason = f"{name} on {units} units trains independent labels, not classes"
    if units == 1:
        reason = "each position has a class, not each sample"
    kind = "binary" if units == 1 else "multilabel"
    head = Head(kind, bool(from_logits), reason, positions)
    if targets is None:
        return replace(head, unsure=True)
    return replace(head, kind="regression") if targets.between else head


def _multi(name: str, units: int | None, positions: bool, loss: Any) -> Head:
    if units == 1:
        return Head("other", reason=f"{name} needs one unit a class, the model has 1")
    return Head(
        "binary" if units == 2 else "multiclass",
        from_logits=bool(_argument(loss, "from_logits")),
        reason="each position has a class, not each sample" if positions else "",
        positions=positions,
        ignore_class=_argument(loss, "ignore_class"),
    )


def _outputs(model: Any) -> int:
    return len(getattr(model, "outputs", None) or [None])


def _output_shape(model: Any) -> tuple[int | None, ...] | None:
    outputs = getattr(model, "outputs", None)
    return tuple(outputs[0].shape) if outputs and outputs[0].shape is not None else None


def _loss_name(loss: Any) -> str:
    if isinstance(loss, str) and loss.lower() not in _EITHER:
        loss = keras.losses.get(loss)
    if isinstance(loss, partial):
        loss = loss.func
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", None) or _class_name(type(loss))
    words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return words.lstrip("_")


def _class_name(kind: type) -> str:
    """That of the loss of Keras' own that a user's derives from, if it derives from one in particular."""
    bases = (keras.losses.Loss, keras.losses.Loss.__base__, object)
    own = (base for base in kind.__mro__ if base.__module__.startswith("keras.") and base not in bases)
    found = next((base.__name__ for base in own if base.__name__ != "LossFunctionWrapper"), None)
    return found or kind.__name__


def _argument(loss: Any, name: str) -> Any:
    # Keras' loss classes keep the argument as an attribute; a loss given by name never has it.
    return loss.keywords.get(name) if isinstance(loss, partial) else getattr(loss, name, None)
