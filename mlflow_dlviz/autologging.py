"""Turning it on and off."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mlflow_dlviz import hooks, options
from mlflow_dlviz.ledger import logger
from mlflow_dlviz.visual import Cadence, Visual


def autolog(
    *,
    visuals: Sequence[str | Visual] | None = None,
    cadence: int | Cadence | None = None,
    probe: int = 64,
    seed: int = 0,
    metrics: Any = None,
    class_names: Sequence[str] | None = None,
    monitor: str | None = None,
    weighted: bool = False,
    log_models: bool = True,
    disable: bool = False,
    silent: bool = False,
) -> None:
    """Log every ``fit`` of a Keras model to MLflow: metrics of the whole sets, pictures and their numbers.

    visuals: names from the catalogue (``mlflow-dlviz visuals`` lists it) and :class:`Visual` values; None for
        every known one, [] for none.
    cadence: the epochs at which pictures are taken, for all visuals: a whole number n for every n-th epoch, or
        :class:`Every`, :class:`LogSpaced`, :class:`AtEnd`; None for each visual's own, at most 20 frames.
    probe: samples of the validation data (or else the training data) that pictures are taken of, by class.
    seed: of the choice of these samples, and of whatever a visual draws at random.
    metrics: names of built-in metrics, to log only these; or ``{name: formula}``, to log them too, where a
        formula takes the counts ``tp, tn, fp, fn``: ``{"miss_rate": lambda tp, tn, fp, fn: fn / (fn + tp)}``.
    class_names: (K,) one name a class, by index.
    monitor: the logged metric that decides which epoch was the best; None for ``val_loss``, or else ``loss``.
    weighted: whether the tallies count Keras' sample and class weights instead of samples.
    log_models: whether the trained model is logged.
    disable: put Keras back as it was before.
    silent: say nothing on the console; the ledger still has everything.

    Raises TypeError or ValueError at once for an argument that can't be used, and changes nothing then.
    Works beside ``mlflow.autolog()`` and its kin in any order: what these log, we don't log again.
    """
    if not isinstance(disable, bool):
        raise TypeError(f"disable={disable!r}: expected True or False")
    checked = options.check(
        visuals=visuals,
        cadence=cadence,
        probe=probe,
        seed=seed,
        metrics=metrics,
        class_names=class_names,
        monitor=monitor,
        weighted=weighted,
        log_models=log_models,
        silent=silent,
    )
    if disable:
        hooks.remove()
        return
    logger.setLevel(logging.CRITICAL if silent else logging.NOTSET)
    hooks.install(checked)


@contextmanager
def paused() -> Iterator[None]:
    """Leave every ``fit`` within alone, in this thread."""
    token = hooks.PAUSED.set(True)
    try:
        yield
    finally:
        hooks.PAUSED.reset(token)
