"""The tally of independent labels: any number of them, or none, is true of each sample."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from mlflow_dlviz.metrics.counting import (
    Shape,
    Tally,
    add_scores,
    bins_for,
    compatible,
    every_nth,
    positions_of,
    rows_of,
    shape_of,
    shown_rows,
)
from mlflow_dlviz.metrics.formulas import (
    OF_LABELS,
    RATIOS,
    Formulas,
    call_per_class,
    ratio,
    resolve,
    spread,
)
from mlflow_dlviz.metrics.saving import restored, saved

_MOST_LABELS = 65_536


def summarise_labels(scores: Any, formulas: Formulas | None = None, xp: Any = np) -> dict[str, Any]:
    """Every metric of independent labels by name, each a float64 scalar.

    scores: ``multilabel_confusion`` (K, 2, 2), ``exact`` () and ``samples`` (), as
    :meth:`MultiLabelTally.scores` gives them.

    ``precision_macro``, … are the mean over labels, ``_micro`` of the counts of all labels together, and
    ``_weighted`` the mean weighted by the samples that have each label; ``subset_accuracy`` is the share of
    samples whose labels are all right, ``hamming_loss`` the share of labels that are wrong. A user's formula
    is given (K,) counts and averaged as that of K classes. 0/0 is 0.
    """
    formulas = formulas or Formulas()
    table = xp.array(scores["multilabel_confusion"], dtype="float64")
    values = table[:, 1, 1], table[:, 0, 0], table[:, 0, 1], table[:, 1, 0]
    total = tuple(xp.sum(count) for count in values)
    support = values[0] + values[3]
    result: dict[str, Any] = {}
    for name in formulas.among(OF_LABELS):
        if name in RATIOS:
            result.update(spread(name, RATIOS[name](*values, xp=xp), support, xp))
            result[f"{name}_micro"] = RATIOS[name](*total, xp=xp)
        elif name == "subset_accuracy":
            result[name] = ratio(scores["exact"], scores["samples"], xp)
        else:
            result[name] = ratio(total[2] + total[3], xp.sum(table), xp)
    for name, formula in formulas.own.items():
        result.update(spread(name, call_per_class(name, formula, values, xp), support, xp))
    return {name: float(value) for name, value in result.items()} if xp is np else result


def fits_labels(y_true_shape: Shape | None, y_pred_shape: Shape | None) -> str | None:
    """Why a tally cannot count such labels and predictions, both (N, …, K), in a sentence; None if it can."""
    if y_true_shape is None or y_pred_shape is None:
        return "the shape of the labels or of the predictions is not known"
    y_true, y_pred = tuple(y_true_shape), tuple(y_pred_shape)
    if len(y_pred) < 2 or not compatible(y_true, y_pred):
        return f"labels of shape {y_true} and predictions of shape {y_pred} are not one for one"
    if y_pred[-1] is None:
        return f"the last size of predictions {y_pred} is not known"
    if y_pred[-1] > _MOST_LABELS:
        return f"{y_pred[-1]} labels are more than the {_MOST_LABELS} whose counts fit in memory"
    return None


@keras.saving.register_keras_serializable("mlflow_dlviz")
class MultiLabelTally(Tally):
    """Counts of independent labels over a whole data set, and all metrics that follow from them.

    metrics, bins, from_logits, weighted: as for :class:`ClassificationTally`.

    A label is 0 or 1 (or False, True), positive above 0.5; predictions are positive above 0.5, as logits
    above 0. State: ``multilabel_confusion`` (K, 2, 2) by true and predicted value of each label, as
    scikit-learn's; ``histogram`` (K, 2, B) of each label's score for samples without (0) and with (1) it;
    ``exact`` () samples whose labels are all right, of ``samples`` (); ``skipped`` () samples left out of all,
    because a prediction is NaN or infinite, or a label is not within [0, 1].
    """

    def __init__(
        self,
        metrics: Any = None,
        *,
        bins: int = 100,
        from_logits: bool = False,
        weighted: bool = False,
        name: str = "multi_label_tally",
        dtype: Any = None,
    ) -> None:
        super().__init__(weighted=weighted, name=name, dtype=dtype)
        if isinstance(bins, bool) or not isinstance(bins, int | np.integer) or bins < 1:
            raise ValueError(f"MultiLabelTally(bins={bins!r}): expected a whole number from 1")
        self.formulas = resolve(metrics)
        self.bins = int(bins)
        self.from_logits = from_logits

    def build(self, y_true_shape: Shape | None, y_pred_shape: Shape | None) -> None:
        """Check the shapes, and make the state if it is not there."""
        reason = fits_labels(y_true_shape, y_pred_shape)
        if reason or y_pred_shape is None:
            raise ValueError(f"{self.name}: {reason}")
        labels = int(y_pred_shape[-1] or 0)
        if self.built:
            return
        self.multilabel_confusion = self.add_sum("multilabel_confusion", (labels, 2, 2))
        self.histogram = self.add_sum("histogram", (labels, 2, bins_for(labels, self.bins)))
        self.exact, self.samples = self.add_sum("exact", ()), self.add_sum("samples", ())
        self.skipped = self.add_sum("skipped", (), "int64")
        self.built = True

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch; y_true, y_pred: (N, …, K); sample_weight: None, or of samples or positions."""
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        self.build(shape_of(y_true), shape_of(y_pred))
        outputs, step = rows_of(y_pred), every_nth(y_pred.shape)
        labels = ops.reshape(ops.cast(y_true, outputs.dtype), (-1, outputs.shape[-1]))
        valid = ops.logical_and(ops.isfinite(outputs), ops.logical_and(labels >= 0, labels <= 1))
        positions = positions_of(y_pred)
        shown = shown_rows(y_pred, positions)
        weight, skipped = self.weigh(ops.all(valid, axis=-1), sample_weight, positions, shown)
        self.skipped.assign_add(skipped)
        true, predicted = labels > 0.5, outputs > (0 if self.from_logits else 0.5)
        self._count(true, predicted, ops.cast(weight, "float64"))
        scores = ops.sigmoid(outputs[::step]) if self.from_logits else outputs[::step]
        add_scores(self.histogram, scores, ops.cast(true[::step], "int32"), weight[::step])

    def _count(self, true: Any, predicted: Any, weight: Any) -> None:
        """Add a batch to the counts; true, predicted: (M, K) bool; weight: (M,)."""
        exact = ops.all(ops.equal(true, predicted), axis=-1)
        self._add(self.exact, ops.sum(ops.where(exact, weight, 0)))
        self._add(self.samples, ops.sum(weight))
        column = ops.expand_dims(weight, -1)
        cells = [
            ops.sum(ops.where(ops.logical_and(ops.equal(true, t), ops.equal(predicted, p)), column, 0), axis=0)
            for t in (False, True)
            for p in (False, True)
        ]
        self._add(self.multilabel_confusion, ops.reshape(ops.stack(cells, axis=-1), (-1, 2, 2)))

    def _add(self, state: Any, value: Any) -> None:
        state.assign_add(ops.cast(value, state.dtype))

    def result(self) -> dict[str, Any]:
        """Every metric by name, a float64 scalar; {} before the first batch, which brings the labels."""
        if not self.built:
            return {}
        parts = {name: getattr(self, name) for name in ("multilabel_confusion", "exact", "samples")}
        return summarise_labels(parts, self.formulas, ops)

    def scores(self) -> dict[str, np.ndarray]:
        """The counts as arrays; {} before the first batch, which brings the labels.

        multilabel_confusion: (K, 2, 2); histogram: (K, 2, B); edges: (B + 1,) of the score; exact, samples,
        skipped: ().
        """
        if not self.built:
            return {}
        names = ("multilabel_confusion", "histogram", "exact", "samples", "skipped")
        counts = {name: ops.convert_to_numpy(getattr(self, name)) for name in names}
        return {**counts, "edges": np.linspace(0, 1, self.histogram.shape[-1] + 1)}

    def get_config(self) -> dict[str, Any]:
        """What makes this tally again, without the formulas that Keras does not know by a registered name."""
        options = ("bins", "from_logits", "weighted")
        return super().get_config() | {"metrics": saved(self.formulas)} | {n: getattr(self, n) for n in options}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> MultiLabelTally:
        """The tally that ``get_config`` describes."""
        return cls(**{**config, "metrics": restored(config["metrics"])})
