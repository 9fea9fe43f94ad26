"""The metrics of the whole sets: what is counted during one ``fit``, and what it becomes in Keras' logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlflow_dlviz.capture.heads import Head, find_head
from mlflow_dlviz.capture.watch import Watch
from mlflow_dlviz.metrics.formulas import summarise
from mlflow_dlviz.metrics.tallies import ClassificationTally, fits
from mlflow_dlviz.options import Options
from mlflow_dlviz.runlog import OpenLog
from mlflow_dlviz.visual import Arrays


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
        self._counts: dict[str, Arrays] = {}

    @property
    def counts(self) -> Mapping[str, Arrays]:
        """The counts of this epoch, by subset: "training", "validation"."""
        return self._counts

    @property
    def classes(self) -> int:
        """How many classes were counted, 0 if none were."""
        first = next(iter(self._counts.values()), None)
        return 0 if first is None else len(first["confusion"])

    def attach(self) -> None:
        """Begin to count."""
        if not self.head.classifies:
            self._log.left_out("metrics of the whole set", self.head.reason, say=False)
            return
        self._watch = Watch(self._model, self._make_tally)
        self._watch.attach()

    def detach(self) -> None:
        """Leave the model as it was; safe to call twice."""
        if self._watch is not None:
            with self._log.guarded("detaching"):
                self._watch.detach()

    def reset(self, subset: str) -> None:
        """Count from zero; an epoch begins with the training set."""
        if subset == "training":
            self._counts = {}
        if self._watch is not None:
            self._watch.reset(subset)

    def keep(self, subset: str) -> None:
        """Keep what was counted of a subset."""
        counts = self._watch.scores(subset) if self._watch is not None else None
        if counts is not None:
            self._counts[subset] = counts

    def write(self, logs: dict[str, Any]) -> None:
        """Write the metrics of what was kept into ``logs``."""
        for subset in sorted(self._counts):
            counts = self._counts[subset]
            prefix = "val_" if subset == "validation" else ""
            if counts["skipped"]:
                why = "a prediction is NaN or infinite, or a label is no class of the model"
                self._log.left_out(f"part of the {subset} set", f"{int(counts['skipped'])} samples: {why}")
            for formulas in self._options.metrics.apart():
                with self._log.guarded(f"metrics {', '.join(formulas.own) or 'of the whole set'}"):
                    for name, value in summarise(counts["confusion"], formulas).items():
                        self._write(logs, prefix + name, value)
        if self._watch is not None and "training" not in self._counts:
            counted = "training" if self._counts else "whole"
            self._log.left_out(f"metrics of the {counted} set", self._watch.reason)

    def _make_tally(self, y_shape: Any, prediction_shape: Any) -> tuple[Any, str]:
        reason = fits(y_shape, prediction_shape)
        if self.head.independent and prediction_shape[-1] != 1 and len(prediction_shape) > 1:
            reason = "a binary loss on several units trains independent labels, not classes"
        if reason:
            return None, reason
        tally = ClassificationTally(
            self._options.metrics, from_logits=self.head.from_logits, weighted=self._options.weighted
        )
        tally.build(y_shape, prediction_shape)
        return tally, ""

    def _write(self, logs: dict[str, Any], name: str, value: float) -> None:
        if name in logs and name not in self._log.ours:
            self._log.left_out(f"metric {name!r}", "compiled by the user under the same name", say=False)
            return
        self._log.ours.add(name)
        logs[name] = value
