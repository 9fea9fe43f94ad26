"""The tally of classes: a Keras metric that counts what a classifier predicts, inside Keras' own steps."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from mlflow_dlviz.metrics.counting import (
    Shape,
    Tally,
    add_at,
    add_scores,
    bins_for,
    compatible,
    every_nth,
    positions_of,
    rows_of,
    shape_of,
    shown_rows,
    units_of,
)
from mlflow_dlviz.metrics.formulas import resolve, summarise
from mlflow_dlviz.metrics.saving import restored, saved

_MOST_CLASSES = 4096


def fits(y_true_shape: Shape | None, y_pred_shape: Shape | None) -> str | None:
    """Why a tally cannot count such labels and predictions, in a sentence; None if it can.

    Labels are (N, …) or (N, …, 1) classes or (N, …, K) one-hot; predictions are (N, …, K), or (N, …, 1) or
    (N,) of a binary problem. The dots are the same positions in both: none, time steps, pixels. None stands
    for an unknown size. A shape does not tell several labels per sample from one-hot.
    """
    if y_true_shape is None or y_pred_shape is None:
        return "the shape of the labels or of the predictions is not known"
    y_true, y_pred = tuple(y_true_shape), tuple(y_pred_shape)
    rank = max(2, len(y_pred))
    if not y_pred or len(y_true) not in (rank, rank - 1):
        return f"labels of shape {y_true} and predictions of shape {y_pred} are not one class per sample"
    units = units_of(y_pred)
    if units is None or (len(y_true) == rank and y_true[-1] is None):
        return f"the last size of labels {y_true} or of predictions {y_pred} is not known"
    if units > _MOST_CLASSES:
        return f"{units} classes are more than the {_MOST_CLASSES} whose confusion count fits in memory"
    return _label_misfit(y_true, y_pred, units)


def _label_misfit(y_true: Shape, y_pred: Shape, units: int) -> str | None:
    rank = max(2, len(y_pred))
    if len(y_true) == rank and y_true[-1] not in (1, units):
        return f"labels of shape {y_true} are neither classes nor one-hot for predictions of shape {y_pred}"
    if not compatible(y_true[: rank - 1], y_pred[: rank - 1]):
        return f"labels of shape {y_true} and predictions of shape {y_pred} are not of the same samples"
    return None


def _is_one_hot(y_true: Any, units: int, rank: int) -> bool:
    return units > 1 and len(y_true.shape) == rank and y_true.shape[-1] == units


def _classes_of(y_true: Any, units: int, rank: int) -> tuple[Any, Any]:
    """The true class (M,) int32, and whether there is one (M,) bool, for predictions of so many units and axes.

    One unit: a label in [-1, 1], positive above 0.5. More: a whole number from 0 to K - 1; or a one-hot row,
    or a soft one, that sums to 1. Anything else, such as -1, 255, NaN or a row of zeros, is no class.
    """
    y_true = ops.cast(y_true, "float32")
    if _is_one_hot(y_true, units, rank):
        y_true = ops.reshape(y_true, (-1, units))
        return ops.argmax(y_true, axis=-1), ops.abs(ops.sum(y_true, axis=-1) - 1) < 0.01
    y_true = ops.reshape(y_true, (-1,))
    if units == 1:
        return ops.cast(y_true > 0.5, "int32"), ops.abs(y_true) <= 1
    in_range = ops.logical_and(y_true >= 0, y_true < units)
    valid = ops.logical_and(in_range, ops.equal(y_true, ops.floor(y_true)))
    return ops.cast(ops.where(valid, y_true, 0), "int32"), valid


def _predicted(outputs: Any, from_logits: bool) -> Any:
    """The predicted class (M,) int32 of outputs (M, U)."""
    if outputs.shape[-1] > 1:
        return ops.argmax(outputs, axis=-1)
    return ops.cast(outputs[:, 0] > (0 if from_logits else 0.5), "int32")


def _scores(outputs: Any, from_logits: bool) -> Any:
    """The score of each class (M, K) of outputs (M, U), a probability in [0, 1]."""
    if outputs.shape[-1] > 1:
        return ops.softmax(outputs, axis=-1) if from_logits else outputs
    positive = ops.sigmoid(outputs) if from_logits else outputs
    return ops.concatenate([1 - positive, positive], axis=-1)


@keras.saving.register_keras_serializable("mlflow_dlviz")
class ClassificationTally(Tally):
    """Counts of a classifier over a whole data set, and all metrics that follow from them.

    metrics: which metrics ``result`` gives, see :func:`mlflow_dlviz.metrics.resolve`.
    classes: K; None reads it off the first predictions. One unit and two softmax units alike are K = 2, where
        class 1 is the positive one.
    bins: B equal bins of the score on [0, 1], each closed below and open above, the last closed: those of
        ``numpy.histogram`` on float64. The float32 next to an edge is judged as it is: that of 0.7 is a little
        less, so it counts below the edge. A score outside [0, 1] counts in the bin at that end. Above 200
        classes there are fewer bins, K · B being 20,000 or B being 20.
    from_logits: whether predictions are logits, to be put through sigmoid or softmax.
    weighted: whether ``sample_weight`` is counted instead of samples.
    ignore_class: a label that is counted nowhere, as in Keras' ``SparseCategoricalCrossentropy``.

    One unit is positive above 0.5, as in Keras, or as a logit above 0; of more units the first greatest one
    counts. State: ``confusion`` (K, K) by true and predicted class; ``histogram`` (K, 2, B) of each class's
    score for samples that are not (0) and are (1) of the class; ``skipped`` () samples left out of both,
    because a prediction is NaN or infinite or the label is no class. Sums are int64, so exact, or with
    ``weighted`` float64. Several labels per sample are not counted: their rows do not sum to 1.

    Where predictions have positions (pixels, tokens), each counts as a sample: see :class:`Tally`. The
    histogram then takes every n-th of them, about 4,096 values of each sample; the confusion takes all.

    By hand: ``model.compile(…, metrics=[ClassificationTally()])``. A saved model keeps those formulas that
    ``keras.saving.register_keras_serializable`` knows; others, such as lambdas, are left out.
    """

    def __init__(
        self,
        metrics: Any = None,
        *,
        classes: int | None = None,
        bins: int = 100,
        from_logits: bool = False,
        weighted: bool = False,
        ignore_class: int | None = None,
        name: str = "classification_tally",
        dtype: Any = None,
    ) -> None:
        super().__init__(weighted=weighted, name=name, dtype=dtype)
        for argument, value, least in (("classes", classes or 2, 2), ("bins", bins, 1)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
                raise ValueError(
                    f"ClassificationTally({argument}={value!r}): expected a whole number from {least}"
                )
        self.formulas = resolve(metrics)
        self.classes = classes
        self.bins = int(bins)
        self.from_logits = from_logits
        self.ignore_class = ignore_class
        self.positions = False
        if classes is not None:
            self._add_state(int(classes))

    def _add_state(self, classes: int) -> None:
        self.confusion = self.add_sum("confusion", (classes, classes))
        self.histogram = self.add_sum("histogram", (classes, 2, bins_for(classes, self.bins)))
        self.skipped = self.add_sum("skipped", (), "int64")
        self.built = True

    def build(self, y_true_shape: Shape | None, y_pred_shape: Shape | None) -> None:
        """Check the shapes, and make the state if it is not there."""
        reason = fits(y_true_shape, y_pred_shape)
        if reason or y_pred_shape is None:
            raise ValueError(f"{self.name}: {reason}")
        classes = max(2, units_of(y_pred_shape) or 0)
        if not self.built:
            self._add_state(classes)
        elif self.confusion.shape[0] != classes:
            raise ValueError(
                f"{self.name}: predictions of shape {y_pred_shape} are of {classes} classes, "
                f"not of {self.confusion.shape[0]}"
            )
        self.positions = len(y_pred_shape) > 2

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch.

        y_true: (N, …) or (N, …, 1) classes, or (N, …, K) one-hot; y_pred: (N, …, K), or (N, …, 1) or (N,) of
        one unit; sample_weight: None, or of samples or positions, ignored unless ``weighted``.
        """
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        self.build(shape_of(y_true), shape_of(y_pred))
        outputs, step = rows_of(y_pred), every_nth(y_pred.shape)
        true, valid = _classes_of(y_true, outputs.shape[-1], len(y_pred.shape))
        valid = ops.logical_and(valid, ops.all(ops.isfinite(outputs), axis=-1))
        positions = positions_of(y_pred)
        shown = self._shown(y_true, y_pred, positions)
        weight, skipped = self.weigh(valid, sample_weight, positions, shown)
        self.skipped.assign_add(skipped)
        predicted = _predicted(outputs, self.from_logits)
        add_at(self.confusion, true * self.confusion.shape[0] + predicted, weight)
        scores, true, weight = _scores(outputs[::step], self.from_logits), true[::step], weight[::step]
        classes = ops.arange(scores.shape[-1], dtype="int32")
        is_true = ops.cast(ops.equal(ops.expand_dims(true, -1), classes), "int32")
        add_scores(self.histogram, scores, is_true, weight)

    def _shown(self, y_true: Any, y_pred: Any, positions: tuple[Any, ...]) -> Any | None:
        shown = shown_rows(y_pred, positions)
        if self.ignore_class is None or _is_one_hot(y_true, units_of(y_pred.shape) or 0, len(y_pred.shape)):
            return shown
        kept = ops.not_equal(ops.reshape(ops.cast(y_true, "int32"), (-1,)), self.ignore_class)
        return kept if shown is None else ops.logical_and(kept, shown)

    def result(self) -> dict[str, Any]:
        """Every metric by name, a float64 scalar; {} before the first batch, which brings the classes."""
        return summarise(self.confusion, self.formulas, ops, positions=self.positions) if self.built else {}

    def scores(self) -> dict[str, np.ndarray]:
        """The counts as arrays; {} before the first batch, which brings the classes.

        confusion: (K, K) samples by true and predicted class; histogram: (K, 2, B) samples by class, not (0)
        or true (1), and score; edges: (B + 1,) of the score; skipped: () samples.
        """
        if not self.built:
            return {}
        counts = {
            name: ops.convert_to_numpy(getattr(self, name)) for name in ("confusion", "histogram", "skipped")
        }
        return {**counts, "edges": np.linspace(0, 1, self.histogram.shape[-1] + 1)}

    def get_config(self) -> dict[str, Any]:
        """What makes this tally again, without the formulas that Keras does not know by a registered name."""
        options = ("classes", "bins", "from_logits", "weighted", "ignore_class")
        return super().get_config() | {"metrics": saved(self.formulas)} | {n: getattr(self, n) for n in options}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ClassificationTally:
        """The tally that ``get_config`` describes."""
        return cls(**{**config, "metrics": restored(config["metrics"])})
