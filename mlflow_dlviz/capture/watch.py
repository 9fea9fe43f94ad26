"""Counting inside Keras' own train and test steps, and leaving no trace of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from mlflow_dlviz.visual import Arrays

_ABSENT = object()


class Watch:
    """Feeds two tallies from the ``compute_metrics`` that the model's own steps call.

    make_tally: ``(y_shape, prediction_shape) -> (metric or None, reason)``, called once for training and
    once for validation, when the step is first traced and the shapes are known.

    The tallies stay outside the model: as attributes they would remain in ``model.metrics`` after ``fit``.
    What Keras compiled before is put back by :meth:`detach`.
    """

    def __init__(self, model: Any, make_tally: Callable[[Any, Any], tuple[Any, str]]) -> None:
        self.reason = "the model's train_step does not call compute_metrics"
        self._model = model
        self._make_tally = make_tally
        self._tallies: dict[str, Any] = {}
        self._testing = False
        self._saved: dict[str, Any] = {}

    def attach(self) -> None:
        """Begin to count. Keras compiles its steps anew, once."""
        model = self._model
        # Keras' own __setattr__ would look for layers and variables in what is set; these are functions.
        self._saved = {name: vars(model).get(name, _ABSENT) for name in ("compute_metrics", "test_step")}
        self._compiled = (model.train_function, model.test_function)
        vars(model)["compute_metrics"] = self._counting(model.compute_metrics)
        vars(model)["test_step"] = self._marking(model.test_step)
        model.test_function = None
        model.make_train_function(force=True)
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
            ours = self._model.train_function is self._made
            self._model.train_function, self._model.test_function = self._compiled if ours else (None, None)
        self._saved = {}

    def reset(self, subset: str) -> None:
        """Count from zero; subset: "training" or "validation"."""
        tally = self._tallies.get(subset)
        if tally is not None:
            tally.reset_state()

    def scores(self, subset: str) -> Arrays | None:
        """The counts since the last reset, None if nothing was counted."""
        tally = self._tallies.get(subset)
        scores = None if tally is None else tally.scores()
        return scores if scores is not None and (scores["confusion"].any() or scores["skipped"]) else None

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
            y, y_pred, sample_weight = _counted(*args, **kwargs)
            tally = self._tally("validation" if self._testing else "training", y, y_pred)
            if tally is not None:
                tally.update_state(y, y_pred, sample_weight)
        except Exception as error:
            self.reason = f"{type(error).__name__}: {error}"

    def _tally(self, subset: str, y: Any, y_pred: Any) -> Any:
        if subset not in self._tallies:
            if not hasattr(y, "shape") or not hasattr(y_pred, "shape"):
                self._tallies[subset], self.reason = None, "the targets or the predictions are not one array"
            else:
                # Variables must live outside the graph that is being traced.
                with tf.init_scope():
                    self._tallies[subset], reason = self._make_tally(y.shape, y_pred.shape)
                self.reason = reason or self.reason
        return self._tallies[subset]


def _counted(x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> tuple[Any, Any, Any]:
    """What is counted of the arguments of Keras' ``compute_metrics``; a user's own may take others."""
    return y, y_pred, sample_weight
