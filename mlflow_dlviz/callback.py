"""The two Keras callbacks of one ``fit``: the first of its list and the last.

Keras hands one ``logs`` dict to all callbacks in turn. What the first writes reaches EarlyStopping,
ModelCheckpoint and History; what any of them adds, the last one logs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import keras

from mlflow_dlviz.capture import facts
from mlflow_dlviz.capture.fit_frame import FitCall, find_fit
from mlflow_dlviz.ledger import logger
from mlflow_dlviz.options import Options
from mlflow_dlviz.process import writer
from mlflow_dlviz.recorder import Loop, Recorder
from mlflow_dlviz.runlog import OpenLog
from mlflow_dlviz.store import datasets, models, names, runs
from mlflow_dlviz.store.batch import Batch

_BESIDE_STOCK = (
    "it is on and logs parameters, metrics, data sets and the model itself, with its own faults (metrics again "
    "as validation_*, minutes of waiting for a server that is gone); alone, mlflow_dlviz logs all these"
)


class Session:
    """One ``fit``: opened when training begins, closed once, with the status that it ended in.

    callbacks: all of this ``fit``'s, to know early stopping and stock autologging by. nested: whether it runs
    within another one's, so that its run is a child of that one's. loop: of a training loop of the user's own,
    what is known of it instead of a ``fit``'s arguments.
    """

    def __init__(
        self,
        model: Any,
        options: Options,
        callbacks: Sequence[Any],
        *,
        nested: bool = False,
        loop: Loop | None = None,
    ) -> None:
        self.model = model
        self.nested = nested
        self.log: OpenLog | None = None
        self.recorder: Recorder | None = None
        self._options = options
        self._callbacks = callbacks
        self._loop = loop

    def open(self, epochs: int) -> None:
        """Find or make the run, and begin to record.

        Raises what MLflow raises where no run can be had: then nothing is recorded.
        """
        call = find_fit(self.model) if self._loop is None else None
        first = int(call.settings.get("initial_epoch", 0)) if call is not None else 0
        first = first if self._loop is None else self._loop.initial_epoch
        stock = any(_is_stock(callback) for callback in self._callbacks)
        opened = runs.open_run({"mlflow.autologging": "dlviz"}, self._options.limits(), nested=self.nested)
        try:
            self.log = log = OpenLog(opened, first, self._options, stock=stock)
        except BaseException:
            runs.leave(opened, "FAILED")
            raise
        writer().training_began()
        with log.guarded("the recorder"):
            self.recorder = Recorder(self.model, self._options, log, epochs, self._loop)
            self.recorder.begin(call)
        if stock:
            log.left_out("what MLflow's own autologging logs", _BESIDE_STOCK)
        else:
            with log.guarded("parameters"):
                self._log_params(call)
            with log.guarded("the model summary and the data sets"):
                self._log_texts(call)

    def close(self, status: str) -> None:
        """End with FINISHED, FAILED or KILLED; safe to call twice."""
        log = self.log
        if log is None:
            return
        try:
            if self.recorder is not None:
                self.recorder.detach()
            with log.guarded("the end of the run"):
                stopping = facts.early_stopping(self._callbacks)
                log.finish(facts.stopping_metrics(stopping) if stopping is not None else {})
            with log.guarded("the run's status"):
                log.end(status)
        except BaseException:  # Ctrl-C while closing
            with log.guarded("the run's status"):
                log.end("KILLED")
            raise
        finally:
            self.log = self.recorder = None
            writer().training_ended()

    @property
    def is_open(self) -> bool:
        """Whether there is something to close."""
        return self.log is not None

    def log_model(self) -> None:
        """Log the model as training left it."""
        log, recorder = self.log, self.recorder
        if log is None or recorder is None or log.stock or not self._options.log_models:
            return
        with log.guarded("the model"):
            log.send("the model", Batch(models=[models.save_model(self.model, *recorder.example())]))

    def _log_params(self, call: FitCall | None) -> None:
        assert self.log is not None
        log = self.log
        # A model that is trained by hand need not be compiled.
        settings = facts.optimizer_settings(self.model) if hasattr(self.model, "optimizer") else {}
        if call is not None:
            settings = {**facts.fit_settings(call), **settings}
        stopping = facts.early_stopping(self._callbacks)
        if stopping is not None:
            settings.update(facts.stopping_settings(stopping))
        everything = {name: facts.as_text(value) for name, value in settings.items()}
        log.params(facts.notable(settings, self.model), everything)

    def _log_texts(self, call: FitCall | None) -> None:
        assert self.log is not None
        log = self.log
        log.send("the versions", Batch(tags={names.VERSIONS_TAG: facts.versions()}))
        log.send("the model summary", Batch(files={"model_summary.txt": facts.model_summary(self.model).encode()}))
        for context, data in (("train", call.train), ("eval", call.validation)) if call is not None else ():
            if data is not None:
                log.send(f"the {context} dataset", partial(_dataset, log.opened.tags, context, data))


def _is_stock(callback: Any) -> bool:
    # The callbacks that MLflow's own autologging adds; by name, as importing both flavours takes seconds.
    return type(callback).__name__ == "MlflowCallback" and type(callback).__module__.startswith("mlflow.")


def _dataset(tags: Mapping[str, str], context: str, data: tuple[Any, Any]) -> Batch:
    return Batch(datasets=[datasets.describe_dataset(tags, context, data, facts.data_description(data))])


class Opening(keras.callbacks.Callback):
    """First of the list."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def on_train_begin(self, logs: Any = None) -> None:
        """Open the session; without a run to log to, say so and let ``fit`` go on alone."""
        try:
            self._session.open(int((self.params or {}).get("epochs") or 1))
        except Exception as error:
            logger.warning("mlflow_dlviz: no MLflow run, so this fit is not recorded: %s", error)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Count anew."""
        self._tell("epoch_begins")

    def on_test_begin(self, logs: Any = None) -> None:
        """Count the validation set anew."""
        self._tell("test_begins")

    def on_test_end(self, logs: Any = None) -> None:
        """Keep the validation set's counts."""
        self._tell("test_ends")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Capture, and write the tallies' metrics into ``logs``."""
        self._tell("epoch_ends", epoch, {} if logs is None else logs)

    def on_train_end(self, logs: Any = None) -> None:
        """Capture the last epoch before EarlyStopping restores another."""
        self._tell("training_ends")

    def _tell(self, event: str, *args: Any) -> None:
        recorder, log = self._session.recorder, self._session.log
        if recorder is not None and log is not None:
            with log.guarded(event.replace("_", " ")):
                getattr(recorder, event)(*args)


class Closing(keras.callbacks.Callback):
    """Last of the list."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Log what all callbacks made of ``logs``."""
        log = self._session.log
        if log is not None:
            with log.guarded("metrics", epoch):
                log.epoch(epoch, facts.scalars(logs or {}))

    def on_train_end(self, logs: Any = None) -> None:
        """Log the model, restored or not, and close."""
        self._session.log_model()
        self._session.close("FINISHED")
