"""Turning it on and off."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mlflow_dlviz import hooks, nesting, options
from mlflow_dlviz.ledger import logger
from mlflow_dlviz.visual import Cadence, Visual

_SILENT = logging.CRITICAL


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
    deadline: float = 10.0,
    offline: bool = False,
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
    deadline: seconds that a ``fit`` waits at most for a tracking server, to be given a run and, at its end, until
        its numbers are there; what the server does not take by then waits in the spool.
    offline: do not ask the server at all; ``mlflow-dlviz sync`` sends what was logged.
    disable: put Keras back as it was before.
    silent: say nothing on the console; the ledger still has everything.

    Raises TypeError or ValueError at once for an argument that can't be used, and changes nothing then.
    Works beside ``mlflow.autolog()`` and its kin in any order: what these log, we don't log again.
    """
    options.check_flags(disable=disable, silent=silent)
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
        deadline=deadline,
        offline=offline,
    )
    _hush(silent and not disable)
    if disable:
        hooks.remove()
    else:
        hooks.install(checked)


class _Hushed:
    level: int | None = None
    """The logger's level before we silenced it; None while we have not."""


def _hush(silent: bool) -> None:
    if silent and _Hushed.level is None:
        _Hushed.level = logger.level
        logger.setLevel(_SILENT)
    elif not silent and _Hushed.level is not None:
        # Set by the user in the meantime, it stays as it is.
        if logger.level == _SILENT:
            logger.setLevel(_Hushed.level)
        _Hushed.level = None


@contextmanager
def paused() -> Iterator[None]:
    """Leave every ``fit`` and ``recording`` within alone, in this thread."""
    token = nesting.PAUSED.set(True)
    try:
        yield
    finally:
        nesting.PAUSED.reset(token)
