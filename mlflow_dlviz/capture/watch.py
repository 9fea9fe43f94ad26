"""Counting inside Keras' own train and test steps, and leaving no trace of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from mlflow_dlviz.capture.outputs import Output, split
from mlflow_dlviz.visual import Arrays

_ABSENT = object()
# Of what a tally counts, any of these is not 0 once it has counted.
_COUNTED = ("confusion", "multilabel_confusion", "samples", "skipped")


class Watch:
    """Feeds tallies from the ``compute_metrics`` that the model's own steps call: one for each output and subset.

    make_tally: ``(output) -> (tally or None, reason)``, called once for training and once for validation, when
    the step is first traced and the shapes are known.

    reason: why nothing is counted at all; reasons: why an output is not, by name.

    The tallies stay outside the model: as attributes they would remain in ``model.metrics`` after ``fit``.
    What Keras compiled before is put back by :meth:`detach`.
    """

    def __init__(self, model: Any, make_tally: Callable[[Output], tuple[Any, str]]) -> None:
        self.reason = "the model's train_step does not call compute_metrics"
        self.reasons: dict[str, str] = {}
        self._model = model
        self._make_tally = make_tally
        self._tallies: dict[tuple[str, str], Any] = {}
        self._testing = False
        self._saved: dict[str, Any] = {}

    def attach(self) -> None:
        """Begin to count. Keras compiles its steps anew, once."""
        model = self._model
        # Keras' own __setattr__ would look for layers and variables in what is set; these are functions.
        self._saved = {name: vars(model).get(name, _ABSENT) for name in ("compute_metrics", "test_step")}
        self._compiled = (model.train_function, model.test_function)
        self._made = None
        vars(model)["compute_metrics"] = self._counting(model.compute_metrics)
        vars(model)["test_step"] = self._marking(model.test_step)
        model.train_function = model.test_function = None
        # Without ``force``, which a method of the user's own may not know.
        model.make_train_function()
        self._made = model.train_function

    def detach(self) -> None:
        """Leave the model as it was, its compiled functions too; safe to call twice."""
        for name, value in self._saved.items():
            if value is _ABSENT:
                vars(self._model).pop(name, None)
            else:
                vars(self._model)[name] = value
        if self._saved:
            # Compiled anew by the user in the meantime, what was there before belongs to another optimizer.
            ours = self._made is not None and self._model.train_function is self._made
            self._model.train_function, self._model.test_function = self._compiled if ours else (None, None)
        self._saved = {}

    def reset(self, subset: str) -> None:
        """Count from zero; subset: "training" or "validation"."""
        for (_, counted), tally in self._tallies.items():
            if tally is not None and counted == subset:
                tally.reset_state()

    def scores(self, subset: str) -> Mapping[str, Arrays]:
        """The counts since the last reset by output, of those of which anything was counted."""
        found = {
            output: tally.scores()
            for (output, counted), tally in self._tallies.items()
            if tally is not None and counted == subset
        }
        return {output: scores for output, scores in found.items() if _has_counted(scores)}

    def listens(self, subset: str) -> bool:
        """Whether the step of ``subset`` was seen to hand its predictions on, counted or not."""
        return any(tally is not None and counted == subset for (_, counted), tally in self._tallies.items())

    def count(self, subset: str, y: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count one batch; subset: "training" or "validation"."""
        for output in split(self._model, y, y_pred, sample_weight):
            self._count_output(subset, output)

    def _counting(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def compute_metrics(*args: Any, **kwargs: Any) -> Any:
            self._count(args, kwargs)
            return original(*args, **kwargs)

        return compute_metrics

    def _marking(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def test_step(*args: Any, **kwargs: Any) -> Any:
            self._testing = True
            try:
                return original(*args, **kwargs)
            finally:
                self._testing = False

        return test_step

    def _count(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # While Keras traces its step: whatever fails here must not fail there.
        try:
            self.count("validation" if self._testing else "training", *_counted(*args, **kwargs))
        except Exception as error:
            self.reason = f"{type(error).__name__}: {error}"

    def _count_output(self, subset: str, output: Output) -> None:
        try:
            tally = self._tally(subset, output)
            if tally is not None:
                tally.update_state(output.y, output.y_pred, output.sample_weight)
        except Exception as error:
            self.reasons[output.name] = f"{type(error).__name__}: {error}"

    def _tally(self, subset: str, output: Output) -> Any:
        key = (output.name, subset)
        if key not in self._tallies:
            tally, reason = self._made_tally(output)
            self._tallies[key] = tally
            if reason:
                self.reasons[output.name] = reason
        return self._tallies[key]

    def _made_tally(self, output: Output) -> tuple[Any, str]:
        if not hasattr(output.y, "shape") or not hasattr(output.y_pred, "shape"):
            return None, "the targets or the predictions are not one array"
        # Variables must live outside the graph that is being traced. Under a distribution strategy this is
        # one of its replicas; what is made here is in all of them, and the next replica finds it made.
        with tf.init_scope():
            return self._make_tally(output)


def _has_counted(scores: Arrays) -> bool:
    return any(scores[name].any() for name in _COUNTED if name in scores)


def _counted(x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> tuple[Any, Any, Any]:
    """What is counted of the arguments of Keras' ``compute_metrics``; a user's own may take others."""
    return y, y_pred, sample_weight
