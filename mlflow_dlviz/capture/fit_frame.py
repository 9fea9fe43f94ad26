"""What the running ``fit`` was given, read from its own frame.

A callback is told neither the data nor the arguments. Wrapping ``fit`` would see them, but MLflow's own
patches put the unwrapped method back in some orders of enabling; the frame is there in all of them, and in it
Keras has already applied ``validation_split``.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

import keras

_DATA = ("self", "x", "y", "callbacks", "validation_data", "sample_weight")


@dataclass(frozen=True)
class FitCall:
    """Data and settings of one ``fit``. train, validation: (x, y) as given; validation is None without any;
    settings: the other public arguments by name.
    """

    train: tuple[Any, Any]
    validation: tuple[Any, Any] | None
    settings: Mapping[str, Any]

    @property
    def validates_first(self) -> bool:
        """Whether the first epoch ends with a validation."""
        frequency, first = self.settings.get("validation_freq", 1), self.settings.get("initial_epoch", 0) + 1
        due = first % frequency == 0 if isinstance(frequency, int) else first in frequency
        return self.validation is not None and due


def find_fit(model: Any) -> FitCall | None:
    """The ``fit`` of ``model`` that called us, or None if its frame can't be read (another trainer's loop)."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        names = frame.f_locals
        if frame.f_code.co_name == "fit" and names.get("self") is model and "validation_data" in names:
            return _read(names)
        frame = frame.f_back
    return None


def _read(names: Mapping[str, Any]) -> FitCall:
    parameters = inspect.signature(keras.Model.fit).parameters
    settings = {name: names[name] for name in parameters if name in names and name not in _DATA}
    validation = names["validation_data"]
    return FitCall(
        train=(names["x"], names["y"]),
        validation=None if validation is None else keras.utils.unpack_x_y_sample_weight(validation)[:2],
        settings=settings,
    )
