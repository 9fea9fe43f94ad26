"""The tally of an output whose loss takes labels and values alike: the targets, once seen, decide."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from mlflow_dlviz.metrics.counting import Shape, Tally


class EitherTally(Tally):
    """Counts labels and sums values, and gives one: the values if a target lies strictly between 0 and 1.

    labels, values: a tally of each kind, which are not shared.
    """

    def __init__(self, labels: Tally, values: Tally) -> None:
        super().__init__(weighted=False, name="either")
        self._labels, self._values = labels, values
        self._between = self.add_sum("between", ())
        self.built = True

    def build(self, y_true_shape: Shape | None, y_pred_shape: Shape | None) -> None:
        """Check the shapes, and make both states."""
        self._labels.build(y_true_shape, y_pred_shape)
        self._values.build(y_true_shape, y_pred_shape)

    def reset_state(self) -> None:
        """Count from zero."""
        self._between.assign(ops.zeros((), self._between.dtype))
        self._labels.reset_state()
        self._values.reset_state()

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch in both."""
        y_true = ops.convert_to_tensor(y_true)
        inside = ops.logical_and(y_true > 0, y_true < 1) if _is_float(y_true) else ops.zeros((), "bool")
        self._between.assign_add(ops.sum(ops.cast(inside, "int64")))
        self._labels.update_state(y_true, y_pred, sample_weight)
        self._values.update_state(y_true, y_pred, sample_weight)

    def scores(self) -> dict[str, np.ndarray]:
        """The arrays of the one that the targets are for."""
        chosen: Any = self._values if int(ops.convert_to_numpy(self._between)) else self._labels
        return chosen.scores()

    def result(self) -> dict[str, Any]:
        """Nothing: which of the two it is shows only once all was counted."""
        return {}


def _is_float(tensor: Any) -> bool:
    return "float" in str(tensor.dtype)
