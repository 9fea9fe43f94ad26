"""What the model predicts, read from its compiled loss and its last activation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

_BINARY = ("binary_crossentropy", "binary_focal_crossentropy")
_MULTI = (
    "categorical_crossentropy",
    "sparse_categorical_crossentropy",
    "categorical_focal_crossentropy",
)


@dataclass(frozen=True)
class Head:
    """kind: "binary" (one unit, or two softmax units), "multiclass" or "other"; from_logits: no sigmoid or
    softmax was applied yet; reason: why a head is "other", in words; independent: whether the loss takes each
    unit for a question of its own, so that only one unit makes two classes.
    """

    kind: str
    from_logits: bool = False
    reason: str = ""
    independent: bool = False

    @property
    def classifies(self) -> bool:
        """Whether one sample has one class."""
        return self.kind != "other"


def find_head(model: Any) -> Head:
    """The head of a compiled model with one output.

    Decided by the loss: only what Keras trains as a class probability is read as one.
    """
    loss = model.loss
    if isinstance(loss, dict | list | tuple) and len(loss) == 1:
        loss = next(iter(loss.values())) if isinstance(loss, dict) else loss[0]
    if isinstance(loss, dict | list | tuple) or _outputs(model) > 1:
        return Head("other", reason="the model has several outputs")
    if loss is None:
        return Head("other", reason="the model is compiled with no loss")
    name = _loss_name(loss)
    units = _units(model)
    if name in _BINARY:
        if units not in (None, 1):
            return Head("other", reason=f"{name} on {units} units trains independent labels, not classes")
        return Head("binary", _from_logits(loss), independent=True)
    if name in _MULTI:
        if units == 1:
            return Head("other", reason=f"{name} needs one unit a class, the model has 1")
        return Head("binary" if units == 2 else "multiclass", _from_logits(loss))
    return Head("other", reason=f"the loss {name!r} does not train class probabilities")


def _outputs(model: Any) -> int:
    return len(getattr(model, "outputs", None) or [None])


def _units(model: Any) -> int | None:
    shape = getattr(model, "output_shape", None) if getattr(model, "outputs", None) else None
    return shape[-1] if isinstance(shape, tuple) and shape else None


def _loss_name(loss: Any) -> str:
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    name = getattr(loss, "__name__", None) or type(loss).__name__
    words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return words.lstrip("_")


def _from_logits(loss: Any) -> bool:
    # Keras' loss classes keep the argument as an attribute; a loss given by name never has it.
    return bool(getattr(loss, "from_logits", False))
