"""The tally: a Keras metric that counts what a classifier predicts, inside Keras' own steps."""

from __future__ import annotations

from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops

from mlflow_dlviz.metrics.formulas import Formulas, resolve, summarise

Shape: TypeAlias = tuple[int | None, ...]

_MOST_CLASSES = 4096


def _units(y_pred: Any) -> Any:
    return 1 if len(y_pred) == 1 else y_pred[-1]


def _label_misfit(y_true: Shape, y_pred: Shape, units: int) -> str | None:
    if len(y_true) == 1 or y_true[-1] == 1:
        return None
    if len(y_true) == 2 and y_true[-1] == units:
        return None
    return f"labels of shape {y_true} are neither classes nor one-hot for predictions of shape {y_pred}"


def fits(y_true_shape: Shape | None, y_pred_shape: Shape | None) -> str | None:
    """Why a tally cannot count such labels and predictions, in a sentence; None if it can.

    Labels are (N,) or (N, 1) classes or (N, K) one-hot; predictions are (N, K), or (N, 1) or (N,) of a binary
    problem. None stands for an unknown size. A shape does not tell several labels per sample from one-hot.
    """
    if y_true_shape is None or y_pred_shape is None:
        return "the shape of the labels or of the predictions is not known"
    y_true, y_pred = tuple(y_true_shape), tuple(y_pred_shape)
    if len(y_pred) not in (1, 2) or len(y_true) not in (1, 2):
        return f"labels of shape {y_true} and predictions of shape {y_pred} are not one class per sample"
    units = _units(y_pred)
    if units is None or (len(y_true) == 2 and y_true[-1] is None):
        return f"the last size of labels {y_true} or of predictions {y_pred} is not known"
    if units > _MOST_CLASSES:
        return f"{units} classes are more than the {_MOST_CLASSES} whose confusion count fits in memory"
    if None not in (y_true[0], y_pred[0]) and y_true[0] != y_pred[0]:
        return f"labels of shape {y_true} and predictions of shape {y_pred} are not of the same samples"
    return _label_misfit(y_true, y_pred, units)


def _shape(tensor: Any) -> Shape | None:
    # TensorFlow's shape of unknown rank can't be made a tuple.
    return None if getattr(tensor.shape, "rank", 0) is None else tuple(tensor.shape)


def _outputs(y_pred: Any) -> Any:
    """(N,) or (N, U) predictions as (N, U), float64 if they were, else float32: half precision is too coarse."""
    if len(y_pred.shape) == 1:
        y_pred = ops.expand_dims(y_pred, -1)
    double = keras.backend.standardize_dtype(y_pred.dtype) == "float64"
    return y_pred if double else ops.cast(y_pred, "float32")


def _classes_of(y_true: Any, units: int) -> tuple[Any, Any]:
    """The true class (N,) int32, and whether there is one (N,) bool, for a model of so many output units.

    One unit: a label in [-1, 1], positive above 0.5. More: a whole number from 0 to K - 1; or a one-hot row,
    or a soft one, that sums to 1. Anything else, such as -1, 255, NaN or a row of zeros, is no class.
    """
    y_true = ops.cast(y_true, "float32")
    if units > 1 and len(y_true.shape) == 2 and y_true.shape[-1] == units:
        return ops.argmax(y_true, axis=-1), ops.abs(ops.sum(y_true, axis=-1) - 1) < 0.01
    y_true = ops.reshape(y_true, (-1,))
    if units == 1:
        return ops.cast(y_true > 0.5, "int32"), ops.abs(y_true) <= 1
    in_range = ops.logical_and(y_true >= 0, y_true < units)
    valid = ops.logical_and(in_range, ops.equal(y_true, ops.floor(y_true)))
    return ops.cast(ops.where(valid, y_true, 0), "int32"), valid


def _predicted(outputs: Any, from_logits: bool) -> Any:
    """The predicted class (N,) int32 of outputs (N, U)."""
    if outputs.shape[-1] > 1:
        return ops.argmax(outputs, axis=-1)
    return ops.cast(outputs[:, 0] > (0 if from_logits else 0.5), "int32")


