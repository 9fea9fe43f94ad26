"""What one ``fit`` writes to its run besides pictures: metrics by epoch, parameters, best values, the ledger."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from mlflow.entities import Metric

from mlflow_dlviz.capture.moment import NotShown
from mlflow_dlviz.drawing import Task
from mlflow_dlviz.histories import history_of
from mlflow_dlviz.options import Options
from mlflow_dlviz.process import mention_leftovers, writer
from mlflow_dlviz.reporting.align import minimised
from mlflow_dlviz.store import names
from mlflow_dlviz.store.batch import Batch, End
from mlflow_dlviz.store.runs import Opened, leave
from mlflow_dlviz.writer import Sending

# Of the best epoch everything is logged again but these, which are not results.
_NOT_BEST = ("learning_rate",)


class OpenLog:
    """The run that one ``fit`` logs to, while it does.

    first_epoch: where this ``fit`` begins to count; a later one in the same run goes on after the last epoch.
    options: of this ``fit``. stock: whether MLflow's own Keras autologging logs its parameters, metrics and model.
    """

    def __init__(self, opened: Opened, first_epoch: int, options: Options, *, stock: bool) -> None:
        self.opened = opened
        self.stock = stock
        self.ours: set[str] = set()
        visuals = tuple(visual.name for visual in options.visuals)
        began = time.monotonic()
        self._history = history_of(opened, visuals, max(0.0, options.deadline - opened.waited))
        # What the server has taken of it by now it does not get again at the end.
        self._deadline = max(0.0, options.deadline - opened.waited - (time.monotonic() - began))
        self.run = self._history.run
        self.frozen = self._history.frozen
        self.run.held = options.offline
        writer().begin(self.run)
        self._offset = max(0, self._history.next_epoch - first_epoch)
        self._monitor = options.monitor
        if opened.offline:
            writer().begin_offline(self.run, opened.offline)
        self._logged: set[str] = set()
        self._spent = self._spent_before = 0.0
        self._depth = 0
        self._pace: dict[str, float] = {}
        with self.guarded("the spool"):
            mention_leftovers(self.run.spool.folder.parent)

    def step(self, epoch: int) -> int:
        """The run's step for Keras' ``epoch``."""
        return epoch + self._offset

    @contextmanager
    def guarded(self, what: str, epoch: int | None = None) -> Iterator[None]:
        """Run our own work on the training thread: timed, and kept in the ledger where it fails."""
        began = time.perf_counter()
        self._depth += 1
        try:
            yield
        except NotShown as reason:
            self.left_out(what, str(reason), say=False)
        except Exception as error:
            self.run.ledger.failed(what, None if epoch is None else self.step(epoch), error)
        finally:
            self._depth -= 1
            if not self._depth:
                self._spent += time.perf_counter() - began

    def left_out(self, what: str, why: str, *, say: bool = True) -> None:
        """Keep, and unless ``say`` is False say once, why something is not there."""
        self.run.ledger.left_out(what, why, say=say)

    def send(self, what: str, batch: Sending) -> None:
        """Hand a batch to the writer."""
        writer().send(self.run, what, batch)

    def epoch_took(self, seconds: float, samples: int | None) -> None:
        """Note how long Keras took for an epoch, validation included, in seconds."""
        self._pace = {"epoch_seconds": seconds}
        if samples and seconds > 0:
            self._pace["samples_per_second"] = samples / seconds

    def epoch(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Log an epoch; beside stock autologging only what that does not log."""
        step = self.step(epoch)
        # A metric of the user's own may well be called "epoch_seconds".
        values = {**self._pace, **({} if self.stock else logs)}
        values["dlviz/training_thread_seconds"] = self._spent - self._spent_before
        self._spent_before = self._spent
        self._history.next_epoch = max(self._history.next_epoch, step + 1)
        self.run.step = self._history.next_epoch - 1
        self.run.ledger.count("epochs")
        # With each epoch, so that a process killed in mid-run can be resumed after it.
        tags = {names.NEXT_EPOCH_TAG: str(self._history.next_epoch)}
        self.send(f"metrics of epoch {step}", Batch(metrics=_metrics(values, step), tags=tags))
        self._keep_best(step, logs)

    def params(self, params: Mapping[str, str], everything: Mapping[str, str]) -> None:
        """Log parameters, of the run's first ``fit``, as MLflow's can't change; all settings go into a file."""
        self._history.fits.append(dict(everything))
        clean = {names.clean_metric(key): value for key, value in params.items()}
        new = {key: value for key, value in clean.items() if key not in self.opened.params}
        files = {self._history.fits_path: json.dumps(self._history.fits, indent=1).encode()}
        self.send("parameters", Batch(params=new if len(self._history.fits) == 1 else {}, files=files))

    def finish(self, more: Mapping[str, float]) -> None:
        """Log the best values and ``more``, then, behind the pictures, the run's page."""
        if self._logged and self._monitored() not in self._logged:
            why = f"monitor={self._monitored()!r} is not among the logged {sorted(self._logged)}"
            self.left_out("best values", why)
        best = self._history.best
        values = dict(more)
        if best is not None:
            values["best_epoch"] = float(best[0])
            values.update({f"best_{name}": value for name, value in best[1].items() if name not in _NOT_BEST})
        step = best[0] if best is not None else 0
        cost = {"dlviz/total_training_thread_seconds": self._spent}
        tags = {names.MONITOR_TAG: names.clean_metric(self._monitor)} if self._monitor else {}
        self.send(
            "best values", Batch(metrics=[*_metrics(values, step), *_metrics(cost, self.run.step)], tags=tags)
        )
        writer().then(Task(self.run, "the run's page", Batch(page=True)))

    def end(self, status: str) -> None:
        """End the run if it is ours, with FINISHED, FAILED or KILLED, and wait until the server has its numbers.

        Not longer than the deadline, and not for a server that does not answer.
        """
        if self.opened.owned:
            self.send("the end of the run", Batch(end=End(status, int(time.time() * 1000))))
        leave(self.opened, status)
        self.run.training = False
        writer().settle(self.run, self._deadline)

    def _monitored(self) -> str:
        return self._monitor or ("val_loss" if "val_loss" in self._logged else "loss")

    def _keep_best(self, step: int, logs: Mapping[str, float]) -> None:
        self._logged.update(logs)
        monitor = self._monitored()
        if monitor not in logs:
            # Under validation_freq not every epoch has it.
            return
        value, best = logs[monitor], self._history.best
        better: Callable[[float, float], bool] = float.__lt__ if minimised(monitor) else float.__gt__
        if math.isfinite(value) and (best is None or monitor not in best[1] or better(value, best[1][monitor])):
            self._history.best = (step, dict(logs))


def _metrics(values: Mapping[str, float], step: int) -> list[Metric]:
    now = int(time.time() * 1000)
    return [Metric(names.clean_metric(name), float(value), now, step) for name, value in values.items()]
