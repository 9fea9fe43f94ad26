"""Training loops of the user's own: what ``fit`` would have told us, they say themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from numbers import Integral
from typing import Any

import keras
import numpy as np

from mlflow_dlviz import nesting, options
from mlflow_dlviz.callback import Session
from mlflow_dlviz.capture import facts
from mlflow_dlviz.capture.moment import first_array
from mlflow_dlviz.cluster import is_chief
from mlflow_dlviz.ledger import logger
from mlflow_dlviz.recorder import Loop
from mlflow_dlviz.visual import Cadence, Visual

MOST = 1000
"""Samples of the probe; of more, so many are chosen by class."""

# Where the number of epochs is not known, log-spaced cadences are laid out as for this many.
_MANY = 10_000

_SUBSETS = ("training", "validation")


class Recording:
    """What :func:`recording` gives: says what happened in the loop, epoch by epoch."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def update(self, y: Any, y_pred: Any, *, subset: str = "training", sample_weight: Any = None) -> None:
        """Count a batch into the metrics of the whole set.

        y, y_pred: targets and predictions (N, …), as the loss takes them; subset: "training" or "validation",
        which they are of; sample_weight: (N,), counted with ``weighted=True``.  Eagerly or within a
        ``tf.function``.  Raises ValueError for another subset.
        """
        if subset not in _SUBSETS:
            raise ValueError(f"subset={subset!r}: expected 'training' or 'validation'")
        log, recorder = self._session.log, self._session.recorder
        if log is not None and recorder is not None:
            with log.guarded("counting"):
                recorder.count(subset, y, y_pred, sample_weight)

    def log_epoch(self, epoch: int, logs: Mapping[str, Any] | None = None) -> dict[str, float]:
        """An epoch has ended: log its numbers, and those of what was counted, and take the pictures that are due.

        epoch: from 0; logs: numbers by name, as floats, tensors or arrays of one number.  Returns all numbers
        that are logged of the epoch.  Raises ValueError or TypeError for another epoch or logs.
        """
        if isinstance(epoch, bool) or not isinstance(epoch, Integral) or epoch < 0:
            raise ValueError(f"epoch={epoch!r}: expected a whole number of at least 0")
        if logs is not None and not isinstance(logs, Mapping):
            raise TypeError(f"logs={logs!r}: expected numbers by name, such as {{'loss': 0.5}}")
        log, recorder, numbers = self._session.log, self._session.recorder, _numbers(logs or {})
        if log is None:
            return numbers
        for name in sorted({*(logs or {})} - {*numbers}):
            log.left_out(f"metric {name!r}", f"{type((logs or {})[name]).__name__} is not one number")
        if recorder is not None:
            with log.guarded("the end of an epoch", int(epoch)):
                recorder.collect()
                recorder.epoch_ends(int(epoch), numbers)
        with log.guarded("metrics", int(epoch)):
            log.epoch(int(epoch), facts.scalars(numbers))
        return numbers


def recording(
    model: Any,
    probe: Any = None,
    *,
    loss: Any = None,
    epochs: int | None = None,
    initial_epoch: int = 0,
    visuals: Sequence[str | Visual] | None = None,
    cadence: int | Cadence | None = None,
    seed: int = 0,
    metrics: Any = None,
    class_names: Sequence[str] | None = None,
    monitor: str | None = None,
    weighted: bool = False,
    log_models: bool = True,
    deadline: float = 10.0,
    offline: bool = False,
) -> AbstractContextManager[Recording]:
    """Record a training loop of your own: within the block, say what it did with ``log_epoch``.

    model: compiled or not; a Keras model.
    probe: (x, y), or x alone, arrays of up to 1000 samples that pictures are taken of (of more, so many are
        chosen by class); None for no pictures of samples.
    loss: as for ``compile``: tells what the model predicts, where it is not compiled with it.
    epochs: how many are planned, which lays out the cadence; None if that is open. The last one logged has its
        pictures in any case.
    initial_epoch: the first epoch that will be logged.
    visuals, cadence, seed, metrics, class_names, monitor, weighted, log_models, deadline, offline: as for
        :func:`autolog`.

    Logs into the active run, or else into one that it makes and ends, as FINISHED, as FAILED if the block
    raises, or as KILLED on Ctrl-C.  Raises TypeError or ValueError at once for an argument that can't be used;
    whatever fails later is in the run's ledger and not raised.  In a process that is not the chief of several,
    and within :func:`paused`, nothing happens.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"model={model!r}: expected a Keras model")
    data = _data(probe)
    checked = options.check(
        visuals=visuals,
        cadence=cadence,
        probe=MOST,
        seed=seed,
        metrics=metrics,
        class_names=class_names,
        monitor=monitor,
        weighted=weighted,
        log_models=log_models,
        deadline=deadline,
        offline=offline,
    )
    first = options.whole("initial_epoch", initial_epoch, 0, "an epoch")
    last = first + _MANY if epochs is None else options.whole("epochs", epochs, 1, "epochs")
    session = Session(model, checked, (), loop=Loop(data, loss, first))
    return _recorded(session, last)


@contextmanager
def _recorded(session: Session, epochs: int) -> Iterator[Recording]:
    session.nested = nesting.is_within()
    with nesting.closing():
        nesting.add(session)
        if is_chief() and not nesting.PAUSED.get():
            _open(session, epochs)
        yield Recording(session)
        log, recorder = session.log, session.recorder
        if log is not None and recorder is not None:
            with log.guarded("the end of training"):
                recorder.training_ends()
            session.log_model()


def _open(session: Session, epochs: int) -> None:
    try:
        session.open(epochs)
    except Exception as error:
        logger.warning("mlflow_dlviz: no MLflow run, so this loop is not recorded: %s", error)


def _data(probe: Any) -> tuple[Any, Any] | None:
    """(x, y) of the probe, y None without any. Raises TypeError or ValueError if these are no samples."""
    if probe is None:
        return None
    if isinstance(probe, tuple) and len(probe) != 2:
        raise TypeError(f"probe is a tuple of {len(probe)}: expected (x, y), or x alone, several inputs as a list")
    x, y = probe if isinstance(probe, tuple) else (probe, None)
    lengths = set()
    for leaf in keras.tree.flatten((x, y)):
        if leaf is None:
            continue
        if not hasattr(leaf, "shape") or not len(leaf.shape):
            raise TypeError(f"probe has a {type(leaf).__name__}: expected (x, y), or x alone, as arrays")
        lengths.add(int(leaf.shape[0]))
    if not hasattr(first_array(x), "shape") or len(lengths) != 1 or not min(lengths):
        raise ValueError(f"probe has arrays of {sorted(lengths)} samples: expected as many of each, at least 1")
    return x, y


def _numbers(logs: Mapping[str, Any]) -> dict[str, float]:
    """Those of the logs that are one number each."""
    found = {}
    for name, value in logs.items():
        try:
            array = np.asarray(keras.ops.convert_to_numpy(value), dtype=np.float64)
        except (TypeError, ValueError):
            continue
        if array.size == 1:
            found[str(name)] = array.item()
    return found