def _scores(outputs: Any, from_logits: bool) -> Any:
    """The score of each class (N, K) of outputs (N, U), a probability in [0, 1]."""
    if outputs.shape[-1] > 1:
        return ops.softmax(outputs, axis=-1) if from_logits else outputs
    positive = ops.sigmoid(outputs) if from_logits else outputs
    return ops.concatenate([1 - positive, positive], axis=-1)


def _bins_of(scores: Any, bins: int) -> Any:
    """The bin (N, K) int32 of each score. In float64 the product is exact, hence so are the bins' edges."""
    scaled = ops.floor(ops.cast(scores, "float64") * bins)
    return ops.cast(ops.clip(scaled, 0, bins - 1), "int32")


@keras.saving.register_keras_serializable("mlflow_dlviz")
class ClassificationTally(keras.metrics.Metric):
    """Counts of a classifier over a whole data set, and all metrics that follow from them.

    metrics: which metrics ``result`` gives, see :func:`mlflow_dlviz.metrics.resolve`.
    classes: K; None reads it off the first predictions. One unit and two softmax units alike are K = 2, where
        class 1 is the positive one.
    bins: B equal bins of the score on [0, 1], each closed below and open above, the last closed: those of
        ``numpy.histogram`` on float64. The float32 next to an edge is judged as it is: that of 0.7 is a little
        less, so it counts below the edge. A score outside [0, 1] counts in the bin at that end.
    from_logits: whether predictions are logits, to be put through sigmoid or softmax.
    weighted: whether ``sample_weight`` is counted instead of samples.

    One unit is positive above 0.5, as in Keras, or as a logit above 0; of more units the first greatest one
    counts. State: ``confusion`` (K, K) by true and predicted class; ``histogram`` (K, 2, B) of each class's
    score for samples that are not (0) and are (1) of the class; ``skipped`` () samples left out of both,
    because a prediction is NaN or infinite or the label is no class. Sums are int64, so exact, or with
    ``weighted`` float64. Several labels per sample are not counted: their rows do not sum to 1.

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
        name: str = "classification_tally",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        for argument, value, least in (("classes", classes or 2, 2), ("bins", bins, 1)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
                raise ValueError(
                    f"ClassificationTally({argument}={value!r}): expected a whole number from {least}"
                )
        self.formulas = resolve(metrics)
        self.classes = classes
        self.bins = int(bins)
        self.from_logits = from_logits
        self.weighted = weighted
        self.built = False
        if classes is not None:
            self._add_state(int(classes))

    def _add_state(self, classes: int) -> None:
        kind = "float64" if self.weighted else "int64"
        self.confusion = self._add_sum("confusion", (classes, classes), kind)
        self.histogram = self._add_sum("histogram", (classes, 2, self.bins), kind)
        self.skipped = self._add_sum("skipped", (), "int64")
        self.built = True

    def _add_sum(self, name: str, shape: tuple[int, ...], dtype: str) -> Any:
        return self.add_variable(shape=shape, initializer="zeros", dtype=dtype, aggregation="sum", name=name)

    def build(self, y_true_shape: Shape | None, y_pred_shape: Shape | None) -> None:
        """Check the shapes, and make the state if it is not there."""
        if reason := fits(y_true_shape, y_pred_shape):
            raise ValueError(f"{self.name}: {reason}")
        classes = max(2, _units(y_pred_shape))
        if not self.built:
            self._add_state(classes)
        elif self.confusion.shape[0] != classes:
            raise ValueError(
                f"{self.name}: predictions of shape {y_pred_shape} are of {classes} classes, "
                f"not of {self.confusion.shape[0]}"
            )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch.

        y_true: (N,) or (N, 1) classes, or (N, K) one-hot; y_pred: (N, K), or (N, 1) or (N,) of one unit;
        sample_weight: None, (N,) or (N, 1), ignored unless ``weighted``.
        """
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        self.build(_shape(y_true), _shape(y_pred))
        outputs = _outputs(y_pred)
        true, valid = _classes_of(y_true, outputs.shape[-1])
        valid = ops.logical_and(valid, ops.all(ops.isfinite(outputs), axis=-1))
        weight, valid = self._weights(valid, sample_weight)
        self.skipped.assign_add(ops.sum(ops.cast(ops.logical_not(valid), "int64")))
        self._count(self.confusion, true * self.confusion.shape[0] + _predicted(outputs, self.from_logits), weight)
        # A NaN has no bin: any will do, as its weight is 0.
        scores = ops.where(ops.expand_dims(valid, -1), _scores(outputs, self.from_logits), 0)
        self._count(self.histogram, self._cells(true, scores), weight)

    def _weights(self, valid: Any, sample_weight: Any) -> tuple[Any, Any]:
        """What each sample counts (N,), 0 if it is not valid; a weight that is not finite makes it so."""
        if not self.weighted or sample_weight is None:
            # float32 has kernels everywhere and is exact for the 2^24 samples that no batch reaches.
            return ops.cast(valid, "float64" if self.weighted else "float32"), valid
        weight = ops.reshape(ops.cast(ops.convert_to_tensor(sample_weight), "float64"), (-1,))
        weight = ops.broadcast_to(weight, ops.shape(valid))
        valid = ops.logical_and(valid, ops.isfinite(weight))
        return ops.where(valid, weight, 0), valid

    def _cells(self, true: Any, scores: Any) -> Any:
        """The flat index (N, K) into the histogram of each sample's score of each class."""
        classes = ops.arange(scores.shape[-1], dtype="int32")
        is_true = ops.cast(ops.equal(ops.expand_dims(true, -1), classes), "int32")
        return (2 * classes + is_true) * self.bins + _bins_of(scores, self.bins)

    def _count(self, state: Any, index: Any, weight: Any) -> None:
        """Add weights (N,) to the cells of a state at flat indices (N,) or (N, K)."""
        if len(index.shape) == 2:
            weight = ops.reshape(ops.broadcast_to(ops.expand_dims(weight, -1), ops.shape(index)), (-1,))
        batch = ops.segment_sum(weight, ops.reshape(index, (-1,)), int(np.prod(state.shape)))
        state.assign_add(ops.cast(ops.reshape(batch, state.shape), state.dtype))

    def result(self) -> dict[str, Any]:
        """Every metric by name, a float64 scalar; {} before the first batch, which brings the classes."""
        return summarise(self.confusion, self.formulas, ops) if self.built else {}

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
        return {**counts, "edges": np.linspace(0, 1, self.bins + 1)}

    def get_config(self) -> dict[str, Any]:
        """What makes this tally again, without the formulas that Keras does not know by a registered name."""
        own = {name: _registered_name(formula) for name, formula in self.formulas.own.items()}
        metrics = {
            "names": list(self.formulas.names),
            "own": {name: known for name, known in own.items() if known},
        }
        options = ("classes", "bins", "from_logits", "weighted")
        return super().get_config() | {"metrics": metrics} | {name: getattr(self, name) for name in options}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ClassificationTally:
        """The tally that ``get_config`` describes."""
        names, own = config["metrics"]["names"], config["metrics"]["own"]
        formulas = Formulas(tuple(names), {name: _registered(name, known) for name, known in own.items()})
        return cls(**{**config, "metrics": formulas})


def _registered_name(formula: Any) -> str | None:
    if not hasattr(formula, "__name__"):
        return None
    name = keras.saving.get_registered_name(formula)
    return name if keras.saving.get_registered_object(name) is formula else None


def _registered(name: str, known: str) -> Any:
    formula = keras.saving.get_registered_object(known)
    if formula is None:
        raise ValueError(f"the formula {name!r} was saved as {known!r}: import the module that registers it first")
    return formula
