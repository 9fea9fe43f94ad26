"""The metrics of the whole sets: what is counted during one ``fit``, and what it becomes in Keras' logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlflow_dlviz.capture.fit_frame import FitCall
from mlflow_dlviz.capture.heads import Head, find_head, head_of
from mlflow_dlviz.capture.outputs import Output, part
from mlflow_dlviz.capture.targets import Targets, look_at
from mlflow_dlviz.metrics.classification import ClassificationTally, fits
from mlflow_dlviz.metrics.either import EitherTally
from mlflow_dlviz.metrics.formulas import Formulas, summarise
from mlflow_dlviz.metrics.multilabel import MultiLabelTally, fits_labels, summarise_labels
from mlflow_dlviz.metrics.regression import RegressionTally, fits_values, summarise_values
from mlflow_dlviz.options import Options
from mlflow_dlviz.runlog import OpenLog
from mlflow_dlviz.visual import Arrays

if TYPE_CHECKING:
    from mlflow_dlviz.capture.watch import Watch


class Scoring:
    """Counts one model's predictions during a ``fit``, and writes the metrics that follow into the logs.

    head: what the model predicts.
    """

    def __init__(self, model: Any, options: Options, log: OpenLog) -> None:
        self.head: Head = find_head(model)
        self._model = model
        self._options = options
        self._log = log
        self._watch: Watch | None = None
        self._targets: Any = None
        self._positions: set[str] = set()
        self._counts: dict[tuple[str, str], Arrays] = {}
        self._validated = False

    @property
    def counts(self) -> Mapping[str, Arrays]:
        """The counts of this epoch: "training", "validation"; of several outputs "validation.<output>", …."""
        return {f"{subset}.{name}" if name else subset: counts for (subset, name), counts in self._counts.items()}

    @property
    def classes(self) -> int:
        """How many classes or labels were counted, 0 if none were.

        Of several outputs, the first that has as many as there are ``class_names``, or else the first.
        """
        found = [len(counts["histogram"]) for counts in self._counts.values() if "histogram" in counts]
        named = len(self._options.class_names or ())
        return named if named in found else next(iter(found), 0)

    def attach(self, call: FitCall | None = None) -> None:
        """Begin to count. call: what ``fit`` was given, whose targets tell labels from values."""
        if self.head.kind == "other":
            self._log.left_out("metrics of the whole set", self.head.reason, say=False)
            return
        from mlflow_dlviz.capture.watch import Watch  # brings TensorFlow

        self._targets = None if call is None else call.train[1]
        self._watch = Watch(self._model, self._make_tally)
        self._watch.attach()

    def count(self, subset: str, y: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch of a training loop of the user's own, without being attached."""
        from mlflow_dlviz.capture.watch import Watch  # brings TensorFlow

        if self._watch is None:
            self._watch = Watch(self._model, self._make_tally)
            self._watch.reason = "update() was given no batch of it"
        self._watch.count(subset, y, y_pred, sample_weight)

    def collect(self) -> None:
        """Keep what was counted since the last time, and count on from zero."""
        self._counts = {}
        for subset in ("training", "validation"):
            self.keep(subset)
            if self._watch is not None:
                self._watch.reset(subset)

    def detach(self) -> None:
        """Leave the model as it was; safe to call twice."""
        self._targets = None
        if self._watch is not None:
            with self._log.guarded("detaching"):
                self._watch.detach()

    def reset(self, subset: str) -> None:
        """Count from zero; an epoch begins with the training set."""
        self._validated = subset == "validation"
        if subset == "training":
            self._counts = {}
        if self._watch is not None:
            self._watch.reset(subset)

    def keep(self, subset: str) -> None:
        """Keep what was counted of a subset."""
        counts = self._watch.scores(subset) if self._watch is not None else {}
        self._counts.update({(subset, name): arrays for name, arrays in counts.items()})

    def write(self, logs: dict[str, Any]) -> None:
        """Write the metrics of what was kept into ``logs``."""
        for subset, output in sorted(self._counts):
            counts = self._counts[subset, output]
            of = f" of output {output!r}" if output else ""
            if counts["skipped"]:
                why = f"{int(counts['skipped'])} samples: {_why_skipped(counts)}"
                self._log.left_out(f"part of the {subset} set{of}", why)
            for formulas in self._options.metrics.apart():
                named = ", ".join(formulas.own or formulas.names or ["of the whole set"])
                with self._log.guarded(f"metrics {named}{of}"):
                    found = _summary(counts, formulas, positions=output in self._positions)
                    if not found and formulas.names != ():
                        self._log.left_out(f"metrics {named}{of}", "not of what this output predicts", say=False)
                    self._write(logs, ("val_" * (subset == "validation")) + f"{output}_" * bool(output), found)
        self._say_what_is_missing()

    def _write(self, logs: dict[str, Any], prefix: str, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            full = prefix + name
            if full in logs and full not in self._log.ours:
                self._log.left_out(f"metric {full!r}", "compiled by the user under the same name", say=False)
                continue
            self._log.ours.add(full)
            logs[full] = value

    def _say_what_is_missing(self) -> None:
        if self._watch is None:
            return
        reasons = self._watch.reasons
        for output, reason in reasons.items():
            if output:
                self._log.left_out(f"metrics of output {output!r}", reason)
        seen = {subset for subset, _ in self._counts}
        if self._validated and seen == {"training"} and not reasons:
            why = "the model's test_step does not call compute_metrics"
            self._log.left_out("metrics of the validation set", self._why_nothing("validation", why))
        if "training" not in seen and ("" in reasons or not reasons):
            counted = "training" if self._counts else "whole"
            why = self._why_nothing("training", self._watch.reason)
            self._log.left_out(f"metrics of the {counted} set", reasons.get("", why))

    def _why_nothing(self, subset: str, otherwise: str) -> str:
        listens = self._watch is not None and self._watch.listens(subset)
        return "the weights of all its samples are 0" if self._options.weighted and listens else otherwise

    def _make_tally(self, output: Output) -> tuple[Any, str]:
        y, y_pred = _shape(output.y), _shape(output.y_pred)
        given = part(self._targets, output.name, output.index) if output.name else _only(self._targets)
        targets = look_at(given, y_pred[-1] if y_pred is not None and len(y_pred) > 1 else 1)
        head = head_of(output.loss, y_pred, targets)
        if reason := _misfit(head, y, y_pred):
            return None, reason
        if head.positions:
            self._positions.add(output.name)
        tally = self._tally_for(head, targets)
        tally.build(y, y_pred)
        return tally, ""

    def _tally_for(self, head: Head, targets: Targets | None) -> Any:
        options: dict[str, Any] = {"weighted": self._options.weighted, "from_logits": head.from_logits}
        grid: dict[str, Any] = {} if targets is None else {"centre": targets.mean, "scale": targets.std}
        values = RegressionTally(**options, **grid)
        if head.kind == "regression":
            return values
        labels: Any = MultiLabelTally(**options)
        if head.kind != "multilabel":
            labels = ClassificationTally(**options, ignore_class=head.ignore_class)
        return EitherTally(labels, values) if head.unsure else labels


def _misfit(head: Head, y: Any, y_pred: Any) -> str | None:
    """Why an output cannot be counted, None if it can."""
    if head.kind == "other":
        return head.reason
    if head.kind == "regression":
        return fits_values(y, y_pred)
    reason = fits_labels(y, y_pred) if head.kind == "multilabel" else fits(y, y_pred)
    return reason or (fits_values(y, y_pred) if head.unsure else None)


def _summary(counts: Arrays, formulas: Formulas, *, positions: bool) -> dict[str, float]:
    if "confusion" in counts:
        return summarise(counts["confusion"], formulas, positions=positions)
    if "multilabel_confusion" in counts:
        return summarise_labels(counts, formulas)
    return summarise_values(counts, formulas)


def _why_skipped(counts: Arrays) -> str:
    if "residuals" in counts:
        return "a prediction or a target is NaN or infinite"
    return "a prediction is NaN or infinite, or a label is no class of the model"


def _shape(tensor: Any) -> tuple[int | None, ...] | None:
    return None if tensor.shape.rank is None else tuple(tensor.shape)


def _only(nested: Any) -> Any:
    """The one array of a dict or list of one; anything else as it is."""
    if isinstance(nested, dict | list | tuple) and len(nested) == 1:
        return next(iter(nested.values())) if isinstance(nested, dict) else nested[0]
    return nested
